// SPDX-License-Identifier: AGPL-3.0-only
//! Tests of the rules and their thread, without the kernel.

mod attachments;
mod rule_series;
mod rule_set;
mod thread;

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use libbpf_rs::MapHandle;

use super::backend::{Backend, Counts, Mode, XdpStats};
use super::rule_syntax;
use crate::types::hook::FrameStart;
use crate::types::rule::{KernelRule, PatternCache, Rule, RuleId};

fn rule(line: &str) -> Rule {
    let words = rule_syntax::parse(line, []).unwrap().0;
    words.rule(&mut PatternCache::default()).unwrap()
}

fn rules(lines: &[&str]) -> Vec<Rule> {
    lines.iter().map(|line| rule(line)).collect()
}

/// A fake kernel that records its calls; tests read them outside of the thread that owns it.
#[derive(Clone, Default)]
struct Fake(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    rules: Vec<KernelRule>,
    replaced: usize,
    attached: BTreeMap<u32, FrameStart>,
    counts: BTreeMap<RuleId, Counts>,
    /// The error of all further calls.
    refuses: Option<&'static str>,
    /// The duration of a replacement of the rules.
    takes: Duration,
    /// The most rules that it accepts.
    most_rules: Option<usize>,
}

impl Fake {
    fn with<T>(&self, body: impl FnOnce(&mut State) -> T) -> T {
        body(&mut self.0.lock().unwrap())
    }

    fn ids(&self) -> Vec<u64> {
        self.with(|state| state.rules.iter().map(|rule| rule.id.0).collect())
    }

    fn refuse(&self, why: Option<&'static str>) {
        self.with(|state| state.refuses = why);
    }

    fn count(&self, id: u64, packets: u64) {
        let counts = Counts {
            packets,
            bytes: 100 * packets,
            ..Counts::default()
        };
        self.with(|state| state.counts.insert(RuleId(id), counts));
    }
}

impl Backend for Fake {
    fn replace(&mut self, rules: &[KernelRule]) -> Result<(), String> {
        std::thread::sleep(self.with(|state| state.takes));
        self.with(|state| {
            if let Some(why) = state.refuses {
                return Err(why.to_owned());
            }
            if state.most_rules.is_some_and(|most| rules.len() > most) {
                return Err("too many rules".to_owned());
            }
            state.rules = rules.to_vec();
            state.replaced += 1;
            state
                .counts
                .retain(|id, _| rules.iter().any(|rule| rule.id == *id));
            Ok(())
        })
    }

    fn attach(&mut self, ifindex: u32, start: FrameStart) -> Result<Mode, String> {
        self.with(|state| match state.refuses {
            Some(why) => Err(why.to_owned()),
            None => {
                let twice = state.attached.insert(ifindex, start);
                assert!(twice.is_none(), "{ifindex} is attached already");
                Ok(Mode::Generic)
            }
        })
    }

    fn is_attached(&self, ifindex: u32) -> bool {
        self.with(|state| state.attached.contains_key(&ifindex))
    }

    fn detach(&mut self, ifindex: u32) {
        let was = self.with(|state| state.attached.remove(&ifindex));
        assert!(was.is_some(), "{ifindex} was not attached");
    }

    fn counts(&self) -> io::Result<Vec<(RuleId, Counts)>> {
        Ok(self.with(|state| state.counts.iter().map(|(id, c)| (*id, *c)).collect()))
    }

    fn ring(&self) -> io::Result<Option<MapHandle>> {
        Ok(None)
    }

    fn stats(&self) -> io::Result<XdpStats> {
        Ok(XdpStats::default())
    }
}
