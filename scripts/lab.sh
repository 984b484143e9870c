# shellcheck shell=bash
# A cluster for a test script: free ports, a directory of its own, and gone when the script ends, however it ends.
# A script sources this, calls `lab`, and then starts what it needs:
#
#     lab
#     start_master --replication 2
#     start_workers w1 w2
#     client create a "$work/a.npy" >/dev/null
#     shows "stored a" same a "$work/a.npy"

# shellcheck source-path=SCRIPTDIR
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# Otherwise what fails in $(…) goes unnoticed.
shopt -s inherit_errexit

# How long anything may take that should happen soon.
soon=30

declare -A pids=()
work=
bin=
python=
host=
port=

# Makes the directory and the programs.
lab() {
    needs python3 python3
    # The interpreter itself: `python3` may be a script that looks for it.
    python=$(python3 -c 'import sys; print(sys.executable)')
    began=${EPOCHREALTIME/./}
    work=$(mktemp -d "${TMPDIR:-/tmp}/darray-$me-XXXXXX")
    trap lab_end EXIT
    set -o errtrace
    trap 'echo "$me: ${BASH_SOURCE[0]##*/}:$LINENO: $BASH_COMMAND: exit code $?" >&"$stderr"' ERR
    # Everything here is in its own process group, so that Ctrl-C reaches this script alone.
    trap 'exit 130' INT
    trap 'exit 143' TERM
    trap 'exit 129' HUP
    bin=$(programs)
    unset RUST_LOG DARRAY_MASTER
    # What a master keeps without --data-dir goes with it, also when it is killed.
    export TMPDIR=$work
    # Names beyond ASCII on command lines, and no compiled Python in the source tree.
    export LC_ALL=C.UTF-8 PYTHONDONTWRITEBYTECODE=1 DARRAY_TIMEOUT=$soon
    began=${EPOCHREALTIME/./}
}

