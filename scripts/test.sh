#!/usr/bin/env bash
# Runs every test: builds the test programs, runs them side by side, each in a network namespace of its own, and then,
# one after the other, the tests that need the machine for themselves. Up to three programs that failed run a second time
# when nothing else does: one that passes then is named at the end, since a test that depends on the machine is a fault of
# its own. Prints the ten slowest tests at the end; exits with 1 if a test fails.
#
#   scripts/test.sh [PROGRAM ...]     only these, such as lib or bmp_live (all)
#
# RFM_TEST_JOBS sets how many programs run side by side (default: one more than there are CPUs; most tests wait).
# SPDX-License-Identifier: AGPL-3.0-only
set -euo pipefail
cd "$(dirname "$0")/.."
# each program gets a process group of its own, so that a signal reaches all that it has started
set -m

only=" ${*:-} "
jobs=${RFM_TEST_JOBS:-$(($(nproc) + 1))}
logs=target/test-logs

# Run last, one after the other: PROGRAM for all of its tests, or PROGRAM TEST. These load all CPUs, take one offline,
# measure times and rates, or count what the whole machine holds.
alone=(
    accounting
    continuity
    cpu_offline
    http_limits
    sampling
    'bmp many::'
    'examples clickhouse::'
    'firewall flood::'
    'web floods::'
    'hotplug five_hundred_that_come_and_go_leave_nothing'
    'hotplug one_that_appears_alone_is_attached_within_100_ms'
    'resilience an_idle_agent_uses_less_than_a_thousandth_of_a_core'
)

# The programs that take longest start first.
longest=(bmp_live prometheus ipfix page firewall dashboard control web bmp_garbage hotplug resilience hooks netns)

# threads PROGRAM: its tests run one at a time unless they bear neighbors.
threads() {
    case $1 in
    bmp_live | lib | bmp) echo 2 ;;
    *) echo 1 ;;
    esac
}

# build: prints "NAME PATH" of each test program.
build() {
    cargo test --locked --no-run --message-format json-render-diagnostics |
        sed -n '/"profile":{[^}]*"test":true}/{
            s/.*"kind":\["\([a-z]*\)"\].*"name":"\([^"]*\)".*"executable":"\([^"]*\)".*/\1 \2 \3/p
        }' |
        while read -r kind name path; do
            [ "$kind" = test ] || name=$kind
            echo "$name $path"
        done
}

# start LABEL NAME [ARGUMENT ...]: runs a test program in the background; its process id is in $!.
# RUSTC_BOOTSTRAP lets the test harness of a stable Rust report the time of each test.
start() {
    local label=$1 name=$2
    command[$label]="${*:2}"
    shift 2
    RUSTC_BOOTSTRAP=1 unshare --net -- sh -c 'ip link set lo up && exec "$@"' sh \
        "${program[$name]}" --test-threads="$(threads "$name")" -Z unstable-options --report-time "$@" \
        </dev/null >"$logs/$label" 2>&1 &
    running[$!]=$label
    started[$!]=$SECONDS
}

# finish: waits for one program and prints its result, and its output if it failed.
finish() {
    local pid code=0 label summary
    wait -n -p pid || code=$?
    label=${running[$pid]}
    unset "running[$pid]"
    summary=$(sed -n 's/^test result: [a-zA-Z]*\. \(.* failed\).*/\1/p' "$logs/$label" | tail -n 1)
    # a name that fits no test would run nothing and succeed
    if [[ $label == *.alone-* && $summary == '0 passed; 0 failed' ]]; then
        echo 'no test of this name: change scripts/test.sh' >>"$logs/$label"
        code=1
    fi
    if [ "$code" != 0 ]; then
        failed+=("$label")
        printf '\n--- %s\n' "$label"
        cat "$logs/$label"
        printf -- '--- %s failed (exit code %s)\n\n' "$label" "$code"
    else
        printf 'ok %4d s  %-24s %s\n' $((SECONDS - started[$pid])) "${label%%.*}" "$summary"
    fi
}

# With one thread the harness prints a name, then what the test printed past the harness, then the result.
slowest() {
    awk '
        match($0, /^test .* \.\.\. /) { name = substr($0, 6, RLENGTH - 10) }
        match($0, /<[0-9.]+s>$/) {
            program = FILENAME
            gsub(/.*\/|\..*/, "", program)
            printf "%8.1f s  %s %s\n", substr($0, RSTART + 1, RLENGTH - 3), program, name
        }' "$logs"/* | sort -rn | sed -n '1,10p'
}

wanted() { [[ -z ${only// /} || $only == *" $1 "* ]]; }

stop() {
    local pid
    for pid in "${!running[@]}"; do kill -INT -- "-$pid" 2>/dev/null || true; done
}

declare -A program=() running=() started=() command=()
failed=() unstable=()
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

programs=$(build)
while read -r name path; do program[$name]=$path; done <<<"$programs"
[ "${#program[@]}" -ge 40 ] || {
    echo "test: only ${#program[@]} test programs were built" >&2
    exit 1
}
rm -rf "$logs"
mkdir -p "$logs"

SECONDS=0
declare -A queued=() skipped=()
for entry in "${alone[@]}"; do
    read -r name test <<<"$entry"
    if [ -z "$test" ]; then queued[$name]=1; else skipped[$name]+=" --skip $test"; fi
done
for name in "${longest[@]}" $(printf '%s\n' "${!program[@]}" | sort); do
    if [ -n "${queued[$name]+x}" ] || ! wanted "$name"; then continue; fi
    queued[$name]=1
    [ ${#running[@]} -lt "$jobs" ] || finish
    # shellcheck disable=SC2086 # a list of arguments
    start "$name" "$name" ${skipped[$name]:-}
done
while [ ${#running[@]} -gt 0 ]; do finish; done

count=0
for entry in "${alone[@]}"; do
    read -r name test <<<"$entry"
    wanted "$name" || continue
    count=$((count + 1))
    # shellcheck disable=SC2086 # no argument if all tests are meant
    start "$name.alone-$count" "$name" $test
    finish
done
if [ ${#failed[@]} -le 3 ]; then
    first=("${failed[@]}")
    failed=()
    for label in "${first[@]}"; do
        # shellcheck disable=SC2086 # a program and its arguments
        start "$label.again" ${command[$label]}
        before=${#failed[@]}
        finish
        [ ${#failed[@]} -gt "$before" ] || unstable+=("$label")
    done
fi
cargo test --locked --doc --quiet >"$logs/doc.log" 2>&1 || {
    failed+=(doc)
    cat "$logs/doc.log"
}

printf '\nThe ten slowest tests:\n'
slowest
printf '\n%d test programs in %d s\n' "${#program[@]}" $SECONDS
[ ${#unstable[@]} -eq 0 ] || printf 'test: passed at the second try only: %s\n' "${unstable[*]}" >&2
if [ ${#failed[@]} -gt 0 ]; then
    printf 'test: failed: %s; the output is above and in %s\n' "${failed[*]}" "$logs" >&2
    exit 1
fi
