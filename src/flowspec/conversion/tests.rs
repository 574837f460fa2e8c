// SPDX-License-Identifier: AGPL-3.0-only
use super::FlowFamily::{Ipv4, Ipv6};
use super::*;

fn convert(family: FlowFamily, nlri: &[u8]) -> Result<Match, FlowRejectReason> {
    FlowRule::decode(family, nlri).unwrap().to_match()
}

fn values(family: FlowFamily, nlri: &[u8], field: MatchField) -> Vec<(u32, u32)> {
    let matcher = convert(family, nlri).unwrap();
    matcher.field(field).unwrap().as_slice().to_vec()
}

#[test]
fn components_become_conditions() {
    let nlri = [1, 24, 192, 0, 2, 2, 8, 10, 6, 0x81, 53, 11, 0x81, 46];
    let matcher = convert(Ipv4, &nlri).unwrap();
    assert!(matcher.is_flowspec);
    assert_eq!(matcher.dst, "192.0.2.0/24".parse().ok());
    assert_eq!(matcher.src, "10.0.0.0/8".parse().ok());
    let fields: Vec<_> = matcher
        .fields()
        .iter()
        .map(|(field, values)| (*field, values.as_slice().to_vec()))
        .collect();
    // ports are those of TCP and UDP
    let expected = [
        (MatchField::Protocol, vec![(6, 6), (17, 17)]),
        (MatchField::Sport, vec![(53, 53)]),
        (MatchField::Dscp, vec![(46, 46)]),
    ];
    assert_eq!(fields, expected);
}

#[test]
fn a_rule_without_a_prefix_keeps_its_family() {
    let dst = |family| convert(family, &[3, 0x81, 6]).unwrap().dst;
    assert_eq!(dst(Ipv4), "0.0.0.0/0".parse().ok());
    assert_eq!(dst(Ipv6), "::/0".parse().ok());
    let matcher = convert(Ipv6, &[2, 8, 0, 0x20, 3, 0x81, 6]).unwrap();
    assert_eq!(matcher.dst, None);
}

#[test]
fn bits_become_the_values_that_pass() {
    let flags = |nlri: &[u8]| {
        let ranges = values(Ipv4, nlri, MatchField::TcpFlags);
        ranges
            .iter()
            .map(|(first, last)| last - first + 1)
            .sum::<u32>()
    };
    // SYN; SYN without ACK; SYN or ACK; both
    assert_eq!(flags(&[9, 0x80, 2]), 128);
    assert_eq!(flags(&[9, 0x00, 2, 0xc2, 0x10]), 64);
    assert_eq!(flags(&[9, 0x80, 0x12]), 192);
    assert_eq!(flags(&[9, 0x81, 0x12]), 64);
    assert_eq!(flags(&[9, 0x91, 0, 2]), 128);
    // the data offset counts as 0: any of it or SYN
    assert_eq!(flags(&[9, 0x90, 0xf0, 2]), 128);
    assert_eq!(
        convert(Ipv4, &[9, 0x91, 0x01, 2]),
        Err(FlowRejectReason::TcpFlags)
    );
    assert_eq!(
        convert(Ipv4, &[9, 0x91, 0x10, 2]),
        Err(FlowRejectReason::Unmatchable)
    );

    let fragments = |family, nlri: &[u8]| values(family, nlri, MatchField::Fragment);
    assert_eq!(fragments(Ipv4, &[12, 0x80, 0x01]).len(), 8);
    assert_eq!(
        fragments(Ipv4, &[12, 0x80, 0xf2]),
        [(2, 3), (6, 7), (10, 11), (14, 15)]
    );
    // the bit does not exist in IPv6
    assert_eq!(
        convert(Ipv6, &[12, 0x80, 0x01]),
        Err(FlowRejectReason::Unmatchable)
    );
    assert_eq!(fragments(Ipv6, &[12, 0x81, 0x05]), [(4, 7), (12, 15)]);
}

#[test]
fn numbers_beyond_a_field_match_nothing_or_everything() {
    assert_eq!(
        values(Ipv4, &[5, 0xa4, 0, 1, 0, 0], MatchField::Dport),
        [(0, 65_535)]
    );
    assert_eq!(
        convert(Ipv4, &[5, 0xa1, 0, 1, 0, 0]),
        Err(FlowRejectReason::Unmatchable)
    );
    // the bits before the class are treated as 0
    assert_eq!(
        values(Ipv4, &[11, 0x81, 0xee], MatchField::Dscp),
        [(46, 46)]
    );
    assert_eq!(
        values(Ipv6, &[13, 0xa1, 0xff, 0xf0, 0, 7], MatchField::FlowLabel),
        [(7, 7)]
    );
}

#[test]
fn rules_that_cannot_be_enforced_exactly_are_refused() {
    assert_eq!(convert(Ipv6, &[1, 16, 8, 1]), Err(FlowRejectReason::Offset));
    // ports of a protocol that is neither TCP nor UDP
    assert_eq!(
        convert(Ipv4, &[3, 0x81, 132, 5, 0x81, 80]),
        Err(FlowRejectReason::Unmatchable)
    );
    let odd = |n: u16| [if n == 4097 { 0x91 } else { 0x11 }, (n >> 8) as u8, n as u8];
    let many: Vec<u8> = (0..=2048).flat_map(|n| odd(2 * n + 1)).collect();
    let nlri = [&[5][..], &many].concat();
    assert_eq!(convert(Ipv4, &nlri), Err(FlowRejectReason::Ranges));
}
