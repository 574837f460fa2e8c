// SPDX-License-Identifier: AGPL-3.0-only
//! Logs each step of the start that takes long: a name service, a disk or a kernel that does not answer.

use std::io;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use crate::sys::sandbox;

/// A step that takes longer is logged, and again whenever its time has doubled.
const LONG: Duration = Duration::from_secs(5);

/// Reports the current step of the start. Its thread ends when this is dropped.
pub struct StartupSteps {
    sender: Option<Sender<&'static str>>,
    thread: Option<JoinHandle<()>>,
}

impl StartupSteps {
    pub fn new() -> io::Result<Self> {
        let (sender, steps) = bounded(16);
        let thread = Builder::new()
            .name("start".into())
            .stack_size(128 * 1024)
            .spawn(move || {
                sandbox::drop_capabilities();
                watch(&steps, LONG, |step, took| {
                    log::warn!(
                        "the start waits: {step} takes more than {} s",
                        took.as_secs()
                    );
                });
            })?;
        Ok(Self {
            sender: Some(sender),
            thread: Some(thread),
        })
    }

    /// Begins the next step; the log uses its name.
    pub fn begin(&self, step: &'static str) {
        if let Some(sender) = &self.sender {
            // the channel is full if the thread has no time: then a line is missing
            let _ = sender.try_send(step);
        }
    }
}

impl Drop for StartupSteps {
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn watch(steps: &Receiver<&'static str>, long: Duration, report: impl Fn(&str, Duration)) {
    let Ok(mut step) = steps.recv() else { return };
    let (mut since, mut limit) = (Instant::now(), long);
    loop {
        match steps.recv_deadline(since + limit) {
            Ok(next) => (step, since, limit) = (next, Instant::now(), long),
            Err(RecvTimeoutError::Timeout) => {
                report(step, limit);
                limit *= 2;
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::thread;

    use super::*;

    #[test]
    fn only_a_long_step_is_reported_and_less_and_less_often() {
        let (sender, steps) = bounded(16);
        let reported = Mutex::new(Vec::new());
        let report = |step: &str, took| reported.lock().unwrap().push((step.to_owned(), took));
        thread::scope(|scope| {
            scope.spawn(|| watch(&steps, Duration::from_millis(200), report));
            sender.send("short").unwrap();
            sender.send("long").unwrap();
            thread::sleep(Duration::from_millis(600));
            drop(sender);
        });
        let reported = reported.into_inner().unwrap();
        let expected = [200, 400].map(|ms| ("long".to_owned(), Duration::from_millis(ms)));
        assert_eq!(reported, expected);
    }
}
