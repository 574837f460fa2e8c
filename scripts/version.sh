#!/usr/bin/env bash
# Prints the version that this checkout builds, and the commit: "0.2.0 4a0f903e17c2".
#
# The version is Cargo.toml's on the commit with its tag (v0.2.0). Later commits add their number behind a
# plus (0.2.0+12); commits before the tag add it behind a tilde (0.2.0~12), which dpkg and rpm sort below the
# release. Outside git there is no number and no commit. RFM_VERSION and RFM_REVISION win: packagers know better.
# SPDX-License-Identifier: AGPL-3.0-only
set -euo pipefail
cd "$(dirname "$0")/.."

next=$(sed -n 's/^version *= *"\(.*\)"/\1/p' Cargo.toml | head -n 1)

# Not git of a folder above: an unpacked source archive may lie in another project's checkout.
inside_git() { [ -e .git ] && git rev-parse --verify -q HEAD >/dev/null 2>&1; }

version() {
    local last number
    inside_git || { echo "$next" && return; }
    if last=$(git describe --tags --match 'v[0-9]*' --abbrev=0 2>/dev/null); then
        number=$(git rev-list --count "$last..HEAD")
    else
        number=$(git rev-list --count HEAD)
    fi
    case $last/$number in
    "v$next/0") echo "$next" ;;
    "v$next"/*) echo "$next+$number" ;;
    *) echo "$next~$number" ;;
    esac
}

revision() {
    inside_git || return 0
    git rev-parse --short=12 HEAD
}

echo "${RFM_VERSION:-$(version)} ${RFM_REVISION-$(revision)}"
