// SPDX-License-Identifier: AGPL-3.0-only
//! Changes the state of the view by keys and the mouse (pure).

use std::time::Duration;

use super::filter;
use super::model::{AgentRequest, BackState, Model, Overlay, Prompt, SortKey};
use super::proposal::{Proposal, ProposalState};
use super::rows::RowTarget;
use super::tab::Tab;
use super::windows::WINDOWS;
use crate::sys::os_error;
use crate::types::{asn, duration};

/// The length of the longest typed line.
const MAX_LINE: usize = 200;
/// The maximum number of views to which Esc returns; the oldest is forgotten.
const MAX_BACK: usize = 32;
/// The notice for a line without a rule.
const NO_RULE: &str =
    "no rule fits this line: select a conversation, host, network, port or protocol";
/// The valid intervals between two queries.
pub const MIN_INTERVAL: Duration = Duration::from_millis(200);
pub const MAX_INTERVAL: Duration = Duration::from_secs(60);

/// A command of a key or the mouse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyAction {
    Quit,
    NextTab,
    PreviousTab,
    Tab(Tab),
    Sort,
    Reverse,
    Direction,
    Unit,
    Names,
    Mouse,
    Pause,
    Freeze,
    Help,
    Problems,
    EditFilter,
    EditInterval,
    Up(usize),
    Down(usize),
    Home,
    End,
    /// Selects a row; a selected one is opened.
    Click(usize),
    Open,
    Back,
    Propose,
    /// While a rule is proposed.
    NextRule,
    NextTime,
    Confirm,
    /// While a line is edited.
    Type(char),
    Erase,
    EraseAll,
    Accept,
    Cancel,
}

impl Model {
    /// Applies a command; returns true if the request has changed.
    pub fn apply(&mut self, action: KeyAction) -> bool {
        let before = self.request();
        self.notice = None;
        match action {
            KeyAction::Quit => self.quit = true,
            KeyAction::NextTab => self.step(1),
            KeyAction::PreviousTab => self.step(-1),
            KeyAction::Tab(tab) => self.show(tab),
            KeyAction::Sort => self.sort = self.next_sort(),
            KeyAction::Reverse => self.reversed = !self.reversed,
            KeyAction::Unit => self.unit = self.unit.other(),
            KeyAction::Names => self.names.on = !self.names.on,
            KeyAction::Mouse => self.mouse = !self.mouse,
            KeyAction::Direction => self.next_direction(),
            KeyAction::Pause => self.paused = !self.paused,
            KeyAction::Freeze => self.freeze(),
            KeyAction::Help => self.toggle(Overlay::Help),
            KeyAction::Problems => self.toggle(Overlay::Problems),
            KeyAction::Up(by) => self.select(self.cursor.saturating_sub(by)),
            KeyAction::Down(by) => self.select(self.cursor.saturating_add(by)),
            KeyAction::Home => {
                self.cursor = 0;
                self.picked = None;
            }
            KeyAction::End => self.select(usize::MAX),
            KeyAction::Click(row) if row == self.cursor && self.picked.is_some() => self.open(),
            KeyAction::Click(row) => self.select(row),
            KeyAction::Open => self.open(),
            KeyAction::Back => self.go_back(),
            KeyAction::Propose => self.propose(),
            KeyAction::NextRule => self.change_proposal(Proposal::next_rule),
            KeyAction::NextTime => self.change_proposal(Proposal::next_time),
            KeyAction::Confirm => self.confirm(),
            KeyAction::EditFilter => self.prompt = Some(Prompt::Filter(self.filter.clone())),
            KeyAction::EditInterval => self.prompt = Some(Prompt::Interval(String::new())),
            KeyAction::Cancel => {
                self.prompt = None;
                self.overlay = None;
            }
            KeyAction::Accept => self.accept(),
            KeyAction::Type(_) | KeyAction::Erase | KeyAction::EraseAll => self.edit(action),
        }
        if !matches!(action, KeyAction::Up(_) | KeyAction::Down(_)) {
            self.keep_cursor();
        }
        self.request() != before
    }

    fn next_sort(&self) -> SortKey {
        let all = SortKey::ALL;
        let at = all.iter().position(|sort| *sort == self.sort);
        all[at.map_or(0, |at| (at + 1) % all.len())]
    }

