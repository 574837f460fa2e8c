#!/bin/sh
# Runs in the guest, as root: a router with a plain link, a VLAN, a VRF and WireGuard, real traffic
# through all of them, and the daemon's figures beside the kernel's own.
#
#   expect: one word each in the files attach (tcx or clsact), cache, firewall, types and realtime (yes or no)
# SPDX-License-Identifier: AGPL-3.0-only
set -u

cd "$(dirname "$0")" || exit 1
expected_attach=$(cat attach)
expected_cache=$(cat cache)
expected_firewall=$(cat firewall)
expected_types=$(cat types)
expected_realtime=$(cat realtime)
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

metrics() { curl -sf http://127.0.0.1:9669/metrics; }
# sum TEXT PATTERN: of the values of the series whose line begins so
sum() { printf '%s\n' "$1" | awk -v p="^$2" '$0 ~ p { s += $NF } END { printf "%.0f", s }'; }

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

start_rfm() {
    RFM_LOG=info,libbpf=trace ./rfm --config rfm.toml >rfm.log 2>&1 &
    rfm=$!
    until_true 180 healthy || { cat rfm.log && return 1; }
}
# a router that tells routes: those of the global table, and one of the VRF
tell_routes() {
    bash routes.sh 11019 64999 64998 &
    until_true 10 routes_are_there
}
# those of a VRF that is not named are read and not kept
routes_are_there() { [ "$(sum "$(metrics)" 'rfm_bmp_updates_total')" -eq 3 ]; }
healthy() { curl -sf -o /dev/null http://127.0.0.1:9669/healthz; }

# link NUMBER: r0 here with one address, and its peer in a namespace of its own; all segmentation off, so that the
# devices count what goes over a wire
link() {
    ip netns add "n$1"
    ip link add "r$1" address "02:00:00:00:0$1:01" type veth peer name p netns "n$1"
    for offload in tso gso gro tx-udp-segmentation; do
        ethtool -K "r$1" $offload off >/dev/null 2>&1
        ip netns exec "n$1" ethtool -K p $offload off >/dev/null 2>&1
    done
    ip addr add "10.1.$1.1/24" dev "r$1"
    ip addr add "fd00:$1::1/64" dev "r$1" nodad
    ip link set "r$1" up
    ip -n "n$1" addr add "10.1.$1.2/24" dev p
    ip -n "n$1" addr add "fd00:$1::2/64" dev p nodad
    ip -n "n$1" link set p up
    ip -n "n$1" link set lo up
    ip -n "n$1" route add default via "10.1.$1.1"
    ip -n "n$1" -6 route add default via "fd00:$1::1"
}

build_router() {
    sysctl -q -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
    link 0
    link 1
    # a VLAN above r1
    ip link add link r1 name r1.10 type vlan id 10
    ip addr add 10.1.10.1/24 dev r1.10
    ip link set r1.10 up
    ip -n n1 link add link p name p.10 type vlan id 10
    ip -n n1 addr add 10.1.10.2/24 dev p.10
    ip -n n1 link set p.10 up
    # two links of a VRF
    ip link add red type vrf table 100
    ip link set red up
    link 2
    link 3
    ip link set r2 master red
    ip link set r3 master red
    # WireGuard over r0
    umask 077
    wg genkey >here.key
    wg genkey >there.key
    ip link add wg0 type wireguard
    ip -n n0 link add wg0 type wireguard
    wg set wg0 listen-port 51820 private-key here.key peer "$(wg pubkey <there.key)" allowed-ips 10.1.90.2/32
    ip netns exec n0 wg set wg0 private-key there.key peer "$(wg pubkey <here.key)" endpoint 10.1.0.1:51820 allowed-ips 10.1.90.1/32
    ip addr add 10.1.90.1/24 dev wg0
    ip link set wg0 up
    ip -n n0 addr add 10.1.90.2/24 dev wg0
    ip -n n0 link set wg0 up
}

echoes() {
    ip netns exec "$1" ping -q -c 30 -i 0.01 -s "$3" "$2" >ping.log 2>&1
    grep -q ' 0% packet loss' ping.log || { cat ping.log && return 1; }
}

stream() {
    ip netns exec n1 iperf3 -s -1 -D
    sleep 0.5
    # shellcheck disable=SC2086 # words of their own
    ip netns exec n0 iperf3 -c "$1" -t 2 -M 1200 ${2:-} >iperf.log 2>&1 || { cat iperf.log && return 1; }
}

# One line of a scrape's own figures for an interface: the daemon's counter and, from the same scrape, the device's.
counters() {
    for i in r0 r1 r2 r3 r1.10 wg0; do
        name=$(echo "$i" | sed 's/\./\\\\./')
        for s in rx_packets rx_bytes tx_packets tx_bytes; do
            echo "$i $s $(sum "$1" "rfm_interface_${s}_total.ifname=\"$name\"") $(sum "$1" "rfm_interface_device_${s}_total.ifname=\"$name\"")"
        done
    done
}

# Reads until nothing moves: between two reads of a quiet machine the figures are of the same moment.
counters_at_rest() {
    last=
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        now=$(counters "$(metrics)")
        [ "$now" != "$last" ] || break
        last=$now
        sleep 1
    done
    echo "$now"
}

# grown LINES INTERFACE COUNTER COLUMN: since the previous lines
grown() {
    a=$(printf '%s\n' "$before" | awk -v i="$1" -v s="$2" -v c="$3" '$1 == i && $2 == s { print $c }')
    b=$(printf '%s\n' "$after" | awk -v i="$1" -v s="$2" -v c="$3" '$1 == i && $2 == s { print $c }')
    echo $((b - a))
}

# agrees INTERFACE COUNTER AT_LEAST [MORE]: the daemon's is the device's and MORE
agrees() {
    ours=$(grown "$1" "$2" 3)
    device=$(grown "$1" "$2" 4)
    say "$1 $2: rfm $ours, device $device"
    [ "$ours" -eq $((device + ${4:-0})) ] && [ "$ours" -ge "$3" ]
}

# the identities of the accounting: each sampled packet is accounted or dropped; each IP packet is sampled
settled() {
    now=$(metrics)
    taken=$(sum "$now" 'rfm_interface_sampled_packets_total')
    arrived=$(sum "$now" 'rfm_collector_accounted_packets_total')
    lost=$(sum "$now" 'rfm_collector_dropped_packets_total')
    # a slow machine begins to thin new flows
    thinned=$(sum "$now" 'rfm_collector_thinned_packets_total')
    added=$(sum "$now" 'rfm_collector_added_packets_total')
    ip=$(sum "$now" 'rfm_interface_[rt]x_packets_total.*family="ipv[46]"')
    [ "$taken" -eq $((arrived + lost + thinned - added)) ] && [ "$taken" -eq "$ip" ]
}

series() { printf '%s\n' "$scrape" | grep -qE "$1"; }
# the label of what went to 10.1.3.2, through the VRF
labelled() { scrape=$(metrics) && series "^rfm_flow_packets_total.ifname=\"r3\",direction=\"egress\",proto=\"1\",dst_asn=\"$1\""; }
no_global_label() { ! series '^rfm_flow_packets_total.ifname="r[23]",.*(asn="64[0-9]*"|net="lab")'; }
# echoes_are_dropped NAMESPACE ADDRESS
echoes_are_dropped() {
    ip netns exec "$1" ping -q -c 20 -i 0.01 -W 1 -s 500 "$2" >ping.log 2>&1
    grep -q ' 100% packet loss' ping.log || { cat ping.log && return 1; }
}
echoes_are_limited() {
    ip netns exec "$1" ping -q -c 20 -i 0.01 -W 1 -s 500 "$2" >ping.log 2>&1
    if grep -q -e ' 0% packet loss' -e ' 100% packet loss' ping.log; then cat ping.log && return 1; fi
}
firewall() { ./rfm firewall "$@" --config rfm.toml; }
dropped_series() { scrape=$(metrics) && series '^rfm_firewall_packets_total.*action="drop".* 20$'; }
# The instructions that the verifier walked for each program, and the time that it took.
load_all() {
    RFM_LOG=info,libbpf=trace ./rfm --config rfm.toml --check-kernel >load.log 2>&1 || { tail -n 30 load.log && return 1; }
    awk '/BEGIN PROG LOAD LOG/ { split($0, part, "\047"); name = part[2] }
        /verification time [0-9]+/ { match($0, /time [0-9]+/); time = substr($0, RSTART + 5, RLENGTH - 5) }
        /processed [0-9]+ insns/ { match($0, /processed [0-9]+/)
            printf "%-16s %7d instructions %6d ms\n", name, substr($0, RSTART + 10, RLENGTH - 10), time / 1000 }' load.log >walked
    while read -r line; do say "verifier: $line"; done <walked
}
# walks_at_most LIMIT PROGRAMS: old verifiers walk more, and refuse a program of a million
walks_at_most() { [ -s walked ] && ! awk -v limit="$1" -v names="^rfm_($2)" '$1 ~ names && $2 > limit' walked | grep .; }
has_no_types() { [ ! -e /sys/kernel/btf/vmlinux ]; }
untyped_is_logged() {
    grep -q 'no kernel types (/sys/kernel/btf/vmlinux): GSO packets in tunnels count with their outer headers only' rfm.log
}
typed_is_logged() { ! grep -q 'no kernel types' rfm.log; }
realtime_is_logged() { uname -v | grep -q PREEMPT_RT && grep -q 'PREEMPT_RT kernel: no flow cache' rfm.log; }
no_realtime_is_logged() { ! grep -q PREEMPT_RT rfm.log; }
no_error_is_logged() { if grep ' ERROR ' rfm.log; then return 1; fi; }
# the programs with the cache are attached, and nothing is said of its absence
has_cache() { bpftool prog show | grep -q 'name rfm_ingress ' && ! grep -q 'no flow cache' rfm.log; }
has_no_cache() { bpftool prog show | grep -q 'name rfm_ingress_ev ' && grep -q 'no flow cache' rfm.log; }
# the kernel delivers no packet that a rule drops, whatever it strips by itself
nothing_passes() {
    RFM_REQUIRE_TOOLS=1 ./oracle --nocapture the_kernel_delivers >oracle.log 2>&1
    if grep -q 'VLAN devices: true, MPLS: true' oracle.log && grep -q ' 1 passed' oracle.log; then return 0; fi
    tail -n 30 oracle.log && return 1
}
# the verifiers of old kernels follow a loop once: what they remove there matches nothing
rules_match() {
    RFM_REQUIRE_TOOLS=1 ./oracle --nocapture "$1" >oracle.log 2>&1
    if grep -q ' 1 passed' oracle.log; then return 0; fi
    tail -n 30 oracle.log && return 1
}
no_program() { ! bpftool prog show | grep -q 'name rfm_'; }
no_filter() { ! tc filter show dev r0 ingress | grep -q rfm_; }

check 'all programs load' load_all
check 'the verifier walks 150,000 instructions of the monitor at most' walks_at_most 150000 'ingress|egress|probe'
check 'the verifier walks 150,000 instructions of the firewall at most' walks_at_most 150000 fw
build_router
say "router built"
if ! start_rfm; then
    say "FAILED: the daemon does not start"
    exit 1
fi
check 'a router tells its routes' tell_routes
# the interfaces are quiet once routers have been solicited
sleep 4
before=$(counters_at_rest)
check 'echoes over IPv4' echoes n0 10.1.1.2 1000
check 'echoes over IPv6' echoes n0 fd00:1::2 1000
check 'echoes in fragments' echoes n0 10.1.1.2 4000
check 'echoes over a VLAN' echoes n1 10.1.10.1 500
check 'echoes through a VRF' echoes n2 10.1.3.2 700
check 'echoes through WireGuard' echoes n0 10.1.90.1 900
check 'TCP over IPv4' stream 10.1.1.2
check 'TCP over IPv6' stream fd00:1::2
check 'UDP over IPv4' stream 10.1.1.2 '-u -b 20M -l 1000'
check 'all that was taken is in flows or counted as lost' until_true 10 settled
say "taken $taken, in flows $arrived, lost $lost, thinned $thinned, added $added"
after=$(counters_at_rest)
scrape=$(metrics)
for s in rx tx; do
    check "packets of r0, $s" agrees r0 ${s}_packets 1000
    check "bytes of r0, $s" agrees r0 ${s}_bytes 100000
    for i in r2 r3; do
        check "packets of $i, $s" agrees $i ${s}_packets 30
        check "bytes of $i, $s" agrees $i ${s}_bytes 20000
    done
    # the device leaves out the tag, which waits beside the packet for hardware to insert it
    tagged=$(grown r1.10 ${s}_packets 3)
    check "packets of r1, $s" agrees r1 ${s}_packets 1000
    check "bytes of r1, $s" agrees r1 ${s}_bytes 100000 $((4 * tagged))
    check "packets of r1.10, $s" agrees r1.10 ${s}_packets 30
    # the device counts handshakes too
    check "packets of wg0, $s" [ "$(grown wg0 ${s}_packets 3)" -eq 30 ]
    check "bytes of wg0, $s" [ "$(grown wg0 ${s}_bytes 3)" -eq $((30 * 928)) ]
done
# on the way in, a VLAN device counts without the Ethernet header
check 'bytes of r1.10, rx' agrees r1.10 rx_bytes 15000 $((14 * $(grown r1.10 rx_packets 3)))
check 'bytes of r1.10, tx' agrees r1.10 tx_bytes 15000
for i in r0 r1 r2 r3 'r1\.10' wg0; do
    check "hook of $i is $expected_attach" series "^rfm_interface_info.ifname=\"$i\".*attach=\"$expected_attach\""
done
check 'the VRF is told as master' series '^rfm_interface_info.ifname="r2".*master="red"'
check 'WireGuard is told as kind' series '^rfm_interface_info.ifname="wg0".*kind="wireguard"'
check 'flows carry the VLAN below' series '^rfm_flow_packets_total.ifname="r1",direction="egress",proto="1",.*vlan="10"'
check 'flows carry local networks' series '^rfm_flow_packets_total.ifname="r1",direction="egress",proto="1",.*src_net="lab",dst_net="lab"'
check 'flows carry the AS of a route' series '^rfm_flow_packets_total.ifname="r1",direction="egress",proto="1",dst_asn="64999"'
check 'flows of a VRF carry none of the global table' no_global_label
check 'flows of a VRF are there' labelled ''
case $expected_cache in
yes) check 'with a flow cache' has_cache ;;
no) check 'without a flow cache, and says so' has_no_cache ;;
esac
case $expected_types in
yes) check 'the kernel has types' typed_is_logged ;;
no)
    check 'the kernel has no types' has_no_types
    check 'the log says so, and what is missing' untyped_is_logged
    ;;
