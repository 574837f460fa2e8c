// SPDX-License-Identifier: AGPL-3.0-only
//! What the main thread does while the agent runs: it takes signals and commands, looks after the
//! threads, and keeps the service manager informed.

use std::time::{Duration, Instant};

use super::events::{Event, EventQueue};
use super::reload::Reconfigurer;
use super::{Error, Running};
use crate::sys::malloc;
use crate::sys::systemd::Notifier;

/// How often the threads are looked after.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

pub(super) struct MainLoop<'a> {
    pub running: &'a Running,
    pub reconfigurer: Reconfigurer<'a>,
    pub notifier: Notifier,
}

impl MainLoop<'_> {
    /// Until a signal comes, or a thread has ended by itself.
    pub fn run(&mut self, queue: &mut EventQueue) -> Result<(), Error> {
        let interval = self
            .notifier
            .interval()
            .map_or(CHECK_INTERVAL, |i| i.min(CHECK_INTERVAL));
        let (mut ready, mut settled) = (false, false);
        let end = loop {
            if !ready && self.running.progress.tried() {
                ready = true;
                self.notifier.ready();
            }
            self.notify_manager(ready);
            match queue.wait(interval) {
                Event::Stop => break Ok(()),
                Event::Reload => self.reload(),
                // the channel holds one answer, so this fails only if the asker has gone
                Event::Command(envelope) => {
                    drop(
                        envelope
                            .reply
                            .try_send(self.reconfigurer.apply(envelope.command)),
                    );
                }
                // not at once: what comes after it is ready, the page and a first scrape, is start too
                Event::Nothing if ready && !settled => {
                    settled = true;
                    malloc::forget_startup_code();
                }
                Event::Nothing => {}
            }
            if let Some(name) = self.running.threads.failed() {
                break Err(Error::ThreadEnded(name));
            }
        };
        self.notifier.stopping();
        end
    }

    fn reload(&self) {
        self.notifier.reloading();
        // a refusal has been logged, and there is nobody to answer
        drop(self.reconfigurer.reload());
        self.notifier.ready();
    }

    /// The watchdog is fed only while every thread is alive.
    fn notify_manager(&mut self, ready: bool) {
        let stuck = self.running.threads.unhealthy();
        if stuck.is_empty() {
            let now = Instant::now();
            self.notifier.alive(now);
            if !ready {
                self.notifier.more_time(now);
            }
        }
        let line = self.status(&stuck);
        self.notifier.status(line);
    }

    fn status(&self, stuck: &[&str]) -> String {
        let in_force = self.running.live.get();
        let mut line = format!(
            "watching {} interfaces, 1 in {} packets sampled",
            self.running.interfaces.attached(),
            in_force.config.agent.bpf.sample_rate
        );
        if !in_force.reload.successful {
            line += "; the configuration file is not in order, the one before is in force";
        }
        if !stuck.is_empty() {
            line += &format!("; no sign of life of thread {}", stuck.join(", "));
        }
        line
    }
}
