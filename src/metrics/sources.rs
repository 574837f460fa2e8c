// SPDX-License-Identifier: AGPL-3.0-only
//! `rfm_source_*`: bytes by the state of their source address.

use super::Input;
use super::declarations;
use super::exposition::FamilyWriter;
use crate::flow::sources::OTHER_PEERS;
use crate::types::source::SourceState;

pub(super) fn write(input: &Input, out: &mut FamilyWriter) {
    if !input.source_check {
        return;
    }
    write_invalid(input, out);
    write_unknown(input, out);
    write_checked(input, out);
    out.family(&declarations::SOURCE_FOLDED).sample(
        [],
        input.flows.sources.folded,
        input.started_ms,
    );
}

fn write_invalid(input: &Input, out: &mut FamilyWriter) {
    let mut samples = out.family(&declarations::SOURCE_INVALID);
    let rows = input.flows.sources.rows.iter();
    for row in rows.filter(|row| row.state.is_invalid()) {
        let labels = [&*row.ifname, row.state.name(), &asn(row.peer_asn)];
        samples.sample(labels, row.bytes, input.flows.clock.wall_ms(row.created_ms));
    }
}

fn write_unknown(input: &Input, out: &mut FamilyWriter) {
    let mut samples = out.family(&declarations::SOURCE_UNKNOWN);
    let rows = input.flows.sources.rows.iter();
    for row in rows.filter(|row| row.state == SourceState::Unknown) {
        let labels = [&*row.ifname, &asn(row.peer_asn)];
        samples.sample(labels, row.bytes, input.flows.clock.wall_ms(row.created_ms));
    }
}

fn write_checked(input: &Input, out: &mut FamilyWriter) {
    let mut samples = out.family(&declarations::SOURCE_CHECKED);
    // the rows are sorted by interface
    let rows = &input.flows.sources.rows;
    for rows in rows.chunk_by(|a, b| a.ifname == b.ifname) {
        let bytes = rows.iter().map(|row| row.bytes);
        let bytes = bytes.fold(0, u64::wrapping_add);
        let created_ms = rows.iter().map(|row| row.created_ms).min();
        let created_ms = input.flows.clock.wall_ms(created_ms.unwrap_or(0));
        samples.sample([&*rows[0].ifname], bytes, created_ms);
    }
}

fn asn(asn: u32) -> String {
    match asn {
        0 => String::new(),
        OTHER_PEERS => "other".to_owned(),
        asn => asn.to_string(),
    }
}
