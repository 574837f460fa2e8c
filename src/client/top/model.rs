// SPDX-License-Identifier: AGPL-3.0-only
//! The state of the view, from the replies (pure: the clock is an argument). `apply` changes it by keys.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::conversations::{ConversationKey, Conversations};
use super::filter::TypedFilter;
use super::names::NameCache;
use super::proposal::{Proposal, ProposalState};
use super::rates::Rates;
use super::rows::{self, ListRow, RowStyle};
use super::tab::Tab;
use super::unit::RateUnit;
use super::windows::WINDOWS;
use crate::control::api;
use crate::types::named::Named;
use crate::types::role::Role;

/// The number of groups that the view requests, and the number of flows from which it makes conversations.
const LIMIT: usize = 200;
const FLOWS: usize = 1000;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SortKey {
    #[default]
    Rate,
    Bytes,
    Packets,
}

impl SortKey {
    pub const ALL: [Self; 3] = [Self::Rate, Self::Bytes, Self::Packets];

    pub fn name(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::Bytes => "bytes",
            Self::Packets => "packets",
        }
    }
}

/// A query that each poll sends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PollRequest {
    pub tab: Tab,
    /// Path and query of the list; `None` for the tab of interfaces.
    pub list: Option<String>,
    pub interval: Duration,
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
    /// The request of `list`; an error is the reason why there is no list.
    pub request: PollRequest,
    pub list: Option<Result<ListReply, String>>,
}

/// A request to the agent that a key caused.
#[derive(Clone, Debug)]
pub enum AgentRequest {
    CheckFirewall,
    AddRule(api::FirewallAdd),
    /// Requests the flows of a network, to propose a rule.
    FlowsOf {
        asn: u32,
    },
}

/// A line that is typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prompt {
    Filter(String),
    Interval(String),
}

/// A box over the view.
#[derive(Clone, Debug, PartialEq)]
pub enum Overlay {
    Help,
    Problems,
    Rule(Proposal),
    /// A rule for a network was requested, whose prefixes are not known yet.
    Waiting {
        asn: u32,
    },
}

/// A state to which Esc returns.
#[derive(Clone, Debug)]
pub(super) struct BackState {
    pub tab: Tab,
    pub filter: String,
    pub page: Option<ConversationKey>,
    pub picked: Option<String>,
    pub cursor: usize,
}

pub struct Model {
    pub status: Option<api::Status>,
    pub rates: HashMap<u32, Rates>,
    pub list: Option<ListReply>,
    pub conversations: Conversations,
    pub names: NameCache,
    pub tab: Tab,
    /// The fields of the tab `Fields`.
    pub by: Vec<String>,
    pub limit: usize,
    pub sort: SortKey,
    pub reversed: bool,
    pub unit: RateUnit,
    pub interval: Duration,
    /// "ingress" or "egress"; `None` = both.
    pub direction: Option<&'static str>,
    pub filter: String,
    pub prompt: Option<Prompt>,
    pub overlay: Option<Overlay>,
    pub paused: bool,
    pub frozen: bool,
    /// Whether the terminal reports the mouse.
    pub mouse: bool,
    /// The selected row, and its key once the user has moved the cursor.
    pub cursor: usize,
    pub(super) picked: Option<String>,
    pub scroll: usize,
    /// The conversation that is open.
    pub page: Option<ConversationKey>,
    pub(super) back: Vec<BackState>,
    /// The result of an action.
    pub notice: Option<String>,
    /// An error to show.
    pub problem: Option<String>,
    pub last_reply: Option<Instant>,
    pub quit: bool,
    pub(super) order: Vec<String>,
    pub(super) requests: Vec<AgentRequest>,
    /// The query whose flows `conversations` has.
    collected: Option<String>,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            status: None,
            rates: HashMap::new(),
            list: None,
            conversations: Conversations::default(),
            names: NameCache::default(),
            tab: Tab::default(),
            by: Vec::new(),
            limit: LIMIT,
            sort: SortKey::default(),
            reversed: false,
            unit: RateUnit::default(),
            interval: Duration::from_secs(1),
            direction: None,
            filter: String::new(),
            prompt: None,
            overlay: None,
            paused: false,
            frozen: false,
            mouse: true,
            cursor: 0,
            picked: None,
            scroll: 0,
            page: None,
            back: Vec::new(),
            notice: None,
            problem: None,
            last_reply: None,
            quit: false,
            order: Vec::new(),
            requests: Vec::new(),
            collected: None,
        }
    }
}

