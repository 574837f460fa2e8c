// SPDX-License-Identifier: AGPL-3.0-only
//! The address of an RPKI cache.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use super::named::serialize_as_text;

/// The port of RTR over TCP (RFC 8210 section 13).
const DEFAULT_PORT: u16 = 323;
const MAX_NAME: usize = 253;

/// A host, as an address or a name, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RtrServer {
    host: String,
    port: u16,
}

impl RtrServer {
    pub fn host(&self) -> &str {
        &self.host
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns whether the host is an address, and not a name.
    pub fn is_address(&self) -> bool {
        self.host.parse::<IpAddr>().is_ok()
    }
}

impl FromStr for RtrServer {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.parse::<Ipv6Addr>().is_ok() {
            return Err("brackets are missing, such as \"[::1]:323\"");
        }
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']').ok_or("the bracket is not closed")?;
                if host.parse::<Ipv6Addr>().is_err() {
                    return Err("no IPv6 address between the brackets");
                }
                match rest {
                    "" => (host, None),
                    rest => (host, Some(rest.strip_prefix(':').ok_or("no port")?)),
                }
            }
            None => match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        let port = match port {
            None => DEFAULT_PORT,
            Some(port) => match port.parse() {
                Ok(0) | Err(_) => return Err("the port is no number from 1 to 65535"),
                Ok(port) => port,
            },
        };
        let is_host = |c: char| c.is_ascii_alphanumeric() || "-._:".contains(c);
        if host.is_empty() || host.len() > MAX_NAME || !host.chars().all(is_host) {
            return Err("neither an address nor a host name");
        }
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }
}

impl fmt::Display for RtrServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

serialize_as_text!(RtrServer);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_names_are_read_with_or_without_a_port() {
        for (text, shown) in [
            ("192.0.2.1", Ok("192.0.2.1:323")),
            ("192.0.2.1:8282", Ok("192.0.2.1:8282")),
            ("[::1]", Ok("[::1]:323")),
            ("[2001:db8::1]:8282", Ok("[2001:db8::1]:8282")),
            ("rtr.example.net:3323", Ok("rtr.example.net:3323")),
            ("::1", Err("brackets are missing, such as \"[::1]:323\"")),
            ("[::1", Err("the bracket is not closed")),
            ("[a]:1", Err("no IPv6 address between the brackets")),
            ("host:0", Err("the port is no number from 1 to 65535")),
            ("host:x", Err("the port is no number from 1 to 65535")),
            ("", Err("neither an address nor a host name")),
            ("a b", Err("neither an address nor a host name")),
        ] {
            let read = text.parse::<RtrServer>().map(|server| server.to_string());
            assert_eq!(read.as_deref(), shown.as_ref().copied(), "{text}");
        }
    }
}
