// SPDX-License-Identifier: AGPL-3.0-only
//! Links read by rtnetlink, beside what `ip` says of the same ones, in a network namespace of its own.

use std::net::UdpSocket;
use std::process::Command;
use std::sync::Arc;

use rfm::netlink::{self, DeviceCounters, Link, LinkSocket, LinkType};
use rfm::sys::error_counters::{ErrorCounters, Subsystem};
use serde_json::Value;

/// Set in the copy of this program that runs inside the namespace.
const INSIDE: &str = "RFM_TEST_INSIDE_NETNS";

const ODD_NAME: &str = r#"o"d\d{ö}"#;

/// A network namespace that goes when the test ends, however it ends.
struct Netns(String);

impl Netns {
    fn new(name: &str) -> Self {
        let name = format!("rfm-{name}-{}", std::process::id());
        run(&["ip", "netns", "add", &name]);
        Self(name)
    }

    /// Runs the test `test` of this program inside, where /sys shows the namespace's own devices.
    fn run_test(&self, test: &str) {
        let program = std::env::current_exe().unwrap();
        let output = Command::new("ip")
            .args(["netns", "exec", &self.0])
            .arg(program)
            .args(["--exact", test])
            .env(INSIDE, "1")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains("1 passed"), "inside {}: {said}", self.0);
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

fn run(command: &[&str]) -> String {
    let output = Command::new(command[0])
        .args(&command[1..])
        .output()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// False, and said so, where namespaces cannot be made; a failure where nothing may be skipped.
fn can_make_namespaces() -> bool {
    let can = rustix::process::geteuid().is_root() && Command::new("ip").arg("-V").output().is_ok();
    if !can {
        let required = std::env::var("RFM_REQUIRE_TOOLS").is_ok_and(|v| v == "1");
        assert!(!required, "needs root and iproute2");
        eprintln!("skipped: needs root and iproute2");
    }
    can
}

#[test]
fn links_are_what_ip_says() {
    if std::env::var_os(INSIDE).is_some() {
        return inside();
    }
    if can_make_namespaces() {
        Netns::new("links").run_test("links_are_what_ip_says");
    }
}

fn inside() {
    set_up();
    let errors = Arc::new(ErrorCounters::default());
    let mut socket = LinkSocket::new(errors.clone());
    let before = socket.dump().unwrap();
    compare(&before);
    check_fields(&before);

    let sender = UdpSocket::bind("192.0.2.1:0").unwrap();
    for _ in 0..100 {
        sender.send_to(&[0; 58], "192.0.2.2:9").unwrap();
    }
    let after = socket.dump().unwrap();
    compare(&after);
    let sent = DeviceCounters {
        tx_packets: 100,
        tx_bytes: 100 * (14 + 20 + 8 + 58),
        ..DeviceCounters::default()
    };
    assert_eq!(named(&after, "left").stats, sent);
    assert_eq!(named(&before, "left").stats, DeviceCounters::default());

    run(&["ip", "link", "del", "tun0"]);
    run(&["ip", "link", "set", "br0", "down"]);
    run(&["ip", "link", "set", "br0", "name", "br1"]);
    let changed = socket.dump().unwrap();
    compare(&changed);
    assert!(!changed.iter().any(|l| l.name == "tun0" || l.name == "br0"));
    assert!(!named(&changed, "br1").up);
    assert_eq!(errors.get(Subsystem::Netlink), 0);
}

/// Without IPv6 and a bridge that listens to IGMP, nobody but the test sends.
fn set_up() {
    for scope in ["all", "default"] {
        let path = format!("/proc/sys/net/ipv6/conf/{scope}/disable_ipv6");
        if std::path::Path::new(&path).exists() {
            std::fs::write(path, "1").unwrap();
        }
    }
    for line in [
        "ip link add left type veth peer name right",
        "ip link add br0 type bridge mcast_snooping 0",
        "ip link set right master br0",
        "ip tuntap add dev tun0 mode tun",
        "ip tuntap add dev tap0 mode tap",
        "ip link add vx0 type vxlan id 5 dstport 4789 dev left",
        "ip link add mac0 link left type macvlan",
        "ip link set left up",
        "ip link set right up",
        "ip link set br0 up",
        "ip link set vx0 up",
        "ip address add 192.0.2.1/24 dev left",
        "ip neighbour add 192.0.2.2 lladdr 02:00:00:00:00:02 dev left",
    ] {
        run(&line.split(' ').collect::<Vec<_>>());
    }
    run(&[
        "ip", "link", "add", ODD_NAME, "type", "veth", "peer", "name", "odd-peer",
    ]);
    run(&["ip", "link", "set", ODD_NAME, "alias", "a \"b\" \\ c\nd ü"]);
}

fn named<'a>(links: &'a [Link], name: &str) -> &'a Link {
    links.iter().find(|l| l.name == name).expect(name)
}

