// SPDX-License-Identifier: AGPL-3.0-only
//! A full table through BMP: how fast it is taken in, what it holds, how long a lookup takes, and what
//! is given back.
//!
//! `cargo bench --bench rib`. The table is made up: 1.0 M IPv4 and 0.23 M IPv6 prefixes of the lengths
//! that the Internet has, of 75,000 origins that share paths as there. One process sends by TCP,
//! another, which holds the Rib, is measured: routes per second of its CPU time and of the wall clock,
//! and its resident memory. Medians of five runs, with the least and the greatest.

#[path = "rib/table.rs"]
mod table;

use std::error::Error;
use std::hint::black_box;
use std::io::{BufRead, BufReader, Lines, Write};
use std::net::{IpAddr, TcpStream};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{env, fs, io, thread};

use rfm::config;
use rfm::enrich::bmp::Collector;
use rfm::enrich::rib::{RibHandle, Settings, TableId};
use rfm::errors::Errors;
use rfm::threads::Threads;

const RUNS: usize = 5;
const STALE: Duration = Duration::from_secs(1);
const LOOKUPS: usize = 2_000_000;

/// What the measured process says of itself.
#[derive(Clone, Copy, Debug)]
struct State {
    routes: usize,
    /// Nanoseconds of CPU.
    cpu: u64,
    resident: u64,
}

fn resident() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").expect("procfs is mounted");
    let pages: Option<u64> = statm.split(' ').nth(1).and_then(|f| f.parse().ok());
    pages.expect("statm has a second field") * 4096
}

fn cpu() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// The measured process: holds the Rib, and answers on standard output what standard input asks.
fn serve() -> Result<(), Box<dyn Error>> {
    let rib = RibHandle::new(Settings {
        max_routes: 4_000_000,
        stale_ms: STALE.as_millis() as u64,
        ..Settings::default()
    });
    let config = config::Rib {
        local_asn: 0,
        bmp: config::Bmp {
            host: "127.0.0.1".into(),
            port: 0,
            allow: Vec::new(),
            max_sessions: 16,
            max_routes: 4_000_000,
            stale_time: STALE,
        },
        vrf: Default::default(),
    };
    let collector = Collector::bind(&config, rib.clone(), Arc::new(Errors::default()))?;
    println!("{}", collector.addresses()[0]);
    let threads = Threads::new();
    threads.spawn("bmp", move |heartbeat| collector.run(&heartbeat))?;
    for line in io::stdin().lines() {
        match line?.as_str() {
            "popular" => println!("{}", lookups(&rib, true)),
            "any" => println!("{}", lookups(&rib, false)),
            _ => {
                let counts = rib.read(rfm::enrich::rib::Rib::counts);
                let routes: usize = counts.routes.iter().sum();
                println!("{routes} {} {}", cpu(), resident());
            }
        }
    }
    threads.stop("bmp");
    Ok(())
}

/// Nanoseconds of CPU for the lookup of an address that has a route, four of five IPv4: from any prefix
/// alike, or from some more often than from others, as traffic is.
fn lookups(rib: &RibHandle, popular: bool) -> f64 {
    let addresses: Vec<IpAddr> = table::addresses(LOOKUPS, popular);
    let start = cpu();
    let mut found = 0;
    // as the flow thread does for a batch: one lock for many
    for batch in addresses.chunks(64) {
        rib.read(|rib| {
            for address in batch {
                found += usize::from(black_box(rib.lookup(*address, TableId::GLOBAL)).is_some());
            }
        });
    }
    assert!(found > LOOKUPS * 99 / 100, "{found} of {LOOKUPS} found");
    (cpu() - start) as f64 / LOOKUPS as f64
}

struct Measured {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    address: String,
}

impl Measured {
    fn start() -> Result<Self, Box<dyn Error>> {
        let mut child = Command::new(env::current_exe()?)
            .arg("serve")
            // as main() sets it in the agent
            .env("MALLOC_MMAP_THRESHOLD_", "131072")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = child.stdin.take().ok_or("no standard input")?;
        let output = child.stdout.take().ok_or("no standard output")?;
        let mut output = BufReader::new(output).lines();
        let address = output.next().ok_or("no address")??;
        Ok(Self {
            child,
            input,
            output,
            address,
        })
    }

