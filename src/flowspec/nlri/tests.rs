// SPDX-License-Identifier: AGPL-3.0-only
use super::FlowFamily::{Ipv4, Ipv6};
use super::*;

#[test]
fn the_examples_of_the_rfcs_are_decoded() {
    // RFC 8955 section 4.3.1: to 192.0.2.0/24, TCP, port 25
    let nlri = [1, 0x18, 0xc0, 0, 2, 3, 0x81, 6, 4, 0x81, 0x19];
    let rule = FlowRule::decode(Ipv4, &nlri).unwrap();
    assert_eq!(rule.to_string(), "dst 192.0.2.0/24 proto tcp port 25");
    assert_eq!(rule.destination(), "192.0.2.0/24".parse().ok());
    // section 4.3.2: from 203.0.113.0/24, ports 137 to 139 and 8080
    let ports = [4, 3, 0x89, 0x45, 0x8b, 0x91, 0x1f, 0x90];
    let nlri = [&[1, 0x18, 0xc0, 0, 2, 2, 0x18, 0xcb, 0, 0x71], &ports[..]].concat();
    let rule = FlowRule::decode(Ipv4, &nlri).unwrap();
    assert_eq!(
        rule.to_string(),
        "dst 192.0.2.0/24 src 203.0.113.0/24 port 137-139,8080"
    );
    // RFC 8956 section 3.8.2: an offset of 64 bits
    let nlri = [1, 0x68, 0x40, 0x12, 0x34, 0x56, 0x78, 0x9a];
    let rule = FlowRule::decode(Ipv6, &nlri).unwrap();
    assert_eq!(rule.to_string(), "dst ::1234:5678:9a00:0/104 offset 64");
    assert_eq!(rule.destination(), None);
}

#[test]
fn bits_after_a_pattern_have_no_meaning() {
    let decode = |family, nlri: &[u8]| FlowRule::decode(family, nlri).unwrap();
    assert_eq!(
        decode(Ipv4, &[1, 9, 10, 0xff]).to_string(),
        "dst 10.128.0.0/9"
    );
    assert_eq!(
        decode(Ipv4, &[1, 9, 10, 0xff]),
        decode(Ipv4, &[1, 9, 10, 0x80])
    );
    let nlri = [2, 12, 4, 0xff];
    assert_eq!(decode(Ipv6, &nlri).to_string(), "src ff0::/12 offset 4");
    assert_eq!(decode(Ipv6, &[1, 0, 0]).to_string(), "dst ::/0");
}

#[test]
fn malformed_rules_are_refused() {
    use NlriError::*;
    for (family, nlri, expected) in [
        (Ipv4, &[][..], Empty),
        (Ipv4, &[1], Truncated),
        (Ipv4, &[1, 24, 10, 0], Truncated),
        (Ipv4, &[1, 33, 10, 0, 0, 0, 0], PrefixLength(33)),
        (Ipv4, &[3], Truncated),
        (Ipv4, &[3, 0x81], Truncated),
        (Ipv4, &[3, 0x01, 6], Truncated),
        (Ipv4, &[3, 0x91, 6], Truncated),
        (Ipv4, &[0, 0x81, 6], UnknownType(0)),
        (Ipv4, &[13, 0x81, 6], UnknownType(13)),
        (Ipv6, &[14, 0x81, 6], UnknownType(14)),
        (Ipv4, &[3, 0x81, 6, 2, 8, 10], NotAscending(2)),
        (Ipv4, &[3, 0x81, 6, 3, 0x81, 17], NotAscending(3)),
        (Ipv4, &[9, 0xa0, 0, 0, 0, 2], ValueSize(4)),
        (Ipv4, &[12, 0x90, 0, 2], ValueSize(2)),
        (Ipv6, &[1, 8], Truncated),
        (Ipv6, &[1, 129, 0], PrefixLength(129)),
        (Ipv6, &[1, 8, 8], PrefixLength(8)),
        (Ipv6, &[1, 0, 1], PrefixLength(0)),
        (Ipv6, &[1, 8, 9], PrefixLength(8)),
    ] {
        assert_eq!(FlowRule::decode(family, nlri), Err(expected), "{nlri:02x?}");
    }
    assert!(FlowRule::decode(Ipv6, &[13, 0x81, 6]).is_ok());
}

#[test]
fn lengths_from_240_on_have_two_bytes() {
    let long = [&[0xf0, 0xf0], &[7; 240][..]].concat();
    let bytes = [&[2, 1, 2], &long[..], &[0xf0, 1, 9], &[0]].concat();
    let parts: Vec<_> = split(&bytes).collect::<Result<_, _>>().unwrap();
    assert_eq!(parts, [&[1, 2][..], &[7; 240], &[9], &[]]);
    for (bytes, wanted, left) in [
        (&[3, 1, 2][..], 3, 2),
        (&[0xf0], 2, 1),
        (&[0xff, 0xff, 0], 4095, 1),
        (&[239], 239, 0),
    ] {
        let parts: Vec<_> = split(bytes).collect();
        assert_eq!(parts, [Err(OverrunError { wanted, left })], "{bytes:02x?}");
    }
}

/// Every mutation of valid rules decodes, or has an error, without a panic; a decoded rule is in order.
#[test]
fn mutated_rules_do_not_panic() {
    let seeds = [
        &[
            1, 0x18, 0xc0, 0, 2, 3, 0x81, 6, 4, 3, 0x89, 0x45, 0x8b, 0x91, 0x1f, 0x90,
        ][..],
        &[
            1, 32, 8, 1, 0x0d, 0xb8, 9, 0x11, 0, 2, 0xc2, 0x10, 12, 0x81, 4, 13, 0x81, 7,
        ],
        &[
            3, 0x81, 17, 6, 0x81, 53, 10, 0x13, 2, 0, 0xd5, 5, 0xdc, 11, 0x81, 46,
        ],
    ];
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let mut decoded = 0;
    for round in 0..50_000 {
        let mut nlri = seeds[round % seeds.len()].to_vec();
        for _ in 0..=random(3) {
            let at = random(nlri.len());
            nlri[at] = random(256) as u8;
        }
        nlri.truncate(1 + random(nlri.len()));
        for family in [Ipv4, Ipv6] {
            let Ok(rule) = FlowRule::decode(family, &nlri) else {
                continue;
            };
            let kinds = rule.components().iter().map(FlowComponent::kind);
            assert!(kinds.is_sorted_by(|a, b| a < b), "{nlri:02x?}");
            assert!(!rule.to_string().is_empty());
            let _ = rule.to_match();
            decoded += 1;
        }
    }
    assert!(decoded > 1000, "{decoded}");
}
