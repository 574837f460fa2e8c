#!/usr/bin/env bash
# Boots guests with network cards that QEMU emulates, and compares the counters of rfm with captures of QEMU.
#
#   tests/nics.sh [CARD ...]      virtio-net e1000e igb vmxnet3 virtio-gso virtio-multiqueue unless named; RFM=FILE is the binary
#
# tests/guest/nics.sh runs in each guest. The two cards of a router are joined with peers in the same guest, by hubs of
# QEMU. In the last two, the peer is a tap device in a namespace of this machine, from which the card takes GSO packets.
# SPDX-License-Identifier: AGPL-3.0-only
set -euo pipefail
cd "$(dirname "$0")/.."

binary=${RFM:-target/dist/release/rfm}
[ $# -gt 0 ] || set -- virtio-net e1000e igb vmxnet3 virtio-gso virtio-multiqueue
label=nics
work=$(mktemp -d /var/tmp/rfm-nics.XXXXXX)
wire=rfm-nics-$$
processes=()
# shellcheck source=tests/checks.sh
. tests/checks.sh

end_wire() {
    local pid
    for pid in "${processes[@]}"; do kill "$pid" 2>/dev/null || true; done
    [ ${#processes[@]} = 0 ] || wait "${processes[@]}" 2>/dev/null || true
    processes=()
    ip netns del "$wire" 2>/dev/null || true
}
cleanup() {
    end_wire
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# The device name of QEMU for a card.
model() {
    case $1 in
    virtio-*) echo virtio-net-pci ;;
    e1000e | igb | vmxnet3) echo "$1" ;;
    *) die "unknown card $1" ;;
    esac
}

# A tap device with the address of the peer.
build_wire() {
    ip netns add "$wire"
    ip netns exec "$wire" sysctl -qw net.ipv6.conf.default.addr_gen_mode=1 net.ipv6.conf.default.accept_dad=0
    ip -n "$wire" tuntap add dev d0 mode tap vnet_hdr "$@"
    ip -n "$wire" link set d0 address 52:54:00:00:00:d0 up
    ip -n "$wire" addr add 10.10.0.2/24 dev d0
    ip -n "$wire" addr add fd00:10::2/64 dev d0 nodad
    ip -n "$wire" neigh add 10.10.0.1 lladdr 52:54:00:00:00:c0 dev d0
    ip -n "$wire" neigh add fd00:10::1 lladdr 52:54:00:00:00:c0 dev d0
    ip netns exec "$wire" iperf3 -s >/dev/null &
    processes+=($!)
}

# One guest with cards of one type.
run_card() {
    local card=$1 wires=hub devices=() captures=() i inside=()
    rm -rf "${work:?}"/*
    mkdir "$work/payload"
    cp "$binary" "$work/payload/rfm"
    cp tests/checks.sh tests/guest/nics.sh "$work/payload"
    case $card in
    virtio-gso)
        wires=tap
        build_wire
        devices+=(-netdev "tap,id=w0,ifname=d0,script=no,downscript=no,vhost=off")
        ;;
    virtio-multiqueue)
        wires=tap
        build_wire multi_queue
        devices+=(-netdev "tap,id=w0,ifname=d0,script=no,downscript=no,vhost=off,queues=2")
        # QEMU captures no card with several queues
        ip netns exec "$wire" tcpdump -i d0 -s 200 -B 65536 -w "$work/w0.pcap" 2>"$work/tcpdump.log" &
        processes+=($!)
        ;;
    esac
    if [ $wires = tap ]; then
        inside=(ip netns exec "$wire")
        i=,mac=52:54:00:00:00:c0,netdev=w0,romfile=
        [ "$card" != virtio-multiqueue ] || i+=,mq=on,vectors=6
        devices+=(-device "virtio-net-pci$i")
        captures=("$work/w0.pcap")
    else
        for i in 0 1; do
            devices+=(-netdev "hubport,id=w$i,hubid=$i" -device "$(model "$card"),mac=52:54:00:00:00:c$i,netdev=w$i,romfile="
                -netdev "hubport,id=v$i,hubid=$i" -device "virtio-net-pci,mac=52:54:00:00:00:d$i,netdev=v$i,romfile=")
            captures+=("$work/w$i.pcap")
        done
    fi
    if [ "$card" != virtio-multiqueue ]; then
        for i in "${!captures[@]}"; do devices+=(-object "filter-dump,id=f$i,netdev=w$i,file=${captures[i]}"); done
    fi
    echo "exec bash /payload/nics.sh $wires" >"$work/payload/run.sh"
    say "$card"
    mkdir "$work/bin"
    printf '#!/bin/sh\nexec %q' "$PWD/.cache/qemu/qemu-system-x86_64" >"$work/bin/qemu-system-x86_64"
    printf ' %q' "${devices[@]}" >>"$work/bin/qemu-system-x86_64"
    echo ' "$@"' >>"$work/bin/qemu-system-x86_64"
    chmod 755 "$work/bin/qemu-system-x86_64"
    PATH=$work/bin:$PATH GUEST_CPUS=2 GUEST_TIMEOUT=${GUEST_TIMEOUT:-1200} "${inside[@]}" tests/guest/boot.sh "$kernel" "$root" "$work/payload" \
        virtio_pci virtio_net e1000e igb vmxnet3 8021q sch_ingress cls_bpf 2>&1 | tee "$work/console" |
        grep --line-buffered -v '^nics: \(before\|after\) ' || { end_wire && return 1; }
    end_wire
    python3 tests/nics/compare.py "$work/console" "${captures[@]}"
}

kernel=$(scripts/kernel.sh linux-image-amd64 trixie)
root=$(scripts/root.sh nics iproute2 ethtool iperf3 iputils-ping curl procps kmod)
failed=()
for card in "$@"; do
    run_card "$card" || failed+=("$card")
done
[ ${#failed[@]} = 0 ] || die "${failed[*]}"
say "all well"
