// SPDX-License-Identifier: AGPL-3.0-only
//! One frame per header stack through the BPF programs: exactly the expected counters move, exactly
//! the expected record comes out, and the frame goes on untouched.

mod common;

use common::cases::{self, Case, Link};
use common::kernel::{Kernel, Observed};
use common::lab::{Lab, Namespace, can_run};
use common::packet::{Sender, Tun};
use rfm::types::flow::Direction::{self, Egress, Ingress};
use rfm::types::hook::{HookKind, Position};
use rustix::thread::{CpuSet, sched_getcpu, sched_setaffinity};

/// A silent namespace with the veth pair `v0`, `v1` and the tun device `t0`. What is sent on `v0` is
/// seen twice: at its egress, and at the ingress of `v1`.
struct Wires {
    namespace: Namespace,
    tun: Tun,
    v0: u32,
    v1: u32,
    t0: u32,
    lab: Lab,
}

impl Wires {
    fn new() -> Self {
        let lab = Lab::new();
        let namespace = lab.namespace("w");
        lab.veth((&namespace, "v0"), (&namespace, "v1"));
        let tun = namespace.inside(|| Tun::new("t0").expect("a tun device"));
        namespace.ip("link set t0 mtu 9000 up");
        Self {
            v0: namespace.ifindex("v0"),
            v1: namespace.ifindex("v1"),
            t0: namespace.ifindex("t0"),
            namespace,
            tun,
            lab,
        }
    }

    fn interfaces(&self) -> [(u32, bool); 3] {
        [(self.v0, false), (self.v1, false), (self.t0, true)]
    }

    fn load_attached(&self) -> Kernel {
        self.load_attached_object(true)
    }

    fn load_attached_object(&self, typed: bool) -> Kernel {
        let mut kernel = Kernel::load_object(&self.interfaces(), 0, typed);
        kernel.attach(HookKind::detect(), Position::Head);
        kernel
    }

    /// What a frame sent on `v0` must move.
    fn expect_crossing(&self, case: &Case) -> Observed {
        let mut expected = Observed::of(&case.expect, self.v0, Egress);
        if let Some(ingress) = case.expect_at_ingress() {
            expected.add(ingress, self.v1, Ingress);
        }
        expected
    }
}

/// What each object counts: the one for kernels without types reads less.
fn cases_of(typed: bool) -> Vec<Case> {
    match typed {
        true => cases::all(),
        false => cases::untyped(),
    }
}

/// Says all that failed, not the first only.
fn report(results: Vec<Result<(), String>>) {
    let failures: Vec<String> = results.into_iter().filter_map(Result::err).collect();
    let count = failures.len();
    assert!(
        failures.is_empty(),
        "{count} cases:\n{}",
        failures.join("\n")
    );
}

/// The interface that a case is of.
fn device(wires: &Wires, case: &Case) -> u32 {
    match case.link {
        Link::Ethernet => wires.v0,
        Link::Layer3(_) => wires.t0,
    }
}

fn test_run(direction: Direction, typed: bool) {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let wires = Wires::new();
    let results = wires.namespace.inside(|| {
        let kernel = Kernel::load_object(&wires.interfaces(), 0, typed);
        cases_of(typed)
            .iter()
            .filter(|case| case.fits_test_run())
            .map(|case| {
                let ifindex = device(&wires, case);
                let expected = Observed::of(&case.expect, ifindex, direction);
                kernel.check(case.name, expected, || {
                    kernel.test_run(case, ifindex, direction);
                })
            })
            .collect()
    });
    report(results);
}

#[test]
fn ingress_program_counts_each_stack_exactly() {
    test_run(Ingress, true);
}

#[test]
fn egress_program_counts_each_stack_exactly() {
    test_run(Egress, true);
}

#[test]
fn programs_without_kernel_types_count_each_stack_exactly() {
    for direction in Direction::ALL {
        test_run(direction, false);
    }
}

/// The limit of these programs: 4 batches of 32 entries.
#[test]
fn programs_without_kernel_types_read_128_labels() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let wires = Wires::new();
    let results = wires.namespace.inside(|| {
        let untyped = Kernel::load_object(&wires.interfaces(), 0, false);
        let typed = Kernel::load_object(&wires.interfaces(), 0, true);
        let readable = [(128, true, true), (129, true, false)];
        let each = readable.map(|(depth, by_typed, by_untyped)| {
            [(&typed, by_typed), (&untyped, by_untyped)].map(|(kernel, is_read)| {
                let case = cases::label_stack(depth, is_read);
                let expected = Observed::of(&case.expect, wires.v0, Ingress);
                kernel.check(case.name, expected, || {
                    kernel.test_run(&case, wires.v0, Ingress);
                })
            })
        });
        each.into_iter().flatten().collect()
    });
    report(results);
}

/// The programs with the flow cache: packets of one key come out as one record.
#[test]
fn flow_cache_adds_up_the_packets_of_each_flow() {
    for typed in [true, false] {
        add_up(typed);
    }
}

fn add_up(typed: bool) {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let wires = Wires::new();
    let result = wires.namespace.inside(|| {
        pin_to_this_cpu();
        let kernel = Kernel::load_object(&wires.interfaces(), 8192, typed);
        let cases: Vec<Case> = cases_of(typed)
            .into_iter()
            .filter(Case::fits_test_run)
            .collect();
        let each = || {
            Direction::ALL
                .iter()
                .flat_map(|d| cases.iter().map(move |c| (c, *d)))
        };
        let mut expected = Observed::default();
        for (case, direction) in each() {
            expected.add(&case.expect, device(&wires, case), direction);
        }
        kernel.check("all cases", expected, || {
            for (case, direction) in each() {
                kernel.test_run(case, device(&wires, case), direction);
            }
        })
    });
    report(vec![result]);
}

