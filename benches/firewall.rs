// SPDX-License-Identifier: AGPL-3.0-only
//! Measures the cost of a packet in the firewall: by `BPF_PROG_TEST_RUN` above an empty XDP program, by the
//! number of rules and by the sources of the packets; and the cost of a dropped packet on a wire, compared
//! with nftables and the same prefixes.
//!
//! `make bench PART=firewall`. `-- --rounds N` for more than seven rounds.

mod common;

use std::collections::HashSet;
use std::error::Error;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd};
use std::process::Command;
use std::time::{Duration, Instant};

use common::daemon::{Daemon, RFM};
use common::flows::Random;
use common::frames::Frame;
use common::generator::{Flooded, Generator, Wire};
use common::lab::{Lab, can_run, run};
use common::machine;
use common::report::{Cell, Report, Table, measuring, rounds, skipped};
use common::stats::Figure;
use libbpf_rs::{ProgramInput, ProgramMut};
use rfm::bpf::xdp::{Mode, XdpFirewall, XdpSettings};
use rfm::types::hook::FrameStart;
use rfm::types::prefix::Prefix;
use rfm::types::rule::fields::MatchField;
use rfm::types::rule::ranges::Ranges;
use rfm::types::rule::rate::LimitRate;
use rfm::types::rule::{Action, KernelRule, Match, Per, RuleId};
use rustix::process::Signal;

const ROUNDS: usize = 7;
const PACKETS: u32 = 200_000;
const WARM_UP: u32 = 50_000;
const COUNTS: [usize; 4] = [0, 1, 1000, 100_000];
const MOST: usize = 100_000;

/// Design target: a random miss at 100,000 prefixes.
const TARGET_MISS: f64 = 40.0;
/// Design target: rules without a prefix that name five fields.
const TARGET_FIELDS: f64 = 150.0;
/// Design target: share of the cost of nftables.
const TARGET_SHARE: f64 = 0.2;
const TARGET_LOAD: f64 = 1000.0;

const FLOOD: Duration = Duration::from_millis(500);

/// Assigned Internet protocol numbers.
const TCP: u32 = 6;
const UDP: u32 = 17;

/// The source addresses of the packets.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Origin {
    /// Always one address, in a prefix.
    RepeatedHit,
    /// Random addresses, in no prefix.
    RandomMiss,
    /// Random addresses, each in a prefix.
    RandomHit,
}

const ORIGINS: [(Origin, &str); 3] = [
    (Origin::RandomMiss, "random misses"),
    (Origin::RandomHit, "random hits"),
    (Origin::RepeatedHit, "one address, a hit"),
];

/// The prefixes of all sets, as their 32 random bits: a set of n has the first n.
struct Prefixes {
    bits: Vec<u32>,
    all: HashSet<u32>,
}

/// Draws a unicast address that is not loopback.
fn draw_word(random: &mut Random) -> u32 {
    0x8000_0000 + random.below(0x6000_0000)
}

impl Prefixes {
    fn draw() -> Self {
        let mut random = Random::default();
        let mut all = HashSet::new();
        let mut bits = Vec::with_capacity(MOST);
        while bits.len() < MOST {
            let word = draw_word(&mut random);
            if all.insert(word) {
                bits.push(word);
            }
        }
        Self { bits, all }
    }

    fn rules(&self, count: usize, ipv6: bool) -> Vec<KernelRule> {
        (0..)
            .zip(&self.bits[..count])
            .map(|(id, bits)| KernelRule {
                id: RuleId(id),
                matcher: Match {
                    src: Some(prefix(*bits, ipv6)),
                    ..Default::default()
                },
                action: Action::Drop,
                rate: None,
                burst: None,
                per: Per::Rule,
            })
            .collect()
    }

    /// Returns source addresses in the order of the packets.
    fn sequence(&self, from: Origin, count: usize) -> Vec<u32> {
        let mut random = Random::seeded(2);
        let mut next = || match from {
            Origin::RepeatedHit => self.bits[0],
            Origin::RandomHit => self.bits[random.below(count.max(1) as u32) as usize],
            Origin::RandomMiss => loop {
                let word = draw_word(&mut random);
                if !self.all.contains(&word) {
                    break word;
                }
            },
        };
        let length = common::flows::LENGTH;
        (0..length).map(|_| next().to_be()).collect()
    }
}

