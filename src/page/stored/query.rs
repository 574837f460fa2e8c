// SPDX-License-Identifier: AGPL-3.0-only
//! The options of `page/v2.json`, from the query string (pure). Errors name the option and repeat no part of the request.

use std::sync::Arc;

use crate::flow::talkers::TrafficEnd;
use crate::flow::talkers::filter::Condition;
use crate::history::time_series::Measure;
use crate::http::percent::decode;
use crate::page::query::{Stack, condition};
use crate::store::types::{PartKind, TimeSpan};
use crate::types::address_detail::AddressDetail;

/// The period without `from`.
const DEFAULT_PERIOD: u64 = 3600;
/// The longest period: all stored points, and as much again.
const MAX_PERIOD: u64 = 20 * 366 * 86_400;
const MAX_INTERFACES: usize = 64;
/// Maximum length of the name of an interface, in bytes.
const MAX_NAME: usize = 256;
const MAX_FILTERS: usize = 4;
const MAX_ROWS: usize = 1000;

/// The rows of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoredTable {
    /// Parts that are stored as curves.
    Series(PartKind),
    /// From the services.
    Protocol,
    /// Hosts, or the prefixes that are stored in their place.
    Host,
    /// A /24 or a /48.
    Prefix,
}

const TABLES: [(&str, StoredTable); 8] = [
    ("asn", StoredTable::Series(PartKind::Network)),
    ("peer_asn", StoredTable::Series(PartKind::Neighbor)),
    ("country", StoredTable::Series(PartKind::Country)),
    ("net", StoredTable::Series(PartKind::Prefix)),
    ("service", StoredTable::Series(PartKind::Service)),
    ("protocol", StoredTable::Protocol),
    ("host", StoredTable::Host),
    ("prefix", StoredTable::Prefix),
];

impl StoredTable {
    pub fn name(self) -> &'static str {
        let found = TABLES.iter().find(|(_, table)| *table == self);
        found.map_or("", |(name, _)| name)
    }
}

/// A valid query.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredQuery {
    pub interfaces: Vec<Arc<str>>,
    pub span: TimeSpan,
    /// No tables without it.
    pub by: Option<StoredTable>,
    /// The end of the traffic whose hosts or prefixes the tables show.
    pub end: TrafficEnd,
    /// All must match.
    pub filters: Vec<Condition>,
    pub stack: Stack,
    pub measure: Measure,
    /// Rows of each table.
    pub rows: usize,
    /// Whether curves are packed.
    pub is_packed: bool,
}

impl StoredQuery {
    /// Parses the query string. `now` is in Unix seconds; `addresses` limits the addresses that the answer contains.
    pub fn parse(text: &str, now: u64, addresses: AddressDetail) -> Result<Self, String> {
        let mut query = Self {
            interfaces: Vec::new(),
            span: TimeSpan::new(0, 0),
            by: None,
            end: TrafficEnd::Remote,
            filters: Vec::new(),
            stack: Stack::None,
            measure: Measure::Bytes,
            rows: MAX_ROWS,
            is_packed: false,
        };
        let (mut from, mut to) = (None, None);
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decode(value).map_err(|_| "the query is not percent-encoded UTF-8")?;
            match key {
                "from" => from = Some(time(&value).ok_or("from: expected Unix seconds")?),
                "to" => to = Some(time(&value).ok_or("to: expected Unix seconds")?),
                "interface" => query.add_interface(&value)?,
                "by" => query.by = Some(table(&value, addresses)?),
                "side" => query.end = side(&value)?,
                "filter" => query.add_filter(&value, addresses)?,
                "stack" => {
                    query.stack = Stack::find(&value)
                        .ok_or("stack: expected one of networks, family and none")?;
                }
                "unit" => {
                    query.measure = match &*value {
                        "bytes" => Measure::Bytes,
                        "packets" => Measure::Packets,
                        _ => return Err("unit: expected bytes or packets".into()),
                    }
                }
                "rows" => {
                    let rows = value.parse().ok();
                    let rows = rows.filter(|rows| (1..=MAX_ROWS).contains(rows));
                    query.rows = rows
                        .ok_or_else(|| format!("rows: expected a number from 1 to {MAX_ROWS}"))?;
                }
                "points" => {
                    query.is_packed = match &*value {
                        "packed" => true,
                        "numbers" => false,
                        _ => return Err("points: expected packed or numbers".into()),
                    }
                }
                _ => {
                    return Err(
                        "unknown option, expected some of interface, from, to, by, side, \
                                filter, stack, unit, rows and points"
                            .into(),
                    );
                }
            }
        }
        if query.interfaces.is_empty() {
            return Err("interface: missing; name one, as in interface=eth0".into());
        }
        query.span = span(from, to, now)?;
        Ok(query)
    }

    fn add_interface(&mut self, name: &str) -> Result<(), String> {
        if name.is_empty() || name.len() > MAX_NAME {
            return Err(format!(
                "interface: expected a name of 1 to {MAX_NAME} bytes"
            ));
        }
        if self.interfaces.len() == MAX_INTERFACES {
            return Err(format!("interface: expected at most {MAX_INTERFACES}"));
        }
        if !self.interfaces.iter().any(|known| **known == *name) {
            self.interfaces.push(name.into());
        }
        Ok(())
    }

    fn add_filter(&mut self, text: &str, addresses: AddressDetail) -> Result<(), String> {
        if self.filters.len() == MAX_FILTERS {
            return Err(format!("filter: expected at most {MAX_FILTERS}"));
        }
        let filter = condition(text, addresses).ok_or(
            "filter: expected END.KIND.VALUE, as in far.asn.64500; END is far or near, KIND asn, \
             peer, country, city, host, protocol or service",
        )?;
        self.filters.push(filter);
        Ok(())
    }
}

