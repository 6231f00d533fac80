#!/bin/sh
# Installs what is missing of the Debian packages given, and starts none of their services.
#
#   scripts/install.sh PROGRAM=PACKAGE...
set -eu

missing=
for pair in "$@"; do
    program=${pair%%=*}
    # sbin is not on every user's path.
    PATH=$PATH:/usr/sbin:/sbin command -v "$program" >/dev/null || missing="$missing ${pair#*=}"
done
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null; then
    echo "Missing:$missing. This machine has no apt-get: install them by hand." >&2
    exit 1
fi
root=
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "Missing:$missing. Install them as root." >&2; exit 1; }
    root=sudo
fi

# Debian's packages start their daemons when they are installed, unless this file says no. One that is
# already there is left alone.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | $root tee "$policy" >/dev/null
    $root chmod +x "$policy"
    trap '$root rm -f "$policy"' EXIT INT TERM
fi

echo "Installing:$missing"
$root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 sh -c "
    apt-get install -y -q --no-install-recommends $missing ||
    { apt-get update -q && apt-get install -y -q --no-install-recommends $missing; }"
