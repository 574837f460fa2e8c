#!/usr/bin/env bash
# Runs the release build in the foreground with a config file, after a look at what commonly stands in the way.
# SPDX-License-Identifier: AGPL-3.0-only
set -euo pipefail
cd "$(dirname "$0")/.."
config=${1:?usage: scripts/run.sh CONFIG}

complain() {
    printf 'run: %s\n' "$@" >&2
    exit 1
}

# value KEY DEFAULT: of the section [agent.prometheus]. rfm itself does the strict reading.
value() {
    awk -v key="$1" -v value="$2" '
        /^[ \t]*\[/ { inside = /^[ \t]*\[agent\.prometheus\]/ }
        inside && $0 ~ "^[ \t]*" key "[ \t]*=" {
            sub(/^[^=]*=[ \t]*/, ""); sub(/[ \t]*(#.*)?$/, ""); gsub(/"/, ""); value = $0
        }
        END { print value }' "$config"
}

[ -r "$config" ] || complain "cannot read the config file $config"
[ -e /sys/kernel/btf/vmlinux ] ||
    complain "this kernel does not describe its types (no /sys/kernel/btf/vmlinux): it needs CONFIG_DEBUG_INFO_BTF=y"

host=$(value host "")
port=$(value port 9669)
if [ -z "$host" ]; then
    if grep -qs '^0*1 ' /proc/net/if_inet6; then host=::1; else host=127.0.0.1; fi
fi
if (exec 3<>"/dev/tcp/$host/$port") 2>/dev/null; then
    complain "something already listens on $host port $port (ss -ltnp 'sport = :$port' names it): end it," \
        "or set another port in a copy of $config and run: make run CONFIG=that-copy.toml"
fi

case $host in
0.0.0.0) host=127.0.0.1 ;;
::) host='[::1]' ;;
*:*) host="[$host]" ;;
esac
printf 'run: watching as %s says; look at http://%s:%s/metrics, end with Ctrl-C\n' "$config" "$host" "$port"
exec target/release/rfm --config "$config"
