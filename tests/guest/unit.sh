#!/bin/sh
# In a guest: the shipped unit runs the agent as a user of its own; it attaches, serves, reads its
# configuration again, comes back when it is killed, and stops. With a certificate, its key is read through a group, also
# when it is renewed. Ends with the number of what failed.
# SPDX-License-Identifier: AGPL-3.0-only
# shellcheck disable=SC2317 # what `check` calls
failed=0

# check WHAT COMMAND ...: the command must succeed within 20 seconds.
check() {
    what=$1
    shift
    tries=0
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        if [ $tries -ge 40 ]; then
            echo "FAILED: $what ($*)"
            failed=$((failed + 1))
            return
        fi
        sleep 0.5
    done
    echo "ok: $what"
}

metric() { curl -gsf 'http://[::1]:9669/metrics' | grep -q "^$1"; }
healthy() { curl -gsf 'http://[::1]:9669/healthz'; }
attached() { metric "rfm_interface_info{ifname=\"$1\",.*attach=\"tcx\""; }
property() { systemctl show -P "$1" rfm; }
is() { [ "$(property "$1")" = "$2" ]; }
status_has() { grep -qE "$1" "/proc/$(property MainPID)/status"; }
another_pid() { [ "$(property MainPID)" != "$pid" ] && [ "$(property MainPID)" != 0 ]; }
has_logged() { journalctl -u rfm --no-pager | grep -q "$1"; }
serves() { curl -gsf --cacert "/payload/$1.crt" 'https://[::1]:9669/healthz'; }
has_group() { status_has "^Groups:.*[[:space:]]$(getent group rfm-tls | cut -d: -f3)([[:space:]]|$)"; }
quiet_journal() { ! journalctl -u rfm -p warning --no-pager | grep "without this restriction"; }

echo "kernel $(uname -r), systemd $(systemctl --version | sed -n 's/^systemd \([0-9]*\).*/\1/p')"
ip link add d0 type dummy
ip link add v0 type veth peer name v1
for device in d0 v0 v1; do ip link set $device up; done
install -D -m 755 /payload/rfm /usr/bin/rfm
install -D -m 644 /payload/rfm.toml /etc/rfm/rfm.toml
install -D -m 644 /payload/rfm.service /etc/systemd/system/rfm.service
systemctl daemon-reload

check "starts" systemctl start rfm
if [ $failed != 0 ]; then
    systemctl status rfm --no-pager
    journalctl -u rfm --no-pager | tail -n 40
    exit $failed
fi
check "is active" is ActiveState active
check "is healthy" healthy
for device in d0 v0 v1; do check "has attached to $device" attached $device; done
check "is not root" status_has '^Uid:[[:space:]]6[1-5][0-9]{3}[[:space:]]'
check "has three capabilities" status_has '^CapPrm:[[:space:]]000000c000001000$'
check "gains none" status_has '^NoNewPrivs:[[:space:]]1$'
check "says how it is" sh -c 'systemctl show -P StatusText rfm | grep "watching 3 interfaces"'
ip link add d1 type dummy
check "attaches to one that appears" attached d1
sed -i 's/^sample_rate = 1$/sample_rate = 7/' /etc/rfm/rfm.toml
check "reloads" systemctl reload rfm
check "applies the new file" metric 'rfm_sample_rate 7$'
pid=$(property MainPID)
kill -9 "$pid"
check "comes back when it is killed" another_pid
check "is healthy again" healthy
check "has attached again" attached d1
check "asked for nothing that it may not" quiet_journal
check "is rated 1.7 at most" systemd-analyze security --threshold=17 rfm

# as docs/prometheus.md describes it
place() {
    install -m 640 -g rfm-tls "/payload/$1.key" /etc/rfm/tls/new.key
    install -m 644 "/payload/$1.crt" /etc/rfm/tls/new.crt
    mv /etc/rfm/tls/new.key /etc/rfm/tls/router.key
    mv /etc/rfm/tls/new.crt /etc/rfm/tls/router.crt
}
groupadd --system rfm-tls
install -d -m 750 -g rfm-tls /etc/rfm/tls
place first
cat >/etc/rfm/web.yml <<'WEB'
tls_server_config:
  cert_file: tls/router.crt
  key_file: tls/router.key
WEB
chgrp rfm-tls /etc/rfm/web.yml
chmod 640 /etc/rfm/web.yml
sed -i 's|^#web_config = .*|web_config = "/etc/rfm/web.yml"|' /etc/rfm/rfm.toml
systemctl reload rfm
check "names the group that it lacks" has_logged 'web.yml: cannot read: permission denied; give the user or a group of the service'
check "goes on in plain HTTP" healthy
mkdir -p /etc/systemd/system/rfm.service.d
printf '[Service]\nSupplementaryGroups=rfm-tls\n' >/etc/systemd/system/rfm.service.d/override.conf
systemctl daemon-reload
check "restarts with the group" systemctl restart rfm
check "has the group" has_group
check "is not root" status_has '^Uid:[[:space:]]6[1-5][0-9]{3}[[:space:]]'
check "serves the certificate" serves first
pid=$(property MainPID)
place renewed
check "serves the renewed one" serves renewed
check "has not been restarted for it" is MainPID "$pid"
check "is rated 1.7 at most with the group" systemd-analyze security --threshold=17 rfm

# The firewall: systemd keeps its program attached while the service restarts. Variables of the unit set the keys.
program() { ip -d link show v1 | grep -o 'prog/xdp id [0-9]*'; }
no_program() { ! program; }
another_program() { program && [ "$(program)" != "$before" ]; }
none_received() { grep ' 0 received' /tmp/ping; }
ip netns add peer
ip link set v0 netns peer
ip -n peer link set v0 up
ip -n peer address add 192.0.2.2/24 dev v0
ip address add 192.0.2.1/24 dev v1
cat >/etc/systemd/system/rfm.service.d/firewall.conf <<'UNIT'
[Service]
Environment=RFM_AGENT__FIREWALL__ENABLED=true RFM_AGENT__FIREWALL__ALLOW_OWN=false
Environment='RFM_AGENT__FIREWALL__INTERFACES=["v1"]'
Environment='RFM_AGENT__FIREWALL__RULE=[{ src = "192.0.2.2/32" }]'
UNIT
systemctl daemon-reload
check "restarts with the firewall" systemctl restart rfm
check "has attached the firewall" program
check "has its link kept" is NFileDescriptorStore 1
ip netns exec peer ping -q -i 0.02 -w 600 192.0.2.1 >/tmp/ping 2>&1 &
ping=$!
for time in once twice; do
    before=$(program)
    check "restarts $time" systemctl restart rfm
    check "replaces the program" another_program
done
before=$(program)
kill -9 "$(property MainPID)"
check "replaces the program of a killed one" another_program
kill -INT $ping
wait $ping
check "has let no packet pass" none_received
check "has its link kept once" is NFileDescriptorStore 1

check "stops" systemctl stop rfm
check "has detached the firewall" no_program
check "has stopped well" is Result success
[ $failed = 0 ] || journalctl -u rfm --no-pager | tail -n 60
exit $failed
