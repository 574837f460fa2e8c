// SPDX-License-Identifier: AGPL-3.0-only
//! The built binary at work inside a namespace.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::panic::{self, AssertUnwindSafe};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::lab::{Lab, Namespace, end, try_run, wait_for};
use super::metrics::Metrics;

pub const PORT: u16 = 9669;

/// A running rfm; killed when dropped.
pub struct Agent {
    child: Child,
    namespace: Namespace,
    log: std::path::PathBuf,
}

/// An exact configuration: every packet is taken. `more` is TOML that begins inside `[agent]`. Without
/// a control socket: agents of other tests run beside this one.
pub fn config(interfaces: &str, more: &str) -> String {
    format!(
        "[agent]\ninterfaces = {interfaces}\n{more}\n\
         [agent.control]\nsocket = \"\"\n\
         [agent.prometheus]\nhost = \"127.0.0.1\"\nport = {PORT}\n"
    )
}

/// `[agent.bpf]` with a sample rate of 1.
pub const EXACT: &str = "[agent.bpf]\nsample_rate = 1\n";

/// The same, and each packet is a record at once.
pub const EACH_PACKET: &str = "[agent.bpf]\nsample_rate = 1\nflow_cache = 0\n";

impl Agent {
    /// Starts it and waits until `/healthz` is 200: every interface that is there is attached.
    pub fn start(lab: &Lab, namespace: &Namespace, config: &str) -> Self {
        Self::start_with(lab, namespace, config, &[])
    }

    /// As [`Agent::start`], with environment variables.
    pub fn start_with(
        lab: &Lab,
        namespace: &Namespace,
        config: &str,
        environment: &[(&str, &str)],
    ) -> Self {
        let mut command = command(lab, namespace, config, &[]);
        command.envs(environment.iter().copied());
        Self::spawn(lab, namespace, command)
    }

    /// As [`Agent::start`], under the programs of `wrapper`.
    pub fn start_under(lab: &Lab, namespace: &Namespace, config: &str, wrapper: &[&str]) -> Self {
        Self::spawn(lab, namespace, command(lab, namespace, config, wrapper))
    }

    /// As [`Agent::start_under`], with a change of the command.
    pub fn start_prepared(
        lab: &Lab,
        namespace: &Namespace,
        config: &str,
        wrapper: &[&str],
        prepare: impl FnOnce(&mut Command),
    ) -> Self {
        let mut command = command(lab, namespace, config, wrapper);
        prepare(&mut command);
        Self::spawn(lab, namespace, command)
    }

    /// As [`Agent::start`], while `disturb` does something to the process until the flag is set.
    pub fn start_disturbed(
        lab: &Lab,
        namespace: &Namespace,
        config: &str,
        disturb: impl FnOnce(u32, &AtomicBool) + Send,
    ) -> Self {
        let mut agent = Self::launch(lab, namespace, command(lab, namespace, config, &[]));
        let (pid, started) = (agent.pid(), AtomicBool::new(false));
        thread::scope(|scope| {
            scope.spawn(|| disturb(pid, &started));
            let result = panic::catch_unwind(AssertUnwindSafe(|| agent.wait_until_healthy()));
            started.store(true, Ordering::Release);
            result.unwrap_or_else(|reason| panic::resume_unwind(reason));
        });
        agent
    }

    fn spawn(lab: &Lab, namespace: &Namespace, command: Command) -> Self {
        let mut agent = Self::launch(lab, namespace, command);
        agent.wait_until_healthy();
        agent
    }

    fn launch(lab: &Lab, namespace: &Namespace, mut command: Command) -> Self {
        let log = lab.path("rfm.log");
        let output = fs::File::create(&log).expect("a log file");
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a second handle"))
            .stderr(output)
            .spawn()
            .expect("ip netns exec");
        Self {
            child,
            namespace: namespace.clone(),
            log,
        }
    }

