#!/usr/bin/env bash
# Measures durable sending at 64 connections against a bare actix server in the same run, and the bytes
# an event of 24 bytes takes in Redis. Every figure of a round is taken right after the other, three
# rounds are interleaved, and the median counts: a busy machine slows all of them alike.
#
#   bench/run.sh             SECONDS_EACH=5 ROUNDS=3 CONNECTIONS=64 bench/run.sh
#
# Servers run on free ports in a temporary folder (TMPDIR says where: the disk matters), and only what
# was started here is stopped.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${SECONDS_EACH:-5}
rounds=${ROUNDS:-3}
connections=${CONNECTIONS:-64}
workers=${WORKERS:-$(nproc)}

for program in wrk redis-server redis-cli; do
    command -v "$program" >/dev/null || { echo "$program is missing: run 'make bench', which installs it" >&2; exit 1; }
done

echo "Building (release)…" >&2
cargo build --release --quiet --bin event-source-api --example echo
target=$(cargo metadata --format-version 1 --no-deps | sed -E 's/.*"target_directory":"([^"]*)".*/\1/')

folder=$(mktemp -d "${TMPDIR:-/tmp}/hub-bench-XXXXXX")
pids=()
cleanup() {
    # Hubs first, so that none complains of its Redis; then what they stood on.
    for ((i = ${#pids[@]} - 1; i >= 0; i--)); do
        kill "${pids[i]}" 2>/dev/null && wait "${pids[i]}" 2>/dev/null || true
    done
    rm -rf "$folder"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

fail() {
    echo "$1" >&2
    [ -z "${2:-}" ] || tail -n 20 "$2" >&2
    exit 1
}

# Waits until a log names the address that its server listens on.
address_in() {
    local i address
    for ((i = 0; i < 200; i++)); do
        address=$(sed -nE 's/.*listening.*address=([0-9.]+:[0-9]+).*/\1/p' "$1" | head -n 1)
        [ -n "$address" ] && echo "$address" && return
        sleep 0.05
    done
    fail "a server does not start" "$1"
}

# start_redis NAME FSYNC: sets $port.
start_redis() {
    local try i
    mkdir "$folder/$1"
    for ((try = 0; try < 20; try++)); do
        port=$((20000 + RANDOM % 20000))
        redis-server redis/redis.conf --port "$port" --dir "$folder/$1" --appendfsync "$2" >"$folder/$1.log" 2>&1 &
        pids+=($!)
        for ((i = 0; i < 100; i++)); do
            [ "$(redis-cli -p "$port" ping 2>/dev/null)" = PONG ] && kill -0 "${pids[-1]}" 2>/dev/null && return
            kill -0 "${pids[-1]}" 2>/dev/null || break
            sleep 0.05
        done
        unset 'pids[-1]'
    done
    fail "redis-server does not start" "$folder/$1.log"
}

# start_hub NAME STORE_URL: sets $address, and registers the type.
start_hub() {
    env RUST_LOG=info EVENTS__HTTP__BIND=127.0.0.1:0 EVENTS__HTTP__WORKERS="$workers" EVENTS__STORE__URL="$2" \
        "$target/release/event-source-api" >/dev/null 2>"$folder/$1.hub.log" &
    pids+=($!)
    address=$(address_in "$folder/$1.hub.log")
    local i answer
    for ((i = 0; i < 200; i++)); do
        curl -fsS -o /dev/null "http://$address/readyz" 2>/dev/null && break
        sleep 0.05
    done
    curl -fsS -o /dev/null -X PUT "http://$address/api/events/register" -H 'Content-Type: application/json' \
        -d '{"type": "bench:send", "ttl": "1h"}' || fail "the type is not registered" "$folder/$1.hub.log"
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
median() { tr ' ' '\n' <<<"$*" | grep . | sort -g | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

"$target/release/examples/echo" 127.0.0.1:0 "$workers" >"$folder/echo.log" &
pids+=($!)
declare -A at rates ratios
at[echo]=$(address_in "$folder/echo.log")
start_redis everysec everysec
start_hub everysec "redis://127.0.0.1:$port"
at[everysec]=$address
start_redis always always
start_hub always "redis://127.0.0.1:$port"
at[always]=$address
start_hub embedded "embedded:$folder/embedded"
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
start_hub single "redis://127.0.0.1:$single"
at[single]=$address
start_redis loaded everysec
loaded=$port
start_hub loaded "redis://127.0.0.1:$loaded"
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
