#!/usr/bin/env bash
# Makes the container image of this commit as an OCI archive in target/package/, and prints its path. The same commit
# and the same program make the same image.
#
#   scripts/image.sh [PROGRAM]
#
# Without PROGRAM it builds the program of the packages. The image begins empty: it has the program with the libraries
# that it needs (a static one needs none), the configuration, the licences and an SBOM.
# SPDX-License-Identifier: AGPL-3.0-only
set -euo pipefail
cd "$(dirname "$0")/.."
umask 022
export LC_ALL=C TZ=UTC

program=${1:-}
if [ -z "$program" ]; then
    scripts/dist.sh >&2
    program=target/dist/release/rfm
fi
out=$PWD/target/package
tree=$out/image
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || stat -c %Y CHANGELOG.md)}
read -r version revision < <(scripts/version.sh) || true
# a tag has no plus sign
tag=${version//[+~]/-}
archive=$out/rfm-$tag-$(uname -m).oci.tar

# The paths of the libraries of a program, and of its interpreter; nothing for a static one.
libraries() {
    { ldd "$1" 2>/dev/null || true; } | sed -n 's/^.* => \(\/[^ ]*\) .*/\1/p; s/^\t\(\/[^ ]*\) .*/\1/p' | sort -u
}

rm -rf "$tree" "$archive" "$out/image-layout"
install -D -m 755 "$program" "$tree/usr/bin/rfm"
strip "$tree/usr/bin/rfm"
while read -r library; do
    install -D -m 755 "$(readlink -f "$library")" "$tree$library"
done < <(libraries "$program")
install -D -m 644 config/rfm.toml "$tree/etc/rfm/rfm.toml"
# names are looked up in /etc/hosts and by DNS
echo 'hosts: files dns' >"$tree/etc/nsswitch.conf"
# the working folders, as volumes or in memory
mkdir -p "$tree"/{run/rfm,var/lib/rfm,var/lib/GeoIP,var/tmp}
install -D -m 644 LICENSE "$tree/usr/share/doc/rfm/LICENSE"
install -m 644 src/bpf/LICENSE "$tree/usr/share/doc/rfm/LICENSE.GPL-2.0"
scripts/notices.sh >"$tree/usr/share/doc/rfm/third-party"
libraries "$program" | scripts/sbom.py "$version" >"$tree/usr/share/doc/rfm/sbom.cdx.json"

# the tool's own storage, so that the images of this machine stay as they are
storage=(--storage-driver vfs --root "$out/image-storage" --runroot "$out/image-run")
buildah() { command buildah "${storage[@]}" "$@"; }
container=$(buildah from scratch)
trap 'buildah rm "$container" >/dev/null; rm -rf "$out"/image-{storage,run,layout}' EXIT
buildah copy --quiet "$container" "$tree" / >/dev/null
buildah config --created-by "rfm $version" --env PATH=/usr/bin --port 9669 --entrypoint '["/usr/bin/rfm"]' \
    --label org.opencontainers.image.title=rfm \
    --label org.opencontainers.image.description="Router Flow Monitor" \
    --label org.opencontainers.image.version="$version" \
    --label org.opencontainers.image.revision="$revision" \
    --label org.opencontainers.image.licenses="AGPL-3.0-only AND GPL-2.0-only" \
    --label org.opencontainers.image.created="$(date -d "@$SOURCE_DATE_EPOCH" +%FT%TZ)" "$container"
buildah commit --quiet --format oci --disable-compression=false --timestamp "$SOURCE_DATE_EPOCH" "$container" \
    "oci:$out/image-layout:rfm:$tag" >/dev/null
# an archive of buildah's own has the time of its making
tar -C "$out/image-layout" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" \
    -cf "$archive" blobs index.json oci-layout
echo "$archive"
