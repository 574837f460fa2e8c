// SPDX-License-Identifier: AGPL-3.0-only
//! Conversations as payloads of blocks (pure): columns, compressed by deflate.
//!
//! The payload is the number of bytes before compression, and the compressed bytes: a table of
//! interfaces, a table of addresses, and the lists. Bytes and packets of a row are rounded down by
//! less than 1/4096; those of the rest are exact.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;

use super::bytes::{Bytes, cut, put_text, put_varint};
use super::level;
use crate::store::types::{ConversationList, ConversationPeriod, ConversationRow};
use crate::types::flow::Direction;

/// A bound for the memory of a reader.
const MAX_UNPACKED: usize = 4 << 20;
const MAX_NAME: usize = 256;
const MAX_LISTS: usize = 4096;
const MAX_ROWS: usize = 1000;
const MAX_ADDRESSES: usize = 1 << 20;

pub fn encode(periods: &[&ConversationPeriod]) -> Vec<u8> {
    let plain = plain(periods);
    let mut out = Vec::new();
    put_varint(&mut out, plain.len() as u64);
    let mut encoder = DeflateEncoder::new(out, Compression::default());
    // a Vec takes all bytes
    let packed = encoder.write_all(&plain).and_then(|()| encoder.finish());
    packed.unwrap_or_default()
}

fn plain(periods: &[&ConversationPeriod]) -> Vec<u8> {
    let mut addresses: BTreeMap<IpAddr, u64> = BTreeMap::new();
    let mut names: BTreeMap<&str, u64> = BTreeMap::new();
    let lists = || periods.iter().flat_map(|period| &period.lists);
    for list in lists() {
        names.insert(cut(&list.interface, MAX_NAME), 0);
        for row in &list.rows {
            addresses.insert(row.source, 0);
            addresses.insert(row.destination, 0);
        }
    }
    for (number, place) in (0..).zip(addresses.values_mut()) {
        *place = number;
    }
    for (number, place) in (0..).zip(names.values_mut()) {
        *place = number;
    }
    let mut out = Vec::new();
    put_varint(&mut out, names.len() as u64);
    names.keys().for_each(|name| put_text(&mut out, name));
    put_addresses(&mut out, addresses.keys());
    put_varint(&mut out, periods.len() as u64);
    for period in periods {
        put_varint(&mut out, period.time);
        put_varint(&mut out, period.seconds);
        put_varint(&mut out, period.lists.len() as u64);
        for list in &period.lists {
            put_varint(&mut out, names[cut(&list.interface, MAX_NAME)]);
            out.push(list.direction as u8);
            put_varint(&mut out, list.rest.0);
            put_varint(&mut out, list.rest.1);
            put_rows(&mut out, &list.rows, &addresses);
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

fn put_rows(out: &mut Vec<u8>, rows: &[ConversationRow], addresses: &BTreeMap<IpAddr, u64>) {
    put_varint(out, rows.len() as u64);
    // column by column: deflate finds what repeats
    for row in rows {
        put_varint(out, addresses[&row.source]);
    }
    for row in rows {
        put_varint(out, addresses[&row.destination]);
    }
    out.extend(rows.iter().map(|row| row.protocol));
    for row in rows {
        put_varint(out, row.service_port.into());
    }
    for row in rows {
        put_varint(out, level::encode(row.bytes));
    }
    for row in rows {
        put_varint(out, level::encode(row.packets));
    }
}

/// Returns `None` if the payload is not one of conversations.
pub fn decode(payload: &[u8]) -> Option<Vec<ConversationPeriod>> {
    let mut packed = Bytes(payload);
    let length = packed.count(MAX_UNPACKED)?;
    let mut plain = Vec::with_capacity(length);
    let unpacked = DeflateDecoder::new(packed.0).take(length as u64 + 1);
    { unpacked }.read_to_end(&mut plain).ok()?;
    if plain.len() != length {
        return None;
    }
    let mut bytes = Bytes(&plain);
    let mut names: Vec<Arc<str>> = Vec::new();
    for _ in 0..bytes.count(MAX_LISTS)? {
        names.push(bytes.text(MAX_NAME)?.into());
    }
    let addresses = addresses(&mut bytes)?;
    let mut periods = Vec::new();
    for _ in 0..bytes.count(MAX_LISTS)? {
        let (time, seconds) = (bytes.varint()?, bytes.varint()?);
        let mut lists = Vec::new();
        for _ in 0..bytes.count(MAX_LISTS)? {
            let interface = names.get(bytes.count(names.len())?)?.clone();
            let direction = Direction::ALL.get(usize::from(bytes.byte()?)).copied()?;
            let rest = (bytes.varint()?, bytes.varint()?);
            lists.push(ConversationList {
                interface,
                direction,
                rows: rows(&mut bytes, &addresses)?,
                rest,
            });
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

fn rows(bytes: &mut Bytes, addresses: &[IpAddr]) -> Option<Vec<ConversationRow>> {
    let count = bytes.count(MAX_ROWS)?;
    let mut column = |limit: u64| -> Option<Vec<u64>> {
        let values = (0..count).map(|_| bytes.varint().filter(|value| *value < limit));
        values.collect()
    };
    let known = addresses.len() as u64;
    let (sources, destinations) = (column(known)?, column(known)?);
    let protocols = bytes.take(count)?;
    let mut column = |limit: u64| -> Option<Vec<u64>> {
        let values = (0..count).map(|_| bytes.varint().filter(|value| *value < limit));
        values.collect()
    };
    let (ports, sums, packets) = (column(1 << 16)?, column(1 << 18)?, column(1 << 18)?);
    let row = |n: usize| ConversationRow {
        source: addresses[sources[n] as usize],
        destination: addresses[destinations[n] as usize],
        protocol: protocols[n],
        service_port: ports[n] as u16,
        bytes: level::decode(sums[n]),
        packets: level::decode(packets[n]),
    };
    Some((0..count).map(row).collect())
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
            let key = |row: &ConversationRow| {
                (row.source, row.destination, row.protocol, row.service_port)
            };
            match sum.rows.iter_mut().find(|known| key(known) == key(row)) {
                Some(known) => {
                    known.bytes = known.bytes.saturating_add(row.bytes);
                    known.packets = known.packets.saturating_add(row.packets);
                }
                None => sum.rows.push(row.clone()),
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
