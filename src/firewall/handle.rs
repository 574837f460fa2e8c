// SPDX-License-Identifier: AGPL-3.0-only
//! The requests of other threads to thread firewall.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::allowlist::SshPeer;
use super::attachments::Attachment;
use super::backend::{Counts, XdpStats};
use super::rule_series::Series;
use crate::flow::export_queue::ExportSender;
use crate::types::flow::FlowRecord;
use crate::types::interface_pattern::Patterns;
use crate::types::prefix::Prefix;
use crate::types::rule::{Action, Rule, RuleId, RuleSource};

/// The most requests that wait; one more is refused.
const MAX_WAITING: usize = 16;

/// Enough time for a change of the maximum number of rules, after another such change.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The settings that can change while the agent runs.
#[derive(Clone, Debug)]
pub struct FirewallSettings {
    pub patterns: Patterns,
    pub rules: Vec<Rule>,
    pub allow: Vec<Prefix>,
    pub allow_own: bool,
    pub blackhole_action: Action,
}

/// The reason why nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirewallError {
    /// Whether the request would succeed with force.
    pub needs_force: bool,
    pub why: String,
}

impl FirewallError {
    pub fn new(why: impl Into<String>) -> Self {
        Self {
            needs_force: false,
            why: why.into(),
        }
    }
}

/// The caller of a change, and whether it insists.
#[derive(Clone, Copy, Debug, Default)]
pub struct Requester {
    pub caller: Option<SshPeer>,
    pub force: bool,
}

/// A change of the runtime rules.
#[derive(Clone, Debug)]
pub enum Edit {
    /// Adds rules; with `replace`, they replace all runtime rules.
    Add {
        rules: Vec<Rule>,
        replace: bool,
    },
    Remove(Vec<RuleId>),
    Flush,
}

/// The result of a change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edited {
    /// Numbers of the added rules, in the order of the request.
    pub added: Vec<RuleId>,
    pub removed: usize,
}

/// The current state of one rule.
#[derive(Clone, Debug)]
pub struct ListedRule {
    pub id: RuleId,
    pub source: RuleSource,
    pub rule: Rule,
    pub counts: Counts,
    /// Time to its expiry; zero if it has expired.
    pub left: Option<Duration>,
}

/// A part of the rules, in the order of priority.
#[derive(Clone, Debug, Default)]
pub struct RuleList {
    pub total: usize,
    pub rules: Vec<ListedRule>,
}

#[derive(Clone, Debug, Default)]
pub struct FirewallReport {
    pub series: Vec<Series>,
    /// The number of rules by [`RuleSource`].
    pub rules: [usize; RuleSource::ALL.len()],
    pub attachments: Vec<Attachment>,
    /// The largest flows that were dropped in the last seconds, from samples.
    pub dropped: Vec<FlowRecord>,
    pub stats: XdpStats,
    /// Maximum number of sources that have a bucket of a limit.
    pub max_sources: u64,
    /// Patterns of rules that match no interface now.
    pub idle_patterns: Vec<String>,
}

pub(super) enum Request {
    List {
        from: usize,
        limit: usize,
        reply: Sender<RuleList>,
    },
    Report(Sender<FirewallReport>),
    Edit {
        edit: Edit,
        requester: Requester,
        reply: Sender<Result<Edited, FirewallError>>,
    },
    Change {
        settings: Box<FirewallSettings>,
        reply: Sender<Result<(), FirewallError>>,
    },
    /// Replaces the rules of the guard, and reads their counters.
    Guard {
        rules: Vec<Rule>,
        reply: Sender<Result<Vec<Counts>, FirewallError>>,
    },
    /// Sets the export queue for dropped flows.
    Export(Option<Box<ExportSender>>),
    End,
}

/// The current problem of the firewall, if there is one.
#[derive(Clone, Default)]
pub(super) struct FirewallProblem(Arc<Mutex<Option<String>>>);

