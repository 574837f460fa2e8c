// SPDX-License-Identifier: AGPL-3.0-only
//! Small packets at the highest rate this machine can make: an XDP program whose frames the kernel
//! takes for received ones (BPF_F_TEST_XDP_LIVE_FRAMES, Linux 5.18).

use std::fmt::Write;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::thread;

use libbpf_rs::{MapCore, MapFlags, Object, ObjectBuilder, ProgramInput};
use rustix::thread::{CpuSet, sched_setaffinity};

use super::frames::{Frame, Mac};
use super::lab::{Namespace, run};

/// The network for tests of devices (RFC 2544): sources are 198.18.x.y, so that the lower half of the
/// address is the flow's.
const SOURCES: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 0);
pub const DESTINATION: Ipv4Addr = Ipv4Addr::new(198, 19, 0, 1);
pub const FRAME_LEN: usize = 60;
const HEADERS_LEN: usize = 42;
/// The sources are in so many networks of length 24.
pub const NETWORKS: usize = 256;

/// A frame comes back to the generator as the router left it: all headers are written each time.
const SOURCE: &str = r#"
typedef unsigned char u8;
typedef unsigned int u32;

struct xdp_md {
	u32 data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex;
};

static u32 (*const get_prandom_u32)(void) = (void *)7;
static const u8 headers[HEADERS_LEN] = {HEADERS};
unsigned long long sent[NETWORKS] = {};
u32 next = 0;

static inline __attribute__((always_inline)) void put(u8 *to, u32 value)
{
	to[0] = value >> 8;
	to[1] = value;
}

__attribute__((section("xdp"), used)) int generate(struct xdp_md *ctx)
{
	u8 *frame = (u8 *)(long)ctx->data;
	u32 flow = FLOWS ? get_prandom_u32() % (FLOWS + !FLOWS) : __sync_fetch_and_add(&next, 1);
	u32 sum = SUM_WITHOUT_FLOW + (flow & 0xffff);

	/* the compiler knows the range of the modulus and would leave out the mask of the index, the verifier does not */
	asm volatile("" : "+r"(flow));
	if (frame + HEADERS_LEN > (u8 *)(long)ctx->data_end)
		return 0;
	__builtin_memcpy(frame, headers, HEADERS_LEN);
	put(frame + 28, flow);
	put(frame + 34, 1024 + (flow >> 16));
	put(frame + 24, ~((sum & 0xffff) + (sum >> 16)));
	__sync_fetch_and_add(&sent[flow >> 8 & 0xff], 1);
	return 2; /* XDP_PASS */
}

char LICENSE[] __attribute__((section("license"), used)) = "GPL";
"#;

/// Which flows the packets belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flows {
    /// So many, each packet of any of them.
    Uniform(u32),
    /// Each packet is the first and last of its flow.
    AllNew,
}

/// A generator of UDP over IPv4 to [`DESTINATION`].
pub struct Flood {
    object: Object,
    frame: Vec<u8>,
}

impl Flood {
    /// Compiled in `folder`. `to` is the MAC address of the device that receives.
    pub fn new(folder: &Path, to: Mac, flows: Flows) -> Self {
        let frame = Frame::ethernet([2, 0, 0, 0, 0xcc, 3], to)
            .ipv4(SOURCES, DESTINATION)
            .udp()
            .ports(1024, 9)
            .payload(FRAME_LEN - HEADERS_LEN) // forwarding cuts padding off
            .edit(40, 0) // no UDP checksum: the ports change
            .edit(41, 0)
            .build();
        Self {
            object: compile(folder, &frame, flows),
            frame,
        }
    }

    /// `packets` on each of the first `cpus` CPUs, received by a device of this namespace. Returns
    /// when they have gone their way.
    pub fn run(&self, namespace: &Namespace, ifindex: u32, packets: u32, cpus: usize) {
        namespace.inside(|| {
            thread::scope(|scope| {
                for cpu in 0..cpus {
                    scope.spawn(move || {
                        pin_to(cpu);
                        self.receive(ifindex, packets);
                    });
                }
            });
        });
    }

    /// As [`Flood::run`], on one CPU of any number.
    pub fn run_on(&self, namespace: &Namespace, ifindex: u32, packets: u32, cpu: usize) {
        namespace.inside(|| {
            pin_to(cpu);
            self.receive(ifindex, packets);
        });
    }

    /// Returns the number of frames from each /24 of the sources.
    pub fn sent(&self) -> Vec<u64> {
        let mut maps = self.object.maps();
        let counts = maps.find(|map| map.name().to_string_lossy().ends_with(".bss"));
        let counts = counts.expect("the array `sent`");
        let bytes = counts.lookup(&0_u32.to_ne_bytes(), MapFlags::ANY);
        let bytes = bytes.expect("it is read").expect("one entry");
        let words = bytes.chunks_exact(size_of::<u64>()).take(NETWORKS);
        let count = |word: &[u8]| u64::from_ne_bytes(word.try_into().expect("eight bytes"));
        words.map(count).collect()
    }

    fn receive(&self, ifindex: u32, packets: u32) {
        // struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex
        let context = [0, self.frame.len() as u32, 0, ifindex, 0, 0];
        let mut context: Vec<u8> = context.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let program = self.object.progs_mut().next().expect("one program");
        let result = program.test_run(ProgramInput {
            context_in: Some(&mut context),
            data_in: Some(&self.frame),
            flags: libbpf_sys::BPF_F_TEST_XDP_LIVE_FRAMES,
            repeat: packets,
            ..Default::default()
        });
        result.expect("live frames");
    }
}

fn compile(folder: &Path, frame: &[u8], flows: Flows) -> Object {
    let headers = &frame[..HEADERS_LEN];
    let count = match flows {
        Flows::Uniform(count) => count,
        Flows::AllNew => 0,
    };
    let bytes = headers.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte},").expect("a String takes all");
        text
    });
    let checksum = u16::from_be_bytes([frame[24], frame[25]]);
    let source = SOURCE
        .replace("{HEADERS}", &format!("{{{bytes}}}"))
        .replace("HEADERS_LEN", &HEADERS_LEN.to_string())
        .replace("NETWORKS", &NETWORKS.to_string())
        .replace("SUM_WITHOUT_FLOW", &(!checksum).to_string())
        .replace("FLOWS", &count.to_string());
    let file = folder.join(format!("flood-{count}.c"));
    let object = file.with_extension("o");
    std::fs::write(&file, source).expect("a file in the folder");
    run(Command::new("clang")
        .args(["-target", "bpf", "-mcpu=v3", "-O2", "-g", "-c"])
        .arg(&file)
        .arg("-o")
        .arg(&object));
    let open = ObjectBuilder::default().open_file(&object);
    open.expect("an object").load().expect("it loads")
}

/// The calling thread runs on this CPU from now on.
pub fn pin_to(cpu: usize) {
    let mut set = CpuSet::new();
    set.set(cpu);
    sched_setaffinity(None, &set).expect("this CPU is online");
}
