# Sourced by the test scripts: what they report and how they wait.
#
# The script sets `label`, with which each line begins, and `work`, its folder. If the folder has a file `log`, it is
# printed when the test fails.
# shellcheck shell=bash
# SPDX-License-Identifier: AGPL-3.0-only

: "${label:?}" "${work:?}"

say() { printf '%s: %s\n' "$label" "$*"; }
die() {
    [ ! -s "$work/log" ] || cat "$work/log" >&2
    say "FAILED: $*" >&2
    exit 1
}

# check WHAT COMMAND ...: ends the test if the command fails, with its output.
check() {
    local what=$1
    shift
    "$@" >"$work/output" 2>&1 || { cat "$work/output" >&2 && die "$what"; }
    say "ok: $what"
}

# wait_for SECONDS COMMAND ...: until it succeeds.
wait_for() {
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        [ $SECONDS -lt $end ] || return 1
        sleep 0.2
    done
}

# is FOUND EXPECTED
is() { [ "$1" = "$2" ] || { echo "expected $2, got $1" && return 1; }; }
# at_most FOUND LIMIT
at_most() { [ "$1" -le "$2" ] || { echo "$1 is more than $2" && return 1; }; }
