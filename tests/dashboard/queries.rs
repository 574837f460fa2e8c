// SPDX-License-Identifier: AGPL-3.0-only
//! Every query of every panel returns data, and what it says is what was sent.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use rfm::types::label::Label;
use serde_json::Value;

use crate::builders::{initiation, peer};
use crate::common::agent::{Agent, EXACT, config};
use crate::common::cases::{DST_MAC, SRC_MAC};
use crate::common::lab::{Lab, Namespace, can_run};
use crate::common::metrics::Metrics;
use crate::common::prometheus::{self, query};
use crate::common::traffic::meanwhile;
use crate::grafana::{View, annotations, dashboard, panels, target, targets};
use crate::traffic::{
    IN_BYTES, IPV6_FRAMES, NETWORKS, Network, OUT_BYTES, UNWANTED, bits, databases, frames,
    unwanted,
};

/// Under traffic, before the queries.
const WATCHED: Duration = Duration::from_secs(50);
const RANGE: u64 = 30;
const RATE_INTERVAL: &str = "30s";

/// What `unwanted` sends is dropped; the other rule passes what nobody sends.
const FIREWALL: &str = "[agent.firewall]\nenabled = true\ninterfaces = [\"a0\"]\n\
    blackhole_communities = [\"65535:666\"]\nblackhole_within = [\"192.0.2.0/24\"]\n\
    blackhole_peers = [\"AS64500\"]\n\
    [[agent.firewall.rule]]\nsrc = \"203.0.113.0/24\"\n\
    [[agent.firewall.rule]]\nsrc = \"192.0.2.0/24\"\naction = \"pass\"\n";

/// The frames of the test are many more.
const GUARD: &str = "[agent.guard]\nenabled = true\n[[agent.guard.threshold]]\ninterface = \"a0\"\n\
    direction = \"in\"\nabove_packets = 1\nfor = \"1s\"\n";

const ROLE: &str = "[[agent.interface]]\ninterfaces = [\"a0\"]\nrole = \"transit\"\n";

/// Families of an expression.
fn families(expression: &str) -> impl Iterator<Item = &str> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("rfm_"))
}

