// SPDX-License-Identifier: AGPL-3.0-only
//! A loaded firewall into which frames are put, and rules in the words of an operator.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libbpf_rs::ProgramInput;
use rfm::bpf::xdp::{Counts, Mode, XdpFirewall, XdpSettings};
use rfm::types::hook::FrameStart;
use rfm::types::prefix::Prefix;
use rfm::types::rule::{Action, KernelRule, Match, PARTS, PatternCache, Per, Rule, RuleId};

use crate::common::frames::Frame;

/// BPF_PROG_TEST_RUN lets packets come in on the loopback device.
pub const LOOPBACK: u32 = 1;
pub const MAX_RULES: u32 = 100_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Drop,
    Pass,
}

pub struct Fixture {
    pub firewall: XdpFirewall,
}

/// `None` without root; says so.
pub fn fixture() -> Option<Fixture> {
    fixture_with(0)
}

pub fn fixture_with(sample_rate: u32) -> Option<Fixture> {
    fixture_of(sample_rate, true)
}

/// Without `typed`, the programs for kernels that do not describe their types.
pub fn fixture_of(sample_rate: u32, typed: bool) -> Option<Fixture> {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: not root");
        return None;
    }
    let settings = XdpSettings {
        sample_rate,
        ring_bytes: 65_536,
        max_rules: MAX_RULES,
        typed,
    };
    let firewall = XdpFirewall::load(&settings).expect("the firewall loads");
    Some(Fixture { firewall })
}

impl Fixture {
    pub fn with(rules: &[KernelRule]) -> Option<Self> {
        let mut fixture = fixture()?;
        fixture.firewall.replace(rules).expect("rules");
        Some(fixture)
    }

    pub fn verdict(&self, frame: &[u8]) -> Verdict {
        self.verdict_of(FrameStart::Ethernet, frame)
    }

    pub fn verdict_of(&self, start: FrameStart, frame: &[u8]) -> Verdict {
        put(&self.firewall, start, frame)
    }

    pub fn verdict_on(&self, ifindex: u32, start: FrameStart, frame: &[u8]) -> Verdict {
        put_on(&self.firewall, ifindex, start, frame)
    }

    /// Those that have counted.
    pub fn counts(&self) -> BTreeMap<u64, Counts> {
        let counts = self.firewall.counts().expect("counts");
        let moved = counts.into_iter().filter(|(_, c)| *c != Counts::default());
        moved.map(|(id, counts)| (id.0, counts)).collect()
    }

    /// Packets by rule, of those that have counted.
    pub fn packets(&self) -> Vec<(u64, u64)> {
        let counts = self.counts().into_iter();
        counts.map(|(id, c)| (id, c.packets)).collect()
    }
}

pub fn put(firewall: &XdpFirewall, start: FrameStart, frame: &[u8]) -> Verdict {
    put_on(firewall, LOOPBACK, start, frame)
}

/// As if received on a device of this thread's network namespace.
fn put_on(firewall: &XdpFirewall, ifindex: u32, start: FrameStart, frame: &[u8]) -> Verdict {
    // struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex
    let words = [0, frame.len() as u32, 0, ifindex, 0, 0];
    let mut context: Vec<u8> = words.iter().flat_map(|w| w.to_ne_bytes()).collect();
    let input = ProgramInput {
        context_in: Some(&mut context),
        data_in: Some(frame),
        ..Default::default()
    };
    let program = firewall.program(start, Mode::Native);
    let output = program.test_run(input).expect("a test run");
    match output.return_value {
        1 => Verdict::Drop,
        2 => Verdict::Pass,
        other => panic!("the program returned {other}"),
    }
}

/// Rules by number from 1, as `rfm firewall add` takes them.
pub fn rules(lines: &[&str]) -> Vec<KernelRule> {
    (1..).zip(lines).map(|(id, line)| rule(id, line)).collect()
}

/// `drop src 10.0.0.0/8 proto tcp sport 1-2 interface 1,2`: the parts of a rule, except that interfaces are ifindexes.
pub fn rule(id: u64, line: &str) -> KernelRule {
    let mut words = line.split(' ');
    let mut rule = Rule::default();
    let mut interfaces = None;
    let set = |rule: &mut Rule, name: &str, value: &str| {
        let part = PARTS.iter().find(|part| part.name == name).expect(name);
        part.read(rule, value, &mut PatternCache::default())
            .expect(line);
    };
    set(&mut rule, "action", words.next().expect("an action"));
    while let (Some(key), Some(value)) = (words.next(), words.next()) {
        if key == "interface" {
            let list = value.split(',').filter(|word| !word.is_empty());
            interfaces = Some(list.map(|word| word.parse().expect(word)).collect());
        } else {
            set(&mut rule, key, value);
        }
    }
    KernelRule {
        id: RuleId(id),
        matcher: rule.to_match(interfaces),
        action: rule.action,
        rate: rule.rate,
        burst: rule.burst,
        per: rule.per,
    }
}

/// Drops what comes from a prefix.
pub fn drop_from(id: u64, prefix: Prefix) -> KernelRule {
    KernelRule {
        id: RuleId(id),
        matcher: Match {
            src: Some(prefix),
            ..Default::default()
        },
        action: Action::Drop,
        rate: None,
        burst: None,
        per: Per::Rule,
    }
}

pub fn ether() -> Frame {
    Frame::ethernet([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
}

/// The IP header of either family.
pub fn ip(frame: Frame, src: IpAddr, dst: IpAddr) -> Frame {
    match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => frame.ipv4(src, dst),
        (IpAddr::V6(src), IpAddr::V6(dst)) => frame.ipv6(src, dst),
        _ => panic!("{src} and {dst} are not of one family"),
    }
}

pub const A4: Ipv4Addr = Ipv4Addr::new(10, 1, 2, 3);
pub const B4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 9);
pub const A6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 3);
pub const B6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 9);

/// From A to B, without a transport.
pub fn v4() -> Frame {
    ether().ipv4(A4, B4)
}

pub fn v6() -> Frame {
    ether().ipv6(A6, B6)
}

/// Checks the verdict of one rule on one frame; the rule counts if and only if it matches. By the programs for
/// kernels with types and by those for kernels without.
pub fn check(cases: &[(&str, Frame, Verdict)]) {
    for typed in [true, false] {
        check_object(cases, typed);
    }
}

fn check_object(cases: &[(&str, Frame, Verdict)], typed: bool) {
    let Some(mut fixture) = fixture_of(0, typed) else {
        return;
    };
    for (id, (line, frame, expected)) in (1..).zip(cases) {
        fixture.firewall.replace(&[rule(id, line)]).expect(line);
        let bytes = frame.build();
        let got = fixture.verdict(&bytes);
        assert_eq!(got, *expected, "case {id}: {line}, types: {typed}");
        let counted = match expected {
            Verdict::Drop => vec![(id, 1)],
            Verdict::Pass => vec![],
        };
        assert_eq!(fixture.packets(), counted, "case {id}: {line}");
        if *expected == Verdict::Drop {
            let length = bytes.len() as u64;
            assert_eq!(fixture.counts()[&id].bytes, length, "case {id}: {line}");
        }
    }
}
