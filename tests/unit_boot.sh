#!/usr/bin/env bash
# Boots a Debian kernel with systemd in QEMU, and runs the shipped unit there (tests/guest/unit.sh): plain, and with a
# certificate whose key only a group may read.
#
#   tests/unit_boot.sh PROGRAM
# SPDX-License-Identifier: AGPL-3.0-only
set -euo pipefail
cd "$(dirname "$0")/.."

program=${1:?usage: tests/unit_boot.sh PROGRAM}
payload=$(mktemp -d)
trap 'rm -rf "$payload"' EXIT
install -m 755 "$program" "$payload/rfm"
strip "$payload/rfm"
install -m 644 config/rfm.toml config/rfm.service "$payload"
install -m 755 tests/guest/unit.sh "$payload/run.sh"
for name in first renewed; do
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=router \
        -addext subjectAltName=IP:::1 -keyout "$payload/$name.key" -out "$payload/$name.crt" 2>/dev/null
done

kernel=$(scripts/kernel.sh linux-image-6.12-cloud-amd64)
root=$(scripts/root.sh systemd systemd systemd-sysv dbus iproute2 procps kmod passwd curl libelf1 zlib1g iputils-ping)
tests/guest/boot.sh "$kernel" "$root" "$payload" veth dummy
