# A router between two hosts: what crosses it is what rfm says, and what outlives a restart is the service.
# SPDX-License-Identifier: AGPL-3.0-only
{ lib, ... }:
let
  address = host: network: lib.mkForce [{ address = "10.0.${toString network}.${toString host}"; prefixLength = 24; }];
in
{
  name = "rfm";

  nodes = {
    left = {
      virtualisation.vlans = [ 1 ];
      networking.interfaces.eth1.ipv4.addresses = address 2 1;
      networking.interfaces.eth1.ipv4.routes = [{ address = "10.0.2.0"; prefixLength = 24; via = "10.0.1.1"; }];
    };
    right = {
      virtualisation.vlans = [ 2 ];
      networking.interfaces.eth1.ipv4.addresses = address 2 2;
      networking.interfaces.eth1.ipv4.routes = [{ address = "10.0.1.0"; prefixLength = 24; via = "10.0.2.1"; }];
    };
    router = { pkgs, ... }: {
      virtualisation.vlans = [ 1 2 ];
      boot.kernel.sysctl."net.ipv4.ip_forward" = 1;
      networking.interfaces.eth1.ipv4.addresses = address 1 1;
      networking.interfaces.eth2.ipv4.addresses = address 1 2;
      environment.systemPackages = [ pkgs.jq pkgs.bpftools ];
      services.rfm = {
        enable = true;
        openFirewall = true;
        settings.agent = {
          interfaces = [ "eth[12]" ];
          prometheus.host = "::";
          prometheus.allow = [ "10.0.0.0/8" "::1/128" ];
          enrich.prefix = [{ prefix = "10.0.2.0/24"; asn = 64502; name = "right"; }];
        };
      };
    };
  };

  testScript = ''
    start_all()
    router.wait_for_unit("rfm.service")
    for host in left, right:
        host.wait_for_unit("multi-user.target")
    left.wait_until_succeeds("ping -c 1 10.0.2.2")
    router.wait_until_succeeds("curl -sf 'http://[::1]:9669/healthz'")

    def value(pattern):
        return int(router.succeed(
            "curl -sf 'http://[::1]:9669/metrics' | awk -v p='^" + pattern + "' '$0 ~ p { s += $2 } END { printf \"%.0f\", s }'"
        ))

    with subtest("what crosses is counted, and told by its network"):
        before = value('rfm_interface_rx_packets_total.ifname="eth1",family="ipv4"')
        left.succeed("ping -c 50 -i 0.02 10.0.2.2")
        assert value('rfm_interface_rx_packets_total.ifname="eth1",family="ipv4"') - before >= 50
        router.wait_until_succeeds(
            "curl -sf 'http://[::1]:9669/metrics' | grep 'rfm_flow_packets_total.*direction=\"ingress\",proto=\"1\".*dst_asn=\"64502\"'"
        )

    with subtest("others may scrape, where they are allowed"):
        left.succeed("curl -sf http://10.0.1.1:9669/metrics >/dev/null")

    with subtest("it runs as a user of its own, and leaves nothing"):
        assert router.succeed("ps -o user= -C rfm").strip() != "root"
        router.succeed("systemctl reload rfm && systemctl restart rfm")
        router.wait_until_succeeds("curl -sf 'http://[::1]:9669/healthz'")
        router.succeed("systemctl stop rfm")
        router.fail("bpftool prog show | grep 'name rfm_'")
  '';
}
