// SPDX-License-Identifier: AGPL-3.0-only
//! One collector: found, reached, lost and reached again, without ever being waited for. What it misses
//! meanwhile is counted.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, TryRecvError};

use super::Sent;
use super::message::Message;
use super::options::Statistics;
use super::own::OwnConnections;
use super::resolve::{Addresses, Names, resolve};
use super::socket;
use super::tally::Tally;
use super::tcp::Tcp;
use super::udp::Udp;
use crate::config::Transport;
use crate::errors::{Errors, Subsystem};
use crate::flow::outlet::Load;

/// A collector that does not refuse its templates for so long is there.
const PROBE: Duration = Duration::from_millis(300);
/// Between two attempts: doubled each time, and never more than half a template refresh.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How long the last messages may take to get out.
const FAREWELL: Duration = Duration::from_secs(1);
const FAREWELL_TICK: Duration = Duration::from_millis(5);

pub struct Collector {
    names: Names,
    transport: Transport,
    tally: Arc<Tally>,
    errors: Arc<Errors>,
    state: State,
    /// Data records sent: over UDP since the start, over TCP in this connection (RFC 7011 section 3.1).
    sequence: u32,
    messages: u64,
    bytes: u64,
    refresh: Duration,
    refreshed: Instant,
    pause: Duration,
    /// It was lost, and has not been reached since.
    lost: bool,
}

enum State {
    Down {
        until: Instant,
    },
    Resolving(Receiver<io::Result<Addresses>>),
    Connecting(Tcp),
    /// Has been sent templates, and may refuse them.
    Probing(Udp, Instant),
    Udp(Udp),
    Tcp(Tcp),
}

/// What a collector needs before it is sent more records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    Nothing,
    Options,
    TemplatesAndOptions,
}

impl Collector {
    pub fn new(
        names: Names,
        transport: Transport,
        refresh: Duration,
        tally: Arc<Tally>,
        errors: Arc<Errors>,
        now: Instant,
    ) -> Self {
        Self {
            names,
            transport,
            tally,
            errors,
            state: State::Down { until: now },
            sequence: 0,
            messages: 0,
            bytes: 0,
            refresh,
            refreshed: now,
            pause: FIRST_PAUSE,
            lost: false,
        }
    }

    /// Takes the next step towards it, if one is due.
    pub fn turn(&mut self, now: Instant, own: &mut OwnConnections) -> Need {
        match self.step(now, own) {
            Ok(need) => {
                if need != Need::Nothing {
                    self.refreshed = now;
                }
                need
            }
            Err(error) => {
                self.fail(&error, now);
                Need::Nothing
            }
        }
    }

    fn step(&mut self, now: Instant, own: &mut OwnConnections) -> io::Result<Need> {
        if let State::Down { until } = self.state {
            if now < until {
                return Ok(Need::Nothing);
            }
            self.state = State::Resolving(resolve(&self.names)?);
        }
        match &mut self.state {
            State::Resolving(answer) => match answer.try_recv() {
                Err(TryRecvError::Empty) => return Ok(Need::Nothing),
                Err(TryRecvError::Disconnected) => return Err(io::ErrorKind::NotFound.into()),
                Ok(addresses) => return self.open(addresses?, now, own),
            },
            State::Connecting(tcp) => {
                if !tcp.connect(now)? {
                    return Ok(Need::Nothing);
                }
            }
            State::Probing(udp, until) if now >= *until => {
                udp.look(now)?;
            }
            State::Probing(..) => return Ok(Need::Nothing),
            State::Udp(udp) => self.tally.sent(udp.look(now)?.parts),
            State::Tcp(tcp) => self.tally.sent(tcp.write(now)?.parts),
            State::Down { .. } => {}
        }
        Ok(self.arrive(now, own))
    }

    fn open(
        &mut self,
        Addresses { peer, own: from }: Addresses,
        now: Instant,
        own: &mut OwnConnections,
    ) -> io::Result<Need> {
        let socket = socket::open(self.transport, peer, from)?;
        match self.transport {
            Transport::Udp => {
                let udp = Udp::new(socket, peer, now)?;
                own.add(self.transport, udp.own, udp.peer);
                self.state = State::Probing(udp, now + PROBE);
                Ok(Need::TemplatesAndOptions)
            }
            Transport::Tcp => {
                self.state = State::Connecting(Tcp::new(socket, peer, now)?);
                Ok(Need::Nothing)
            }
        }
    }

