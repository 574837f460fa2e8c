// SPDX-License-Identifier: AGPL-3.0-only
//! What a collector must know before it can read and scale records: templates and options, as messages
//! (pure).

use super::fields::RecordPen;
use super::flows::{Layout, Shape};
use super::message::{Message, OPTIONS_TEMPLATES, TEMPLATES};
use super::options::{self, INTERFACE_ID, Interface, SAMPLING_ID, STATISTICS_ID, Statistics};

/// Of what the notices tell.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    pub layout: Layout,
    pub domain: u32,
    pub sample_rate: u32,
    pub statistics: Statistics,
    pub interfaces: &'a [Interface],
    /// Bytes of a message at most.
    pub limit: usize,
}

/// Messages that tell everything, in the order in which they are to be sent.
pub fn all(facts: &Facts<'_>, with_templates: bool) -> Vec<Message> {
    let mut writer = Writer {
        limit: facts.limit,
        messages: vec![Message::default()],
    };
    let mut scratch = Vec::new();
    if with_templates {
        scratch.clear();
        options::templates(&mut scratch);
        writer.append(OPTIONS_TEMPLATES, &scratch);
    }
    // first of all the rate: what comes after it is scaled by it
    scratch.clear();
    let (domain, rate) = (facts.domain, facts.sample_rate);
    options::sampling(&mut RecordPen(&mut scratch), domain, rate);
    writer.append(SAMPLING_ID, &scratch);
    if with_templates {
        for shape in Shape::all() {
            scratch.clear();
            shape.template(facts.layout, &mut scratch);
            writer.append(TEMPLATES, &scratch);
        }
    }
    scratch.clear();
    options::statistics(&mut RecordPen(&mut scratch), domain, &facts.statistics);
    writer.append(STATISTICS_ID, &scratch);
    for interface in facts.interfaces {
        scratch.clear();
        options::interface(&mut RecordPen(&mut scratch), interface);
        writer.append(INTERFACE_ID, &scratch);
    }
    writer.messages
}

/// The message that tells of a new rate.
pub fn sampling(domain: u32, rate: u32) -> Message {
    let mut message = Message::default();
    let out = message.record(SAMPLING_ID);
    options::sampling(&mut RecordPen(out), domain, rate);
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
}