fn prefix(bits: u32, ipv6: bool) -> Prefix {
    match ipv6 {
        false => Prefix::new(Ipv4Addr::from_bits(bits).into(), 32),
        true => {
            let address = Ipv6Addr::from_bits(0x2000_u128 << 112 | u128::from(bits) << 80);
            Prefix::new(address.into(), 48)
        }
    }
}

fn frame(ipv6: bool) -> Vec<u8> {
    let ether = Frame::ethernet([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
    let ip = match ipv6 {
        false => ether.ipv4([10, 0, 0, 1].into(), [192, 0, 2, 1].into()),
        true => ether.ipv6(Ipv6Addr::LOCALHOST, Ipv6Addr::LOCALHOST),
    };
    ip.udp().payload(18).build()
}

/// Returns CPU nanoseconds a packet, behind the generator.
fn measure(
    generator: &Generator,
    program: &ProgramMut<'_>,
    ipv6: bool,
) -> Result<f64, Box<dyn Error>> {
    generator.put_behind(program.as_fd().as_raw_fd())?;
    let frame = frame(ipv6);
    let driver = generator.program("generator")?;
    let (warm_up, packets) = if measuring() {
        (WARM_UP, PACKETS)
    } else {
        (1, 1)
    };
    let mut spent = Duration::ZERO;
    // each call waits for a grace period of RCU, so there are few calls; the first warms up
    for repeat in [warm_up, packets] {
        let start = machine::thread_time();
        let output = driver.test_run(ProgramInput {
            data_in: Some(&frame),
            repeat,
            ..Default::default()
        })?;
        spent = machine::thread_time() - start;
        if !matches!(output.return_value, 1 | 2) {
            return Err(format!("the program returned {}", output.return_value).into());
        }
    }
    Ok(spent.as_nanos() as f64 / f64::from(packets))
}

fn load() -> Result<XdpFirewall, Box<dyn Error>> {
    Ok(XdpFirewall::load(&XdpSettings {
        sample_rate: 0,
        ring_bytes: 65_536,
        max_rules: MOST as u32,
        typed: true,
    })?)
}

/// Measures the cost in the program by the number of rules.
fn by_rules(prefixes: &Prefixes, ipv6: bool) -> Result<Table, Box<dyn Error>> {
    let generator = Generator::load()?;
    let mut firewall = load()?;
    let mut found: Vec<(usize, Origin, Vec<f64>)> = Vec::new();
    for round in 0..rounds(ROUNDS) {
        let mut at = 0;
        for count in COUNTS {
            firewall.replace(&prefixes.rules(count, ipv6))?;
            for (from, _) in ORIGINS {
                generator.set_sequence(&prefixes.sequence(from, count))?;
                let empty = measure(&generator, &generator.program("empty")?, ipv6)?;
                let program = firewall.program(FrameStart::Ethernet, Mode::Native);
                let above = measure(&generator, program, ipv6)? - empty;
                if round == 0 {
                    found.push((count, from, Vec::new()));
                }
                found[at].2.push(above);
                at += 1;
            }
        }
    }
    let family = if ipv6 { "IPv6 /48" } else { "IPv4 /32" };
    let mut table = Table::new(
        &format!("XdpFirewall, {family} by source"),
        "ns a packet by `BPF_PROG_TEST_RUN`, above an empty XDP program behind the same generator. \
         A hit is looked up, compared with its rule, counted and dropped.",
        &[
            "rules",
            "random misses",
            "target",
            "random hits",
            "one address, a hit",
        ],
    );
    for rows in found.chunks(ORIGINS.len()) {
        let figures: Vec<Figure> = rows
            .iter()
            .map(|(_, _, values)| Figure::of(values))
            .collect();
        let target = match rows[0].0 {
            MOST => Cell::at_most(figures[0].median, TARGET_MISS, "ns"),
            _ => Cell::Nothing,
        };
        let mut cells = vec![Cell::figure(figures[0], 1), target];
        // without rules there are no hits
        if rows[0].0 > 0 {
            cells.extend(figures[1..].iter().map(|f| Cell::figure(*f, 1)));
        }
        table.row(rows[0].0.to_string(), cells);
    }
    Ok(table)
}

fn any_port() -> Ranges {
    [(1, u32::from(u16::MAX))].into_iter().collect()
}

/// Rules without a prefix, with lists and ranges, that differ in each field. Only the last one matches the packet.
fn five_fields(count: u32) -> Vec<KernelRule> {
    let rule = |n: u32| {
        let is_last = n == count;
        // the ports and the length of the packet are in the lists of all rules
        let matcher = Match::default()
            .with(
                MatchField::Protocol,
                [(6, 6), (UDP, UDP)].into_iter().collect(),
            )
            .with(
                MatchField::Sport,
                [(n, n), (n + 5000, 65_000)].into_iter().collect(),
            )
            .with(
                MatchField::Dport,
                [(1, 442 + n), (60_000, 60_000 + n)].into_iter().collect(),
            )
            .with(
                MatchField::Length,
                [(20, 100 + n), (1000 + n, 1500)].into_iter().collect(),
            )
            .with(
                MatchField::Dscp,
                Ranges::one(if is_last { 0 } else { 1 + n % 63 }),
            );
        KernelRule {
            id: RuleId(n.into()),
            matcher,
            action: Action::Drop,
            rate: None,
            burst: None,
            per: Per::Rule,
        }
    };
    (1..=count).map(rule).collect()
}

/// Measures the cost by the conditions of the rules: all packets have the same source, and the last rule drops them.
fn by_kind(prefixes: &Prefixes) -> Result<Table, Box<dyn Error>> {
    let with_ports = |rule: &mut KernelRule| {
        rule.matcher
            .set(MatchField::Protocol, Ranges::one(UDP).into());
        rule.matcher.set(MatchField::Dport, any_port().into());
    };
    let source = prefixes.rules(1, false);
    let mut source_and_ports = source.clone();
    with_ports(&mut source_and_ports[0]);
    let mut limit = source.clone();
    limit[0].action = Action::Limit;
    limit[0].rate = Some(LimitRate::Packets(1));
    let mut limit_per_source = limit.clone();
    limit_per_source[0].per = Per::Source;
    // only the last rule matches the packet
    let wide = |count: u64| -> Vec<KernelRule> {
        let rules = (1..=count).map(|id| KernelRule {
            id: RuleId(id),
            matcher: Match::default()
                .with(
                    MatchField::Protocol,
                    Ranges::one(if id == count { UDP } else { TCP }),
                )
                .with(MatchField::Dport, any_port()),
            action: Action::Drop,
            rate: None,
            burst: None,
            per: Per::Rule,
        });
        rules.collect()
    };
    let kinds = [
        ("a source", source),
        ("a source, a protocol, ports", source_and_ports),
        ("a source, a limit", limit),
        ("a source, a limit for each", limit_per_source),
        ("only a protocol and ports", wide(1)),
        ("the same, ten rules", wide(10)),
        ("the same, a hundred rules", wide(100)),
        ("five fields, a hundred rules", five_fields(100)),
        ("five fields, 512 rules", five_fields(512)),
    ];
    let generator = Generator::load()?;
    generator.set_sequence(&prefixes.sequence(Origin::RepeatedHit, 1))?;
    let mut firewall = load()?;
    let mut found = vec![Vec::new(); kinds.len()];
    for _ in 0..rounds(ROUNDS) {
        for ((_, rules), values) in kinds.iter().zip(&mut found) {
            firewall.replace(rules)?;
            let empty = measure(&generator, &generator.program("empty")?, false)?;
            let program = firewall.program(FrameStart::Ethernet, Mode::Native);
            values.push(measure(&generator, program, false)? - empty);
        }
    }
    let mut table = Table::new(
        "XdpFirewall, by what rules ask for",
        "ns a packet as above, IPv4, dropped by the last rule.",
        &["rules ask for", "ns", "target"],
    );
    for ((name, _), values) in kinds.iter().zip(&found) {
        let figure = Figure::of(values);
        let target = match name.starts_with("five fields") {
            true => Cell::at_most(figure.median, TARGET_FIELDS, "ns"),
            false => Cell::Nothing,
        };
        table.row((*name).to_owned(), vec![Cell::figure(figure, 1), target]);
    }
    Ok(table)
}

/// Measures one replacement of the rules in milliseconds.
fn bulk(prefixes: &Prefixes) -> Result<Table, Box<dyn Error>> {
    let mut firewall = load()?;
    let mut table = Table::new(
        "XdpFirewall, change of all rules",
        "Milliseconds from the list of rules until it is in force and no packet is evaluated by \
         the previous one.",
        &["rules", "IPv4", "IPv6", "target"],
    );
    for count in COUNTS {
        let mut cells = Vec::new();
        let mut worst = 0.0_f64;
        for ipv6 in [false, true] {
            let rules = prefixes.rules(count, ipv6);
            let mut times = Vec::new();
            for _ in 0..rounds(ROUNDS) {
                let start = Instant::now();
                firewall.replace(&rules)?;
                times.push(start.elapsed().as_secs_f64() * 1e3);
            }
            let figure = Figure::of(&times);
            worst = worst.max(figure.median);
            cells.push(Cell::figure(figure, 0));
        }
        cells.push(Cell::at_most(worst, TARGET_LOAD, "ms"));
        table.row(count.to_string(), cells);
    }
    Ok(table)
}

/// Measures the same by the command, which reads a file: milliseconds from its start to its end.
fn by_command(prefixes: &Prefixes) -> Result<Table, Box<dyn Error>> {
    let lab = Lab::new();
    let namespace = lab.namespace("d");
    lab.veth((&namespace, "v0"), (&namespace, "v1"));
    // the path of a socket must be short
    let socket = std::env::temp_dir().join(format!("rfm-bench-{}.sock", std::process::id()));
    let socket = socket.display().to_string();
    let config = lab.file(
        "rfm.toml",
        &format!(
            "[agent]\ninterfaces = [\"v1\"]\n[agent.firewall]\nenabled = true\ninterfaces = [\"v1\"]\n\
             [agent.prometheus]\nhost = \"127.0.0.1\"\n[agent.control]\nsocket = \"{socket}\"\n"
        ),
    );
    let config = config.display().to_string();
    let mut agent = Daemon::start(&lab, &namespace, RFM, &["--config", &config]);
    agent.wait_for("/healthz");
    let mut table = Table::new(
        "XdpFirewall, `rfm firewall load FILE --replace`",
        "Milliseconds of the command, from its start until it has ended and the rules are in force.",
        &["prefixes in the file", "IPv4", "IPv6", "target"],
    );
    for count in [1000, MOST] {
        let mut cells = Vec::new();
        let mut worst = 0.0_f64;
        for ipv6 in [false, true] {
            let lines: String = prefixes.bits[..count]
                .iter()
                .map(|bits| format!("{}\n", prefix(*bits, ipv6)))
                .collect();
            let file = lab.file("prefixes", &lines).display().to_string();
            let mut times = Vec::new();
            for _ in 0..rounds(ROUNDS) {
                let start = Instant::now();
                let words = ["firewall", "load", &file, "--replace", "--socket", &socket];
                let said = run(Command::new(RFM).args(words));
                times.push(start.elapsed().as_secs_f64() * 1e3);
                if !said.starts_with(&format!("{count} rules")) {
                    return Err(said.into());
                }
            }
            let figure = Figure::of(&times);
            worst = worst.max(figure.median);
            cells.push(Cell::figure(figure, 0));
        }
        cells.push(Cell::at_most(worst, TARGET_LOAD, "ms"));
        table.row(count.to_string(), cells);
    }
    match agent.stop(Signal::TERM) {
        true => Ok(table),
        false => Err(agent.log().into()),
    }
}

/// One way to drop the packets that arrive on the wire.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Dropper {
    EmptyXdp,
    Rfm,
    NftPrefixes,
    NftAddresses,
}

impl Dropper {
    const ALL: [Self; 4] = [
        Self::EmptyXdp,
        Self::Rfm,
        Self::NftPrefixes,
        Self::NftAddresses,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::EmptyXdp => "an empty XDP program that drops",
            Self::Rfm => "rfm",
            Self::NftPrefixes => "nftables, netdev ingress: set of prefixes",
            Self::NftAddresses => "nftables, netdev ingress: set of addresses",
        }
    }

    /// Returns CPU nanoseconds a packet. It is an error unless all sent packets were dropped here: a packet that was
    /// lost earlier costs nothing.
    fn run(
        self,
        wire: &Wire,
        firewall: &mut XdpFirewall,
        words: &[u32],
    ) -> Result<f64, Box<dyn Error>> {
        let (flooded, dropped) = match self {
            Self::EmptyXdp => {
                let _link = wire.attach_empty_drop()?;
                let flooded = wire.flood(FLOOD)?;
                (flooded, flooded.packets)
            }
            Self::Rfm => {
                wire.attach(firewall)?;
                let before = dropped(firewall)?;
                let flooded = wire.flood(FLOOD);
                wire.detach(firewall);
                (flooded?, dropped(firewall)? - before)
            }
            Self::NftPrefixes => {
                wire.with_nft(words, "flags interval;", |wire| wire.flood(FLOOD))?
            }
            Self::NftAddresses => wire.with_nft(words, "", |wire| wire.flood(FLOOD))?,
        };
        let Flooded { packets, ns } = flooded;
        match dropped == packets {
            true => Ok(ns),
            false => Err(format!("{packets} sent, {dropped} dropped").into()),
        }
    }
}

