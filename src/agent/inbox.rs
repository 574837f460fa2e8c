// SPDX-License-Identifier: AGPL-3.0-only
//! What the main thread waits for: signals, and commands of other threads.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::Receiver;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::commands::{ControlHandle, Order};
use crate::sys::signals;

/// What came.
pub(super) enum Event {
    /// SIGINT or SIGTERM.
    Stop,
    /// SIGHUP.
    Reload,
    Order(Order),
    /// Nothing, in the time given.
    Nothing,
}

/// Each sender sets its flag or queues its order, then sends a byte to end the wait.
pub(super) struct Inbox {
    stream: UnixStream,
    stop: Arc<AtomicBool>,
    reload: Arc<AtomicBool>,
    orders: Receiver<Order>,
}

impl Inbox {
    /// From now on the signals do not end the process. This thread and those that it starts receive none
    /// until [`Inbox::open`].
    pub fn new() -> io::Result<(Self, ControlHandle)> {
        signals::block(&signals::HANDLED);
        let (stream, writer) = UnixStream::pair()?;
        writer.set_nonblocking(true)?;
        let (stop, reload) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        for (signal, flag) in [(SIGINT, &stop), (SIGTERM, &stop), (SIGHUP, &reload)] {
            // the actions of a signal run in the order of their registration
            signal_hook::flag::register(signal, flag.clone())?;
            signal_hook::low_level::pipe::register(signal, writer.try_clone()?)?;
        }
        let (handle, orders) = ControlHandle::new(writer);
        let inbox = Self {
            stream,
            stop,
            reload,
            orders,
        };
        Ok((inbox, handle))
    }

    /// Lets this thread receive signals; pending ones are handled now.
    pub fn open(&self) {
        signals::unblock(&signals::HANDLED);
    }

    pub fn wait(&mut self, timeout: Duration) -> Event {
        if let Some(event) = self.look() {
            return event;
        }
        // a timeout that cannot be set, or a read that fails otherwise, ends in one more round
        let _ = self.stream.set_read_timeout(Some(timeout));
        let _ = self.stream.read(&mut [0; 64]);
        self.look().unwrap_or(Event::Nothing)
    }

    fn look(&self) -> Option<Event> {
        if self.stop.load(Ordering::Acquire) {
            return Some(Event::Stop);
        }
        if self.reload.swap(false, Ordering::AcqRel) {
            return Some(Event::Reload);
        }
        self.orders.try_recv().ok().map(Event::Order)
    }
}

#[cfg(test)]
mod tests {
    use super::super::commands::{Command, Done};
    use super::*;

    #[test]
    fn orders_are_answered_in_their_turn_and_time_passes() {
        let (mut inbox, handle) = Inbox::new().unwrap();
        assert!(matches!(
            inbox.wait(Duration::from_millis(1)),
            Event::Nothing
        ));
        let asking = std::thread::spawn(move || {
            let long = Duration::from_secs(10);
            handle.ask(Command::SetSampleRate(7), long)
        });
        let Event::Order(order) = inbox.wait(Duration::from_secs(10)) else {
            panic!("an order was sent");
        };
        assert_eq!(order.command, Command::SetSampleRate(7));
        let done = Done {
            changed: vec!["agent.bpf.sample_rate".into()],
            kept: Vec::new(),
        };
        order.reply.send(Ok(done.clone())).unwrap();
        assert_eq!(asking.join().unwrap(), Ok(done));
    }

    #[test]
    fn a_main_thread_that_does_not_answer_is_not_waited_for() {
        let (_inbox, handle) = Inbox::new().unwrap();
        let short = Duration::from_millis(1);
        for _ in 0..16 {
            assert!(handle.ask(Command::Reload, short).is_err());
        }
        let refused = handle.ask(Command::Reload, short).unwrap_err();
        assert!(refused.contains("16 commands"), "{refused}");
    }
}
