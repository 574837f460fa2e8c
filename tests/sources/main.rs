// SPDX-License-Identifier: AGPL-3.0-only
//! The check of source addresses on a LAN: a bridge with the router of the agent and members with BGP sessions (GoBGP),
//! of which one sends with false sources, one announces some of its prefixes elsewhere, and one has no session.

#[path = "../common/mod.rs"]
mod common;
#[allow(dead_code)]
#[path = "../ipfix/decode.rs"]
mod decode;
mod enforce;
#[allow(dead_code)]
#[path = "../control/harness.rs"]
mod harness;
mod records;

use std::net::Ipv4Addr;
use std::time::Duration;

use common::agent::Agent;
use common::frames::Frame;
use common::lab::{Lab, Namespace, can_run, mac_of, try_run, wait_for};
use common::metrics::Metrics;
use common::packet::Sender;
use harness::{Fixture, Folder};
use records::Collector;

const ROUTER_AS: u32 = 64512;
/// A host behind the router, in the connected network of another interface.
const INSIDE: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 9);
const MEMBERS: usize = 4;
/// Sends with false sources.
const SPOOFING: usize = 2;
/// Announces 10.1.3.0/24 to the router, and 10.1.30.0/24 only to member 1, which announces it to the router.
const SELECTIVE: usize = 3;
/// Has no session.
const SILENT: usize = 4;
/// Frames of each kind.
const COUNT: u64 = 200;

const BGP_TIMEOUT: Duration = Duration::from_secs(60);
/// GoBGP sends no End-of-RIB: its views count as complete after 30 s.
const VIEW_TIMEOUT: Duration = Duration::from_secs(90);
const SETTLED: Duration = Duration::from_secs(10);

fn lan(host: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 98, 0, host as u8)
}

fn host(n: usize) -> usize {
    10 + n
}

fn asn(n: usize) -> u32 {
    64500 + n as u32
}

fn gobgp(at: &Namespace, arguments: &str) -> Option<String> {
    let arguments: Vec<_> = arguments.split_whitespace().collect();
    let output = try_run(&mut at.command("gobgp", &arguments));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success().then_some(text)
}

struct Exchange {
    fixture: Fixture,
    members: Vec<Namespace>,
    collector: Collector,
    sent: u64,
}

impl Exchange {
    /// `policy` is the view that the router sends.
    fn start(policy: &str) -> Self {
        let lab = Lab::new();
        let switch = lab.namespace("s");
        switch.ip("link add br0 type bridge mcast_snooping 0");
        switch.ip("link set br0 up");
        let connect = |device: &str, host: usize| {
            let namespace = lab.namespace(device);
            let port = format!("p{host}");
            lab.veth((&namespace, device), (&switch, &port));
            switch.ip(&format!("link set {port} master br0"));
            namespace.offloads_off(device);
            for device in [device, "all"] {
                let text = format!("-qw net.ipv4.conf.{device}.rp_filter=0");
                namespace.run("sysctl", &text);
            }
            namespace.ip(&format!("address add {}/24 dev {device}", lan(host)));
            namespace
        };
        let router = connect("ix0", 1);
        let members: Vec<_> = (1..=MEMBERS)
            .map(|n| connect(&format!("m{n}"), host(n)))
            .collect();
        let inside = lab.namespace("in");
        lab.veth((&router, "in0"), (&inside, "in1"));
        router.ip("address add 10.99.0.1/24 dev in0");
        inside.ip(&format!("address add {INSIDE}/24 dev in1"));
        router.run("sysctl", "-qw net.ipv4.ip_forward=1");
        for n in 1..=MEMBERS {
            router.ip(&format!("route add 10.1.{n}.0/24 via {}", lan(host(n))));
        }
        start_routers(&lab, &router, &members, policy);
        let folder = Folder::new();
        let text = format!(
            "[agent]\ninterfaces = [\"ix0\", \"in0\"]\n[agent.bpf]\nsample_rate = 1\nflow_cache = 0\n\
             [agent.prometheus]\nhost = \"127.0.0.1\"\nport = 9669\n[agent.control]\nsocket = \"{}\"\n\
             [agent.collector]\neviction_timeout = \"2s\"\n\
             [agent.ipfix]\nhost = \"127.0.0.1\"\nenterprise_number = {}\n\
             [agent.enrich.rib.bmp]\nhost = \"127.0.0.1\"\n\
             [agent.enrich.source_check]\nmode = \"count\"\nbogons = [\"192.168.0.0/16\", \"0.0.0.0/8\"]\n",
            folder.socket().display(),
            decode::ENTERPRISE,
        );
        let collector = Collector::start(&router);
        let agent = Agent::start(&lab, &router, &text);
        Self {
            fixture: Fixture {
                agent,
                namespace: router,
                folder,
                lab,
            },
            members,
            collector,
            sent: 0,
        }
    }

