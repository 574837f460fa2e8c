#!/usr/bin/env bash
# Runs in a guest, as root: a router with two network cards of one type, c0 and c1, or with c0 only, and what rfm counts
# on them in each phase. The host compares it with its captures (tests/nics/compare.py).
#
#   nics.sh hub | tap
#
# hub: the peers are p0 and p1, cards of this guest in the namespaces n0 and n1. tap: the peer is the host.
#
# Each phase of a card begins and ends with a datagram that the card sends to a port of its own, 40000 and up.
# SPDX-License-Identifier: AGPL-3.0-only
set -euo pipefail
cd "$(dirname "$0")"

wires=$1
# shellcheck disable=SC2034 # of checks.sh
label=nics work=/tmp
# shellcheck source=tests/checks.sh
. ./checks.sh
cards=(c0 c1)
[ "$wires" = hub ] || cards=(c0)
phase=0

# find_card MAC NAME
find_card() {
    local folder
    for folder in /sys/class/net/*; do
        [ "$(cat "$folder/address")" = "$1" ] || continue
        ip link set "${folder##*/}" down
        ip link set "${folder##*/}" name "$2"
        return
    done
    die "no card has the address $1"
}

# configure DEVICE NUMBER HOST PEER [ip OPTIONS]: its addresses in 10.NUMBER.0.0/24, and the neighbor without ARP
configure() {
    local device=$1 number=$2 host=$3 peer=$4 mac=$5
    shift 5
    ip "$@" addr add "10.$number.0.$host/24" dev "$device"
    ip "$@" addr add "fd00:$number::$host/64" dev "$device" nodad
    ip "$@" link set "$device" up
    ip "$@" neigh replace "10.$number.0.$peer" lladdr "$mac" dev "$device"
    ip "$@" neigh replace "fd00:$number::$peer" lladdr "$mac" dev "$device"
}

quiet_ipv6=(net.ipv6.conf.all.accept_ra=0 net.ipv6.conf.default.accept_ra=0 net.ipv6.conf.default.router_solicitations=0
    net.ipv6.conf.default.addr_gen_mode=1 net.ipv6.conf.default.accept_dad=0)

build() {
    local i
    sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 "${quiet_ipv6[@]}"
    for i in "${!cards[@]}"; do
        find_card "52:54:00:00:00:c$i" "c$i"
        sysctl -qw "net.ipv6.conf.c$i.addr_gen_mode=1"
        configure "c$i" "$((10 + i))" 1 2 "52:54:00:00:00:d$i"
        [ "$wires" = hub ] || continue
        ip netns add "n$i"
        ip netns exec "n$i" sysctl -qw "${quiet_ipv6[@]}"
        find_card "52:54:00:00:00:d$i" "p$i"
        ip link set "p$i" netns "n$i"
        ip netns exec "n$i" sysctl -qw "net.ipv6.conf.p$i.addr_gen_mode=1"
        configure "p$i" "$((10 + i))" 2 1 "52:54:00:00:00:c$i" -n "n$i"
        ip -n "n$i" link set lo up
        ip -n "n$i" route add default via "10.1$i.0.1"
        ip netns exec "n$i" iperf3 -s -D
    done
    say "driver $(ethtool -i c0 | sed -n 's/^driver: //p'), $(find /sys/class/net/c0/queues -name 'rx-*' | wc -l) queues, $(ethtool -k c0 |
        grep -E '^(tcp-seg|generic-rec|rx-vlan-offload|tx-vlan-offload).*: on' | sed 's/: .*//' | paste -sd' ')"
}

