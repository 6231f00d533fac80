#!/usr/bin/env bash
# Measures delivery: webhooks a second while events keep coming and out of a backlog, the time from sending
# to the webhook, RabbitMQ against a bare publisher, and what a dead and a slow stream cost the others.
#
#   bench/deliver.sh [throughput|latency|rabbit|isolation|neighbours]...
#   ROUNDS=3 SECONDS_EACH=8 BACKLOG=200000 bench/deliver.sh
#
# Rounds are interleaved and the median counts: a busy machine slows all of them alike. A goal that is missed
# is printed; the exit code says whether an event was lost or repeated.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=bench/lib.sh
. bench/lib.sh

seconds_each=${SECONDS_EACH:-8}
backlog=${BACKLOG:-200000}
# What the senders keep up, for deliveries that are to keep pace.
sustained=${SUSTAINED:-8000}
concurrency=${CONCURRENCY:-16}
wrong=0

need redis-server redis-cli curl
build receiver sender publisher

# store NAME KIND: sets $url to a new store.
store() {
    case $2 in
    embedded) url="embedded:$folder/$1" ;;
    *) start_redis "$1" "$2" && url="redis://127.0.0.1:$port" ;;
    esac
}

# close: stops hub, receiver and Redis of a round.
close() {
    stop "$hub_pid"
    [ -z "${receiver_pid:-}" ] || stop "$receiver_pid"
    [ -z "${redis_pid:-}" ] || stop "$redis_pid"
    receiver_pid='' redis_pid=''
    rm -rf "${folder:?}/round"
}

# exactly NAME COUNT: as many first deliveries as were sent, and none repeated.
exactly() {
    ((first == $2 && repeated == 0)) && return
    echo "WRONG: $1: $2 sent, $first delivered, $repeated repeated" >&2
    wrong=1
}

throughput() {
    local kind round
    declare -A kept pushed drained send_rates
    for ((round = 1; round <= rounds; round++)); do
        for kind in everysec embedded; do
            # While events keep coming, at a fixed rate and then as fast as senders can.
            store round "$kind"
            start_hub round "$url"
            start_receiver
            register bench:kept "$(webhook s kept ", \"concurrency\": $concurrency")"
            register bench:pushed "$(webhook s pushed ", \"concurrency\": $concurrency")"
            send open bench:kept 1000 1 32 # warms up
            await_hook kept "$sent" 60
            curl -fsS -X POST "http://$hooks/reset"
            send open bench:kept "$sustained" "$seconds_each" 64
            hook_figures kept
            kept[$kind]+=" $(calc "$first / $seconds")"
            await_hook kept "$sent" 120
            exactly kept "$sent"
            send closed bench:pushed 64 "$seconds_each"
            hook_figures pushed
            pushed[$kind]+=" $(calc "$first / $seconds")"
            send_rates[$kind]+=" $send_rate"
            close
            # A backlog that waited while the receiver was away.
            store round "$kind"
            start_receiver
            stop "$receiver_pid"
            start_hub round "$url"
            register bench:drain "$(webhook s drain ", \"concurrency\": $concurrency")"
            send fill bench:drain "$backlog" 1000
            start_receiver "$hooks"
            await_hook drain "$backlog" 300
            exactly drain "$backlog"
            drained[$kind]+=" $rate"
            close
        done
    done
    # shellcheck disable=SC2086 # lists of numbers
    for kind in everysec embedded; do
        local label='Redis everysec'
        [ "$kind" = everysec ] || label='embedded store'
        report "webhooks, $label, backlog of $backlog" "$(median ${drained[$kind]} | xargs printf '%.0f')" /s '>=' 6700 "${drained[$kind]}"
        report "webhooks, $label, $sustained sends/s" "$(median ${kept[$kind]} | xargs printf '%.0f')" /s '>=' 6700 "${kept[$kind]}"
        report "webhooks, $label, sends at full speed" "$(median ${pushed[$kind]} | xargs printf '%.0f')" /s '' '' \
            "beside $(median ${send_rates[$kind]} | xargs printf '%.0f') sends/s"
    done
}

