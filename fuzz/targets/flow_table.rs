// SPDX-License-Identifier: AGPL-3.0-only
//! The flow table under records and limits of any kind: nothing that was counted is lost.

use rfm::flow::labels::SetId;
use rfm::flow::table::{CompletedRecord, FlowObserver, FlowTable, TableLimits};
use rfm::types::flow::{Direction, Family, FlowKey, FlowRecord};

use super::Input;

/// What went in, what was completed, and how many flows are open.
#[derive(Default)]
struct Sums {
    counted: u64,
    completed: u64,
    open: usize,
    generation: u32,
}

impl FlowObserver for Sums {
    fn generation(&self) -> u32 {
        self.generation
    }

    fn started(&mut self, _: &FlowRecord) -> SetId {
        self.open += 1;
        SetId(0)
    }

    fn relabelled(&mut self, set: SetId, _: &FlowRecord) -> SetId {
        set
    }

    fn updated(&mut self, _: SetId, record: &FlowRecord) {
        self.counted += record.packets;
    }

    fn exported(&mut self, _: SetId, part: &CompletedRecord) {
        self.completed += part.record.packets;
    }

    fn ended(&mut self, _: SetId) {
        self.open -= 1;
    }
}

pub fn run(input: &[u8]) {
    let mut input = Input(input);
    let mut sums = Sums::default();
    let mut table = FlowTable::new(limits(&mut input));
    let mut now = 0;
    let mut sent = 0;
    while !input.is_empty() {
        match input.u8() % 8 {
            0..4 => {
                let record = record(&mut input);
                sent += record.packets;
                table.update(&record, now, &mut sums);
            }
            4 => now += u64::from(input.u16()),
            5 => drop(table.expire(now, usize::from(input.u8()), &mut sums)),
            6 => table.set_limits(limits(&mut input)),
            _ => sums.generation = sums.generation.wrapping_add(input.u16().into()),
        }
        let live: u64 = table.parts().map(|part| part.packets).sum();
        assert_eq!((sums.counted, sums.completed + live), (sent, sent));
        assert_eq!(sums.open, table.len());
    }
    while table.end(3, &mut sums) {}
    assert_eq!((sums.completed, sums.open, table.len()), (sent, 0, 0));
}

fn limits(input: &mut Input<'_>) -> TableLimits {
    let linger = input.u16();
    TableLimits {
        max_flows: input.u8().into(),
        idle_timeout_ms: input.u16().into(),
        active_timeout_ms: input.u16().into(),
        tcp_close_delay_ms: linger.is_multiple_of(2).then_some(linger.into()),
        spread: linger.is_multiple_of(3),
    }
}

fn record(input: &mut Input<'_>) -> FlowRecord {
    let n = input.u8();
    let packets = u64::from(input.u8());
    FlowRecord {
        key: FlowKey {
            src: [n >> 1; 16],
            dst: [0; 16],
            ifindex: 1,
            src_port: 1000,
            dst_port: 53,
            vlan_outer: 0,
            vlan_inner: 0,
            protocol: if n & 1 == 0 { 6 } else { 17 },
            direction: Direction::Ingress,
            family: Family::Ipv6,
        },
        packets,
        frame_bytes: packets * 100,
        ip_bytes: packets * 86,
        first: input.u16().into(),
        last: input.u16().into(),
        sample_rate: 1 + u32::from(input.u8() % 3),
        ingress_ifindex: 0,
        src_mac: [1; 6],
        dst_mac: [2; 6],
        tcp_flags: input.u8(),
        tos: 0,
        weights: Default::default(),
    }
}
