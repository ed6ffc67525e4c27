#!/bin/sh
# How long writes fail in a failover: through rmux, and beside it with redis-py's own Sentinel client, in one run.
# Needs redis-server, python3 with its venv, and target/release/rmux (or the one in $RMUX). Its processes are its own.
set -eu
cd "$(dirname "$0")/../.."
rmux=${RMUX:-target/release/rmux}
dir=$(mktemp -d)
trap 'kill $pids 2>/dev/null || true; rm -rf "$dir"' EXIT
pids=""
python3 -m venv "$dir/venv" && "$dir/venv/bin/pip" install -q redis

for port in 27801 27802 27803; do
    replica=""
    [ $port = 27801 ] || replica="--replicaof 127.0.0.1 27801"
    # shellcheck disable=SC2086
    redis-server --port $port --dir "$dir" --save "" --repl-diskless-sync-delay 0 $replica >"$dir/$port.log" &
    pids="$pids $!"
    [ $port = 27801 ] && master=$!
done
for port in 27901 27902 27903; do
    cat >"$dir/$port.conf" <<CONF
port $port
dir $dir
sentinel monitor cache-1 127.0.0.1 27801 2
sentinel down-after-milliseconds cache-1 1000
sentinel failover-timeout cache-1 4000
CONF
    redis-server "$dir/$port.conf" --sentinel >"$dir/$port.log" &
    pids="$pids $!"
done
echo '[{"port": 27700, "tcpConnections": [{"master": "cache-1"}], "sentinels": ["127.0.0.1:27901"]}]' >"$dir/rmux.json"
# Until the sentinels know the replicas and each other.
until redis-cli -p 27901 sentinel ckquorum cache-1 2>/dev/null | grep -q "OK 3" &&
    redis-cli -p 27901 sentinel master cache-1 | grep -A1 num-slaves | grep -q 2; do sleep 0.2; done
"$rmux" -config="$dir/rmux.json" >"$dir/rmux.log" &
pids="$pids $!"
until redis-cli -p 27700 ping 2>/dev/null | grep -q PONG; do sleep 0.1; done

run() {
    echo "$1:"
    rm -f "$dir/writes.rmux" "$dir/writes.redis-py"
    "$dir/venv/bin/python" benches/sentinel/write.py rmux "$dir/writes.rmux" &
    first=$!
    "$dir/venv/bin/python" benches/sentinel/write.py redis-py "$dir/writes.redis-py" &
    second=$!
    # Until both write.
    until [ -e "$dir/writes.rmux" ] && [ -e "$dir/writes.redis-py" ]; do sleep 0.1; done
    $2
    wait $first $second
}
run "kill -9 of the master" "kill -9 $master"
run "SENTINEL FAILOVER" "redis-cli -p 27901 sentinel failover cache-1"
