// SPDX-License-Identifier: AGPL-3.0-only
//! The reports of the detector about an attack.

use std::net::IpAddr;
use std::sync::Arc;

use super::origins::Origins;
use super::signature::Signature;
use super::traffic::Values;
use crate::types::flow::FlowRecord;
use crate::types::guard::{AlarmKind, AlarmTarget, Heading, Quantity};

/// The number of an attack: never assigned twice while the agent runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AttackId(pub u64);

/// A flow that the rule of a signature would hit although it is answered: its packets pass.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Exception {
    pub src: IpAddr,
    pub dst: IpAddr,
    pub protocol: u8,
    /// 0 = the protocol has no ports.
    pub sport: u16,
}

#[derive(Clone, Debug)]
pub struct AttackReport {
    pub id: AttackId,
    pub target: AlarmTarget,
    pub heading: Heading,
    pub kind: AlarmKind,
    pub threshold: f32,
    /// Per second, the largest of any half second.
    pub values: Values,
    /// The boot clock when the threshold was first exceeded, and now.
    pub since_ns: u64,
    pub now_ns: u64,
    pub signature: Option<Signature>,
    pub exceptions: Vec<Exception>,
    /// Whether more flows than can be excepted match the signature.
    pub has_more_exceptions: bool,
    /// The largest flows of the sample.
    pub flows: Vec<FlowRecord>,
    /// Distinct sources in the sample.
    pub sources: usize,
    pub origins: Origins,
    /// The interface that most of it crosses; `None` for plain thresholds of others.
    pub interface: Option<Arc<str>>,
}

impl AttackReport {
    /// Returns the quantity that is compared with the threshold.
    pub fn quantity(&self) -> Quantity {
        self.kind.quantity()
    }
}

/// A message of the detector.
#[derive(Clone, Debug)]
pub enum DetectorEvent {
    Alarm(Box<AttackReport>),
    /// The attack continues; its signature may have changed.
    Update(Box<AttackReport>),
    /// The traffic that reaches the interfaces has been below the threshold for a while.
    Calm(AttackId),
}
