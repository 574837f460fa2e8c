// SPDX-License-Identifier: AGPL-3.0-only
//! The loop of the main thread while the agent runs: it handles signals and commands, checks the threads,
//! and reports the state to the service manager.

use std::time::{Duration, Instant};

use super::events::{Event, EventQueue};
use super::reload::Reconfigurer;
use super::{Error, Running};
use crate::sys::malloc;
use crate::sys::systemd::Notifier;

/// The interval between two checks of the threads.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

pub(super) struct MainLoop<'a> {
    pub running: &'a Running,
    pub reconfigurer: Reconfigurer<'a>,
    pub notifier: Notifier,
}

impl MainLoop<'_> {
    /// Runs until a signal arrives or a thread has ended by itself.
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
                // the channel holds one answer, so this fails only if the client has stopped waiting
                Event::Command(envelope) => {
                    drop(
                        envelope
                            .reply
                            .try_send(self.reconfigurer.apply(envelope.command)),
                    );
                }
                // not at once: the page and a first scrape, which follow readiness, also belong to the start
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
        // the error has been logged, and no client waits for an answer
        drop(self.reconfigurer.reload());
        self.notifier.ready();
    }

    /// Reports the state to the service manager, and feeds the watchdog only while every thread is alive.
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
