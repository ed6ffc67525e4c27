#!/bin/sh
# CPU per request of rmux before a Redis Cluster of three masters, in turns with
#   ring    rmux with its own ring over three servers,
#   envoy   envoy's redis filter with its cluster type before the same cluster, one worker (left out if not installed).
# Then requests a second of clients that know clusters themselves, straight to the nodes, and of plain ones through rmux.
# Needs redis-server, redis-cli, redis-benchmark, python3 with its venv, and target/release/rmux (or the one in $RMUX).
# `sh benches/setup.sh` brings envoy. Its processes are its own. Usage: run.sh [ROUNDS]; 5 without it.
set -eu
cd "$(dirname "$0")/../.."
rmux=$(realpath "${RMUX:-target/release/rmux}")
rounds=${1:-5}
dir=$(mktemp -d)
pids=""
# shellcheck disable=SC2086
trap 'kill $pids 2>/dev/null || true; rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv" && "$dir/venv/bin/pip" install -q redis

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
cat >"$dir/envoy.json" <<JSON
{"static_resources": {
  "listeners": [{"name": "clients", "address": {"pipe": {"path": "$dir/envoy", "mode": 438}}, "tcp_backlog_size": 65535,
    "filter_chains": [{"filters": [{"name": "envoy.filters.network.redis_proxy", "typed_config": {
      "@type": "type.googleapis.com/envoy.extensions.filters.network.redis_proxy.v3.RedisProxy",
      "stat_prefix": "bench", "settings": {"op_timeout": "10s", "enable_redirection": true},
      "prefix_routes": {"catch_all_route": {"cluster": "nodes"}}}}]}]}],
  "clusters": [{"name": "nodes", "connect_timeout": "1s", "lb_policy": "CLUSTER_PROVIDED",
    "cluster_type": {"name": "envoy.clusters.redis", "typed_config": {
      "@type": "type.googleapis.com/envoy.extensions.clusters.redis.v3.RedisClusterConfig",
      "cluster_refresh_rate": "30s"}},
    "load_assignment": {"cluster_name": "nodes", "endpoints": [{"lb_endpoints": [
      {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 27501}}}}]}]}}]}}
JSON
"$rmux" -config="$dir/ring.json" >"$dir/ring.log" &
ring=$!
"$rmux" -config="$dir/cluster.json" >"$dir/cluster.log" &
cluster=$!
pids="$pids $ring $cluster"
subjects="ring cluster"
if command -v envoy >/dev/null; then
    envoy -c "$dir/envoy.json" --concurrency 1 --disable-hot-restart --log-level error >"$dir/envoy.log" 2>&1 &
    envoy=$!
    pids="$pids $envoy"
    subjects="$subjects envoy"
fi
for name in $subjects; do
    until redis-cli -s "$dir/$name" set warm-up 1 2>/dev/null | grep -q OK; do sleep 0.1; done
done
# Every key has a value, or replies would be of different sizes.
for port in 27401 27402 27403; do
    redis-benchmark -p $port -r 100000 -n 400000 -P 16 -q -t set >/dev/null 2>&1
done
redis-benchmark -s "$dir/cluster" -r 100000 -n 1000000 -P 16 -q -t set >/dev/null 2>&1

ticks() {
    awk '{print $14 + $15}' "/proc/$1/stat"
}
# took NAME ARGUMENTS…: hundredths of a second of CPU that this subject took.
took() {
    eval "pid=\$$1"
    socket=$dir/$1
    shift
    before=$(ticks "$pid")
    redis-benchmark -s "$socket" -r 100000 -q "$@" >/dev/null 2>&1
    echo $(($(ticks "$pid") - before))
}
median() {
    sort -n | awk '{a[NR] = $1} END {print a[int((NR + 1) / 2)]}'
}
# per NAME OTHER FILE: the ratio of the medians.
per() {
    awk -v one="$(median <"$3.$1")" -v other="$(median <"$3.$2")" 'BEGIN {printf "%.2f", one / other}'
}
mget="MGET"
for _ in $(seq 100); do mget="$mget key:__rand_int__"; done
number=0
echo "CPU of the proxy, in hundredths of a second (medians of $rounds rounds):"
while IFS='|' read -r title arguments; do
    number=$((number + 1))
    for _ in $(seq "$rounds"); do
        for name in $subjects; do
            # shellcheck disable=SC2086
            took $name $arguments >>"$dir/took$number.$name"
        done
    done
    line="$title:"
    for name in $subjects; do line="$line $name $(median <"$dir/took$number.$name"),"; done
    line="$line cluster / ring $(per cluster ring "$dir/took$number")"
    case $subjects in *envoy*) line="$line, cluster / envoy $(per cluster envoy "$dir/took$number")" ;; esac
    echo "$line"
done <<WORK
GET, keep-alive|-c 50 -n 200000 -t get
GET, a pipeline of 16|-c 50 -P 16 -n 1000000 -t get
GET, a connection each|-c 50 -k 0 -n 60000 -t get
MGET of 100 keys|-c 50 -n 10000 $mget
WORK

echo "Requests a second (medians of $rounds rounds):"
rate() {
    redis-benchmark -r 100000 -q --csv "$@" 2>/dev/null | awk -F'"' '/^"GET"/ {print int($4)}'
}
for pipeline in 1 16; do
    for _ in $(seq "$rounds"); do
        rate -p 27501 --cluster -c 50 -P $pipeline -n 200000 -t get >>"$dir/rate$pipeline.straight"
        rate -s "$dir/cluster" -c 50 -P $pipeline -n 200000 -t get >>"$dir/rate$pipeline.rmux"
    done
    echo "GET, 50 clients, a pipeline of $pipeline: redis-benchmark --cluster $(median <"$dir/rate$pipeline.straight")," \
        "redis-benchmark through rmux $(median <"$dir/rate$pipeline.rmux")"
done
"$dir/venv/bin/python" benches/cluster/python.py "$dir/cluster" 27501 "$rounds"
