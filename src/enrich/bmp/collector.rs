// SPDX-License-Identifier: AGPL-3.0-only
//! THREAD bmp: listens, admits routers, starts and joins the thread of each session, and expires routes.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt;

use crate::enrich::rib::{RibConfig, SharedRib};
use crate::store::event_log;
use crate::sys::error_counters::ErrorCounters;
use crate::sys::listen::{self, BindError, Listener};
use crate::sys::threads::Heartbeat;
use crate::types::event::EventKind;
use crate::types::prefix::Prefix;

use super::admission::{ActiveSession, Admission, KnownRouters};
use super::connection::{Connection, PeerPresence, READ_TIMEOUT, millis};
use super::error::BmpError;
use super::session::Session;
use super::stats::RouterStats;

/// Interval at which stale routes expire and memory is freed.
const MAINTENANCE_INTERVAL: Duration = Duration::from_millis(200);
/// Delay after an accept that failed because descriptors or memory ran out.
const RETRY: Duration = Duration::from_millis(100);
/// Stack size of a session's thread, which decodes into the Rib and needs little.
const STACK_SIZE: usize = 256 * 1024;

/// A router that disappears without closing the connection is detected after 90 seconds.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_COUNT: u32 = 3;

/// The listening address of the collector, and its parameters.
#[derive(Clone, Debug)]
pub struct BmpConfig {
    pub host: String,
    pub port: u16,
    pub limits: BmpLimits,
    /// Overrides the AS of the routers; 0 = the AS in their messages.
    pub local_asn: u32,
}

/// The routers that may connect, and the maximum number of sessions.
#[derive(Clone, Debug)]
pub struct BmpLimits {
    /// An empty list allows all.
    pub allow: Vec<Prefix>,
    pub max_sessions: usize,
}

/// New limits of the collector and its RIB; the VRFs of the RIB stay.
#[derive(Clone, Debug)]
pub struct BmpChange {
    pub limits: BmpLimits,
    pub rib: RibConfig,
}

/// The BMP collector with its listening sockets; [`Collector::run`] is the body of its thread.
pub struct Collector {
    listeners: Vec<Listener>,
    limits: BmpLimits,
    local_asn: u32,
    rib: SharedRib,
    router_stats: Arc<RouterStats>,
    epoch: Instant,
    sessions: Vec<RunningSession>,
    known: KnownRouters,
    changes: (Sender<BmpChange>, Receiver<BmpChange>),
}

/// A session's thread, and the means to end it.
struct RunningSession {
    address: IpAddr,
    presence: Arc<PeerPresence>,
    thread: JoinHandle<()>,
    stream: TcpStream,
    stop: Arc<AtomicBool>,
}

/// The thread of a session panicked. This is a bug; the agent must not continue with a half-modified Rib.
struct SessionPanicked;

impl Collector {
    pub fn bind(
        config: BmpConfig,
        rib: SharedRib,
        errors: Arc<ErrorCounters>,
    ) -> Result<Self, BindError> {
        Ok(Self {
            listeners: listen::bind(&config.host, config.port)?,
            limits: config.limits,
            local_asn: config.local_asn,
            rib,
            router_stats: Arc::new(RouterStats::new(errors)),
            epoch: Instant::now(),
            sessions: Vec::new(),
            known: KnownRouters::default(),
            changes: bounded(1),
        })
    }