    /// A member sends frames with a source to a host behind the router. Returns their bytes.
    fn send(&mut self, n: usize, source: &str, payload: usize) -> u64 {
        let device = format!("m{n}");
        let source: Ipv4Addr = source.parse().expect("an address");
        let sender = self.members[n - 1].inside(|| Sender::new(&device).expect("a packet socket"));
        let frame = Frame::ethernet(mac_of(&device), mac_of("ix0"))
            .ipv4(source, INSIDE)
            .udp()
            // a record has the MAC address of the first packet of its flow
            .ports(7770 + n as u16, 9)
            .payload(payload)
            .build();
        for _ in 0..COUNT {
            sender.send(&frame, 0).expect("sent");
        }
        let bytes = COUNT * frame.len() as u64;
        self.sent += bytes;
        bytes
    }

    fn without_view(&self) -> Option<Vec<u64>> {
        let status = self.fixture.json("status");
        let check = &status["source_check"];
        let neighbors = check["neighbors"].as_u64()?;
        let asns = check["without_view"].as_array()?.iter();
        (neighbors == 3).then(|| asns.filter_map(|asn| asn.as_u64()).collect())
    }
}

fn start_routers(lab: &Lab, router: &Namespace, members: &[Namespace], policy: &str) {
    let start = |at: &Namespace, name: &str, asn: u32, id: Ipv4Addr, peers: &[(Ipv4Addr, u32)]| {
        let mut text = format!("[global.config]\nas = {asn}\nrouter-id = \"{id}\"\n");
        for (address, peer) in peers {
            text += &format!(
                "[[neighbors]]\n[neighbors.config]\nneighbor-address = \"{address}\"\npeer-as = {peer}\n\
                 [neighbors.timers.config]\nconnect-retry = 1\n"
            );
        }
        if name == "r" {
            text += &format!(
                "[[bmp-servers]]\n[bmp-servers.config]\naddress = \"127.0.0.1\"\nport = 11019\n\
                 route-monitoring-policy = \"{policy}\"\n"
            );
        }
        let file = lab.file(&format!("gobgpd-{name}.toml"), &text);
        let file = file.display().to_string();
        let arguments = ["-f", &file, "--api-hosts", "127.0.0.1:50051"];
        lab.spawn(at, &format!("gobgpd-{name}.log"), "gobgpd", &arguments);
    };
    let with_session = || (1..=MEMBERS).filter(|n| *n != SILENT);
    let peers: Vec<_> = with_session().map(|n| (lan(host(n)), asn(n))).collect();
    start(router, "r", ROUTER_AS, lan(1), &peers);
    for n in with_session() {
        let member = &members[n - 1];
        start(
            member,
            &format!("m{n}"),
            asn(n),
            lan(host(n)),
            &[(lan(1), ROUTER_AS)],
        );
        let up = wait_for(BGP_TIMEOUT, || gobgp(member, "global").is_some());
        assert!(up, "gobgpd of member {n} does not answer");
        let add = |prefix: &str, more: &str| {
            let next_hop = lan(host(n));
            let add = format!("global rib add {prefix} nexthop {next_hop} {more} -a ipv4");
            gobgp(member, &add).expect("the route is added");
        };
        add(&format!("10.1.{n}.0/24"), "");
        if n == 1 {
            add("10.1.30.0/24", &format!("aspath {}", asn(SELECTIVE)));
        }
    }
}

