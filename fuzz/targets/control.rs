// SPDX-License-Identifier: AGPL-3.0-only
//! Requests on the control socket: query strings, and rules as JSON.

use rfm::control::{api, params};
use rfm::types::rule::PatternCache;

pub fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let (query, body) = text.split_once('\n').unwrap_or((text, ""));
    let _ = params::flows(Some(query));
    let _ = params::top(Some(query));
    let _ = params::protocol(query);
    if let Ok(rule) = serde_json::from_str::<api::FirewallRule>(body) {
        let mut patterns = PatternCache::default();
        if let Ok(read) = rule.args().rule(&mut patterns) {
            let again = api::FirewallRule::from(&read).args().rule(&mut patterns);
            assert_eq!(again.as_ref(), Ok(&read), "a rule is read back");
        }
    }
}
