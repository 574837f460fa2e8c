// SPDX-License-Identifier: AGPL-3.0-only
//! The rules of the guard in the firewall.

use crate::firewall::handle::Handle;
use crate::types::rule::Rule;

/// The rules in the firewall.
pub trait RuleBackend: Send {
    /// Replaces all rules of the guard; returns the packets and bytes that each has matched.
    fn set(&self, rules: Vec<Rule>) -> Result<Vec<(u64, u64)>, String>;
}

impl RuleBackend for Handle {
    fn set(&self, rules: Vec<Rule>) -> Result<Vec<(u64, u64)>, String> {
        let counts = self.set_guard_rules(rules).map_err(|error| error.why)?;
        Ok(counts
            .iter()
            .map(|counts| (counts.packets, counts.bytes))
            .collect())
    }
}
