// SPDX-License-Identifier: AGPL-3.0-only
//! Conversations as payloads of blocks (pure): tables that deflate compresses, and lists that refer to them.
//!
//! The tables are the interfaces, the addresses and the keys of the conversations, each once. A list has three columns
//! of bits: the places of its conversations in the table, their bytes, and their packets. So a reader skips a list
//! without reading its rows. Bytes and packets of a row are rounded down by less than 1/4096; those of the rest are
//! exact.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;

use super::bytes::{Bytes, NumberColumn, cut, put_column, put_text, put_varint};
use super::level;
use crate::store::types::{ConversationList, ConversationPeriod, ConversationRow};
use crate::types::flow::Direction;

/// A bound for the memory of a reader.
const MAX_UNPACKED: usize = 8 << 20;
const MAX_NAME: usize = 256;
const MAX_LISTS: usize = 4096;
const MAX_ROWS: usize = 1000;
/// The rows of all lists together.
const MAX_ALL_ROWS: usize = 1 << 19;
const MAX_ADDRESSES: usize = 1 << 20;

/// Source, destination, protocol and service port.
type Key = (IpAddr, IpAddr, u8, u16);

fn key(row: &ConversationRow) -> Key {
    (row.source, row.destination, row.protocol, row.service_port)
}

/// The tables of a payload, each with the places of its values.
#[derive(Default)]
struct Tables<'a> {
    names: BTreeMap<&'a str, u64>,
    addresses: BTreeMap<IpAddr, u64>,
    keys: BTreeMap<Key, u64>,
}

impl<'a> Tables<'a> {
    fn of(periods: &[&'a ConversationPeriod]) -> Self {
        let mut tables = Self::default();
        for list in periods.iter().flat_map(|period| &period.lists) {
            tables.names.insert(cut(&list.interface, MAX_NAME), 0);
            for row in &list.rows {
                tables.addresses.insert(row.source, 0);
                tables.addresses.insert(row.destination, 0);
                tables.keys.insert(key(row), 0);
            }
        }
        number(tables.names.values_mut());
        number(tables.addresses.values_mut());
        number(tables.keys.values_mut());
        tables
    }

    fn plain(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_varint(&mut out, self.names.len() as u64);
        self.names.keys().for_each(|name| put_text(&mut out, name));
        put_addresses(&mut out, self.addresses.keys());
        put_varint(&mut out, self.keys.len() as u64);
        // column by column: deflate finds what repeats
        let mut last = 0;
        for (source, ..) in self.keys.keys() {
            let place = self.addresses[source];
            put_varint(&mut out, place - last);
            last = place;
        }
        for (_, destination, ..) in self.keys.keys() {
            put_varint(&mut out, self.addresses[destination]);
        }
        out.extend(self.keys.keys().map(|(_, _, protocol, _)| protocol));
        for (_, _, _, port) in self.keys.keys() {
            put_varint(&mut out, u64::from(*port));
        }
        out
    }
}

fn number<'a>(places: impl Iterator<Item = &'a mut u64>) {
    for (number, place) in (0..).zip(places) {
        *place = number;
    }
}

pub fn encode(periods: &[&ConversationPeriod]) -> Vec<u8> {
    let tables = Tables::of(periods);
    let plain = tables.plain();
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    // a Vec takes all bytes
    let packed = encoder.write_all(&plain).and_then(|()| encoder.finish());
    let packed = packed.unwrap_or_default();
    let mut out = Vec::new();
    put_varint(&mut out, plain.len() as u64);
    put_varint(&mut out, packed.len() as u64);
    out.extend(packed);
    put_varint(&mut out, periods.len() as u64);
    for period in periods {
        put_varint(&mut out, period.time);
        put_varint(&mut out, period.seconds);
        put_varint(&mut out, period.lists.len() as u64);
        for list in &period.lists {
            put_varint(&mut out, tables.names[cut(&list.interface, MAX_NAME)]);
            out.push(list.direction as u8);
            put_varint(&mut out, list.rest.0);
            put_varint(&mut out, list.rest.1);
            put_rows(&mut out, &list.rows, &tables.keys);
        }
    }
    out
}

