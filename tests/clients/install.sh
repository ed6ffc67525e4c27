# Where each family of clients comes from, and how one of its scripts is run; sourced by run.sh.
#
# Python's from PyPI into a venv each, Node's from npm into a folder each, PHP's, Ruby's and Go's from Debian, Rust's with
# cargo; Python and npm themselves from Debian, where they are missing. All of it is kept in $cache. A folder counts as
# installed when its file "installed" names its packages; a failure is not kept, so that the next run tries again.
#
# Everything is installed in the background, several families at the same time. What has come of a folder is known when
# $work/ready/FAMILY-FOLDER is there: it is empty, or says why there is nothing. What may hang (a registry that does not
# answer) ends with the first $install_seconds of the run.

# Starts to install what is missing of $work/clients; says in $installers who does.
install_clients() {
    mkdir -p "$cache" "$work/ready"
    : >"$work/debian"
    # In the order in which they will be run.
    awk '!is_there[$1, $2]++' "$work/clients" >"$work/wanted"
    while read -r family place packages _; do
        case $family in
        php | ruby | go) echo "$packages" | tr , '\n' >>"$work/debian" ;;
        rust) echo "$place $packages" >>"$work/wanted.$family" ;;
        python | node)
            if is_installed; then
                : >"$work/ready/$family-$place"
            else
                echo "$place $packages" >>"$work/wanted.$family"
            fi
            ;;
        *) : >"$work/ready/$family-$place" ;;
        esac
    done <"$work/wanted"
    for family in rust python node; do
        [ -f "$work/wanted.$family" ] || continue
        install_family <"$work/wanted.$family" &
        installers="$installers $!"
    done
    if [ -s "$work/debian" ]; then
        install_debian &
        installers="$installers $!"
    fi
}

# Waits until $place of $family is installed, or is known not to be.
until_installed() {
    until [ -f "$top/ready/$family-$place" ] || [ "$(seconds_left "$install_seconds")" -le 1 ]; do
        sleep 0.1
    done
}

is_installed() {
    [ "$(cat "$cache/$family/$place/installed" 2>/dev/null)" = "$packages" ]
}

install_family() {
    if ! "prepare_$family" >"$work/prepare-$family" 2>&1 </dev/null; then
        while read -r place _; do
            grep . "$work/prepare-$family" | tail -n 1 >"$work/ready/$family-$place"
        done
        return
    fi
    while read -r place packages; do
        folder=$cache/$family/$place
        log=$work/install-$family-$place
        if "install_$family" >"$log" 2>&1 </dev/null; then
            echo "$packages" >"$folder/installed"
            : >"$work/ready/$family-$place"
        else
            rm -f "$folder/installed"
            grep . "$log" | tail -n 1 >"$work/ready/$family-$place"
        fi
    done
}

# Ends what would take longer than all of the installing may.
within_time() {
    timeout -k 5 "$(seconds_left "$install_seconds")" "$@" &
    echo "$!" >>"$work/installing"
    wait "$!"
    code=$?
    [ "$code" -ne 124 ] || echo "installing took too long; the next run goes on with it"
    return "$code"
}

# One pip installs for all: to make one for each takes longer than what it installs.
prepare_python() {
    command -v python3 >/dev/null || install_packages python3-venv || { echo "there is no python3" && return 1; }
    "$cache/python/pip/bin/pip" --version >/dev/null 2>&1 && return 0
    rm -rf "$cache/python/pip"
    python3 -m venv "$cache/python/pip" && return 0
    install_packages python3-venv && python3 -m venv "$cache/python/pip"
}

install_python() {
    rm -rf "$folder"
    # One place says what the packages are, with commas between them; pip wants them as words.
    # shellcheck disable=SC2046
    python3 -m venv --without-pip "$folder" &&
        within_time "$cache/python/pip/bin/pip" --python "$folder/bin/python" install -q --disable-pip-version-check \
            --no-input --retries 2 --timeout 15 $(echo "$packages" | tr , ' ')
}

prepare_node() {
    command -v npm >/dev/null || install_packages nodejs npm || { echo "there is no npm" && return 1; }
}

