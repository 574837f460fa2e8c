// SPDX-License-Identifier: AGPL-3.0-only
//! A folder with the history of a year, of the interfaces `wan0` and `ix0` of the made-up router, and what was put in.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rfm::http::deferred::Deferrer;
use rfm::page::stored::{StoredHistory, StoredNames};
use rfm::store::files::writer::{HistoryWriter, StoreSettings, StoreTime};
use rfm::store::reader::HistoryReader;
use rfm::store::shared::SharedHistory;
use rfm::store::types::{
    ConversationList, ConversationRow, EventRow, HistoryInput, MinuteLists, MinuteRows, Part,
    PartRow, ScopeRow, TotalRow,
};

use rfm::sys::threads::Threads;
use rfm::types::address_detail::AddressDetail;
use rfm::types::flow::Direction;
use rfm::types::label::Endpoint;

pub const DAY: u64 = 86_400;
const YEAR: u64 = 365 * DAY;
pub const INTERFACES: [&str; 2] = ["wan0", "ix0"];
/// Stored networks, neighbors, countries and services.
const NETWORKS: u32 = 12;
const COUNTRIES: [&[u8; 2]; 4] = [b"DE", b"NL", b"CH", b"  "];
const SERVICES: [(u8, u16); 5] = [(6, 443), (17, 443), (6, 80), (17, 53), (1, 0)];

/// A row that was put in: the start, its length in seconds, and the bytes of each interface and direction.
#[derive(Clone, Copy)]
pub struct PutIn {
    pub time: u64,
    pub seconds: u64,
    pub bytes: [[u64; 2]; INTERFACES.len()],
}

pub struct Year {
    folder: PathBuf,
    /// The end of the last row, at most a minute ago.
    pub now: u64,
    pub rows: Vec<PutIn>,
    /// The agent did not run: two hours, eight days ago.
    pub outage: (u64, u64),
    pub events: Vec<(u64, &'static str, &'static str)>,
}

impl Drop for Year {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

impl Year {
    /// Returns the year that other tests use as well.
    pub fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Year>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap();
        if let Some(year) = shared.upgrade() {
            return year;
        }
        let year = Arc::new(Self::new());
        *shared = Arc::downgrade(&year);
        year
    }

    fn new() -> Self {
        let name = format!("rfm-page-year-{}", std::process::id());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let now = now.as_secs() / 60 * 60;
        let today = now / DAY * DAY;
        let mut year = Self {
            folder: memory_folder().join(name),
            now,
            rows: Vec::new(),
            outage: (today - 8 * DAY + 3 * 3600, today - 8 * DAY + 5 * 3600),
            events: Vec::new(),
        };
        year.events = vec![
            (year.outage.0, "stop", ""),
            (year.outage.1, "start", ""),
            (now - 3000, "reload", "/etc/rfm/rfm.toml"),
            (now - 1800, "interface_gone", "wg9 <b>"),
        ];
        year.write();
        year
    }

    pub fn history(&self) -> PathBuf {
        self.folder.join("history")
    }

    /// The history as the page reads it.
    pub fn stored(&self) -> (StoredHistory, ReadThread) {
        stored(&self.history())
    }

    fn write(&mut self) {
        std::fs::create_dir_all(&self.folder).unwrap();
        let shared = Arc::new(SharedHistory::new(self.history()));
        let settings = StoreSettings {
            max_size: 96 << 20,
            sync_interval: Duration::from_secs(300),
        };
        let first = (self.now - YEAR) / DAY * DAY;
        let at = |wall: u64| StoreTime {
            wall,
            monotonic: Duration::from_secs(1000 + wall - first),
        };
        let mut writer = HistoryWriter::new(shared, settings, at(first));
        let mut events = self.events.clone().into_iter().peekable();
        let (mut time, mut waiting) = (first, 0);
        while time < self.now {
            // as fine as the tier that a reader of this time uses
            let seconds = match self.now - time {
                age if age <= DAY + 24_000 && time.is_multiple_of(60) => 60,
                age if age <= 9 * DAY && time.is_multiple_of(300) => 300,
                age if age <= 42 * DAY && time.is_multiple_of(3600) => 3600,
                _ => 6 * 3600,
            };
            if !(self.outage.0..self.outage.1).contains(&time) {
                self.put(&writer, first, time, seconds);
                waiting += 1;
            }
            time += seconds;
            while let Some((time, kind, text)) = events.next_if(|event| event.0 < time) {
                let (kind, text) = (kind.to_owned(), text.to_owned());
                writer.add(HistoryInput::Event(EventRow { time, kind, text }));
            }
            if waiting >= 24 || time.is_multiple_of(DAY) {
                writer.tick(at(time + 100));
                waiting = 0;
            }
        }
        writer.close(at(self.now + 1));
    }

    fn put(&mut self, writer: &HistoryWriter, first: u64, time: u64, seconds: u64) {
        let mut put_in = PutIn {
            time,
            seconds,
            bytes: [[0; 2]; INTERFACES.len()],
        };
        let mut rows = Vec::new();
        for (n, name) in INTERFACES.iter().enumerate() {
            // the exchange is new
            if n == 1 && self.now - time > 40 * DAY {
                continue;
            }
            for direction in Direction::ALL {
                let bytes = rate(n, direction, [first, time, self.now]) * seconds;
                put_in.bytes[n][direction as usize] = bytes;
                rows.push(scope(name, direction, bytes, seconds));
            }
        }
        writer.add(HistoryInput::Minute(MinuteRows { minute: time, rows }));
        if self.now - time < 13 * DAY && (seconds > 60 || time.is_multiple_of(600)) {
            let conversations = Direction::ALL.map(|direction| {
                let bytes = put_in.bytes[0][direction as usize];
                list(direction, bytes)
            });
            writer.add(HistoryInput::Lists(MinuteLists {
                minute: time,
                parts: Vec::new(),
                prefixes: Vec::new(),
                conversations: conversations.into(),
            }));
        }
        self.rows.push(put_in);
    }
}

