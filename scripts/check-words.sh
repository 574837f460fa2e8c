#!/usr/bin/env bash
# Looks for terms that rfm does not use in code, configuration, tests and documents: scripts/words.txt lists them.
# SPDX-License-Identifier: AGPL-3.0-only
set -euo pipefail
cd "$(dirname "$0")/.."

mapfile -t files < <(git ls-files -- src tests benches fuzz config nixos grafana packaging scripts Makefile build.rs \
  README.md ARCHITECTURE.md CONTRIBUTING.md SECURITY.md docs |
  grep -vE '^(scripts/words\.txt|docs/developers/style\.md|src/bpf/vmlinux\.h|tests/data/|fuzz/corpus/)|\.(gz|bin|pcap|mmdb|svg|png|sum|mod)$')
[ "${#files[@]}" -gt 300 ] || { echo "check-words: found only ${#files[@]} files" >&2; exit 1; }

found=0
while IFS= read -r line; do
  case $line in '' | '#'*) continue ;; esac
  term=${line%% -> *}
  rest=${line#* -> }
  instead=${rest%% except *}
  exception='^$'
  [ "$instead" = "$rest" ] || exception=${rest#* except }
  if grep -nwIE -- "$term" "${files[@]}" | grep -avE -- "$exception"; then
    echo "^ use instead: $instead" >&2
    found=1
  fi
done <scripts/words.txt
exit "$found"
