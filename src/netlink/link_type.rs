// SPDX-License-Identifier: AGPL-3.0-only
//! Derives the first header of a frame from the device's ARPHRD type (include/uapi/linux/if_arp.h).

const ARPHRD_ETHER: u16 = 1;
const ARPHRD_INFINIBAND: u16 = 32;
const ARPHRD_PPP: u16 = 512;
const ARPHRD_RAWIP: u16 = 519;
const ARPHRD_TUNNEL: u16 = 768;
const ARPHRD_TUNNEL6: u16 = 769;
const ARPHRD_LOOPBACK: u16 = 772;
const ARPHRD_SIT: u16 = 776;
const ARPHRD_IPGRE: u16 = 778;
const ARPHRD_IEEE80211: u16 = 801;
const ARPHRD_IEEE80211_PRISM: u16 = 802;
const ARPHRD_IEEE80211_RADIOTAP: u16 = 803;
const ARPHRD_IP6GRE: u16 = 823;
const ARPHRD_NETLINK: u16 = 824;
const ARPHRD_NONE: u16 = 0xFFFE;

/// The first header of the frames that a TC program receives on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkType {
    /// An Ethernet header; loopback has one too, of zeros.
    Ethernet,
    /// The IP header, without a link layer header.
    Ip,
    /// As `Ip`, but the outer IP and GRE headers may precede it, depending on the header_ops of the device.
    Gre,
    /// Neither: 802.11 in monitor mode, InfiniBand, HDLC, CAN, nlmon and the like.
    Unsupported,
}

impl LinkType {
    /// Returns the link type of an ARPHRD type. VTI devices are `TUNNEL` and `TUNNEL6`; WireGuard, XFRM, GTP and
    /// tun are `NONE`.
    pub fn of(arphrd: u16) -> Self {
        match arphrd {
            ARPHRD_ETHER | ARPHRD_LOOPBACK => Self::Ethernet,
            ARPHRD_NONE | ARPHRD_PPP | ARPHRD_RAWIP | ARPHRD_TUNNEL | ARPHRD_TUNNEL6
            | ARPHRD_SIT => Self::Ip,
            ARPHRD_IPGRE | ARPHRD_IP6GRE => Self::Gre,
            _ => Self::Unsupported,
        }
    }
}

/// Returns a name for devices whose driver reports none (`IFLA_INFO_KIND`): hardware and the kernel's built-in
/// devices.
pub(super) fn kind_of(arphrd: u16) -> &'static str {
    match arphrd {
        ARPHRD_ETHER => "ethernet",
        ARPHRD_LOOPBACK => "loopback",
        ARPHRD_INFINIBAND => "infiniband",
        ARPHRD_PPP => "ppp",
        ARPHRD_RAWIP => "rawip",
        ARPHRD_TUNNEL => "ipip",
        ARPHRD_TUNNEL6 => "ip6tnl",
        ARPHRD_SIT => "sit",
        ARPHRD_IPGRE => "gre",
        ARPHRD_IP6GRE => "ip6gre",
        ARPHRD_IEEE80211 | ARPHRD_IEEE80211_PRISM | ARPHRD_IEEE80211_RADIOTAP => "ieee80211",
        ARPHRD_NETLINK => "nlmon",
        ARPHRD_NONE => "none",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layer_follows_the_arphrd_type() {
        for (arphrd, layer) in [
            (1, LinkType::Ethernet),
            (772, LinkType::Ethernet),
            (65534, LinkType::Ip),
            (512, LinkType::Ip),
            (519, LinkType::Ip),
            (768, LinkType::Ip),
            (769, LinkType::Ip),
            (776, LinkType::Ip),
            (778, LinkType::Gre),
            (823, LinkType::Gre),
            (32, LinkType::Unsupported),
            (280, LinkType::Unsupported),
            (513, LinkType::Unsupported),
            (803, LinkType::Unsupported),
            (824, LinkType::Unsupported),
            (0, LinkType::Unsupported),
            (65535, LinkType::Unsupported),
        ] {
            assert_eq!(LinkType::of(arphrd), layer, "arphrd {arphrd}");
        }
    }
}
