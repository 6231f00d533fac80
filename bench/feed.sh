#!/usr/bin/env bash
# Measures reading: a feed of 100 and of 1000 events and a 304, against a bare actix echo server in the same run,
# with few and with many events stored.
#
#   bench/feed.sh             FEW=10000 MANY=5000000 SECONDS_EACH=4 CONNECTIONS=64 ROUNDS=3 bench/feed.sh
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=bench/lib.sh
. bench/lib.sh

few=${FEW:-10000}
many=${MANY:-5000000}
each=${SECONDS_EACH:-4}
connections=${CONNECTIONS:-64}

need wrk redis-server redis-cli curl
build echo sender

"$tools/echo" 127.0.0.1:0 "$workers" >"$folder/echo.log" &
pids+=($!)
echo_at=$(address_in "$folder/echo.log")

# load URL [WRK_OPTION...]: sets $rate. Every answer must be a 2xx or a 304.
load() {
    local url=$1 out
    shift
    out=$(wrk -t 2 -c "$connections" -d "${each}s" "$@" "$url")
    [[ $out != *'Non-2xx'* && $out != *'Socket errors'* ]] || fail "requests failed: $out"
    rate=$(sed -nE 's/^Requests\/sec: *([0-9.]+).*/\1/p' <<<"$out")
}

# filled NAME COUNT: a hub on a Redis with so many events of the types bench:old, and 1000 of bench:new; sets $address.
filled() {
    start_redis "$1" everysec
    start_hub "$1" "redis://127.0.0.1:$port"
    register bench:old
    register bench:new
    send fill bench:old "$2" 1000
    send fill bench:new 1000 100
}

declare -A at
echo "Storing $few and $many events…" >&2
filled few "$few"
at[few]=$address
filled many "$many"
at[many]=$address
echo "$connections connections, $workers workers, $rounds rounds of $each s"
slice='feed/day/current?types=bench:new'
for size in few many; do
    count=$few
    [ "$size" = few ] || count=$many
    hundred='' thousand='' unchanged=''
    url="http://${at[$size]}/api/events/$slice"
    tag=$(curl -fsS -D - -o /dev/null "$url&limit=100" | tr -d '\r' | sed -nE 's/^etag: (.*)/\1/Ip')
    [ -n "$tag" ] || fail "a feed has no ETag"
    [ "$(curl -s -o /dev/null -w '%{http_code}' -H "If-None-Match: $tag" "$url&limit=100")" = 304 ] || fail "no 304"
    for ((round = 1; round <= rounds; round++)); do
        load "http://$echo_at/api/events/send" -s bench/send.lua
        base=$rate
        load "$url&limit=100"
        hundred+=" $(calc "$rate / $base" %.3f)"
        load "$url&limit=1000"
        thousand+=" $(calc "$rate / $base" %.3f)"
        load "$url&limit=100" -H "If-None-Match: $tag"
        unchanged+=" $(calc "$rate / $base" %.3f)"
    done
    # shellcheck disable=SC2086 # lists of numbers
    {
        report "$count stored: feed of 100, ratio to echo" "$(median $hundred)" '' '>=' 0.30 "$hundred"
        report "$count stored: feed of 1000, ratio to echo" "$(median $thousand)" '' '>=' 0.03 "$thousand"
        report "$count stored: 304, ratio to echo" "$(median $unchanged)" '' '>=' 0.6 "$unchanged"
    }
done
