// SPDX-License-Identifier: AGPL-3.0-only
//! Options: the sampling rate, the names of interfaces, and the statistics of the exporter (pure).
//!
//! The rate is sent as samplingInterval with the observation domain as scope: nfdump, pmacct,
//! goflow2 and akvorado all accept only this form.

use super::fields::{FieldWriter, TemplateWriter, element as e};
use super::flows::Template;
use crate::flow::export_queue::RecordCounts;

/// The first field of each options template is the scope.
const SCOPE_FIELDS: u16 = 1;

pub const SAMPLING_ID: u16 = 256 + Template::COUNT;
pub const INTERFACE_ID: u16 = SAMPLING_ID + 1;
pub const STATISTICS_ID: u16 = SAMPLING_ID + 2;
pub const DESCRIPTION_ID: u16 = SAMPLING_ID + 3;

/// The bytes of a description in a field of fixed length.
const DESCRIPTION: usize = 64;

/// An interface to which records refer by its index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExportedInterface {
    pub ifindex: u32,
    pub name: String,
    pub description: String,
    /// True if its flows are also those of another monitored interface.
    pub repeats: bool,
}

/// The totals of sent and not sent data of a collector (RFC 7011 section 4.1 to 4.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    pub messages: u64,
    pub bytes: u64,
    pub records: u64,
    pub not_sent: RecordCounts,
    /// Sampled packets that were dropped before they were in a flow.
    pub ignored_packets: u64,
    pub ignored_octets: u64,
}

pub fn sampling(writer: &mut impl FieldWriter, domain: u32, rate: u32) {
    writer.u32(e::OBSERVATION_DOMAIN_ID, domain);
    writer.u32(e::SAMPLING_INTERVAL, rate);
}

impl ExportedInterface {
    /// Returns the name if the description is empty: some collectors cannot read an empty text.
    fn description(&self) -> &str {
        if self.description.is_empty() {
            &self.name
        } else {
            &self.description
        }
    }
}

/// Writes the names of an interface.
pub fn interface(writer: &mut impl FieldWriter, interface: &ExportedInterface) {
    writer.u32(e::INGRESS_INTERFACE, interface.ifindex);
    writer.text(e::INTERFACE_NAME, &interface.name);
    writer.text(e::INTERFACE_DESCRIPTION, interface.description());
}

/// Writes the description of an interface in the only form that nfdump reads: nothing else is in the
/// record, its length is fixed, and the scope is another field.
pub fn description(writer: &mut impl FieldWriter, domain: u32, interface: &ExportedInterface) {
    writer.u32(e::OBSERVATION_DOMAIN_ID, domain);
    writer.u32(e::INGRESS_INTERFACE, interface.ifindex);
    writer.fixed_text::<DESCRIPTION>(e::INTERFACE_DESCRIPTION, interface.description());
}

pub fn statistics(writer: &mut impl FieldWriter, domain: u32, statistics: &Statistics) {
    let s = statistics;
    writer.u32(e::OBSERVATION_DOMAIN_ID, domain);
    writer.u64(e::EXPORTED_MESSAGE_TOTAL_COUNT, s.messages);
    writer.u64(e::EXPORTED_OCTET_TOTAL_COUNT, s.bytes);
    writer.u64(e::EXPORTED_FLOW_RECORD_TOTAL_COUNT, s.records);
    writer.u64(e::NOT_SENT_FLOW_TOTAL_COUNT, s.not_sent.parts);
    writer.u64(e::NOT_SENT_PACKET_TOTAL_COUNT, s.not_sent.packets);
    writer.u64(e::NOT_SENT_OCTET_TOTAL_COUNT, s.not_sent.octets);
    writer.u64(e::IGNORED_PACKET_TOTAL_COUNT, s.ignored_packets);
    writer.u64(e::IGNORED_OCTET_TOTAL_COUNT, s.ignored_octets);
}

/// Appends the options template records, except that of descriptions.
pub fn templates(out: &mut Vec<u8>) {
    template(out, SAMPLING_ID, |writer| sampling(writer, 0, 0));
    template(out, INTERFACE_ID, |writer| {
        interface(writer, &ExportedInterface::default());
    });
    template(out, STATISTICS_ID, |writer| {
        statistics(writer, 0, &Statistics::default());
    });
}

pub fn description_template(out: &mut Vec<u8>) {
    template(out, DESCRIPTION_ID, |writer| {
        description(writer, 0, &ExportedInterface::default());
    });
}

fn template(out: &mut Vec<u8>, id: u16, fields: impl FnOnce(&mut TemplateWriter<'_>)) {
    out.extend(id.to_be_bytes());
    let count_at = out.len();
    out.extend([0; 2]);
    out.extend(SCOPE_FIELDS.to_be_bytes());
    let mut writer = TemplateWriter {
        out,
        fields: 0,
        record_length: 0,
    };
    fields(&mut writer);
    let fields = writer.fields;
    out[count_at..count_at + 2].copy_from_slice(&fields.to_be_bytes());
}
