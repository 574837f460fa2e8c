// SPDX-License-Identifier: AGPL-3.0-only
//! What leaves the agent.

pub mod metrics;
pub mod text;
