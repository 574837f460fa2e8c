#!/usr/bin/env bash
# Runs libFuzzer on one target or on all, from the inputs below fuzz/corpus.
#
#   scripts/fuzz.sh SECONDS [TARGET]
#
# New inputs go to fuzz/target/found/TARGET; an input that ends a target goes to fuzz/corpus/TARGET, to be
# kept with the fix. RUSTC_BOOTSTRAP lets a stable compiler take the flags that measure coverage.
# SPDX-License-Identifier: AGPL-3.0-only
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=$1
targets=${2:-$(ls fuzz/corpus)}

export RUSTC_BOOTSTRAP=1
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1"
# with a target triple the flags are not for build scripts
host=$(rustc -vV | sed -n 's/^host: //p')
cargo build --release --locked --manifest-path fuzz/Cargo.toml --target "$host"

for target in $targets; do
    [ -d "fuzz/corpus/$target" ] || {
        echo "fuzz: no target $target; fuzz/corpus has a folder for each" >&2
        exit 1
    }
    echo "fuzz: $target for $seconds s"
    found=fuzz/target/found/$target
    mkdir -p "$found"
    RFM_FUZZ_TARGET=$target "fuzz/target/$host/release/fuzz" -max_total_time="$seconds" \
        -artifact_prefix="fuzz/corpus/$target/" -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 \
        "$found" "fuzz/corpus/$target" 2>&1 | grep -vE '^(INFO|#[0-9]+\s+(NEW|REDUCE|pulse))' || exit 1
done
