# SPDX-License-Identifier: AGPL-3.0-only
# $1: 1 when another version has taken the place: where it runs, it is restarted.
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload >/dev/null 2>&1 || :
    [ "$1" -lt 1 ] || systemctl try-restart rfm.service >/dev/null 2>&1 || :
fi