    /// Returns the listening addresses. If port 0 was configured, they contain the actual port.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().filter_map(|l| l.address()).collect()
    }

    /// Returns the channel for new limits and permissions. Sessions that these no longer allow end.
    pub fn changes(&self) -> Sender<BmpChange> {
        self.changes.0.clone()
    }

    pub fn router_stats(&self) -> Arc<RouterStats> {
        self.router_stats.clone()
    }

    /// Runs until `heartbeat` requests a stop, or a session's thread panics.
    pub fn run(mut self, heartbeat: &Heartbeat) {
        let mut maintained = Instant::now();
        while !heartbeat.stopping() {
            heartbeat.beat();
            while let Ok(change) = self.changes.1.try_recv() {
                self.change(change);
            }
            self.wait_and_accept();
            if maintained.elapsed() >= MAINTENANCE_INTERVAL {
                maintained = Instant::now();
                let now = millis(self.epoch);
                self.rib.maintain(now);
                self.update_known_routers(now);
                self.router_stats.expire(now);
            }
            if self.reap().is_err() {
                return;
            }
        }
        for session in self.sessions.drain(..) {
            session.stop();
        }
    }

    fn change(&mut self, change: BmpChange) {
        self.limits = change.limits;
        self.rib
            .write(millis(self.epoch), |rib| rib.set_limits(&change.rib));
        self.end_excluded();
    }

    /// Ends the sessions of routers that may no longer connect and, beyond the limit, the newest ones.
    fn end_excluded(&self) {
        let running = self.sessions.iter().filter(|session| session.is_active());
        let (allowed, excluded): (Vec<_>, Vec<_>) =
            running.partition(|session| self.allows(session.address));
        for session in excluded {
            session.end("it is no longer in agent.enrich.rib.bmp.allow");
        }
        for session in allowed.iter().skip(self.limits.max_sessions) {
            session.end("agent.enrich.rib.bmp.max_sessions is lower than before");
        }
    }

    fn allows(&self, address: IpAddr) -> bool {
        self.limits.allow.is_empty() || self.limits.allow.iter().any(|p| p.contains(address))
    }

    fn wait_and_accept(&mut self) {
        let mut fds: Vec<_> = self
            .listeners
            .iter()
            .map(|l| PollFd::new(l, PollFlags::IN))
            .collect();
        let timeout = Timespec::try_from(MAINTENANCE_INTERVAL).ok();
        if !poll(&mut fds, timeout.as_ref()).is_ok_and(|n| n > 0) {
            return;
        }
        let ready: Vec<_> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        for i in (0..ready.len()).filter(|&i| ready[i]) {
            match self.listeners[i].accept() {
                Ok((fd, Some(address))) => self.admit(fd, address.ip().to_canonical()),
                Ok((_, None)) | Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
                Err(error) => {
                    self.router_stats.note_shortage(&error.into());
                    self.router_stats
                        .count_error(BmpError::Accept, || format!("accept: {error}"));
                    std::thread::sleep(RETRY);
                }
            }
        }
    }

    fn admit(&mut self, fd: OwnedFd, address: IpAddr) {
        if !self.allows(address) {
            let text = || format!("{address} is not in agent.enrich.rib.bmp.allow");
            self.router_stats.count_error(BmpError::NotAllowed, text);
            return;
        }
        if let Err(error) = self.admit_or_replace(address) {
            let limit = self.limits.max_sessions;
            let text = || match error {
                BmpError::AddressLimit => format!(
                    "{address} has its share of the sessions already (half of max_sessions = {limit})"
                ),
                _ => format!("{address} is one more than max_sessions = {limit}"),
            };
            self.router_stats.count_error(error, text);
            return;
        }
        match self.start(fd, address) {
            Ok(running) => self.sessions.push(running),
            Err(error) => self
                .router_stats
                .count_error(BmpError::Accept, || format!("{address}: {error}")),
        }
    }

    /// Ends a session for a new one from `address`, if that is needed and permitted.
    fn admit_or_replace(&self, address: IpAddr) -> Result<(), BmpError> {
        // ended sessions need a moment to stop; their threads are also limited
        if self.sessions.len() >= 2 * self.limits.max_sessions {
            return Err(BmpError::SessionLimit);
        }
        let now = millis(self.epoch);
        let sessions = self.sessions.iter().filter(|session| session.is_active());
        let sessions: Vec<_> = sessions.collect();
        let held = sessions.iter().map(|session| ActiveSession {
            source: session.address.into(),
            idle: session.presence.idle(now),
        });
        let held: Vec<_> = held.collect();
        match self
            .known
            .decide(address.into(), &held, self.limits.max_sessions)
        {
            Admission::Admit => Ok(()),
            Admission::Refuse(error) => Err(error),
            Admission::Replace(index) => {
                let session = sessions[index];
                session.request_stop();
                self.router_stats.count_error(BmpError::Idle, || {
                    let idle = session.address;
                    format!("{idle} has no peer up: its session ended to make room for {address}")
                });
                Ok(())
            }
        }
    }

    /// Marks routers that have a peer as known.
    fn update_known_routers(&mut self, now: u64) {
        for session in &self.sessions {
            if session.is_active() && session.presence.idle(now).is_none() {
                self.known.mark_seen(session.address.into(), now);
            }
        }
    }

    fn start(&self, fd: OwnedFd, address: IpAddr) -> io::Result<RunningSession> {
        let stream = TcpStream::from(fd);
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(READ_TIMEOUT))?;
        sockopt::set_socket_keepalive(&stream, true)?;
        sockopt::set_tcp_keepidle(&stream, KEEPALIVE_IDLE)?;
        sockopt::set_tcp_keepintvl(&stream, KEEPALIVE_INTERVAL)?;
        sockopt::set_tcp_keepcnt(&stream, KEEPALIVE_COUNT)?;
        let stop = Arc::new(AtomicBool::new(false));
        let presence = Arc::new(PeerPresence::new(millis(self.epoch)));
        let connection = Connection {
            session: Session::new(address, is_local_address(address), self.local_asn),
            stream: stream.try_clone()?,
            address,
            rib: self.rib.clone(),
            router_stats: self.router_stats.clone(),
            epoch: self.epoch,
            stop: stop.clone(),
            presence: presence.clone(),
        };
        let thread = Builder::new()
            .name("bmp-session".into())
            .stack_size(STACK_SIZE)
            .spawn(move || connection.run())?;
        Ok(RunningSession {
            address,
            presence,
            thread,
            stream,
            stop,
        })
    }

    /// Joins the threads that ended.
    fn reap(&mut self) -> Result<(), SessionPanicked> {
        let ended = self
            .sessions
            .extract_if(.., |session| session.thread.is_finished());
        for session in ended {
            session.thread.join().map_err(|_| SessionPanicked)?;
        }
        Ok(())
    }
}

