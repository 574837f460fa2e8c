#!/usr/bin/env bash
# Installs what a purpose needs and this machine lacks; says what it does, and does nothing when all is there.
#
#   scripts/setup.sh build | test | lint | demo | bench | bare | guest | packages ...
#
# On Debian (12 or later) and its kin as root it installs packages; elsewhere it names what is missing.
# SPDX-License-Identifier: AGPL-3.0-only
set -euo pipefail
cd "$(dirname "$0")/.."

wanted_rust=$(sed -n 's/^rust-version *= *"\(.*\)"/\1/p' Cargo.toml)
packages=()
cargo_tools=()

say() { printf 'setup: %s\n' "$*"; }
die() {
    printf 'setup: %s\n' "$@" >&2
    exit 1
}

have() { command -v "$1" >/dev/null; }

# need COMMAND PACKAGE: administrators' tools are in sbin, which is not on everybody's PATH.
need() { PATH="$PATH:/usr/sbin:/sbin" have "$1" || packages+=("$2"); }
need_file() { [ -e "$1" ] || packages+=("$2"); }

# need_library NAME PACKAGE: a library with its headers.
need_library() { { have pkg-config && pkg-config --exists "$1"; } || packages+=("$2"); }

# at_least WANTED FOUND: compares versions.
at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }

# Upstream version of the package apt would install, without epoch and Debian revision.
candidate() {
    LC_ALL=C apt-cache policy "$1" 2>/dev/null |
        sed -n 's/^ *Candidate: *\([0-9]*:\)\?\([0-9.]*\).*/\2/p'
}

rust_is_new_enough() {
    have cargo && have rustc && at_least "$wanted_rust" "$(rustc --version | cut -d' ' -f2)"
}

# Debian's stable releases keep the Rust they came with. For browsers they carry a newer one beside
# it, in packages that end in -web and take the place of the old ones.
rust_packages() {
    if at_least "$wanted_rust" "$(candidate rustc)"; then
        packages+=(cargo rustc)
    elif at_least "$wanted_rust" "$(candidate rustc-web)"; then
        packages+=(cargo-web rustc-web)
    else
        die "Rust $wanted_rust or newer is needed, and no package here has it:" \
            "enable Debian's security suite (cargo-web, rustc-web) or install Rust with rustup"
    fi
}

need_rust() {
    rust_is_new_enough && return
    if have rustup; then
        die "Rust $wanted_rust or newer is needed; try: rustup update stable && rustup default stable"
    fi
    on_debian || die "Rust $wanted_rust or newer is needed (cargo, rustc)"
    refresh_lists
    rust_packages
}

# The formatter and clippy must be of the same release as the compiler.
need_rust_lints() {
    cargo-fmt --version >/dev/null 2>&1 && cargo-clippy --version >/dev/null 2>&1 && return
    if have rustup; then
        die "the Rust lints are missing; try: rustup component add rustfmt clippy"
    elif [[ " ${packages[*]} " == *" cargo-web "* ]] || dpkg-query -W cargo-web >/dev/null 2>&1; then
        packages+=(rustfmt-web rust-web-clippy)
    else
        packages+=(rustfmt rust-clippy)
    fi
}

purpose() {
    case $1 in
    build)
        need cc gcc
        need make make
        need clang clang
        need pkg-config pkg-config
        need_library libelf libelf-dev
        need_library zlib zlib1g-dev
        need_file /etc/ssl/certs/ca-certificates.crt ca-certificates
        need_rust
        ;;
    test)
        need ip iproute2
        need tc iproute2
        need ping iputils-ping
        need ethtool ethtool
        need sysctl procps
        need iperf3 iperf3
        need tcpdump tcpdump
        need curl curl
        need prometheus prometheus
        need promtool prometheus
        need tmux tmux
        need mandoc mandoc
        need zsh zsh
        need fish fish
        need setpriv util-linux
        need nix-instantiate nix-bin
        need systemd-analyze systemd
        ;;
    lint)
        need clang-format clang-format
        need shellcheck shellcheck
        need_rust_lints
        ;;
    demo)
        need ip iproute2
        need ping iputils-ping
        need iperf3 iperf3
        need curl curl
        ;;
    bench)
        need ip iproute2
        need sysctl procps
        need softflowd softflowd
        need pmacctd pmacct
        ;;
    bare)
        need mmdebstrap mmdebstrap
        need git git
        need curl curl
        ;;
    guest)
        need qemu-system-x86_64 qemu-system-x86
        need mmdebstrap mmdebstrap
        need cpio cpio
        need modprobe kmod
        need strip binutils
        ;;
    packages)
        need strip binutils
        need mmdebstrap mmdebstrap
        need git git
        need lintian lintian
        need rpm rpm
        need rpmlint rpmlint
        need systemd-analyze systemd
        need_cargo_tool cargo-deb 3.8.0
        need_cargo_tool cargo-generate-rpm 0.21.0
        ;;
    *) die "unknown purpose '$1': build, test, lint, demo, bench, bare, guest or packages" ;;
    esac
}

# need_cargo_tool NAME VERSION: no Debian package has it; it is built below .cache, and goes with that folder.
need_cargo_tool() {
    [ "$(.cache/bin/"$1" --version 2>/dev/null | grep -o '[0-9.]*$')" = "$2" ] || cargo_tools+=("$1@$2")
}

on_debian() { have apt-get && have dpkg-query; }

lists_are_fresh=false
refresh_lists() {
    $lists_are_fresh && return
    if [ "$(id -u)" != 0 ]; then
        die "something is missing and only root can install it: run this as root"
    fi
    say "reading the package lists (apt-get update)"
    apt-get -q=2 -o DPkg::Lock::Timeout=300 update || say "not all lists could be read; going on"
    lists_are_fresh=true
}

services_of() {
    local package
    for package in "$@"; do
        case $package in
        prometheus | softflowd) echo "$package" ;;
        pmacct) echo nfacctd pmacctd sfacctd uacctd ;;
        esac
    done
}

# Packages that bring a service would start it. While policy-rc.d says no, none is started, and
# afterwards those we brought are disabled.
install_packages() {
    local policy=/usr/sbin/policy-rc.d
    log=$(mktemp)
    trap 'rm -f "$log"' EXIT
    if [ ! -e $policy ]; then
        trap 'rm -f "$log" /usr/sbin/policy-rc.d' EXIT
        printf '#!/bin/sh\nexit 101\n' >$policy
        chmod 755 $policy
    fi
    DEBIAN_FRONTEND=noninteractive apt-get -q=2 -y --no-install-recommends \
        -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 install "$@" >"$log" 2>&1 || {
        cat "$log" >&2
        die "apt-get could not install: $*"
    }
    local service
    for service in $(services_of "$@"); do
        update-rc.d "$service" disable >/dev/null 2>&1 || say "note: the service $service may be enabled"
    done
}

[ $# -gt 0 ] || die "usage: scripts/setup.sh build | test | lint | demo | bench | bare | guest | packages ..."
for name in "$@"; do purpose "$name"; done
install_cargo_tools() {
    local tool
    for tool in "${cargo_tools[@]}"; do
        say "building $tool below .cache (some minutes)"
        cargo install --quiet --locked --root .cache "$tool"
    done
}

[ ${#packages[@]} -gt 0 ] || { install_cargo_tools && exit; }

mapfile -t packages < <(printf '%s\n' "${packages[@]}" | sort -u)
on_debian || die "these are missing (by their Debian names): ${packages[*]}"
refresh_lists
say "installing ${packages[*]}"
install_packages "${packages[@]}"
install_cargo_tools
say "done"
