#!/usr/bin/env bash
# Builds the release binary that packages carry, and prints its path: the same bytes from the same commit,
# whatever the folder, the user and the hour, given the same compilers; libelf and zlib inside.
#
#   scripts/dist.sh [--static] [ARCH]
#
# --static  glibc inside, too: a static-pie that needs no file of the system
# ARCH      amd64, arm64 or riscv64: for another machine than this one, with what scripts/setup.sh cross-ARCH installs
#
# With PACKAGE_NO_BUILD it only prints the path of an earlier build.
#
# Linking the libraries statically is sound: libelf and zlib read nothing but the BPF object inside the binary, and
# their licences (LGPL-3.0-or-later or GPL-2.0-or-later; Zlib) go with the AGPL, as does that of glibc
# (LGPL-2.1-or-later).
# SPDX-License-Identifier: AGPL-3.0-only
set -euo pipefail
cd "$(dirname "$0")/.."

# shellcheck source=scripts/arch.sh
. scripts/arch.sh

static=false
[ "${1:-}" != --static ] || { static=true && shift; }
machine=$(machine_arch)
arch=${1:-$machine}
target=$(rust_target "$arch")
options=() flags=()

read -r RFM_VERSION RFM_REVISION < <(scripts/version.sh) || true
[ ! -e .git ] || [ -z "$(git status --porcelain)" ] || RFM_REVISION+=-dirty
export RFM_VERSION RFM_REVISION

# Nothing of the caller's flags: they would be in the bytes.
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CFLAGS LDFLAGS
export CARGO_INCREMENTAL=0 LC_ALL=C TZ=UTC

[ "$arch" = "$machine" ] || options=(--target "$target")
use_tools "$arch" || exit
if $static; then
    # with a target named, the flag is not one of build scripts and macros, which are libraries
    options=(--target "$target")
    flags=(-C target-feature=+crt-static)
    # for small flash: the code of rfm itself is optimized for size, as that of its libraries always is
    export CARGO_PROFILE_RELEASE_OPT_LEVEL=s
    # addresses that the loader adjusts: 8 bytes for up to 64 of them instead of 24 bytes for each
    [ "$arch" != amd64 ] || flags+=(-C "link-arg=-Wl,-z,pack-relative-relocs")
fi
home=${CARGO_HOME:-$HOME/.cargo}
export RUSTFLAGS="--remap-path-prefix=$PWD/= --remap-path-prefix=$home/=cargo/${flags[*]:+ ${flags[*]}}"
folder=target/dist
! $static || folder=target/static
binary=$folder/${options[1]:+${options[1]}/}release/rfm
# of an earlier call
[ -z "${PACKAGE_NO_BUILD:-}" ] || { echo "$binary" && exit; }
cargo build --release --locked --features static --target-dir $folder "${options[@]}" >&2
# what compilers say of themselves helps nobody
"$(strip_of "$arch")" --remove-section=.comment "$binary"
echo "$binary"
