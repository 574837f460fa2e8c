// SPDX-License-Identifier: AGPL-3.0-only
//! RPKI: an agent with VRPs, routes from BMP messages, and live traffic.

#[allow(dead_code)]
#[path = "../bmp/builders.rs"]
mod builders;
#[path = "../common/mod.rs"]
mod common;
mod file;
#[allow(dead_code)]
#[path = "../control/harness.rs"]
mod harness;
mod rtr;

use std::io::Write;
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use common::agent::Agent;
use common::cases::{DST_MAC, SRC_MAC};
use common::frames::Frame;
use common::lab::{Lab, wait_for};
use common::metrics::Metrics;
use common::packet::Sender;
use harness::{Fixture, Folder};

/// The time in which a change of the VRPs must be visible.
const SETTLED: Duration = Duration::from_secs(15);

const LABELS: &str = "[agent.prometheus]\nhost = \"127.0.0.1\"\nport = 9669\n\
                      labels = [\"direction\", \"src_rpki\", \"dst_rpki\"]\n";

/// An agent that watches `v0`, a router that sends it routes, and a sender on `v0`.
struct Rpki {
    fixture: Fixture,
    sender: Sender,
    router: TcpStream,
    sent: u64,
}

impl Rpki {
    /// `rpki` is the content of `[agent.enrich.rpki]`.
    fn start(rpki: &str) -> Self {
        let lab = Lab::new();
        let namespace = lab.wire();
        let folder = Folder::new();
        let text = format!(
            "[agent]\ninterfaces = [\"v0\"]\n[agent.bpf]\nsample_rate = 1\nflow_cache = 0\n\
             [agent.control]\nsocket = \"{}\"\n{LABELS}\
             [agent.enrich.rib.bmp]\nhost = \"127.0.0.1\"\n[agent.enrich.rpki]\n{rpki}\n",
            folder.socket().display()
        );
        let agent = Agent::start(&lab, &namespace, &text);
        let sender = namespace.inside(|| Sender::new("v0").expect("a packet socket"));
        let router =
            namespace.inside(|| TcpStream::connect("127.0.0.1:11019").expect("the agent listens"));
        Self {
            fixture: Fixture {
                agent,
                namespace,
                folder,
                lab,
            },
            sender,
            router,
            sent: 0,
        }
    }

    fn announce(&mut self, messages: &[Vec<u8>]) {
        self.router.write_all(&messages.concat()).expect("sent");
    }

    /// Sends packets from one address to another. Returns the scrape after they are accounted.
    fn send(&mut self, from: &str, to: &str, count: u64) -> Metrics {
        let [from, to] = [from, to].map(|text| text.parse::<Ipv4Addr>().expect("an address"));
        let frame = Frame::ethernet(SRC_MAC, DST_MAC)
            .ipv4(from, to)
            .udp()
            .ports(1000, 9)
            .payload(20)
            .build();
        for _ in 0..count {
            self.sender.send(&frame, 0).expect("sent");
        }
        self.sent += count;
        let accounted =
            |metrics: &Metrics| metrics.sum("rfm_collector_accounted_packets_total", &[]);
        let agent = &self.fixture.agent;
        let (metrics, all) = agent.scrape_until(SETTLED, |m| accounted(m) == self.sent);
        assert!(all, "{} of {} accounted", accounted(&metrics), self.sent);
        metrics
    }

    /// Waits until the RIB shows this validation state for an address.
    fn wait_for_state(&self, address: &str, state: &str) {
        let shown = || {
            let reply = self.fixture.json(&format!("rib {address}"));
            reply["routes"][0]["rpki"].as_str().map(str::to_owned)
        };
        let reached = wait_for(SETTLED, || shown().as_deref() == Some(state));
        assert!(reached, "{:?}, not {state}", shown());
        // the flow thread checks the generations twice a second
        std::thread::sleep(Duration::from_secs(1));
    }

    fn problems(&self) -> Vec<String> {
        let status = self.fixture.json("status");
        let problems = status["problems"].as_array().expect("a list");
        let text = |problem: &serde_json::Value| {
            let part = |name: &str| problem[name].as_str().unwrap_or_default().to_owned();
            format!("{}: {}", part("kind"), part("text"))
        };
        problems.iter().map(text).collect()
    }
}

/// Returns the packets with these labels.
fn packets(metrics: &Metrics, source: &str, destination: &str) -> u64 {
    let labels = [("src_rpki", source), ("dst_rpki", destination)];
    metrics.sum("rfm_flow_packets_total", &labels)
}
