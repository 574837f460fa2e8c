// SPDX-License-Identifier: AGPL-3.0-only
//! Random frames through the TC and XDP programs by `BPF_PROG_TEST_RUN`, beside an independent parser: each
//! counter, each record and each verdict.
//!
//! RFM_SOAK_FRAMES sets the number of frames for each: 20,000 by default; `make soak` sends a million.

#[path = "../common/mod.rs"]
mod common;
#[path = "../firewall_bpf/fixture.rs"]
#[allow(dead_code, reason = "the tests of the firewall use more of it")]
mod fixture;
mod generate;
mod model;

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;

use libbpf_rs::RingBufferBuilder;
use rfm::bpf::record;
use rfm::types::flow::Direction;
use rfm::types::flow::Family;

use common::cases::{Case, Expect, Ingress, Link};
use common::kernel::{Kernel, Observed, Record, seen};
use common::lab::{Lab, can_run};
use fixture::{Fixture, LOOPBACK, Verdict, fixture_of, rules};
use generate::Random;
use model::{Frame, Packet, Reader, is_extension};

/// As many as their records fit in the ring.
const BATCH: usize = 500;

/// Batches of frames, and the seed, which is printed if the test fails.
fn batches() -> impl Iterator<Item = Vec<Vec<u8>>> {
    let count = std::env::var("RFM_SOAK_FRAMES").map_or(20_000, |n| n.parse().expect("a number"));
    let seed = Random::seed();
    println!("{count} frames, seed {seed}");
    let mut random = Random(seed);
    (0..count).step_by(BATCH).map(move |from| {
        let frames = from..count.min(from + BATCH);
        frames.map(|_| generate::frame(&mut random)).collect()
    })
}

fn hex(frame: &[u8]) -> String {
    frame.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn expectation(frame: &[u8]) -> Expect {
    let (family, flow, error) = match model::read(frame, Reader::Monitor) {
        Frame::NotIp => (Family::Other, None, None),
        Frame::Garbled(reason) => (Family::Other, None, Some(reason)),
        Frame::Ip(packet) => (family(&packet), Some(packet.flow), None),
    };
    Expect {
        family,
        packets: 1,
        bytes: frame.len() as u64,
        flow,
        error,
    }
}

fn family(packet: &Packet) -> Family {
    match packet.flow.src {
        IpAddr::V4(_) => Family::Ipv4,
        IpAddr::V6(_) => Family::Ipv6,
    }
}

fn case(frame: Vec<u8>) -> Case {
    Case {
        name: "random",
        link: Link::Ethernet,
        expect: expectation(&frame),
        frame,
        segmentation: None,
        ingress: Ingress::Same,
    }
}

fn observe(kernel: &Kernel, cases: &[Case], direction: Direction) -> Result<(), String> {
    let mut expected = Observed::default();
    for case in cases {
        expected.add(&case.expect, LOOPBACK, direction);
    }
    kernel.check("frames", expected, || {
        for case in cases {
            kernel.test_run(case, LOOPBACK, direction);
        }
    })
}

/// The programs for kernels without types read at most 128 tags and labels: no shorter frame has more.
const UNTYPED_LENGTH: usize = 14 + 4 * 128;

fn is_read(frame: &[u8], typed: bool) -> bool {
    typed || frame.len() <= UNTYPED_LENGTH
}

fn read_all(typed: bool) {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let lab = Lab::new();
    lab.namespace("q").inside(|| {
        let kernel = Kernel::load_object(&[(LOOPBACK, false)], 0, typed);
        for (number, frames) in batches().enumerate() {
            let direction = Direction::ALL[number % 2];
            let cases: Vec<Case> = frames
                .into_iter()
                .filter(|frame| is_read(frame, typed))
                .map(case)
                .filter(Case::fits_test_run)
                .collect();
            if observe(&kernel, &cases, direction).is_ok() {
                continue;
            }
            for case in cases.chunks(1) {
                if let Err(difference) = observe(&kernel, case, direction) {
                    panic!("{}\n{difference}", hex(&case[0].frame));
                }
            }
            panic!("each frame is read as it should, but not all of them together");
        }
    });
}

#[test]
fn the_monitor_reads_what_the_model_reads() {
    read_all(true);
}

#[test]
fn the_monitor_without_kernel_types_reads_what_the_model_reads() {
    read_all(false);
}

/// The records of dropped packets.
struct Records<'a> {
    ring: libbpf_rs::RingBuffer<'a>,
    taken: Rc<RefCell<Vec<Record>>>,
}

