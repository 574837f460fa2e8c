// SPDX-License-Identifier: AGPL-3.0-only
//! The kernel side: programs, maps, and what they say.

pub mod counters;
