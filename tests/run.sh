#!/bin/sh
# Sets up what is missing and runs every test: sh tests/run.sh
#
# Needs: Rust, redis-server, redis-cli, redis-benchmark; installs what it can where that needs no question.
# Arguments go to cargo test: sh tests/run.sh --test redis_one
# Real clients (redis-py, node-redis, phpredis …) have a command of their own: sh tests/clients/run.sh
# Without a terminal, without standard input and twice in a row it does the same.

set -eu
cd "$(dirname "$0")/.."
. tests/support/setup.sh

need_rust
need_redis

# The tests hold a few thousand sockets at once; take what the system allows without asking.
for files in 16384 8192 4096 "$(ulimit -H -n)"; do
    ulimit -S -n "$files" 2>/dev/null && break
done

exec cargo test --locked "$@" </dev/null
