// SPDX-License-Identifier: AGPL-3.0-only
//! Sockets to collectors: created, bound and connected without blocking.

use std::io;
use std::mem::size_of;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind, connect, getsockname, socket_with, sockopt,
};

use crate::types::transport::Transport;

/// Length of the headers before the payload of a UDP packet.
const IPV4_AND_UDP: usize = 28;
const IPV6_AND_UDP: usize = 48;

/// Returns a socket connected to `peer`, and its local address. With TCP, it is connecting, or was refused already.
pub fn open(
    transport: Transport,
    peer: SocketAddr,
    local: SocketAddr,
) -> io::Result<(OwnedFd, SocketAddr)> {
    let family = match peer {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let kind = match transport {
        Transport::Udp => SocketType::DGRAM,
        Transport::Tcp => SocketType::STREAM,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, kind, flags, None)?;
    if local.port() != 0 {
        // several collectors can share one local port: the peer distinguishes the sockets
        sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    if local.port() != 0 || !local.ip().is_unspecified() || transport == Transport::Tcp {
        bind(&socket, &local)?;
    }
    // a refused socket no longer has a port
    let port = local_address(&socket)?.port();
    if transport == Transport::Udp {
        fragment(&socket, peer)?;
    }
    match connect(&socket, &peer) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => {}
        Err(error) => return Err(error.into()),
    }
    let mut local = local_address(&socket)?;
    if port != 0 {
        local.set_port(port);
    }
    Ok((socket, local))
}

/// Returns the unspecified address of the family of `peer`.
pub fn any(peer: SocketAddr, port: u16) -> SocketAddr {
    let address: IpAddr = match peer {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    SocketAddr::new(address, port)
}

fn local_address(socket: &OwnedFd) -> io::Result<SocketAddr> {
    let address = getsockname(socket)?;
    SocketAddr::try_from(address).map_err(io::Error::from)
}

/// Returns the bytes that a packet to `peer` can carry without fragmentation, as far as this
/// machine knows.
pub fn payload(socket: &OwnedFd, peer: SocketAddr) -> Option<usize> {
    let (level, option, headers) = match peer {
        SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_MTU, IPV4_AND_UDP),
        SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_MTU, IPV6_AND_UDP),
    };
    let mut mtu: libc::c_int = 0;
    let mut length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to `mtu`; both outlive the call.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw mut mtu).cast(),
            &raw mut length,
        )
    };
    let mtu = usize::try_from(mtu).ok().filter(|_| result == 0)?;
    mtu.checked_sub(headers)
}

/// Makes the kernel fragment messages that are too large for the path, instead of rejecting them.
fn fragment(socket: &OwnedFd, peer: SocketAddr) -> io::Result<()> {
    let (level, option, value) = match peer {
        SocketAddr::V4(_) => (
            libc::IPPROTO_IP,
            libc::IP_MTU_DISCOVER,
            libc::IP_PMTUDISC_DONT,
        ),
        SocketAddr::V6(_) => (
            libc::IPPROTO_IPV6,
            libc::IPV6_MTU_DISCOVER,
            libc::IPV6_PMTUDISC_DONT,
        ),
    };
    // SAFETY: the option value is an int that lives through the call, and its size is given.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn the_local_address_of_a_refused_connection_is_known() {
        for host in ["127.0.0.1", "::1"] {
            let Ok(listener) = TcpListener::bind((host, 0)) else {
                continue;
            };
            let peer = listener.local_addr().unwrap();
            drop(listener);
            let (_socket, local) = open(Transport::Tcp, peer, any(peer, 0)).unwrap();
            assert_eq!(local.ip(), peer.ip());
            assert_ne!(local.port(), 0);
        }
    }
}
