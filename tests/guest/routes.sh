#!/usr/bin/env bash
# Speaks BMP as a router would: tells routes and stays connected.
#
#   routes.sh PORT GLOBAL_AS VRF_AS
#
# In the global table 10.1.1.0/24 and 10.1.3.0/24 are of GLOBAL_AS; in the one with the distinguisher 65000:100
# 10.1.3.0/24 is of VRF_AS.
# SPDX-License-Identifier: AGPL-3.0-only
set -euo pipefail

port=$1 global_as=$2 vrf_as=$3
marker=ffffffffffffffffffffffffffffffff

# number DIGITS VALUE: in hex
number() { printf "%0$1x" "$2"; }
# length HEX: in bytes
length() { echo $((${#1} / 2)); }

# bmp TYPE BODY
bmp() { printf '03%s%s%s' "$(number 8 $((6 + $(length "$2"))))" "$(number 2 "$1")" "$2"; }
# bgp TYPE BODY
bgp() { printf '%s%s%s%s' $marker "$(number 4 $((19 + $(length "$2"))))" "$(number 2 "$1")" "$2"; }
# open AS: with four-byte AS numbers
open() { bgp 1 "04$(number 4 "$1")00b47f0000010802064104$(number 8 "$1")"; }
# peer TYPE DISTINGUISHER: 192.0.2.7 in AS 65001, after its import policy
peer() { printf '%s40%s000000000000000000000000c0000207%s7f000007%s' "$(number 2 "$1")" "$2" "$(number 8 65001)" 0000000000000000; }
# up PEER
up() { bmp 3 "${1}000000000000000000000000c000020100b3c000$(open 65000)$(open 65001)"; }
# route PEER ORIGIN_AS NLRI
route() {
    local path attributes
    path=0202$(number 8 65001)$(number 8 "$2")
    attributes=40010100"4002$(number 2 "$(length "$path")")$path"400304c0000207
    bmp 0 "$1$(bgp 2 "0000$(number 4 "$(length "$attributes")")$attributes$3")"
}

global=$(peer 0 0000000000000000)
vrf=$(peer 1 "0000$(number 4 65000)$(number 8 100)")
name=6c6162
session=$(bmp 4 "0001$(number 4 3)${name}0002$(number 4 3)$name")$(up "$global")$(up "$vrf")
session+=$(route "$global" "$global_as" 180a0101)$(route "$global" "$global_as" 180a0103)$(route "$vrf" "$vrf_as" 180a0103)

exec 3<>"/dev/tcp/127.0.0.1/$port"
# shellcheck disable=SC2001,SC2059 # bytes
printf "$(sed 's/../\\x&/g' <<<"$session")" >&3
cat <&3 >/dev/null
