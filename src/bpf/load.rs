// SPDX-License-Identifier: AGPL-3.0-only
//! Opens the BPF object, sizes its maps, loads it, and hands out what the threads need of it.

use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use libbpf_rs::{
    AsRawLibbpf, MapCore, MapFlags, MapHandle, MapMut, OpenProgramMut, PrintLevel, ProgramInput,
    ProgramMut,
};

use super::cache::{self, FlowCache};
use super::counters::Counters;
use super::skel::{OpenRfmSkel, RfmSkel, RfmSkelBuilder};
use super::types;
use crate::flow::key::Direction;

/// Flags in a value of `rfm_slots`: RFM_SLOT_L3 and RFM_SLOT_GRE of rfm.h.
const SLOT_L3: u32 = 1 << 31;
const SLOT_GRE: u32 = 1 << 30;

/// `BPF_PROG_TEST_RUN` of a TC program takes no less than an Ethernet header.
const PROBE_FRAME: [u8; 14] = [0; 14];

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
    /// Records per CPU, a power of two (see [`super::cache::fit`]); 0 = one record per taken packet.
    pub flow_cache: u32,
    /// PREEMPT_RT: programs may preempt each other. Additions are atomic, and there is no flow cache.
    pub preemptible: bool,
    /// False under lockdown=confidentiality, where programs that read kernel memory do not load.
    pub read_kernel: bool,
}

/// What a device's frames begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameStart {
    Ethernet,
    Ip,
    /// IP, but what comes in carries its outer headers in front.
    Gre,
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

/// Whether this is a PREEMPT_RT kernel, where BPF programs may preempt each other.
pub fn is_preemptible() -> bool {
    std::fs::read_to_string("/sys/kernel/realtime").is_ok_and(|text| text.trim() == "1")
}

/// Turns an error of libbpf into ours.
pub(super) fn failed(what: &'static str) -> impl Fn(libbpf_rs::Error) -> LoadError + Copy {
    move |source| LoadError { what, source }
}

/// The loaded programs and maps. Dropping it closes them; what is attached must be detached before.
pub struct Loaded {
    skel: RfmSkel<'static>,
    slots: u32,
    cached: bool,
}

impl Loaded {
    /// Loads the best pair of programs that this kernel takes: with the flow cache, else without.
    pub fn load(settings: &Settings) -> Result<Self, LoadError> {
        libbpf_rs::set_print(Some((PrintLevel::Debug, log_libbpf)));
        if settings.flow_cache > 0 && !settings.preemptible {
            match Self::load_pair(settings, true).and_then(Self::probed) {
                Ok(loaded) => return Ok(loaded),
                Err(error) => log::warn!(
                    "no flow cache on this kernel, one event per taken packet instead: {error}"
                ),
            }
        }
        Self::load_pair(settings, false).inspect_err(|_| log_warnings())
    }

    fn load_pair(settings: &Settings, cached: bool) -> Result<Self, LoadError> {
        // the object lives as long as the process: the agent loads once
        let storage = Box::leak(Box::new(MaybeUninit::uninit()));
        let mut open = RfmSkelBuilder::default()
            .open(storage)
            .map_err(failed("opening the BPF object"))?;
        size_maps(&mut open, settings, cached).map_err(failed("sizing the BPF maps"))?;
        choose_programs(&mut open, cached);
        ask_for_statistics(open.open_object_mut().progs_mut());
        set_globals(&mut open, settings)?;
        let skel = open.load().map_err(failed("loading the BPF programs"))?;
        Ok(Self {
            skel,
            slots: settings.slots,
            cached,
        })
    }

    /// Timers that stay on their CPU came with 6.7, and only starting one tells.
    fn probed(self) -> Result<Self, LoadError> {
        const WHAT: &str = "starting a BPF timer pinned to its CPU";
        let input = ProgramInput {
            data_in: Some(&PROBE_FRAME),
            ..Default::default()
        };
        let output = self
            .skel
            .progs
            .rfm_probe_timer
            .test_run(input)
            .map_err(failed(WHAT))?;
        match output.return_value as i32 {
            0 => Ok(self),
            errno => Err(failed(WHAT)(libbpf_rs::Error::from_raw_os_error(-errno))),
        }
    }

    /// How many interfaces can be watched.
    pub fn slots(&self) -> u32 {
        self.slots
    }

