// SPDX-License-Identifier: AGPL-3.0-only
//! Listening sockets: from a host name to accepted connections.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::thread::Builder;
use std::time::Duration;
use std::{fmt, io};

use crossbeam_channel::bounded;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, ipproto, sockopt};

use crate::sys::os_error;

/// Connections that the kernel completes before they are accepted. If a burst exceeds it, legitimate clients
/// wait a second before they send their SYN again.
const BACKLOG: i32 = 1024;

/// The timeout of the name service.
const LOOKUP: Duration = Duration::from_secs(10);

/// The reason why the agent cannot listen on an address.
#[derive(Debug)]
pub struct BindError {
    /// The address, or the name that could not be resolved.
    pub address: String,
    pub reason: io::Error,
}

impl BindError {
    /// Returns whether the machine lacks the address or its address family. Otherwise the port is in use or not
    /// permitted.
    pub fn is_unavailable(&self) -> bool {
        let errno = rustix::io::Errno::from_io_error(&self.reason);
        matches!(
            errno,
            Some(rustix::io::Errno::ADDRNOTAVAIL | rustix::io::Errno::AFNOSUPPORT)
        )
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = self.address.rsplit(':').next().unwrap_or_default();
        match rustix::io::Errno::from_io_error(&self.reason) {
            Some(rustix::io::Errno::ADDRINUSE) if port.parse::<u16>().is_ok() => write!(
                f,
                "port {port} is taken, perhaps by another rfm (see: ss -ltnp 'sport = :{port}')"
            ),
            Some(rustix::io::Errno::ACCESS) => write!(
                f,
                "cannot listen on {}: not permitted; ports below 1024 need CAP_NET_BIND_SERVICE",
                self.address
            ),
            _ if self.is_unavailable() => write!(
                f,
                "cannot listen on {}: this machine has no such address (see: ip address)",
                self.address
            ),
            _ => write!(
                f,
                "cannot listen on {}: {}",
                self.address,
                os_error::reason(&self.reason)
            ),
        }
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.reason)
    }
}

/// One listening socket.
pub(crate) struct Listener {
    fd: OwnedFd,
    /// poll(2) reported that a connection waits.
    pub ready: bool,
}

/// Listens on all addresses of `host`. A name such as localhost may have addresses that this machine lacks: one
/// usable address is enough. "::" means every address, even if the kernel has no IPv6.
pub(crate) fn bind(host: &str, port: u16) -> Result<Vec<Listener>, BindError> {
    let addresses = resolve(host, port).map_err(|reason| BindError {
        address: format!("{host:?}, port {port}"),
        reason,
    })?;
    bind_available(addresses, Listener::tcp)
}

fn bind_available<L>(
    addresses: Vec<SocketAddr>,
    listen: impl Fn(SocketAddr) -> Result<L, BindError>,
) -> Result<Vec<L>, BindError> {
    let mut listeners = Vec::new();
    let mut unavailable = None;
    for address in addresses {
        let result = listen(address).or_else(|error| match every_ipv4(address) {
            Some(ipv4) if error.is_unavailable() => listen(ipv4),
            _ => Err(error),
        });
        match result {
            Ok(listener) => listeners.push(listener),
            Err(e) if e.is_unavailable() => unavailable = Some(e),
            Err(e) => return Err(e),
        }
    }
    match unavailable {
        Some(e) if listeners.is_empty() => Err(e),
        _ => Ok(listeners),
    }
}

/// Returns the IPv4 part of "::", which means every address of both families.
fn every_ipv4(address: SocketAddr) -> Option<SocketAddr> {
    let every = address.ip() == IpAddr::from(Ipv6Addr::UNSPECIFIED);
    every.then(|| SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port()))
}

fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let mut addresses = look_up(host, port)?;
    // A hosts file may name the same address twice; the second bind would fail.
    addresses.sort_unstable();
    addresses.dedup();
    if addresses.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            "the name has no address",
        ));
    }
    Ok(addresses)
}

/// Resolves a name within [`LOOKUP`]: the resolver may take half a minute for each of its servers.
fn look_up(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    within(LOOKUP, (host.to_owned(), port), |(host, port)| {
        Ok((host.as_str(), port).to_socket_addrs()?.collect())
    })
}

/// Runs `work` on a separate thread and waits for it for at most `limit`. A late thread ends by itself, and its
/// result is dropped.
fn within<I: Send + 'static, T: Send + 'static>(
    limit: Duration,
    input: I,
    work: fn(I) -> io::Result<T>,
) -> io::Result<T> {
    let (sender, answer) = bounded(1);
    Builder::new()
        .name("lookup".into())
        .stack_size(256 * 1024)
        .spawn(move || drop(sender.send(work(input))))?;
    answer.recv_timeout(limit).unwrap_or_else(|_| {
        Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("the name service has not answered within {limit:?}; use an address instead"),
        ))
    })
}

