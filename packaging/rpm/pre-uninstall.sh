# SPDX-License-Identifier: AGPL-3.0-only
# shellcheck shell=sh
# $1: 0 when the package goes, 1 when another version takes its place.
if [ "$1" -eq 0 ] && command -v systemctl >/dev/null; then
    systemctl --no-reload disable rfm.service rfm-update-databases.timer rfm-guard-events.service >/dev/null 2>&1 || :
    [ ! -d /run/systemd/system ] || systemctl stop rfm.service rfm-update-databases.timer rfm-guard-events.service >/dev/null 2>&1 || :
fi
