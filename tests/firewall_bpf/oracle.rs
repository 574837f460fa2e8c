// SPDX-License-Identifier: AGPL-3.0-only
//! The kernel as the oracle. Packets are wrapped in everything that Linux strips by itself and sent over a
//! veth to a socket, with and without a rule that matches them. The firewall must drop each packet that the
//! kernel delivers, and no packet that the rule does not match.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsFd;
use std::time::Duration;

use libbpf_rs::{Xdp, XdpFlags};
use rfm::bpf::load::has_kernel_types;
use rfm::bpf::xdp::{Mode, XdpFirewall, XdpSettings};
use rfm::types::hook::FrameStart;
use rustix::thread::{CpuSet, sched_getcpu, sched_setaffinity};

use crate::common::frames::Frame;
use crate::common::lab::{Lab, Namespace, can_run, ipv4, ipv6, mac_of, try_run};
use crate::common::packet::Sender;
use crate::fixture::rules;

const PORT: u16 = 5300;
/// No rule matches it.
const MARKER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const MARKER_TO: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const MARKER_PORT: u16 = 5301;
const TAGS: [u16; 2] = [0x8100, 0x88a8];
const MOST_LABELS: usize = 40;

/// One end of a wire, and the sockets behind the other.
struct Wire<'a> {
    sender: &'a Sender,
    socket: UdpSocket,
    marker: UdpSocket,
    marker_frame: Vec<u8>,
}

