// SPDX-License-Identifier: AGPL-3.0-only
//! The built-in page in a real browser, and what stands behind it.

#[path = "../common/mod.rs"]
mod common;

mod accessibility;
mod browser;
mod firewall;
mod hosts;
mod live;
mod looks;
mod made;
mod memory;
mod paths;
mod privacy;
mod proxy;
mod served;
mod story;