    fn next_direction(&mut self) {
        self.direction = match self.direction {
            None => Some("ingress"),
            Some("ingress") => Some("egress"),
            Some(_) => None,
        };
    }

    fn toggle(&mut self, overlay: Overlay) {
        self.overlay = match self.overlay.take() {
            Some(shown) if shown == overlay => None,
            _ => Some(overlay),
        };
    }

    /// Moves the cursor to a row, and keeps it there when the order changes.
    fn select(&mut self, row: usize) {
        let rows = self.rows();
        self.cursor = row.min(rows.len().saturating_sub(1));
        self.picked = rows.get(self.cursor).map(|row| row.key.clone());
    }

    fn edit(&mut self, action: KeyAction) {
        let Some(Prompt::Filter(text) | Prompt::Interval(text)) = &mut self.prompt else {
            return;
        };
        match action {
            KeyAction::Type(c) if !c.is_control() && text.len() < MAX_LINE => text.push(c),
            KeyAction::Erase => drop(text.pop()),
            KeyAction::EraseAll => text.clear(),
            _ => {}
        }
    }

    fn accept(&mut self) {
        match self.prompt.take() {
            Some(Prompt::Filter(text)) => {
                self.filter = text.trim().to_owned();
                self.cursor = 0;
                self.picked = None;
            }
            Some(Prompt::Interval(text)) => match interval(&text) {
                Some(interval) => self.interval = interval,
                None => {
                    let expected = duration::expected(&(MIN_INTERVAL..=MAX_INTERVAL), false);
                    self.notice = Some(format!("interval: expected {expected}"));
                }
            },
            None => {}
        }
    }

    /// The tabs that can be shown, in their order.
    pub fn tabs(&self) -> Vec<Tab> {
        let fields = (!self.by.is_empty()).then_some(Tab::Fields);
        fields.into_iter().chain(Tab::ALL).collect()
    }

    fn step(&mut self, by: isize) {
        let tabs = self.tabs();
        let at = tabs.iter().position(|tab| *tab == self.tab).unwrap_or(0);
        let next = (at as isize + by).rem_euclid(tabs.len() as isize);
        self.show(tabs[next as usize]);
    }

    fn show(&mut self, tab: Tab) {
        if tab == Tab::Fields && self.by.is_empty() {
            return;
        }
        self.back.clear();
        self.page = None;
        self.change_tab(tab);
    }

    fn change_tab(&mut self, tab: Tab) {
        if self.tab != tab {
            self.list = None;
        }
        self.tab = tab;
        self.cursor = 0;
        self.picked = None;
        self.scroll = 0;
        self.order.clear();
        self.frozen = false;
        self.problem = None;
    }

    /// Opens the network, host or conversation of the selected row.
    fn open(&mut self) {
        let Some(row) = self.rows().into_iter().nth(self.cursor) else {
            return;
        };
        let state = BackState {
            tab: self.tab,
            filter: self.filter.clone(),
            page: self.page.clone(),
            picked: Some(row.key),
            cursor: self.cursor,
        };
        match row.target {
            RowTarget::Query(more) if !more.is_empty() => {
                self.filter = filter::narrow(&self.filter, &more, &self.interfaces());
                self.page = None;
                self.change_tab(Tab::Conversations);
            }
            RowTarget::Conversation(key) => {
                self.page = Some(key);
                self.cursor = 0;
                self.picked = None;
            }
            RowTarget::Query(_) | RowTarget::Nothing => return,
        }
        self.back.push(state);
        if self.back.len() > MAX_BACK {
            self.back.remove(0);
        }
    }

    fn go_back(&mut self) {
        if self.overlay.take().is_some() {
            return;
        }
        let Some(state) = self.back.pop() else {
            // nothing is open: the filter is removed
            self.filter.clear();
            return;
        };
        self.filter = state.filter;
        self.page = state.page;
        self.change_tab(state.tab);
        self.cursor = state.cursor;
        self.picked = state.picked;
    }

    fn propose(&mut self) {
        let row = self.rows().into_iter().nth(self.cursor);
        let target = match (&self.page, row) {
            // the page of a conversation proposes rules for it, except on its hosts and networks
            (Some(key), Some(row))
                if !row.key.starts_with("host") && !row.key.starts_with("network") =>
            {
                RowTarget::Conversation(key.clone())
            }
            (_, Some(row)) => row.target,
            (_, None) => RowTarget::Nothing,
        };
        match target {
            // the agent may hide addresses
            RowTarget::Conversation(key) if !key.a.address.is_empty() => {
                let sender = self.sender(&key);
                self.show_proposal(Proposal::conversation(&key, sender));
            }
            RowTarget::Query(query) => self.propose_for_query(&query),
            RowTarget::Conversation(_) | RowTarget::Nothing => self.notice = Some(NO_RULE.into()),
        }
    }

