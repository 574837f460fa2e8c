// SPDX-License-Identifier: AGPL-3.0-only
//! The IPFIX exporter: by itself against a decoder that is not ours, and the whole agent against the
//! collectors that operators run.

#[path = "../common/mod.rs"]
mod common;

#[allow(dead_code)]
#[path = "../bmp/builders.rs"]
mod builders;

mod decode;
mod faults;
mod fixture;
mod live;
mod paced;
mod peers;
mod properties;
mod rates;
mod reloaded;
mod routed;