install_node() {
    rm -rf "$folder"
    mkdir -p "$folder"
    echo '{"private": true}' >"$folder/package.json"
    # shellcheck disable=SC2046 # several packages
    within_time npm install --prefix "$folder" --no-package-lock --no-audit --no-fund --loglevel=error \
        --prefer-offline --logs-max=0 --fetch-retries=1 --fetch-timeout=20000 $(echo "$packages" | tr , ' ')
}

prepare_rust() {
    command -v cargo >/dev/null || { echo "there is no cargo" && return 1; }
}

# A copy is built, so that no Cargo.lock and no target folder come to stand among the sources.
install_rust() {
    mkdir -p "$folder/src"
    cp "$here/rust/Cargo.toml" "$folder/" && cp "$here"/rust/src/* "$folder/src/" || return 1
    cd "$folder" || return 1
    CARGO_TARGET_DIR=$folder/target CARGO_NET_RETRY=2 CARGO_HTTP_TIMEOUT=20 within_time cargo build --quiet
}

# All of Debian's packages at once, or those that there are, one by one.
install_debian() {
    missing=$(sort -u "$work/debian" | while read -r package; do
        is_packaged "$package" || echo "$package"
    done)
    # shellcheck disable=SC2086 # several packages
    [ -z "$missing" ] || install_packages $missing >"$work/install-debian" 2>&1 ||
        for package in $missing; do
            [ "$(seconds_left "$install_seconds")" -gt 1 ] || break
            install_packages "$package" >>"$work/install-debian" 2>&1
        done
    while read -r family place packages _; do
        case $family in
        php | ruby) : >"$work/ready/$family-$place" ;;
        go)
            install_go >"$work/install-go" 2>&1 </dev/null || grep . "$work/install-go" | tail -n 1 >"$work/why-go"
            mv "$work/why-go" "$work/ready/$family-$place" 2>/dev/null || : >"$work/ready/$family-$place"
            ;;
        esac
    done <"$work/wanted"
}

is_packaged() {
    dpkg-query -W -f='${Status}' "$1" 2>/dev/null | grep -q 'ok installed'
}

# Debian's Go packages are sources, found by the path that they are imported by.
install_go() {
    is_packaged golang-gopkg-redis.v5-dev && command -v go >/dev/null || return 0
    mkdir -p "$cache/go"
    (
        cd "$here/go" && GO111MODULE=off GOPATH=/usr/share/gocode GOFLAGS= GOCACHE="$cache/go/cache" \
            within_time sh -c 'for script in go_redis go_redis_cluster; do
                go build -o "$1/$script" "$script.go" || exit 1
            done' sh "$cache/go"
    )
}

# The command that runs $script of $family, for sh -c; or false, having said why there is none.
command_of() {
    case $family in
    cli) echo "sh '$here/cli/$script'" ;;
    java) echo "there is no Debian package of it" && return 1 ;;
    php | ruby | go)
        for package in $(echo "$packages" | tr , ' '); do
            is_packaged "$package" || { echo "no Debian package $package here" && return 1; }
        done
        [ ! -s "$top/ready/$family-$place" ] || { cat "$top/ready/$family-$place" && return 1; }
        case $family in
        go)
            version=$(dpkg-query -W -f='${Version}' golang-gopkg-redis.v5-dev)
            echo "RMUX_CLIENT_VERSION=${version%-*} '$cache/go/$script'"
            ;;
        *) echo "$family '$here/$family/$script'" ;;
        esac
        ;;
    *)
        [ -f "$cache/$family/$place/installed" ] && [ -f "$top/ready/$family-$place" ] ||
            { grep . "$top/ready/$family-$place" 2>/dev/null || echo "not installed in time"; return 1; }
        case $family in
        python) echo "'$cache/python/$place/bin/python' '$here/python/$script'" ;;
        node) echo "RMUX_MODULES='$cache/node/$place' node '$here/node/$script'" ;;
        rust)
            version=$(grep -A 1 "^name = \"${script%_rs}\"$" "$cache/rust/$place/Cargo.lock" |
                sed -n 's/^version = //p')
            echo "RMUX_CLIENT_VERSION=$version '$cache/rust/$place/target/debug/$script'"
            ;;
        esac
        ;;
    esac
}
