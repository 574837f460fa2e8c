# SPDX-License-Identifier: AGPL-3.0-only
# shellcheck shell=sh
# $1: 1 at the first installation, 2 at an upgrade. As on such systems, the administrator's presets decide whether it
# starts at boot, and nothing is started by installing it.
if command -v systemctl >/dev/null; then
    if [ "$1" -eq 1 ]; then
        systemctl --no-reload preset rfm.service >/dev/null 2>&1 || :
    fi
    [ ! -d /run/systemd/system ] || systemctl daemon-reload >/dev/null 2>&1 || :
fi
