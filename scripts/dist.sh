#!/usr/bin/env bash
# Builds the release binary that packages carry, into target/dist/release/rfm: the same bytes from the same commit,
# whatever the folder, the user and the hour, given the same compilers; libelf and zlib inside.
#
#   scripts/dist.sh [CARGO_OPTION ...]
#
# Linking these two statically is sound: they read nothing but the BPF object inside the binary, and their
# licences (LGPL-3.0-or-later or GPL-2.0-or-later; Zlib) go with the AGPL.
# SPDX-License-Identifier: AGPL-3.0-only
set -euo pipefail
cd "$(dirname "$0")/.."

die() {
    printf 'dist: %s\n' "$@" >&2
    exit 1
}

libraries=/usr/lib/$(gcc -print-multiarch 2>/dev/null || gcc -dumpmachine)
for library in libelf.a libz.a; do
    [ -e "$libraries/$library" ] || libraries=$(dirname "$(gcc -print-file-name=$library)")
    [ -e "$libraries/$library" ] || die "no $library: it comes with libelf-dev and zlib1g-dev"
done

read -r RFM_VERSION RFM_REVISION < <(scripts/version.sh) || true
[ ! -e .git ] || [ -z "$(git status --porcelain)" ] || RFM_REVISION+=-dirty
export RFM_VERSION RFM_REVISION

# Nothing of the caller's flags: they would be in the bytes.
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CFLAGS LDFLAGS
export CARGO_INCREMENTAL=0 LC_ALL=C TZ=UTC
export LIBBPF_SYS_LIBRARY_PATH=$libraries
export LIBBPF_SYS_EXTRA_CFLAGS="-ffile-prefix-map=$PWD/="
export RUSTFLAGS="--remap-path-prefix=$PWD/= --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}/=cargo/"
cargo build --release --locked --features static --target-dir target/dist "$@"
# what compilers say of themselves helps nobody
strip --remove-section=.comment target/dist/release/rfm
