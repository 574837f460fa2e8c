// SPDX-License-Identifier: AGPL-3.0-only
//! The countries of the sources, and the neighbor ASes that hand over the packets of an attack (pure).
//!
//! A rule cannot match them: they inform the operator, and are no reason for a rule.

use std::sync::Arc;

use super::signature::{Evidence, Search};
use crate::flow::thread::RecordLookup;
use crate::types::flow::FlowRecord;

/// Values of a list; with more, the property is not shared.
const MAX_SHARED: usize = 4;

/// Properties that at least 80 % of the excess share; empty = none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Origins {
    /// ISO 3166 codes, the largest part of the excess first.
    pub countries: Vec<Arc<str>>,
    pub peer_asns: Vec<u32>,
}

/// Returns the interface that most of the excess crosses.
pub fn crossed(evidence: &Evidence<'_>) -> Option<u32> {
    let search = Search::new(evidence);
    let sums = search.excess_by(|record| Some(record.key.ifindex));
    sums.first().map(|(ifindex, _)| *ifindex)
}

/// Looks up the records of an attack, and returns what their sources share.
pub fn origins(evidence: &Evidence<'_>, lookup: &dyn RecordLookup) -> Origins {
    let search = Search::new(evidence);
    let mut names: Vec<Arc<str>> = Vec::new();
    let mut number = |record: &FlowRecord| {
        let country = lookup.source_country(record)?;
        let known = names.iter().position(|name| *name == country);
        Some(known.unwrap_or_else(|| {
            names.push(country);
            names.len() - 1
        }))
    };
    let countries = search.few(MAX_SHARED, &mut number);
    let peer = |record: &FlowRecord| Some(lookup.peer_asn(record)).filter(|asn| *asn > 0);
    Origins {
        peer_asns: search.few(MAX_SHARED, peer),
        countries: countries.into_iter().map(|at| names[at].clone()).collect(),
    }
}
