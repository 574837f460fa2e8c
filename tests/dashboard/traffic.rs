// SPDX-License-Identifier: AGPL-3.0-only
//! Traffic whose rates are known.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::common::cases::{DST_MAC, SRC_MAC};
use crate::common::frames::Frame;
use crate::common::lab::Lab;
use crate::common::mmdb::{Value, Writer, asn};
use crate::common::packet::Sender;

/// A network that talks to the one here.
pub struct Network {
    pub asn: u32,
    pub name: &'static str,
    pub city: &'static str,
    pub byte: u8,
    pub protocol: u8,
    /// Frames in a hundredth of a second.
    pub frames: u32,
}

pub const NETWORKS: [Network; 4] = [
    network(
        64_500,
        "Example \"Video\" Delivery",
        "Frankfurt am Main",
        60,
        6,
        8,
    ),
    network(64_501, "Cloud Nine \\ Hosting", "Zürich", 61, 17, 4),
    network(64_502, "Northern Search", "Amsterdam", 62, 6, 2),
    network(64_503, "", "", 63, 17, 1),
];

/// Frames by IPv6 in a hundredth of a second; no database knows their addresses.
pub const IPV6_FRAMES: u32 = 5;

/// Frames in a second that the firewall drops: too few to disturb what is compared with the device.
pub const UNWANTED: u32 = 50;

/// Length of each frame.
pub const IN_BYTES: usize = 1000;
pub const OUT_BYTES: usize = 400;
const TURN: Duration = Duration::from_millis(10);

const fn network(
    asn: u32,
    name: &'static str,
    city: &'static str,
    byte: u8,
    protocol: u8,
    frames: u32,
) -> Network {
    Network {
        asn,
        name,
        city,
        byte,
        protocol,
        frames,
    }
}

/// Bits per second of so many frames in a hundredth of a second.
pub fn bits(frames: u32, length: usize) -> f64 {
    f64::from(frames) * length as f64 * 8.0 * 100.0
}

/// `[agent.enrich.mmdb]` with databases of these networks.
pub fn databases(lab: &Lab) -> String {
    let (mut networks, mut cities) = (
        Writer::new(4, 24, 1_700_000_000),
        Writer::new(4, 24, 1_700_000_000),
    );
    for network in &NETWORKS {
        let net = format!("{}.0.0.0/8", network.byte);
        let record = match network.name {
            "" => Value::Map(vec![(
                "autonomous_system_number",
                Value::Number(network.asn),
            )]),
            name => asn(network.asn, name),
        };
        networks.insert(&net, &record);
        let names = Value::Map(vec![("en", network.city.into())]);
        cities.insert(
            &net,
            &Value::Map(vec![("city", Value::Map(vec![("names", names)]))]),
        );
    }
    networks.insert("10.0.0.0/8", &asn(64_999, "Here"));
    let path = |name: &str, content: Vec<u8>| {
        std::fs::write(lab.path(name), content).expect("written");
        lab.path(name).display().to_string()
    };
    format!(
        "[agent.enrich.mmdb]\nasn_db = \"{}\"\ncity_db = \"{}\"\n",
        path("asn.mmdb", networks.finish()),
        path("city.mmdb", cities.finish())
    )
}

/// The same in each hundredth of a second.
pub fn frames(device: &str, from_them: bool, stop: &AtomicBool) {
    let sender = Sender::new(device).expect("a packet socket");
    let batches: Vec<_> = NETWORKS
        .iter()
        .map(|n| (ipv4(n, from_them), n.frames))
        .collect();
    let ipv6 = ipv6(from_them);
    let start = Instant::now();
    for round in 1u32.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        for (frame, count) in batches.iter().chain([&(ipv6.clone(), IPV6_FRAMES)]) {
            for _ in 0..*count {
                sender.send(frame, 0).expect("sent");
            }
        }
        sleep((TURN * round).saturating_sub(start.elapsed()));
    }
}

/// What nobody wants, from a network that no database knows.
pub fn unwanted(device: &str, stop: &AtomicBool) {
    let sender = Sender::new(device).expect("a packet socket");
    let (from, to) = (
        Ipv4Addr::new(203, 0, 113, 1),
        Ipv4Addr::new(198, 51, 100, 1),
    );
    let frame = Frame::ethernet(SRC_MAC, DST_MAC).ipv4(from, to).udp();
    let frame = frame.ports(53, 5000).pad_to(IN_BYTES).build();
    let start = Instant::now();
    for round in 1u32.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        sender.send(&frame, 0).expect("sent");
        let due = Duration::from_secs(1) / UNWANTED * round;
        sleep(due.saturating_sub(start.elapsed()));
    }
}

fn ipv4(network: &Network, from_them: bool) -> Vec<u8> {
    let (there, here) = (
        Ipv4Addr::new(network.byte, 0, 0, 1),
        Ipv4Addr::new(10, 1, 1, 1),
    );
    let (source, destination) = if from_them {
        (there, here)
    } else {
        (here, there)
    };
    let frame = Frame::ethernet(SRC_MAC, DST_MAC).ipv4(source, destination);
    let frame = if network.protocol == 6 {
        frame.tcp(0x10)
    } else {
        frame.udp()
    };
    frame.ports(443, 5000).pad_to(length(from_them)).build()
}

fn ipv6(from_them: bool) -> Vec<u8> {
    let (there, here) = (
        Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1),
        Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 1),
    );
    let (source, destination) = if from_them {
        (there, here)
    } else {
        (here, there)
    };
    let frame = Frame::ethernet(SRC_MAC, DST_MAC)
        .ipv6(source, destination)
        .udp();
    frame.ports(443, 5000).pad_to(length(from_them)).build()
}

fn length(from_them: bool) -> usize {
    if from_them { IN_BYTES } else { OUT_BYTES }
}
