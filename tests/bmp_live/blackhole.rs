// SPDX-License-Identifier: AGPL-3.0-only
//! A neighbour asks for a blackhole: packets stop, and flow again when it no longer asks. Whoever may not ask
//! is refused and counted.

use std::net::IpAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rfm::store::reader::HistoryReader;
use rfm::store::types::TimeSpan;

use crate::common::agent::{Agent, EXACT};
use crate::common::lab::wait_for;
use crate::common::metrics::Metrics;
use crate::daemon::Daemon;
use crate::speaker::{Path, Speaker};
use crate::topology::{EAST, NOWHERE, NOWHERE6, Topology, WEST};

const BLACKHOLE: u32 = 0xffff_029a;
const STALE: Duration = Duration::from_secs(4);
/// Packets to each address.
const COUNT: u64 = 40;

const VICTIM: &str = "198.51.100.7";
const VICTIM6: &str = "2001:db8:1::7";
/// In the same networks, and nobody asks for them.
const NEIGHBOUR: &str = "198.51.100.8";
const NEIGHBOUR6: &str = "2001:db8:1::8";

const WEST_PATH: Path<'_> = Path::new(&[64502, 64510], &[]);
const EAST_PATH: Path<'_> = Path::new(&[64503, 64510], &[]);

fn sections(trusted: &str, history: &std::path::Path) -> String {
    let history = history.display();
    format!(
        "{EXACT}[agent.history]\npath = \"{history}\"\n[agent.firewall]\nenabled = true\ninterfaces = [\"lan0\"]\n\
         blackhole_communities = [\"65535:666\"]\n\
         blackhole_within = [\"198.51.100.0/24\", \"2001:db8:1::/48\"]\n\
         blackhole_peers = [\"{trusted}\"]\n"
    )
}

/// `trusted` is how the configuration names WEST.
pub fn run(daemon: &dyn Daemon, trusted: &str) {
    let topology = Topology::new(daemon);
    let history = topology.lab.path("history");
    let sections = sections(trusted, &history);
    let agent = topology.agent(&sections, STALE);
    let router = topology.start(daemon);
    topology.wait_for_session(&agent, Duration::from_secs(15));
    let (mut west, mut east) = (topology.speaker(WEST), topology.speaker(EAST));
    let [host, host6] = [format!("{VICTIM}/32"), format!("{VICTIM6}/128")];

    // the same route without the community drops nothing
    topology.change(|| {
        west.announce(&host, WEST_PATH);
        west.end_of_rib();
        east.end_of_rib();
    });
    expect(&topology, &agent, Flow::Passes, "a plain route");
    topology.change(|| {
        ask(&mut west, &host, WEST_PATH);
        ask(&mut west, &host6, WEST_PATH);
    });
    expect(&topology, &agent, Flow::Stops, "asked for");
    assert_eq!(rules(&agent.scrape()), Some(2.0));

    // the new configuration applies to the routes that are there
    for (other, flow, when) in [
        (
            sections
                .replace("198.51.100.0/24", "198.51.100.128/25")
                .replace("1::/48", "2::/48"),
            Flow::Passes,
            "elsewhere",
        ),
        (sections.clone(), Flow::Stops, "as before"),
        (
            sections.clone() + "blackhole_action = \"count\"\n",
            Flow::Passes,
            "only counted",
        ),
        (
            sections.replace(trusted, "192.0.2.77"),
            Flow::Passes,
            "another neighbour",
        ),
        (sections.clone(), Flow::Stops, "as at first"),
    ] {
        topology.reload(&agent, &other, STALE);
        expect(&topology, &agent, flow, when);
    }
    topology.change(|| {
        west.withdraw(&host);
        west.withdraw(&host6);
    });
    expect(&topology, &agent, Flow::Passes, "withdrawn");

    topology.change(|| {
        ask(&mut west, "0.0.0.0/0", WEST_PATH);
        ask(&mut west, "192.0.2.7/32", WEST_PATH);
        ask(&mut east, &host, EAST_PATH);
        ask(&mut east, &host6, EAST_PATH);
    });
    expect(&topology, &agent, Flow::Passes, "who may not ask");
    let metrics = agent.scrape();
    for reason in ["length", "within", "peer"] {
        assert!(refused(&metrics, reason) > 0, "{reason}: {metrics:?}");
    }
    for reason in ["pre_policy", "vrf", "limit"] {
        assert_eq!(refused(&metrics, reason), 0, "{reason}");
    }

    // of two who ask, one may: and it ends with its session
    topology.change(|| {
        ask(&mut west, &host, Path::new(&[64502], &[]));
        ask(&mut west, &host6, Path::new(&[64502], &[]));
    });
    expect(&topology, &agent, Flow::Stops, "the other asks, too");
    topology.change(|| drop(west));
    expect(&topology, &agent, Flow::Passes, "its session broke");
    let mut west = topology.speaker(WEST);
    topology.change(|| {
        ask(&mut west, &host, Path::new(&[64502], &[]));
        ask(&mut west, &host6, Path::new(&[64502], &[]));
    });
    expect(&topology, &agent, Flow::Stops, "it is back");

    // the daemon dies: what it said is good for a while
    drop(router);
    let killed = Instant::now();
    sleep(Duration::from_secs(1));
    expect(&topology, &agent, Flow::Stops, "the daemon was killed");
    sleep((STALE + Duration::from_secs(1)).saturating_sub(killed.elapsed()));
    expect(&topology, &agent, Flow::Passes, "its routes had their time");
    agent.stop();
    let all = TimeSpan::new(0, 1 << 40);
    let events = HistoryReader::of_folder(&history).events(all, 1000).events;
    let texts = |kind: &str| -> Vec<_> {
        let of_kind = events.iter().filter(|event| event.kind == kind);
        of_kind.map(|event| event.text.clone()).collect()
    };
    for prefix in [host, host6] {
        let asked = texts("blackhole").iter().filter(|t| **t == prefix).count();
        // asked for, back after two configurations, asked for by both, and after the broken session
        assert!(asked >= 4, "{prefix}: {events:?}");
    }
    assert_eq!(texts("bmp_lost").len(), 1, "{events:?}");
}

