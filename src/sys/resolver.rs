// SPDX-License-Identifier: AGPL-3.0-only
//! The names of addresses, from the system's resolver.

use std::ffi::CStr;
use std::mem::size_of;
use std::net::IpAddr;

/// Returns the name of an address. Blocks as long as the resolver takes; `None` if there is no name.
pub fn host_name(address: IpAddr) -> Option<String> {
    match address {
        IpAddr::V4(address) => name_of(&libc::sockaddr_in {
            sin_family: libc::AF_INET as libc::sa_family_t,
            sin_port: 0,
            sin_addr: libc::in_addr {
                s_addr: u32::from_ne_bytes(address.octets()),
            },
            sin_zero: [0; 8],
        }),
        IpAddr::V6(address) => name_of(&libc::sockaddr_in6 {
            sin6_family: libc::AF_INET6 as libc::sa_family_t,
            sin6_port: 0,
            sin6_flowinfo: 0,
            sin6_addr: libc::in6_addr {
                s6_addr: address.octets(),
            },
            sin6_scope_id: 0,
        }),
    }
}

/// The address of a socket.
trait SocketAddress {}
impl SocketAddress for libc::sockaddr_in {}
impl SocketAddress for libc::sockaddr_in6 {}

fn name_of<T: SocketAddress>(address: &T) -> Option<String> {
    let mut name = [0u8; libc::NI_MAXHOST as usize];
    // SAFETY: `address` is a sockaddr of the length that is passed, and `name` has the length that is passed; both
    // live until the call returns, and no service name is requested.
    let failed = unsafe {
        libc::getnameinfo(
            std::ptr::from_ref(address).cast(),
            size_of::<T>() as libc::socklen_t,
            name.as_mut_ptr().cast(),
            name.len() as libc::socklen_t,
            std::ptr::null_mut(),
            0,
            libc::NI_NAMEREQD,
        )
    };
    if failed != 0 {
        return None;
    }
    let name = CStr::from_bytes_until_nul(&name).ok()?.to_str().ok()?;
    (!name.is_empty()).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_has_a_name() {
        let local = host_name("127.0.0.1".parse().unwrap());
        assert_eq!(local.as_deref(), Some("localhost"));
    }
}
