// SPDX-License-Identifier: AGPL-3.0-only
//! BGP information of the endpoints of exported flows: only numbers, without the texts of labels.

use std::net::IpAddr;

use crate::types::source::SourceState;

/// The BGP information of one endpoint. An unknown number is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BgpInfo {
    pub asn: u32,
    pub peer_asn: u32,
    pub prefix_len: u8,
    /// The next hop of the BGP route.
    pub next_hop: Option<IpAddr>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowRouting {
    pub src: BgpInfo,
    pub dst: BgpInfo,
    /// The router on the link to which packets for the destination are forwarded.
    pub ip_next_hop: Option<IpAddr>,
    /// The result of the source check; `None` if the source was not checked.
    pub source: Option<SourceState>,
}
