// SPDX-License-Identifier: AGPL-3.0-only
//! The content of the files as bytes (pure).
//!
//! - [`block`], `bytes`, [`level`]: blocks with checksums, their numbers, and rounded numbers;
//! - [`frame`], [`series`]: the curves of a period, and their bytes;
//! - [`conversations`], `events`: their bytes.

pub mod block;
pub(super) mod bytes;
pub mod conversations;
pub(super) mod events;
pub mod frame;
pub mod level;
pub mod series;
