// SPDX-License-Identifier: AGPL-3.0-only
//! The history on disk: rows that come back, through restarts, crashes, damage and steps of the clock.

mod harness;
mod sums;
