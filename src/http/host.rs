// SPDX-License-Identifier: AGPL-3.0-only
//! The Host field of a request (RFC 9112 section 3.2). Pure.

use std::net::Ipv6Addr;

use hyper::Version;
use hyper::header::HOST;
use hyper::http::request::Parts;

/// Checks that there is one Host field and that it is valid; before HTTP/1.1 it may be absent.
pub(super) fn check(request: &Parts) -> Result<(), &'static str> {
    let mut fields = request.headers.get_all(HOST).iter();
    match (fields.next(), fields.next()) {
        (None, _) if request.version < Version::HTTP_11 => Ok(()),
        (None, _) => Err("no Host field"),
        (Some(_), Some(_)) => Err("more than one Host field"),
        (Some(field), None) => match is_host(field.as_bytes()) {
            true => Ok(()),
            false => Err("a malformed Host field"),
        },
    }
}

/// Returns whether `field` is `uri-host [ ":" port ]` of RFC 3986 section 3.2. It may be empty.
fn is_host(field: &[u8]) -> bool {
    let Ok(field) = std::str::from_utf8(field) else {
        return false;
    };
    if let Some(rest) = field.strip_prefix('[') {
        return rest.split_once(']').is_some_and(|(address, rest)| {
            is_ip_literal(address)
                && (rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port))
        });
    }
    let (name, port) = field.split_once(':').unwrap_or((field, ""));
    is_name(name, "") && is_port(port)
}

/// Returns whether `text` is an IP literal. A zone (RFC 6874) and a future version of IP are
/// allowed.
fn is_ip_literal(text: &str) -> bool {
    if let Some(future) = text.strip_prefix(['v', 'V']) {
        return future.split_once('.').is_some_and(|(version, address)| {
            let hexadecimal = |byte: u8| byte.is_ascii_hexdigit();
            !version.is_empty()
                && version.bytes().all(hexadecimal)
                && !address.is_empty()
                && is_name(address, ":")
                && !address.contains('%')
        });
    }
    let (address, zone) = text.split_once("%25").unwrap_or((text, "0"));
    address.parse::<Ipv6Addr>().is_ok() && !zone.is_empty() && is_name(zone, "")
}

/// Returns whether `text` consists of unreserved characters, sub-delims, percent-encoded bytes and
/// `more`.
fn is_name(text: &str, more: &str) -> bool {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let is_allowed = match byte {
            b'%' => {
                let mut is_digit = || bytes.next().is_some_and(|b| b.is_ascii_hexdigit());
                is_digit() && is_digit()
            }
            b'-' | b'.' | b'_' | b'~' => true,
            b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' => true,
            _ => byte.is_ascii_alphanumeric() || more.as_bytes().contains(&byte),
        };
        if !is_allowed {
            return false;
        }
    }
    true
}

/// Returns whether `text` is a port, which may be empty. No port is above 65535.
fn is_port(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit()) && (text.is_empty() || text.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_those_of_rfc_3986() {
        for host in [
            "",
            "x",
            "x:",
            "x:80",
            "router-1.example.net:9669",
            "a_b",
            "%41b",
            "192.0.2.1:9669",
            "[::1]",
            "[::1]:9669",
            "[2001:db8::1]:",
            "[fe80::1%25eth0]:9669",
            "[v1.a:b]",
            "a,b;c=d",
        ] {
            assert!(is_host(host.as_bytes()), "{host}");
        }
        for host in [
            "a b",
            "a@b",
            "http://x",
            "x/",
            "x:y",
            "x:80:80",
            "x:65536",
            "x:-1",
            "::1",
            "[::1",
            "::1]",
            "[::1]x",
            "[::1]:x",
            "[x]",
            "[fe80::1%eth0]",
            "[v1.]",
            "[v.a]",
            "%4",
            "%zz",
            "x?y",
            "x#y",
            "a\\b",
            "\"x\"",
            "ä",
            ":y",
        ] {
            assert!(!is_host(host.as_bytes()), "{host}");
        }
        assert!(!is_host(b"\xff"));
    }
}
