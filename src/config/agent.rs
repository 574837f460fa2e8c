// SPDX-License-Identifier: AGPL-3.0-only
//! `[agent]` with its sections on BPF programs, flows and Prometheus.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::control::Control;
use super::enrich::Enrich;
use super::firewall::Firewall;
use super::guard::Guard;
use super::history::History;
use super::ipfix::Ipfix;
use super::machine::Machine;
use super::privacy::Privacy;
use super::reference::ReloadClass::{Applied, Restart};
use super::section::section;
use super::validate;
use super::values::{
    MAX_LIST, SECOND, address_or_name, boolean, canonical_prefix, duration, list, named, number,
    optional, path, power_of_two, power_of_two_or_zero, text, url, word, words,
};
use crate::types::flow::Direction;
use crate::types::hook::{MIN_RECORDS, Position};
use crate::types::interface_pattern::{Pattern, Patterns};
use crate::types::label::Label;
use crate::types::prefix::Prefix;
use crate::types::role::{Role, RoleRule};

pub const DEFAULT_FLOW_CACHE: u32 = 8192;

/// The largest flow table that its 32-bit indices permit.
pub(super) const MAX_MAX_FLOWS: u32 = 1 << 30;

/// libbpf counts a ring's bytes in 32 bits, and its pages are mapped twice.
const MAX_RING_BUF_SIZE: u32 = 1 << 30;

/// One slot is one index of a per-CPU array that the kernel allocates at once.
const MAX_IFACE_STATS_SIZE: u32 = 65_535;

const MAX_ROLE_RULES: usize = 1_000;
const MAX_PROVIDER: usize = 256;
const MAX_PATH: usize = 4_095;
const MAX_FLOW_CACHE: u32 = 1 << 20;
const MAX_TRANSIT_SERIES: u32 = 1_000;
const MAX_MAX_SERIES: u32 = 10_000_000;

section! {
    pub struct Agent(machine: &Machine) {
        interfaces: Vec<Pattern> = key {
            reload: Applied,
            type: list(MAX_LIST, word("a regular expression or \"*\"")),
            required: "interfaces = [\"eth0\"], or [\"*\"] for all but loopback",
            default: Vec::new(),
            recommended: "[\"*\"]",
            text: "Interfaces to monitor: regular expressions, each for a whole name; \"*\" is everything but loopback.",
        }
        exclude_interfaces: Vec<Pattern> = key {
            reload: Applied,
            type: list(MAX_LIST, word("a regular expression or \"*\"")),
            default: Vec::new(),
            text: "Interfaces not to monitor, in the same form; it wins over interfaces.",
        }
        require_interface: bool = key {
            reload: Applied,
            type: boolean(),
            default: true,
            recommended: "false",
            text: "Whether to refuse the start if no interface matches. With false, the start at boot does not depend on \
                   a ppp0 or wg0 that appears later.",
        }
        /// In the order of [`Direction::ALL`], each at most once, never empty.
        directions: Vec<Direction> = key {
            reload: Applied,
            type: words(2),
            default: Direction::ALL.to_vec(),
            text: "Hooks to attach.",
        }
        #[serde(skip_serializing_if = "Vec::is_empty")]
        interface: Vec<RoleRule> = tables {
            reload: Applied,
            of: RoleRule,
            max: MAX_ROLE_RULES,
            with: (),
            text: "Roles of interfaces, one table each: labels of rfm_interface_info, and sums on the page.",
            details: "The first table that matches applies. An interface without a table has the role in its alias, in the \
                      form \"[transit: Example Net]\" or \"[internal]\".",
        }
        bpf: Bpf = section {
            of: Bpf,
            with: (machine),
            text: "",
        }
        collector: Collector = section {
            of: Collector,
            with: (machine),
            text: "",
        }
        prometheus: Prometheus = section {
            of: Prometheus,
            with: (machine),
            text: "",
        }
        ipfix: Ipfix = section {
            of: Ipfix,
            with: (machine, &interfaces, &exclude_interfaces, &directions),
            text: "Flows to an IPFIX collector.",
        }
        history: History = section {
            of: History,
            with: (),
            text: "The history on disk.",
        }
        privacy: Privacy = section {
            of: Privacy,
            with: (),
            text: "",
        }
        enrich: Enrich = section {
            of: Enrich,
            with: (machine),
            text: "",
        }
        control: Control = section {
            of: Control,
            with: (),
            text: "The socket of the client commands (rfm status, flows, top ...) and of every program that sends HTTP to it.",
        }
        firewall: Firewall = section {
            of: Firewall,
            with: (),
            text: "Drops packets as they arrive, before they cost anything. If another XDP program is attached, it stays, \
                   and the interface has no firewall.",
        }
        guard: Guard = section {
            of: Guard,
            with: (),
            text: "Detects attacks, and drops only their packets.",
        }
    }
}

