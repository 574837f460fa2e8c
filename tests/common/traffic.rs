// SPDX-License-Identifier: AGPL-3.0-only
//! Traffic of ordinary programs and of packet sockets.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::accounting::SETTLED;
use super::cases::{DST_MAC, DST4, SRC_MAC, SRC4};
use super::frames::Frame;
use super::lab::{Lab, Namespace, ipv4, ipv6, wait_for};
use super::packet::Sender;

/// What [`exchange`] runs.
pub const EXCHANGE_TOOLS: [&str; 5] = ["ip", "sysctl", "iperf3", "ping", "ss"];

/// An iperf3 server until the lab ends.
pub fn iperf3_server(lab: &Lab, namespace: &Namespace) {
    let listens = || {
        let text = namespace.run("ss", "-Hltn sport = 5201");
        text.contains("5201")
    };
    lab.spawn(namespace, "iperf3.log", "iperf3", &["-s"]);
    assert!(wait_for(SETTLED, listens), "iperf3 does not listen");
}

/// TCP, UDP and ICMP between `a0` and the server in the namespace of `b0`, both ways, IPv4 and IPv6,
/// then silence.
pub fn exchange(a: &Namespace) {
    for host in [ipv4(2).to_string(), ipv6(2).to_string()] {
        for how in [
            "-n 200M",
            "-n 200M -R",
            "-u -b 200M -n 8M",
            "-u -b 200M -n 8M -R",
        ] {
            a.run("iperf3", &format!("-c {host} {how}"));
        }
        a.run("ping", &format!("-q -c 20 -i 0.01 -s 100 {host}"));
        a.run("ping", &format!("-q -c 5 -i 0.01 -s 3000 {host}"));
    }
}

/// A tiny UDP packet over IPv4.
pub fn small_frame(source_port: u16) -> Vec<u8> {
    Frame::ethernet(SRC_MAC, DST_MAC)
        .ipv4(SRC4, DST4)
        .udp()
        .ports(source_port, 9)
        .pad_to(60)
        .build()
}

/// `count` small frames, each a flow of its own.
pub fn send_burst(sender: &Sender, count: u16) {
    for port in 0..count {
        sender.send(&small_frame(port), 0).expect("sent");
    }
}

/// What goes on beside a test, until it is told to stop.
pub type Other<'a> = &'a (dyn Fn(&AtomicBool) + Sync);

/// Runs `body` while the others go on, each on a thread of its own.
pub fn meanwhile<T>(others: &[Other<'_>], body: impl FnOnce() -> T) -> T {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for other in others {
            scope.spawn(|| other(&stop));
        }
        let _stopper = Stopper(&stop);
        body()
    })
}

/// Also when the body panics: else its others went on for ever.
struct Stopper<'a>(&'a AtomicBool);

impl Drop for Stopper<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
