// SPDX-License-Identifier: AGPL-3.0-only
//! What several test programs need.

pub mod http;
