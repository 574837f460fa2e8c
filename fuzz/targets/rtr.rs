// SPDX-License-Identifier: AGPL-3.0-only
//! An RPKI cache that sends arbitrary PDUs over several connections.

use rfm::enrich::rpki::rtr::session::RtrSession;

use super::Input;

pub fn run(input: &[u8]) {
    let mut input = Input(input);
    let mut session = RtrSession::default();
    let mut buffer = Vec::new();
    session.connect();
    while !input.is_empty() {
        match input.u8() % 8 {
            0 => drop(session.query()),
            1 => session.forget(),
            2 => {
                session.disconnected();
                buffer.clear();
                session.connect();
            }
            _ => {
                let length = input.u16().into();
                buffer.extend_from_slice(input.take(length));
                let (received, result) = session.receive(&buffer);
                assert!(received.used <= buffer.len());
                buffer.drain(..received.used);
                if result.is_err() {
                    session.disconnected();
                    buffer.clear();
                    session.connect();
                }
            }
        }
        let [ipv4, ipv6] = session.table().counts();
        assert!(ipv4 + ipv6 <= input_limit());
    }
}

fn input_limit() -> usize {
    rfm::enrich::rpki::MAX_VRPS
}
