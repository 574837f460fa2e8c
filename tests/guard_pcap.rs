// SPDX-License-Identifier: AGPL-3.0-only
//! The first packets of an attack in a file, those that the firewall drops included.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::Ordering::SeqCst;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use common::agent::{Agent, PORT};
use common::frames::Frame;
use common::lab::{Lab, Namespace, can_run, mac_of, run, wait_for};
use common::packet::Sender;
use common::traffic::{Other, meanwhile};
use rfm::client::http;

const TOOLS: [&str; 4] = ["ip", "sysctl", "tcpdump", "setpriv"];
const PACKETS: usize = 1_000;
const SNAP_LENGTH: usize = 256;

/// Each frame has its number in its last bytes.
fn frame(n: u64) -> Vec<u8> {
    let frame = Frame::ethernet(mac_of("v0"), mac_of("v1"));
    let from = [100, 64, (n >> 8) as u8, n as u8];
    let frame = frame.ipv4(from.into(), [192, 0, 2, 7].into()).udp();
    let mut bytes = frame.ports(123, 4_000).payload(440).build();
    // before the end of what is captured
    bytes[200..208].copy_from_slice(&n.to_be_bytes());
    bytes
}

/// A packet of the file: its length, its first bytes, and whether the firewall dropped it.
struct Captured {
    length: usize,
    data: Vec<u8>,
    is_dropped: bool,
}

/// The packets of a file in the format of draft-ietf-opsawg-pcapng.
fn read(path: &Path) -> Vec<Captured> {
    let bytes = fs::read(path).expect("the file");
    let word = |at: usize| {
        let bytes = bytes[at..at + 4].try_into().expect("four bytes");
        u32::from_ne_bytes(bytes) as usize
    };
    let (mut at, mut packets) = (0, Vec::new());
    while at < bytes.len() {
        let (kind, length) = (word(at), word(at + 4));
        assert_eq!(word(at + length - 4), length, "a block at {at}");
        if kind == 6 {
            let captured = word(at + 20);
            let data = bytes[at + 28..at + 28 + captured].to_vec();
            let rest = &bytes[at + 28 + captured..at + length - 4];
            packets.push(Captured {
                length: word(at + 24),
                data,
                is_dropped: rest.windows(7).any(|text| text == b"dropped"),
            });
        }
        at += length;
    }
    packets
}

struct Fixture {
    agent: Agent,
    socket: PathBuf,
    folder: PathBuf,
    namespace: Namespace,
    _lab: Lab,
}

impl Fixture {
    /// `None` if this kernel refuses programs that trace others, as some hosts of virtual machines configure it.
    fn new(name: &str, guard: &str, firewall: &str) -> Option<Self> {
        let lab = Lab::new();
        let namespace = lab.wire();
        let file = format!("rfm-pcap-{name}-{}.sock", std::process::id());
        let socket = std::env::temp_dir().join(file);
        let folder = lab.path("attacks");
        let config = format!(
            "[agent]\ninterfaces = [\"v1\"]\n[agent.bpf]\nsample_rate = 1\n\
             [agent.control]\nsocket = \"{}\"\n\
             [agent.prometheus]\nhost = \"127.0.0.1\"\nport = {PORT}\n{firewall}\n\
             [agent.guard]\nenabled = true\nprotect = [\"192.0.2.0/24\"]\nhost_packets = 400\n\
             prefix_packets = 0\npcap = true\npcap_dir = \"{}\"\n{guard}\n",
            socket.display(),
            folder.display()
        );
        // as the service
        let service = ["setpriv", "--bounding-set", "-all,+bpf,+net_admin,+perfmon"];
        let agent = Agent::start_under(&lab, &namespace, &config, &service);
        let log = agent.log();
        if log.contains("the packets of attacks are not stored") {
            let is_required = std::env::var("RFM_REQUIRE_TRACING").as_deref() == Ok("1");
            let is_refused = log.contains("Operation not permitted");
            assert!(is_refused && !is_required, "{log}");
            println!("skipped: this kernel refuses programs that trace others");
            return None;
        }
        // all flows are new in the first three seconds
        sleep(Duration::from_millis(3_500));
        Some(Self {
            agent,
            socket,
            folder,
            namespace,
            _lab: lab,
        })
    }

