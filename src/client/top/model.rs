// SPDX-License-Identifier: AGPL-3.0-only
//! The state of the view, from the replies and the keys (pure: the clock is an argument).

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::filter;
use super::rates::Rates;
use super::rows::{self, ListRow};
use super::tab::Tab;
use crate::control::api;
use crate::types::named::Named;
use crate::types::role::Role;

/// The number of rows that the view requests for a list.
const LIMIT: usize = 200;
/// The length of the longest filter.
const MAX_FILTER: usize = 200;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SortKey {
    #[default]
    Rate,
    Bytes,
    Packets,
}

impl SortKey {
    pub fn name(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::Bytes => "bytes",
            Self::Packets => "packets",
        }
    }

    fn next(self) -> Self {
        match self {
            Self::Rate => Self::Bytes,
            Self::Bytes => Self::Packets,
            Self::Packets => Self::Rate,
        }
    }
}

/// A query that each poll sends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PollRequest {
    pub tab: Tab,
    /// Path and query of the list; `None` for the tab of interfaces.
    pub list: Option<String>,
}

/// A list that the agent sent.
pub enum ListReply {
    Flows(api::FlowsReply),
    Top(api::TopReply),
}

pub struct PollReply {
    /// The time at which the status arrived: rates refer to the time between two arrivals, even if the view shows
    /// them late.
    pub at: Instant,
    pub status: api::Status,
    /// The tab to which `list` belongs; an error is the reason why there is no list.
    pub tab: Tab,
    pub list: Option<Result<ListReply, String>>,
}

/// A command of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyAction {
    Quit,
    NextTab,
    PreviousTab,
    Tab(usize),
    Sort,
    Direction,
    Pause,
    Freeze,
    Help,
    EditFilter,
    Up(usize),
    Down(usize),
    Home,
    /// While the filter is edited.
    Type(char),
    Erase,
    EraseAll,
    Accept,
    Cancel,
}

#[derive(Default)]
pub struct Model {
    pub status: Option<api::Status>,
    pub rates: HashMap<u32, Rates>,
    pub list: Option<ListReply>,
    pub tab: Tab,
    pub sort: SortKey,
    /// "ingress" or "egress"; `None` = both, in separate rows.
    pub direction: Option<&'static str>,
    pub filter: String,
    /// The filter while it is edited.
    pub editing: Option<String>,
    pub paused: bool,
    pub frozen: bool,
    pub help: bool,
    pub scroll: usize,
    /// An error to show.
    pub problem: Option<String>,
    pub last_reply: Option<Instant>,
    pub quit: bool,
    order: Vec<String>,
}

impl Model {
    pub fn request(&self) -> PollRequest {
        let list = match self.tab {
            Tab::Interfaces => None,
            Tab::Flows => Some(format!("/v1/flows?limit={LIMIT}")),
            tab => {
                // a forwarded packet is observed twice, so the directions are never added up
                let fields = ["direction", tab.field().unwrap_or_default()].join(",");
                Some(format!("/v1/top?limit={LIMIT}&by={fields}"))
            }
        };
        let rest = filter::query(&self.filter, self.direction);
        PollRequest {
            tab: self.tab,
            list: list.map(|list| format!("{list}&sort={}{rest}", self.sort.name())),
        }
    }

    /// Updates the state with a reply.
    pub fn update(&mut self, sample: PollReply, now: Instant) {
        self.last_reply = Some(now);
        if self.paused {
            return;
        }
        self.problem = None;
        self.update_rates(&sample.status, sample.at);
        self.status = Some(sample.status);
        match sample.list {
            // the reply to a request from before the tab changed
            _ if sample.tab != self.tab => {}
            Some(Ok(list)) => self.list = Some(list),
            Some(Err(problem)) => {
                self.list = None;
                self.problem = Some(problem);
            }
            None => self.list = None,
        }
        self.keep_order();
        self.keep_scroll();
    }

    /// Records that the poll failed.
    pub fn failed(&mut self, problem: String) {
        self.problem = Some(problem);
    }

    /// Returns the time since the last reply of the agent.
    pub fn silence(&self, now: Instant) -> Duration {
        self.last_reply.map_or(Duration::ZERO, |last_reply| {
            now.saturating_duration_since(last_reply)
        })
    }

