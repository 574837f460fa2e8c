// SPDX-License-Identifier: AGPL-3.0-only
//! A daemon that runs in a namespace: the agent, or a program with which it is compared.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::lab::{Lab, Namespace, end, wait_for};

pub const PORT: u16 = 9669;
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// The release build of the agent.
pub const RFM: &str = env!("CARGO_BIN_EXE_rfm");

/// A running process; killed when dropped.
pub struct Daemon {
    child: Child,
    log: PathBuf,
    namespace: Namespace,
}

/// Resident memory in bytes: the total, and the part that is neither a page of a file nor shared.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    pub resident: u64,
    pub anonymous: u64,
}

impl Daemon {
    pub fn start(lab: &Lab, namespace: &Namespace, program: &str, args: &[&str]) -> Self {
        let name = program.rsplit('/').next().unwrap_or(program);
        let log = lab.path(&format!("{name}.log"));
        let output = fs::File::create(&log).expect("a log file");
        let mut command = Command::new(program);
        command
            .args(args)
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a second handle"))
            .stderr(output);
        // a child is in the namespace of the thread that creates it
        let child = namespace.inside(|| command.spawn());
        Self {
            child: child.unwrap_or_else(|e| panic!("{command:?}: {e}")),
            log,
            namespace: namespace.clone(),
        }
    }

    /// Starts the agent, which monitors `interfaces` (TOML); `bpf` is TOML inside `[agent.bpf]`.
    pub fn rfm(lab: &Lab, namespace: &Namespace, interfaces: &str, bpf: &str) -> Self {
        let config = format!(
            "[agent]\ninterfaces = {interfaces}\n\n[agent.bpf]\n{bpf}\n\n\
             [agent.prometheus]\nhost = \"127.0.0.1\"\nport = {PORT}\n\
             [agent.control]\nsocket = \"\"\n"
        );
        let file = lab.file("rfm.toml", &config);
        let path = file.to_str().expect("a path in UTF-8");
        Self::start(lab, namespace, RFM, &["--config", path])
    }

    /// Waits until `path` is answered with status 200.
    pub fn wait_for(&self, path: &str) {
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        self.namespace.inside(|| {
            while !get(path, "").is_ok_and(|reply| reply.status == 200) {
                assert!(Instant::now() < deadline, "no {path}:\n{}", self.log());
                sleep(Duration::from_micros(200));
            }
        });
    }

    pub fn get(&self, path: &str, gzip: bool) -> io::Result<Reply> {
        let encoding = if gzip {
            "Accept-Encoding: gzip\r\n"
        } else {
            ""
        };
        self.get_with(path, encoding)
    }

    /// Sends a request with further header fields, each ended by a line break.
    pub fn get_with(&self, path: &str, fields: &str) -> io::Result<Reply> {
        self.namespace.inside(|| get(path, fields))
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns the highest resident memory of the daemon so far, in bytes.
    pub fn peak_memory(&self) -> u64 {
        status_field(self.child.id(), "VmHWM:")
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Returns the CPU time of all threads of the daemon and its children, exact to the scheduler's nanosecond.
    pub fn cpu_time(&self) -> Duration {
        cpu_time_of(self.child.id())
    }

    /// Returns the CPU time of the daemon's live threads with this name.
    pub fn thread_time(&self, name: &str) -> Duration {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id()));
        let paths = tasks
            .into_iter()
            .flatten()
            .flatten()
            .map(|task| task.path());
        let named = paths.filter(|path| {
            fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm.trim() == name)
        });
        Duration::from_nanos(named.filter_map(nanoseconds_of).sum())
    }

    /// Returns the memory of the daemon and only the anonymous memory of its children, which share the rest with it.
    pub fn memory(&self) -> Memory {
        let mut sum = memory_of(self.child.id());
        for child in children_of(self.child.id()) {
            let memory = memory_of(child);
            sum.resident += memory.anonymous;
            sum.anonymous += memory.anonymous;
        }
        sum
    }

    /// Returns the proportional set size in bytes: a page that n processes share counts 1/n.
    pub fn proportional_memory(&self) -> u64 {
        let path = format!("/proc/{}/smaps_rollup", self.child.id());
        let text = fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
        let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kilobytes.unwrap_or(0) * 1024
    }

    pub fn signal(&self, signal: Signal) {
        // a daemon that has already ended needs no signal
        let _ = kill_process(Pid::from_child(&self.child), signal);
    }

    /// Signals the daemon to end; returns false if it does not.
    pub fn stop(&mut self, signal: Signal) -> bool {
        self.signal(signal);
        wait_for(ANSWER_TIMEOUT, || {
            matches!(self.child.try_wait(), Ok(Some(_)))
        })
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        for child in children_of(self.child.id()) {
            if let Some(pid) = Pid::from_raw(child as i32) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        end(&mut self.child);
    }
}

fn children_of(pid: u32) -> Vec<u32> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace()
        .filter_map(|c| c.parse().ok())
        .collect()
}

fn memory_of(pid: u32) -> Memory {
    Memory {
        resident: status_field(pid, "VmRSS:"),
        anonymous: status_field(pid, "RssAnon:"),
    }
}

/// Returns a size in bytes from /proc/PID/status; 0 if it cannot be read.
fn status_field(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    number.unwrap_or(0) * 1024
}

fn cpu_time_of(pid: u32) -> Duration {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Duration::ZERO;
    };
    let own: u64 = tasks
        .flatten()
        .filter_map(|t| nanoseconds_of(t.path()))
        .sum();
    let others: Duration = children_of(pid).into_iter().map(cpu_time_of).sum();
    Duration::from_nanos(own) + others
}

/// Returns the CPU time of a thread by its folder in /proc.
fn nanoseconds_of(task: PathBuf) -> Option<u64> {
    let text = fs::read_to_string(task.join("schedstat")).ok()?;
    text.split(' ').next()?.parse().ok()
}

pub struct Reply {
    pub status: u16,
    pub body: Vec<u8>,
    pub took: Duration,
}

/// Sends an HTTP/1.0 request from this thread's namespace.
fn get(path: &str, fields: &str) -> io::Result<Reply> {
    let start = Instant::now();
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, PORT))?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: b\r\n{fields}\r\n")?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let took = start.elapsed();
    let not_http = || io::Error::other("not an HTTP reply");
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n");
    let body = bytes.split_off(end.ok_or_else(not_http)? + 4);
    let head = String::from_utf8_lossy(&bytes);
    let status = head.get(9..12).and_then(|code| code.parse().ok());
    Ok(Reply {
        status: status.ok_or_else(not_http)?,
        body,
        took,
    })
}
