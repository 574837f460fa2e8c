// SPDX-License-Identifier: AGPL-3.0-only
//! Rule sets that change while packets come.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::thread;

use rfm::bpf::xdp::Mode;
use rfm::types::hook::FrameStart;

use crate::fixture::Verdict::{Drop, Pass};
use crate::fixture::{fixture, rule, rules, v4};

#[test]
fn counters_of_rules_that_stay_are_kept() {
    let Some(mut fixture) = fixture() else { return };
    let (a, b, c) = (
        rule(1, "count src 10.0.0.0/8"),
        rule(2, "drop proto udp"),
        rule(3, "pass proto tcp"),
    );
    let frame = v4().udp().build();
    let mut replace = |rules: &[_]| {
        fixture.firewall.replace(rules).expect("rules");
        fixture.verdict(&frame);
        fixture.packets()
    };
    assert_eq!(replace(&[a.clone(), b.clone()]), [(1, 1), (2, 1)]);
    assert_eq!(
        replace(&[c.clone(), b.clone(), a.clone()]),
        [(1, 1), (2, 2)]
    );
    assert_eq!(replace(&[c.clone(), a.clone()]), [(1, 2)]);
    // a number that went and came again begins at 0
    assert_eq!(replace(&[b, c, a]), [(1, 2), (2, 1)]);
    assert_eq!(fixture.counts()[&1].bytes, 2 * frame.len() as u64);
}

/// Of two sets each drops one half of the packets for ever; what both drop is never passed, what neither
/// drops is never dropped, and once a change has returned no packet meets the set before.
#[test]
fn no_packet_meets_half_a_set_or_one_that_is_gone() {
    let Some(mut fixture) = fixture() else { return };
    // in each set another rule is first, and the chains are others
    let sets = [
        rules(&[
            "pass src 10.9.0.0/16",
            "drop src 10.1.2.3",
            "drop src 10.0.0.0/9",
        ]),
        rules(&[
            "drop src 10.1.0.0/16",
            "count proto udp",
            "drop src 10.1.2.3",
        ]),
    ];
    fixture.firewall.replace(&sets[0]).expect("rules");
    let program = fixture.firewall.program(FrameStart::Ethernet, Mode::Native);
    let program: OwnedFd = program.as_fd().try_clone_to_owned().expect("a descriptor");
    let (stop, runs) = (AtomicBool::new(false), AtomicU64::new(0));
    let both = v4().udp().build();
    let neither = crate::fixture::ether()
        .ipv4([203, 0, 113, 5].into(), crate::fixture::B4)
        .udp()
        .build();
    let (failed, failures) = channel();
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                for (frame, expected) in [(&both, 1), (&neither, 2)] {
                    let got = run(&program, frame);
                    if got != expected {
                        let _ = failed.send((got, expected));
                    }
                    runs.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        let changing = crate::fixture::ether()
            .ipv4([10, 5, 5, 5].into(), crate::fixture::B4)
            .udp()
            .build();
        for round in 0..40_usize {
            let index = round % 2;
            fixture.firewall.replace(&sets[index]).expect("rules");
            let expected = [Drop, Pass][index];
            for _ in 0..20 {
                assert_eq!(fixture.verdict(&changing), expected, "round {round}");
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    drop(failed);
    let wrong: Vec<_> = failures.iter().collect();
    assert!(wrong.is_empty(), "(got, expected): {wrong:?}");
    assert!(runs.load(Ordering::Relaxed) > 100);
}

/// BPF_PROG_TEST_RUN by descriptor: a program handle of libbpf-rs does not go to another thread.
fn run(program: &OwnedFd, frame: &[u8]) -> u32 {
    let mut opts = libbpf_sys::bpf_test_run_opts {
        sz: size_of::<libbpf_sys::bpf_test_run_opts>() as libbpf_sys::size_t,
        data_in: frame.as_ptr().cast(),
        data_size_in: frame.len() as u32,
        ..Default::default()
    };
    // SAFETY: the descriptor is a program's; the options carry their size and the frame's, which
    // outlives the call, and no room for output is given.
    let result =
        unsafe { libbpf_sys::bpf_prog_test_run_opts(program.as_fd().as_raw_fd(), &mut opts) };
    assert_eq!(result, 0, "a test run");
    opts.retval
}
