#!/usr/bin/env bash
# Boots a Debian kernel in QEMU, runs a script as root inside, and ends with its exit status.
#
#   tests/guest/boot.sh KERNEL ROOT PAYLOAD [MODULE ...]
#
# KERNEL   folder made by scripts/kernel.sh
# ROOT     tar of a root file system, made by scripts/root.sh; where it has systemd, that is process 1
# PAYLOAD  folder that the guest finds as /payload; its run.sh is what is run
# MODULE   kernel modules that are loaded before, with those they need
#
# The console goes to standard output. The guest has no network and forgets everything. It runs under KVM if that works
# here; otherwise it is emulated, and takes a minute to boot. GUEST_ACCEL=tcg emulates it in any case, for hosts whose
# KVM fails later. GUEST_ARCH is amd64 (without it) or arm64. GUEST_MEMORY (MiB), GUEST_CPUS and GUEST_TIMEOUT (seconds) say how much it may take.
# SPDX-License-Identifier: AGPL-3.0-only
set -euo pipefail

[ $# -ge 3 ] || { sed -n '2,14s/^# \?//p' "$0" >&2; exit 2; }
kernel=$1 root=$2 payload=$3
shift 3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# What is wanted of the modules: all of them are as large as the rest of the guest.
copy_modules() {
    local to=$work/root/lib/modules/$version name file
    mkdir -p "$to" "$work/all/lib/modules"
    ln -s "$modules" "$work/all/lib/modules/$version"
    depmod -b "$work/all" "$version"
    # old kernels have no modules.builtin.modinfo, new ones no modules.order
    for file in "$modules"/modules.{builtin*,order}; do
        [ ! -e "$file" ] || cp "$file" "$to"
    done
    for name in "$@"; do
        modprobe -d "$work/all" -S "$version" --show-depends "$name" |
            sed -n 's/^insmod \([^ ]*\).*/\1/p'
    done | sort -u | while read -r file; do
        install -D -m 644 "$file" "$to/${file#*"/$version/"}"
    done
    depmod -b "$work/root" "$version"
}

# Process 1 of a guest without systemd.
write_init() {
    cat >"$work/root/init" <<'INIT'
#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
mount -t tmpfs run /run
mount -t cgroup2 cgroup /sys/fs/cgroup
mount -t bpf bpf /sys/fs/bpf
exec /payload/.start
INIT
    chmod 755 "$work/root/init"
}

# With systemd, the script is a service that runs when all else does.
write_service() {
    local units=$work/root/etc/systemd/system
    mkdir -p "$units/multi-user.target.wants"
    cat >"$units/payload.service" <<'UNIT'
[Unit]
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/payload/.start
UNIT
    ln -s ../payload.service "$units/multi-user.target.wants/payload.service"
    # nobody is asked anything, and nobody logs in
    echo 00000000000000000000000000000001 >"$work/root/etc/machine-id"
    ln -sf /dev/null "$units/systemd-firstboot.service"
    ln -sf /dev/null "$units/serial-getty@$console.service"
    ln -sf ../lib/systemd/systemd "$work/root/init"
}

# What the guest runs when it is up.
write_start() {
    cat >"$work/root/payload/.start" <<START
#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
exec >/dev/$console 2>&1
for module in $*; do modprobe \$module; done
ip link set lo up
sh /payload/run.sh
echo "guest: status \$?"
echo o >/proc/sysrq-trigger
sleep 60
START
    chmod 755 "$work/root/payload/.start"
}

# /dev/kvm may be there and not work: it is tried, by a shell that keeps to itself how that ends.
accelerator() {
    if [ "${GUEST_ACCEL:-kvm}" = kvm ] && bash -c 'timeout 5 "$@" -accel kvm -cpu max -nodefaults -nographic \
        -S -monitor stdio <<<quit' - "${qemu[@]}" >/dev/null 2>&1; then
        echo kvm
    else
        echo tcg,thread=multi
    fi
}

case ${GUEST_ARCH:-amd64} in
amd64) qemu=(qemu-system-x86_64 -machine q35) emulated=max console=ttyS0 options='no_timer_check' ;;
# signatures of pointers cost an emulator most of its time
arm64) qemu=(qemu-system-aarch64 -machine 'virt,gic-version=max') emulated=max,pauth-impdef=on console=ttyAMA0 options= ;;
*) echo "boot: GUEST_ARCH is amd64 or arm64" >&2 && exit 2 ;;
esac
image=$(find "$kernel" -name 'vmlinuz-*' -print -quit)
version=${image##*/vmlinuz-}
modules=$(find "$kernel" -type d -path "*/lib/modules/$version" -print -quit)

mkdir -p "$work/root"
tar -C "$work/root" -xf "$root" --exclude='./dev/*'
mkdir "$work/root/payload"
cp -r "$payload/." "$work/root/payload"
copy_modules "$@"
write_start "$@"
if [ -e "$work/root/usr/lib/systemd/systemd" ]; then write_service; else write_init; fi
(cd "$work/root" && find . -print0 | cpio --null -o -H newc --quiet | gzip -1) >"$work/initrd"

accelerator=$(accelerator) cpu=max
[ "$accelerator" = kvm ] || cpu=$emulated
timeout "${GUEST_TIMEOUT:-600}" "${qemu[@]}" -accel "$accelerator" -cpu "$cpu" \
    -smp "${GUEST_CPUS:-1}" -m "${GUEST_MEMORY:-2048}" -nodefaults -nographic -no-reboot -serial stdio \
    -kernel "$image" -initrd "$work/initrd" \
    -append "console=$console quiet panic=-1 mitigations=off $options rdinit=/init systemd.show_status=false" \
    </dev/null | stdbuf -oL tr -d '\r' | tee "$work/console" || true
status=$(sed -n 's/.*guest: status \([0-9]*\)$/\1/p' "$work/console" | tail -n 1)
[ -n "$status" ] || echo "guest: it ended without a status" >&2
exit "${status:-1}"