/// Puts headers between Ethernet and IP.
type Wrap = Box<dyn Fn(Frame) -> Frame + Send>;
/// The frames of one datagram, each behind the headers of a wrap.
type Packet = (&'static str, fn(&Wrap) -> Vec<Frame>);

fn below(wrap: &Wrap) -> Frame {
    wrap(Frame::ethernet(mac_of("a0"), mac_of("b0")))
}

fn v4(wrap: &Wrap) -> Frame {
    below(wrap).ipv4(ipv4(1), ipv4(2))
}

fn v6(wrap: &Wrap) -> Frame {
    below(wrap).ipv6(ipv6(1), ipv6(2))
}

fn udp(frame: Frame) -> Frame {
    frame.udp().ports(1000, PORT).payload(24)
}

/// A datagram of 32 bytes in two fragments.
fn datagram(below: Frame) -> (Vec<u8>, Vec<u8>) {
    let whole = udp(below).build();
    let (first, rest) = whole[whole.len() - 32..].split_at(16);
    (first.to_vec(), rest.to_vec())
}

fn fragments4(wrap: &Wrap) -> Vec<Frame> {
    let (first, rest) = datagram(Frame::layer3().ipv4(ipv4(1), ipv4(2)));
    let fragment = |at, more| v4(wrap).fragment(at, more).says(17);
    vec![
        fragment(0, true).bytes(&first),
        fragment(16, false).bytes(&rest),
    ]
}

fn fragments6(wrap: &Wrap) -> Vec<Frame> {
    let (first, rest) = datagram(Frame::layer3().ipv6(ipv6(1), ipv6(2)));
    let fragment = |at, more| v6(wrap).fragment6(at, more).says(17);
    vec![
        fragment(0, true).bytes(&first),
        fragment(16, false).bytes(&rest),
    ]
}

fn reversed(mut frames: Vec<Frame>) -> Vec<Frame> {
    frames.reverse();
    frames
}

/// Destination options headers of 8 bytes each, which Linux accepts.
fn options(frame: Frame, count: usize) -> Frame {
    let mut bytes = [60, 0, 1, 4, 0, 0, 0, 0].repeat(count);
    bytes[8 * (count - 1)] = 17;
    frame.says(60).bytes(&bytes)
}

const PACKETS: [Packet; 10] = [
    ("IPv4", |w| vec![udp(v4(w))]),
    ("IPv4 with options", |w| vec![udp(v4(w).options(12))]),
    ("IPv4 in fragments", fragments4),
    ("IPv4, last fragment first", |w| reversed(fragments4(w))),
    ("IPv6", |w| vec![udp(v6(w))]),
    ("IPv6 with options", |w| {
        vec![udp(options(v6(w).hop_by_hop(), 2))]
    }),
    ("IPv6 with 6 headers", |w| vec![udp(options(v6(w), 6))]),
    ("IPv6 in fragments", fragments6),
    ("IPv6, last fragment first", |w| reversed(fragments6(w))),
    ("IPv6 and bytes behind it", |w| {
        vec![udp(v6(w)).pad_to(1400)]
    }),
];

/// For either family: rules that match each of the packets.
const MATCHING: [&str; 5] = [
    "drop src 10.99.0.1;drop src fd99::1",
    "drop dst 10.99.0.0/24 proto udp;drop dst fd99::/64 proto udp",
    "drop proto udp dport 5300",
    "count proto udp;pass proto tcp;drop proto udp dport 5300",
    "pass proto tcp;drop src 10.0.0.0/8 sport 1000 proto udp;drop src fd00::/8 sport 1000 proto udp",
];
/// And rules that match none of them, if their headers can be read.
const OTHERS: &str = "drop src 10.99.0.3;drop src fd99::3;drop proto tcp;drop dst 10.98.0.0/16";

/// 802.1Q and 802.1ad tags of VLAN 0 with any priority, which the core of the kernel strips.
fn priority_tags(kind: usize, count: usize) -> Wrap {
    Box::new(move |frame| {
        (0..count).fold(frame, |frame, i| {
            let tpid = [TAGS[0], TAGS[1], TAGS[i % 2], TAGS[i / 3 % 2]][kind];
            frame.vlan(tpid, (i as u16 % 16) << 12)
        })
    })
}

fn labels(tags: usize, count: usize) -> Wrap {
    Box::new(move |frame| {
        let frame = (0..tags).fold(frame, |f, _| f.vlan(TAGS[0], 0));
        frame.mpls(&vec![100; count])
    })
}

fn wraps(vlan: bool, mpls: bool) -> Vec<(String, Wrap)> {
    let mut all: Vec<(String, Wrap)> = vec![("nothing".into(), Box::new(|frame| frame))];
    for (kind, name) in ["802.1Q", "802.1ad", "both", "both in threes"]
        .iter()
        .enumerate()
    {
        // programs without types read 128 tags: a rule may drop what they cannot read
        let most = if has_kernel_types() { 370 } else { 128 };
        for count in [1, 2, 3, 4, 5, 6, 9, 33, 34, 35, 100, most] {
            all.push((format!("{count} tags, {name}"), priority_tags(kind, count)));
        }
    }
    // not for us: no such VLAN
    all.push(("VLAN 99".into(), Box::new(|f| f.vlan(TAGS[0], 99))));
    if vlan {
        for depth in 1..=4 {
            all.push((
                format!("{depth} VLAN devices"),
                Box::new(move |f| (1..=depth).fold(f, |f, id| f.vlan(TAGS[0], id))),
            ));
        }
        all.push((
            "VLAN devices and tags of VLAN 0".into(),
            Box::new(|f| {
                (0..12).fold(f, |f, i| {
                    f.vlan(TAGS[0], if i % 3 == 0 { i / 3 + 1 } else { 0 })
                })
            }),
        ));
    }
    if mpls {
        for (tags, count) in [
            (0, 1),
            (0, 4),
            (0, 5),
            (0, 6),
            (0, MOST_LABELS),
            (1, 5),
            (4, 7),
        ] {
            all.push((format!("{tags} tags, {count} labels"), labels(tags, count)));
        }
    }
    all
}

/// The last of them is deeper than what is wrapped here.
fn stack_vlan_devices(namespace: &Namespace) -> bool {
    let mut below = "b0".to_owned();
    for id in 1..=4 {
        let device = format!("v{id}");
        let add = format!("link add link {below} name {device} type vlan id {id}");
        let mut command = namespace.command("ip", &add.split(' ').collect::<Vec<_>>());
        if !try_run(&mut command).status.success() {
            return false;
        }
        let conf = format!("net.ipv6.conf.{device}.disable_ipv6=0");
        namespace.run("sysctl", &format!("-qw {conf}"));
        namespace.ip(&format!("link set {device} up"));
        below = device;
    }
    true
}

/// Label 100 is popped until none is left.
fn pop_labels(namespace: &Namespace) -> bool {
    let set = "sysctl -qw net.mpls.platform_labels=1000 net.mpls.conf.b0.input=1 \
               net.mpls.conf.lo.input=1";
    let route = "ip -f mpls route add 100 dev lo";
    [set, route].iter().all(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let mut command = namespace.command(words[0], &words[1..]);
        try_run(&mut command).status.success()
    })
}

impl<'a> Wire<'a> {
    /// For the thread of the receiving namespace. The kernel queues a packet again after each label: on a slow
    /// machine a marker without labels would overtake one with labels.
    fn new(sender: &'a Sender, mpls: bool) -> Self {
        let open = |port| {
            let socket = UdpSocket::bind(("::", port)).expect("a socket");
            let patience = Some(Duration::from_secs(10));
            socket.set_read_timeout(patience).expect("a timeout");
            socket
        };
        let wrap = if mpls {
            labels(0, MOST_LABELS)
        } else {
            Box::new(|frame| frame)
        };
        let marker = below(&wrap).ipv4(MARKER, MARKER_TO).udp();
        Self {
            sender,
            socket: open(PORT),
            marker: open(MARKER_PORT),
            marker_frame: marker.ports(2000, MARKER_PORT).build(),
        }
    }

