#!/usr/bin/env bash
# Runs the container image with podman, as docs/containers.md has it, on a wire between two network namespaces.
#
#   tests/image.sh ARCHIVE
# SPDX-License-Identifier: AGPL-3.0-only
set -euo pipefail
cd "$(dirname "$0")/.."

archive=$(readlink -f "${1:?usage: tests/image.sh ARCHIVE}")
label=image
work=$(mktemp -d)
router=rfm-image-$$
peer=rfm-image-peer-$$
# what this machine may not raise for containers (limits, control groups) is left as it is
container=(--cap-drop all --cap-add "BPF,NET_ADMIN,PERFMON" --network host --read-only --tmpfs /run/rfm
    --volume "$work/state:/var/lib/rfm" --log-driver none --cgroups=disabled
    --ulimit nofile=4096:4096 --ulimit nproc=4096:4096)

# shellcheck source=tests/checks.sh
. tests/checks.sh

# ip netns exec mounts another /sys, without control groups
podman() {
    # shellcheck disable=SC2016 # the inner shell expands it
    ip netns exec "$router" sh -c 'mount -t cgroup2 none /sys/fs/cgroup; exec podman "$@"' podman --storage-driver vfs --root "$work/storage" --runroot "$work/run" \
        --cgroup-manager cgroupfs --events-backend none "$@"
}
finish() {
    podman rm --force --time 2 rfm >/dev/null 2>&1 || true
    ip netns del "$router" 2>/dev/null || true
    ip netns del "$peer" 2>/dev/null || true
    umount "$work"/storage/* 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT

mkdir "$work/state"
ip netns add "$router"
ip netns add "$peer"
ip -n "$router" link add wan0 type veth peer name v1 netns "$peer"
for name in lo wan0; do ip -n "$router" link set "$name" up; done
ip -n "$router" address add 192.0.2.1/24 dev wan0
ip -n "$peer" link set v1 up
ip -n "$peer" address add 192.0.2.2/24 dev v1

image=$(podman load --quiet --input "$archive" | sed 's/^Loaded image: //')
for label in title version revision licenses; do
    [ -n "$(podman image inspect --format "{{index .Labels \"org.opencontainers.image.$label\"}}" "$image")" ] ||
        die "the image has no label $label"
done

say "the default profile of this podman ($(podman --version | cut -d' ' -f3))"
if podman run --rm --name rfm "${container[@]}" "$image" --check-kernel >"$work/log" 2>&1; then
    say "it permits bpf(2)"
else
    grep -q 'a seccomp filter refuses bpf(2)' "$work/log" || die "the error does not name seccomp"
    say "it refuses bpf(2), and the error names it"
fi

say "the agent"
container+=(--security-opt seccomp=unconfined)
podman run --name rfm "${container[@]}" --env RFM_AGENT__INTERFACES='["wan0"]' \
    --env RFM_AGENT__PROMETHEUS__HOST=127.0.0.1 "$image" --set agent.bpf.sample_rate=1 >"$work/log" 2>&1 &
get() { ip netns exec "$router" curl -sf "http://127.0.0.1:9669/$1"; }
is_healthy() { get healthz >/dev/null; }
wait_for 60 is_healthy || die "not healthy after 60 s"
# podman exec needs a control group, which this machine may not have: the same client enters by nsenter
pid=$(ip netns pids "$router" | while read -r pid; do
    case $(readlink "/proc/$pid/exe") in */usr/bin/rfm) echo "$pid" ;; esac
done)
[ "$(awk '/^CapBnd:/ { print $2 }' "/proc/$pid/status")" = 000000c000001000 ] || die "it has other capabilities"
nsenter --target "$pid" --mount --root --wd /usr/bin/rfm status >"$work/status" 2>&1 || die "rfm status: $(cat "$work/status")"

received() { get metrics | sed -n 's/^rfm_interface_rx_packets_total{ifname="wan0",family="ipv4"} //p'; }
before=$(received)
ip netns exec "$peer" ping -q -i 0.01 -c 50 192.0.2.1 >/dev/null
counted() { [ $(($(received) - before)) -ge 50 ]; }
wait_for 10 counted || die "wan0 has received $(received) packets, and $before before: expected 50 more"
[ -e "$work/state/history" ] || die "there is no history in the volume"

say "the end"
podman stop --time 20 rfm >/dev/null
wait
! ip -n "$router" -d link show wan0 | grep -q xdp || die "a program is left"
say "passed"
