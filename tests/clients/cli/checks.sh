# What the shell scripts share: where rmux is, and how the outcome of a check is told; sourced.
#
# A check is a function whose name says what it does; it passes when it returns true. What it prints on its standard
# error tells why it does not.

if [ -n "$RMUX_SOCKET" ]; then
    set -- -s "$RMUX_SOCKET"
else
    set -- -h "$RMUX_HOST" -p "$RMUX_PORT"
fi
if [ -n "$RMUX_PASSWORD" ]; then
    set -- "$@" -a "$RMUX_PASSWORD"
fi

check() {
    if why=$("$1" 2>&1); then
        echo "ok $1" | tr _ ' '
    else
        echo "$why" >&2
        echo "not ok $(echo "$1" | tr _ ' '): $(echo "$why" | tail -n 1 | tr -d '\r' | cut -c 1-200)"
    fi
}

equal() {
    [ "$1" = "$2" ] || { echo "got $(echo "$1" | head -c 100), wanted $(echo "$2" | head -c 100)" && return 1; }
}
