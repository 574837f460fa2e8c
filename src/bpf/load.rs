// SPDX-License-Identifier: AGPL-3.0-only
//! Opens the BPF object, sizes its maps, loads it, and hands out what the threads need of it.

use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use libbpf_rs::{AsRawLibbpf, MapCore, MapFlags, MapHandle, MapMut, PrintLevel, ProgramMut};

use super::counters::Counters;
use super::skel::{RfmSkel, RfmSkelBuilder};
use super::types;
use crate::flow::key::Direction;

/// What must be known before the maps are made.
#[derive(Clone, Debug)]
pub struct Settings {
    pub sample_rate: u32,
    /// Wake the reader after so many records of one CPU.
    pub wakeup_batch: u32,
    /// Bytes of the ring; a power of two and a multiple of the page size.
    pub ring_bytes: u32,
    /// Interfaces that can be watched at the same time.
    pub slots: u32,
    /// Additions are atomic: needed on PREEMPT_RT, where programs may preempt each other.
    pub atomic: bool,
}

/// Why the programs could not be loaded.
#[derive(Debug)]
pub struct LoadError {
    what: &'static str,
    source: libbpf_rs::Error,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:#}", self.what, self.source)?;
        match self.source.kind() {
            libbpf_rs::ErrorKind::PermissionDenied => {
                f.write_str("; CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON are needed, or root")
            }
            _ if !Path::new("/sys/kernel/btf/vmlinux").exists() => {
                f.write_str("; this kernel has no BTF (CONFIG_DEBUG_INFO_BTF)")
            }
            _ => Ok(()),
        }
    }
}

impl std::error::Error for LoadError {}

/// The loaded programs and maps. Dropping it closes them; what is attached must be detached before.
pub struct Loaded {
    skel: RfmSkel<'static>,
    slots: u32,
}

impl Loaded {
    /// Opens, sizes and loads. Takes the verifier's time: a few milliseconds.
    pub fn load(settings: &Settings) -> Result<Self, LoadError> {
        let failed = |what| move |source| LoadError { what, source };
        libbpf_rs::set_print(Some((PrintLevel::Debug, log_libbpf)));

        // The object lives as long as the process: the agent loads once.
        let storage = Box::leak(Box::new(MaybeUninit::uninit()));
        let mut open = RfmSkelBuilder::default()
            .open(storage)
            .map_err(failed("opening the BPF object"))?;

        let sizing = failed("sizing the BPF maps");
        open.maps
            .rfm_ring
            .set_max_entries(settings.ring_bytes)
            .map_err(sizing)?;
        open.maps
            .rfm_counters
            .set_max_entries(settings.slots * Direction::ALL.len() as u32)
            .map_err(sizing)?;
        open.maps
            .rfm_slots_high
            .set_max_entries(settings.slots)
            .map_err(sizing)?;
        if let Some(rodata) = open.maps.rodata_data.as_deref_mut() {
            rodata.rfm_atomic = settings.atomic.into();
        }
        if let Some(data) = open.maps.data_rfm_config_data.as_deref_mut() {
            data.rfm_config = config_value(settings.sample_rate, settings.wakeup_batch);
        }
        let skel = open.load().map_err(failed("loading the BPF programs"))?;
        Ok(Self {
            skel,
            slots: settings.slots,
        })
    }

    /// How many interfaces can be watched.
    pub fn slots(&self) -> u32 {
        self.slots
    }

    /// The program for one direction.
    pub fn program(&self, direction: Direction) -> &ProgramMut<'static> {
        match direction {
            Direction::Ingress => &self.skel.progs.rfm_ingress,
            Direction::Egress => &self.skel.progs.rfm_egress,
        }
    }

    /// The raw libbpf program, for calls that libbpf-rs lacks.
    pub(super) fn raw_program(&self, direction: Direction) -> *mut libbpf_sys::bpf_program {
        self.program(direction).as_libbpf_object().as_ptr()
    }

    pub fn program_fd(&self, direction: Direction) -> BorrowedFd<'_> {
        self.program(direction).as_fd()
    }

    /// The ring, for thread ring.
    pub fn ring(&self) -> io::Result<MapHandle> {
        handle(&self.skel.maps.rfm_ring)
    }

    /// The counters, for whoever reads them.
    pub fn counters(&self) -> io::Result<Counters> {
        Ok(Counters::new(
            handle(&self.skel.maps.rfm_counters)?,
            handle(&self.skel.maps.rfm_parse_errors)?,
        ))
    }

    /// Behaviour that may change at run time.
    pub fn config(&self) -> io::Result<ConfigMap> {
        Ok(ConfigMap {
            map: handle(&self.skel.maps.data_rfm_config)?,
        })
    }

    /// Says which slot an interface counts into. From the next packet on it is counted, if attached.
    pub fn assign_slot(&self, ifindex: u32, slot: u32, l3_only: bool) -> io::Result<()> {
        const L3: u32 = 1 << 31;
        let value = (slot + 1) | if l3_only { L3 } else { 0 };
        self.slot_map(ifindex)
            .update(&ifindex.to_ne_bytes(), &value.to_ne_bytes(), MapFlags::ANY)
            .map_err(io::Error::other)
    }

    fn slot_map(&self, ifindex: u32) -> &dyn MapCore {
        if ifindex < self.skel.maps.rfm_slots.max_entries() {
            &self.skel.maps.rfm_slots
        } else {
            &self.skel.maps.rfm_slots_high
        }
    }
}

/// Writes `rfm_config`; the next packet obeys.
pub struct ConfigMap {
    map: MapHandle,
}

impl ConfigMap {
    pub fn set(&self, sample_rate: u32, wakeup_batch: u32) -> io::Result<()> {
        let value = config_value(sample_rate, wakeup_batch);
        // SAFETY: rfm_config is Plain: four integers, no padding.
        let bytes = unsafe { plain::as_bytes(&value) };
        self.map
            .update(&0_u32.to_ne_bytes(), bytes, MapFlags::ANY)
            .map_err(io::Error::other)
    }
}

fn config_value(sample_rate: u32, wakeup_batch: u32) -> types::rfm_config {
    types::rfm_config {
        sample_rate,
        wakeup_batch,
        ..Default::default()
    }
}

fn handle(map: &MapMut<'_>) -> io::Result<MapHandle> {
    MapHandle::try_from(map).map_err(io::Error::other)
}

/// libbpf's own words: what it calls a warning explains our error; the rest is for debugging.
fn log_libbpf(level: PrintLevel, text: String) {
    let level = match level {
        PrintLevel::Warn => log::Level::Warn,
        PrintLevel::Info | PrintLevel::Debug => log::Level::Debug,
    };
    for line in text.lines() {
        log::log!(target: "libbpf", level, "{line}");
    }
}
