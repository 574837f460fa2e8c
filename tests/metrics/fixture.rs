// SPDX-License-Identifier: AGPL-3.0-only
//! Figures of a small router, all of them different.

use std::sync::Arc;
use std::time::Duration;

use rfm::bill::current_month::MonthPercentile;
use rfm::config::current::Reload;
use rfm::enrich::bmp::RouterStatus;
use rfm::enrich::rib::{BlackholeRejectReason, RibCounts};
use rfm::firewall::attachments::Attachment;
use rfm::firewall::backend::Mode;
use rfm::firewall::handle::FirewallReport;
use rfm::firewall::rule_series::Series;
use rfm::flow::export_queue::{DroppedRecords, RecordCounts};
use rfm::flow::paths::{TransitKey, TransitRow};
use rfm::flow::peers::{Peer, PeerBytes, PeerRow, PeerSnapshot};
use rfm::flow::snapshot::{SeriesRow, Snapshot, Totals};
use rfm::flow::sources::{OTHER_PEERS, SourceRow, SourceSnapshot};
use rfm::ipfix::collector_stats::CollectorStats;
use rfm::metrics::exposition::Format;
use rfm::metrics::{Bmp, Build, GuardCounts, Input, Interface, Rpki, render};
use rfm::netlink::{DeviceCounters, Link};
use rfm::store::shared::HistoryCounters;
use rfm::sys::clock::WallTimes;
use rfm::sys::error_counters::{ErrorCounters, Subsystem};
use rfm::sys::process::ProcessStats;
use rfm::types::counters::{Count, FamilyCounters, HookCounters};
use rfm::types::mac::MacAddress;
use rfm::types::role::InterfaceRole;
use rfm::types::source::SourceState;

/// Times of creation: of the counters of the agent, and the first of the others.
pub const STARTED_MS: u64 = 1_699_999_999_990;
pub const CREATED_MS: u64 = 1_700_000_100_000;

pub struct Fixture {
    links: Vec<Link>,
    interfaces: Vec<(&'static str, Option<HookCounters>, Option<HookCounters>)>,
    flows: Snapshot,
    bmp: Option<Bmp>,
    ipfix: Vec<Arc<CollectorStats>>,
    firewall: Option<FirewallReport>,
    guard: GuardCounts,
    history: Option<HistoryCounters>,
    month_percentiles: Vec<MonthPercentile>,
    errors: ErrorCounters,
}

impl Fixture {
    /// Nothing to watch, nothing seen.
    pub fn empty() -> Self {
        Self {
            links: Vec::new(),
            interfaces: Vec::new(),
            flows: Snapshot::default(),
            bmp: None,
            ipfix: Vec::new(),
            firewall: None,
            guard: GuardCounts::default(),
            history: None,
            month_percentiles: Vec::new(),
            errors: ErrorCounters::default(),
        }
    }

    /// An Ethernet port, a PPP session watched at ingress only, and a device that is not attached.
    pub fn new() -> Self {
        let mut new = Self::empty();
        new.links = vec![
            link(
                2,
                "eth0",
                "to \"IX\" \\ rack 7",
                "ethernet",
                Some(1_250_000_000),
            ),
            link(7, "ppp0", "", "ppp", None),
            link(9, "mon0", "", "ieee80211", None),
        ];
        new.links[0].master = Some(3);
        new.interfaces = vec![
            ("tcx", Some(hook(100)), Some(hook(200))),
            ("clsact", Some(hook(300)), None),
            ("none", None, None),
        ];
        new.history = Some(HistoryCounters {
            bytes: 71_000.into(),
            written_bytes: 72_000.into(),
            evicted_files: 3.into(),
            damaged_blocks: 4.into(),
            lost_rows: 5.into(),
            last_sync: 1_700_000_004.into(),
        });
        new.month_percentiles = vec![MonthPercentile {
            interface: "eth0".into(),
            bytes_per_second: [Some(125_000_000.5), None],
        }];
        new.flows = Snapshot {
            at_ms: 0,
            clock: WallTimes::default(),
            series: vec![row(0, 3), row(1, 0)],
            asns: vec![(64_496, "Documentation \"A\"".into()), (64_497, "B".into())],
            totals: Totals {
                accounted_packets: 5001,
                accounted_bytes: 5002,
                active_flows: 5003,
                max_flows: 65_536,
                forced_evictions: 5004,
                series: 2,
                series_limit: 10_000,
                series_folded: 5005,
            },
            sources: SourceSnapshot {
                rows: vec![
                    source(1, SourceState::Feasible, 0, 7101),
                    source(1, SourceState::Unknown, 0, 7102),
                    source(1, SourceState::Unknown, 64_503, 7103),
                    source(1, SourceState::Bogon, 0, 7104),
                    source(1, SourceState::Infeasible, 64_502, 7105),
                    source(2, SourceState::Unrouted, OTHER_PEERS, 7106),
                ],
                folded: 7107,
            },
            peers: PeerSnapshot {
                rows: vec![
                    peer(
                        64_501,
                        "Example \"Net\"",
                        Some(1),
                        [[5101, 5102], [5103, 5104]],
                    ),
                    peer(0, "", Some(2), [[5105, 0], [0, 0]]),
                    peer(0, "", None, [[5106, 0], [0, 0]]),
                ],
                folded: 5107,
                evicted: 5108,
            },
            transit: vec![
                transit(64_500, 1, [5201, 5202]),
                transit(64_501, 2, [0, 5203]),
            ],
        };
        new.bmp = Some(bmp("192.0.2.1 edge \"1\""));
        let before = Arc::new(DroppedRecords::default());
        let parts = |parts| RecordCounts {
            parts,
            packets: 10 * parts,
            octets: 1000 * parts,
        };
        for (n, collector) in [(1, "[::1]:4739"), (2, "nf.example.net:2055/tcp")] {
            let stats = CollectorStats::new(collector.into(), before.clone());
            stats.add_sent(6000 + n);
            stats.add_dropped(parts(n));
            stats.set_queued(80 + n);
            new.ipfix.push(Arc::new(stats));
        }
        before.count(parts(70));
        new.firewall = Some(firewall("eth0"));
        new.errors.count(Subsystem::Netlink);
        new
    }

