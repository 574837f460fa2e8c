// SPDX-License-Identifier: AGPL-3.0-only
//! BGP Flowspec: rules for packets that arrive as routes (RFC 8955, RFC 8956).
//!
//! [`nlri`] decodes a rule and [`actions`] its extended communities. [`conversion`] makes conditions and an action of
//! the firewall of them, or refuses the rule: a rule that the firewall cannot enforce exactly is never approximated.
//! [`order`] is the precedence of rules, [`text`] the form in which they are shown. Nothing here does I/O.

pub mod actions;
pub mod conversion;
pub mod nlri;
pub mod operators;
mod order;
mod text;

pub use actions::{FlowActions, FlowOutcome};
pub use conversion::FlowRejectReason;
pub use nlri::{ComponentKind, FlowFamily, FlowRule, NlriError};
