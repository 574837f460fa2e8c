// SPDX-License-Identifier: AGPL-3.0-only
//! The lists in the lower part of the view.

/// A list in the lower part of the view.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tab {
    #[default]
    Conversations,
    SrcAsn,
    DstAsn,
    SrcPort,
    DstPort,
    Protocol,
    Interfaces,
    SrcHost,
    DstHost,
    /// The fields of `--by`.
    Fields,
}

impl Tab {
    /// The tabs of the keys 1 to 9. `Fields` is shown only if it was requested.
    pub const ALL: [Self; 9] = [
        Self::Conversations,
        Self::SrcAsn,
        Self::DstAsn,
        Self::SrcPort,
        Self::DstPort,
        Self::Protocol,
        Self::Interfaces,
        Self::SrcHost,
        Self::DstHost,
    ];

    /// Returns the title, and its short form for narrow terminals.
    pub fn titles(self) -> (&'static str, &'static str) {
        match self {
            Self::Conversations => ("Conversations", "Conv"),
            Self::SrcAsn => ("Src AS", "SrcAS"),
            Self::DstAsn => ("Dst AS", "DstAS"),
            Self::SrcPort => ("Src port", "SrcPort"),
            Self::DstPort => ("Dst port", "DstPort"),
            Self::Protocol => ("Protocol", "Proto"),
            Self::Interfaces => ("Interfaces", "IFs"),
            Self::SrcHost => ("Src host", "SrcHost"),
            Self::DstHost => ("Dst host", "DstHost"),
            Self::Fields => ("By fields", "Fields"),
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
            Self::SrcHost => Some("src"),
            Self::DstHost => Some("dst"),
            Self::Conversations | Self::Interfaces | Self::Fields => None,
        }
    }
}
