// SPDX-License-Identifier: AGPL-3.0-only
//! The event loop: waits for sockets and timeouts, lets each connection make progress, accepts
//! connections, and enforces the limits.
//!
//! Everything runs on one thread. hyper sometimes wakes its own connection (for example after 16
//! steps in a row); such a connection gets its next turn after all others. Only the gate and later
//! replies wake connections from another thread, and they end the wait of the loop.

use std::cell::Cell;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::connection::{Connection, Shared};
use super::phase::Phase;
use super::{Handler, Server};
use crate::sys::descriptors::Reserve;
use crate::sys::listen::Listener;
use crate::sys::threads::Heartbeat;
use crate::sys::wake_up::WakeUp;

/// The maximum wait, so that the heartbeat is updated and a stop is noticed.
const TICK: Duration = Duration::from_millis(500);

/// The time for current responses when the agent stops. The sum with [`TICK`] is below one second.
const STOP_GRACE: Duration = Duration::from_millis(400);

/// The pause after a failed accept. Without file descriptors, the waiting connection stays in the
/// queue and poll(2) would always return immediately.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Descriptors of the reserve that a connection uses when there are no others: its socket, and
/// files that an answer reads.
const FROM_RESERVE: usize = 4;

/// The maximum number of connections accepted between two turns of the existing ones.
const ACCEPT_BATCH: usize = 16;

pub(super) struct Executor<H: Handler> {
    listeners: Vec<Listener>,
    accept_after: Instant,
    connections: Vec<Connection<H>>,
    shared: Rc<Shared<H>>,
    reserve: Reserve,
    /// The number of descriptor shortages, in any thread, for which idle connections were closed.
    shortages: u64,
    /// End the wait when a later reply is known, or a stream has more.
    wake_ups: Vec<Arc<WakeUp>>,
    /// The epoch of the gate when the connections were last checked.
    epoch: u64,
}

impl<H: Handler> Executor<H> {
    pub fn new(server: Server, handler: H) -> Self {
        Self {
            listeners: server.listeners,
            accept_after: Instant::now(),
            connections: Vec::new(),
            reserve: server.reserve,
            shortages: server.errors.shortages(),
            wake_ups: server.wake_ups,
            epoch: server.gate.as_ref().map_or(0, |gate| gate.epoch()),
            shared: Rc::new(Shared {
                handler,
                allow: server.allow,
                limits: server.limits,
                errors: server.errors,
                subsystem: server.subsystem,
                refuse: server.refuse,
                gate: server.gate,
                large: server.large,
                large_under_way: Cell::new(false),
                held: Arc::new(AtomicUsize::new(0)),
            }),
        }
    }

    pub fn run(mut self, heartbeat: &Heartbeat) {
        while !heartbeat.stopping() {
            self.turn(heartbeat, TICK);
        }
        self.listeners.clear();
        self.connections.retain(Connection::is_responding);
        self.connections.iter_mut().for_each(Connection::finish);
        let end = Instant::now() + STOP_GRACE;
        while !self.connections.is_empty() && Instant::now() < end {
            self.turn(heartbeat, end - Instant::now());
        }
    }

    fn turn(&mut self, heartbeat: &Heartbeat, longest: Duration) {
        heartbeat.beat();
        self.wait(longest);
        self.close_outdated();
        self.connections.retain_mut(|connection| {
            heartbeat.beat();
            connection.turn()
        });
        self.close_late();
        self.bound_memory();
        self.relieve();
        for i in 0..self.listeners.len() {
            if self.listeners[i].ready {
                self.accept(i);
            }
        }
    }

    /// Sleeps until a socket is ready, a limit is reached, or `longest` is over.
    fn wait(&mut self, longest: Duration) {
        let now = Instant::now();
        let accepting = self.accept_after <= now;
        let timeout = self.timeout(now, longest);
        let listeners = self.listeners.iter().map(|l| {
            let wanted = if accepting {
                PollFlags::IN
            } else {
                PollFlags::empty()
            };
            PollFd::from_borrowed_fd(l.as_fd(), wanted)
        });
        let connections = self
            .connections
            .iter()
            .map(|c| PollFd::from_borrowed_fd(c.socket().as_fd(), c.socket().waits_for()));
        let gate = self.shared.gate.as_deref().map(|gate| gate.wake_up());
        let wake_ups: Vec<_> = gate
            .into_iter()
            .chain(self.wake_ups.iter().map(|wake_up| &**wake_up))
            .collect();
        let woken = wake_ups
            .iter()
            .map(|wake_up| PollFd::new(*wake_up, PollFlags::IN));
        let mut fds: Vec<PollFd<'_>> = listeners.chain(connections).chain(woken).collect();
        let result = poll(&mut fds, Some(&timeout));
        let events: Vec<PollFlags> = fds.iter().map(PollFd::revents).collect();
        if let Err(errno) = result {
            if errno != Errno::INTR {
                self.shared.report("poll", || format!("poll: {errno}"));
                std::thread::sleep(ACCEPT_PAUSE);
            }
            return;
        }
        let (events, woken) = events.split_at(events.len() - wake_ups.len());
        let woken = wake_ups.iter().zip(woken);
        woken
            .filter(|(_, events)| !events.is_empty())
            .for_each(|(wake_up, _)| wake_up.clear());
        let (listeners, connections) = events.split_at(self.listeners.len());
        for (listener, events) in self.listeners.iter_mut().zip(listeners) {
            listener.ready = accepting && !events.is_empty();
        }
        for (connection, events) in self.connections.iter_mut().zip(connections) {
            connection.note(*events);
        }
    }

