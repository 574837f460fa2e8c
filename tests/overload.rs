// SPDX-License-Identifier: AGPL-3.0-only
//! More new flows than the ring buffer holds: adaptive sampling leaves packets out and counts others in their place.
//! The sums by network are unbiased, their stated error is right, and every packet is accounted.

mod common;

use std::net::IpAddr;

use common::accounting::SETTLED;
use common::cases;
use common::flood::pin_to;
use common::kernel::{Kernel, Record};
use common::lab::{Lab, can_run, wait_for};
use rfm::bpf::load::MonitorSettings;
use rfm::types::flow::Direction;
use rfm::types::flow::Direction::Ingress;

/// 4,096 flows of each of 256 networks.
const FLOWS: u32 = 1 << 20;
const NETWORKS: usize = 256;
const PACKETS: u32 = 2_000_000;
const RING: u32 = 262_144;
/// Packets between two readings of the ring: 10 ms of a million a second.
const READ_INTERVAL: u32 = 10_000;
/// In the frames: IPv4 source address and UDP source port.
const SOURCE: usize = 26;
const SOURCE_PORT: usize = 34;

struct Xorshift(u64);

impl Xorshift {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 20
    }
}

/// The packets of a network by its records, and the variance of this sum.
#[derive(Clone, Copy, Default)]
struct Estimate {
    packets: u64,
    variance: f64,
}

impl Estimate {
    fn add(&mut self, record: &Record) {
        let weight = f64::from(record.weight);
        self.packets += record.packets;
        self.variance += weight * (weight - 1.0);
    }
}

/// The estimates of a run in comparison with the truth.
struct Comparison {
    /// Standard errors between the estimate of a network and the truth.
    distances: Vec<f64>,
    mean_error: f64,
    ratio: f64,
}

impl Comparison {
    fn new(estimates: &[Estimate], truth: &[u64]) -> Self {
        let pairs = || estimates.iter().zip(truth);
        let difference = |estimate: &Estimate, sent: u64| estimate.packets as f64 - sent as f64;
        let errors = pairs().map(|(e, &sent)| difference(e, sent).abs() / sent as f64);
        let sum = estimates.iter().map(|e| e.packets).sum::<u64>() as f64;
        Self {
            distances: pairs()
                .map(|(e, &sent)| difference(e, sent) / e.variance.sqrt())
                .collect(),
            mean_error: errors.sum::<f64>() / truth.len() as f64,
            ratio: sum / truth.iter().sum::<u64>() as f64,
        }
    }

    /// The share of the networks whose estimate is within so many standard errors.
    fn within(&self, errors: f64) -> f64 {
        let near = self.distances.iter().filter(|z| z.abs() <= errors).count();
        near as f64 / self.distances.len() as f64
    }

    /// 256 cells: within 1 standard error 68 % are expected, and 59 to 77 % are three of its own standard errors.
    fn assert_true(&self, name: &str) {
        println!(
            "{name}: mean error {:.2} %, sum {:.4} of the truth, within 1, 2, 3 standard errors {:.1}, {:.1}, {:.1} %",
            100.0 * self.mean_error,
            self.ratio,
            100.0 * self.within(1.0),
            100.0 * self.within(2.0),
            100.0 * self.within(3.0),
        );
        assert!(self.within(3.0) >= 0.96, "{name}");
        assert!((0.58..=0.79).contains(&self.within(1.0)), "{name}");
        assert!((0.98..=1.02).contains(&self.ratio), "{name}");
    }
}

/// The programs with and without the flow cache. The reader's pauses are counted in packets: the load of the machine
/// changes little.
#[test]
fn sums_are_unbiased_while_the_ring_is_full() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let lab = Lab::new();
    let namespace = lab.namespace("o");
    lab.veth((&namespace, "v0"), (&namespace, "v1"));
    let v0 = namespace.ifindex("v0");
    for flow_cache in [8192, 0] {
        let name = format!("flow_cache = {flow_cache}");
        namespace.inside(|| {
            pin_to(0);
            let kernel = Kernel::load_with(
                &[(v0, false)],
                MonitorSettings {
                    flow_cache,
                    ring_bytes: RING,
                    ..Kernel::settings()
                },
            );
            overload(&kernel, v0).assert_true(&name);
        });
    }
}

