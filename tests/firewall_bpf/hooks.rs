// SPDX-License-Identifier: AGPL-3.0-only
//! The programs on interfaces: native and generic, beside others, pinned, and gone.

use std::path::Path;

use rfm::bpf::xdp::{AttachError, Mode, Pin, XdpFirewall, XdpSettings};
use rfm::types::hook::FrameStart;

use crate::common::lab::{Lab, can_run};
use crate::common::packet::{Sender, Tun};
use crate::fixture::{rules, v4};

const SETTINGS: XdpSettings = XdpSettings {
    sample_rate: 0,
    ring_bytes: 65_536,
    max_rules: 1000,
    typed: true,
};

pub fn firewall() -> XdpFirewall {
    let mut firewall = XdpFirewall::load(&SETTINGS).expect("the firewall loads");
    firewall
        .replace(&rules(&["drop proto udp"]))
        .expect("rules");
    firewall
}

fn dropped(firewall: &XdpFirewall) -> u64 {
    firewall.counts().expect("counts")[0].1.packets
}

#[test]
fn frames_on_a_wire_are_dropped_in_the_driver_until_it_is_detached() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let lab = Lab::new();
    let namespace = lab.namespace("w");
    lab.veth((&namespace, "v0"), (&namespace, "v1"));
    namespace.inside(|| {
        let v1 = namespace.ifindex("v1");
        let mut firewall = firewall();
        let mode = firewall
            .attach(v1, FrameStart::Ethernet, None, None)
            .expect("attached");
        assert_eq!(mode, Mode::Native);
        assert_eq!(
            firewall
                .attach(v1, FrameStart::Ethernet, None, None)
                .expect("again"),
            mode
        );
        let sender = Sender::new("v0").expect("a packet socket");
        let frame = v4().udp().payload(20).build();
        for _ in 0..10 {
            sender.send(&frame, 0).expect("sent");
        }
        assert_eq!(dropped(&firewall), 10);
        let second = XdpFirewall::load(&SETTINGS).expect("another");
        refused(second, v1);
        firewall.detach(v1);
        sender.send(&frame, 0).expect("sent");
        assert_eq!(dropped(&firewall), 10);
        // the hook is free
        drop(firewall.attach(v1, FrameStart::Ethernet, None, None));
        drop(firewall);
        let mut second = XdpFirewall::load(&SETTINGS).expect("another");
        second
            .attach(v1, FrameStart::Ethernet, None, None)
            .expect("free");
    });
}

fn refused(mut second: XdpFirewall, ifindex: u32) {
    let error = second.attach(ifindex, FrameStart::Ethernet, None, None);
    let error = error.expect_err("the hook is taken");
    assert!(matches!(&error, AttachError::Occupied { program, .. } if program == "rfm_fw_ether"));
    let text = error.to_string();
    assert!(
        text.starts_with("the XDP program rfm_fw_ether (id "),
        "{text}"
    );
}

#[test]
fn a_device_without_ethernet_has_it_in_the_stack() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let lab = Lab::new();
    let namespace = lab.namespace("t");
    namespace.inside(|| {
        let tun = Tun::new("t0").expect("a tun device");
        namespace.ip("link set t0 up");
        let mut firewall = firewall();
        let t0 = namespace.ifindex("t0");
        let mode = firewall
            .attach(t0, FrameStart::Ip, None, None)
            .expect("attached");
        println!("tun: {}", mode.name());
        let packet = &v4().udp().payload(20).build()[14..];
        tun.inject(packet, 0x0800).expect("received");
        tun.inject(&v4().tcp(2).build()[14..], 0x0800)
            .expect("received");
        assert_eq!(dropped(&firewall), 1);
    });
}

#[test]
fn a_pinned_program_outlives_the_agent_and_is_taken_over() {
    if !can_run(&["ip", "sysctl"]) || !Path::new("/sys/fs/bpf").exists() {
        return;
    }
    let lab = Lab::new();
    let namespace = lab.namespace("p");
    lab.veth((&namespace, "v0"), (&namespace, "v1"));
    let pin = Path::new("/sys/fs/bpf").join(format!("rfm-test-{}", std::process::id()));
    namespace.inside(|| {
        let v1 = namespace.ifindex("v1");
        let sender = Sender::new("v0").expect("a packet socket");
        let frame = v4().udp().payload(20).build();
        let attach_to = |firewall: &mut XdpFirewall, is_stale| {
            let path = pin.clone();
            firewall.attach(
                v1,
                FrameStart::Ethernet,
                Some(&Pin { path, is_stale }),
                None,
            )
        };
        let attach = |firewall: &mut XdpFirewall| attach_to(firewall, true);
        let mut first = firewall();
        match attach(&mut first) {
            // no BPF file system is mounted here
            Err(AttachError::Pin { .. }) => return,
            other => assert_eq!(other.expect("attached"), Mode::Native),
        }
        drop(first);
        assert!(pin.exists());
        let mut second = firewall();
        // as far as is known, another agent uses it
        let refused = attach_to(&mut second, false);
        assert!(matches!(refused, Err(AttachError::Occupied { .. })));
        assert!(pin.exists());
        assert_eq!(attach(&mut second).expect("taken over"), Mode::Native);
        sender.send(&frame, 0).expect("sent");
        assert_eq!(dropped(&second), 1);
        second.detach(v1);
        assert!(!pin.exists());
        sender.send(&frame, 0).expect("sent");
        assert_eq!(dropped(&second), 1);
    });
}
