// SPDX-License-Identifier: AGPL-3.0-only
//! The interfaces to which the program is attached, and how it follows their changes.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use super::backend::{Backend, Mode};
use crate::bpf::attach::is_removed;
use crate::netlink::{Event, Link, LinkType};
use crate::types::hook::FrameStart;
use crate::types::interface_pattern::{Pattern, Patterns};

/// The time until the first retry of a failed attach; it doubles with each further retry.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(300);

/// Interfaces that are attached or detached in one batch. Each may take 10 ms and, if the driver resets the device,
/// a second: between two batches the thread reports that it is alive, and answers requests.
const BATCH: usize = 8;

/// The state of one interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    pub ifindex: u32,
    pub name: String,
    /// The mode, or the reason why it is not attached.
    pub state: Result<Mode, String>,
}

struct Attached {
    name: String,
    start: FrameStart,
    mode: Mode,
}

struct Failed {
    reason: String,
    retry: Instant,
    waited: Duration,
}

pub struct Attachments {
    patterns: Patterns,
    links: BTreeMap<u32, Link>,
    attached: HashMap<u32, Attached>,
    failed: HashMap<u32, Failed>,
    /// Links or patterns have changed since the last [`Attachments::reconcile`].
    has_changed: bool,
    /// Names or numbers of links have changed since the rules were last compiled.
    renumbered: bool,
}

impl Attachments {
    pub fn new(patterns: Patterns, links: Vec<Link>) -> Self {
        Self {
            patterns,
            links: links.into_iter().map(|link| (link.ifindex, link)).collect(),
            attached: HashMap::new(),
            failed: HashMap::new(),
            has_changed: true,
            renumbered: true,
        }
    }

    pub fn set_patterns(&mut self, patterns: Patterns) {
        self.has_changed |= self.patterns != patterns;
        self.patterns = patterns;
    }

    /// Returns the ifindexes that a pattern matches now, in order.
    pub fn resolve(&self, pattern: &Pattern) -> Vec<u32> {
        let meant = |link: &&Link| pattern.matches(&link.name, link.loopback);
        self.links
            .values()
            .filter(meant)
            .map(|l| l.ifindex)
            .collect()
    }

    /// Returns whether names or numbers have changed since the last call.
    pub fn take_renumbered(&mut self) -> bool {
        std::mem::take(&mut self.renumbered)
    }

    pub fn take(&mut self, event: Event, backend: &mut dyn Backend) {
        match event {
            Event::New(link) => {
                let ifindex = link.ifindex;
                let news = |old: &Link| old.name != link.name || old.arphrd != link.arphrd;
                let changed = self.links.get(&ifindex).is_none_or(news);
                self.links.insert(ifindex, link);
                // changes of the carrier, of the counters and by our own attaching also cause an event
                if changed {
                    self.failed.remove(&ifindex);
                    (self.has_changed, self.renumbered) = (true, true);
                }
            }
            Event::Gone(ifindex) => {
                self.links.remove(&ifindex);
                self.failed.remove(&ifindex);
                self.renumbered = true;
                // at once: the kernel may assign the number to another device
                self.detach(ifindex, backend);
            }
        }
    }

    /// Replaces all links by `links`, after events were lost.
    pub fn replace(&mut self, links: Vec<Link>, backend: &mut dyn Backend) {
        let now: BTreeMap<u32, Link> = links.into_iter().map(|link| (link.ifindex, link)).collect();
        for (ifindex, old) in &self.links {
            // a link with another name may be another device, and then the program of the old one no longer exists
            if now.get(ifindex).is_none_or(|new| new.name != old.name)
                && self.attached.remove(ifindex).is_some()
            {
                backend.detach(*ifindex);
            }
        }
        self.links = now;
        self.failed.clear();
        (self.has_changed, self.renumbered) = (true, true);
    }

    /// Returns whether [`Attachments::reconcile`] has left work for its next batch.
    pub fn has_work(&self) -> bool {
        self.has_changed
    }

