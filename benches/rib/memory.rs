// SPDX-License-Identifier: AGPL-3.0-only
//! The minimum time of a lookup: only its reads, each of which depends on the previous one.

use std::hint::black_box;
use std::sync::RwLock;

use super::common::machine::thread_time;
use super::table;

/// Bytes of the arrays that the RIB reads, for each prefix or in total: the offsets of the groups, their entries,
/// the attributes of each prefix, and the sets of attributes.
const ARRAYS: [usize; 4] = [
    (1 << 16) * 8,
    table::ROUTES * 10,
    table::ROUTES * 4,
    200_000 * 8,
];

pub struct Memory(RwLock<[Vec<u32>; 4]>);

impl Memory {
    pub fn new() -> Self {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = |below: usize| {
            // xorshift64
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % below as u64) as usize
        };
        // the words are a permutation, so that no chain enters a short cycle that would stay in the caches
        let arrays = ARRAYS.map(|bytes| {
            let mut words: Vec<u32> = (0..(bytes / 4) as u32).collect();
            for i in (1..words.len()).rev() {
                words.swap(i, random(i + 1));
            }
            words
        });
        Self(RwLock::new(arrays))
    }

    /// Returns the CPU nanoseconds for each of `count` addresses, two at a time. With `one_by_one` the next two begin
    /// after these are known, so that each read waits for the previous one; otherwise the processor begins as many as
    /// it can.
    pub fn read(&self, count: usize, one_by_one: bool) -> f64 {
        // all bits or none, which the compiler does not know
        let waits = black_box(0_u32);
        let start = thread_time();
        let mut known = 0;
        for flow in 0..(count / 2) as u32 {
            let Ok(arrays) = self.0.try_read() else {
                continue;
            };
            let flow = flow.wrapping_add(known & waits);
            let mut ends = [
                flow.wrapping_mul(0x9e37_79b9),
                flow.wrapping_mul(0x85eb_ca6b),
            ];
            for array in arrays.iter() {
                let scale = u32::MAX / array.len() as u32;
                ends = ends.map(|end| {
                    let place = (u64::from(end) * array.len() as u64) >> 32;
                    array[place as usize].wrapping_mul(scale)
                });
            }
            if one_by_one {
                known = ends[0] ^ ends[1];
            }
            black_box(ends);
        }
        (thread_time() - start).as_secs_f64() * 1e9 / count as f64
    }
}
