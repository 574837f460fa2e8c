#!/usr/bin/env bash
# Boots Debian's kernels in virtual machines and holds the real binary to its promises on each.
#
#   tests/kernels.sh [SUITE ...]      bullseye (5.10), bookworm (6.1), trixie (6.12) and sid unless named; RFM=FILE is the binary
#
# Each runs tests/guest/kernels.sh (a router with real traffic) and tests/guest/links.sh (every type of link).
# Which hook and whether a flow cache and a firewall are expected follows from the kernel's version: docs/counting.md, "Requirements".
# SPDX-License-Identifier: AGPL-3.0-only
set -euo pipefail
cd "$(dirname "$0")/.."

binary=${RFM:-target/dist/release/rfm}
[ $# -gt 0 ] || set -- bullseye bookworm trixie sid
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# from VERSION KERNEL: whether KERNEL is VERSION or newer
from() { [ "$(printf '%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }

# the test that compares the firewall with what the kernel delivers
oracle=$(cargo test --locked --no-run --test firewall_bpf 2>&1 | sed -n 's/.*Executable .*(\(.*\))$/\1/p')
[ -n "$oracle" ] || { echo "kernels: the test firewall_bpf does not build" >&2 && exit 1; }

modules=(veth 8021q mpls_router vrf wireguard sch_ingress cls_bpf cls_matchall act_mirred ifb
    ipip ip_gre ip6_gre ip_vti xfrm_interface sit vxlan geneve esp4 xfrm_user crypto_null authenc)
root=$(scripts/root.sh kernels iproute2 ethtool iperf3 iputils-ping wireguard-tools bpftool curl procps kmod)
failed=()
for suite in "$@"; do
    kernel=$(scripts/kernel.sh linux-image-cloud-amd64 "$suite")
    image=$(find "$kernel" -name 'vmlinuz-*' -printf %f -quit)
    version=$(cut -d- -f2 <<<"$image" | cut -d+ -f1)
    attach=clsact cache=no firewall=no
    if from 5.18 "$version"; then firewall=yes; fi
    if from 6.6 "$version"; then attach=tcx; fi
    if from 6.7 "$version"; then cache=yes; fi
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
    strip -o "$work/payload/oracle" "$oracle"
    echo $attach >"$work/payload/attach"
    echo $cache >"$work/payload/cache"
    echo $firewall >"$work/payload/firewall"
    echo "kernels: Linux $version of $suite: $attach, flow cache: $cache, firewall: $firewall"
    GUEST_TIMEOUT=${GUEST_TIMEOUT:-900} GUEST_CPUS=2 tests/guest/boot.sh "$kernel" "$root" "$work/payload" "${modules[@]}" \
        || failed+=("$suite ($version)")
done
[ ${#failed[@]} -eq 0 ] || { echo "kernels: FAILED on ${failed[*]}" >&2 && exit 1; }
echo "kernels: all well"
