// SPDX-License-Identifier: AGPL-3.0-only
//! The traffic that is no part of an attack: connections, and flows with answers (pure).

use std::collections::BTreeSet;

use super::report::Exception;
use super::signature::Signature;
use super::traffic::{has_ack, is_answer, is_connection, is_later_fragment, is_only_syn, reversed};
use crate::flow::table::FlowTable;
use crate::types::flow::{Direction, FlowRecord};
use crate::types::protocol::Protocol;

/// Flows that a signature may hit and that are excepted.
const MAX_EXCEPTIONS: usize = 8;

/// Returns whether a record is no part of an attack: it belongs to a connection, or to a flow with answers.
pub fn is_excluded(
    record: &FlowRecord,
    begun: Option<&FlowRecord>,
    reverse: Option<&FlowRecord>,
) -> bool {
    let answered = reverse.is_some_and(is_answer);
    if is_only_syn(record) {
        return false;
    }
    if has_ack(record) {
        return answered || is_connection(record) || begun.is_some_and(has_ack);
    }
    // fragments have no ports: an answer to one is no answer to the others
    answered && !is_later_fragment(&record.key)
}

/// Returns the answered flows that a signature matches, and whether there are too many of them.
pub fn exceptions(signature: &Signature, flows: &FlowTable) -> (Vec<Exception>, bool) {
    let mut found = BTreeSet::new();
    let ingress = flows
        .parts()
        .filter(|part| part.key.direction == Direction::Ingress);
    for part in ingress.filter(|part| signature.matches(part)) {
        let reverse = flows.find(&reversed(&part.key));
        if !is_excluded(part, None, reverse) {
            continue;
        }
        let key = &part.key;
        found.insert(Exception {
            src: key.source(),
            dst: key.destination(),
            protocol: key.protocol,
            sport: match Protocol(key.protocol).has_ports() {
                true => key.src_port,
                false => 0,
            },
        });
        if found.len() > MAX_EXCEPTIONS {
            found.pop_last();
            return (found.into_iter().collect(), true);
        }
    }
    (found.into_iter().collect(), false)
}
