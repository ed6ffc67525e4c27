#!/bin/sh
# Sets up what is missing and runs every test: sh tests/run.sh
#
# Needs: Rust, redis-server, redis-cli, redis-benchmark; installs what it can where that needs no question.
# The last part are real clients (redis-py, node-redis, phpredis …): what cannot be installed here is named and skipped.
# They take less than 90 seconds when they are installed, some minutes when they are not, and never more than 10; the same
# again, with a Redis Cluster behind rmux, less than two minutes.
# Arguments go to cargo test, and the clients are left out: sh tests/run.sh --test redis_one
# Without a terminal, without standard input and twice in a row it does the same.

set -eu
cd "$(dirname "$0")/.."
. tests/support/setup.sh

need_rust
need_redis
need_openssl
# What judges and reads figures; without them those tests are skipped.
command -v promtool >/dev/null 2>&1 || install_packages prometheus || true
command -v prometheus-redis-exporter >/dev/null 2>&1 || install_packages prometheus-redis-exporter || true

# The tests hold a few thousand sockets at once; take what the system allows without asking.
for files in 16384 8192 4096 "$(ulimit -H -n)"; do
    ulimit -S -n "$files" 2>/dev/null && break
done

cargo test --locked "$@" </dev/null
if [ "$#" -eq 0 ]; then
    # Whatever takes the fast path must be what the long way makes of it.
    RMUX_TEST_FAST_PATH=off cargo test --locked --test differential </dev/null
    # The smallest build is one of its own, in a folder of its own: what follows wants the usual one.
    cargo test --locked --no-default-features --target-dir target/without-tls --lib --test cli --test tls_absent </dev/null
    sh tests/clients/run.sh </dev/null
    sh tests/clients/run.sh --cluster </dev/null
fi
