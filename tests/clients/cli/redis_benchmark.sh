#!/bin/sh
# redis-benchmark: its own tests, pipelined (-P 16), with RESP3 (-3), in another database (--dbnum), with random keys.

set -u
. "$(dirname "$0")/checks.sh"
address=$*

# Every test must give a number: an error reply makes redis-benchmark end with 1, or say it.
benchmark() {
    # shellcheck disable=SC2086
    timeout --foreground 40 redis-benchmark $address -n 4000 -c 20 -q "$@" >"$work/out" 2>&1 ||
        { tr '\r' '\n' <"$work/out" | tail -n 1 && return 1; }
    if grep -iE 'error|-ERR|CROSSSLOT' "$work/out" | grep -v 'CONFIG' | tail -n 1 | grep .; then
        return 1
    fi
    tr '\r' '\n' <"$work/out" | grep -q 'requests per second'
}

plain() { benchmark -n 1000; }
pipelined() { benchmark -P 16 -t ping,set,get,incr,lpush,rpush,lpop,sadd,hset,spop,zadd; }
resp3() { benchmark -3 -t set,get,hset; }
resp3_pipelined() { benchmark -3 -P 16 -t set,get; }
another_database() { benchmark --dbnum "$RMUX_DATABASE" -P 16 -t set,get; }
random_keys() { benchmark -r 100000 -P 16 -t set,get,mset; }
large_values() { benchmark -n 200 -d 100000 -t set,get; }
many_clients() { benchmark -c 200 -t set,get; }
a_command_of_its_own() { benchmark set key:__rand_int__ value; }

work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
echo "client redis-benchmark $(redis-benchmark --version | cut -d ' ' -f 2)"
for name in plain pipelined resp3 resp3_pipelined another_database random_keys large_values many_clients \
    a_command_of_its_own; do
    check "$name"
done
echo "done"
