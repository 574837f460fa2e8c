// SPDX-License-Identifier: AGPL-3.0-only
//! The labels of the flow series: the set of labels, the identity of a series, and the text format.

use std::sync::Arc;

use super::string_interner::{StringInterner, Symbol};
use crate::types::flow::{Direction, FlowKey};
use crate::types::label::{Enrichment, Label, Labels};
use crate::types::validity::RouteValidity;

/// The identity of a series: one number per label, 0 for labels that the series do not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SetKey {
    /// Indexed by [`Label`]: the number itself, or the symbol of the text.
    values: [u32; Label::ALL.len()],
    /// Marks the overflow set, which counts the sets that got no series. Only the base labels
    /// distinguish overflow sets.
    other: bool,
}

/// Stands for all IP protocols in the set of last resort. Protocol numbers have eight bits.
const ANY_PROTO: u32 = 256;

enum Value<'a> {
    Number(u32),
    Text(Option<&'a str>),
}

fn value<'a>(label: Label, key: &FlowKey, ifname: &'a str, known: &'a Enrichment) -> Value<'a> {
    let Enrichment { src, dst, peer_asn } = known;
    match label {
        Label::Ifname => Value::Text(Some(ifname)),
        Label::Direction => Value::Number(key.direction as u32),
        Label::Proto => Value::Number(key.protocol.into()),
        Label::SrcAsn => Value::Number(src.asn),
        Label::DstAsn => Value::Number(dst.asn),
        Label::SrcCity => Value::Text(src.city.as_deref()),
        Label::DstCity => Value::Text(dst.city.as_deref()),
        Label::SrcCountry => Value::Text(src.country.as_deref()),
        Label::DstCountry => Value::Text(dst.country.as_deref()),
        Label::SrcPeerAsn => Value::Number(src.peer_asn),
        Label::DstPeerAsn => Value::Number(dst.peer_asn),
        Label::PeerAsn => Value::Number(*peer_asn),
        Label::SrcNet => Value::Text(src.net.as_deref()),
        Label::DstNet => Value::Text(dst.net.as_deref()),
        Label::Vlan => Value::Number(key.vlan_outer.into()),
        Label::SrcCommunity => Value::Text(src.communities.as_deref()),
        Label::DstCommunity => Value::Text(dst.communities.as_deref()),
        Label::SrcRpki => Value::Number(validity(src.rpki)),
        Label::DstRpki => Value::Number(validity(dst.rpki)),
    }
}

fn validity(validity: Option<RouteValidity>) -> u32 {
    validity.map_or(0, |validity| validity as u32)
}

/// The index of a set, valid as long as flows refer to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetId(pub u32);

impl SetKey {
    /// Returns the set of a flow and acquires its symbols; see [`SetKey::release`].
    pub fn new(
        labels: Labels,
        key: &FlowKey,
        ifname: &str,
        known: &Enrichment,
        symbols: &mut StringInterner,
    ) -> Self {
        let mut set = Self {
            values: [0; Label::ALL.len()],
            other: false,
        };
        for label in labels.iter() {
            set.values[label as usize] = match value(label, key, ifname, known) {
                Value::Number(n) => n,
                Value::Text(text) => text.map_or(Symbol::EMPTY, |t| symbols.acquire(t)).number(),
            };
        }
        // A set whose text equals that of its `other` set becomes that set: no two series may have
        // the same text.
        match set.reads_other(labels) {
            true => set.other(),
            false => set,
        }
    }

    /// Returns the overflow set of this set: it keeps interface, direction and protocol.
    pub fn other(&self) -> Self {
        let mut values = [0; Label::ALL.len()];
        for label in Label::BASE {
            values[label as usize] = self.values[label as usize];
        }
        Self {
            values,
            other: true,
        }
    }

    /// Returns the set that is used if there are too many overflow sets: it keeps only the
    /// direction.
    pub fn last_resort(&self, labels: Labels) -> Self {
        let mut set = self.other();
        if labels.has(Label::Ifname) {
            set.values[Label::Ifname as usize] = Symbol::OTHER.number();
        }
        if labels.has(Label::Proto) {
            set.values[Label::Proto as usize] = ANY_PROTO;
        }
        set
    }