impl Listener {
    fn tcp(address: SocketAddr) -> Result<Self, BindError> {
        match listen(address) {
            Ok(fd) => Ok(Self { fd, ready: false }),
            Err(errno) => Err(BindError {
                address: address.to_string(),
                reason: errno.into(),
            }),
        }
    }

    pub fn unix(listener: UnixListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self {
            fd: listener.into(),
            ready: false,
        })
    }

    pub fn address(&self) -> Option<SocketAddr> {
        SocketAddr::try_from(net::getsockname(&self.fd).ok()?).ok()
    }

    /// Returns whether a connection waits to be accepted.
    pub fn has_waiting(&self) -> bool {
        let mut fds = [PollFd::new(self, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }

    /// Accepts the next connection, and returns its address if it is a TCP connection.
    pub fn accept(&self) -> rustix::io::Result<(OwnedFd, Option<SocketAddr>)> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let (fd, address) = net::acceptfrom_with(&self.fd, flags)?;
        let address = address.and_then(|a| SocketAddr::try_from(a).ok());
        if address.is_some() {
            // Without it the last segment of a response waits for the client's delayed ACK. A socket that
            // rejects the option works as well.
            let _ = sockopt::set_tcp_nodelay(&fd, true);
        }
        Ok((fd, address.map(canonical)))
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn listen(address: SocketAddr) -> rustix::io::Result<OwnedFd> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let fd = net::socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
    // Connections of the previous run in TIME_WAIT must not prevent the next start.
    sockopt::set_socket_reuseaddr(&fd, true)?;
    if address.is_ipv6() {
        // net.ipv6.bindv6only may have set it.
        sockopt::set_ipv6_v6only(&fd, false)?;
    }
    net::bind(&fd, &address)?;
    net::listen(&fd, BACKLOG)?;
    Ok(fd)
}

fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, address.port()),
        IpAddr::V6(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_address_and_the_reason() {
        let first = bind("127.0.0.1", 0).unwrap();
        let address = first[0].address().unwrap();
        let error = bind("127.0.0.1", address.port()).err().unwrap();
        let text = error.to_string();
        let port = address.port();
        assert_eq!(
            text,
            format!(
                "port {port} is taken, perhaps by another rfm (see: ss -ltnp 'sport = :{port}')"
            )
        );
        assert!(!error.is_unavailable());
    }

    #[test]
    fn an_address_of_another_machine_is_unavailable() {
        let error = bind("192.0.2.1", 0).err().unwrap();
        assert!(error.is_unavailable(), "{error}");
    }

    #[test]
    fn every_address_is_that_of_ipv4_if_there_is_no_ipv6() {
        let without_ipv6 = |address: SocketAddr| match address {
            SocketAddr::V4(_) => Ok(address),
            SocketAddr::V6(_) => Err(BindError {
                address: address.to_string(),
                reason: rustix::io::Errno::AFNOSUPPORT.into(),
            }),
        };
        let bound = |host: &str| bind_available(resolve(host, 7).unwrap(), without_ipv6);
        assert_eq!(bound("::").unwrap(), ["0.0.0.0:7".parse().unwrap()]);
        assert!(bound("::1").unwrap_err().is_unavailable());
    }

    #[test]
    fn a_name_that_is_none_is_shown_quoted() {
        let error = bind("no such\nhost", 9669).err().unwrap();
        let text = error.to_string();
        assert!(text.contains(r#""no such\nhost", port 9669"#), "{text}");
    }

    #[test]
    fn a_name_service_that_does_not_answer_is_not_waited_for() {
        let late = |()| {
            std::thread::sleep(Duration::from_secs(2));
            Ok(())
        };
        let error = within(Duration::from_millis(50), (), late).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(error.to_string().contains("within 50ms"), "{error}");
    }

    #[test]
    fn localhost_is_every_loopback_address_that_is_there() {
        let listeners = bind("localhost", 0).unwrap();
        assert!(!listeners.is_empty());
        for listener in &listeners {
            assert!(listener.address().unwrap().ip().is_loopback());
        }
    }

    #[test]
    fn the_any_address_serves_both_families() {
        let listeners = bind("::", 0).unwrap();
        let port = listeners[0].address().unwrap().port();
        let _client = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        let peer = loop {
            match listeners[0].accept() {
                Ok((_, peer)) => break peer.unwrap(),
                Err(rustix::io::Errno::AGAIN) => std::thread::yield_now(),
                Err(e) => panic!("{e}"),
            }
        };
        assert_eq!(peer.ip(), IpAddr::from([127, 0, 0, 1]));
    }
}
