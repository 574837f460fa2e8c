// SPDX-License-Identifier: AGPL-3.0-only
//! The Grafana dashboard and the alerts, by a real Prometheus that scrapes a real agent.

#[allow(dead_code)]
#[path = "../bmp/builders.rs"]
mod builders;
#[path = "../common/mod.rs"]
mod common;

mod grafana;
mod long_range;
mod queries;
mod rules;
mod traffic;
