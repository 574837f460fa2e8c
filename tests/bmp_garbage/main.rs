// SPDX-License-Identifier: AGPL-3.0-only
//! Garbage on the BMP port. No thread ends, nothing is left behind.
//!
//! RFM_SOAK_SECONDS sets how long it goes on: 20 by default; `make soak` sets ten minutes.

#[path = "../common/mod.rs"]
mod common;
#[path = "../bmp/data.rs"]
mod data;
mod garbage;

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rfm::enrich::bmp::{Session, SessionStats};
use rfm::enrich::rib::{Rib, RibConfig, TableId};

use common::agent::{Agent, EACH_PACKET, config};
use common::cases::{DST_MAC, SRC_MAC};
use common::frames::Frame;
use common::lab::{Lab, Namespace, can_run, wait_for};
use common::metrics::Metrics;
use common::packet::Sender;
use data::{CAPTURES, capture, messages};
use garbage::{Random, connection, garbage};

const MAX_ROUTES: usize = 5_000;
/// What resident memory may differ by once all is gone.
const SLACK: u64 = 15_000_000;
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

fn length() -> Duration {
    let text = std::env::var("RFM_SOAK_SECONDS").unwrap_or_default();
    Duration::from_secs(text.parse().unwrap_or(20))
}

fn with_captures(run: impl FnOnce(&mut Random, &[Vec<&[u8]>])) {
    let seed = Random::seed();
    eprintln!("seed {seed}");
    let bytes = CAPTURES.map(capture);
    let captures: Vec<_> = bytes.iter().map(|b| messages(b)).collect();
    run(&mut Random(seed), &captures);
}

/// By itself, with a look inside after each connection.
#[test]
fn garbage_leaves_nothing_in_the_rib() {
    with_captures(|random, captures| {
        let mut rib = Rib::new(RibConfig {
            max_routes: MAX_ROUTES,
            stale_ms: 3,
            ..RibConfig::default()
        });
        let end = Instant::now() + length() / 6;
        let (mut now, mut rounds) = (0, 0);
        while Instant::now() < end {
            let mut session = Session::new([127, 0, 0, 1].into(), random.below(2) == 0, 0);
            let bytes = garbage(random, captures);
            let mut stats = SessionStats::default();
            // an error ends the session, as it does in its thread
            let _ = session.feed(&mut rib, &bytes, now, &mut stats);
            rib.apply_changes();
            for _ in 0..20 {
                let address = (random.next() as u32).to_be_bytes();
                let _ = rib.lookup(address.into(), TableId::GLOBAL);
            }
            assert!(rib.held() <= MAX_ROUTES);
            let counts = rib.counts();
            let routes = rib.routes();
            assert_eq!(routes.len(), counts.routes.iter().sum::<usize>());
            now += random.below(3) as u64;
            rib.expire(now);
            session.close(&mut rib, now);
            rib.sweep();
            rib.compact();
            rounds += 1;
        }
        assert!(rounds > 10);
        rib.expire(now + 10);
        while rib.sweep() {}
        assert_eq!((rib.held(), rib.attribute_sets()), (0, 0));
        assert_eq!(rib.counts(), Default::default());
    });
}

/// The whole agent, which also looks up addresses of traffic meanwhile.
struct Fixture {
    agent: Agent,
    namespace: Namespace,
    sender: Sender,
    sent: u64,
}

impl Fixture {
    fn start(lab: &Lab) -> Self {
        let namespace = lab.wire();
        let more = format!(
            "{EACH_PACKET}[agent.enrich.rib.bmp]\nhost = \"127.0.0.1\"\nstale_time = \"1s\"\n\
             max_routes = {MAX_ROUTES}\n"
        );
        Self {
            agent: Agent::start(lab, &namespace, &config(r#"["v0"]"#, &more)),
            sender: namespace.inside(|| Sender::new("v0").expect("a packet socket")),
            namespace,
            sent: 0,
        }
    }

    /// A router that says this and hangs up.
    fn connect(&self, bytes: &[u8]) {
        self.namespace.inside(|| {
            let address = SocketAddr::from(([127, 0, 0, 1], 11_019));
            let mut stream = TcpStream::connect(address).expect("the agent listens");
            // a session that was ended refuses the rest
            let _ = stream.write_all(bytes);
        });
    }

    fn send_packet(&mut self, random: &mut Random) {
        let mut address = || (random.next() as u32).to_be_bytes().into();
        let frame = Frame::ethernet(SRC_MAC, DST_MAC).ipv4(address(), address());
        let frame = frame.udp().payload(20).build();
        self.sender.send(&frame, 0).expect("sent");
        self.sent += 1;
    }

    fn until(&self, what: &str, yes: impl FnMut(&Metrics) -> bool) -> Metrics {
        let (metrics, reached) = self.agent.scrape_until(ANSWER_TIMEOUT, yes);
        assert!(reached, "{what}");
        metrics
    }
}

#[test]
fn garbage_ends_no_thread_of_the_agent_and_leaves_nothing_behind() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let lab = Lab::new();
    let mut fixture = Fixture::start(&lab);
    let idle = fixture.agent.scrape();
    let figure = |m: &Metrics, name: &str| m.sum(name, &[]);
    with_captures(|random, captures| {
        let (start, length) = (Instant::now(), length());
        let mut before = 0;
        while start.elapsed() < length {
            fixture.connect(&connection(random, captures));
            (0..5).for_each(|_| fixture.send_packet(random));
            // the first tenth fills tables that stay
            if before == 0 && start.elapsed() > length / 10 {
                before = fixture.agent.resident_memory();
            }
        }
        let metrics = fixture.until("sessions and routes are gone", |m| {
            figure(m, "rfm_bmp_sessions") + figure(m, "rfm_rib_routes") == 0
        });
        assert!(figure(&metrics, "rfm_bmp_updates_total") > 1000);
        assert!(figure(&metrics, "rfm_bmp_errors_total") > 100);
        fixture.until("no thread and no socket more", |m| {
            let grown = |name| figure(m, name) > figure(&idle, name);
            !grown("process_threads") && !grown("process_open_fds")
        });
        let sent = fixture.sent;
        let accounting = |m: &Metrics| {
            let accounted = figure(m, "rfm_collector_accounted_packets_total");
            (accounted, figure(m, "rfm_collector_dropped_packets_total"))
        };
        // on a busy machine some may find the ring full
        let all = |m: &Metrics| accounting(m).0 + accounting(m).1 == sent;
        let (metrics, reached) = fixture.agent.scrape_until(ANSWER_TIMEOUT, all);
        assert!(
            reached,
            "accounted, lost: {:?} of {sent}",
            accounting(&metrics)
        );
        let back = wait_for(ANSWER_TIMEOUT, || {
            fixture.agent.resident_memory() < before + SLACK
        });
        assert!(back, "{} of {before}", fixture.agent.resident_memory());
        assert_eq!(
            fixture.agent.get("/healthz").expect("an answer").status,
            200
        );

        // and the next router is served
        fixture.connect(&capture(CAPTURES[0]));
        fixture.until("routes again", |m| figure(m, "rfm_rib_routes") > 0);
    });
    fixture.agent.stop();
}
