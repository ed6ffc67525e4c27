#!/bin/sh
# What a cluster of many masters costs rmux: memory, connections, and CPU at rest. Starts them itself, each with
# about 10 MB of memory; for 200 of them it takes two minutes.
# Needs redis-server, redis-cli, redis-benchmark and target/release/rmux (or the one in $RMUX).
# Usage: many.sh [MASTERS] [SECONDS AT REST]; 200 and 60 without them.
set -eu
cd "$(dirname "$0")/../.."
rmux=$(realpath "${RMUX:-target/release/rmux}")
masters=${1:-200}
rest=${2:-60}
first=23000
last=$((first + masters - 1))
dir=$(mktemp -d)
pids=""
# shellcheck disable=SC2086
trap 'kill $pids 2>/dev/null || true; rm -rf "$dir"' EXIT

for port in $(seq $first $last); do
    mkdir "$dir/$port"
    # Nodes know each other from the beginning: to make each meet all others takes longer than all the rest.
    number=0
    for other in $(seq $first $last); do
        number=$((number + 1))
        flags=master
        [ "$other" -ne "$port" ] || flags=myself,master
        printf '%040x 127.0.0.1:%d@%d %s - 0 0 %d connected %d-%d\n' $number "$other" $((other + 1000)) $flags $number \
            $(((number - 1) * 16384 / masters)) $((number * 16384 / masters - 1))
    done >"$dir/$port/nodes.conf"
    echo "vars currentEpoch $masters lastVoteEpoch 0" >>"$dir/$port/nodes.conf"
    redis-server --port "$port" --dir "$dir/$port" --save "" --appendonly no --cluster-enabled yes \
        --cluster-port $((port + 1000)) --cluster-node-timeout 60000 --hz 2 --maxclients 1000 >"$dir/$port/log" &
    pids="$pids $!"
done
for port in $(seq $first $last); do
    until redis-cli -p "$port" cluster info 2>/dev/null | grep -q cluster_state:ok; do sleep 0.2; done
done
echo "$masters masters, CLUSTER SLOTS has $(redis-cli -p $first cluster slots | wc -c) bytes as redis-cli shows it"

mkdir "$dir/plain"
redis-server --port $((first - 1)) --dir "$dir/plain" --save "" --appendonly no >"$dir/plain/log" &
pids="$pids $!"

# of FIELD PID, in kB
of() {
    awk -v name="$1:" '$1 == name {print $2}' "/proc/$2/status"
}
ticks() {
    awk '{print $14 + $15}' "/proc/$1/stat"
}
# tell NAME PID WHEN: what it takes, and how many connections to servers it has.
tell() {
    connections=$(redis-cli -s "$dir/$1.sock" rmux status | tr -d '\r' | grep '^connections:')
    echo "$1, $3: $(of VmRSS "$2") kB resident, $connections"
}
for name in plain cluster; do
    pool='"cluster": true, "tcpConnections": ["127.0.0.1:'$first'"]'
    [ $name = cluster ] || pool='"tcpConnections": ["127.0.0.1:'$((first - 1))'"]'
    echo '[{"socket": "'"$dir/$name.sock"'", '"$pool"'}]' >"$dir/$name.json"
    "$rmux" -config="$dir/$name.json" >"$dir/$name.log" 2>&1 &
    pid=$!
    pids="$pids $pid"
    until redis-cli -s "$dir/$name.sock" set warm-up 1 2>/dev/null | grep -q OK; do sleep 0.1; done
    tell $name $pid "one request"
    redis-benchmark -s "$dir/$name.sock" -r 1000000 -n 1000000 -c 50 -P 16 -q -t set >/dev/null 2>&1
    tell $name $pid "50 clients with a pipeline of 16 to all"
    before=$(ticks $pid)
    sleep "$rest"
    echo "$name, at rest: $(($(ticks $pid) - before)) hundredths of a second of CPU in $rest s"
done