/// In order, IPv4 first, each as the difference from the previous one.
fn put_addresses<'a>(out: &mut Vec<u8>, addresses: impl Iterator<Item = &'a IpAddr> + Clone) {
    let v4 = addresses.clone().filter(|address| address.is_ipv4());
    put_varint(out, v4.count() as u64);
    put_varint(
        out,
        addresses.clone().filter(|a| a.is_ipv6()).count() as u64,
    );
    let (mut last_v4, mut last_v6) = (0, 0);
    for address in addresses {
        match address {
            IpAddr::V4(v4) => {
                put_varint(out, u64::from(v4.to_bits() - last_v4));
                last_v4 = v4.to_bits();
            }
            IpAddr::V6(v6) => {
                let difference = v6.to_bits() - last_v6;
                put_varint(out, (difference >> 64) as u64);
                put_varint(out, difference as u64);
                last_v6 = v6.to_bits();
            }
        }
    }
}

fn put_rows(out: &mut Vec<u8>, rows: &[ConversationRow], keys: &BTreeMap<Key, u64>) {
    put_varint(out, rows.len() as u64);
    let mut put = |value: &dyn Fn(&ConversationRow) -> u64| {
        let column: Vec<_> = rows.iter().map(value).collect();
        put_column(out, &column);
    };
    put(&|row| keys[&key(row)]);
    put(&|row| level::encode(row.bytes));
    put(&|row| level::encode(row.packets));
}

/// Returns `None` if the payload is not one of conversations.
pub fn decode(payload: &[u8]) -> Option<Vec<ConversationPeriod>> {
    decode_selected(payload, &|_, _| true)
}

/// Returns the lists of the selected interfaces and directions. Does not check the rows of the other ones.
pub fn decode_selected(
    payload: &[u8],
    selects: &dyn Fn(&str, Direction) -> bool,
) -> Option<Vec<ConversationPeriod>> {
    let mut bytes = Bytes(payload);
    let length = bytes.count(MAX_UNPACKED)?;
    let packed = bytes.count(payload.len())?;
    let packed = bytes.take(packed)?;
    let mut plain = Vec::with_capacity(length);
    let unpacked = DeflateDecoder::new(packed).take(length as u64 + 1);
    { unpacked }.read_to_end(&mut plain).ok()?;
    if plain.len() != length {
        return None;
    }
    let mut tables = Bytes(&plain);
    let mut names: Vec<(Arc<str>, [bool; Direction::ALL.len()])> = Vec::new();
    for _ in 0..tables.count(MAX_LISTS)? {
        let name = tables.text(MAX_NAME)?;
        let is_selected = Direction::ALL.map(|direction| selects(name, direction));
        names.push((name.into(), is_selected));
    }
    let addresses = addresses(&mut tables)?;
    let keys = keys(&mut tables, &addresses)?;
    if !tables.0.is_empty() {
        return None;
    }
    let mut free_rows = MAX_ALL_ROWS;
    let mut periods = Vec::new();
    for _ in 0..bytes.count(MAX_LISTS)? {
        let (time, seconds) = (bytes.varint()?, bytes.varint()?);
        let mut lists = Vec::new();
        for _ in 0..bytes.count(MAX_LISTS)? {
            let (interface, is_selected) = names.get(bytes.count(names.len())?)?;
            let direction = Direction::ALL.get(usize::from(bytes.byte()?)).copied()?;
            let rest = (bytes.varint()?, bytes.varint()?);
            let columns = Columns::read(&mut bytes)?;
            free_rows = free_rows.checked_sub(columns.count)?;
            if is_selected[direction as usize] {
                lists.push(ConversationList {
                    interface: interface.clone(),
                    direction,
                    rows: columns.rows(&keys)?,
                    rest,
                });
            }
        }
        periods.push(ConversationPeriod {
            time,
            seconds,
            lists,
        });
    }
    bytes.0.is_empty().then_some(periods)
}

fn addresses(bytes: &mut Bytes) -> Option<Vec<IpAddr>> {
    let (v4, v6) = (bytes.count(MAX_ADDRESSES)?, bytes.count(MAX_ADDRESSES)?);
    let mut addresses = Vec::new();
    let mut last = 0u32;
    for _ in 0..v4 {
        last = last.checked_add(u32::try_from(bytes.varint()?).ok()?)?;
        addresses.push(Ipv4Addr::from_bits(last).into());
    }
    let mut last = 0u128;
    for _ in 0..v6 {
        let difference = u128::from(bytes.varint()?) << 64 | u128::from(bytes.varint()?);
        last = last.checked_add(difference)?;
        addresses.push(Ipv6Addr::from_bits(last).into());
    }
    Some(addresses)
}

