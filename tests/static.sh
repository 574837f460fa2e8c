#!/usr/bin/env bash
# Makes the static file and runs it in root file systems with little or something older in them: nothing at all, a
# busybox with musl, Debian 11 with modules of NSS, and OpenRC. In each it monitors an interface, finds its IPFIX
# collector by name, and ends cleanly.
#
#   tests/static.sh [ARCH]      of another architecture than this machine's, the file is only looked at
#
# SPDX-License-Identifier: AGPL-3.0-only
set -euo pipefail
cd "$(dirname "$0")/.."

# shellcheck source=scripts/arch.sh
. scripts/arch.sh

arch=${1:-$(machine_arch)}
declare -A machines=([amd64]=X86-64 [arm64]=AArch64 [riscv64]=RISC-V)
declare -A bars=([amd64]=10000000 [arm64]=10000000 [riscv64]=10000000)
label=static
work=$(mktemp -d /var/tmp/rfm-static.XXXXXX)
here=rfm-static-$$ there=$here-peer
processes=()
cleanup() {
    local pid
    for pid in "${processes[@]}"; do kill "$pid" 2>/dev/null || true; done
    ip netns del "$here" 2>/dev/null || true
    ip netns del "$there" 2>/dev/null || true
    rm -rf --one-file-system "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# shellcheck source=tests/checks.sh
. tests/checks.sh

# The file needs no other one.
test_file() {
    local size
    size=$(stat -c %s "$binary")
    check "the archive has the sum beside it" sh -c "cd '$(dirname "$archive")' && sha256sum -c '$(basename "$archive").sha256'"
    check "it is of $arch" grep -q "Machine:.*${machines[$arch]}" <(readelf -h "$binary")
    check "it is position-independent" grep -q 'Type: *DYN' <(readelf -h "$binary")
    check "it has no interpreter" is "$(readelf -lW "$binary" | grep -c INTERP || true)" 0
    check "it needs no library" is "$(readelf -dW "$binary" | grep -c NEEDED || true)" 0
    check "it has $size bytes, at most ${bars[$arch]}" at_most "$size" "${bars[$arch]}"
}

# A namespace with an interface, a name server and a collector, and a namespace with the other end.
build_network() {
    ip netns add "$here"
    ip netns add "$there"
    ip netns exec "$here" sysctl -qw net.ipv6.conf.all.disable_ipv6=1
    ip netns exec "$there" sysctl -qw net.ipv6.conf.all.disable_ipv6=1
    ip link add s0 netns "$here" type veth peer name p0 netns "$there"
    ip -n "$here" addr add 10.9.0.1/24 dev s0
    ip -n "$there" addr add 10.9.0.2/24 dev p0
    ip -n "$here" link set lo up
    ip -n "$here" link set s0 up
    ip -n "$there" link set p0 up
    ip netns exec "$here" dnsmasq --keep-in-foreground --no-resolv --no-hosts --conf-file=/dev/null --pid-file= \
        --listen-address=127.0.0.1 --bind-interfaces --address=/collector.example/127.0.0.9 2>"$work/dnsmasq.log" &
    processes+=($!)
    # prints the version of each message
    ip netns exec "$here" python3 -u -c '
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("127.0.0.9", 4739))
while True:
    print(int.from_bytes(s.recv(65536)[:2], "big"), flush=True)' >"$work/messages" &
    processes+=($!)
}

