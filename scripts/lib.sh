# shellcheck shell=bash
# What the scripts of this directory share. They source it, and say `usage` themselves.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
me=$(basename "$0")
# Where a failure is told, wherever standard error goes at that moment.
exec {stderr}>&2

fail() {
    echo "$me: $*" >&"$stderr"
    exit 1
}

wrong_usage() {
    echo "$me: $*" >&2
    usage >&2
    exit 2
}

# needs COMMAND PACKAGE: fails if there is no such command.
needs() {
    command -v "$1" >/dev/null || fail "$1 is missing; install the package $2"
}

# Builds what is missing or old; the output is the programs' directory.
programs() {
    "$root/scripts/setup" build >&2
    (cd "$root" && cargo build --quiet --release --workspace --bins) >&2 || fail "the programs cannot be built"
    (cd "$root" && cd "${CARGO_TARGET_DIR:-target}/release" && pwd)
}

# listening OUT PID LOG: the address in the line `listening HOST:PORT`, which a program with this process id writes into
# the file OUT when it is ready.
listening() {
    local found
    for _ in {1..600}; do
        found=$(sed -n 's/^listening //p' "$1" 2>/dev/null) || true
        if [[ -n $found ]]; then
            echo "$found"
            return
        fi
        kill -0 "$2" 2>/dev/null || fail "it did not start: $(tail -n 3 "$3")"
        sleep 0.02
    done
    fail "it does not say where it listens; see $3"
}
