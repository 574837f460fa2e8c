// SPDX-License-Identifier: AGPL-3.0-only
//! What the integration tests share.

// each test binary uses another part of it
#![allow(dead_code)]

pub mod accounting;
pub mod agent;
pub mod cases;
pub mod database_site;
pub mod flood;
pub mod frames;
pub mod http;
pub mod kernel;
pub mod lab;
pub mod metrics;
pub mod mmdb;
pub mod observer;
pub mod packet;
pub mod prometheus;
pub mod traffic;
