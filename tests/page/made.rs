// SPDX-License-Identifier: AGPL-3.0-only
//! A made-up router whose day passes in a moment: the page's memory is fed as thread page feeds it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use rfm::enrich::source_check::ViewReport;
use rfm::flow::snapshot::SeriesRow;
use rfm::flow::sources::SourceSnapshot;
use rfm::flow::talkers::{Talker, TalkerAnswer, TalkerList, TalkerQuery, TalkerRow, TalkerVolume};
use rfm::history::HistoryReading;
use rfm::http::Server;
use rfm::metrics::collect::ScrapeRequest;
use rfm::metrics::exposition::Format;
use rfm::netlink::Link;
use rfm::page::attacks::AttackTable;
use rfm::page::paths::PathsState;
use rfm::page::routes::Routes;
use rfm::page::source_check::SourceTable;
use rfm::page::stored::StoredHistory;
use rfm::page::view::AgentState;
use rfm::page::{Page, TalkerSource};
use rfm::sys::error_counters::ErrorCounters;
use rfm::types::address_detail::AddressDetail;
use rfm::types::counters::{Count, FamilyCounters, HookCounters};
use rfm::types::role::Role;
use serde_json::{Value, json};

use crate::common::http::Running;
use crate::year::ReadThread;
use rfm::history::InterfaceReading;

/// What a browser must show as it is.
pub const HOSTILE_INTERFACE: &str = "<i>&\"'x";
pub const HOSTILE_NETWORK: &str =
    "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>";
pub const HOSTILE_CITY: &str = "</td><svg onload=document.title='taken'>\u{202e}";

const NAMES: [&str; 12] = [
    "Example Video Delivery",
    "Cloud Nine Hosting",
    "Northern Search",
    "Meridian Social",
    "Harbour Backbone",
    "Blue Archive CDN",
    "Open Mirror Foundation",
    "City Fibre Cooperative",
    "Polar Games",
    "Alpine Research Network",
    "Signal Messenger",
    "Quartz Mail",
];
const CITIES: [&str; 8] = [
    "Frankfurt am Main",
    "Amsterdam",
    "Zürich",
    "London",
    "Paris",
    "Ashburn",
    "",
    "Stockholm",
];
const COUNTRIES: [&str; 8] = ["DE", "NL", "CH", "GB", "FR", "US", "", "SE"];

struct Series {
    row: SeriesRow,
    interface: usize,
    direction: usize,
    weight: f64,
    network: usize,
    ipv6: bool,
}

pub struct Router {
    pub page: Arc<Page>,
    links: Vec<Link>,
    masters: Vec<&'static str>,
    hooks: Vec<[HookCounters; 2]>,
    series: Vec<Series>,
    asns: Vec<(u32, Arc<str>)>,
    /// Seconds since the Unix epoch.
    start: f64,
    tick: u64,
    pub sample_rate: u32,
    pub problems: Value,
    pub attributions: Value,
    pub names_missing: bool,
    bmp_router: &'static str,
    strangers: [&'static str; 4],
    pub dashboard: String,
    /// The roles of the first interfaces.
    pub roles: Vec<Role>,
    /// Sampled packets that did not reach the flow table.
    pub lost: u64,
    /// Whether there is a BMP session with each of the routers.
    pub sessions: [bool; 2],
    pub addresses: Arc<Mutex<AddressDetail>>,
    pub paths: PathsState,
    pub sources: Option<(SourceSnapshot, ViewReport)>,
    pub attacks: Option<AttackTable>,
    /// The ifindex of the default route.
    pub uplink: Option<u32>,
    history_thread: Option<ReadThread>,
}

impl Router {
    /// With so many networks behind `wan0`.
    pub fn new(networks: usize) -> Self {
        let strangers = [
            HOSTILE_INTERFACE,
            "<b>alias</b>",
            HOSTILE_NETWORK,
            HOSTILE_CITY,
        ];
        Self::with_names(networks, "edge1 <b>", strangers)
    }

