// SPDX-License-Identifier: AGPL-3.0-only
//! The system's resolver: the names of addresses, and what a static binary looks names up in.

use std::ffi::CStr;
use std::mem::size_of;
use std::net::IpAddr;

/// Makes a static binary look up names in /etc/hosts and by DNS only. For other sources of /etc/nsswitch.conf it
/// would load modules of the system's glibc, which need a libc of the same version. Must be called before the first
/// lookup; other binaries use what the system has configured.
pub fn use_own_sources() {
    #[cfg(all(target_env = "gnu", target_feature = "crt-static"))]
    {
        unsafe extern "C" {
            fn __nss_configure_lookup(
                database: *const libc::c_char,
                sources: *const libc::c_char,
            ) -> libc::c_int;
        }
        // SAFETY: both are strings that end with a NUL and live as long as the program; no other thread exists.
        let failed = unsafe { __nss_configure_lookup(c"hosts".as_ptr(), c"files dns".as_ptr()) };
        if failed != 0 {
            let text = "cannot limit the lookup of names to /etc/hosts and DNS: out of memory";
            super::logging::tell(log::Level::Warn, text);
        }
    }
}

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
