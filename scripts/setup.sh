#!/usr/bin/env bash
# Installs what a purpose needs and this machine lacks; says what it does, and does nothing when all is there.
#
#   scripts/setup.sh build | test | prometheus | collector | lint | fuzz | demo | bench | scale | bare | static | cross-ARCH | guest | guest-ARCH | kernel | nics | packages | image ...
#   scripts/setup.sh --show [SYSTEM] PURPOSE ...
#
# On Debian (12 or later) and its kin as root it installs packages; elsewhere it prints the command that installs what is
# missing. --show prints the commands for all that the purposes need, on this system, or on debian, ubuntu, fedora or arch.
# SPDX-License-Identifier: AGPL-3.0-only
set -euo pipefail
cd "$(dirname "$0")/.."

wanted_rust=$(sed -n 's/^rust-version *= *"\(.*\)"/\1/p' Cargo.toml)
packages=()
aside=()
cargo_tools=()
go_tools=()
python_packages=()
asn_data=false
axe=false

# shellcheck source=scripts/unpack.sh
. scripts/unpack.sh
# shellcheck source=scripts/arch.sh
. scripts/arch.sh
# shellcheck source=scripts/system.sh
. scripts/system.sh
system=$(system_of "${SETUP_OS_RELEASE:-/etc/os-release}")
by_rustup=false

have() { command -v "$1" >/dev/null; }

# need COMMAND PACKAGE: administrators' tools are in sbin, which is not on everybody's PATH.
need() { PATH="$PATH:/usr/sbin:/sbin" have "$1" || packages+=("$2"); }
need_file() { [ -e "$1" ] || packages+=("$2"); }

# need_python_module NAME PACKAGE: python3-minimal lacks many.
need_python_module() { python3 -c "import $1" 2>/dev/null || packages+=("$2"); }

# need_library NAME PACKAGE: a library with its headers.
need_library() { { have pkg-config && pkg-config --exists "$1"; } || packages+=("$2"); }

# Debian 12 has no BIRD with BMP and an old FRR: those of Debian 13 are put aside, where the tests find them.
need_bird() {
    local version
    version=$({ PATH="$PATH:/usr/sbin:/sbin" bird --version || true; } 2>&1 | sed -n 's/^BIRD version //p')
    if at_least 3 "$version" || [ -x .cache/bird3/bird ]; then
        return
    elif [ -n "$(candidate bird3)" ]; then
        packages+=(bird3)
    else
        aside+=(bird3)
    fi
}

# The machine's own FRR is tested, too, whatever its version.
need_frr() {
    local version
    need_file /usr/lib/frr/bgpd frr
    version=$({ /usr/lib/frr/bgpd --version || true; } 2>/dev/null | sed -n 's/^bgpd version //p')
    at_least 10 "${version:-$(candidate frr)}" || [ -x .cache/frr10/bgpd ] || aside+=(frr10)
}

# Debian 12 has a QEMU without igb: that of Debian 13 is put aside.
need_qemu() { [ -x .cache/qemu/qemu-system-x86_64 ] || aside+=(qemu); }

# need_unstable PACKAGE: of Debian unstable, put aside below .cache/unstable.
need_unstable() { [ -d ".cache/unstable/$1" ] || aside+=("$1"); }

# The OpenTelemetry collector of the tests is built from the source of its modules, by Debian unstable's Go if this
# machine has none that is new enough.
collector=tests/tsdb/collector
collector_sum() { cat $collector/go.mod $collector/go.sum $collector/main.go | sha256sum; }
need_collector() {
    [ "$(collector_sum)" = "$(cat .cache/bin/otel-collector.sum 2>/dev/null)" ] && return
    go_tools+=(otel-collector)
    find_go >/dev/null || aside+=(go)
}

# find_go: prints the path of a Go that can build it.
find_go() {
    local wanted go
    wanted=$(sed -n 's/^go //p' $collector/go.mod)
    for go in "$(command -v go || true)" "$PWD/.cache/go/usr/lib/go-1.26/bin/go"; do
        [ -x "$go" ] || continue
        if at_least "$wanted" "$("$go" env GOVERSION | sed 's/^go//')"; then
            echo "$go"
            return
        fi
    done
    return 1
}

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
    elif [ -n "$(candidate rustup)" ]; then
        packages+=(rustup)
        by_rustup=true
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
    if ! on_debian; then
        packages+=(rust)
        return
    fi
    refresh_lists
    rust_packages
}

# Ubuntu's Rust is too old; its rustup fetches a newer one.
rustup_command="rustup toolchain install stable --profile minimal --component rustfmt,clippy"
install_rust() {
    ! $by_rustup || $rustup_command
}

