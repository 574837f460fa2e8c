#!/usr/bin/env bash
# Boots a kernel in QEMU, runs a script as root inside, and ends with its exit status.
#
#   scripts/guest.sh KERNEL ROOT PAYLOAD [MODULE ...]
#
# KERNEL   folder made by scripts/kernel.sh
# ROOT     tar of a root file system (scripts/root.sh); where it has systemd, that is process 1
# PAYLOAD  folder that the guest finds as /payload; its run.sh is what is run
# MODULE   kernel modules that are loaded before, with those they need
#
# The console goes to standard output. The guest has no network and forgets everything; without
# /dev/kvm it is emulated, some ten times slower. GUEST_MEMORY (MiB) and GUEST_TIMEOUT (seconds) say how
# much it may take.
# SPDX-License-Identifier: AGPL-3.0-only
set -euo pipefail

[ $# -ge 3 ] || { sed -n '2,13s/^# \?//p' "$0" >&2; exit 2; }
kernel=$1 root=$2 payload=$3
shift 3

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
image=$(find "$kernel" -name 'vmlinuz-*' -print -quit)
modules=$(find "$kernel" -type d -path '*/lib/modules/*' -prune -print -quit)
version=${image##*/vmlinuz-}

# What is wanted of the modules: all of them are as large as the rest of the guest.
copy_modules() {
    local to=$work/root/usr/lib/modules/$version name file
    mkdir -p "$to"
    cp "$modules"/modules.{builtin,order,builtin.modinfo} "$to" 2>/dev/null || true
    depmod -b "$work/depmod" "$version" 2>/dev/null || true
    for name in "$@"; do
        modprobe -d "$work/depmod" -S "$version" --show-depends "$name" |
            sed -n 's/^insmod \([^ ]*\).*/\1/p'
    done | sort -u | while read -r file; do
        install -D -m 644 "$file" "$to/${file#*"/$version/"}"
    done
    depmod -b "$work/root/usr" "$version" 2>/dev/null || depmod -b "$work/root" "$version"
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
StandardOutput=tty
StandardError=tty
TTYPath=/dev/console
UNIT
    ln -s ../payload.service "$units/multi-user.target.wants/payload.service"
    # nobody is asked anything, and nobody logs in
    echo 00000000000000000000000000000001 >"$work/root/etc/machine-id"
    ln -sf /dev/null "$units/systemd-firstboot.service"
    ln -sf /dev/null "$units/serial-getty@ttyS0.service"
    ln -sf ../lib/systemd/systemd "$work/root/init"
}

mkdir -p "$work/root/payload" "$work/depmod/lib/modules"
tar -C "$work/root" -xf "$root" --exclude='./dev/*'
ln -s "$modules" "$work/depmod/lib/modules/$version"
cp -r "$payload/." "$work/root/payload"
cat >"$work/root/payload/.start" <<START
#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
for module in $*; do modprobe \$module; done
ip link set lo up
sh /payload/run.sh
echo "guest: status \$?"
sync
echo o >/proc/sysrq-trigger
sleep 60
START
chmod 755 "$work/root/payload/.start"
copy_modules "$@"
if [ -e "$work/root/lib/systemd/systemd" ]; then write_service; else write_init; fi
(cd "$work/root" && find . -print0 | cpio --null -o -H newc --quiet | gzip -1) >"$work/initrd"

accelerator=tcg,thread=multi
# It may be there and not work: it is tried, by a shell that keeps to itself how that ends.
if bash -c 'timeout 5 qemu-system-x86_64 -machine q35 -accel kvm -cpu max -nodefaults -nographic -S \
    -monitor stdio <<<quit' >/dev/null 2>&1; then
    accelerator=kvm
fi
timeout "${GUEST_TIMEOUT:-300}" qemu-system-x86_64 -machine q35 -accel "$accelerator" -cpu max -smp 2 \
    -m "${GUEST_MEMORY:-2048}" -nodefaults -nographic -no-reboot -serial stdio \
    -kernel "$image" -initrd "$work/initrd" \
    -append "console=ttyS0 quiet panic=-1 mitigations=off rdinit=/init systemd.show_status=${GUEST_STATUS:-false}" \
    </dev/null | tr -d '\r' | tee "$work/console" || true
status=$(sed -n 's/.*guest: status \([0-9]*\)$/\1/p' "$work/console" | tail -n 1)
[ -n "$status" ] || echo "guest: it ended without a status" >&2
exit "${status:-1}"