fn invalid(metrics: &Metrics, reason: &str, n: usize) -> u64 {
    let asn = match n == SILENT {
        true => String::new(),
        false => asn(n).to_string(),
    };
    let labels = [("ifname", "ix0"), ("reason", reason), ("peer_asn", &*asn)];
    metrics.sum("rfm_source_invalid_bytes_total", &labels)
}

fn unknown(metrics: &Metrics, n: usize) -> u64 {
    let asn = match n == SILENT {
        true => String::new(),
        false => asn(n).to_string(),
    };
    metrics.sum("rfm_source_unknown_bytes_total", &[("peer_asn", &asn)])
}

fn all_invalid(metrics: &Metrics) -> u64 {
    metrics.sum("rfm_source_invalid_bytes_total", &[])
}

fn checked(metrics: &Metrics) -> u64 {
    metrics.sum("rfm_source_checked_bytes_total", &[("ifname", "ix0")])
}

/// The page shows the series of /metrics, and the sum of all invalid sources.
fn page_shows(exchange: &Exchange, metrics: &Metrics, expected: u64) {
    let mut table = serde_json::Value::Null;
    let shown = wait_for(SETTLED, || {
        let reply = exchange.fixture.agent.get("/page/v1.json").expect("a page");
        let view: serde_json::Value = serde_json::from_str(&reply.body).expect("JSON");
        table = view["source_check"].clone();
        table["invalid"] == expected
    });
    assert!(shown, "{expected}: {table}");
    let rows = table["rows"].as_array().expect("a list");
    for reason in ["infeasible", "bogon", "local", "unrouted"] {
        for n in [1, SPOOFING, SILENT] {
            let peer = if n == SILENT { 0 } else { asn(n) };
            let row = rows.iter().find(|row| row[1] == reason && row[2] == peer);
            let bytes = row.map_or(0, |row| row[3].as_u64().expect("bytes"));
            let same = bytes == invalid(metrics, reason, n);
            assert!(same, "{reason} of member {n}: {table}");
        }
    }
    assert_eq!(
        (&table["neighbors"], &table["without_view_total"]),
        (&3.into(), &0.into())
    );
}

fn can_run_here() -> bool {
    can_run(&["ip", "sysctl", "ethtool", "gobgpd", "gobgp"])
}

