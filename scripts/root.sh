#!/usr/bin/env bash
# Makes the root file system of a guest (tests/guest/boot.sh) or a chroot, and prints its file.
#
#   scripts/root.sh [--suite SUITE] [--arch ARCH] NAME PACKAGE ...
#
# A Debian of this machine's release, or of SUITE, with the smallest set of packages and those named, kept below
# target/guest. Of another architecture than this machine's, the packages are only unpacked. The list stands beside it:
# with another list it is made again.
# SPDX-License-Identifier: AGPL-3.0-only
set -euo pipefail
cd "$(dirname "$0")/.."

machine=$(dpkg --print-architecture)
arch=$machine
# shellcheck source=/dev/null
suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
while [ $# -gt 0 ]; do
    case $1 in
    --suite) suite=$2 ;;
    --arch) arch=$2 ;;
    *) break ;;
    esac
    shift 2
done
name=${1:?usage: scripts/root.sh [--suite SUITE] [--arch ARCH] NAME PACKAGE ...}
shift
[ "$arch" = "$machine" ] || name+=-$arch
file=$PWD/target/guest/$name.tar
list="$suite $*"
if [ "$(cat "$file.list" 2>/dev/null)" != "$list" ]; then
    mkdir -p target/guest
    packages=$*
    how=(--variant=minbase)
    # shellcheck disable=SC2016 # mmdebstrap's shell expands it
    [ "$arch" = "$machine" ] || how=(--variant=extract "--architectures=$arch" --include='?essential' --include=mount
        # its package's script would make the link
        '--customize-hook=ln -s mawk "$1/usr/bin/awk"')
    mmdebstrap --quiet "${how[@]}" --include="${packages// /,}" \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' "$suite" "$file" >&2
    echo "$list" >"$file.list"
fi
echo "$file"