/// A daemon that tells only what it has received, whatever its policy made of it.
pub fn before_policy(daemon: &dyn Daemon) {
    let topology = Topology::new(daemon);
    let agent = topology.agent(&sections("10.98.0.2", &topology.lab.path("history")), STALE);
    let _router = topology.start(daemon);
    topology.wait_for_session(&agent, Duration::from_secs(15));
    let mut west = topology.speaker(WEST);
    topology.change(|| {
        ask(&mut west, &format!("{VICTIM}/32"), WEST_PATH);
        ask(&mut west, &format!("{VICTIM6}/128"), WEST_PATH);
        west.end_of_rib();
    });
    expect(&topology, &agent, Flow::Passes, "before policy");
    let counted = wait_for(Duration::from_secs(2), || {
        refused(&agent.scrape(), "pre_policy") >= 2
    });
    assert!(counted, "refused and not counted");
    agent.stop();
}

fn ask(speaker: &mut Speaker, prefix: &str, path: Path<'_>) {
    speaker.announce_with(prefix, path, &[BLACKHOLE]);
}

/// What becomes of packets to the victims.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Flow {
    Passes,
    Stops,
}

/// Sends to the victims and to their neighbours, and looks for each packet where it should be: on the
/// way out, or with the rule that dropped it.
fn expect(topology: &Topology, agent: &Agent, flow: Flow, when: &str) {
    let before = agent.scrape();
    let ends = [
        (NOWHERE, VICTIM),
        (NOWHERE6, VICTIM6),
        (NOWHERE, NEIGHBOUR),
        (NOWHERE6, NEIGHBOUR6),
    ];
    for (from, to) in ends {
        let to: IpAddr = to.parse().expect("an address");
        topology.send((from, to), 100, COUNT);
    }
    let (dropped, passed) = match flow {
        Flow::Passes => (0, 4 * COUNT),
        Flow::Stops => (2 * COUNT, 2 * COUNT),
    };
    let moved = |after: &Metrics| {
        let grown = |of: fn(&Metrics) -> u64| of(after) - of(&before);
        (grown(of_rule), grown(gone_out))
    };
    let (after, all) = agent.scrape_until(Duration::from_secs(3), |m| {
        let (dropped, passed) = moved(m);
        dropped + passed >= 4 * COUNT
    });
    assert_eq!(moved(&after), (dropped, passed), "{when}, {all}");
}

fn of_rule(metrics: &Metrics) -> u64 {
    let labels = [("rule", "blackhole"), ("action", "drop")];
    metrics.sum("rfm_firewall_packets_total", &labels)
}

/// As UDP flows: nothing else of the kind goes this way.
fn gone_out(metrics: &Metrics) -> u64 {
    let labels = [("ifname", "wan0"), ("direction", "egress"), ("proto", "17")];
    metrics.sum("rfm_flow_packets_total", &labels)
}

fn rules(metrics: &Metrics) -> Option<f64> {
    metrics.get("rfm_firewall_rules", &[("origin", "blackhole")])
}

fn refused(metrics: &Metrics, reason: &str) -> u64 {
    metrics.sum(
        "rfm_firewall_blackhole_refused_total",
        &[("reason", reason)],
    )
}
