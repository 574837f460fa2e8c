#!/usr/bin/env bash
# Fetches a Debian kernel with its modules, to be booted by tests/guest/boot.sh, and prints its folder.
#
#   scripts/kernel.sh PACKAGE [SUITE]
#
# PACKAGE is what apt knows here: linux-image-6.12-cloud-amd64, or one that it depends on. With a SUITE it is what that
# suite has, by the mirror this machine uses, whose own lists stay as they are; it may then be of another architecture
# (linux-image-arm64). It is unpacked, not installed, below target/guest.
# SPDX-License-Identifier: AGPL-3.0-only
set -euo pipefail
cd "$(dirname "$0")/.."

package=${1:?usage: scripts/kernel.sh PACKAGE [SUITE]}
suite=${2:-}
arch=${package##*-}
home=$PWD/target/guest

die() {
    printf 'kernel: %s\n' "$*" >&2
    exit 1
}

mirror() {
    # shellcheck disable=SC2016 # apt expands it
    apt-get indextargets 'Created-By: Packages' 'Origin: Debian' --format '$(REPO_URI) $(COMPONENT)' |
        grep -v -- '-security/\? ' | sed -n 's/ main$//p' | head -n 1
}

# An apt of its own.
use_suite() {
    local uri apt=$home/apt-$suite-$arch
    uri=$(mirror)
    [ -n "$uri" ] || die "apt on this machine has no Debian sources"
    mkdir -p "$apt"/{lists,cache/archives}/partial
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $uri $suite main" >"$apt/sources.list"
    cat >"$apt/apt.conf" <<-CONF
	APT::Architecture "$arch";
	APT::Architectures { "$arch"; };
	Dir::State::Lists "$apt/lists";
	Dir::Cache "$apt/cache";
	Dir::Etc::SourceList "$apt/sources.list";
	Dir::Etc::SourceParts "-";
	Acquire::Languages "none";
	Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
	CONF
    export APT_CONFIG=$apt/apt.conf
    apt-get -q=2 -o APT::Sandbox::User=root update >&2 || die "the lists of $suite cannot be read"
}

kernel_parts() {
    apt-cache depends --no-recommends --no-suggests "$1" |
        sed -n 's/^ *Depends: \(linux-\(image\|binary\|modules\)-[0-9][^ ]*\)$/\1/p'
}

# The package with the kernel itself, where the one asked for only names the newest.
real_package() {
    local real
    real=$(kernel_parts "$1" | grep '^linux-image-' || true)
    echo "${real:-$1}"
}

# The kernel is looked for by its name in /boot; newer packages have it beside its modules.
copy_image() {
    local image
    image=$(find "$1" -path '*/lib/modules/*/vmlinuz' -print -quit)
    [ -n "$image" ] || return 0
    mkdir -p "$1/boot"
    cp "$image" "$1/boot/vmlinuz-$(basename "$(dirname "$image")")"
}

if [ -n "$suite" ]; then
    link=$home/$package-$suite
    [ ! -e "$link/done" ] || { readlink -f "$link" && exit; }
    use_suite
fi
real=$(real_package "$package")
folder=$home/$real
if [ ! -e "$folder/done" ]; then
    rm -rf "$folder"
    mkdir -p "$folder/deb"
    # what it needs of the kernel: newer ones come in several packages
    mapfile -t parts < <(kernel_parts "$real")
    (cd "$folder/deb" && apt-get -q=2 -o APT::Sandbox::User=root download "$real" "${parts[@]}" >&2) || die "cannot fetch $real"
    for part in "$folder"/deb/*.deb; do dpkg -x "$part" "$folder"; done
    rm -r "$folder/deb"
    copy_image "$folder"
    touch "$folder/done"
fi
[ -z "$suite" ] || ln -sfn "$real" "$link"
echo "$folder"
