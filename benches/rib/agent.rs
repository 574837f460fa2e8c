// SPDX-License-Identifier: AGPL-3.0-only
//! Measures the whole agent with one full table, with two, and after the removal of both.

use std::error::Error;
use std::io::Write;
use std::net::{Ipv4Addr, TcpStream};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::common::daemon::{Daemon, RFM};
use super::common::lab::{Lab, Namespace};
use super::common::metrics::Metrics;
use super::common::report::{Cell, Table};
use super::common::stats::Figure;
use super::table;

const BMP: u16 = 11_019;
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// The time for which the agent is stopped while a router sends.
const STALL: Duration = Duration::from_secs(1);

/// Design targets.
const TARGET_RATE: f64 = 2.0;
const TARGET_ONE: f64 = 65.0;
const TARGET_SECOND: f64 = 20.0;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

pub(super) struct Agent<'a> {
    daemon: Daemon,
    namespace: &'a Namespace,
}

impl<'a> Agent<'a> {
    fn start(lab: &Lab, namespace: &'a Namespace) -> Self {
        Self::with(lab, namespace, "", "")
    }

    /// Starts the agent with further sections, and with further keys of `[agent.prometheus]`.
    pub(super) fn with(
        lab: &Lab,
        namespace: &'a Namespace,
        sections: &str,
        prometheus: &str,
    ) -> Self {
        let config = format!(
            "[agent]\ninterfaces = [\"v0\"]\n{sections}\
             [agent.prometheus]\nhost = \"127.0.0.1\"\nport = 9669\n{prometheus}\
             [agent.enrich.rib.bmp]\nhost = \"127.0.0.1\"\nstale_time = \"1s\"\n"
        );
        let file = lab.file("rfm.toml", &config);
        let path = file.to_str().expect("a path in UTF-8");
        let daemon = Daemon::start(lab, namespace, RFM, &["--config", path]);
        daemon.wait_for("/healthz");
        sleep(Duration::from_millis(1500));
        Self { daemon, namespace }
    }

    /// Returns the resident memory in MB.
    fn resident(&self) -> f64 {
        self.daemon.memory().resident as f64 / 1e6
    }

    /// Returns the resident memory after it has not changed for a second.
    pub(super) fn settled(&self) -> f64 {
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        let (mut last, mut since) = (self.resident(), Instant::now());
        while since.elapsed() < Duration::from_secs(1) && Instant::now() < deadline {
            sleep(Duration::from_millis(50));
            let now = self.resident();
            if (now - last).abs() > 0.5 {
                (last, since) = (now, Instant::now());
            }
        }
        last
    }

    /// Returns the CPU seconds of the threads that receive the routers' messages.
    fn session_seconds(&self) -> f64 {
        self.daemon.thread_time("bmp-session").as_secs_f64()
    }

    fn connect(&self) -> Result<TcpStream> {
        let connect = || TcpStream::connect((Ipv4Addr::LOCALHOST, BMP));
        Ok(self.namespace.inside(connect)?)
    }

    pub(super) fn metrics(&self) -> Result<Metrics> {
        let reply = self.daemon.get("/metrics", false)?;
        Ok(Metrics::parse(&String::from_utf8(reply.body)?))
    }

    /// Waits until the agent has this number of routes.
    fn wait(&self, routes: usize) -> Result<()> {
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        loop {
            let held = self.metrics()?.sum("rfm_rib_routes", &[]) as usize;
            if held == routes {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(format!("{held} routes instead of {routes}").into());
            }
            sleep(Duration::from_millis(5));
        }
    }

    /// Sends a session's bytes; the connection stays open. Returns the routes per microsecond of the session's CPU
    /// time, and of the clock.
    pub(super) fn load(&self, bytes: &[u8], held: usize) -> Result<(TcpStream, f64, f64)> {
        let (cpu, start) = (self.session_seconds(), Instant::now());
        let mut stream = self.connect()?;
        stream.write_all(bytes)?;
        self.wait(held + table::ROUTES)?;
        let wall = start.elapsed().as_secs_f64();
        let cpu = self.session_seconds() - cpu;
        let routes = table::ROUTES as f64 / 1e6;
        Ok((stream, routes / cpu, routes / wall))
    }
}

/// The results of a round, by name.
type Figures = Vec<(&'static str, f64)>;

fn round(lab: &Lab, namespace: &Namespace, first: &[u8], second: &[u8]) -> Result<Figures> {
    let agent = Agent::start(lab, namespace);
    let idle = agent.resident();
    let (one, cpu, wall) = agent.load(first, 0)?;
    let with_one = agent.settled();
    let (two, cpu_second, wall_second) = agent.load(second, table::ROUTES)?;
    let with_two = agent.settled();
    drop((one, two));
    agent.wait(0)?;
    let after = agent.settled();
    Ok(vec![
        ("M routes/s of CPU, one table", cpu),
        ("M routes/s by the clock, one table", wall),
        ("M routes/s of CPU, the second", cpu_second),
        ("M routes/s by the clock, the second", wall_second),
        ("MB resident, idle", idle),
        ("MB resident, one table", with_one),
        ("MB more, the second", with_two - with_one),
        ("MB resident, both are gone", after),
        (
            "ms a router is held up after a stall of 1 s",
            stall(&agent, first)?,
        ),
    ])
}

/// Stops the agent while a router sends a table. Returns the time from the continuation of the agent until the
/// router has sent all of it.
fn stall(agent: &Agent<'_>, bytes: &[u8]) -> Result<f64> {
    let mut stream = agent.connect()?;
    agent.daemon.signal(Signal::STOP);
    let took = thread::scope(|scope| -> Result<Duration> {
        let sender = scope.spawn(|| stream.write_all(bytes));
        sleep(STALL);
        let start = Instant::now();
        agent.daemon.signal(Signal::CONT);
        sender.join().map_err(|_| "the sender panicked")??;
        Ok(start.elapsed())
    })?;
    agent.wait(table::ROUTES)?;
    Ok(took.as_secs_f64() * 1e3)
}

pub fn measure(lab: &Lab, rounds: usize) -> Result<Table> {
    let namespace = lab.namespace("r");
    lab.veth((&namespace, "v0"), (&namespace, "v1"));
    let (first, second) = (table::session(0), table::session(1));
    let text = format!(
        "The agent receives {} routes (1.0 M IPv4, 0.23 M IPv6; {} MB of BMP) by TCP, and then the \
         same prefixes from a second peer. \"Of CPU\": time of the session's thread, including \
         receiving. \"By the clock\": from connecting to the last route. The Go program of the \
         same name reaches 0.205 M routes/s, uses 670 MB, 263 MB more for the second peer, and \
         frees no memory.",
        table::ROUTES,
        first.len() / 1_000_000
    );
    let mut runs = Vec::new();
    for _ in 0..rounds {
        runs.push(round(lab, &namespace, &first, &second)?);
    }
    let mut table = Table::new("Full table by BMP", &text, &["", "figure", "target"]);
    for (i, &(name, _)) in runs[0].iter().enumerate() {
        let values: Vec<f64> = runs.iter().map(|figures| figures[i].1).collect();
        let figure = Figure::of(&values);
        let target = match name {
            "M routes/s of CPU, one table" => {
                Cell::at_least(figure.median, TARGET_RATE, "M routes/s")
            }
            "MB resident, one table" => Cell::at_most(figure.median, TARGET_ONE, "MB"),
            "MB more, the second" => Cell::at_most(figure.median, TARGET_SECOND, "MB"),
            _ => Cell::Nothing,
        };
        table.row(name, [Cell::figure(figure, 2), target]);
    }
    Ok(table)
}
