// SPDX-License-Identifier: AGPL-3.0-only
//! The programs that capture the packets of attacks. They trace the programs of the firewall and of the monitor, and
//! are attached only while packets are captured.

mod traced;

use std::io;
use std::net::IpAddr;

use libbpf_rs::{Link, Map, MapCore, MapFlags, Object, ObjectBuilder, RingBufferBuilder};

pub use traced::TracedProgram;

use super::constants::{RFM_CAPTURE_BYTES, RFM_CAPTURE_FILTERS, RFM_IPV4, RFM_IPV6};
use super::load::{capture_libbpf_log, log_warnings};
use super::load_error::{LoadError, load_error};
use crate::types::prefix::Prefix;

/// Written by libbpf-cargo from the BPF object.
#[allow(clippy::all, clippy::pedantic, dead_code, non_camel_case_types)]
mod skel {
    include!(concat!(env!("OUT_DIR"), "/capture.skel.rs"));
}

use skel::types;

// SAFETY: repr(C), integers and arrays of integers only, explicit padding: any bytes are a value.
unsafe impl plain::Plain for types::rfm_capture_filter {}
// SAFETY: as above.
unsafe impl plain::Plain for types::rfm_capture_packet {}

/// Attacks whose packets are captured at once.
pub const FILTERS: usize = RFM_CAPTURE_FILTERS as usize;
/// Bytes of a packet.
pub const SNAP_LENGTH: u32 = RFM_CAPTURE_BYTES;

/// The packets of one attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketFilter {
    pub prefix: Prefix,
    /// Whether the prefix is that of the sources.
    pub by_source: bool,
    /// `None` = all.
    pub protocol: Option<u8>,
    pub packets: u64,
}

/// A packet of an attack.
#[derive(Debug)]
pub struct CapturedPacket<'a> {
    pub filter: usize,
    /// The boot clock.
    pub time: u64,
    pub ifindex: u32,
    pub frame_bytes: u32,
    /// Whether the frame begins with its IP header.
    pub is_ip: bool,
    pub is_dropped: bool,
    pub data: &'a [u8],
}

/// The object for kernels that describe their types; others cannot trace programs.
const OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/typed/capture.o"));
const INGRESS: &str = "rfm_ingress";

/// The programs of one time in which packets are captured: the kernel attaches a program that traces another only once.
struct AttachedCapture {
    object: Object,
    // attaches the programs as long as it lives
    _links: Vec<Link>,
}

/// Captures packets; dropping it detaches the programs.
pub struct PacketCapture {
    /// Keeps the descriptors that libbpf's handlers have.
    traced: Vec<TracedProgram>,
    attached: Option<AttachedCapture>,
}

impl PacketCapture {
    /// Prepares the programs for the ingress program of the monitor and those of the firewall, if it is enabled. Checks
    /// that the kernel accepts them.
    pub fn new(ingress: TracedProgram, firewall: Vec<TracedProgram>) -> Result<Self, LoadError> {
        let action = load_error("finding the BPF programs to trace");
        ingress.trace_from(INGRESS, false).map_err(action)?;
        for program in &firewall {
            let section = program.name.to_string_lossy();
            program.trace_from(&section, true).map_err(action)?;
        }
        let mut traced = firewall;
        traced.push(ingress);
        let capture = Self {
            traced,
            attached: None,
        };
        capture_libbpf_log();
        capture.load().inspect_err(|_| log_warnings())?;
        Ok(capture)
    }

    fn load(&self) -> Result<Object, LoadError> {
        let mut builder = ObjectBuilder::default();
        let mut open = builder
            .open_memory(OBJECT)
            .map_err(load_error("opening the BPF object that captures packets"))?;
        let has_firewall = self.traced.len() > 1;
        for mut program in open.progs_mut() {
            let is_ingress = program.section() == INGRESS;
            program.set_autoload(is_ingress || has_firewall);
        }
        open.load()
            .map_err(load_error("loading the BPF programs that capture packets"))
    }

