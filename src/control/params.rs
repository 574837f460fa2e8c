// SPDX-License-Identifier: AGPL-3.0-only
//! Parses query strings into typed parameters, and words every error.

use std::fmt::Display;
use std::str::FromStr;

use super::paths::PathFilter;
use crate::flow::query::{EndpointFilter, Field, Filter, MAX_FIELDS, MAX_LIMIT, Sort};
use crate::http::percent::decode;
use crate::types::asn;
use crate::types::did_you_mean::nearest;
use crate::types::flow::Direction;
use crate::types::named::Named;
use crate::types::prefix::Prefix;
use crate::types::protocol::Protocol;

pub const DEFAULT_LIMIT: usize = 20;

/// A query for thread flow.
#[derive(Debug, Default, PartialEq)]
pub struct FlowQuery {
    pub filter: Filter,
    /// The name of the interface: [`Filter`] has only interface numbers.
    pub interface: Option<String>,
    pub sort: Sort,
    pub limit: usize,
    /// The fields to group by; only for top.
    pub by: Vec<Field>,
}

/// The parameters of a request. They are removed one by one; the remaining ones are unknown.
#[derive(Debug)]
pub struct Params {
    pairs: Vec<(String, String)>,
    known: Vec<&'static str>,
}

impl Params {
    pub fn parse(query: Option<&str>) -> Result<Self, String> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        let parts = query.unwrap_or_default().split('&');
        for part in parts.filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let (name, value) = (decode(name)?, decode(value)?);
            if pairs.iter().any(|(other, _)| *other == name) {
                return Err(format!("{} is given twice", name.escape_debug()));
            }
            pairs.push((name, value));
        }
        Ok(Self {
            pairs,
            known: Vec::new(),
        })
    }

    pub fn take(&mut self, name: &'static str) -> Option<String> {
        self.known.push(name);
        let at = self.pairs.iter().position(|(n, _)| n == name)?;
        Some(self.pairs.swap_remove(at).1)
    }

    /// Returns the parsed value of `name`; `expected` describes valid values in the error.
    pub fn read<T>(
        &mut self,
        name: &'static str,
        expected: impl Display,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, String> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        match parse(&value) {
            Some(parsed) => Ok(Some(parsed)),
            None => Err(format!(
                "{name}: expected {expected}, got \"{}\"",
                value.escape_debug()
            )),
        }
    }

    fn number<T: FromStr>(
        &mut self,
        name: &'static str,
        expected: &str,
    ) -> Result<Option<T>, String> {
        self.read(name, expected, |text| text.parse().ok())
    }

    /// Returns an error for the first unknown parameter.
    pub fn finish(self) -> Result<(), String> {
        let Some((name, _)) = self.pairs.first() else {
            return Ok(());
        };
        let unknown = format!("unknown parameter {}", name.escape_debug());
        Err(match nearest(name, self.known.iter().copied()) {
            Some(near) => format!("{unknown}, did you mean {near}?"),
            None if self.known.is_empty() => format!("{unknown}: there are none here"),
            None => format!("{unknown}, expected one of {}", self.known.join(", ")),
        })
    }
}

/// Parses the query of /v1/flows.
pub fn flows(query: Option<&str>) -> Result<FlowQuery, String> {
    let mut params = Params::parse(query)?;
    let mut query = shared(&mut params)?;
    query.sort = sort(&mut params, &Sort::ALL)?;
    params.finish()?;
    Ok(query)
}

/// Parses the query of /v1/top.
pub fn top(query: Option<&str>) -> Result<FlowQuery, String> {
    let mut params = Params::parse(query)?;
    let mut query = shared(&mut params)?;
    query.sort = sort(&mut params, &Sort::OF_SUMS)?;
    let by = params.take("by").unwrap_or_else(|| "src,dst".to_owned());
    query.by = fields(&by)?;
    params.finish()?;
    Ok(query)
}

/// A query of /v1/paths.
#[derive(Debug, PartialEq)]
pub struct PathQuery {
    pub filter: PathFilter,
    pub limit: usize,
    pub history: bool,
}

