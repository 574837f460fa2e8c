#!/usr/bin/env bash
# Makes both packages and tries them: what is in them, what lintian and rpmlint say, and installation, upgrade, removal
# and purge in clean chroots of Debian 12 and 13. The RPM is installed by rpm into a chroot of Debian 12, as no RPM
# system is to be had by apt: its scriptlets, config handling and binary are tried, its dependencies are not resolved.
#
#   tests/packages.sh
#
# SPDX-License-Identifier: AGPL-3.0-only
set -euo pipefail
cd "$(dirname "$0")/.."

newest_glibc=2.34
label=packages
work=$(mktemp -d /var/tmp/rfm-packages.XXXXXX)
trap 'rm -rf --one-file-system "$work"' EXIT
trap 'exit 130' INT TERM

# shellcheck source=tests/checks.sh
. tests/checks.sh

# silent COMMAND ...: it succeeds and says nothing
silent() {
    local output
    if ! output=$("$@" 2>&1) || [ -n "$output" ]; then echo "$output" && return 1; fi
}

mirror() {
    # shellcheck disable=SC2016 # apt expands it
    apt-get indextargets 'Created-By: Packages' 'Origin: Debian' --format '$(REPO_URI) $(COMPONENT)' |
        grep -v -- '-security/\? ' | sed -n 's/ main$//p' | head -n 1
}

# chroot_of SUITE FOLDER: a minimal Debian with systemd's tools, from a tar that is kept below target/
chroot_of() {
    local tar=$PWD/target/guest/packages-$1.tar uri
    if [ ! -e "$tar" ]; then
        uri=$(mirror)
        mkdir -p "$(dirname "$tar")"
        say "building a minimal Debian $1"
        mmdebstrap --quiet --format=tar --variant=minbase --include=systemd,man-db "$1" "$tar.new" ${uri:+"$uri"}
        mv "$tar.new" "$tar"
    fi
    mkdir "$2"
    tar -C "$2" -xf "$tar" --exclude='./dev/*'
    mknod -m 666 "$2/dev/null" c 1 3
    # as a fresh installation has it; minimal images leave manual pages out
    rm -f "$2"/etc/dpkg/dpkg.cfg.d/*exclud*
}

inside() { env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C DEBIAN_FRONTEND=noninteractive chroot "$root" "$@"; }

# Files outside of what dpkg, rpm and logs keep for themselves.
files() { (cd "$root" && find . -xdev \( -path ./var/lib/dpkg -o -path ./var/log -o -path ./var/cache -o -path ./var/lib/rpm -o -path ./tmp -o -path ./run \) -prune -o -print | sort); }

# older_deb FILE: the same package as a release before this one, with another config as shipped
older_deb() {
    dpkg-deb -R "$deb" "$work/older"
    sed -i 's/^Version: .*/Version: 0.0.1-1/' "$work/older/DEBIAN/control"
    echo '# as shipped before' >>"$work/older/etc/rfm/rfm.toml"
    (cd "$work/older" && find etc usr -type f -exec md5sum {} + >DEBIAN/md5sums)
    dpkg-deb --root-owner-group --build "$work/older" "$1" >/dev/null
}

binary_works() {
    is "$(inside /usr/bin/rfm --version)" "$wanted_version"
    inside /usr/bin/rfm --check >/dev/null
}
unit_verifies() {
    # systemd-analyze looks the manual up; pages that are not there are a warning
    silent inside systemd-analyze verify rfm.service rfm-update-databases.timer rfm-guard-events.service
}

# What the service leaves below /var as a dynamic user (systemd.exec(5)).
make_state() {
    local folder
    private_is_new=
    [ -d "$root/var/lib/private" ] || private_is_new=1
    for folder in lib cache; do
        mkdir -p "$root/var/$folder/private/rfm"
        echo rule >"$root/var/$folder/private/rfm/firewall"
        ln -s private/rfm "$root/var/$folder/rfm"
    done
}
# state_is there|gone; the folder private/ is systemd's, and exists before in some chroots
state_is() {
    local found
    found=$(cd "$root" && find var/lib/rfm var/lib/private/rfm var/cache/rfm var/cache/private/rfm 2>/dev/null | paste -sd' ')
    case $1 in
    there) [ -n "$found" ] ;;
    gone) is "$found" "" && { [ -z "$private_is_new" ] || rmdir "$root/var/lib/private"; } ;;
    esac
}

