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

/// Begins to look up; the answer comes through the channel. Addresses are answered at once.
pub fn resolve(names: &Names) -> io::Result<Receiver<io::Result<Addresses>>> {
    let (sender, answer) = bounded(1);
    let is_address = |host: &str| host.is_empty() || host.parse::<IpAddr>().is_ok();
    if is_address(&names.host) && is_address(&names.own_host) {
        let _ = sender.send(look_up(names));
        return Ok(answer);
    }
    let names = names.clone();
    // One at a time for each collector. It ends by itself when the resolver answers, and nobody need
    // wait for it.
    Builder::new()
        .name("ipfix-resolve".into())
        .stack_size(256 * 1024)
        .spawn(move || {
            let _ = sender.send(look_up(&names));
        })?;
    Ok(answer)
}

/// The first address of the host that has its family in common with the own one.
fn look_up(names: &Names) -> io::Result<Addresses> {
    let own: Vec<SocketAddr> = match names.own_host.as_str() {
        "" => Vec::new(),
        host => (host, names.own_port).to_socket_addrs()?.collect(),
    };
    for peer in (names.host.as_str(), names.port).to_socket_addrs()? {
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
        let answer = resolve(&names).unwrap();
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
}