    /// How many datagrams the kernel delivers of these frames. A marker follows them on the same wire, and
    /// is delivered after them.
    fn deliver(&self, frames: &[Frame]) -> usize {
        for frame in frames {
            self.sender.send(&frame.build(), 0).expect("sent");
        }
        self.sender.send(&self.marker_frame, 0).expect("sent");
        let mut bytes = [0; 2048];
        self.marker.recv(&mut bytes).expect("the marker");
        self.socket.set_nonblocking(true).expect("an open socket");
        let mut count = 0;
        loop {
            match self.socket.recv(&mut bytes) {
                Ok(_) => count += 1,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return count,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// One program on `b0`, in one mode, until it is dropped.
struct Attached {
    firewall: XdpFirewall,
    ifindex: u32,
    mode: Mode,
}

impl Attached {
    fn new(ifindex: u32, mode: Mode) -> Self {
        let settings = XdpSettings {
            sample_rate: 0,
            ring_bytes: 65_536,
            max_rules: 1000,
            typed: has_kernel_types(),
        };
        let mut firewall = XdpFirewall::load(&settings).expect("the firewall loads");
        match mode {
            Mode::Native => {
                let got = firewall.attach(ifindex, FrameStart::Ethernet, None, None);
                assert_eq!(got.expect("attached"), Mode::Native);
            }
            Mode::Generic => {
                let program = firewall.program(FrameStart::Ethernet, Mode::Generic);
                Xdp::new(program.as_fd())
                    .attach(ifindex as i32, XdpFlags::SKB_MODE)
                    .expect("attached");
            }
        }
        Self {
            firewall,
            ifindex,
            mode,
        }
    }

    fn rule(&mut self, lines: &str) {
        let lines: Vec<&str> = lines.split(';').filter(|line| !line.is_empty()).collect();
        self.firewall.replace(&rules(&lines)).expect("rules");
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        if self.mode == Mode::Generic {
            let program = self.firewall.program(FrameStart::Ethernet, Mode::Generic);
            let detached =
                Xdp::new(program.as_fd()).detach(self.ifindex as i32, XdpFlags::SKB_MODE);
            detached.expect("detached");
        }
    }
}

/// Every wrap of every packet: delivered without a rule that matches, not delivered with one. Returns the
/// wraps that the kernel strips.
fn judge(wire: &Wire, attached: &mut Attached, wraps: &[(String, Wrap)]) -> BTreeSet<String> {
    let mut stripped = BTreeSet::new();
    let mut failures = Vec::new();
    let each = || {
        wraps.iter().flat_map(|(wrap_name, wrap)| {
            PACKETS
                .iter()
                .map(move |(name, packet)| (wrap_name, name, packet(wrap)))
        })
    };
    attached.rule("");
    let delivered: Vec<usize> = each().map(|(_, _, frames)| wire.deliver(&frames)).collect();
    let plain = &delivered[..PACKETS.len()];
    assert_eq!(plain, [1; PACKETS.len()], "the kernel accepts each packet");
    for rule in MATCHING.iter().chain([&OTHERS]) {
        attached.rule(rule);
        for ((wrap, name, frames), without) in each().zip(&delivered) {
            let expected = if *rule == OTHERS { *without } else { 0 };
            let got = wire.deliver(&frames);
            if got != expected {
                failures.push(format!("{name} behind {wrap}, {rule}: {got} delivered"));
            }
            if *without > 0 {
                stripped.insert(wrap.clone());
            }
        }
    }
    let count = failures.len();
    assert!(failures.is_empty(), "{count}:\n{}", failures.join("\n"));
    stripped
}

/// Returns whether a frame has more tags than the eight that each kernel strips: some drop it.
fn may_be_dropped(wrap: &str) -> bool {
    let tags = wrap.split_once(" tags, ").map(|(tags, _)| tags.parse());
    tags.is_some_and(|tags: Result<u32, _>| tags.is_ok_and(|tags| tags > 8))
}

#[test]
fn the_kernel_delivers_no_packet_that_a_rule_drops() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let lab = Lab::new();
    let (a, b) = lab.pair();
    b.run(
        "sysctl",
        "-qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0",
    );
    let (vlan, mpls) = (stack_vlan_devices(&b), pop_labels(&b));
    println!("VLAN devices: {vlan}, MPLS: {mpls}");
    b.ip(&format!("address add {MARKER_TO}/24 dev b0"));
    let ifindex = b.ifindex("b0");
    let sender = a.inside(|| Sender::new("a0").expect("a packet socket"));
    b.inside(|| {
        // frames keep their order
        let mut cpus = CpuSet::new();
        cpus.set(sched_getcpu());
        sched_setaffinity(None, &cpus).expect("a thread may stay where it is");
        let wraps = wraps(vlan, mpls);
        let wire = Wire::new(&sender, mpls);
        for mode in [Mode::Native, Mode::Generic] {
            let mut attached = Attached::new(ifindex, mode);
            let stripped = judge(&wire, &mut attached, &wraps);
            let missing: Vec<&String> = wraps
                .iter()
                .map(|(name, _)| name)
                .filter(|name| !stripped.contains(*name) && !may_be_dropped(name))
                .collect();
            // otherwise the test would prove nothing
            assert_eq!(
                missing,
                ["VLAN 99"],
                "{}: the kernel strips the rest",
                mode.name()
            );
        }
    });
}