esac
case $expected_realtime in
yes) check 'the log says that the kernel is preemptible' realtime_is_logged ;;
no) check 'nothing is said of PREEMPT_RT' no_realtime_is_logged ;;
esac
check 'the log has no error' no_error_is_logged
say "memory: $(awk '/^Vm(HWM|RSS):/ { printf "%s %d kB ", $1, $2 }' /proc/$rfm/status)"

kill -TERM $rfm
wait $rfm
check 'a clean end' [ $? -eq 0 ]
check 'nothing is left' no_program

printf '[agent.firewall]\nenabled = true\ninterfaces = ["r0"]\n' >>rfm.toml
case $expected_firewall in
yes)
    start_rfm
    check 'echoes pass a firewall without rules' echoes n0 10.1.1.2 500
    check 'a rule is taken' firewall add --src 10.1.0.2 --proto icmp
    check 'the rule drops' echoes_are_dropped n0 10.1.1.2
    check 'and counts what it drops' until_true 5 dropped_series
    check 'the driver drops' series '^rfm_firewall_interfaces.mode="native". 1'
    check 'TCP passes' stream 10.1.1.2
    check 'the rules are flushed' firewall flush
    check 'a limit per source is taken' firewall add --proto icmp --action limit --rate 1 --per source
    check 'the limit passes some' echoes_are_limited n0 10.1.1.2
    check 'the limit is flushed' firewall flush
    check 'echoes pass again' echoes n0 10.1.1.2 500
    kill -TERM $rfm
    wait $rfm
    check 'nothing of the firewall is left' no_program
    check 'no packet passes behind VLAN devices, tags or labels' nothing_passes
    [ "$expected_types" = no ] || check 'random rules match as the standards require' rules_match random_rules_match
    check 'random rules match by the programs without types' rules_match programs_without_types_match
    ;;
no)
    ./rfm --config rfm.toml >rfm.log 2>&1
    check 'the firewall is refused, and says what it needs' grep -q 'for which Linux 5.18 is needed' rfm.log
    ;;
esac
sed -i '/^.agent.firewall/,$d' rfm.toml

printf '[agent.enrich.rib.vrf]\nred = "65000:100"\n' >>rfm.toml
start_rfm
check 'a router tells its routes again' tell_routes
check 'echoes through a VRF that is named' echoes n2 10.1.3.2 700
check 'flows of a VRF that is named carry the AS of its route' until_true 5 labelled 64998
kill -KILL $rfm
wait $rfm 2>/dev/null
if [ "$expected_attach" = tcx ]; then
    check 'nothing outlives SIGKILL' until_true 5 no_program
else
    check 'packets pass after SIGKILL' echoes n0 10.1.1.2 100
    ./rfm --detach
    check 'rfm --detach removes the filters' no_filter
    check 'nothing is left after SIGKILL and --detach' until_true 5 no_program
fi
[ $failures -eq 0 ] || { say "$failures checks failed; the log ends:" && grep -v libbpf rfm.log | tail -n 20; }
[ $failures -eq 0 ]