/// Parses the query of /v1/paths.
pub fn paths(query: Option<&str>) -> Result<PathQuery, String> {
    let mut params = Params::parse(query)?;
    let filter = PathFilter {
        via: params.read("via", asn::EXPECTED, asn::parse)?,
        origin: params.read("origin", asn::EXPECTED, asn::parse)?,
        peer: params.read("peer", asn::EXPECTED, asn::parse)?,
    };
    let history = params.read("history", "true or false", |text| text.parse().ok())?;
    let limit = limit(&mut params)?;
    params.finish()?;
    Ok(PathQuery {
        filter,
        limit,
        history: history.unwrap_or(false),
    })
}

/// Parses the query of /v1/paths/what_if.
pub fn what_if(query: Option<&str>) -> Result<u32, String> {
    let mut params = Params::parse(query)?;
    let asn = params.read("asn", asn::EXPECTED, asn::parse)?;
    params.finish()?;
    asn.ok_or_else(|| format!("asn: expected {}", asn::EXPECTED))
}

pub(super) fn limit(params: &mut Params) -> Result<usize, String> {
    let limit = params.read(
        "limit",
        format_args!("a number from 1 to {MAX_LIMIT}"),
        |text| {
            let limit = text.parse().ok();
            limit.filter(|n| (1..=MAX_LIMIT).contains(n))
        },
    )?;
    Ok(limit.unwrap_or(DEFAULT_LIMIT))
}

/// What [`prefix`] reads.
pub(super) const PREFIX: &str = "an address or a prefix without host bits";

fn shared(params: &mut Params) -> Result<FlowQuery, String> {
    const PORT: &str = "a port from 0 to 65535";
    let filter = Filter {
        interfaces: None,
        direction: params.read("direction", "ingress or egress", Direction::parse)?,
        protocol: params.read("protocol", "a protocol, such as tcp or 6", protocol)?,
        either: EndpointFilter {
            prefix: params.read("address", PREFIX, prefix)?,
            port: params.number("port", PORT)?,
            asn: params.read("asn", asn::EXPECTED, asn::parse)?,
        },
        src: EndpointFilter {
            prefix: params.read("src", PREFIX, prefix)?,
            port: params.number("src_port", PORT)?,
            asn: params.read("src_asn", asn::EXPECTED, asn::parse)?,
        },
        dst: EndpointFilter {
            prefix: params.read("dst", PREFIX, prefix)?,
            port: params.number("dst_port", PORT)?,
            asn: params.read("dst_asn", asn::EXPECTED, asn::parse)?,
        },
    };
    Ok(FlowQuery {
        filter,
        limit: limit(params)?,
        interface: params.take("interface"),
        ..FlowQuery::default()
    })
}

/// Parses an address or a prefix; an IPv4-mapped prefix becomes the IPv4 prefix.
pub fn prefix(text: &str) -> Option<Prefix> {
    text.parse().ok().map(Prefix::to_canonical)
}

fn sort(params: &mut Params, known: &[Sort]) -> Result<Sort, String> {
    let names: Vec<_> = known.iter().map(|sort| sort.name()).collect();
    let sort = params.read(
        "sort",
        format_args!("one of {}", names.join(", ")),
        |text| known.iter().copied().find(|sort| sort.name() == text),
    )?;
    Ok(sort.unwrap_or_default())
}

fn fields(text: &str) -> Result<Vec<Field>, String> {
    let mut fields = Vec::new();
    for name in text.split(',').map(str::trim) {
        let Some(field) = Field::all().find(|field| field.name() == name) else {
            let names: Vec<_> = Field::all().map(Field::name).collect();
            let unknown = format!("by: unknown field \"{}\"", name.escape_debug());
            return Err(match nearest(name, names.iter().copied()) {
                Some(near) => format!("{unknown}, did you mean {near}?"),
                None => format!("{unknown}, expected some of {}", names.join(", ")),
            });
        };
        if fields.contains(&field) {
            return Err(format!("by: {name} is given twice"));
        }
        fields.push(field);
    }
    if fields.len() > MAX_FIELDS {
        return Err(format!(
            "by: expected at most {MAX_FIELDS} fields, got {}",
            fields.len()
        ));
    }
    Ok(fields)
}