# The formatter and clippy must be of the same release as the compiler.
need_rust_lints() {
    cargo-fmt --version >/dev/null 2>&1 && cargo-clippy --version >/dev/null 2>&1 && return
    if $by_rustup; then
        return
    elif have rustup; then
        die "the Rust lints are missing; try: rustup component add rustfmt clippy"
    elif ! on_debian; then
        packages+=(rust-lints)
    elif [[ " ${packages[*]} " == *" cargo-web "* ]] || dpkg-query -W cargo-web >/dev/null 2>&1; then
        packages+=(rustfmt-web rust-web-clippy)
    else
        packages+=(rustfmt rust-clippy)
    fi
}

# The networks and ASNs of the Internet, as tests and benchmarks use them if they are there.
need_asn_data() {
    [ ! -e .cache/ip-location-db/asn-ipv4.csv ] || return 0
    need npm npm
    asn_data=true
}

fetch_asn_data() {
    local folder=.cache/ip-location-db archive
    say "fetching the networks and ASNs of ip-location-db into $folder"
    mkdir -p $folder
    archive=$(npm pack --silent --pack-destination $folder @ip-location-db/asn@2.3.2026061719)
    tar -C $folder --strip-components=1 -xzf "$folder/$archive" --wildcards 'package/*LICENSE' package/asn-ipv4.csv
    rm -f "$folder/$archive"
}

# axe-core checks the accessibility of the page in the browser of the tests.
axe_version=4.14.1
axe_sum=FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==
need_axe() {
    [ "$(cat .cache/axe-core/version 2>/dev/null)" != $axe_version ] || return 0
    need npm npm
    need openssl openssl
    axe=true
}

fetch_axe() {
    local folder=.cache/axe-core archive
    say "fetching axe-core $axe_version into $folder"
    rm -rf $folder
    mkdir -p $folder
    archive=$(npm pack --silent --pack-destination $folder axe-core@$axe_version)
    [ "$(openssl dgst -sha512 -binary "$folder/$archive" | base64 -w 0)" = "$axe_sum" ] ||
        die "axe-core $axe_version has another checksum than expected"
    tar -C $folder --strip-components=1 -xzf "$folder/$archive" package/axe.min.js package/LICENSE
    rm -f "$folder/$archive"
    echo $axe_version >$folder/version
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
        need_frr
        need gobgpd gobgpd
        need stayrtr stayrtr
        need_bird
        need tmux tmux
        need mandoc mandoc
        need zsh zsh
        need fish fish
        need setpriv util-linux
        need_file /usr/share/zoneinfo/Europe/Berlin tzdata
        need nix-instantiate nix-bin
        need systemd-analyze systemd
        need nfcapd nfdump
        need nfdump nfdump
        need nfacctd pmacct
        need pg_ctlcluster postgresql
        need psql postgresql-client
        need kcat kcat
        need clickhouse-server clickhouse-server
        need clickhouse-client clickhouse-client
        need tshark tshark
        need chromium chromium
        need chromedriver chromium-driver
        need nginx nginx-light
        need openssl openssl
        need_python_package prometheus-client 0.26.0
        need_python_package pyyaml 6.0.3
        need_axe
        ;;
    prometheus)
        need_file /usr/share/keyrings/debian-archive-keyring.gpg debian-archive-keyring
        need_unstable prometheus
        need_unstable promtool
        need_unstable victoria-metrics
        need ip iproute2
        need sysctl procps
        need prometheus prometheus
        need nginx nginx-light
        ;;
    collector)
        need_file /usr/share/keyrings/debian-archive-keyring.gpg debian-archive-keyring
        need_file /etc/ssl/certs/ca-certificates.crt ca-certificates
        need_collector
        ;;
    fuzz)
        need c++ g++
        ;;
    lint)
        need clang-format clang-format
        need shellcheck shellcheck
        need python3 python3-minimal
        need_rust_lints
        ;;
    demo)
        need ip iproute2
        need ping iputils-ping
        need iperf3 iperf3
        need curl curl
        ;;
    bench)
        need_asn_data
        need ip iproute2
        need sysctl procps
        need ethtool ethtool
        need nft nftables
        need softflowd softflowd
        need pmacctd pmacct
        need prometheus prometheus
        need rrdtool rrdtool
        ;;
    scale)
        need ip iproute2
        need ethtool ethtool
        need sysctl procps
        need curl curl
        need openssl openssl
        need nsenter util-linux
        need nfcapd nfdump
        need nfacctd pmacct
        need mvn maven
        need java default-jre-headless
        need go golang-go
        need python3 python3-minimal
        python3 -c 'import ensurepip, venv' 2>/dev/null || packages+=(python3-venv)
        need_unstable prometheus
        need_unstable victoria-metrics
        ;;
    bare)
        need mmdebstrap mmdebstrap
        need git git
        need curl curl
        ;;
    static)
        need mmdebstrap mmdebstrap
        need dnsmasq dnsmasq-base
        need readelf binutils
        need python3 python3-minimal
        need ip iproute2
        need ping iputils-ping
        need curl curl
        need sysctl procps
        ;;
    cross-*) need_cross "${1#cross-}" ;;
    guest)
        need qemu-system-x86_64 qemu-system-x86
        need mmdebstrap mmdebstrap
        need cpio cpio
        need modprobe kmod
        need strip binutils
        need openssl openssl
        ;;
    guest-*)
        purpose guest
        case ${1#guest-} in arm64) need qemu-system-aarch64 qemu-system-arm ;; esac
        ;;
    kernel)
        need bc bc
        need bison bison
        need flex flex
        need cc gcc
        need make make
        need_library libelf libelf-dev
        ;;
    nics)
        need ip iproute2
        need sysctl procps
        need iperf3 iperf3
        need tcpdump tcpdump
        need python3 python3-minimal
        need_qemu
        ;;
    image)
        need buildah buildah
        need podman podman
        need crun crun
        need strip binutils
        need_python_module tomllib python3
        need ip iproute2
        need ping iputils-ping
        need curl curl
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
    *) die "unknown purpose '$1': build, test, prometheus, collector, lint, demo, bench, scale, bare, static, cross-ARCH, guest, guest-ARCH, kernel, packages or image" ;;
    esac
}