    /// Captures the packets of an attack from now on; attaches the programs, unless they are.
    pub fn start(&mut self, number: usize, filter: &PacketFilter) -> io::Result<()> {
        if let Some(attached) = &self.attached {
            return attached.write(number, &encode(filter));
        }
        let mut attached = AttachedCapture {
            object: self.load().map_err(io::Error::other)?,
            _links: Vec::new(),
        };
        attached.write(number, &encode(filter))?;
        let has_firewall = self.traced.len() > 1;
        let programs = attached.object.progs_mut();
        let loaded = programs.filter(|program| has_firewall || program.section() == INGRESS);
        let links: Result<_, _> = loaded.map(|program| program.attach_trace()).collect();
        attached._links = links.map_err(io::Error::other)?;
        self.attached = Some(attached);
        Ok(())
    }

    pub fn detach(&mut self) {
        self.attached = None;
    }

    /// Ends the capture of a filter; returns the packets that found no room in the ring.
    pub fn clear_filter(&self, number: usize) -> io::Result<u64> {
        let Some(attached) = &self.attached else {
            return Ok(0);
        };
        let key = (number as u32).to_ne_bytes();
        let map = attached.map("rfm_capture_filters")?;
        let value = map.lookup(&key, MapFlags::ANY).map_err(io::Error::other)?;
        let mut filter = types::rfm_capture_filter::default();
        // a value that is too short has lost nothing
        let _ = plain::copy_from_bytes(&mut filter, &value.unwrap_or_default());
        attached.write(number, &types::rfm_capture_filter::default())?;
        Ok(filter.lost)
    }

    /// Reads all packets that wait in the ring.
    pub fn read(&self, take: &mut dyn FnMut(&CapturedPacket<'_>)) -> io::Result<()> {
        let Some(attached) = &self.attached else {
            return Ok(());
        };
        let ring = attached.map("rfm_capture_ring")?;
        let mut builder = RingBufferBuilder::new();
        builder
            .add(&ring, |bytes| {
                let mut packet = types::rfm_capture_packet::default();
                if plain::copy_from_bytes(&mut packet, bytes).is_ok() {
                    let length = usize::from(packet.captured_bytes).min(packet.data.len());
                    take(&CapturedPacket {
                        filter: packet.filter.into(),
                        time: packet.time,
                        ifindex: packet.ifindex,
                        frame_bytes: packet.frame_bytes,
                        is_ip: packet.is_ip != 0,
                        is_dropped: packet.is_dropped != 0,
                        data: &packet.data[..length],
                    });
                }
                0
            })
            .map_err(io::Error::other)?;
        let ring = builder.build().map_err(io::Error::other)?;
        ring.consume().map_err(io::Error::other)
    }
}

impl AttachedCapture {
    fn map(&self, name: &str) -> io::Result<Map<'_>> {
        let found = self.object.maps().find(|map| map.name() == name);
        found.ok_or_else(|| io::Error::other(format!("the object has no map {name}")))
    }

    fn write(&self, number: usize, filter: &types::rfm_capture_filter) -> io::Result<()> {
        let key = (number as u32).to_ne_bytes();
        // SAFETY: integers with explicit padding: all bytes are initialized.
        let bytes = unsafe { plain::as_bytes(filter) };
        let map = self.map("rfm_capture_filters")?;
        map.update(&key, bytes, MapFlags::ANY)
            .map_err(io::Error::other)
    }
}

fn encode(filter: &PacketFilter) -> types::rfm_capture_filter {
    let (address, mask, family) = match filter.prefix.address() {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(filter.prefix.length()));
            let mask = mask.unwrap_or(0).to_be_bytes();
            (words(&address.octets()), words(&mask), RFM_IPV4)
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(filter.prefix.length()));
            let mask = mask.unwrap_or(0).to_be_bytes();
            (words(&address.octets()), words(&mask), RFM_IPV6)
        }
    };
    types::rfm_capture_filter {
        address,
        mask,
        limit: filter.packets,
        family: family as u8,
        protocol: filter.protocol.unwrap_or(0),
        by_source: filter.by_source.into(),
        ..Default::default()
    }
}

/// Returns the words of an address in network byte order.
fn words(bytes: &[u8]) -> [u32; 4] {
    let mut words = [0; 4];
    for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(4)) {
        *word = u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    }
    words
}