fn time(text: &str) -> Option<u64> {
    text.parse().ok().filter(|time| *time < 1 << 40)
}

/// Returns the period; it does not end after `now`.
fn span(from: Option<u64>, to: Option<u64>, now: u64) -> Result<TimeSpan, String> {
    let to = to.unwrap_or(now).min(now);
    let from = from.unwrap_or(to.saturating_sub(DEFAULT_PERIOD));
    if from >= to {
        return Err(format!(
            "from: expected a time before the end of the period, {to}"
        ));
    }
    if to - from > MAX_PERIOD {
        return Err(format!(
            "from: expected a period of at most {MAX_PERIOD} seconds"
        ));
    }
    Ok(TimeSpan::new(from, to))
}

fn table(name: &str, addresses: AddressDetail) -> Result<StoredTable, String> {
    let found = TABLES.iter().find(|(known, _)| *known == name);
    let Some((_, table)) = found else {
        let names = TABLES.map(|(name, _)| name).join(", ");
        return Err(format!("by: expected one of {names}"));
    };
    match (table, addresses) {
        (StoredTable::Host, AddressDetail::Prefix) => Ok(StoredTable::Prefix),
        (StoredTable::Host | StoredTable::Prefix, AddressDetail::Absent) => {
            Err("by: agent.privacy.addresses permits no addresses".into())
        }
        _ => Ok(*table),
    }
}

fn side(text: &str) -> Result<TrafficEnd, String> {
    match text {
        "far" => Ok(TrafficEnd::Remote),
        "near" => Ok(TrafficEnd::Local),
        _ => Err("side: expected far or near".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_793_577_600;

    fn parse(text: &str) -> Result<StoredQuery, String> {
        StoredQuery::parse(text, NOW, AddressDetail::Full)
    }

    #[test]
    fn options_are_read() {
        let query = parse(
            "interface=eth0&interface=b%20%26c&from=1793000000&to=1793500000&by=host&side=near\
             &filter=far.asn.64500&stack=family&unit=packets&rows=25&points=packed",
        );
        let expected = StoredQuery {
            interfaces: vec!["eth0".into(), "b &c".into()],
            span: TimeSpan::new(1_793_000_000, 1_793_500_000),
            by: Some(StoredTable::Host),
            end: TrafficEnd::Local,
            filters: vec![Condition::Asn(TrafficEnd::Remote, 64_500)],
            stack: Stack::Family,
            measure: Measure::Packets,
            rows: 25,
            is_packed: true,
        };
        assert_eq!(query, Ok(expected));
        let plain = parse("interface=eth0&to=99999999999").unwrap();
        assert_eq!(plain.span, TimeSpan::new(NOW - 3600, NOW));
    }

    #[test]
    fn errors_name_the_option_and_repeat_nothing() {
        for (text, expected) in [
            ("", "interface: missing"),
            ("interface=", "interface: expected a name"),
            ("interface=a&from=<b>", "from: expected Unix seconds"),
            ("interface=a&from=-1", "from: expected Unix seconds"),
            ("interface=a&to=1099511627776", "to: expected Unix seconds"),
            ("interface=a&from=20&to=20", "from: expected a time before"),
            (
                "interface=a&from=1793577600",
                "from: expected a time before",
            ),
            ("interface=a&from=0", "from: expected a period of at most"),
            ("interface=a&by=<b>", "by: expected one of asn, peer_asn"),
            ("interface=a&side=x", "side: expected far or near"),
            ("interface=a&filter=far.asn.x", "filter: expected END.KIND"),
            ("interface=a&rows=0", "rows: expected a number from 1"),
            ("interface=a&rows=1001", "rows: expected a number from 1"),
            ("interface=a&stack=x", "stack: expected one of"),
            ("interface=a&unit=x", "unit: expected bytes"),
            ("interface=a&points=x", "points: expected packed"),
            ("interface=%zz", "the query is not percent-encoded"),
            ("interface=a&<b>", "unknown option"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.starts_with(expected), "{text}: {error}");
            assert!(!error.contains("<b>"), "{error}");
        }
        let many = "interface=a&".to_owned() + &"filter=far.asn.1&".repeat(5);
        assert_eq!(parse(&many).unwrap_err(), "filter: expected at most 4");
        let many: String = (0..65).map(|n| format!("interface=e{n}&")).collect();
        assert_eq!(parse(&many).unwrap_err(), "interface: expected at most 64");
    }

    #[test]
    fn addresses_are_limited() {
        let parse = |text, detail| StoredQuery::parse(text, NOW, detail);
        let text = "interface=a&by=host&filter=far.host.192.0.2.77";
        let shortened = parse(text, AddressDetail::Prefix).unwrap();
        assert_eq!(shortened.by, Some(StoredTable::Prefix));
        let network = "192.0.2.0/24".parse().unwrap();
        let expected = [Condition::Address(TrafficEnd::Remote, network)];
        assert_eq!(shortened.filters, expected);
        for text in [
            "interface=a&by=host",
            "interface=a&filter=far.host.192.0.2.77",
        ] {
            assert!(parse(text, AddressDetail::Absent).is_err(), "{text}");
        }
    }
}
