// SPDX-License-Identifier: AGPL-3.0-only
//! `rfm_guard_*`: attacks. The families exist only if the guard is enabled.

use std::collections::BTreeMap;

use prometheus::proto::MetricFamily;

use super::declarations;
use super::family::{family, single};
use crate::guard::shared::GuardState;
use crate::types::guard::{AlarmKind, GuardAction};
use crate::types::named::Named;

/// The values of the guard at one moment.
#[derive(Clone, Debug, Default)]
pub struct GuardCounts {
    pub attacks: BTreeMap<(AlarmKind, GuardAction), u64>,
    pub active: u64,
    pub hosts: u64,
    pub evictions: u64,
    pub lost_reports: u64,
    /// A text for each attack in progress.
    pub problems: Vec<String>,
}

impl From<&GuardState> for GuardCounts {
    fn from(state: &GuardState) -> Self {
        Self {
            attacks: state.attacks.clone(),
            active: state.active.len() as u64,
            hosts: state.hosts,
            evictions: state.evictions,
            lost_reports: state.lost_reports,
            problems: state
                .active
                .iter()
                .map(crate::guard::thread::describe)
                .collect(),
        }
    }
}

pub(super) fn families(guard: &GuardCounts) -> [MetricFamily; 5] {
    let kinds = AlarmKind::ALL.iter();
    let all = kinds.flat_map(|kind| GuardAction::ALL.iter().map(move |action| (*kind, *action)));
    // a plain threshold adds no rule
    let used = all.filter(|(kind, action)| kind.is_attack() || *action == GuardAction::Alert);
    let attacks = used.map(|(kind, action)| {
        let count = guard.attacks.get(&(kind, action)).copied();
        ([kind.name(), action.name()], count.unwrap_or(0) as f64)
    });
    [
        family(&declarations::GUARD_ATTACKS, attacks),
        single(&declarations::GUARD_ACTIVE, guard.active as f64),
        single(&declarations::GUARD_HOSTS, guard.hosts as f64),
        single(&declarations::GUARD_EVICTIONS, guard.evictions as f64),
        single(&declarations::GUARD_LOST_REPORTS, guard.lost_reports as f64),
    ]
}
