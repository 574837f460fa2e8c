# Sourced by the scripts that build for another architecture: its names.
# shellcheck shell=bash
# SPDX-License-Identifier: AGPL-3.0-only

# The architecture of this machine, in Debian's words.
machine_arch() {
    case $(uname -m) in
    x86_64) echo amd64 ;;
    aarch64) echo arm64 ;;
    *) uname -m ;;
    esac
}

# gnu_cpu ARCH: the processor as GNU, the kernel and RPM name it.
gnu_cpu() {
    case $1 in
    amd64) echo x86_64 ;;
    arm64) echo aarch64 ;;
    riscv64) echo riscv64 ;;
    *) printf 'arch: unknown architecture %s: amd64, arm64 or riscv64\n' "$1" >&2 && return 1 ;;
    esac
}

# rust_target ARCH
rust_target() {
    local cpu
    cpu=$(gnu_cpu "$1") || return
    [ "$1" != riscv64 ] || cpu=riscv64gc
    echo "$cpu-unknown-linux-gnu"
}

# find_rust ARCH: prints a rustc with the standard library of ARCH: that of the PATH, or the one below .cache/rust that
# scripts/setup.sh puts aside.
find_rust() {
    local target rustc
    target=$(rust_target "$1") || return
    for rustc in rustc "$PWD/.cache/rust/rustc"; do
        if compgen -G "$($rustc --print sysroot 2>/dev/null)/lib/rustlib/$target/lib/libstd-*.rlib" >/dev/null; then
            echo "$rustc"
            return
        fi
    done
    return 1
}

# strip_of ARCH: the program that strips its binaries.
strip_of() {
    local cpu
    cpu=$(gnu_cpu "$1") || return
    if [ "$1" = "$(machine_arch)" ]; then echo strip; else echo "$cpu-linux-gnu-strip"; fi
}

# use_tools ARCH: exports what cargo needs to build for it with libelf and zlib inside (--features static).
use_tools() {
    local target tool libraries library name headers=
    target=$(rust_target "$1") || return
    name=${target//-/_}
    if [ "$1" = "$(machine_arch)" ]; then
        libraries=/usr/lib/$(gcc -print-multiarch 2>/dev/null || gcc -dumpmachine)
        for library in libelf.a libz.a; do
            [ -e "$libraries/$library" ] || libraries=$(dirname "$(gcc -print-file-name=$library)")
            [ -e "$libraries/$library" ] || { echo "arch: no $library: it comes with libelf-dev and zlib1g-dev" >&2 && return 1; }
        done
    else
        tool=$(gnu_cpu "$1")-linux-gnu
        libraries=$PWD/.cache/cross/$1/usr/lib/$tool
        headers="-I$PWD/.cache/cross/$1/usr/include -I$PWD/.cache/cross/$1/usr/include/$tool"
        if ! [ -e "$libraries/libelf.a" ] || ! RUSTC=$(find_rust "$1"); then
            echo "arch: no libraries or no Rust for $1: run scripts/setup.sh build cross-$1" >&2
            return 1
        fi
        export RUSTC "CARGO_TARGET_${name^^}_LINKER=$tool-gcc" "CC_$name=$tool-gcc" "AR_$name=$tool-ar"
    fi
    # of the target alone: build scripts link libelf as well, that of this machine
    export "LIBBPF_SYS_LIBRARY_PATH_$name=$libraries"
    export LIBBPF_SYS_EXTRA_CFLAGS="-ffile-prefix-map=$PWD/=${headers:+ $headers}"
}
