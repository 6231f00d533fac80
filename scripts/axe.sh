#!/bin/sh
# Keeps axe-core, which looks for faults of accessibility (MPL-2.0, used by tests alone), in target/tools: its pinned
# version of the npm registry, checked by its hash.
set -eu
cd "$(dirname "$0")/.."

version=4.14.1
hash=e6b0ce02b84d892e2e33e403485e7f3d6c29e2be6df65daf44d89ba564139745
tools=target/tools
axe=$tools/axe-core-$version.min.js
[ ! -s "$axe" ] || exit 0

mkdir -p "$tools"
scratch=$(mktemp -d "$tools/axe.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
registry=${NPM_CONFIG_REGISTRY:-https://registry.npmjs.org}
python3 - "${registry%/}/axe-core/-/axe-core-$version.tgz" "$scratch/axe.tgz" <<'PY'
import shutil, sys, urllib.request
with urllib.request.urlopen(sys.argv[1], timeout=60) as answer, open(sys.argv[2], "wb") as out:
    shutil.copyfileobj(answer, out)
PY
echo "$hash  $scratch/axe.tgz" | sha256sum --check --quiet
tar -xzf "$scratch/axe.tgz" -C "$scratch" package/axe.min.js
mv "$scratch/package/axe.min.js" "$axe"
