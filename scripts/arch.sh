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

# static_libraries: prints the folder of this machine's libelf.a and libz.a.
static_libraries() {
    local folder library
    folder=/usr/lib/$(gcc -print-multiarch 2>/dev/null || gcc -dumpmachine)
    for library in libelf.a libz.a; do
        [ -e "$folder/$library" ] || folder=$(dirname "$(gcc -print-file-name=$library)")
        [ -e "$folder/$library" ] || { echo "arch: no $library: it comes with libelf-dev and zlib1g-dev" >&2 && return 1; }
    done
    echo "$folder"
}

# libraries_for TARGET FOLDER: where libbpf-sys finds libelf.a and libz.a when it builds for TARGET.
libraries_for() { export "LIBBPF_SYS_LIBRARY_PATH_${1//-/_}=$2"; }

# use_tools ARCH: exports what cargo needs to build for it with libelf and zlib inside (--features static).
use_tools() {
    local target tool folder name headers=
    target=$(rust_target "$1") || return
    # also for another architecture: the build script links the libraries of this machine
    folder=$(static_libraries) || return
    libraries_for "$(rust_target "$(machine_arch)")" "$folder"
    if [ "$1" != "$(machine_arch)" ]; then
        tool=$(gnu_cpu "$1")-linux-gnu
        name=${target//-/_}
        folder=$PWD/.cache/cross/$1/usr/lib/$tool
        headers="-I$PWD/.cache/cross/$1/usr/include -I$PWD/.cache/cross/$1/usr/include/$tool"
        if ! [ -e "$folder/libelf.a" ] || ! RUSTC=$(find_rust "$1"); then
            echo "arch: no libraries or no Rust for $1: run scripts/setup.sh build cross-$1" >&2
            return 1
        fi
        libraries_for "$target" "$folder"
        export RUSTC "CARGO_TARGET_${name^^}_LINKER=$tool-gcc" "CC_$name=$tool-gcc" "AR_$name=$tool-ar"
    fi
    export LIBBPF_SYS_EXTRA_CFLAGS="-ffile-prefix-map=$PWD/=${headers:+ $headers}"
}