fn check_fields(links: &[Link]) {
    let left = named(links, "left");
    assert_eq!(
        (left.kind.as_str(), left.link_type()),
        ("veth", LinkType::Ethernet)
    );
    assert_eq!(left.speed_bytes, Some(1_250_000_000));
    let lo = named(links, "lo");
    assert_eq!(
        (lo.kind.as_str(), lo.loopback, lo.speed_bytes),
        ("loopback", true, None)
    );
    assert_eq!(lo.link_type(), LinkType::Ethernet);
    let tun = named(links, "tun0");
    assert_eq!((tun.kind.as_str(), tun.link_type()), ("tun", LinkType::Ip));
    assert_eq!(named(links, "tap0").link_type(), LinkType::Ethernet);
    assert_eq!(named(links, "vx0").kind, "vxlan");
    let macvlan = named(links, "mac0");
    assert_eq!(
        (macvlan.kind.as_str(), macvlan.parent),
        ("macvlan", Some(left.ifindex))
    );
    let bridge = named(links, "br0");
    assert_eq!(named(links, "right").master, Some(bridge.ifindex));
    assert_eq!(netlink::find(links, bridge.ifindex), Some(bridge));
    assert_eq!(named(links, ODD_NAME).alias, "a \"b\" \\ c\nd ü");
}

/// Every link `ip` knows, field by field, and no other.
fn compare(links: &[Link]) {
    let json = run(&["ip", "-s", "-d", "-j", "link"]);
    let theirs: Vec<Value> = serde_json::from_str(&json).unwrap();
    assert_eq!(links.len(), theirs.len());
    for their in &theirs {
        let name = their["ifname"].as_str().unwrap();
        let ours = named(links, name);
        let flags = their["flags"].as_array().unwrap();
        let counter = |way: &str, what: &str| their["stats64"][way][what].as_u64().unwrap();
        assert_eq!(u64::from(ours.ifindex), their["ifindex"], "{name}");
        assert_eq!(
            ours.alias,
            their["ifalias"].as_str().unwrap_or(""),
            "{name}"
        );
        assert_eq!(ours.up, flags.contains(&"UP".into()), "{name}");
        assert_eq!(ours.loopback, flags.contains(&"LOOPBACK".into()), "{name}");
        if let Some(kind) = their["linkinfo"]["info_kind"].as_str() {
            assert_eq!(ours.kind, kind, "{name}");
        }
        for (index, key) in [(ours.master, "master"), (ours.parent, "link")] {
            let known = index
                .and_then(|i| netlink::find(links, i))
                .map(|l| &*l.name);
            assert_eq!(known, their[key].as_str(), "{name} {key}");
        }
        let stats = DeviceCounters {
            rx_packets: counter("rx", "packets"),
            rx_bytes: counter("rx", "bytes"),
            tx_packets: counter("tx", "packets"),
            tx_bytes: counter("tx", "bytes"),
        };
        assert_eq!(ours.stats, stats, "{name}");
    }
}