# Runs a command in a root, with the kernel's file systems and nothing else mounted.
inside() {
    local root=$1
    shift
    # shellcheck disable=SC2016 # the inner shell expands it
    ip netns exec "$here" sh -c '
        mount -t proc proc "$0/proc" && mount -t sysfs sysfs "$0/sys" && exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot "$0" "$@"' "$root" "$@"
}
metric() {
    ip netns exec "$here" curl -sf http://127.0.0.1:9669/metrics |
        awk -v p="^rfm_interface_$1_packets_total.ifname=\"s0\",.*family=\"ipv4\"" '$0 ~ p { s += $NF } END { printf "%d", s }'
}
healthy() { ip netns exec "$here" curl -sf -o /dev/null http://127.0.0.1:9669/healthz; }
has_message() { grep -qx 10 "$work/messages"; }
echoes_are_counted() {
    local rx tx
    rx=$(metric rx) tx=$(metric tx)
    ip netns exec "$there" ping -q -c 20 -i 0.01 10.9.0.1
    is "$(($(metric rx) - rx)) $(($(metric tx) - tx))" "20 20"
}

# prepare ROOT: what the agent finds there
prepare() {
    mkdir -p "$1"/{proc,sys,run,etc/rfm,usr/bin}
    cp "$binary" "$1/usr/bin/rfm"
    rm -f "$1/etc/resolv.conf"
    echo 'nameserver 127.0.0.1' >"$1/etc/resolv.conf"
    cat >"$1/etc/rfm/rfm.toml" <<'TOML'
[agent]
interfaces = ["s0"]
[agent.bpf]
sample_rate = 1
[agent.prometheus]
host = "127.0.0.1"
[agent.ipfix]
host = "collector.example"
TOML
}
agent_is_there() { [ -n "$(agent)" ]; }
# watches NAME: the agent that runs does its work
watches() {
    check "$1: it starts" wait_for 60 healthy
    check "$1: it counts 20 echoes and their answers" echoes_are_counted
    check "$1: it finds the collector by name" wait_for 60 has_message
}
agent() {
    local pid
    for pid in $(ip netns pids "$here"); do
        # one that lasted a moment is gone
        [ "$(cat "/proc/$pid/comm" 2>/dev/null)" != rfm ] || echo "$pid"
    done
}
ends() {
    kill -TERM "$(agent)"
    wait "$shell"
}
# runs NAME ROOT COMMAND ...
runs() {
    local name=$1 root=$2
    shift 2
    check "$name: --version" is "$(chroot "$root" /usr/bin/rfm --version)" "$version"
    check "$name: --check" chroot "$root" /usr/bin/rfm --check
    mkdir -p "$root/run/rfm"
    : >"$work/messages"
    inside "$root" "$@" >"$work/log" 2>&1 &
    shell=$!
    check "$name: the agent runs" wait_for 20 agent_is_there
    processes+=("$(agent)")
    watches "$name"
    check "$name: it answers commands" inside "$root" /usr/bin/rfm status
    check "$name: it ends cleanly" ends
}

test_empty() {
    root=$work/empty
    mkdir "$root"
    prepare "$root"
    check "there is nothing but the file and its configuration" is "$(cd "$root" && find . -type f | sort | paste -sd' ')" \
        "./etc/resolv.conf ./etc/rfm/rfm.toml ./usr/bin/rfm"
    runs "empty root" "$root" /usr/bin/rfm
}

# Its shell runs the init script of procd, with a stand-in for OpenWrt's functions.
test_busybox() {
    local musl=target/guest/musl
    root=$work/busybox
    mkdir -p "$root"/{bin,dev} "$musl"
    prepare "$root"
    mknod -m 666 "$root/dev/null" c 1 3
    compgen -G "$musl/*.deb" >/dev/null || (cd "$musl" && apt-get -q=2 -o APT::Sandbox::User=root download musl busybox-static)
    for package in "$musl"/*.deb; do dpkg-deb -x "$package" "$root"; done
    rm -rf "${root:?}/usr/share"
    [ -e "$root/bin/busybox" ] || cp "$root/usr/bin/busybox" "$root/bin/busybox"
    for name in sh mkdir chmod; do ln -sf busybox "$root/bin/$name"; done
    check "busybox: no glibc is there" is "$(find "$root" -name 'ld-linux*' -o -name 'libc.so.6' | wc -l)" 0
    install -D -m 755 packaging/static/rfm.procd "$root/etc/init.d/rfm"
    cat >"$root/etc/rc.common" <<'RC'
script=$1 action=$2
procd_open_instance() { :; }
procd_set_param() { [ "$1" != command ] || { shift && started="$*"; }; }
procd_close_instance() { exec $started; }
. "$script"
case $action in start) start_service ;; stop) service_stopped ;; esac
RC
    runs "busybox and musl, by the script of procd" "$root" /bin/sh /etc/rc.common /etc/init.d/rfm start
    check "busybox: and the script stops" inside "$root" /bin/sh /etc/rc.common /etc/init.d/rfm stop
}

test_debian() {
    root=$work/bullseye
    mkdir "$root"
    tar -C "$root" -xf "$(scripts/root.sh --suite bullseye static-bullseye libnss-myhostname)" --exclude='./dev/*'
    prepare "$root"
    # the module of this source is one for glibc 2.31
    echo 'hosts: myhostname files dns' >"$root/etc/nsswitch.conf"
    runs "Debian 11" "$root" /usr/bin/rfm
}

test_openrc() {
    root=$work/openrc
    mkdir "$root"
    tar -C "$root" -xf "$(scripts/root.sh static-openrc openrc procps)" --exclude='./dev/*'
    mknod -m 666 "$root/dev/null" c 1 3
    prepare "$root"
    # Debian mounts by other scripts
    printf '#!/sbin/openrc-run\nstart() { :; }\n' >"$root/etc/init.d/localmount"
    chmod 755 "$root/etc/init.d/localmount"
    install -m 755 "$work/tree/rfm.openrc" "$root/etc/init.d/rfm"
    # as a boot makes them
    mkdir -p "$root"/run/openrc/{daemons,exclusive,failed,hotplugged,inactive,options,scheduled,started,starting,stopping,tmp,wasinactive}
    touch "$root/run/openrc/softlevel"
    : >"$work/messages"
    openrc() { inside "$root" rc-service rfm "$1"; }
    check "OpenRC: start" openrc start
    processes+=("$(agent)")
    watches OpenRC
    check "OpenRC: reload" openrc reload
    check "OpenRC: status" openrc status
    check "OpenRC: stop" openrc stop
    check "OpenRC: no agent is left" is "$(agent)" ""
}

made=$(scripts/static.sh "$arch")
binary=$(tail -n 1 <<<"$made")
archive=$(head -n 1 <<<"$made")
test_file
[ "$arch" = "$(machine_arch)" ] || { say "all well; $arch does not run here" && exit; }
[ "$(id -u)" = 0 ] || die "needs root: it makes namespaces"
version=$("$binary" --version)
mkdir "$work/tree"
tar -C "$work/tree" --strip-components=1 -xzf "$archive"
check "the archive has the file" cmp "$work/tree/rfm" "$binary"
build_network
test_empty
test_busybox
test_debian
test_openrc
say "all well"