    /// The program for one direction.
    pub fn program(&self, direction: Direction) -> &ProgramMut<'static> {
        let programs = &self.skel.progs;
        match (direction, self.cached) {
            (Direction::Ingress, true) => &programs.rfm_ingress,
            (Direction::Egress, true) => &programs.rfm_egress,
            (Direction::Ingress, false) => &programs.rfm_ingress_ev,
            (Direction::Egress, false) => &programs.rfm_egress_ev,
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

    /// Where thread ring says that it needs no wakeups.
    pub fn reader(&self) -> io::Result<ReaderMap> {
        Ok(ReaderMap {
            map: handle(&self.skel.maps.data_rfm_reader)?,
        })
    }

    /// The counters, for whoever reads them.
    pub fn counters(&self) -> io::Result<Counters> {
        Ok(Counters::new(
            handle(&self.skel.maps.rfm_counters)?,
            handle(&self.skel.maps.rfm_parse_errors)?,
        ))
    }

    /// The flow cache, if this kernel has one.
    pub fn flow_cache(&self) -> io::Result<Option<FlowCache>> {
        if !self.cached {
            return Ok(None);
        }
        Ok(Some(FlowCache::new(
            handle(&self.skel.maps.rfm_cache)?,
            handle(&self.skel.maps.rfm_cpus)?,
        )))
    }

    /// Behaviour that may change at run time.
    pub fn config(&self) -> io::Result<ConfigMap> {
        Ok(ConfigMap {
            map: handle(&self.skel.maps.data_rfm_config)?,
        })
    }

    /// Says which slot an interface counts into. From the next packet on it is counted, if attached.
    pub fn assign_slot(&self, ifindex: u32, slot: u32, start: FrameStart) -> io::Result<()> {
        let flags = match start {
            FrameStart::Ethernet => 0,
            FrameStart::Ip => SLOT_L3,
            FrameStart::Gre => SLOT_L3 | SLOT_GRE,
        };
        let value = (slot + 1) | flags;
        self.slot_map(ifindex)
            .update(&ifindex.to_ne_bytes(), &value.to_ne_bytes(), MapFlags::ANY)
            .map_err(io::Error::other)
    }

    /// From the next packet on an interface is not counted, wherever it is attached.
    pub fn clear_slot(&self, ifindex: u32) -> io::Result<()> {
        let (map, key) = (self.slot_map(ifindex), ifindex.to_ne_bytes());
        if ifindex < self.skel.maps.rfm_slots.max_entries() {
            return map
                .update(&key, &[0; 4], MapFlags::ANY)
                .map_err(io::Error::other);
        }
        match map.delete(&key) {
            Err(error) if error.kind() != libbpf_rs::ErrorKind::NotFound => {
                Err(io::Error::other(error))
            }
            _ => Ok(()),
        }
    }

    fn slot_map(&self, ifindex: u32) -> &MapMut<'static> {
        if ifindex < self.skel.maps.rfm_slots.max_entries() {
            &self.skel.maps.rfm_slots
        } else {
            &self.skel.maps.rfm_slots_high
        }
    }
}

fn size_maps(
    open: &mut OpenRfmSkel<'_>,
    settings: &Settings,
    cached: bool,
) -> libbpf_rs::Result<()> {
    let cpus = libbpf_rs::num_possible_cpus()? as u32;
    let maps = &mut open.maps;
    maps.rfm_ring.set_max_entries(settings.ring_bytes)?;
    maps.rfm_counters
        .set_max_entries(settings.slots * Direction::ALL.len() as u32)?;
    maps.rfm_slots_high.set_max_entries(settings.slots)?;
    maps.rfm_cache
        .set_max_entries(cache::sets(settings.flow_cache).max(1) * cpus)?;
    maps.rfm_sweeps.set_max_entries(cpus)?;
    // old kernels know no timers, not even in the type of a map
    maps.rfm_cache.set_autocreate(cached)?;
    maps.rfm_sweeps.set_autocreate(cached)?;
    Ok(())
}

fn choose_programs(open: &mut OpenRfmSkel<'_>, cached: bool) {
    let programs = &mut open.progs;
    programs.rfm_ingress.set_autoload(cached);
    programs.rfm_egress.set_autoload(cached);
    programs.rfm_probe_timer.set_autoload(cached);
    programs.rfm_ingress_ev.set_autoload(!cached);
    programs.rfm_egress_ev.set_autoload(!cached);
}

