#!/bin/sh
# Lets Schemathesis ask a hub everything that its OpenAPI document allows, and much that it does not, and holds each answer
# against the document. The hub is started here, on a free port, with an embedded store that is thrown away, and reaches
# nobody: whatever webhooks are registered. TEST_API_EXAMPLES is how many requests an operation gets in each phase.
set -eu
cd "$(dirname "$0")/.."

venv=target/test-api
if ! cmp -s scripts/test-api.txt "$venv/installed.txt"; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement scripts/test-api.txt
    cp scripts/test-api.txt "$venv/installed.txt"
fi
cargo build --locked

folder=$(mktemp -d)
hub=
finish() {
    if [ -n "$hub" ]; then
        kill "$hub" 2>/dev/null || true
        wait "$hub" || true
    fi
    rm -rf "$folder"
}
trap finish EXIT
trap 'exit 130' INT TERM

EVENTS__HTTP__BIND=127.0.0.1:0 EVENTS__STORE__URL="embedded:$folder/data" EVENTS__WEBHOOK__DENY=0.0.0.0/0,::/0 \
    EVENTS__RABBIT__URL=amqp://127.0.0.1:1 RUST_LOG=info target/debug/event-source-api 2>"$folder/log" &
hub=$!
url=
while [ -z "$url" ]; do
    kill -0 "$hub" 2>/dev/null || { cat "$folder/log" >&2; exit 1; }
    sleep 0.1
    url=$(sed -n 's/.*listening: address=\([0-9.:]*\).*/http:\/\/\1/p' "$folder/log")
done

# Something to find: the document's own examples of a type, a stream and a client.
put() {
    curl -fsS -o /dev/null -X "$1" "$url$2" -H 'Content-Type: application/json' -d "$3"
}
put PUT /api/events/register '{"type": "financial:end-budget", "ttl": "24days",
    "streams": [{"source": "rabbit", "name": "audit", "exchange": "e", "routingKey": "k"}]}'
put POST /api/events/send '[{"type": "financial:end-budget", "payload": {"campaign_id": 123}},
    {"type": "nobody", "payload": null}, {"type": "financial:end-budget", "payload": [1.50]}]'

status=0
root=$PWD
# It leaves files where it runs.
(cd "$folder" && timeout 900 "$root/$venv/bin/st" --config-file "$root/scripts/test-api.toml" run "$url/openapi.json" \
    --max-examples "${TEST_API_EXAMPLES:-40}" --seed "${TEST_API_SEED:-1}") || status=$?
if grep -E 'panicked at|unexpected_answer' "$folder/log" >&2; then
    status=1
fi
curl -fsS "$url/healthz" >/dev/null || status=1
exit "$status"
