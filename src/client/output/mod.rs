// SPDX-License-Identifier: AGPL-3.0-only
//! Replies as readable text.

mod firewall;
mod flows;
mod guard;
mod history;
mod paths;
mod rib;
mod status;

pub use firewall::{firewall, firewall_rules};
pub use flows::{direction, end, flows, share, top, value};
pub use guard::{attack, event, guard};
pub use history::{bill, bill_csv, history, history_csv};
pub use paths::{paths, what_if};
pub use rib::{lookup, rib};
pub use status::status;

use std::collections::BTreeMap;

/// Returns an AS with its name, if it has one: "AS64500 Example Net".
fn as_name(asn: u32, names: &BTreeMap<u32, String>) -> String {
    match names.get(&asn) {
        Some(name) => format!("AS{asn} {name}"),
        None => format!("AS{asn}"),
    }
}
