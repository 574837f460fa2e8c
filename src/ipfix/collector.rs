// SPDX-License-Identifier: AGPL-3.0-only
//! One collector: looked up, connected and reconnected, without ever blocking. The latest records wait meanwhile,
//! older ones are dropped and counted.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::TryRecvError;

use super::collector_stats::CollectorStats;
use super::held::HeldMessages;
use super::message::Sealed;
use super::options::Statistics;
use super::outages::Outages;
use super::resolve::{Addresses, HostNames, PendingLookup, resolve};
use super::self_traffic::SelfTraffic;
use super::tcp::Tcp;
use super::udp::Udp;
use super::{SendResult, SentCounts, socket};
use crate::flow::export_queue::RecordCounts;
use crate::sys::error_counters::{ErrorCounters, Subsystem};
use crate::sys::os_error;
use crate::types::transport::Transport;

/// A collector that does not reject its templates within this time counts as reachable.
const PROBE: Duration = Duration::from_millis(300);
/// The pause between two attempts: doubled each time, at most half a template refresh.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Records wait for this time longer than the longest pause: the next attempt is then over.
const HOLD_SLACK: Duration = Duration::from_secs(2);
/// The maximum time until a host name is looked up again: no event reports that its address
/// changed.
const LOOKUP_INTERVAL: Duration = Duration::from_secs(300);
/// The time between two steps while messages wait for their turn.
const PACED_INTERVAL: Duration = Duration::from_millis(1);
/// The time between two steps while the collector is connecting or slow.
const BUSY_INTERVAL: Duration = Duration::from_millis(10);
/// The last messages are paced so that they are sent this long before the deadline.
const FINISH_SLACK: Duration = Duration::from_millis(200);

pub struct Collector {
    /// The number of the collector, as the owner of its connections.
    number: usize,
    names: HostNames,
    resolve: fn(&HostNames, Option<SocketAddr>) -> io::Result<PendingLookup>,
    /// The pending lookup of the name while the collector is in use.
    lookup: Option<PendingLookup>,
    /// The time of the last lookup; `None`: a lookup is due.
    looked_up: Option<Instant>,
    transport: Transport,
    stats: Arc<CollectorStats>,
    errors: Arc<ErrorCounters>,
    state: State,
    /// The records that wait for the next connection.
    held: HeldMessages,
    sent: SentCounts,
    outages: Outages,
    refresh: Duration,
    refreshed: Instant,
    pause: Duration,
    /// True if there was a warning of an outage and the connection has not been restored since.
    was_lost: bool,
}

enum State {
    Down {
        until: Instant,
    },
    Resolving(PendingLookup),
    Connecting(Tcp),
    /// Templates were sent; the collector may still reject them.
    Probing(Udp, Instant),
    Udp(Udp),
    Tcp(Tcp),
}

/// The announcements that a collector needs before it is sent more records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    Nothing,
    Options,
    TemplatesAndOptions,
}

impl Collector {
    pub fn new(
        number: usize,
        names: HostNames,
        transport: Transport,
        refresh: Duration,
        stats: Arc<CollectorStats>,
        errors: Arc<ErrorCounters>,
        now: Instant,
    ) -> Self {
        Self {
            number,
            names,
            resolve,
            lookup: None,
            looked_up: None,
            transport,
            stats,
            errors,
            state: State::Down { until: now },
            held: HeldMessages::default(),
            sent: SentCounts::default(),
            outages: Outages::new(),
            refresh,
            refreshed: now,
            pause: FIRST_PAUSE,
            was_lost: false,
        }
    }

