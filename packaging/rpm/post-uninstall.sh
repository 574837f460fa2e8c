# SPDX-License-Identifier: AGPL-3.0-only
# shellcheck shell=sh
# $1: 1 when another version has taken the place: where it runs, it is restarted.
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload >/dev/null 2>&1 || :
    [ "$1" -lt 1 ] || systemctl try-restart rfm.service rfm-guard-events.service >/dev/null 2>&1 || :
fi
# Rules of the firewall that were made at run time must not be in force again after a new installation. The service runs as
# a dynamic user: its folders are below private/, and /var/lib/rfm is a link to one of them.
if [ "$1" -eq 0 ]; then
    for folder in lib cache; do
        rm -rf "/var/$folder/rfm" "/var/$folder/private/rfm"
    done
    rm -rf /var/lib/rfm-guard-events /var/lib/private/rfm-guard-events
fi
# cargo-generate-rpm cannot make the package own its folders; what the administrator has in them stays.
if [ "$1" -eq 0 ]; then
    rmdir /usr/share/doc/rfm/examples /usr/share/doc/rfm /usr/share/licenses/rfm /usr/share/rfm/grafana /usr/share/rfm \
        /etc/rfm 2>/dev/null || :
fi