    fn ask(&mut self, what: &str) -> Result<String, Box<dyn Error>> {
        writeln!(self.input, "{what}")?;
        Ok(self.output.next().ok_or("no answer")??)
    }

    fn state(&mut self) -> Result<State, Box<dyn Error>> {
        let text = self.ask("state")?;
        let figures: Vec<u64> = text.split(' ').map(str::parse).collect::<Result<_, _>>()?;
        let [routes, cpu, resident] = figures[..] else {
            return Err("three figures expected".into());
        };
        Ok(State {
            routes: routes as usize,
            cpu,
            resident,
        })
    }

    /// Until it holds so many routes and its memory has settled.
    fn wait(&mut self, routes: usize) -> Result<State, Box<dyn Error>> {
        loop {
            let state = self.state()?;
            if state.routes == routes {
                return Ok(state);
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Sends a session's bytes; the connection stays open.
    fn send(&self, bytes: &[u8]) -> io::Result<TcpStream> {
        let mut stream = TcpStream::connect(&self.address)?;
        stream.write_all(bytes)?;
        Ok(stream)
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        // it may have ended by itself
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Figures of one run, by name.
type Figures = Vec<(&'static str, f64)>;

fn run(first: &[u8], second: &[u8]) -> Result<Figures, Box<dyn Error>> {
    const MB: f64 = 1e6;
    let routes = table::ROUTES as f64;
    let mut measured = Measured::start()?;
    let idle = measured.state()?;
    let start = Instant::now();
    let one = measured.send(first)?;
    let loaded = measured.wait(table::ROUTES)?;
    let wall = start.elapsed().as_secs_f64();
    thread::sleep(Duration::from_secs(1));
    let settled = measured.state()?;
    let popular = measured.ask("popular")?.parse()?;
    let any = measured.ask("any")?.parse()?;
    let before = measured.state()?;
    let start = Instant::now();
    let two = measured.send(second)?;
    let both = measured.wait(2 * table::ROUTES)?;
    let second_wall = start.elapsed().as_secs_f64();
    thread::sleep(Duration::from_secs(1));
    let both_settled = measured.state()?;
    let popular_both = measured.ask("popular")?.parse()?;
    let any_both = measured.ask("any")?.parse()?;
    drop((one, two));
    measured.wait(0)?;
    thread::sleep(Duration::from_secs(2));
    let end = measured.state()?;
    let rate = |from: &State, to: &State| routes / (to.cpu - from.cpu) as f64 * 1e3;
    Ok(vec![
        ("M routes/s of CPU, first peer", rate(&idle, &loaded)),
        ("M routes/s by the clock, first peer", routes / wall / 1e6),
        ("M routes/s of CPU, second peer", rate(&before, &both)),
        (
            "M routes/s by the clock, second peer",
            routes / second_wall / 1e6,
        ),
        ("MB resident, idle", idle.resident as f64 / MB),
        ("MB resident, one table", settled.resident as f64 / MB),
        (
            "MB more for the second peer",
            (both_settled.resident as f64 - settled.resident as f64) / MB,
        ),
        ("MB resident after both are gone", end.resident as f64 / MB),
        ("ns a lookup as traffic is, one peer", popular),
        ("ns a lookup as traffic is, two peers", popular_both),
        ("ns a lookup of any prefix, one peer", any),
        ("ns a lookup of any prefix, two peers", any_both),
    ])
}

fn main() -> Result<(), Box<dyn Error>> {
    if env::args().nth(1).as_deref() == Some("serve") {
        return serve();
    }
    let first = table::session(0);
    let second = table::session(1);
    println!(
        "{} routes in {} MB; the Go program of the same name: 0.205 M routes/s, 670 MB, +263 MB for a second peer, nothing given back",
        table::ROUTES,
        first.len() / 1_000_000
    );
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        runs.push(run(&first, &second)?);
    }
    for i in 0..runs[0].len() {
        let mut values: Vec<f64> = runs.iter().map(|figures| figures[i].1).collect();
        values.sort_by(f64::total_cmp);
        println!(
            "{:<40} {:>8.2} ({:.2} to {:.2})",
            runs[0][i].0,
            values[RUNS / 2],
            values[0],
            values[RUNS - 1]
        );
    }
    Ok(())
}
