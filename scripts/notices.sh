#!/usr/bin/env bash
# Prints the licences of what is linked into the binary: each crate with its licence texts, and the C libraries.
# A text that many share is printed once.
#
#   scripts/notices.sh [--static]      --static: of the static file, which has glibc inside
# SPDX-License-Identifier: AGPL-3.0-only
set -euo pipefail
cd "$(dirname "$0")/.."
export LC_ALL=C

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
sources=$(echo "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*/)

# remember FILE OWNER: by content, without what differs in white space alone
remember() {
    local sum
    sum=$(tr -s '[:space:]' ' ' <"$1" | sha256sum | cut -c1-16)
    [ -e "$work/$sum.text" ] || cp "$1" "$work/$sum.text"
    echo "$2" >>"$work/$sum.owners"
}

echo "rfm is licensed under the AGPL-3.0 alone, what runs in the kernel under the GPL-2.0 alone. Linked into it are:"
echo
# macros run in the compiler and leave nothing of themselves
while IFS='|' read -r name version licence; do
    printf '  %-28s %s\n' "$name $version" "$licence"
    for folder in $sources; do
        for file in "$folder$name-$version"/{LICENSE,LICENCE,COPYING,COPYRIGHT,NOTICE,UNLICENSE}* \
            "$folder$name-$version"/{libbpf,third_party/*}/LICENSE*; do
            [ ! -f "$file" ] || remember "$file" "$name $version"
        done
    done
done < <(cargo tree --locked --edges normal --prefix none --format '{p}|{l}' |
    sed -n '/(proc-macro)/d; s/ (\*)$//; s/^\([^ ]*\) v\([^ |]*\)\( [^|]*\)\{0,1\}|/\1|\2|/p' | grep -v '^rfm|' | sort -u)
libraries=(libelf:libelf-dev zlib:zlib1g-dev)
[ "${1:-}" != --static ] || libraries+=(glibc:libc6-dev)
for library in "${libraries[@]}"; do
    printf '  %-28s %s\n' "${library%%:*}" "see below"
    file=/usr/share/doc/${library##*:}/copyright
    [ ! -f "$file" ] || remember "$file" "${library%%:*}"
done
for text in "$work"/*.text; do
    printf '\n%s\n%s\n\n' "$(printf '=%.0s' {1..78})" "$(sort -u "${text%.text}.owners" | paste -sd, | sed 's/,/, /g')"
    cat "$text"
done