/// Returns the table of keys, as rows without traffic.
fn keys(bytes: &mut Bytes, addresses: &[IpAddr]) -> Option<Vec<ConversationRow>> {
    let count = bytes.count(MAX_ALL_ROWS)?;
    let address = |place: u64| addresses.get(usize::try_from(place).ok()?).copied();
    let (mut keys, mut last) = (Vec::new(), 0u64);
    for _ in 0..count {
        last = last.checked_add(bytes.varint()?)?;
        keys.push(ConversationRow {
            source: address(last)?,
            destination: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            protocol: 0,
            service_port: 0,
            bytes: 0,
            packets: 0,
        });
    }
    for key in &mut keys {
        key.destination = address(bytes.varint()?)?;
    }
    for (key, protocol) in keys.iter_mut().zip(bytes.take(count)?) {
        key.protocol = *protocol;
    }
    for key in &mut keys {
        key.service_port = u16::try_from(bytes.varint()?).ok()?;
    }
    Some(keys)
}

/// The columns of a list.
struct Columns<'a> {
    count: usize,
    keys: NumberColumn<'a>,
    bytes: NumberColumn<'a>,
    packets: NumberColumn<'a>,
}

impl<'a> Columns<'a> {
    fn read(bytes: &mut Bytes<'a>) -> Option<Self> {
        let count = bytes.count(MAX_ROWS)?;
        Some(Self {
            count,
            keys: NumberColumn::read(bytes, count)?,
            bytes: NumberColumn::read(bytes, count)?,
            packets: NumberColumn::read(bytes, count)?,
        })
    }

    /// Returns `None` if a row has no key.
    fn rows(&self, keys: &[ConversationRow]) -> Option<Vec<ConversationRow>> {
        let Some(first) = keys.first() else {
            return (self.count == 0).then(Vec::new);
        };
        let mut rows = vec![*first; self.count];
        let mut is_known = true;
        self.keys.for_each(|row, place| {
            let key = usize::try_from(place)
                .ok()
                .and_then(|place| keys.get(place));
            match key {
                Some(key) => rows[row] = *key,
                None => is_known = false,
            }
        });
        self.bytes
            .for_each(|row, code| rows[row].bytes = level::decode(code));
        self.packets
            .for_each(|row, code| rows[row].packets = level::decode(code));
        is_known.then_some(rows)
    }
}

/// Adds the lists of a minute to a longer period.
pub fn add_up(period: &mut ConversationPeriod, minute: &ConversationPeriod) {
    for list in &minute.lists {
        let is_same = |sum: &&mut ConversationList| {
            sum.interface == list.interface && sum.direction == list.direction
        };
        let sum = match period.lists.iter_mut().find(is_same) {
            Some(sum) => sum,
            None => {
                period.lists.push(ConversationList {
                    rows: Vec::new(),
                    rest: (0, 0),
                    ..list.clone()
                });
                match period.lists.last_mut() {
                    Some(sum) => sum,
                    None => return,
                }
            }
        };
        add_rest(sum, list.rest.0, list.rest.1);
        for row in &list.rows {
            match sum.rows.iter_mut().find(|known| key(known) == key(row)) {
                Some(known) => {
                    known.bytes = known.bytes.saturating_add(row.bytes);
                    known.packets = known.packets.saturating_add(row.packets);
                }
                None => sum.rows.push(*row),
            }
        }
    }
}

fn add_rest(list: &mut ConversationList, bytes: u64, packets: u64) {
    list.rest.0 = list.rest.0.saturating_add(bytes);
    list.rest.1 = list.rest.1.saturating_add(packets);
}