    /// Proposes a rule for the flows that have one of these parameters: hosts are the most exact.
    pub(super) fn propose_for_query(&mut self, query: &[(String, String)]) {
        let value = |names: &[&str]| {
            let found = query.iter().find(|(name, _)| names.contains(&&**name));
            found
                .map(|(_, value)| &**value)
                .filter(|value| !value.is_empty())
        };
        if let Some(address) = value(&["address", "src", "dst"]) {
            self.show_proposal(Proposal::host(address));
        } else if let Some(asn) = value(&["asn", "src_asn", "dst_asn"]).and_then(asn::parse) {
            self.requests.push(AgentRequest::FlowsOf { asn });
            self.overlay = Some(Overlay::Waiting { asn });
        } else if let Some(port) = value(&["port", "src_port", "dst_port"]) {
            self.show_proposal(Proposal::port(port));
        } else if let Some(protocol) = value(&["protocol"]) {
            self.show_proposal(Proposal::protocol(protocol));
        } else {
            self.notice = Some(NO_RULE.into());
        }
    }

    fn show_proposal(&mut self, proposal: Proposal) {
        self.requests.push(AgentRequest::CheckFirewall);
        self.overlay = Some(Overlay::Rule(proposal));
    }

    /// Proposes a rule from the flows of a network, unless the request was cancelled.
    pub(super) fn propose_for_network(&mut self, asn: u32, answer: Result<Vec<u8>, String>) {
        if self.overlay != Some(Overlay::Waiting { asn }) {
            return;
        }
        self.overlay = None;
        let read = |reply: Vec<u8>| {
            serde_json::from_slice(&reply).map_err(|error| os_error::reason(&error))
        };
        match answer.and_then(read) {
            Ok(flows) => match Proposal::network(asn, &flows) {
                Some(proposal) => self.show_proposal(proposal),
                None => self.notice = Some(format!("no live flow has an address of AS{asn}")),
            },
            Err(reason) => self.notice = Some(reason),
        }
    }

    /// Returns the end of a conversation that sends more.
    fn sender(&self, key: &super::conversations::ConversationKey) -> usize {
        let now = self.conversations.now();
        let ways = self.conversations.table.get(key).map(|one| &one.ways);
        ways.map_or(0, |[there, back]| {
            let [there, back] = [there, back].map(|way| way.rate(WINDOWS[1], now).0);
            usize::from(back > there)
        })
    }

    fn change_proposal(&mut self, change: fn(&mut Proposal)) {
        if let Some(Overlay::Rule(proposal)) = &mut self.overlay {
            change(proposal);
            if proposal.state == ProposalState::Checking {
                self.requests.push(AgentRequest::CheckFirewall);
            }
        }
    }

    fn confirm(&mut self) {
        if let Some(Overlay::Rule(proposal)) = &mut self.overlay
            && proposal.state == ProposalState::Ready
        {
            proposal.state = ProposalState::Applying;
            let ssh = std::env::var("SSH_CONNECTION").ok();
            let request = proposal.request(ssh.filter(|ssh| !ssh.is_empty()));
            self.requests.push(AgentRequest::AddRule(request));
        }
    }
}

/// Reads an interval: a number of seconds, or a duration such as "500ms".
fn interval(text: &str) -> Option<Duration> {
    let seconds = text.trim().parse().ok();
    let seconds = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let limits = MIN_INTERVAL..=MAX_INTERVAL;
    match seconds {
        Some(seconds) => limits.contains(&seconds).then_some(seconds),
        None => duration::parse(text, &limits).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_seconds_or_durations_within_limits() {
        for (text, expected) in [
            ("2", Some(2000)),
            ("0.5", Some(500)),
            ("500ms", Some(500)),
            ("1m", Some(60_000)),
            ("0", None),
            ("61", None),
            ("-1", None),
            ("soon", None),
            ("", None),
        ] {
            let expected = expected.map(Duration::from_millis);
            assert_eq!(interval(text), expected, "{text}");
        }
    }
}
