// SPDX-License-Identifier: AGPL-3.0-only
//! The flows that the firewall drops, from samples: only for the collectors and the control socket, since
//! no interface observed their packets.
//!
//! The ring is read at intervals, without wakeups: a flood must not wake the agent. If the ring is full, samples
//! are dropped and counted.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::bpf::record::{self, DecodeError};
use crate::flow::export_queue::ExportSender;
use crate::flow::table::{CompletedRecord, EndReason};
use crate::types::flow::{FlowKey, FlowRecord};

/// Samples are summed over this time.
const INTERVAL: Duration = Duration::from_secs(5);
/// The most flows of one interval; further flows are only in the counters of the rule.
const MAX_FLOWS: usize = 4096;
/// The most flows of the last interval that are reported; these are the largest ones.
const MAX_REPORTED: usize = 100;

pub struct DropSamples {
    flows: HashMap<FlowKey, FlowRecord>,
    until: Instant,
}

impl DropSamples {
    pub fn new(now: Instant) -> Self {
        Self {
            flows: HashMap::new(),
            until: now + INTERVAL,
        }
    }

    /// Adds one record of the ring.
    pub fn take(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        // the slot of these records is the ifindex
        let record = record::decode(bytes, Some)?;
        self.add(record);
        Ok(())
    }

    fn add(&mut self, record: FlowRecord) {
        if let Some(flow) = self.flows.get_mut(&record.key) {
            flow.packets = flow.packets.wrapping_add(record.packets);
            flow.frame_bytes = flow.frame_bytes.wrapping_add(record.frame_bytes);
            flow.ip_bytes = flow.ip_bytes.wrapping_add(record.ip_bytes);
            flow.first = flow.first.min(record.first);
            flow.last = flow.last.max(record.last);
            flow.tcp_flags |= record.tcp_flags;
        } else if self.flows.len() < MAX_FLOWS {
            self.flows.insert(record.key, record);
        }
    }

    /// Ends the interval now.
    pub fn cut_short(&mut self, now: Instant) {
        self.until = now;
    }

    /// Ends an interval that is over: exports its flows and returns the largest.
    pub fn end_interval(
        &mut self,
        now: Instant,
        export_sender: Option<&mut ExportSender>,
    ) -> Option<Vec<FlowRecord>> {
        if now < self.until {
            return None;
        }
        self.until = now + INTERVAL;
        let mut flows: Vec<_> = self.flows.drain().map(|(_, flow)| flow).collect();
        if let Some(export_sender) = export_sender {
            for &record in &flows {
                export_sender.push(&CompletedRecord {
                    record,
                    reason: EndReason::ActiveTimeout,
                    dropped: true,
                });
            }
            export_sender.flush();
        }
        flows.sort_unstable_by_key(|flow| std::cmp::Reverse((flow.packets, flow.frame_bytes)));
        flows.truncate(MAX_REPORTED);
        Some(flows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::export_queue::DroppedRecords;
    use crate::types::flow::{Direction, Family};

    fn sample(port: u16, packets: u64) -> FlowRecord {
        FlowRecord {
            key: FlowKey {
                src: [1; 16],
                dst: [2; 16],
                ifindex: 3,
                src_port: port,
                dst_port: 53,
                vlan_outer: 0,
                vlan_inner: 0,
                protocol: 17,
                direction: Direction::Ingress,
                family: Family::Ipv6,
            },
            packets,
            frame_bytes: 100 * packets,
            ip_bytes: 86 * packets,
            first: 1000,
            last: 1000 + packets,
            sample_rate: 100,
            ingress_ifindex: 3,
            src_mac: [0; 6],
            dst_mac: [0; 6],
            tcp_flags: 0,
            tos: 0,
            weights: Default::default(),
        }
    }

    #[test]
    fn flows_are_added_up_told_and_exported_as_dropped() {
        let start = Instant::now();
        let mut drop_samples = DropSamples::new(start);
        let (mut export_sender, export_receiver) =
            ExportSender::new(vec![Direction::Ingress], Default::default());
        for (port, packets) in [(1, 1), (2, 5), (1, 2)] {
            drop_samples.add(sample(port, packets));
        }
        assert_eq!(
            drop_samples.end_interval(start, Some(&mut export_sender)),
            None
        );
        let reported = drop_samples
            .end_interval(start + INTERVAL, Some(&mut export_sender))
            .unwrap();
        let shown: Vec<_> = reported
            .iter()
            .map(|f| (f.key.src_port, f.packets, f.frame_bytes))
            .collect();
        assert_eq!(shown, [(2, 5, 500), (1, 3, 300)]);
        let parts = export_receiver.parts.try_recv().unwrap();
        assert!(parts.len() == 2 && parts.iter().all(|part| part.dropped));
        let reported = drop_samples
            .end_interval(start + 2 * INTERVAL, None)
            .unwrap();
        assert!(reported.is_empty(), "nothing since");
    }

    #[test]
    fn a_flood_of_flows_takes_no_more_room_than_there_is() {
        let start = Instant::now();
        let mut drop_samples = DropSamples::new(start);
        for port in 0..=u16::MAX {
            drop_samples.add(sample(port, 1));
        }
        assert_eq!(drop_samples.flows.len(), MAX_FLOWS);
        let losses = std::sync::Arc::new(DroppedRecords::default());
        let (mut export_sender, _inlet) =
            ExportSender::new(vec![Direction::Ingress], losses.clone());
        assert_eq!(
            drop_samples
                .end_interval(start + INTERVAL, Some(&mut export_sender))
                .unwrap()
                .len(),
            MAX_REPORTED
        );
        assert_eq!(losses.get().parts, 0);
    }
}
