// SPDX-License-Identifier: AGPL-3.0-only
//! The collector with its threads and a Rib, without the rest of the agent.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use rfm::config;
use rfm::enrich::bmp::{BmpChange, Collector, RouterStats};
use rfm::enrich::rib::{Rib, RibConfig, SharedRib, TableId};
use rfm::sys::error_counters::ErrorCounters;
use rfm::sys::threads::Threads;

pub struct Agent {
    pub rib: SharedRib,
    pub errors: Arc<ErrorCounters>,
    pub router_stats: Arc<RouterStats>,
    pub threads: Threads,
    pub changes: Sender<BmpChange>,
    pub address: SocketAddr,
}

impl Agent {
    pub fn start(stale_ms: u64, change: impl FnOnce(&mut config::Bmp)) -> Self {
        let mut bmp = config::Bmp {
            host: "127.0.0.1".into(),
            port: 0,
            allow: Vec::new(),
            max_sessions: 4,
            max_routes: 100_000,
            stale_time: Duration::from_millis(stale_ms),
        };
        change(&mut bmp);
        let rib = SharedRib::new(RibConfig {
            max_routes: bmp.max_routes as usize,
            stale_ms,
            ..RibConfig::default()
        });
        let errors = Arc::new(ErrorCounters::default());
        let config = config::Rib {
            communities: Vec::new(),
            local_asn: 0,
            bmp,
            vrf: Default::default(),
        };
        let collector = Collector::bind((&config).into(), rib.clone(), errors.clone()).unwrap();
        let address = collector.addresses()[0];
        let (router_stats, changes) = (collector.router_stats(), collector.changes());
        let threads = Threads::new();
        threads
            .spawn("bmp", move |heartbeat| collector.run(&heartbeat))
            .unwrap();
        Self {
            rib,
            errors,
            router_stats,
            threads,
            changes,
            address,
        }
    }

    pub fn connect(&self, bytes: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.write_all(bytes).unwrap();
        stream
    }

    /// Has `[agent.enrich.rib.bmp]` say something else.
    pub fn change(&self, bmp: &str) {
        let text = format!("[agent]\ninterfaces = [\"*\"]\n[agent.enrich.rib.bmp]\n{bmp}\n");
        let config = config::parse("t", &text, &config::Machine::here()).unwrap();
        self.changes.send((&config.agent).into()).unwrap();
    }

    pub fn routes(&self) -> usize {
        self.rib.read(Rib::counts).routes.iter().sum()
    }

    pub fn origin(&self, address: &str) -> u32 {
        let route = self.rib.lookup(address.parse().unwrap(), TableId::GLOBAL);
        route.map_or(0, |route| route.origin_asn)
    }

    pub fn error(&self, kind: &str) -> u64 {
        let mut errors = self.router_stats.error_counts();
        errors.find(|(name, _)| *name == kind).unwrap().1
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.threads.stop("bmp");
    }
}

#[track_caller]
pub fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
