// SPDX-License-Identifier: AGPL-3.0-only
//! The history is bounded, and true to what it was fed.

use std::sync::Arc;

use rfm::flow::snapshot::SeriesRow;
use rfm::history::top_table::{MAX_CURVES, MAX_ENTRIES};
use rfm::history::{History, HistoryReading, MAX_INTERFACES};
use rfm::netlink::Link;
use rfm::page::query::Query;
use rfm::page::view::{AgentState, render};
use rfm::types::address_detail::AddressDetail;
use rfm::types::counters::{Count, HookCounters};
use serde_json::Value;

use rfm::history::InterfaceReading;

/// What a history of everything holds at most, in bytes: curves, lines, names, and 3,000 series.
const LIMIT: usize = 6_000_000;

struct Feeder {
    history: History,
    links: Vec<Link>,
    hook: HookCounters,
    now_ms: u64,
    /// The ifindex of the default route.
    uplink: Option<u32>,
}

impl Feeder {
    fn new(interfaces: u32) -> Self {
        let link = |n| Link {
            ifindex: n + 1,
            name: format!("eth{n}"),
            ..Link::default()
        };
        Self {
            history: History::default(),
            links: (0..interfaces).map(link).collect(),
            hook: HookCounters::default(),
            now_ms: 0,
            uplink: None,
        }
    }

    /// Each interface carries so much more; the series stand as they are given.
    fn feed(&mut self, seconds: u64, bytes: u64, series: &[SeriesRow]) {
        self.now_ms += seconds * 1000;
        self.hook.families[0].observed += Count {
            packets: bytes / 100,
            bytes,
        };
        let interfaces: Vec<_> = self
            .links
            .iter()
            .map(|link| InterfaceReading {
                link,
                master: "",
                attach: "tcx",
                role: None,
                provider: "",
                is_summed: true,
                hooks: [Some(&self.hook), None],
            })
            .collect();
        self.history.feed(&HistoryReading {
            now_ms: self.now_ms,
            wall: 1000.0 + self.now_ms as f64 / 1000.0,
            interfaces: &interfaces,
            uplink: self.uplink,
            series,
            asns: &[],
            sample_rate: 1,
        });
    }

    fn view(&self, query: &str) -> Value {
        let addresses = AddressDetail::Full;
        let query = Query::parse(query, addresses);
        let agent = AgentState::default();
        let view = render(&self.history, &query, None, addresses, &agent, false);
        serde_json::from_slice(&view).expect("JSON")
    }
}

/// Without a selection, the page shows the interface of the default route, or the one with the most remote networks.
#[test]
fn it_opens_on_the_uplink() {
    let mut feeder = Feeder::new(3);
    let series = |bytes| {
        // eth0: one busy network, eth1: two, eth2: none that is known
        let sets = [(0, 64_500), (1, 64_501), (1, 64_502), (2, 0), (2, 0)];
        let weights = [1000u64, 10, 10, 5000, 5000];
        let rows = sets.iter().zip(weights);
        rows.map(|(&(interface, asn), weight)| row(&set(interface, asn), bytes * weight))
            .collect::<Vec<_>>()
    };
    for tick in 0..3 {
        feeder.feed(5, 5000, &series(tick));
    }
    assert_eq!(feeder.view("")["shown"], 2);
    feeder.uplink = Some(3);
    feeder.feed(5, 5000, &series(3));
    assert_eq!(feeder.view("")["shown"], 3);
    assert_eq!(feeder.view("ifindex=1")["shown"], 1);
    // the default route leads to an interface that is not watched
    feeder.uplink = Some(9);
    feeder.feed(5, 5000, &series(4));
    assert_eq!(feeder.view("")["shown"], 2);
}

fn row(text: &Arc<str>, bytes: u64) -> SeriesRow {
    SeriesRow {
        labels: text.clone(),
        created_ms: 0,
        bytes_total: bytes,
        packets_total: bytes / 100,
        live_bytes: 0,
        live_packets: 0,
        live_sampled_bytes: 0,
        live_sampled_packets: 0,
        error_bytes: 0,
        error_packets: 0,
        live_flows: 0,
    }
}

fn set(interface: u32, asn: u32) -> Arc<str> {
    format!("ifname=\"eth{interface}\",direction=\"ingress\",proto=\"6\",src_asn=\"{asn}\",src_city=\"city {asn}\"").into()
}

