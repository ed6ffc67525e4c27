# The Redis servers and the rmux that the clients talk to; sourced by run.sh.
#
# A leg is a way in: one or three servers behind it, reached over TCP or a Unix socket. Each leg has servers of its own,
# so that all four can be tried at the same time and none sees another's keys:
#
#     client ─ TCP ──► pool one-tcp ────► 1 redis-server      client ─ TCP ──► pool three-tcp ────► 3 redis-servers
#     client ─ Unix ─► pool one-unix ───► 1 redis-server      client ─ Unix ─► pool three-unix ───► 3 redis-servers
#
# With --cluster the legs are two others, each with a Redis Cluster of three masters behind it, and rmux announces itself
# at the first one's address to clients that insist on a cluster:
#
#     client ─ TCP ──► pool cluster-tcp ──► 3 masters         client ─ Unix ─► pool cluster-unix ──► 3 masters
#
# rmux's password is not the servers': a client's AUTH that is passed on, or a server's that is told, is found.
# Without rmux (--direct) the legs one-tcp and one-unix are a redis-server each, with the clients' password.
#
# Uses $work (a folder of the lane's own), $lane and $cluster, and says $legs; what it starts is noted in $work/pids.
# REDIS_SERVER=path is another program for the servers.

client_password=sesame
server_password=opensesame
redis_server=${REDIS_SERVER:-redis-server}

serve_rmux() {
    if [ -n "$cluster" ]; then
        legs="cluster-tcp cluster-unix"
        for leg in $legs; do
            start_cluster || return 1
        done
    else
        start_servers || return 1
    fi
    # Free ports are found by trying: rmux ends at once when one is taken.
    for attempt in 0 1 2 3 4 5 6 7; do
        port=$((20000 + ($$ * 7 + lane * 4003 + attempt * 1001) % 12000))
        write_configuration "$port" >"$work/rmux.json"
        start "$rmux" -config="$work/rmux.json"
        if until_answers "$work/${legs##* }" "$client_password" && kill -0 "$started" 2>/dev/null; then
            return 0
        fi
    done
    tail -n 5 "$work/log" >&2
    return 1
}

start_servers() {
    legs="one-tcp three-tcp three-unix one-unix"
    for leg in $legs; do
        for socket in $(servers_of "$leg"); do
            start "$redis_server" --port 0 --unixsocket "$socket" --requirepass "$server_password" \
                --save "" --appendonly no --dir "$work"
        done
    done
    for leg in $legs; do
        for socket in $(servers_of "$leg"); do
            until_answers "$socket" "$server_password" || return 1
        done
    done
}

# Three masters of the leg $leg, at ports that are found by trying; $work/$leg.nodes says which.
start_cluster() {
    for attempt in 0 1 2 3 4 5 6 7; do
        node=$((30000 + ($$ * 11 + lane * 811 + attempt * 97 + ${#leg} * 31) % 2700))
        : >"$work/$leg.nodes"
        for socket in $(servers_of "$leg"); do
            # Beside its port, the one at which nodes talk to each other.
            rm -rf "$socket.d" && mkdir "$socket.d"
            start "$redis_server" --bind 127.0.0.1 --port "$node" --cluster-port $((node + 1)) --cluster-enabled yes \
                --unixsocket "$socket" --requirepass "$server_password" --save "" --appendonly no --dir "$socket.d"
            until_answers "$socket" "$server_password" || continue 2
            echo "127.0.0.1:$node" >>"$work/$leg.nodes"
            node=$((node + 2))
        done
        join_cluster && return 0
    done
    tail -n 5 "$work/log" >&2
    return 1
}

# Waits at most 10 s until all three know each other, and all slots.
join_cluster() {
    # shellcheck disable=SC2046 # several addresses
    REDISCLI_AUTH=$server_password redis-cli --cluster create $(cat "$work/$leg.nodes") --cluster-yes \
        >>"$work/log" 2>&1 </dev/null || return 1
    for socket in $(servers_of "$leg"); do
        tries=0
        until REDISCLI_AUTH=$server_password redis-cli -s "$socket" cluster info 2>/dev/null |
            grep -q cluster_state:ok; do
            tries=$((tries + 1))
            [ "$tries" -lt 200 ] || return 1
            sleep 0.05
        done
    done
}

serve_directly() {
    legs="one-tcp one-unix"
    server_password=$client_password
    port=$((20000 + ($$ * 7 + lane * 4003) % 12000))
    start "$redis_server" --bind 127.0.0.1 --port "$port" --unixsocket "$work/one-tcp" --requirepass "$client_password" \
        --save "" --appendonly no --dir "$work"
    until_answers "$work/one-tcp" "$client_password" || return 1
    start "$redis_server" --port 0 --unixsocket "$work/one-unix" --requirepass "$client_password" \
        --save "" --appendonly no --dir "$work"
    until_answers "$work/one-unix" "$client_password"
}

# The sockets of the servers of the leg $1.
servers_of() {
    case ${direct:+direct-}$1 in
    direct-*) echo "$work/$1" ;;
    one-*) echo "$work/$1-1" ;;
    three-* | cluster-*) echo "$work/$1-1" "$work/$1-2" "$work/$1-3" ;;
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
        cluster-tcp) listen="\"host\": \"127.0.0.1\", \"port\": $1, \"clusterAnnounce\": \"127.0.0.1:$1\"" ;;
        *) listen="\"socket\": \"$work/$leg\"" ;;
        esac
        case $leg in
        cluster-*) servers="\"cluster\": true, \"tcpConnections\": [$(listed <"$work/$leg.nodes")]" ;;
        *) servers="\"unixConnections\": [$(servers_of "$leg" | tr ' ' '\n' | listed)], \"hashTag\": \"{}\"" ;;
        esac
        echo "$separator{$listen, $servers,"
        echo "  \"poolSize\": 50, \"remoteTimeout\": 5000, \"password\": \"$client_password\","
        echo "  \"remotePassword\": \"$server_password\"}"
        separator=,
    done
    echo ']'
}

# Its lines as a list of JSON's strings.
listed() {
    sed 's/.*/"&"/' | paste -s -d , -
}

# Says where the leg $1 is, and what a client has to say there, in the environment that every client's script reads.
export_leg() {
    RMUX_PASSWORD=$client_password RMUX_DATABASE=2 RMUX_NAME=tests
    RMUX_SERVERS=1 RMUX_HOST= RMUX_PORT= RMUX_SOCKET=
    case $1 in
    one-tcp | cluster-tcp) RMUX_HOST=127.0.0.1 RMUX_PORT=$port ;;
    three-tcp) RMUX_HOST=127.0.0.1 RMUX_PORT=$((port + 1)) ;;
    *) RMUX_SOCKET=$work/$1 ;;
    esac
    case $1 in
    three-*) RMUX_SERVERS=3 ;;
    # A cluster has one database.
    cluster-*) RMUX_SERVERS=3 RMUX_DATABASE=0 ;;
    esac
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