#[test]
fn invalid_sources_count_for_the_member_that_sent_them() {
    if !can_run_here() {
        return;
    }
    let mut exchange = Exchange::start("pre-policy");
    let agent = |exchange: &Exchange| exchange.fixture.agent.scrape();
    let complete = wait_for(VIEW_TIMEOUT, || exchange.without_view() == Some(Vec::new()));
    assert!(
        complete,
        "{:?}",
        exchange.fixture.json("status")["source_check"]
    );
    let shown = exchange.fixture.rfm("status");
    assert!(
        shown.contains("count, routes before policy of 3 of 3 neighbors"),
        "{shown}"
    );
    let before = agent(&exchange);
    assert_eq!(all_invalid(&before), 0, "BGP on the LAN is valid");

    // valid: its own prefix, another prefix of its AS that only another member announces, the LAN, DHCP
    exchange.send(1, "10.1.1.1", 11);
    exchange.send(SELECTIVE, "10.1.3.1", 12);
    exchange.send(SELECTIVE, "10.1.30.1", 13);
    exchange.send(1, "10.1.30.1", 14);
    exchange.send(SILENT, &lan(host(SILENT)).to_string(), 15);
    exchange.send(SPOOFING, "0.0.0.0", 16);
    let own = exchange.send(SPOOFING, "10.1.2.1", 17);
    assert!(own > 0);
    let infeasible =
        exchange.send(SPOOFING, "10.1.1.1", 100) + exchange.send(SPOOFING, "10.1.30.1", 101);
    let others = exchange.send(1, "10.1.2.1", 102);
    let bogon = exchange.send(SPOOFING, "192.168.7.7", 103);
    let local = exchange.send(SPOOFING, "10.99.0.77", 104);
    let unrouted = exchange.send(SPOOFING, "10.77.0.1", 105);
    let silent = exchange.send(SILENT, "10.1.4.1", 106);
    let silent_bogon = exchange.send(SILENT, "192.168.7.8", 107);
    let goal = exchange.sent;
    let (after, counted) = exchange
        .fixture
        .agent
        .scrape_until(SETTLED, |m| checked(m) - checked(&before) >= goal);
    assert!(counted, "{} of {goal}", checked(&after) - checked(&before));
    for (reason, n, bytes) in [
        ("infeasible", SPOOFING, infeasible),
        ("infeasible", 1, others),
        ("bogon", SPOOFING, bogon),
        ("local", SPOOFING, local),
        ("unrouted", SPOOFING, unrouted),
        ("bogon", SILENT, silent_bogon),
    ] {
        assert_eq!(invalid(&after, reason, n), bytes, "{reason} of member {n}");
    }
    let expected = infeasible + others + bogon + local + unrouted + silent_bogon;
    assert_eq!(all_invalid(&after), expected, "nothing else is invalid");
    assert_eq!(unknown(&after, SILENT) - unknown(&before, SILENT), silent);
    assert_eq!(unknown(&after, SPOOFING) - unknown(&before, SPOOFING), 0);

    page_shows(&exchange, &after, expected);
    exchange.collector.check(&after);

    // the session of the member ends: the result is unknown, and no longer invalid
    let neighbor = format!("neighbor {} shutdown", lan(host(SPOOFING)));
    gobgp(&exchange.fixture.namespace, &neighbor).expect("the session is shut down");
    let gone = || {
        let shown = exchange.fixture.json("rib 10.1.2.1");
        shown["routes"].as_array().is_some_and(Vec::is_empty)
    };
    assert!(wait_for(SETTLED, gone));
    std::thread::sleep(Duration::from_secs(1));
    let bytes = exchange.send(SPOOFING, "10.1.1.9", 200);
    let (last, counted) = exchange
        .fixture
        .agent
        .scrape_until(SETTLED, |m| checked(m) - checked(&after) >= bytes);
    assert!(counted);
    assert_eq!(all_invalid(&last), expected);
    exchange.fixture.agent.stop();
}

#[test]
fn with_the_loc_rib_only_the_result_is_unknown() {
    if !can_run_here() {
        return;
    }
    let mut exchange = Exchange::start("local-rib");
    let expected: Vec<u64> = [1, 2, 3].map(|n| u64::from(asn(n))).into();
    let learned = wait_for(VIEW_TIMEOUT, || {
        let routes = exchange.fixture.json("rib 10.1.1.1");
        let has_route = routes["routes"].as_array().is_some_and(|r| !r.is_empty());
        has_route && exchange.without_view() == Some(expected.clone())
    });
    assert!(
        learned,
        "{}",
        exchange.fixture.json("status")["source_check"]
    );
    let shown = exchange.fixture.rfm("status");
    let line = "routes before policy of 0 of 3 neighbors; unknown: AS64501, AS64502, AS64503";
    assert!(shown.contains(line), "{shown}");
    let before = exchange.fixture.agent.scrape();
    let bytes = exchange.send(SPOOFING, "10.1.1.1", 100)
        + exchange.send(SPOOFING, "10.77.0.1", 101)
        + exchange.send(SPOOFING, "10.1.2.1", 102);
    let bogon = exchange.send(SPOOFING, "192.168.7.7", 103);
    let goal = exchange.sent;
    let (after, counted) = exchange
        .fixture
        .agent
        .scrape_until(SETTLED, |m| checked(m) - checked(&before) >= goal);
    assert!(counted, "{} of {goal}", checked(&after) - checked(&before));
    assert_eq!(
        unknown(&after, SPOOFING) - unknown(&before, SPOOFING),
        bytes
    );
    assert_eq!(invalid(&after, "bogon", SPOOFING), bogon);
    assert_eq!(all_invalid(&after), bogon, "bogons need no routes");
    exchange.fixture.agent.stop();
}