impl RunningSession {
    fn is_active(&self) -> bool {
        !self.stop.load(Ordering::Acquire)
    }

    /// Requests the thread to end; its routes become stale. The thread is joined when it has ended.
    fn end(&self, reason: &str) {
        event_log::record(EventKind::BmpLost, &format!("{}: {reason}", self.address));
        log::info!("{}: BMP session ended: {reason}", self.address);
        self.request_stop();
    }

    fn request_stop(&self) {
        self.stop.store(true, Ordering::Release);
        // the thread may have closed it already
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }

    fn stop(self) {
        self.request_stop();
        if self.thread.join().is_err() {
            log::error!("a BMP session's thread panicked");
        }
    }
}

/// Returns whether an address belongs to this machine: in that case the kernel uses the same address as the
/// source. Connecting a datagram socket sends nothing.
fn is_local_address(address: IpAddr) -> bool {
    let any: IpAddr = match address {
        IpAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    let source = || -> io::Result<IpAddr> {
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect((address, 9))?;
        Ok(socket.local_addr()?.ip())
    };
    address.is_loopback() || source().is_ok_and(|source| source == address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_own_address_is_told_from_others() {
        for own in ["127.0.0.1", "127.9.9.9", "::1"] {
            assert!(is_local_address(own.parse().unwrap()), "{own}");
        }
        for other in ["192.0.2.1", "2001:db8::1", "224.0.0.1"] {
            assert!(!is_local_address(other.parse().unwrap()), "{other}");
        }
        // the address that this machine would use as a source, if it has one
        let outward = || -> io::Result<IpAddr> {
            let socket = UdpSocket::bind("0.0.0.0:0")?;
            socket.connect("192.0.2.1:9")?;
            Ok(socket.local_addr()?.ip())
        };
        if let Ok(own) = outward() {
            assert!(is_local_address(own), "{own}");
        }
    }
}