latency() {
    local kind round
    declare -A middle late
    for ((round = 1; round <= rounds; round++)); do
        for kind in everysec embedded; do
            store round "$kind"
            start_hub round "$url"
            start_receiver
            register bench:latency "$(webhook s latency)"
            send open bench:latency 200 1 8 # warms up
            await_hook latency "$sent" 60
            curl -fsS -X POST "http://$hooks/reset"
            send open bench:latency 200 10 8
            await_hook latency "$sent" 60
            exactly latency "$sent"
            middle[$kind]+=" $(calc "$p50 / 1000")"
            late[$kind]+=" $(calc "$p99 / 1000")"
            close
        done
    done
    # shellcheck disable=SC2086 # lists of numbers
    for kind in everysec embedded; do
        local label='Redis everysec'
        [ "$kind" = everysec ] || label='embedded store'
        report "send to webhook at 200/s, $label, p50" "$(median ${middle[$kind]})" ms '<=' 2.4 "${middle[$kind]}"
        report "send to webhook at 200/s, $label, p99" "$(median ${late[$kind]})" ms '' '' "${late[$kind]}"
    done
}

rabbit() {
    need epmd
    local window round bare hub waiting left i count=${RABBIT_COUNT:-40000}
    declare -A bares hubs ratios
    start_rabbit
    for ((round = 1; round <= rounds; round++)); do
        for window in ${WINDOWS:-16 64}; do
            "$tools/publisher" "$amqp" prepare bench bench
            bare=$("$tools/publisher" "$amqp" publish bench "$count" "$window") || fail "the bare publisher failed"
            "$tools/publisher" "$amqp" prepare bench bench
            # The backlog is filled by a hub whose broker is away, and drained by the next one on the same store.
            start_redis round everysec
            url="redis://127.0.0.1:$port"
            start_hub round "$url" EVENTS__RABBIT__URL=amqp://127.0.0.1:1/%2f
            register bench:rabbit "{\"name\": \"s\", \"source\": \"rabbit\", \"exchange\": \"bench\", \"routingKey\": \"bench\",
                \"concurrency\": $window, \"retry\": {\"first\": \"100ms\", \"max\": \"300ms\"}}"
            send fill bench:rabbit "$count" 1000
            stop "$hub_pid"
            start_hub round "$url" EVENTS__RABBIT__URL="$amqp"
            # Few looks, for each takes processor time from what is measured; the rate is that between the first and
            # the last at which something had been delivered and something was left.
            local from='' from_left to to_left
            for ((i = 0; i < 600; i++)); do
                left=$(stream_number bench:rabbit s backlog)
                ((left > 0)) || break
                if ((left < count)); then
                    to=$(date +%s%N) to_left=$left
                    [ -n "$from" ] || from=$to from_left=$left
                fi
                sleep 0.5
            done
            ((left == 0)) || fail "$left events did not reach RabbitMQ" "$folder/round.hub.log"
            [ -n "$from" ] && ((to > from)) || fail "too few events to measure RabbitMQ with: raise RABBIT_COUNT"
            hub=$(calc "($from_left - $to_left) / (($to - $from) / 1e9)")
            waiting=$("$tools/publisher" "$amqp" count bench)
            ((waiting == count)) || { echo "WRONG: $count sent, $waiting in the queue" >&2 && wrong=1; }
            bares[$window]+=" $bare"
            hubs[$window]+=" $hub"
            ratios[$window]+=" $(calc "$hub / $bare")"
            close
        done
    done
    # shellcheck disable=SC2086 # lists of numbers
    for window in ${WINDOWS:-16 64}; do
        report "RabbitMQ, window $window, bare publisher" "$(median ${bares[$window]} | xargs printf '%.0f')" /s
        report "RabbitMQ, window $window, the hub from a backlog" "$(median ${hubs[$window]} | xargs printf '%.0f')" /s '' '' "${hubs[$window]}"
        report "RabbitMQ, window $window, ratio" "$(median ${ratios[$window]})" '' '>=' 0.9 "${ratios[$window]}"
    done
}

