// SPDX-License-Identifier: AGPL-3.0-only
//! `rfm_peer_*`: bytes by neighbor.

use super::Input;
use super::declarations;
use super::exposition::FamilyWriter;
use crate::types::flow::{Direction, Family};

pub(super) fn write(input: &Input, out: &mut FamilyWriter) {
    if !input.peer_series {
        return;
    }
    let peers = &input.flows.peers;
    write_bytes(input, out);
    out.family(&declarations::PEER_FOLDED)
        .sample([], peers.folded, input.started_ms);
    out.family(&declarations::PEER_EVICTED)
        .sample([], peers.evicted, input.started_ms);
}

fn write_bytes(input: &Input, out: &mut FamilyWriter) {
    let mut samples = out.family(&declarations::PEER_BYTES);
    for row in &input.flows.peers.rows {
        let asn = match row.peer.asn {
            0 => String::new(),
            asn => asn.to_string(),
        };
        let mac = row.mac.map_or("other".to_owned(), |mac| mac.to_string());
        for direction in Direction::ALL {
            let counts = row.bytes[direction as usize].iter();
            let counts = counts.zip(row.created_ms[direction as usize]);
            // a neighbor that never sent or received packets of a family has no series for it
            let families = Family::ALL.iter().zip(counts);
            for (family, (bytes, created_ms)) in families.filter(|(_, (bytes, _))| **bytes > 0) {
                let labels = [
                    &*row.ifname,
                    direction.name(),
                    &asn,
                    &row.peer.name,
                    &mac,
                    family.name(),
                ];
                samples.sample(labels, *bytes, input.flows.clock.wall_ms(created_ms));
            }
        }
    }
}
