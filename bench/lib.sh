# What the benchmarks share. Sourced from the project's folder with `set -euo pipefail` on.
#
# Servers run on free ports in a temporary folder (TMPDIR says where: the disk matters), and only what
# was started here is stopped.
# shellcheck shell=bash

rounds=${ROUNDS:-3}
workers=${WORKERS:-$(nproc)}

# need PROGRAM...
need() {
    local program
    for program in "$@"; do
        command -v "$program" >/dev/null || { echo "$program is missing: run 'make bench', which installs it" >&2; exit 1; }
    done
}

# build EXAMPLE...: the hub and what it is measured with; sets $target and $tools.
build() {
    local examples=() example
    for example in "$@"; do examples+=(--example "$example"); done
    echo "Building (release)…" >&2
    cargo build --release --locked --quiet --bin event-source-api "${examples[@]}"
    target=$(cargo metadata --format-version 1 --no-deps | sed -E 's/.*"target_directory":"([^"]*)".*/\1/')
    tools=$target/release/examples
}

folder=$(mktemp -d "${TMPDIR:-/tmp}/hub-bench-XXXXXX")
pids=()
# stop PID: ends a server of ours and waits for it.
stop() {
    kill "$1" 2>/dev/null && wait "$1" 2>/dev/null || true
    local i
    for i in "${!pids[@]}"; do
        [ "${pids[i]}" != "$1" ] || unset 'pids[i]'
    done
}
cleanup() {
    # The last started first: a hub goes before what it stands on.
    local i indices=("${!pids[@]}")
    for ((i = ${#indices[@]} - 1; i >= 0; i--)); do
        kill "${pids[indices[i]]}" 2>/dev/null && wait "${pids[indices[i]]}" 2>/dev/null || true
    done
    rm -rf "$folder"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# fail TEXT [LOG]
fail() {
    echo "$1" >&2
    [ -z "${2:-}" ] || tail -n 20 "$2" >&2
    exit 1
}

# Waits until a log names the address that its server listens on.
address_in() {
    local i address
    for ((i = 0; i < 2400; i++)); do
        address=$(sed -nE 's/.*listening.*address=([0-9.]+:[0-9]+).*/\1/p' "$1" | head -n 1)
        [ -n "$address" ] && echo "$address" && return
        sleep 0.025
    done
    fail "a server does not start" "$1"
}

# start_redis NAME FSYNC: sets $port and $redis_pid.
start_redis() {
    local try i
    mkdir -p "$folder/$1"
    for ((try = 0; try < 20; try++)); do
        port=$((20000 + RANDOM % 12000))
        redis-server redis/redis.conf --port "$port" --dir "$folder/$1" --appendfsync "$2" >"$folder/$1.log" 2>&1 &
        redis_pid=$!
        pids+=("$redis_pid")
        for ((i = 0; i < 100; i++)); do
            [ "$(redis-cli -p "$port" ping 2>/dev/null)" = PONG ] && kill -0 "$redis_pid" 2>/dev/null && return
            kill -0 "$redis_pid" 2>/dev/null || break
            sleep 0.05
        done
        stop "$redis_pid"
    done
    fail "redis-server does not start" "$folder/$1.log"
}

# start_rabbit: sets $amqp and $rabbit_pid.
start_rabbit() {
    local home=$folder/rabbit i try epmd_port
    mkdir -p "$home"
    for ((try = 0; try < 5; try++)); do
        port=$((20000 + RANDOM % 12000))
        epmd_port=$((port + 1))
        epmd -port "$epmd_port" -address 127.0.0.1 >/dev/null 2>&1 &
        pids+=($!)
        local epmd_pid=$!
        printf 'listeners.tcp.default = 127.0.0.1:%s\ndisk_free_limit.absolute = 1MB\n' "$port" >"$home/rabbitmq.conf"
        echo '[].' >"$home/enabled_plugins"
        # Debian's script without the wrapper that insists on the system's own user; Erlang takes its place.
        env HOME="$home" RABBITMQ_NODENAME="hub-bench-$port@localhost" RABBITMQ_CONFIG_FILE="$home/rabbitmq.conf" \
            RABBITMQ_CONF_ENV_FILE="$home/none" RABBITMQ_ENABLED_PLUGINS_FILE="$home/enabled_plugins" \
            RABBITMQ_MNESIA_BASE="$home/mnesia" RABBITMQ_LOG_BASE="$home/log" RABBITMQ_DIST_PORT=$((port + 2)) \
            RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS='-kernel inet_dist_use_interface {127,0,0,1}' \
            ERL_EPMD_PORT="$epmd_port" ERL_EPMD_ADDRESS=127.0.0.1 RUNNING_UNDER_SYSTEMD=true \
            /usr/lib/rabbitmq/bin/rabbitmq-server >"$home/console.log" 2>&1 &
        rabbit_pid=$!
        pids+=("$rabbit_pid")
        amqp="amqp://guest:guest@127.0.0.1:$port/%2f"
        for ((i = 0; i < 600; i++)); do
            kill -0 "$rabbit_pid" 2>/dev/null || break
            "$tools/publisher" "$amqp" prepare bench bench >/dev/null 2>&1 && return
            sleep 0.1
        done
        stop "$rabbit_pid"
        stop "$epmd_pid"
    done
    fail "rabbitmq-server does not start" "$home/console.log"
}

# start_hub NAME STORE_URL [SETTING=VALUE...]: sets $address and $hub_pid once the hub is ready.
start_hub() {
    local name=$1 store=$2 i
    shift 2
    # Before it starts: the address in an earlier hub's log is not this one's.
    : >"$folder/$name.hub.log"
    env RUST_LOG=info EVENTS__HTTP__BIND=127.0.0.1:0 EVENTS__HTTP__WORKERS="$workers" EVENTS__STORE__URL="$store" "$@" \
        "$target/release/event-source-api" >/dev/null 2>>"$folder/$name.hub.log" &
    hub_pid=$!
    pids+=("$hub_pid")
    address=$(address_in "$folder/$name.hub.log")
    for ((i = 0; i < 2400; i++)); do
        curl -fsS -o /dev/null "http://$address/readyz" 2>/dev/null && return
        sleep 0.025
    done
    fail "a hub does not become ready" "$folder/$name.hub.log"
}

# start_receiver [ADDRESS]: sets $hooks (its address) and $receiver_pid.
start_receiver() {
    : >"$folder/receiver.log"
    # One worker: it is to cost little beside the hub.
    "$tools/receiver" "${1:-127.0.0.1:0}" 1 >>"$folder/receiver.log" 2>&1 &
    receiver_pid=$!
    pids+=("$receiver_pid")
    hooks=$(address_in "$folder/receiver.log")
}

# hook_figures NAME: sets $first $repeated $rate $p50 $p99 (microseconds) by the receiver.
hook_figures() {
    read -r first repeated rate p50 p99 < <(curl -fsS "http://$hooks/figures" |
        awk -v name="$1" '$1 == name { found = 1; print $2, $3, $4, $5, $6 } END { if (!found) print 0, 0, 0, 0, 0 }')
}

# await_hook NAME COUNT SECONDS: waits until so many events have arrived there; the figures are set.
await_hook() {
    local i
    for ((i = 0; i < $3 * 2; i++)); do
        hook_figures "$1"
        ((first < $2)) || return 0
        # Each look takes processor time away from what is measured.
        sleep 0.5
    done
    fail "only $first of $2 events arrived at $1 within $3 s"
}

# register TYPE [STREAM_JSON]
register() {
    curl -fsS -o /dev/null -X PUT "http://$address/api/events/register" -H 'Content-Type: application/json' \
        -d "{\"type\": \"$1\", \"ttl\": \"1day\", \"streams\": [${2:-}]}" || fail "the type $1 is not registered"
}

# webhook NAME PATH [MORE]: a stream as JSON. What is away is looked for often, so that a drain begins soon.
webhook() {
    printf '{"name": "%s", "source": "webhook", "uri": "http://%s/hook/%s", "retry": {"first": "100ms", "max": "300ms"}%s}' \
        "$1" "$hooks" "$2" "${3:-}"
}

# stream_number TYPE NAME FIELD: a number of the stream resource.
stream_number() {
    curl -fsS "http://$address/api/events/streams/$1/$2" | sed -nE "s/.*\"$3\":([0-9]+).*/\1/p"
}

# send MODE TYPES ...: sets $sent $seconds $send_rate $send_p50 $send_p99 (microseconds).
send() {
    local out
    out=$("$tools/sender" "$address" "$@" 2>&1) || fail "sending failed: $out"
    read -r sent seconds send_rate send_p50 send_p99 <<<"$out"
}

# calc EXPRESSION [FORMAT]
calc() { awk "BEGIN { printf \"${2:-%.2f}\", $1 }"; }
# Of an even count the mean of the middle two: either alone would flatter a goal.
median() {
    tr ' ' '\n' <<<"$*" | grep . | sort -g |
        awk '{ v[NR] = $1 } END { print (v[int((NR + 1) / 2)] + v[int((NR + 2) / 2)]) / 2 }'
}

# verdict FIGURE OPERATOR GOAL: ok or missed.
verdict() { awk -v a="$1" -v b="$3" "BEGIN { print (a $2 b) ? \"ok\" : \"missed\" }"; }

# report LABEL FIGURE UNIT [OPERATOR GOAL] [NOTE]
report() {
    local goal=''
    [ -z "${4:-}" ] || goal="goal $4 $5: $(verdict "$2" "$4" "$5")"
    printf '%-50s %10s %-8s %-24s %s\n' "$1" "$2" "$3" "$goal" "${6:-}"
}

rss_mb() { awk '/^VmRSS/ { printf "%.0f", $2 / 1024 }' "/proc/$1/status"; }
# The most since forget_peak.
peak_mb() { awk '/^VmHWM/ { printf "%.0f", $2 / 1024 }' "/proc/$1/status"; }
forget_peak() { echo 5 >"/proc/$1/clear_refs"; }
# Processor time of a process so far, in ticks of 10 ms.
ticks() { awk '{ sub(/^.*\) /, ""); print $12 + $13 }' "/proc/$1/stat"; }
# The same in microseconds, finer than a tick; of the threads that are there now.
busy_us() { cat "/proc/$1/task/"*/schedstat | awk '{ sum += $1 } END { printf "%.0f", sum / 1000 }'; }