/// Returns a folder in which a sync takes no time.
fn memory_folder() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    match memory.is_dir() {
        true => memory,
        false => std::env::temp_dir(),
    }
}

/// Bytes per second: a day and a week have their shapes, and the year grows. The last day is that of the made-up router,
/// so that curves and percentiles agree.
fn rate(interface: usize, direction: Direction, [first, time, now]: [u64; 3]) -> u64 {
    let hours = (now - time) as f64 / 3600.0;
    let daily = 0.62 - 0.38 * ((2.0 - hours) / 24.0 * std::f64::consts::TAU).cos();
    let weekly = if matches!(hours as u64 / 24 % 7, 2 | 3) {
        0.75
    } else {
        1.0
    };
    let growth = 0.5 + 0.5 * (time - first) as f64 / YEAR as f64;
    let base = [201e6, 70e6][interface] * [1.0, 0.22][direction as usize];
    let noise = 0.95 + 0.1 * ((time / 60 * 7919 % 1009) as f64 / 1009.0);
    (base * daily * weekly * growth * noise) as u64
}

fn scope(name: &str, direction: Direction, bytes: u64, seconds: u64) -> ScopeRow {
    let most = |bytes: u64| bytes as f32 / seconds as f32 * 1.3;
    let part = |part, bytes: u64| PartRow {
        part,
        bytes,
        max_rate: most(bytes),
    };
    let share = |n: usize| bytes / 4 * 3 / (n as u64 + 2) / 2;
    let mut parts: Vec<PartRow> = (0..NETWORKS)
        .map(|n| part(Part::Network(64_500 + n), share(n as usize)))
        .collect();
    parts.extend((0..3).map(|n| part(Part::Neighbor(64_500 + n), share(n as usize))));
    let countries = COUNTRIES.iter().enumerate();
    parts.extend(countries.map(|(n, code)| part(Part::Country(**code), share(n))));
    let services = SERVICES.iter().enumerate();
    parts.extend(services.map(|(n, (proto, port))| part(Part::Service(*proto, *port), share(n))));
    let total = |bytes: u64| TotalRow {
        bytes,
        packets: bytes / 1000,
        max_rate: most(bytes),
    };
    ScopeRow {
        interface: name.into(),
        direction,
        covered_ms: (seconds * 1000) as u32,
        totals: [total(bytes - bytes / 4), total(bytes / 4), total(0)],
        parts,
    }
}

/// The address in a /24 of a network.
fn far(n: u8) -> std::net::IpAddr {
    [198, 51, n, 0].into()
}

fn list(direction: Direction, bytes: u64) -> ConversationList {
    let rows = (0..12u8).map(|n| {
        let near = [192, 0, 2, 0].into();
        let (source, destination) = match direction {
            Direction::Ingress => (far(n), near),
            Direction::Egress => (near, far(n)),
        };
        let (protocol, service_port) = SERVICES[usize::from(n) % SERVICES.len()];
        ConversationRow {
            source,
            destination,
            protocol,
            service_port,
            bytes: bytes / (u64::from(n) + 3) / 3,
            packets: bytes / (u64::from(n) + 3) / 3000,
        }
    });
    ConversationList {
        interface: INTERFACES[0].into(),
        direction,
        rows: rows.collect(),
        rest: (0, 0),
    }
}

/// The thread that reads the history.
pub struct ReadThread(Threads);

impl Drop for ReadThread {
    fn drop(&mut self) {
        self.0.stop("history-read");
    }
}

/// A folder as the page reads it; the networks are those of the made-up router.
pub fn stored(folder: &Path) -> (StoredHistory, ReadThread) {
    stored_after(folder, || ())
}

/// The same; each answer waits for the end of `wait`.
pub fn stored_after(
    folder: &Path,
    wait: impl Fn() + Send + Sync + 'static,
) -> (StoredHistory, ReadThread) {
    let lookup = |address: std::net::IpAddr| {
        let std::net::IpAddr::V4(address) = address else {
            return Endpoint::default();
        };
        let [a, _, n, _] = address.octets();
        Endpoint {
            asn: if a == 198 { 64_500 + u32::from(n) } else { 0 },
            country: (a == 198).then(|| "DE".into()),
            ..Endpoint::default()
        }
    };
    let names = StoredNames {
        lookup: Box::new(move || {
            wait();
            Box::new(lookup)
        }),
        asn_name: Box::new(crate::made::network_name),
        addresses: AddressDetail::Prefix,
    };
    let (reads, requests) = Deferrer::new().expect("a descriptor");
    let threads = Threads::new();
    let run = move |heartbeat| requests.run(&heartbeat);
    threads.spawn("history-read", run).expect("a thread");
    let history = StoredHistory::new(HistoryReader::of_folder(folder), names, reads);
    (history, ReadThread(threads))
}
