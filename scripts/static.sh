#!/usr/bin/env bash
# Makes one static file of this commit, and the archive to install it from, in target/package/. Prints the paths of the
# archive, its checksum and, in the last line, the file.
#
#   scripts/static.sh [ARCH]      amd64, arm64 or riscv64; that of this machine unless named
#
# The same commit makes the same bytes.
# SPDX-License-Identifier: AGPL-3.0-only
set -euo pipefail
cd "$(dirname "$0")/.."

# shellcheck source=scripts/arch.sh
. scripts/arch.sh

arch=${1:-$(machine_arch)}
read -r version _ < <(scripts/version.sh) || true
name=rfm-$version-linux-$arch
out=$PWD/target/package
tree=$out/static/$name
umask 022
export LC_ALL=C TZ=UTC
# the commit's time is everything's time; outside git that of the changelog
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || stat -c %Y CHANGELOG.md)}

binary=$(scripts/dist.sh --static "$arch")
rm -rf "$out/static"
mkdir -p "$tree/licenses"
install -m 755 "$binary" "$tree/rfm"
install -m 644 config/rfm.toml config/rfm.service packaging/guard/rfm-guard-events.service "$tree"
install -m 755 packaging/static/rfm.openrc packaging/static/rfm.procd packaging/databases/rfm-update-databases "$tree"
for page in docs/man/*.[1-8]; do install -D -m 644 "$page" "$tree/man/${page##*/}"; done
install -m 644 LICENSE "$tree/licenses/LICENSE"
install -m 644 src/bpf/LICENSE "$tree/licenses/LICENSE.GPL-2.0"
scripts/notices.sh --static >"$tree/licenses/third-party"
chmod 644 "$tree/licenses/third-party"
tar -C "$out/static" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" --format=ustar \
    -c "$name" | gzip -9n >"$out/$name.tar.gz"
(cd "$out" && sha256sum "$name.tar.gz" >"$name.tar.gz.sha256")
rm -r "$out/static"
echo "$out/$name.tar.gz"
echo "$out/$name.tar.gz.sha256"
echo "$PWD/$binary"
