#!/usr/bin/env bash
# Measures the live side: 1000 sessions and 200, 400 and 600 messages of 150 bytes a second, from send to receipt,
# beside nginx with nchan in the same run; what a delivery costs the hub, what idle sessions take, and a session that
# goes on over a million stored events, on both stores.
#
#   bench/live.sh
#   SESSIONS=1000 RATES="200 400 600" SECONDS_EACH=8 IDLE=10000 REPLAY=1000000 ROUNDS=3 bench/live.sh
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=bench/lib.sh
. bench/lib.sh

sessions=${SESSIONS:-1000}
rates=${RATES:-200 400 600}
seconds=${SECONDS_EACH:-8}
idle=${IDLE:-10000}
replay=${REPLAY:-1000000}

need redis-server redis-cli curl nginx
build listener sender
ulimit -n "$(ulimit -Hn)"

start_redis live everysec
start_hub live "redis://127.0.0.1:$port"
register bench:live
hub=$address

# start_nchan: sets $nchan.
start_nchan() {
    local try i
    mkdir -p "$folder/nchan"
    for ((try = 0; try < 20; try++)); do
        nchan=127.0.0.1:$((32000 + RANDOM % 12000))
        cat >"$folder/nchan.conf" <<CONF
load_module /usr/lib/nginx/modules/ngx_nchan_module.so;
worker_processes $workers;
worker_rlimit_nofile $(ulimit -n);
pid $folder/nchan/pid;
error_log $folder/nchan/error.log;
daemon off;
events { worker_connections 12000; }
http {
    access_log off;
    client_body_temp_path $folder/nchan/body;
    proxy_temp_path $folder/nchan/proxy;
    fastcgi_temp_path $folder/nchan/fastcgi;
    uwsgi_temp_path $folder/nchan/uwsgi;
    scgi_temp_path $folder/nchan/scgi;
    server {
        listen $nchan backlog=4096;
        keepalive_requests 1000000;
        location /pub { nchan_publisher; nchan_channel_id live; nchan_message_buffer_length 1000; }
        location /sub { nchan_subscriber websocket; nchan_channel_id live; nchan_subscriber_first_message newest; }
    }
}
CONF
        nginx -c "$folder/nchan.conf" -p "$folder/nchan" >"$folder/nchan.log" 2>&1 &
        nchan_pid=$!
        pids+=("$nchan_pid")
        for ((i = 0; i < 40; i++)); do
            [ "$(curl -s -o /dev/null -w '%{http_code}' -X POST -d 1 "http://$nchan/pub")" = 202 ] && return
            kill -0 "$nchan_pid" 2>/dev/null || break
            sleep 0.05
        done
        stop "$nchan_pid"
    done
    fail "nginx with nchan does not start" "$folder/nchan.log"
}
start_nchan

# listen KIND ADDRESS RATE: sets $sent $missing $deliveries $p50 $p99 $most (milliseconds).
listen() {
    local out
    out=$("$tools/listener" "$1" "$2" "$sessions" "$3" "$seconds" 2>&1) || fail "listening to $1 failed: $out"
    read -r sent missing deliveries p50 p99 most <<<"$out"
}

echo "$sessions sessions, messages of 150 bytes, $rounds rounds of $seconds s, $workers workers"
listen hub "$hub" 50
for rate in $rates; do
    hub_p50='' hub_p99='' hub_rate='' cost='' ratios='' other_p99='' lost=0
    for ((round = 1; round <= rounds; round++)); do
        before=$(ticks "$hub_pid")
        listen hub "$hub" "$rate"
        cost+=" $(calc "($(ticks "$hub_pid") - $before) * 10000 / ($sent * $sessions)")"
        hub_p50+=" $p50" hub_p99+=" $p99" hub_rate+=" $deliveries" lost=$((lost + missing))
        own=$p99
        listen nchan "$nchan" "$rate"
        other_p99+=" $p99"
        ratios+=" $(calc "$own / $p99")"
    done
    # shellcheck disable=SC2086 # lists of numbers
    {
        report "$rate messages/s, deliveries" "$(median $hub_rate)" /s
        report "$rate messages/s, p50" "$(median $hub_p50)" ms
        report "$rate messages/s, p99" "$(median $hub_p99)" ms '<=' 60 "$hub_p99"
        if ((rate <= 400)); then
            report "$rate messages/s, p99 against nchan's" "$(median $ratios)" '' '<=' 0.7 "nchan $other_p99 ms"
        fi
        # The goal is one for commits that are many enough to go out together.
        if ((rate >= 400)); then
            report "$rate messages/s, the hub's processor time" "$(median $cost)" 'us each' '<=' 2.5 "$cost"
        else
            report "$rate messages/s, the hub's processor time" "$(median $cost)" 'us each' '' '' "$cost"
        fi
    }
    [ "$lost" = 0 ] || fail "$lost deliveries are missing at $rate messages/s"
done

# memory NAME: kilobytes of the hub by a line of its status.
memory() { awk -v name="$1:" '$1 == name { print $2 }' "/proc/$hub_pid/status"; }

# Another hub: what an earlier load left in the allocator would hide what sessions take.
stop "$hub_pid"
start_hub live "redis://127.0.0.1:$port"
before=$(memory VmRSS)
"$tools/listener" hub "$address" "$idle" idle 3 >"$folder/idle.log" 2>&1 &
listener_pid=$!
pids+=("$listener_pid")
for ((i = 0; i < 600; i++)); do
    grep -q '^open' "$folder/idle.log" && break
    kill -0 "$listener_pid" 2>/dev/null || fail "idle sessions do not open" "$folder/idle.log"
    sleep 0.05
done
grep -q '^open' "$folder/idle.log" || fail "idle sessions do not open" "$folder/idle.log"
after=$(memory VmRSS)
descriptors=("/proc/$hub_pid/fd/"*)
report "memory of a session, $idle idle ones" "$(calc "($after - $before) * 1.024 / $idle")" kB '<=' 15
report "memory of the hub with them" "$(rss_mb "$hub_pid")" MB '<=' 200 "${#descriptors[@]} descriptors"
stop "$listener_pid"
stop "$hub_pid"

for store in redis embedded; do
    url="redis://127.0.0.1:$port"
    [ "$store" = redis ] || url="embedded:$folder/replay"
    start_hub "replay-$store" "$url"
    register bench:replay
    send fill bench:replay "$replay" 1000
    report "$store: $replay events sent in batches of 1000" "$(calc "$send_rate" '%.0f')" /s
    forget_peak "$hub_pid"
    before=$(memory VmRSS)
    took=$("$tools/listener" hub "$address" "$replay" replay 300 2>&1) || fail "the replay on $store failed: $took"
    report "$store: replayed to one session" "$(calc "$replay / $took" '%.0f')" /s
    grown=$(calc "($(memory VmHWM) - $before) / 1024" '%.0f')
    report "$store: the hub's memory grew by" "$grown" MB '<=' 64
    stop "$hub_pid"
done
