#!/usr/bin/env bash
# Measures the bytes that a client's mark on an event takes in Redis, at 10 000 events an hour of one type: by Redis'
# account of the keys that hold one client's marks, and by what its memory grows by when ten clients mark them all.
#
#   bench/marks.sh           MARKS=10000 bench/marks.sh
#
# Redis runs on a free port in a temporary folder, and only what was started here is stopped. It runs on a clock of its
# own: the events of an hour are laid out over the hour by hand, as the append script would have stored them, and
# marked by the mark script itself. A goal that is missed is printed.
set -euo pipefail
cd "$(dirname "$0")/.."

marks=${MARKS:-10000}

for program in redis-server redis-cli awk; do
    command -v "$program" >/dev/null || { echo "$program is missing" >&2; exit 1; }
done

folder=$(mktemp -d "${TMPDIR:-/tmp}/hub-bench-XXXXXX")
pid=
cleanup() {
    [ -z "$pid" ] || { kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null || true; }
    rm -rf "$folder"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

fail() {
    echo "$1" >&2
    [ ! -f "$folder/redis.log" ] || tail -n 20 "$folder/redis.log" >&2
    exit 1
}

# Sets $port.
start_redis() {
    local try i
    for ((try = 0; try < 20; try++)); do
        port=$((20000 + RANDOM % 12000))
        redis-server redis/redis.conf --port "$port" --dir "$folder" --appendonly no >"$folder/redis.log" 2>&1 &
        pid=$!
        for ((i = 0; i < 100; i++)); do
            [ "$(redis-cli -p "$port" ping 2>/dev/null)" = PONG ] && kill -0 "$pid" 2>/dev/null && return
            kill -0 "$pid" 2>/dev/null || break
            sleep 0.05
        done
        kill "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
        pid=
    done
    fail "redis-server does not start"
}

redis() { redis-cli -p "$port" "$@"; }
used() { redis info memory | awk -F: '/^used_memory:/ { print $2 + 0 }'; }

start_redis

# As the hub puts a script together: flags first, then what it needs.
{ head -n 1 redis/mark.lua && cat redis/chunk.lua redis/feed.lua && tail -n +3 redis/mark.lua; } >"$folder/mark.lua"
mark=$(redis -x script load <"$folder/mark.lua")

# One event each so many milliseconds of the hour before this one.
cat >"$folder/fill.lua" <<'EOF'
local first, step, count = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
for i = 0, count - 1 do
  local ms = first + math.floor(i * step)
  local v = (ms - 1514764800000) * 512
  redis.call('ZADD', KEYS[1], ms, struct.pack('>I8', v) .. string.char(1, 1, 1) .. '1')
end
redis.call('HSET', KEYS[2], math.floor(first / 3600000), count)
return count
EOF
hour=$(($(date +%s) / 3600 - 1))
first=$((hour * 3600000))
redis eval "$(cat "$folder/fill.lua")" 2 "es:ev:{1}:1:$hour" "es:hours:{1}:1" "$first" \
    "$(awk "BEGIN { print 3600000 / $marks }")" "$marks" >/dev/null

# mark_all CLIENT: marks every event, a hundred in a call.
mark_all() {
    awk -v first="$first" -v marks="$marks" -v sha="$mark" -v client="$1" 'BEGIN {
        for (i = 0; i < marks; i++) {
            ms = first + int(i * 3600000 / marks)
            if (i % 100 == 0) printf "%sEVALSHA %s 1 es:last:{1} es:", i ? "\n" : "", sha
            printf " 1 1 %.0f 86400000 %s", (ms - 1514764800000) * 512, client
        }
        print ""
    }' | redis >"$folder/answers"
    local done
    done=$(grep -c '^1$' "$folder/answers")
    [ "$done" = "$marks" ] || fail "$done of $marks were marked"
}

# The first client's marks also take what Redis takes once: buffers, the script.
mark_all shop-6
before=$(used)
for client in shop-7 shop-{8..16}; do mark_all "$client"; done
after=$(used)

# Redis' own account, keys and all.
bytes=0
for key in $(redis --scan --pattern 'es:ok:*:shop-7') $(redis --scan --pattern 'es:m:*:shop-7'); do
    bytes=$((bytes + $(redis memory usage "$key" samples 0)))
done
figure() { awk "BEGIN { printf \"%.2f\", $1 / $marks }"; }
verdict() { awk "BEGIN { print ($1 <= $2) ? \"ok\" : \"missed\" }"; }
each=$(figure "$bytes")
printf '%-50s %10s %-8s goal <= 12: %s\n' "a mark, by the keys that hold it ($marks an hour)" "$each" bytes "$(verdict "$each" 12)"
printf '%-50s %10s %-8s\n' "a mark, by what the memory of Redis grows by" "$(figure "$(((after - before) / 10))")" bytes
