// SPDX-License-Identifier: AGPL-3.0-only
//! What leaves the agent: metrics and a page over HTTP, flows over IPFIX.

pub mod http;
pub mod ipfix;
pub mod metrics;
pub mod page;
pub mod routes;
pub mod scrape;
pub mod text;
