// SPDX-License-Identifier: AGPL-3.0-only
//! Resolves host names of collectors to addresses, in a separate thread: a resolver may take half a
//! minute.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::thread::Builder;

use crossbeam_channel::{Receiver, bounded};

use super::socket;

/// The remote and the local address of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    pub peer: SocketAddr,
    pub local: SocketAddr,
}

/// The names to look up. If `local_host` is empty, the kernel chooses the local address.
#[derive(Clone, Debug)]
pub struct HostNames {
    pub host: String,
    pub port: u16,
    pub local_host: String,
    pub local_port: u16,
}

impl HostNames {
    /// Returns whether no lookup is necessary.
    pub fn are_addresses(&self) -> bool {
        let is_address = |host: &str| host.is_empty() || host.parse::<IpAddr>().is_ok();
        is_address(&self.host) && is_address(&self.local_host)
    }
}

/// Receives the result of a lookup.
pub type PendingLookup = Receiver<io::Result<Addresses>>;

/// Starts a lookup; the channel receives the answer. Addresses are answered immediately. `current`
/// is the address in use: it is the answer if the host still has it, regardless of the order of the
/// resolver's answer.
pub fn resolve(names: &HostNames, current: Option<SocketAddr>) -> io::Result<PendingLookup> {
    let (sender, answer) = bounded(1);
    if names.are_addresses() {
        let _ = sender.send(look_up(names, current));
        return Ok(answer);
    }
    let names = names.clone();
    // At most one thread per collector. It ends when the resolver answers; nothing needs to wait
    // for it.
    Builder::new()
        .name("ipfix-resolve".into())
        .stack_size(256 * 1024)
        .spawn(move || {
            let _ = sender.send(look_up(&names, current));
        })?;
    Ok(answer)
}

/// Returns the current address of the host, or its first one, among those with the family of the
/// local address.
fn look_up(names: &HostNames, current: Option<SocketAddr>) -> io::Result<Addresses> {
    let locals: Vec<SocketAddr> = match names.local_host.as_str() {
        "" => Vec::new(),
        host => (host, names.local_port).to_socket_addrs()?.collect(),
    };
    let mut peers: Vec<_> = (names.host.as_str(), names.port)
        .to_socket_addrs()?
        .collect();
    // a stable sort: the others stay in the order of the resolver
    peers.sort_by_key(|peer| Some(*peer) != current);
    for peer in peers {
        let fits = locals
            .iter()
            .find(|local| local.is_ipv4() == peer.is_ipv4());
        match fits {
            Some(&local) => return Ok(Addresses { peer, local }),
            None if locals.is_empty() => {
                let local = socket::any(peer, names.local_port);
                return Ok(Addresses { peer, local });
            }
            None => {}
        }
    }
    Err(io::Error::new(
        io::ErrorKind::AddrNotAvailable,
        "no address of the family of agent.ipfix.bind.host",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look_up(host: &str, local_host: &str) -> Result<(String, String), String> {
        let names = HostNames {
            host: host.into(),
            port: 4739,
            local_host: local_host.into(),
            local_port: 9,
        };
        let answer = resolve(&names, None).unwrap();
        let found = answer.recv().unwrap().map_err(|e| e.to_string())?;
        Ok((found.peer.to_string(), found.local.to_string()))
    }

    #[test]
    fn both_ends_are_of_one_family() {
        let ok = |peer: &str, local: &str| Ok((peer.to_owned(), local.to_owned()));
        assert_eq!(look_up("192.0.2.1", ""), ok("192.0.2.1:4739", "0.0.0.0:9"));
        assert_eq!(look_up("::1", "::2"), ok("[::1]:4739", "[::2]:9"));
        assert!(look_up("::1", "192.0.2.1").unwrap_err().contains("family"));
    }

    #[test]
    fn an_address_in_use_is_kept_only_if_the_host_has_it() {
        let names = HostNames {
            host: "localhost".into(),
            port: 4739,
            local_host: "127.0.0.1".into(),
            local_port: 0,
        };
        for current in ["127.0.0.1:4739", "192.0.2.1:4739"] {
            let answer = resolve(&names, current.parse().ok()).unwrap();
            let found = answer.recv().unwrap().unwrap();
            assert_eq!(found.peer.to_string(), "127.0.0.1:4739");
        }
    }
}
