// SPDX-License-Identifier: AGPL-3.0-only
//! Random rules against random packets, beside a naive model: every rule is asked, one after the other.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};
use rfm::types::prefix::Prefix;
use rfm::types::rule::fields::MatchField;
use rfm::types::rule::ranges::Ranges;
use rfm::types::rule::{Action, KernelRule, Match, Per, RuleId};

use crate::common::frames::Frame;
use crate::fixture::{LOOPBACK, MAX_RULES, Verdict, drop_from, ether, fixture, ip};

/// A packet, as the model sees it.
#[derive(Clone, Debug)]
struct Packet {
    src: IpAddr,
    dst: IpAddr,
    udp: bool,
    sport: u16,
    dport: u16,
    shape: Shape,
    tagged: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Shape {
    Whole,
    Extended,
    FirstFragment,
    LaterFragment,
}

impl Packet {
    fn protocol(&self) -> u8 {
        if self.udp { 17 } else { 6 }
    }

    fn build(&self) -> Vec<u8> {
        let frame = match self.tagged {
            true => ether().vlan(0x8100, 7),
            false => ether(),
        };
        let frame = ip(frame, self.src, self.dst);
        let v4 = self.src.is_ipv4();
        let frame = match self.shape {
            Shape::Whole => frame,
            Shape::Extended if v4 => frame.options(4),
            Shape::Extended => frame.hop_by_hop().destopt(),
            Shape::FirstFragment if v4 => frame.fragment(0, true),
            Shape::FirstFragment => frame.fragment6(0, true),
            Shape::LaterFragment if v4 => frame.fragment(64, false),
            Shape::LaterFragment => frame.fragment6(64, false),
        };
        if self.shape == Shape::LaterFragment {
            return frame.says(self.protocol().into()).payload(32).build();
        }
        let transport = match self.udp {
            true => Frame::udp,
            false => |frame: Frame| frame.tcp(2),
        };
        let frame = transport(frame).ports(self.sport, self.dport);
        frame.payload(24).build()
    }
}

fn matches(rule: &KernelRule, packet: &Packet) -> bool {
    let matcher = &rule.matcher;
    let within = |prefix: Option<Prefix>, address| prefix.is_none_or(|p| p.contains(address));
    let within_field = |field, value| {
        let values = matcher.field(field);
        values.is_none_or(|values| values.contains(value))
    };
    let [sport, dport] = [MatchField::Sport, MatchField::Dport].map(|f| matcher.field(f));
    let seen = match (sport, dport) {
        (None, None) => true,
        _ if packet.shape == Shape::LaterFragment => rule.action != Action::Pass,
        _ => {
            within_field(MatchField::Sport, packet.sport.into())
                && within_field(MatchField::Dport, packet.dport.into())
        }
    };
    let on = |list: &Vec<u32>| list.contains(&LOOPBACK);
    within(matcher.src, packet.src)
        && within(matcher.dst, packet.dst)
        && within_field(MatchField::Protocol, packet.protocol().into())
        && seen
        && matcher.interfaces.as_ref().is_none_or(on)
}

/// The verdict, and which rules count.
fn judge(rules: &[KernelRule], packet: &Packet) -> (Verdict, Vec<u64>) {
    let mut counted = Vec::new();
    for rule in rules.iter().filter(|rule| matches(rule, packet)) {
        counted.push(rule.id.0);
        match rule.action {
            Action::Drop => return (Verdict::Drop, counted),
            Action::Pass => return (Verdict::Pass, counted),
            Action::Count | Action::Limit => {}
        }
    }
    (Verdict::Pass, counted)
}

/// Few different bits, so that prefixes nest and packets meet them.
fn address() -> impl Strategy<Value = IpAddr> {
    let v4 = (0..4_u32, 0..4_u32, 0..4_u32).prop_map(|(a, b, c)| {
        let bits = 0x0a00_0000 | a << 22 | b << 8 | c;
        IpAddr::V4(Ipv4Addr::from_bits(bits))
    });
    let v6 = (0..4_u128, 0..4_u128, 0..4_u128).prop_map(|(a, b, c)| {
        let bits = 0x2001_0db8 << 96 | a << 94 | b << 78 | c << 62 | c;
        IpAddr::V6(Ipv6Addr::from_bits(bits))
    });
    prop_oneof![v4, v6]
}

fn prefix() -> impl Strategy<Value = Prefix> {
    (address(), any::<prop::sample::Index>()).prop_map(|(address, length)| {
        let lengths: &[u8] = match address {
            IpAddr::V4(_) => &[0, 1, 7, 8, 9, 10, 16, 23, 24, 25, 31, 32],
            IpAddr::V6(_) => &[
                0, 3, 12, 16, 31, 32, 33, 34, 47, 48, 49, 50, 64, 65, 66, 127, 128,
            ],
        };
        Prefix::new(address, *length.get(lengths))
    })
}

fn ports() -> impl Strategy<Value = Ranges> {
    let range = (0..6_u32, 0..3_u32).prop_map(|(first, more)| (first, first + more));
    vec(range, 1..3).prop_map(Ranges::from_iter)
}

fn matcher() -> impl Strategy<Value = Match> {
    let interfaces = vec(select(vec![LOOPBACK, 2, 70_000]), 0..3);
    (
        option::weighted(0.6, prefix()),
        option::weighted(0.5, prefix()),
        option::weighted(0.4, select(vec![6, 17])),
        option::weighted(0.2, ports()),
        option::weighted(0.2, ports()),
        option::weighted(0.2, interfaces),
    )
        .prop_map(|(src, dst, proto, sport, dport, interfaces)| {
            let mut matcher = Match {
                src,
                dst,
                interfaces,
                ..Match::default()
            };
            let fields = [
                (MatchField::Protocol, proto.map(Ranges::one)),
                (MatchField::Sport, sport),
                (MatchField::Dport, dport),
            ];
            for (field, values) in fields {
                if let Some(values) = values {
                    matcher.set(field, values.into());
                }
            }
            matcher
        })
}

fn rules() -> impl Strategy<Value = Vec<KernelRule>> {
    let action = select(vec![Action::Drop, Action::Pass, Action::Count]);
    vec((matcher(), action), 0..40).prop_map(|rules| {
        let numbered = (0..).zip(rules);
        let rule = |(id, (matcher, action))| KernelRule {
            id: RuleId(id),
            matcher,
            action,
            rate: None,
            burst: None,
            per: Per::Rule,
        };
        numbered.map(rule).collect()
    })
}

fn packet() -> impl Strategy<Value = Packet> {
    let shapes = select(vec![
        Shape::Whole,
        Shape::Whole,
        Shape::Extended,
        Shape::FirstFragment,
        Shape::LaterFragment,
    ]);
    let pair =
        (address(), address()).prop_filter("one family", |(a, b)| a.is_ipv4() == b.is_ipv4());
    (
        pair,
        any::<bool>(),
        0..7_u16,
        0..7_u16,
        shapes,
        any::<bool>(),
    )
        .prop_map(|((src, dst), udp, sport, dport, shape, tagged)| Packet {
            src,
            dst,
            udp,
            sport,
            dport,
            shape,
            tagged,
        })
}

#[test]
fn random_rules_judge_random_packets_as_the_model_does() {
    let Some(mut fixture) = fixture() else { return };
    let config = Config {
        cases: 256,
        failure_persistence: None,
        max_shrink_iters: 500,
        ..Config::default()
    };
    let fixture = std::cell::RefCell::new(&mut fixture);
    let result =
        TestRunner::new(config).run(&(rules(), vec(packet(), 1..60)), |(rules, packets)| {
            let mut fixture = fixture.borrow_mut();
            // none of the rules stay: their counters begin at 0
            fixture.firewall.replace(&[]).expect("no rules");
            fixture.firewall.replace(&rules).expect("rules");
            let mut expected = BTreeMap::new();
            for packet in &packets {
                let (verdict, counted) = judge(&rules, packet);
                prop_assert_eq!(fixture.verdict(&packet.build()), verdict, "{:?}", packet);
                for id in counted {
                    *expected.entry(id).or_insert(0) += 1;
                }
            }
            let counted: BTreeMap<u64, u64> = fixture.packets().into_iter().collect();
            prop_assert_eq!(counted, expected);
            Ok(())
        });
    if let Err(error) = result {
        panic!("{error}");
    }
}

/// 100,000 prefixes of both families and many lengths: what lies in one is dropped, by the right rule.
#[test]
fn a_full_set_of_prefixes_is_exact() {
    let Some(mut fixture) = fixture() else { return };
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        // xorshift (Marsaglia, 2003)
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    let rules: Vec<KernelRule> = (0..MAX_RULES)
        .map(|id| {
            let bits = random();
            let prefix = match id % 4 {
                0 => {
                    let address = 0x2000_u128 << 112 | u128::from(bits) << 50 | u128::from(bits);
                    Prefix::new(Ipv6Addr::from_bits(address).into(), 29 + (bits % 100) as u8)
                }
                _ => Prefix::new(
                    Ipv4Addr::from_bits(bits as u32).into(),
                    12 + (bits >> 60) as u8,
                ),
            };
            drop_from(id.into(), prefix)
        })
        .collect();
    fixture.firewall.replace(&rules).expect("rules");
    let mut expected = BTreeMap::new();
    for round in 0..400_usize {
        let bits = random();
        let near = &rules[bits as usize % rules.len()].matcher;
        let (src, dst): (IpAddr, IpAddr) = match near.src.expect("has one").address() {
            IpAddr::V4(a) => {
                let noise = if round % 2 == 0 { bits as u32 } else { 1 };
                let src = Ipv4Addr::from_bits(a.to_bits() ^ noise);
                (src.into(), Ipv4Addr::LOCALHOST.into())
            }
            IpAddr::V6(a) => {
                let noise = u128::from(bits) << (round % 64);
                let src = Ipv6Addr::from_bits(a.to_bits() ^ noise);
                (src.into(), Ipv6Addr::LOCALHOST.into())
            }
        };
        let holds = |rule: &&KernelRule| rule.matcher.src.is_some_and(|p| p.contains(src));
        let verdict = match rules.iter().find(holds) {
            Some(rule) => {
                *expected.entry(rule.id.0).or_insert(0) += 1;
                Verdict::Drop
            }
            None => Verdict::Pass,
        };
        let frame = ip(ether(), src, dst).udp().build();
        assert_eq!(fixture.verdict(&frame), verdict, "{src}");
    }
    let hits: u64 = expected.values().sum();
    assert!((50..390).contains(&hits), "{hits} of 400");
    let counted: BTreeMap<u64, u64> = fixture.packets().into_iter().collect();
    assert_eq!(counted, expected);
}
