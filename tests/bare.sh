#!/usr/bin/env bash
# Tries the README on a bare Debian 12: a minimal chroot, a fresh clone of HEAD, `make run`, `make test`.
#
#   tests/bare.sh [STEP ...]      steps: run and test unless named; setup is the quick one
#
# The chroot has its own mounts and process ids, which end with this script, and shares the network.
# Package sources, proxy and certificates are the host's, whatever they are.
# SPDX-License-Identifier: AGPL-3.0-only
set -euo pipefail

suite=bookworm
clone=/usr/src/rfm

say() { printf 'bare: %s\n' "$*"; }
die() {
    say "$*" >&2
    exit 1
}

# The host's own Debian sources where it is of the same release; mmdebstrap's choice elsewhere.
sources() {
    # shellcheck disable=SC2016 # apt expands these
    apt-get indextargets 'Created-By: Packages' 'Origin: Debian' \
        --format 'deb $(REPO_URI) $(RELEASE) $(COMPONENT)' |
        sort -u | grep -E " $suite(-updates|-security)? " || true
}

build_chroot() {
    local lines
    apt-config dump --format '%f "%v";%n' Acquire |
        grep -E '^Acquire::(https?|Check-[A-Za-z-]*|Retries|ForceIPv[46])\b' >"$work/apt.conf" || true
    lines=$(sources)
    say "building a minimal Debian $suite in $root"
    mmdebstrap --quiet --variant=minbase --aptopt="$work/apt.conf" "$suite" "$root" ${lines:+-} <<<"$lines"
    cp --remove-destination -L /etc/resolv.conf /etc/hosts "$root/etc/"
}

# The clone is what a user gets: what is committed, and nothing of this folder's target/.
copy_clone() {
    local top
    top=$(git -C "$(dirname "$0")" rev-parse --show-toplevel)
    [ -z "$(git -C "$top" status --porcelain)" ] || say "note: uncommitted changes are not in the clone"
    git clone --quiet --no-hardlinks "$top" "$root$clone"
}

# Cargo reaches its registry as it does on the host.
copy_network_settings() {
    local bundle=${CARGO_HTTP_CAINFO:-${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}} file
    cp -L "$bundle" "$root/etc/host-certificates.crt"
    mkdir -p "$root/root/.cargo"
    for file in "${CARGO_HOME:-$HOME/.cargo}"/config{,.toml}; do
        [ ! -e "$file" ] || cp -L "$file" "$root/root/.cargo/"
    done
}

mount_kernel_filesystems() {
    # A root that is a mount point of its own lets `ip netns exec` make it private.
    mount --bind "$root" "$root"
    mount -t proc proc "$root/proc"
    mount -t sysfs sysfs "$root/sys"
    mount -t bpf bpf "$root/sys/fs/bpf"
    mount --rbind /dev "$root/dev"
    mount -t tmpfs tmpfs "$root/run"
    mount -t tmpfs tmpfs "$root/tmp"
}

# inside COMMAND ...: runs it in the clone, with nothing of the host's environment but the way to the network.
inside() {
    local name settings=()
    for name in $(compgen -e | grep -iE '^((http|https|ftp|all|no)_proxy|CARGO_(HTTP|NET|REGISTRY|REGISTRIES|SOURCE)_.*)$'); do
        [ "${name^^}" = CARGO_HTTP_CAINFO ] || settings+=("$name=${!name}")
    done
    # shellcheck disable=SC2016 # the inner shell expands these
    env -i "${settings[@]}" CARGO_HTTP_CAINFO=/etc/host-certificates.crt HOME=/root LANG=C.UTF-8 \
        PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive RFM_REQUIRE_TOOLS=1 \
        chroot "$root" sh -c 'cd "$0" && exec "$@"' "$clone" "$@"
}

timed() {
    local start=$SECONDS
    say "$*"
    "$@"
    say "$*: $((SECONDS - start)) s"
}

# The quick one: what make would install, that a second time installs nothing, and a compiler that works.
step_setup() {
    timed inside scripts/setup.sh build test lint
    [ -z "$(inside scripts/setup.sh build test lint)" ] || die "setup.sh does something when called again"
    timed inside cargo check --quiet --locked
    [ -z "$(inside git status --porcelain)" ] || die "the build leaves files that git does not ignore"
    [ -z "$(find "$root/etc/systemd/system" -name 'prometheus*' -o -name 'frr*' -o -name 'gobgpd*')" ] ||
        die "setup.sh enables a service"
}

step_test() { timed inside make test; }

scrape() { curl -sfg --max-time 5 'http://[::1]:9669/metrics' || curl -sf --max-time 5 http://127.0.0.1:9669/metrics; }

# `make run` has to serve within 20 minutes, build included, and to end when told.
step_run() {
    local pid start=$SECONDS
    ! scrape >/dev/null || die "something on this machine already answers on port 9669; end it first"
    say "make run"
    set -m
    inside make run &
    pid=$!
    set +m
    until scrape | grep -q '^rfm_interface_rx_packets_total{'; do
        kill -0 $pid 2>/dev/null || die "make run ended before it served /metrics"
        [ $((SECONDS - start)) -lt 1200 ] || die "make run did not serve /metrics within 20 minutes"
        sleep 1
    done
    say "make run: serving /metrics after $((SECONDS - start)) s"
    kill -TERM -- -$pid
    wait $pid || true
    # make is gone at once, rfm when it has detached and drained
    start=$SECONDS
    while scrape >/dev/null; do
        [ $((SECONDS - start)) -lt 10 ] || die "rfm still answers 10 s after SIGTERM"
        sleep 0.2
    done
}

# First call: make the folder, take new namespaces, and clean up after whatever happens in them.
if [ -z "${BARE_WORK:-}" ]; then
    [ "$(id -u)" = 0 ] || die "needs root: it builds a chroot and loads BPF programs in it"
    BARE_WORK=$(mktemp -d /var/tmp/rfm-bare.XXXXXX)
    export BARE_WORK
    trap 'rm -rf --one-file-system "$BARE_WORK"' EXIT
    trap 'exit 130' INT TERM
    unshare --mount --propagation private --pid --fork --kill-child --mount-proc "$0" "$@"
    exit
fi

work=$BARE_WORK
root=$work/root
[ $# -gt 0 ] || set -- run test

build_chroot
copy_clone
copy_network_settings
mount_kernel_filesystems
inside apt-get -q=2 update
inside apt-get -q=2 -o Dpkg::Use-Pty=0 -y install git make >/dev/null
for step in "$@"; do
    case $step in
    run | test | setup) "step_$step" ;;
    *) die "unknown step '$step': run, test or setup" ;;
    esac
done
say "all well"
