// SPDX-License-Identifier: AGPL-3.0-only
//! The firewall rules that an attack gets (pure).

use std::net::IpAddr;

use super::report::{AttackReport, Exception};
use super::signature::{Signature, Specificity};
use crate::types::guard::{GuardAction, Heading, Quantity};
use crate::types::prefix::Prefix;
use crate::types::protocol::Protocol;
use crate::types::rule::fields::{FieldValues, ValueSet};
use crate::types::rule::ranges::Ranges;
use crate::types::rule::rate::{LimitRate, MAX_PACKETS};
use crate::types::rule::{Action, Per, Rule};

/// Packets per second that a source keeps if the signature also fits legitimate packets.
const SOURCE_RATE: u32 = 10;

/// The reply to an attack, and its reason.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    pub action: GuardAction,
    /// Those that let flows pass, then those with the action.
    pub rules: Vec<Rule>,
    pub reason: &'static str,
}

impl Decision {
    fn alert(reason: &'static str) -> Self {
        Self {
            action: GuardAction::Alert,
            rules: Vec::new(),
            reason,
        }
    }
}

/// Returns the reply to an attack if the configuration asks for `action`.
pub fn decide(report: &AttackReport, action: GuardAction) -> Decision {
    if !report.kind.is_attack() {
        return Decision::alert("a plain threshold");
    }
    if report.heading == Heading::Out {
        return Decision::alert("the protected host sends the attack");
    }
    let Some(signature) = &report.signature else {
        return Decision::alert("no signature: the packets have too little in common");
    };
    let specificity = match signature.specificity() {
        Specificity::Specific if report.has_more_exceptions => Specificity::Ambiguous,
        specificity => specificity,
    };
    let (done, reason) = match (action, specificity) {
        (GuardAction::Alert, _) => (GuardAction::Alert, "agent.guard.action is alert"),
        (_, Specificity::Vague) => {
            return Decision::alert("the signature also fits legitimate packets");
        }
        (GuardAction::Count, _) => (GuardAction::Count, "agent.guard.action is count"),
        (_, Specificity::Ambiguous) => (
            GuardAction::Limit,
            "new clients send such packets too: each source is limited",
        ),
        (action, Specificity::Specific) => (action, "the signature fits no legitimate packets"),
    };
    if done == GuardAction::Alert {
        return Decision::alert(reason);
    }
    let exceptions = report.exceptions.iter().map(pass);
    let limit = match (done, specificity) {
        (GuardAction::Limit, Specificity::Ambiguous) => {
            Some((LimitRate::Packets(SOURCE_RATE), Per::Source))
        }
        (GuardAction::Limit, _) => Some((rate(report), Per::Rule)),
        _ => None,
    };
    let act = match done {
        GuardAction::Alert | GuardAction::Count => Action::Count,
        GuardAction::Limit => Action::Limit,
        GuardAction::Drop => Action::Drop,
    };
    let sources = match signature.sources.is_empty() {
        true => vec![None],
        false => signature.sources.iter().copied().map(Some).collect(),
    };
    let rules = sources.into_iter().map(|source| Rule {
        src: source.map(host),
        action: act,
        rate: limit.map(|(rate, _)| rate),
        per: limit.map_or(Per::Rule, |(_, per)| per),
        ..conditions(signature)
    });
    Decision {
        action: done,
        rules: exceptions.chain(rules).collect(),
        reason,
    }
}

fn host(address: IpAddr) -> Prefix {
    Prefix::new(address, if address.is_ipv4() { 32 } else { 128 })
}

fn one<V: FieldValues>(value: u32) -> Option<ValueSet<V>> {
    Some(ValueSet::new(Ranges::one(value)))
}

fn ports<V: FieldValues>(ports: &[u16]) -> Option<ValueSet<V>> {
    let ranges: Ranges = ports.iter().map(|port| u32::from(*port)).collect();
    (!ports.is_empty()).then(|| ValueSet::new(ranges))
}

fn conditions(signature: &Signature) -> Rule {
    let length = signature.length;
    let length = length.map(|(from, to)| [(u32::from(from), u32::from(to))]);
    Rule {
        dst: Some(signature.dst),
        proto: one(signature.protocol.into()),
        sport: ports(&signature.sport),
        dport: ports(&signature.dport),
        // the texts are constants, and a test parses them
        tcp_flags: signature
            .only_syn
            .then(|| "syn/syn,ack".parse().ok())
            .flatten(),
        icmp_type: signature.icmp_type.and_then(|kind| one(kind.into())),
        length: length.map(|range| ValueSet::new(range.into_iter().collect())),
        fragment: signature
            .later_fragment
            .then(|| "later".parse().ok())
            .flatten(),
        ..Rule::default()
    }
}

/// Returns the rule that lets the packets of an answered flow pass.
fn pass(exception: &Exception) -> Rule {
    let has_port = Protocol(exception.protocol).has_ports();
    Rule {
        src: Some(host(exception.src)),
        dst: Some(host(exception.dst)),
        proto: one(exception.protocol.into()),
        sport: has_port.then(|| one(exception.sport.into())).flatten(),
        action: Action::Pass,
        ..Rule::default()
    }
}

/// Returns the rate of a limit for all packets of the signature: the threshold.
fn rate(report: &AttackReport) -> LimitRate {
    match report.quantity() {
        Quantity::Bits => {
            LimitRate::Bits((report.threshold as u64).clamp(8_000, 1_000_000_000_000))
        }
        _ => LimitRate::Packets((report.threshold as u32).clamp(1, MAX_PACKETS)),
    }
}
