# The type of each key of config/rfm.toml. Defaults and descriptions are read from that file (options.nix); a key that is
# missing here, or here alone, fails the evaluation. What may be null has no default: the file shows an example.
# SPDX-License-Identifier: AGPL-3.0-only
{ lib }:
let
  inherit (lib.types) attrsOf bool enum ints listOf nullOr port str;
  strings = listOf str;
  directions = listOf (enum [ "ingress" "egress" ]);
  count = ints.positive;
  number32 = ints.u32;
in
{
  "agent.interfaces" = strings;
  "agent.exclude_interfaces" = strings;
  "agent.require_interface" = bool;
  "agent.directions" = directions;

  "agent.bpf.sample_rate" = count;
  "agent.bpf.ring_buf_size" = count;
  "agent.bpf.wakeup_batch" = count;
  "agent.bpf.iface_stats_size" = number32;
  "agent.bpf.position" = enum [ "head" "tail" ];
  "agent.bpf.flow_cache" = number32;

  "agent.collector.max_flows" = number32;
  "agent.collector.eviction_timeout" = str;
  "agent.collector.active_timeout" = str;

  "agent.prometheus.host" = str;
  "agent.prometheus.port" = port;
  "agent.prometheus.allow" = strings;
  "agent.prometheus.flow_gauges" = bool;
  "agent.prometheus.labels" = strings;
  "agent.prometheus.max_series" = count;
  "agent.prometheus.series_ttl" = str;
  "agent.prometheus.page" = bool;

  "agent.ipfix.host" = nullOr str;
  "agent.ipfix.port" = nullOr port;
  "agent.ipfix.template_refresh" = str;
  "agent.ipfix.observation_domain_id" = number32;
  "agent.ipfix.directions" = nullOr directions;
  "agent.ipfix.prev_adjacent" = bool;
  "agent.ipfix.bind.host" = str;
  "agent.ipfix.bind.port" = port;
  "agent.ipfix.collector[].host" = str;
  "agent.ipfix.collector[].port" = port;
  "agent.ipfix.collector[].transport" = enum [ "udp" "tcp" ];

  "agent.enrich.mmdb.asn_db" = str;
  "agent.enrich.mmdb.city_db" = str;
  "agent.enrich.rib.local_asn" = number32;
  "agent.enrich.rib.bmp.host" = nullOr str;
  "agent.enrich.rib.bmp.port" = nullOr port;
  "agent.enrich.rib.bmp.allow" = strings;
  "agent.enrich.rib.bmp.max_sessions" = count;
  "agent.enrich.rib.bmp.max_routes" = count;
  "agent.enrich.rib.bmp.stale_time" = str;
  # the names of its keys are the administrator's
  "agent.enrich.rib.vrf" = attrsOf str;
  "agent.enrich.prefix[].prefix" = str;
  "agent.enrich.prefix[].asn" = number32;
  "agent.enrich.prefix[].name" = str;

  "agent.control.socket" = str;
  "agent.control.mode" = str;
  "agent.control.group" = str;
  "agent.control.write_group" = str;

  "agent.firewall.enabled" = bool;
  "agent.firewall.interfaces" = strings;
  "agent.firewall.allow" = strings;
  "agent.firewall.allow_own" = bool;
  "agent.firewall.pin" = bool;
  "agent.firewall.state_file" = str;
  "agent.firewall.blackhole_communities" = strings;
  "agent.firewall.blackhole_within" = strings;
  "agent.firewall.blackhole_peers" = strings;
  "agent.firewall.blackhole_min_length" = listOf (ints.between 0 128);
  "agent.firewall.blackhole_max" = number32;
  "agent.firewall.blackhole_action" = enum [ "drop" "count" ];
  "agent.firewall.rule[].src" = nullOr str;
  "agent.firewall.rule[].dst" = nullOr str;
  "agent.firewall.rule[].proto" = nullOr str;
  "agent.firewall.rule[].dport" = nullOr str;
  "agent.firewall.rule[].interface" = nullOr str;
  "agent.firewall.rule[].action" = enum [ "drop" "pass" "count" "limit" ];
  "agent.firewall.rule[].rate" = nullOr count;
  "agent.firewall.rule[].per" = enum [ "rule" "source" ];
  "agent.firewall.rule[].ttl" = nullOr str;
}
