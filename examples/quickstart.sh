#!/bin/sh
# rmux in a minute: sh examples/quickstart.sh
#
# Starts four real redis-servers and rmux in front of them, everything on Unix sockets in a folder of its own. Shows how
# keys spread over the servers, what happens when one of them dies, and what happens when it comes back. Sets up what
# is missing, ends what it started, and leaves nothing behind. RMUX=/path/to/rmux uses that binary and builds nothing.

set -eu
cd "$(dirname "$0")/.."
. tests/support/setup.sh

need_redis
if [ -z "${RMUX:-}" ]; then
    need_rust
    echo "Building rmux …"
    cargo build --release --locked --quiet </dev/null
    RMUX=${CARGO_TARGET_DIR:-target}/release/rmux
fi

dir=$(mktemp -d "${TMPDIR:-/tmp}/rmux-quickstart.XXXXXX")
redis1_pid="" redis2_pid="" redis3_pid="" redis4_pid="" rmux_pid=""

clean_up() {
    trap - EXIT
    for pid in $rmux_pid $redis1_pid $redis2_pid $redis3_pid $redis4_pid; do
        kill -KILL "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    rm -rf "$dir"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

title() {
    printf '\n== %s\n' "$*"
}

# What a user types, and what comes back.
show() {
    printf '   $ redis-cli -s rmux.sock %s\n' "$*"
    redis-cli -s "$dir/rmux.sock" "$@" </dev/null | tr -d '\r' | sed 's/^/   /'
}

# The same without the show.
ask() {
    redis-cli -s "$dir/rmux.sock" "$@" </dev/null
}

# Asks a server itself, past rmux.
ask_server() {
    number=$1
    shift
    redis-cli -s "$dir/redis$number.sock" "$@" </dev/null 2>/dev/null
}

# wait_for <what> <command …>: until the command succeeds, ten seconds at most.
wait_for() {
    what=$1
    shift
    tries=0
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        if [ "$tries" -eq 500 ] || { [ -n "$rmux_pid" ] && ! kill -0 "$rmux_pid" 2>/dev/null; }; then
            give_up "Waited in vain for $what. What rmux wrote:" "$(cat "$dir/rmux.log")"
        fi
        sleep 0.02
    done
}

start_redis() {
    redis-server --port 0 --unixsocket "$dir/redis$1.sock" --dir "$dir" --save '' --appendonly no --daemonize no \
        </dev/null >"$dir/redis$1.log" 2>&1 &
    eval "redis$1_pid=$!"
}

is_up() {
    [ "$(ask_server "$1" ping)" = PONG ]
}

listens() {
    [ "$(ask ping 2>/dev/null)" = PONG ]
}

takes_writes() {
    [ "$(ask set "$1" "$2")" = OK ]
}

lives_on() {
    [ "$(ask_server "$2" exists "$1")" = 1 ]
}

has_servers() {
    ask info | tr -d '\r' | grep -q "^active_endpoints: $1\$"
}

title "Four redis-servers, and rmux in front of them on a Unix socket"
for number in 1 2 3 4; do start_redis "$number"; done
for number in 1 2 3 4; do wait_for "redis-server $number" is_up "$number"; done
"$RMUX" -socket="$dir/rmux.sock" \
    -unixConnections="$dir/redis1.sock $dir/redis2.sock $dir/redis3.sock $dir/redis4.sock" \
    </dev/null >"$dir/rmux.log" 2>&1 &
rmux_pid=$!
wait_for "rmux" listens
wait_for "all four servers" has_servers 4
echo "   rmux -socket=rmux.sock -unixConnections=\"redis1.sock redis2.sock redis3.sock redis4.sock\""

title "A client sees one Redis"
show set user:1 ann
show get user:1
show incr visits

title "A hundred keys, each on the server that its hash says"
key=0
while [ "$key" -lt 100 ]; do
    key=$((key + 1))
    echo "SET user:$key value-$key"
done | redis-cli -s "$dir/rmux.sock" >/dev/null
for number in 1 2 3 4; do
    echo "   redis$number has $(ask_server "$number" dbsize) keys, for example: $(ask_server "$number" randomkey)"
done

# A key of the server that is about to die.
key=1
until lives_on "user:$key" 2; do
    key=$((key + 1))
    [ "$key" -le 100 ] || give_up "No key went to the second server."
done
key=user:$key

title "redis2 has $key. It is killed:"
kill -KILL "$redis2_pid"
wait "$redis2_pid" 2>/dev/null || true
redis2_pid=""
wait_for "another server to take over" takes_writes "$key" "written-while-redis2-was-dead"
for number in 1 3 4; do
    if lives_on "$key" "$number"; then echo "   its keys go to redis$number now; clients keep their connections"; fi
done
show get "$key"
show info | sed -n '1p;/active_endpoints/p;/total_endpoints/p'

title "redis2 comes back (empty, because it kept nothing on disk):"
start_redis 2
wait_for "redis-server 2" is_up 2
wait_for "rmux to see it" has_servers 4
show info | sed -n '1p;/active_endpoints/p;/total_endpoints/p'
takes_writes "$key" "written-after-its-return" || give_up "The write failed."
lives_on "$key" 2 || give_up "$key did not return to redis2."
echo "   $key is written to redis2 again:"
show get "$key"

title "rmux ends when it is told to, and takes its socket with it"
kill -TERM "$rmux_pid"
wait "$rmux_pid" || give_up "rmux ended with exit code $?." "$(cat "$dir/rmux.log")"
rmux_pid=""
[ ! -e "$dir/rmux.sock" ] || give_up "The socket file is still there."
sed 's/^/   log: /' "$dir/rmux.log"
printf '\nThat was all. Nothing is left behind.\n'