    /// Advances the connection, if a step is due.
    pub fn poll(&mut self, now: Instant, self_traffic: &mut SelfTraffic) -> Need {
        let result = self.try_poll(now, self_traffic);
        let expired = self.held.expire(self.longest_pause() + HOLD_SLACK, now);
        self.drop(expired);
        let waiting = self.queued().parts + self.held.load().parts;
        self.stats.set_queued(waiting);
        match result {
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

    fn try_poll(&mut self, now: Instant, self_traffic: &mut SelfTraffic) -> io::Result<Need> {
        if let State::Down { until } = self.state {
            if now < until {
                return Ok(Need::Nothing);
            }
            self.lookup = None;
            self.looked_up = Some(now);
            self.state = State::Resolving((self.resolve)(&self.names, None)?);
        }
        if let Some(addresses) = self.moved(now) {
            self.abandon();
            // closes the socket: the next one may have the same port
            self.state = State::Down { until: now };
            return self.open(addresses, now, self_traffic);
        }
        match &mut self.state {
            State::Resolving(answer) => match answer.try_recv() {
                Err(TryRecvError::Empty) => return Ok(Need::Nothing),
                Err(TryRecvError::Disconnected) => return Err(io::ErrorKind::NotFound.into()),
                Ok(addresses) => return self.open(addresses?, now, self_traffic),
            },
            State::Connecting(tcp) => {
                if !tcp.connect(now)? {
                    return Ok(Need::Nothing);
                }
            }
            State::Probing(udp, until) => {
                udp.send_queued(&mut self.sent, 0.0, now)?;
                if now < *until {
                    return Ok(Need::Nothing);
                }
                udp.confirm(now)?;
            }
            State::Udp(udp) => {
                self.stats.add_sent(udp.confirm(now)?.parts);
                udp.send_queued(&mut self.sent, 0.0, now)?;
            }
            State::Tcp(tcp) => self.stats.add_sent(tcp.write(now)?.parts),
            State::Down { .. } => {}
        }
        Ok(self.establish(now))
    }

    /// Makes the next poll look up the name again.
    pub fn look_up_again(&mut self) {
        self.looked_up = None;
    }

    /// Looks up the name again if that is due. Returns the addresses if the current one is no
    /// longer among them. An error changes nothing: the current address stays in use.
    fn moved(&mut self, now: Instant) -> Option<Addresses> {
        let peer = match &self.state {
            State::Udp(udp) | State::Probing(udp, _) => udp.peer,
            State::Tcp(tcp) => tcp.peer,
            State::Down { .. } | State::Resolving(_) | State::Connecting(_) => return None,
        };
        let due = |at: Instant| now.saturating_duration_since(at) >= LOOKUP_INTERVAL;
        if self.lookup.is_none() && self.looked_up.is_none_or(due) && !self.names.are_addresses() {
            self.looked_up = Some(now);
            self.lookup = self.accept_lookup((self.resolve)(&self.names, Some(peer)));
        }
        let answer = match self.lookup.as_ref()?.try_recv() {
            Err(TryRecvError::Empty) => return None,
            Err(TryRecvError::Disconnected) => Err(io::ErrorKind::NotFound.into()),
            Ok(answer) => answer,
        };
        self.lookup = None;
        let addresses = self.accept_lookup(answer)?;
        (addresses.peer != peer).then(|| {
            let collector = &self.stats.collector;
            log::info!("ipfix: {collector} has another address: {}", addresses.peer);
            addresses
        })
    }

    fn accept_lookup<T>(&self, result: io::Result<T>) -> Option<T> {
        let report = |error: &io::Error| {
            self.errors.count_and_log(Subsystem::Ipfix, "lookup", || {
                let collector = &self.stats.collector;
                format!(
                    "{collector}: cannot resolve the name: {}; its previous address stays in use",
                    os_error::reason(error)
                )
            });
        };
        result.inspect_err(report).ok()
    }

    /// Counts the records of a lost connection that were not sent or may not have arrived as dropped.
    fn abandon(&self) {
        self.drop(self.queued());
        if let State::Udp(udp) | State::Probing(udp, _) = &self.state {
            self.drop(udp.unconfirmed());
        }
    }

    /// Returns the records that wait in the queue of the connection.
    fn queued(&self) -> RecordCounts {
        match &self.state {
            State::Udp(udp) | State::Probing(udp, _) => udp.queued(),
            State::Tcp(tcp) => tcp.unsent(),
            State::Down { .. } | State::Resolving(_) | State::Connecting(_) => {
                RecordCounts::default()
            }
        }
    }

    fn open(
        &mut self,
        Addresses { peer, local }: Addresses,
        now: Instant,
        self_traffic: &mut SelfTraffic,
    ) -> io::Result<Need> {
        let (socket, local) = socket::open(self.transport, peer, local)?;
        // before the collector accepts it: the packets of a refused connection are also its own
        self_traffic.add(self.number, self.transport, local, peer);
        match self.transport {
            Transport::Udp => {
                self.state = State::Probing(Udp::new(socket, peer, now), now + PROBE);
                Ok(Need::TemplatesAndOptions)
            }
            Transport::Tcp => {
                self.state = State::Connecting(Tcp::new(socket, peer, now));
                Ok(Need::Nothing)
            }
        }
    }

    /// Marks a new connection as established; an older one may be due for a refresh.
    fn establish(&mut self, now: Instant) -> Need {
        let state = std::mem::replace(&mut self.state, State::Down { until: now });
        let (state, is_new, need) = match state {
            State::Connecting(tcp) => {
                self.sent.sequence = 0;
                (State::Tcp(tcp), true, Need::TemplatesAndOptions)
            }
            State::Probing(udp, _) => (State::Udp(udp), true, Need::Nothing),
            State::Udp(udp) => (State::Udp(udp), false, Need::TemplatesAndOptions),
            State::Tcp(tcp) => (State::Tcp(tcp), false, Need::Options),
            other => (other, false, Need::Nothing),
        };
        self.state = state;
        if !is_new {
            let due = now.saturating_duration_since(self.refreshed) >= self.refresh;
            return if due { need } else { Need::Nothing };
        }
        self.pause = FIRST_PAUSE;
        self.outages.reached(now);
        if std::mem::take(&mut self.was_lost) {
            log::info!("ipfix: {} is there again", self.stats.collector);
        }
        need
    }

    /// Sends a message or adds it to the queue; counts its records as dropped if there is no room. While the collector
    /// is not connected, records wait for the connection. A new UDP socket sends only templates and options.
    pub fn send(&mut self, message: &Sealed, now: Instant) {
        let result = match &mut self.state {
            State::Probing(..) if !message.is_announcement() => return self.hold(message, now),
            State::Udp(udp) | State::Probing(udp, _) => {
                let result = udp.push(message);
                udp.send_queued(&mut self.sent, 0.0, now).map(|()| result)
            }
            State::Tcp(tcp) => Ok(tcp.send(message, &mut self.sent, now)),
            State::Down { .. } | State::Resolving(_) | State::Connecting(_) => {
                return self.hold(message, now);
            }
        };
        match result {
            Ok(SendResult::Sent) => {}
            Ok(SendResult::NoRoom) => self.drop(message.load),
            Err(error) => self.fail(&error, now),
        }
    }

    fn hold(&mut self, message: &Sealed, now: Instant) {
        // a new connection is sent current templates and options
        if !message.is_announcement() {
            let evicted = self.held.push(message, now);
            self.drop(evicted);
        }
    }

    /// Sends the records that waited for the connection. Call it after each poll, when the templates were sent.
    pub fn send_held(&mut self, now: Instant) {
        if matches!(self.state, State::Udp(_) | State::Tcp(_)) {
            for message in self.held.take() {
                self.send(&message, now);
            }
        }
    }

    /// Announces another sample rate. Records that wait for a connection are dropped: the options of the connection
    /// name the new rate, and the collector would scale them by it.
    pub fn change_rate(&mut self, message: &Sealed, now: Instant) {
        self.drop_held();
        self.send(message, now);
    }

    fn drop_held(&mut self) {
        self.drop(self.held.load());
        self.held = HeldMessages::default();
    }

    fn drop(&self, load: RecordCounts) {
        self.stats.add_dropped(load);
    }

    fn fail(&mut self, error: &io::Error, now: Instant) {
        self.abandon();
        self.state = State::Down {
            until: now + self.pause,
        };
        self.pause = (2 * self.pause).min(self.longest_pause());
        let warning = self.outages.failed(now);
        self.was_lost |= warning.is_some();
        let collector = &self.stats.collector;
        self.errors.count_and_log_if(Subsystem::Ipfix, warning, || {
            format!(
                "{collector} cannot be reached and misses records: {}",
                os_error::reason(error)
            )
        });
    }

    fn longest_pause(&self) -> Duration {
        LONGEST_PAUSE.min(self.refresh / 2).max(FIRST_PAUSE)
    }

    /// Returns the bytes that a packet to the collector can carry without fragmentation, if that is
    /// known and relevant.
    pub fn payload(&self) -> Option<usize> {
        match &self.state {
            State::Udp(udp) | State::Probing(udp, _) => udp.payload,
            _ => None,
        }
    }

    /// Returns the time after which the next step may be due; `None`: not soon.
    pub fn next_step(&self) -> Option<Duration> {
        match &self.state {
            State::Udp(udp) | State::Probing(udp, _) if udp.queued_messages() > 0 => {
                Some(PACED_INTERVAL)
            }
            State::Resolving(_) | State::Connecting(_) | State::Probing(..) => Some(BUSY_INTERVAL),
            State::Tcp(tcp) if tcp.is_waiting() => Some(BUSY_INTERVAL),
            State::Down { .. } | State::Udp(_) | State::Tcp(_) => None,
        }
    }

    pub fn statistics(&self) -> Statistics {
        Statistics {
            messages: self.sent.messages,
            bytes: self.sent.bytes,
            records: self.stats.records(),
            not_sent: self.stats.dropped(),
            ..Statistics::default()
        }
    }

    /// Sends waiting messages at the end of the thread, fast enough to be done at `deadline`. Returns true if it is
    /// done.
    pub fn finish(&mut self, now: Instant, deadline: Instant) -> bool {
        let result = match &mut self.state {
            State::Udp(udp) => {
                let left = deadline.saturating_duration_since(now + FINISH_SLACK);
                let left = left.max(PACED_INTERVAL);
                let minimum = udp.queued_messages() as f64 / left.as_secs_f64();
                udp.send_queued(&mut self.sent, minimum, now)
            }
            State::Tcp(tcp) => tcp.write(now).map(|load| self.stats.add_sent(load.parts)),
            _ => {
                self.drop_held();
                return true;
            }
        };
        match result {
            Ok(()) if self.next_step().is_none() => true,
            Ok(()) if now < deadline => false,
            Ok(()) => {
                self.fail(&io::ErrorKind::TimedOut.into(), now);
                true
            }
            Err(error) => {
                self.fail(&error, now);
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::net::UdpSocket;

    use crossbeam_channel::bounded;

    use super::*;
    use crate::ipfix::{socket, templates};

    thread_local! {
        /// The address of the name; `None`: the resolver does not know it.
        static ADDRESS: Cell<Option<SocketAddr>> = const { Cell::new(None) };
        static LOOKUPS: Cell<u32> = const { Cell::new(0) };
    }

    fn answer(_: &HostNames, _: Option<SocketAddr>) -> io::Result<PendingLookup> {
        LOOKUPS.set(LOOKUPS.get() + 1);
        let (sender, answer) = bounded(1);
        let found = ADDRESS.get().ok_or(io::ErrorKind::NotFound.into());
        let _ = sender.send(found.map(|peer| Addresses {
            peer,
            local: socket::any(peer, 0),
        }));
        Ok(answer)
    }

    fn listener() -> UdpSocket {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        socket
    }

    fn is_reached(listener: &UdpSocket) -> bool {
        listener.recv(&mut [0; 1500]).is_ok()
    }

    #[test]
    fn a_name_that_moves_is_found_again() {
        let (first, second, third) = (listener(), listener(), listener());
        let names = |host: &str| HostNames {
            host: host.into(),
            port: 4739,
            local_host: String::new(),
            local_port: 0,
        };
        let start = Instant::now();
        let mut collector = Collector {
            resolve: answer,
            ..Collector::new(
                0,
                names("collector.example"),
                Transport::Udp,
                Duration::from_secs(3600),
                Arc::new(CollectorStats::new("c".into(), Arc::default())),
                Arc::default(),
                start,
            )
        };
        let mut self_traffic = SelfTraffic::default();
        let mut poll = |collector: &mut Collector, seconds: u64| {
            let now = start + Duration::from_secs(seconds);
            let need = collector.poll(now, &mut self_traffic);
            let mut message = templates::sample_rate(1, 1);
            collector.send(&message.seal(0, 1), now);
            need
        };
        ADDRESS.set(first.local_addr().ok());
        assert_eq!(poll(&mut collector, 0), Need::TemplatesAndOptions);
        poll(&mut collector, 1);
        assert!(is_reached(&first));

        // an error of the resolver changes nothing
        ADDRESS.set(None);
        poll(&mut collector, 300);
        assert_eq!(
            (LOOKUPS.get(), collector.errors.get(Subsystem::Ipfix)),
            (2, 1)
        );
        ADDRESS.set(second.local_addr().ok());
        poll(&mut collector, 599);
        assert_eq!(LOOKUPS.get(), 2);
        assert!(!is_reached(&second));
        assert_eq!(poll(&mut collector, 600), Need::TemplatesAndOptions);
        assert!(is_reached(&second));

        // a reload does not wait
        ADDRESS.set(third.local_addr().ok());
        collector.look_up_again();
        assert_eq!(poll(&mut collector, 602), Need::TemplatesAndOptions);
        assert!(is_reached(&third));
        // the same address again is no change
        collector.look_up_again();
        assert_eq!(poll(&mut collector, 603), Need::Nothing);
        assert_eq!(LOOKUPS.get(), 5);
        collector.names = names("192.0.2.1");
        collector.look_up_again();
        poll(&mut collector, 604);
        assert_eq!(LOOKUPS.get(), 5);
    }
}
