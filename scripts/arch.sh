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
