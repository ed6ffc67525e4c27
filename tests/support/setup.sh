# What a bare machine needs before rmux can be built and tried; sourced by tests/run.sh, examples/quickstart.sh, .ci/run.
#
# Each need_… function returns at once when the thing is there, tries to install it where that can work without a
# question (apt-get, as root or by a sudo that asks for no password), and otherwise says what to do and ends the script.
# POSIX sh; nothing here runs by being sourced, except that a Rust installed by rustup is found.

if [ -d "${CARGO_HOME:-${HOME:-/root}/.cargo}/bin" ]; then
    PATH="$PATH:${CARGO_HOME:-${HOME:-/root}/.cargo}/bin"
fi

# The oldest compiler that builds rmux: 1.<this>, as in Cargo.toml.
rust_minor_min=85

apt_options="-o Acquire::http::Timeout=20 -o Acquire::https::Timeout=20 -o Acquire::Retries=1 -o DPkg::Lock::Timeout=120"

say() {
    printf '%s\n' "$*" >&2
}

give_up() {
    say "$@"
    exit 1
}

# Installs Debian packages, with fresh lists if the old ones do not have them; false when it cannot. An archive that does
# not answer, or another apt that does not end, is not waited for long.
install_packages() {
    command -v apt-get >/dev/null 2>&1 || return 1
    if [ "$(id -u)" -eq 0 ]; then
        as_root=""
    elif command -v sudo >/dev/null 2>&1 && sudo -n true </dev/null >/dev/null 2>&1; then
        as_root="sudo -n"
    else
        return 1
    fi
    say "Installing $* …"
    for attempt in 1 2; do
        # Words are split on purpose: as_root is empty or two words, apt_options are many.
        if $as_root env DEBIAN_FRONTEND=noninteractive \
            apt-get install -y -q --no-install-recommends $apt_options "$@" </dev/null >&2; then
            return 0
        fi
        [ "$attempt" -eq 2 ] || $as_root apt-get update -q $apt_options </dev/null >&2 || return 1
    done
    return 1
}

need_redis() {
    if command -v redis-server >/dev/null 2>&1 && command -v redis-cli >/dev/null 2>&1 &&
        command -v redis-benchmark >/dev/null 2>&1; then
        return 0
    fi
    install_packages redis-server redis-tools ||
        give_up "redis-server, redis-cli and redis-benchmark are missing, and cannot be installed from here." \
            "Install them (Debian, Ubuntu: apt-get install redis-server redis-tools) and try again."
}

need_openssl() {
    command -v openssl >/dev/null 2>&1 || install_packages openssl ||
        give_up "openssl is missing, with which the tests make certificates. Install it (apt-get install openssl) and try again."
}

# TLS has parts in C, which a compiler for the static binary's C library makes.
need_musl_compiler() {
    command -v musl-gcc >/dev/null 2>&1 || install_packages musl-tools ||
        give_up "musl-gcc is missing. Install it (Debian, Ubuntu: apt-get install musl-tools) and try again."
}

# True when there is a compiler that is new enough.
has_rust() {
    command -v cargo >/dev/null 2>&1 || return 1
    minor=$(rustc --version 2>/dev/null </dev/null | sed -n 's/^rustc 1\.\([0-9]*\)\..*/\1/p')
    [ "${minor:-0}" -ge "$rust_minor_min" ]
}

# True when the distribution's own compiler would be new enough.
packaged_rust_is_new_enough() {
    command -v apt-cache >/dev/null 2>&1 || return 1
    minor=$(apt-cache policy rustc 2>/dev/null </dev/null | sed -n 's/^ *Candidate: 1\.\([0-9]*\).*/\1/p')
    [ "${minor:-0}" -ge "$rust_minor_min" ]
}

need_rust() {
    if ! has_rust; then
        if packaged_rust_is_new_enough; then
            install_packages cargo rustc || true
        elif command -v rustup >/dev/null 2>&1; then
            rustup toolchain install stable --profile minimal </dev/null >&2 && rustup default stable >&2 || true
        fi
        has_rust ||
            give_up "Rust 1.$rust_minor_min or newer is missing (found: $(rustc --version 2>/dev/null || echo none))." \
                "Install it as https://rustup.rs says, or from your distribution if it has one that is new enough," \
                "and try again."
    fi
    # The compiler calls the system's linker.
    command -v cc >/dev/null 2>&1 || install_packages gcc libc6-dev ||
        give_up "The linker cc is missing. Install it (Debian, Ubuntu: apt-get install gcc libc6-dev) and try again."
}

# need_component <cargo subcommand> <rustup component> <Debian package>
need_component() {
    cargo "$1" --version >/dev/null 2>&1 </dev/null && return 0
    if command -v rustup >/dev/null 2>&1; then
        rustup component add "$2" </dev/null >&2 || true
    else
        install_packages "$3" || true
    fi
    cargo "$1" --version >/dev/null 2>&1 </dev/null ||
        give_up "cargo $1 is missing. Install it (rustup component add $2) and try again."
}
