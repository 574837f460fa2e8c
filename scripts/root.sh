#!/usr/bin/env bash
# Makes the root file system of a guest (tests/guest/boot.sh), and prints its file.
#
#   scripts/root.sh NAME PACKAGE ...
#
# A Debian of this machine's release with the smallest set of packages and those named, kept below
# target/guest. The list stands beside it: with another list it is made again.
# SPDX-License-Identifier: AGPL-3.0-only
set -euo pipefail
cd "$(dirname "$0")/.."

name=${1:?usage: scripts/root.sh NAME PACKAGE ...}
shift
# shellcheck source=/dev/null
suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
file=$PWD/target/guest/$name.tar
list="$suite $*"
if [ "$(cat "$file.list" 2>/dev/null)" != "$list" ]; then
    mkdir -p target/guest
    packages=$*
    mmdebstrap --quiet --variant=minbase --include="${packages// /,}" \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' "$suite" "$file" >&2
    echo "$list" >"$file.list"
fi
echo "$file"
