// SPDX-License-Identifier: AGPL-3.0-only
//! All metrics: name, type, labels and help of each family, written only here.
//!
//! docs/reference/metrics.md is generated from [`REFERENCE`]. `details` are for that document only:
//! no other code refers to them, so that they are not in the binary.

/// The type of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
        }
    }
}

/// A family of /metrics. The compiler checks the number of label values of its samples.
#[derive(Debug)]
pub struct Metric<const LABELS: usize> {
    pub name: &'static str,
    pub kind: Kind,
    pub labels: [&'static str; LABELS],
    pub help: &'static str,
}

/// A section of the reference chapter.
#[derive(Debug)]
pub struct ReferenceSection {
    pub title: &'static str,
    pub intro: &'static str,
    pub metrics: &'static [ReferenceEntry],
}

/// A family as in the reference chapter.
#[derive(Debug)]
pub struct ReferenceEntry {
    pub name: &'static str,
    pub kind: Kind,
    /// Empty for the flow series: `agent.prometheus.labels` selects their labels.
    pub labels: &'static [&'static str],
    pub help: &'static str,
    /// Text that only the reference chapter contains: values of labels, limits, advice. May be
    /// empty.
    pub details: &'static str,
}

/// Defines a constant for each family, and [`REFERENCE`].
macro_rules! declare {
    ($($title:literal ($intro:literal) {
        $($kind:ident $constant:ident = $name:literal [$($label:literal),*] $help:literal $(+ $details:literal)?;)*
    })*) => {
        $($(pub(super) const $constant: Metric<{ <[&str]>::len(&[$($label),*]) }> = Metric {
            name: $name,
            kind: Kind::$kind,
            labels: [$($label),*],
            help: $help,
        };)*)*

        /// All families, in the order of the reference chapter.
        pub const REFERENCE: &[ReferenceSection] = &[$(ReferenceSection {
            title: $title,
            intro: $intro,
            metrics: &[$(ReferenceEntry {
                name: $name,
                kind: Kind::$kind,
                labels: &[$($label),*],
                help: $help,
                details: concat!($($details)?),
            }),*],
        }),*];
    };
}

