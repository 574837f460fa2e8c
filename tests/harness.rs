// SPDX-License-Identifier: AGPL-3.0-only
//! The harness itself: all other tests rely on it.

mod common;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use common::cases::{self, Case, Link};
use common::lab::{DeviceCounters, Lab, can_run, run, wait_for};
use common::packet::{Sender, Tun};
use rfm::types::flow::Family;

#[test]
fn flows_are_of_ip_and_errors_are_not() {
    let cases = cases::all();
    assert!(cases.len() > 100, "{}", cases.len());
    for case in cases {
        let ip = case.expect.family != Family::Other;
        assert_eq!(case.expect.flow.is_some(), ip, "{}", case.name);
        assert!(!ip || case.expect.error.is_none(), "{}", case.name);
    }
}

/// Frames that are whole must be so in the eye of another program too: tcpdump finds no wrong length
/// and no wrong checksum in them.
#[test]
fn tcpdump_finds_no_fault_in_whole_frames() {
    if !can_run(&["tcpdump"]) {
        return;
    }
    let lab = Lab::new();
    for case in cases::all() {
        let stack = case.name.split('/').next().unwrap_or_default();
        // what is cut, edited or a GSO packet is at fault on purpose
        let whole = ["udp/ipv4", "udp/ipv6", "tcp/ipv4", "tcp/ipv6", "vlan/qinq"]
            .contains(&case.name)
            || ["icmp", "icmpv6", "sctp", "dccp", "udplite"].contains(&stack);
        let cut = ["byte", "missing"].iter().any(|w| case.name.contains(w));
        if !whole || cut {
            continue;
        }
        let file = lab.path("one.pcap");
        write_pcap(&file, &case);
        let path = file.to_str().expect("a path in UTF-8");
        let text = run(Command::new("tcpdump").args(["-nvvv", "-r", path]));
        for fault in ["bad", "incorrect", "truncated", "invalid"] {
            assert!(!text.contains(fault), "{}: {text}", case.name);
        }
    }
}

/// The classic file format: header, then one record (draft-ietf-opsawg-pcap).
fn write_pcap(path: &Path, case: &Case) {
    let link_type = if case.link == Link::Ethernet { 1 } else { 101 };
    let length = case.frame.len() as u32;
    let words = [
        0xa1b2_c3d4,
        0x0004_0002,
        0,
        0,
        65_535,
        link_type,
        0,
        0,
        length,
        length,
    ];
    let mut bytes: Vec<u8> = words.iter().flat_map(|w: &u32| w.to_ne_bytes()).collect();
    bytes.extend(&case.frame);
    std::fs::write(path, bytes).expect("a file in the lab's folder");
}

/// Each frame arrives at the peer of a veth as long as it was sent, and nothing else crosses it.
#[test]
fn frames_cross_a_veth_untouched() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let lab = Lab::new();
    let namespace = lab.namespace("v");
    lab.veth((&namespace, "v0"), (&namespace, "v1"));
    let sender = namespace.inside(|| Sender::new("v0").expect("a packet socket"));
    for case in cases::all() {
        if case.link != Link::Ethernet || case.segmentation.is_some() {
            continue;
        }
        let before = namespace.device_counters("v1");
        let sent = sender.send(&case.frame, 0);
        sent.unwrap_or_else(|e| panic!("{}: {e}", case.name));
        let expected = received(1, case.frame.len() as u64);
        let moved = || namespace.device_counters("v1") - before;
        wait_for(Duration::from_secs(1), || moved() == expected);
        assert_eq!(moved(), expected, "{}", case.name);
    }
}

/// A GSO packet is cut by the kernel where the device does not segment: the reference for ours.
#[test]
fn the_kernel_cuts_super_packets_as_the_cases_say() {
    if !can_run(&["ip", "sysctl", "ethtool"]) {
        return;
    }
    let lab = Lab::new();
    let namespace = lab.namespace("v");
    lab.veth((&namespace, "v0"), (&namespace, "v1"));
    namespace.offloads_off("v0");
    let sender = namespace.inside(|| Sender::with_offload("v0").expect("a packet socket"));
    for case in cases::all() {
        let Some(what) = case.super_packet() else {
            continue;
        };
        let before = namespace.device_counters("v1");
        let sent = sender.send_segmented(&case.frame, what);
        sent.unwrap_or_else(|e| panic!("{}: {e}", case.name));
        let expected = received(case.expect.packets, case.expect.bytes);
        let moved = || namespace.device_counters("v1") - before;
        wait_for(Duration::from_secs(1), || moved() == expected);
        assert_eq!(moved(), expected, "{}", case.name);
    }
}

#[test]
fn packets_cross_a_tun_device_both_ways() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let lab = Lab::new();
    let namespace = lab.namespace("t");
    let (tun, sender) = namespace.inside(|| {
        let tun = Tun::new("t0").expect("a tun device");
        namespace.ip("link set t0 mtu 9000 up");
        (tun, Sender::new("t0").expect("a packet socket"))
    });
    for case in cases::all() {
        let Link::Layer3(protocol) = case.link else {
            continue;
        };
        let before = namespace.device_counters("t0");
        tun.inject(&case.frame, protocol).expect("received");
        sender.send(&case.frame, protocol).expect("sent");
        let length = case.frame.len() as u64;
        // a tun counts what it handed to its descriptor, which nobody reads here
        let moved = || namespace.device_counters("t0") - before;
        let arrived = || (moved().rx_packets, moved().rx_bytes);
        wait_for(Duration::from_secs(1), || arrived() == (1, length));
        assert_eq!(arrived(), (1, length), "{}", case.name);
    }
}

fn received(rx_packets: u64, rx_bytes: u64) -> DeviceCounters {
    DeviceCounters {
        rx_packets,
        rx_bytes,
        tx_packets: 0,
        tx_bytes: 0,
    }
}
