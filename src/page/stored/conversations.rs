// SPDX-License-Identifier: AGPL-3.0-only
//! The conversations that filters select, as a curve and as the rows of a table. Pure, but for the lookups of labels.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use serde::Serialize;

use super::AddressLookup;
use super::curves::SlotColumn;
use super::query::{StoredQuery, StoredTable};
use super::resolution::Slots;
use crate::flow::talkers::TrafficEnd;
use crate::flow::talkers::filter::Condition;
use crate::store::types::{ConversationPeriod, ConversationRow, PartKind};
use crate::types::address_detail::{AddressDetail, short_length};
use crate::types::flow::Direction;
use crate::types::label::Endpoint;
use crate::types::prefix::Prefix;

/// The value of a row: an AS number or a protocol, or a text; 0 and an empty text are unknown.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(untagged)]
pub enum RowValue {
    Number(u32),
    Text(String),
}

/// Bytes and packets of a row, and an address of it.
#[derive(Clone, Copy, Debug)]
pub struct RowCounts {
    pub bytes: u64,
    pub packets: u64,
    pub address: IpAddr,
}

/// The selected conversations of one direction.
#[derive(Default)]
pub struct Selected {
    /// The curve of each interface.
    pub columns: BTreeMap<Arc<str>, SlotColumn>,
    pub rows: BTreeMap<RowValue, RowCounts>,
}

/// Selects conversations; each address is looked up once.
pub struct ConversationSelection<'a> {
    query: &'a StoredQuery,
    slots: Slots,
    addresses: AddressDetail,
    lookup: AddressLookup,
    known: HashMap<IpAddr, Endpoint>,
    /// By [`Direction`].
    pub found: [Selected; Direction::ALL.len()],
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
            known: HashMap::new(),
            found: Default::default(),
        }
    }

    /// Adds the conversations of a period that begins in a slot.
    pub fn add(&mut self, period: &ConversationPeriod) {
        if self.slots.of(period.time).is_none() {
            return;
        }
        for list in &period.lists {
            for row in &list.rows {
                if self.matches(row, list.direction) {
                    self.count(period, &list.interface, list.direction, row);
                }
            }
        }
    }

    /// Returns the labels of an address.
    pub fn labels(&mut self, address: IpAddr) -> &Endpoint {
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

    fn count(
        &mut self,
        period: &ConversationPeriod,
        interface: &Arc<str>,
        direction: Direction,
        row: &ConversationRow,
    ) {
        let address = end_of(row, direction, self.query.end);
        let value = self.query.by.and_then(|by| self.value(by, row, direction));
        let (slots, found) = (self.slots, &mut self.found[direction as usize]);
        let column = found.columns.entry(interface.clone());
        let column = column.or_insert_with(|| SlotColumn {
            bytes: vec![0; slots.count],
            packets: vec![0; slots.count],
        });
        spread(column, slots, period, row);
        if let Some(value) = value {
            let counts = found.rows.entry(value).or_insert(RowCounts {
                bytes: 0,
                packets: 0,
                address,
            });
            counts.bytes = counts.bytes.saturating_add(row.bytes);
            counts.packets = counts.packets.saturating_add(row.packets);
        }
    }

    fn value(
        &mut self,
        by: StoredTable,
        row: &ConversationRow,
        direction: Direction,
    ) -> Option<RowValue> {
        let far = end_of(row, direction, TrafficEnd::Remote);
        let shown = end_of(row, direction, self.query.end);
        Some(match by {
            StoredTable::Host => RowValue::Text(self.addresses.text(shown)),
            StoredTable::Prefix => {
                RowValue::Text(Prefix::new(shown, short_length(shown)).to_string())
            }
            StoredTable::Protocol => RowValue::Number(row.protocol.into()),
            StoredTable::Series(PartKind::Service) => {
                RowValue::Text(format!("{}/{}", row.protocol, row.service_port))
            }
            StoredTable::Series(PartKind::Network) => RowValue::Number(self.labels(shown).asn),
            StoredTable::Series(PartKind::Neighbor) => RowValue::Number(self.labels(far).peer_asn),
            StoredTable::Series(PartKind::Country) => {
                let country = self.labels(far).country.as_deref();
                RowValue::Text(country.unwrap_or_default().to_owned())
            }
            StoredTable::Series(PartKind::Prefix) => {
                RowValue::Text(self.labels(far).net.as_deref()?.to_owned())
            }
        })
    }
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
