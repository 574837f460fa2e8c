#!/usr/bin/env bash
# Downloads what `make test-scale` needs and Debian 12 lacks into .cache/scale. Installs nothing outside of it.
#
#   scripts/setup-scale.sh
#
# Kafka is from Maven Central, ClickHouse (chdb-core) from PyPI, goflow2 from the Go module proxy; their versions and
# hashes are in tests/scale. scripts/setup.sh scale installs the tools for this. A part that is there stays as it is.
# SPDX-License-Identifier: AGPL-3.0-only
set -euo pipefail
cd "$(dirname "$0")/.."

pins=$PWD/tests/scale
cache=$PWD/.cache/scale
goflow2=v2.2.6
# the oldest Go that goflow2 accepts, and one that the Go module proxy has
wanted_go=1.23
toolchain=go1.24.1

say() { printf 'setup: %s\n' "$*"; }
at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }

# A part is complete when its folder has its final name.
kafka() {
    [ ! -d "$cache/kafka" ] || return 0
    say "downloading Apache Kafka into .cache/scale/kafka"
    rm -rf "$cache/kafka.new"
    mvn -q --batch-mode -f "$pins/pom.xml" dependency:copy-dependencies -DoutputDirectory="$cache/kafka.new"
    (cd "$cache/kafka.new" && sha256sum --quiet -c "$pins/kafka.sha256")
    mv "$cache/kafka.new" "$cache/kafka"
}

# Paths of a virtual environment are absolute: it is made under its final name, and the mark comes last.
clickhouse() {
    [ ! -e "$cache/venv/complete" ] || return 0
    say "downloading ClickHouse (chdb-core) into .cache/scale/venv"
    rm -rf "$cache/venv"
    python3 -m venv "$cache/venv"
    "$cache/venv/bin/pip" install -q --disable-pip-version-check --no-deps --require-hashes -r "$pins/requirements.txt"
    touch "$cache/venv/complete"
}

# go_command: prints the path of a Go that is new enough. Debian 12 has an older one, which can download a newer.
go_command() {
    local version folder
    version=$(go version | sed 's/^go version go\([0-9.]*\).*/\1/')
    if at_least "$wanted_go" "$version"; then
        command -v go
        return
    fi
    folder=$(go mod download -json "golang.org/toolchain@v0.0.1-$toolchain.linux-$(go env GOARCH)" |
        sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
    # files of a module are not executable, and read-only
    chmod -R u+w "$folder"
    find "$folder/bin" "$folder/pkg/tool" -type f -exec chmod +x {} +
    echo "$folder/bin/go"
}

flows() {
    [ ! -e "$cache/bin/goflow2" ] || return 0
    say "building goflow2 $goflow2 into .cache/scale/bin"
    mkdir -p "$cache/bin"
    GOTOOLCHAIN=local GOFLAGS=-mod=mod GOBIN="$cache/bin" "$(go_command)" install \
        "github.com/netsampler/goflow2/v2/cmd/goflow2@$goflow2" >"$cache/goflow2.log" 2>&1 || {
        cat "$cache/goflow2.log" >&2
        exit 1
    }
}

mkdir -p "$cache"
kafka
clickhouse
flows
