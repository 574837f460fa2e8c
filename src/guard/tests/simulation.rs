//! Records as the kernel sends them: a flow has one each second, at a time that depends on the flow.

use std::net::IpAddr;
use std::sync::Arc;

use crate::flow::labels::SetId;
use crate::flow::table::{CompletedRecord, FlowObserver, FlowTable, TableLimits};
use crate::flow::thread::RecordLookup;
use crate::guard::detector::{Detector, ReportLookups};
use crate::guard::report::{AttackReport, DetectorEvent};
use crate::guard::{DetectorSettings, Thresholds};
use crate::types::flow::{Direction, Family, FlowKey, FlowRecord};

pub const MS: u64 = 1_000_000;
pub const SECOND: u64 = 1_000 * MS;
pub const START: u64 = 1_000 * SECOND;
pub const SYN: u8 = 0x02;
pub const ACK: u8 = 0x10;
pub const TCP: u8 = 6;
pub const UDP: u8 = 17;

struct Nobody;

/// One interface and one neighbor; the country of 198.18.0.0/15 is XA, that of others is unknown.
pub struct TestLookup;

impl RecordLookup for TestLookup {
    fn generation(&self) -> u32 {
        1
    }
    fn name(&self, ifindex: u32) -> Option<Arc<str>> {
        (ifindex == 2).then(|| "wan0".into())
    }
    fn is_summed(&self, _: u32) -> bool {
        true
    }
    fn peer_asn(&self, _: &FlowRecord) -> u32 {
        64_500
    }
    fn source_country(&self, record: &FlowRecord) -> Option<Arc<str>> {
        (record.key.src[..2] == [198, 18]).then(|| "XA".into())
    }
}

impl FlowObserver for Nobody {
    fn generation(&self) -> u32 {
        0
    }
    fn started(&mut self, _: &FlowRecord) -> SetId {
        SetId(0)
    }
    fn relabelled(&mut self, set: SetId, _: &FlowRecord) -> SetId {
        set
    }
    fn updated(&mut self, _: SetId, _: &FlowRecord) {}
    fn exported(&mut self, _: SetId, _: &CompletedRecord) {}
    fn ended(&mut self, _: SetId) {}
}

/// A flow with a constant rate.
#[derive(Clone, Copy)]
pub struct Stream {
    pub src: IpAddr,
    pub dst: IpAddr,
    pub ports: (u16, u16),
    pub protocol: u8,
    pub flags: u8,
    pub length: u64,
    /// Packets per second.
    pub rate: f64,
    /// Nanoseconds after [`START`].
    pub from: u64,
    pub to: u64,
    /// Whether the other side answers each packet.
    pub answered: bool,
}

impl Stream {
    pub fn udp(src: &str, dst: &str, rate: f64, (from, to): (u64, u64)) -> Self {
        Self {
            src: src.parse().unwrap(),
            dst: dst.parse().unwrap(),
            ports: (40_000, 40_000),
            protocol: UDP,
            flags: 0,
            length: 500,
            rate,
            from,
            to,
            answered: false,
        }
    }

    fn record(&self, (first, last): (u64, u64), packets: u64, is_reply: bool) -> FlowRecord {
        let (src, dst) = match is_reply {
            true => (self.dst, self.src),
            false => (self.src, self.dst),
        };
        let (sport, dport) = match is_reply {
            true => (self.ports.1, self.ports.0),
            false => self.ports,
        };
        let bytes = |address: IpAddr| {
            let mut bytes = [0; 16];
            match address {
                IpAddr::V4(address) => bytes[..4].copy_from_slice(&address.octets()),
                IpAddr::V6(address) => bytes = address.octets(),
            }
            bytes
        };
        let family = match src {
            IpAddr::V4(_) => Family::Ipv4,
            IpAddr::V6(_) => Family::Ipv6,
        };
        FlowRecord {
            key: FlowKey {
                src: bytes(src),
                dst: bytes(dst),
                ifindex: 2,
                src_port: sport,
                dst_port: dport,
                vlan_outer: 0,
                vlan_inner: 0,
                protocol: self.protocol,
                direction: match is_reply {
                    true => Direction::Egress,
                    false => Direction::Ingress,
                },
                family,
            },
            packets,
            frame_bytes: packets * (self.length + 14),
            ip_bytes: packets * self.length,
            first,
            last,
            tcp_flags: match is_reply && self.flags == SYN {
                true => SYN | ACK,
                false => self.flags,
            },
            ..FlowRecord::empty(family)
        }
    }
}

