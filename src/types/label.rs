// SPDX-License-Identifier: AGPL-3.0-only
//! The labels of the flow series, and the values that enrichment finds for them.

use std::sync::Arc;

use super::named::{Named, serialize_by_name};
use super::validity::RouteValidity;

/// A label that a flow series may have, in the order in which they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Label {
    Ifname,
    Direction,
    Proto,
    SrcAsn,
    DstAsn,
    SrcCity,
    DstCity,
    SrcCountry,
    DstCountry,
    SrcPeerAsn,
    DstPeerAsn,
    PeerAsn,
    SrcNet,
    DstNet,
    Vlan,
    SrcCommunity,
    DstCommunity,
    SrcRpki,
    DstRpki,
}

impl Label {
    pub const ALL: [Self; 19] = [
        Self::Ifname,
        Self::Direction,
        Self::Proto,
        Self::SrcAsn,
        Self::DstAsn,
        Self::SrcCity,
        Self::DstCity,
        Self::SrcCountry,
        Self::DstCountry,
        Self::SrcPeerAsn,
        Self::DstPeerAsn,
        Self::PeerAsn,
        Self::SrcNet,
        Self::DstNet,
        Self::Vlan,
        Self::SrcCommunity,
        Self::DstCommunity,
        Self::SrcRpki,
        Self::DstRpki,
    ];

    /// The labels that a series has if the configuration names none.
    pub const USUAL: [Self; 7] = [
        Self::Ifname,
        Self::Direction,
        Self::Proto,
        Self::SrcAsn,
        Self::DstAsn,
        Self::SrcCity,
        Self::DstCity,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Ifname => "ifname",
            Self::Direction => "direction",
            Self::Proto => "proto",
            Self::SrcAsn => "src_asn",
            Self::DstAsn => "dst_asn",
            Self::SrcCity => "src_city",
            Self::DstCity => "dst_city",
            Self::SrcCountry => "src_country",
            Self::DstCountry => "dst_country",
            Self::SrcPeerAsn => "src_peer_asn",
            Self::DstPeerAsn => "dst_peer_asn",
            Self::PeerAsn => "peer_asn",
            Self::SrcNet => "src_net",
            Self::DstNet => "dst_net",
            Self::Vlan => "vlan",
            Self::SrcCommunity => "src_community",
            Self::DstCommunity => "dst_community",
            Self::SrcRpki => "src_rpki",
            Self::DstRpki => "dst_rpki",
        }
    }

    /// The labels that the "other" series keeps, which counts flows when there is no room for their series.
    pub(crate) const BASE: [Self; 3] = [Self::Ifname, Self::Direction, Self::Proto];

    /// Returns whether the value is an AS number.
    pub fn is_asn(self) -> bool {
        use Label::{DstAsn, DstPeerAsn, PeerAsn, SrcAsn, SrcPeerAsn};
        matches!(self, SrcAsn | DstAsn | SrcPeerAsn | DstPeerAsn | PeerAsn)
    }

    /// Returns whether the value is text that series store, and not a number.
    pub(crate) fn is_text(self) -> bool {
        match self {
            Self::Ifname
            | Self::SrcCity
            | Self::DstCity
            | Self::SrcCountry
            | Self::DstCountry
            | Self::SrcNet
            | Self::DstNet
            | Self::SrcCommunity
            | Self::DstCommunity => true,
            Self::Direction
            | Self::Proto
            | Self::SrcAsn
            | Self::DstAsn
            | Self::SrcPeerAsn
            | Self::DstPeerAsn
            | Self::PeerAsn
            | Self::Vlan
            | Self::SrcRpki
            | Self::DstRpki => false,
        }
    }
}

/// The set of labels that the series have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Labels(u32);

impl Labels {
    pub fn has(self, label: Label) -> bool {
        self.0 & (1 << label as u8) != 0
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = Label> {
        Label::ALL.into_iter().filter(move |&l| self.has(l))
    }
}

impl Default for Labels {
    fn default() -> Self {
        Label::USUAL.into_iter().collect()
    }
}

impl FromIterator<Label> for Labels {
    fn from_iter<I: IntoIterator<Item = Label>>(labels: I) -> Self {
        Self(labels.into_iter().fold(0, |set, l| set | 1 << l as u8))
    }
}

/// The enrichment of a flow; by default nothing is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Enrichment {
    pub src: Endpoint,
    pub dst: Endpoint,
    /// The AS of the neighbor that handed over the packets, or to which they were handed; 0 if unknown.
    pub peer_asn: u32,
}

/// The enrichment of one end of a flow. An unknown number is 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoint {
    pub asn: u32,
    /// The name of the AS; not a label, but reported beside the labels.
    pub asn_name: Option<Arc<str>>,
    pub peer_asn: u32,
    pub city: Option<Arc<str>>,
    pub country: Option<Arc<str>>,
    pub net: Option<Arc<str>>,
    /// Communities of the best route that a pattern of the configuration matches, with commas between them.
    pub communities: Option<Arc<str>>,
    /// The validation state of the best route; `None` without a route or without VRPs.
    pub rpki: Option<RouteValidity>,
}

impl Named for Label {
    const ALL: &'static [Self] = &Self::ALL;

    fn name(self) -> &'static str {
        Label::name(self)
    }
}

serialize_by_name!(Label);
