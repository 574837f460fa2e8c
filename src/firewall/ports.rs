// SPDX-License-Identifier: AGPL-3.0-only
//! Where the program is attached, and what becomes of it when interfaces come, go and change.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use super::kernel::{Kernel, Mode};
use crate::bpf::attach::is_removed;
use crate::netlink::{Event, Link, LinkLayer};
use crate::types::hook::FrameStart;
use crate::types::interface_pattern::{Pattern, Patterns};

/// Where attaching failed it is tried again after this, then after twice as long, ...
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(300);

/// Interfaces that are attached or detached in one turn. Each may take 10 ms and, if the driver resets the device, a second:
/// in between the thread gives its sign of life, and answers.
const TURN: usize = 8;

/// What one interface is told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    pub ifindex: u32,
    pub name: String,
    /// Why it is not attached, if it is not.
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

pub struct Ports {
    patterns: Patterns,
    links: BTreeMap<u32, Link>,
    attached: HashMap<u32, Attached>,
    failed: HashMap<u32, Failed>,
    /// Something has happened since it was last seen to.
    stirred: bool,
    /// Names or numbers of links have changed since the rules were last compiled.
    renumbered: bool,
}

impl Ports {
    pub fn new(patterns: Patterns, links: Vec<Link>) -> Self {
        Self {
            patterns,
            links: links.into_iter().map(|link| (link.ifindex, link)).collect(),
            attached: HashMap::new(),
            failed: HashMap::new(),
            stirred: true,
            renumbered: true,
        }
    }

    pub fn set_patterns(&mut self, patterns: Patterns) {
        self.stirred |= self.patterns != patterns;
        self.patterns = patterns;
    }

    /// The ifindexes that a pattern means now, in order.
    pub fn resolve(&self, pattern: &Pattern) -> Vec<u32> {
        let meant = |link: &&Link| pattern.matches(&link.name, link.loopback);
        self.links
            .values()
            .filter(meant)
            .map(|l| l.ifindex)
            .collect()
    }

    /// Whether names or numbers have changed since the last question.
    pub fn take_renumbered(&mut self) -> bool {
        std::mem::take(&mut self.renumbered)
    }

    pub fn take(&mut self, event: Event, kernel: &mut dyn Kernel) {
        match event {
            Event::New(link) => {
                let ifindex = link.ifindex;
                let news = |old: &Link| old.name != link.name || old.arphrd != link.arphrd;
                let changed = self.links.get(&ifindex).is_none_or(news);
                self.links.insert(ifindex, link);
                // the carrier, the counters and our own attaching are told of as well
                if changed {
                    self.failed.remove(&ifindex);
                    (self.stirred, self.renumbered) = (true, true);
                }
            }
            Event::Gone(ifindex) => {
                self.links.remove(&ifindex);
                self.failed.remove(&ifindex);
                self.renumbered = true;
                // at once: the number may be given to another device
                self.detach(ifindex, kernel);
            }
        }
    }

    /// Events were lost: `links` are all there are.
    pub fn replace(&mut self, links: Vec<Link>, kernel: &mut dyn Kernel) {
        let now: BTreeMap<u32, Link> = links.into_iter().map(|link| (link.ifindex, link)).collect();
        for (ifindex, old) in &self.links {
            // one of another name may be another device, of which the program is gone
            if now.get(ifindex).is_none_or(|new| new.name != old.name)
                && self.attached.remove(ifindex).is_some()
            {
                kernel.detach(*ifindex);
            }
        }
        self.links = now;
        self.failed.clear();
        (self.stirred, self.renumbered) = (true, true);
    }

    /// Whether [`Ports::settle`] has left something for its next turn.
    pub fn has_work(&self) -> bool {
        self.stirred
    }

    /// Attaches what is wanted, and detaches what is not, as much as a turn allows. Returns what is new to report:
    /// an interface that has vanished meanwhile is no error.
    pub fn settle(&mut self, kernel: &mut dyn Kernel, now: Instant) -> Vec<String> {
        let mut problems = Vec::new();
        let due = self.failed.values().any(|failed| failed.retry <= now);
        if !std::mem::take(&mut self.stirred) && !due {
            return problems;
        }
        let mut left = TURN;
        for ifindex in self.unwanted() {
            if left == 0 {
                self.stirred = true;
                return problems;
            }
            left -= 1;
            self.detach(ifindex, kernel);
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
                self.stirred = true;
                return problems;
            }
            left -= 1;
            match kernel.attach(*ifindex, start) {
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

    /// Looks for interfaces from which another program removed ours, so that it is attached again. Their names.
    pub fn find_removed(&mut self, kernel: &dyn Kernel) -> Vec<String> {
        let is_detached = |ifindex: &u32, _: &mut Attached| !kernel.is_attached(*ifindex);
        let removed = self.attached.extract_if(is_detached);
        // if the device was deleted, its event follows
        let removed = removed.filter(|(ifindex, _)| self.links.contains_key(ifindex));
        let names: Vec<String> = removed.map(|(_, attached)| attached.name).collect();
        self.stirred |= !names.is_empty();
        names
    }

    /// Attached where it is not wanted any more, or to a link of another kind than it was.
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

    fn detach(&mut self, ifindex: u32, kernel: &mut dyn Kernel) {
        if let Some(attached) = self.attached.remove(&ifindex) {
            kernel.detach(ifindex);
            log::info!(
                "no firewall on {} (ifindex {ifindex}) any more",
                attached.name
            );
        }
    }

    /// When something that failed is tried again.
    pub fn next_retry(&self) -> Option<Instant> {
        self.failed.values().map(|failed| failed.retry).min()
    }

    /// Every interface that is wanted, by its number.
    pub fn all(&self) -> Vec<Port> {
        let attached = self.attached.iter().map(|(&ifindex, attached)| Port {
            ifindex,
            name: attached.name.clone(),
            state: Ok(attached.mode),
        });
        let failed = self.failed.iter().map(|(&ifindex, failed)| {
            let link = self.links.get(&ifindex);
            Port {
                ifindex,
                name: link.map_or_else(String::new, |link| link.name.clone()),
                state: Err(failed.reason.clone()),
            }
        });
        let mut ports: Vec<_> = attached.chain(failed).collect();
        ports.sort_by_key(|port| port.ifindex);
        ports
    }
}

fn start(link: &Link) -> Option<FrameStart> {
    match link.layer() {
        LinkLayer::Ethernet => Some(FrameStart::Ethernet),
        LinkLayer::Ip => Some(FrameStart::Ip),
        LinkLayer::Gre => Some(FrameStart::Gre),
        LinkLayer::Unsupported => None,
    }
}