    /// With names as those of a real router.
    pub fn realistic(networks: usize) -> Self {
        let names = ["wg1", "Branch Bergen", "Tidal Telecom", "Oslo"];
        Self::with_names(networks, "edge1", names)
    }

    /// `strangers`: an interface, its alias, a network and a city.
    fn with_names(networks: usize, bmp_router: &'static str, strangers: [&'static str; 4]) -> Self {
        let links = vec![
            link(
                2,
                "wan0",
                "Transit, Harbour Backbone",
                "ethernet",
                Some(1_250_000_000),
            ),
            link(
                3,
                "ix0",
                "Exchange LAN, rack 7",
                "ethernet",
                Some(125_000_000),
            ),
            link(4, "br-lan", "", "bridge", None),
            link(5, "lan1", "Office", "ethernet", Some(125_000_000)),
            link(6, "wg0", "Branch Ålesund", "wireguard", None),
            link(7, strangers[0], strangers[1], "wireguard", None),
        ];
        let addresses = Arc::new(Mutex::new(AddressDetail::default()));
        let detail = addresses.clone();
        let mut router = Self {
            bmp_router,
            strangers,
            dashboard: String::new(),
            roles: Vec::new(),
            lost: 0,
            sessions: [true; 2],
            addresses,
            problems: json!([]),
            attacks: None,
            attributions: json!([]),
            names_missing: false,
            paths: PathsState::NotCounted,
            sources: None,
            uplink: None,
            history_thread: None,
            page: Arc::new(Page::with_talkers(TalkerSource {
                ask: Box::new(|query| Some(talkers(&query))),
                addresses: Box::new(move || *detail.lock().expect("no test fails meanwhile")),
            })),
            masters: vec!["", "", "", "br-lan", "", ""],
            hooks: vec![[HookCounters::default(); 2]; links.len()],
            links,
            series: Vec::new(),
            asns: Vec::new(),
            start: 0.0,
            tick: 0,
            sample_rate: 100,
        };
        for network in 0..networks {
            router.network(network);
        }
        router
    }

    fn network(&mut self, network: usize) {
        let asn = 64_500 + network as u32;
        let name = match network {
            n if n < NAMES.len() => NAMES[n].into(),
            n if n == NAMES.len() => self.strangers[2].into(),
            n => format!("Network number {n}"),
        };
        self.asns.push((asn, name.as_str().into()));
        let weight = 1.0 / (network as f64 + 1.6).powf(1.1);
        for interface in [0, 1, 2, 3, 4, 5] {
            if interface > 1 && network > 20 || interface == 1 && network > 60 {
                continue;
            }
            for direction in [0, 1] {
                let ipv6 = network % 3 == 1;
                let city = match network {
                    n if n == NAMES.len() => self.strangers[3],
                    n => CITIES[n % CITIES.len()],
                };
                let labels = labels(
                    &self.links[interface].name,
                    direction,
                    if network.is_multiple_of(4) { 17 } else { 6 },
                    asn,
                    city,
                    COUNTRIES[network % COUNTRIES.len()],
                );
                let share = [1.0, 0.35, 0.8, 0.5, 0.08, 0.01][interface];
                let back = [1.0, 0.22][direction];
                self.series.push(Series {
                    row: row(&labels),
                    interface,
                    direction,
                    weight: weight * share * back,
                    network,
                    ipv6,
                });
            }
        }
    }

    /// Adds a history on disk; before the router is served.
    pub fn with_history(mut self, (history, thread): (StoredHistory, ReadThread)) -> Self {
        let page = std::mem::take(&mut self.page);
        let page = Arc::into_inner(page).expect("the only owner");
        self.page = Arc::new(page.with_stored(history));
        self.history_thread = Some(thread);
        self
    }

