// SPDX-License-Identifier: AGPL-3.0-only
//! A rule set in the kernel, and its counters as they grow there.

use std::collections::HashMap;
use std::io;
use std::ops::AddAssign;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicU64, Ordering};

use libbpf_rs::{MapHandle, MapType};
use memmap2::{MmapMut, MmapOptions};

use super::image::{BLOCK, CountsAt, Image, LimitAt};
use super::types;
use crate::firewall::rule::RuleId;

/// What a rule has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// All that matched and came to this rule.
    pub packets: u64,
    pub bytes: u64,
    /// Of those, what a limit dropped.
    pub dropped_packets: u64,
    pub dropped_bytes: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.packets = self.packets.wrapping_add(other.packets);
        self.bytes = self.bytes.wrapping_add(other.bytes);
        self.dropped_packets = self.dropped_packets.wrapping_add(other.dropped_packets);
        self.dropped_bytes = self.dropped_bytes.wrapping_add(other.dropped_bytes);
    }
}

/// The map, and its memory as this process sees it.
pub struct Set {
    map: MapHandle,
    memory: MmapMut,
    counts: CountsAt,
    limits: Vec<LimitAt>,
}

impl Set {
    /// Makes a map of the kind that `rfm_fw_sets` holds, and fills it.
    pub fn create(image: Image) -> io::Result<Self> {
        let options = libbpf_sys::bpf_map_create_opts {
            sz: size_of::<libbpf_sys::bpf_map_create_opts>() as libbpf_sys::size_t,
            map_flags: libbpf_sys::BPF_F_INNER_MAP | libbpf_sys::BPF_F_MMAPABLE,
            ..Default::default()
        };
        let blocks = (image.bytes.len() / BLOCK) as u32;
        let (key, value) = (size_of::<u32>() as u32, BLOCK as u32);
        let name = Some("rfm_fw_set");
        let map = MapHandle::create(MapType::Array, name, key, value, blocks, &options)
            .map_err(io::Error::other)?;
        // SAFETY: the memory is the map's own, as long as the length says, and lives until it is
        // unmapped. Programs write counters and limits, which are read as atomics alone.
        let mut memory = unsafe {
            MmapOptions::new()
                .len(image.bytes.len())
                .map_mut(map.as_fd().as_raw_fd())?
        };
        memory.copy_from_slice(&image.bytes);
        Ok(Self {
            map,
            memory,
            counts: image.counts,
            limits: image.limits,
        })
    }

    /// As a value of `rfm_fw_sets`.
    pub fn descriptor(&self) -> [u8; 4] {
        self.map.as_fd().as_raw_fd().to_ne_bytes()
    }

    pub fn ids(&self) -> &[RuleId] {
        &self.counts.ids
    }

    /// What each rule has counted in this set, in their order.
    pub fn counts(&self) -> impl Iterator<Item = (RuleId, Counts)> {
        let ids = self.counts.ids.iter().enumerate();
        ids.map(|(number, id)| (*id, self.count(number)))
    }

    fn count(&self, number: usize) -> Counts {
        const WORDS: usize = size_of::<types::rfm_fw_count>() / size_of::<u64>();
        let at = &self.counts;
        let mut sum = Counts::default();
        for share in 0..at.shares {
            let first = (at.block + share * at.share) * BLOCK / 8 + number * WORDS;
            let [packets, bytes, dropped_packets, dropped_bytes] =
                std::array::from_fn::<_, WORDS, _>(|i| {
                    self.word(first + i).load(Ordering::Relaxed)
                });
            sum += Counts {
                packets,
                bytes,
                dropped_packets,
                dropped_bytes,
            };
        }
        sum
    }

    /// What an earlier set's limits have given out stays given out.
    pub fn take_over_limits(&self, earlier: &Self) {
        let before: HashMap<_, _> = earlier
            .limits
            .iter()
            .map(|limit| ((limit.id, limit.rate), limit.block))
            .collect();
        for limit in &self.limits {
            if let Some(block) = before.get(&(limit.id, limit.rate)) {
                let state = earlier.word(block * BLOCK / 8).load(Ordering::Relaxed);
                self.word(limit.block * BLOCK / 8)
                    .store(state, Ordering::Relaxed);
            }
        }
    }

    fn word(&self, index: usize) -> &AtomicU64 {
        let word = &self.memory[index * 8..][..8];
        // SAFETY: eight bytes of memory that begins at a page, at a multiple of eight; after the set
        // was filled this process touches it by atomics only, as the programs do by whole words.
        unsafe { &*word.as_ptr().cast::<AtomicU64>() }
    }
}
