# Sourced by the scripts that set up: unpacks packages of another Debian suite, and installs nothing.
# shellcheck shell=bash
# SPDX-License-Identifier: AGPL-3.0-only

say() { printf 'setup: %s\n' "$*"; }
die() {
    printf 'setup: %s\n' "$@" >&2
    exit 1
}

# unpack SUITE FOLDER PACKAGE ...: the packages and the libraries that they need. The mirror, and how to reach it, are
# those of this machine's apt; the state of that apt stays as it is. FOLDER/files lists the files of the packages.
unpack() {
    local suite=$1 folder=$2 packages=("${@:3}") keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    local work mirror options archive package
    # shellcheck disable=SC2016 # apt expands it
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' \
        'Label: Debian' 'Component: main' | head -n 1)
    [ -n "$mirror" ] || die "${packages[*]} of Debian $suite is needed, and apt knows no Debian mirror to take it from"
    say "unpacking ${packages[*]} from Debian $suite into $folder"
    work=$(mktemp -d)
    chmod 755 "$work"
    mkdir -p "$work"/{lists,archives,files}/partial
    echo "deb [signed-by=$keyring] $mirror $suite main" >"$work/sources.list"
    # an empty status: every library is wanted, whatever this machine has
    options=(-q=2 -y -o "Dir::Etc::sourcelist=$work/sources.list" -o Dir::Etc::sourceparts=/dev/null
        -o "Dir::State=$work" -o Dir::State::status=/dev/null -o "Dir::Cache=$work" -o Dpkg::Use-Pty=0)
    { apt-get "${options[@]}" update && download_libraries; } >"$work/log" 2>&1 || {
        cat "$work/log" >&2
        rm -rf "$work"
        die "apt-get could not download ${packages[*]} of Debian $suite"
    }
    rm -rf "$folder" "$folder.new"
    mkdir -p "$folder.new"
    for archive in "$work"/files/*.deb; do dpkg-deb -x "$archive" "$folder.new"; done
    for package in "${packages[@]}"; do
        dpkg-deb --fsys-tarfile "$work/files/${package}_"*.deb | tar -t
    done >"$folder.new/files"
    rm -rf "$work"
    mv "$folder.new" "$folder"
}

# download_libraries: the packages of unpack() and, of the packages that they depend on, the libraries.
download_libraries() {
    local names
    names=$(apt-get "${options[@]}" --no-install-recommends --print-uris install "${packages[@]}" |
        sed -n "s/^'[^']*' \([^_]*\)_.*/\1/p" | grep -Ex "lib.*|zlib1g|$(IFS='|' && echo "${packages[*]}")")
    # shellcheck disable=SC2086 # names without blanks
    (cd "$work/files" && apt-get "${options[@]}" download $names)
}

# unpack_foreign ARCH FOLDER PACKAGE[:ARCH] ...: packages of this machine's own sources and of another architecture, of
# which the machine's apt and dpkg do not learn. LIBRARIES is a regular expression of the libraries that they need.
unpack_foreign() {
    local arch=$1 folder=$2 packages=("${@:3}") machine work options archive
    machine=$(dpkg --print-architecture)
    say "unpacking ${packages[*]} into $folder"
    work=$(mktemp -d)
    chmod 755 "$work"
    mkdir -p "$work"/{lists,archives,files}/partial
    options=(-q=2 -o "APT::Architectures::=$machine" -o "APT::Architectures::=$arch" -o "Dir::State=$work"
        -o Dir::State::status=/dev/null -o "Dir::Cache=$work" -o APT::Sandbox::User=root)
    # other sources than Debian's may lack the architecture
    { { apt-get "${options[@]}" update || true; } && download_foreign; } >"$work/log" 2>&1 || {
        cat "$work/log" >&2
        rm -rf "$work"
        die "apt-get could not download ${packages[*]}"
    }
    rm -rf "$folder" "$folder.new"
    mkdir -p "$folder.new"
    for archive in "$work"/files/*.deb; do dpkg-deb -x "$archive" "$folder.new"; done
    rm -rf "$work"
    mv "$folder.new" "$folder"
}

# download_foreign: the packages of unpack_foreign() and the libraries.
download_foreign() {
    local libraries=()
    [ -z "${LIBRARIES:-}" ] || mapfile -t libraries < <(
        apt-get "${options[@]}" --no-install-recommends --print-uris install "${packages[@]}" |
            sed -n "s/^'[^']*' \([^_]*\)_[^ ]*_$machine\.deb .*/\1/p" | grep -Ex "$LIBRARIES")
    (cd "$work/files" && apt-get "${options[@]}" download "${packages[@]}" "${libraries[@]}")
}

# wrap SCRIPT FOLDER PROGRAM OPTIONS: writes a script that runs an unpacked program with the libraries beside it. The
# folder is relative to the script's.
wrap() {
    cat >"$1" <<EOF
#!/bin/sh
here=\$(dirname "\$0")/$2
libraries=\$(echo "\$here"/usr/lib/*-linux-gnu*)
exec "\$libraries"/ld-linux-*.so.* --library-path "\$libraries:\$libraries/frr" "\$here/$3" ${4:-} "\$@"
EOF
    chmod 755 "$1"
}