section! {
    impl RoleRule() {
        interfaces: Vec<Pattern> = key {
            reload: Applied,
            type: list(MAX_LIST, word("a regular expression or \"*\"")),
            required: "interfaces = [\"eth0\"]",
            default: Vec::new(),
            example: "[\"eth0\"]",
            text: "The interfaces, by patterns as in agent.interfaces; required.",
        }
        role: Option<Role> = key {
            reload: Applied,
            type: optional("\"transit\", \"ix\", \"pni\", \"customer\" or \"internal\""),
            default: None,
            example: "\"transit\"",
            text: "The network behind them: transit, ix (exchange), pni (one peer), customer or internal; \"\" = as in the \
                   alias.",
            details: "Sums leave internal interfaces out.",
        }
        provider: String = key {
            reload: Applied,
            type: text(MAX_PROVIDER),
            default: String::new(),
            text: "The name of the other network or of the exchange; \"\" = as in the alias.",
        }
    }
}

impl Prometheus {
    /// Returns a warning if any client may read the metrics and the page, unless the web configuration file requires
    /// users or client certificates.
    pub fn open_port(&self) -> Option<String> {
        validate::open_port(self)
    }

    /// Returns whether only programs on this machine can connect.
    pub fn is_local(&self) -> bool {
        validate::is_loopback(&self.host)
    }

    /// Returns the path of the web configuration file.
    pub fn web_config(&self) -> Option<&Path> {
        let path = self.web_config.as_path();
        (!path.as_os_str().is_empty()).then_some(path)
    }
}

impl Agent {
    /// The patterns of the interfaces to monitor.
    pub fn patterns(&self) -> Patterns {
        Patterns::new(self.interfaces.clone(), self.exclude_interfaces.clone())
    }
}

section! {
    pub struct Bpf(machine: &Machine) {
        /// 1 in N; at least 1.
        sample_rate: u32 = key {
            reload: Applied,
            type: number(1..=u32::MAX),
            default: 100,
            recommended: "1",
            text: "Sample one packet in N for flows; interfaces count every packet. 1 is exact.",
        }
        /// Bytes; a power of two and a multiple of the page size.
        ring_buf_size: u32 = key {
            reload: Restart,
            type: power_of_two(machine.page_size..=MAX_RING_BUF_SIZE),
            unit: "bytes",
            default: 262_144,
            text: "Size of the ring buffer between kernel and agent: a power of two, at least a page.",
            details: "It counts twice in resident memory.",
        }
        wakeup_batch: u32 = key {
            reload: Applied,
            type: number(1..=u32::MAX),
            unit: "events",
            default: 64,
            text: "Wake the agent every N events (it looks ten times a second in any case).",
            details: "N is per CPU, and lower if N events would fill a quarter of the ring buffer.",
        }
        /// Interface slots; 0 = max(1,024, 4 × found).
        iface_stats_size: u32 = key {
            reload: Restart,
            type: number(0..=MAX_IFACE_STATS_SIZE),
            unit: "interfaces",
            default: 0,
            text: "How many interfaces can be counted; 0 = four times those found, at least 1024.",
        }
        position: Position = key {
            reload: Restart,
            type: named(),
            default: Position::Head,
            text: "Place among the TCX programs of an interface: \"head\" or \"tail\".",
        }
        /// Records per CPU, a power of two; 0 = one event per sampled packet.
        flow_cache: u32 = key {
            reload: Restart,
            type: power_of_two_or_zero(MIN_RECORDS..=MAX_FLOW_CACHE),
            unit: "flow records per CPU",
            default: DEFAULT_FLOW_CACHE,
            text: "Flow records kept per CPU, a power of two; 0 = one event per sampled packet.",
            details: "The kernel adds up flows in these records. Each takes 128 bytes. The agent halves the number until \
                      all records fit 1/64 of the memory.",
        }
    }
}

section! {
    pub struct Collector(machine: &Machine) {
        /// The effective limit, at least 1: 0 in the file is replaced by what the memory holds.
        max_flows: u32 = key {
            reload: Applied,
            type: number(0..=MAX_MAX_FLOWS),
            unit: "flows",
            default: 65_536,
            text: "Flows kept; 0 = as many as fit a quarter of the memory: of the machine, or of the control group if that \
                   has less.",
            details: "If the table is full, rfm evicts the flow that has been idle longest.",
        }
        #[serde(with = "humantime_serde")]
        eviction_timeout: Duration = key {
            reload: Applied,
            type: duration(SECOND),
            default: Duration::from_secs(30),
            text: "A flow without a packet for this long has ended.",
        }
        #[serde(with = "humantime_serde")]
        active_timeout: Duration = key {
            reload: Applied,
            type: duration(SECOND),
            default: Duration::from_secs(60),
            text: "A flow that continues is exported in partial records of this length.",
        }
        paths: bool = key {
            reload: Restart,
            type: boolean(),
            default: false,
            text: "Whether to count bytes by AS path for a day, for \"rfm paths\". It needs routes by BMP.",
            details: "The counts take under 8 MB, whatever the number of routes.",
        }
    }
    complete(collector) {
        if collector.max_flows == 0 {
            collector.max_flows = machine.flow_limit();
        }
    }
}

