// SPDX-License-Identifier: AGPL-3.0-only
//! Queries of the page's figures: every answer is JSON, whatever part of the addresses it may contain. Queries of the history on
//! disk: a valid one has a period, at least one interface, and limits.

use rfm::history::History;
use rfm::page::query::Query;
use rfm::page::stored::query::StoredQuery;
use rfm::page::view::{AgentState, render};
use rfm::types::address_detail::AddressDetail;
use serde_json::Value;

pub fn run(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    for addresses in [
        AddressDetail::Full,
        AddressDetail::Prefix,
        AddressDetail::Absent,
    ] {
        let query = Query::parse(&text, addresses);
        let agent = AgentState::default();
        let rendered = render(&History::default(), &query, None, addresses, &agent, false);
        serde_json::from_slice::<Value>(&rendered).expect("JSON");
        if let Ok(query) = StoredQuery::parse(&text, 1_793_577_600, addresses) {
            assert!((1..=64).contains(&query.interfaces.len()));
            assert!(query.span.from < query.span.to && query.span.to <= 1_793_577_600);
            assert!(query.filters.len() <= 4 && (1..=1000).contains(&query.rows));
        }
    }
}
