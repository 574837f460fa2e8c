// SPDX-License-Identifier: AGPL-3.0-only
//! The conversations that filters select, as a curve and as the rows of a table. Pure, but for the lookups of labels.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use serde::Serialize;

use super::AddressLookup;
use super::curves::SlotColumn;
use super::query::{StoredQuery, StoredTable};
use super::resolution::Slots;
use crate::flow::talkers::TrafficEnd;
use crate::flow::talkers::filter::Condition;
use crate::store::group_sums::{GroupSums, ScopePlace};
use crate::store::types::{ConversationPeriod, ConversationRow, PartKind};
use crate::types::address_detail::{AddressDetail, short_length};
use crate::types::flow::Direction;
use crate::types::label::Endpoint;
use crate::types::prefix::Prefix;

/// The maximum number of addresses whose labels are kept.
const MAX_KNOWN: usize = 16_384;

/// The value of a row: an AS number or a protocol, or a text; 0 and an empty text are unknown.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(untagged)]
pub enum RowValue {
    Number(u32),
    Text(String),
}

/// The value of a row while rows are added up.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RowKey {
    /// A host or prefix, in the detail that may be shown.
    Address(IpAddr),
    Number(u32),
    Service(u8, u16),
    /// `None` is unknown.
    Name(Option<Arc<str>>),
}

/// The rows of a table, each with an address of it.
pub type RowSums = GroupSums<Direction, RowKey, IpAddr>;

/// The selected conversations of one direction.
#[derive(Default)]
pub struct Selected {
    /// The curve of each interface.
    pub columns: BTreeMap<Arc<str>, SlotColumn>,
}

/// Selects conversations.
pub struct ConversationSelection<'a> {
    query: &'a StoredQuery,
    slots: Slots,
    addresses: AddressDetail,
    lookup: AddressLookup,
    /// The labels of addresses, so that most are looked up once.
    known: HashMap<IpAddr, Endpoint, RandomState>,
    /// By [`Direction`].
    pub found: [Selected; Direction::ALL.len()],
    pub rows: RowSums,
}

impl<'a> ConversationSelection<'a> {
    pub fn new(
        query: &'a StoredQuery,
        slots: Slots,
        addresses: AddressDetail,
        lookup: AddressLookup,
    ) -> Self {
        Self {
            query,
            slots,
            addresses,
            lookup,
            known: HashMap::default(),
            found: Default::default(),
            rows: RowSums::default(),
        }
    }

    /// Adds the conversations of a period that begins in a slot.
    pub fn add(&mut self, period: &ConversationPeriod) {
        if self.slots.of(period.time).is_none() {
            return;
        }
        for list in &period.lists {
            let direction = list.direction;
            let place = self.rows.scope(&direction);
            let columns = &mut self.found[direction as usize].columns;
            let mut column = columns.remove(&list.interface);
            for row in &list.rows {
                if self.matches(row, direction) {
                    let column =
                        column.get_or_insert_with(|| SlotColumn::new(self.slots.count, true));
                    spread(column, self.slots, period, row);
                    self.count(place, row, direction);
                }
            }
            let columns = &mut self.found[direction as usize].columns;
            columns.extend(column.map(|column| (list.interface.clone(), column)));
        }
    }

    /// Returns the labels of an address.
    pub fn labels(&mut self, address: IpAddr) -> &Endpoint {
        if self.known.len() >= MAX_KNOWN && !self.known.contains_key(&address) {
            self.known.clear();
        }
        let lookup = &self.lookup;
        self.known.entry(address).or_insert_with(|| lookup(address))
    }

    fn matches(&mut self, row: &ConversationRow, direction: Direction) -> bool {
        let query = self.query;
        query.filters.iter().all(|filter| match filter {
            Condition::Address(end, prefix) => prefix.contains(end_of(row, direction, *end)),
            Condition::Protocol(protocol) => row.protocol == *protocol,
            Condition::Service(protocol, port) => {
                (row.protocol, row.service_port) == (*protocol, *port)
            }
            Condition::Asn(end, asn) => self.labels(end_of(row, direction, *end)).asn == *asn,
            Condition::Peer(end, asn) => self.labels(end_of(row, direction, *end)).peer_asn == *asn,
            Condition::Country(end, country) => {
                let labels = self.labels(end_of(row, direction, *end));
                labels.country.as_deref().unwrap_or_default() == &**country
            }
            Condition::City(end, city) => {
                let labels = self.labels(end_of(row, direction, *end));
                labels.city.as_deref().unwrap_or_default() == &**city
            }
        })
    }

    /// Adds a row to the table.
    fn count(&mut self, place: ScopePlace, row: &ConversationRow, direction: Direction) {
        let key = self.query.by.and_then(|by| self.key(by, row, direction));
        if let Some(key) = key {
            let address = end_of(row, direction, self.query.end);
            self.rows.add(place, key, (row.bytes, row.packets), address);
        }
    }

