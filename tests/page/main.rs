// SPDX-License-Identifier: AGPL-3.0-only
//! The built-in page in a real browser, and what stands behind it.

#[path = "../common/mod.rs"]
mod common;

mod accessibility;
mod attacks;
mod browser;
mod copy;
mod cost;
mod firewall;
mod hosts;
mod live;
mod looks;
mod made;
mod many_interfaces;
mod memory;
mod paths;
mod periods;
mod privacy;
mod proxy;
mod served;
mod states;
mod stored;
mod story;
mod uplinks;
mod year;
