// SPDX-License-Identifier: AGPL-3.0-only
//! The BPF programs alone, without the agent: every counter and every record that an action moved.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use libbpf_rs::{ProgramInput, RingBuffer, RingBufferBuilder};

use rfm::bpf::attach::{Hook, attach};
use rfm::bpf::counters::Counters;
use rfm::bpf::load::{IngressChecks, LoadedPrograms, MonitorSettings};
use rfm::bpf::record;
use rfm::sys::clock::Clock;
use rfm::types::counters::HookCounters;
use rfm::types::flow::{Direction, Family, FlowRecord};
use rfm::types::hook::{FrameStart, HookKind, Position};

use super::cases::{Case, Expect, Flow};

/// What the kernel's clock and ours may differ by: one tick and 1 ms.
const CLOCK_TOLERANCE: Duration = Duration::from_millis(11);

/// Offsets in struct __sk_buff (include/uapi/linux/bpf.h), which never change.
mod sk_buff {
    pub const IFINDEX: usize = 40;
    pub const GSO_SEGS: usize = 164;
    pub const GSO_SIZE: usize = 176;
    pub const SIZE: usize = 192;
}

/// Counter names and how much each grew; those that did not are not in it.
type Moved = BTreeMap<String, u64>;

/// All that one action moved.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Observed {
    pub counters: Moved,
    pub records: Vec<Record>,
}

/// A flow record as the tests compare it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub ifindex: u32,
    pub direction: Direction,
    pub family: Family,
    pub packets: u64,
    pub bytes: u64,
    pub sample_rate: u32,
    /// How often its first packet was counted.
    pub weight: u16,
    /// The interface that a forwarded packet came from; 0 at ingress and for what was made here.
    pub from: u32,
    pub flow: Flow,
}

impl Observed {
    /// What `expect` means for one hook, at a sample rate of 1.
    pub fn of(expect: &Expect, ifindex: u32, direction: Direction) -> Self {
        let mut observed = Self::default();
        observed.add(expect, ifindex, direction);
        observed
    }

    pub fn add(&mut self, expect: &Expect, ifindex: u32, direction: Direction) {
        let mut count = |what: &str, amount| {
            let name = counter(ifindex, direction, expect.family, what);
            *self.counters.entry(name).or_default() += amount;
        };
        count("observed packets", expect.packets);
        count("observed bytes", expect.bytes);
        if let Some(flow) = &expect.flow {
            count("sampled packets", expect.packets);
            count("sampled bytes", expect.bytes);
            self.records.push(Record {
                ifindex,
                direction,
                family: expect.family,
                packets: expect.packets,
                bytes: expect.bytes,
                sample_rate: 1,
                weight: 1,
                from: 0,
                flow: flow.clone(),
            });
        }
        if let Some(reason) = expect.error {
            *self.counters.entry(parse_error(reason)).or_default() += 1;
        }
    }

    fn lines(&self) -> Vec<String> {
        let counters = self.counters.iter().map(|(name, n)| format!("{name}: {n}"));
        let records = self.records.iter().map(|record| format!("{record:?}"));
        counters.chain(records).collect()
    }

    /// Records in an order that does not depend on which hook was first.
    fn sorted(mut self) -> Self {
        self.records.sort_by_key(|r| (r.ifindex, r.direction));
        self
    }

    /// As a flow cache hands them over, whenever it swept: one record for each key.
    fn merged(mut self) -> Self {
        let mut merged: Vec<Record> = Vec::new();
        for record in self.records {
            match merged.iter_mut().find(|m| m.same_key(&record)) {
                Some(earlier) => earlier.add(&record),
                None => merged.push(record),
            }
        }
        self.records = merged;
        self.records.sort_by_cached_key(|r| format!("{r:?}"));
        self
    }
}

impl Record {
    fn same_key(&self, other: &Self) -> bool {
        let key = |r: &Self| {
            let f = &r.flow;
            let ports = (f.src_port, f.dst_port, f.vlan_outer, f.vlan_inner);
            (r.ifindex, r.direction, f.src, f.dst, f.protocol, ports)
        };
        key(self) == key(other)
    }

