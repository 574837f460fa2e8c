// SPDX-License-Identifier: AGPL-3.0-only
//! Selects the traffic of a watch.

use std::net::IpAddr;

use super::TrafficEnd;
use crate::flow::labels::SetId;
use crate::flow::query::FlowContext;
use crate::types::flow::{Direction, FlowKey, FlowRecord};
use crate::types::prefix::Prefix;

const ICMP: [u8; 2] = [1, 58];

/// A value that all traffic of a watch has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The AS of one end; 0 = unknown.
    Asn(TrafficEnd, u32),
    /// The peer AS of one end.
    Peer(TrafficEnd, u32),
    Country(TrafficEnd, Box<str>),
    City(TrafficEnd, Box<str>),
    Address(TrafficEnd, Prefix),
    Protocol(u8),
    /// The protocol and the lower port.
    Service(u8, u16),
}

/// Interfaces, and conditions that must all match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrafficFilter {
    /// By ifindex, in ascending order.
    pub interfaces: Vec<u32>,
    pub conditions: Vec<Condition>,
}

impl TrafficFilter {
    /// Returns whether a record matches. Checks last what needs a lookup.
    pub(super) fn admits(
        &self,
        record: &FlowRecord,
        set: SetId,
        context: &impl FlowContext,
    ) -> bool {
        let key = &record.key;
        if self.interfaces.binary_search(&key.ifindex).is_err() {
            return false;
        }
        let plain = |condition: &Condition| match condition {
            Condition::Address(end, prefix) => prefix.contains(address(key, *end)),
            Condition::Protocol(protocol) => key.protocol == *protocol,
            Condition::Service(protocol, port) => service(key) == (*protocol, *port),
            _ => true,
        };
        self.conditions.iter().all(plain) && self.labels(record, set, context)
    }

    fn labels(&self, record: &FlowRecord, set: SetId, context: &impl FlowContext) -> bool {
        let side = |end| usize::from(!is_source(record.key.direction, end));
        self.conditions.iter().all(|condition| {
            let known = |end| {
                let known = context.known(record);
                [known.src, known.dst].into_iter().nth(side(end))
            };
            match condition {
                Condition::Asn(end, asn) => context.asns(&record.key, set)[side(*end)] == *asn,
                Condition::Peer(end, asn) => known(*end).is_some_and(|k| k.peer_asn == *asn),
                Condition::Country(end, country) => known(*end)
                    .is_some_and(|k| k.country.as_deref().unwrap_or_default() == &**country),
                Condition::City(end, city) => {
                    known(*end).is_some_and(|k| k.city.as_deref().unwrap_or_default() == &**city)
                }
                _ => true,
            }
        })
    }
}

/// Returns whether an end is the source of the traffic in this direction.
fn is_source(direction: Direction, end: TrafficEnd) -> bool {
    (direction == Direction::Ingress) == (end == TrafficEnd::Remote)
}

/// Returns the address of an end.
pub(super) fn address(key: &FlowKey, end: TrafficEnd) -> IpAddr {
    match is_source(key.direction, end) {
        true => key.source(),
        false => key.destination(),
    }
}

/// Returns the AS of an end.
pub(super) fn asn(key: &FlowKey, set: SetId, end: TrafficEnd, context: &impl FlowContext) -> u32 {
    context.asns(key, set)[usize::from(!is_source(key.direction, end))]
}

/// Returns the protocol and the port of the service: the lower port, since clients use high ones.
pub(in crate::flow) fn service(key: &FlowKey) -> (u8, u16) {
    match ICMP.contains(&key.protocol) {
        true => (key.protocol, 0),
        false => (key.protocol, key.src_port.min(key.dst_port)),
    }
}