impl Records<'_> {
    fn new(fixture: &Fixture) -> Self {
        let ring = fixture.firewall.ring().expect("the ring");
        let taken = Rc::new(RefCell::new(Vec::new()));
        let sink = taken.clone();
        let mut builder = RingBufferBuilder::new();
        builder
            .add(&ring, move |bytes| {
                let record = record::decode(bytes, Some).expect("a record");
                sink.borrow_mut().push(seen(&record));
                0
            })
            .expect("the ring");
        let ring = builder.build().expect("the ring");
        Self { ring, taken }
    }

    fn take(&self) -> Vec<Record> {
        self.ring.consume().expect("records");
        self.taken.take()
    }
}

/// Link-local packets and neighbor discovery.
fn always_passes(packet: &Packet) -> bool {
    let (IpAddr::V6(src), IpAddr::V6(dst)) = (packet.flow.src, packet.flow.dst) else {
        return false;
    };
    let is_local = |first: u16| first & 0xffc0 == 0xfe80;
    let (src, dst) = (src.segments()[0], dst.segments()[0]);
    let kind = packet.flow.dst_port >> 8;
    let is_discovery = packet.flow.protocol == 58
        && packet.has_ports
        && (133..=137).contains(&kind)
        && packet.hop_limit == 255;
    is_local(src) || is_local(dst) || dst == 0xff02 || is_discovery
}

/// Whether `drop proto udp dport 53` applies: a hidden header does not save a packet.
fn is_to_port_53(packet: &Packet) -> bool {
    let flow = &packet.flow;
    let is_hidden = flow.src.is_ipv6() && is_extension(flow.protocol);
    is_hidden || flow.protocol == 17 && (!packet.has_ports || flow.dst_port == 53)
}

fn verdict(frame: &Frame, applies: fn(&Packet) -> bool) -> Verdict {
    match frame {
        Frame::Ip(packet) if !always_passes(packet) && applies(packet) => Verdict::Drop,
        _ => Verdict::Pass,
    }
}

#[test]
fn the_firewall_judges_what_the_model_reads() {
    judge_all(true);
}

#[test]
fn the_firewall_without_kernel_types_judges_what_the_model_reads() {
    judge_all(false);
}

fn judge_all(typed: bool) {
    let (Some(mut all), Some(mut port)) = (fixture_of(1, typed), fixture_of(0, typed)) else {
        return;
    };
    let set = rules(&["drop src 0.0.0.0/0", "drop src ::/0"]);
    all.firewall.replace(&set).expect("rules");
    let set = rules(&["drop proto udp dport 53"]);
    port.firewall.replace(&set).expect("rules");
    let records = Records::new(&all);
    for frame in batches().flatten().filter(|f| is_read(f, typed)) {
        let model = model::read(&frame, Reader::Firewall);
        let got = (all.verdict(&frame), port.verdict(&frame));
        let expected = (verdict(&model, |_| true), verdict(&model, is_to_port_53));
        assert_eq!(got, expected, "{}\n{model:?}", hex(&frame));
        let dropped: Vec<Record> = match model {
            Frame::Ip(packet) if expected.0 == Verdict::Drop => vec![Record {
                ifindex: LOOPBACK,
                direction: Direction::Ingress,
                family: family(&packet),
                packets: 1,
                bytes: frame.len() as u64,
                sample_rate: 1,
                weight: 1,
                from: LOOPBACK,
                flow: packet.flow,
            }],
            _ => Vec::new(),
        };
        assert_eq!(records.take(), dropped, "{}", hex(&frame));
    }
}
