// SPDX-License-Identifier: AGPL-3.0-only
//! The flow table and what stands around it.

pub mod key;
pub mod snapshot;
