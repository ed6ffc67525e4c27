#!/bin/sh
# Installs, on Debian and as root, what the benchmarks compare with and measure with. Some of these packages start a
# service of their own; it is not used, and may be stopped.
set -eu
export DEBIAN_FRONTEND=noninteractive
packages="redis-server redis-tools nutcracker haproxy nginx-light php-fpm php-cli php-redis wrk valgrind"
apt-get install -y -qq $packages >/dev/null 2>&1 || { apt-get update -qq; apt-get install -y -qq $packages >/dev/null; }