    /// Attaches wanted interfaces and detaches all others, at most one batch. Returns new problems to report: an
    /// interface that has disappeared in the meantime is no error.
    pub fn reconcile(&mut self, backend: &mut dyn Backend, now: Instant) -> Vec<String> {
        let mut problems = Vec::new();
        let due = self.failed.values().any(|failed| failed.retry <= now);
        if !std::mem::take(&mut self.has_changed) && !due {
            return problems;
        }
        let mut left = BATCH;
        for ifindex in self.unwanted() {
            if left == 0 {
                self.has_changed = true;
                return problems;
            }
            left -= 1;
            self.detach(ifindex, backend);
        }
        for (ifindex, link) in &self.links {
            let Some(start) = start(link) else { continue };
            if !self.patterns.matches(&link.name, link.loopback) {
                continue;
            }
            if let Some(attached) = self.attached.get_mut(ifindex) {
                attached.name.clone_from(&link.name);
                continue;
            }
            let before = self.failed.get(ifindex);
            if before.is_some_and(|failed| failed.retry > now) {
                continue;
            }
            if left == 0 {
                self.has_changed = true;
                return problems;
            }
            left -= 1;
            match backend.attach(*ifindex, start) {
                Ok(mode) => {
                    log::info!(
                        "firewall on {} (ifindex {ifindex}), {}",
                        link.name,
                        mode.name()
                    );
                    self.failed.remove(ifindex);
                    let name = link.name.clone();
                    self.attached
                        .insert(*ifindex, Attached { name, start, mode });
                }
                Err(reason) => {
                    let waited = before.map_or(FIRST_RETRY, |f| (f.waited * 2).min(LAST_RETRY));
                    let is_new = before.is_none_or(|failed| failed.reason != reason);
                    if is_new && !is_removed(*ifindex) {
                        let name = &link.name;
                        problems.push(format!(
                            "no firewall on {name} (ifindex {ifindex}): {reason}"
                        ));
                    }
                    let retry = now + waited;
                    let failed = Failed {
                        reason,
                        retry,
                        waited,
                    };
                    self.failed.insert(*ifindex, failed);
                }
            }
        }
        problems
    }

    /// Finds interfaces from which another program removed ours, so that it is attached again. Returns their names.
    pub fn find_removed(&mut self, backend: &dyn Backend) -> Vec<String> {
        let is_detached = |ifindex: &u32, _: &mut Attached| !backend.is_attached(*ifindex);
        let removed = self.attached.extract_if(is_detached);
        // if the device was deleted, its event follows
        let removed = removed.filter(|(ifindex, _)| self.links.contains_key(ifindex));
        let names: Vec<String> = removed.map(|(_, attached)| attached.name).collect();
        self.has_changed |= !names.is_empty();
        names
    }

    /// Returns the attached interfaces that are no longer wanted, or whose link type has changed.
    fn unwanted(&mut self) -> Vec<u32> {
        let is_wanted = |ifindex: &u32, of: FrameStart| {
            self.links.get(ifindex).is_some_and(|link| {
                self.patterns.matches(&link.name, link.loopback) && start(link) == Some(of)
            })
        };
        let attached = self.attached.iter();
        let unwanted = attached.filter(|(ifindex, a)| !is_wanted(ifindex, a.start));
        let unwanted: Vec<u32> = unwanted.map(|(ifindex, _)| *ifindex).collect();
        let (links, patterns) = (&self.links, &self.patterns);
        self.failed.retain(|ifindex, _| {
            let link = links.get(ifindex);
            link.is_some_and(|link| patterns.matches(&link.name, link.loopback))
        });
        unwanted
    }

    fn detach(&mut self, ifindex: u32, backend: &mut dyn Backend) {
        if let Some(attached) = self.attached.remove(&ifindex) {
            backend.detach(ifindex);
            log::info!(
                "firewall detached from {} (ifindex {ifindex})",
                attached.name
            );
        }
    }

    /// Returns the time of the next retry of a failed attach.
    pub fn next_retry(&self) -> Option<Instant> {
        self.failed.values().map(|failed| failed.retry).min()
    }

    /// Returns every wanted interface, ordered by ifindex.
    pub fn all(&self) -> Vec<Attachment> {
        let attached = self.attached.iter().map(|(&ifindex, attached)| Attachment {
            ifindex,
            name: attached.name.clone(),
            state: Ok(attached.mode),
        });
        let failed = self.failed.iter().map(|(&ifindex, failed)| {
            let link = self.links.get(&ifindex);
            Attachment {
                ifindex,
                name: link.map_or_else(String::new, |link| link.name.clone()),
                state: Err(failed.reason.clone()),
            }
        });
        let mut attachments: Vec<_> = attached.chain(failed).collect();
        attachments.sort_by_key(|attachment| attachment.ifindex);
        attachments
    }
}

fn start(link: &Link) -> Option<FrameStart> {
    match link.link_type() {
        LinkType::Ethernet => Some(FrameStart::Ethernet),
        LinkType::Ip => Some(FrameStart::Ip),
        LinkType::Gre => Some(FrameStart::Gre),
        LinkType::Unsupported => None,
    }
}
