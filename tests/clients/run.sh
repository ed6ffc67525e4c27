#!/bin/sh
# Real clients against rmux: sh tests/clients/run.sh [--direct] [--cluster] [python] [node] [php] [ruby] [rust] [cli] ...
#
# Installs the clients that are missing (install.sh), starts redis-servers and rmux (serve.sh), runs every client's
# script over TCP and over a Unix socket, with one and with three servers, and prints a table. The last line is
# "N passed, N failed, N skipped", counted in checks; the exit code is 1 when one failed. A client that cannot be
# installed here, or not in time, is named and counts as one skipped.
#
# The families run in three lanes side by side, each with servers and an rmux of its own; a client runs as soon as it is
# installed, while others still are:
#
#     lane 1   cli, php, ruby, go, rust (whose build takes longest, and has begun first)
#     lane 2   node
#     lane 3   python
#
# Arguments choose families or clients by name. --direct leaves rmux out: the same checks with a Redis, to try them.
# --cluster has a Redis Cluster of three masters behind rmux, and tries clients for clusters as well. What cannot hold
# there is skipped: cluster_skips says what, and why.
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
lanes=
installers=
work=$(mktemp -d "${TMPDIR:-/tmp}/rmux-clients.XXXXXX") || exit 1
direct=
cluster=

# In seconds, since the beginning: nothing is installed after the first, nothing begun after the second; and how long a
# script may take. So a run takes about 10 minutes at most, whatever hangs.
begun=$(date +%s)
install_seconds=480
all_seconds=540
script_seconds=60

. "$root/tests/support/setup.sh"
. "$here/serve.sh"
. "$here/install.sh"

trap 'rm -rf "$work"' EXIT
trap 'break_off' INT TERM HUP

main() {
    chosen=
    for word in "$@"; do
        case $word in
        --direct) direct=yes ;;
        --cluster) cluster=yes ;;
        -*) give_up "unknown option $word: see the head of tests/clients/run.sh" ;;
        *) chosen="$chosen $word" ;;
        esac
    done

    [ -z "$direct" ] || [ -z "$cluster" ] || give_up "--direct and --cluster do not go together"
    need_redis
    choose_clients >"$work/clients"
    [ -s "$work/clients" ] || give_up "no such client:$chosen"
    [ -n "$direct" ] || need_rmux
    install_clients

    lanes=
    for lane in 1 2 3; do
        awk -v lane="$lane" '{ is = $1 == "node" ? 2 : $1 == "python" ? 3 : 1 } is == lane' "$work/clients" \
            >"$work/clients.$lane"
        [ -s "$work/clients.$lane" ] || continue
        run_lane &
        lanes="$lanes $!"
    done
    code=0
    for process in $lanes; do
        wait "$process" || code=1
    done
    # What has become of installing is known by now, but for what nobody waited for.
    # shellcheck disable=SC2086 # several process ids
    [ -z "$installers" ] || wait $installers
    report || code=1
    exit "$code"
}

# Runs the clients of one lane, in a shell of its own.
run_lane() {
    top=$work
    work=$top/$lane
    running=
    mkdir "$work" || exit 1
    : >"$top/results.$lane"
    trap 'stop_everything' EXIT
    trap 'exit 143' INT TERM HUP
    if [ -n "$direct" ]; then
        serve_directly || give_up "redis-server does not start"
    else
        serve_rmux || give_up "rmux or redis-server does not start"
    fi
    while read -r family place packages script <&3; do
        run_client
    done 3<"$top/clients.$lane"
}

# Ends what was started, which ends what that has started.
break_off() {
    # shellcheck disable=SC2046,SC2086 # several process ids
    kill $lanes $installers $(cat "$work/installing" 2>/dev/null) 2>/dev/null
    wait
    exit 130
}

# What is left of the first $1 seconds of the run, at least 1.
seconds_left() {
    left=$((begun + $1 - $(date +%s)))
    echo $((left > 1 ? left : 1))
}

