// SPDX-License-Identifier: AGPL-3.0-only
//! TLS and users of the HTTP port.

#[path = "../page/browser.rs"]
#[allow(dead_code, reason = "the tests of the page use more of it")]
mod browser;
#[path = "../common/mod.rs"]
mod common;

mod certs;
mod floods;
mod harness;
mod live;
mod renewal;
mod toolkit;
mod users;
