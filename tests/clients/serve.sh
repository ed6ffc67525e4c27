# The Redis servers and the rmux that the clients talk to; sourced by run.sh.
#
# A leg is a way in: one or three servers behind it, reached over TCP or a Unix socket. Each leg has servers of its own,
# so that all four can be tried at the same time and none sees another's keys:
#
#     client ─ TCP ──► pool one-tcp ────► 1 redis-server      client ─ TCP ──► pool three-tcp ────► 3 redis-servers
#     client ─ Unix ─► pool one-unix ───► 1 redis-server      client ─ Unix ─► pool three-unix ───► 3 redis-servers
#
# rmux's password is not the servers': a client's AUTH that is passed on, or a server's that is told, is found.
# Without rmux (--direct) the legs one-tcp and one-unix are a redis-server each, with the clients' password.
#
# Uses $work (a folder of the lane's own) and $lane, and says $legs; what it starts is noted in $work/pids.

client_password=sesame
server_password=opensesame

serve_rmux() {
    legs="one-tcp one-unix three-tcp three-unix"
    for leg in $legs; do
        for socket in $(servers_of "$leg"); do
            start redis-server --port 0 --unixsocket "$socket" --requirepass "$server_password" \
                --save "" --appendonly no --dir "$work"
        done
    done
    for leg in $legs; do
        for socket in $(servers_of "$leg"); do
            until_answers "$socket" "$server_password" || return 1
        done
    done
    # Free ports are found by trying: rmux ends at once when one is taken.
    for attempt in 0 1 2 3 4 5 6 7; do
        port=$((20000 + ($$ * 7 + lane * 4003 + attempt * 1001) % 12000))
        write_configuration "$port" >"$work/rmux.json"
        start "$rmux" -config="$work/rmux.json"
        if until_answers "$work/one-unix" "$client_password" && kill -0 "$started" 2>/dev/null; then
            return 0
        fi
    done
    tail -n 5 "$work/log" >&2
    return 1
}

serve_directly() {
    legs="one-tcp one-unix"
    server_password=$client_password
    port=$((20000 + ($$ * 7 + lane * 4003) % 12000))
    start redis-server --bind 127.0.0.1 --port "$port" --unixsocket "$work/one-tcp" --requirepass "$client_password" \
        --save "" --appendonly no --dir "$work"
    until_answers "$work/one-tcp" "$client_password" || return 1
    start redis-server --port 0 --unixsocket "$work/one-unix" --requirepass "$client_password" \
        --save "" --appendonly no --dir "$work"
    until_answers "$work/one-unix" "$client_password"
}

# The sockets of the servers of the leg $1.
servers_of() {
    case ${direct:+direct-}$1 in
    direct-*) echo "$work/$1" ;;
    one-*) echo "$work/$1-1" ;;
    three-*) echo "$work/$1-1" "$work/$1-2" "$work/$1-3" ;;
    esac
}

start() {
    "$@" >>"$work/log" 2>&1 </dev/null &
    started=$!
    echo "$started" >>"$work/pids"
}

# Waits at most 5 s for +PONG on the socket $1 with the password $2; gives up when what was started has ended.
until_answers() {
    tries=0
    until [ "$(REDISCLI_AUTH=$2 redis-cli -s "$1" ping 2>/dev/null)" = PONG ]; do
        tries=$((tries + 1))
        [ "$tries" -lt 100 ] && kill -0 "$started" 2>/dev/null || return 1
        sleep 0.05
    done
}

write_configuration() {
    separator='['
    for leg in $legs; do
        case $leg in
        one-tcp) listen="\"host\": \"127.0.0.1\", \"port\": $1" ;;
        three-tcp) listen="\"host\": \"127.0.0.1\", \"port\": $(($1 + 1))" ;;
        *) listen="\"socket\": \"$work/$leg\"" ;;
        esac
        paths=
        for socket in $(servers_of "$leg"); do
            paths="$paths${paths:+, }\"$socket\""
        done
        echo "$separator{$listen, \"unixConnections\": [$paths],"
        echo "  \"poolSize\": 50, \"remoteTimeout\": 5000, \"password\": \"$client_password\","
        echo "  \"remotePassword\": \"$server_password\", \"hashTag\": \"{}\"}"
        separator=,
    done
    echo ']'
}

# Says where the leg $1 is, and what a client has to say there, in the environment that every client's script reads.
export_leg() {
    RMUX_PASSWORD=$client_password RMUX_DATABASE=2 RMUX_NAME=tests
    RMUX_SERVERS=1 RMUX_HOST= RMUX_PORT= RMUX_SOCKET=
    case $1 in
    one-tcp) RMUX_HOST=127.0.0.1 RMUX_PORT=$port ;;
    three-tcp) RMUX_HOST=127.0.0.1 RMUX_PORT=$((port + 1)) ;;
    *) RMUX_SOCKET=$work/$1 ;;
    esac
    case $1 in three-*) RMUX_SERVERS=3 ;; esac
    export RMUX_PASSWORD RMUX_DATABASE RMUX_NAME RMUX_SERVERS RMUX_HOST RMUX_PORT RMUX_SOCKET
}

# Nothing that one client leaves behind is seen by the next.
flush() {
    for leg in $legs; do
        for socket in $(servers_of "$leg"); do
            printf '%s\n' 'flushall' 'function flush' 'script flush' |
                REDISCLI_AUTH=$server_password redis-cli -s "$socket"
        done
    done >>"$work/log" 2>&1
}

# Ends the servers and whatever script still runs. One by one: those that are gone must not keep the others.
stop_everything() {
    started=$(cat "$work/pids" 2>/dev/null)
    for pid in $running $started; do
        kill "$pid" 2>/dev/null
    done
    for pid in $running $started; do
        wait "$pid" 2>/dev/null
    done
}
