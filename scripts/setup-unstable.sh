#!/usr/bin/env bash
# Unpacks packages of Debian unstable into .cache/unstable, which those of this machine are too old for. Installs nothing.
#
#   scripts/setup-unstable.sh PACKAGE ...
#
# .cache/unstable/bin/NAME runs a program of such a package, with its own libraries. A package that is there stays as
# it is; remove .cache/unstable/PACKAGE to have a newer one.
# SPDX-License-Identifier: AGPL-3.0-only
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/unpack.sh

# programs FOLDER: the programs of the package itself, without scripts.
programs() {
    local file
    sed -nE 's|^\./(usr/s?bin/.)|\1|p' "$1/files" | while read -r file; do
        ! head -c 4 "$1/$file" | grep -qa '^.ELF' || echo "$file"
    done
}

[ $# -gt 0 ] || die "usage: scripts/setup-unstable.sh PACKAGE ..."
mkdir -p .cache/unstable/bin
for package in "$@"; do
    folder=.cache/unstable/$package
    [ -d "$folder" ] || unpack unstable "$folder" "$package"
    mapfile -t found < <(programs "$folder")
    [ ${#found[@]} -gt 0 ] || die "the package $package of Debian unstable has no program"
    for program in "${found[@]}"; do
        wrap ".cache/unstable/bin/$(basename "$program")" "../$package" "$program"
    done
done