section! {
    pub struct Prometheus(machine: &Machine) {
        /// An address or a host name.
        host: String = key {
            reload: Restart,
            type: address_or_name(),
            default: machine.default_host().into(),
            text: "Address of /metrics: \"::\" is all of them, IPv4 too. Without IPv6 the default is \"127.0.0.1\".",
        }
        port: u16 = key {
            reload: Restart,
            type: number(1..=u16::MAX),
            default: 9669,
            text: "Its TCP port.",
        }
        /// Clients that may connect; empty = any.
        allow: Vec<Prefix> = key {
            reload: Applied,
            type: list(MAX_LIST, canonical_prefix()),
            default: Vec::new(),
            text: "Prefixes that may connect, such as [\"10.0.0.0/8\"]; empty = anyone.",
            details: "In this and all other lists of prefixes, and in [[agent.enrich.prefix]], an IPv4-mapped prefix \
                      (\"::ffff:10.0.0.0/104\") is the IPv4 prefix.",
        }
        /// Empty: plain HTTP without users.
        web_config: PathBuf = key {
            reload: Applied,
            type: path(MAX_PATH),
            default: PathBuf::new(),
            example: "\"/etc/rfm/web.yml\"",
            text: "Web configuration file of Prometheus' exporter-toolkit, with certificate and users; \"\" = plain HTTP, no \
                   users.",
            details: "The file has the keys tls_server_config, http_server_config and basic_auth_users. rfm reads it and its \
                      certificates again when they change; settings that rfm does not support are errors. \
                      docs/prometheus.md has an example.",
        }
        open_health: bool = key {
            reload: Applied,
            type: boolean(),
            default: false,
            text: "Whether /healthz needs no user.",
            details: "/healthz?verbose needs one in any case. TLS is as for all other paths.",
        }
        flow_gauges: bool = key {
            reload: Applied,
            type: boolean(),
            default: true,
            text: "Whether to show the gauges of live flows beside the counters.",
            details: "There are four of them.",
        }
        /// In the order of [`Label::ALL`], each at most once.
        labels: Vec<Label> = key {
            reload: Restart,
            type: words(MAX_LIST),
            default: Label::USUAL.to_vec(),
            text: "Labels of the flow series; also: src_country, dst_country, src_peer_asn, dst_peer_asn, peer_asn, src_net, \
                   dst_net, vlan, src_community, dst_community, src_rpki, dst_rpki.",
            details: "Fewer labels make fewer series with the same totals.",
        }
        max_series: u32 = key {
            reload: Applied,
            type: number(1..=MAX_MAX_SERIES),
            unit: "series",
            default: 10_000,
            text: "Flow series kept.",
            details: "The series \"other\" counts the traffic of all further ones.",
        }
        #[serde(with = "humantime_serde")]
        series_ttl: Duration = key {
            reload: Applied,
            type: duration(SECOND),
            default: Duration::from_secs(3600),
            text: "A series without traffic for this long expires.",
        }
        peer_series: bool = key {
            reload: Restart,
            type: boolean(),
            default: false,
            text: "Whether to count bytes by neighbor on segments with several, such as an exchange LAN.",
            details: "rfm counts at most 2,500 MAC addresses, and all further ones of an interface together.",
        }
        transit_series: u32 = key {
            reload: Restart,
            type: number(0..=MAX_TRANSIT_SERIES),
            unit: "series",
            default: 0,
            text: "Largest ASes on the path to show in rfm_transit_bytes_total; 0 = none. It needs agent.collector.paths.",
            details: "Each position of an AS on the path counts as one, and has a series for each direction.",
        }
        p95_series: bool = key {
            reload: Restart,
            type: boolean(),
            default: false,
            text: "Whether to show the 95th percentile of the current month of each interface, rfm_interface_p95_bytes. It \
                   needs agent.history.path.",
            details: "It is that of rfm bill, and is calculated after each sample of 5 minutes.",
        }
        page: bool = key {
            reload: Restart,
            type: boolean(),
            default: true,
            text: "Whether to show the built-in page at /, and to keep a day of history for it.",
            details: "The history takes under 6 MB. Without the page, / has a line with links.",
        }
        /// Empty: no link.
        dashboard: String = key {
            reload: Applied,
            type: url(MAX_PATH),
            default: String::new(),
            example: "\"https://grafana.example.net/d/rfm\"",
            text: "Address of the dashboard, for the link on the page; \"\" = no link.",
        }
    }
    complete(prometheus) {
        // an empty host has always meant every address
        if prometheus.host.is_empty() {
            prometheus.host = "::".into();
        }
    }
}