    fn timeout(&self, now: Instant, longest: Duration) -> Timespec {
        let mut until = now + longest;
        if self.accept_after > now {
            until = until.min(self.accept_after);
        }
        for connection in &self.connections {
            until = if connection.is_woken() {
                now
            } else {
                until.min(connection.deadline())
            };
            if until <= now {
                break;
            }
        }
        let timeout = until.saturating_duration_since(now);
        Timespec {
            // at most `longest`, which is below a second
            tv_sec: timeout.as_secs() as i64,
            tv_nsec: timeout.subsec_nanos().into(),
        }
    }

    /// Ends the connections that the gate no longer accepts, each after its current response.
    fn close_outdated(&mut self) {
        let epoch = self.shared.gate.as_ref().map_or(0, |gate| gate.epoch());
        if std::mem::replace(&mut self.epoch, epoch) != epoch {
            self.connections.iter_mut().for_each(Connection::finish);
        }
    }

    fn close_late(&mut self) {
        let now = Instant::now();
        let shared = &self.shared;
        self.connections.retain(|connection| {
            if connection.deadline() > now {
                return true;
            }
            if let Some(fault) = connection.socket().phase().fault() {
                shared.report(fault, || format!("{}: {fault}", connection.peer()));
            }
            false
        });
    }

    /// Closes the longest running responses while all responses use too much memory. The last one
    /// may stay, regardless of its size.
    fn bound_memory(&mut self) {
        while self.shared.held.load(Ordering::Relaxed) > self.shared.limits.response_memory {
            let connections = self.connections.iter().enumerate();
            let responding: Vec<(Instant, usize)> = connections
                .filter_map(|(i, c)| match c.socket().phase() {
                    Phase::Responding { since, .. } => Some((since, i)),
                    _ => None,
                })
                .collect();
            let Some(&(_, oldest)) = responding.iter().min().filter(|_| responding.len() > 1)
            else {
                return;
            };
            let connection = self.connections.swap_remove(oldest);
            self.shared.report("memory", || {
                let peer = connection.peer();
                format!("{peer}: closed, too much memory is in responses not taken")
            });
        }
    }

    fn accept(&mut self, listener: usize) {
        for _ in 0..ACCEPT_BATCH {
            match self.listeners[listener].accept() {
                Ok((fd, address)) => {
                    if !self.shared.allows(address) {
                        continue;
                    }
                    self.make_room();
                    let shared = self.shared.clone();
                    match Connection::new(fd, address, shared, Instant::now()) {
                        Ok(mut connection) => {
                            if connection.turn() {
                                self.connections.push(connection);
                            }
                        }
                        Err(error) => self.shared.report("tls", || error.to_string()),
                    }
                }
                Err(Errno::AGAIN) => return,
                // accept(2) looks for a descriptor before it looks for a connection
                Err(Errno::MFILE | Errno::NFILE) if !self.listeners[listener].has_waiting() => {
                    return;
                }
                Err(errno @ (Errno::MFILE | Errno::NFILE)) if self.free_descriptors(errno) => {}
                // The client left before it was accepted.
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(errno) => {
                    self.shared.report("accept", || format!("accept: {errno}"));
                    self.accept_after = Instant::now() + ACCEPT_PAUSE;
                    return;
                }
            }
        }
    }

    /// Refills the reserve, and closes idle connections if a thread found no file descriptor.
    fn relieve(&mut self) {
        if let Some(listener) = self.listeners.first() {
            self.reserve.fill(listener);
        }
        let shortages = self.shared.errors.shortages();
        if std::mem::replace(&mut self.shortages, shortages) != shortages {
            self.close_idle();
        }
    }

    /// Frees descriptors for a waiting connection. Returns false if nothing can be freed.
    fn free_descriptors(&mut self, errno: Errno) -> bool {
        self.shared.errors.note_shortage(&errno.into());
        self.shortages = self.shared.errors.shortages();
        self.close_idle() || self.reserve.free(FROM_RESERVE)
    }

    fn close_idle(&mut self) -> bool {
        let before = self.connections.len();
        self.connections.retain(|c| !c.socket().phase().is_idle());
        let closed = before - self.connections.len();
        if closed > 0 {
            self.shared.report("descriptors", || {
                format!("closed {closed} idle connections: no file descriptor is left; raise LimitNOFILE")
            });
        }
        closed > 0
    }

    fn make_room(&mut self) {
        while self.connections.len() >= self.shared.limits.connections.max(1) {
            let ranks = self.connections.iter().enumerate();
            let Some((_, lowest)) = ranks.map(|(i, c)| (c.rank(), i)).min() else {
                return;
            };
            let connection = self.connections.swap_remove(lowest);
            self.shared.report("full", || {
                format!(
                    "{}: closed to make room, {} connections are the limit",
                    connection.peer(),
                    self.shared.limits.connections
                )
            });
        }
    }
}
