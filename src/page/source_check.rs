// SPDX-License-Identifier: AGPL-3.0-only
//! The result of the source check, as the page shows it.

use serde::Serialize;

use crate::enrich::source_check::ViewReport;
use crate::flow::sources::{OTHER_PEERS, SourceRow, SourceSnapshot};
use crate::types::source::SourceState;

/// The maximum number of lines.
const ROWS: usize = 50;
/// The maximum number of neighbors without a view that the page names.
const NAMED: usize = 8;

/// Bytes since the start, by interface, state and neighbor: invalid sources, and those that could not be checked.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct SourceTable {
    /// Bytes of all checked packets.
    checked: u64,
    invalid: u64,
    unknown: u64,
    /// The interface, the state, the AS of the neighbor and the bytes; an AS of -1 is `other`, 0 is unknown.
    rows: Vec<(String, &'static str, i64, u64)>,
    rows_total: usize,
    /// The number of neighbors, and those whose routes before import policy rfm does not receive.
    neighbors: usize,
    without_view: Vec<u32>,
    without_view_total: usize,
}

impl SourceTable {
    pub fn new(sources: &SourceSnapshot, report: &ViewReport) -> Self {
        let sum = |matches: fn(SourceState) -> bool| {
            let rows = sources.rows.iter().filter(|row| matches(row.state));
            rows.fold(0, |sum: u64, row| sum.wrapping_add(row.bytes))
        };
        let shown = sources.rows.iter();
        let mut shown: Vec<_> = shown
            .filter(|row| row.state != SourceState::Feasible)
            .collect();
        // the unknown ones are last: a router that sends only its Loc-RIB must not hide an invalid source
        shown.sort_by_key(|row| (!row.state.is_invalid(), std::cmp::Reverse(row.bytes)));
        let row = |row: &&SourceRow| {
            let asn = match row.peer_asn {
                OTHER_PEERS => -1,
                asn => asn.into(),
            };
            (row.ifname.to_string(), row.state.name(), asn, row.bytes)
        };
        let without_view = &report.without_view;
        Self {
            checked: sum(|_| true),
            invalid: sum(SourceState::is_invalid),
            unknown: sum(|state| state == SourceState::Unknown),
            rows: shown.iter().take(ROWS).map(row).collect(),
            rows_total: shown.len(),
            neighbors: report.neighbors,
            without_view: without_view.iter().take(NAMED).copied().collect(),
            without_view_total: without_view.len(),
        }
    }

    /// Returns the ASNs in the table.
    pub fn asns(&self) -> impl Iterator<Item = u32> {
        let rows = self.rows.iter().map(|(_, _, asn, _)| *asn);
        let rows = rows.filter_map(|asn| u32::try_from(asn).ok());
        rows.chain(self.without_view.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use SourceState::{Bogon, Feasible, Infeasible, Unknown};

    #[test]
    fn invalid_sources_are_first_and_unknown_ones_are_no_invalid_ones() {
        let row = |state, peer_asn, bytes| SourceRow {
            ifname: "ix0".into(),
            state,
            peer_asn,
            bytes,
            created_ms: 0,
        };
        let sources = SourceSnapshot {
            rows: vec![
                row(Feasible, 0, 1_000_000),
                row(Unknown, 64501, 7000),
                row(Bogon, 0, 20),
                row(Infeasible, 64502, 300),
                row(Infeasible, OTHER_PEERS, 1),
            ],
            folded: 1,
        };
        let report = ViewReport {
            neighbors: 20,
            without_view: (1..=9).collect(),
        };
        let table = SourceTable::new(&sources, &report);
        let line = |state, asn, bytes| ("ix0".to_owned(), state, asn, bytes);
        let expected = [
            line("infeasible", 64502, 300),
            line("bogon", 0, 20),
            line("infeasible", -1, 1),
            line("unknown", 64501, 7000),
        ];
        assert_eq!(table.rows, expected);
        assert_eq!((table.checked, table.rows_total), (1_007_321, 4));
        assert_eq!((table.invalid, table.unknown), (321, 7000));
        assert_eq!((table.without_view.len(), table.without_view_total), (8, 9));
        let asns: Vec<_> = table.asns().collect();
        assert_eq!(asns, [64502, 0, 64501, 1, 2, 3, 4, 5, 6, 7, 8]);
    }
}
