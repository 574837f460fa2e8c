#!/bin/sh
# Runs in the guest, as root: one link of each type between two namespaces, echoes over it, and the daemon's flows
# and counters beside what was sent.
#
#   expect: one word each in the files firewall and types (yes or no)
# SPDX-License-Identifier: AGPL-3.0-only
set -u

cd "$(dirname "$0")" || exit 1
expected_firewall=$(cat firewall)
expected_types=$(cat types)
failures=0

say() { echo "$(uname -r | cut -d- -f1): $*"; }
check() {
    what=$1
    shift
    if "$@"; then
        say "ok: $what"
    else
        say "FAILED: $what"
        failures=$((failures + 1))
    fi
}

# until_true SECONDS COMMAND
until_true() {
    left=$(($1 * 10))
    shift
    until "$@"; do
        left=$((left - 1))
        [ $left -gt 0 ] || return 1
        sleep 0.1
    done
}

here() { ip netns exec here "$@"; }
there() { ip netns exec there "$@"; }
metrics() { here curl -sf http://127.0.0.1:9669/metrics; }
# counter TEXT DEVICE COUNTER [FAMILY]
counter() {
    printf '%s\n' "$1" | awk -v p="^rfm_interface_$3_total.ifname=\"$2\".*${4:-}" '$0 ~ p { s += $NF } END { printf "%.0f", s }'
}
healthy() { here curl -sf -o /dev/null http://127.0.0.1:9669/healthz; }
# one flow a line, of this moment
flows() { here ./rfm flows --json --limit 1000 --config links.toml | tr -d ' \n' | tr '{' '\n'; }
# flow DEVICE DIRECTION SOURCE DESTINATION: its packets in $list
flow() {
    printf '%s\n' "$list" | grep -F "\"interface\":\"$1\"" | grep -F "\"direction\":\"$2\"" | grep -F "\"src\":\"$3\"" |
        grep -F "\"dst\":\"$4\"" | sed -n 's/.*"packets":\([0-9]*\),.*/\1/p' | awk '{ s += $1 } END { printf "%d", s }'
}
firewall() { here ./rfm firewall "$@" --config links.toml; }

# firewall_add LINES: a rule each
firewall_add() {
    while read -r line; do
        # shellcheck disable=SC2086 # words of their own
        firewall add $line >/dev/null || return 1
    done <<RULES
$1
RULES
}
# drops_five TARGET NUMBER: five echoes from there, each dropped by the rule of this number
drops_five() {
    earlier=$(dropped_by "$2")
    there ping -q -c 5 -i 0.05 -W 1 "$1" >/dev/null 2>&1
    now=$(dropped_by "$2")
    [ $((now - earlier)) -eq 5 ] || { metrics | grep '^rfm_firewall_packets_total' && return 1; }
}
dropped_by() {
    metrics | grep -F "rfm_firewall_packets_total{rule=\"runtime-$1\"" | awk '{ s += $NF } END { printf "%d", s }'
}

start_rfm() {
    ip netns exec here ./rfm --config links.toml >links.log 2>&1 &
    rfm=$!
    until_true 60 healthy || { cat links.log && return 1; }
}
stop_rfm() {
    kill -TERM $rfm
    wait $rfm
}
config() {
    cat >links.toml <<TOML
[agent]
interfaces = ["$1"]
require_interface = false
[agent.bpf]
sample_rate = 1
[agent.prometheus]
host = "127.0.0.1"
[agent.control]
socket = "/run/rfm-links"
TOML
}

# The wire w between the namespaces, 10.2.0.1 and 10.2.0.2.
build_wire() {
    ip netns add here
    ip netns add there
    ip link add w address 02:00:00:00:00:01 netns here type veth peer name w address 02:00:00:00:00:02 netns there
    for side in here there; do
        ip netns exec $side sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.default.router_solicitations=0 \
            net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0
        for offload in tso gso gro; do ip netns exec $side ethtool -K w $offload off >/dev/null 2>&1; done
        ip -n $side link set lo up
    done
    ip -n here addr add 10.2.0.1/24 dev w
    ip -n there addr add 10.2.0.2/24 dev w
    ip -n here addr add fd02::1/64 dev w nodad
    ip -n there addr add fd02::2/64 dev w nodad
    ip -n here link set w up
    ip -n there link set w up
}

# both NAME ARGUMENTS: the link on both sides; LOCAL and REMOTE, LOCAL6 and REMOTE6 stand for the addresses of the wire
both() {
    name=$1
    shift
    # shellcheck disable=SC2046 # words of their own
    ip -n here link add "$name" $(echo "$*" | sed 's/LOCAL6/fd02::1/; s/REMOTE6/fd02::2/; s/LOCAL/10.2.0.1/; s/REMOTE/10.2.0.2/') || return 1
    # shellcheck disable=SC2046 # words of their own
    ip -n there link add "$name" $(echo "$*" | sed 's/LOCAL6/fd02::2/; s/REMOTE6/fd02::1/; s/LOCAL/10.2.0.2/; s/REMOTE/10.2.0.1/') || return 1
    ip -n here link set "$name" up
    ip -n there link set "$name" up
}
# address NAME NUMBER
address() {
    ip -n here addr add "10.3.$2.1/24" dev "$1"
    ip -n there addr add "10.3.$2.2/24" dev "$1"
}

# state FROM TO SPI [OPTION]: without encryption, in both namespaces
state() {
    for side in here there; do
        # shellcheck disable=SC2086 # words of their own
        ip -n $side xfrm state add src "$1" dst "$2" proto esp spi "$3" reqid 1 mode tunnel \
            enc 'ecb(cipher_null)' '' auth digest_null '' ${4:-} || return 1
    done
}
# policies SELECTOR_HERE SELECTOR_THERE [OPTION]: of a tunnel over the wire
policies() {
    for way in "here out $1 $2 10.2.0.1 10.2.0.2" "here in $2 $1 10.2.0.2 10.2.0.1" "here fwd $2 $1 10.2.0.2 10.2.0.1" \
        "there out $2 $1 10.2.0.2 10.2.0.1" "there in $1 $2 10.2.0.1 10.2.0.2" "there fwd $1 $2 10.2.0.1 10.2.0.2"; do
        # shellcheck disable=SC2086 # words of their own
        set -- "$1" "$2" "${3:-}" $way
        # shellcheck disable=SC2086 # words of their own
        ip -n "$4" xfrm policy add src "$6" dst "$7" dir "$5" ${3:-} tmpl src "$8" dst "$9" proto esp reqid 1 mode tunnel || return 1
    done
}
no_ipsec() {
    for side in here there; do
        ip -n $side xfrm policy flush
        ip -n $side xfrm state flush
    done
}

# echoes HOW TARGET
echoes() {
    # shellcheck disable=SC2086 # words of their own
    here ping $1 -q -c 20 -i 0.01 -s 400 "$2" >ping.log 2>&1
    grep -q ' 0% packet loss' ping.log || { cat ping.log && return 1; }
}

# Each line of $links: name, own address, its peer's, length of the headers before the payload.
how() { case $1 in *:*) echo -6 ;; *) echo -4 ;; esac; }
family() { case $1 in *:*) echo ipv6 ;; *) echo ipv4 ;; esac; }