    fn wait_until_healthy(&mut self) {
        let healthy = wait_for(Duration::from_secs(40), || {
            if let Some(status) = self.child.try_wait().expect("our own child") {
                panic!("the agent ended early: {status}\n{}", self.log());
            }
            self.get("/healthz").is_ok_and(|reply| reply.status == 200)
        });
        assert!(healthy, "not healthy after 40 s:\n{}", self.log());
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// One request on a connection of its own.
    pub fn get(&self, path: &str) -> io::Result<Reply> {
        http_get(&self.namespace, PORT, path)
    }

    pub fn scrape(&self) -> Metrics {
        let reply = self
            .get("/metrics")
            .unwrap_or_else(|e| panic!("/metrics: {e}\n{}", self.log()));
        assert_eq!(reply.status, 200, "{}", reply.body);
        Metrics::parse(&reply.body)
    }

    /// Scrapes until `yes`; the last scrape, and whether it was.
    pub fn scrape_until(
        &self,
        limit: Duration,
        mut yes: impl FnMut(&Metrics) -> bool,
    ) -> (Metrics, bool) {
        let mut last = Metrics::default();
        let reached = wait_for(limit, || {
            last = self.scrape();
            yes(&last)
        });
        (last, reached)
    }

    /// `VmRSS` in bytes.
    pub fn resident_memory(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = fs::read_to_string(path).expect("the agent runs");
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
        let kibibytes = line.and_then(|l| l.trim().strip_suffix(" kB"));
        kibibytes
            .expect("VmRSS")
            .trim()
            .parse::<u64>()
            .expect("a number")
            * 1024
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// File descriptors that it holds.
    pub fn open_files(&self) -> usize {
        let folder = format!("/proc/{}/fd", self.child.id());
        fs::read_dir(folder).expect("the agent runs").count()
    }

    /// Processor time of all threads so far, to the nanosecond, as the scheduler keeps it.
    pub fn cpu_time(&self) -> Duration {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id()));
        let nanoseconds = tasks.expect("the agent runs").map(|task| {
            let path = task.expect("a thread").path().join("schedstat");
            let text = fs::read_to_string(path).expect("CONFIG_SCHED_INFO");
            let first = text.split(' ').next().map(str::parse::<u64>);
            first.expect("three numbers").expect("a number")
        });
        Duration::from_nanos(nanoseconds.sum())
    }

    /// SIGTERM: must end by itself, and with exit code 0.
    pub fn stop(self) {
        self.stop_by(Signal::TERM);
    }

    /// As [`Agent::stop`]; how long it took.
    pub fn stop_by(mut self, signal: Signal) -> Duration {
        let start = Instant::now();
        self.signal(signal);
        let status = self.wait(Duration::from_secs(10));
        assert_eq!(status.and_then(|s| s.code()), Some(0), "{}", self.log());
        start.elapsed()
    }

    /// SIGKILL: no time for any farewell.
    pub fn kill(mut self) {
        self.signal(Signal::KILL);
        let status = self.wait(Duration::from_secs(10));
        assert!(status.is_some(), "a killed process ends");
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the agent runs");
    }

    fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        let mut status = None;
        wait_for(limit, || {
            status = self.child.try_wait().expect("our own child");
            status.is_some()
        });
        status
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        end(&mut self.child);
        if std::thread::panicking() {
            eprintln!("--- the agent's log\n{}---", self.log());
        }
    }
}

/// The program with this configuration, under the programs of `wrapper`.
fn command(lab: &Lab, namespace: &Namespace, config: &str, wrapper: &[&str]) -> Command {
    let file = lab.file("rfm.toml", config);
    let path = file.to_str().expect("a path in UTF-8");
    let own = [env!("CARGO_BIN_EXE_rfm"), "--config", path];
    let words = [wrapper, &own].concat();
    namespace.command(words[0], &words[1..])
}

/// A start that must fail: exit code, and what was said.
pub fn refused(
    lab: &Lab,
    namespace: &Namespace,
    config: &str,
    wrapper: &[&str],
) -> (Option<i32>, String) {
    refused_prepared(lab, namespace, config, wrapper, |_| {})
}

/// As [`refused`], with a change of the command.
pub fn refused_prepared(
    lab: &Lab,
    namespace: &Namespace,
    config: &str,
    wrapper: &[&str],
    prepare: impl FnOnce(&mut Command),
) -> (Option<i32>, String) {
    // one that starts all the same must not run for ever
    let limited = [&["timeout", "10"], wrapper].concat();
    let mut command = command(lab, namespace, config, &limited);
    prepare(&mut command);
    let output = try_run(&mut command);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), said)
}

pub struct Reply {
    pub status: u16,
    pub body: String,
    pub took: Duration,
}

/// HTTP/1.0 to the loopback address of the namespace.
pub fn http_get(namespace: &Namespace, port: u16, path: &str) -> io::Result<Reply> {
    http_get_with(namespace, port, path, "")
}

/// The same with further header fields, each with its line break.
pub fn http_get_with(
    namespace: &Namespace,
    port: u16,
    path: &str,
    fields: &str,
) -> io::Result<Reply> {
    namespace.inside(|| {
        let start = Instant::now();
        let timeout = Duration::from_secs(10);
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut stream = TcpStream::connect_timeout(&address, timeout)?;
        stream.set_read_timeout(Some(timeout))?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: test\r\n{fields}\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let (head, body) = text.split_once("\r\n\r\n").ok_or_else(|| bad(&text))?;
        let status = head.get(9..12).and_then(|code| code.parse().ok());
        Ok(Reply {
            status: status.ok_or_else(|| bad(head))?,
            body: body.to_owned(),
            took: start.elapsed(),
        })
    })
}

fn bad(text: &str) -> io::Error {
    io::Error::other(format!("not an HTTP reply: {text:?}"))
}
