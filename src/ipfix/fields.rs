// SPDX-License-Identifier: AGPL-3.0-only
//! The fields of templates and records, each written once: one function writes the template and,
//! through another [`FieldWriter`], each record (RFC 7011 section 3).

use std::num::NonZeroU32;

/// The exported information elements of IANA.
pub mod element {
    pub const OCTET_DELTA_COUNT: u16 = 1;
    pub const PACKET_DELTA_COUNT: u16 = 2;
    pub const PROTOCOL_IDENTIFIER: u16 = 4;
    pub const IP_CLASS_OF_SERVICE: u16 = 5;
    pub const TCP_CONTROL_BITS: u16 = 6;
    pub const SOURCE_TRANSPORT_PORT: u16 = 7;
    pub const SOURCE_IPV4_ADDRESS: u16 = 8;
    pub const SOURCE_IPV4_PREFIX_LENGTH: u16 = 9;
    pub const INGRESS_INTERFACE: u16 = 10;
    pub const DESTINATION_TRANSPORT_PORT: u16 = 11;
    pub const DESTINATION_IPV4_ADDRESS: u16 = 12;
    pub const DESTINATION_IPV4_PREFIX_LENGTH: u16 = 13;
    pub const EGRESS_INTERFACE: u16 = 14;
    pub const IP_NEXT_HOP_IPV4_ADDRESS: u16 = 15;
    pub const BGP_SOURCE_AS_NUMBER: u16 = 16;
    pub const BGP_DESTINATION_AS_NUMBER: u16 = 17;
    pub const BGP_NEXT_HOP_IPV4_ADDRESS: u16 = 18;
    pub const SOURCE_IPV6_ADDRESS: u16 = 27;
    pub const DESTINATION_IPV6_ADDRESS: u16 = 28;
    pub const SOURCE_IPV6_PREFIX_LENGTH: u16 = 29;
    pub const DESTINATION_IPV6_PREFIX_LENGTH: u16 = 30;
    pub const ICMP_TYPE_CODE_IPV4: u16 = 32;
    pub const SAMPLING_INTERVAL: u16 = 34;
    pub const EXPORTED_OCTET_TOTAL_COUNT: u16 = 40;
    pub const EXPORTED_MESSAGE_TOTAL_COUNT: u16 = 41;
    pub const EXPORTED_FLOW_RECORD_TOTAL_COUNT: u16 = 42;
    pub const SOURCE_MAC_ADDRESS: u16 = 56;
    pub const VLAN_ID: u16 = 58;
    pub const FLOW_DIRECTION: u16 = 61;
    pub const IP_NEXT_HOP_IPV6_ADDRESS: u16 = 62;
    pub const BGP_NEXT_HOP_IPV6_ADDRESS: u16 = 63;
    pub const DESTINATION_MAC_ADDRESS: u16 = 80;
    pub const INTERFACE_NAME: u16 = 82;
    pub const INTERFACE_DESCRIPTION: u16 = 83;
    pub const FORWARDING_STATUS: u16 = 89;
    pub const BGP_NEXT_ADJACENT_AS_NUMBER: u16 = 128;
    pub const BGP_PREV_ADJACENT_AS_NUMBER: u16 = 129;
    pub const FLOW_END_REASON: u16 = 136;
    pub const ICMP_TYPE_CODE_IPV6: u16 = 139;
    pub const OBSERVATION_DOMAIN_ID: u16 = 149;
    pub const FLOW_START_MILLISECONDS: u16 = 152;
    pub const FLOW_END_MILLISECONDS: u16 = 153;
    pub const IGNORED_PACKET_TOTAL_COUNT: u16 = 164;
    pub const IGNORED_OCTET_TOTAL_COUNT: u16 = 165;
    pub const NOT_SENT_FLOW_TOTAL_COUNT: u16 = 166;
    pub const NOT_SENT_PACKET_TOTAL_COUNT: u16 = 167;
    pub const NOT_SENT_OCTET_TOTAL_COUNT: u16 = 168;
    pub const DOT1Q_CUSTOMER_VLAN_ID: u16 = 245;
    pub const LAYER2_OCTET_DELTA_COUNT: u16 = 352;
}

/// Elements of the enterprise that the configuration names.
pub mod enterprise_element {
    pub const SOURCE_CHECK: u16 = 1;
}