    fn key(
        &mut self,
        by: StoredTable,
        row: &ConversationRow,
        direction: Direction,
    ) -> Option<RowKey> {
        let far = end_of(row, direction, TrafficEnd::Remote);
        let shown = end_of(row, direction, self.query.end);
        Some(match by {
            StoredTable::Host => RowKey::Address(self.addresses.of(shown)?.address()),
            StoredTable::Prefix => RowKey::Address(short_prefix(shown).address()),
            StoredTable::Protocol => RowKey::Number(row.protocol.into()),
            StoredTable::Series(PartKind::Service) => {
                RowKey::Service(row.protocol, row.service_port)
            }
            StoredTable::Series(PartKind::Network) => RowKey::Number(self.labels(shown).asn),
            StoredTable::Series(PartKind::Neighbor) => RowKey::Number(self.labels(far).peer_asn),
            StoredTable::Series(PartKind::Country) => {
                RowKey::Name(self.labels(far).country.clone())
            }
            StoredTable::Series(PartKind::Prefix) => {
                RowKey::Name(Some(self.labels(far).net.clone()?))
            }
        })
    }

    /// Returns the value of a row in a table.
    pub fn value(&self, by: StoredTable, key: &RowKey) -> RowValue {
        match key {
            RowKey::Address(address) if by == StoredTable::Prefix => {
                RowValue::Text(short_prefix(*address).to_string())
            }
            RowKey::Address(address) => RowValue::Text(self.addresses.text(*address)),
            RowKey::Number(number) => RowValue::Number(*number),
            RowKey::Service(protocol, port) => RowValue::Text(format!("{protocol}/{port}")),
            RowKey::Name(name) => RowValue::Text(name.as_deref().unwrap_or_default().to_owned()),
        }
    }
}

fn short_prefix(address: IpAddr) -> Prefix {
    Prefix::new(address, short_length(address))
}

/// Adds the bytes of a period to the slots that it touches, in equal parts.
fn spread(
    column: &mut SlotColumn,
    slots: Slots,
    period: &ConversationPeriod,
    row: &ConversationRow,
) {
    let pieces = (period.seconds / slots.step).max(1);
    let part = |total: u64, piece: u64| total / pieces + u64::from(piece < total % pieces);
    for piece in 0..pieces {
        if let Some(slot) = slots.of(period.time + piece * slots.step) {
            column.add(slot, part(row.bytes, piece), part(row.packets, piece));
        }
    }
}

/// Returns the address of an end of a conversation.
fn end_of(row: &ConversationRow, direction: Direction, end: TrafficEnd) -> IpAddr {
    match (direction == Direction::Ingress) == (end == TrafficEnd::Remote) {
        true => row.source,
        false => row.destination,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_a_limited_number_of_addresses_are_kept() {
        let query =
            StoredQuery::parse("interface=eth0", 1_793_577_600, AddressDetail::Full).unwrap();
        let slots = Slots {
            start: 0,
            step: 60,
            count: 1,
        };
        let lookup = |address: IpAddr| {
            let IpAddr::V4(address) = address else {
                return Endpoint::default();
            };
            Endpoint {
                asn: address.to_bits(),
                ..Endpoint::default()
            }
        };
        let mut selection =
            ConversationSelection::new(&query, slots, AddressDetail::Full, Box::new(lookup));
        for n in 0..3 * MAX_KNOWN as u32 {
            let address = std::net::Ipv4Addr::from_bits(n).into();
            assert_eq!(selection.labels(address).asn, n);
            assert!(selection.known.len() <= MAX_KNOWN);
        }
    }

    #[test]
    fn long_periods_are_spread_and_nothing_is_lost() {
        let slots = Slots {
            start: 1200,
            step: 60,
            count: 20,
        };
        let mut column = SlotColumn {
            bytes: vec![0; 20],
            packets: vec![0; 20],
        };
        let row = ConversationRow {
            source: [192, 0, 2, 1].into(),
            destination: [192, 0, 2, 2].into(),
            protocol: 6,
            service_port: 443,
            bytes: 1_234_567,
            packets: 12,
        };
        let period = |time, seconds| ConversationPeriod {
            time,
            seconds,
            lists: Vec::new(),
        };
        spread(&mut column, slots, &period(1800, 600), &row);
        assert_eq!(column.sum(), 1_234_567);
        assert_eq!(column.packets(), Some(12));
        assert!(
            column.bytes[10..]
                .iter()
                .all(|bytes| bytes.abs_diff(123_456) <= 1)
        );
        spread(&mut column, slots, &period(1200, 60), &row);
        assert_eq!(column.bytes[0], 1_234_567);
    }
}
