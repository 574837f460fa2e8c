// SPDX-License-Identifier: AGPL-3.0-only
//! How other threads ask thread firewall.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::guard::Caller;
use super::kernel::{Counts, Tally};
use super::ledger::Series;
use super::ports::Port;
use crate::flow::export_queue::ExportSender;
use crate::types::flow::FlowRecord;
use crate::types::interface_pattern::Patterns;
use crate::types::prefix::Prefix;
use crate::types::rule::{Action, Origin, PortRange, Rule, RuleId};

/// Requests that wait; one more is refused.
const WAITING: usize = 16;

/// A change of all rules there may be, with another before it.
const PATIENCE: Duration = Duration::from_secs(10);

/// What of the configuration can change while the agent runs.
#[derive(Clone, Debug)]
pub struct Settings {
    pub patterns: Patterns,
    pub rules: Vec<Rule>,
    pub allow: Vec<Prefix>,
    pub allow_own: bool,
    pub blackhole_action: Action,
}

/// Why nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// It would be done if asked with force.
    pub needs_force: bool,
    pub why: String,
}

impl Refusal {
    pub fn new(why: impl Into<String>) -> Self {
        Self {
            needs_force: false,
            why: why.into(),
        }
    }
}

/// Who asks for a change, and how insistently.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asker {
    pub caller: Option<Caller>,
    pub force: bool,
}

/// A change of the rules made at run time.
#[derive(Clone, Debug)]
pub enum Edit {
    /// `replace`: in place of all there are.
    Add {
        rules: Vec<Rule>,
        replace: bool,
    },
    Remove(Vec<RuleId>),
    Flush,
}

/// What a change did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edited {
    /// Numbers of what was added, in that order.
    pub added: Vec<RuleId>,
    pub removed: usize,
}

/// One rule as it is now.
#[derive(Clone, Debug)]
pub struct Listed {
    pub id: RuleId,
    pub origin: Origin,
    pub rule: Rule,
    /// Only in rules of the allow list.
    pub sport: Option<PortRange>,
    pub counts: Counts,
    /// Until it ends; zero where it has.
    pub left: Option<Duration>,
}

/// Some of the rules, in the order of priority.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    pub total: usize,
    pub rules: Vec<Listed>,
}

#[derive(Clone, Debug, Default)]
pub struct Report {
    pub series: Vec<Series>,
    /// By [`Origin`].
    pub rules: [usize; Origin::ALL.len()],
    pub ports: Vec<Port>,
    /// The largest flows that were dropped in the last seconds, from samples.
    pub dropped: Vec<FlowRecord>,
    pub tally: Tally,
}

pub(super) enum Request {
    List {
        from: usize,
        limit: usize,
        reply: Sender<Listing>,
    },
    Report(Sender<Report>),
    Edit {
        edit: Edit,
        asker: Asker,
        reply: Sender<Result<Edited, Refusal>>,
    },
    Change {
        settings: Box<Settings>,
        reply: Sender<Result<(), Refusal>>,
    },
    /// Where flows that were dropped go from now on.
    Export(Option<Box<ExportSender>>),
    End,
}

/// The present fault of the firewall, if there is one.
#[derive(Clone, Default)]
pub(super) struct Problem(Arc<Mutex<Option<String>>>);

impl Problem {
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
pub struct Inbox {
    pub(super) requests: Receiver<Request>,
    pub(super) problem: Problem,
    /// Readable when something waits.
    pub(super) woken: UnixStream,
}

/// Cheap to clone, for any thread.
#[derive(Clone)]
pub struct Handle {
    requests: Sender<Request>,
    /// A byte here ends the thread's wait.
    waker: Arc<UnixStream>,
    problem: Problem,
}

impl Handle {
    pub fn new() -> std::io::Result<(Self, Inbox)> {
        let (waker, woken) = UnixStream::pair()?;
        waker.set_nonblocking(true)?;
        woken.set_nonblocking(true)?;
        let (sender, requests) = bounded(WAITING);
        let problem = Problem::default();
        let handle = Self {
            requests: sender,
            waker: Arc::new(waker),
            problem: problem.clone(),
        };
        let inbox = Inbox {
            requests,
            problem,
            woken,
        };
        Ok((handle, inbox))
    }

    /// The present fault, for the status. Does not wait for the thread.
    pub fn problem(&self) -> Option<String> {
        self.problem.get()
    }

    /// At most `limit` rules from this place on.
    pub fn list(&self, from: usize, limit: usize) -> Result<Listing, Refusal> {
        self.ask(PATIENCE, |reply| Request::List { from, limit, reply })
    }

    pub fn report(&self, patience: Duration) -> Result<Report, Refusal> {
        self.ask(patience, Request::Report)
    }

    /// In force when this returns, or nothing has changed.
    pub fn edit(&self, edit: Edit, asker: Asker) -> Result<Edited, Refusal> {
        self.ask(PATIENCE, |reply| Request::Edit { edit, asker, reply })?
    }

    /// As [`Handle::edit`], for what the configuration says.
    pub fn change(&self, settings: Settings) -> Result<(), Refusal> {
        let settings = Box::new(settings);
        self.ask(PATIENCE, |reply| Request::Change { settings, reply })?
    }

    /// Flows that are dropped go there from now on; false if the thread has ended.
    pub fn export(&self, export_sender: Option<ExportSender>) -> bool {
        let request = Request::Export(export_sender.map(Box::new));
        let sent = self.requests.send_timeout(request, PATIENCE).is_ok();
        self.wake();
        sent
    }

    /// Has the thread detach everything and end.
    pub fn end(&self) {
        // one that waits behind others gets there, one that has ended needs none
        drop(self.requests.send_timeout(Request::End, PATIENCE));
        self.wake();
    }

    fn ask<T>(
        &self,
        patience: Duration,
        request: impl FnOnce(Sender<T>) -> Request,
    ) -> Result<T, Refusal> {
        let (reply, answer) = bounded(1);
        self.requests.try_send(request(reply)).map_err(|_| {
            Refusal::new(format!(
                "{WAITING} requests to the firewall are waiting already, or it ends"
            ))
        })?;
        self.wake();
        answer
            .recv_timeout(patience)
            .map_err(|_| Refusal::new("thread firewall does not answer"))
    }

    fn wake(&self) {
        // a full socket has woken it already
        let _ = (&*self.waker).write(&[0]);
    }
}
