// SPDX-License-Identifier: AGPL-3.0-only
//! Thread ipfix alone, with parts of our making, towards collectors in this process.

use std::io::ErrorKind;
use std::net::UdpSocket;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rfm::config::{IpfixBind, IpfixCollector};
use rfm::enrich::{BgpInfo, FlowRouting};
use rfm::flow::export_queue::ExportSender;
use rfm::flow::table::{CompletedRecord, EndReason};
use rfm::ipfix::collector_stats::CollectorStats;
use rfm::ipfix::flows::Layout;
use rfm::ipfix::options::ExportedInterface;
use rfm::ipfix::thread::{self, ExportSources, ExporterSettings, Target};
use rfm::sys::clock::Clock;
use rfm::sys::error_counters::ErrorCounters;
use rfm::sys::threads::Threads;
use rfm::types::flow::{Direction, Family, FlowKey, FlowRecord};
use rfm::types::source::SourceState;
use rfm::types::transport::Transport;

use super::common::lab::wait_for;
use super::decode::{Decoded, Decoder, ENTERPRISE, Record};

pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
pub const DOMAIN: u32 = 77;
/// From CLOCK_BOOTTIME, in the records, to the wall clock, in the messages.
pub const OFFSET: i64 = 1_700_000_000_000_000_000;

/// Everything is known, made up from the key.
pub fn routing(key: &FlowKey) -> FlowRouting {
    let info = |port: u16, address: std::net::IpAddr| BgpInfo {
        asn: 1_000_000 + u32::from(port),
        peer_asn: 64_500 + u32::from(port % 7),
        prefix_len: (port % 33) as u8,
        next_hop: Some(address),
    };
    FlowRouting {
        src: info(key.src_port, key.source()),
        dst: info(key.dst_port, key.destination()),
        ip_next_hop: Some(key.source()),
        // each state, and none
        source: SourceState::ALL.get(usize::from(key.src_port % 7)).copied(),
    }
}

struct MadeUp;

impl ExportSources for MadeUp {
    fn refresh(&mut self, _: u64) {}

    fn routing(&self, record: &FlowRecord) -> FlowRouting {
        routing(&record.key)
    }

    fn interfaces(&mut self) -> Vec<ExportedInterface> {
        let interface = |(ifindex, name, description): (u32, &str, &str)| ExportedInterface {
            ifindex,
            name: name.into(),
            description: description.into(),
            repeats: name == REPEATING.1,
        };
        [
            (2, "eth0", "to the world"),
            (3, "lan", ""),
            (REPEATING.0, REPEATING.1, ""),
        ]
        .map(interface)
        .into()
    }

    fn dropped(&self) -> (u64, u64) {
        (11, 1111)
    }
}

/// An interface whose flows are also those of eth0.
pub const REPEATING: (u32, &str) = (4, "eth0.10");

/// Thread ipfix, and what feeds it.
pub struct Fixture {
    pub stats: Vec<Arc<CollectorStats>>,
    pub errors: Arc<ErrorCounters>,
    export_sender: Option<ExportSender>,
    threads: Threads,
    epoch: Instant,
}

const LAYOUT: Layout = Layout {
    routes: true,
    prev_adjacent: true,
    drops: true,
    source_check: None,
};

impl Fixture {
    pub fn new(collectors: &[(Transport, u16)], refresh: Duration) -> Self {
        Self::with_layout(LAYOUT, collectors, refresh)
    }

    /// Towards one UDP collector on this port, with the result of the source check.
    pub fn with_source_check(port: u16) -> Self {
        let layout = Layout {
            source_check: NonZeroU32::new(ENTERPRISE),
            ..LAYOUT
        };
        Self::with_layout(layout, &[(Transport::Udp, port)], Duration::from_secs(60))
    }

    fn with_layout(layout: Layout, collectors: &[(Transport, u16)], refresh: Duration) -> Self {
        let (export_sender, export_receiver) =
            ExportSender::new(Direction::ALL.into(), Arc::default());
        let bind = IpfixBind {
            host: String::new(),
            port: 0,
        };
        let target = |&(transport, port): &(Transport, u16)| {
            let collector = IpfixCollector {
                host: "127.0.0.1".into(),
                port,
                transport,
            };
            let stats = CollectorStats::new(collector.label(), export_receiver.losses.clone());
            Target::new(&collector, &bind, Arc::new(stats))
        };
        let targets: Vec<_> = collectors.iter().map(target).collect();
        let stats = targets.iter().map(|t| t.stats.clone()).collect();
        let settings = ExporterSettings {
            targets,
            template_refresh: refresh,
            domain: DOMAIN,
            layout,
            sample_rate: 1,
            lookups: Arc::default(),
            clock: Clock::with_offset(OFFSET),
        };
        let errors = Arc::new(ErrorCounters::default());
        let (threads, theirs) = (Threads::new(), errors.clone());
        threads
            .spawn("ipfix", move |heartbeat| {
                thread::run(settings, MadeUp, export_receiver, &theirs, &heartbeat);
            })
            .unwrap();
        Self {
            stats,
            errors,
            export_sender: Some(export_sender),
            threads,
            epoch: Instant::now(),
        }
    }

