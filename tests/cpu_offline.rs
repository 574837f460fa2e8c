// SPDX-License-Identifier: AGPL-3.0-only
//! A CPU that goes offline: what its flow cache held arrives all the same.

mod common;

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use common::cases;
use common::kernel::Kernel;
use common::lab::{Lab, can_run, wait_for};
use rfm::types::flow::Direction::Ingress;
use rustix::thread::{CpuSet, sched_setaffinity};

/// A CPU other than the first, which is online again when this is dropped.
struct Cpu {
    number: usize,
    switch: PathBuf,
}

impl Cpu {
    /// The last CPU that can be taken offline.
    fn last() -> Option<Self> {
        (1..1024).rev().find_map(|number| {
            let switch = format!("/sys/devices/system/cpu/cpu{number}/online");
            let online = fs::read_to_string(&switch).ok()?;
            let switch = switch.into();
            (online.trim() == "1").then_some(Self { number, switch })
        })
    }

    fn set_online(&self, online: bool) {
        fs::write(&self.switch, if online { "1" } else { "0" }).expect("root may do this");
    }
}

impl Drop for Cpu {
    fn drop(&mut self) {
        self.set_online(true);
    }
}

fn run_on(cpu: usize) {
    let mut set = CpuSet::new();
    set.set(cpu);
    sched_setaffinity(None, &set).expect("this CPU is online");
}

#[test]
fn records_of_an_offline_cpu_arrive() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let Some(cpu) = Cpu::last() else {
        eprintln!("skipped: no CPU here can be taken offline");
        return;
    };
    const FLOWS: u16 = 500;
    let lab = Lab::new();
    let namespace = lab.wire();
    let v0 = namespace.ifindex("v0");
    namespace.inside(|| {
        let kernel = Kernel::load_with_cache(&[(v0, false)], 8192);
        let flows = |range: std::ops::Range<u16>| {
            for case in range.map(cases::numbered) {
                kernel.test_run(&case, v0, Ingress);
            }
        };
        let mut packets = 0;
        let mut arrived = |expected: u64, within: Duration| {
            let begun = Instant::now();
            wait_for(within, || {
                packets += kernel.records().iter().map(|r| r.packets).sum::<u64>();
                packets >= expected
            });
            assert_eq!(packets, expected, "after {:?}", begun.elapsed());
        };
        run_on(cpu.number);
        flows(0..FLOWS);
        run_on(0);
        cpu.set_online(false);
        arrived(u64::from(FLOWS), Duration::from_millis(1_500));
        // and again, back before its cache was swept
        cpu.set_online(true);
        for round in 1..4 {
            run_on(cpu.number);
            flows(0..FLOWS);
            run_on(0);
            cpu.set_online(false);
            cpu.set_online(true);
            run_on(cpu.number);
            flows(0..FLOWS);
            arrived(u64::from(FLOWS) * (1 + 2 * round), Duration::from_secs(3));
        }
        assert_eq!(kernel.dropped_records(v0, Ingress), 0);
    });
}