/// Returns the records of a stream, each at its arrival: the kernel sends one a second; `phase` in 0..16.
pub fn records(stream: &Stream, phase: u64) -> Vec<(u64, FlowRecord)> {
    let mut arrivals = Vec::new();
    let count = ((stream.to - stream.from) as f64 / 1e9 * stream.rate) as u64;
    let time = |n: u64| START + stream.from + (n as f64 / stream.rate * 1e9) as u64;
    let mut sweep = START + stream.from / SECOND * SECOND + phase * SECOND / 16;
    let mut n = 0;
    while n < count {
        let first = n;
        while n < count && time(n) <= sweep {
            n += 1;
        }
        if n > first {
            let times = (time(first), time(n - 1));
            arrivals.push((sweep, stream.record(times, n - first, false)));
            if stream.answered {
                // another entry of the cache
                let later = sweep + (phase * 7 % 16) * SECOND / 16;
                arrivals.push((later, stream.record(times, n - first, true)));
            }
        }
        sweep += SECOND;
    }
    arrivals
}

pub struct Simulation {
    pub detector: Detector,
    pub table: FlowTable,
    /// Time of each arrival, and the record.
    arrivals: Vec<(u64, FlowRecord)>,
    pub alarms: Vec<AttackReport>,
    pub updates: Vec<AttackReport>,
    pub calm: usize,
    /// The wall clock at [`START`].
    pub unix_s: u64,
}

/// Packets 1,000, bits 8,000,000, new flows 500, SYN 200, fragments 300; a prefix has four times as much.
pub fn settings(protect: &str) -> DetectorSettings {
    let host = [1_000.0, 8e6, 500.0, 200.0, 300.0];
    DetectorSettings {
        protect: vec![protect.parse().unwrap()],
        host: Thresholds(host),
        prefix: Thresholds(host.map(|value| value * 4.0)),
        baseline: Default::default(),
    }
}

impl Simulation {
    pub fn new(protect: &str) -> Self {
        Self::with(settings(protect))
    }

    pub fn with(settings: DetectorSettings) -> Self {
        let limits = TableLimits {
            max_flows: 65_536,
            idle_timeout_ms: 30_000,
            active_timeout_ms: 60_000,
            tcp_close_delay_ms: None,
            spread: false,
        };
        Self {
            detector: Detector::new(settings, 7, START - 10 * SECOND),
            table: FlowTable::new(limits),
            arrivals: Vec::new(),
            alarms: Vec::new(),
            updates: Vec::new(),
            calm: 0,
            unix_s: 1_700_000_000,
        }
    }

    /// Adds the records of a stream.
    pub fn stream(&mut self, stream: &Stream, phase: u64) {
        self.arrivals.extend(records(stream, phase));
    }

    /// Adds only the answers of a stream: what the protected host sends.
    pub fn egress(&mut self, stream: &Stream, phase: u64) {
        let answered = Stream {
            answered: true,
            ..*stream
        };
        let before = self.arrivals.len();
        self.stream(&answered, phase);
        let added = self.arrivals.split_off(before).into_iter();
        let sent = added.filter(|(_, record)| record.key.direction == Direction::Egress);
        self.arrivals.extend(sent);
    }

    /// Adds a flood of packets, each of another flow, whose records are evicted at once.
    pub fn flood(&mut self, rate: u64, (from, to): (u64, u64), packet: impl Fn(u64) -> Stream) {
        let count = (to - from) * rate / SECOND;
        for n in 0..count {
            let at = START + from + n * SECOND / rate;
            let stream = packet(n);
            self.arrivals.push((at, stream.record((at, at), 1, false)));
            if stream.answered {
                self.arrivals
                    .push((at + MS, stream.record((at + MS, at + MS), 1, true)));
            }
        }
    }

    /// Runs until a time after [`START`].
    pub fn run(&mut self, until: u64) {
        self.arrivals.sort_by_key(|(at, _)| *at);
        let mut arrivals = std::mem::take(&mut self.arrivals).into_iter().peekable();
        let mut now = START;
        while now <= START + until {
            while let Some((_, record)) = arrivals.next_if(|(at, _)| *at <= now) {
                self.detector.count(&record, &self.table);
                self.table.update(&record, (now - START) / MS, &mut Nobody);
            }
            let known = ReportLookups {
                flows: &self.table,
                lookup: &TestLookup,
            };
            let unix_s = self.unix_s + (now - START) / SECOND;
            self.detector.advance(now, unix_s, known);
            for event in self.detector.take_events() {
                match event {
                    DetectorEvent::Alarm(report) => self.alarms.push(*report),
                    DetectorEvent::Update(report) => self.updates.push(*report),
                    DetectorEvent::Calm(_) => self.calm += 1,
                }
            }
            now += 10 * MS;
        }
    }

    /// Returns the only alarm, which was raised in time after the attack began.
    pub fn alarm(&self, began: u64) -> &AttackReport {
        let [alarm] = &self.alarms[..] else {
            panic!("{:?}", self.alarms);
        };
        assert!(alarm.now_ns >= START + began, "{alarm:?}");
        let after = alarm.now_ns - START - began;
        assert!(after <= 1_500 * MS, "alarm after {} ms", after / MS);
        alarm
    }
}
