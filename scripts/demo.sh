#!/usr/bin/env bash
# A router between two networks, all in namespaces of this machine, with live traffic through it and rfm in it:
#
#     lan ── 198.51.100.0/24, 2001:db8:1::/64 ──> router <── 203.0.113.0/24, 2001:db8:2::/64 ── wan
#
# Prints what rfm says every few seconds and leaves nothing behind, however it ends.
#
#   scripts/demo.sh [SECONDS]     how long (30)
#
# SPDX-License-Identifier: AGPL-3.0-only
set -euo pipefail
cd "$(dirname "$0")/.."

duration=${1:-30}
every=3
rfm=$PWD/target/release/rfm
lan=rfm-demo-lan-$$
router=rfm-demo-router-$$
wan=rfm-demo-wan-$$
work=$(mktemp -d)
children=()
traffic=()

say() { printf 'demo: %s\n' "$*"; }
die() {
    say "$@" >&2
    exit 1
}

# end PID ...: asks, waits, and insists.
end() {
    kill "$@" 2>/dev/null || true
    for _ in $(seq 30); do
        kill -0 "$@" 2>/dev/null || return 0
        sleep 0.1
    done
    kill -KILL "$@" 2>/dev/null || true
}

clean_up() {
    local name
    trap '' INT TERM HUP
    end "${children[@]}" "${traffic[@]}"
    # A namespace takes its veth pairs, and their BPF programs, with it.
    for name in "$lan" "$router" "$wan"; do ip netns del "$name" 2>/dev/null || true; done
    rm -rf "$work"
}

# start NAMESPACE COMMAND ...: traffic in the background, to be ended. `ip netns exec` replaces itself by the
# command, so that the process is the child.
start() {
    ip netns exec "$@" >>"$work/traffic.log" 2>&1 &
    traffic+=($!)
}

# join NAMESPACE NAME V4 V6: a veth pair between a namespace and the router, where it is called NAME.
join() {
    local ns=$1 name=$2 v4=$3 v6=$4
    ip link add name eth0 netns "$ns" type veth peer name "$name" netns "$router"
    ip -n "$router" addr add "$v4.1/24" dev "$name"
    ip -n "$router" addr add "$v6::1/64" dev "$name" nodad
    ip -n "$router" link set "$name" up
    ip -n "$ns" addr add "$v4.2/24" dev eth0
    ip -n "$ns" addr add "$v6::2/64" dev eth0 nodad
    ip -n "$ns" link set eth0 up
    ip -n "$ns" route add default via "$v4.1"
    ip -n "$ns" route add default via "$v6::1"
}

build_network() {
    local ns
    for ns in "$lan" "$router" "$wan"; do
        ip netns add "$ns"
        ip -n "$ns" link set lo up
    done
    join "$lan" lan 198.51.100 2001:db8:1
    join "$wan" wan 203.0.113 2001:db8:2
    ip netns exec "$router" sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding'
}

start_rfm() {
    cat >"$work/rfm.toml" <<-EOF
	[agent]
	interfaces = ["lan", "wan"]

	[agent.bpf]
	sample_rate = 1
	EOF
    ip netns exec "$router" "$rfm" --config "$work/rfm.toml" >"$work/rfm.log" 2>&1 &
    children+=($!)
    for _ in $(seq 50); do
        healthy && return
        kill -0 $! 2>/dev/null || break
        sleep 0.1
    done
    cat "$work/rfm.log" >&2
    die "rfm did not come up; its log is above"
}

ask() { ip netns exec "$router" curl -sfg --max-time 3 "http://[::1]:9669/$1"; }
healthy() { ask healthz >/dev/null; }

# TCP both ways, UDP and echo requests, each over IPv4 and IPv6, slow enough for a small machine.
start_traffic() {
    local port
    for port in 5201 5202 5203 5204; do start "$wan" iperf3 --server --port $port; done
    sleep 0.5
    start "$lan" iperf3 --client 203.0.113.2 --port 5201 --time 0 --bitrate 80M
    start "$lan" iperf3 --client 2001:db8:2::2 --port 5202 --time 0 --bitrate 40M --reverse
    start "$lan" iperf3 --client 203.0.113.2 --port 5203 --time 0 --bitrate 5M --udp --length 1200
    start "$lan" iperf3 --client 2001:db8:2::2 --port 5204 --time 0 --bitrate 2M --udp --length 200
    start "$lan" ping -q -i 0.2 203.0.113.2
    start "$lan" ping -q -i 0.2 2001:db8:2::2
}

