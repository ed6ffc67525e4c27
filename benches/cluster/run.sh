#!/bin/sh
# CPU per request of rmux before a Redis Cluster of three masters, beside rmux's own ring over three servers, in turns.
# Needs redis-server, redis-cli, redis-benchmark, and target/release/rmux (or the one in $RMUX). Its processes are its own.
# Prints, for each work load and round, the hundredths of a second that each of the two took for the same requests.
set -eu
cd "$(dirname "$0")/../.."
rmux=$(realpath "${RMUX:-target/release/rmux}")
rounds=${1:-5}
dir=$(mktemp -d)
pids=""
# shellcheck disable=SC2086
trap 'kill $pids 2>/dev/null || true; rm -rf "$dir"' EXIT

for port in 27401 27402 27403 27501 27502 27503; do
    mkdir "$dir/$port"
    cluster=no
    [ $port -lt 27500 ] || cluster=yes
    redis-server --port $port --dir "$dir/$port" --save "" --cluster-enabled $cluster >"$dir/$port.log" &
    pids="$pids $!"
    until redis-cli -p $port ping 2>/dev/null | grep -q PONG; do sleep 0.1; done
done
redis-cli --cluster create 127.0.0.1:27501 127.0.0.1:27502 127.0.0.1:27503 --cluster-yes >"$dir/create.log"
for port in 27501 27502 27503; do
    until redis-cli -p $port cluster info | grep -q cluster_state:ok; do sleep 0.1; done
done
echo '[{"socket": "'"$dir"'/ring", "tcpConnections": ["127.0.0.1:27401", "127.0.0.1:27402", "127.0.0.1:27403"]}]' >"$dir/ring.json"
echo '[{"socket": "'"$dir"'/cluster", "cluster": true, "tcpConnections": ["127.0.0.1:27501"]}]' >"$dir/cluster.json"
"$rmux" -config="$dir/ring.json" >"$dir/ring.log" &
ring=$!
"$rmux" -config="$dir/cluster.json" >"$dir/cluster.log" &
cluster=$!
pids="$pids $ring $cluster"
for name in ring cluster; do
    until redis-cli -s "$dir/$name" set warm-up 1 2>/dev/null | grep -q OK; do sleep 0.1; done
done

# took PID SOCKET ARGUMENTS…
took() {
    pid=$1 socket=$2
    shift 2
    before=$(awk '{print $14 + $15}' "/proc/$pid/stat")
    redis-benchmark -s "$socket" -r 100000 -q -t get "$@" >/dev/null 2>&1
    after=$(awk '{print $14 + $15}' "/proc/$pid/stat")
    echo $((after - before))
}
for round in $(seq "$rounds"); do
    for work in "-c 50 -n 300000" "-c 50 -P 16 -n 2000000" "-c 50 -k 0 -n 100000"; do
        # shellcheck disable=SC2086
        echo "$work: ring $(took $ring "$dir/ring" $work), cluster $(took $cluster "$dir/cluster" $work)"
    done
done