    /// Adds so many interfaces without flows.
    pub fn add_interfaces(&mut self, count: u32) {
        for _ in 0..count {
            let n = self.links.len() as u32 - 6;
            let name = format!("eth{n}");
            self.links.push(link(100 + n, &name, "", "ethernet", None));
            self.masters.push("");
            self.hooks.push([HookCounters::default(); 2]);
        }
    }

    /// The wall clock of the router is set.
    pub fn step_clock(&mut self, seconds: f64) {
        self.start += seconds;
    }

    /// Five seconds pass.
    pub fn tick(&mut self) {
        self.ticks(1);
    }

    /// So many times five seconds pass at once: each gets the mean of all.
    fn ticks(&mut self, ticks: u64) {
        self.tick += ticks;
        let hours = self.tick as f64 / 720.0;
        let daily = 0.62 - 0.38 * ((hours - 1.0) / 24.0 * std::f64::consts::TAU).cos();
        for series in &mut self.series {
            let phase = series.network as f64 * 1.7 + series.direction as f64;
            let wave =
                1.0 + 0.25 * (hours * 5.0 + phase).sin() + 0.1 * (hours * 41.0 + phase * 3.0).sin();
            let noise = 0.93 + 0.14 * noise(self.tick, series.network as u64);
            let bytes = (ticks as f64 * 5.0 * 62e6 * series.weight * daily * wave * noise) as u64;
            let packets = bytes / if series.direction == 0 { 1180 } else { 410 };
            series.row.bytes_total += bytes;
            series.row.packets_total += packets;
            let hook = &mut self.hooks[series.interface][series.direction];
            let family = &mut hook.families[usize::from(series.ipv6)];
            add(family, bytes, packets);
        }
        for (n, hooks) in (0..).zip(&mut self.hooks) {
            let bytes = match n {
                0..6 => 300,
                n => (3e6 * (0.5 + noise(self.tick, n))) as u64,
            };
            for hook in hooks {
                add(&mut hook.families[2], bytes * ticks, bytes * ticks / 60);
            }
        }
        self.feed();
    }

    fn feed(&self) {
        let interfaces: Vec<_> = (0..self.links.len())
            .map(|i| InterfaceReading {
                link: &self.links[i],
                master: self.masters[i],
                attach: "tcx",
                role: self.roles.get(i).copied(),
                provider: "",
                is_summed: true,
                hooks: [Some(&self.hooks[i][0]), Some(&self.hooks[i][1])],
            })
            .collect();
        let rows: Vec<_> = self.series.iter().map(|s| s.row.clone()).collect();
        let reading = HistoryReading {
            now_ms: self.tick * 5000,
            wall: self.start + self.tick as f64 * 5.0,
            interfaces: &interfaces,
            uplink: self.uplink,
            series: &rows,
            asns: &self.asns,
            sample_rate: self.sample_rate,
        };
        self.page.feed(
            &reading,
            AgentState {
                figures: self.figures(),
                problems: self.problems.clone(),
                attributions: self.attributions.clone(),
                names_missing: self.names_missing,
                dashboard: self.dashboard.clone(),
                source_check: self
                    .sources
                    .as_ref()
                    .map(|(sources, report)| SourceTable::new(sources, report)),
                attacks: self.attacks.clone(),
                local: Vec::new(),
                paths: self.paths.clone(),
                asns: BTreeMap::from([
                    (64_610, "Long Haul <b>Carrier</b>".into()),
                    (64_620, "Member of the Exchange".into()),
                ]),
            },
        );
    }

    /// So many hours pass, in steps of a quarter of a minute to six minutes.
    pub fn pass(&mut self, hours: u64) {
        if self.tick == 0 {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            self.start = now.as_secs_f64() - (hours * 3600) as f64;
            self.feed();
        }
        for _ in 1..hours {
            (0..10).for_each(|_| self.ticks(72));
        }
        (0..239).for_each(|_| self.ticks(3));
        (0..3).for_each(|_| self.tick());
    }

