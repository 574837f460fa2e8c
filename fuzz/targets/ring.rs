// SPDX-License-Identifier: AGPL-3.0-only
//! Records from the ring buffer.

use rfm::bpf::record;

pub fn run(input: &[u8]) {
    let ifindex_of = |slot| (slot < 4).then(|| slot + 1);
    match record::decode(input, ifindex_of) {
        Ok(record) => {
            assert!((1..=4).contains(&record.key.ifindex) && record.sample_rate > 0);
            let _ = (record.key.source(), record.key.destination());
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
