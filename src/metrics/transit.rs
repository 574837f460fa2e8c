// SPDX-License-Identifier: AGPL-3.0-only
//! `rfm_transit_bytes_total`: bytes by AS on the path.

use super::Input;
use super::declarations;
use super::exposition::FamilyWriter;
use crate::types::flow::Direction;

pub(super) fn write(input: &Input, out: &mut FamilyWriter) {
    let rows = &input.flows.transit;
    if rows.is_empty() {
        return;
    }
    let mut samples = out.family(&declarations::TRANSIT_BYTES);
    for row in rows {
        let (asn, position) = (row.key.asn.to_string(), row.key.position.to_string());
        let created = input.flows.clock.wall_ms(row.created_ms);
        let directions = Direction::ALL.into_iter().zip(row.bytes);
        for (direction, bytes) in directions.filter(|(_, bytes)| *bytes > 0) {
            samples.sample([&*asn, &*position, direction.name()], bytes, created);
        }
    }
}
