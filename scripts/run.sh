#!/usr/bin/env bash
# Runs the release build in the foreground with a config file, after a look at what commonly stands in the way.
# SPDX-License-Identifier: AGPL-3.0-only
set -euo pipefail
cd "$(dirname "$0")/.."
config=${1:?usage: scripts/run.sh CONFIG}
rfm=target/release/rfm

complain() {
    printf 'run: %s\n' "$@" >&2
    exit 1
}

# What is in effect, defaults included; a config with mistakes ends here, with rfm's own words.
notes=$(mktemp)
trap 'rm -f "$notes"' EXIT
effective=$($rfm --config "$config" --check 2>"$notes") || {
    cat "$notes" >&2
    exit 1
}
cat "$notes" >&2
if grep -q '^asn_db = "auto"' <<<"$effective" && ! grep -q 'asn_db: found' "$notes"; then
    printf 'run: names of networks are missing; to download a free database:\n     %s\n' \
        "RFM=$PWD/$rfm packaging/databases/rfm-update-databases"
fi
prometheus() {
    awk -v key="$1" '
        /^\[/ { inside = $0 == "[agent.prometheus]" }
        inside && $1 == key { gsub(/"/, "", $3); print $3 }' <<<"$effective"
}
host=$(prometheus host)
port=$(prometheus port)

# The wildcard addresses answer on loopback too.
case $host in
0.0.0.0) host=127.0.0.1 ;;
::) host=::1 ;;
esac
if (exec 3<>"/dev/tcp/$host/$port") 2>/dev/null; then
    complain "something already listens on $host port $port (ss -ltnp 'sport = :$port' names it): end it," \
        "or set another port in a copy of $config and run: make run CONFIG=that-copy.toml"
fi
case $host in *:*) host="[$host]" ;; esac
printf 'run: watching as %s says; look at http://%s:%s/metrics, end with Ctrl-C\n' "$config" "$host" "$port"
rm -f "$notes"
exec $rfm --config "$config"