/// Three rounds over more flows than there is room for: records are sent on, none is lost.
#[test]
fn flow_cache_that_is_too_small_loses_nothing() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let wires = Wires::new();
    let result = wires.namespace.inside(|| {
        pin_to_this_cpu();
        let kernel = Kernel::load_with_cache(&wires.interfaces(), 32);
        let cases: Vec<Case> = (0..300).map(cases::numbered).collect();
        let mut expected = Observed::default();
        for _ in 0..3 {
            for case in &cases {
                expected.add(&case.expect, wires.v0, Ingress);
            }
        }
        kernel.check("300 flows", expected, || {
            for _ in 0..3 {
                for case in &cases {
                    kernel.test_run(case, wires.v0, Ingress);
                }
            }
        })
    });
    report(vec![result]);
}

/// A flow cache is per CPU: which packet of a flow was the first is only sure on one.
fn pin_to_this_cpu() {
    let mut cpus = CpuSet::new();
    cpus.set(sched_getcpu());
    sched_setaffinity(None, &cpus).expect("a thread may stay where it is");
}

#[test]
fn frames_over_a_veth_are_counted_exactly_both_ways() {
    for typed in [true, false] {
        cross_the_veth(typed);
    }
}

fn cross_the_veth(typed: bool) {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let wires = Wires::new();
    let results = wires.namespace.inside(|| {
        let kernel = wires.load_attached_object(typed);
        let sender = Sender::new("v0").expect("a packet socket");
        cases_of(typed)
            .iter()
            .filter(|case| case.link == Link::Ethernet && case.segmentation.is_none())
            .map(|case| {
                kernel.check(case.name, wires.expect_crossing(case), || {
                    sender.send(&case.frame, 0).expect(case.name);
                })
            })
            .collect()
    });
    report(results);
}

#[test]
fn packets_over_a_tun_device_are_counted_exactly_both_ways() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let wires = Wires::new();
    let results = wires.namespace.inside(|| {
        let kernel = wires.load_attached();
        let sender = Sender::new("t0").expect("a packet socket");
        let mut results = Vec::new();
        for case in cases::all() {
            let Link::Layer3(protocol) = case.link else {
                continue;
            };
            let expected = |direction| Observed::of(&case.expect, wires.t0, direction);
            results.push(kernel.check(case.name, expected(Ingress), || {
                wires.tun.inject(&case.frame, protocol).expect(case.name);
            }));
            results.push(kernel.check(case.name, expected(Egress), || {
                sender.send(&case.frame, protocol).expect(case.name);
            }));
        }
        results
    });
    report(results);
}

/// Headers outside the linear part of the buffer, from the Ethernet header on and from the middle of
/// the headers on.
#[test]
fn frames_in_pieces_are_counted_exactly() {
    for typed in [true, false] {
        cross_in_pieces(typed);
    }
}

fn cross_in_pieces(typed: bool) {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let wires = Wires::new();
    let results = wires.namespace.inside(|| {
        let kernel = wires.load_attached_object(typed);
        let sender = Sender::with_offload("v0").expect("a packet socket");
        let mut results = Vec::new();
        for case in cases::scattered() {
            for linear in [14, 15, 33, 40, 60] {
                let name = format!("{}, {linear} linear", case.name);
                results.push(kernel.check(&name, wires.expect_crossing(&case), || {
                    sender.send_in_pieces(&case.frame, linear).expect(&name);
                }));
            }
        }
        results
    });
    report(results);
}

/// Through a bridge from `v1` to `w0`: the record made at egress names where the packet came from.
#[test]
fn forwarded_packets_tell_where_they_came_from() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let wires = Wires::new();
    let namespace = &wires.namespace;
    wires.lab.veth((namespace, "w0"), (namespace, "w1"));
    namespace.ip("link add br0 type bridge mcast_snooping 0");
    for args in ["v1 master br0", "w0 master br0", "br0 up"] {
        namespace.ip(&format!("link set {args}"));
    }
    let w0 = namespace.ifindex("w0");
    let results = namespace.inside(|| {
        let mut kernel = Kernel::load(&[(w0, false)]);
        kernel.attach(HookKind::detect(), Position::Head);
        let sender = Sender::new("v0").expect("a packet socket");
        (1..4)
            .map(cases::numbered)
            .map(|case| {
                let mut expected = Observed::of(&case.expect, w0, Egress);
                expected.records[0].from = wires.v1;
                kernel.check(case.name, expected, || {
                    sender.send(&case.frame, 0).expect(case.name);
                })
            })
            .collect()
    });
    report(results);
}

/// Super-packets that cross the veth whole, and such that the kernel cuts behind the egress hook.
#[test]
fn super_packets_count_as_their_segments() {
    if !can_run(&["ip", "sysctl", "ethtool"]) {
        return;
    }
    let wires = Wires::new();
    let results = wires.namespace.inside(|| {
        let kernel = wires.load_attached();
        let sender = Sender::with_offload("v0").expect("a packet socket");
        let send = |case: &Case, expected| {
            let what = case.super_packet()?;
            Some(kernel.check(case.name, expected, || {
                sender.send_segmented(&case.frame, what).expect(case.name);
            }))
        };
        cases::all()
            .iter()
            .filter_map(|case| send(case, wires.expect_crossing(case)))
            .collect()
    });
    report(results);
}