    /// As many flow series.
    pub fn large(series: u64) -> Self {
        let mut new = Self::new();
        new.flows.series = (0..series).map(|n| row(n, n % 3)).collect();
        new
    }

    /// A flow series for each of these values.
    pub fn with_cities(values: &[String]) -> Self {
        let mut new = Self::large(values.len() as u64);
        for (n, row) in new.flows.series.iter_mut().enumerate() {
            row.labels = cities(&values[n], &n.to_string());
        }
        new
    }

    /// One interface, one router and one flow series with these strings.
    pub fn hostile(name: &str, alias: &str) -> Self {
        let mut new = Self::new();
        new.bmp = Some(bmp(alias));
        new.flows.series[0].labels = cities(alias, "");
        new.links = vec![link(2, name, alias, name, Some(1))];
        new.interfaces = vec![("tcx", Some(hook(100)), Some(hook(200)))];
        new
    }

    /// The text of these figures.
    pub fn text(&self) -> String {
        self.text_with(|_| {})
    }

    /// The same after a change of the input.
    pub fn text_with(&self, change: impl FnOnce(&mut Input)) -> String {
        String::from_utf8(self.bytes(Format::TextV0, change)).unwrap()
    }

    /// These figures in a format.
    pub fn bytes(&self, format: Format, change: impl FnOnce(&mut Input)) -> Vec<u8> {
        let interfaces = self.links.iter().zip(&self.interfaces);
        let interfaces: Vec<_> = interfaces
            .map(|(link, &(attach, ingress, egress))| Interface {
                name: &link.name,
                link,
                master: link.master.map_or("", |_| "br0"),
                attach,
                role: InterfaceRole::of(&[], &link.name, false, &link.alias),
                is_summed: true,
                ingress,
                egress,
                created_ms: Some(CREATED_MS),
                assigned_ms: Some(CREATED_MS + 500),
                removals: [0, 3],
                problems: Vec::new(),
            })
            .collect();
        let mut input = self.input(&interfaces);
        change(&mut input);
        let mut out = Vec::new();
        render(format, &input, || Duration::from_micros(1500), &mut out);
        out
    }

    fn input<'a>(&'a self, interfaces: &'a [Interface<'a>]) -> Input<'a> {
        Input {
            peer_series: true,
            source_check: true,
            interfaces,
            all_hooks: hook(400),
            pattern_matches: match self.links.len() {
                0 => &[],
                _ => &[("eth.*", 1), ("wg\\d+", 0)],
            },
            flows: &self.flows,
            flow_gauges: true,
            overload_rate: 8,
            sample_rate: 100,
            databases: match self.links.len() {
                0 => &[],
                _ => &[("asn", 1_700_000_001), ("city", 1_700_000_002)],
            },
            rpki: (!self.links.is_empty()).then_some(Rpki {
                vrps: [512_345, 98_765],
                updated: 1_700_000_003,
            }),
            bmp: self.bmp.as_ref(),
            ipfix: &self.ipfix,
            firewall: self.firewall.as_ref(),
            guard: self.firewall.as_ref().map(|_| &self.guard),
            history: self.history.as_ref(),
            month_percentiles: &self.month_percentiles,
            errors: &self.errors,
            http_auth_failures: Some(3),
            dropped_log_lines: 7,
            parse_errors: &[("ipv4_version", 3), ("ipv6_short", 0)],
            build: Build {
                version: "0.1.0",
                revision: "0123abc",
            },
            reload: Reload {
                successful: true,
                success_time: 1_700_000_000.25,
            },
            problems: &[],
            process: Some(ProcessStats {
                cpu_seconds: 1.5,
                resident_bytes: 4_000_000,
                virtual_bytes: 90_000_000,
                start_time: 1_699_999_999.99,
                open_fds: 31,
                max_fds: Some(1024),
                threads: 6,
            }),
            evicted_scrapers: 17,
            started_ms: Some(STARTED_MS),
        }
    }
}

