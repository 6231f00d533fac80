#!/usr/bin/env bash
# Measures reading: a feed of 100 and of 1000 events and a 304, against a bare actix echo server in the same run,
# with few and with many events stored; and the time of one answer with a month of 1000 types.
#
#   bench/feed.sh             FEW=10000 MANY=5000000 TYPES=1000 SECONDS_EACH=2 CONNECTIONS=64 ROUNDS=5 bench/feed.sh
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=bench/lib.sh
. bench/lib.sh

rounds=${ROUNDS:-5}
few=${FEW:-10000}
many=${MANY:-5000000}
each=${SECONDS_EACH:-2}
connections=${CONNECTIONS:-64}
types=${TYPES:-1000}

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

# base: sets $base, the bare server's rate now.
base() {
    load "http://$echo_at/api/events/send" -s bench/send.lua
    base=$rate
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
        # Each beside a base of its own: a machine's mood changes within seconds.
        base
        load "$url&limit=100"
        hundred+=" $(calc "$rate / $base" %.3f)"
        base
        load "$url&limit=1000"
        thousand+=" $(calc "$rate / $base" %.3f)"
        base
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

# A month of many types, one in ten with an event. Each answer has a limit of its own, so that none is one that the hub
# has kept; one program asks for them all, on one connection.
start_redis wide everysec
start_hub wide "redis://127.0.0.1:$port"
for ((n = 0; n < types; n++)); do
    [ "$n" = 0 ] || echo next
    printf 'url = "http://%s/api/events/register"\nrequest = PUT\nheader = "Content-Type: application/json"\n' "$address"
    printf 'data = "{\\"type\\": \\"wide:%d\\", \\"ttl\\": \\"60days\\"}"\noutput = /dev/null\nfail\n' "$n"
done >"$folder/types"
curl -sS --fail-early -K "$folder/types" || fail "the types are not registered"
send fill "$(seq -f 'wide:%.0f' -s , 0 10 $((types - 1)))" 1 1
month() { curl -fsS -o /dev/null -w "$1" "http://$address/api/events/feed/month/current?types=wide:*&limit=[$2]"; }
month '' 800-809
mapfile -t took < <(month '%{time_total}\n' 900-949 | awk '{ printf "%.2f\n", $1 * 1000 }' | sort -g)
[ "${#took[@]}" = 50 ] || fail "${#took[@]} of 50 answers came"
report "a month of $types types, $sent events: one answer" "$(median "${took[@]}")" ms '<=' 50 "max ${took[49]}"
