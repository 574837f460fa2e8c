// SPDX-License-Identifier: AGPL-3.0-only
//! The load of the firewall's bench: packets from random addresses, by themselves or over a wire.

use std::error::Error;
use std::fmt::Write;
use std::{fs, io};

use std::time::{Duration, Instant};

use libbpf_rs::{Link, MapCore, MapFlags, MapHandle, Object, ProgramInput, ProgramMut};
use rfm::bpf::xdp::XdpFirewall;
use rfm::types::hook::FrameStart;

use super::frames::Frame;
use super::lab::{Lab, Namespace, mac_of};
use super::{bpf, machine};

/// BPF_F_TEST_XDP_LIVE_FRAMES of include/uapi/linux/bpf.h
const LIVE_FRAMES: u32 = 1 << 1;
/// Frames of one system call.
const CHUNK: u32 = 20_000;

/// benches/bpf/generator.bpf.c, loaded.
pub struct Generator {
    object: Object,
    sequence: MapHandle,
    behind: MapHandle,
    wire: MapHandle,
}

impl Generator {
    pub fn load() -> Result<Self, Box<dyn Error>> {
        let mut object = bpf::open("generator")?.load()?;
        let mut handle = |name: &str| -> Result<MapHandle, Box<dyn Error>> {
            Ok(MapHandle::try_from(&bpf::map(&mut object, name)?)?)
        };
        Ok(Self {
            sequence: handle(".data.sequence")?,
            behind: handle("behind")?,
            wire: handle("wire")?,
            object,
        })
    }

    pub fn program(&self, name: &str) -> Result<ProgramMut<'_>, Box<dyn Error>> {
        bpf::program(&self.object, name)
    }

    /// Sets the source addresses, in the byte order of the wire.
    pub fn set_sequence(&self, addresses: &[u32]) -> Result<(), Box<dyn Error>> {
        let bytes: Vec<u8> = addresses.iter().flat_map(|a| a.to_ne_bytes()).collect();
        Ok(put(&self.sequence, &bytes)?)
    }

    pub fn put_behind(&self, program: i32) -> Result<(), Box<dyn Error>> {
        Ok(put(&self.behind, &program.to_ne_bytes())?)
    }
}

fn put(map: &MapHandle, value: &[u8]) -> libbpf_rs::Result<()> {
    map.update(&0_u32.to_ne_bytes(), value, MapFlags::ANY)
}

/// The packets of a flood, and the CPU time of each on the CPU that sends and receives them.
#[derive(Clone, Copy)]
pub struct Flooded {
    pub packets: u64,
    pub ns: f64,
}

/// A veth pair: `v1` receives the packets that are sent on `v0`.
pub struct Wire {
    generator: Generator,
    namespace: Namespace,
    v1: u32,
    lab: Lab,
}

impl Wire {
    pub fn new() -> Result<Self, Box<dyn Error>> {
        let lab = Lab::new();
        let namespace = lab.namespace("d");
        lab.veth((&namespace, "v0"), (&namespace, "v1"));
        // NAPI receives redirected frames, with an XDP program on the device or without
        namespace.run("ethtool", "-K v1 gro on");
        let generator = Generator::load()?;
        let v0 = namespace.ifindex("v0");
        // the kernel looks up the device in the namespace of the caller
        let placed =
            namespace.inside(|| put(&generator.wire, &v0.to_ne_bytes()).map_err(|e| e.to_string()));
        placed?;
        Ok(Self {
            generator,
            v1: namespace.ifindex("v1"),
            namespace,
            lab,
        })
    }

    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    pub fn set_sequence(&self, addresses: &[u32]) -> Result<(), Box<dyn Error>> {
        self.generator.set_sequence(addresses)
    }

    pub fn attach_empty_drop(&self) -> Result<Link, Box<dyn Error>> {
        let v1 = self.v1 as i32;
        let link = self.namespace.inside(|| {
            let program = self
                .generator
                .program("empty_drop")
                .map_err(|e| e.to_string())?;
            program.attach_xdp(v1).map_err(|e| e.to_string())
        });
        Ok(link?)
    }

