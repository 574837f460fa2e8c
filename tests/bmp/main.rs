// SPDX-License-Identifier: AGPL-3.0-only
//! BMP and the RIB behind it: captures against a naive model, lookups, stale routes, sessions.

mod agent;
mod attributes;
mod blackhole;
mod captures;
mod craft;
mod data;
mod explain;
mod joined;
mod lookups;
mod model;
mod properties;
mod senders;
mod sessions;
mod stale;