# need_cross ARCH: the compiler for another architecture, its libelf and zlib, and a Rust with its standard library.
need_cross() {
    local cpu
    [ "$1" != "$(machine_arch)" ] || return 0
    cpu=$(gnu_cpu "$1")
    need "$cpu-linux-gnu-gcc" "gcc-${cpu//_/-}-linux-gnu"
    need_file "/usr/$cpu-linux-gnu/lib/libc.a" "libc6-dev-$1-cross"
    [ -e ".cache/cross/$1/usr/lib/$cpu-linux-gnu/libelf.a" ] || aside+=("libraries-$1")
    find_rust "$1" >/dev/null || aside+=("rust-$1")
}

# need_cargo_tool NAME VERSION: no Debian package has it; it is built below .cache, and goes with that folder.
need_cargo_tool() {
    [ "$(.cache/bin/"$1" --version 2>/dev/null | grep -o '[0-9.]*$')" = "$2" ] || cargo_tools+=("$1@$2")
}

# need_python_package NAME VERSION: it is installed into a virtual environment below .cache.
need_python_package() {
    .cache/python/bin/python -m pip show "$1" 2>/dev/null | grep -qx "Version: $2" && return
    need python3 python3
    python3 -c 'import ensurepip' 2>/dev/null || packages+=(python3-venv)
    python_packages+=("$1==$2")
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
        clickhouse-server | frr | gobgpd | nfdump | postgresql | prometheus | softflowd | stayrtr) echo "$package" ;;
        bird3) echo bird ;;
        nginx-light) echo nginx ;;
        pmacct) echo nfacctd pmacctd sfacctd uacctd ;;
        esac
    done
}

# disable SERVICE: its init script, and its unit as `systemctl disable` does, which not every system has.
disable() {
    rm -f "/etc/systemd/system/multi-user.target.wants/$1.service"
    [ ! -e "/etc/init.d/$1" ] || update-rc.d "$1" disable >/dev/null 2>&1
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
        disable "$service" || say "note: the service $service may be enabled"
    done
}

# put_aside NAME: unpacks a package of a newer Debian into .cache/NAME, and installs nothing.
put_aside() {
    local folder=.cache/$1
    case $1 in
    bird3)
        unpack trixie "$folder" bird3
        wrap "$folder/bird" . usr/sbin/bird
        ;;
    frr10)
        unpack trixie "$folder" frr
        wrap "$folder/zebra" . usr/lib/frr/zebra
        # last: it shows that all is there. Its modules would be those of the machine's FRR.
        wrap "$folder/bgpd" . usr/lib/frr/bgpd "--moduledir \"\$libraries/frr/modules\""
        ;;
    qemu)
        unpack trixie "$folder" qemu-system-x86 qemu-system-data seabios
        wrap "$folder/qemu-system-x86_64" . usr/bin/qemu-system-x86_64 \
            "-L \"\$here/usr/share/qemu\" -L \"\$here/usr/share/seabios\""
        ;;
    libraries-*) unpack_foreign "${1#*-}" ".cache/cross/${1#*-}" "libelf-dev:${1#*-}" "zlib1g-dev:${1#*-}" ;;
    rust-*) put_rust_aside "${1#*-}" ;;
    go) unpack unstable "$folder" golang-1.26-go golang-1.26-src ;;
    *) scripts/setup-unstable.sh "$1" ;;
    esac
}

