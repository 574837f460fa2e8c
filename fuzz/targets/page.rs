// SPDX-License-Identifier: AGPL-3.0-only
//! Queries of the page's figures: every answer is JSON.

use rfm::history::History;
use rfm::page::view::{AgentState, Query, render};
use serde_json::Value;

pub fn run(input: &[u8]) {
    let query = Query::parse(&String::from_utf8_lossy(input));
    let rendered = render(&History::default(), query, &AgentState::default());
    serde_json::from_slice::<Value>(&rendered).expect("JSON");
}
