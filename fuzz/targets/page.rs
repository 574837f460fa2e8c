// SPDX-License-Identifier: AGPL-3.0-only
//! Queries of the page's figures: every answer is JSON, whatever part of the addresses it may contain.

use rfm::history::History;
use rfm::page::query::Query;
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
        let rendered = render(&History::default(), &query, None, addresses, &agent);
        serde_json::from_slice::<Value>(&rendered).expect("JSON");
    }
}
