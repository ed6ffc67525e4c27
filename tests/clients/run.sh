#!/bin/sh
# Real clients against rmux: sh tests/clients/run.sh [--direct] [python] [node] [php] [ruby] [rust] [cli] ...
#
# Installs the clients that are missing (install.sh), starts redis-servers and rmux (serve.sh), runs every client's
# script over TCP and over a Unix socket, with one and with three servers, and prints a table. The last line is
# "N passed, N failed, N skipped", counted in checks; the exit code is 1 when one failed. A client that cannot be
# installed here is named and counts as one skipped.
#
# Arguments choose families or clients by name. --direct leaves rmux out: the same checks with a Redis, to try them.
# RMUX=path says which rmux; otherwise it is built, with its debug assertions.
# RMUX_CLIENTS=folder says where the clients are kept between runs.
#
# A script reads RMUX_HOST and RMUX_PORT, or RMUX_SOCKET, RMUX_PASSWORD, RMUX_DATABASE, RMUX_NAME and RMUX_SERVERS (1 or
# 3), and prints lines: "client NAME VERSION", then of each check "ok NAME", "not ok NAME: why" or "skip NAME: why", and
# "done" at last. What it says on its standard error is shown when it fails: RMUX_CLIENTS_LINES=number of the last lines.

set -u
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
cache=${RMUX_CLIENTS:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/rmux-clients}
work=$(mktemp -d "${TMPDIR:-/tmp}/rmux-clients.XXXXXX") || exit 1
direct=

# In seconds: the whole run takes less than 8 minutes, whatever hangs.
begun=$(date +%s)
install_seconds=270
script_seconds=60
all_seconds=420

. "$root/tests/support/setup.sh"
. "$here/serve.sh"
. "$here/install.sh"

trap 'stop_everything' EXIT
trap 'exit 130' INT TERM HUP

main() {
    chosen=
    for word in "$@"; do
        case $word in
        --direct) direct=yes ;;
        -*) give_up "unknown option $word: see the head of tests/clients/run.sh" ;;
        *) chosen="$chosen $word" ;;
        esac
    done

    need_redis
    choose_clients >"$work/clients"
    [ -s "$work/clients" ] || give_up "no such client:$chosen"
    install_clients <"$work/clients"

    if [ -n "$direct" ]; then
        serve_directly || give_up "redis-server does not start"
    else
        need_rmux
        serve_rmux || give_up "rmux or redis-server does not start"
    fi

    : >"$work/results"
    while read -r family place packages script <&3; do
        run_client
    done 3<"$work/clients"
    report
}

# What is left of the first $1 seconds of the run, at least 1.
seconds_left() {
    left=$((begun + $1 - $(date +%s)))
    echo $((left > 1 ? left : 1))
}

# Every client: family, the folder that it is installed to, its packages, its script.
every_client() {
    cat <<'LIST'
rust    rust      cargo                       redis_rs
rust    rust      cargo                       fred
cli     redis-cli redis-tools                 redis_cli.sh
cli     redis-cli redis-tools                 redis_benchmark.sh
python  redis5    redis~=5.0                  redis_sync.py
python  redis5    redis~=5.0                  redis_asyncio.py
python  redis6    redis~=6.0                  redis_sync.py
python  redis6    redis~=6.0                  redis_asyncio.py
python  redis     redis                       redis_sync.py
python  redis     redis                       redis_asyncio.py
python  django    django,django-redis         django_redis_cache.py
python  rq        rq                          rq_jobs.py
python  celery    celery[redis]               celery_jobs.py
node    redis4    redis@4                     node_redis.mjs
node    redis5    redis@5                     node_redis.mjs
node    redis6    redis@6                     node_redis.mjs
node    ioredis5  ioredis@5                   ioredis.mjs
node    ioredis6  ioredis@6                   ioredis.mjs
node    bullmq    bullmq,ioredis@5            bullmq.mjs
php     phpredis  php-cli,php-redis           phpredis.php
php     phpredis  php-cli,php-redis           sessions.php
php     predis    php-cli,php-predis          predis.php
ruby    redis     ruby,ruby-redis             redis_rb.rb
ruby    sidekiq   ruby,ruby-sidekiq           sidekiq_jobs.rb
go      go-redis  -                           -
java    jedis     -                           -
LIST
}

choose_clients() {
    # What takes longest to install comes first in the list, and last in the run.
    every_client | while read -r line; do
        for word in ${chosen:-every}; do
            case " $line " in
            *" $word "* | *" $word."*) echo "$line" && break ;;
            *) [ "$word" = every ] && echo "$line" && break ;;
            esac
        done
    done
}

need_rmux() {
    rmux=${RMUX:-}
    if [ -z "$rmux" ]; then
        need_rust
        (cd "$root" && cargo build --locked --quiet </dev/null >&2) || give_up "rmux does not build"
        rmux=${CARGO_TARGET_DIR:-$root/target}/debug/rmux
    fi
    [ -x "$rmux" ] || give_up "there is no program $rmux"
}

# Runs $script of $family in all legs at once, and adds its lines to the results: row, leg, line.
run_client() {
    row="$family $place $script"
    if ! command_of >"$work/why"; then
        echo "$row|-|skip installed: $(cat "$work/why")" >>"$work/results"
        return
    fi
    if [ "$(seconds_left "$all_seconds")" -le 1 ]; then
        echo "$row|-|not ok begun: no time was left for it" >>"$work/results"
        return
    fi
    flush
    running=
    for leg in $legs; do
        run_leg >"$work/out.$leg" 2>"$work/err.$leg" &
        running="$running $!"
    done
    # shellcheck disable=SC2086 # several process ids
    wait $running
    for leg in $legs; do
        grep -E '^(client|ok|not ok|skip|done)( |$)' "$work/out.$leg" | sed "s,^,$row|$leg|,"
        tail -n 1 "$work/out.$leg" | grep -q '^done$' ||
            echo "$row|$leg|not ok came to its end: $(tail -n 1 "$work/err.$leg" | cut -c 1-200)"
    done >>"$work/results"
    show_trouble
}

run_leg() {
    export_leg "$leg"
    export PYTHONDONTWRITEBYTECODE=1
    exec timeout -k 5 "$script_seconds" sh -c "$(command_of)" </dev/null
}

show_trouble() {
    if grep -F "$row|" "$work/results" | grep -q '|not ok '; then
        say "--- $row: not ok"
        for leg in $legs; do
            grep '^not ok ' "$work/out.$leg" | sed "s/^/$leg: /" >&2
            tail -n "${RMUX_CLIENTS_LINES:-0}" "$work/err.$leg" >&2
        done
    else
        say "--- $row: ok"
    fi
}

report() {
    echo
    awk -F '|' -f "$here/table.awk" "$work/results"
    ! grep -q '|not ok ' "$work/results"
}

main "$@"