# await_good COUNT: waits until each of the 18 good streams has delivered so many; sets $span, the seconds from the
# first delivery of all to the last.
await_good() {
    local end=$((SECONDS + 300)) ready
    while ((SECONDS < end)); do
        read -r ready span < <(curl -fsS "http://$hooks/figures" | awk -v n="$1" '
            /^good/ { if ($2 >= n) ready++; if (!from || $7 < from) from = $7; if ($8 > to) to = $8 }
            END { printf "%d %.6f\n", ready, (to - from) / 1e6 }')
        ((ready < 18)) || return 0
        sleep 0.5
    done
    fail "the good streams did not deliver everything"
}

# isolation_run MODE: drains a backlog of 18 good streams beside two others, which have none (quiet), the same (all),
# or the same and one of them nobody at its address while the other answers in 5 s (bad). Sets $good, deliveries a
# second at the 18 until the last of them is done, and $cost, processor time of the hub for each in µs. Leases of 2 s are far shorter than the slow answers.
isolation_run() {
    local mode=$1 i types='' others='' each=${ISOLATION_EACH:-20000} span
    store round everysec
    start_receiver
    stop "$receiver_pid"
    start_hub round "$url" EVENTS__STREAMS__LEASE=2s
    for ((i = 1; i <= 18; i++)); do
        types+=${types:+,}bench:good$i
        register "bench:good$i" "$(webhook s "good$i")"
    done
    [ "$mode" = quiet ] || others=,bench:other1,bench:other2
    if [ "$mode" = bad ]; then
        register bench:other1 "$(hooks=127.0.0.1:1 webhook s dead)"
        register bench:other2 "$(webhook s 'slow?delay_ms=5000')"
    else
        register bench:other1 "$(webhook s other1)"
        register bench:other2 "$(webhook s other2)"
    fi
    send fill "$types$others" "$each" 500
    local before
    before=$(ticks "$hub_pid")
    start_receiver "$hooks"
    await_good "$each"
    good=$(calc "18 * $each / $span")
    # What else the machine does moves the rate; this much less.
    cost=$(calc "($(ticks "$hub_pid") - $before) * 1e6 / $(getconf CLK_TCK) / (18 * $each)")
    if [ "$mode" = bad ]; then
        # Three waves of answers, each longer than the lease.
        await_hook slow 48 60
        ((repeated == 0)) || { echo "WRONG: $repeated deliveries repeated at the slow stream" >&2 && wrong=1; }
        slow_first=$((slow_first + first)) slow_repeated=$((slow_repeated + repeated))
        local held
        held=$(stream_number bench:other1 s backlog)
        ((held == each)) || { echo "WRONG: $held of $each events wait at the dead stream" >&2 && wrong=1; }
    fi
    local again
    again=$(curl -fsS "http://$hooks/figures" | awk '/^good/ { n += $3 } END { print n + 0 }')
    ((again == 0)) || { echo "WRONG: $again deliveries repeated at good streams" >&2 && wrong=1; }
    close
}

isolation() {
    local round mode
    declare -A rates rate_of costs
    local to_quiet='' to_all='' slow_first=0 slow_repeated=0
    for ((round = 1; round <= rounds; round++)); do
        # Each goes first in turn.
        local order='quiet bad all'
        ((round % 2)) || order='all bad quiet'
        for mode in $order; do
            isolation_run "$mode"
            rates[$mode]+=" $good"
            rate_of[$mode]=$good
            costs[$mode]+=" $cost"
        done
        to_quiet+=" $(calc "${rate_of[bad]} / ${rate_of[quiet]}")"
        to_all+=" $(calc "${rate_of[bad]} / ${rate_of[all]}")"
    done
    # shellcheck disable=SC2086 # lists of numbers
    {
        report '18 good streams, the other two quiet' "$(median ${rates[quiet]} | xargs printf '%.0f')" /s '' '' "${rates[quiet]}"
        report '18 good streams, the other two good' "$(median ${rates[all]} | xargs printf '%.0f')" /s '' '' "${rates[all]}"
        report '18 good streams, one dead, one answers in 5 s' "$(median ${rates[bad]} | xargs printf '%.0f')" /s '' '' "${rates[bad]}"
        report 'ratio to two quiet ones' "$(median $to_quiet)" '' '>=' 0.95 "$to_quiet"
        report 'ratio to two good ones' "$(median $to_all)" '' '>=' 0.95 "$to_all"
        report 'processor time of the hub a webhook, two quiet' "$(median ${costs[quiet]})" us '' '' "${costs[quiet]}"
        report 'processor time of the hub a webhook, two bad' "$(median ${costs[bad]})" us '' '' "${costs[bad]}"
        report 'redelivered by the slow one (lease 2 s)' "$slow_repeated" '' '==' 0 "of $slow_first"
    }
}

# neighbours_phase NAME: a few seconds of a load that leaves the machine idle half of the time, to the 18 good streams
# and two types of that name; sets $p50 of the good ones.
neighbours_phase() {
    send open "$types,bench:${1}1,bench:${1}2" 2000 "${NEIGHBOURS_SECONDS:-3}" 16
    await_hook good $((sent * 18 / 20)) 30
    ((first == sent * 18 / 20)) || { echo "WRONG: $first of $((sent * 18 / 20)) events came to the good streams" >&2 && wrong=1; }
    curl -fsS -X POST "http://$hooks/reset/good"
}

# The same hub, by turns: events for a dead stream and for one that answers in 5 s, and as many for types without any.
# Whatever else the machine does meets both alike.
neighbours() {
    local i pair types='' ratios='' with='' without=''
    store neighbours everysec
    start_receiver
    start_hub neighbours "$url" EVENTS__STREAMS__LEASE=2s
    for ((i = 1; i <= 18; i++)); do
        types+=${types:+,}bench:good$i
        register "bench:good$i" "$(webhook s good)"
    done
    register bench:bad1 "$(hooks=127.0.0.1:1 webhook s dead)"
    register bench:bad2 "$(webhook s 'slow?delay_ms=5000')"
    register bench:none1
    register bench:none2
    neighbours_phase none
    neighbours_phase bad
    for ((pair = 1; pair <= ${NEIGHBOURS_PAIRS:-10}; pair++)); do
        local own other
        if ((pair % 2)); then
            neighbours_phase none && other=$p50
            neighbours_phase bad && own=$p50
        else
            neighbours_phase bad && own=$p50
            neighbours_phase none && other=$p50
        fi
        with+=" $own" without+=" $other"
        ratios+=" $(calc "$own / $other" %.3f)"
    done
    # shellcheck disable=SC2086 # lists of numbers
    {
        report 'p50 of 18 good streams, no events for bad ones' "$(median $without)" us '' '' "$without"
        report 'p50 of 18 good streams, events for bad ones' "$(median $with)" us '' '' "$with"
        report 'ratio beside one dead and one that takes 5 s' "$(median $ratios)" '' '<=' 1.05 "$ratios"
    }
    hook_figures slow
    report 'redelivered by the slow one (lease 2 s)' "$repeated" '' '==' 0 "of $first"
    ((repeated == 0)) || wrong=1
    close
}

echo "$rounds rounds, $workers workers, files on $(df --output=fstype "$folder" | tail -n 1)"
for part in "${@:-throughput latency rabbit isolation neighbours}"; do
    for what in $part; do "$what"; done
done
((wrong == 0)) || fail "Events were lost or repeated; see above."
