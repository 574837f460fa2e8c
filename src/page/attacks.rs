// SPDX-License-Identifier: AGPL-3.0-only
//! The alarms of the guard, as the page shows them.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::guard::links::LinkLoad;
use crate::guard::shared::{AttackStatus, GuardState};
use crate::types::address_detail::AddressDetail;
use crate::types::guard::AlarmTarget;
use crate::types::named::Named;

/// The maximum number of lines.
const ROWS: usize = 20;

/// Attacks in progress, the latest first, then those that have ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct AttackTable {
    pub rows: Vec<AttackRow>,
    /// The number of attacks with those that have no line.
    pub total: usize,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct AttackRow {
    pub id: u64,
    /// Empty if addresses are not shown.
    pub target: String,
    pub direction: &'static str,
    pub kind: &'static str,
    /// Per second, as the threshold.
    pub value: f32,
    pub threshold: f32,
    /// `None` without one, and if addresses are not shown in full.
    pub signature: Option<String>,
    pub action: &'static str,
    pub reason: &'static str,
    pub in_force: bool,
    /// The packets that its rules have matched.
    pub matched: u64,
    pub link_full: bool,
    /// Seconds since the Unix epoch.
    pub began: f64,
    pub ended: Option<f64>,
}

impl AttackTable {
    pub fn new(state: &GuardState, addresses: AddressDetail) -> Self {
        let all = state.active.iter().rev().chain(state.ended.iter().rev());
        Self {
            rows: all.take(ROWS).map(|one| row(one, addresses)).collect(),
            total: state.active.len() + state.ended.len(),
        }
    }
}

fn row(status: &AttackStatus, addresses: AddressDetail) -> AttackRow {
    let report = &status.report;
    let signature = report.signature.as_ref();
    AttackRow {
        id: report.id.0,
        target: match &report.target {
            AlarmTarget::Prefix(prefix) => addresses
                .limit(*prefix)
                .map(|prefix| prefix.to_string())
                .unwrap_or_default(),
            other => other.to_string(),
        },
        direction: report.heading.name(),
        kind: report.kind.name(),
        value: report.values[report.quantity() as usize].round(),
        threshold: report.threshold,
        // it may have sources, and the attacked host
        signature: signature
            .filter(|_| addresses == AddressDetail::Full)
            .map(ToString::to_string),
        action: status.decision.action.name(),
        reason: status.decision.reason,
        in_force: status.in_force,
        matched: status.packets,
        link_full: status.link.as_ref().is_some_and(LinkLoad::is_full),
        began: seconds(status.began),
        ended: status.ended.map(seconds),
    }
}

fn seconds(time: SystemTime) -> f64 {
    let since = time.duration_since(UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs_f64().floor())
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::guard::origins::Origins;
    use crate::guard::report::{AttackId, AttackReport};
    use crate::guard::rules::Decision;
    use crate::guard::traffic::Values;
    use crate::types::guard::{AlarmKind, Heading, Quantity};

    fn status(id: u64, target: &str) -> AttackStatus {
        let report = AttackReport {
            id: AttackId(id),
            target: AlarmTarget::Prefix(target.parse().unwrap()),
            heading: Heading::In,
            kind: AlarmKind::Attack(Quantity::Syn),
            threshold: 1_000.0,
            values: Values::default(),
            since_ns: 0,
            now_ns: 0,
            signature: None,
            exceptions: Vec::new(),
            has_more_exceptions: false,
            flows: Vec::new(),
            sources: 0,
            origins: Origins::default(),
            interface: None,
        };
        AttackStatus {
            report,
            decision: Decision::default(),
            began: UNIX_EPOCH,
            alarm: UNIX_EPOCH,
            ended: None,
            in_force: false,
            expires: None,
            packets: 0,
            bytes: 0,
            problem: None,
            link: None,
            pcap: None,
        }
    }

    #[test]
    fn the_latest_are_first_and_the_lines_are_bounded() {
        let mut state = GuardState::default();
        state.ended.extend((0..30).map(|n| status(n, "192.0.2.1")));
        state.active.push(status(30, "192.0.2.1"));
        state.active.push(status(31, "192.0.2.1"));
        let table = AttackTable::new(&state, AddressDetail::Full);
        let ids: Vec<_> = table.rows.iter().map(|row| row.id).collect();
        assert_eq!(ids[..4], [31, 30, 29, 28]);
        assert_eq!((ids.len(), table.total), (ROWS, 32));
    }

    #[test]
    fn targets_have_the_part_of_an_address_that_may_be_shown() {
        let mut state = GuardState::default();
        state.active.push(status(1, "192.0.2.77"));
        for (detail, expected) in [
            (AddressDetail::Full, "192.0.2.77/32"),
            (AddressDetail::Prefix, "192.0.2.0/24"),
            (AddressDetail::Absent, ""),
        ] {
            let table = AttackTable::new(&state, detail);
            assert_eq!(table.rows[0].target, expected);
        }
    }
}