fn dropped(firewall: &XdpFirewall) -> Result<u64, Box<dyn Error>> {
    let counts = firewall.counts()?;
    Ok(counts.iter().map(|(_, counts)| counts.packets).sum())
}

/// Measures the cost on a wire, where each packet is a hit.
fn on_a_wire(prefixes: &Prefixes) -> Result<Table, Box<dyn Error>> {
    let wire = Wire::new()?;
    let mut firewall = load()?;
    firewall.replace(&prefixes.rules(MOST, false))?;
    wire.set_sequence(&prefixes.sequence(Origin::RandomHit, MOST))?;
    let mut found = vec![Vec::new(); Dropper::ALL.len()];
    for _ in 0..rounds(ROUNDS).min(5) {
        for (dropper, values) in Dropper::ALL.into_iter().zip(&mut found) {
            let took = dropper.run(&wire, &mut firewall, &prefixes.bits);
            values.push(took.map_err(|e| format!("{}: {e}", dropper.name()))?);
        }
    }
    let mut table = Table::new(
        "XdpFirewall, a flood that is dropped",
        "100,000 IPv4 /32; each packet has another of them as its source, over a veth from a \
         generator on the same CPU. ns a packet is the CPU time of that CPU, including the \
         generation of the packet; the difference to the empty program is the cost of dropping. A \
         set of nftables that may hold prefixes is a tree; a set of single addresses, as in this \
         case, is a hash table.",
        &[
            "dropped by",
            "ns a packet",
            "above empty",
            "of a set of prefixes",
            "target",
        ],
    );
    let above = |at: usize| Figure::above(&found[at], &found[0]);
    for (at, dropper) in Dropper::ALL.into_iter().enumerate() {
        let mut cells = vec![Cell::figure(Figure::of(&found[at]), 0)];
        if at > 0 {
            let share = above(at).median / above(2).median;
            cells.push(Cell::figure(above(at), 0));
            cells.push(Cell::ratio(above(at).median, above(2).median));
            if dropper == Dropper::Rfm {
                cells.push(Cell::at_most(share, TARGET_SHARE, "of it"));
            }
        }
        table.row(dropper.name(), cells);
    }
    Ok(table)
}

fn main() -> Result<(), Box<dyn Error>> {
    if skipped("firewall") || !can_run(&["ip", "sysctl", "nft", "ethtool"]) {
        return Ok(());
    }
    machine::pin(machine::last_cpu());
    let prefixes = Prefixes::draw();
    let mut report = Report::new("firewall");
    report.add(by_rules(&prefixes, false)?);
    report.add(by_rules(&prefixes, true)?);
    report.add(by_kind(&prefixes)?);
    report.add(bulk(&prefixes)?);
    report.add(by_command(&prefixes)?);
    report.add(on_a_wire(&prefixes)?);
    report.write()
}
