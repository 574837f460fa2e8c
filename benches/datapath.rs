// SPDX-License-Identifier: AGPL-3.0-only
//! Measures the cost of a packet in the BPF programs: ns by `BPF_PROG_TEST_RUN` less those of an empty program.
//!
//! `make bench PART=datapath`. In every round each program runs once, and so does an empty one with the same
//! frame and the same flows; a figure is the median of the difference over the rounds. Time is the CPU
//! time of this thread, which stays on one CPU. `-- --rounds N` for more than 11 rounds.

mod common;

use std::cell::Cell as Shared;
use std::error::Error;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd};
use std::rc::Rc;
use std::time::Duration;

use common::flows::{LENGTH, Load};
use common::frames::Frame;
use common::report::{Cell, Report, Table, measuring, rounds, skipped};
use common::stats::Figure;
use common::{bpf, machine};
use libbpf_rs::{
    MapCore, MapFlags, MapHandle, Object, ProgramInput, ProgramMut, RingBuffer, RingBufferBuilder,
};
use rfm::bpf::load::{IngressChecks, LoadedPrograms, MonitorSettings};
use rfm::types::flow::Direction;
use rfm::types::hook::FrameStart;

/// Packets between two reads of the ring, which has room for twice as many records.
const BURST: u32 = 1000;
/// Timed bursts, and the bursts before them, which fill the caches with the flows.
const BURSTS: u32 = 100;
const WARM_UP: u32 = 25;
const ROUNDS: usize = 11;

/// BPF_PROG_TEST_RUN receives its packets on the loopback device.
const LOOPBACK: u32 = 1;
const SLOT: u32 = 0;

/// Design targets: a packet that is not sampled; a sampled one, of one flow and of 1,000 flows.
const TARGET_NOT_SAMPLED: f64 = 8.0;
const TARGET_ONE_FLOW: f64 = 15.0;
const TARGET_1000_FLOWS: f64 = 22.0;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Subject {
    Empty,
    CountOnly,
    LruHash,
    RingEvent,
    /// The monitor at a sample rate, with its flow cache.
    Cached(u32),
    /// The monitor at a sample rate: one event for each sampled packet.
    Uncached(u32),
}

const SUBJECTS: [Subject; 5] = [
    Subject::Cached(1),
    Subject::Uncached(1),
    Subject::CountOnly,
    Subject::LruHash,
    Subject::RingEvent,
];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Stack {
    Ipv4,
    Ipv6,
    Vlan,
    Mpls,
    Extensions,
}

const STACKS: [(Stack, &str); 5] = [
    (Stack::Ipv4, "IPv4, TCP"),
    (Stack::Ipv6, "IPv6, TCP"),
    (Stack::Vlan, "VLAN tag in band, IPv4, TCP"),
    (Stack::Mpls, "MPLS, two labels, IPv4, TCP"),
    (
        Stack::Extensions,
        "IPv6, hop-by-hop and destination options, TCP",
    ),
];

impl Stack {
    fn frame(self) -> Vec<u8> {
        const ACK: u8 = 0x10;
        let ethernet = Frame::ethernet([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
        let (src, dst) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(192, 0, 2, 1));
        let src6 = Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, 1);
        let dst6 = Ipv6Addr::new(0x2001, 0xdb8, 0, 2, 0, 0, 0, 1);
        let ip = match self {
            Self::Ipv4 => ethernet.ipv4(src, dst),
            Self::Ipv6 => ethernet.ipv6(src6, dst6),
            Self::Vlan => ethernet.vlan(0x8100, 10).ipv4(src, dst),
            Self::Mpls => ethernet.mpls(&[16, 17]).ipv4(src, dst),
            Self::Extensions => ethernet.ipv6(src6, dst6).hop_by_hop().destopt(),
        };
        ip.tcp(ACK).payload(64).build()
    }
}

/// One measurement of a round. Without a load the program runs by itself, always with one frame.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Case {
    subject: Subject,
    stack: Stack,
    load: Option<Load>,
}

