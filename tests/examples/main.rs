// SPDX-License-Identifier: AGPL-3.0-only
//! docs/examples at work: flows of the agent through the collectors and into the stores that they configure, and back
//! to the packet; rules and scrapes that Prometheus takes. What is replaced in a file is said where it is.

#[path = "../common/mod.rs"]
mod common;

mod clickhouse;
mod containers;
mod flows;
mod nfacctd;
mod postgresql;
mod prometheus;