impl FirewallProblem {
    pub fn set(&self, problem: Option<String>) {
        *self.lock() = problem;
    }

    fn get(&self) -> Option<String> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Option<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The other ends of a [`Handle`]'s channel.
pub struct RequestReceiver {
    pub(super) requests: Receiver<Request>,
    pub(super) problem: FirewallProblem,
    /// Readable when a request waits.
    pub(super) woken: UnixStream,
}

/// Sends requests to thread firewall; cheap to clone, for any thread.
#[derive(Clone)]
pub struct Handle {
    requests: Sender<Request>,
    /// A byte here ends the thread's wait.
    waker: Arc<UnixStream>,
    problem: FirewallProblem,
}

impl Handle {
    pub fn new() -> std::io::Result<(Self, RequestReceiver)> {
        let (waker, woken) = UnixStream::pair()?;
        waker.set_nonblocking(true)?;
        woken.set_nonblocking(true)?;
        let (sender, requests) = bounded(MAX_WAITING);
        let problem = FirewallProblem::default();
        let handle = Self {
            requests: sender,
            waker: Arc::new(waker),
            problem: problem.clone(),
        };
        let requests = RequestReceiver {
            requests,
            problem,
            woken,
        };
        Ok((handle, requests))
    }

    /// Returns the current problem, for the status. Does not wait for the thread.
    pub fn problem(&self) -> Option<String> {
        self.problem.get()
    }

    /// Returns at most `limit` rules, from position `from`.
    pub fn list(&self, from: usize, limit: usize) -> Result<RuleList, FirewallError> {
        self.ask(TIMEOUT, |reply| Request::List { from, limit, reply })
    }

    pub fn report(&self, timeout: Duration) -> Result<FirewallReport, FirewallError> {
        self.ask(timeout, Request::Report)
    }

    /// Changes the runtime rules. The change is in effect when this returns; after an error, nothing has changed.
    pub fn edit(&self, edit: Edit, requester: Requester) -> Result<Edited, FirewallError> {
        self.ask(TIMEOUT, |reply| Request::Edit {
            edit,
            requester,
            reply,
        })?
    }

    /// Like [`Handle::edit`], for the settings of the configuration.
    pub fn change(&self, settings: FirewallSettings) -> Result<(), FirewallError> {
        let settings = Box::new(settings);
        self.ask(TIMEOUT, |reply| Request::Change { settings, reply })?
    }

    /// Replaces the rules of the guard; returns the counters of each. After an error, nothing has changed.
    pub fn set_guard_rules(&self, rules: Vec<Rule>) -> Result<Vec<Counts>, FirewallError> {
        self.ask(TIMEOUT, |reply| Request::Guard { rules, reply })?
    }

    /// Sets the export queue for dropped flows; returns false if the thread has ended.
    pub fn export(&self, export_sender: Option<ExportSender>) -> bool {
        let request = Request::Export(export_sender.map(Box::new));
        let sent = self.requests.send_timeout(request, TIMEOUT).is_ok();
        self.wake();
        sent
    }

    /// Requests the thread to detach everything and end.
    pub fn end(&self) {
        // the request may wait behind others; a thread that has ended does not need it
        drop(self.requests.send_timeout(Request::End, TIMEOUT));
        self.wake();
    }

    fn ask<T>(
        &self,
        timeout: Duration,
        request: impl FnOnce(Sender<T>) -> Request,
    ) -> Result<T, FirewallError> {
        let (reply, answer) = bounded(1);
        self.requests.try_send(request(reply)).map_err(|_| {
            FirewallError::new(format!(
                "{MAX_WAITING} requests to the firewall are waiting already, or it ends"
            ))
        })?;
        self.wake();
        answer
            .recv_timeout(timeout)
            .map_err(|_| FirewallError::new("thread firewall does not answer"))
    }

    fn wake(&self) {
        // a full socket has woken it already
        let _ = (&*self.waker).write(&[0]);
    }
}