    /// ToS and MAC addresses stay those of the first packet.
    fn add(&mut self, later: &Self) {
        self.packets += later.packets;
        self.bytes += later.bytes;
        self.flow.ip_bytes += later.flow.ip_bytes;
        self.flow.tcp_flags |= later.flow.tcp_flags;
    }
}

/// What stands in one of them only.
fn disagreement(expected: &Observed, seen: &Observed) -> String {
    let (expected, seen) = (expected.lines(), seen.lines());
    let missing = expected.iter().filter(|line| !seen.contains(line));
    let surplus = seen.iter().filter(|line| !expected.contains(line));
    let missing = missing.map(|line| format!("\n  expected {line}"));
    missing
        .chain(surplus.map(|line| format!("\n  seen     {line}")))
        .collect()
}

fn counter(ifindex: u32, direction: Direction, family: Family, what: &str) -> String {
    let (direction, family) = (direction.name(), family.name());
    format!("{ifindex} {direction} {family} {what}")
}

fn dropped_records(ifindex: u32, direction: Direction) -> String {
    format!("{ifindex} {} dropped records", direction.name())
}

fn parse_error(reason: &str) -> String {
    format!("parse error {reason}")
}

/// The loaded programs, watching some interfaces at a sample rate of 1.
pub struct Kernel {
    /// Dropped first: detached while the programs are there.
    hooks: Vec<Hook>,
    loaded: LoadedPrograms,
    counters: Counters,
    ring: RingBuffer<'static>,
    bytes: Rc<RefCell<Vec<Vec<u8>>>>,
    /// Index: slot.
    watched: Vec<u32>,
    cached: bool,
}

impl Kernel {
    /// Watches these interfaces: ifindex, and whether it has no link layer header. One record for
    /// each packet.
    pub fn load(interfaces: &[(u32, bool)]) -> Self {
        Self::load_with_cache(interfaces, 0)
    }

    /// As [`Kernel::load`], with a flow cache of so many records per CPU.
    pub fn load_with_cache(interfaces: &[(u32, bool)], flow_cache: u32) -> Self {
        Self::load_object(interfaces, flow_cache, true)
    }

    /// As [`Kernel::load_with_cache`]; without `typed`, the programs for kernels that do not describe their types.
    pub fn load_object(interfaces: &[(u32, bool)], flow_cache: u32, typed: bool) -> Self {
        Self::load_with(
            interfaces,
            MonitorSettings {
                flow_cache,
                typed,
                ..Self::settings()
            },
        )
    }

    /// The settings of [`Kernel::load`].
    pub fn settings() -> MonitorSettings {
        MonitorSettings {
            sample_rate: 1,
            wakeup_batch: 1,
            // room for a third of a second at 100,000 records a second: a reader that waits for a CPU loses none
            ring_bytes: 4 << 20,
            slots: 0,
            flow_cache: 0,
            preemptible: false,
            read_kernel: true,
            typed: true,
        }
    }

    /// Watches these interfaces with other settings; the number of slots is theirs.
    pub fn load_with(interfaces: &[(u32, bool)], settings: MonitorSettings) -> Self {
        let flow_cache = settings.flow_cache;
        let loaded = LoadedPrograms::load(&MonitorSettings {
            slots: interfaces.len() as u32,
            ..settings
        })
        .expect("the programs load");
        let cache = loaded.flow_cache().expect("the cache's maps");
        assert_eq!(
            cache.is_some(),
            flow_cache > 0,
            "not the programs asked for"
        );
        for (slot, (ifindex, layer3)) in interfaces.iter().enumerate() {
            let start = if *layer3 {
                FrameStart::Ip
            } else {
                FrameStart::Ethernet
            };
            let assigned =
                loaded.assign_slot(*ifindex, slot as u32, start, IngressChecks::default());
            assigned.expect("a slot for each");
        }
        let bytes = Rc::new(RefCell::new(Vec::new()));
        let sink = bytes.clone();
        let ring = loaded.ring().expect("the ring");
        let mut builder = RingBufferBuilder::new();
        builder
            .add(&ring, move |record| {
                sink.borrow_mut().push(record.to_vec());
                0
            })
            .expect("a reader of the ring");
        Self {
            counters: loaded.counters().expect("the counters"),
            ring: builder.build().expect("a reader of the ring"),
            loaded,
            bytes,
            watched: interfaces.iter().map(|(ifindex, _)| *ifindex).collect(),
            cached: flow_cache > 0,
            hooks: Vec::new(),
        }
    }