pub fn protocol(text: &str) -> Option<u8> {
    text.parse::<Protocol>().ok().map(|protocol| protocol.0)
}

/// Encodes a value so that [`decode`] returns it.
pub fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b',' | b':' | b'/' => {
                out.push(byte.into());
            }
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::label::Label;

    #[test]
    fn an_ipv4_mapped_prefix_is_the_ipv4_prefix() {
        let query = flows(Some("src=::ffff:10.0.0.0/104")).unwrap();
        assert_eq!(query.filter.src.prefix, "10.0.0.0/8".parse().ok());
    }

    #[test]
    fn a_full_query_is_read() {
        let query = "interface=eth0&direction=egress&protocol=TCP&address=10.0.0.0%2F8&src_port=53\
                     &dst_asn=AS64500&sort=rate&limit=7";
        let query = flows(Some(query)).unwrap();
        assert_eq!(query.interface.as_deref(), Some("eth0"));
        assert_eq!(query.filter.direction, Some(Direction::Egress));
        assert_eq!(query.filter.protocol, Some(6));
        assert_eq!(
            query.filter.either.prefix,
            Some("10.0.0.0/8".parse().unwrap())
        );
        assert_eq!(query.filter.src.port, Some(53));
        assert_eq!(query.filter.dst.asn, Some(64500));
        assert_eq!((query.sort, query.limit), (Sort::Rate, 7));
        let usual = flows(None).unwrap();
        assert_eq!((usual.sort, usual.limit), (Sort::Bytes, DEFAULT_LIMIT));
    }

    #[test]
    fn top_goes_by_fields() {
        let query = top(Some("by=src_asn,dst_port")).unwrap();
        assert_eq!(query.by, [Field::Label(Label::SrcAsn), Field::DstPort]);
        assert_eq!(top(None).unwrap().by, [Field::Src, Field::Dst]);
    }

    #[test]
    fn complaints_name_what_was_expected() {
        for (query, expected) in [
            (
                "limit=0",
                "limit: expected a number from 1 to 1000, got \"0\"",
            ),
            (
                "limit=1001",
                "limit: expected a number from 1 to 1000, got \"1001\"",
            ),
            (
                "sort=size",
                "sort: expected one of bytes, packets, rate, last, duration, got \"size\"",
            ),
            (
                "port=70000",
                "port: expected a port from 0 to 65535, got \"70000\"",
            ),
            (
                "address=10.0.0.1/8",
                "address: expected an address or a prefix without host bits, got \"10.0.0.1/8\"",
            ),
            (
                "protocol=x",
                "protocol: expected a protocol, such as tcp or 6, got \"x\"",
            ),
            (
                "direction=up",
                "direction: expected ingress or egress, got \"up\"",
            ),
            ("limit=1&limit=2", "limit is given twice"),
            ("lmit=1", "unknown parameter lmit, did you mean limit?"),
            ("a%2", "\"a%2\" is not percent-encoded"),
            ("a=%ff", "\"%ff\" is not percent-encoded"),
            (
                "a%0a=1",
                "unknown parameter a\\n, expected one of interface",
            ),
        ] {
            let error = flows(Some(query)).unwrap_err();
            let start = &error[..expected.len().min(error.len())];
            assert!(query == "a%0a=1" || start == expected, "{query}: {error}");
        }
        let error = top(Some("by=scr_asn")).unwrap_err();
        assert_eq!(
            error,
            "by: unknown field \"scr_asn\", did you mean src_asn?"
        );
        let error = top(Some("by=src,dst,src_port,dst_port,proto")).unwrap_err();
        assert_eq!(error, "by: expected at most 4 fields, got 5");
        assert!(top(Some("sort=last")).is_err());
    }

    #[test]
    fn what_is_encoded_is_read_back() {
        for text in ["eth0.100", "a b&c=d%", "fe80::1/64", "ü\n"] {
            assert_eq!(decode(&encode(text)).as_deref(), Ok(text));
        }
    }
}
