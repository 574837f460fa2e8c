// SPDX-License-Identifier: AGPL-3.0-only
//! The least that a lookup can take: the reads it needs, each of which depends on the one before, without
//! anything else.

use std::hint::black_box;
use std::sync::RwLock;

use super::common::machine::thread_time;
use super::table;

/// Bytes that the RIB reads of for each prefix or in all: the places of the groups, their entries, the
/// attributes of each prefix, and the sets of attributes.
const ARRAYS: [usize; 4] = [
    (1 << 16) * 8,
    table::ROUTES * 10,
    table::ROUTES * 4,
    200_000 * 8,
];

pub struct Memory(RwLock<[Vec<u32>; 4]>);

impl Memory {
    pub fn new() -> Self {
        let mut state = 1_u32;
        let mut random = || {
            // xorshift32
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state
        };
        let arrays = ARRAYS.map(|bytes| (0..bytes / 4).map(|_| random()).collect());
        Self(RwLock::new(arrays))
    }

    /// CPU nanoseconds for each of `count` addresses, two at a time. Either the next two begin when these are
    /// known, so that each read waits for the one before, or the processor begins as many as it can.
    pub fn read(&self, count: usize, one_by_one: bool) -> f64 {
        let start = thread_time();
        let mut next = 1_u32;
        for _ in 0..count / 2 {
            let Ok(arrays) = self.0.try_read() else {
                continue;
            };
            next = next.wrapping_add(0x9e37_79b9);
            let mut ends = [next, next.wrapping_mul(0x85eb_ca6b)];
            for array in arrays.iter() {
                ends = ends.map(|end| {
                    let place = (u64::from(end) * array.len() as u64) >> 32;
                    end.wrapping_mul(0xc2b2_ae35) ^ array[place as usize]
                });
            }
            if one_by_one {
                next ^= ends[0] ^ ends[1];
            }
            black_box(ends);
        }
        (thread_time() - start).as_secs_f64() * 1e9 / count as f64
    }
}