impl Model {
    pub fn request(&self) -> PollRequest {
        let limit = self.limit;
        let list = match self.tab {
            Tab::Interfaces => None,
            Tab::Conversations => Some(format!("/v1/flows?limit={FLOWS}")),
            // a forwarded packet is observed twice, so the directions are never added up
            tab => {
                let fields = tab.field().map(str::to_owned);
                let fields = fields.unwrap_or_else(|| self.by.join(","));
                let direction = if self.adds_directions() {
                    ""
                } else {
                    "direction,"
                };
                Some(format!("/v1/top?limit={limit}&by={direction}{fields}"))
            }
        };
        let rest = self.typed_filter().query(self.direction);
        PollRequest {
            tab: self.tab,
            list: list.map(|list| format!("{list}&sort={}{rest}", self.sort.name())),
            interval: self.interval,
        }
    }

    /// Returns whether the sums of the tab contain both directions: an answer has at most four fields.
    pub fn adds_directions(&self) -> bool {
        const MAX_FIELDS: usize = 4;
        let has_direction = self.by.iter().any(|field| field == "direction");
        self.tab == Tab::Fields && (self.by.len() >= MAX_FIELDS || has_direction)
    }

    /// Returns whether a forwarded packet is counted twice in the sums of the tab.
    pub fn counts_twice(&self) -> bool {
        let has_direction = self.by.iter().any(|field| field == "direction");
        let filtered = self
            .typed_filter()
            .pairs
            .iter()
            .any(|(n, _)| n == "direction");
        self.adds_directions() && !has_direction && self.direction.is_none() && !filtered
    }

    /// Returns the filter in use: the typed one while it is edited.
    pub fn typed_filter(&self) -> TypedFilter {
        match &self.prompt {
            Some(Prompt::Filter(text)) => TypedFilter::parse(text, &self.interfaces(), true),
            _ => TypedFilter::parse(&self.filter, &self.interfaces(), false),
        }
    }