# keeps_outer LINK WAY: without types of the kernel, rfm does not know where the packet begins behind the headers of the
# tunnel that the kernel keeps in front (docs/counting.md, "Requirements")
keeps_outer() {
    [ "$expected_types" = no ] || return 1
    case $1-$2 in t_mgre-* | t_gre-rx | t_ip6gre-rx | t_vti-rx | t_xfrm-rx) ;; *) return 1 ;; esac
}

# Flows and counters of each of $links equal what is sent: one echo, so that neighbors are known, then 20.
all_equal() {
    while read -r name own peer _; do here ping "$(how "$peer")" -q -c 1 -W 2 "$peer" >/dev/null 2>&1; done <<LINKS
$links
LINKS
    sleep 2
    before=$(metrics)
    while read -r name own peer _; do check "$name: echoes to $peer" echoes "$(how "$peer")" "$peer"; done <<LINKS
$links
LINKS
    sleep 2
    after=$(metrics)
    list=$(flows)
    while read -r name own peer headers; do
        family=$(family "$peer")
        for way in rx tx; do
            if keeps_outer "$name" $way; then
                packets=$(($(counter "$after" "$name" ${way}_packets) - $(counter "$before" "$name" ${way}_packets)))
                sent=$((20 * $(printf '%s\n' "$links" | grep -c "^$name ")))
                check "$name: $way: $packets packets with the headers in front" [ "$packets" -eq $sent ]
                continue
            fi
            packets=$(($(counter "$after" "$name" ${way}_packets "$family") - $(counter "$before" "$name" ${way}_packets "$family")))
            bytes=$(($(counter "$after" "$name" ${way}_bytes "$family") - $(counter "$before" "$name" ${way}_bytes "$family")))
            other=$(($(counter "$after" "$name" ${way}_packets other) - $(counter "$before" "$name" ${way}_packets other)))
            # links with Ethernet have ARP
            case $headers in 42) other=0 ;; esac
            check "$name: $family $way: $packets packets, $bytes bytes, $other other" [ "$packets $bytes $other" = "20 $((20 * (400 + headers))) 0" ]
            case $way in
            rx) packets=$(flow "$name" ingress "$peer" "$own") ;;
            tx) packets=$(flow "$name" egress "$own" "$peer") ;;
            esac
            check "$name: the flow of $way between $own and $peer: $packets packets" [ "$packets" = 21 ]
        done
    done <<LINKS
