// SPDX-License-Identifier: AGPL-3.0-only
//! Maps the traffic of a series to the lines of the page (pure).

use super::string_refs::{OTHER, StringRefs};
use super::top_table::{Scope, Side, TopKey, TopKind, TopTable};
use crate::flow::label_parse::pairs;
use crate::types::flow::Direction;

/// The labels of one endpoint; `None` if the series do not have that label.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct SeriesEnd {
    asn: Option<u32>,
    peer: Option<u32>,
    city: Option<u32>,
    country: Option<u32>,
}

#[derive(Debug, PartialEq, Eq)]
pub struct SeriesKey {
    scope: Scope,
    protocol: Option<u32>,
    src: SeriesEnd,
    dst: SeriesEnd,
}

impl SeriesKey {
    /// Returns `None` for a series whose interface or direction the page does not know.
    pub fn read(
        text: &str,
        number_of: impl Fn(&str) -> Option<u16>,
        names: &mut StringRefs,
    ) -> Option<Self> {
        let (mut interface, mut direction, mut protocol) = (None, None, None);
        let (mut src, mut dst) = (SeriesEnd::default(), SeriesEnd::default());
        for (label, value) in pairs(text) {
            match label {
                "ifname" => interface = Some(number_of(&value)?),
                "direction" => direction = Direction::ALL.into_iter().find(|d| d.name() == value),
                "proto" => protocol = Some(number(&value)),
                "src_asn" => src.asn = Some(number(&value)),
                "dst_asn" => dst.asn = Some(number(&value)),
                "src_peer_asn" => src.peer = Some(number(&value)),
                "dst_peer_asn" => dst.peer = Some(number(&value)),
                "src_city" => src.city = Some(names.number(&value)),
                "dst_city" => dst.city = Some(names.number(&value)),
                "src_country" => src.country = Some(names.number(&value)),
                "dst_country" => dst.country = Some(names.number(&value)),
                _ => {}
            }
        }
        let scope = Scope {
            interface: interface?,
            direction: direction?,
        };
        Some(Self {
            scope,
            protocol,
            src,
            dst,
        })
    }

    /// Adds the growth of the series to each of its lines.
    pub fn add_to(&self, entries: &mut TopTable, bytes: u64, packets: u64) {
        let scope = self.scope;
        let key = |kind, value| TopKey { scope, kind, value };
        entries.add(key(TopKind::Flows, 0), bytes, packets);
        if let Some(protocol) = self.protocol {
            entries.add(key(TopKind::Protocol, protocol), bytes, packets);
        }
        for side in Side::ALL {
            let end = self.end(side);
            if let Some(asn) = end.asn {
                let network = entries.add(key(TopKind::Asn(side), asn), bytes, packets);
                if let (Some(network), Some(peer)) = (network, end.peer) {
                    network.seen_by(peer, bytes);
                }
            }
            for (kind, value) in [
                (TopKind::Peer(side), end.peer),
                (TopKind::City(side), end.city),
                (TopKind::Country(side), end.country),
            ] {
                if let Some(value) = value {
                    entries.add(key(kind, value), bytes, packets);
                }
            }
        }
    }

    fn end(&self, side: Side) -> &SeriesEnd {
        match (self.scope.direction, side) {
            (Direction::Ingress, Side::Far) | (Direction::Egress, Side::Near) => &self.src,
            (Direction::Ingress, Side::Near) | (Direction::Egress, Side::Far) => &self.dst,
        }
    }
}

/// Parses a number. Empty means unknown: no AS has the number 0. Protocol 0 exists, but a protocol
/// is never empty.
fn number(value: &str) -> u32 {
    match value {
        "" => 0,
        _ => value.parse().unwrap_or(OTHER),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<SeriesKey> {
        let number_of = |name: &str| (name == "eth0").then_some(3);
        SeriesKey::read(text, number_of, &mut StringRefs::default())
    }

    #[test]
    fn a_set_is_read_by_its_labels() {
        let text = r#"ifname="eth0",direction="egress",proto="17",src_asn="64500",dst_asn="",src_city="Bern",dst_city="other""#;
        let set = read(text).unwrap();
        assert_eq!(set.protocol, Some(17));
        assert_eq!((set.src.asn, set.dst.asn), (Some(64_500), Some(0)));
        assert_eq!((set.src.peer, set.src.country), (None, None));
        assert_eq!(set.dst.city, Some(OTHER));
        assert_eq!(set.end(Side::Far), &set.dst);
        let back = read(&text.replace("egress", "ingress")).unwrap();
        assert_eq!(back.end(Side::Far), &back.src);
    }

    #[test]
    fn a_set_of_no_interface_has_no_line() {
        assert_eq!(read(r#"ifname="eth1",direction="egress""#), None);
        assert_eq!(read(r#"direction="egress",proto="6""#), None);
        assert_eq!(read(r#"ifname="eth0",proto="6""#), None);
        assert_eq!(read("garbage"), None);
    }

    #[test]
    fn what_found_no_room_is_other() {
        let set = read(r#"ifname="eth0",direction="ingress",proto="other",src_asn="other""#);
        let set = set.unwrap();
        assert_eq!((set.protocol, set.src.asn), (Some(OTHER), Some(OTHER)));
    }
}
