// SPDX-License-Identifier: AGPL-3.0-only
//! The options of a reader, from the query string of the data (pure).

use super::order::{RowOrder, SortColumn};
use crate::flow::talkers::TrafficEnd;
use crate::flow::talkers::filter::Condition;
use crate::history::time_series::Measure;
use crate::history::top_table::Side;
use crate::history::window_totals::Window;
use crate::http::percent::decode;
use crate::types::address_detail::AddressDetail;
use crate::types::flow::Direction;
use crate::types::prefix::Prefix;

/// Maximum number of filters; further ones are ignored.
const MAX_FILTERS: usize = 4;
/// Maximum length of a place.
const MAX_TEXT: usize = 256;

/// A list of talkers; the end of the traffic is that of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListName {
    Hosts,
    Prefixes,
    Services,
    Networks,
}

impl ListName {
    const ALL: [Self; 4] = [Self::Hosts, Self::Prefixes, Self::Services, Self::Networks];

    pub fn name(self) -> &'static str {
        match self {
            Self::Hosts => "hosts",
            Self::Prefixes => "prefixes",
            Self::Services => "services",
            Self::Networks => "networks",
        }
    }
}

/// A table of the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopTableName {
    Networks,
    Neighbours,
    Countries,
    Cities,
    Protocols,
}

impl TopTableName {
    fn find(name: &str) -> Option<Self> {
        Some(match name {
            "networks" => Self::Networks,
            "neighbours" => Self::Neighbours,
            "countries" => Self::Countries,
            "cities" => Self::Cities,
            "protocols" => Self::Protocols,
            _ => return None,
        })
    }
}

/// The curves of a chart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stack {
    Networks,
    Family,
    /// Only those of the filters.
    None,
}

impl Stack {
    pub(super) fn find(name: &str) -> Option<Self> {
        Some(match name {
            "networks" => Self::Networks,
            "family" => Self::Family,
            "none" => Self::None,
            _ => return None,
        })
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// The interface to show in detail; the uplink if there is none with this index.
    pub ifindex: u32,
    /// Whether to show the sum of all uplinks.
    pub uplinks: bool,
    pub window: Window,
    pub side: Side,
    /// The unit of the curves, and of current rate, mean and maximum.
    pub measure: Measure,
    /// The tick up to which the reader has the curves.
    pub after: Option<u64>,
    /// The only table that the reader shows, and its direction.
    pub table: Option<TopTableName>,
    pub direction: Option<Direction>,
    /// How many lines of the table or list the reader shows, and their order.
    pub rows: Option<usize>,
    pub sort: SortColumn,
    pub ascending: bool,
    /// The curves that the reader draws.
    pub stack: Option<Stack>,
    /// Whether curves are packed.
    pub is_packed: bool,
    /// The time up to which the reader has the curve of the talkers, as in their `end`.
    pub seen: Option<u64>,
    /// The list of talkers to show.
    pub list: Option<ListName>,
    /// The filters of the reader; all must match.
    pub filters: Vec<Condition>,
}

impl Query {
    /// Parses the query string. Ignores unknown options. `addresses` limits the addresses that the answer contains.
    pub fn parse(text: &str, addresses: AddressDetail) -> Self {
        let mut query = Self::default();
        for (key, value) in text.split('&').filter_map(|pair| pair.split_once('=')) {
            match (key, value) {
                ("ifindex", "uplinks") => query.uplinks = true,
                ("ifindex", index) => query.ifindex = index.parse().unwrap_or_default(),
                ("window", "day") => query.window = Window::Day,
                ("unit", "packets") => query.measure = Measure::Packets,
                ("side", "near") => query.side = Side::Near,
                ("after", tick) => query.after = tick.parse().ok(),
                ("table", name) => query.table = TopTableName::find(name),
                ("dir", "ingress") => query.direction = Some(Direction::Ingress),
                ("dir", "egress") => query.direction = Some(Direction::Egress),
                ("rows", number) => query.rows = number.parse().ok(),
                ("sort", name) => query.sort = SortColumn::find(name).unwrap_or_default(),
                ("asc", "1") => query.ascending = true,
                ("stack", name) => query.stack = Stack::find(name),
                ("points", "packed") => query.is_packed = true,
                ("seen", end) => query.seen = end.parse().ok(),
                ("list", name) => query.list = list(name, addresses),
                ("filter", text) if query.filters.len() < MAX_FILTERS => {
                    let decoded = decode(text).ok();
                    let filter = decoded.and_then(|text| condition(&text, addresses));
                    query.filters.extend(filter);
                }
                _ => {}
            }
        }
        query
    }