test_contents() {
    local binary=target/dist/release/rfm needed
    check "the binary needs libgcc and glibc alone" is \
        "$(objdump -p $binary | awk '$1 == "NEEDED" { print $2 }' | sort | paste -sd' ')" "ld-linux-x86-64.so.2 libc.so.6 libgcc_s.so.1"
    needed=$(objdump -T $binary | grep -o 'GLIBC_[0-9.]*' | sort -Vu | tail -n 1)
    check "no symbol newer than GLIBC_$newest_glibc" is "$(printf '%s\n' "$needed" "GLIBC_$newest_glibc" | sort -V | tail -n 1)" "GLIBC_$newest_glibc"
    check "no symbol of libgcc newer than GCC_4.2" is "$(objdump -T $binary | grep -o 'GCC_[0-9.]*' | sort -Vu | tail -n 1 | sort -V - <(echo GCC_4.2.0) | tail -n 1)" GCC_4.2.0
    check "lintian has nothing to say" silent lintian --allow-root --fail-on error,warning "$deb"
    check "rpmlint has nothing to say" rpmlint --strict --config packaging/rpm/rpmlint.toml "$rpm"
    check "the version of the Debian package" is "$(dpkg-deb -f "$deb" Version)" "$version-1"
    check "the version of the RPM" is "$(rpm -qp --qf '%{version}-%{release}' "$rpm" 2>/dev/null)" "$version-1"
    check "the RPM's config is not replaced" is "$(rpm -qp --qf '[%{filenames} %{fileflags:fflags}\n]' "$rpm" 2>/dev/null | grep ' .*c')" $'/etc/default/rfm-update-databases cn\n/etc/rfm/rfm.toml cn'
}

test_debian() {
    root=$work/$1
    chroot_of "$1" "$root"
    cp "$deb" "$root/tmp/new.deb"
    cp "$work/old.deb" "$root/tmp/old.deb"
    files >"$work/before"
    check "$1: installs" inside dpkg -i /tmp/old.deb
    check "$1: runs, with the config as shipped" binary_works
    check "$1: the unit passes systemd-analyze, warnings included" unit_verifies
    check "$1: all files are as packed" silent inside dpkg --verify rfm
    check "$1: starts at boot" [ -L "$root/etc/systemd/system/multi-user.target.wants/rfm.service" ]
    check "$1: the update of databases does not" [ ! -e "$root/etc/systemd/system/timers.target.wants/rfm-update-databases.timer" ]
    check "$1: the events of the guard do not" [ ! -e "$root/etc/systemd/system/multi-user.target.wants/rfm-guard-events.service" ]
    check "$1: nobody else reads its keys" is "$(stat -c %a "$root/etc/default/rfm-update-databases")" 600
    check "$1: an administrator switches it off" inside systemctl disable rfm.service
    sed -i 's/^#port = 9669/port = 9670/' "$root/etc/rfm/rfm.toml"
    check "$1: upgrades" inside dpkg --force-confdef -i /tmp/new.deb
    check "$1: an edited config is kept" grep -q '^port = 9670' "$root/etc/rfm/rfm.toml"
    check "$1: the new one lies beside it" cmp "$root/etc/rfm/rfm.toml.dpkg-dist" config/rfm.toml
    check "$1: runs after the upgrade" binary_works
    check "$1: stays off after an upgrade" [ ! -e "$root/etc/systemd/system/multi-user.target.wants/rfm.service" ]
    make_state
    check "$1: is removed" inside dpkg -r rfm
    check "$1: a removed package leaves its state" state_is there
    check "$1: a removed package leaves its config" [ -e "$root/etc/rfm/rfm.toml" ]
    check "$1: and no program" [ ! -e "$root/usr/bin/rfm" ]
    check "$1: is purged" inside dpkg -P rfm
    check "$1: a purged one leaves no state" state_is gone
    check "$1: and leaves nothing" diff "$work/before" <(files)
}

test_rpm() {
    root=$work/rpm-root
    chroot_of bookworm "$root"
    local rpm_there=(rpm --root "$root" --dbpath /var/lib/rpm --nodeps --noplugins)
    # the last three are of packages that every RPM system has
    mkdir -p "$root"/{var/lib/rpm,usr/share/{licenses,fish/vendor_completions.d,zsh/site-functions}}
    files >"$work/before"
    check "rpm: installs" "${rpm_there[@]}" -i "$rpm"
    check "rpm: runs, with the config as shipped" binary_works
    check "rpm: the unit passes systemd-analyze, warnings included" unit_verifies
    check "rpm: all files are as packed" silent "${rpm_there[@]}" -V rfm
    sed -i 's/^#port = 9669/port = 9670/' "$root/etc/rfm/rfm.toml"
    check "rpm: takes the place of another" "${rpm_there[@]}" -U --force "$rpm"
    check "rpm: an edited config is kept" grep -q '^port = 9670' "$root/etc/rfm/rfm.toml"
    make_state
    check "rpm: is erased" "${rpm_there[@]}" -e rfm
    check "rpm: no state is left" state_is gone
    check "rpm: no program is left" [ ! -e "$root/usr/bin/rfm" ]
    check "rpm: an edited config is kept aside" grep -q '^port = 9670' "$root/etc/rfm/rfm.toml.rpmsave"
    rm "$root/etc/rfm/rfm.toml.rpmsave" && rmdir "$root/etc/rfm"
    check "rpm: and nothing else is left" diff "$work/before" <(files)
}

[ "$(id -u)" = 0 ] || die "needs root: it builds chroots"
read -r version _ < <(scripts/version.sh) || true
deb=$(scripts/package.sh deb)
rpm=$(PACKAGE_NO_BUILD=1 scripts/package.sh rpm)
wanted_version=$(target/dist/release/rfm --version)
check "the binary tells the version of the package" is "$(cut -d' ' -f2 <<<"$wanted_version")" "$version"
older_deb "$work/old.deb"
test_contents
test_rpm
test_debian bookworm
test_debian trixie
say "all well"
