// SPDX-License-Identifier: AGPL-3.0-only
//! The events that the main thread waits for: signals, and commands from other threads.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::Receiver;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::commands::{CommandSender, Envelope};
use crate::sys::signals;

/// An event of the main thread.
pub(super) enum Event {
    /// SIGINT or SIGTERM.
    Stop,
    /// SIGHUP.
    Reload,
    Command(Envelope),
    /// The timeout has passed without an event.
    Nothing,
}

/// The queue of events. Each sender sets its flag or queues its envelope, then sends a byte to end the wait.
pub(super) struct EventQueue {
    stream: UnixStream,
    stop: Arc<AtomicBool>,
    reload: Arc<AtomicBool>,
    envelopes: Receiver<Envelope>,
}

impl EventQueue {
    /// Registers the handlers, so that the signals no longer end the process. This thread and those that it
    /// starts receive no signal until [`EventQueue::open`].
    pub fn new() -> io::Result<(Self, CommandSender)> {
        signals::block(&signals::HANDLED);
        let (stream, writer) = UnixStream::pair()?;
        writer.set_nonblocking(true)?;
        let (stop, reload) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        for (signal, flag) in [(SIGINT, &stop), (SIGTERM, &stop), (SIGHUP, &reload)] {
            // the actions of a signal run in the order of their registration
            signal_hook::flag::register(signal, flag.clone())?;
            signal_hook::low_level::pipe::register(signal, writer.try_clone()?)?;
        }
        let (handle, envelopes) = CommandSender::new(writer);
        let queue = Self {
            stream,
            stop,
            reload,
            envelopes,
        };
        Ok((queue, handle))
    }

    /// Lets this thread receive signals; pending ones are handled now.
    pub fn open(&self) {
        signals::unblock(&signals::HANDLED);
    }

    pub fn wait(&mut self, timeout: Duration) -> Event {
        if let Some(event) = self.next() {
            return event;
        }
        // a timeout that cannot be set, or a read that fails otherwise, ends in one more round
        let _ = self.stream.set_read_timeout(Some(timeout));
        let _ = self.stream.read(&mut [0; 64]);
        self.next().unwrap_or(Event::Nothing)
    }

    fn next(&self) -> Option<Event> {
        if self.stop.load(Ordering::Acquire) {
            return Some(Event::Stop);
        }
        if self.reload.swap(false, Ordering::AcqRel) {
            return Some(Event::Reload);
        }
        self.envelopes.try_recv().ok().map(Event::Command)
    }
}

#[cfg(test)]
mod tests {
    use super::super::commands::{Applied, Command};
    use super::*;

    #[test]
    fn commands_are_answered_in_their_turn_and_time_passes() {
        let (mut queue, handle) = EventQueue::new().unwrap();
        assert!(matches!(
            queue.wait(Duration::from_millis(1)),
            Event::Nothing
        ));
        let asking = std::thread::spawn(move || {
            let long = Duration::from_secs(10);
            handle.ask(Command::SetSampleRate(7), long)
        });
        let Event::Command(envelope) = queue.wait(Duration::from_secs(10)) else {
            panic!("a command was sent");
        };
        assert_eq!(envelope.command, Command::SetSampleRate(7));
        let done = Applied {
            changed: vec!["agent.bpf.sample_rate".into()],
            kept: Vec::new(),
        };
        envelope.reply.send(Ok(done.clone())).unwrap();
        assert_eq!(asking.join().unwrap(), Ok(done));
    }

    #[test]
    fn a_main_thread_that_does_not_answer_is_not_waited_for() {
        let (_queue, handle) = EventQueue::new().unwrap();
        let short = Duration::from_millis(1);
        for _ in 0..16 {
            assert!(handle.ask(Command::Reload, short).is_err());
        }
        let refused = handle.ask(Command::Reload, short).unwrap_err();
        assert!(refused.contains("16 commands"), "{refused}");
    }
}