/// The loads of the table over flows.
const LOADS: [(Stack, Load); 10] = [
    (Stack::Ipv4, Load::Uniform(1)),
    (Stack::Ipv4, Load::Uniform(100)),
    (Stack::Ipv4, Load::Uniform(1000)),
    (Stack::Ipv4, Load::Uniform(10_000)),
    (Stack::Ipv4, Load::Uniform(65_000)),
    (Stack::Ipv4, Load::Zipf(1000)),
    (Stack::Ipv4, Load::Zipf(10_000)),
    (Stack::Ipv4, Load::Zipf(65_000)),
    (Stack::Ipv6, Load::Uniform(1000)),
    (Stack::Ipv6, Load::Uniform(65_000)),
];

/// Returns the cases in the order of a round: each follows the empty program with which it is compared.
fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |stack, load, subjects: &[Subject]| {
        let all = [Subject::Empty].into_iter().chain(subjects.iter().copied());
        cases.extend(all.map(|subject| Case {
            subject,
            stack,
            load,
        }));
    };
    for (stack, _) in STACKS {
        add(stack, None, &[Subject::Cached(100)]);
        match stack {
            Stack::Ipv4 | Stack::Ipv6 => add(stack, None, &SUBJECTS),
            _ => add(stack, None, &SUBJECTS[..2]),
        }
    }
    for (stack, load) in LOADS {
        add(stack, Some(load), &SUBJECTS);
    }
    cases
}

/// The monitor's programs, loaded with the flow cache or without, and its ring.
struct Monitor {
    loaded: LoadedPrograms,
    ring: RingBuffer<'static>,
    records: Rc<Shared<u64>>,
}

impl Monitor {
    fn load(flow_cache: u32) -> Result<Self, Box<dyn Error>> {
        let loaded = LoadedPrograms::load(&MonitorSettings {
            sample_rate: 1,
            wakeup_batch: 64,
            ring_bytes: 262_144,
            slots: 64,
            flow_cache,
            preemptible: false,
            read_kernel: true,
            typed: true,
        })?;
        loaded.assign_slot(
            LOOPBACK,
            SLOT,
            FrameStart::Ethernet,
            IngressChecks::default(),
        )?;
        let records = Rc::new(Shared::new(0));
        let count = records.clone();
        let ring = ring(loaded.ring()?, move || count.set(count.get() + 1))?;
        Ok(Self {
            loaded,
            ring,
            records,
        })
    }

    fn dropped(&self) -> Result<u64, Box<dyn Error>> {
        let counters = self.loaded.counters()?;
        Ok(counters.hook(SLOT, Direction::Ingress)?.dropped_records)
    }
}

fn ring(
    map: MapHandle,
    mut each: impl FnMut() + 'static,
) -> Result<RingBuffer<'static>, Box<dyn Error>> {
    let mut builder = RingBufferBuilder::new();
    // the builder needs a map that lives as long as the ring: it is kept until the process ends
    let map: &'static MapHandle = Box::leak(Box::new(map));
    builder.add(map, move |_| {
        each();
        0
    })?;
    Ok(builder.build()?)
}

/// All loaded programs that are measured.
struct Bench {
    baseline: Object,
    behind: MapHandle,
    sequence: MapHandle,
    events: RingBuffer<'static>,
    cached: Monitor,
    uncached: Monitor,
}

impl Bench {
    fn load() -> Result<Self, Box<dyn Error>> {
        let mut baseline = bpf::open("baseline")?.load()?;
        let mut handle = |name: &str| -> Result<MapHandle, Box<dyn Error>> {
            Ok(MapHandle::try_from(&bpf::map(&mut baseline, name)?)?)
        };
        Ok(Self {
            behind: handle("behind")?,
            sequence: handle(".data.sequence")?,
            events: ring(handle("events")?, || ())?,
            baseline,
            cached: Monitor::load(8192)?,
            uncached: Monitor::load(0)?,
        })
    }