    /// Attaches both directions of every watched interface, in this thread's network namespace.
    pub fn attach(&mut self, kind: HookKind, position: Position) {
        for ifindex in &self.watched {
            for direction in Direction::ALL {
                let hook = attach(&self.loaded, kind, position, *ifindex, direction);
                self.hooks.push(hook.expect("attached"));
            }
        }
    }

    /// Packets and bytes of all families.
    pub fn observed(&self, ifindex: u32, direction: Direction) -> (u64, u64) {
        self.sum(ifindex, direction, "observed")
    }

    pub fn sampled(&self, ifindex: u32, direction: Direction) -> (u64, u64) {
        self.sum(ifindex, direction, "sampled")
    }

    pub fn dropped(&self, ifindex: u32, direction: Direction) -> (u64, u64) {
        self.sum(ifindex, direction, "dropped")
    }

    /// Left out by adaptive sampling.
    pub fn thinned(&self, ifindex: u32, direction: Direction) -> (u64, u64) {
        self.sum(ifindex, direction, "thinned")
    }

    /// Counted by it for those.
    pub fn added(&self, ifindex: u32, direction: Direction) -> (u64, u64) {
        self.sum(ifindex, direction, "added")
    }

    fn sum(&self, ifindex: u32, direction: Direction, what: &str) -> (u64, u64) {
        let all = self.read();
        let sum = |unit: &str| {
            let of = |family| counter(ifindex, direction, family, &format!("{what} {unit}"));
            Family::ALL.iter().map(|family| all[&of(*family)]).sum()
        };
        (sum("packets"), sum("bytes"))
    }

    pub fn dropped_records(&self, ifindex: u32, direction: Direction) -> u64 {
        self.read()[&dropped_records(ifindex, direction)]
    }

    /// From the next packet on, 1 in `rate` is sampled.
    pub fn set_sample_rate(&self, rate: u32) {
        let config = self.loaded.config().expect("the configuration map");
        config.set(rate, 1).expect("it can be written");
    }

    /// The records that came since the last look.
    pub fn records(&self) -> Vec<Record> {
        self.take_records("records", UNIX_EPOCH + CLOCK_TOLERANCE)
    }

    /// Runs the program of one direction over the frame of a case, as if on that interface.
    pub fn test_run(&self, case: &Case, ifindex: u32, direction: Direction) {
        self.test_run_times(case, ifindex, direction, 1);
    }

    pub fn test_run_times(&self, case: &Case, ifindex: u32, direction: Direction, times: u32) {
        let mut context = [0; sk_buff::SIZE];
        let mut set = |offset: usize, value: u32| {
            context[offset..offset + 4].copy_from_slice(&value.to_ne_bytes());
        };
        set(sk_buff::IFINDEX, ifindex);
        if let Some(segmentation) = case.segmentation {
            set(sk_buff::GSO_SIZE, segmentation.size);
            set(sk_buff::GSO_SEGS, segmentation.count);
        }
        let mut out = vec![0; case.frame.len()];
        let output = self
            .loaded
            .program(direction)
            .test_run(ProgramInput {
                context_in: Some(&mut context),
                data_in: Some(&case.frame),
                data_out: Some(&mut out),
                repeat: times,
                ..Default::default()
            })
            .unwrap_or_else(|e| panic!("{}: {e}", case.name));
        // the promise: TCX_NEXT, and not a bit changed
        assert_eq!(output.return_value as i32, -1, "{}", case.name);
        assert_eq!(out, case.frame, "{}: the frame was changed", case.name);
    }

