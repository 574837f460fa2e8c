// SPDX-License-Identifier: AGPL-3.0-only
//! Which interfaces are watched, and the programs attached to them.

pub mod attacher;
pub mod thread;
mod work_queue;
