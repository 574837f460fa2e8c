// SPDX-License-Identifier: AGPL-3.0-only
//! Two neighbors announce the same prefixes, from different origins. Sessions break, and the router and the agent
//! restart: labels are right a second after BMP has reported the change.

use std::net::IpAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::common::agent::{Agent, EACH_PACKET};
use crate::daemon::{Daemon, Rejoins};
use crate::speaker::{Path, Speaker};
use crate::topology::{EAST, NOWHERE, NOWHERE6, Topology, WEST};

const PREFIXES: [&str; 2] = ["203.0.113.0/24", "2001:db8::/32"];
const STALE: Duration = Duration::from_secs(5);

/// Origin and neighbour, as labels.
type Labels = (&'static str, &'static str);
/// West's path is the shorter one.
const BY_WEST: Labels = ("64510", "64502");
const BY_EAST: Labels = ("64520", "64503");
/// And after the restart.
const BY_WEST_LATER: Labels = ("64511", "64502");
const UNKNOWN: Labels = ("", "");

const WEST_PATH: Path<'_> = Path::new(&[64502, 64510], &[]);
const WEST_LATER: Path<'_> = Path::new(&[64502, 64511], &[]);
const EAST_PATH: Path<'_> = Path::new(&[64503, 64519, 64520], &[]);

pub fn run(daemon: &dyn Daemon) {
    let topology = Topology::new(daemon);
    let mut agent = topology.agent(EACH_PACKET, STALE);
    let mut router = topology.start(daemon);
    topology.wait_for_session(&agent, Duration::from_secs(15));
    let (mut west, mut east) = (topology.speaker(WEST), topology.speaker(EAST));

    topology.change(|| announce(&mut east, EAST_PATH));
    expect(&topology, &agent, BY_EAST, "one path");
    topology.change(|| announce(&mut west, WEST_PATH));
    expect(&topology, &agent, BY_WEST, "the shorter path");
    topology.change(|| PREFIXES.iter().for_each(|prefix| west.withdraw(prefix)));
    expect(&topology, &agent, BY_EAST, "the shorter path was withdrawn");
    topology.change(|| announce(&mut west, WEST_PATH));
    expect(&topology, &agent, BY_WEST, "it was announced again");
    topology.change(|| drop(west));
    expect(
        &topology,
        &agent,
        BY_EAST,
        "the session with its neighbour broke",
    );
    let mut west = topology.speaker(WEST);
    topology.change(|| announce(&mut west, WEST_PATH));
    expect(&topology, &agent, BY_WEST, "the neighbour is back");

    // the router's daemon dies, and comes again with another origin
    drop(router);
    sleep(Duration::from_secs(1));
    expect(
        &topology,
        &agent,
        BY_WEST,
        "the daemon was killed: stale routes",
    );
    drop((west, east));
    router = topology.start(daemon);
    topology.wait_for_session(&agent, Duration::from_secs(15));
    (west, east) = (topology.speaker(WEST), topology.speaker(EAST));
    topology.change(|| {
        announce(&mut east, EAST_PATH);
        announce(&mut west, WEST_LATER);
    });
    expect(&topology, &agent, BY_WEST_LATER, "the daemon runs again");

    // the agent restarts
    agent.stop();
    agent = topology.agent(EACH_PACKET, STALE);
    rejoin(&topology, &agent, daemon, &mut west, &mut east);
    expect(&topology, &agent, BY_WEST_LATER, "the agent was restarted");

    // the daemon is gone for good
    drop(router);
    let killed = Instant::now();
    sleep(Duration::from_secs(1));
    expect(
        &topology,
        &agent,
        BY_WEST_LATER,
        "the daemon is gone: stale routes",
    );
    sleep((STALE + Duration::from_secs(1)).saturating_sub(killed.elapsed()));
    expect(
        &topology,
        &agent,
        UNKNOWN,
        "the stale routes had their time",
    );
    agent.stop();
}

fn announce(speaker: &mut Speaker, path: Path<'_>) {
    for prefix in PREFIXES {
        speaker.announce(prefix, path);
    }
    speaker.end_of_rib();
}

/// The daemon finds the new agent, and the agent its routes.
fn rejoin(
    topology: &Topology,
    agent: &Agent,
    daemon: &dyn Daemon,
    west: &mut Speaker,
    east: &mut Speaker,
) {
    let back = |limit| topology.wait_for_session(agent, limit);
    match daemon.rejoins() {
        Rejoins::ByItself(limit) => back(limit),
        Rejoins::OnUpdates => {
            // the first write goes into a closed connection, and the second fails
            for (n, pause) in [(1, 300), (2, 300), (3, 0)] {
                west.announce(&format!("198.51.{n}.0/24"), WEST_PATH);
                sleep(Duration::from_millis(pause));
            }
            back(Duration::from_secs(5));
        }
        Rejoins::WithNewSessionsOnly(limit) => {
            back(limit);
            expect(topology, agent, UNKNOWN, "sessions that were up already");
            for (speaker, identity, path) in [(west, WEST, WEST_LATER), (east, EAST, EAST_PATH)] {
                speaker.end();
                *speaker = topology.speaker(identity);
                announce(speaker, path);
            }
        }
    }
    topology.settle();
}

/// Sends packets from and to the prefixes and looks for them under these labels and no others, on both
/// devices.
fn expect(topology: &Topology, agent: &Agent, (asn, peer): Labels, when: &str) {
    const COUNT: u64 = 3;
    let ends: [(IpAddr, IpAddr); 2] = [
        ("203.0.113.7".parse().unwrap(), NOWHERE),
        ("2001:db8::7".parse().unwrap(), NOWHERE6),
    ];
    let (before, after) = topology.measure(agent, |topology| {
        for (inside, outside) in ends {
            topology.send((inside, outside), 100, COUNT);
            topology.send((outside, inside), 100, COUNT);
        }
        // on the way in and on the way out
        2 * 4 * COUNT
    });
    for (ifname, direction) in [("lan0", "ingress"), ("wan0", "egress")] {
        for (end, other) in [("src", "dst"), ("dst", "src")] {
            let (end_asn, end_peer) = (format!("{end}_asn"), format!("{end}_peer_asn"));
            let (other_asn, other_peer) = (format!("{other}_asn"), format!("{other}_peer_asn"));
            let labels = [
                ("ifname", ifname),
                ("direction", direction),
                ("proto", "17"),
                (&end_asn, asn),
                (&end_peer, peer),
                (&other_asn, ""),
                (&other_peer, ""),
            ];
            let of = |m| crate::common::metrics::Metrics::sum(m, "rfm_flow_packets_total", &labels);
            // both ways are one series if nothing is known
            let ways = if asn.is_empty() { 2 } else { 1 };
            let moved = of(&after) - of(&before);
            assert_eq!(
                moved,
                ways * 2 * COUNT,
                "{when}: {ifname} {end}\n{:?}",
                after.moved_since(&before)
            );
        }
    }
}