    pub fn is_other(&self) -> bool {
        self.other
    }

    fn reads_other(&self, labels: Labels) -> bool {
        labels
            .iter()
            .filter(|l| !Label::BASE.contains(l))
            .all(|l| l.is_text() && self.values[l as usize] == Symbol::OTHER.number())
    }

    /// Returns the ASNs of the endpoints in the labels; 0 if one is unknown or is not a label.
    pub fn asns(&self) -> [u32; 2] {
        [Label::SrcAsn, Label::DstAsn].map(|label| self.values[label as usize])
    }

    /// Returns all ASNs in the labels.
    pub fn all_asns(&self) -> [u32; 5] {
        let peers = [Label::SrcPeerAsn, Label::DstPeerAsn, Label::PeerAsn];
        let [src_peer, dst_peer, peer] = peers.map(|label| self.values[label as usize]);
        let [src, dst] = self.asns();
        [src, dst, src_peer, dst_peer, peer]
    }

    fn symbols(&self) -> impl Iterator<Item = Symbol> {
        let texts = Label::ALL.into_iter().filter(|l| l.is_text());
        texts.map(|l| Symbol::from_number(self.values[l as usize]))
    }

    /// Adds a holder to each symbol of the set.
    pub fn retain(&self, symbols: &mut StringInterner) {
        self.symbols().for_each(|s| symbols.retain(s));
    }

    pub fn release(&self, symbols: &mut StringInterner) {
        self.symbols().for_each(|s| symbols.release(s));
    }

    /// Returns the labels in the text format, without braces.
    pub fn render(&self, labels: Labels, symbols: &StringInterner) -> Arc<str> {
        let mut text = String::with_capacity(128);
        for label in labels.iter() {
            if !text.is_empty() {
                text.push(',');
            }
            text.push_str(label.name());
            text.push_str("=\"");
            self.write_value(label, symbols, &mut text);
            text.push('"');
        }
        text.into()
    }

    fn write_value(&self, label: Label, symbols: &StringInterner, out: &mut String) {
        let number = self.values[label as usize];
        match label {
            _ if self.other && !Label::BASE.contains(&label) => out.push_str("other"),
            _ if label.is_text() => escape(symbols.text(Symbol::from_number(number)), out),
            Label::Direction => out.push_str(Direction::ALL[number as usize].name()),
            Label::Proto if number == ANY_PROTO => out.push_str("other"),
            Label::SrcRpki | Label::DstRpki => out.push_str(RouteValidity::name_of(number)),
            // Protocol 0 is a protocol (hop-by-hop options). ASN 0 and VLAN 0 mean that there is
            // none.
            _ if number == 0 && label != Label::Proto => {}
            _ => out.push_str(&number.to_string()),
        }
    }
}