# tables EARLIER LATER: rates between two scrapes, totals of the later, and flows held against counters. Non-zero
# while they differ.
tables() {
    awk -v seconds=$every '
        function label(name,   rest) {
            if (!match($0, "[{,]" name "=\"")) return ""
            rest = substr($0, RSTART + RLENGTH)
            return substr(rest, 1, index(rest, "\"") - 1)
        }
        function protocol(n) {
            return n == 1 ? "ICMP" : n == 6 ? "TCP" : n == 17 ? "UDP" : n == 58 ? "ICMPv6" : "protocol " n
        }
        function heading(what) {
            printf "  %-20s %14s %14s %14s %14s\n", what, "lan in", "lan out", "wan in", "wan out"
        }
        function row(what, format, key,   i) {
            printf "  %-20s", "  " what
            for (i = 1; i <= 4; i++) printf " %14s", sprintf(format, value[key, hook[i]])
            print ""
        }
        BEGIN { split("lan/in lan/out wan/in wan/out", hook, " ") }
        /^rfm_interface_[rt]x_(bytes|packets)_total[{]/ {
            split($1, part, "_")
            at = label("ifname") "/" (part[3] == "rx" ? "in" : "out")
            family = label("family")
            if (NR == FNR) { if (part[4] == "bytes") value[family " rate", at] -= $NF; next }
            if (part[4] == "packets") { value["packets", at] += $NF; next }
            value["bytes", at] += $NF
            value[family " rate", at] += $NF
            if (family != "other") value["left", at] += $NF
        }
        NR == FNR { next }
        /^rfm_flow_bytes_total[{]/ {
            at = label("ifname") "/" (label("direction") == "ingress" ? "in" : "out")
            number = label("proto") + 0
            met[number]
            value["protocol " number, at] += $NF
            value["flows", at] += $NF
            value["left", at] -= $NF
        }
        /^(rfm_collector|process)_/ { own[$1] = $NF }
        END {
            for (i = 1; i <= 4; i++) {
                for (family = 4; family <= 6; family += 2) value["ipv" family " rate", hook[i]] *= 8 / seconds / 1e6
                if (value["left", hook[i]] != 0) differ = 1
            }
            heading("interface counters")
            row("IPv4 Mbit/s", "%.2f", "ipv4 rate")
            row("IPv6 Mbit/s", "%.2f", "ipv6 rate")
            row("packets", "%d", "packets")
            row("bytes", "%d", "bytes")
            print ""
            heading("flows, in bytes")
            for (number = 0; number < 256; number++)
                if (number in met) row(protocol(number), "%d", "protocol " number)
            row("together", "%d", "flows")
            row("not yet in a flow", "%d", "left")
            printf "\n  %d flows alive, %d packets lost, %.1f MB of memory, %.2f s of CPU time\n",
                own["rfm_collector_active_flows"], own["rfm_collector_dropped_packets_total"],
                own["process_resident_memory_bytes"] / 1e6, own["process_cpu_seconds_total"]
            exit differ
        }' "$1" "$2"
}

show() {
    local now=0
    ask metrics >"$work/earlier" || die "rfm does not answer"
    while [ $now -lt "$duration" ]; do
        sleep $every
        now=$((now + every))
        ask metrics >"$work/later" || die "rfm does not answer"
        [ ! -t 1 ] || printf '\033[H\033[2J'
        printf '\nrfm in the router, after %d s of %d (every packet sampled; Ctrl-C ends it)\n\n' $now "$duration"
        tables "$work/earlier" "$work/later" || true
        mv "$work/later" "$work/earlier"
    done
}

# What is in the flow cache arrives within about a second: then flows and counters are the same to the byte.
settle() {
    local tries=0
    end "${traffic[@]}"
    printf '\nThe traffic has ended.\n\n'
    until ask metrics >"$work/later" && tables "$work/earlier" "$work/later" >"$work/tables"; do
        tries=$((tries + 1))
        if [ $tries -ge 10 ]; then
            cat "$work/tables"
            die "flows and interface counters differ"
        fi
        sleep 0.5
    done
    tail -n +7 "$work/tables"
    printf '\nEvery byte of IPv4 and IPv6 that the interfaces counted is in a flow.\n\n'
}

[ "$(id -u)" = 0 ] || die "needs root: it makes network namespaces and loads BPF programs"
[ -x "$rfm" ] || die "no $rfm: run make demo, which builds it"
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
say "building the namespaces lan, router and wan, and the traffic between them"
build_network
start_rfm
start_traffic
show
settle
say "on a real router, rfm also names the networks, with databases from: packaging/databases/rfm-update-databases"
say "done; taking the namespaces down"
