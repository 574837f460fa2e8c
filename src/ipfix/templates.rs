// SPDX-License-Identifier: AGPL-3.0-only
//! Template sets and options sets, as messages: a collector needs them to read and scale records
//! (pure).

use super::fields::RecordWriter;
use super::flows::{Layout, Template};
use super::message::{Message, OPTIONS_TEMPLATES, TEMPLATES};
use super::options::{
    self, DESCRIPTION_ID, ExportedInterface, INTERFACE_ID, SAMPLING_ID, STATISTICS_ID, Statistics,
};

/// The values that templates and options describe.
#[derive(Clone, Copy)]
pub struct ExportState<'a> {
    pub layout: Layout,
    pub domain: u32,
    pub sample_rate: u32,
    pub statistics: Statistics,
    pub interfaces: &'a [ExportedInterface],
    /// The maximum length of a message in bytes.
    pub limit: usize,
}

/// Returns all templates and options, in the order in which they must be sent.
pub fn messages(state: &ExportState<'_>, with_templates: bool) -> Vec<Message> {
    let mut writer = Writer {
        limit: state.limit,
        messages: vec![Message::default()],
    };
    let mut scratch = Vec::new();
    if with_templates {
        scratch.clear();
        options::templates(&mut scratch);
        writer.append(OPTIONS_TEMPLATES, &scratch);
        // nfdump reads only the first options template of a set
        writer.end_set();
        scratch.clear();
        options::description_template(&mut scratch);
        writer.append(OPTIONS_TEMPLATES, &scratch);
    }
    // the rate is first, because collectors scale the following records by it
    scratch.clear();
    let (domain, rate) = (state.domain, state.sample_rate);
    options::sampling(&mut RecordWriter(&mut scratch), domain, rate);
    writer.append(SAMPLING_ID, &scratch);
    if with_templates {
        for template in Template::all() {
            scratch.clear();
            template.write_template(state.layout, &mut scratch);
            writer.append(TEMPLATES, &scratch);
        }
    }
    scratch.clear();
    options::statistics(&mut RecordWriter(&mut scratch), domain, &state.statistics);
    writer.append(STATISTICS_ID, &scratch);
    for interface in state.interfaces {
        scratch.clear();
        options::interface(&mut RecordWriter(&mut scratch), interface);
        writer.append(INTERFACE_ID, &scratch);
    }
    for interface in state.interfaces {
        scratch.clear();
        options::description(&mut RecordWriter(&mut scratch), domain, interface);
        writer.append(DESCRIPTION_ID, &scratch);
    }
    writer.messages
}

/// Returns the message that announces a new sample rate.
pub fn sample_rate(domain: u32, rate: u32) -> Message {
    let mut message = Message::default();
    let out = message.record(SAMPLING_ID);
    options::sampling(&mut RecordWriter(out), domain, rate);
    message
}

struct Writer {
    limit: usize,
    messages: Vec<Message>,
}

impl Writer {
    fn append(&mut self, set: u16, record: &[u8]) {
        let full = |m: &&mut Message| m.has_room(set, record.len(), self.limit);
        let last = match self.messages.last_mut().filter(full) {
            Some(last) => last,
            None => {
                self.messages.push(Message::default());
                let at = self.messages.len() - 1;
                &mut self.messages[at]
            }
        };
        last.record(set).extend_from_slice(record);
    }

    /// Starts a new set with the next record, even if it has the same id.
    fn end_set(&mut self) {
        self.messages.last_mut().expect("at least one").end_set();
    }
}
