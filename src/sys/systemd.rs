// SPDX-License-Identifier: AGPL-3.0-only
//! Reports the state of the agent to the service manager (sd_notify(3)): ready, reloading, stopping, a line of
//! status, and that it is alive. Sends nothing if no service manager requested it.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};
use std::{env, io};

use rustix::time::{ClockId, clock_gettime};

use crate::sys::os_error;

/// The variable that names the socket of the service manager.
pub(super) const NOTIFY_SOCKET: &str = "NOTIFY_SOCKET";

/// The socket, and the address of the service manager.
struct Manager {
    socket: UnixDatagram,
    address: SocketAddr,
}

/// The service manager's socket, and the state that was last sent to it.
#[derive(Default)]
pub struct Notifier {
    manager: Option<Manager>,
    watchdog: Option<Duration>,
    status: String,
    fed: Option<Instant>,
    /// When a start or a stop began, or last requested more time.
    asked: Option<Instant>,
}

/// The interval between two requests for more time, and the time that each requests.
const ASK_AGAIN: Duration = Duration::from_secs(1);
const MORE_TIME: Duration = Duration::from_secs(30);

impl Notifier {
    /// A notifier for the socket and the watchdog that the environment names.
    pub fn from_environment() -> Self {
        let Some(path) = env::var_os(NOTIFY_SOCKET) else {
            return Self::default();
        };
        match connect(path.as_encoded_bytes()) {
            Ok(manager) => Self {
                manager: Some(manager),
                watchdog: watchdog(
                    env::var("WATCHDOG_USEC").ok().as_deref(),
                    env::var("WATCHDOG_PID").ok().as_deref(),
                ),
                ..Self::default()
            },
            Err(error) => {
                log::warn!(
                    "cannot reach the service manager by NOTIFY_SOCKET: {}; it gets no status, and may stop rfm \
                     after its time limit",
                    os_error::reason(&error)
                );
                Self::default()
            }
        }
    }

    /// Returns the longest interval between two calls of [`Notifier::alive`], if there is a watchdog.
    pub fn interval(&self) -> Option<Duration> {
        // a third: one late message does no harm
        self.watchdog.map(|limit| limit / 3)
    }

    pub fn ready(&self) {
        self.send("READY=1");
    }

    /// Reports the start of a reload. [`Notifier::ready`] must follow.
    pub fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let microseconds = now.tv_sec * 1_000_000 + now.tv_nsec / 1000;
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={microseconds}"));
    }

    pub fn stopping(&self) {
        self.send("STOPPING=1");
    }

    /// Requests more time to start or to stop, once a second. To be called only while there is progress: the
    /// limits of the unit are for an agent that is stuck.
    pub fn more_time(&mut self, now: Instant) {
        let asked = *self.asked.get_or_insert(now);
        if now.saturating_duration_since(asked) >= ASK_AGAIN {
            self.send(&format!("EXTEND_TIMEOUT_USEC={}", MORE_TIME.as_micros()));
            self.asked = Some(now);
        }
    }

    /// Sends one line for `systemctl status`, if it differs from the previous one.
    pub fn status(&mut self, line: String) {
        if self.manager.is_some() && self.status != line {
            self.send(&format!("STATUS={line}"));
            self.status = line;
        }
    }

    /// Feeds the watchdog when the interval has passed.
    pub fn alive(&mut self, now: Instant) {
        let Some(interval) = self.interval() else {
            return;
        };
        let due = |fed: Instant| now.saturating_duration_since(fed) >= interval;
        if self.fed.is_none_or(due) {
            self.send("WATCHDOG=1");
            self.fed = Some(now);
        }
    }

    fn send(&self, message: &str) {
        if let Some(manager) = &self.manager {
            // only the manager misses a message that cannot be sent, and it acts on that
            if let Err(error) = manager
                .socket
                .send_to_addr(message.as_bytes(), &manager.address)
            {
                log::debug!("to the service manager: {error}");
            }
        }
    }
}

