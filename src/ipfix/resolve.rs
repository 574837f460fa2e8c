// SPDX-License-Identifier: AGPL-3.0-only
//! Names of collectors → addresses, on a thread of its own: a resolver may take half a minute.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::thread::Builder;

use crossbeam_channel::{Receiver, bounded};

use super::socket;

/// Where to, and from where.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    pub peer: SocketAddr,
    pub own: SocketAddr,
}

/// What is looked up; an empty `own_host` leaves the address to the kernel.
#[derive(Clone, Debug)]
pub struct Names {
    pub host: String,
    pub port: u16,
    pub own_host: String,
    pub own_port: u16,
}

impl Names {
    /// Whether there is nothing to look up.
    pub fn are_addresses(&self) -> bool {
        let is_address = |host: &str| host.is_empty() || host.parse::<IpAddr>().is_ok();
        is_address(&self.host) && is_address(&self.own_host)
    }
}

/// Will receive the result of a lookup.
pub type Answer = Receiver<io::Result<Addresses>>;

/// Begins to look up; the channel receives the answer. Addresses are answered at once. `current` is the
/// address in use: it is the answer if the host still has it, whatever the order of a resolver's answer.
pub fn resolve(names: &Names, current: Option<SocketAddr>) -> io::Result<Answer> {
    let (sender, answer) = bounded(1);
    if names.are_addresses() {
        let _ = sender.send(look_up(names, current));
        return Ok(answer);
    }
    let names = names.clone();
    // One at a time for each collector. It ends by itself when the resolver answers, and nobody need
    // wait for it.
    Builder::new()
        .name("ipfix-resolve".into())
        .stack_size(256 * 1024)
        .spawn(move || {
            let _ = sender.send(look_up(&names, current));
        })?;
    Ok(answer)
}

/// The current address of the host or its first one, of those that have the family of the own address.
fn look_up(names: &Names, current: Option<SocketAddr>) -> io::Result<Addresses> {
    let own: Vec<SocketAddr> = match names.own_host.as_str() {
        "" => Vec::new(),
        host => (host, names.own_port).to_socket_addrs()?.collect(),
    };
    let mut peers: Vec<_> = (names.host.as_str(), names.port)
        .to_socket_addrs()?
        .collect();
    // a stable sort: the others stay in the order of the resolver
    peers.sort_by_key(|peer| Some(*peer) != current);
    for peer in peers {
        let fits = own.iter().find(|own| own.is_ipv4() == peer.is_ipv4());
        match fits {
            Some(&own) => return Ok(Addresses { peer, own }),
            None if own.is_empty() => {
                let own = socket::any(peer, names.own_port);
                return Ok(Addresses { peer, own });
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

    fn look_up(host: &str, own_host: &str) -> Result<(String, String), String> {
        let names = Names {
            host: host.into(),
            port: 4739,
            own_host: own_host.into(),
            own_port: 9,
        };
        let answer = resolve(&names, None).unwrap();
        let found = answer.recv().unwrap().map_err(|e| e.to_string())?;
        Ok((found.peer.to_string(), found.own.to_string()))
    }

    #[test]
    fn both_ends_are_of_one_family() {
        let ok = |peer: &str, own: &str| Ok((peer.to_owned(), own.to_owned()));
        assert_eq!(look_up("192.0.2.1", ""), ok("192.0.2.1:4739", "0.0.0.0:9"));
        assert_eq!(look_up("::1", "::2"), ok("[::1]:4739", "[::2]:9"));
        assert!(look_up("::1", "192.0.2.1").unwrap_err().contains("family"));
    }

    #[test]
    fn an_address_in_use_is_kept_only_if_the_host_has_it() {
        let names = Names {
            host: "localhost".into(),
            port: 4739,
            own_host: "127.0.0.1".into(),
            own_port: 0,
        };
        for current in ["127.0.0.1:4739", "192.0.2.1:4739"] {
            let answer = resolve(&names, current.parse().ok()).unwrap();
            let found = answer.recv().unwrap().unwrap();
            assert_eq!(found.peer.to_string(), "127.0.0.1:4739");
        }
    }
}