    fn figures(&self) -> Value {
        let single = |value: f64| json!([[{}, value]]);
        json!({
            "rfm_sample_rate": single(self.sample_rate.into()),
            "rfm_collector_active_flows": single(18_211.0),
            "rfm_collector_max_flows": single(65_536.0),
            "rfm_collector_accounted_packets_total": single(self.tick as f64 * 2200.0),
            "rfm_collector_dropped_packets_total": single(self.lost as f64),
            "rfm_collector_forced_evictions_total": single(0.0),
            "rfm_flow_series": single(self.series.len() as f64),
            "rfm_flow_series_limit": single(10_000.0),
            "rfm_flow_series_folded_total": single(0.0),
            "rfm_mmdb_build_timestamp_seconds": [[{"database": "asn"}, self.start - 4e5], [{"database": "city"}, self.start - 4e5]],
            "rfm_errors_total": [[{"subsystem": "http"}, 0.0], [{"subsystem": "bmp"}, 0.0]],
            "rfm_bmp_sessions": single(self.sessions.iter().filter(|up| **up).count() as f64),
            "rfm_bmp_peers": single(9.0),
            "rfm_bmp_session_up": [
                [{"router": self.bmp_router}, u8::from(self.sessions[0])],
                [{"router": "edge2"}, u8::from(self.sessions[1])],
            ],
            "rfm_rib_routes": [[{"family": "ipv4"}, 2_014_332.0], [{"family": "ipv6"}, 441_870.0]],
            "rfm_rib_stale_routes": [[{"family": "ipv4"}, 0.0], [{"family": "ipv6"}, 0.0]],
            "rfm_ipfix_records_total": [[{"collector": "[::1]:4739"}, 918_230.0]],
            "rfm_ipfix_dropped_records_total": [[{"collector": "[::1]:4739"}, 0.0]],
            "rfm_config_last_reload_successful": single(1.0),
            "rfm_config_last_reload_success_timestamp_seconds": single(self.start),
            "process_start_time_seconds": single(self.start - 1.0),
            "process_cpu_seconds_total": single(self.tick as f64 * 0.02),
            "process_resident_memory_bytes": single(9_811_000.0),
        })
    }

    /// The exporter with this router's page.
    pub fn serve(&self) -> Running {
        let metrics = |_: &ScrapeRequest, out: &mut Vec<u8>| {
            out.extend_from_slice(b"rfm_up 1\n");
            Ok(Format::TextV0)
        };
        let routes =
            Routes::new(metrics, || Ok(()), || Ok(Vec::new())).with_page(Some(self.page.clone()));
        let errors = Arc::new(ErrorCounters::default());
        let server = Server::bind("127.0.0.1", 0, errors.clone()).expect("loopback");
        let server = match self.page.deferrer() {
            Some(reads) => server.deferrer(reads),
            None => server,
        };
        Running::new(server, errors, move |request, _| routes.answer(&request))
    }
}

/// Returns the name of a network of the realistic router.
pub fn network_name(asn: u32) -> Option<String> {
    let name = NAMES.get(asn.checked_sub(64_500)? as usize)?;
    Some((*name).to_owned())
}

fn link(ifindex: u32, name: &str, alias: &str, kind: &str, speed: Option<u64>) -> Link {
    Link {
        ifindex,
        name: name.into(),
        alias: alias.into(),
        kind: kind.into(),
        speed_bytes: speed,
        ..Link::default()
    }
}

fn labels(
    name: &str,
    direction: usize,
    protocol: u8,
    asn: u32,
    city: &str,
    country: &str,
) -> String {
    let name = name.replace('\\', "\\\\").replace('"', "\\\"");
    let city = city.replace('\\', "\\\\").replace('"', "\\\"");
    let (direction, far, near) = [("ingress", "src", "dst"), ("egress", "dst", "src")][direction];
    format!(
        "ifname=\"{name}\",direction=\"{direction}\",proto=\"{protocol}\",{far}_asn=\"{asn}\",\
         {near}_asn=\"65550\",{far}_city=\"{city}\",{near}_city=\"\",{far}_country=\"{country}\",\
         {far}_peer_asn=\"{}\"",
        64_500 + asn % 5
    )
}