fn connect(path: &[u8]) -> io::Result<Manager> {
    let address = match path {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        [b'/', ..] => SocketAddr::from_pathname(String::from_utf8_lossy(path).as_ref())?,
        _ => return Err(io::Error::other("neither a path nor an abstract name")),
    };
    let socket = UnixDatagram::unbound()?;
    // a manager that does not read must not stop the agent
    socket.set_nonblocking(true)?;
    Ok(Manager { socket, address })
}

/// The watchdog's limit, if there is one and it is for this process.
fn watchdog(microseconds: Option<&str>, pid: Option<&str>) -> Option<Duration> {
    let ours = pid.is_none_or(|pid| pid == std::process::id().to_string());
    let limit = microseconds?.parse().ok().filter(|&n| n > 0)?;
    ours.then(|| Duration::from_micros(limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixture(watchdog: Option<Duration>) -> (Notifier, UnixDatagram) {
        let name = format!("@rfm-notify-{}-{watchdog:?}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name.as_bytes()[1..]).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        manager.set_nonblocking(true).unwrap();
        let notifier = Notifier {
            manager: Some(connect(name.as_bytes()).unwrap()),
            watchdog,
            ..Notifier::default()
        };
        (notifier, manager)
    }

    fn heard(manager: &UnixDatagram) -> Option<String> {
        let mut buffer = [0; 256];
        let length = manager.recv(&mut buffer).ok()?;
        Some(String::from_utf8(buffer[..length].to_vec()).unwrap())
    }

    #[test]
    fn the_manager_is_told_what_changed() {
        let (mut notifier, manager) = fixture(None);
        notifier.ready();
        notifier.status("watching 1".into());
        notifier.status("watching 1".into());
        notifier.reloading();
        notifier.alive(Instant::now());
        assert_eq!(heard(&manager).as_deref(), Some("READY=1"));
        assert_eq!(heard(&manager).as_deref(), Some("STATUS=watching 1"));
        let reloading = heard(&manager).unwrap();
        assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="));
        assert_eq!(heard(&manager), None, "there is no watchdog");
    }

    #[test]
    fn the_watchdog_is_fed_at_a_third_of_its_limit() {
        let (mut notifier, manager) = fixture(Some(Duration::from_secs(30)));
        let start = Instant::now();
        for second in 0..25 {
            notifier.alive(start + Duration::from_secs(second));
        }
        let times = std::iter::from_fn(|| heard(&manager)).collect::<Vec<_>>();
        assert_eq!(times, ["WATCHDOG=1"; 3]);
    }

    #[test]
    fn more_time_is_asked_for_once_a_second() {
        let (mut notifier, manager) = fixture(Some(Duration::from_secs(77)));
        let start = Instant::now();
        for tenth in 0..35 {
            notifier.more_time(start + Duration::from_millis(100 * tenth));
        }
        let messages = std::iter::from_fn(|| heard(&manager)).collect::<Vec<_>>();
        assert_eq!(messages, ["EXTEND_TIMEOUT_USEC=30000000"; 3]);
    }

    #[test]
    fn a_watchdog_of_another_process_is_not_ours() {
        let own = std::process::id().to_string();
        let limit = Some(Duration::from_secs(3));
        assert_eq!(watchdog(Some("3000000"), None), limit);
        assert_eq!(watchdog(Some("3000000"), Some(&own)), limit);
        assert_eq!(watchdog(Some("3000000"), Some("1")), None);
        for broken in [None, Some(""), Some("0"), Some("soon")] {
            assert_eq!(watchdog(broken, None), None);
        }
    }

    #[test]
    fn a_manager_that_does_not_read_is_not_waited_for() {
        let (notifier, _manager) = fixture(Some(Duration::from_secs(9)));
        for _ in 0..10_000 {
            notifier.ready();
        }
        assert!(connect(b"relative").is_err());
    }
}
