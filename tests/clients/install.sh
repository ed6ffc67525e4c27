# Where each family of clients comes from, and how one of its scripts is run; sourced by run.sh.
#
# Python's from PyPI into a venv each, Node's from npm into a folder each, PHP's and Ruby's from Debian, Rust's from
# crates.io. All of it is kept in $cache. A folder counts as installed when its file "installed" names its packages; a
# failure is not kept, so that the next run tries again.

# Reads the list of clients; installs what is missing, the slow families at the same time.
install_clients() {
    mkdir -p "$cache" "$work/missing"
    : >"$work/debian"
    sort -u -k 1,3 >"$work/wanted"
    while read -r family place packages _; do
        case $family in
        php | ruby) echo "$packages" | tr , '\n' >>"$work/debian" ;;
        rust) echo "$place $packages" >>"$work/wanted.$family" ;;
        python | node) is_installed || echo "$place $packages" >>"$work/wanted.$family" ;;
        esac
    done <"$work/wanted"
    jobs=
    for family in rust python node; do
        [ -f "$work/wanted.$family" ] || continue
        install_family <"$work/wanted.$family" &
        jobs="$jobs $!"
    done
    install_debian
    # shellcheck disable=SC2086 # several process ids
    [ -z "$jobs" ] || wait $jobs
}

is_installed() {
    [ "$(cat "$cache/$family/$place/installed" 2>/dev/null)" = "$packages" ]
}

install_family() {
    while read -r place packages; do
        folder=$cache/$family/$place
        log=$work/install-$family-$place
        if "install_$family" >"$log" 2>&1 </dev/null; then
            echo "$packages" >"$folder/installed"
        else
            grep . "$log" | tail -n 1 >"$work/missing/$family-$place"
            rm -f "$folder/installed"
        fi
    done
}

# Ends what would take longer than all of the installing may.
within_time() {
    timeout -k 5 "$(seconds_left "$install_seconds")" "$@"
    code=$?
    [ "$code" -ne 124 ] || echo "installing took too long; the next run goes on with it"
    return "$code"
}

install_python() {
    command -v python3 >/dev/null || { echo "there is no python3" && return 1; }
    rm -rf "$folder"
    # One place says what the packages are, with commas between them; pip wants them as words.
    # shellcheck disable=SC2046
    python3 -m venv "$folder" &&
        within_time "$folder/bin/pip" install -q --disable-pip-version-check $(echo "$packages" | tr , ' ')
}

install_node() {
    command -v npm >/dev/null || { echo "there is no npm" && return 1; }
    rm -rf "$folder"
    mkdir -p "$folder"
    echo '{"private": true}' >"$folder/package.json"
    # shellcheck disable=SC2046 # several packages
    within_time npm install --prefix "$folder" --no-package-lock --no-audit --no-fund --loglevel=error \
        $(echo "$packages" | tr , ' ')
}

# A copy is built, so that no Cargo.lock and no target folder come to stand among the sources.
install_rust() {
    command -v cargo >/dev/null || { echo "there is no cargo" && return 1; }
    mkdir -p "$folder/src"
    cp "$here/rust/Cargo.toml" "$folder/" && cp "$here"/rust/src/* "$folder/src/" || return 1
    (cd "$folder" && CARGO_TARGET_DIR=$folder/target within_time cargo build --quiet)
}

# All of PHP's and Ruby's packages at once, or those that there are, one by one.
install_debian() {
    missing=$(sort -u "$work/debian" | while read -r package; do
        dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || echo "$package"
    done)
    # shellcheck disable=SC2086 # several packages
    [ -z "$missing" ] || install_packages $missing >"$work/install-debian" 2>&1 ||
        for package in $missing; do
            install_packages "$package" >>"$work/install-debian" 2>&1
        done
}

# The command that runs $script of $family, for sh -c; or false, having said why there is none.
command_of() {
    case $family in
    cli) echo "sh '$here/cli/$script'" ;;
    go) echo "its module comes from a proxy of its own, not from Debian" && return 1 ;;
    java) echo "there is no Debian package of it" && return 1 ;;
    php | ruby)
        for package in $(echo "$packages" | tr , ' '); do
            dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' ||
                { echo "no Debian package $package here" && return 1; }
        done
        echo "$family '$here/$family/$script'"
        ;;
    *)
        [ -f "$cache/$family/$place/installed" ] ||
            { cat "$work/missing/$family-$place" 2>/dev/null || echo "not installed"; return 1; }
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