$links
LINKS
}

build_wire
both t_ipip type ipip local LOCAL remote REMOTE && address t_ipip 1
both t_gre type gre local LOCAL remote REMOTE && address t_gre 2
both t_mgre type gre local LOCAL key 7 && address t_mgre 3
ip -n here neigh add 10.3.3.2 lladdr 10.2.0.2 dev t_mgre
ip -n there neigh add 10.3.3.1 lladdr 10.2.0.1 dev t_mgre
both t_ip6gre type ip6gre local LOCAL6 remote REMOTE6 && address t_ip6gre 4
both t_sit type sit local LOCAL remote REMOTE
both t_vxlan type vxlan id 5 local LOCAL remote REMOTE dstport 4789 && address t_vxlan 8
both t_geneve type geneve id 6 remote REMOTE && address t_geneve 9
for link in 2:t_gre 4:t_ip6gre 7:t_sit; do
    ip -n here addr add "fd03:${link%:*}::1/64" dev "${link#*:}" nodad
    ip -n there addr add "fd03:${link%:*}::2/64" dev "${link#*:}" nodad
done
config 'w|t_.*|i0|red|m[12]'
if ! start_rfm; then
    say "FAILED: the daemon does not start"
    exit 1
fi
links='t_ipip 10.3.1.1 10.3.1.2 28
t_gre 10.3.2.1 10.3.2.2 28
t_gre fd03:2::1 fd03:2::2 48
t_mgre 10.3.3.1 10.3.3.2 28
t_ip6gre 10.3.4.1 10.3.4.2 28
t_ip6gre fd03:4::1 fd03:4::2 48
t_sit fd03:7::1 fd03:7::2 48
t_vxlan 10.3.8.1 10.3.8.2 42
t_geneve 10.3.9.1 10.3.9.2 42'
all_equal

say 'IPsec by devices'
# a vti device receives IPIP of its addresses too
for side in here there; do ip -n $side link del t_ipip; done
both t_vti type vti local LOCAL remote REMOTE key 9 && address t_vti 5
for side in here there; do ip netns exec $side sysctl -qw net.ipv4.conf.t_vti.disable_policy=1; done
state 10.2.0.1 10.2.0.2 0x101 && state 10.2.0.2 10.2.0.1 0x102
policies 0.0.0.0/0 0.0.0.0/0 'mark 9'
sleep 2
links='t_vti 10.3.5.1 10.3.5.2 28'
all_equal
no_ipsec
# and ESP of its addresses
for side in here there; do ip -n $side link del t_vti; done
both t_xfrm type xfrm dev w if_id 11 && address t_xfrm 6
state 10.2.0.1 10.2.0.2 0x201 'if_id 11' && state 10.2.0.2 10.2.0.1 0x202 'if_id 11'
policies 0.0.0.0/0 0.0.0.0/0 'if_id 11'
sleep 2
links='t_xfrm 10.3.6.1 10.3.6.2 28'
all_equal
no_ipsec

say 'IPsec by policies'
ip -n here addr add 10.4.1.1/32 dev lo
ip -n there addr add 10.4.2.1/32 dev lo
ip -n here route add 10.4.2.0/24 via 10.2.0.2 src 10.4.1.1
ip -n there route add 10.4.1.0/24 via 10.2.0.1 src 10.4.2.1
state 10.2.0.1 10.2.0.2 0x301 && state 10.2.0.2 10.2.0.1 0x302
policies 10.4.1.0/24 10.4.2.0/24
sleep 6
here ping -q -c 1 -W 2 10.4.2.1 >/dev/null 2>&1
before=$(metrics)
check 'IPsec: echoes' echoes -4 10.4.2.1
sleep 2
after=$(metrics)
list=$(flows)
for way in rx tx; do
    packets=$(($(counter "$after" w ${way}_packets ipv4) - $(counter "$before" w ${way}_packets ipv4)))
    check "IPsec: $way has each packet once: $packets" [ "$packets" -eq 20 ]