declare! {
    "Interfaces: every packet" ("Every packet is counted, whatever the sample rate. `ifname` is the interface; `family` is `ipv4`, `ipv6` or `other`; `direction` is `ingress` or `egress`.") {
        Counter INTERFACE_RX_BYTES = "rfm_interface_rx_bytes_total" ["ifname", "family"]
            "Bytes received, counted at the ingress hook: L2 frames without FCS, VLAN tags included. A GSO packet counts as its segments.";
        Counter INTERFACE_RX_PACKETS = "rfm_interface_rx_packets_total" ["ifname", "family"]
            "Packets received, counted at the ingress hook. A GSO packet counts as its segments.";
        Counter INTERFACE_TX_BYTES = "rfm_interface_tx_bytes_total" ["ifname", "family"]
            "Bytes sent to the queueing discipline, counted at the egress hook: L2 frames without FCS, VLAN tags included. A GSO packet counts as its segments. Includes packets that the queue or the driver drops later.";
        Counter INTERFACE_TX_PACKETS = "rfm_interface_tx_packets_total" ["ifname", "family"]
            "Packets sent to the queueing discipline, counted at the egress hook. A GSO packet counts as its segments. Includes packets that the queue or the driver drops later.";
        Counter INTERFACE_SAMPLED_PACKETS = "rfm_interface_sampled_packets_total" ["ifname", "direction"]
            "Packets sampled for flows, not scaled by the sample rate: each is accounted in a flow, or counted as dropped or thinned.";
        Counter INTERFACE_SAMPLED_BYTES = "rfm_interface_sampled_bytes_total" ["ifname", "direction"]
            "Bytes of the packets sampled for flows, not scaled by the sample rate: L2 frames without FCS.";
        Counter INTERFACE_DEVICE_RX_BYTES = "rfm_interface_device_rx_bytes_total" ["ifname"]
            "Bytes received, by the kernel's own counter of the device; to compare with rfm_interface_rx_bytes_total.";
        Counter INTERFACE_DEVICE_RX_PACKETS = "rfm_interface_device_rx_packets_total" ["ifname"]
            "Packets received, by the kernel's own counter of the device; to compare with rfm_interface_rx_packets_total.";
        Counter INTERFACE_DEVICE_TX_BYTES = "rfm_interface_device_tx_bytes_total" ["ifname"]
            "Bytes sent, by the kernel's own counter of the device; to compare with rfm_interface_tx_bytes_total.";
        Counter INTERFACE_DEVICE_TX_PACKETS = "rfm_interface_device_tx_packets_total" ["ifname"]
            "Packets sent, by the kernel's own counter of the device; to compare with rfm_interface_tx_packets_total.";
        Counter INTERFACE_HOOK_REMOVALS = "rfm_interface_hook_removals_total" ["ifname", "direction"]
            "Times that another program removed the hook of rfm, which rfm then attached again. Packets in between are not counted."
            + "The hook is a clsact qdisc or a TCX link. rfm finds this within 15 seconds. `rfm status` lists it for an hour.";
        Gauge INTERFACE_INFO = "rfm_interface_info" ["ifname", "ifindex", "ifalias", "kind", "master", "attach", "role", "provider"]
            "Always 1. kind is the driver's family as the kernel names it, master the bridge, bond or VRF that the interface belongs to, attach the hook that counts it, role and provider the network behind it."
            + "`attach` is `tcx`, `clsact` or `none`. `role` is `transit`, `ix`, `pni`, `customer`, `internal` or empty: `[[agent.interface]]` or the alias sets it, and `provider`.";
        Gauge INTERFACE_SPEED = "rfm_interface_speed_bytes" ["ifname"]
            "Link speed in bytes per second; absent if the driver does not report it.";
        Gauge INTERFACE_P95 = "rfm_interface_p95_bytes" ["ifname", "direction"]
            "95th percentile of the current month (UTC) in bytes per second: of the exact means of 5 minutes, by nearest rank, as rfm bill calculates it."
            + "Only with `agent.prometheus.p95_series`. `direction` is `ingress` or `egress`. It includes the last complete sample, and is absent until the month has one.";
        Gauge INTERFACE_PATTERN_MATCHES = "rfm_interface_pattern_matches" ["pattern"]
            "Interfaces that match this pattern of the configuration; 0 may be a misspelt name.";
    }
    "Flows: sampled packets" ("Estimates from the sampled packets. `agent.prometheus.labels` selects the labels; `agent.prometheus.flow_gauges = false` leaves out the four gauges. `direction` is `ingress` or `egress`, `proto` the number of the IP protocol (6 TCP, 17 UDP, 1 ICMP, 58 ICMPv6). ASN and city are empty if they are unknown. A series that expires is removed with its counts; it begins at 0 if it returns.") {
        Counter FLOW_BYTES_TOTAL = "rfm_flow_bytes_total" []
            "Estimated bytes: L2 frames without FCS, scaled by the sample rate in force when each packet was sampled. Continues after the flows end, so rate() is right. src_asn and dst_asn originate the addresses, whichever AS carried the packet.";
        Counter FLOW_PACKETS_TOTAL = "rfm_flow_packets_total" []
            "Estimated packets, scaled by the sample rate in force when each was sampled. Continues after the flows end, so rate() is right.";
        Gauge FLOW_STANDARD_ERROR_BYTES = "rfm_flow_standard_error_bytes" []
            "Standard error of rfm_flow_bytes_total that adaptive sampling caused since the series was created."
            + "Only for series that were counted during an overload (`rfm_collector_overload_rate`). The truth is within twice this value in 95 % of the cases.";
        Gauge FLOW_STANDARD_ERROR_PACKETS = "rfm_flow_standard_error_packets" []
            "Standard error of rfm_flow_packets_total that adaptive sampling caused since the series was created."
            + "Only for series that were counted during an overload.";
        Gauge ASN_INFO = "rfm_asn_info" ["asn", "name"]
            "Always 1. Names of the ASNs in the labels of the flow series, from the ASN database."
            + "Only ASNs whose name the database has.";
        Gauge FLOW_BYTES = "rfm_flow_bytes" []
            "Estimated bytes of the live flows, scaled by the sample rate. Falls when flows end: not for rate(), prefer rfm_flow_bytes_total.";
        Gauge FLOW_PACKETS = "rfm_flow_packets" []
            "Estimated packets of the live flows, scaled by the sample rate. Falls when flows end: not for rate(), prefer rfm_flow_packets_total.";
        Gauge FLOW_SAMPLED_BYTES = "rfm_flow_sampled_bytes" []
            "Sampled bytes of the live flows, not scaled by the sample rate. Falls when flows end: not for rate(), prefer rfm_flow_bytes_total.";
        Gauge FLOW_SAMPLED_PACKETS = "rfm_flow_sampled_packets" []
            "Sampled packets of the live flows, not scaled by the sample rate. Falls when flows end: not for rate(), prefer rfm_flow_packets_total.";
    }
    "Neighbors" ("Only with `agent.prometheus.peer_series`, for interfaces with several neighbors on the segment, such as an exchange LAN. `mac` is the MAC address of the neighbor: the source at `ingress`, the destination at `egress`. `peer_asn` and `peer_name` are empty if they are unknown: no session, no route with this neighbor as next hop, and no table `[[agent.enrich.peer]]`.") {
        Counter PEER_BYTES = "rfm_peer_bytes_total" ["ifname", "direction", "peer_asn", "peer_name", "mac", "family"]
            "Estimated bytes of IP packets that a neighbor handed over, or that were handed to it: L2 frames without FCS, scaled by the sample rate."
            + "Each flow record counts for the neighbor of its first packet. `family` is `ipv4` or `ipv6`. Broadcast and multicast addresses are not neighbors. `mac` is `other` for all neighbors that found no room.";
        Counter PEER_FOLDED = "rfm_peer_series_folded_total" []
            "Flow records of neighbors that found no room and were counted with other in the label mac.";
        Counter PEER_EVICTED = "rfm_peer_series_evicted_total" []
            "Neighbors whose series made room for others: unknown ones first, those idle longest."
            + "If it grows, a host on a segment sends with many MAC addresses.";
    }
    "AS paths" ("Only with `agent.collector.paths` and `agent.prometheus.transit_series`. The chapter \"BGP\" defines the path of a packet: at `egress` that to the destination, at `ingress` that back to the source.") {
        Counter TRANSIT_BYTES = "rfm_transit_bytes_total" ["asn", "position", "direction"]
            "Estimated bytes on paths with this AS at this position before the origin: L2 frames without FCS, scaled by the sample rate."
            + "`position` is 1 for the neighbor, 2 for the AS behind it, and so on. An AS that is several times on a path counts at the first position. The `transit_series` largest pairs of AS and position have series; they are selected every 5 minutes. A flow record counts when it is complete.";
    }
    "Source addresses" ("Only with `agent.enrich.source_check`. Bytes of received frames with an IP header, scaled by the sample rate, by the state of their source address. Interfaces with the role `internal` are not checked. `peer_asn` is the AS of the neighbor that handed over the packets: empty if it is unknown, `other` if there are more than 4,096 series.") {
        Counter SOURCE_INVALID = "rfm_source_invalid_bytes_total" ["ifname", "reason", "peer_asn"]
            "Bytes with an invalid source address."
            + "`reason` is `bogon` (a prefix that no network uses in the internet), `local` (a connected network of another interface), `unrouted` (no route covers the source) or `infeasible` (others announce routes to the source, the neighbor does not).";
        Counter SOURCE_UNKNOWN = "rfm_source_unknown_bytes_total" ["ifname", "peer_asn"]
            "Bytes whose source address cannot be checked: rfm does not know the neighbor, or does not receive its routes before import policy.";
        Counter SOURCE_CHECKED = "rfm_source_checked_bytes_total" ["ifname"]
            "Bytes whose source address was checked: valid, invalid and unknown.";
        Counter SOURCE_FOLDED = "rfm_source_series_folded_total" []
            "Times that a neighbor found no room and was counted as `other`.";
    }
    "Routes by BMP" ("Only if BMP is configured. `router` is the address of the router and the name that it gives itself. A router that has lost its session is shown for a day. `family` of the RIB is `ipv4` or `ipv6`.") {
        Gauge BMP_SESSIONS = "rfm_bmp_sessions" []
            "BMP sessions that are up.";
        Gauge BMP_PEERS = "rfm_bmp_peers" []
            "BGP peers that are up in a session that is up, as the routers report.";
        Gauge BMP_SESSION_UP = "rfm_bmp_session_up" ["router"]
            "1 while the router has a session, 0 for a day after it lost its last."
            + "0 is a reason for an alert.";
        Gauge BMP_LAST_MESSAGE = "rfm_bmp_last_message_timestamp_seconds" ["router"]
            "Time of the last message of the router, in seconds since the Unix epoch.";
        Counter BMP_UPDATES = "rfm_bmp_updates_total" ["router"]
            "Prefixes that the router announced.";
        Counter BMP_WITHDRAWS = "rfm_bmp_withdraws_total" ["router"]
            "Prefixes that the router withdrew.";
        Counter BMP_IGNORED_ROUTES = "rfm_bmp_ignored_routes_total" ["router", "family"]
            "Routes that the router announced of families that rfm does not read."
            + "`family` is `ipv4_vpn`, `ipv6_vpn`, `ipv4_multicast`, `ipv6_multicast`, `ipv4_flowspec`, `ipv6_flowspec`, `evpn`, `vpls`, `mvpn`, `link_state`, `route_target`, `sr_policy` or `other`.";
        Counter BMP_TRAILING_BYTES = "rfm_bmp_sessions_with_trailing_bytes_total" ["router"]
            "Sessions in which bytes followed an UPDATE in its message; rfm ignores the bytes."
            + "Each session counts once. rfm keeps the routes.";
        Counter BMP_ERRORS = "rfm_bmp_errors_total" ["kind"]
            "Errors of BMP sessions that rfm survived, by kind; the log has more."
            + "`kind` is `accept`, `not_allowed`, `session_limit`, `address_limit`, `idle` (a session without a peer that made room for another), `silent` (no message in 30 s), `read`, `frame`, `peer`, `peer_limit`, `unknown_peer`, `update`, `attributes`, `nlri`, `route_limit`, `path_limit` or `detail_limit` (AS paths and communities take 64 bytes for each route of `max_routes`; the route is held without them).";
        Gauge RIB_ROUTES = "rfm_rib_routes" ["family"]
            "Routes held for lookup, stale ones included.";
        Gauge RIB_PREFIXES = "rfm_rib_prefixes" ["family"]
            "Distinct prefixes of the routes held.";
        Gauge RIB_STALE_ROUTES = "rfm_rib_stale_routes" ["family"]
            "Routes of ended sessions that lookups still use.";
        Counter FIREWALL_BLACKHOLE_REFUSED = "rfm_firewall_blackhole_refused_total" ["reason"]
            "Announced routes that ask for a blackhole and get none, by reason."
            + "Only if blackholing is configured. `reason` is `pre_policy`, `vrf`, `peer`, `length`, `within` or `limit`; the chapter \"Firewall\" explains each.";
    }
    "The firewall" ("Only if the firewall is enabled.") {
        Counter FIREWALL_PACKETS = "rfm_firewall_packets_total" ["rule", "action"]
            "Packets that a rule of the firewall matched, by the action on them; no other series counts those dropped."
            + "`action` is `drop`, `pass` or `count`; a limit has both of the first. `rule` is `config-3` (the third in the file), `runtime-7` (as `rfm firewall list` shows it), `allow` for the allow list, `guard` for all rules against attacks, `blackhole` for all rules from BGP, `source-check` for bogons and local prefixes, and `other` beyond a hundred rules.";
        Counter FIREWALL_BYTES = "rfm_firewall_bytes_total" ["rule", "action"]
            "Bytes that a rule of the firewall matched, by the action on them; no other series counts those dropped."
            + "Labels as of `rfm_firewall_packets_total`.";
        Counter FIREWALL_NEW_SOURCES = "rfm_firewall_new_sources_total" []
            "Sources that began with a full bucket of a limit per source, because they had none or it was evicted.";
        Gauge FIREWALL_RULES = "rfm_firewall_rules" ["origin"]
            "Rules of the firewall in force, by source."
            + "`origin` is `allow`, `runtime`, `config`, `guard`, `blackhole` or `source-check`.";
        Gauge FIREWALL_INTERFACES = "rfm_firewall_interfaces" ["mode"]
            "Interfaces that the firewall is configured for, by how it is attached; none if it could not be attached."
            + "`mode` is `native`, `generic` or `none`.";
    }
    "Guard" ("Only with `agent.guard.enabled`.") {
        Counter GUARD_ATTACKS = "rfm_guard_attacks_total" ["kind", "action"]
            "Attacks, by the quantity that exceeded its threshold and by what was done at the alarm."
            + "`kind` is `packets`, `bits`, `new_flows`, `syn` or `fragments`; of a plain threshold `above_packets`, `above_bits`, `below_packets` or `below_bits`. `action` is `alert`, `count`, `limit` or `drop`.";
        Gauge GUARD_ACTIVE = "rfm_guard_active" []
            "Attacks in progress: the traffic exceeds a threshold, or a rule matches it.";
        Gauge GUARD_HOSTS = "rfm_guard_hosts" []
            "Protected hosts in the table, which has room for 65,536.";
        Counter GUARD_EVICTIONS = "rfm_guard_hosts_evicted_total" []
            "Hosts with traffic that made room for others in the same second."
            + "A new host replaces the one of eight with the fewest packets. If it grows steadily, protect fewer or smaller prefixes.";
        Counter GUARD_LOST_REPORTS = "rfm_guard_lost_reports_total" []
            "Reports of the detector that found the queue to thread guard full.";
    }
    "rfm itself" ("The agent, its tables and its losses. The names `process_*` are those of the Prometheus client libraries.") {
        Gauge SAMPLE_RATE = "rfm_sample_rate" []
            "The sample rate in force: one in this many packets is sampled.";
        Gauge COLLECTOR_ACTIVE_FLOWS = "rfm_collector_active_flows" []
            "Live flows in the flow table.";
        Gauge COLLECTOR_MAX_FLOWS = "rfm_collector_max_flows" []
            "Flows that the flow table can hold; one more evicts the one that has been idle longest.";
        Counter COLLECTOR_ACCOUNTED_PACKETS = "rfm_collector_accounted_packets_total" []
            "Sampled packets that reached the flow table, not scaled by the sample rate.";
        Counter COLLECTOR_ACCOUNTED_BYTES = "rfm_collector_accounted_bytes_total" []
            "Sampled bytes that reached the flow table: L2 frames without FCS, not scaled by the sample rate.";
        Counter COLLECTOR_FORCED_EVICTIONS = "rfm_collector_forced_evictions_total" []
            "Flows that ended early because the flow table was full."
            + "If it grows, raise `agent.collector.max_flows`.";
        Counter COLLECTOR_SAMPLED_PACKETS = "rfm_collector_sampled_packets_total" []
            "Packets sampled on all present and past interfaces, GSO packets as their segments, not scaled by the sample rate: each is accounted, dropped, left out by adaptive sampling, or on its way.";
        Counter COLLECTOR_SAMPLED_BYTES = "rfm_collector_sampled_bytes_total" []
            "Bytes of the packets sampled on all present and past interfaces: L2 frames without FCS, not scaled by the sample rate.";
        Counter COLLECTOR_DROPPED_EVENTS = "rfm_collector_dropped_events_total" []
            "Flow records dropped because the ring buffer was full.";
        Counter COLLECTOR_DROPPED_PACKETS = "rfm_collector_dropped_packets_total" []
            "Packets in the dropped records, GSO packets as their segments, not scaled by the sample rate. The flows lack them, the interface counters do not.";
        Counter COLLECTOR_DROPPED_BYTES = "rfm_collector_dropped_bytes_total" []
            "Bytes in the dropped records: L2 frames without FCS, not scaled by the sample rate. The flows lack them, the interface counters do not.";
        Counter COLLECTOR_THINNED_PACKETS = "rfm_collector_thinned_packets_total" []
            "Sampled packets that adaptive sampling left out while the ring buffer was more than half full. Others were counted several times in their place, so that the flows are unbiased estimates.";
        Counter COLLECTOR_THINNED_BYTES = "rfm_collector_thinned_bytes_total" []
            "Bytes of the packets that adaptive sampling left out: L2 frames without FCS, not scaled by the sample rate.";
        Counter COLLECTOR_ADDED_PACKETS = "rfm_collector_added_packets_total" []
            "Packets that adaptive sampling added for those that it left out: k - 1 for each packet that it counted k times. Accounted + dropped + thinned - added = sampled.";
        Counter COLLECTOR_ADDED_BYTES = "rfm_collector_added_bytes_total" []
            "Bytes that adaptive sampling added for those that it left out: L2 frames without FCS, not scaled by the sample rate.";
        Gauge COLLECTOR_OVERLOAD_RATE = "rfm_collector_overload_rate" []
            "k of adaptive sampling now: of the packets of flows that are not in the flow cache, one in k is recorded and counted k times. 1 unless the ring buffer is more than half full; the highest of all CPUs.";
        Gauge FLOW_SERIES = "rfm_flow_series" []
            "Flow series held now.";
        Gauge FLOW_SERIES_LIMIT = "rfm_flow_series_limit" []
            "Flow series that can be held.";
        Counter FLOW_SERIES_FOLDED = "rfm_flow_series_folded_total" []
            "Times that a new flow series found no room and was counted with other in its labels."
            + "If it grows, raise `agent.prometheus.max_series` or remove labels.";
        Gauge MMDB_BUILD_TIMESTAMP = "rfm_mmdb_build_timestamp_seconds" ["database"]
            "Time at which the database in use was built, in seconds since the Unix epoch."
            + "`database` is `asn` or `city`.";
        Gauge RPKI_VRPS = "rfm_rpki_vrps" ["family"]
            "Validated ROA Payloads (VRPs) in use."
            + "Only with `agent.enrich.rpki`.";
        Gauge RPKI_UPDATE_TIMESTAMP = "rfm_rpki_update_timestamp_seconds" []
            "Time at which the VRPs in use were written, in seconds since the Unix epoch; 0 = there are none.";
        Counter IPFIX_RECORDS = "rfm_ipfix_records_total" ["collector"]
            "Flow records sent to the IPFIX collector and, as far as is known, not refused.";
        Counter IPFIX_DROPPED_RECORDS = "rfm_ipfix_dropped_records_total" ["collector"]
            "Flow records that the IPFIX collector did not get: it was unreachable or too slow.";
        Gauge IPFIX_QUEUE_RECORDS = "rfm_ipfix_queue_records" ["collector"]
            "Flow records that wait to be sent to the IPFIX collector: rfm paces UDP messages, TCP waits for the collector."
            + "The queue of a UDP collector holds 8,192 messages, about 100,000 records. For a collector that is not connected, the records of the last 12 s wait, at most 2,048 messages.";
        Counter ERRORS = "rfm_errors_total" ["subsystem"]
            "Errors that rfm survived, by subsystem; the log has more."
            + "`subsystem` is `bpf_map`, `ring_buffer`, `ipfix`, `bmp`, `mmdb`, `http`, `control`, `netlink`, `firewall` or `rpki`.";
        Counter HTTP_AUTH_FAILURES = "rfm_http_auth_failures_total" []
            "Requests to the port of /metrics with a wrong user name or password."
            + "Only with `agent.prometheus.web_config`. A request without a name is refused and not counted: browsers send one first.";
        Counter PARSE_ERRORS = "rfm_parse_errors_total" ["reason"]
            "Frames without the valid IP header that their type announces; the counters of the interface have them as family other."
            + "`reason` is `link` (the Ethernet, VLAN, MPLS or PPPoE header is cut short), `ip_version`, `ip_header_length` (the IPv4 header length is below 20 bytes, or the total length below the header length) or `ip_truncated`.";
        Counter LOG_DROPPED_LINES = "rfm_log_dropped_lines_total" []
            "Log lines dropped because nothing read standard error."
            + "No thread waits for the log.";
        Counter HTTP_SCRAPERS_EVICTED = "rfm_http_scrapers_evicted_total" []
            "Scrapers whose state made room for others: rfm keeps that of 16."
            + "If it grows, more than 16 scrapers read `/metrics`: new series reach each of them as 0 for up to 2 minutes.";
        Gauge HISTORY_BYTES = "rfm_history_bytes" []
            "Bytes of the files of the history on disk, at the last write.";
        Counter HISTORY_WRITTEN_BYTES = "rfm_history_written_bytes_total" []
            "Bytes written to files of the history on disk.";
        Counter HISTORY_EVICTED_FILES = "rfm_history_evicted_files_total" []
            "Files of the history deleted because of `agent.history.max_size` or their age.";
        Counter HISTORY_DAMAGED_BLOCKS = "rfm_history_damaged_blocks_total" []
            "Damaged blocks of the history found by readers and at the start; a block that is read again counts again."
            + "Their rows are left out; all others are read.";
        Counter HISTORY_LOST_ROWS = "rfm_history_lost_rows_total" []
            "Rows that could not be stored: the disk was full, or thread history was late.";
        Gauge HISTORY_LAST_SYNC = "rfm_history_last_sync_timestamp_seconds" []
            "When rows were last stored, in seconds since the Unix epoch; 0 before the first time.";
        Gauge PROBLEMS = "rfm_problems" ["kind"]
            "1 if the agent has a problem of this kind now, otherwise 0."
            + "`rfm status`, the page and `/healthz?verbose` show the text and the remedy of each. A loss is a problem until a minute has passed without another one.";
        Gauge BUILD_INFO = "rfm_build_info" ["version", "revision"]
            "Always 1. Version and revision of rfm.";
        Gauge CONFIG_RELOAD_SUCCESSFUL = "rfm_config_last_reload_successful" []
            "1 if the configuration was valid when it was last read; 0 if not, and the previous one stays in force.";
        Gauge CONFIG_RELOAD_TIMESTAMP = "rfm_config_last_reload_success_timestamp_seconds" []
            "Time at which the configuration in force was read, in seconds since the Unix epoch.";
        Gauge SCRAPE_DURATION = "rfm_scrape_duration_seconds" []
            "Seconds from the beginning of this scrape to this line.";
        Counter PROCESS_CPU = "process_cpu_seconds_total" []
            "CPU time that the process spent, user and system, in seconds.";
        Gauge PROCESS_RESIDENT_MEMORY = "process_resident_memory_bytes" []
            "Resident memory of the process in bytes.";
        Gauge PROCESS_VIRTUAL_MEMORY = "process_virtual_memory_bytes" []
            "Virtual memory of the process in bytes.";
        Gauge PROCESS_START_TIME = "process_start_time_seconds" []
            "Start time of the process, in seconds since the Unix epoch.";
        Gauge PROCESS_OPEN_FDS = "process_open_fds" []
            "Open file descriptors.";
        Gauge PROCESS_MAX_FDS = "process_max_fds" []
            "Limit of open file descriptors.";
        Gauge PROCESS_THREADS = "process_threads" []
            "Threads of the process.";
    }
}