/// The bit of an element of an enterprise (RFC 7011 section 3.2).
const ENTERPRISE: u16 = 0x8000;
/// The length of a field of variable length in a template.
const VARIABLE: u16 = 65_535;
/// The maximum length of a text, so that its length fits in one byte (RFC 7011 section 7).
const MAX_TEXT: usize = 254;

/// Writes the fields of a record, or of its template.
pub trait FieldWriter {
    fn put<const N: usize>(&mut self, element: u16, value: [u8; N]);
    fn text(&mut self, element: u16, value: &str);
    /// Writes a field of an enterprise.
    fn enterprise_u8(&mut self, enterprise: NonZeroU32, element: u16, value: u8);

    /// Writes a text in a field of `N` bytes, the last of which is always zero.
    fn fixed_text<const N: usize>(&mut self, element: u16, value: &str) {
        let mut bytes = [0; N];
        let value = cut(value, N - 1);
        bytes[..value.len()].copy_from_slice(value.as_bytes());
        self.put(element, bytes);
    }

    fn u8(&mut self, element: u16, value: u8) {
        self.put(element, [value]);
    }

    fn u16(&mut self, element: u16, value: u16) {
        self.put(element, value.to_be_bytes());
    }

    fn u32(&mut self, element: u16, value: u32) {
        self.put(element, value.to_be_bytes());
    }

    fn u64(&mut self, element: u16, value: u64) {
        self.put(element, value.to_be_bytes());
    }
}

/// Writes field specifiers.
pub struct TemplateWriter<'a> {
    pub out: &'a mut Vec<u8>,
    pub fields: u16,
    /// The length of a record in bytes; a field of variable length counts with its maximum.
    pub record_length: usize,
}

impl TemplateWriter<'_> {
    fn specify(&mut self, element: u16, length: u16, longest: usize) {
        self.out.extend(element.to_be_bytes());
        self.out.extend(length.to_be_bytes());
        self.fields += 1;
        self.record_length += longest;
    }
}

impl FieldWriter for TemplateWriter<'_> {
    fn put<const N: usize>(&mut self, element: u16, _: [u8; N]) {
        self.specify(element, N as u16, N);
    }

    fn text(&mut self, element: u16, _: &str) {
        self.specify(element, VARIABLE, 1 + MAX_TEXT);
    }

    fn enterprise_u8(&mut self, enterprise: NonZeroU32, element: u16, _: u8) {
        self.specify(ENTERPRISE | element, 1, 1);
        self.out.extend(enterprise.get().to_be_bytes());
    }
}

/// Writes values.
pub struct RecordWriter<'a>(pub &'a mut Vec<u8>);

impl FieldWriter for RecordWriter<'_> {
    fn put<const N: usize>(&mut self, _: u16, value: [u8; N]) {
        self.0.extend_from_slice(&value);
    }

    fn text(&mut self, _: u16, value: &str) {
        let value = cut(value, MAX_TEXT);
        self.0.push(value.len() as u8);
        self.0.extend_from_slice(value.as_bytes());
    }

    fn enterprise_u8(&mut self, _: NonZeroU32, _: u16, value: u8) {
        self.0.push(value);
    }
}

/// Returns the start of a text that has at most `length` bytes, without a part of a character.
fn cut(value: &str, length: usize) -> &str {
    let mut end = value.len().min(length);
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    &value[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_between_characters() {
        let mut out = Vec::new();
        RecordWriter(&mut out).text(element::INTERFACE_NAME, &"é".repeat(200));
        assert_eq!((out.len(), out[0]), (255, 254));
        RecordWriter(&mut out).text(element::INTERFACE_NAME, &format!("a{}", "é".repeat(200)));
        assert_eq!((out.len(), out[255]), (255 + 254, 253));
        assert!(std::str::from_utf8(&out[256..]).is_ok());
    }

    #[test]
    fn texts_of_fixed_length_end_with_a_zero_byte() {
        let fixed = |value: &str| {
            let mut out = Vec::new();
            RecordWriter(&mut out).fixed_text::<8>(element::INTERFACE_NAME, value);
            out
        };
        assert_eq!(fixed("eth0"), b"eth0\0\0\0\0");
        assert_eq!(fixed("ethernet"), b"etherne\0");
        assert_eq!(fixed("éééé"), "ééé\0\0".as_bytes());
    }
}