    fn set_load(&self, load: Load) -> Result<(), Box<dyn Error>> {
        let flows = load.sequence(LENGTH);
        let bytes: Vec<u8> = flows.iter().flat_map(|f| f.to_ne_bytes()).collect();
        self.sequence
            .update(&0_u32.to_ne_bytes(), &bytes, MapFlags::ANY)?;
        Ok(())
    }

    /// Returns CPU nanoseconds for each packet.
    fn measure(&self, case: &Case, bursts: u32) -> Result<f64, Box<dyn Error>> {
        let plain = |name| bpf::program(&self.baseline, name);
        match case.subject {
            Subject::Empty => self.run(case, &plain("empty")?, &self.events, bursts),
            Subject::CountOnly => self.run(case, &plain("count_only")?, &self.events, bursts),
            Subject::LruHash => self.run(case, &plain("lru_hash")?, &self.events, bursts),
            Subject::RingEvent => self.run(case, &plain("ring_event")?, &self.events, bursts),
            Subject::Cached(rate) => self.run_monitor(case, &self.cached, rate, bursts),
            Subject::Uncached(rate) => self.run_monitor(case, &self.uncached, rate, bursts),
        }
    }

    fn run_monitor(
        &self,
        case: &Case,
        monitor: &Monitor,
        rate: u32,
        bursts: u32,
    ) -> Result<f64, Box<dyn Error>> {
        const WAKEUP_BATCH: u32 = 64;
        monitor.loaded.config()?.set(rate, WAKEUP_BATCH)?;
        let program = monitor.loaded.program(Direction::Ingress);
        self.run(case, program, &monitor.ring, bursts)
    }

    fn run(
        &self,
        case: &Case,
        program: &ProgramMut<'_>,
        ring: &RingBuffer<'_>,
        bursts: u32,
    ) -> Result<f64, Box<dyn Error>> {
        let frame = case.stack.frame();
        if case.load.is_none() {
            return timed(program, &frame, ring, bursts);
        }
        let fd = program.as_fd().as_raw_fd();
        self.behind
            .update(&0_u32.to_ne_bytes(), &fd.to_ne_bytes(), MapFlags::ANY)?;
        let generator = bpf::program(&self.baseline, "generator")?;
        timed(&generator, &frame, ring, bursts)
    }
}

/// Warms up, then measures; the ring is read between bursts, outside of the timed part.
fn timed(
    program: &ProgramMut<'_>,
    frame: &[u8],
    ring: &RingBuffer<'_>,
    bursts: u32,
) -> Result<f64, Box<dyn Error>> {
    const NEXT: i32 = -1;
    let mut spent = Duration::ZERO;
    // records that were swept during other measurements
    ring.consume()?;
    for burst in 0..WARM_UP.min(bursts) + bursts {
        let start = machine::thread_time();
        let output = program.test_run(ProgramInput {
            data_in: Some(frame),
            repeat: BURST,
            ..Default::default()
        })?;
        if burst >= WARM_UP.min(bursts) {
            spent += machine::thread_time() - start;
        }
        if output.return_value as i32 != NEXT {
            return Err(format!("the program returned {}", output.return_value).into());
        }
        ring.consume()?;
    }
    Ok(spent.as_nanos() as f64 / f64::from(bursts * BURST))
}

/// Each case with the results of its rounds.
struct Samples(Vec<(Case, Vec<f64>)>);

impl Samples {
    fn of(&self, case: Case) -> Option<&[f64]> {
        let found = self.0.iter().find(|(c, _)| *c == case);
        found.map(|(_, values)| values.as_slice())
    }

    /// Returns the cost above the empty program; `None` if this case was not measured.
    fn above(&self, subject: Subject, stack: Stack, load: Option<Load>) -> Option<Figure> {
        let case = |subject| Case {
            subject,
            stack,
            load,
        };
        let empty = self.of(case(Subject::Empty))?;
        Some(Figure::above(self.of(case(subject))?, empty))
    }
}

