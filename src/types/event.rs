// SPDX-License-Identifier: AGPL-3.0-only
//! Defines what happened on the router, for the history.

/// The kind of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    Start,
    Stop,
    Reload,
    InterfaceUp,
    InterfaceGone,
    BmpLost,
    Blackhole,
    Attack,
    AttackEnd,
    RuleAdded,
    RuleExpired,
    LossBegin,
    LossEnd,
    /// A folder or a file of the history was set aside.
    HistoryDamaged,
}

impl EventKind {
    /// Returns the word for it in files and replies.
    pub fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Reload => "reload",
            Self::InterfaceUp => "interface_up",
            Self::InterfaceGone => "interface_gone",
            Self::BmpLost => "bmp_lost",
            Self::Blackhole => "blackhole",
            Self::Attack => "attack",
            Self::AttackEnd => "attack_end",
            Self::RuleAdded => "rule_added",
            Self::RuleExpired => "rule_expired",
            Self::LossBegin => "loss_begin",
            Self::LossEnd => "loss_end",
            Self::HistoryDamaged => "history_damaged",
        }
    }
}
