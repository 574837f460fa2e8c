#!/usr/bin/env bash
# Two clones of HEAD in two folders, under two names and at two times, make the same packages to the byte.
#
#   tests/reproducible.sh [ARCH]      amd64, arm64 or riscv64; that of this machine unless named
#
# SPDX-License-Identifier: AGPL-3.0-only
set -euo pipefail
arch=("$@")
top=$(git -C "$(dirname "$0")" rev-parse --show-toplevel)
[ -z "$(git -C "$top" status --porcelain)" ] || echo "reproducible: note: uncommitted changes are not in the clones"

work=$(mktemp -d /var/tmp/rfm-reproducible.XXXXXX)
trap 'rm -rf "$work"' EXIT
# of different length, as a path in the bytes may be padded away
for name in a another-folder; do
    git clone --quiet --no-hardlinks "$top" "$work/$name"
    mkdir -p "$work/$name/.cache"
    # what scripts/setup.sh has put there
    for tools in bin cross rust; do
        [ ! -d "$top/.cache/$tools" ] || cp -al "$top/.cache/$tools" "$work/$name/.cache/" 2>/dev/null ||
            cp -a "$top/.cache/$tools" "$work/$name/.cache/"
    done
    (cd "$work/$name" && umask 077 && scripts/package.sh deb "${arch[@]}" && PACKAGE_NO_BUILD=1 scripts/package.sh rpm "${arch[@]}")
    binary=$(cd "$work/$name" && PACKAGE_NO_BUILD=1 scripts/dist.sh "${arch[@]}")
    if grep -qaF "$work" "$work/$name/$binary"; then
        echo "reproducible: FAILED: the folder's name is in the binary" >&2
        exit 1
    fi
done
failed=0
for file in "${binary#target/}" package/{*.deb,*.rpm}; do
    for found in "$work"/a/target/$file; do
        other=${found/$work\/a\//$work\/another-folder\/}
        if cmp "$found" "$other"; then
            echo "reproducible: the same: $(basename "$found"), sha256 $(sha256sum <"$found" | cut -c1-16)"
        else
            failed=1
        fi
    done
done
[ $failed = 0 ] || { echo "reproducible: FAILED" >&2 && exit 1; }
