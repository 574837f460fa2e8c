// SPDX-License-Identifier: AGPL-3.0-only
//! Frames of attackers.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::common::frames::Frame;
use crate::common::lab::{Namespace, mac_of};
use crate::common::packet::Sender;

/// Frames a second: three times the threshold of packets to a host.
pub const RATE: u64 = 6_000;

/// Sends frames out of `n0` at a constant rate until the receiver is dropped; `sent` counts them.
pub fn flood(
    outside: &Namespace,
    rate: u64,
    frame: &(dyn Fn(u64) -> Vec<u8> + Sync),
    sent: &AtomicU64,
    stop: &AtomicBool,
) {
    outside.inside(|| {
        let sender = Sender::new("n0").expect("a packet socket");
        let start = Instant::now();
        let mut n = 0;
        while !stop.load(SeqCst) {
            let due = (start.elapsed().as_secs_f64() * rate as f64) as u64;
            while n < due {
                sender.send(&frame(n), 0).expect("sent");
                n += 1;
                sent.store(n, SeqCst);
            }
            sleep(Duration::from_millis(1));
        }
    });
}

/// To the router's `wan0`.
pub fn ethernet() -> Frame {
    Frame::ethernet(mac_of("n0"), mac_of("wan0"))
}

/// An address that no one has here.
pub fn spoofed(n: u64) -> Ipv4Addr {
    let n = n.wrapping_mul(2_654_435_761) as u32;
    Ipv4Addr::new(100, 64 + (n >> 16 & 31) as u8, (n >> 8) as u8, n as u8 | 1)
}
