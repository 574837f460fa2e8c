// SPDX-License-Identifier: AGPL-3.0-only
//! The firewall's kernel side: its programs, the rule set in force, and where they are attached.
//!
//! - [`image`]: rules → the bytes of a set (pure); `bounds`, `tree` and `filter` are parts of it,
//! - [`set`]: a set in the kernel, and its counters,
//! - `sources`: the buckets of limits that are for each source,
//! - [`hook`]: XDP links.
//!
//! A set is one map, written before it is put in place by one update of a map of maps, which returns when
//! no program runs with the set before: then the counters of that one are final, and are added up here.

mod bounds;
mod filter;
pub mod hook;
pub mod image;
pub mod set;
mod sources;
mod tree;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::path::Path;

use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use libbpf_rs::{MapCore, MapFlags, MapHandle, ProgramMut};

pub use hook::{AttachError, Mode};
pub use image::CompileError;
pub use set::Counts;

use super::load::{
    FrameStart, LoadError, ask_for_statistics, failed, is_preemptible, log_warnings,
};
use crate::config::Per;
use crate::firewall::rule::{Compilable, RuleId};
use hook::Hook;
use image::Cpus;
use set::Set;
use sources::Sources;

/// Written by libbpf-cargo from the BPF object: maps, programs, and the types of firewall.h.
#[allow(clippy::all, clippy::pedantic, dead_code, non_camel_case_types)]
mod skel {
    include!(concat!(env!("OUT_DIR"), "/firewall.skel.rs"));
}

use skel::{FirewallSkel, FirewallSkelBuilder, types};

// SAFETY: repr(C), integers and arrays of integers only, explicit padding: any bytes are a value.
unsafe impl plain::Plain for types::rfm_fw_head {}
// SAFETY: as above.
unsafe impl plain::Plain for types::rfm_fw_node4 {}
// SAFETY: as above.
unsafe impl plain::Plain for types::rfm_fw_node6 {}
// SAFETY: as above.
unsafe impl plain::Plain for types::rfm_fw_bound4 {}
// SAFETY: as above.
unsafe impl plain::Plain for types::rfm_fw_bound6 {}
// SAFETY: as above.
unsafe impl plain::Plain for types::rfm_fw_rule {}
// SAFETY: as above.
unsafe impl plain::Plain for types::rfm_fw_limit {}
// SAFETY: as above.
unsafe impl plain::Plain for types::rfm_fw_cpu {}

// A change in firewall.h that breaks these does not compile.
const _: () = {
    assert!(size_of::<types::rfm_fw_head>() == image::BLOCK);
    assert!(size_of::<types::rfm_fw_node4>() == image::BLOCK);
    assert!(size_of::<types::rfm_fw_node6>() == image::BLOCK);
    assert!(size_of::<types::rfm_fw_rule>() == image::BLOCK);
    assert!(size_of::<types::rfm_fw_limit>() == image::BLOCK);
    assert!(size_of::<types::rfm_fw_count>() * 4 == image::BLOCK);
    assert!(size_of::<types::rfm_fw_bound6>() * 4 == image::BLOCK);
    assert!(size_of::<types::rfm_fw_bound4>() * 8 == image::BLOCK);
};

/// What must be known before the load.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// One in so many dropped packets becomes a flow record; 0 = none.
    pub sample_rate: u32,
    /// Bytes of the ring; a power of two and a multiple of the page size.
    pub ring_bytes: u32,
    pub max_rules: u32,
}

/// Why rules are not in force. Those before are.
#[derive(Debug)]
pub enum ReplaceError {
    Rules(CompileError),
    Kernel(io::Error),
}

impl fmt::Display for ReplaceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rules(error) => write!(f, "{error}"),
            Self::Kernel(error) => write!(f, "bringing the rules into the kernel: {error}"),
        }
    }
}

impl std::error::Error for ReplaceError {}

/// What programs count beside rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Flow records that found the ring full.
    pub lost_samples: u64,
    /// Sources that a limit had no bucket for, or none any more: they began with a full one.
    pub new_sources: u64,
}

/// The loaded programs, the set in force, and the interfaces it is in force on. Dropping it detaches from
/// all, but from those that are pinned.
pub struct Firewall {
    skel: FirewallSkel<'static>,
    max_rules: u32,
    cpus: Cpus,
    hooks: HashMap<u32, Hook>,
    set: Option<Set>,
    sources: Sources,
    /// What was counted in sets that are gone, of rules that are in the one in force.
    before: HashMap<RuleId, Counts>,
}

impl Firewall {
    pub fn load(settings: &Settings) -> Result<Self, LoadError> {
        Self::try_load(settings).inspect_err(|_| log_warnings())
    }