done
packets=$(flow w ingress 10.4.2.1 10.4.1.1)
check "IPsec: no flow of what was decrypted: $packets" [ "$packets" -eq 0 ]
no_ipsec

say 'VRF'
ip -n here link add red type vrf table 100
ip -n here link set red up
for i in 1 2; do
    ip netns add "side$i"
    ip link add "m$i" netns here type veth peer name p address "02:00:00:00:05:0$i" netns "side$i"
    ip -n here link set "m$i" master red
    ip -n here addr add "10.5.$i.1/24" dev "m$i"
    ip -n here link set "m$i" up
    ip -n "side$i" addr add "10.5.$i.2/24" dev p
    ip -n "side$i" link set p up
    # a packet that waits for its neighbor is sent later, when its member is no longer known
    ip -n here neigh add "10.5.$i.2" lladdr "02:00:00:00:05:0$i" dev "m$i"
    ip -n "side$i" route add default via "10.5.$i.1"
done
sleep 3
ip netns exec side1 ping -q -c 30 -i 0.05 10.5.2.2 >ping.log 2>&1
check 'VRF: echoes are forwarded' grep -q ' 0% packet loss' ping.log
sleep 2
list=$(flows)
# input INTERFACE SOURCE
input() { printf '%s\n' "$list" | grep -F "\"interface\":\"$1\"" | grep '"direction":"egress"' | grep -F "\"src\":\"$2\"" | grep -oE '"input_interface":"[^"]*"' | sort -u; }
inputs=$(input m2 10.5.1.2)$(input m1 10.5.2.2)
check "VRF: the input interface is the member: $inputs" [ "$inputs" = '"input_interface":"m1""input_interface":"m2"' ]
check 'VRF: the device has no series for what no hook sees' [ "$(metrics | grep -c '^rfm_interface_rx_packets_total.ifname="red"')" -eq 0 ]

say 'ifb'
ip -n here link add i0 type ifb
ip -n here link set i0 up
here tc qdisc add dev w clsact 2>/dev/null
here tc filter add dev w ingress protocol ip prio 100 matchall action mirred egress redirect dev i0
sleep 3
check 'ifb: echoes' echoes -4 10.2.0.2
sleep 2
list=$(flows)
packets=$(flow i0 egress 10.2.0.2 10.2.0.1)
check "ifb: the flow that it carries: $packets" [ "$packets" -eq 20 ]
check 'ifb: the device has no series for what no hook sees' [ "$(metrics | grep -c '^rfm_interface_rx_packets_total.ifname="i0"')" -eq 0 ]
here tc filter del dev w ingress prio 100
stop_rfm

# without types it drops any GRE packet that a rule could match
if [ "$expected_firewall $expected_types" = 'yes yes' ]; then
    say 'firewall'
    config 't_gre|t_ip6gre|t_mgre'
    printf '[agent.firewall]\nenabled = true\ninterfaces = ["t_.*"]\n' >>links.toml
    start_rfm
    # to no address of the router, which the firewall would let pass
    for link in 2:t_gre 3:t_mgre 4:t_ip6gre; do
        number=${link%:*} name=${link#*:}
        ip -n there route add "10.8.$number.0/24" via "10.3.$number.1" dev "$name" onlink
        ip -n there link add "g$number" type gre local "10.3.$number.2" remote "10.8.$number.9"
        ip -n there addr add "10.7.$number.2/24" dev "g$number"
        ip -n there link set "g$number" up
    done
    check 'firewall: rules are taken' firewall_add "$(
        for number in 2 3 4; do
            echo "--src 10.3.$number.2 --proto icmp"
            echo "--src 10.3.$number.2 --proto 47"
            echo "--src 10.7.$number.2"
        done
    )"
    rule=$(metrics | sed -n 's/.*rule="runtime-\([0-9]*\)".*/\1/p' | sort -n | head -n 1)
    for link in 2:t_gre 3:t_mgre 4:t_ip6gre; do
        number=${link%:*} name=${link#*:}
        check "firewall: echoes received by $name are matched" drops_five "10.8.$number.9" "$rule"
        # the first header is the packet's own
        check "firewall: GRE received by $name is matched by its outer packet" drops_five "10.7.$number.1" $((rule + 1))
        rule=$((rule + 3))
    done
    stop_rfm
fi
[ $failures -eq 0 ] || { say "$failures checks failed; the log ends:" && tail -n 20 links.log; }
[ $failures -eq 0 ]
