#!/usr/bin/env bash
# Checks what is needed to deploy the hub as far as that goes without a container engine, an init system or a Kubernetes:
# the files against their schemas and each other, and what they start, by hand and on free ports of this machine.
#
#   scripts/check-deploy.sh [files|service|image|cluster|balancers]...        all of them without arguments
#   HUB=target/debug/event-source-api scripts/check-deploy.sh                 with a hub that is built already
#
# Without HUB the build commands of the Dockerfile are run on what the Dockerfile would be given. Only what was started
# here is stopped.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin:/sbin

folder=$(mktemp -d "${TMPDIR:-/tmp}/check-deploy-XXXXXX")
pids=()
cleanup() {
    local i indices=("${!pids[@]}")
    for ((i = ${#indices[@]} - 1; i >= 0; i--)); do
        # What was frozen does not hear that it is to end.
        kill -CONT "${pids[indices[i]]}" 2>/dev/null || continue
        kill "${pids[indices[i]]}" 2>/dev/null && wait "${pids[indices[i]]}" 2>/dev/null || true
    done
    rm -rf "$folder"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

ok() { printf '  ok    %s\n' "$1"; }
left_out() { printf '  --    %s\n' "$1"; }
# fail TEXT [LOG]
fail() {
    printf '  WRONG %s\n' "$1" >&2
    [ -z "${2:-}" ] || tail -n 20 "$2" >&2
    exit 1
}
# await SECONDS WHAT COMMAND...: until the command succeeds.
await() {
    local end=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < end)) || fail "$what: not within the time given" "${log:-}"
        sleep 0.05
    done
}
# end PID: SIGTERM; sets $status once it has ended.
end() {
    kill -TERM "$1"
    status=0
    wait "$1" || status=$?
}
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# --- The hub ---------------------------------------------------------------------------------------------------------

# build: sets $hub; the Dockerfile's own commands, with its folders in place of a container's.
build() {
    [ -n "${HUB:-}" ] && hub=$(realpath "$HUB") && return
    [ -z "${hub:-}" ] || return 0
    local context=$folder/context out run
    out=$(realpath -m "${CARGO_TARGET_DIR:-target}")
    mkdir -p "$context"
    # What is in git and not ignored by docker: names of folders and files from the top, as .dockerignore has them.
    git ls-files -z | python3 -c '
import sys
ignored = [line.strip() for line in open(".dockerignore") if line.strip() and not line.startswith("#")]
names = sys.stdin.buffer.read().decode().split("\0")[:-1]
kept = [n for n in names if not any(n == i or n.startswith(i + "/") for i in ignored)]
sys.stdout.buffer.write("\0".join(kept).encode())' | xargs -0 cp --parents -t "$context"
    run=$(python3 -c '
import re
text = open("Dockerfile").read().replace("\\\n", " ")
run = re.findall(r"^RUN (.*)$", text, re.M)
assert len(run) == 1, run
print(re.sub(r"--mount=\S+", "", run[0]))')
    run=${run//\/image/$folder\/image}
    run=${run//target\/release/$out\/release}
    echo "Building as the Dockerfile does…" >&2
    (cd "$context" && env CARGO_TARGET_DIR="$out" CARGO_PROFILE_RELEASE_STRIP=debuginfo sh -ec "$run") ||
        fail 'the build commands of the Dockerfile'
    hub=$folder/image/usr/bin/event-source-api
    ok "the Dockerfile's build commands: $(du -h "$hub" | cut -f 1)"
}

# start_hub NAME [SETTING=VALUE...]: sets $address and $hub_pid once it is ready; $before stands before its command.
start_hub() {
    log=$folder/$1.log
    shift
    : >"$log"
    # shellcheck disable=SC2086 # a command and its arguments
    env RUST_LOG=info EVENTS__HTTP__BIND=127.0.0.1:0 "$@" ${before:-} "$hub" ${arguments:-} >>"$log" 2>&1 &
    hub_pid=$!
    pids+=("$hub_pid")
    await 30 'the hub listens' grep -q 'listening.*address=' "$log"
    address=$(sed -nE 's/.*listening.*address=([0-9.]+:[0-9]+).*/\1/p' "$log" | head -n 1)
    await 30 'the hub is ready' curl -fsS "http://$address/readyz"
}

# register ADDRESS TYPE [STREAM]
register() {
    curl -fsS -o /dev/null -X PUT "http://$1/api/events/register" -H 'Content-Type: application/json' \
        -d "{\"type\": \"$2\", \"ttl\": \"1h\", \"streams\": [${3:-}]}" || fail "registering at $1"
}
# send ADDRESS TYPE
send() {
    curl -fsS --max-time 10 "http://$1/api/events/send" -H 'Content-Type: application/json' -d "{\"type\": \"$2\", \"payload\": 1}" |
        grep -q '"accepted"'
}

start_redis() { # start_redis FOLDER ARGUMENT...: sets $port and $redis_pid.
    local try data=$1
    shift
    mkdir -p "$data"
    for ((try = 0; try < 20; try++)); do
        # A member of a cluster also takes the port ten thousand above.
        port=$((20000 + RANDOM % 12000))
        "$@" --port "$port" --dir "$data" >"$data.log" 2>&1 &
        redis_pid=$!
        local i
        for ((i = 0; i < 100; i++)); do
            kill -0 "$redis_pid" 2>/dev/null || break
            [ "$(redis-cli -p "$port" ping 2>/dev/null)" != PONG ] || { pids+=("$redis_pid") && return; }
            sleep 0.05
        done
        kill "$redis_pid" 2>/dev/null || true
    done
    fail 'redis-server does not start' "$data.log"
}

# --- Files -----------------------------------------------------------------------------------------------------------

files() {
    echo 'Files'
    local venv
    venv=$(realpath -m "${CARGO_TARGET_DIR:-target}")/check-deploy
    if [ ! -x "$venv/bin/yamllint" ]; then
        python3 -m venv "$venv"
        "$venv/bin/pip" install -q --disable-pip-version-check check-jsonschema==0.39.0 kubernetes-validate==1.37.0 \
            yamllint==1.38.0
    fi
    "$venv/bin/yamllint" -s -d '{extends: relaxed, rules: {line-length: {max: 140}}}' compose.yaml deploy/kubernetes ||
        fail 'YAML'
    ok 'YAML, and no key twice'
    "$venv/bin/check-jsonschema" --builtin-schema vendor.compose-spec compose.yaml >"$folder/out" || fail compose.yaml "$folder/out"
    ok 'compose.yaml against the schema of Compose'
    local file version
    for file in deploy/kubernetes/*.yaml; do
        [ "$file" != deploy/kubernetes/kustomization.yaml ] || continue
        # The oldest that will do, and the newest there is a schema for.
        for version in 1.30 1.37; do
            "$venv/bin/kubernetes-validate" --strict --kubernetes-version "$version" "$file" >"$folder/out" 2>&1 ||
                fail "$file, Kubernetes $version" "$folder/out"
        done
    done
    ok 'manifests against the schemas of Kubernetes 1.30 and 1.37, nothing unknown in them'
    "$venv/bin/python" scripts/deploy_files.py || fail 'the files do not fit together'
    bash -n deploy/create-cluster.sh
}

# --- systemd ---------------------------------------------------------------------------------------------------------

service() {
    echo 'systemd'
    build
    local unit=$folder/event-source-api.service allowed used
    sed "s#/usr/local/bin/event-source-api#$hub#" deploy/systemd/event-source-api.service >"$unit"
    systemd-analyze verify "$unit" 2>"$folder/out" || fail 'the unit' "$folder/out"
    [ ! -s "$folder/out" ] || fail 'the unit' "$folder/out"
    ok 'the unit, by systemd-analyze verify'
    systemd-analyze security --offline=yes --no-pager --threshold=15 "$unit" >"$folder/out" || fail 'exposure' "$folder/out"
    ok "$(sed -nE 's/.*(Overall exposure level).*: ([0-9.]+).*/\1 \2/p' "$folder/out") of 10"

    # The unit's settings and environment, on an empty folder; every call to the kernel is noted.
    local state=$folder/state before=
    mkdir "$state" && cp deploy/systemd/config.toml "$state/"
    # shellcheck disable=SC2046 # lines of NAME=VALUE
    set -- $(grep -v '^#' deploy/systemd/environment || true)
    before="strace -f -qq -o $folder/calls"
    (
        cd "$state"
        arguments='--config config.toml'
        start_hub service "$@"
        register "$address" check:service "{\"source\": \"webhook\", \"uri\": \"http://$address/healthz\"}"
        send "$address" check:service || fail 'sending'
        curl -fsS -o /dev/null "http://$address/api/events/feed/hour/current"
        curl -fsS -o /dev/null -X PUT "http://$address/api/events/ok/check" -H 'Content-Type: application/json' -d '{"ids": ["1"]}'
        # strace hands its own end on to what it runs.
        kill -TERM "$(pgrep -P "$hub_pid")"
        wait "$hub_pid"
    ) || fail 'the hub with the settings of the service' "$folder/service.log"
    ok 'the hub starts with config.toml and environment, works, and ends by SIGTERM with 0'
    allowed=$(python3 - deploy/systemd/event-source-api.service <<'PYTHON'
import re, subprocess, sys
# What the unit's filters leave, by systemd's own lists.
groups = {}
for line in subprocess.run(["systemd-analyze", "syscall-filter"], capture_output=True, text=True, check=True).stdout.splitlines():
    word = line.strip()
    if line.startswith("@"): group = groups.setdefault(word, [])
    elif word and not word.startswith("#"): group.append(word)
def calls(name):
    return set().union(*map(calls, groups[name])) if name in groups else {name}
allowed = set()
for line in re.findall(r"^SystemCallFilter=(.*)$", open(sys.argv[1]).read(), re.M):
    named = set().union(*map(calls, line.lstrip("~").split()))
    allowed = allowed - named if line.startswith("~") else allowed | named | calls("@default")
print("\n".join(sorted(allowed)))
PYTHON
    )
    used=$(sed -nE 's/^[0-9]+ +([a-z_0-9]+)\(.*/\1/p' "$folder/calls" | sort -u)
    # The program itself is started before the filter is in force.
    used=$(comm -23 <(echo "$used") <(printf '%s\nexecve\n' "$allowed" | sort -u))
    [ -z "$used" ] || fail "calls to the kernel that the unit forbids: $used"
    ok "none of the $(sed -nE 's/^[0-9]+ +([a-z_0-9]+)\(.*/\1/p' "$folder/calls" | sort -u | wc -l) calls to the kernel that it made is forbidden by the unit"
    # What the filter does not name: memory that is written and run, and kinds of sockets.
    ! grep -qE '(mmap|mprotect|pkey_mprotect)\(.*PROT_WRITE\|PROT_EXEC|mprotect\(.*PROT_EXEC' "$folder/calls" ||
        fail 'it makes memory that can be run, which MemoryDenyWriteExecute forbids'
    used=$(grep -oE 'socket(pair)?\(AF_[A-Z0-9_]+' "$folder/calls" | sed 's/.*(//' | sort -u)
    used=$(comm -23 <(echo "$used") <(sed -n 's/^RestrictAddressFamilies=//p' deploy/systemd/event-source-api.service | tr ' ' '\n' | sort))
    [ -z "$used" ] || fail "sockets that the unit forbids: $used"
    ok 'nor any memory it made, nor any kind of socket'
}

# --- The image -------------------------------------------------------------------------------------------------------

image() {
    echo 'The image'
    build
    if [ "$(id -u)" -ne 0 ]; then
        left_out 'the bare root is made by root only'
        return
    fi
    local root=$folder/root library port check
    install -D "$hub" "$root/usr/bin/event-source-api"
    install -d -o 65532 -g 65532 "$root/data"
    mkdir "$root/dev" && mknod -m 666 "$root/dev/null" c 1 3
    # What stands in for the image below it: the C library and the certificates, from this Debian.
    ldd "$hub" | grep -oE '/[^ ]+' | while read -r library; do install -D "$library" "$root$library"; done
    install -D -m 644 /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
    ok "links to $(ldd "$hub" | grep -oE '[a-z0-9_-]+\.so[.0-9]*' | sort -u | tr '\n' ' ')"

    # The environment of the image, and its user.
    local -a settings
    mapfile -t settings < <(python3 -c '
import re
for block in re.findall(r"^ENV (EVENTS.*)$", open("Dockerfile").read().replace("\\\n", " "), re.M):
    print("\n".join(block.split()))')
    local -a inside=(env -i "${settings[@]}")
    local bare=("$(command -v chroot)" --userspec=65532:65532 "$root")
    local status=0
    timeout 20 "${inside[@]}" "${bare[@]}" /usr/bin/event-source-api >"$folder/out" 2>&1 || status=$?
    [ "$status" -eq 78 ] && grep -q '^event-source-api: http.bind' "$folder/out" ||
        fail "as it stands it ought to refuse to be open, with 78: $status" "$folder/out"
    ok "as it stands: $(cat "$folder/out")"

    port=$(free_port)
    "${inside[@]}" RUST_LOG=info EVENTS__HTTP__BIND="127.0.0.1:$port" "${bare[@]}" /usr/bin/event-source-api >"$folder/image.log" 2>&1 &
    hub_pid=$!
    pids+=("$hub_pid")
    log=$folder/image.log
    await 30 'the hub in a bare root is ready' curl -fsS "http://127.0.0.1:$port/readyz"
    [ "$(awk '/^Uid/ { print $2 }' "/proc/$hub_pid/status")" = 65532 ] || fail 'it is not the user of the image'
    [ -e "$root/data/version" ] || [ -n "$(ls "$root/data")" ] || fail 'nothing is in /data'
    register "127.0.0.1:$port" check:image
    send "127.0.0.1:$port" check:image || fail 'sending to the hub in a bare root' "$log"
    ok 'in a bare root, as user 65532: ready, and takes events'
    mapfile -t check < <(python3 -c '
import json, re
text = open("Dockerfile").read().replace("\\\n", " ")
print("\n".join(json.loads(re.search(r"^HEALTHCHECK .*?CMD (\[.*\])$", text, re.M).group(1))))')
    check=("${bare[@]}" "${check[@]/:8080/:$port}")
    "${check[@]}" || fail "${check[*]}"
    end "$hub_pid"
    [ "$status" -eq 0 ] || fail "SIGTERM: exit code $status" "$log"
    ! "${check[@]}" 2>/dev/null || fail 'the health check likes a hub that is gone'
    ok 'the health check, with and without a hub; SIGTERM ends it with 0'
}

# --- Redis Cluster ---------------------------------------------------------------------------------------------------

cluster() {
    echo 'Redis Cluster'
    local i servers=() names=() members=() command
    # The command of compose.yaml, on this machine's loopback.
    read -ra command < <(python3 -c '
import re
text = open("compose.yaml").read()
found = re.search(r"command: >-\n((?:    redis-server|    --).*\n(?:    --.*\n)*)", text).group(1)
print(" ".join(found.split()).replace("/etc/redis.conf", "redis/redis.conf").replace("0.0.0.0", "127.0.0.1").replace(" --dir /data", ""))')
    for i in 1 2 3 4 5 6; do
        start_redis "$folder/member-$i" "${command[@]}"
        servers+=("127.0.0.1:$port") members+=("$redis_pid")
    done
    for i in new 'there already'; do
        sh deploy/create-cluster.sh "${servers[@]}" >"$folder/out" 2>&1 || fail "a cluster that is $i" "$folder/out"
    done
    [ "$(redis-cli -p "$port" cluster nodes | grep -c master)" = 3 ] && [ "$(redis-cli -p "$port" cluster nodes | grep -c slave)" = 3 ] ||
        fail 'not three masters and three replicas'
    ok 'compose.yaml and create-cluster.sh make three masters with a replica each, and find them made the second time'
    for i in "${!members[@]}"; do
        end "${members[i]}"
        "${command[@]}" --port "${servers[i]#*:}" --dir "$folder/member-$((i + 1))" >>"$folder/member-$((i + 1)).log" 2>&1 &
        pids+=($!)
    done
    sh deploy/create-cluster.sh "${servers[@]}" >"$folder/out" 2>&1 || fail 'a cluster that was started again' "$folder/out"
    ok 'each member started again, and the cluster is whole'
    build
    names=(EVENTS__STORE__URL="redis-cluster://${servers[0]},${servers[1]},${servers[2]}" EVENTS__STORE__WAIT_REPLICAS=1)
    start_hub cluster "${names[@]}"
    for i in 1 2 3 4 5 6 7 8; do
        register "$address" "check:cluster$i"
        send "$address" "check:cluster$i" || fail 'sending on a cluster' "$log"
    done
    [ "$(curl -fsS "http://$address/api/events/feed/hour/current" | grep -o '"created_at"' | wc -l)" = 8 ] ||
        fail 'not every event is in the feed of a cluster' "$log"
    end "$hub_pid"
    ok 'a hub on it, with wait_replicas = 1, takes events of eight types and has them in the feed'
}

# --- Load balancers --------------------------------------------------------------------------------------------------

# answered COUNT: whether the client that sends has more answers than that.
answered() { [ "$(wc -l <"$folder/codes")" -gt "$1" ]; }

# behind NAME: what must hold with a balancer at $front before the hubs at $hubs.
behind() {
    local name=$1 type=check:$1 i
    log=$folder/$name.log
    await 15 "$name passes requests on" curl -fsS "http://$front/readyz"
    register "$front" "$type"
    # Both hubs know the type once each has answered for it.
    send "$front" "$type" && send "$front" "$type" || fail "sending through $name" "$log"

    python3 scripts/live.py "http://$front/api/events/?types=$type" 3 >"$folder/ws" 2>"$folder/ws.log" &
    local ws=$!
    curl -sSN -H 'Accept: text/event-stream' "http://$front/api/events/?types=$type" >"$folder/sse" &
    local sse=$!
    pids+=("$ws" "$sse")
    await 10 "a WebSocket through $name" grep -q connected "$folder/ws.log"
    local began=$SECONDS
    # The hub says nothing on a new stream of events: it is there when the first event comes.
    for ((i = 0; i < 200; i++)); do
        send "$front" "$type" || fail "sending through $name" "$log"
        [ "$(grep -c '^data:' "$folder/sse")" -lt 3 ] || [ "$(wc -l <"$folder/ws")" -lt 3 ] || break
        sleep 0.05
    done
    wait "$ws" || fail "a WebSocket through $name" "$folder/ws.log"
    [ "$(grep -c '^data:' "$folder/sse")" -ge 3 ] || fail "Server-Sent Events through $name within $((SECONDS - began)) s" "$folder/sse"
    kill "$sse" && wait "$sse" 2>/dev/null || true
    ok "$name: requests, WebSocket, Server-Sent Events as they come"

    # Each hub is stopped and started again under a client that keeps its connection and never repeats a request.
    local urls=() total=800
    register "$front" "$type-stop"
    for ((i = 0; i < total; i++)); do urls+=(-o /dev/null "http://$front/api/events/send"); done
    stdbuf -oL curl -sS --rate 100/s -w '%{http_code}\n' -H 'Content-Type: application/json' \
        -d "{\"type\": \"$type-stop\", \"payload\": 1}" "${urls[@]}" >"$folder/codes" 2>"$folder/codes.log" &
    local client=$! stopped
    pids+=("$client")
    for i in 0 1; do
        await 20 'the client sends' answered $((i * 300 + 30))
        end "${running[i]}"
        [ "$status" -eq 0 ] || fail "hub $i ends with $status" "$folder/hub-$i.log"
        stopped=$(wc -l <"$folder/codes")
        await 20 'the client goes on beside a stopped hub' answered $((stopped + 50))
        start_hub "hub-$i" "${setting[@]}" EVENTS__HTTP__BIND="${hubs[i]}"
        running[i]=$hub_pid
        await 20 'the client goes on after a start' answered $((stopped + 250))
        log=$folder/$name.log
    done
    wait "$client" || true
    [ "$(sort "$folder/codes" | uniq -c | tr -s ' ')" = " $total 202" ] ||
        fail "$name, answers while hubs are replaced: $(sort "$folder/codes" | uniq -c | tr '\n' ' ' | head -c 400)" "$folder/codes.log"
    i=$(curl -fsS "http://$front/api/events/feed/hour/current?types=$type-stop" | grep -o '"created_at"' | wc -l)
    [ "$i" = "$total" ] || fail "$name: $i events of $total are stored"
    ok "$name: both hubs replaced one after the other under load: $total of $total answered with 202, each stored once"
}

balancers() {
    echo 'Load balancers'
    build
    local front hubs=() running=() setting i
    start_redis "$folder/store" redis-server redis/redis.conf --appendfsync everysec
    local store=$redis_pid
    setting=(EVENTS__STORE__URL="redis://127.0.0.1:$port" EVENTS__STORE__TIMEOUT=2s)
    for i in 0 1; do
        start_hub "hub-$i" "${setting[@]}"
        hubs+=("$address") running+=("$hub_pid")
    done
    # Each file with this machine's addresses in it, and without the third hub.
    adapted() { sed -E "/hub-3/d; s/\bhub-1:8080/${hubs[0]}/; s/\bhub-2:8080/${hubs[1]}/; s/^( *(bind|listen)) :?8080/\1 $front/; s/maxconn 20000/maxconn 2000/" "$1"; }

    front=127.0.0.1:$(free_port)
    haproxy -c -q -f deploy/haproxy.cfg || fail 'haproxy.cfg'
    adapted deploy/haproxy.cfg >"$folder/haproxy.cfg"
    haproxy -db -f "$folder/haproxy.cfg" >"$folder/haproxy.log" 2>&1 &
    local balancer=$!
    pids+=("$balancer")
    behind haproxy
    # A hub that is there and does not move takes requests that nobody answers, until it is found out.
    kill -STOP "${running[0]}"
    twenty() { for _ in {1..20}; do curl -fsS --max-time 1 -o /dev/null "http://$front/readyz" || return 1; done; }
    await 20 'a frozen hub is left out by haproxy' twenty
    kill -CONT "${running[0]}"
    ok 'haproxy: a frozen hub is left out'
    kill -STOP "$store"
    none() { curl -sS --max-time 5 -i "http://$front/api/events/register" | tr -d '\r' >"$folder/none" && grep -q 'no hub is ready' "$folder/none"; }
    await 30 'no hub is ready without a store' none
    grep -q '^HTTP/1.1 503' "$folder/none" && grep -qi '^retry-after: 1$' "$folder/none" && grep -qi '^content-type: application/problem+json' "$folder/none" ||
        fail 'the answer without a hub' "$folder/none"
    kill -CONT "$store"
    await 30 'hubs are back with their store' send "$front" check:haproxy
    ok 'haproxy: without a store a problem document with Retry-After; with it again, events are taken'
    end "$balancer"

    front=127.0.0.1:$(free_port)
    mkdir -p "$folder/nginx"
    {
        printf 'daemon off; pid %s/pid; error_log stderr; events {} http { access_log off;\n' "$folder/nginx"
        for i in client_body proxy fastcgi uwsgi scgi; do printf '%s_temp_path %s/%s;\n' "$i" "$folder/nginx" "$i"; done
        adapted deploy/nginx.conf
        echo '}'
    } >"$folder/nginx.conf"
    nginx -t -q -p "$folder/nginx" -c "$folder/nginx.conf" || fail 'nginx.conf'
    nginx -p "$folder/nginx" -c "$folder/nginx.conf" >"$folder/nginx.log" 2>&1 &
    pids+=($!)
    behind nginx
}

scripts/install.sh curl=curl python3=python3 git=git redis-server=redis-server redis-cli=redis-tools strace=strace pgrep=procps \
    systemd-analyze=systemd haproxy=haproxy nginx=nginx-light
for part in "${@:-files service image cluster balancers}"; do
    for what in $part; do "$what"; done
done
echo 'Everything that can be checked here holds.'
