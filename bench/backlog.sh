#!/usr/bin/env bash
# Measures a hub with a million undelivered events of one stream whose receiver is away: memory, start-up, sending, the
# stream resource; then how fast the backlog drains once the receiver is there, and the most memory it takes.
#
#   bench/backlog.sh [everysec|embedded]...
#   BACKLOG=1000000 DRAIN_SECONDS=30 bench/backlog.sh       DRAIN_SECONDS=600 drains all of it
#
# A goal that is missed is printed; the exit code says whether an event was repeated.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=bench/lib.sh
. bench/lib.sh

backlog=${BACKLOG:-1000000}
drain_seconds=${DRAIN_SECONDS:-30}
seconds_each=${SECONDS_EACH:-5}
wrong=0

need redis-server redis-cli curl
build receiver sender

one_store() {
    local kind=$1 url label round small big ratios='' began ended ready_ms
    case $kind in
    embedded) label='embedded' url="embedded:$folder/$kind" ;;
    *) label="Redis $kind" && start_redis "$kind" "$kind" && url="redis://127.0.0.1:$port" ;;
    esac
    start_receiver
    stop "$receiver_pid"
    # What is sent to measure sending comes on top of the backlog.
    local settings=(EVENTS__STREAMS__MAX_BACKLOG=$((backlog * 4)))
    start_hub "$kind" "$url" "${settings[@]}"
    register bench:backlog "$(webhook s backlog)"
    register bench:none "$(webhook s none)"
    local empty
    empty=$(rss_mb "$hub_pid")
    send fill bench:backlog "$backlog" 1000
    report "$label: filled in batches of 1000" "$(calc "$send_rate" '%.0f')" /s
    report "$label: memory of the hub with $backlog waiting" "$(rss_mb "$hub_pid")" MB '<' 200 "with none $empty, most $(peak_mb "$hub_pid")"

    stop "$hub_pid"
    began=$(date +%s%N)
    start_hub "$kind" "$url" "${settings[@]}"
    ended=$(date +%s%N)
    ready_ms=$(calc "($ended - $began) / 1e6" '%.0f')
    report "$label: from start to ready" "$ready_ms" ms '<' 5000
    report "$label: memory of the hub after the start" "$(rss_mb "$hub_pid")" MB '<' 200

    for ((round = 1; round <= rounds; round++)); do
        # Each goes first in turn: what one leaves behind (compactions, rewrites) the other meets.
        local which order='none backlog'
        ((round % 2)) || order='backlog none'
        for which in $order; do
            send closed "bench:$which" 64 "$seconds_each"
            [ "$which" = none ] && small=$send_rate || big=$send_rate
        done
        ratios+=" $(calc "$big / $small")"
    done
    # shellcheck disable=SC2086 # a list of numbers
    report "$label: sends against those to a short backlog" "$(median $ratios)" '' '>=' 0.95 "$ratios"

    local times='' i
    for ((i = 0; i < 50; i++)); do
        times+=" $(curl -fsS -o /dev/null -w '%{time_total}' "http://$address/api/events/streams/bench:backlog/s")"
    done
    # shellcheck disable=SC2086 # a list of numbers
    report "$label: the stream resource" "$(calc "$(median $times) * 1000")" ms '<' 10

    local waiting
    waiting=$(stream_number bench:backlog s backlog)
    forget_peak "$hub_pid"
    start_receiver "$hooks"
    for ((i = 0; i < 100; i++)); do
        hook_figures backlog
        ((first == 0)) || break
        sleep 0.1
    done
    for ((i = 0; i < drain_seconds * 5; i++)); do
        sleep 0.2
        hook_figures backlog
        ((first < waiting)) || break
    done
    report "$label: drained" "$(calc "$rate" '%.0f')" /s '>=' 6700 "$first of $waiting"
    report "$label: most memory of the hub while draining" "$(peak_mb "$hub_pid")" MB '<' 200
    ((repeated == 0)) || { echo "WRONG: $repeated deliveries repeated" >&2 && wrong=1; }
    stop "$hub_pid"
    stop "$receiver_pid"
    [ "$kind" = embedded ] || stop "$redis_pid"
    rm -rf "${folder:?}/$kind"
}

echo "$backlog events, $workers workers, files on $(df --output=fstype "$folder" | tail -n 1)"
for kind in "${@:-everysec embedded}"; do
    for one in $kind; do one_store "$one"; done
done
((wrong == 0)) || fail "Events were repeated; see above."