#[test]
fn a_steady_rate_is_told_as_it_is() {
    let mut feeder = Feeder::new(1);
    let text = set(0, 64_500);
    for tick in 0..=800 {
        feeder.feed(5, 5000, &[row(&text, tick * 2500)]);
    }
    let view = feeder.view("");
    let crossing = &view["interfaces"][0]["ingress"];
    for figure in ["now", "mean", "max"] {
        assert_eq!(crossing[figure], 1000.0, "{figure}");
    }
    assert_eq!(crossing["bytes_total"], 801 * 5000);
    assert_eq!(crossing["spark"].as_array().map(Vec::len), Some(120));
    let details = &view["ingress"];
    let points = details["families"][0].as_array().expect("points");
    assert_eq!(points.len(), 720);
    assert!(points.iter().all(|point| point == 1000));
    let network = &details["networks"][0];
    assert_eq!(
        (&network[0], &network[1], &network[2]),
        (&64_500.into(), &500.0.into(), &500.0.into())
    );
    assert_eq!(details["cities"][0][0], "city 64500");
    assert_eq!(view["egress"], Value::Null);
    let day = feeder.view("window=day&side=near&ifindex=1");
    assert_eq!(
        day["ingress"]["families"][0].as_array().map(Vec::len),
        Some(33)
    );
    assert_eq!(day["ingress"]["networks"].as_array().map(Vec::len), Some(0));
}

/// A machine that slept, and a late tick.
#[test]
fn a_pause_gets_its_mean() {
    let mut feeder = Feeder::new(1);
    feeder.feed(0, 0, &[]);
    feeder.feed(5, 5000, &[]);
    feeder.feed(20, 5000, &[]);
    let points = &feeder.view("")["ingress"]["families"][0];
    assert_eq!(*points, serde_json::json!([1000, 250, 250, 250, 250]));
}

/// An interface that came back, with counters from 0.
#[test]
fn a_counter_that_fell_began_anew() {
    let mut feeder = Feeder::new(1);
    feeder.feed(0, 1_000_000, &[]);
    feeder.hook = HookCounters::default();
    feeder.feed(5, 5000, &[]);
    assert_eq!(feeder.view("")["interfaces"][0]["ingress"]["now"], 1000.0);
}

#[test]
fn an_interface_that_has_gone_is_not_shown_and_makes_room() {
    let mut feeder = Feeder::new(MAX_INTERFACES as u32);
    feeder.feed(5, 5000, &[]);
    let more = |n: u32| Link {
        ifindex: n,
        name: format!("ppp{n}"),
        ..Link::default()
    };
    feeder.links.push(more(1000));
    feeder.feed(5, 5000, &[]);
    let view = feeder.view("");
    assert_eq!(
        view["interfaces"].as_array().map(Vec::len),
        Some(MAX_INTERFACES)
    );
    assert_eq!(view["left_out"], 1);
    feeder.links.remove(0);
    for _ in 0..3 {
        feeder.feed(5, 5000, &[]);
    }
    let view = feeder.view("ifindex=1000");
    assert_eq!(view["left_out"], 0);
    assert_eq!(
        (
            &view["shown"],
            &view["ingress"]["families"][0].as_array().map(Vec::len)
        ),
        (&1000.into(), &Some(2))
    );
}

/// Strangers choose what networks there are: ever new ones neither grow it nor push out what carries most.
#[test]
fn it_is_bounded_whatever_comes() {
    let mut feeder = Feeder::new(300);
    let steady = set(3, 1);
    let mut next = 100;
    for tick in 0..60u64 {
        let mut rows: Vec<_> = (0..3000)
            .map(|_| {
                next += 1;
                row(&set(next % 256, next), 100)
            })
            .collect();
        rows.push(row(&steady, tick * 1_000_000));
        feeder.feed(if tick < 20 { 3600 } else { 5 }, 5000, &rows);
        let held = feeder.history.bytes();
        assert!(held < LIMIT, "{held} bytes");
    }
    let view = feeder.view("ifindex=4");
    let cost = &view["history"];
    assert_eq!(
        view["interfaces"].as_array().map(Vec::len),
        Some(MAX_INTERFACES)
    );
    assert!(
        cost["lines"].as_u64() < Some(MAX_ENTRIES as u64 + 2048),
        "{cost}"
    );
    assert!(cost["curves"].as_u64() <= Some(MAX_CURVES as u64), "{cost}");
    assert!(cost["evicted"].as_u64() > Some(10_000), "{cost}");
    let first = &view["ingress"]["networks"][0];
    assert_eq!((&first[0], &first[1]), (&1.into(), &200_000.0.into()));
    assert_eq!(view["ingress"]["curves"][0][0], 1);
    println!(
        "a history of everything holds {} bytes",
        feeder.history.bytes()
    );
}

#[test]
fn an_idle_router_costs_little() {
    let mut feeder = Feeder::new(4);
    feeder.feed(5, 0, &[]);
    feeder.feed(5, 0, &[]);
    let held = feeder.history.bytes();
    assert!(held < 16_000, "{held} bytes");
}
