// SPDX-License-Identifier: AGPL-3.0-only
//! The firewall in generic mode beside the monitor: what it passes is counted as the device counts it, and
//! has its flow.

use std::collections::BTreeMap;
use std::net::IpAddr;

use rfm::bpf::xdp::Mode;
use rfm::types::flow::{Direction, Family};
use rfm::types::hook::{FrameStart, HookKind, Position};

use crate::common::frames::{Frame, Mac};
use crate::common::kernel::Kernel;
use crate::common::lab::{Lab, Namespace, can_run, mac_of};
use crate::common::packet::Sender;
use crate::fixture::{A4, A6, B4, B6};
use crate::hooks::firewall;

/// What crosses each link: TCP of both families, linear frames and frames in pieces. The rule drops UDP.
fn traffic(to: Mac) -> Vec<Vec<u8>> {
    let ether = || Frame::ethernet(mac_of("v0"), to);
    let mut frames = Vec::new();
    for payload in [10, 700, 1400, 5000, 8000] {
        frames.push(ether().ipv4(A4, B4).tcp(2).payload(payload).build());
        frames.push(ether().ipv6(A6, B6).tcp(2).payload(payload).build());
    }
    frames
}

/// Puts the firewall on `device` in generic mode and sends frames in at `v0`.
fn the_monitor_sees_what_the_firewall_passes(namespace: &Namespace, device: &str) {
    namespace.inside(|| {
        let ifindex = namespace.ifindex(device);
        let mut firewall = firewall();
        let mode = firewall.attach(ifindex, FrameStart::Ethernet, None, None);
        assert_eq!(mode.expect("attached"), Mode::Generic, "{device}");
        let mut kernel = Kernel::load(&[(ifindex, false)]);
        kernel.attach(HookKind::detect(), Position::Head);

        let text = namespace.ip(&format!("-j link show dev {device}"));
        let json: serde_json::Value = serde_json::from_str(&text).expect("ip -j speaks JSON");
        let address = json[0]["address"].as_str().expect("a MAC address");
        let mut octets = address.split(':');
        let mac = [(); 6].map(|()| {
            let octet = octets.next().expect("six octets");
            u8::from_str_radix(octet, 16).expect("hex")
        });
        let frames = traffic(mac);
        let dropped = Frame::ethernet(mac_of("v0"), mac).ipv4(A4, B4).udp();
        let before = namespace.device_counters(device);
        let sender = Sender::new("v0").expect("a packet socket");
        for frame in &frames {
            sender.send(frame, 0).expect("sent");
        }
        sender.send(&dropped.payload(20).build(), 0).expect("sent");
        let counted = namespace.device_counters(device) - before;

        let bytes: usize = frames.iter().map(Vec::len).sum();
        let observed = kernel.observed(ifindex, Direction::Ingress);
        assert_eq!(
            observed,
            (frames.len() as u64, bytes as u64),
            "{device}: {counted:?}"
        );
        // some devices count what the firewall drops as well
        let more = counted.rx_packets - observed.0;
        assert!(more <= 1, "{device}: {counted:?}");
        let mut flows: BTreeMap<(Family, IpAddr, IpAddr), (u64, u64)> = BTreeMap::new();
        for record in kernel.records() {
            let flow = &record.flow;
            assert_eq!(
                (flow.protocol, flow.src_port, flow.dst_port),
                (6, 40_000, 443)
            );
            assert_eq!((flow.src_mac, flow.dst_mac), (mac_of("v0"), mac));
            let sums = flows.entry((record.family, flow.src, flow.dst));
            let sums = sums.or_default();
            (sums.0, sums.1) = (sums.0 + record.packets, sums.1 + record.bytes);
        }
        let half = |first: usize| {
            let frames = frames.iter().skip(first).step_by(2);
            let bytes: usize = frames.clone().map(Vec::len).sum();
            (frames.count() as u64, bytes as u64)
        };
        let expected = BTreeMap::from([
            ((Family::Ipv4, A4.into(), B4.into()), half(0)),
            ((Family::Ipv6, A6.into(), B6.into()), half(1)),
        ]);
        assert_eq!(flows, expected, "{device}");
    });
}

/// A wire of which `v1` refuses native mode: `v0` has more queues than it could take in from.
fn wire(lab: &Lab) -> Namespace {
    let namespace = lab.namespace("g");
    let [v0, v1] = ["v0", "v1"].map(|name| mac_of(name).map(|b| format!("{b:02x}")).join(":"));
    namespace.ip(&format!(
        "link add v0 mtu 9000 address {v0} numtxqueues 2 numrxqueues 1 type veth \
         peer name v1 mtu 9000 address {v1} numtxqueues 1 numrxqueues 1"
    ));
    namespace.ip("link set v0 up");
    namespace.ip("link set v1 up");
    namespace
}

#[test]
fn received_packets_are_counted_on_a_veth_in_generic_mode() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let lab = Lab::new();
    the_monitor_sees_what_the_firewall_passes(&wire(&lab), "v1");
}

#[test]
fn received_packets_are_counted_on_a_bridge() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let lab = Lab::new();
    let namespace = wire(&lab);
    namespace.ip("link add br0 mtu 9000 type bridge forward_delay 0 mcast_snooping 0");
    namespace.ip("link set v1 master br0");
    namespace.ip("link set br0 up");
    the_monitor_sees_what_the_firewall_passes(&namespace, "br0");
}

#[test]
fn received_packets_are_counted_on_a_macvlan() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let lab = Lab::new();
    let namespace = wire(&lab);
    namespace.ip("link add m0 link v1 mtu 9000 type macvlan mode bridge");
    namespace.ip("link set m0 up");
    the_monitor_sees_what_the_firewall_passes(&namespace, "m0");
}
