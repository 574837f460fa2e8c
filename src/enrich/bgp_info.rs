// SPDX-License-Identifier: AGPL-3.0-only
//! What exported flows tell of their ends: numbers alone, without the texts that labels carry.

use std::net::IpAddr;

/// What is known of one end. An unknown number is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BgpInfo {
    pub asn: u32,
    pub peer_asn: u32,
    pub prefix_len: u8,
    /// As BGP has it.
    pub next_hop: Option<IpAddr>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowRouting {
    pub src: BgpInfo,
    pub dst: BgpInfo,
    /// The router on the link that packets to the destination are handed to.
    pub ip_next_hop: Option<IpAddr>,
}
