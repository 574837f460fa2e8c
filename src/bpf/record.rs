// SPDX-License-Identifier: AGPL-3.0-only
//! Bytes from the ring → [`FlowRecord`].

use std::fmt;

use super::types;
use crate::clock::Clock;
use crate::flow::key::{Direction, Family, FlowKey, FlowRecord};

/// Why a record from the ring was refused.
#[derive(Debug, PartialEq, Eq)]
pub enum DecodeError {
    Length { expected: usize, got: usize },
    Field { name: &'static str, value: u32 },
    Slot { slot: u32 },
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { expected, got } => {
                write!(f, "record of {got} bytes, expected {expected}")
            }
            Self::Field { name, value } => write!(f, "record with {name} {value}"),
            Self::Slot { slot } => write!(f, "record of slot {slot}, which is not assigned"),
        }
    }
}

/// Decodes one record. `ifindex_of` knows the interface behind a slot.
pub fn decode(
    bytes: &[u8],
    clock: &Clock,
    ifindex_of: impl Fn(u32) -> Option<u32>,
) -> Result<FlowRecord, DecodeError> {
    let length = DecodeError::Length {
        expected: size_of::<types::rfm_flow_record>(),
        got: bytes.len(),
    };
    // libbpf rounds nothing up: a record has just the size that was reserved
    if bytes.len() != size_of::<types::rfm_flow_record>() {
        return Err(length);
    }
    let mut raw = types::rfm_flow_record::default();
    plain::copy_from_bytes(&mut raw, bytes).map_err(|_| length)?;

    let key = &raw.key;
    let ifindex = ifindex_of(key.slot).ok_or(DecodeError::Slot { slot: key.slot })?;
    if raw.sample_rate == 0 {
        return Err(DecodeError::Field {
            name: "sample rate",
            value: 0,
        });
    }
    Ok(FlowRecord {
        key: FlowKey {
            src: key.src,
            dst: key.dst,
            ifindex,
            src_port: u16::from_be(key.src_port),
            dst_port: u16::from_be(key.dst_port),
            vlan_outer: key.vlan_outer,
            vlan_inner: key.vlan_inner,
            protocol: key.protocol,
            direction: direction(key.direction)?,
            family: family(key.family)?,
        },
        packets: raw.packets,
        bytes: raw.bytes,
        octets: raw.octets,
        first: clock.wall(raw.first),
        last: clock.wall(raw.last),
        sample_rate: raw.sample_rate,
        ingress_ifindex: raw.ingress_ifindex,
        src_mac: raw.src_mac,
        dst_mac: raw.dst_mac,
        tcp_flags: raw.tcp_flags,
        tos: raw.tos,
    })
}

fn direction(value: u8) -> Result<Direction, DecodeError> {
    Direction::ALL
        .into_iter()
        .find(|d| *d as u8 == value)
        .ok_or(DecodeError::Field {
            name: "direction",
            value: value.into(),
        })
}

fn family(value: u8) -> Result<Family, DecodeError> {
    [Family::Ipv4, Family::Ipv6]
        .into_iter()
        .find(|f| *f as u8 == value)
        .ok_or(DecodeError::Field {
            name: "family",
            value: value.into(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw() -> types::rfm_flow_record {
        let mut raw = types::rfm_flow_record::default();
        raw.key.src[..4].copy_from_slice(&[192, 0, 2, 1]);
        raw.key.dst[..4].copy_from_slice(&[198, 51, 100, 2]);
        raw.key.slot = 3;
        raw.key.src_port = 1024_u16.to_be();
        raw.key.dst_port = 443_u16.to_be();
        raw.key.vlan_outer = 10;
        raw.key.protocol = 6;
        raw.key.direction = 1;
        raw.packets = 2;
        raw.bytes = 128;
        raw.octets = 100;
        raw.first = 1_000;
        raw.last = 2_000;
        raw.sample_rate = 7;
        raw.ingress_ifindex = 5;
        raw.tcp_flags = 0x12;
        raw
    }

    fn decode_raw(raw: &types::rfm_flow_record) -> Result<FlowRecord, DecodeError> {
        // SAFETY: rfm_flow_record is Plain: no padding bytes, no pointers.
        let bytes = unsafe { plain::as_bytes(raw) };
        decode(bytes, &Clock::with_offset(1_000_000), |slot| {
            (slot == 3).then_some(42)
        })
    }

    #[test]
    fn every_field_arrives_in_host_order() {
        let record = decode_raw(&raw()).unwrap();
        assert_eq!(record.key.source().to_string(), "192.0.2.1");
        assert_eq!(record.key.destination().to_string(), "198.51.100.2");
        assert_eq!((record.key.src_port, record.key.dst_port), (1024, 443));
        assert_eq!(record.key.ifindex, 42);
        assert_eq!(record.key.direction, Direction::Egress);
        assert_eq!(record.key.family, Family::Ipv4);
        assert_eq!((record.key.vlan_outer, record.key.vlan_inner), (10, 0));
        assert_eq!((record.first, record.last), (1_001_000, 1_002_000));
        assert_eq!((record.packets, record.bytes, record.octets), (2, 128, 100));
        assert_eq!((record.sample_rate, record.ingress_ifindex), (7, 5));
        assert_eq!(record.tcp_flags, 0x12);
    }

    #[test]
    fn malformed_records_are_refused_with_their_numbers() {
        type Spoil = fn(&mut types::rfm_flow_record);
        let cases: [(Spoil, &str); 4] = [
            (
                |r| r.key.slot = 4,
                "record of slot 4, which is not assigned",
            ),
            (|r| r.key.direction = 2, "record with direction 2"),
            (|r| r.key.family = 2, "record with family 2"),
            (|r| r.sample_rate = 0, "record with sample rate 0"),
        ];
        for (spoil, message) in cases {
            let mut raw = raw();
            spoil(&mut raw);
            assert_eq!(decode_raw(&raw).unwrap_err().to_string(), message);
        }
        for length in [0, 1, 111, 113, 4096] {
            let error = decode(&vec![0; length], &Clock::with_offset(0), |_| Some(1)).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("record of {length} bytes, expected 112")
            );
        }
    }
}
