#!/usr/bin/env bash
# Measures durable sending at 64 connections against a bare actix server in the same run, and the bytes
# an event of 24 bytes takes in Redis. Every figure of a round is taken right after the other, three
# rounds are interleaved, and the median counts: a busy machine slows all of them alike.
#
#   bench/send.sh             SECONDS_EACH=5 ROUNDS=3 CONNECTIONS=64 bench/send.sh
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=bench/lib.sh
. bench/lib.sh

seconds=${SECONDS_EACH:-5}
connections=${CONNECTIONS:-64}

need wrk redis-server redis-cli curl
build echo

# start_sent NAME STORE_URL: a hub with the type that is sent; sets $address.
start_sent() {
    start_hub "$1" "$2"
    register bench:send
    local answer
    answer=$(curl -fsS "http://$address/api/events/send" -H 'Content-Type: application/json' \
        -d '{"type": "bench:send", "payload": "abcdefghijklmnopqrstuv"}')
    [[ $answer == *'"accepted"'* ]] || fail "an event is not accepted: $answer" "$folder/$1.hub.log"
}

# load ADDRESS CONNECTIONS SECONDS: sets $rate and $count.
load() {
    local threads=2
    [ "$2" -ge 2 ] || threads=1
    local out
    out=$(wrk -t "$threads" -c "$2" -d "${3}s" -s bench/send.lua "http://$1/api/events/send")
    [[ $out != *'Non-2xx'* && $out != *'Socket errors'* ]] || fail "requests failed: $out"
    rate=$(sed -nE 's/^Requests\/sec: *([0-9.]+).*/\1/p' <<<"$out")
    count=$(sed -nE 's/^ *([0-9]+) requests in.*/\1/p' <<<"$out")
}

used_memory() { redis-cli -p "$1" info memory | tr -d '\r' | sed -nE 's/^used_memory:([0-9]+)/\1/p'; }

"$tools/echo" 127.0.0.1:0 "$workers" >"$folder/echo.log" &
pids+=($!)
declare -A at rates ratios
at[echo]=$(address_in "$folder/echo.log")
start_redis everysec everysec
start_sent everysec "redis://127.0.0.1:$port"
at[everysec]=$address
start_redis always always
start_sent always "redis://127.0.0.1:$port"
at[always]=$address
start_sent embedded "embedded:$folder/embedded"
at[embedded]=$address

echo "$connections connections, $workers workers, $rounds rounds of $seconds s, files on $(df --output=fstype "$folder" | tail -n 1)"
for what in echo everysec always embedded; do
    load "${at[$what]}" "$connections" 1 # warms up
done
for ((round = 1; round <= rounds; round++)); do
    for what in echo everysec always embedded; do
        load "${at[$what]}" "$connections" "$seconds"
        rates[$what]+=" $rate"
        [ "$what" = echo ] && base=$rate
        ratios[$what]+=" $(awk -v a="$rate" -v b="$base" 'BEGIN { printf "%.2f", a / b }')"
    done
done

printf '\n%-28s %14s %8s   %s\n' 'durable send' 'requests/s' 'ratio' 'ratio by round'
for what in echo everysec always embedded; do
    case $what in
    echo) label='bare actix echo' ;;
    everysec) label='Redis, AOF everysec' ;;
    always) label='Redis, AOF always' ;;
    embedded) label='embedded store' ;;
    esac
    # shellcheck disable=SC2086 # lists of numbers
    printf '%-28s %14.0f %8s  %s\n' "$label" "$(median ${rates[$what]})" "$(median ${ratios[$what]})" "${ratios[$what]}"
done

# Bytes at rest: what a batch's token takes is given back after a minute, so both loads run before the wait.
start_redis single everysec
single=$port
start_sent single "redis://127.0.0.1:$single"
at[single]=$address
start_redis loaded everysec
loaded=$port
start_sent loaded "redis://127.0.0.1:$loaded"
at[loaded]=$address
before_single=$(used_memory "$single")
before_loaded=$(used_memory "$loaded")
load "${at[single]}" 1 "$seconds"
count_single=$count
load "${at[loaded]}" "$connections" "$seconds"
count_loaded=$count
echo
echo "Waiting 65 s for what is kept of a batch for a minute…" >&2
sleep 65
printf '%-28s %14s %8s\n' 'bytes an event in Redis' 'events' 'bytes'
printf '%-28s %14d %8.1f\n' 'sent one by one' "$count_single" \
    "$(awk -v b="$before_single" -v a="$(used_memory "$single")" -v n="$count_single" 'BEGIN { print (a - b) / n }')"
printf '%-28s %14d %8.1f\n' "at $connections connections" "$count_loaded" \
    "$(awk -v b="$before_loaded" -v a="$(used_memory "$loaded")" -v n="$count_loaded" 'BEGIN { print (a - b) / n }')"
