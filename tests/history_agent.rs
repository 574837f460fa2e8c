// SPDX-License-Identifier: AGPL-3.0-only
//! `rfm history` and `rfm bill` with a whole agent: sums equal the interface counters over a restart, and conversations
//! have the bytes of the traffic. Events and a full disk.

mod common;

use std::io::Write;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::accounting::{of_hooks, settle};
use common::agent::{Agent, EXACT};
use common::lab::{Lab, can_run, run, wait_for};
use common::packet::Sender;
use common::traffic::small_frame;
use rfm::store::files::calendar::month_start;
use rfm::store::files::writer::{HistoryWriter, StoreSettings, StoreTime};
use rfm::store::shared::SharedHistory;
use rfm::store::types::{HistoryInput, MinuteRows, ScopeRow, TotalRow};
use rfm::types::flow::Direction;
use rustix::process::Signal;
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
    assert_eq!(largest["values"]["port"], 9, "{reply:#}");
    // if a minute ends between the frames, each part is rounded down
    let found = largest["bytes"].as_u64().expect("bytes");
    let least = 90_000 - 90_000 / 4096;
    assert!((least..=90_000).contains(&found), "{reply:#}");
    assert_eq!(largest["packets"], 1500);
    // the same bytes are in the samples of the bill
    let bill = ask(&lab, &["bill", "--month", "1h", "--interface", "v1"]);
    assert_eq!(bill["bills"].as_array().map(Vec::len), Some(1));
    agent.stop();
}

fn unix_now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("after 1970").as_secs()
}

/// Writes samples of the last three hours of the month, 1,000 bytes a second received and none sent.
fn write_samples(folder: &Path) {
    let now = unix_now();
    let shared = Arc::new(SharedHistory::new(folder.to_owned()));
    let settings = StoreSettings {
        max_size: 96 << 20,
        sync_interval: Duration::from_secs(300),
    };
    let time = |wall| StoreTime {
        wall,
        monotonic: Duration::from_secs(wall),
    };
    let start = now / 300 * 300 - 3 * 3600;
    let mut writer = HistoryWriter::new(shared, settings, time(start));
    for minute in (start..now / 300 * 300).step_by(60) {
        let row = |direction, bytes| ScopeRow {
            interface: "v1".into(),
            direction,
            covered_ms: 60_000,
            totals: [TotalRow {
                bytes,
                packets: bytes / 100,
                max_rate: 0.0,
            }; 3],
            parts: Vec::new(),
        };
        // the three families have 20,000 bytes each
        let rows = vec![row(Direction::Ingress, 20_000), row(Direction::Egress, 0)];
        writer.add(HistoryInput::Minute(MinuteRows { minute, rows }));
        writer.tick(time(minute + 60));
    }
    writer.close(time(now));
}

#[test]
fn the_percentile_of_the_month_is_a_metric_if_it_is_requested() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let lab = Lab::new();
    let namespace = lab.wire();
    write_samples(&lab.path("history"));
    let p95 = |agent: &Agent, direction: &str| {
        let labels = [("ifname", "v1"), ("direction", direction)];
        agent.scrape().get("rfm_interface_p95_bytes", &labels)
    };
    let agent = Agent::start(&lab, &namespace, &config(&lab));
    assert_eq!(p95(&agent, "ingress"), None);
    agent.stop();
    let text = config(&lab) + "p95_series = true\n";
    let agent = Agent::start(&lab, &namespace, &text);
    // thread history calculates after a write
    let bill = || ask(&lab, &["bill", "--interface", "v1"]);
    let is_there = || {
        let rates = bill()["bills"][0]["rates"].clone();
        let of = |method: &str| {
            let mut rates = rates.as_array().expect("rates").iter();
            let rate = rates.find(|rate| rate["method"] == method);
            rate.expect("the method")["p95"]
                .as_f64()
                .map(|bits| (bits / 8.0).round())
        };
        let expected = [of("in"), of("out")];
        // the first hours of a month have few samples, and the first minutes none
        assert!(
            expected
                .iter()
                .all(|p95| p95.is_none_or(|p95| p95 == 1000.0 || p95 < 200.0))
        );
        [p95(&agent, "ingress"), p95(&agent, "egress")] == expected
    };
    assert!(
        wait_for(LIMIT, is_there),
        "{:?} {}",
        p95(&agent, "ingress"),
        bill()
    );
    let now = unix_now();
    if month_start(now) + 4 * 3600 < now {
        assert_eq!(p95(&agent, "ingress"), Some(1000.0));
        assert_eq!(p95(&agent, "egress"), Some(0.0));
    }
    agent.stop();
}