/// With `RFM_LOG=libbpf=trace` the log tells how many instructions of each program the verifier walked. Not with debug:
/// where a program is refused, libbpf asks for the reason only if nothing else was asked for.
pub(super) fn ask_for_statistics<'a>(programs: impl Iterator<Item = OpenProgramMut<'a>>) {
    /// BPF_LOG_STATS of the kernel's bpf_verifier.h.
    const STATISTICS: u32 = 4;
    if log::log_enabled!(target: "libbpf", log::Level::Trace) {
        for mut program in programs {
            program.set_log_level(STATISTICS);
        }
    }
}

fn set_globals(open: &mut OpenRfmSkel<'_>, settings: &Settings) -> Result<(), LoadError> {
    if let Some(rodata) = open.maps.rodata_data.as_deref_mut() {
        rodata.rfm_atomic = settings.preemptible.into();
        rodata.rfm_read_kernel = settings.read_kernel.into();
        let sets = cache::sets(settings.flow_cache);
        rodata.rfm_cache_sets = sets;
        rodata.rfm_set_shift = u64::BITS - sets.max(1).ilog2();
        for key in &mut rodata.rfm_hash_keys {
            *key = 1 | random_word().map_err(failed("drawing the keys of the flow hash"))?;
        }
    }
    if let Some(data) = open.maps.data_rfm_config_data.as_deref_mut() {
        data.rfm_config = config_value(settings.sample_rate, settings.wakeup_batch, false);
    }
    Ok(())
}

fn random_word() -> libbpf_rs::Result<u64> {
    let mut bytes = [0; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(|errno| libbpf_rs::Error::from_raw_os_error(errno.raw_os_error()))?;
    Ok(u64::from_ne_bytes(bytes))
}

/// Writes `rfm_config`; the next packet obeys.
pub struct ConfigMap {
    map: MapHandle,
}

impl ConfigMap {
    pub fn set(&self, sample_rate: u32, wakeup_batch: u32) -> io::Result<()> {
        self.write(&config_value(sample_rate, wakeup_batch, false))
    }

    /// Makes the timers of the flow cache sweep all and end.
    pub fn set_stopping(&self) -> io::Result<()> {
        self.write(&config_value(0, 1, true))
    }

    fn write(&self, value: &types::rfm_config) -> io::Result<()> {
        // SAFETY: rfm_config is Plain: four integers, no padding.
        let bytes = unsafe { plain::as_bytes(value) };
        self.map
            .update(&0_u32.to_ne_bytes(), bytes, MapFlags::ANY)
            .map_err(io::Error::other)
    }
}

/// Writes `rfm_reader`.
pub struct ReaderMap {
    map: MapHandle,
}

impl ReaderMap {
    pub fn set_polling(&self, polling: bool) -> io::Result<()> {
        let value = types::rfm_reader {
            polling: polling.into(),
            pad: 0,
        };
        // SAFETY: rfm_reader is Plain: two integers, no padding.
        let bytes = unsafe { plain::as_bytes(&value) };
        self.map
            .update(&0_u32.to_ne_bytes(), bytes, MapFlags::ANY)
            .map_err(io::Error::other)
    }
}

fn config_value(sample_rate: u32, wakeup_batch: u32, stopping: bool) -> types::rfm_config {
    types::rfm_config {
        sample_rate,
        flags: 0,
        wakeup_batch,
        stopping: stopping.into(),
    }
}

fn handle(map: &MapMut<'_>) -> io::Result<MapHandle> {
    MapHandle::try_from(map).map_err(io::Error::other)
}

/// What libbpf warned of last. It explains an error of ours, but it also warns of what we then do
/// without, so that it is kept until an error is final.
static WARNINGS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Of a verifier's log, the end tells why.
const MAX_WARNINGS: usize = 40;

fn log_libbpf(level: PrintLevel, text: String) {
    for line in text.lines() {
        log::debug!(target: "libbpf", "{line}");
        if matches!(level, PrintLevel::Warn) {
            let mut kept = WARNINGS.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.len() == MAX_WARNINGS {
                kept.remove(0);
            }
            kept.push(line.to_owned());
        }
    }
}

pub(super) fn log_warnings() {
    let mut kept = WARNINGS.lock().unwrap_or_else(PoisonError::into_inner);
    for line in kept.drain(..) {
        log::error!("{line}");
    }
}
