# Names of packages on systems other than Debian, for scripts/setup.sh, which sources this.
# shellcheck shell=bash
# SPDX-License-Identifier: AGPL-3.0-only

# Purposes whose tools these systems have; the others need packages of Debian.
# shellcheck disable=SC2034 # of scripts/setup.sh
portable_purposes="build lint fuzz demo image"

# system_of FILE: debian, ubuntu, fedora, arch or other, from an os-release(5).
system_of() {
    local id
    for id in $(sed -n 's/^ID\(_LIKE\)\{0,1\}=//p' "$1" 2>/dev/null | tr -d '"'\'); do
        case $id in
        ubuntu | debian | fedora | arch)
            echo "$id"
            return
            ;;
        rhel | centos)
            echo fedora
            return
            ;;
        esac
    done
    echo other
}

# names_on SYSTEM PACKAGE ...: their names there, each once.
names_on() {
    local system=$1 package
    shift
    for package in "$@"; do
        case $system/$package in
        debian/* | ubuntu/*) echo "$package" ;;
        fedora/clang-format) echo clang-tools-extra ;;
        fedora/g++) echo gcc-c++ ;;
        fedora/iproute2) printf '%s\n' iproute iproute-tc ;;
        fedora/libelf-dev) echo elfutils-libelf-devel ;;
        fedora/pkg-config) echo pkgconf-pkg-config ;;
        fedora/python3-minimal) echo python3 ;;
        fedora/rust) printf '%s\n' cargo rust ;;
        fedora/rust-lints) printf '%s\n' clippy rustfmt ;;
        fedora/shellcheck) echo ShellCheck ;;
        fedora/zlib1g-dev) echo zlib-devel ;;
        arch/clang-format) echo clang ;;
        arch/g++) echo gcc ;;
        arch/libelf-dev) echo libelf ;;
        arch/pkg-config) echo pkgconf ;;
        arch/python3-minimal | arch/python3) echo python ;;
        arch/rust-lints) echo rust ;;
        arch/zlib1g-dev) echo zlib ;;
        */iputils-ping) echo iputils ;;
        */procps) echo procps-ng ;;
        *) echo "$package" ;;
        esac
    done | sort -u
}

# install_command SYSTEM PACKAGE ...: the line that installs packages by their Debian names.
install_command() {
    local system=$1 names
    names=$(names_on "$@" | paste -sd ' ')
    case $system in
    debian | ubuntu) echo "apt-get install -y --no-install-recommends $names" ;;
    fedora) echo "dnf install -y $names" ;;
    arch) echo "pacman -S --needed --noconfirm $names" ;;
    *) echo "$names" ;;
    esac
}
