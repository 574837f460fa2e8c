// SPDX-License-Identifier: AGPL-3.0-only
//! BMP and the RIB behind it: captures against a naive model, lookups, stale routes, sessions.

mod agent;
mod attributes;
mod blackhole;
mod builders;
mod captures;
mod data;
mod decision;
mod decoding;
mod explain;
mod joined;
mod lookups;
mod many;
mod model;
mod peers;
mod properties;
mod routers;
mod senders;
mod sessions;
mod stale;
mod vendors;
