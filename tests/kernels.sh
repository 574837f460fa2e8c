#!/usr/bin/env bash
# Boots Debian's kernels in virtual machines and holds the real binary to its promises on each.
#
#   tests/kernels.sh [SUITE ...]      all unless named; RFM=FILE is the binary
#
#   bullseye (5.10), bookworm (6.1), trixie (6.12), sid    Debian's kernels
#   bookworm-rt, trixie-rt                                 with PREEMPT_RT
#   no-btf-6.1, no-btf-6.12                                without type information, built here of Debian's source
#
# With ARCH=arm64: bookworm and trixie of that architecture, emulated.
#
# Each runs tests/guest/kernels.sh (a router with real traffic) and tests/guest/links.sh (every type of link).
# Which hook and whether a flow cache and a firewall are expected follows from the kernel: docs/counting.md, "Requirements".
# SPDX-License-Identifier: AGPL-3.0-only
set -euo pipefail
cd "$(dirname "$0")/.."

# shellcheck source=scripts/arch.sh
. scripts/arch.sh

arch=${ARCH:-$(machine_arch)}
binary=${RFM:-$(PACKAGE_NO_BUILD=1 scripts/dist.sh "$arch")}
if [ $# -gt 0 ]; then
    :
elif [ "$arch" = amd64 ]; then
    set -- bullseye bookworm trixie sid bookworm-rt trixie-rt no-btf-6.1 no-btf-6.12
else
    set -- bookworm trixie
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# from VERSION KERNEL: whether KERNEL is VERSION or newer
from() { [ "$(printf '%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }

kernel_of() {
    case $1 in
    no-btf-*) tests/guest/kernel-no-btf.sh "${1#no-btf-}" ;;
    *-rt) scripts/kernel.sh "linux-image-rt-$arch" "${1%-rt}" ;;
    *) scripts/kernel.sh "linux-image-cloud-$arch" "$1" ;;
    esac
}

# the test that compares the firewall with what the kernel delivers
options=()
if [ "$arch" != "$(machine_arch)" ]; then
    use_tools "$arch"
    options=(--features static --target "$(rust_target "$arch")")
fi
oracle=$(cargo test --locked --no-run "${options[@]}" --test firewall_bpf 2>&1 | sed -n 's/.*Executable .*(\(.*\))$/\1/p')
[ -n "$oracle" ] || { echo "kernels: the test firewall_bpf does not build" >&2 && exit 1; }

modules=(veth 8021q mpls_router vrf wireguard sch_ingress cls_bpf cls_matchall act_mirred ifb
    ipip ip_gre ip6_gre ip_vti xfrm_interface sit vxlan geneve esp4 xfrm_user crypto_null authenc)
root=$(scripts/root.sh --arch "$arch" kernels iproute2 ethtool iperf3 iputils-ping wireguard-tools bpftool curl procps kmod)
failed=()
for suite in "$@"; do
    kernel=$(kernel_of "$suite")
    image=$(find "$kernel" -name 'vmlinuz-*' -printf %f -quit)
    version=$(cut -d- -f2 <<<"$image" | cut -d+ -f1)
    attach=clsact cache=no firewall=no types=yes realtime=no
    if from 5.18 "$version"; then firewall=yes; fi
    if from 6.6 "$version"; then attach=tcx; fi
    if from 6.7 "$version"; then cache=yes; fi
    case $suite in
    no-btf-*) types=no ;;
    *-rt) realtime=yes cache=no ;;
    esac
    rm -rf "$work/payload"
    mkdir "$work/payload"
    cp tests/guest/kernels.sh tests/guest/links.sh "$work/payload"
    cat >"$work/payload/run.sh" <<-'RUN'
	cd /payload || exit
	sh kernels.sh
	first=$?
	sh links.sh && exit $first
	RUN
    cp tests/guest/kernels.toml "$work/payload/rfm.toml"
    cp tests/guest/routes.sh "$work/payload/routes.sh"
    cp "$binary" "$work/payload/rfm"
    "$(strip_of "$arch")" -o "$work/payload/oracle" "$oracle"
    echo $attach >"$work/payload/attach"
    echo $cache >"$work/payload/cache"
    echo $firewall >"$work/payload/firewall"
    echo $types >"$work/payload/types"
    echo $realtime >"$work/payload/realtime"
    echo "kernels: Linux $version of $suite, $arch: $attach, flow cache: $cache, firewall: $firewall, types: $types, real time: $realtime"
    GUEST_ARCH=$arch GUEST_TIMEOUT=${GUEST_TIMEOUT:-1800} GUEST_CPUS=2 tests/guest/boot.sh "$kernel" "$root" "$work/payload" "${modules[@]}" \
        || failed+=("$suite ($version)")
done
[ ${#failed[@]} -eq 0 ] || { echo "kernels: FAILED on ${failed[*]}" >&2 && exit 1; }
echo "kernels: all well"
