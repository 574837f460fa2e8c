// SPDX-License-Identifier: AGPL-3.0-only
//! The lists in the lower part of the view.

/// A list in the lower part of the view.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tab {
    #[default]
    Flows,
    SrcAsn,
    DstAsn,
    SrcPort,
    DstPort,
    Protocol,
    Interfaces,
}

impl Tab {
    pub const ALL: [Self; 7] = [
        Self::Flows,
        Self::SrcAsn,
        Self::DstAsn,
        Self::SrcPort,
        Self::DstPort,
        Self::Protocol,
        Self::Interfaces,
    ];

    pub fn title(self) -> &'static str {
        match self {
            Self::Flows => "Flows",
            Self::SrcAsn => "Src AS",
            Self::DstAsn => "Dst AS",
            Self::SrcPort => "Src port",
            Self::DstPort => "Dst port",
            Self::Protocol => "Protocol",
            Self::Interfaces => "Interfaces",
        }
    }

    /// Returns the field by which its rows are grouped.
    pub fn field(self) -> Option<&'static str> {
        match self {
            Self::SrcAsn => Some("src_asn"),
            Self::DstAsn => Some("dst_asn"),
            Self::SrcPort => Some("src_port"),
            Self::DstPort => Some("dst_port"),
            Self::Protocol => Some("proto"),
            Self::Flows | Self::Interfaces => None,
        }
    }

    pub fn step(self, by: usize) -> Self {
        Self::ALL[(self as usize + by) % Self::ALL.len()]
    }
}
