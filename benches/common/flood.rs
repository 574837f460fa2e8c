// SPDX-License-Identifier: AGPL-3.0-only
//! Generates received packets on a device at the highest rate of one CPU.

use std::error::Error;
use std::io;
use std::net::Ipv4Addr;
use std::ptr::NonNull;
use std::thread::sleep;
use std::time::{Duration, Instant};

use libbpf_rs::{AsRawLibbpf, Link, MapCore, MapFlags, MapHandle, Object, ProgramInput};

use super::flows::{LENGTH, Load};
use super::frames::Frame;
use super::lab::Namespace;
use super::{bpf, machine};

/// BPF_F_TEST_XDP_LIVE_FRAMES of include/uapi/linux/bpf.h
const LIVE_FRAMES: u32 = 1 << 1;

/// Frames of one system call, which takes tens of milliseconds.
const CHUNK: u32 = 50_000;

/// The minimum Ethernet frame without FCS.
pub const FRAME_LENGTH: usize = 60;

/// The size and cost of a flood.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sent {
    pub packets: u64,
    /// CPU time for the generation of the packets and for all their processing by the kernel on that CPU.
    pub cpu: Duration,
    pub elapsed: Duration,
}

impl Sent {
    pub fn ns_per_packet(&self) -> f64 {
        self.cpu.as_nanos() as f64 / self.packets as f64
    }

    pub fn per_second(&self) -> f64 {
        self.packets as f64 / self.elapsed.as_secs_f64()
    }
}

/// The generator, for one device.
pub struct Flood {
    object: Object,
    sequence: MapHandle,
    namespace: Namespace,
    ifindex: u32,
    program: &'static str,
}

impl Flood {
    pub fn new(namespace: &Namespace, device: &str) -> Result<Self, Box<dyn Error>> {
        let mut object = bpf::open("flood")?.load()?;
        let sequence = MapHandle::try_from(&bpf::map(&mut object, ".data.sequence")?)?;
        Ok(Self {
            object,
            sequence,
            namespace: namespace.clone(),
            ifindex: namespace.ifindex(device),
            program: "flood",
        })
    }

    /// Its flows differ by their destination, which is 10.x.y.z.
    pub fn to_hosts(namespace: &Namespace, device: &str) -> Result<Self, Box<dyn Error>> {
        Ok(Self {
            program: "flood_hosts",
            ..Self::new(namespace, device)?
        })
    }

    pub fn set_load(&self, load: Load) -> Result<(), Box<dyn Error>> {
        let flows = load.sequence(LENGTH);
        let bytes: Vec<u8> = flows.iter().flat_map(|f| f.to_ne_bytes()).collect();
        self.sequence
            .update(&0_u32.to_ne_bytes(), &bytes, MapFlags::ANY)?;
        Ok(())
    }

    /// Attaches a program of benches/bpf/flood.bpf.c to the ingress of the device, in place of the monitor.
    pub fn attach(&self, program: &str) -> Result<Link, Box<dyn Error>> {
        let (object, ifindex) = (&self.object, self.ifindex as i32);
        let link = self.namespace.inside(|| {
            let program = bpf::program(object, program).map_err(|e| e.to_string())?;
            // SAFETY: the program is loaded and outlives the call, which fails with NULL; nobody else
            // owns the link. No options are passed.
            unsafe {
                let program = program.as_libbpf_object().as_ptr();
                let link = libbpf_sys::bpf_program__attach_tcx(program, ifindex, std::ptr::null());
                NonNull::new(link).map(|link| Link::from_ptr(link))
            }
            .ok_or_else(|| io::Error::last_os_error().to_string())
        });
        Ok(link?)
    }

    /// Returns the ring to which `bench_ring_event` sends its events.
    pub fn events(&mut self) -> Result<MapHandle, Box<dyn Error>> {
        Ok(MapHandle::try_from(&bpf::map(&mut self.object, "events")?)?)
    }

    /// Floods at full speed for `time`.
    pub fn run_for(&self, time: Duration) -> Result<Sent, Box<dyn Error>> {
        self.run_while(CHUNK, move |_, elapsed| elapsed < time)
    }

    /// Sends `packets` packets, and up to 50,000 more.
    pub fn run_packets(&self, packets: u64) -> Result<Sent, Box<dyn Error>> {
        self.run_while(CHUNK, move |sent, _| sent < packets)
    }

    /// Sends at most `per_second` packets a second while `go_on` returns true for the number of sent packets.
    pub fn run_paced(
        &self,
        per_second: u32,
        go_on: impl Fn(u64) -> bool + Sync,
    ) -> Result<Sent, Box<dyn Error>> {
        const STEPS: u32 = 100;
        self.run_while(per_second / STEPS, move |sent, elapsed| {
            let due = Duration::from_secs_f64(sent as f64 / f64::from(per_second));
            sleep(due.saturating_sub(elapsed));
            go_on(sent)
        })
    }

    /// Sends from the first CPU, so that the other CPUs are free for the readers.
    fn run_while(
        &self,
        chunk: u32,
        go_on: impl Fn(u64, Duration) -> bool + Sync,
    ) -> Result<Sent, Box<dyn Error>> {
        let (object, ifindex, frame) = (&self.object, self.ifindex, frame());
        let program = self.program;
        let sent = self.namespace.inside(|| {
            machine::pin(0);
            let (cpu, start) = (machine::thread_time(), Instant::now());
            let mut packets = 0;
            while go_on(packets, start.elapsed()) {
                make(object, program, &frame, ifindex, chunk).map_err(|e| e.to_string())?;
                packets += u64::from(chunk);
            }
            Ok::<_, String>(Sent {
                packets,
                cpu: machine::thread_time() - cpu,
                elapsed: start.elapsed(),
            })
        });
        Ok(sent?)
    }
}

fn make(
    object: &Object,
    program: &str,
    frame: &[u8],
    ifindex: u32,
    count: u32,
) -> Result<(), Box<dyn Error>> {
    // struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex
    let context = [0, frame.len() as u32, 0, ifindex, 0, 0];
    let mut context: Vec<u8> = context.iter().flat_map(|w| w.to_ne_bytes()).collect();
    bpf::program(object, program)?.test_run(ProgramInput {
        context_in: Some(&mut context),
        data_in: Some(frame),
        repeat: count,
        flags: LIVE_FRAMES,
        ..Default::default()
    })?;
    Ok(())
}

/// Returns a frame for another host, so that the stack drops it as early as possible.
fn frame() -> Vec<u8> {
    let (src, dst) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(192, 0, 2, 1));
    Frame::ethernet([2, 0, 0, 0, 1, 1], [2, 0, 0, 0, 1, 2])
        .ipv4(src, dst)
        .udp()
        .payload(FRAME_LENGTH - 42)
        .build()
}
