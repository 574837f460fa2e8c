// SPDX-License-Identifier: AGPL-3.0-only
//! The quantities of one flow record, and what kind of traffic it is (pure).

use crate::types::flow::{Direction, FlowKey, FlowRecord};
use crate::types::guard::Quantity;
use crate::types::named::Named;
use crate::types::protocol::Protocol;

/// One value for each [`Quantity`].
pub type Values = [f32; Quantity::ALL.len()];

const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;
/// A client without an answer acknowledges nothing, so that this many packets with an ACK are a connection.
const CONNECTION: u64 = 3;

/// Returns whether the client of the record has only begun a connection.
pub fn is_only_syn(record: &FlowRecord) -> bool {
    Protocol(record.key.protocol).is_tcp() && record.tcp_flags & (SYN | ACK | RST) == SYN
}

pub fn has_ack(record: &FlowRecord) -> bool {
    Protocol(record.key.protocol).is_tcp() && record.tcp_flags & ACK != 0
}

/// Returns whether the record by itself shows a connection: several packets that acknowledge.
pub fn is_connection(record: &FlowRecord) -> bool {
    has_ack(record) && record.packets / u64::from(record.weights.weight()) >= CONNECTION
}

/// Returns whether packets of this flow are answers: a reset answers nothing.
pub fn is_answer(reverse: &FlowRecord) -> bool {
    reverse.tcp_flags & RST == 0 || !Protocol(reverse.key.protocol).is_tcp()
}

/// Returns whether the record has fragments without ports: a packet with ports has at least one that is not 0.
pub fn is_later_fragment(key: &FlowKey) -> bool {
    Protocol(key.protocol).has_ports() && key.src_port == 0 && key.dst_port == 0
}

/// Returns the key of the packets in the other direction of the same flow, at the same interface.
pub fn reversed(key: &FlowKey) -> FlowKey {
    FlowKey {
        src: key.dst,
        dst: key.src,
        src_port: key.dst_port,
        dst_port: key.src_port,
        direction: match key.direction {
            Direction::Ingress => Direction::Egress,
            Direction::Egress => Direction::Ingress,
        },
        ..*key
    }
}

/// Returns what the record adds, scaled by the sample rate; `is_new` if its flow begins with it.
pub fn values(record: &FlowRecord, is_new: bool) -> Values {
    let rate = record.sample_rate as f32;
    let packets = record.packets as f32 * rate;
    let mut values = Values::default();
    values[Quantity::Packets as usize] = packets;
    values[Quantity::Bits as usize] = record.frame_bytes as f32 * 8.0 * rate;
    if is_new {
        // the first packet stands for so many others, each of another flow
        values[Quantity::NewFlows as usize] = f32::from(record.weights.weight()) * rate;
    }
    if is_only_syn(record) {
        values[Quantity::Syn as usize] = packets;
    }
    if is_later_fragment(&record.key) {
        values[Quantity::Fragments as usize] = packets;
    }
    values
}