    /// Returns the lines that the reader shows; `None` for all.
    pub fn order(&self) -> Option<RowOrder> {
        Some(RowOrder {
            rows: self.rows?,
            by: self.sort,
            ascending: self.ascending,
        })
    }

    /// Returns the end of the traffic that the tables show.
    pub fn end(&self) -> TrafficEnd {
        match self.side {
            Side::Far => TrafficEnd::Remote,
            Side::Near => TrafficEnd::Local,
        }
    }
}

fn list(name: &str, addresses: AddressDetail) -> Option<ListName> {
    let list = ListName::ALL.into_iter().find(|list| list.name() == name)?;
    match (list, addresses) {
        (ListName::Hosts, AddressDetail::Prefix) => Some(ListName::Prefixes),
        (ListName::Hosts | ListName::Prefixes, AddressDetail::Absent) => None,
        _ => Some(list),
    }
}

/// Parses a filter: END.KIND.VALUE, such as `far.asn.64500` or `near.host.192.0.2.1`.
pub(super) fn condition(text: &str, addresses: AddressDetail) -> Option<Condition> {
    let mut parts = text.splitn(3, '.');
    let (end, kind, value) = (parts.next()?, parts.next()?, parts.next()?);
    let end = match end {
        "far" => TrafficEnd::Remote,
        "near" => TrafficEnd::Local,
        _ => return None,
    };
    let place = (value.len() <= MAX_TEXT).then(|| value.into());
    Some(match kind {
        "asn" => Condition::Asn(end, value.parse().ok()?),
        "peer" => Condition::Peer(end, value.parse().ok()?),
        "country" => Condition::Country(end, place?),
        "city" => Condition::City(end, place?),
        "host" => Condition::Address(end, addresses.limit(value.parse::<Prefix>().ok()?)?),
        "protocol" => Condition::Protocol(value.parse().ok()?),
        "service" => {
            let (protocol, port) = value.split_once('/')?;
            Condition::Service(protocol.parse().ok()?, port.parse().ok()?)
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Query {
        Query::parse(text, AddressDetail::Full)
    }

    #[test]
    fn filters_are_read_and_nonsense_is_ignored() {
        let query = parse(
            "list=hosts&filter=far.asn.64500&filter=near.host.2001%3Adb8%3A%3A1&filter=far.city.Z%C3%BCrich+West\
             &filter=far.service.17/53&filter=far.asn.1",
        );
        let address = "2001:db8::1".parse().unwrap();
        let expected = [
            Condition::Asn(TrafficEnd::Remote, 64_500),
            Condition::Address(TrafficEnd::Local, address),
            Condition::City(TrafficEnd::Remote, "Zürich West".into()),
            Condition::Service(17, 53),
        ];
        assert_eq!(query.filters, expected);
        assert_eq!(query.list, Some(ListName::Hosts));
        for text in [
            "",
            "far.asn",
            "far.asn.x",
            "far.asn.-1",
            "any.asn.1",
            "far.host.10.0.0.1/8",
            "far.host.",
            "far.service.6",
            "far.service.6/70000",
            "far.color.red",
            "%zz",
        ] {
            assert_eq!(parse(&format!("filter={text}")), Query::default(), "{text}");
        }
    }

    #[test]
    fn addresses_are_limited() {
        let text = "list=hosts&filter=far.host.192.0.2.77";
        let shortened = Query::parse(text, AddressDetail::Prefix);
        let network = "192.0.2.0/24".parse().unwrap();
        assert_eq!(
            shortened.filters,
            [Condition::Address(TrafficEnd::Remote, network)]
        );
        assert_eq!(shortened.list, Some(ListName::Prefixes));
        let absent = Query::parse(text, AddressDetail::Absent);
        assert_eq!((absent.list, absent.filters.len()), (None, 0));
    }
}
