// SPDX-License-Identifier: AGPL-3.0-only
//! `rfm_peer_*`: bytes by neighbor.

use std::io;

use super::Input;
use super::declarations;
use super::text_format::TextWriter;
use crate::types::flow::{Direction, Family};

pub(super) fn write(input: &Input, text: &mut TextWriter) -> io::Result<()> {
    if !input.peer_series {
        return Ok(());
    }
    let peers = &input.flows.peers;
    let mut samples = text.family(&declarations::PEER_BYTES);
    for row in &peers.rows {
        let asn = match row.peer.asn {
            0 => String::new(),
            asn => asn.to_string(),
        };
        let mac = row.mac.map_or("other".to_owned(), |mac| mac.to_string());
        for direction in Direction::ALL {
            let families = Family::ALL.iter().zip(row.bytes[direction as usize]);
            // a neighbor that never sent or received packets of a family has no series for it
            for (family, bytes) in families.filter(|(_, bytes)| *bytes > 0) {
                let labels = [
                    &*row.ifname,
                    direction.name(),
                    &asn,
                    &row.peer.name,
                    &mac,
                    family.name(),
                ];
                samples.sample(labels, bytes)?;
            }
        }
    }
    text.family(&declarations::PEER_FOLDED)
        .sample([], peers.folded)?;
    text.family(&declarations::PEER_EVICTED)
        .sample([], peers.evicted)
}