    fn try_load(settings: &Settings) -> Result<Self, LoadError> {
        // the object lives as long as the process: the agent loads once
        let storage = Box::leak(Box::new(MaybeUninit::uninit()));
        let mut open = FirewallSkelBuilder::default()
            .open(storage)
            .map_err(failed("opening the BPF object of the firewall"))?;
        let ring = &mut open.maps.rfm_fw_ring;
        ring.set_max_entries(settings.ring_bytes)
            .map_err(failed("sizing the ring of the firewall"))?;
        if let Some(rodata) = open.maps.rodata_data.as_deref_mut() {
            rodata.rfm_fw_sample_rate = settings.sample_rate;
        }
        ask_for_statistics(open.open_object_mut().progs_mut());
        let skel = open.load().map_err(failed(
            "loading the BPF programs of the firewall, for which Linux 5.18 is needed",
        ))?;
        let possible =
            libbpf_rs::num_possible_cpus().map_err(failed("counting the possible CPUs"))?;
        Ok(Self {
            skel,
            max_rules: settings.max_rules,
            cpus: Cpus {
                possible: possible as u32,
                preemptible: is_preemptible(),
            },
            hooks: HashMap::new(),
            set: None,
            sources: Sources::default(),
            before: HashMap::new(),
        })
    }

    /// These and no others from now on, in one step: when it returns, no packet meets the rules before. An
    /// error changes nothing. What was counted under numbers that stay is kept.
    pub fn replace(&mut self, rules: &[Compilable]) -> Result<(), ReplaceError> {
        let image =
            image::compile(rules, self.max_rules, self.cpus).map_err(ReplaceError::Rules)?;
        let set = Set::create(image).map_err(ReplaceError::Kernel)?;
        if let Some(earlier) = &self.set {
            set.take_over_limits(earlier);
        }
        let per_source = rules.iter().any(|rule| rule.per == Per::Source);
        if per_source {
            let tables = &self.skel.maps.rfm_fw_sources;
            self.sources.make(tables).map_err(ReplaceError::Kernel)?;
        }
        // the kernel waits here until every program that runs has ended (maybe_wait_bpf_programs)
        let sets = &self.skel.maps.rfm_fw_sets;
        sets.update(&0_u32.to_ne_bytes(), &set.descriptor(), MapFlags::ANY)
            .map_err(|error| ReplaceError::Kernel(io::Error::other(error)))?;
        if let Some(earlier) = self.set.replace(set) {
            self.keep_counts(&earlier, rules);
        }
        if !per_source {
            self.sources.remove(&self.skel.maps.rfm_fw_sources);
        }
        Ok(())
    }

    fn keep_counts(&mut self, earlier: &Set, rules: &[Compilable]) {
        for (id, counts) in earlier.counts() {
            if counts != Counts::default() {
                *self.before.entry(id).or_default() += counts;
            }
        }
        if !self.before.is_empty() {
            let stay: HashSet<RuleId> = rules.iter().map(|rule| rule.id).collect();
            self.before.retain(|id, _| stay.contains(id));
        }
    }

    /// Brings the program onto an interface; twice is once.
    pub fn attach(
        &mut self,
        ifindex: u32,
        start: FrameStart,
        pin: Option<&Path>,
    ) -> Result<Mode, AttachError> {
        if let Some(hook) = self.hooks.get(&ifindex)
            && hook.is_at(ifindex)
        {
            return Ok(hook.mode);
        }
        self.detach(ifindex);
        let hook = Hook::attach(self.program(start).as_fd(), ifindex, pin)?;
        let mode = hook.mode;
        self.hooks.insert(ifindex, hook);
        Ok(mode)
    }

    pub fn detach(&mut self, ifindex: u32) {
        if let Some(hook) = self.hooks.remove(&ifindex) {
            hook.detach();
        }
    }

    /// What the rules in force have counted, in their order.
    pub fn counts(&self) -> io::Result<Vec<(RuleId, Counts)>> {
        let Some(set) = &self.set else {
            return Ok(Vec::new());
        };
        let with_before = set.counts().map(|(id, mut counts)| {
            counts += self.before.get(&id).copied().unwrap_or_default();
            (id, counts)
        });
        Ok(with_before.collect())
    }

    /// Flow records of dropped packets, as the monitor's, but with the ifindex for a slot.
    pub fn ring(&self) -> io::Result<MapHandle> {
        MapHandle::try_from(&self.skel.maps.rfm_fw_ring).map_err(io::Error::other)
    }

    pub fn tally(&self) -> io::Result<Tally> {
        let values = self
            .skel
            .maps
            .rfm_fw_cpus
            .lookup_percpu(&0_u32.to_ne_bytes(), MapFlags::ANY)
            .map_err(io::Error::other)?
            .unwrap_or_default();
        let mut tally = Tally::default();
        for value in values {
            let mut cpu = types::rfm_fw_cpu::default();
            // a value that is too short has counted nothing
            let _ = plain::copy_from_bytes(&mut cpu, &value);
            tally.lost_samples += cpu.lost;
            tally.new_sources += cpu.new_sources;
        }
        Ok(tally)
    }

    /// The program for interfaces whose frames begin so.
    pub fn program(&self, start: FrameStart) -> &ProgramMut<'static> {
        let programs = &self.skel.progs;
        match start {
            FrameStart::Ethernet => &programs.rfm_fw_ether,
            FrameStart::Ip => &programs.rfm_fw_ip,
            FrameStart::Gre => &programs.rfm_fw_gre,
        }
    }
}
