#!/usr/bin/env bash
# Builds Debian's Linux VERSION with few options and without type information (CONFIG_DEBUG_INFO_BTF), to be booted by
# tests/guest/boot.sh, and prints its folder.
#
#   tests/guest/kernel-no-btf.sh VERSION      6.1 or 6.12: what apt knows as linux-source-VERSION
#
# The folder is below .cache, and is made again if the options (no-btf.config), the source or the compiler change. That
# takes some minutes of CPU time and 2 GB below target, which are freed.
# SPDX-License-Identifier: AGPL-3.0-only
set -euo pipefail
cd "$(dirname "$0")/../.."

wanted=${1:?usage: tests/guest/kernel-no-btf.sh VERSION}
options=$PWD/tests/guest/no-btf.config
package=linux-source-$wanted

say() { printf 'kernel-no-btf: %s\n' "$*" >&2; }
die() {
    say "$*"
    exit 1
}

source_version=$(LC_ALL=C apt-cache policy "$package" | sed -n 's/^ *Candidate: *//p')
case $source_version in '' | '(none)') die "apt on this machine has no $package" ;; esac
hash=$({ cat "$options" && echo "$source_version" && gcc --version; } | sha256sum | cut -c1-12)
folder=$PWD/.cache/kernels/no-btf-$wanted-$hash
[ ! -e "$folder/done" ] || { echo "$folder" && exit; }

mkdir -p target/guest .cache/kernels
work=$(mktemp -d "$PWD/target/guest/no-btf.XXXXXX")
trap 'rm -rf "$work"' EXIT
say "building Linux $source_version without type information (some minutes)"
(cd "$work" && apt-get -q=2 -o APT::Sandbox::User=root download "$package" >&2) || die "cannot fetch $package"
dpkg-deb -x "$work/$package"_*.deb "$work"
tar -C "$work" -xf "$work/usr/src/$package.tar.xz"
rm -r "${work:?}"/{usr,"$package"_*.deb}
tree=$work/$package
build() { make -s -C "$tree" LOCALVERSION=-no-btf "$@" >>"$work/log" 2>&1 || { tail -n 30 "$work/log" >&2 && die "make $* failed"; }; }
build KCONFIG_ALLCONFIG="$options" allnoconfig
# an option that another one forbids, or that this version lacks, is left out silently
missing=$(grep '^CONFIG_' "$options" | grep -vxFf "$tree/.config" || true)
[ -z "$missing" ] || die "Linux $wanted does not take $(paste -sd ' ' <<<"$missing")"
! grep -q '^CONFIG_DEBUG_INFO_BTF=y' "$tree/.config" || die "the kernel has type information"
build -j "$(nproc)" bzImage
release=$(make -s -C "$tree" LOCALVERSION=-no-btf kernelrelease)
rm -rf "$folder"
mkdir -p "$folder/boot"
build -j "$(nproc)" modules
build INSTALL_MOD_PATH="$folder" modules_install
rm -f "$folder/lib/modules/$release"/{build,source}
cp "$tree/arch/x86/boot/bzImage" "$folder/boot/vmlinuz-$release"
cp "$tree/.config" "$folder/boot/config-$release"
touch "$folder/done"
echo "$folder"