    pub fn attach(&self, firewall: &mut XdpFirewall) -> Result<(), Box<dyn Error>> {
        let mode = self.namespace.inside(|| {
            let attached = firewall.attach(self.v1, FrameStart::Ethernet, None, None);
            attached.map_err(|e| e.to_string())
        })?;
        match mode.name() {
            "native" => Ok(()),
            other => Err(format!("{other} mode").into()),
        }
    }

    pub fn detach(&self, firewall: &mut XdpFirewall) {
        firewall.detach(self.v1);
    }

    /// Runs `body` with a set of these addresses and a rule that drops their packets; also returns the number of
    /// dropped packets. With `flags` such as "flags interval;" the set may also have prefixes.
    pub fn with_nft<T>(
        &self,
        addresses: &[u32],
        flags: &str,
        body: impl FnOnce(&Self) -> Result<T, Box<dyn Error>>,
    ) -> Result<(T, u64), Box<dyn Error>> {
        let mut text = format!(
            "table netdev bench {{\n set drops {{ type ipv4_addr; {flags} elements = {{\n",
        );
        for address in addresses {
            // writing to a string cannot fail
            let _ = writeln!(text, "{},", std::net::Ipv4Addr::from_bits(*address));
        }
        text.push_str(
            "} }\n chain in { type filter hook ingress device \"v1\" priority 0; policy accept;\n \
             ip saddr @drops counter drop; }\n}\n",
        );
        let file = self.lab.file("bench.nft", &text);
        self.namespace.run("nft", &format!("-f {}", file.display()));
        let result = body(self);
        let listed = self.namespace.run("nft", "list chain netdev bench in");
        self.namespace.run("nft", "delete table netdev bench");
        let mut words = listed
            .split_whitespace()
            .skip_while(|word| *word != "packets");
        let packets = words.nth(1).and_then(|word| word.parse().ok());
        let packets = packets.ok_or_else(|| format!("no counter in {listed}"))?;
        Ok((result?, packets))
    }

    pub fn flood(&self, time: Duration) -> Result<Flooded, Box<dyn Error>> {
        const CPU: usize = 0;
        let frame = Frame::ethernet([2, 0, 0, 0, 1, 1], mac_of("v1"))
            .ipv4([10, 0, 0, 1].into(), [192, 0, 2, 1].into())
            .udp()
            .payload(18)
            .build();
        let softirq = Softirq::of(CPU)?;
        let before = softirq.time()?;
        let result: Result<(u64, Duration), String> = self.namespace.inside(|| {
            machine::pin(CPU);
            let (cpu, start) = (machine::thread_time(), Instant::now());
            let mut packets = 0;
            while start.elapsed() < time {
                self.send(&frame).map_err(|e| e.to_string())?;
                packets += u64::from(CHUNK);
            }
            Ok((packets, machine::thread_time() - cpu))
        });
        let (packets, cpu) = result?;
        let spent = cpu + (softirq.time()? - before);
        Ok(Flooded {
            packets,
            ns: spent.as_nanos() as f64 / packets as f64,
        })
    }

    fn send(&self, frame: &[u8]) -> Result<(), Box<dyn Error>> {
        self.generator.program("send")?.test_run(ProgramInput {
            data_in: Some(frame),
            repeat: CHUNK,
            flags: LIVE_FRAMES,
            ..Default::default()
        })?;
        Ok(())
    }
}

/// The thread in which a CPU does its remaining network work.
struct Softirq {
    schedstat: String,
}

impl Softirq {
    fn of(cpu: usize) -> io::Result<Self> {
        let name = format!("ksoftirqd/{cpu}\n");
        for entry in fs::read_dir("/proc")? {
            let path = entry?.path();
            if fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm == name) {
                return Ok(Self {
                    schedstat: path.join("schedstat").display().to_string(),
                });
            }
        }
        Err(io::Error::other(format!("no ksoftirqd of CPU {cpu}")))
    }

    fn time(&self) -> io::Result<Duration> {
        let text = fs::read_to_string(&self.schedstat)?;
        let ns = text.split(' ').next().and_then(|word| word.parse().ok());
        ns.map(Duration::from_nanos)
            .ok_or_else(|| io::Error::other(format!("{}: {text:?}", self.schedstat)))
    }
}