/// A packet that was drawn to stand for k, and for which the full ring has no room, is dropped k times. If it counted
/// once, the estimates and the drops together would be too low.
#[test]
fn a_full_ring_drops_packets_with_their_weights() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let lab = Lab::new();
    let namespace = lab.namespace("o");
    lab.veth((&namespace, "v0"), (&namespace, "v1"));
    let v0 = namespace.ifindex("v0");
    namespace.inside(|| {
        pin_to(0);
        let settings = MonitorSettings {
            // about thirty records, which nothing reads
            ring_bytes: 4096,
            ..Kernel::settings()
        };
        let kernel = Kernel::load_with(&[(v0, false)], settings);
        run_random_flows(&kernel, v0, PACKETS / 2, |_, _| {});
        let packets =
            |what: fn(&Kernel, u32, Direction) -> (u64, u64)| what(&kernel, v0, Ingress).0;
        let [thinned, added] = [Kernel::thinned, Kernel::added].map(packets);
        let (dropped, sampled) = (packets(Kernel::dropped), packets(Kernel::sampled));
        println!("{sampled} sampled, {thinned} thinned, {added} added, {dropped} dropped");
        assert!(dropped > sampled / 2, "the ring was not full");
        // one in 4,096, each 4,096 times: the sum varies by 6 %
        let ratio = added as f64 / thinned as f64;
        assert!((0.7..=1.3).contains(&ratio), "{ratio}");
    });
}

/// Runs the program over packets of random flows, each followed by `each` with its number and network.
fn run_random_flows(kernel: &Kernel, ifindex: u32, packets: u32, mut each: impl FnMut(u32, usize)) {
    let mut case = cases::numbered(1);
    let mut random = Xorshift(0x9e37_79b9_7f4a_7c15);
    for packet in 0..packets {
        let flow = random.next() as u32 % FLOWS;
        let [_, port, network, host] = flow.to_be_bytes();
        case.frame[SOURCE + 2] = network;
        case.frame[SOURCE + 3] = host;
        case.frame[SOURCE_PORT] = port;
        kernel.test_run(&case, ifindex, Ingress);
        each(packet, network.into());
    }
}

/// Runs the program over packets of random flows, and reads the ring now and then.
fn overload(kernel: &Kernel, ifindex: u32) -> Comparison {
    let mut truth = vec![0; NETWORKS];
    let mut estimates = vec![Estimate::default(); NETWORKS];
    let mut bytes = 0;
    let mut read = |estimates: &mut Vec<Estimate>| {
        for record in &kernel.records() {
            bytes += record.bytes;
            let IpAddr::V4(source) = record.flow.src else {
                panic!("{record:?}")
            };
            estimates[usize::from(source.octets()[2])].add(record);
        }
        bytes
    };
    run_random_flows(kernel, ifindex, PACKETS, |packet, network| {
        truth[network] += 1;
        if packet % READ_INTERVAL == 0 {
            read(&mut estimates);
        }
    });
    // the rest of the cache: each round of the sweep fills half of the ring
    let count = |what: fn(&Kernel, u32, Direction) -> (u64, u64)| what(kernel, ifindex, Ingress);
    let [sampled, dropped] = [Kernel::sampled, Kernel::dropped].map(count);
    let [thinned, added] = [Kernel::thinned, Kernel::added].map(count);
    let expected = sampled.1 + added.1 - dropped.1 - thinned.1;
    let all = wait_for(SETTLED, || read(&mut estimates) == expected);
    let packets: u64 = estimates.iter().map(|e| e.packets).sum();
    println!("{sampled:?} sampled, {thinned:?} thinned, {added:?} added, {dropped:?} dropped");
    assert!(all, "{packets} packets in the records");
    assert_eq!(sampled.0, u64::from(PACKETS));
    assert_eq!(packets + dropped.0 + thinned.0, sampled.0 + added.0);
    assert!(thinned.0 > sampled.0 / 10, "hardly any overload");
    assert!(dropped.0 * 1_000 <= sampled.0, "{dropped:?} dropped");
    Comparison::new(&estimates, &truth)
}
