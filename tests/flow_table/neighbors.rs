// SPDX-License-Identifier: AGPL-3.0-only
//! A flow whose packets another neighbor hands over from some record on.

use super::*;

/// Uses the last byte of the neighbor's MAC address as the set.
#[derive(Default)]
struct ByNeighbor {
    follows: bool,
    packets: BTreeMap<u32, u64>,
    parts: Vec<(u8, u64, EndReason)>,
}

impl FlowObserver for ByNeighbor {
    fn generation(&self) -> u32 {
        0
    }
    fn follows_neighbors(&self) -> bool {
        self.follows
    }
    fn started(&mut self, record: &FlowRecord) -> SetId {
        SetId(record.neighbor_mac().0[5].into())
    }
    fn relabelled(&mut self, _: SetId, part: &FlowRecord) -> SetId {
        assert_eq!(
            part.packets, 0,
            "the part of the other neighbor is complete"
        );
        self.started(part)
    }
    fn updated(&mut self, SetId(set): SetId, record: &FlowRecord) {
        *self.packets.entry(set).or_default() += record.packets;
    }
    fn exported(&mut self, _: SetId, part: &CompletedRecord) {
        let mac = part.record.neighbor_mac().0[5];
        self.parts.push((mac, part.record.packets, part.reason));
    }
    fn ended(&mut self, _: SetId) {}
}

fn run(follows: bool) -> ByNeighbor {
    let mut observer = ByNeighbor {
        follows,
        ..ByNeighbor::default()
    };
    let mut table = FlowTable::new(LIMITS);
    for (mac, packets) in [(1, 1), (1, 2), (7, 4), (7, 8), (1, 16)] {
        let mut record = record(1, packets, 1);
        record.src_mac[5] = mac;
        table.update(&record, 0, &mut observer);
    }
    while table.end(10, &mut observer) {}
    observer
}

#[test]
fn each_neighbor_has_its_packets_and_its_partial_records() {
    let observer = run(true);
    assert_eq!(observer.packets, BTreeMap::from([(1, 19), (7, 12)]));
    let forced = EndReason::ForcedEnd;
    assert_eq!(
        observer.parts,
        [(1, 3, forced), (7, 12, forced), (1, 16, forced)]
    );
}

#[test]
fn without_the_label_a_flow_is_not_split() {
    let observer = run(false);
    assert_eq!(observer.packets, BTreeMap::from([(1, 31)]));
    assert_eq!(observer.parts, [(1, 31, EndReason::ForcedEnd)]);
}
