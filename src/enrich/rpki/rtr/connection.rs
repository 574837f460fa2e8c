// SPDX-License-Identifier: AGPL-3.0-only
//! THREAD rtr: connects to the cache, and connects again after an error.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::thread::{self, Builder};
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{RecvTimeoutError, bounded};

use super::session::RtrSession;
use crate::enrich::rpki::{SharedVrps, UsedVrps};
use crate::sys::error_counters::{ErrorCounters, Subsystem};
use crate::sys::os_error;
use crate::sys::threads::Heartbeat;
use crate::types::rtr_server::RtrServer;

/// How long a read or a pause lasts: the thread must notice that it is to end.
const TURN: Duration = Duration::from_millis(250);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a cache may be silent while it owes a reply.
const REPLY_TIMEOUT: Duration = Duration::from_secs(60);
/// The pause before the first attempt after an error; it doubles up to the retry interval.
const LEAST_PAUSE: Duration = Duration::from_secs(2);
/// Bytes that are read at once.
const BUFFER: usize = 1 << 16;

/// The body of thread rtr.
pub fn run(server: &RtrServer, vrps: &SharedVrps, errors: &ErrorCounters, heartbeat: &Heartbeat) {
    let mut worker = Worker {
        server,
        vrps,
        errors,
        heartbeat,
        session: RtrSession::default(),
        updated: None,
    };
    let mut pause = LEAST_PAUSE;
    while !heartbeat.stopping() {
        let before = worker.updated;
        let had_data = worker.session.has_data();
        let error = match worker.connect() {
            Ok(stream) => worker.serve(stream),
            Err(error) => os_error::reason(&error),
        };
        if heartbeat.stopping() {
            return;
        }
        // a cache that cannot continue the session has all data for the next query
        let begins_again = had_data && !worker.session.has_data();
        if worker.updated != before || begins_again {
            pause = LEAST_PAUSE;
        }
        worker.report(&error, pause);
        worker.wait(pause);
        pause = (2 * pause).min(worker.session.retry()).max(LEAST_PAUSE);
    }
}

struct Worker<'a> {
    server: &'a RtrServer,
    vrps: &'a SharedVrps,
    errors: &'a ErrorCounters,
    heartbeat: &'a Heartbeat,
    session: RtrSession,
    /// The time of the last End of Data, while the data are valid.
    updated: Option<Instant>,
}

