// SPDX-License-Identifier: AGPL-3.0-only
//! A network of namespaces that is gone, with all that ran in it, when the test ends.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{fs, thread};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::frames::Mac;

/// One lab at a time in a test binary: figures of rates and memory do not bear neighbours.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
static COUNT: AtomicU32 = AtomicU32::new(0);

/// True if the test can run: root, and these tools. Says so where it cannot; fails instead where
/// `RFM_REQUIRE_TOOLS=1`.
pub fn can_run(tools: &[&str]) -> bool {
    let mut missing: Vec<String> = tools
        .iter()
        .filter(|tool| find_tool(tool).is_none())
        .map(|tool| format!("{tool} is not installed"))
        .collect();
    if !rustix::process::geteuid().is_root() {
        missing.push("not root".to_owned());
    }
    if missing.is_empty() {
        return true;
    }
    let why = missing.join(", ");
    assert!(
        std::env::var("RFM_REQUIRE_TOOLS").as_deref() != Ok("1"),
        "cannot run: {why}"
    );
    println!("skipped: {why}");
    false
}

fn find_tool(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
}

/// Runs a command to its end; panics, with what it said, if it fails.
pub fn run(command: &mut Command) -> String {
    let output = try_run(command);
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn try_run(command: &mut Command) -> Output {
    command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"))
}

/// Asks until it says yes; false after `limit`.
pub fn wait_for(limit: Duration, mut yes: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        if yes() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Namespaces, and a folder for files. Fields are dropped in order: processes, namespaces, lock.
pub struct Lab {
    children: Mutex<Vec<Child>>,
    namespaces: Mutex<Vec<Namespace>>,
    name: String,
    folder: PathBuf,
    _alone: Option<MutexGuard<'static, ()>>,
}

impl Lab {
    pub fn new() -> Self {
        let alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        Self::with(Some(alone))
    }

    /// One that bears neighbours: it mostly waits.
    pub fn among_others() -> Self {
        Self::with(None)
    }

    fn with(alone: Option<MutexGuard<'static, ()>>) -> Self {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("rfmt-{}-{count}", std::process::id());
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(&name);
        fs::create_dir_all(&folder).expect("a folder for test files");
        Self {
            children: Mutex::default(),
            namespaces: Mutex::default(),
            name,
            folder,
            _alone: alone,
        }
    }

    /// A namespace in which nothing speaks on its own accord: no IPv6 until [`Namespace::address`].
    pub fn namespace(&self, suffix: &str) -> Namespace {
        let namespace = Namespace {
            name: format!("{}-{suffix}", self.name),
        };
        run(Command::new("ip").args(["netns", "add", &namespace.name]));
        lock(&self.namespaces).push(namespace.clone());
        namespace.ip("link set lo up");
        namespace.run("sysctl", "-qw net.ipv6.conf.default.disable_ipv6=1");
        namespace
    }

    /// A veth pair with fixed MAC addresses and an MTU of 9,000, both ends up, offloads as they come.
    pub fn veth(&self, a: (&Namespace, &str), b: (&Namespace, &str)) {
        a.0.ip(&format!(
            "link add {} mtu 9000 address {} type veth peer name {} netns {} mtu 9000 address {}",
            a.1,
            mac(a.1),
            b.1,
            b.0.name,
            mac(b.1)
        ));
        for (namespace, device) in [a, b] {
            namespace.ip(&format!("link set {device} up"));
        }
    }

    /// A silent namespace with the veth pair `v0`, `v1`; frames sent on `v0` are seen twice.
    pub fn wire(&self) -> Namespace {
        let namespace = self.namespace("w");
        self.veth((&namespace, "v0"), (&namespace, "v1"));
        namespace
    }

    /// A namespace that forwards IPv4 from `lan0` to `wan0`, and the one behind, where `sink0` takes
    /// what comes for any address and says nothing.
    pub fn router(&self) -> (Namespace, Namespace) {
        let (router, far) = (self.namespace("r"), self.namespace("f"));
        self.veth((&router, "lan0"), (&router, "lan1"));
        self.veth((&router, "wan0"), (&far, "sink0"));
        let conf = "net.ipv4.conf";
        router.run(
            "sysctl",
            &format!("-qw net.ipv4.ip_forward=1 {conf}.all.rp_filter=0 {conf}.lan0.rp_filter=0"),
        );
        router.ip("address add 10.99.0.1/24 dev wan0");
        let sink = mac("sink0");
        router.ip(&format!(
            "neighbour replace 10.99.0.2 lladdr {sink} nud permanent dev wan0"
        ));
        router.ip("route add default via 10.99.0.2");
        (router, far)
    }

    /// Two namespaces with IPv4, IPv6 and known neighbours between `a0` and `b0`.
    pub fn pair(&self) -> (Namespace, Namespace) {
        let (a, b) = (self.namespace("a"), self.namespace("b"));
        self.veth((&a, "a0"), (&b, "b0"));
        a.address("a0", 1, (2, mac("b0")));
        b.address("b0", 2, (1, mac("a0")));
        a.wait_until_silent("a0");
        (a, b)
    }

    pub fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.folder.join(name);
        fs::write(&path, content).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        path
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Starts a command that ends with the lab; its output goes to the file `log`. Returns its process id.
    pub fn spawn(&self, namespace: &Namespace, log: &str, program: &str, args: &[&str]) -> u32 {
        let child = self.child(namespace, log, program, args);
        let pid = child.id();
        lock(&self.children).push(child);
        pid
    }

    /// Starts a command that the caller ends; its output is appended to the file `log`.
    pub fn child(&self, namespace: &Namespace, log: &str, program: &str, args: &[&str]) -> Child {
        let mut options = fs::File::options();
        let file = options.create(true).append(true).open(self.path(log));
        let file = file.expect("a log file");
        let mut command = namespace.command(program, args);
        command
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a second handle"))
            .stderr(file);
        command
            .spawn()
            .unwrap_or_else(|e| panic!("{command:?}: {e}"))
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for child in lock(&self.children).iter_mut() {
            end(child);
        }
        for namespace in lock(&self.namespaces).iter() {
            try_run(Command::new("ip").args(["netns", "del", &namespace.name]));
        }
        // what a failed test left is worth a look
        if !thread::panicking() {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// Kills and reaps; for processes that may have ended already.
pub fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Locally administered, the same in every run, another for each device name.
pub fn mac_of(device: &str) -> Mac {
    let sum = device
        .bytes()
        .fold(0u32, |h, b| h.wrapping_mul(31) + u32::from(b));
    let [_, _, x, y] = sum.to_be_bytes();
    [2, 0, 0, 0, x, y]
}

fn mac(device: &str) -> String {
    mac_of(device).map(|byte| format!("{byte:02x}")).join(":")
}

pub fn ipv4(host: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 99, 0, host)
}

pub fn ipv6(host: u8) -> Ipv6Addr {
    Ipv6Addr::new(0xfd99, 0, 0, 0, 0, 0, 0, host.into())
}

#[derive(Clone, Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.name, program])
            .args(args);
        command
    }

    pub fn ip(&self, args: &str) -> String {
        run(Command::new("ip")
            .args(["-n", &self.name])
            .args(args.split_whitespace()))
    }

    pub fn run(&self, program: &str, args: &str) -> String {
        let args: Vec<&str> = args.split_whitespace().collect();
        run(&mut self.command(program, &args))
    }

    /// Runs `body` on a thread of its own inside the namespace; a panic there is a panic here.
    pub fn inside<T: Send>(&self, body: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let inner = scope.spawn(|| {
                let file = fs::File::open(Path::new("/run/netns").join(&self.name))
                    .expect("the namespace is there");
                move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
                    .expect("root may enter a namespace");
                body()
            });
            inner
                .join()
                .unwrap_or_else(|e| std::panic::resume_unwind(e))
        })
    }

    /// Gives `device` the addresses of `host`, and tells it of its neighbour, so that neither ARP nor
    /// neighbour discovery nor router solicitation crosses the wire.
    fn address(&self, device: &str, host: u8, (neighbour, mac): (u8, String)) {
        let conf = format!("net.ipv6.conf.{device}");
        self.run(
            "sysctl",
            &format!(
                "-qw {conf}.accept_dad=0 {conf}.router_solicitations=0 {conf}.accept_ra=0 \
                 {conf}.addr_gen_mode=1 {conf}.mldv2_unsolicited_report_interval=1 \
                 {conf}.disable_ipv6=0"
            ),
        );
        self.ip(&format!("address add {}/24 dev {device}", ipv4(host)));
        self.ip(&format!("address add {}/64 dev {device} nodad", ipv6(host)));
        for address in [ipv4(neighbour).to_string(), ipv6(neighbour).to_string()] {
            self.ip(&format!(
                "neighbour replace {address} lladdr {mac} nud permanent dev {device}"
            ));
        }
    }

    /// Segments on the wire, and none put together again: what a device that does not segment sees.
    pub fn offloads_off(&self, device: &str) {
        self.run(
            "ethtool",
            &format!(
                "-K {device} tso off gso off gro off tx-udp-segmentation off \
                 tx-gre-segmentation off tx-udp_tnl-segmentation off tx-sctp-segmentation off"
            ),
        );
    }

    /// The stack reports its multicast groups once more a moment after it got an address.
    fn wait_until_silent(&self, device: &str) {
        let mut last = self.device_counters(device);
        let silent = wait_for(Duration::from_secs(10), || {
            thread::sleep(Duration::from_millis(300));
            let before = std::mem::replace(&mut last, self.device_counters(device));
            last == before
        });
        assert!(silent, "{device} is never silent");
    }

    /// The device's own counters, as `ip -s link` shows them.
    pub fn device_counters(&self, device: &str) -> DeviceCounters {
        let text = self.ip(&format!("-s -j link show dev {device}"));
        let json: serde_json::Value = serde_json::from_str(&text).expect("ip -j speaks JSON");
        let field = |way: &str, what: &str| {
            json[0]["stats64"][way][what]
                .as_u64()
                .unwrap_or_else(|| panic!("no {way} {what} in {text}"))
        };
        DeviceCounters {
            rx_packets: field("rx", "packets"),
            rx_bytes: field("rx", "bytes"),
            tx_packets: field("tx", "packets"),
            tx_bytes: field("tx", "bytes"),
        }
    }

    pub fn ifindex(&self, device: &str) -> u32 {
        let text = self.ip(&format!("-j link show dev {device}"));
        let json: serde_json::Value = serde_json::from_str(&text).expect("ip -j speaks JSON");
        json[0]["ifindex"].as_u64().expect("an ifindex") as u32
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceCounters {
    pub rx_packets: u64,
    pub rx_bytes: u64,
    pub tx_packets: u64,
    pub tx_bytes: u64,
}

impl std::ops::Sub for DeviceCounters {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            rx_packets: self.rx_packets - before.rx_packets,
            rx_bytes: self.rx_bytes - before.rx_bytes,
            tx_packets: self.tx_packets - before.tx_packets,
            tx_bytes: self.tx_bytes - before.tx_bytes,
        }
    }
}
