// SPDX-License-Identifier: AGPL-3.0-only
//! `rfm_interface_*`: rx counts are from the ingress hook, tx counts from the egress hook.

use super::declarations::{self, Metric};
use super::exposition::FamilyWriter;
use super::{Input, Interface};
use crate::bill::current_month::MonthPercentile;
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

pub(super) fn write(input: &Input, out: &mut FamilyWriter) {
    write_observed(input.interfaces, out);
    write_sampled(input.interfaces, out);
    write_device(input.interfaces, out);
    write_removals(input.interfaces, out);
    write_info(input.interfaces, out);
    write_speed(input.interfaces, out);
    write_percentiles(input.month_percentiles, out);
    write_patterns(input.pattern_matches, out);
}

fn write_observed(interfaces: &[Interface], out: &mut FamilyWriter) {
    for (metric, direction, figure) in OBSERVED {
        let mut samples = out.family(metric);
        for interface in interfaces {
            let Some(hook) = hook(interface, direction) else {
                continue;
            };
            for (family, counters) in Family::ALL.iter().zip(&hook.families) {
                samples.sample(
                    [interface.name, family.name()],
                    figure(counters.observed),
                    interface.created_ms,
                );
            }
        }
    }
}

fn write_sampled(interfaces: &[Interface], out: &mut FamilyWriter) {
    for (metric, figure) in SAMPLED {
        let mut samples = out.family(metric);
        for interface in interfaces {
            for direction in Direction::ALL {
                let Some(hook) = hook(interface, direction) else {
                    continue;
                };
                let families = hook.families.iter();
                let sampled = families.fold(Count::default(), |sum, f| sum + f.sampled);
                samples.sample(
                    [interface.name, direction.name()],
                    figure(sampled),
                    interface.created_ms,
                );
            }
        }
    }
}

/// Writes the counters of the devices, without a time of creation: the kernel does not report when
/// they were 0, and a later time would count all that the device has ever received.
fn write_device(interfaces: &[Interface], out: &mut FamilyWriter) {
    for (metric, figure) in DEVICE {
        let mut samples = out.family(metric);
        for Interface { name, link, .. } in interfaces {
            samples.sample([name], figure(link.stats), None);
        }
    }
}

fn write_removals(interfaces: &[Interface], out: &mut FamilyWriter) {
    let mut removals = out.family(&declarations::INTERFACE_HOOK_REMOVALS);
    for interface in interfaces {
        for direction in Direction::ALL {
            if hook(interface, direction).is_some() {
                removals.sample(
                    [interface.name, direction.name()],
                    interface.removals[direction as usize],
                    interface.assigned_ms,
                );
            }
        }
    }
}

fn write_info(interfaces: &[Interface], out: &mut FamilyWriter) {
    let mut info = out.family(&declarations::INTERFACE_INFO);
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
        info.gauge(labels, 1);
    }
}

fn write_speed(interfaces: &[Interface], out: &mut FamilyWriter) {
    let mut speed = out.family(&declarations::INTERFACE_SPEED);
    for Interface { name, link, .. } in interfaces {
        if let Some(bytes) = link.speed_bytes {
            speed.gauge([name], bytes);
        }
    }
}

fn write_percentiles(percentiles: &[MonthPercentile], out: &mut FamilyWriter) {
    let mut rates = out.family(&declarations::INTERFACE_P95);
    for row in percentiles {
        for direction in Direction::ALL {
            if let Some(rate) = row.bytes_per_second[direction as usize] {
                rates.gauge([&*row.interface, direction.name()], rate.round() as u64);
            }
        }
    }
}

fn write_patterns(patterns: &[(&str, u64)], out: &mut FamilyWriter) {
    let mut matches = out.family(&declarations::INTERFACE_PATTERN_MATCHES);
    for (pattern, count) in patterns {
        matches.gauge([pattern], *count);
    }
}

fn hook<'i>(interface: &'i Interface, direction: Direction) -> Option<&'i HookCounters> {
    match direction {
        Direction::Ingress => interface.ingress.as_ref(),
        Direction::Egress => interface.egress.as_ref(),
    }
}
