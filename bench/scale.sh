#!/usr/bin/env bash
# Measures what an event costs at each part: processor time of hubs and Redis for one that is sent, delivered to a webhook
# or RabbitMQ, or pushed to a session; bytes at rest in Redis; bytes on the wire between hubs and Redis, receivers, the
# broker and sessions; memory of a session; and what a hub costs that has nothing to do. With 1, 2 and 4 hubs on one Redis, and with 1 and 3 masters of a Redis Cluster.
#
#   bench/scale.sh [nodes|rest|rabbit|masters]...
#   ROUNDS=3 SECONDS_EACH=4 COUNT=100000 NODES="1 2 4" MASTERS="1 3" bench/scale.sh
#
# Everything shares this machine: rates say little here, costs are what docs/scaling.md reckons with. Its tables are
# printed at the end, ready to be put there. The exit code says whether an event was lost or repeated.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=bench/lib.sh
. bench/lib.sh

seconds_each=${SECONDS_EACH:-4}
count=${COUNT:-100000}
sessions=${SESSIONS:-400}
# Events a second while sessions listen.
pace=${PACE:-200}
# Threads for requests of each hub, one so that they compare.
workers=${WORKERS:-1}
wrong=0
read -ra node_counts <<<"${NODES:-1 2 4}"
read -ra master_counts <<<"${MASTERS:-1 3}"
declare -A figures labels units
keys=()

need redis-server redis-cli curl ss
build receiver sender listener publisher
ulimit -n "$(ulimit -Hn)"

# note KEY COLUMN FIGURE UNIT LABEL: a figure of a round, for one column of a table.
note() {
    [ -n "${labels[$1]:-}" ] || { keys+=("$1") && labels[$1]=$5 && units[$1]=$4; }
    figures["$1 $2"]+=" $3"
}
# figure KEY COLUMN: its median, or a dash.
figure() {
    # shellcheck disable=SC2086 # a list of numbers
    if [ -n "${figures["$1 $2"]:-}" ]; then median ${figures["$1 $2"]} | awk '{ printf $1 < 100 ? "%.3g\n" : "%.0f\n", $1 }'; else echo '–'; fi
}

# --- What is measured ------------------------------------------------------------------------------------------------

ports=() hubs=() hub_pids=()

redis_sum() { # redis_sum SECTION FIELD...: of all servers together.
    local p section=$1
    shift
    for p in "${ports[@]}"; do redis-cli -p "$p" info "$section"; done | tr -d '\r' |
        awk -F: -v names=" $* " 'index(names, " " $1 " ") { sum += $2 } END { printf "%.6f", sum }'
}
hubs_busy() {
    local pid sum=0
    for pid in "${hub_pids[@]}"; do sum=$((sum + $(busy_us "$pid"))); done
    echo "$sum"
}
begin() {
    began_in=$(redis_sum stats total_net_input_bytes) began_out=$(redis_sum stats total_net_output_bytes)
    began_redis=$(redis_sum cpu used_cpu_user used_cpu_sys) began_hubs=$(hubs_busy)
}
# so_far: sets $hub_us, $redis_us (all of them together), $bytes_in, $bytes_out (of Redis) since `begin`.
so_far() {
    hub_us=$(($(hubs_busy) - began_hubs))
    redis_us=$(calc "($(redis_sum cpu used_cpu_user used_cpu_sys) - $began_redis) * 1e6" %.0f)
    bytes_in=$(calc "$(redis_sum stats total_net_input_bytes) - $began_in" %.0f)
    bytes_out=$(calc "$(redis_sum stats total_net_output_bytes) - $began_out" %.0f)
}
# costs KEY COLUMN EVENTS WHAT: notes the costs of so many events.
costs() {
    note "$1-hub" "$2" "$(calc "$hub_us / $3" %.4f)" us "$4, hub"
    note "$1-redis" "$2" "$(calc "$redis_us / $3" %.4f)" us "$4, Redis"
    note "$1-wire" "$2" "$(calc "($bytes_in + $bytes_out) / $3" %.2f)" bytes "$4, between hubs and Redis"
}

# sent_to PORT: bytes that stand connections of the hubs to this port have taken, both ways.
sent_to() {
    local pid
    for pid in "${hub_pids[@]}"; do ss -HtinpO state established "dport = :$1" | grep -F "pid=$pid," || true; done |
        { grep -oE 'bytes_(sent|received):[0-9]+' || true; } | awk -F: '{ sum += $2 } END { printf "%.0f", sum }'
}

