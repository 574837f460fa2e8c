#!/usr/bin/env bash
# Boots a Debian kernel with systemd in QEMU, runs a script as root inside, and ends with its exit status.
#
#   tests/guest/boot.sh PACKAGE PAYLOAD [MODULE ...]
#
# PACKAGE  of the kernel, as apt knows it: linux-image-6.12-cloud-amd64, or one that it depends on
# PAYLOAD  folder that the guest finds as /payload; its run.sh is what is run
# MODULE   kernel modules that are loaded before, with those they need
#
# The console goes to standard output. The guest has no network and forgets everything. Without /dev/kvm it is
# emulated, and takes a minute to boot. GUEST_MEMORY (MiB), GUEST_CPUS and GUEST_TIMEOUT (seconds) say how much it
# may take. Kernel and root file system are kept below target/guest.
# SPDX-License-Identifier: AGPL-3.0-only
set -euo pipefail
cd "$(dirname "$0")/../.."

[ $# -ge 2 ] || { sed -n '2,10s/^# \?//p' "$0" >&2; exit 2; }
package=$1 payload=$2
shift 2
kept=$PWD/target/guest
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The package with the kernel itself, where the one asked for only names the newest.
kernel_package() {
    local real
    real=$(apt-cache depends --no-recommends --no-suggests "$1" |
        sed -n 's/^ *Depends: \(linux-image-[^ ]*\)$/\1/p')
    echo "${real:-$1}"
}

# Unpacks a kernel with its modules, and prints its folder.
kernel() {
    local folder=$kept/$1
    if [ ! -e "$folder/done" ]; then
        rm -rf "$folder"
        mkdir -p "$folder/deb"
        (cd "$folder/deb" && apt-get -q=2 -o APT::Sandbox::User=root download "$1" >&2)
        dpkg -x "$folder"/deb/*.deb "$folder"
        rm -r "$folder/deb"
        touch "$folder/done"
    fi
    echo "$folder"
}

# Makes a Debian of this machine's release, as small as can be, and prints its file. With another list of
# packages than before it is made anew.
root_file_system() {
    local file=$kept/root.tar suite list
    # shellcheck source=/dev/null
    suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
    list="$suite systemd,systemd-sysv,dbus,iproute2,procps,kmod,curl,libelf1,zlib1g"
    if [ "$(cat "$file.list" 2>/dev/null)" != "$list" ]; then
        mkdir -p "$kept"
        mmdebstrap --quiet --variant=minbase --include="${list#* }" \
            --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
            --dpkgopt='path-exclude=/usr/share/locale/*' "$suite" "$file" >&2
        echo "$list" >"$file.list"
    fi
    echo "$file"
}

# What is wanted of the modules: all of them are as large as the rest of the guest.
copy_modules() {
    local to=$work/root/lib/modules/$version name file
    mkdir -p "$to" "$work/all/lib/modules"
    ln -s "$modules" "$work/all/lib/modules/$version"
    depmod -b "$work/all" "$version"
    cp "$modules"/modules.{builtin,builtin.modinfo,order} "$to"
    for name in "$@"; do
        modprobe -d "$work/all" -S "$version" --show-depends "$name" |
            sed -n 's/^insmod \([^ ]*\).*/\1/p'
    done | sort -u | while read -r file; do
        install -D -m 644 "$file" "$to/${file#*"/$version/"}"
    done
    depmod -b "$work/root" "$version"
}

# The script is a service that runs when all else does.
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
    cat >"$work/root/payload/.start" <<START
#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
exec >/dev/ttyS0 2>&1
for module in $*; do modprobe \$module; done
ip link set lo up
sh /payload/run.sh
echo "guest: status \$?"
echo o >/proc/sysrq-trigger
sleep 60
START
    chmod 755 "$work/root/payload/.start"
    ln -s ../payload.service "$units/multi-user.target.wants/payload.service"
    # nobody is asked anything, and nobody logs in
    echo 00000000000000000000000000000001 >"$work/root/etc/machine-id"
    ln -sf /dev/null "$units/systemd-firstboot.service"
    ln -sf /dev/null "$units/serial-getty@ttyS0.service"
    ln -sf ../lib/systemd/systemd "$work/root/init"
}

# /dev/kvm may be there and not work: it is tried, by a shell that keeps to itself how that ends.
accelerator() {
    if bash -c 'timeout 5 qemu-system-x86_64 -machine q35 -accel kvm -cpu max -nodefaults -nographic \
        -S -monitor stdio <<<quit' >/dev/null 2>&1; then
        echo kvm
    else
        echo tcg,thread=multi
    fi
}

folder=$(kernel "$(kernel_package "$package")")
image=$(find "$folder" -name 'vmlinuz-*' -print -quit)
version=${image##*/vmlinuz-}
modules=$(find "$folder" -type d -path "*/lib/modules/$version" -print -quit)

mkdir -p "$work/root"
tar -C "$work/root" -xf "$(root_file_system)" --exclude='./dev/*'
mkdir "$work/root/payload"
cp -r "$payload/." "$work/root/payload"
copy_modules "$@"
write_service "$@"
(cd "$work/root" && find . -print0 | cpio --null -o -H newc --quiet | gzip -1) >"$work/initrd"

timeout "${GUEST_TIMEOUT:-600}" qemu-system-x86_64 -machine q35 -accel "$(accelerator)" -cpu max \
    -smp "${GUEST_CPUS:-1}" -m "${GUEST_MEMORY:-2048}" -nodefaults -nographic -no-reboot -serial stdio \
    -kernel "$image" -initrd "$work/initrd" \
    -append "console=ttyS0 quiet panic=-1 mitigations=off no_timer_check rdinit=/init systemd.show_status=false" \
    </dev/null | stdbuf -oL tr -d '\r' | tee "$work/console" || true
status=$(sed -n 's/.*guest: status \([0-9]*\)$/\1/p' "$work/console" | tail -n 1)
[ -n "$status" ] || echo "guest: it ended without a status" >&2
exit "${status:-1}"
