// SPDX-License-Identifier: AGPL-3.0-only
//! What is dropped at the door.

pub mod blackhole;