    /// Towards one UDP collector on this port.
    pub fn udp(port: u16) -> Self {
        Self::new(&[(Transport::Udp, port)], Duration::from_secs(60))
    }

    /// Exports parts, in as many batches as it takes.
    pub fn export(&mut self, parts: &[CompletedRecord]) {
        let export_sender = self.export_sender.as_mut().expect("not stopped");
        for part in parts {
            export_sender.push(part);
        }
        // the time of the outlet is ours
        let now = self.epoch.elapsed().as_millis() as u64;
        export_sender.flush_if_due(now + 1_000_000_000 + 1_000 * now);
    }

    /// Waits for room in the queue, as thread flow does.
    pub fn wait_for_room(&self) {
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        let export_sender = self.export_sender.as_ref().expect("not stopped");
        assert!(export_sender.wait(deadline), "no room");
    }

    /// The end of the agent: thread flow lets go of the outlet, then the thread is told to end.
    pub fn stop(&mut self) {
        self.export_sender = None;
        self.threads.stop("ipfix");
    }

    /// Records sent and records dropped of the first collector.
    pub fn counts(&self) -> (u64, u64) {
        (self.stats[0].records(), self.stats[0].dropped().parts)
    }

    /// Until so many records are accounted for, sent or dropped.
    pub fn settle(&self, records: u64) -> (u64, u64) {
        let all = || {
            let (sent, dropped) = self.counts();
            sent + dropped
        };
        let settled = wait_for(ANSWER_TIMEOUT, || all() >= records);
        assert!(settled, "{:?} of {records}", self.counts());
        self.counts()
    }
}

/// A collector.
pub struct Listener {
    pub socket: UdpSocket,
    pub decoder: Decoder,
    /// Messages as they came.
    pub raw: Vec<Vec<u8>>,
}

impl Listener {
    pub fn new() -> Self {
        Self::on(0)
    }

    pub fn on(port: u16) -> Self {
        Self::around(UdpSocket::bind(("127.0.0.1", port)).unwrap())
    }

    pub fn around(socket: UdpSocket) -> Self {
        Self {
            socket,
            decoder: Decoder::default(),
            raw: Vec::new(),
        }
    }

    pub fn port(&self) -> u16 {
        self.socket.local_addr().unwrap().port()
    }

    /// The next message; `None` if none comes in time.
    pub fn next(&mut self, patience: Duration) -> Option<Decoded> {
        self.socket.set_read_timeout(Some(patience)).unwrap();
        let mut buffer = [0; 9000];
        match self.socket.recv(&mut buffer) {
            Ok(length) => {
                self.raw.push(buffer[..length].to_vec());
                Some(self.decoder.message(&buffer[..length]))
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => None,
            Err(e) => panic!("{e}"),
        }
    }

    /// The flow records of the next messages, until there are so many.
    pub fn flows(&mut self, count: usize) -> Vec<Record> {
        let mut flows = Vec::new();
        while flows.len() < count {
            let message = self.next(ANSWER_TIMEOUT);
            let message = message.unwrap_or_else(|| panic!("{} of {count} records", flows.len()));
            flows.extend(message.flows().cloned());
        }
        flows
    }

    /// The templates and options, as one message. Returns when the exporter knows that they were not refused.
    pub fn introduced(&mut self) -> Decoded {
        let first = self.next(ANSWER_TIMEOUT).expect("templates");
        std::thread::sleep(Duration::from_millis(500));
        self.with_rest(first)
    }

    /// The records of further messages that were sent together with `first` are added to it. If the templates are
    /// refreshed meanwhile, the refresh is the message.
    pub fn with_rest(&mut self, first: Decoded) -> Decoded {
        let mut message = first;
        while let Some(next) = self.next(Duration::from_millis(100)) {
            match next.templates.is_empty() {
                true => message.records.extend(next.records),
                false => message = next,
            }
        }
        message
    }
}

/// The part of a plain flow, told apart by its port.
pub fn part(port: u16) -> CompletedRecord {
    let mut key = FlowKey {
        src: [0; 16],
        dst: [0; 16],
        ifindex: 2,
        src_port: port,
        dst_port: 53,
        vlan_outer: 0,
        vlan_inner: 0,
        protocol: 17,
        direction: Direction::Egress,
        family: Family::Ipv4,
    };
    key.src[..4].copy_from_slice(&[192, 0, 2, 1]);
    key.dst[..4].copy_from_slice(&[198, 51, 100, 2]);
    CompletedRecord {
        record: FlowRecord {
            key,
            packets: 3,
            frame_bytes: 180,
            ip_bytes: 138,
            first: 1_000_123_456_789,
            last: 1_001_000_000_000,
            sample_rate: 1,
            ingress_ifindex: 3,
            src_mac: [2, 0, 0, 0, 0, 1],
            dst_mac: [2, 0, 0, 0, 0, 2],
            tcp_flags: 0,
            tos: 8,
            weights: Default::default(),
        },
        reason: EndReason::IdleTimeout,
        dropped: false,
    }
}

pub fn parts(ports: std::ops::Range<u16>) -> Vec<CompletedRecord> {
    ports.map(part).collect()
}
