// SPDX-License-Identifier: AGPL-3.0-only
//! The ways out: what rfm knows, told to others.

pub mod http;
pub mod routes;