impl Worker<'_> {
    fn connect(&self) -> io::Result<TcpStream> {
        let mut last = io::Error::other("the name has no address");
        for address in self.resolve()? {
            self.heartbeat.beat();
            match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
            if self.heartbeat.stopping() {
                break;
            }
        }
        Err(last)
    }

    /// Looks up the name in a separate thread: a resolver may take half a minute.
    fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        const MOST: usize = 8;
        let (host, port) = (self.server.host().to_owned(), self.server.port());
        if self.server.is_address() {
            return Ok((&*host, port).to_socket_addrs()?.collect());
        }
        let (sender, answer) = bounded(1);
        // it ends when the resolver answers; nothing needs to wait for it
        Builder::new()
            .name("rtr-resolve".into())
            .stack_size(256 * 1024)
            .spawn(move || {
                let found = (&*host, port).to_socket_addrs();
                let _ = sender.send(found.map(|found| found.take(MOST).collect()));
            })?;
        let deadline = Instant::now() + RESOLVE_TIMEOUT;
        while Instant::now() < deadline && !self.heartbeat.stopping() {
            self.heartbeat.beat();
            match answer.recv_timeout(TURN) {
                Ok(found) => return found,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        Err(io::ErrorKind::TimedOut.into())
    }

    /// Exchanges PDUs until an error; returns it.
    fn serve(&mut self, mut stream: TcpStream) -> String {
        let first = self.session.connect();
        let error = match self.exchange(&mut stream, &first) {
            Ok(()) => "the agent ends".to_owned(),
            Err(error) => error,
        };
        self.session.disconnected();
        error
    }

    fn exchange(&mut self, stream: &mut TcpStream, first: &[u8]) -> Result<(), String> {
        let io_error = |error: io::Error| os_error::reason(&error);
        stream.set_read_timeout(Some(TURN)).map_err(io_error)?;
        stream
            .set_write_timeout(Some(CONNECT_TIMEOUT))
            .map_err(io_error)?;
        stream.write_all(first).map_err(io_error)?;
        let mut buffer = Vec::new();
        let mut chunk = vec![0; BUFFER];
        let mut heard = Instant::now();
        let mut asked = Instant::now();
        while !self.heartbeat.stopping() {
            self.heartbeat.beat();
            self.expire(Instant::now());
            match stream.read(&mut chunk) {
                Ok(0) => return Err("the cache closed the connection".to_owned()),
                Ok(read) => {
                    heard = Instant::now();
                    buffer.extend_from_slice(&chunk[..read]);
                    let (received, result) = self.session.receive(&buffer);
                    buffer.drain(..received.used);
                    let written = stream.write_all(&received.reply);
                    if received.complete {
                        self.publish();
                    }
                    result.map_err(|error| error.to_string())?;
                    written.map_err(io_error)?;
                    if !received.reply.is_empty() {
                        asked = heard;
                    }
                }
                Err(error) if is_timeout(&error) => {}
                Err(error) => return Err(io_error(error)),
            }
            let now = Instant::now();
            if self.session.is_waiting() {
                if now - heard.max(asked) >= REPLY_TIMEOUT {
                    return Err("the cache does not reply".to_owned());
                }
            } else if self
                .updated
                .is_none_or(|at| now - at >= self.session.refresh())
                && now - asked >= self.session.refresh().min(REPLY_TIMEOUT)
            {
                asked = now;
                let query = self.session.query();
                stream.write_all(&query).map_err(io_error)?;
            }
        }
        Ok(())
    }

    /// Publishes the VRPs after an End of Data.
    fn publish(&mut self) {
        self.updated = Some(Instant::now());
        let table = self.session.table();
        let [ipv4, ipv6] = table.counts();
        log::debug!("{}: {ipv4} VRPs for IPv4, {ipv6} for IPv6", self.server);
        self.vrps.set(Some(UsedVrps {
            table: table.clone(),
            source: self.server.to_string().into(),
            updated: SystemTime::now(),
        }));
    }

    /// Removes VRPs that the cache has not confirmed within the expire interval.
    fn expire(&mut self, now: Instant) {
        let is_due = |at: Instant| now.saturating_duration_since(at) >= self.session.expire();
        if !self.updated.is_some_and(is_due) {
            return;
        }
        self.updated = None;
        self.session.forget();
        self.vrps.set(None);
        let text = format!(
            "{}: not confirmed for {} s, so the VRPs have expired",
            self.server,
            self.session.expire().as_secs()
        );
        self.vrps.set_problem(Some(text.clone()));
        self.errors
            .count_and_log(Subsystem::Rpki, "expired", || text);
    }

    fn report(&self, error: &str, pause: Duration) {
        let validity = match self.updated {
            Some(_) => "the VRPs stay in use until they expire",
            None => "there are no VRPs",
        };
        let text = format!("{}: {error}; {validity}", self.server);
        self.vrps.set_problem(Some(text.clone()));
        self.errors.count_and_log(Subsystem::Rpki, "rtr", || {
            format!("{text}; rfm tries again in {} s", pause.as_secs())
        });
    }

    fn wait(&mut self, pause: Duration) {
        let end = Instant::now() + pause;
        while Instant::now() < end && !self.heartbeat.stopping() {
            self.heartbeat.beat();
            self.expire(Instant::now());
            thread::sleep(TURN.min(end.saturating_duration_since(Instant::now())));
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    use crate::sys::threads::Threads;
    use crate::types::validity::RouteValidity::{NotFound, Valid};

    /// Runs `body` with a heartbeat.
    fn with_heartbeat(body: impl FnOnce(&Heartbeat) + Send + 'static) {
        let threads = Threads::new();
        let failed = Arc::new(Mutex::new(true));
        let result = failed.clone();
        let run = move |heartbeat: Heartbeat| {
            body(&heartbeat);
            *result.lock().unwrap() = false;
        };
        threads.spawn("test", run).unwrap();
        threads.stop("test");
        assert!(!*failed.lock().unwrap());
    }

    #[test]
    fn vrps_that_are_not_confirmed_expire() {
        with_heartbeat(|heartbeat| {
            let server: RtrServer = "[::1]:323".parse().unwrap();
            let (vrps, errors) = (SharedVrps::default(), ErrorCounters::default());
            let mut worker = Worker {
                server: &server,
                vrps: &vrps,
                errors: &errors,
                heartbeat,
                session: RtrSession::default(),
                updated: None,
            };
            worker.session.connect();
            // 10.0.0.0/8 of AS 1, which expires after 700 s
            let all = [
                &[1, 3, 0, 7, 0, 0, 0, 8][..],
                &[1, 4, 0, 0, 0, 0, 0, 20, 1, 8, 8, 0, 10, 0, 0, 0, 0, 0, 0, 1],
                &[
                    1, 7, 0, 7, 0, 0, 0, 24, 0, 0, 0, 9, 0, 0, 0, 60, 0, 0, 0, 60,
                ],
                &[0, 0, 2, 188],
            ];
            assert!(worker.session.receive(&all.concat()).0.complete);
            worker.publish();
            let state = || {
                vrps.get()
                    .map(|used| used.table.validate([10, 0, 0, 1].into(), 8, 1))
            };
            let start = Instant::now();
            worker.expire(start + Duration::from_secs(699));
            assert_eq!((state(), vrps.problem()), (Some(Valid), None));
            worker.report("Connection refused", LEAST_PAUSE);
            assert_eq!(
                vrps.problem().unwrap(),
                "[::1]:323: Connection refused; the VRPs stay in use until they expire"
            );
            worker.expire(start + Duration::from_secs(701));
            assert_eq!(state(), None);
            assert_eq!(
                vrps.problem().unwrap(),
                "[::1]:323: not confirmed for 700 s, so the VRPs have expired"
            );
            assert_eq!(
                worker.session.table().validate([10, 0, 0, 1].into(), 8, 1),
                NotFound
            );
        });
    }
}