metrics() { curl -sf http://127.0.0.1:9669/metrics; }
healthy() { curl -sf -o /dev/null http://127.0.0.1:9669/healthz; }
# What is counted of each card, direction and family; packets that a rule dropped, and those that the driver received.
counters() {
    local card
    metrics | sed -nE 's/^rfm_interface_([rt]x)_(packets|bytes)_total\{ifname="(c[01])",family="(ipv[46]|other)"\} (.*)/\3 \1 \4 \2 \5/p;
        s/^rfm_firewall_(packets|bytes)_total\{.*action="drop".*\} (.*)/c0 rx dropped \1 \2/p'
    for card in "${cards[@]}"; do
        echo "$card rx device packets $(cat "/sys/class/net/$card/statistics/rx_packets")"
    done
}
# Waits until nothing moves.
settled() {
    local before after
    before=$(counters)
    sleep 1
    after=$(counters)
    [ "$before" = "$after" ]
}
mark() {
    local i
    for i in "${!cards[@]}"; do
        echo "the phase $1 of this card has reached the mark" >"/dev/udp/10.1$i.0.2/$((40000 + $1))" || true
    done
}
# run_phase NAME COMMAND ...
run_phase() {
    local name=$1
    shift
    wait_for 30 settled || die "$name: the counters do not rest before"
    counters | sed "s/^/nics: before $phase $name /"
    mark $((phase * 2))
    check "$name: the traffic" "$@"
    wait_for 30 settled || die "$name: the counters do not rest after"
    counters | sed "s/^/nics: after $phase $name /"
    mark $((phase * 2 + 1))
    phase=$((phase + 1))
}

start_rfm() {
    cat >rfm.toml <<-TOML
	[agent]
	interfaces = ["c[01]"]
	[agent.bpf]
	sample_rate = 1
	[agent.prometheus]
	host = "127.0.0.1"
	[agent.control]
	socket = "/run/rfm-nics"
	$1
	TOML
    ./rfm --config rfm.toml >"$work/log" 2>&1 &
    rfm=$!
    wait_for 120 healthy || die "rfm does not start"
}
stop_rfm() {
    kill -TERM "$rfm"
    wait "$rfm"
}
firewall='[agent.firewall]
enabled = true
interfaces = ["c[01]"]
allow_own = false
[[agent.firewall.rule]]
proto = "udp"
dport = "7777"
action = "drop"'

# transfer ADDRESS [OPTION ...]
transfer() {
    local address=$1
    shift
    iperf3 -c "$address" -n "3M" "$@"
}
both_ways() {
    transfer "$1" && transfer "$1" -R
}
forwarded() { ip netns exec n0 iperf3 -c 10.11.0.2 -n "3M" && ip netns exec n0 iperf3 -c 10.11.0.2 -n "3M" -R; }
# 200 datagrams to the port that a rule drops, among others
attack() {
    # shellcheck disable=SC2016 # the inner shell expands it
    ip netns exec n0 bash -c 'for i in {1..200}; do
        for port in 7777 7778; do echo "one of 200 datagrams to each of two ports" >/dev/udp/10.10.0.1/$port || true; done
    done'
}
tags_in_hardware() { ethtool -k c0 | grep -q '^tx-vlan-offload: on'; }
# The drivers start their cards again for it.
set_mtu() {
    local i
    for i in "${!cards[@]}"; do
        ip link set "c$i" mtu "$1" || return
        ip -n "n$i" link set "p$i" mtu "$1"
    done
    sleep 3
    wait_for 20 has_carrier
}
# Some emulated cards carry no large frames, with or without rfm.
find_jumbo() {
    set_mtu 9000
    jumbo=yes
    ping -q -c 3 -i 0.3 -W 3 -s 8000 10.10.0.2 >/dev/null || jumbo=
    set_mtu 1500
    [ -n "$jumbo" ] || say "this card carries no frames of MTU 9000: phases with it are left out"
}
carrier_changes() { cat /sys/class/net/c0/carrier_changes; }
has_carrier() { [ "$(cat /sys/class/net/c0/carrier)" = 1 ]; }
mode() { metrics | sed -nE 's/^rfm_firewall_interfaces\{mode="(.*)"\} 2$/\1/p'; }

with_monitor() {
    start_rfm ""
    run_phase tcp both_ways 10.10.0.2
    run_phase tcp6 both_ways fd00:10::2
    [ "$wires" = hub ] || return 0
    # a tag that the card inserts, if it can
    ip link add link c0 name c0.10 type vlan id 10
    ip -n n0 link add link p0 name p0.10 type vlan id 10
    configure c0.10 20 1 2 52:54:00:00:00:d0
    configure p0.10 20 2 1 52:54:00:00:00:c0 -n n0
    if tags_in_hardware; then say "the card inserts the tag"; fi
    run_phase vlan both_ways 10.20.0.2
    run_phase forwarding forwarded
    [ -n "$jumbo" ] || return 0
    set_mtu 9000
    run_phase mtu-9000 both_ways 10.10.0.2
    run_phase forwarding-9000 forwarded
    set_mtu 1500
}

# with_firewall NAME
with_firewall() {
    local before attached
    before=$(carrier_changes)
    start_rfm "$firewall"
    sleep 5
    wait_for 20 has_carrier || die "the carrier is lost"
    attached=$(carrier_changes)
    say "$1: mode $(mode)"
    run_phase "$1-tcp" both_ways 10.10.0.2
    run_phase "$1-drops" attack
    run_phase "$1-forwarding" forwarded
    if [ "$1" = xdp ]; then
        for mtu in ${jumbo:+9000} 1400; do
            if set_mtu "$mtu"; then say "$1: MTU $mtu is accepted"; else say "$1: MTU $mtu is refused"; fi
            ip -n n0 link set p0 mtu "$(cat /sys/class/net/c0/mtu)"
            wait_for 20 has_carrier || die "the carrier is lost"
            say "$1: mode $(mode) after it"
            run_phase "$1-mtu-$mtu" both_ways 10.10.0.2
        done
        set_mtu 1500
    fi
    local running
    running=$(carrier_changes)
    stop_rfm
    sleep 5
    wait_for 20 has_carrier || die "the carrier is lost"
    say "$1: changes of the carrier: $((attached - before)) at the start, $(($(carrier_changes) - running)) at the stop"
}

build
sleep 4
jumbo=
[ "$wires" = tap ] || find_jumbo
with_monitor
check "it ends" stop_rfm
if [ "$wires" = hub ]; then
    with_firewall xdp
    # too large for the native mode of some drivers
    if [ -n "$jumbo" ]; then
        set_mtu 9000
        with_firewall xdp-9000
    fi
fi
say "all phases have run"
