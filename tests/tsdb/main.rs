// SPDX-License-Identifier: AGPL-3.0-only
//! Databases and collectors that scrape a real agent: they store the truth. They are newer than those of Debian 12, so
//! `make test-prometheus` installs them and runs this program.

#[path = "../common/mod.rs"]
mod common;

mod created;
mod engine;
mod first_values;
mod headers;
mod traffic;
mod truth;
