#!/bin/sh
# Makes a Redis Cluster of empty servers, with one replica for each master, and returns when all of them agree on it.
# Servers that are a cluster already are left as they are, so it may run at every start.
#
#   create-cluster.sh HOST:PORT...        the first half become masters
set -eu

[ $# -ge 6 ] || { echo "usage: create-cluster.sh HOST:PORT... (six or more)" >&2; exit 2; }

# ask HOST:PORT COMMAND...: what a server answers; nothing while it is away.
ask() {
    host=${1%:*} port=${1##*:}
    shift
    redis-cli -h "$host" -p "$port" "$@" 2>/dev/null | tr -d '\r' || true
}

# await TEXT HOST:PORT COMMAND...: until the answer holds the text, at most a minute.
await() {
    text=$1 tries=0
    shift
    until ask "$@" | grep -q "$text"; do
        tries=$((tries + 1))
        [ "$tries" -lt 300 ] || { echo "$1 does not say $text within a minute" >&2; exit 1; }
        sleep 0.2
    done
}

for server in "$@"; do await PONG "$server" ping; done
if ! ask "$1" cluster info | grep -q 'cluster_slots_assigned:16384'; then
    redis-cli --cluster create "$@" --cluster-replicas 1 --cluster-yes
fi
for server in "$@"; do
    await 'cluster_state:ok' "$server" cluster info
    await "cluster_known_nodes:$#" "$server" cluster info
done
# A hub that asks for a replica's word before its 202 needs the replicas at work, not only known.
for server in "$@"; do
    if ask "$server" role | head -n 1 | grep -q slave; then await 'master_link_status:up' "$server" info replication; fi
done
echo "The cluster is ready."