fn link(ifindex: u32, name: &str, alias: &str, kind: &str, speed: Option<u64>) -> Link {
    let base = u64::from(ifindex) * 1000;
    Link {
        ifindex,
        name: name.into(),
        alias: alias.into(),
        kind: kind.into(),
        speed_bytes: speed,
        stats: DeviceCounters {
            rx_packets: base + 1,
            rx_bytes: base + 2,
            tx_packets: base + 3,
            tx_bytes: base + 4,
        },
        ..Link::default()
    }
}

/// A router with a session, one that is gone, and one that has not said anything yet.
fn bmp(name: &str) -> Bmp {
    let router = |router: &str, sessions, n: u64| RouterStatus {
        router: router.to_owned(),
        sessions,
        last_message: 1_700_000_000.5 * f64::from(u8::from(n > 0)),
        updates: n,
        withdraws: n / 2,
        ignored: std::array::from_fn(|family| u64::from(family == 2) * (n / 3)),
        trailing: n / 4,
    };
    Bmp {
        routers: vec![
            router(name, 2, 6001),
            router("2001:db8::1", 0, 6003),
            router("192.0.2.3", 1, 0),
        ],
        errors: vec![("frame", 6005), ("nlri", 0)],
        counts: RibCounts {
            routes: [6006, 6007],
            prefixes: [6008, 6009],
            stale_routes: [6010, 0],
            peers: 6011,
        },
        blackholes_refused: BlackholeRejectReason::ALL.into_iter().zip(6012..).collect(),
    }
}

/// A rule that drops, a limit, and an interface where another program is.
fn firewall(name: &str) -> FirewallReport {
    let series = |rule: &str, action, n| Series {
        rule: rule.to_owned(),
        action,
        packets: n,
        bytes: 100 * n,
    };
    let port = |ifindex, state| Attachment {
        ifindex,
        name: name.to_owned(),
        state,
    };
    FirewallReport {
        series: vec![
            series("blackhole", "drop", 8001),
            series("config-1", "drop", 8002),
            series("runtime-7", "drop", 8003),
            series("runtime-7", "pass", 8004),
        ],
        rules: [3, 1, 2, 4, 5, 7],
        attachments: vec![
            port(2, Ok(Mode::Native)),
            port(7, Ok(Mode::Generic)),
            port(9, Err("another program is there".to_owned())),
        ],
        ..FirewallReport::default()
    }
}

/// Per family f: base + f packets observed, 20 + f sampled, 2 dropped, 4 thinned, 3 added, each of about 100 bytes;
/// 5 records dropped.
fn hook(base: u64) -> HookCounters {
    let of_family = |f: u64| FamilyCounters {
        observed: Count {
            packets: base + f,
            bytes: 100 * base + 200 * f,
        },
        sampled: Count {
            packets: 20 + f,
            bytes: 2000 + 100 * f,
        },
        dropped: Count {
            packets: 2,
            bytes: 200,
        },
        thinned: Count {
            packets: 4,
            bytes: 400,
        },
        added: Count {
            packets: 3,
            bytes: 300,
        },
    };
    HookCounters {
        families: [of_family(0), of_family(1), of_family(2)],
        dropped_records: 5,
    }
}

fn row(n: u64, live_flows: u64) -> SeriesRow {
    let labels = format!(
        r#"ifname="eth0",direction="egress",proto="6",src_asn="",dst_asn="{}",src_city="",dst_city="A \"B\"""#,
        64_496 + n
    );
    let base = n * 10;
    SeriesRow {
        labels: labels.into(),
        created_ms: CREATED_MS + 1_000 + n,
        bytes_total: base + 1,
        packets_total: base + 2,
        live_bytes: base + 3,
        live_packets: base + 4,
        live_sampled_bytes: base + 5,
        live_sampled_packets: base + 6,
        error_bytes: 1500 * n,
        error_packets: n,
        live_flows,
    }
}

/// Labels as of a flow series.
fn cities(src: &str, dst: &str) -> Arc<str> {
    let escaped = src.replace('\\', "\\\\").replace('"', "\\\"");
    let escaped = escaped.replace('\n', "\\n");
    format!("src_city=\"{escaped}\",dst_city=\"{dst}\"").into()
}

fn transit(asn: u32, position: u8, bytes: [u64; 2]) -> TransitRow {
    TransitRow {
        key: TransitKey { asn, position },
        bytes,
        created_ms: CREATED_MS + 3_000,
    }
}

fn source(interface: u8, state: SourceState, peer_asn: u32, bytes: u64) -> SourceRow {
    SourceRow {
        ifname: format!("eth{interface}").into(),
        state,
        peer_asn,
        bytes,
        created_ms: CREATED_MS + 3_000,
    }
}

fn peer(asn: u32, name: &str, last: Option<u8>, bytes: PeerBytes) -> PeerRow {
    PeerRow {
        ifname: "eth0".into(),
        peer: Peer {
            asn,
            name: name.into(),
            known: asn > 0,
        },
        mac: last.map(|last| MacAddress([2, 0, 0x5e, 0, 0x53, last])),
        bytes,
        created_ms: [[1, 2], [3, 4]].map(|times| times.map(|n| CREATED_MS + 2_000 + n)),
    }
}
