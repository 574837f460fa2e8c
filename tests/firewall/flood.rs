// SPDX-License-Identifier: AGPL-3.0-only
//! Rules that change while millions of packets a second come: the kernel makes the frames itself, and each is
//! accounted for.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread::sleep;
use std::time::{Duration, Instant};

use libbpf_rs::{MapCore, MapFlags, Object, ProgramInput};
use serde_json::json;

use crate::bpf;
use crate::common::lab::can_run;
use crate::common::traffic::meanwhile;
use crate::wire::{LIMIT, add, guarded, matched, packet, past};

/// BPF_F_TEST_XDP_LIVE_FRAMES of include/uapi/linux/bpf.h
const LIVE_FRAMES: u32 = 1 << 1;
/// Frames that one system call makes: a multiple of what a sequence repeats, more than a wire holds, and so
/// many that it is at work for longer than it waits afterwards (for a grace period of RCU).
const CHUNK: u32 = 96_000;
/// benches/bpf/bench.h
const SEQUENCE: usize = 262_144;

const GOOD: Ipv4Addr = Ipv4Addr::new(192, 0, 3, 1);
const BAD: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const CHANGING: Ipv4Addr = Ipv4Addr::new(192, 0, 4, 1);

/// Frames out of `v0`, from these addresses in turn.
struct Source {
    object: Object,
    frame: Vec<u8>,
    sent: AtomicU64,
}

impl Source {
    /// In the namespace of `v0`.
    fn new(v0: u32, addresses: &[Ipv4Addr]) -> Self {
        let open = bpf::open("generator").expect("clang makes the generator");
        let mut object = open.load().expect("the generator loads");
        let cycle = addresses.iter().cycle().take(SEQUENCE);
        let sequence: Vec<u8> = cycle.flat_map(|address| address.octets()).collect();
        for (map, value) in [
            (".data.sequence", sequence),
            ("wire", v0.to_ne_bytes().into()),
        ] {
            let map = bpf::map(&mut object, map).expect("a map of the generator");
            map.update(&0_u32.to_ne_bytes(), &value, MapFlags::ANY)
                .expect("the generator takes the value");
        }
        Self {
            object,
            frame: packet("192.0.3.1"),
            sent: AtomicU64::new(0),
        }
    }

    fn send(&self) {
        let program = bpf::program(&self.object, "send").expect("a program of the generator");
        let input = ProgramInput {
            data_in: Some(&self.frame),
            repeat: CHUNK,
            flags: LIVE_FRAMES,
            ..Default::default()
        };
        program.test_run(input).expect("frames");
        self.sent.fetch_add(CHUNK.into(), SeqCst);
    }

    fn sent(&self) -> u64 {
        self.sent.load(SeqCst)
    }
}

/// So many more chunks, each of which leaves the wire before the next but one.
fn after(source: &Source, chunks: u64) {
    let end = source.sent() + chunks * u64::from(CHUNK);
    while source.sent() < end {
        sleep(Duration::from_millis(1));
    }
}

#[test]
fn changes_under_a_flood_hold_for_each_packet_once_they_have_returned() {
    if !can_run(&["ip", "sysctl", "ethtool"]) {
        return;
    }
    let fixture = guarded(&format!("[[agent.firewall.rule]]\nsrc = \"{BAD}\"\n"));
    let namespace = &fixture.namespace;
    // frames that were redirected are received by NAPI; nobody here has their MAC address, so that the stack
    // takes no further what the monitor has counted
    namespace.run("ethtool", "-K v1 gro on");
    let quiet = past(&fixture.agent.scrape());
    let (background, with_changing, passed, took, changes) = namespace.inside(|| {
        let v0 = namespace.ifindex("v0");
        let background = Source::new(v0, &[&[GOOD][..], &[BAD; 15]].concat());
        let with_changing = Source::new(v0, &[&[GOOD][..], &[BAD; 11], &[CHANGING; 4]].concat());
        let asked = AtomicBool::new(false);
        let start = Instant::now();
        let flood = |stop: &AtomicBool| {
            while !stop.load(SeqCst) {
                match asked.load(SeqCst) {
                    true => with_changing.send(),
                    false => background.send(),
                }
            }
        };
        // of packets from an address whose rule has changed: how many came
        let come = || {
            let before = with_changing.sent();
            asked.store(true, SeqCst);
            after(&with_changing, 2);
            asked.store(false, SeqCst);
            after(&background, 2);
            (with_changing.sent() - before) / 4
        };
        let (mut passed, mut changes) = (0, 0);
        meanwhile(&[&flood], || {
            while start.elapsed() < Duration::from_secs(5) {
                let id = add(&fixture, &format!("--src {CHANGING}"));
                let came = come();
                let rule = &fixture.json("firewall list")["rules"][0];
                assert_eq!((&rule["id"], &rule["packets"]), (&json!(id), &json!(came)));
                fixture.rfm(&format!("firewall del {id}"));
                passed += come();
                changes += 2;
            }
        });
        let took = start.elapsed();
        (
            background.sent(),
            with_changing.sent(),
            passed,
            took,
            changes,
        )
    });
    let sent = background + with_changing;
    println!(
        "{changes} changes while {:.1} million packets a second came",
        sent as f64 / took.as_secs_f64() / 1e6
    );
    let good = sent / 16 + passed + quiet;
    let bad = background / 16 * 15 + with_changing / 16 * 11;
    let all = |m: &_| past(m) >= good && matched(m, "config-1", "drop") >= bad;
    let (metrics, reached) = fixture.agent.scrape_until(LIMIT, all);
    let found = (past(&metrics), matched(&metrics, "config-1", "drop"));
    assert_eq!(found, (good, bad), "passed, dropped");
    assert!(reached);
    assert!(changes >= 4, "{changes}");
}