fn row(labels: &str) -> SeriesRow {
    SeriesRow {
        labels: labels.into(),
        created_ms: 0,
        bytes_total: 0,
        packets_total: 0,
        live_bytes: 0,
        live_packets: 0,
        live_sampled_bytes: 0,
        live_sampled_packets: 0,
        error_bytes: 0,
        error_packets: 0,
        live_flows: 0,
    }
}

/// Hosts, prefixes and services behind the first networks; each filter leaves a third of the traffic.
fn talkers(query: &TalkerQuery) -> TalkerAnswer {
    let part = 0.33f64.powi(query.filter.conditions.len() as i32);
    let volume = |weight: f64| {
        let now = 40e6 * weight * part;
        TalkerVolume {
            bytes: (now * 300.0) as u64,
            packets: (now / 4.0) as u64,
            bytes_now: now as f32,
            packets_now: (now / 1180.0) as f32,
            bytes_most: now as f32 * 1.3,
            packets_most: now as f32 / 900.0,
        }
    };
    let services = [
        (6, 443),
        (17, 443),
        (6, 80),
        (17, 51_820),
        (6, 22),
        (1, 0),
        (17, 53),
    ];
    let rows = (0..250u8).map_while(|n| {
        let v6 = format!("2001:db8:{n:x}::{n:x}").parse().unwrap();
        let address = if n % 4 == 3 {
            v6
        } else {
            [203, 0, 113, n].into()
        };
        let talker = match query.list {
            TalkerList::Hosts(_) => Talker::Host(address),
            TalkerList::Prefixes(_) => Talker::Network([198, 51, n, 0].into()),
            TalkerList::Services => {
                let &(protocol, port) = services.get(usize::from(n))?;
                Talker::Service(protocol, port)
            }
            TalkerList::Networks(_) => Talker::Asn(64_500 + u32::from(n)),
        };
        let weight = 1.0 / (f64::from(n) + 1.6).powf(1.1);
        Some(TalkerRow {
            talker,
            volumes: [volume(weight), volume(weight * 0.2)],
            error: 0,
            asn: 64_500 + u32::from(n) % 12,
            asn_name: Some(NAMES[usize::from(n) % NAMES.len()].into()),
            country: Some(COUNTRIES[usize::from(n) % COUNTRIES.len()].into()),
            net: (n == 5).then(|| "Archive".into()),
        })
    });
    let points = (0..150).map(|n| {
        let rate = (20e6 + 5e6 * f64::from(n).sin()) * part;
        let families = |share: f64| {
            [
                [(rate * share) as f32, 1000.0],
                [(rate * share / 3.0) as f32, 300.0],
            ]
        };
        [families(1.0), families(0.2)]
    });
    TalkerAnswer {
        is_complete: true,
        covered_ms: 325_000,
        rows: rows.collect(),
        totals: [volume(4.0), volume(0.8)],
        missing_at_most: 48_000,
        points: points.collect(),
        evicted: 12,
        evicted_lists: 0,
        bytes: 100_000,
        end_ms: 0,
    }
}

fn add(family: &mut FamilyCounters, bytes: u64, packets: u64) {
    family.observed += Count { packets, bytes };
}

/// From 0 to 1, the same in every run.
fn noise(a: u64, b: u64) -> f64 {
    let mut word = a.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ b.wrapping_mul(0xd1b5_4a32_d192_ed03);
    word = (word ^ word >> 31).wrapping_mul(0x94d0_49bb_1331_11eb);
    (word >> 11) as f64 / (1u64 << 53) as f64
}
