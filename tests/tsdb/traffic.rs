// SPDX-License-Identifier: AGPL-3.0-only
//! Packets that make a known number of series: each protocol is four, on two pairs of devices.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::common::accounting::SETTLED;
use crate::common::cases::{DST_MAC, DST4, SRC_MAC, SRC4};
use crate::common::frames::Frame;
use crate::common::lab::{Lab, Namespace};
use crate::common::packet::Sender;
use crate::common::traffic::meanwhile;

pub const INTERFACES: &str = r#"["v0", "v1", "w0", "w1"]"#;
/// Each frame leaves one device of a pair and enters the other.
pub const SERIES_PER_PROTOCOL: usize = 4;
/// Packets of each series, once it has appeared.
pub const PACKETS_PER_SECOND: f64 = 1.0;

/// A namespace with both pairs.
pub fn namespace(lab: &Lab) -> Namespace {
    let namespace = lab.wire();
    lab.veth((&namespace, "w0"), (&namespace, "w1"));
    namespace
}

/// Time between two protocols that appear.
const PACE: Duration = Duration::from_millis(60);

/// Lets the protocols appear and send for some time, and waits until the agent has counted all of it.
pub fn send_for(namespace: &Namespace, protocols: Vec<u8>, time: Duration) {
    send_while(namespace, protocols, PACE, || std::thread::sleep(time));
}

/// As [`send_for`], while `body` runs.
pub fn send_while(namespace: &Namespace, protocols: Vec<u8>, pace: Duration, body: impl FnOnce()) {
    meanwhile(&[&|stop| send(namespace, &protocols, pace, stop)], body);
    std::thread::sleep(SETTLED);
}

/// Sends one packet a second of each protocol, until told to stop. The protocols appear one after the other, `pace`
/// apart.
fn send(namespace: &Namespace, protocols: &[u8], pace: Duration, stop: &AtomicBool) {
    namespace.inside(|| {
        let senders = ["v0", "w0"].map(|device| Sender::new(device).expect("a packet socket"));
        let start = Instant::now();
        let mut due: Vec<(u8, Instant)> = protocols
            .iter()
            .zip(0u32..)
            .map(|(protocol, at)| (*protocol, start + pace * at))
            .collect();
        while !stop.load(Ordering::Relaxed) {
            let now = Instant::now();
            for (protocol, next) in due.iter_mut().filter(|(_, next)| *next <= now) {
                let frame = frame(*protocol);
                for sender in &senders {
                    sender.send(&frame, 0).expect("sent");
                }
                *next += Duration::from_secs_f64(1.0 / PACKETS_PER_SECOND);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    });
}

fn frame(protocol: u8) -> Vec<u8> {
    Frame::ethernet(SRC_MAC, DST_MAC)
        .ipv4(SRC4, DST4)
        .says(protocol.into())
        .payload(100 + usize::from(protocol))
        .build()
}
