// SPDX-License-Identifier: AGPL-3.0-only
//! `rfm history` and `rfm bill` with a whole agent: sums equal the interface counters over a restart, and conversations
//! have the bytes of the traffic.

mod common;

use std::process::Command;
use std::time::Duration;

use common::accounting::{of_hooks, settle};
use common::agent::{Agent, EXACT};
use common::lab::{Lab, can_run, run, wait_for};
use common::packet::Sender;
use common::traffic::small_frame;
use serde_json::Value;

/// Thread page reads every 5 seconds.
const LIMIT: Duration = Duration::from_secs(30);
/// Frames are sent from ports above that of the service.
const FIRST_PORT: u16 = 1000;

fn config(lab: &Lab) -> String {
    format!(
        "[agent]\ninterfaces = [\"v1\"]\n{EXACT}\
         [agent.control]\nsocket = \"{}\"\n\
         [agent.history]\npath = \"{}\"\nsync_interval = \"1s\"\nconversations = \"hosts\"\n\
         [agent.prometheus]\nhost = \"127.0.0.1\"\nport = 9669\n",
        lab.path("rfm.sock").display(),
        lab.path("history").display()
    )
}

fn ask(lab: &Lab, words: &[&str]) -> Value {
    let socket = lab.path("rfm.sock");
    let mut command = Command::new(env!("CARGO_BIN_EXE_rfm"));
    command
        .args(words)
        .arg("--json")
        .arg("--socket")
        .arg(&socket);
    serde_json::from_str(&run(&mut command)).expect("JSON")
}

/// Returns the sum of a value over the rows of a direction.
fn sum(reply: &Value, direction: &str, value: &str) -> u64 {
    let rows = reply["rows"].as_array().expect("rows").iter();
    let of = rows.filter(|row| row["direction"] == direction);
    of.map(|row| row[value].as_u64().expect("a number")).sum()
}

/// Waits until thread page has made its first reading, from which the history counts.
fn wait_for_page(agent: &Agent) {
    let there = || {
        let page = agent.get("/page/v1.json");
        page.is_ok_and(|page| page.body.contains("\"v1\""))
    };
    assert!(wait_for(LIMIT, there), "{}", agent.log());
}

#[test]
fn sums_equal_the_counters_over_a_restart_and_conversations_have_their_bytes() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let lab = Lab::new();
    let namespace = lab.wire();
    // the only packets are those of the test
    namespace.run("sysctl", "-qw net.ipv6.conf.all.disable_ipv6=1");
    let sender = namespace.inside(|| Sender::new("v0").expect("a packet socket"));
    let (mut packets, mut bytes) = (0, 0);
    for round in 1..=2u16 {
        let agent = Agent::start(&lab, &namespace, &config(&lab));
        wait_for_page(&agent);
        for port in 0..500 * round {
            let frame = small_frame(FIRST_PORT + port);
            sender.send(&frame, 0).expect("sent");
        }
        let sent = 500 * u64::from(round);
        let arrived = |agent: &Agent| of_hooks(&agent.scrape(), "v1").rx_packets >= sent;
        assert!(wait_for(LIMIT, || arrived(&agent)));
        let (metrics, _) = settle(&agent, &["v1"]);
        let counters = of_hooks(&metrics, "v1");
        packets += counters.rx_packets;
        bytes += counters.rx_bytes;
        // SIGTERM writes the current minute
        agent.stop();
    }
    let agent = Agent::start(&lab, &namespace, &config(&lab));
    for by in [None, Some("service"), Some("asn"), Some("src,dst,port")] {
        let mut words = vec!["history", "1h", "--interface", "v1"];
        words.extend(by.iter().flat_map(|by| ["--by", by]));
        let reply = ask(&lab, &words);
        assert_eq!(sum(&reply, "ingress", "bytes"), bytes, "{by:?}: {reply:#}");
        assert_eq!(reply["damaged_blocks"], 0);
    }
    let reply = ask(&lab, &["history", "1h", "--interface", "v1"]);
    assert_eq!(sum(&reply, "ingress", "packets"), packets);
    let count = |kind: &str| {
        let reply = ask(&lab, &["history", "1h"]);
        let events = reply["events"].as_array().expect("events").iter();
        events.filter(|event| event["kind"] == kind).count()
    };
    for (kind, expected) in [("start", 3), ("stop", 2), ("interface_up", 3)] {
        assert!(wait_for(LIMIT, || count(kind) >= expected), "{kind}");
        assert_eq!(count(kind), expected, "{kind}");
    }
    // 1,500 frames of 60 bytes to port 9 are one conversation
    let reply = ask(&lab, &["history", "1h", "--by", "src,dst,port"]);
    let largest = &reply["rows"][0];
    assert_eq!(
        (&largest["values"]["port"], &largest["bytes"]),
        (&9.into(), &90_000.into()),
        "{reply:#}"
    );
    assert_eq!(largest["packets"], 1500);
    // the same bytes are in the samples of the bill
    let bill = ask(&lab, &["bill", "--month", "1h", "--interface", "v1"]);
    assert_eq!(bill["bills"].as_array().map(Vec::len), Some(1));
    agent.stop();
}