# put_rust_aside ARCH: a compiler and, beside it, the standard libraries of this machine and of ARCH.
put_rust_aside() {
    local folder=.cache/rust web=
    at_least "$wanted_rust" "$(candidate rustc)" || web=-web
    LIBRARIES='libstd-rust-.*|libllvm.*' unpack_foreign "$1" $folder \
        "rustc$web" "libstd-rust$web-dev" "libstd-rust$web-dev:$1"
    # shellcheck disable=SC2016 # the script expands it
    printf '#!/bin/sh\nhere=$(dirname "$0")\nLD_LIBRARY_PATH=$(echo "$here"/usr/lib/*-linux-gnu) exec "$here/usr/bin/rustc" "$@"\n' >$folder/rustc
    chmod 755 $folder/rustc
}

build_tools() {
    local tool
    for tool in "${cargo_tools[@]}"; do
        say "building $tool below .cache (some minutes)"
        cargo install --quiet --locked --root .cache "$tool"
    done
    for tool in "${go_tools[@]}"; do
        say "building $tool below .cache (some minutes)"
        mkdir -p .cache/bin
        # without the discovery of targets in clouds, which is most of the code
        GOTOOLCHAIN=local CGO_ENABLED=0 "$(find_go)" build -C $collector -trimpath -buildvcs=false \
            -tags remove_all_sd -ldflags '-s -w' -o "$PWD/.cache/bin/$tool"
        collector_sum >".cache/bin/$tool.sum"
    done
}

install_python_packages() {
    [ ${#python_packages[@]} -gt 0 ] || return 0
    say "installing ${python_packages[*]} below .cache/python"
    [ -x .cache/python/bin/python ] || python3 -m venv .cache/python
    .cache/python/bin/python -m pip install --quiet --disable-pip-version-check "${python_packages[@]}"
}

# check_portable PURPOSE ...: on Debian and its kin, all are.
check_portable() {
    local name
    case $system in debian | ubuntu) return ;; esac
    for name in "$@"; do
        case " $portable_purposes " in *" $name "*) ;; *)
            die "the purpose '$name' needs Debian's packages; on other systems: $portable_purposes" ;;
        esac
    done
}

# show PURPOSE ...: the commands, as if nothing was installed.
# shellcheck disable=SC2317 # purpose() calls the functions inside
show() {
    have() { false; }
    need() { packages+=("$2"); }
    need_file() { packages+=("$2"); }
    need_library() { packages+=("$2"); }
    need_python_module() { packages+=("$2"); }
    need_unstable() { aside+=("$1"); }
    on_debian() { case $system in debian | ubuntu) true ;; *) false ;; esac; }
    refresh_lists() { :; }
    rust_packages() {
        case $system in
        debian) packages+=(cargo-web rustc-web) ;;
        *) packages+=(rustup) && by_rustup=true ;;
        esac
    }
    need_rust() { if on_debian; then rust_packages; else packages+=(rust); fi; }
    need_rust_lints() {
        case $system in
        debian) packages+=(rustfmt-web rust-web-clippy) ;;
        ubuntu) ;;
        *) packages+=(rust-lints) ;;
        esac
    }
    local name
    for name in "$@"; do purpose "$name"; done
    ! on_debian || echo "apt-get update"
    [ ${#packages[@]} = 0 ] || install_command "$system" "${packages[@]}"
    ! $by_rustup || echo "$rustup_command"
}

usage="usage: scripts/setup.sh [--show [SYSTEM]] build | test | prometheus | collector | lint | fuzz | demo | bench | scale | bare | static | cross-ARCH | guest | guest-ARCH | kernel | nics | packages | image ..."
[ $# -gt 0 ] || die "$usage"
if [ "$1" = --show ]; then
    shift
    case ${1:-} in debian | ubuntu | fedora | arch) system=$1 && shift ;; esac
    [ $# -gt 0 ] || die "$usage"
    [ "$system" != other ] || die "name a system: debian, ubuntu, fedora or arch"
    check_portable "$@"
    show "$@"
    exit
fi
on_debian || check_portable "$@"
for name in "$@"; do purpose "$name"; done
if [ $((${#packages[@]} + ${#aside[@]})) = 0 ]; then
    build_tools
    install_python_packages
    ! $asn_data || fetch_asn_data
    ! $axe || fetch_axe
    exit
fi

if ! on_debian; then
    [ "$system" != other ] || die "these are missing (by their Debian names): ${packages[*]} ${aside[*]}"
    die "something is missing; as root: $(install_command "$system" "${packages[@]}")"
fi
refresh_lists
if [ ${#packages[@]} -gt 0 ]; then
    mapfile -t packages < <(printf '%s\n' "${packages[@]}" | sort -u)
    say "installing ${packages[*]}"
    install_packages "${packages[@]}"
fi
install_rust
for name in "${aside[@]}"; do put_aside "$name"; done
build_tools
install_python_packages
! $asn_data || fetch_asn_data
! $axe || fetch_axe
say "done"
