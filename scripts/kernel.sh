#!/usr/bin/env bash
# Fetches a Debian kernel with its modules, to be booted by scripts/guest.sh, and prints its folder.
#
#   scripts/kernel.sh PACKAGE
#
# PACKAGE is what apt knows here: linux-image-6.12-cloud-amd64, or one that it depends on. It is unpacked, not
# installed, below target/guest.
# SPDX-License-Identifier: AGPL-3.0-only
set -euo pipefail
cd "$(dirname "$0")/.."

package=${1:?usage: scripts/kernel.sh PACKAGE}

# The package with the kernel itself, where the one asked for only names the newest.
real_package() {
    local real
    real=$(apt-cache depends --no-recommends --no-suggests "$1" | sed -n 's/^ *Depends: \(linux-image-[^ ]*\)$/\1/p')
    echo "${real:-$1}"
}

real=$(real_package "$package")
folder=$PWD/target/guest/$real
if [ ! -e "$folder/done" ]; then
    rm -rf "$folder"
    mkdir -p "$folder/deb"
    (cd "$folder/deb" && apt-get -q=2 -o APT::Sandbox::User=root download "$real" >&2)
    dpkg -x "$folder"/deb/*.deb "$folder"
    rm -r "$folder/deb"
    touch "$folder/done"
fi
echo "$folder"
