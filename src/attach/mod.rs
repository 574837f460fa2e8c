// SPDX-License-Identifier: AGPL-3.0-only
//! Selects the interfaces to monitor, and attaches the programs to them.

pub mod attacher;
pub mod thread;
mod work_queue;