#[test]
fn panels_say_what_was_sent() {
    if !can_run(&["ip", "sysctl", "prometheus"]) {
        return;
    }
    let lab = Lab::new();
    let (a, b) = lab.pair();
    let more = format!(
        "{EXACT}{ROLE}{FIREWALL}{GUARD}{}[agent.enrich.rib.bmp]\nhost = \"127.0.0.1\"\nallow = [\"127.0.0.1\"]\n",
        databases(&lab)
    );
    let text = config(r#"["a0"]"#, &more) + "peer_series = true\n" + &rpki(&lab);
    let agent = Agent::start(&lab, &a, &text);
    let _routers = [router(&a), other_router(&a)];
    prometheus::start(&lab, &a);
    meanwhile(
        &[
            &|stop| b.inside(|| frames("b0", true, stop)),
            &|stop| a.inside(|| frames("a0", false, stop)),
            &|stop| b.inside(|| unwanted("b0", stop)),
        ],
        || {
            std::thread::sleep(WATCHED);
            let metrics = agent.scrape();
            let view = View::new(&a, None, RANGE, RATE_INTERVAL, &[]);
            assert_eq!(view.value("interface"), "(a0)");
            assert_eq!(view.value("recorded"), "-", "no rules are loaded");
            every_query_has_data(&view, &metrics);
            interfaces(&view);
            networks(&view);
            protocols_and_pairs(&view);
            firewall(&view);
            roles_and_neighbors(&view);
            validation_states(&view);
            invalid_sources(&view);
            alarms(&view);
            events(&view, &a);
            older_dashboards(&a);
        },
    );
    agent.stop();
}

/// A BMP session that a router once had, for as long as it is held.
fn router(a: &Namespace) -> TcpStream {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/bmp/frr84.bmp.xz");
    let mut packed = BufReader::new(File::open(path).expect("a capture"));
    let mut bytes = Vec::new();
    lzma_rs::xz_decompress(&mut packed, &mut bytes).expect("a whole xz file");
    a.inside(|| {
        let mut stream = TcpStream::connect(("127.0.0.1", 11019)).expect("BMP is listened for");
        stream.write_all(&bytes).expect("taken");
        stream
    })
}

/// Labels for the validation states, and VRPs that match the route to the first network and not that to the second.
fn rpki(lab: &Lab) -> String {
    let vrp = |network: &Network, asn: u32| {
        let byte = network.byte;
        format!("{{\"asn\":{asn},\"prefix\":\"{byte}.0.0.0/8\",\"maxLength\":8}}")
    };
    let [first, second, ..] = &NETWORKS;
    let vrps = [vrp(first, first.asn), vrp(second, 1)].join(",");
    let file = lab.file("vrps.json", &format!("{{\"roas\":[{vrps}]}}"));
    let labels = Label::USUAL.into_iter();
    let labels = labels.chain([Label::SrcRpki, Label::DstRpki]);
    let labels: Vec<_> = labels
        .map(|label| format!("\"{}\"", label.name()))
        .collect();
    format!(
        "labels = [{}]\n[agent.enrich.rpki]\nvrps = \"{}\"\n\
         [agent.enrich.source_check]\nmode = \"count\"\nbogons = [\"60.0.0.0/8\"]\n",
        labels.join(","),
        file.display()
    )
}

/// A router with routes to all networks.
fn other_router(a: &Namespace) -> TcpStream {
    // of another AS than those of the networks: a path with the own AS is a loop
    let mut bytes = [initiation("other"), peer(1).up_of_speaker(1, 65_000)].concat();
    for network in &NETWORKS {
        let prefix = format!("{}.0.0.0/8", network.byte);
        bytes.extend(peer(1).announce(&prefix, &[65001, network.asn]));
    }
    a.inside(|| {
        let mut stream = TcpStream::connect(("127.0.0.1", 11019)).expect("BMP is listened for");
        stream.write_all(&bytes).expect("taken");
        stream
    })
}

/// But for families that an agent configured like this one does not have.
fn every_query_has_data(view: &View, metrics: &Metrics) {
    let mut without = Vec::new();
    for target in targets() {
        // five minutes of data are too long to wait for; long_range.rs has them
        if target.expression.contains("[$__range:5m]") {
            continue;
        }
        let missing: Vec<_> = families(&target.expression)
            .filter(|family| metrics.get(family, &[]).is_none())
            .map(str::to_owned)
            .collect();
        let found = view.instant(&target);
        if missing.is_empty() {
            assert!(
                !found.is_empty(),
                "{} {}: {}",
                target.title,
                target.reference,
                target.expression
            );
            continue;
        }
        for family in &missing {
            // the routes of the capture are none of the traffic's
            let optional = family.starts_with("rfm_ipfix_") || family == "rfm_transit_bytes_total";
            assert!(optional, "{}: no {family} on /metrics", target.title);
        }
        without.extend(missing);
    }
    println!("not there and not asked for: {without:?}");
}

/// The results of a panel's query by the value of one label.
fn results(view: &View, title: &str, reference: &str, label: &str) -> BTreeMap<String, f64> {
    let results = view.instant(&target(title, reference));
    let of = |result: &Value| {
        let value = result["value"][1].as_str()?.parse().ok()?;
        let label = result["metric"][label]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        Some((label, value))
    };
    results.iter().filter_map(of).collect()
}

/// Within 6 %: flows are a second late, and the window has thirty.
fn assert_near(what: &str, found: Option<&f64>, expected: f64) {
    let found = found.copied().unwrap_or(f64::NAN);
    println!("{what}: {found:.4}, sent {expected:.4}");
    assert!(
        (found / expected - 1.0).abs() < 0.06,
        "{what}: {found}, sent {expected}"
    );
}

fn ipv4_frames() -> u32 {
    NETWORKS.iter().map(|network| network.frames).sum()
}

fn interfaces(view: &View) {
    let all = ipv4_frames() + IPV6_FRAMES;
    for (reference, length) in [("A", IN_BYTES), ("B", OUT_BYTES)] {
        let traffic = results(view, "Traffic", reference, "ifname");
        assert_near("traffic", traffic.get("a0"), bits(all, length));
        let packets = results(view, "Packets", reference, "ifname");
        assert_near("packets", packets.get("a0"), f64::from(all) * 100.0);
        let family = results(view, "Traffic by family", reference, "family");
        assert_near("ipv6", family.get("ipv6"), bits(IPV6_FRAMES, length));
        let seen = results(view, "Packets seen against the device", reference, "ifname");
        assert_near("seen", seen.get("a0"), 1.0);
        let share = results(view, "Share of the link", reference, "ifname");
        // a veth says 10 Gbit/s
        assert_near("share", share.get("a0"), bits(all, length) / 1e10);
    }
    let share = f64::from(IPV6_FRAMES) / f64::from(all);
    assert_near(
        "share of IPv6",
        results(view, "IPv6 share", "A", "instance").values().next(),
        share,
    );
    assert_near(
        "the same",
        results(view, "IPv6 share by interface", "A", "ifname").get("a0"),
        share,
    );
}

fn networks(view: &View) {
    for (title, length) in [
        ("Networks: sources of received traffic", IN_BYTES),
        ("Networks: destinations of sent traffic", OUT_BYTES),
    ] {
        let (by_asn, by_name) = (
            results(view, title, "A", "asn"),
            results(view, title, "A", "network"),
        );
        for network in &NETWORKS {
            let expected = bits(network.frames, length);
            assert_near(title, by_asn.get(&network.asn.to_string()), expected);
            let name = match network.name {
                "" => format!("AS{}", network.asn),
                name => format!("{name} AS{}", network.asn),
            };
            assert_near(&name, by_name.get(&name), expected);
        }
        assert_near("unknown", by_name.get("unknown"), bits(IPV6_FRAMES, length));
        let others = results(view, title, "B", "instance");
        let all = bits(ipv4_frames() + IPV6_FRAMES, length);
        let others = others.values().next().expect("others");
        assert!(
            (0.0..0.06 * all).contains(others),
            "others: {others} of {all}"
        );
    }
    for (title, label, length) in [
        ("Cities: in", "src_city", IN_BYTES),
        ("Cities: out", "dst_city", OUT_BYTES),
    ] {
        let cities = results(view, title, "A", label);
        for network in NETWORKS.iter().filter(|network| !network.city.is_empty()) {
            assert_near(
                network.city,
                cities.get(network.city),
                bits(network.frames, length),
            );
        }
    }
}

fn protocols_and_pairs(view: &View) {
    let tcp = NETWORKS
        .iter()
        .filter(|n| n.protocol == 6)
        .map(|n| n.frames)
        .sum();
    for (title, length) in [("Protocols: in", IN_BYTES), ("Protocols: out", OUT_BYTES)] {
        let protocols = results(view, title, "A", "proto");
        assert_near("TCP", protocols.get("6"), bits(tcp, length));
        assert_near(
            "UDP",
            protocols.get("17"),
            bits(ipv4_frames() + IPV6_FRAMES - tcp, length),
        );
    }
    let pairs = results(view, "Pairs of networks", "A", "src_asn");
    for network in &NETWORKS {
        let bytes = bits(network.frames, IN_BYTES) / 8.0 * 30.0;
        assert_near("pair", pairs.get(&network.asn.to_string()), bytes);
    }
    let wire = |reference| {
        results(
            view,
            "From the wire to the flow table",
            reference,
            "instance",
        )
    };
    let both = f64::from(ipv4_frames() + IPV6_FRAMES) * 200.0;
    assert_near("taken", wire("A").values().next(), both);
    assert_near("accounted", wire("B").values().next(), both);
    assert_eq!(wire("C").values().next(), Some(&0.0));
}

fn firewall(view: &View) {
    let dropped = results(view, "Dropped by rule", "A", "rule");
    assert_near("dropped", dropped.get("config-1"), f64::from(UNWANTED));
    let arrived = |reference| results(view, "Dropped and what got past", reference, "instance");
    let bytes = f64::from(UNWANTED) * IN_BYTES as f64;
    assert_near("dropped", arrived("A").values().next(), 8.0 * bytes);
    let past = bits(ipv4_frames() + IPV6_FRAMES, IN_BYTES);
    assert_near("past it", arrived("B").values().next(), past);
    let rules = results(view, "Rules and interfaces", "A", "origin");
    assert_eq!(rules.get("config"), Some(&2.0));
    let ports = results(view, "Rules and interfaces", "B", "mode");
    assert_eq!(ports.get("native"), Some(&1.0), "{ports:?}");
}

fn roles_and_neighbors(view: &View) {
    let all = ipv4_frames() + IPV6_FRAMES;
    for (reference, length, neighbor) in [("A", IN_BYTES, SRC_MAC), ("B", OUT_BYTES, DST_MAC)] {
        let roles = results(view, "Traffic by role", reference, "role");
        assert_near("transit", roles.get("transit"), bits(all, length));
        let mac = neighbor.map(|byte| format!("{byte:02x}")).join(":");
        let neighbors = results(view, "Neighbors", reference, "mac");
        assert_near("neighbor", neighbors.get(&mac), bits(all, length));
    }
}

/// The start of the agent, in milliseconds; no blackhole is in force, and a threshold is exceeded.
fn events(view: &View, a: &Namespace) {
    let expressions: Vec<_> = annotations()
        .iter()
        .map(|a| view.fill_in(a["expr"].as_str().expect("a query")))
        .collect();
    let now = query(a, "vector(time())").expect("the time");
    let start = query(a, &expressions[0]).expect("a start") / 1e3;
    assert!((0.0..600.0).contains(&(now - start)), "{start}, now {now}");
    assert_eq!(query(a, &expressions[1]), Some(0.0));
    assert_eq!(query(a, &expressions[2]), Some(1.0));
}

fn alarms(view: &View) {
    let kinds = results(view, "Alarms", "A", "kind");
    assert_eq!(kinds.keys().collect::<Vec<_>>(), ["above_packets"]);
    let active = results(view, "Attacks in progress", "A", "kind");
    assert_eq!(active.values().collect::<Vec<_>>(), [&1.0]);
}

fn validation_states(view: &View) {
    let title = "Traffic by RPKI validation state";
    let [valid, invalid, unknown @ ..] = &NETWORKS;
    let unknown: u32 = unknown.iter().map(|network| network.frames).sum();
    for (reference, label, length) in [("A", "src_rpki", IN_BYTES), ("B", "dst_rpki", OUT_BYTES)] {
        let states = results(view, title, reference, label);
        for (state, frames) in [
            ("valid", valid.frames),
            ("invalid", invalid.frames),
            ("not-found", unknown),
        ] {
            assert_near(state, states.get(state), bits(frames, length));
        }
        assert_eq!(states.len(), 3, "{states:?}");
    }
}

fn invalid_sources(view: &View) {
    let invalid = results(view, "Invalid sources", "A", "reason");
    let [first, ..] = &NETWORKS;
    assert_near("bogon", invalid.get("bogon"), bits(first.frames, IN_BYTES));
    assert_eq!(invalid.len(), 1, "{invalid:?}");
    let others = ipv4_frames() + IPV6_FRAMES - first.frames;
    let unknown = results(view, "Invalid sources", "B", "instance");
    assert_near("unknown", unknown.values().next(), bits(others, IN_BYTES));
}

/// The queries that a dashboard of the Go program of the same name is made of.
fn older_dashboards(a: &Namespace) {
    let all = ipv4_frames() + IPV6_FRAMES;
    for (expression, expected) in [
        (
            "rate(rfm_interface_rx_bytes_total{ifname='a0',family='ipv4'}[30s]) * 8",
            bits(ipv4_frames(), IN_BYTES),
        ),
        (
            "sum by (ifname) (rate(rfm_interface_tx_packets_total[30s]))",
            f64::from(all) * 100.0,
        ),
        (
            "sum by (family) (rate(rfm_interface_tx_bytes_total{family='ipv6'}[30s])) * 8",
            bits(IPV6_FRAMES, OUT_BYTES),
        ),
        ("sum(rfm_flow_bytes) / sum(rfm_flow_sampled_bytes)", 1.0),
        ("sum(rfm_flow_packets) / sum(rfm_flow_sampled_packets)", 1.0),
        (
            "sum(rfm_flow_bytes{direction='ingress'}) / sum(rfm_flow_packets{direction='ingress'})",
            IN_BYTES as f64,
        ),
        (
            "sum by (src_asn) (rfm_flow_bytes{direction='ingress',src_asn='64500'}) / scalar(sum(rfm_flow_bytes{direction='ingress',src_asn='64502'}))",
            4.0,
        ),
        (
            "topk(1, sum by (dst_asn) (rfm_flow_packets{direction='egress',dst_city='Zürich'})) / scalar(sum(rfm_flow_packets{direction='egress',dst_asn='64502'}))",
            2.0,
        ),
        (
            "sum(rfm_flow_bytes{proto='6',direction='egress'}) / sum(rfm_flow_bytes{proto='17',direction='egress'})",
            1.0,
        ),
        // each network and IPv6, both ways
        ("rfm_collector_active_flows", 10.0),
        (
            "rfm_collector_active_flows / rfm_collector_max_flows",
            10.0 / 65_536.0,
        ),
    ] {
        assert_near(expression, query(a, expression).as_ref(), expected);
    }
    for expression in [
        "rate(rfm_collector_dropped_events_total[30s])",
        "rate(rfm_collector_forced_evictions_total[30s])",
        "sum(rate(rfm_errors_total{subsystem=~'bpf_map|ring_buffer|ipfix'}[30s]))",
    ] {
        assert_eq!(query(a, expression), Some(0.0), "{expression}");
    }
}

/// Grafana draws what it knows: units, variables, legends; nothing but the uid is tied to one installation.
#[test]
fn the_dashboard_is_complete() {
    let dashboard = dashboard();
    assert!(dashboard["schemaVersion"].as_u64() >= Some(39));
    assert_eq!(dashboard["uid"], "rfm", "links need it");
    assert!(dashboard["id"].is_null());
    let mut identities = Vec::new();
    for panel in panels() {
        identities.push(panel["id"].as_u64().expect("an id"));
        if panel["type"] == "row" {
            continue;
        }
        let title = &panel["title"];
        assert!(
            panel["description"].as_str().is_some_and(|d| d.len() > 10),
            "{title}"
        );
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
        let defaults = &panel["fieldConfig"]["defaults"];
        let overrides = panel["fieldConfig"]["overrides"].to_string();
        assert!(
            defaults["unit"].is_string() || overrides.contains("\"unit\""),
            "{title}"
        );
        assert!(
            !defaults["thresholds"]["steps"]
                .as_array()
                .expect("steps")
                .is_empty(),
            "{title}"
        );
        for target in panel["targets"].as_array().expect("queries") {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}");
            let expression = target["expr"].as_str().expect("a query");
            // the gauges fall when flows end
            let gauges = ["rfm_flow_bytes{", "rfm_flow_packets{", "rfm_flow_sampled_"];
            assert!(
                !gauges.iter().any(|gauge| expression.contains(gauge)),
                "{title}"
            );
            // two routers have the same interfaces and networks
            let legend = target["legendFormat"].as_str().unwrap_or_default();
            assert!(
                panel["type"] == "table" || legend.contains("{{instance}}"),
                "{title}"
            );
        }
    }
    let count = identities.len();
    identities.sort_unstable();
    identities.dedup();
    assert_eq!(identities.len(), count, "two panels of one id");
    let variables = dashboard["templating"]["list"]
        .as_array()
        .expect("variables");
    let names: Vec<_> = variables
        .iter()
        .filter_map(|v| v["name"].as_str())
        .collect();
    let shown = ["datasource", "instance", "role", "interface", "routers"];
    assert_eq!(names[..shown.len()], shown);
    // the others serve the queries
    let hidden = variables.iter().filter(|v| v["hide"] == 2).count();
    assert_eq!(hidden, names.len() - shown.len());

    let collapsed: Vec<_> = dashboard["panels"]
        .as_array()
        .expect("panels")
        .iter()
        .filter(|panel| panel["collapsed"] == true)
        .filter_map(|panel| panel["title"].as_str())
        .collect();
    assert_eq!(collapsed, ["BMP and routes", "IPFIX", "Firewall", "Guard"]);
    let events: Vec<_> = annotations().iter().map(|a| a["name"].clone()).collect();
    assert_eq!(events, ["Restarts", "Blackholes", "Attacks"]);
    let links = dashboard["panels"].to_string();
    assert!(
        links.contains("http://${__field.labels.instance}/"),
        "no link to the page"
    );
}