/// Escapes a label value for the text format: a backslash precedes a backslash, a quote and a
/// newline.
fn escape(value: &str, out: &mut String) {
    for c in value.chars() {
        match c {
            '\\' => out.push_str(r"\\"),
            '"' => out.push_str(r#"\""#),
            '\n' => out.push_str(r"\n"),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::flow::Family;
    use crate::types::label::Endpoint;

    fn key() -> FlowKey {
        FlowKey {
            src: [1; 16],
            dst: [2; 16],
            ifindex: 3,
            src_port: 4,
            dst_port: 5,
            vlan_outer: 100,
            vlan_inner: 200,
            protocol: 6,
            direction: Direction::Egress,
            family: Family::Ipv6,
        }
    }

    fn known() -> Enrichment {
        Enrichment {
            src: Endpoint {
                asn: 64500,
                asn_name: Some("Example".into()),
                peer_asn: 64501,
                city: Some("Bern".into()),
                country: Some("CH".into()),
                net: Some("lab".into()),
                communities: Some("64500:1,64500:2".into()),
                rpki: Some(RouteValidity::NotFound),
            },
            dst: Endpoint::default(),
            peer_asn: 64502,
        }
    }

    fn render(labels: Labels, ifname: &str, known: &Enrichment) -> String {
        let mut symbols = StringInterner::default();
        let set = SetKey::new(labels, &key(), ifname, known, &mut symbols);
        set.render(labels, &symbols).to_string()
    }

    #[test]
    fn nothing_known_renders_empty() {
        assert_eq!(
            render(Labels::default(), "eth0", &Enrichment::default()),
            r#"ifname="eth0",direction="egress",proto="6",src_asn="",dst_asn="",src_city="",dst_city="""#
        );
    }

    #[test]
    fn every_label_says_its_own_value() {
        assert_eq!(
            render(Label::ALL.into_iter().collect(), "eth0", &known()),
            concat!(
                r#"ifname="eth0",direction="egress",proto="6",src_asn="64500",dst_asn="","#,
                r#"src_city="Bern",dst_city="",src_country="CH",dst_country="","#,
                r#"src_peer_asn="64501",dst_peer_asn="",peer_asn="64502",src_net="lab",dst_net="",vlan="100","#,
                r#"src_community="64500:1,64500:2",dst_community="",src_rpki="not-found",dst_rpki="""#
            )
        );
    }

    #[test]
    fn values_are_escaped_and_cleaned() {
        let labels = [Label::Ifname].into_iter().collect();
        assert_eq!(
            render(labels, "a\\b\"c\nd\u{7}é", &known()),
            r#"ifname="a\\b\"c\ndé""#
        );
    }

    #[test]
    fn labels_left_out_tell_no_sets_apart() {
        let labels = [Label::Direction, Label::DstAsn].into_iter().collect();
        let mut symbols = StringInterner::default();
        let a = SetKey::new(labels, &key(), "eth0", &known(), &mut symbols);
        let changed = FlowKey {
            protocol: 17,
            vlan_outer: 7,
            ..key()
        };
        let b = SetKey::new(
            labels,
            &changed,
            "eth1",
            &Enrichment::default(),
            &mut symbols,
        );
        assert_eq!(a, b);
        assert_eq!(
            &*a.render(labels, &symbols),
            r#"direction="egress",dst_asn="""#
        );
    }

    #[test]
    fn other_keeps_interface_direction_and_protocol() {
        let labels = [Label::Ifname, Label::Proto, Label::SrcAsn, Label::Vlan];
        let labels = labels.into_iter().collect();
        let mut symbols = StringInterner::default();
        let set = SetKey::new(labels, &key(), "eth0", &known(), &mut symbols);
        assert!(!set.is_other() && set.other().is_other());
        assert_eq!(
            &*set.other().render(labels, &symbols),
            r#"ifname="eth0",proto="6",src_asn="other",vlan="other""#
        );
        assert_eq!(
            &*set.last_resort(labels).render(labels, &symbols),
            r#"ifname="other",proto="other",src_asn="other",vlan="other""#
        );
    }

    #[test]
    fn a_set_that_reads_other_is_that_set() {
        let mut symbols = StringInterner::default();
        let mut known = known();
        known.src.net = Some("other".into());
        for (labels, is_other) in [
            (vec![Label::Ifname, Label::SrcNet], true),
            (vec![Label::Ifname, Label::SrcNet, Label::Vlan], false),
            (vec![Label::Ifname, Label::Proto], true),
            (vec![Label::Ifname, Label::DstNet], false),
        ] {
            let labels = labels.into_iter().collect();
            let set = SetKey::new(labels, &key(), "eth0", &known, &mut symbols);
            assert_eq!(set.is_other(), is_other);
            let same_text = set.render(labels, &symbols) == set.other().render(labels, &symbols);
            assert_eq!(same_text, is_other);
        }
    }

    #[test]
    fn labels_are_listed_in_their_order() {
        for label in Label::ALL {
            assert_eq!(Label::ALL[label as usize], label);
        }
    }
}
