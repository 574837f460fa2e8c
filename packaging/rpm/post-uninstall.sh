# SPDX-License-Identifier: AGPL-3.0-only
# $1: 1 when another version has taken the place: where it runs, it is restarted.
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload >/dev/null 2>&1 || :
    [ "$1" -lt 1 ] || systemctl try-restart rfm.service >/dev/null 2>&1 || :
fi
# cargo-generate-rpm cannot make the package own its folders; what the administrator has in them stays.
if [ "$1" -eq 0 ]; then
    rmdir /usr/share/doc/rfm/examples /usr/share/doc/rfm /usr/share/licenses/rfm /usr/share/rfm/grafana /usr/share/rfm \
        /etc/rfm 2>/dev/null || :
fi