    /// The names of the monitored interfaces.
    pub fn interfaces(&self) -> Vec<&str> {
        let interfaces = self.status.iter().flat_map(|s| &s.interfaces);
        interfaces.map(|interface| &*interface.name).collect()
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
            _ if sample.request.tab != self.tab => {}
            Some(Ok(ListReply::Flows(flows))) => {
                self.collect(&flows, sample.request.list, sample.at);
                self.list = Some(ListReply::Flows(flows));
            }
            Some(Ok(list)) => self.list = Some(list),
            Some(Err(problem)) => {
                self.list = None;
                self.conversations.clear();
                self.collected = None;
                self.problem = Some(problem);
            }
            None => self.list = None,
        }
        self.keep_cursor();
    }

    fn collect(&mut self, flows: &api::FlowsReply, query: Option<String>, at: Instant) {
        // only the order differs between sort keys
        let query = query.map(|query| {
            query
                .replace("&sort=bytes", "")
                .replace("&sort=packets", "")
        });
        let query = query.map(|query| query.replace("&sort=rate", ""));
        if self.collected != query {
            self.conversations.clear();
            self.collected = query;
        }
        let status = self.status.as_ref();
        let stacked: Vec<&str> = status
            .iter()
            .flat_map(|status| &status.interfaces)
            .filter(|interface| interface.stacked_on.is_some())
            .map(|interface| &*interface.name)
            .collect();
        let named = TypedFilter::parse(&self.filter, &self.interfaces(), false);
        let by_name = named.pairs.iter().any(|(name, _)| name == "interface");
        let left_out = |name: &str| !by_name && stacked.contains(&name);
        self.conversations.update(flows, at, left_out);
    }

    /// Records that the poll failed.
    pub fn failed(&mut self, problem: String) {
        self.problem = Some(problem);
    }

    /// Records the answer of the agent to a request of [`Self::take_requests`].
    pub fn answered(&mut self, request: &AgentRequest, answer: Result<Vec<u8>, String>) {
        if let AgentRequest::FlowsOf { asn } = request {
            return self.propose_for_network(*asn, answer);
        }
        let Some(Overlay::Rule(proposal)) = &mut self.overlay else {
            return;
        };
        match (request, answer) {
            (_, Err(reason)) => proposal.state = ProposalState::Refused(reason),
            (AgentRequest::CheckFirewall, Ok(_)) => proposal.state = ProposalState::Ready,
            (AgentRequest::AddRule(_), Ok(reply)) => {
                let edited = serde_json::from_slice::<api::FirewallEdited>(&reply);
                let id = edited.ok().and_then(|edited| edited.added.first().copied());
                let rule = id.map_or_else(|| "the rule".to_owned(), |id| format!("rule {id}"));
                self.notice = Some(format!("{rule} is in force: {}", proposal.command()));
                self.overlay = None;
            }
            (AgentRequest::FlowsOf { .. }, Ok(_)) => {}
        }
    }

    /// Returns the requests to the agent that keys have caused.
    pub fn take_requests(&mut self) -> Vec<AgentRequest> {
        std::mem::take(&mut self.requests)
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

    /// Returns the rows of the current tab that match the typed words, in their order.
    pub fn rows(&self) -> Vec<ListRow> {
        let mut rows = self.unordered();
        let filter = self.typed_filter();
        if self.page.is_none() {
            rows.retain(|row| filter.admits(&row.search));
        }
        if self.frozen {
            let place = |row: &ListRow| self.order.iter().position(|key| *key == row.key);
            // new rows are last
            rows.sort_by_key(|row| place(row).unwrap_or(usize::MAX));
        }
        rows
    }

    fn unordered(&self) -> Vec<ListRow> {
        let style = self.style();
        let mut rows = match (&self.list, self.tab) {
            _ if self.page.is_some() => return self.page_rows(),
            (_, Tab::Interfaces) => rows::interfaces(self.status.as_ref(), &self.rates, style),
            (_, Tab::Conversations) => self.conversation_rows(),
            (Some(ListReply::Top(top)), tab) => rows::groups(top, tab, style),
            _ => Vec::new(),
        };
        if self.reversed {
            rows.reverse();
        }
        rows
    }

    fn style(&self) -> RowStyle<'_> {
        RowStyle {
            unit: self.unit,
            names: &self.names,
        }
    }

    fn conversation_rows(&self) -> Vec<ListRow> {
        let now = self.conversations.now();
        let all = self.conversations.table.iter();
        let mut ranked: Vec<_> = all
            .map(|(key, one)| {
                let (bytes, packets) = one.rate(WINDOWS[1], now);
                let figure = match self.sort {
                    SortKey::Rate => bytes,
                    SortKey::Bytes => one.bytes(),
                    SortKey::Packets => packets,
                };
                (figure, key, one)
            })
            .collect();
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
        let ranked = ranked.into_iter();
        let row = |(_, key, one)| rows::conversation(key, one, now, self.style());
        ranked.map(row).collect()
    }

    fn page_rows(&self) -> Vec<ListRow> {
        let page = self.page.as_ref();
        let one = page.and_then(|key| Some((key, self.conversations.table.get(key)?)));
        one.map_or_else(Vec::new, |(key, one)| rows::page(key, one, self.style()))
    }

    /// Keeps the current order of the rows, until the second call.
    pub(super) fn freeze(&mut self) {
        if !self.frozen {
            self.order = self.unordered().into_iter().map(|row| row.key).collect();
        }
        self.frozen = !self.frozen;
    }

    /// Keeps the cursor on its row, which another order may have moved.
    pub(super) fn keep_cursor(&mut self) {
        if self.cursor == 0 && self.picked.is_none() {
            return;
        }
        let rows = self.rows();
        let picked = self.picked.as_ref();
        let place = picked.and_then(|picked| rows.iter().position(|row| row.key == *picked));
        self.cursor = place
            .unwrap_or(self.cursor)
            .min(rows.len().saturating_sub(1));
    }

    /// Scrolls so that the cursor is among the `room` of `rows` rows on the screen.
    pub fn scroll_to_cursor(&mut self, rows: usize, room: usize) {
        let last = rows.saturating_sub(room.max(1));
        let lowest = (self.cursor + 1).saturating_sub(room.max(1));
        self.scroll = self
            .scroll
            .clamp(lowest, self.cursor.max(lowest))
            .min(last.max(lowest));
    }

    /// Returns the addresses in the rows on the screen that have no name yet, and records that they are requested.
    pub fn unnamed(&self, room: usize) -> Vec<String> {
        if !self.names.on {
            return Vec::new();
        }
        let rows = self.rows().into_iter().skip(self.scroll).take(room);
        let addresses = rows.flat_map(|row| row.addresses);
        addresses
            .filter(|address| !self.names.is_known(address))
            .collect()
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
}
