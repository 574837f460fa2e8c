#!/usr/bin/env bash
# Makes the Debian package or the RPM of this commit, in target/package/, and prints its path.
#
#   scripts/package.sh deb | rpm [ARCH]
#
# ARCH is amd64, arm64 or riscv64; that of this machine unless named. Both are made of one tree of files; stage() below is
# the list to add to. The same commit makes the same bytes.
# SPDX-License-Identifier: AGPL-3.0-only
set -euo pipefail
cd "$(dirname "$0")/.."

# shellcheck source=scripts/arch.sh
. scripts/arch.sh

kind=${1:?usage: scripts/package.sh deb | rpm [ARCH]}
arch=${2:-$(machine_arch)}
target=$(rust_target "$arch")
out=$PWD/target/package
tree=$out/tree
umask 022
export LC_ALL=C TZ=UTC
PATH=$PWD/.cache/bin:$PATH

say() { printf 'package: %s\n' "$*" >&2; }
die() {
    say "$*"
    exit 1
}

read -r version revision < <(scripts/version.sh) || true
# the commit's time is everything's time; outside git that of the changelog
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || stat -c %Y CHANGELOG.md)}
maintainer=$(sed -n 's/^maintainer *= *"\(.*\)"/\1/p' Cargo.toml)

# put MODE FILE TARGET; compressed where the target says so
put() {
    case $3 in
    *.gz)
        mkdir -p "$tree/$(dirname "$3")"
        gzip -9nc "$2" >"$tree/$3"
        chmod "$1" "$tree/$3"
        ;;
    *) install -D -m "$1" "$2" "$tree/$3" ;;
    esac
}

# put_all MODE FOLDER FILE ...: what is there of it
put_all() {
    local mode=$1 folder=$2 file
    shift 2
    for file in "$@"; do
        [ ! -f "$file" ] || put "$mode" "$file" "$folder/$(basename "$file")"
    done
}

put_man_pages() {
    local page
    for page in docs/man/*.[1-8]; do
        put 644 "$page" "usr/share/man/man${page##*.}/$(basename "$page").gz"
    done
}

# put_completions FOLDER_OF_ZSH
put_completions() {
    put 644 packaging/completions/rfm.bash usr/share/bash-completion/completions/rfm
    put 644 packaging/completions/_rfm "$1/_rfm"
    put 644 packaging/completions/rfm.fish usr/share/fish/vendor_completions.d/rfm.fish
}

# What both packages carry.
stage() {
    rm -rf "$tree"
    put 755 "$binary" usr/bin/rfm
    put 644 config/rfm.toml etc/rfm/rfm.toml
    put 755 packaging/databases/rfm-update-databases usr/bin/rfm-update-databases
    # it may hold keys
    put 600 packaging/databases/rfm-update-databases.default etc/default/rfm-update-databases
    put_all 644 usr/lib/systemd/system packaging/databases/rfm-update-databases.{service,timer}
    put 644 packaging/guard/rfm-guard-events.service usr/lib/systemd/system/rfm-guard-events.service
    put_man_pages
    put_all 644 usr/share/rfm/grafana grafana/dashboard.json grafana/{rules,alerts}.yml
    put_all 644 usr/share/doc/rfm/examples docs/examples/*
}

# The full text of the AGPL is not among Debian's common licences, and the notices of what is linked in belong to it.
debian_copyright() {
    cat packaging/debian/copyright
    printf '\nLicense: AGPL-3.0-only\n'
    sed 's/^$/./; s/^/ /' LICENSE
}

debian_changelog() {
    printf 'rfm (%s-1) unstable; urgency=medium\n\n' "$version"
    printf '  * Built from commit %s; CHANGELOG.md tells what changed.\n\n' "${revision:-unknown}"
    printf ' -- %s  %s\n' "$maintainer" "$(date -Rd "@$SOURCE_DATE_EPOCH")"
}

make_deb() {
    local document=usr/share/doc/rfm
    stage
    put_completions usr/share/zsh/vendor-completions
    debian_copyright >"$out/copyright"
    debian_changelog >"$out/changelog"
    put 644 "$out/changelog" $document/changelog.Debian.gz
    put 644 CHANGELOG.md $document/changelog.gz
    put 644 "$out/notices" $document/third-party.gz
    put 644 packaging/debian/lintian-overrides usr/share/lintian/overrides/rfm
    package=$out/rfm_$version-1_$arch.deb
    cargo deb --quiet --no-build --no-strip --locked --target "$target" --deb-version "$version-1" --output "$package" >&2
    echo "$package"
}

# The list of the tree's files as cargo-generate-rpm wants it.
rpm_assets() {
    local file rest
    echo 'assets = ['
    while read -r file; do
        rest=
        case $file in
        ./etc/*) rest=', config = "noreplace"' ;;
        ./usr/share/doc/* | ./usr/share/man/*) rest=', doc = true' ;;
        esac
        printf '  { source = "%s", dest = "%s", mode = "%s"%s },\n' "$tree/${file#./}" "${file#.}" "$(stat -c %a "$tree/$file")" "$rest"
    done < <(cd "$tree" && find . -type f | sort)
    echo ']'
}

make_rpm() {
    local licences=usr/share/licenses/rfm
    stage
    put_completions usr/share/zsh/site-functions
    put 644 config/rfm.service usr/lib/systemd/system/rfm.service
    put 644 LICENSE $licences/LICENSE
    put 644 src/bpf/LICENSE $licences/LICENSE.GPL-2.0
    put 644 "$out/notices" $licences/third-party
    put 644 CHANGELOG.md usr/share/doc/rfm/CHANGELOG.md
    rpm_assets >"$out/assets.toml"
    package=$out/rfm-$version-1.$(gnu_cpu "$arch").rpm
    cargo generate-rpm --arch "$(gnu_cpu "$arch")" --auto-req disabled --target-dir target/dist --payload-compress gzip \
        --metadata-overwrite "$out/assets.toml" -s "version = \"$version\"" -s 'release = "1"' -o "$package" >&2
    echo "$package"
}

case $kind in deb | rpm) ;; *) die "expected deb or rpm, got $kind" ;; esac
[ ! -e .git ] || [ -z "$(git status --porcelain)" ] || say "note: there are uncommitted changes, and they are in the package"
mkdir -p "$out"
# with PACKAGE_NO_BUILD that of an earlier call
binary=$(scripts/dist.sh "$arch")
scripts/notices.sh >"$out/notices"
"make_$kind"
