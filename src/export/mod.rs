// SPDX-License-Identifier: AGPL-3.0-only
//! What leaves the agent: metrics over HTTP.

pub mod http;
pub mod metrics;
pub mod routes;
pub mod scrape;
pub mod text;