    /// Does `action` move what was expected, soon, and nothing else? If not, says what.
    pub fn check(
        &self,
        name: &str,
        expected: Observed,
        action: impl FnOnce(),
    ) -> Result<(), String> {
        // a cache is swept once a second
        let patience = Duration::from_secs(if self.cached { 4 } else { 1 });
        let before = self.read();
        let since = SystemTime::now();
        action();
        let expected = self.comparable(expected);
        let mut records = Vec::new();
        let mut seen = Observed::default();
        let same = super::lab::wait_for(patience, || {
            records.extend(self.take_records(name, since));
            seen = self.comparable(Observed {
                counters: difference(&before, &self.read()),
                records: records.clone(),
            });
            seen == expected
        });
        match same {
            true => Ok(()),
            false => Err(format!("{name}:{}", disagreement(&expected, &seen))),
        }
    }

    fn comparable(&self, observed: Observed) -> Observed {
        match self.cached {
            true => observed.merged(),
            false => observed.sorted(),
        }
    }

    fn take_records(&self, name: &str, since: SystemTime) -> Vec<Record> {
        self.ring.consume().expect("the ring is read");
        let clock = Clock::new();
        self.bytes
            .borrow_mut()
            .drain(..)
            .map(|bytes| {
                let slot = |slot| self.watched.get(slot as usize).copied();
                let record = record::decode(&bytes, slot).unwrap_or_else(|e| panic!("{name}: {e}"));
                check_times(name, &record, &clock, since);
                seen(&record)
            })
            .collect()
    }

    fn read(&self) -> Moved {
        let mut all = Moved::new();
        for (slot, ifindex) in self.watched.iter().enumerate() {
            for direction in Direction::ALL {
                let hook = self.counters.hook(slot as u32, direction);
                name_counters(&mut all, *ifindex, direction, &hook.expect("counters"));
            }
        }
        for (reason, count) in self.counters.parse_errors().expect("parse errors") {
            all.insert(parse_error(reason), count);
        }
        all
    }
}

fn name_counters(all: &mut Moved, ifindex: u32, direction: Direction, hook: &HookCounters) {
    for family in Family::ALL {
        let figures = &hook.families[family as usize];
        for (what, count) in [
            ("observed", figures.observed),
            ("sampled", figures.sampled),
            ("dropped", figures.dropped),
            ("thinned", figures.thinned),
            ("added", figures.added),
        ] {
            for (unit, value) in [("packets", count.packets), ("bytes", count.bytes)] {
                let name = counter(ifindex, direction, family, &format!("{what} {unit}"));
                all.insert(name, value);
            }
        }
    }
    all.insert(dropped_records(ifindex, direction), hook.dropped_records);
}

fn difference(before: &Moved, after: &Moved) -> Moved {
    after
        .iter()
        .map(|(name, value)| (name.clone(), value.wrapping_sub(before[name])))
        .filter(|(_, grown)| *grown != 0)
        .collect()
}

/// A record as the tests compare it.
pub fn seen(record: &FlowRecord) -> Record {
    let key = &record.key;
    Record {
        ifindex: key.ifindex,
        direction: key.direction,
        family: key.family,
        packets: record.packets,
        bytes: record.frame_bytes,
        sample_rate: record.sample_rate,
        weight: record.weights.weight(),
        from: record.ingress_ifindex,
        flow: Flow {
            src: key.source(),
            dst: key.destination(),
            protocol: key.protocol,
            src_port: key.src_port,
            dst_port: key.dst_port,
            vlan_outer: key.vlan_outer,
            vlan_inner: key.vlan_inner,
            ip_bytes: record.ip_bytes,
            tos: record.tos,
            tcp_flags: record.tcp_flags,
            src_mac: record.src_mac,
            dst_mac: record.dst_mac,
        },
    }
}

/// The packet was seen between the action's begin and now, and was made here.
fn check_times(name: &str, record: &FlowRecord, clock: &Clock, since: SystemTime) {
    let nanoseconds = |time: SystemTime| {
        let since_epoch = time.duration_since(UNIX_EPOCH).expect("after 1970");
        since_epoch.as_nanos() as u64
    };
    let earliest = nanoseconds(since - CLOCK_TOLERANCE);
    let latest = nanoseconds(SystemTime::now() + CLOCK_TOLERANCE);
    let [first, last] = [record.first, record.last].map(|time| clock.wall(time));
    assert!(first <= last, "{name}");
    assert!(earliest <= first, "{name}: {first} < {earliest}");
    assert!(last <= latest, "{name}: {last} > {latest}");
}
