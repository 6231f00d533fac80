#!/usr/bin/env bash
# The walk-through against a running hub: register, watch live, send, read the feed, mark processed.
#
#   scripts/demo.sh [URL]
set -euo pipefail
cd "$(dirname "$0")"

hub=${1:-http://127.0.0.1:8080}
api=$hub/api/events
type=demo:order-placed

if ! curl -fsS -o /dev/null "$hub/healthz"; then
    echo "No hub answers at $hub. Start one with 'make run' in another terminal." >&2
    exit 1
fi

# Shows a call as one would type it, and its answer.
call() {
    printf '\n$ curl'
    local argument
    for argument in "$@"; do
        case $argument in
        *[!A-Za-z0-9:/._=-]*) printf " '%s'" "$argument" ;;
        *) printf ' %s' "$argument" ;;
        esac
    done
    printf '\n'
    curl -sS --max-time 20 "$@"
    printf '\n'
}

field() { sed -E "s/.*\"$1\" *: *\"([^\"]*)\".*/\1/"; }

echo "== A type, kept for a day"
call -X PUT "$api/register" -H 'Content-Type: application/json' -d "{\"type\": \"$type\", \"ttl\": \"24h\"}"

live=
if command -v python3 >/dev/null; then
    echo
    echo "== Somebody watches live (scripts/live.py)"
    seen=$(mktemp)
    python3 ./live.py "$api/?types=demo:*" 3 >"$seen" 2>"$seen.log" &
    live=$!
    trap 'kill "$live" 2>/dev/null || true; rm -f "$seen" "$seen.log"' EXIT
    for _ in $(seq 100); do
        grep -q connected "$seen.log" && break
        sleep 0.05
    done
    cat "$seen.log"
fi

echo
echo "== One event, then two in one go"
call -X POST "$api/send" -H 'Content-Type: application/json' \
    -d "{\"type\": \"$type\", \"payload\": {\"order\": 1, \"total\": 12.50}}"
call -X POST "$api/send" -H 'Content-Type: application/json' \
    -d "[{\"type\": \"$type\", \"payload\": {\"order\": 2}}, {\"type\": \"$type\", \"payload\": {\"order\": 3}}]"

if [ -n "$live" ]; then
    echo
    echo "== What the live session has seen"
    for _ in $(seq 200); do
        kill -0 "$live" 2>/dev/null || break
        sleep 0.05
    done
    cat "$seen"
fi

echo
echo "== The feed of this hour, as the client 'demo' has not processed it"
call "$api/feed/hour/current/client/demo?types=demo:*&limit=3"

id=$(curl -sS --max-time 20 "$api/feed/hour/current?types=demo:*&limit=1" | field id)
echo
echo "== The newest is processed"
call -X PUT "$api/$id/ok/demo"
call "$api/feed/hour/current/client/demo?types=demo:*&limit=2"

echo
echo "== Everything about it"
call "$api/$id"