    fn guard(&self) -> Value {
        let reply = http::get(&self.socket, "/v1/guard").expect("a reply");
        serde_json::from_slice(&reply).expect("JSON")
    }

    /// The programs that are attached to capture packets.
    fn tracing(&self) -> usize {
        let links = fs::read_dir(format!("/proc/{}/fdinfo", self.agent.pid())).expect("fdinfo");
        let texts = links.filter_map(|file| fs::read_to_string(file.ok()?.path()).ok());
        texts
            .filter(|text| text.contains("link_type:\ttracing"))
            .count()
    }

    /// Attacks until a file has all packets; returns its path.
    fn attack(&self) -> PathBuf {
        assert_eq!(self.tracing(), 0);
        let flood: Other<'_> = &|stop| {
            self.namespace.inside(|| {
                let sender = Sender::new("v0").expect("a packet socket");
                let (start, mut n) = (Instant::now(), 0);
                while !stop.load(SeqCst) {
                    let due = start.elapsed().as_millis() as u64 * 3;
                    // an emulated machine may not send as many
                    let last = due.min(n + 30);
                    while n < last {
                        sender.send(&frame(n), 0).expect("sent");
                        n += 1;
                    }
                    sleep(Duration::from_millis(1));
                }
            });
        };
        meanwhile(&[flood], || {
            let path = || {
                let guard = self.guard();
                let path = guard["active"][0]["pcap"].as_str().map(PathBuf::from);
                path.filter(|path| read(path).len() == PACKETS)
            };
            let done = wait_for(Duration::from_secs(30), || path().is_some());
            assert!(done, "{:#}\n{}", self.guard(), self.agent.log());
            // with the last packet
            assert!(wait_for(Duration::from_secs(2), || self.tracing() == 0));
            path().expect("still there")
        })
    }

    /// Checks that the packets are those that were sent; returns how many the firewall dropped.
    fn check(&self, path: &Path) -> usize {
        let packets = read(path);
        let mut numbers = BTreeSet::new();
        for packet in &packets {
            assert_eq!(packet.data.len(), SNAP_LENGTH);
            let number = packet.data[200..208].try_into().expect("eight bytes");
            let number = u64::from_be_bytes(number);
            let sent = frame(number);
            assert_eq!(packet.length, sent.len());
            assert_eq!(packet.data, sent[..SNAP_LENGTH]);
            assert!(numbers.insert(number), "{number} is twice in the file");
        }
        // one after the other
        let (first, last) = (numbers.first(), numbers.last());
        let span = last.expect("packets") - first.expect("packets") + 1;
        assert_eq!(span as usize, PACKETS);
        let mode = fs::metadata(path).expect("the file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(path.starts_with(&self.folder));
        let text = run(Command::new("tcpdump")
            .args(["-Z", "root", "-nr"])
            .arg(path));
        assert_eq!(text.matches("> 192.0.2.7.4000").count(), PACKETS);
        packets.iter().filter(|packet| packet.is_dropped).count()
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.socket);
    }
}

#[test]
fn the_packets_that_the_firewall_drops_are_stored() {
    if !can_run(&TOOLS) {
        return;
    }
    let Some(fixture) = Fixture::new(
        "act",
        "mode = \"act\"\nttl = \"2s\"\npcap_files = 1",
        "[agent.firewall]\nenabled = true\ninterfaces = [\"v1\"]",
    ) else {
        return;
    };
    let path = fixture.attack();
    let dropped = fixture.check(&path);
    assert!(dropped >= PACKETS - 100, "{dropped} dropped");
    // a second attack makes room for its file
    let ended = || fixture.guard()["active"] == serde_json::json!([]);
    assert!(wait_for(Duration::from_secs(30), ended));
    let second = fixture.attack();
    fixture.check(&second);
    let files = fs::read_dir(&fixture.folder).expect("the folder");
    let files: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    assert_eq!(files, [second]);
}

#[test]
fn without_a_firewall_the_packets_that_pass_are_stored() {
    if !can_run(&TOOLS) {
        return;
    }
    let Some(fixture) = Fixture::new("watch", "", "") else {
        return;
    };
    let path = fixture.attack();
    assert_eq!(fixture.check(&path), 0);
}