fn one_flow(samples: &Samples) -> Table {
    let mut table = Table::new(
        "One flow",
        "ns a packet by `BPF_PROG_TEST_RUN`, above an empty program.",
        &[
            "headers",
            "1 in 100",
            "target",
            "every packet",
            "target",
            "no cache",
            "counters only",
            "LRU hash",
            "ring event",
        ],
    );
    for (stack, name) in STACKS {
        let cell = |subject| match samples.above(subject, stack, None) {
            Some(figure) => Cell::figure(figure, 1),
            None => Cell::Nothing,
        };
        let target = |subject, limit| match samples.above(subject, stack, None) {
            Some(figure) if stack == Stack::Ipv4 => Cell::at_most(figure.median, limit, "ns"),
            _ => Cell::Nothing,
        };
        let (not_sampled, sampled) = (Subject::Cached(100), Subject::Cached(1));
        let mut cells = vec![
            cell(not_sampled),
            target(not_sampled, TARGET_NOT_SAMPLED),
            cell(sampled),
            target(sampled, TARGET_ONE_FLOW),
        ];
        cells.extend(SUBJECTS[1..].iter().map(|subject| cell(*subject)));
        table.row(name, cells);
    }
    table
}

fn many_flows(samples: &Samples) -> Table {
    let mut table = Table::new(
        "Many flows, every packet sampled",
        "ns a packet above an empty program, both behind a generator that gives each packet the \
         addresses and ports of another flow. The same thread drains the rings every 1,000 \
         packets, outside of the measured time, so that none is full. If there are events, the \
         reader is woken every 64 events, and the time includes this. × is the cost in units of \
         the first column.",
        &[
            "flows",
            "flow cache",
            "target",
            "no cache",
            "×",
            "counters only",
            "LRU hash",
            "×",
            "ring event",
            "×",
        ],
    );
    for (stack, load) in LOADS {
        let figure = |subject| samples.above(subject, stack, Some(load));
        let Some(ours) = figure(Subject::Cached(1)) else {
            continue;
        };
        let target = match (stack, load) {
            (Stack::Ipv4, Load::Uniform(1)) => Some(TARGET_ONE_FLOW),
            (Stack::Ipv4, Load::Uniform(1000)) => Some(TARGET_1000_FLOWS),
            _ => None,
        };
        let mut cells = vec![
            Cell::figure(ours, 1),
            target.map_or(Cell::Nothing, |limit| {
                Cell::at_most(ours.median, limit, "ns")
            }),
        ];
        for subject in &SUBJECTS[1..] {
            let Some(theirs) = figure(*subject) else {
                continue;
            };
            cells.push(Cell::figure(theirs, 1));
            if *subject != Subject::CountOnly {
                cells.push(Cell::ratio(theirs.median, ours.median));
            }
        }
        let family = match stack {
            Stack::Ipv6 => " (IPv6)",
            _ => "",
        };
        table.row(load.name() + family, cells);
    }
    table
}

fn main() -> Result<(), Box<dyn Error>> {
    if skipped("datapath") {
        return Ok(());
    }
    let bench = Bench::load()?;
    machine::pin(machine::last_cpu());
    let mut samples = Samples(cases().into_iter().map(|case| (case, vec![])).collect());
    for _ in 0..rounds(ROUNDS) {
        let mut load = None;
        for (case, values) in &mut samples.0 {
            if case.load != load {
                load = case.load;
                load.map_or(Ok(()), |load| bench.set_load(load))?;
            }
            let bursts = if measuring() { BURSTS } else { 1 };
            values.push(bench.measure(case, bursts)?);
        }
    }
    let records = bench.cached.records.get() + bench.uncached.records.get();
    let dropped = bench.cached.dropped()? + bench.uncached.dropped()?;
    println!("{records} records through the rings, {dropped} dropped\n");
    // a sweep during an interrupted burst drops a few; more drops would make a packet look too cheap
    if dropped > records / 1000 {
        return Err("too many records were dropped for the figures to be true".into());
    }
    let mut report = Report::new("datapath");
    report.add(one_flow(&samples));
    report.add(many_flows(&samples));
    report.write()
}