/// Keeps the `max` largest rows of each list; the rest takes the others, and what rounding drops.
pub fn shorten(period: &mut ConversationPeriod, max: usize) {
    for list in &mut period.lists {
        list.rows
            .sort_by(|a, b| b.bytes.cmp(&a.bytes).then(b.packets.cmp(&a.packets)));
        let dropped = list.rows.split_off(max.min(list.rows.len()));
        for row in dropped {
            add_rest(list, row.bytes, row.packets);
        }
        for n in 0..list.rows.len() {
            let row = &mut list.rows[n];
            let (bytes, packets) = (row.bytes, row.packets);
            row.bytes = level::decode(level::encode(bytes));
            row.packets = level::decode(level::encode(packets));
            let (less, fewer) = (bytes - row.bytes, packets - row.packets);
            add_rest(list, less, fewer);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address() -> impl Strategy<Value = IpAddr> {
        prop_oneof![
            (0..300u32).prop_map(|n| IpAddr::from(Ipv4Addr::from_bits(0xc000_0200 + n))),
            any::<u128>().prop_map(|n| IpAddr::from(Ipv6Addr::from_bits(n))),
        ]
    }

    fn row() -> impl Strategy<Value = ConversationRow> {
        let sum =
            || prop_oneof![0..10u64, any::<u64>()].prop_map(|n| level::decode(level::encode(n)));
        let key = (address(), address(), any::<u8>(), any::<u16>());
        (key, sum(), sum()).prop_map(|(key, bytes, packets)| ConversationRow {
            source: key.0,
            destination: key.1,
            protocol: key.2,
            service_port: key.3,
            bytes,
            packets,
        })
    }

    fn list() -> impl Strategy<Value = ConversationList> {
        let rows = prop::collection::vec(row(), 0..30);
        let name = prop_oneof![Just("eth0"), Just("wg1"), Just("")];
        (name, any::<bool>(), rows, any::<(u64, u64)>()).prop_map(
            |(name, is_egress, rows, rest)| ConversationList {
                interface: name.into(),
                direction: Direction::ALL[usize::from(is_egress)],
                rows,
                rest,
            },
        )
    }

    fn period() -> impl Strategy<Value = ConversationPeriod> {
        let lists = prop::collection::vec(list(), 0..4);
        (any::<u64>(), any::<u64>(), lists).prop_map(|(time, seconds, lists)| ConversationPeriod {
            time,
            seconds,
            lists,
        })
    }

    proptest! {
        #[test]
        fn periods_are_read_as_written(periods in prop::collection::vec(period(), 0..4)) {
            let payload = encode(&periods.iter().collect::<Vec<_>>());
            prop_assert_eq!(decode(&payload), Some(periods.clone()));
            let selects = |name: &str, direction| name == "eth0" && direction == Direction::Egress;
            let selected = decode_selected(&payload, &selects).unwrap();
            for (found, mut expected) in selected.into_iter().zip(periods) {
                expected.lists.retain(|list| selects(&list.interface, list.direction));
                prop_assert_eq!(found, expected);
            }
        }

        #[test]
        fn damaged_payloads_neither_panic_nor_take_much_memory(
            periods in prop::collection::vec(period(), 1..3),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        ) {
            let mut payload = encode(&periods.iter().collect::<Vec<_>>());
            for (place, byte) in changes {
                let place = place.index(payload.len());
                payload[place] = byte;
            }
            let rows = decode(&payload).into_iter().flatten().flat_map(|period| period.lists);
            prop_assert!(rows.map(|list| list.rows.len()).sum::<usize>() <= MAX_ALL_ROWS);
        }
    }

    #[test]
    fn rows_of_no_bytes_are_bounded() {
        // a list of equal rows takes a few bytes, whatever their number
        let row = ConversationRow {
            source: IpAddr::V4(Ipv4Addr::LOCALHOST),
            destination: IpAddr::V4(Ipv4Addr::LOCALHOST),
            protocol: 6,
            service_port: 80,
            bytes: 1,
            packets: 1,
        };
        let lists = |count: usize| {
            let list = ConversationList {
                interface: "eth0".into(),
                direction: Direction::Ingress,
                rows: vec![row; MAX_ROWS],
                rest: (0, 0),
            };
            let period = ConversationPeriod {
                time: 0,
                seconds: 60,
                lists: vec![list; count],
            };
            encode(&[&period])
        };
        let most = MAX_ALL_ROWS / MAX_ROWS;
        assert!(decode(&lists(most)).is_some());
        assert!(decode(&lists(most + 1)).is_none());
    }
}
