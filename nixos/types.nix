# Written by `make generate` from the declarations of the keys in src/config/: change these.
#
#   type      of lib.types; a key that may be null has no default, only an example
#   default   the value that config/rfm.toml shows
#   shipped   whether config/rfm.toml sets the key
#   required  whether an entry of a list must set it: the default is an example then
#
# SPDX-License-Identifier: AGPL-3.0-only
{ lib }:
let
  inherit (lib.types) attrsOf bool either enum ints listOf nullOr str;
in
{
  "agent.interfaces" = {
    type = listOf str;
    default = [ "*" ];
    shipped = true;
    required = false;
    description = "Interfaces to monitor: regular expressions, each for a whole name; \"*\" is everything but loopback.";
  };
  "agent.exclude_interfaces" = {
    type = listOf str;
    default = [ ];
    shipped = false;
    required = false;
    description = "Interfaces not to monitor, in the same form; it wins over interfaces.";
  };
  "agent.require_interface" = {
    type = bool;
    default = false;
    shipped = true;
    required = false;
    description = "Whether to refuse the start if no interface matches. With false, the start at boot does not depend on a ppp0 or wg0 that appears later. Default true.";
  };
  "agent.directions" = {
    type = listOf (enum [ "ingress" "egress" ]);
    default = [ "ingress" "egress" ];
    shipped = false;
    required = false;
    description = "Hooks to attach.";
  };
  "agent.interface[].interfaces" = {
    type = listOf str;
    default = [ "eth0" ];
    shipped = false;
    required = true;
    description = "The interfaces, by patterns as in agent.interfaces; required.";
  };
  "agent.interface[].role" = {
    type = nullOr str;
    default = "transit";
    shipped = false;
    required = false;
    description = "The network behind them: transit, ix (exchange), pni (one peer), customer or internal; \"\" = as in the alias. Sums leave internal interfaces out.";
  };
  "agent.interface[].provider" = {
    type = str;
    default = "";
    shipped = false;
    required = false;
    description = "The name of the other network or of the exchange; \"\" = as in the alias.";
  };
  "agent.bpf.sample_rate" = {
    type = ints.between 1 4294967295;
    default = 1;
    shipped = true;
    required = false;
    description = "Sample one packet in N for flows; interfaces count every packet. 1 is exact. Default 100.";
  };
  "agent.bpf.ring_buf_size" = {
    type = ints.between 4096 1073741824;
    default = 262144;
    shipped = false;
    required = false;
    description = "Size of the ring buffer between kernel and agent: a power of two, at least a page. It counts twice in resident memory.";
  };
  "agent.bpf.wakeup_batch" = {
    type = ints.between 1 4294967295;
    default = 64;
    shipped = false;
    required = false;
    description = "Wake the agent every N events (it looks ten times a second in any case). N is per CPU, and lower if N events would fill a quarter of the ring buffer.";
  };
  "agent.bpf.iface_stats_size" = {
    type = ints.between 0 65535;
    default = 0;
    shipped = false;
    required = false;
    description = "How many interfaces can be counted; 0 = four times those found, at least 1024.";
  };
  "agent.bpf.position" = {
    type = enum [ "head" "tail" ];
    default = "head";
    shipped = false;
    required = false;
    description = "Place among the TCX programs of an interface: \"head\" or \"tail\".";
  };
  "agent.bpf.flow_cache" = {
    type = ints.between 0 1048576;
    default = 8192;
    shipped = false;
    required = false;
    description = "Flow records kept per CPU, a power of two; 0 = one event per sampled packet. The kernel adds up flows in these records. Each takes 128 bytes. The agent halves the number until all records fit 1/64 of the memory.";
  };
  "agent.collector.max_flows" = {
    type = ints.between 0 1073741824;
    default = 65536;
    shipped = false;
    required = false;
    description = "Flows kept; 0 = as many as fit a quarter of the memory: of the machine, or of the control group if that has less. If the table is full, rfm evicts the flow that has been idle longest.";
  };
  "agent.collector.eviction_timeout" = {
    type = str;
    default = "30s";
    shipped = false;
    required = false;
    description = "A flow without a packet for this long has ended.";
  };
  "agent.collector.active_timeout" = {
    type = str;
    default = "1m";
    shipped = false;
    required = false;
    description = "A flow that continues is exported in partial records of this length.";
  };
  "agent.collector.paths" = {
    type = bool;
    default = false;
    shipped = false;
    required = false;
    description = "Whether to count bytes by AS path for a day, for \"rfm paths\". It needs routes by BMP. The counts take under 8 MB, whatever the number of routes.";
  };
  "agent.prometheus.host" = {
    type = str;
    default = "::1";
    shipped = false;
    required = false;
    description = "Address of /metrics: \"::\" is all of them, IPv4 too. Without IPv6 the default is \"127.0.0.1\".";
  };
  "agent.prometheus.port" = {
    type = ints.between 1 65535;
    default = 9669;
    shipped = false;
    required = false;
    description = "Its TCP port.";
  };
  "agent.prometheus.allow" = {
    type = listOf str;
    default = [ ];
    shipped = false;
    required = false;
    description = "Prefixes that may connect, such as [\"10.0.0.0/8\"]; empty = anyone. In this and all other lists of prefixes, and in [[agent.enrich.prefix]], an IPv4-mapped prefix (\"::ffff:10.0.0.0/104\") is the IPv4 prefix.";
  };
  "agent.prometheus.web_config" = {
    type = nullOr str;
    default = "/etc/rfm/web.yml";
    shipped = false;
    required = false;
    description = "Web configuration file of Prometheus' exporter-toolkit, with certificate and users; \"\" = plain HTTP, no users. The file has the keys tls_server_config, http_server_config and basic_auth_users. rfm reads it and its certificates again when they change; settings that rfm does not support are errors. docs/prometheus.md has an example.";
  };
  "agent.prometheus.open_health" = {
    type = bool;
    default = false;
    shipped = false;
    required = false;
    description = "Whether /healthz needs no user. /healthz?verbose needs one in any case. TLS is as for all other paths.";
  };
  "agent.prometheus.flow_gauges" = {
    type = bool;
    default = true;
    shipped = false;
    required = false;
    description = "Whether to show the gauges of live flows beside the counters. There are four of them.";
  };
  "agent.prometheus.labels" = {
    type = listOf (enum [ "ifname" "direction" "proto" "src_asn" "dst_asn" "src_city" "dst_city" "src_country" "dst_country" "src_peer_asn" "dst_peer_asn" "peer_asn" "src_net" "dst_net" "vlan" "src_community" "dst_community" "src_rpki" "dst_rpki" ]);
    default = [ "ifname" "direction" "proto" "src_asn" "dst_asn" "src_city" "dst_city" ];
    shipped = false;
    required = false;
    description = "Labels of the flow series; also: src_country, dst_country, src_peer_asn, dst_peer_asn, peer_asn, src_net, dst_net, vlan, src_community, dst_community, src_rpki, dst_rpki. Fewer labels make fewer series with the same totals.";
  };
  "agent.prometheus.max_series" = {
    type = ints.between 1 10000000;
    default = 10000;
    shipped = false;
    required = false;
    description = "Flow series kept. The series \"other\" counts the traffic of all further ones.";
  };
  "agent.prometheus.series_ttl" = {
    type = str;
    default = "1h";
    shipped = false;
    required = false;
    description = "A series without traffic for this long expires.";
  };
  "agent.prometheus.peer_series" = {
    type = bool;
    default = false;
    shipped = false;
    required = false;
    description = "Whether to count bytes by neighbor on segments with several, such as an exchange LAN. rfm counts at most 2,500 MAC addresses, and all further ones of an interface together.";
  };
  "agent.prometheus.transit_series" = {
    type = ints.between 0 1000;
    default = 0;
    shipped = false;
    required = false;
    description = "Largest ASes on the path to show in rfm_transit_bytes_total; 0 = none. It needs agent.collector.paths. Each position of an AS on the path counts as one, and has a series for each direction.";
  };
  "agent.prometheus.p95_series" = {
    type = bool;
    default = false;
    shipped = false;
    required = false;
    description = "Whether to show the 95th percentile of the current month of each interface, rfm_interface_p95_bytes. It needs agent.history.path. It is that of rfm bill, and is calculated after each sample of 5 minutes.";
  };
  "agent.prometheus.page" = {
    type = bool;
    default = true;
    shipped = false;
    required = false;
    description = "Whether to show the built-in page at /, and to keep a day of history for it. The history takes under 6 MB. Without the page, / has a line with links.";
  };
  "agent.prometheus.dashboard" = {
    type = nullOr str;
    default = "https://grafana.example.net/d/rfm";
    shipped = false;
    required = false;
    description = "Address of the dashboard, for the link on the page; \"\" = no link.";
  };
  "agent.ipfix.host" = {
    type = nullOr str;
    default = "::1";
    shipped = false;
    required = false;
    description = "Collector; host or port turns it on, the other has the value shown. Without IPv6 the host is \"127.0.0.1\".";
  };
  "agent.ipfix.port" = {
    type = nullOr (ints.between 0 65535);
    default = 4739;
    shipped = false;
    required = false;
    description = "Its UDP port.";
  };
  "agent.ipfix.template_refresh" = {
    type = str;
    default = "1m";
    shipped = false;
    required = false;
    description = "How often templates and options are sent again.";
  };
  "agent.ipfix.observation_domain_id" = {
    type = ints.between 1 4294967295;
    default = 1;
    shipped = false;
    required = false;
    description = "Number by which a collector distinguishes several agents behind one address.";
  };
  "agent.ipfix.directions" = {
    type = nullOr (listOf (enum [ "ingress" "egress" ]));
    default = [ "egress" ];
    shipped = false;
    required = false;
    description = "Directions to export; default those of agent, or only egress if all interfaces are monitored. [\"egress\"] reports each forwarded packet once.";
  };
  "agent.ipfix.prev_adjacent" = {
    type = bool;
    default = true;
    shipped = false;
    required = false;
    description = "Whether to export the neighbor AS of the return path to the source. The field is bgpPrevAdjacentAsNumber.";
  };
  "agent.ipfix.enterprise_number" = {
    type = ints.between 0 4294967295;
    default = 0;
    shipped = false;
    required = false;
    description = "Your private enterprise number (IANA), for fields that IANA does not define; 0 = no such fields. With agent.enrich.source_check, records then have the result of the check: element 1 of this number.";
  };
  "agent.ipfix.bind.host" = {
    type = str;
    default = "";
    shipped = false;
    required = false;
    description = "Source address of the export; \"\" = the kernel chooses.";
  };
  "agent.ipfix.bind.port" = {
    type = ints.between 0 65535;
    default = 0;
    shipped = false;
    required = false;
    description = "Source port of the export; 0 = the kernel chooses.";
  };
  "agent.ipfix.collector[].host" = {
    type = str;
    default = "::1";
    shipped = false;
    required = false;
    description = "Address or name. Without IPv6 the default is \"127.0.0.1\".";
  };
  "agent.ipfix.collector[].port" = {
    type = ints.between 1 65535;
    default = 4739;
    shipped = false;
    required = false;
    description = "Its port.";
  };
  "agent.ipfix.collector[].transport" = {
    type = enum [ "udp" "tcp" ];
    default = "udp";
    shipped = false;
    required = false;
    description = "\"udp\" or \"tcp\". The collector of agent.ipfix.host is sent UDP.";
  };
  "agent.history.path" = {
    type = str;
    default = "/var/lib/rfm/history";
    shipped = true;
    required = false;
    description = "Folder of the history; \"\" = only the day that the page keeps in memory. Default \"\". rfm creates it. A folder that is not a history of this version is renamed, and a new one starts. docs/history.md describes its content.";
  };
  "agent.history.max_size" = {
    type = str;
    default = "96M";
    shipped = false;
    required = false;
    description = "Size of all files. The oldest files are deleted first.";
  };
  "agent.history.conversations" = {
    type = enum [ "prefixes" "hosts" "off" ];
    default = "prefixes";
    shipped = false;
    required = false;
    description = "Addresses of conversations on disk: \"prefixes\" (/24 and /48), \"hosts\", or \"off\" for no conversations. Addresses of hosts are personal data in many countries.";
  };
  "agent.history.sync_interval" = {
    type = str;
    default = "5m";
    shipped = false;
    required = false;
    description = "Time between two writes: a crash loses at most the rows of this time. Rows are those of minutes, so that an interval below a minute writes once a minute. An interval above an hour is one hour.";
  };
  "agent.privacy.addresses" = {
    type = enum [ "full" "prefix" "none" ];
    default = "full";
    shipped = false;
    required = false;
    description = "Addresses of hosts on the page, in its history, and in rfm top and rfm flows: \"full\", \"prefix\" (/24 and /48) or \"none\". IPFIX export, firewall rules, BGP neighbors and routes are not changed by it.";
  };
  "agent.enrich.mmdb.asn_db" = {
    type = str;
    default = "auto";
    shipped = false;
    required = false;
    description = "Path of an ASN database, such as GeoLite2-ASN.mmdb; \"auto\" = the first one found, \"\" = none. \"auto\" searches /var/lib/rfm, /var/lib/GeoIP, /usr/share/GeoIP and /usr/local/share/GeoIP for the names that GeoLite2, DB-IP Lite, IPinfo Lite and ip-location-db give their files, also while rfm runs. A file that was found and cannot be used is a problem in rfm status, not an error.";
  };
  "agent.enrich.mmdb.city_db" = {
    type = str;
    default = "auto";
    shipped = false;
    required = false;
    description = "Path of a city or country database; \"auto\" = the first one found, \"\" = none. \"auto\" searches /var/lib/rfm, /var/lib/GeoIP, /usr/share/GeoIP and /usr/local/share/GeoIP for the names that GeoLite2, DB-IP Lite, IPinfo Lite and ip-location-db give their files, also while rfm runs. A file that was found and cannot be used is a problem in rfm status, not an error.";
  };
  "agent.enrich.rib.local_asn" = {
    type = ints.between 0 4294967295;
    default = 0;
    shipped = false;
    required = false;
    description = "The local AS, if it is not the one that the sessions report (confederations); 0 = as they report.";
  };
  "agent.enrich.rib.communities" = {
    type = listOf str;
    default = [ ];
    shipped = false;
    required = false;
    description = "Communities of routes, such as [\"64500:*\", \"64500:1:*\"], for the labels src_community and dst_community. Add these labels to agent.prometheus.labels.";
  };
  "agent.enrich.rib.bmp.host" = {
    type = nullOr str;
    default = "::1";
    shipped = false;
    required = false;
    description = "Where to listen for BMP; host or port turns it on, the other has the value shown. Without IPv6 the host is \"127.0.0.1\".";
  };
  "agent.enrich.rib.bmp.port" = {
    type = nullOr (ints.between 0 65535);
    default = 11019;
    shipped = false;
    required = false;
    description = "Its TCP port.";
  };
  "agent.enrich.rib.bmp.allow" = {
    type = listOf str;
    default = [ ];
    shipped = false;
    required = false;
    description = "Prefixes of routers that may connect; empty = any. A reload ends the sessions of routers that are no longer in the list.";
  };
  "agent.enrich.rib.bmp.max_sessions" = {
    type = ints.between 1 1024;
    default = 16;
    shipped = false;
    required = false;
    description = "Sessions at a time; one address has at most half of them, or 4. Of IPv6, a /64 counts as one address. If all sessions are in use, a new one replaces one that has had no peer up for 60 s; a router that has had a peer before need not wait. A reload with a lower number ends the newest sessions.";
  };
  "agent.enrich.rib.bmp.max_routes" = {
    type = ints.between 1 1000000000;
    default = 4000000;
    shipped = false;
    required = false;
    description = "Routes kept.";
  };
  "agent.enrich.rib.bmp.stale_time" = {
    type = str;
    default = "5m";
    shipped = false;
    required = false;
    description = "Routes of a lost session are used for this long.";
  };
  "agent.enrich.rib.vrf" = {
    type = attrsOf str;
    default = { };
    shipped = false;
    required = false;
    description = "The routes for the traffic of a VRF device: its name = a distinguisher. \"0:0\" is the global table.";
  };
  "agent.enrich.rpki.vrps" = {
    type = str;
    default = "";
    shipped = false;
    required = false;
    description = "Path of the VRPs as JSON of rpki-client (/var/lib/rpki-client/json), Routinator or FORT; \"\" = none. The agent notices within 5 s that the file was replaced, and reads it again. If it is missing or broken, the previous VRPs stay in use, and rfm status reports a problem.";
  };
  "agent.enrich.rpki.rtr" = {
    type = str;
    default = "";
    shipped = false;
    required = false;
    description = "An RPKI cache that serves the VRPs by RTR (RFC 8210), in place of the file. rfm connects over TCP without encryption: use a cache on the same machine or in the management network. VRPs that the cache does not confirm within its expire interval are dropped.";
  };
  "agent.enrich.source_check.mode" = {
    type = enum [ "off" "count" "enforce" ];
    default = "off";
    shipped = false;
    required = false;
    description = "\"count\" counts the bytes of invalid sources by reason and neighbor; \"enforce\" also drops bogons and local prefixes. \"enforce\" needs the firewall (agent.firewall.enabled): its rules drop the bogons, and connected networks on other interfaces. Sources without a route and infeasible sources are only counted.";
  };
  "agent.enrich.source_check.bogons" = {
    type = listOf str;
    default = [ "0.0.0.0/8" "10.0.0.0/8" "100.64.0.0/10" "127.0.0.0/8" "172.16.0.0/12" "192.0.0.0/24" "192.0.2.0/24" "192.168.0.0/16" "198.18.0.0/15" "198.51.100.0/24" "203.0.113.0/24" "224.0.0.0/4" "240.0.0.0/4" "::1/128" "64:ff9b:1::/48" "100::/64" "2001:2::/48" "2001:10::/28" "2001:db8::/32" "3fff::/20" "5f00::/16" "fc00::/7" "ff00::/8" ];
    shipped = false;
    required = false;
    description = "Prefixes that are never valid sources. The default is the list of RFC 6890 with multicast and reserved addresses. Interfaces with the role internal are not checked, and addresses in the network of the interface are valid.";
  };
  "agent.enrich.prefix[].prefix" = {
    type = str;
    default = "10.0.0.0/8";
    shipped = false;
    required = true;
    description = "The network; required.";
  };
  "agent.enrich.prefix[].asn" = {
    type = ints.between 0 4294967295;
    default = 0;
    shipped = false;
    required = false;
    description = "Its AS; 0 = as the databases and BGP report.";
  };
  "agent.enrich.prefix[].name" = {
    type = str;
    default = "";
    shipped = false;
    required = false;
    description = "Its name, in the labels src_net and dst_net.";
  };
  "agent.enrich.prefix[].bill" = {
    type = bool;
    default = false;
    shipped = false;
    required = false;
    description = "Store its bytes and packets every 5 minutes for 13 months, for rfm bill. At most 8 prefixes. Needs agent.history.path, and a name. A packet counts once: traffic from the prefix at egress, traffic to the prefix at ingress.";
  };
  "agent.enrich.peer[].interface" = {
    type = nullOr str;
    default = "eth0";
    shipped = false;
    required = false;
    description = "Name of the interface; \"\" = any.";
  };
  "agent.enrich.peer[].mac" = {
    type = nullOr str;
    default = "02:00:5e:00:53:01";
    shipped = false;
    required = false;
    description = "MAC address of the neighbor; \"\" = any.";
  };
  "agent.enrich.peer[].address" = {
    type = str;
    default = "";
    shipped = false;
    required = false;
    description = "IP address of the neighbor, whose MAC address the neighbor table has; \"\" = any.";
  };
  "agent.enrich.peer[].asn" = {
    type = nullOr (ints.between 0 4294967295);
    default = 64500;
    shipped = false;
    required = false;
    description = "Its AS, in the label peer_asn; 0 = as BGP reports.";
  };
  "agent.enrich.peer[].name" = {
    type = str;
    default = "";
    shipped = false;
    required = false;
    description = "Its name, in the label peer_name.";
  };
  "agent.control.socket" = {
    type = str;
    default = "/run/rfm/rfm.sock";
    shipped = false;
    required = false;
    description = "Path; \"\" = no socket.";
  };
  "agent.control.mode" = {
    type = str;
    default = "0660";
    shipped = false;
    required = false;
    description = "Its permission bits.";
  };
  "agent.control.group" = {
    type = str;
    default = "";
    shipped = false;
    required = false;
    description = "Its group, a name in /etc/group or a number; \"\" = the agent's. Its members may use the commands that only read.";
  };
  "agent.control.write_group" = {
    type = str;
    default = "";
    shipped = false;
    required = false;
    description = "The group that may change things, beside root and the agent's user; \"\" = nobody.";
  };
  "agent.firewall.enabled" = {
    type = bool;
    default = false;
    shipped = false;
    required = false;
    description = "Whether to load the XDP program.";
  };
  "agent.firewall.interfaces" = {
    type = listOf str;
    default = [ ];
    shipped = false;
    required = false;
    description = "Where: patterns as in agent.interfaces; required when enabled. Attaching may reset a network card, which loses its carrier.";
  };
  "agent.firewall.allow" = {
    type = listOf str;
    default = [ ];
    shipped = false;
    required = false;
    description = "Prefixes from which and to which everything passes, whatever a rule drops.";
  };
  "agent.firewall.allow_own" = {
    type = bool;
    default = true;
    shipped = false;
    required = false;
    description = "Whether the same holds for the addresses of this machine, BMP routers and their BGP peers. With false they can be shielded too; BGP between this machine and such a peer still passes.";
  };
  "agent.firewall.pin" = {
    type = bool;
    default = false;
    shipped = false;
    required = false;
    description = "Whether it stays when the agent has ended, with the rules of that moment: it continues to drop until the next start or rfm --detach. Danger: this also holds for an agent that was killed. It needs a /sys/fs/bpf that the agent may write, which the packaged unit does not give: User=root, ReadWritePaths=/sys/fs/bpf and an empty ExecStopPost= do. A restart of the service needs no pin: systemd keeps the program attached.";
  };
  "agent.firewall.state_file" = {
    type = str;
    default = "";
    shipped = false;
    required = false;
    description = "Keeps runtime rules over a restart, such as \"/var/lib/rfm/firewall\"; \"\" = they end with the agent. A failed save is tried again every 2 s and is a problem in rfm status. Lines that cannot be read stay in FILE.bad.";
  };
  "agent.firewall.blackhole_communities" = {
    type = listOf str;
    default = [ ];
    shipped = false;
    required = false;
    description = "Routes with one of these communities become rules that drop by destination, such as [\"65535:666\"]. agent.enrich.rib.bmp.allow may not be empty then.";
  };
  "agent.firewall.blackhole_within" = {
    type = listOf str;
    default = [ ];
    shipped = false;
    required = false;
    description = "Local and customer prefixes: nothing outside becomes a rule. Required with communities.";
  };
  "agent.firewall.blackhole_peers" = {
    type = listOf str;
    default = [ ];
    shipped = false;
    required = false;
    description = "Neighbors, addresses or \"AS65000\", that may request it. Required with communities.";
  };
  "agent.firewall.blackhole_min_length" = {
    type = listOf (ints.between 0 128);
    default = [ 32 128 ];
    shipped = false;
    required = false;
    description = "Shortest prefix that becomes a rule, IPv4 and IPv6.";
  };
  "agent.firewall.blackhole_max" = {
    type = ints.between 1 100000;
    default = 1000;
    shipped = false;
    required = false;
    description = "Most rules made this way.";
  };
  "agent.firewall.blackhole_action" = {
    type = enum [ "drop" "count" ];
    default = "drop";
    shipped = false;
    required = false;
    description = "\"drop\", or \"count\" to look first.";
  };
  "agent.firewall.rule[].src" = {
    type = nullOr str;
    default = "192.0.2.0/24";
    shipped = false;
    required = false;
    description = "Source prefix.";
  };
  "agent.firewall.rule[].dst" = {
    type = nullOr str;
    default = "198.51.100.0/24";
    shipped = false;
    required = false;
    description = "Destination prefix.";
  };
  "agent.firewall.rule[].proto" = {
    type = nullOr str;
    default = "udp";
    shipped = false;
    required = false;
    description = "Protocol, a name or a number, or a list.";
  };
  "agent.firewall.rule[].sport" = {
    type = nullOr str;
    default = "53,123,11211";
    shipped = false;
    required = false;
    description = "Source ports, a list of numbers and ranges.";
  };
  "agent.firewall.rule[].dport" = {
    type = nullOr str;
    default = "6000-6063";
    shipped = false;
    required = false;
    description = "Destination ports, a list of numbers and ranges.";
  };
  "agent.firewall.rule[].port" = {
    type = nullOr str;
    default = "53";
    shipped = false;
    required = false;
    description = "Ports, of which the source or the destination port is one.";
  };
  "agent.firewall.rule[].tcp_flags" = {
    type = nullOr str;
    default = "syn/syn,ack";
    shipped = false;
    required = false;
    description = "TCP flags: of those after the slash, exactly those before it are set; \"rst\" is \"rst/rst\". Alternatives: \"syn|rst\".";
  };
  "agent.firewall.rule[].icmp_type" = {
    type = nullOr str;
    default = "8";
    shipped = false;
    required = false;
    description = "Types of ICMP or ICMPv6, a list of numbers and ranges.";
  };
  "agent.firewall.rule[].icmp_code" = {
    type = nullOr str;
    default = "0";
    shipped = false;
    required = false;
    description = "Codes of ICMP or ICMPv6, a list of numbers and ranges.";
  };
  "agent.firewall.rule[].length" = {
    type = nullOr str;
    default = "1000-1500";
    shipped = false;
    required = false;
    description = "Lengths of the IP packet with its header, a list of numbers and ranges.";
  };
  "agent.firewall.rule[].fragment" = {
    type = nullOr str;
    default = "first,later";
    shipped = false;
    required = false;
    description = "Fragments: \"first\", \"later\" (with the last), \"last\", \"any\", \"none\" (whole packets), \"dont-fragment\" (the flag), or a list.";
  };
  "agent.firewall.rule[].dscp" = {
    type = nullOr str;
    default = "ef,cs5";
    shipped = false;
    required = false;
    description = "DSCP, a list of names, numbers and ranges.";
  };
  "agent.firewall.rule[].flow_label" = {
    type = nullOr str;
    default = "0";
    shipped = false;
    required = false;
    description = "Flow labels of IPv6, a list of numbers and ranges.";
  };
  "agent.firewall.rule[].interface" = {
    type = nullOr str;
    default = "*";
    shipped = false;
    required = false;
    description = "Pattern of interfaces.";
  };
  "agent.firewall.rule[].action" = {
    type = enum [ "drop" "pass" "count" "limit" ];
    default = "drop";
    shipped = false;
    required = false;
    description = "\"drop\", \"pass\", \"count\" (counts only, the next rules are evaluated) or \"limit\".";
  };
  "agent.firewall.rule[].rate" = {
    type = nullOr (either ints.positive str);
    default = 1000;
    shipped = false;
    required = false;
    description = "Packets per second that pass, or bits per second such as \"10mbit\", for \"limit\" only.";
  };
  "agent.firewall.rule[].burst" = {
    type = nullOr (ints.between 1 4294967295);
    default = 500;
    shipped = false;
    required = false;
    description = "Packets, or bytes if the rate is in bits, that pass at once after a pause; unset: those of a tenth of a second.";
  };
  "agent.firewall.rule[].per" = {
    type = enum [ "rule" "source" ];
    default = "rule";
    shipped = false;
    required = false;
    description = "To which packets the rate applies: \"rule\" (all it matches together) or \"source\" (each address, or IPv6 /64).";
  };
  "agent.firewall.rule[].ttl" = {
    type = nullOr str;
    default = "10m";
    shipped = false;
    required = false;
    description = "Ends the rule after this time.";
  };
  "agent.guard.enabled" = {
    type = bool;
    default = false;
    shipped = false;
    required = false;
    description = "Whether to detect attacks on the protected hosts. docs/guard.md describes what counts as an attack.";
  };
  "agent.guard.mode" = {
    type = enum [ "watch" "act" ];
    default = "watch";
    shipped = false;
    required = false;
    description = "\"watch\" reports attacks and the rules that would stop them; \"act\" also adds these rules to the firewall. \"act\" needs agent.firewall.enabled, unless the action is \"alert\".";
  };
  "agent.guard.protect" = {
    type = nullOr (listOf str);
    default = [ "198.51.100.0/24" "2001:db8:1::/48" ];
    shipped = false;
    required = false;
    description = "Prefixes whose hosts are monitored; empty = the networks to which this machine is connected at the start. Each prefix also has thresholds of its own, against attacks that spread over its hosts.";
  };
  "agent.guard.action" = {
    type = enum [ "alert" "count" "limit" "drop" ];
    default = "drop";
    shipped = false;
    required = false;
    description = "\"alert\" adds no rule; \"count\", \"limit\" and \"drop\" add rules with this action. An attack without a signature gets no rule. A signature that also fits legitimate packets gets a limit for each source in place of a drop.";
  };
  "agent.guard.ttl" = {
    type = str;
    default = "1m";
    shipped = false;
    required = false;
    description = "Time to live of a rule after the last second in which it matched the attack.";
  };
  "agent.guard.max_rules" = {
    type = ints.between 1 256;
    default = 64;
    shipped = false;
    required = false;
    description = "Most rules of all attacks at once.";
  };
  "agent.guard.baseline" = {
    type = enum [ "off" "learn" "frozen" ];
    default = "off";
    shipped = false;
    required = false;
    description = "\"learn\" learns the usual traffic of each protected prefix in each hour of the week, and raises its thresholds to baseline_factor times that; \"frozen\" keeps what was learned. The thresholds prefix_* are the lowest. The first 256 prefixes are learned.";
  };
  "agent.guard.baseline_factor" = {
    type = ints.between 2 100;
    default = 3;
    shipped = false;
    required = false;
    description = "The learned thresholds are so many times the usual traffic.";
  };
  "agent.guard.baseline_file" = {
    type = str;
    default = "/var/lib/rfm/guard-baseline";
    shipped = false;
    required = false;
    description = "Keeps what was learned over a restart: 7 kB for each prefix.";
  };
  "agent.guard.pcap" = {
    type = bool;
    default = false;
    shipped = false;
    required = false;
    description = "Whether to store the first 1,000 packets of each attack, also those that are dropped: 256 bytes of each. The packets contain addresses and content of users. docs/guard.md lists the kernels that cannot do this.";
  };
  "agent.guard.pcap_dir" = {
    type = str;
    default = "/var/lib/rfm/attacks";
    shipped = false;
    required = false;
    description = "Folder of the packets; rfm creates it.";
  };
  "agent.guard.pcap_files" = {
    type = ints.between 1 10000;
    default = 100;
    shipped = false;
    required = false;
    description = "Most files of packets, each of at most 0.4 MB; the oldest are removed.";
  };
  "agent.guard.host_packets" = {
    type = ints.between 0 1000000000000;
    default = 100000;
    shipped = false;
    required = false;
    description = "Threshold of packets to or from one host, without established connections and answered flows; 0 = none.";
  };
  "agent.guard.host_bits" = {
    type = ints.between 0 1000000000000;
    default = 1000000000;
    shipped = false;
    required = false;
    description = "The same for bits of frames.";
  };
  "agent.guard.host_new_flows" = {
    type = ints.between 0 1000000000000;
    default = 20000;
    shipped = false;
    required = false;
    description = "The same for new flows.";
  };
  "agent.guard.host_syn" = {
    type = ints.between 0 1000000000000;
    default = 10000;
    shipped = false;
    required = false;
    description = "Threshold of TCP SYNs to or from one host that the client did not follow with an ACK; 0 = none.";
  };
  "agent.guard.host_fragments" = {
    type = ints.between 0 1000000000000;
    default = 20000;
    shipped = false;
    required = false;
    description = "Threshold of fragments to or from one host, without the first of each packet; 0 = none.";
  };
  "agent.guard.prefix_packets" = {
    type = ints.between 0 1000000000000;
    default = 400000;
    shipped = false;
    required = false;
    description = "Threshold of packets of all hosts of a protected prefix together; 0 = none.";
  };
  "agent.guard.prefix_bits" = {
    type = ints.between 0 1000000000000;
    default = 4000000000;
    shipped = false;
    required = false;
    description = "The same for bits of frames.";
  };
  "agent.guard.prefix_new_flows" = {
    type = ints.between 0 1000000000000;
    default = 80000;
    shipped = false;
    required = false;
    description = "The same for new flows.";
  };
  "agent.guard.prefix_syn" = {
    type = ints.between 0 1000000000000;
    default = 40000;
    shipped = false;
    required = false;
    description = "The same for TCP SYNs without an ACK.";
  };
  "agent.guard.prefix_fragments" = {
    type = ints.between 0 1000000000000;
    default = 80000;
    shipped = false;
    required = false;
    description = "The same for fragments.";
  };
  "agent.guard.threshold[].interface" = {
    type = nullOr str;
    default = "wan0";
    shipped = false;
    required = false;
    description = "The name of a monitored interface; each table has interface, peer_asn or prefix.";
  };
  "agent.guard.threshold[].peer_asn" = {
    type = nullOr (ints.between 0 4294967295);
    default = 64500;
    shipped = false;
    required = false;
    description = "The AS of neighbors, as in the label peer_asn; 0 = none.";
  };
  "agent.guard.threshold[].prefix" = {
    type = nullOr str;
    default = "198.51.100.0/24";
    shipped = false;
    required = false;
    description = "A prefix: packets to it that enter, and packets from it that leave.";
  };
  "agent.guard.threshold[].direction" = {
    type = enum [ "in" "out" ];
    default = "in";
    shipped = false;
    required = false;
    description = "\"in\": packets that enter this router; \"out\": packets that leave it.";
  };
  "agent.guard.threshold[].above_packets" = {
    type = ints.between 0 1000000000000;
    default = 0;
    shipped = false;
    required = false;
    description = "Alarm while there are more packets than this; 0 = none. Each table has one of the four keys.";
  };
  "agent.guard.threshold[].above_bits" = {
    type = nullOr (ints.between 0 1000000000000);
    default = 9000000000;
    shipped = false;
    required = false;
    description = "The same for bits of frames.";
  };
  "agent.guard.threshold[].below_packets" = {
    type = ints.between 0 1000000000000;
    default = 0;
    shipped = false;
    required = false;
    description = "Alarm while there are fewer packets than this; 0 = none.";
  };
  "agent.guard.threshold[].below_bits" = {
    type = ints.between 0 1000000000000;
    default = 0;
    shipped = false;
    required = false;
    description = "The same for bits of frames.";
  };
  "agent.guard.threshold[].for" = {
    type = str;
    default = "10s";
    shipped = false;
    required = false;
    description = "The time for which this must last; the alarm ends after as long on the other side of the threshold. The mean of each tenth of this time is compared, of each second at the least.";
  };
  "agent.guard.link[].interface" = {
    type = str;
    default = "wan0";
    shipped = false;
    required = true;
    description = "The name of the interface; required.";
  };
  "agent.guard.link[].speed" = {
    type = ints.between 1 1000000000000;
    default = 1000000000;
    shipped = false;
    required = true;
    description = "Its speed; required. An event reports an attack that fills 95 % of it.";
  };
}