# open_hubs COUNT URL [SETTING=VALUE...]
open_hubs() {
    local i n=$1
    shift
    hubs=() hub_pids=()
    for ((i = 1; i <= n; i++)); do
        start_hub "hub$i" "$@"
        hubs+=("$address") hub_pids+=("$hub_pid")
    done
}
close_all() {
    local pid
    for pid in "${hub_pids[@]}" "${redis_pids[@]}" ${receiver_pid:-}; do stop "$pid"; done
    hub_pids=() redis_pids=() ports=() receiver_pid=''
    rm -rf "${folder:?}"/round*
}
# types PREFIX COUNT: bench:PREFIX1,bench:PREFIX2…
types() { seq -s, -f "bench:$1%g" "$2"; }

# send_all MODE …: the same load at every hub at once; sets $sent and $send_rate of all together.
send_all() {
    local i one senders=() all=0 rates=0
    for i in "${!hubs[@]}"; do
        "$tools/sender" "${hubs[i]}" "$@" >"$folder/sender$i" 2>&1 &
        senders+=($!)
    done
    for i in "${!hubs[@]}"; do
        wait "${senders[i]}" || fail "sending failed: $(cat "$folder/sender$i")"
        read -r sent seconds one _ <"$folder/sender$i"
        all=$((all + sent)) rates=$(calc "$rates + $one")
    done
    sent=$all send_rate=$rates
}