    fn update_rates(&mut self, status: &api::Status, now: Instant) {
        let there = |ifindex: &u32| status.interfaces.iter().any(|i| i.ifindex == *ifindex);
        self.rates.retain(|ifindex, _| there(ifindex));
        for interface in &status.interfaces {
            let rates = self.rates.entry(interface.ifindex).or_default();
            rates.note(interface, now);
        }
    }

    /// Returns the rows of the current tab, in their order.
    pub fn rows(&self) -> Vec<ListRow> {
        let mut rows = self.unordered();
        if self.frozen {
            let place = |row: &ListRow| self.order.iter().position(|key| *key == row.key);
            // new rows are last
            rows.sort_by_key(|row| place(row).unwrap_or(usize::MAX));
        }
        rows
    }

    fn unordered(&self) -> Vec<ListRow> {
        match (&self.list, self.tab) {
            (_, Tab::Interfaces) => rows::interfaces(self.status.as_ref(), &self.rates),
            (Some(ListReply::Flows(list)), Tab::Flows) => rows::flows(list),
            (Some(ListReply::Top(top)), tab) => rows::groups(top, tab),
            _ => Vec::new(),
        }
    }

    fn keep_order(&mut self) {
        if !self.frozen {
            self.order = self.unordered().into_iter().map(|row| row.key).collect();
        }
    }

    fn keep_scroll(&mut self) {
        self.scroll = self.scroll.min(self.unordered().len().saturating_sub(1));
    }

    /// Returns the bytes a second over all interfaces, received and sent. An interface that is stacked on another
    /// monitored interface is not added: both count the same packets. Nor is an internal one.
    pub fn totals(&self) -> (f64, f64) {
        let interfaces = self.status.iter().flat_map(|s| &s.interfaces);
        let base = interfaces.filter(|i| i.stacked_on.is_none() && i.role != Role::Internal.name());
        base.fold((0.0, 0.0), |(rx, tx), i| {
            let (more_rx, more_tx) = self.rates_of(i.ifindex);
            (rx + more_rx, tx + more_tx)
        })
    }

    /// Returns the current rates of an interface in bytes a second.
    pub fn rates_of(&self, ifindex: u32) -> (f64, f64) {
        self.rates.get(&ifindex).map_or((0.0, 0.0), Rates::now)
    }

    /// Applies a key; returns true if the request has changed.
    pub fn apply(&mut self, action: KeyAction) -> bool {
        let before = self.request();
        match action {
            KeyAction::Quit => self.quit = true,
            KeyAction::NextTab => self.show(self.tab.step(1)),
            KeyAction::PreviousTab => self.show(self.tab.step(Tab::ALL.len() - 1)),
            KeyAction::Tab(n) => {
                if let Some(tab) = Tab::ALL.get(n) {
                    self.show(*tab);
                }
            }
            KeyAction::Sort => self.sort = self.sort.next(),
            KeyAction::Direction => {
                self.direction = match self.direction {
                    None => Some("ingress"),
                    Some("ingress") => Some("egress"),
                    Some(_) => None,
                }
            }
            KeyAction::Pause => self.paused = !self.paused,
            KeyAction::Freeze => {
                self.frozen = !self.frozen;
                self.keep_order();
            }
            KeyAction::Help => self.help = !self.help,
            KeyAction::Up(by) => self.scroll = self.scroll.saturating_sub(by),
            KeyAction::Down(by) => {
                self.scroll = self.scroll.saturating_add(by);
                self.keep_scroll();
            }
            KeyAction::Home => self.scroll = 0,
            KeyAction::EditFilter => self.editing = Some(self.filter.clone()),
            KeyAction::Cancel => {
                self.editing = None;
                self.help = false;
            }
            KeyAction::Type(_) | KeyAction::Erase | KeyAction::EraseAll | KeyAction::Accept => {
                self.edit(action);
            }
        }
        self.request() != before
    }

    fn edit(&mut self, action: KeyAction) {
        let Some(text) = &mut self.editing else {
            return;
        };
        match action {
            KeyAction::Type(c) if !c.is_control() && text.len() < MAX_FILTER => text.push(c),
            KeyAction::Erase => drop(text.pop()),
            KeyAction::EraseAll => text.clear(),
            KeyAction::Accept => {
                self.filter = text.trim().to_owned();
                self.editing = None;
                self.scroll = 0;
            }
            _ => {}
        }
    }

    fn show(&mut self, tab: Tab) {
        self.tab = tab;
        self.list = None;
        self.scroll = 0;
        self.order.clear();
        self.frozen = false;
        self.problem = None;
    }
}