# Every client: family, the folder that it is installed to, its packages, its script.
every_client() {
    cat <<'LIST'
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
php     phpredis  php-cli,php-redis           drop_ins.php
php     laravel   php-cli,php-redis,php-predis,php-illuminate-redis,php-illuminate-cache,php-illuminate-queue laravel.php
ruby    redis     ruby,ruby-redis             redis_rb.rb
ruby    sidekiq   ruby,ruby-sidekiq           sidekiq_jobs.rb
go      go-redis  golang-go,golang-gopkg-redis.v5-dev go_redis
java    jedis     -                           -
rust    rust      cargo                       redis_rs
rust    rust      cargo                       fred
LIST
    [ -z "$cluster" ] || cat <<'LIST'
python  redis5    redis~=5.0                  redis_cluster.py
python  redis6    redis~=6.0                  redis_cluster.py
python  redis     redis                       redis_cluster.py
node    redis4    redis@4                     node_redis_cluster.mjs
node    redis5    redis@5                     node_redis_cluster.mjs
node    redis6    redis@6                     node_redis_cluster.mjs
node    ioredis5  ioredis@5                   ioredis_cluster.mjs
node    ioredis6  ioredis@6                   ioredis_cluster.mjs
php     phpredis  php-cli,php-redis           phpredis_cluster.php
php     predis    php-cli,php-predis          predis_cluster.php
go      go-redis  golang-go,golang-gopkg-redis.v5-dev go_redis_cluster
LIST
}

# The legs that this script is run in. A client for clusters is told of an address of TCP.
legs_of_script() {
    case $script in
    *_cluster | *_cluster.*) echo cluster-tcp ;;
    *) echo "$legs" ;;
    esac
}

choose_clients() {
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
    results=$top/results.$lane
    until_installed
    if ! command_of >"$work/why"; then
        echo "$row|-|skip installed: $(cat "$work/why")" >>"$results"
        return
    fi
    if [ "$(seconds_left "$all_seconds")" -le 1 ]; then
        echo "$row|-|skip begun: no time was left for it" >>"$results"
        return
    fi
    flush
    running=
    for leg in $(legs_of_script); do
        run_leg >"$work/out.$leg" 2>"$work/err.$leg" &
        running="$running $!"
    done
    # shellcheck disable=SC2086 # several process ids
    wait $running
    running=
    for leg in $(legs_of_script); do
        [ -z "$cluster" ] || excuse
        grep -E '^(client|ok|not ok|skip|done)( |$)' "$work/out.$leg" | sed "s,^,$row|$leg|,"
        tail -n 1 "$work/out.$leg" | grep -q '^done$' ||
            echo "$row|$leg|not ok came to its end: $(tail -n 1 "$work/err.$leg" | cut -c 1-200)"
    done >>"$results"
    show_trouble
}

# What has failed and cannot hold in a cluster is skipped.
excuse() {
    awk -F '|' -v script="$script" '
        NR == FNR { if ($1 == "*" || $1 == script) why[$2] = $3; next }
        match($0, /^not ok [^:]*:/) { title = substr($0, 8, RLENGTH - 8) }
        RLENGTH > 0 && title in why { print "skip " title ": " why[title]; next }
        { print }' "$here/cluster_skips" "$work/out.$leg" >"$work/excused" && mv "$work/excused" "$work/out.$leg"
}

run_leg() {
    export_leg "$leg"
    export PYTHONDONTWRITEBYTECODE=1
    exec timeout -k 5 "$script_seconds" sh -c "$(command_of)" </dev/null
}

show_trouble() {
    if grep -F "$row|" "$results" | grep -q '|not ok '; then
        say "--- $row: not ok"
        for leg in $(legs_of_script); do
            grep '^not ok ' "$work/out.$leg" | sed "s/^/$leg: /" >&2
            tail -n "${RMUX_CLIENTS_LINES:-0}" "$work/err.$leg" >&2
        done
    else
        say "--- $row: ok, $(($(date +%s) - begun)) s"
    fi
}

report() {
    echo
    # The order is that of the list.
    while read -r family place _ script; do
        grep -hF "$family $place $script|" "$work"/results.*
    done <"$work/clients" >"$work/results"
    awk -F '|' -f "$here/table.awk" "$work/results"
    ! grep -q '|not ok ' "$work/results"
}

main "$@"