lab_end() {
    local status=$? name
    trap '' INT TERM HUP
    trap - EXIT
    for name in "${!pids[@]}"; do
        kill -9 -- "-${pids[$name]}" 2>/dev/null || true
    done
    wait 2>/dev/null || true
    if ((status != 0 && status < 128)); then
        status=1 # whatever the code of the command that failed
        {
            echo "$me: FAILED"
            for name in "$work"/*master.log; do
                [[ -s $name ]] && echo "--- the end of $(basename "$name")" && tail -n 20 "$name"
            done
        } >&"$stderr" || true
    fi
    [[ -z $work ]] || rm -rf "$work"
    exit "$status"
}

# One line for what was done and checked.
step() {
    local now=${EPOCHREALTIME/./}
    printf '%6d ms  %s\n' $(((now - began) / 1000)) "$*"
}

# shows TEXT COMMAND …: the same of a command that has to go well, with what it prints.
shows() {
    local text=$1 said
    shift
    said=$("$@")
    step "$text: $said, right"
}

# spawn NAME COMMAND …: in the background, in a process group of its own.
spawn() {
    local name=$1
    shift
    rm -f "$work/$name.out"
    set -m
    "$@" >"$work/$name.out" 2>>"$work/$name.log" </dev/null {stderr}>&- &
    pids[$name]=$!
    set +m
}

# A master with these flags; its address is in DARRAY_MASTER, host and port.
start_master() {
    spawn master "$bin/master" --listen "${DARRAY_MASTER:-127.0.0.1:0}" "$@"
    DARRAY_MASTER=$(listening "$work/master.out" "${pids[master]}" "$work/master.log")
    export DARRAY_MASTER
    use_address
}

use_address() {
    # shellcheck disable=SC2034 # for the scripts
    host=${DARRAY_MASTER%:*} port=${DARRAY_MASTER##*:}
}

start_worker() {
    spawn "$1" "$bin/worker" --id "$1" --threads 1
    listening "$work/$1.out" "${pids[$1]}" "$work/$1.log" >/dev/null
}

start_workers() {
    local id
    for id in "$@"; do
        start_worker "$id"
    done
    client wait --workers "$#" >/dev/null
}

client() {
    "$bin/client" --timeout "$soon" "$@"
}

values() {
    "$python" -S "$root/scripts/values" "$@"
}

# kill -9, and the process is gone.
kill_hard() {
    kill -9 -- "-${pids[$1]}"
    wait "${pids[$1]}" 2>/dev/null || true
    unset "pids[$1]"
}

pause() {
    kill -STOP -- "-${pids[$1]}"
}

resume() {
    kill -CONT -- "-${pids[$1]}"
}

has_ended() {
    ! kill -0 "${pids[$1]}" 2>/dev/null
}

# ends_with CODE NAME: waits for the end of a process, and fails unless it ends with this exit code.
ends_with() {
    local status=0
    wait_until "$2 has ended" has_ended "$2"
    wait "${pids[$2]}" 2>/dev/null || status=$?
    unset "pids[$2]"
    ((status == $1)) || fail "$2 ended with exit code $status and not $1: $(tail -n 3 "$work/$2.log" "$work/$2.out")"
}

# wait_until WHAT COMMAND …: until the command succeeds.
wait_until() {
    local what=$1 deadline=$((SECONDS + soon))
    shift
    until "$@" 2>"$work/why"; do
        ((SECONDS < deadline)) || fail "waited $soon s in vain until $what: $(tail -c 1000 "$work/why")"
        sleep 0.02
    done
}

# is COMMAND … -- EXPRESSION: whether it is so for the JSON object `x` that this command of the client prints.
is() {
    local words=()
    while [[ $1 != -- ]]; do
        words+=("$1")
        shift
    done
    client --json "${words[@]}" | values json "$2"
}

# has_work WORKER: whether the master waits for something from this worker. Fast, because one that stands still is soon
# given up.
has_work() {
    local workers
    workers=$(client --json workers)
    [[ $workers =~ \"id\":\"$1\"[^}]*\"tasks\":[1-9] ]]
}

# caught_in_work WORKER COMMAND …: runs the command in the background, under the name of `work`, such that it needs this
# worker, which stands still in the middle of its work when this returns.
caught_in_work() {
    local worker=$1 deadline=$((SECONDS + soon))
    shift
    while ((SECONDS < deadline)); do
        pause "$worker"
        spawn work "$@"
        until has_ended work && [[ $(client --json operations) == '{"operations":[]}' ]]; do
            if has_work "$worker"; then
                return
            fi
        done
        # The machine is so busy that the worker was given up before anybody could look.
        ends_with 0 work
        resume "$worker"
        wait_until "$worker is back" is status -- "x['workers_down'] == x['workers_suspect'] == x['under_replicated'] == 0"
    done
    fail "in $soon s $worker was never seen at work"
}

# So many workers are alive, and every segment has all its copies.
is_whole() {
    is status -- "x['workers_alive'] == $1 and x['workers_suspect'] == x['under_replicated'] == x['lost'] == 0"
}

wait_whole() {
    wait_until "$1 workers hold all copies" is_whole "$1"
}

# same NAME FILE: the array itself is what the file holds.
same() {
    client get "$1" --array --out "$work/same.npy" >/dev/null &&
        values same "$2" "$work/same.npy"
}

# result NAME OPERATION FILE: the newest result of the array is what the operation makes of the file.
result() {
    client get "$1" --out "$work/result.npy" >/dev/null &&
        values result "$2" "$3" "$work/result.npy"
}

# refused CODE TEXT COMMAND …: the client ends with this exit code, and says this.
refused() {
    local code=$1 text=$2 status=0 said
    shift 2
    said=$(client "$@" 2>&1 </dev/null) || status=$?
    [[ $status == "$code" && $said == *"$text"* ]] ||
        fail "client $*: exit code $status and not $code, or not '$text': $said"
}

# `client shutdown`, and every process of the cluster ends by itself.
shut_down() {
    local name
    client --json shutdown --yes | values json "x['status'] == 'shutdown'"
    for name in "${!pids[@]}"; do
        ends_with 0 "$name"
    done
}
