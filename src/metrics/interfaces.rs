// SPDX-License-Identifier: AGPL-3.0-only
//! `rfm_interface_*`: rx counts are from the ingress hook, tx counts from the egress hook.

use std::io;

use super::declarations::{self, Metric};
use super::text_format::TextWriter;
use super::{Input, Interface};
use crate::netlink::DeviceCounters;
use crate::types::counters::{Count, HookCounters};
use crate::types::flow::{Direction, Family};

/// A family of the observed packets or bytes: its hook, and the field of the counter.
type Observed = (&'static Metric<2>, Direction, fn(Count) -> u64);

const OBSERVED: [Observed; 4] = [
    (&declarations::INTERFACE_RX_BYTES, Direction::Ingress, |c| {
        c.bytes
    }),
    (
        &declarations::INTERFACE_RX_PACKETS,
        Direction::Ingress,
        |c| c.packets,
    ),
    (&declarations::INTERFACE_TX_BYTES, Direction::Egress, |c| {
        c.bytes
    }),
    (
        &declarations::INTERFACE_TX_PACKETS,
        Direction::Egress,
        |c| c.packets,
    ),
];

type Sampled = (&'static Metric<2>, fn(Count) -> u64);

const SAMPLED: [Sampled; 2] = [
    (&declarations::INTERFACE_SAMPLED_PACKETS, |c| c.packets),
    (&declarations::INTERFACE_SAMPLED_BYTES, |c| c.bytes),
];

type Device = (&'static Metric<1>, fn(DeviceCounters) -> u64);

const DEVICE: [Device; 4] = [
    (&declarations::INTERFACE_DEVICE_RX_BYTES, |d| d.rx_bytes),
    (&declarations::INTERFACE_DEVICE_RX_PACKETS, |d| d.rx_packets),
    (&declarations::INTERFACE_DEVICE_TX_BYTES, |d| d.tx_bytes),
    (&declarations::INTERFACE_DEVICE_TX_PACKETS, |d| d.tx_packets),
];

pub(super) fn write(input: &Input, text: &mut TextWriter) -> io::Result<()> {
    write_observed(input.interfaces, text)?;
    write_sampled(input.interfaces, text)?;
    write_device(input.interfaces, text)?;
    write_removals(input.interfaces, text)?;
    write_info(input.interfaces, text)?;
    write_patterns(input.pattern_matches, text)
}

fn write_observed(interfaces: &[Interface], text: &mut TextWriter) -> io::Result<()> {
    for (metric, direction, figure) in OBSERVED {
        let mut samples = text.family(metric);
        for interface in interfaces {
            let Some(hook) = hook(interface, direction) else {
                continue;
            };
            for (family, counters) in Family::ALL.iter().zip(&hook.families) {
                samples.sample([interface.name, family.name()], figure(counters.observed))?;
            }
        }
    }
    Ok(())
}

fn write_sampled(interfaces: &[Interface], text: &mut TextWriter) -> io::Result<()> {
    for (metric, figure) in SAMPLED {
        let mut samples = text.family(metric);
        for interface in interfaces {
            for direction in Direction::ALL {
                let Some(hook) = hook(interface, direction) else {
                    continue;
                };
                let families = hook.families.iter();
                let sampled = families.fold(Count::default(), |sum, f| sum + f.sampled);
                samples.sample([interface.name, direction.name()], figure(sampled))?;
            }
        }
    }
    Ok(())
}

fn write_device(interfaces: &[Interface], text: &mut TextWriter) -> io::Result<()> {
    for (metric, figure) in DEVICE {
        let mut samples = text.family(metric);
        for Interface { name, link, .. } in interfaces {
            samples.sample([name], figure(link.stats))?;
        }
    }
    Ok(())
}

fn write_removals(interfaces: &[Interface], text: &mut TextWriter) -> io::Result<()> {
    let mut removals = text.family(&declarations::INTERFACE_HOOK_REMOVALS);
    for interface in interfaces {
        for direction in Direction::ALL {
            if hook(interface, direction).is_some() {
                removals.sample(
                    [interface.name, direction.name()],
                    interface.removals[direction as usize],
                )?;
            }
        }
    }
    Ok(())
}

fn write_info(interfaces: &[Interface], text: &mut TextWriter) -> io::Result<()> {
    let mut info = text.family(&declarations::INTERFACE_INFO);
    for Interface {
        name,
        link,
        master,
        attach,
        role,
        ..
    } in interfaces
    {
        let labels = [
            *name,
            &link.ifindex.to_string(),
            &link.alias,
            &link.kind,
            master,
            attach,
            role.role_name(),
            &role.provider,
        ];
        info.sample(labels, 1)?;
    }
    let mut speed = text.family(&declarations::INTERFACE_SPEED);
    for Interface { name, link, .. } in interfaces {
        if let Some(bytes) = link.speed_bytes {
            speed.sample([name], bytes)?;
        }
    }
    Ok(())
}

fn write_patterns(patterns: &[(&str, u64)], text: &mut TextWriter) -> io::Result<()> {
    let mut matches = text.family(&declarations::INTERFACE_PATTERN_MATCHES);
    for (pattern, count) in patterns {
        matches.sample([pattern], *count)?;
    }
    Ok(())
}

fn hook<'i>(interface: &'i Interface, direction: Direction) -> Option<&'i HookCounters> {
    match direction {
        Direction::Ingress => interface.ingress.as_ref(),
        Direction::Egress => interface.egress.as_ref(),
    }
}
