#!/bin/sh
# redis-cli: one command, many from a pipe, interactive on a terminal, --pipe, --scan, -3, --bigkeys, --stat.

set -u
here=$(dirname "$0")
. "$here/checks.sh"
# $address is split on purpose where it is used: no path or password here has a blank.
address=$*
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

cli() {
    # shellcheck disable=SC2086
    redis-cli $address --no-auth-warning -n "$RMUX_DATABASE" "$@"
}

# In the background: it is redis-cli itself that $! names, and that is ended.
cli_alone() {
    # shellcheck disable=SC2086
    exec redis-cli $address --no-auth-warning -n "$RMUX_DATABASE" "$@"
}

one_command() {
    equal "$(cli ping)" PONG && equal "$(cli set a 'b c')" OK && equal "$(cli get a)" 'b c' &&
        equal "$(cli -3 hset hash f v)" 1 && equal "$(cli -3 hgetall hash)" "f v"
}

a_wrong_password_is_refused() {
    # shellcheck disable=SC2086 # the last -a counts
    redis-cli $address --no-auth-warning -a wrong get a 2>&1 | grep -E 'WRONGPASS|NOAUTH' ||
        { echo "let in" && return 1; }
}

databases() {
    cli set where here && equal "$(cli -n $((RMUX_DATABASE + 1)) get where)" '' && equal "$(cli get where)" here
}

a_name() {
    equal "$(printf 'client setname %s\nclient getname\n' "$RMUX_NAME" | cli)" "OK
$RMUX_NAME"
}

commands_from_a_pipe() {
    equal "$(printf 'set x 1\nincr x\nselect 5\nget x\nping\n' | cli)" "OK
2
OK

PONG"
}

interactive_on_a_terminal() {
    command -v script >/dev/null || { echo "there is no program script" && return 1; }
    # shellcheck disable=SC2086
    echo "set terminal yes
get terminal
quit" | TERM=dumb HOME=$work \
        script -qec "redis-cli $address --no-auth-warning -n $RMUX_DATABASE" /dev/null >"$work/typed"
    grep -q '"yes"' "$work/typed" || { cat "$work/typed" && return 1; }
}

pipe_mode() {
    awk 'BEGIN { for (i = 0; i < 20000; i++) {
        key = "pipe:" i
        printf "*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$%d\r\n%d\r\n", length(key), key, length(i ""), i } }' |
        cli --pipe >"$work/pipe" || { cat "$work/pipe" && return 1; }
    grep -q 'errors: 0, replies: 20000' "$work/pipe" && equal "$(cli get pipe:19999)" 19999
}

scan_mode() {
    cli flushdb
    seq 0 499 | sed 's/.*/set scan:& 1/' | cli >/dev/null
    equal "$(cli --scan | sort -u | wc -l | tr -d ' ')" 500 &&
        equal "$(cli --scan --pattern 'scan:49*' | sort -u | wc -l | tr -d ' ')" 11
}

big_keys() {
    cli --bigkeys >"$work/big" || { tail -n 1 "$work/big" && return 1; }
    grep -q 'Sampled 500 keys' "$work/big"
}

a_script_from_a_file() {
    echo 'return {KEYS[1], ARGV[1]}' >"$work/script.lua"
    equal "$(cli --eval "$work/script.lua" key , value)" "key
value"
}

transaction() {
    equal "$(printf 'multi\nset {t}a 1\nincr {t}a\nexec\n' | cli | tr '\n' ' ')" "OK QUEUED QUEUED OK 2 "
}

subscribe() {
    cli_alone subscribe news >"$work/heard" &
    listener=$!
    tries=0
    until grep -q message "$work/heard" || [ "$tries" -gt 200 ]; do
        cli publish news hello >/dev/null
        tries=$((tries + 1))
    done
    kill "$listener"
    grep -q hello "$work/heard" || { echo "heard nothing" && return 1; }
}

statistics() {
    cli_alone --stat -i 0.01 >"$work/stat" &
    watcher=$!
    tries=0
    until grep -q 'keys' "$work/stat" || [ "$tries" -gt 200 ]; do
        cli ping >/dev/null
        tries=$((tries + 1))
    done
    kill "$watcher"
    grep -q 'requests' "$work/stat" || { echo "no line" && return 1; }
}

latency() {
    cli -r 5 -i 0 ping | grep -c PONG | grep -q 5
}

echo "client redis-cli $(redis-cli --version | cut -d ' ' -f 2)"
for name in one_command a_wrong_password_is_refused databases a_name commands_from_a_pipe interactive_on_a_terminal \
    pipe_mode scan_mode big_keys a_script_from_a_file transaction subscribe statistics latency; do
    check "$name"
done
echo "done"