/// A BMP initiation message (RFC 7854, section 4.3) with the sysName r1.
const INITIATION: [u8; 12] = [3, 0, 0, 0, 12, 4, 0, 2, 0, 2, b'r', b'1'];

#[test]
fn events_of_interfaces_rules_sessions_and_commands_are_stored() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let lab = Lab::new();
    let namespace = lab.wire();
    let text = config(&lab).replace("[\"v1\"]", "[\"v1\", \"late.*\"]")
        + "[agent.firewall]\nenabled = true\ninterfaces = [\"v1\"]\n\
           [agent.enrich.rib.bmp]\nhost = \"127.0.0.1\"\nport = 11019\n";
    let agent = Agent::start(&lab, &namespace, &text);
    let texts = |kind: &str| -> Vec<String> {
        let reply = ask(&lab, &["history", "1h"]);
        let events = reply["events"].as_array().expect("events").iter();
        let of_kind = events.filter(|event| event["kind"] == kind);
        let text = of_kind.map(|event| event["text"].as_str().expect("a text").to_owned());
        text.collect()
    };
    let wait = |kind: &str, expected: &[&str]| {
        let is_there = || {
            let found = texts(kind);
            let holds = |(text, part): (&String, &&str)| text.contains(*part);
            found.len() == expected.len() && found.iter().zip(expected).all(holds)
        };
        assert!(wait_for(LIMIT, is_there), "{kind}: {:?}", texts(kind));
    };
    wait("start", &[env!("RFM_VERSION")]);
    wait("interface_up", &["v1"]);
    namespace.ip("link add late0 type veth peer name other0");
    wait("interface_up", &["v1", "late0"]);
    namespace.ip("link del late0");
    wait("interface_gone", &["late0"]);

    let mut router =
        namespace.inside(|| TcpStream::connect("127.0.0.1:11019").expect("it listens"));
    router.write_all(&INITIATION).expect("it reads");
    let has_session = || agent.scrape().sum("rfm_bmp_sessions", &[]) == 1;
    assert!(wait_for(LIMIT, has_session), "{}", agent.log());
    drop(router);
    wait("bmp_lost", &["r1"]);

    let rule = ["firewall", "add", "--src", "192.0.2.0/24", "--ttl", "1s"];
    let mut command = Command::new(env!("CARGO_BIN_EXE_rfm"));
    command.args(rule).arg("--socket").arg(lab.path("rfm.sock"));
    run(&mut command);
    wait("rule_added", &["192.0.2.0/24"]);
    wait("rule_expired", &["192.0.2.0/24"]);

    lab.file(
        "rfm.toml",
        &text.replace("sample_rate = 1", "sample_rate = 3"),
    );
    agent.signal(Signal::HUP);
    wait("reload", &["agent.bpf.sample_rate"]);
    agent.stop();
    let _agent = Agent::start(&lab, &namespace, &text);
    wait("stop", &[""]);
    wait("start", &[env!("RFM_VERSION"), env!("RFM_VERSION")]);
}

/// A small file system.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn new(path: PathBuf) -> Self {
        std::fs::create_dir(&path).expect("a folder of our own");
        let mount = ["-t", "tmpfs", "-o", "size=256k,mode=700", "tmpfs"];
        run(Command::new("mount").args(mount).arg(&path));
        Self(path)
    }

    fn fill(&self) {
        let full = std::fs::write(self.0.join("filler"), vec![1; 1 << 20]);
        full.expect_err("there is no room");
    }

    fn clear(&self) {
        std::fs::remove_file(self.0.join("filler")).expect("it is there");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

#[test]
fn a_history_on_a_full_disk_is_a_problem_until_there_is_room() {
    if !can_run(&["ip", "sysctl", "mount", "umount"]) {
        return;
    }
    let lab = Lab::new();
    let namespace = lab.wire();
    let disk = SmallDisk::new(lab.path("disk"));
    disk.fill();
    let text = config(&lab).replace("/history\"", "/disk/history\"");
    let agent = Agent::start(&lab, &namespace, &text);
    let problem = || {
        let status = ask(&lab, &["status"]);
        let problems = status["problems"].as_array().expect("a list").iter();
        let mut of_kind = problems.filter(|problem| problem["kind"] == "history_failing");
        of_kind
            .next()
            .map(|problem| problem["text"].as_str().expect("a text").to_owned())
    };
    let is_full = || problem().is_some_and(|text| text.contains("no space left on device"));
    assert!(wait_for(LIMIT, is_full), "{:?}", problem());
    disk.clear();
    assert!(wait_for(LIMIT, || problem().is_none()), "{:?}", problem());
    let reply = ask(&lab, &["history", "1h"]);
    assert_eq!(reply["damaged_blocks"], 0);
    agent.stop();
}
