#!/bin/sh
# The admin page in a real browser: sh tests/browser/run.sh [folder for screenshots]
#
# Starts an rmux with an admin endpoint, and lets chromium load its page: without scripts it has to be whole; with them it
# has to bring itself up to date, and to ask for nothing but itself. Needs chromium (about 300 MB), which is why it
# is no part of tests/run.sh; installs it where that needs no question. RMUX=path says which rmux; otherwise it is built.

set -eu
cd "$(dirname "$0")/../.."
. tests/support/setup.sh

command -v chromium >/dev/null 2>&1 || install_packages chromium || give_up "chromium is missing"
if [ -z "${RMUX:-}" ]; then
    need_rust
    cargo build --locked --quiet </dev/null
    RMUX=${CARGO_TARGET_DIR:-target}/debug/rmux
fi

work=$(mktemp -d "${TMPDIR:-/tmp}/rmux-browser.XXXXXX")
rmux=
trap '[ -z "$rmux" ] || kill "$rmux" 2>/dev/null; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP

# A port that is free: the one of the process id, and the next ones.
port=$((20000 + $$ % 20000))
while :; do
    "$RMUX" -socket="$work/rmux.sock" -tcpConnections="127.0.0.1:1" -admin="$port" >"$work/log" 2>&1 &
    rmux=$!
    tries=0
    until grep -q "admin: listens" "$work/log"; do
        kill -0 "$rmux" 2>/dev/null || break
        tries=$((tries + 1))
        [ "$tries" -lt 600 ] || give_up "rmux does not start: $(cat "$work/log")"
        sleep 0.1
    done
    kill -0 "$rmux" 2>/dev/null && break
    port=$((port + 1))
    [ "$port" -lt 45000 ] || give_up "rmux does not start: $(cat "$work/log")"
done
page=http://127.0.0.1:$port/

browse() {
    timeout 60 chromium --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run \
        --disable-background-networking --disable-component-update --user-data-dir="$work/profile" \
        "$@" "$page" 2>>"$work/chromium"
}

failed=0
check() {
    if eval "$2"; then echo "ok $1"; else
        echo "not ok $1"
        failed=1
    fi
}

# Requests that the page made; the browser itself makes others.
requests() {
    grep "\"initiator\":\"${page%/}\"" "$1" | grep -o '"url":"[^"]*"' | sed 's/^"url":"//; s/"$//' >"$1.urls" || true
    cat "$1.urls"
}

# Without scripts it does not end by itself; the page says that it is to be loaded anew after 5 s.
browse --blink-settings=scriptEnabled=false --screenshot="${1:-$work}/plain.png" >"$work/plain"
timeout 13 chromium --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run \
    --disable-background-networking --disable-component-update --user-data-dir="$work/profile" \
    --blink-settings=scriptEnabled=false --remote-debugging-port=0 --log-net-log="$work/plain.json" "$page" \
    >/dev/null 2>>"$work/chromium" || true
check "loads itself anew without scripts" 'requests "$work/plain.json" | grep -q "^$page\$"'
check "asks for nothing else without scripts" '! requests "$work/plain.json" | grep -qv "^$page\$"'

# 20 s of its own time: it has asked again by then.
browse --virtual-time-budget=20000 --log-net-log="$work/net.json" --dump-dom >"$work/scripted"
check "whole with scripts" 'grep -q "<h1 class=\"bad\">✗ " "$work/scripted" && grep -q "</footer>" "$work/scripted"'
check "answers are no trouble" 'grep -q "id=\"gone\" role=\"alert\" hidden" "$work/scripted"'
check "has brought itself up to date" 'requests "$work/net.json" | grep -q "^$page\$"'
check "asks for nothing else" '! requests "$work/net.json" | grep -qv "^$page\$"'

kill "$rmux"
rmux=
[ "$failed" -eq 0 ] || cat "$work"/*.urls "$work/log"
exit "$failed"
