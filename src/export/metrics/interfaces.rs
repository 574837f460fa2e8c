// SPDX-License-Identifier: AGPL-3.0-only
//! `rfm_interface_*`: rx is what the ingress hook counted, tx the egress hook.

use std::io;

use super::{Input, Interface};
use crate::bpf::counters::{Count, HookCounters};
use crate::export::text::{Kind, TextWriter};
use crate::links::DeviceCounters;
use crate::types::flow::{Direction, Family};

/// A family of what crossed: name, help, hook, and which of the two figures.
type Crossed = (&'static str, &'static str, Direction, fn(Count) -> u64);

const CROSSED: [Crossed; 4] = [
    (
        "rfm_interface_rx_bytes_total",
        "Bytes received, counted at the ingress hook: L2 frames without FCS, VLAN tags included, super-packets as the segments they stand for.",
        Direction::Ingress,
        |c| c.bytes,
    ),
    (
        "rfm_interface_rx_packets_total",
        "Packets received, counted at the ingress hook, super-packets as the segments they stand for.",
        Direction::Ingress,
        |c| c.packets,
    ),
    (
        "rfm_interface_tx_bytes_total",
        "Bytes handed to the queueing discipline, counted at the egress hook: L2 frames without FCS, VLAN tags included, super-packets as the segments they stand for. What the queue or driver drops later is included.",
        Direction::Egress,
        |c| c.bytes,
    ),
    (
        "rfm_interface_tx_packets_total",
        "Packets handed to the queueing discipline, counted at the egress hook, super-packets as the segments they stand for. What the queue or driver drops later is included.",
        Direction::Egress,
        |c| c.packets,
    ),
];

type Sampled = (&'static str, &'static str, fn(Count) -> u64);

const SAMPLED: [Sampled; 2] = [
    (
        "rfm_interface_sampled_packets_total",
        "Packets that the sampler took, not scaled by the sample rate: each is accounted in a flow or counted as dropped.",
        |c| c.packets,
    ),
    (
        "rfm_interface_sampled_bytes_total",
        "Bytes of the packets that the sampler took, not scaled by the sample rate: L2 frames without FCS.",
        |c| c.bytes,
    ),
];

type Device = (&'static str, &'static str, fn(DeviceCounters) -> u64);

const DEVICE: [Device; 4] = [
    (
        "rfm_interface_device_rx_bytes_total",
        "Bytes received, as the device's own counter has it; to compare with rfm_interface_rx_bytes_total.",
        |d| d.rx_bytes,
    ),
    (
        "rfm_interface_device_rx_packets_total",
        "Packets received, as the device's own counter has it; to compare with rfm_interface_rx_packets_total.",
        |d| d.rx_packets,
    ),
    (
        "rfm_interface_device_tx_bytes_total",
        "Bytes sent, as the device's own counter has it; to compare with rfm_interface_tx_bytes_total.",
        |d| d.tx_bytes,
    ),
    (
        "rfm_interface_device_tx_packets_total",
        "Packets sent, as the device's own counter has it; to compare with rfm_interface_tx_packets_total.",
        |d| d.tx_packets,
    ),
];

pub(super) fn write(input: &Input, text: &mut TextWriter) -> io::Result<()> {
    write_crossed(input.interfaces, text)?;
    write_sampled(input.interfaces, text)?;
    write_device(input.interfaces, text)?;
    write_removals(input.interfaces, text)?;
    write_info(input.interfaces, text)?;
    write_patterns(input.pattern_matches, text)
}

fn write_crossed(interfaces: &[Interface], text: &mut TextWriter) -> io::Result<()> {
    for (name, help, direction, figure) in CROSSED {
        let mut samples = text.family(name, Kind::Counter, help);
        for interface in interfaces {
            let Some(hook) = hook(interface, direction) else {
                continue;
            };
            for (family, counters) in Family::ALL.iter().zip(&hook.families) {
                samples.sample(
                    &[("ifname", interface.name), ("family", family.name())],
                    figure(counters.crossed),
                )?;
            }
        }
    }
    Ok(())
}

fn write_sampled(interfaces: &[Interface], text: &mut TextWriter) -> io::Result<()> {
    for (name, help, figure) in SAMPLED {
        let mut samples = text.family(name, Kind::Counter, help);
        for interface in interfaces {
            for direction in Direction::ALL {
                let Some(hook) = hook(interface, direction) else {
                    continue;
                };
                let families = hook.families.iter();
                let taken = families.fold(Count::default(), |sum, f| sum + f.taken);
                samples.sample(
                    &[("ifname", interface.name), ("direction", direction.name())],
                    figure(taken),
                )?;
            }
        }
    }
    Ok(())
}

fn write_device(interfaces: &[Interface], text: &mut TextWriter) -> io::Result<()> {
    for (name, help, figure) in DEVICE {
        let mut samples = text.family(name, Kind::Counter, help);
        for Interface { name, link, .. } in interfaces {
            samples.sample(&[("ifname", name)], figure(link.stats))?;
        }
    }
    Ok(())
}

fn write_removals(interfaces: &[Interface], text: &mut TextWriter) -> io::Result<()> {
    let mut removals = text.family(
        "rfm_interface_hook_removals_total",
        Kind::Counter,
        "Times that another program removed the hook of rfm, which was then attached again. Packets in between are not counted.",
    );
    for interface in interfaces {
        for direction in Direction::ALL {
            if hook(interface, direction).is_some() {
                removals.sample(
                    &[("ifname", interface.name), ("direction", direction.name())],
                    interface.removals[direction as usize],
                )?;
            }
        }
    }
    Ok(())
}

fn write_info(interfaces: &[Interface], text: &mut TextWriter) -> io::Result<()> {
    let mut info = text.family(
        "rfm_interface_info",
        Kind::Gauge,
        "Always 1. kind is the driver's family as the kernel names it, master the bridge, bond or VRF that the interface belongs to, attach the hook that counts it.",
    );
    for Interface {
        name,
        link,
        master,
        attach,
        ..
    } in interfaces
    {
        let labels = [
            ("ifname", *name),
            ("ifindex", &link.ifindex.to_string()),
            ("ifalias", &link.alias),
            ("kind", &link.kind),
            ("master", master),
            ("attach", attach),
        ];
        info.sample(&labels, 1)?;
    }
    let mut speed = text.family(
        "rfm_interface_speed_bytes",
        Kind::Gauge,
        "Link speed in bytes per second; absent where the driver does not know it.",
    );
    for Interface { name, link, .. } in interfaces {
        if let Some(bytes) = link.speed_bytes {
            speed.sample(&[("ifname", name)], bytes)?;
        }
    }
    Ok(())
}

fn write_patterns(patterns: &[(&str, u64)], text: &mut TextWriter) -> io::Result<()> {
    let mut matches = text.family(
        "rfm_interface_pattern_matches",
        Kind::Gauge,
        "Interfaces that match this pattern of the configuration; 0 may be a misspelt name.",
    );
    for (pattern, count) in patterns {
        matches.sample(&[("pattern", pattern)], *count)?;
    }
    Ok(())
}

fn hook<'i>(interface: &'i Interface, direction: Direction) -> Option<&'i HookCounters> {
    match direction {
        Direction::Ingress => interface.ingress.as_ref(),
        Direction::Egress => interface.egress.as_ref(),
    }
}
