// SPDX-License-Identifier: AGPL-3.0-only
//! Messages → records, by the crate netflow_parser. Whatever it cannot read is a panic.

use std::collections::{BTreeMap, HashMap};

use netflow_parser::variable_versions::ipfix::{FlowSetBody, Template, TemplateField};
use netflow_parser::{NetflowPacket, NetflowParser};

/// A number for documentation (RFC 5612).
pub const ENTERPRISE: u32 = 32_473;
/// Marks the elements of that enterprise in a [`Record`].
pub const OF_ENTERPRISE: u16 = 0x8000;

/// Numbers of information elements, and what a record has of them as bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Record {
    pub set: u16,
    pub fields: BTreeMap<u16, Vec<u8>>,
}

impl Record {
    pub fn number(&self, element: u16) -> u64 {
        let bytes = self.fields.get(&element);
        let bytes = bytes.unwrap_or_else(|| panic!("no element {element} in {self:?}"));
        bytes.iter().fold(0, |n, &byte| n << 8 | u64::from(byte))
    }

    /// The text of a field of fixed length.
    pub fn fixed_text(&self, element: u16) -> Vec<u8> {
        let text = self.fields[&element].split(|&byte| byte == 0).next();
        text.unwrap_or_default().to_vec()
    }

    pub fn has(&self, element: u16) -> bool {
        self.fields.contains_key(&element)
    }

    /// Has packets: it is no option.
    pub fn is_flow(&self) -> bool {
        self.has(2)
    }
}

/// One message.
#[derive(Clone, Debug)]
pub struct Decoded {
    pub sequence: u32,
    pub export_time: u32,
    pub domain: u32,
    /// Template ids that it defines.
    pub templates: Vec<u16>,
    pub records: Vec<Record>,
}

impl Decoded {
    pub fn flows(&self) -> impl Iterator<Item = &Record> {
        self.records.iter().filter(|record| record.is_flow())
    }
}

#[derive(Default)]
pub struct Decoder {
    parser: NetflowParser,
    templates: HashMap<u16, Vec<u16>>,
}

impl Decoder {
    pub fn message(&mut self, bytes: &[u8]) -> Decoded {
        assert!(bytes.len() <= 1_400, "{} bytes", bytes.len());
        let result = self.parser.parse_bytes(bytes);
        assert!(result.error.is_none(), "{:?}", result.error);
        let [NetflowPacket::IPFix(packet)] = &result.packets[..] else {
            panic!("not one IPFIX message: {:?}", result.packets);
        };
        assert_eq!(usize::from(packet.header.length), bytes.len());
        let mut decoded = Decoded {
            sequence: packet.header.sequence_number,
            export_time: packet.header.export_time,
            domain: packet.header.observation_domain_id,
            templates: Vec::new(),
            records: Vec::new(),
        };
        for set in &packet.flowsets {
            let id = set.header.header_id;
            match &set.body {
                FlowSetBody::Template(template) => self.learn(&mut decoded, template),
                FlowSetBody::Templates(all) => {
                    all.iter().for_each(|t| self.learn(&mut decoded, t));
                }
                FlowSetBody::OptionsTemplate(t) => {
                    self.learn_fields(&mut decoded, t.template_id, &t.fields);
                }
                FlowSetBody::OptionsTemplates(all) => {
                    for t in all {
                        self.learn_fields(&mut decoded, t.template_id, &t.fields);
                    }
                }
                FlowSetBody::Data(data) => {
                    assert!(data.padding.is_empty());
                    for fields in &data.fields {
                        decoded.records.push(self.record(id, fields));
                    }
                }
                FlowSetBody::OptionsData(data) => {
                    assert!(data.padding.is_empty());
                    for fields in &data.fields {
                        decoded.records.push(self.record(id, fields));
                    }
                }
                other => panic!("a set {id} of another kind: {other:?}"),
            }
        }
        decoded
    }

    fn learn(&mut self, decoded: &mut Decoded, template: &Template) {
        self.learn_fields(decoded, template.template_id, &template.fields);
    }

    fn learn_fields(&mut self, decoded: &mut Decoded, id: u16, fields: &[TemplateField]) {
        let element = |field: &TemplateField| match field.enterprise_number {
            None => field.field_type_number,
            Some(enterprise) => {
                assert_eq!(enterprise, ENTERPRISE);
                OF_ENTERPRISE | field.field_type_number
            }
        };
        let elements = fields.iter().map(element).collect();
        self.templates.insert(id, elements);
        decoded.templates.push(id);
    }

    fn record<F>(&self, set: u16, fields: &[(F, netflow_parser::FieldValue)]) -> Record {
        let elements = &self.templates[&set];
        assert_eq!(elements.len(), fields.len());
        let values = fields.iter().map(|(_, value)| {
            let mut bytes = Vec::new();
            value.write_be_bytes(&mut bytes).expect("a value");
            bytes
        });
        Record {
            set,
            fields: elements.iter().copied().zip(values).collect(),
        }
    }
}