    /// What was on its way is there; what is there may be due for a refresh.
    fn arrive(&mut self, now: Instant, own: &mut OwnConnections) -> Need {
        let state = std::mem::replace(&mut self.state, State::Down { until: now });
        let (state, arrived, need) = match state {
            State::Connecting(tcp) => {
                own.add(self.transport, tcp.own, tcp.peer);
                self.sequence = 0;
                (State::Tcp(tcp), true, Need::TemplatesAndOptions)
            }
            State::Probing(udp, _) => (State::Udp(udp), true, Need::Nothing),
            State::Udp(udp) => (State::Udp(udp), false, Need::TemplatesAndOptions),
            State::Tcp(tcp) => (State::Tcp(tcp), false, Need::Options),
            other => (other, false, Need::Nothing),
        };
        self.state = state;
        if !arrived {
            let due = now.saturating_duration_since(self.refreshed) >= self.refresh;
            return if due { need } else { Need::Nothing };
        }
        self.pause = FIRST_PAUSE;
        if std::mem::take(&mut self.lost) {
            log::info!("ipfix: {} is there again", self.tally.collector);
        }
        need
    }

    /// Sends templates or options.
    pub fn notify(&mut self, message: &mut Message, now: Instant) {
        self.transmit(message, now, true);
    }

    /// Sends records, or counts them as dropped.
    pub fn send(&mut self, message: &mut Message, now: Instant) {
        self.transmit(message, now, false);
    }

    fn transmit(&mut self, message: &mut Message, now: Instant, notice: bool) {
        message.number(self.sequence);
        let (bytes, load) = (message.bytes(), message.load());
        let sent = match &mut self.state {
            State::Udp(udp) => udp.send(bytes, load, now),
            State::Probing(udp, _) if notice => udp.send(bytes, load, now),
            State::Tcp(tcp) => Ok(tcp.send(bytes, load, now)),
            State::Probing(..)
            | State::Down { .. }
            | State::Resolving(_)
            | State::Connecting(_) => Ok(Sent::NoRoom),
        };
        match sent {
            Ok(Sent::Yes) => {
                self.sequence = self.sequence.wrapping_add(message.records());
                self.messages += 1;
                self.bytes += bytes.len() as u64;
            }
            Ok(Sent::NoRoom) => self.drop(load),
            Err(error) => {
                self.drop(load);
                self.fail(&error, now);
            }
        }
    }

    fn drop(&self, load: Load) {
        self.tally.dropped(load);
    }

    fn fail(&mut self, error: &io::Error, now: Instant) {
        match &self.state {
            State::Udp(udp) | State::Probing(udp, _) => self.drop(udp.unconfirmed()),
            State::Tcp(tcp) => self.drop(tcp.unsent()),
            State::Down { .. } | State::Resolving(_) | State::Connecting(_) => {}
        }
        self.state = State::Down {
            until: now + self.pause,
        };
        let longest = LONGEST_PAUSE.min(self.refresh / 2).max(FIRST_PAUSE);
        self.pause = (2 * self.pause).min(longest);
        self.lost = true;
        let collector = &self.tally.collector;
        self.errors.report(Subsystem::Ipfix, "collector", || {
            format!("{collector} cannot be reached and misses records: {error}")
        });
    }

    /// Bytes that a packet to it carries in one piece, where that is known and matters.
    pub fn payload(&self) -> Option<usize> {
        match &self.state {
            State::Udp(udp) | State::Probing(udp, _) => udp.payload,
            _ => None,
        }
    }

    /// Something may happen any moment.
    pub fn is_waiting(&self) -> bool {
        match &self.state {
            State::Resolving(_) | State::Connecting(_) | State::Probing(..) => true,
            State::Tcp(tcp) => tcp.is_waiting(),
            State::Down { .. } | State::Udp(_) => false,
        }
    }

    pub fn statistics(&self) -> Statistics {
        Statistics {
            messages: self.messages,
            bytes: self.bytes,
            records: self.tally.records(),
            not_sent: self.tally.lost(),
            ..Statistics::default()
        }
    }

    /// Lets the last messages out.
    pub fn finish(mut self) {
        let deadline = Instant::now() + FAREWELL;
        while let State::Tcp(tcp) = &mut self.state
            && tcp.is_waiting()
        {
            let now = Instant::now();
            match tcp.write(now) {
                Ok(load) => self.tally.sent(load.parts),
                Err(error) => return self.fail(&error, now),
            }
            if now >= deadline {
                return self.fail(&io::ErrorKind::TimedOut.into(), now);
            }
            std::thread::sleep(FAREWELL_TICK);
        }
    }
}
