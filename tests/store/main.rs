// SPDX-License-Identifier: AGPL-3.0-only
//! The history on disk: rows that come back, through restarts, crashes, damage and steps of the clock.

mod clock;
mod conversations;
mod crash;
mod damage;
mod folder;
mod harness;
mod recorder;
mod sums;