# sending COLUMN TYPES: events one a request and in batches, without streams, then batches with one.
sending() {
    local column=$1 n=${#hubs[@]} i
    for ((i = 1; i <= $2; i++)); do
        register "bench:plain$i"
        register "bench:kept$i" "$(webhook s "kept")"
    done
    # Every hub knows them once it has looked; the first events bring its connections up.
    send_all closed "$(types plain "$2")" 4 1
    begin
    send_all closed "$(types plain "$2")" $((64 / n)) "$seconds_each"
    so_far
    costs one "$column" "$sent" 'sent, one a request'
    note one-rate "$column" "$send_rate" /s 'sent, one a request, all hubs on this machine'
    begin
    send_all fill "$(types plain "$2")" $((count / $2 / n)) 100
    so_far
    costs batch "$column" "$sent" 'sent, 100 a request'
    begin
    send_all fill "$(types kept "$2")" $((count / $2 / n)) 100
    so_far
    costs kept "$column" "$sent" 'sent, 100 a request, one stream'
    # They have waited; now somebody is at their address.
    local waiting=$sent
    begin
    start_receiver "$hooks"
    await_hook kept "$waiting" 300
    so_far
    ((first == waiting && repeated == 0)) || { echo "WRONG: $waiting sent, $first delivered, $repeated repeated" >&2 && wrong=1; }
    costs webhook "$column" "$waiting" 'delivered to a webhook'
    note webhook-out "$column" "$(calc "$(sent_to "${hooks##*:}") / $waiting" %.1f)" bytes 'delivered to a webhook, between hub and receiver'
    note webhook-rate "$column" "$rate" /s 'delivered to a webhook, all hubs on this machine'
}

# listened COLUMN SESSIONS: events at a fixed pace, with so many sessions in all; sets $sent, $taken (bytes of sessions),
# and the costs.
listened() {
    local i n=${#hubs[@]} listeners=() came=0
    taken=0
    for i in "${!hubs[@]}"; do
        (($2 > 0)) || break
        # Before it starts: an earlier one's word is not this one's.
        : >"$folder/listener$i"
        "$tools/listener" hub "${hubs[i]}" $(($2 / n)) idle $((seconds_each + 4)) >>"$folder/listener$i" 2>&1 &
        listeners+=($!)
        pids+=($!)
    done
    for i in "${!listeners[@]}"; do
        local end=$((SECONDS + 30))
        until grep -q '^open' "$folder/listener$i"; do
            ((SECONDS < end)) || fail 'sessions do not open' "$folder/listener$i"
            sleep 0.05
        done
    done
    begin
    send open bench:live "$pace" "$seconds_each" 8
    # The last of them are on their way for less than this.
    sleep 0.5
    so_far
    for i in "${!listeners[@]}"; do
        wait "${listeners[i]}" || fail 'sessions ended' "$folder/listener$i"
        came=$((came + $(sed -n 's/^received //p' "$folder/listener$i")))
        taken=$((taken + $(sed -n 's/^bytes //p' "$folder/listener$i")))
    done
    ((came == sent * ($2 / n) * n)) || { echo "WRONG: $came of $((sent * ($2 / n) * n)) came to the sessions" >&2 && wrong=1; }
}

live() { # live COLUMN
    local column=$1 n=${#hubs[@]} quiet_hub
    register bench:live
    listened "$column" 0
    quiet_hub=$hub_us
    listened "$column" "$sessions"
    note live-hub "$column" "$(calc "($hub_us - $quiet_hub) / ($sent * ($sessions / $n) * $n)" %.4f)" us 'pushed to a session, hub'
    note live-out "$column" "$(calc "$taken / ($sent * ($sessions / $n) * $n)" %.1f)" bytes 'pushed to a session, between hub and session'
    note live-wire "$column" "$(calc "$bytes_out / $sent" %.1f)" bytes 'from Redis for an event, sessions at every hub'
}

idle() { # idle COLUMN
    local n=${#hubs[@]}
    begin
    sleep "$seconds_each"
    so_far
    note idle-hub "$1" "$(calc "$hub_us / $seconds_each / $n" %.1f)" us/s 'a hub with nothing to do, hub'
    note idle-redis "$1" "$(calc "$redis_us / $seconds_each / $n" %.1f)" us/s 'a hub with nothing to do, Redis'
    note idle-wire "$1" "$(calc "($bytes_in + $bytes_out) / $seconds_each / $n" %.0f)" bytes/s 'a hub with nothing to do, between it and Redis'
}

# --- Parts -----------------------------------------------------------------------------------------------------------

nodes() {
    local n
    for n in "${node_counts[@]}"; do
        start_redis round everysec
        ports=("$port") redis_pids=("$redis_pid")
        start_receiver
        stop "$receiver_pid"
        open_hubs "$n" "redis://127.0.0.1:$port"
        sending "$n" 8
        live "$n"
        sleep 1
        idle "$n"
        close_all
    done
}

# held PATTERN: bytes of such keys by Redis' own account, which neither buffers nor the minute's tokens of batches disturb.
held() {
    local key
    for key in $(redis-cli -p "$port" --scan --pattern "$1"); do
        redis-cli -p "$port" memory usage "$key" samples 0
    done | awk '{ sum += $1 } END { printf "%.0f", sum }'
}

rest() {
    local before after open
    start_redis round everysec
    ports=("$port") redis_pids=("$redis_pid")
    start_receiver
    stop "$receiver_pid"
    open_hubs 1 "redis://127.0.0.1:$port" EVENTS__LIVE__MAX_SESSIONS=20000
    register bench:one
    register bench:batch
    register bench:kept "$(webhook s kept)"
    send closed bench:one 64 "$seconds_each"
    after=$(held 'es:ev:*')
    note rest-one 1 "$(calc "$after / $sent" %.1f)" bytes 'at rest in Redis, an event sent one a request'
    before=$after
    send fill bench:batch "$count" 100
    note rest-batch 1 "$(calc "($(held 'es:ev:*') - $before) / $sent" %.1f)" bytes 'at rest in Redis, an event sent 100 a request'
    send fill bench:kept "$count" 100
    note rest-kept 1 "$(calc "$(held 'es:out:*') / $sent" %.1f)" bytes 'at rest in Redis, besides for each stream that has it to deliver'
    curl -fsS -o /dev/null "http://$address/api/events/send" -H 'Content-Type: application/json' \
        -H 'Idempotency-Key: 4b2c7f0e-7d9f-4d4c-9a51-0f6c8f1d2e3a' -d '{"type": "bench:one", "payload": 1}'
    note rest-idem 1 "$(held 'es:idem:*')" bytes 'at rest in Redis, an Idempotency-Key of 36 characters'
    before=$(awk '/^VmRSS/ { print $2 }' "/proc/$hub_pid/status")
    open=${IDLE:-4000}
    : >"$folder/listener"
    "$tools/listener" hub "$address" "$open" idle 2 >>"$folder/listener" 2>&1 &
    local listener=$!
    pids+=("$listener")
    local end=$((SECONDS + 30))
    until grep -q '^open' "$folder/listener"; do
        ((SECONDS < end)) || fail 'sessions do not open' "$folder/listener"
        sleep 0.05
    done
    note session 1 "$(calc "($(awk '/^VmRSS/ { print $2 }' "/proc/$hub_pid/status") - $before) * 1.024 / $open" %.2f)" kB 'memory of a session, hub'
    wait "$listener" || fail 'sessions ended' "$folder/listener"
    close_all
}

# Out of a backlog that was sent while the broker was away.
rabbit() {
    local left end broker out each=${RABBIT_COUNT:-30000}
    need epmd
    [ -n "${amqp:-}" ] || start_rabbit
    "$tools/publisher" "$amqp" prepare bench bench
    start_redis round everysec
    ports=("$port") redis_pids=("$redis_pid")
    open_hubs 1 "redis://127.0.0.1:$port" EVENTS__RABBIT__URL=amqp://127.0.0.1:1/%2f
    register bench:rabbit '{"name": "s", "source": "rabbit", "exchange": "bench", "routingKey": "bench", "concurrency": 64}'
    send fill bench:rabbit "$each" 100
    stop "$hub_pid"
    open_hubs 1 "redis://127.0.0.1:$port" EVENTS__RABBIT__URL="$amqp"
    begin
    broker=$(ticks "$rabbit_pid")
    end=$((SECONDS + 120))
    while left=$(stream_number bench:rabbit s backlog) && ((left > 0)); do
        ((SECONDS < end)) || fail "$left events did not reach RabbitMQ" "$folder/hub1.hub.log"
        sleep 0.25
    done
    so_far
    broker=$(calc "($(ticks "$rabbit_pid") - $broker) * 1e6 / $(getconf CLK_TCK) / $each" %.2f)
    out=${amqp##*:} out=$(calc "$(sent_to "${out%%/*}") / $each" %.1f)
    left=$("$tools/publisher" "$amqp" count bench)
    ((left == each)) || { echo "WRONG: $each sent, $left in the queue" >&2 && wrong=1; }
    costs rabbit 1 "$each" 'delivered to RabbitMQ'
    note rabbit-out 1 "$out" bytes 'delivered to RabbitMQ, between hub and broker'
    note rabbit-broker 1 "$broker" us 'delivered to RabbitMQ, the broker'
    close_all
}

# start_cluster COUNT: so many masters; sets $ports and $redis_pids.
start_cluster() {
    local i try nodes=()
    ports=() redis_pids=()
    for ((i = 1; i <= $1; i++)); do
        mkdir -p "$folder/round-master$i"
        for ((try = 0; try < 20; try++)); do
            # It also takes the port ten thousand above.
            port=$((20000 + RANDOM % 12000))
            redis-server redis/redis.conf --port "$port" --dir "$folder/round-master$i" --appendfsync everysec \
                --cluster-enabled yes >"$folder/round-master$i.log" 2>&1 &
            redis_pid=$!
            sleep 0.3
            [ "$(redis-cli -p "$port" ping 2>/dev/null)" = PONG ] && kill -0 "$redis_pid" 2>/dev/null && break
            kill "$redis_pid" 2>/dev/null || true
        done
        ((try < 20)) || fail 'redis-server does not start' "$folder/round-master$i.log"
        pids+=("$redis_pid")
        ports+=("$port") redis_pids+=("$redis_pid") nodes+=("127.0.0.1:$port")
    done
    if (($1 == 1)); then
        redis-cli -p "$port" cluster addslotsrange 0 16383 >/dev/null
    else
        redis-cli --cluster create "${nodes[@]}" --cluster-yes >"$folder/create.log" 2>&1 || fail 'no cluster' "$folder/create.log"
    fi
    for port in "${ports[@]}"; do
        for ((i = 0; i < 200; i++)); do
            redis-cli -p "$port" cluster info | grep -q 'cluster_state:ok' && break
            sleep 0.1
        done
        ((i < 200)) || fail 'the cluster does not come up' "$folder/create.log"
    done
    url=redis-cluster://$(IFS=,; echo "${nodes[*]}")
}

# One hub, and types enough for every master to have some.
masters() {
    local n
    for n in "${master_counts[@]}"; do
        start_cluster "$n"
        start_receiver
        stop "$receiver_pid"
        open_hubs 1 "$url"
        sending "m$n" 24
        sleep 1
        idle "m$n"
        close_all
    done
}

# --- What comes of it ------------------------------------------------------------------------------------------------

# reported COLUMN WORDS: a line a figure.
reported() {
    local key
    for key in "${keys[@]}"; do
        [ -z "${figures["$key $1"]:-}" ] || report "${labels[$key]}, $2" "$(figure "$key" "$1")" "${units[$key]}" '' '' "${figures["$key $1"]}"
    done
}

# as_table HEAD COLUMN...: Markdown, the rows that have a figure in any of the columns.
as_table() {
    local key column row any
    echo "$1"
    shift
    printf '| --- | --- |'
    printf ' --: |%.0s' "$@"
    echo
    for key in "${keys[@]}"; do
        row='' any=
        for column in "$@"; do
            row+=" $(figure "$key" "$column") |"
            [ -z "${figures["$key $column"]:-}" ] || any=1
        done
        [ -z "$any" ] || echo "| ${labels[$key]} | ${units[$key]/us/µs} |$row"
    done
}

# sum LABEL EXPRESSION FORMAT: a row for 1 000, 100 000 and 10 000 000 events a second (`r`), in which `KEY` is the median
# with one hub.
sum() {
    local r row='' key expression
    for r in 1e3 1e5 1e7; do
        expression=$2
        for key in "${keys[@]}"; do expression=${expression//"{$key}"/$(figure "$key" 1)}; done
        row+=" $(awk "function up(x) { return x > int(x) ? int(x) + 1 : int(x) }
            function most(a, b) { return a > b ? a : b }
            function bytes(x,  u) { u = 1; while (x >= 1000 && u < 6) { x /= 1000; u++ }
                return sprintf(\"%.3g %s\", x, substr(\"B kBMBGBTBPB\", u * 2 - 1, 2)) }
            function short(x) { return sprintf(x < 100 ? \"%.2g\" : \"%.0f\", x) }
            BEGIN { r = $r; printf \"$3\", $expression }") |"
    done
    echo "| $1 |$row"
}
# Each event is delivered to one webhook and pushed to two sessions, and kept for a day. Nothing is to be busy for more
# than half of the time: what is left is for peaks, and for doing the work of a neighbour that is gone.
sums() {
    # What a stream adds to sending one event a request is as much as it adds in batches.
    local one='({one-hub} + {kept-hub} - {batch-hub} + {webhook-hub} + 2 * {live-hub}) / 1e6'
    local batch='({kept-hub} + {webhook-hub} + 2 * {live-hub}) / 1e6'
    local redis_one='({one-redis} + {kept-redis} - {batch-redis} + {webhook-redis}) / 1e6'
    local redis_batch='({kept-redis} + {webhook-redis}) / 1e6'
    echo '| events a second | 1 000 | 100 000 | 10 000 000 |'
    echo '| --- | --: | --: | --: |'
    sum 'busy cores of hubs, one event a request' "short(r * $one)" %s
    sum 'busy cores of hubs, 100 events a request' "short(r * $batch)" %s
    sum 'hubs of 8 cores, half busy, one event a request' "most(2, up(r * $one / 4))" %d
    sum 'busy cores of Redis, one event a request' "short(r * $redis_one)" %s
    sum 'busy cores of Redis, 100 events a request' "short(r * $redis_batch)" %s
    sum 'masters, half busy, one event a request' "up(r * $redis_one / 0.5)" %d
    sum 'masters, half busy, 100 events a request' "up(r * $redis_batch / 0.5)" %d
    sum 'at rest in Redis for a day' 'bytes(r * 86400 * {rest-batch})' %s
    sum 'masters of 32 GB that hold a day' 'up(r * 86400 * {rest-batch} / 32e9)' %d
    sum 'at rest, a day of Idempotency-Keys, one an event' 'bytes(r * 86400 * {rest-idem})' %s
    sum 'between hubs and Redis, a second' 'bytes(r * ({kept-wire} + {webhook-wire}))' %s
    sum 'between hubs, receivers and sessions, a second' 'bytes(r * ({webhook-out} + 2 * {live-out}))' %s
    sum 'busy cores of brokers, RabbitMQ in place of webhooks' 'short(r * {rabbit-broker} / 1e6)' %s
}

echo "$rounds rounds, $workers HTTP thread(s) a hub, $(nproc) cores for everything"
read -ra parts <<<"${*:-nodes rest rabbit masters}"
for ((round = 1; round <= rounds; round++)); do
    for part in "${parts[@]}"; do "$part"; done
done
for n in "${node_counts[@]}"; do reported "$n" "$n hub(s)"; done
for n in "${master_counts[@]}"; do reported "m$n" "$n master(s)"; done
if [[ " ${parts[*]} " =~ ' '(nodes|rest|rabbit)' ' ]]; then
    echo
    as_table "| on one Redis | unit |$(printf ' %s hubs |' "${node_counts[@]}" | sed 's/ 1 hubs/ 1 hub/')" "${node_counts[@]}"
fi
if [[ " ${parts[*]} " == *' masters '* ]]; then
    echo
    as_table "| one hub on a Redis Cluster | unit |$(printf ' %s masters |' "${master_counts[@]}" | sed 's/ 1 masters/ 1 master/')" "${master_counts[@]/#/m}"
fi
if [[ " ${parts[*]} " == *' nodes '*rest*rabbit* ]]; then
    echo
    sums
fi
((wrong == 0)) || fail 'Events were lost or repeated; see above.'
