// SPDX-License-Identifier: AGPL-3.0-only
//! Bytes by neighbor on an exchange LAN: a bridge with a route server (BIRD), the router of the agent and four members
//! (GoBGP), of which one has no session and one sends with the source addresses of another.

mod common;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use common::agent::{Agent, EXACT, config};
use common::frames::Frame;
use common::lab::{DeviceCounters, Lab, Namespace, can_run, mac_of, try_run, wait_for};
use common::metrics::Metrics;
use common::packet::Sender;

const ROUTER_AS: u32 = 64512;
const ROUTE_SERVER_AS: u32 = 64999;
const ROUTE_SERVER: Ipv4Addr = Ipv4Addr::new(10, 98, 0, 250);
/// A network behind the router.
const INSIDE: Ipv4Addr = Ipv4Addr::new(10, 200, 0, 1);
const INSIDE6: Ipv6Addr = Ipv6Addr::new(0xfd20, 0, 0, 0, 0, 0, 0, 1);
/// An address to which no packet is forwarded.
const NOWHERE: Ipv4Addr = Ipv4Addr::new(10, 201, 0, 1);
const MEMBERS: usize = 4;
/// The members without a session and with false sources.
const SILENT: usize = 3;
const SPOOFING: usize = 4;

const BGP_TIMEOUT: Duration = Duration::from_secs(60);
const SETTLED: Duration = Duration::from_secs(5);

/// Its own, or the one that scripts/setup.sh put aside.
const BIRD: [&str; 3] = [
    "/usr/sbin/bird",
    "/usr/local/sbin/bird",
    concat!(env!("CARGO_MANIFEST_DIR"), "/.cache/bird3/bird"),
];

const SECTIONS: &str = "[agent.enrich.rib.bmp]\nhost = \"127.0.0.1\"\n\
     [[agent.enrich.peer]]\ninterface = \"ix0\"\naddress = \"10.98.0.12\"\nname = \"Second Net\"\n";
const LABELS: &str = "peer_series = true\nlabels = [\"ifname\", \"direction\", \"proto\", \"src_asn\", \
     \"src_peer_asn\", \"peer_asn\"]\n";

fn lan(host: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 98, 0, host as u8)
}

fn lan6(host: usize) -> Ipv6Addr {
    Ipv6Addr::new(0xfd98, 0, 0, 0, 0, 0, 0, host as u16)
}

/// The address of member `n` on the LAN ends in this number.
fn host(n: usize) -> usize {
    10 + n
}

/// An address in the networks that member `n` announces.
fn own(n: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 1, n as u8, 1)
}

fn own6(n: usize) -> Ipv6Addr {
    Ipv6Addr::new(0xfd01, n as u16, 0, 0, 0, 0, 0, 1)
}

fn asn(n: usize) -> u32 {
    64500 + n as u32
}

fn mac(device: &str) -> String {
    mac_of(device).map(|byte| format!("{byte:02x}")).join(":")
}

struct Exchange {
    lab: Lab,
    router: Namespace,
    members: Vec<Namespace>,
}

impl Exchange {
    fn new(bird: &str) -> Self {
        let lab = Lab::new();
        let switch = lab.namespace("s");
        switch.ip("link add br0 type bridge mcast_snooping 0");
        switch.ip("link set br0 up");
        let connect = |device: &str, host: usize| {
            let namespace = lab.namespace(device);
            let port = format!("p{host}");
            lab.veth((&namespace, device), (&switch, &port));
            switch.ip(&format!("link set {port} master br0"));
            namespace.offloads_off(device);
            switch.offloads_off(&port);
            // no probe of a known neighbor crosses the LAN while the test counts: neither of one that was reachable,
            // nor of one that is only known from its own request
            for family in ["ipv4", "ipv6"] {
                let neigh = format!("net.{family}.neigh.{device}");
                namespace.run(
                    "sysctl",
                    &format!(
                        "-qw {neigh}.base_reachable_time_ms=7200000 {neigh}.delay_first_probe_time=7200"
                    ),
                );
            }
            for device in [device, "lo"] {
                let conf = format!("net.ipv6.conf.{device}");
                namespace.run(
                    "sysctl",
                    &format!(
                        "-qw {conf}.accept_dad=0 {conf}.router_solicitations=0 {conf}.accept_ra=0 \
                         {conf}.addr_gen_mode=1 {conf}.mldv2_unsolicited_report_interval=1 \
                         {conf}.disable_ipv6=0 net.ipv4.conf.{device}.rp_filter=0"
                    ),
                );
            }
            namespace.run("sysctl", "-qw net.ipv4.conf.all.rp_filter=0");
            namespace.ip(&format!("address add {}/24 dev {device}", lan(host)));
            namespace.ip(&format!("address add {}/64 dev {device} nodad", lan6(host)));
            namespace
        };
        let router = connect("ix0", 1);
        let server = connect("rs0", 250);
        let members: Vec<_> = (1..=MEMBERS)
            .map(|n| connect(&format!("m{n}"), host(n)))
            .collect();
        router.ip(&format!("address add {INSIDE}/32 dev lo"));
        router.ip(&format!("address add {INSIDE6}/128 dev lo nodad"));
        for (i, member) in members.iter().enumerate() {
            let (n, device) = (i + 1, format!("m{}", i + 1));
            member.ip(&format!("address add {}/24 dev lo", own(n)));
            member.ip(&format!("address add {}/48 dev lo nodad", own6(n)));
            for router in [IpAddr::from(lan(1)), lan6(1).into()] {
                let lladdr = mac("ix0");
                member.ip(&format!(
                    "neighbour replace {router} lladdr {lladdr} nud permanent dev {device}"
                ));
                member.ip(&format!("route add default via {router}"));
            }
            router.ip(&format!("route add 10.1.{n}.0/24 via {}", lan(host(n))));
            router.ip(&format!("route add fd01:{n}::/48 via {}", lan6(host(n))));
        }
        let exchange = Self {
            lab,
            router,
            members,
        };
        exchange.start_route_server(&server, bird);
        exchange.start_routers();
        exchange
    }

    fn start_route_server(&self, server: &Namespace, bird: &str) {
        let mut text = format!(
            "log stderr all;\nrouter id {ROUTE_SERVER};\nprotocol device {{}}\n\
             template bgp at_lan {{\n local {ROUTE_SERVER} as {ROUTE_SERVER_AS};\n rs client;\n hold time 3600;\n \
             ipv4 {{ import all; export all; }};\n ipv6 {{ import all; export all; next hop address {}; }};\n}}\n",
            lan6(250)
        );
        let clients = (1..=MEMBERS).filter(|n| *n != SILENT);
        let clients = clients.map(|n| (lan(host(n)), asn(n)));
        for (i, (address, asn)) in clients.chain([(lan(1), ROUTER_AS)]).enumerate() {
            text += &format!("protocol bgp c{i} from at_lan {{ neighbor {address} as {asn}; }}\n");
        }
        let file = self.lab.file("bird.conf", &text);
        let control = self.lab.path("bird.ctl");
        let [file, control] = [file, control].map(|path| path.display().to_string());
        let arguments = ["-f", "-c", &file, "-s", &control];
        self.lab.spawn(server, "bird.log", bird, &arguments);
    }

    fn start_routers(&self) {
        self.start_gobgp(&self.router, "r", ROUTER_AS, lan(1), true);
        for (i, member) in self.members.iter().enumerate() {
            let n = i + 1;
            let has_session = n != SILENT;
            self.start_gobgp(member, &format!("m{n}"), asn(n), lan(host(n)), has_session);
            let up = wait_for(BGP_TIMEOUT, || gobgp(member, "global").is_some());
            assert!(up, "gobgpd of member {n} does not answer");
            let next_hops = [lan(host(n)).to_string(), lan6(host(n)).to_string()];
            let prefixes = [format!("10.1.{n}.0/24"), format!("fd01:{n}::/48")];
            for ((prefix, next_hop), family) in prefixes.iter().zip(next_hops).zip(["ipv4", "ipv6"])
            {
                let add = format!("global rib add {prefix} nexthop {next_hop} -a {family}");
                gobgp(member, &add).expect("the route is added");
            }
        }
    }

    fn start_gobgp(&self, at: &Namespace, name: &str, asn: u32, id: Ipv4Addr, session: bool) {
        let mut text = format!("[global.config]\nas = {asn}\nrouter-id = \"{id}\"\n");
        if session {
            text += &format!(
                "[[neighbors]]\n[neighbors.config]\nneighbor-address = \"{ROUTE_SERVER}\"\n\
                 peer-as = {ROUTE_SERVER_AS}\n[neighbors.timers.config]\nhold-time = 3600\n\
                 keepalive-interval = 1200\nconnect-retry = 1\n"
            );
            for family in ["ipv4", "ipv6"] {
                text += &format!(
                    "[[neighbors.afi-safis]]\n[neighbors.afi-safis.config]\n\
                     afi-safi-name = \"{family}-unicast\"\n"
                );
            }
        }
        if name == "r" {
            text += "[[bmp-servers]]\n[bmp-servers.config]\naddress = \"127.0.0.1\"\nport = 11019\n\
                     route-monitoring-policy = \"all\"\n";
        }
        let file = self.lab.file(&format!("gobgpd-{name}.toml"), &text);
        let file = file.display().to_string();
        let arguments = ["-f", &file, "--api-hosts", "127.0.0.1:50051"];
        self.lab
            .spawn(at, &format!("gobgpd-{name}.log"), "gobgpd", &arguments);
    }

    fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.lab.path(name)).unwrap_or_default()
    }

    fn counters(&self) -> Vec<DeviceCounters> {
        let members = self.members.iter().enumerate();
        members
            .map(|(i, member)| member.device_counters(&format!("m{}", i + 1)))
            .collect()
    }

    /// Waits until no packet has crossed the LAN for so long that the agent has accounted for all.
    fn wait_until_silent(&self) {
        let mut last = self.counters();
        let silent = wait_for(Duration::from_secs(60), || {
            sleep(SETTLED / 2);
            let before = std::mem::replace(&mut last, self.counters());
            last == before
        });
        assert!(silent, "the LAN is never silent");
    }

    /// The router and the members send to each other.
    fn exchange_packets(&self, count: usize) {
        let send = |from: &Namespace, source: IpAddr, to: IpAddr, length: usize| {
            from.inside(|| {
                let socket = UdpSocket::bind((source, 9)).expect("an address of its own");
                for _ in 0..count {
                    socket.send_to(&vec![0; length], (to, 9)).expect("sent");
                }
            });
        };
        for (i, member) in self.members.iter().enumerate() {
            let n = i + 1;
            send(member, own(n).into(), INSIDE.into(), 100 * n);
            send(member, own6(n).into(), INSIDE6.into(), 1000 + n);
            send(&self.router, INSIDE.into(), own(n).into(), 10 * n);
            send(&self.router, INSIDE6.into(), own6(n).into(), 300 + n);
        }
        let spoofing = &self.members[SPOOFING - 1];
        let device = format!("m{SPOOFING}");
        let sender = spoofing.inside(|| Sender::new(&device).expect("a packet socket"));
        let frame = Frame::ethernet(mac_of(&device), mac_of("ix0"))
            .ipv4(own(1), INSIDE)
            .udp()
            .ports(7777, 9)
            .payload(77)
            .build();
        for _ in 0..count {
            sender.send(&frame, 0).expect("sent");
        }
    }
}

fn gobgp(at: &Namespace, arguments: &str) -> Option<String> {
    let arguments: Vec<_> = arguments.split_whitespace().collect();
    let output = try_run(&mut at.command("gobgp", &arguments));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success().then_some(text)
}

fn peer_bytes(metrics: &Metrics, n: usize, more: &[(&str, &str)]) -> u64 {
    let mac = mac(&format!("m{n}"));
    let labels = [&[("ifname", "ix0"), ("mac", &*mac)][..], more].concat();
    metrics.sum("rfm_peer_bytes_total", &labels)
}

/// The kernel removes the entry of a member that only sends: the member keeps its AS.
fn silent_in_the_neighbor_table(exchange: &Exchange, agent: &Agent) {
    const COUNT: u64 = 300;
    // no answer, which would need the entry
    exchange
        .router
        .ip(&format!("route add blackhole {NOWHERE}"));
    exchange.router.ip("neighbour flush dev ix0");
    let is_gone = || {
        let entries = exchange.router.ip("neighbour show dev ix0");
        !entries.contains(&mac("m1"))
    };
    assert!(is_gone());
    let asn = asn(1).to_string();
    let labels = [("direction", "ingress"), ("peer_asn", &*asn)];
    let before = peer_bytes(&agent.scrape(), 1, &labels);
    assert!(before > 0);
    // the map of the agent changes at most every 2 s
    sleep(Duration::from_secs(4));
    let sender = exchange.members[0].inside(|| Sender::new("m1").expect("a packet socket"));
    let frame = Frame::ethernet(mac_of("m1"), mac_of("ix0"))
        .ipv4(own(1), NOWHERE)
        .udp()
        .ports(9, 9)
        .payload(500)
        .build();
    for _ in 0..COUNT {
        sender.send(&frame, 0).expect("sent");
    }
    let goal = before + COUNT * frame.len() as u64;
    let (metrics, counted) = agent.scrape_until(SETTLED, |m| peer_bytes(m, 1, &labels) >= goal);
    assert!(is_gone());
    assert!(counted, "{} of {goal}", peer_bytes(&metrics, 1, &labels));
    assert_eq!(peer_bytes(&metrics, 1, &labels), goal);
}

#[test]
fn bytes_by_neighbor_are_those_of_the_members_interfaces() {
    let bird = BIRD.into_iter().find(|path| {
        let version = Command::new(path).arg("--version").output();
        version.is_ok_and(|output| output.status.success())
    });
    let bird = bird.unwrap_or("bird");
    if !can_run(&["ip", "sysctl", "ethtool", "gobgpd", "gobgp", bird]) {
        return;
    }
    let exchange = Exchange::new(bird);
    let agent = Agent::start(
        &exchange.lab,
        &exchange.router,
        &(config(r#"["ix0"]"#, &format!("{EXACT}{SECTIONS}")) + LABELS),
    );
    // three members with two prefixes each, in Adj-RIB-In and Loc-RIB
    let (metrics, learned) =
        agent.scrape_until(BGP_TIMEOUT, |m| m.sum("rfm_rib_prefixes", &[]) == 6);
    assert!(
        learned,
        "{:?}\n{}\n{}",
        metrics.get("rfm_rib_prefixes", &[]),
        exchange.log("bird.log"),
        exchange.log("gobgpd-r.log")
    );
    // the router learns the members by ARP and NDP; the series appear with their ASes
    exchange.exchange_packets(1);
    let with_as = |m: &Metrics| {
        (1..=MEMBERS).all(|n| {
            let asn = asn(n).to_string();
            n == SILENT || peer_bytes(m, n, &[("peer_asn", &*asn)]) > 0
        })
    };
    let (metrics, named) = agent.scrape_until(Duration::from_secs(10), |m| {
        exchange.exchange_packets(1);
        with_as(m)
    });
    assert!(named, "{:?}", metrics.moved_since(&Metrics::default()));
    exchange.wait_until_silent();

    let (before, devices) = (agent.scrape(), exchange.counters());
    exchange.exchange_packets(500);
    let moved: Vec<_> = exchange
        .counters()
        .into_iter()
        .zip(devices)
        .map(|(after, before)| after - before)
        .collect();
    let all = |metrics: &Metrics| -> u64 {
        let series = (1..=MEMBERS).map(|n| peer_bytes(metrics, n, &[]));
        series.sum()
    };
    let goal: u64 = moved.iter().map(|d| d.rx_bytes + d.tx_bytes).sum();
    let (after, counted) = agent.scrape_until(SETTLED, |m| all(m) - all(&before) >= goal);
    assert!(counted, "{} of {goal} bytes", all(&after) - all(&before));
    for (i, device) in moved.iter().enumerate() {
        let n = i + 1;
        let asn = match n == SILENT {
            true => String::new(),
            false => asn(n).to_string(),
        };
        let name = if n == 2 { "Second Net" } else { "" };
        let of = |direction: &str| {
            let labels = [
                ("direction", direction),
                ("peer_asn", &*asn),
                ("peer_name", name),
            ];
            peer_bytes(&after, n, &labels) - peer_bytes(&before, n, &labels)
        };
        assert_eq!(of("ingress"), device.tx_bytes, "sent by member {n}");
        assert_eq!(of("egress"), device.rx_bytes, "received by member {n}");
    }
    // the label of flows: the sender of the spoofed packets, and the return path to their source
    let spoofed = [
        ("direction", "ingress"),
        ("peer_asn", &*asn(SPOOFING).to_string()),
        ("src_asn", &*asn(1).to_string()),
        ("src_peer_asn", &*asn(1).to_string()),
    ];
    let packets = |m: &Metrics| m.sum("rfm_flow_packets_total", &spoofed);
    assert_eq!(packets(&after) - packets(&before), 500);
    let nobody = [
        ("direction", "ingress"),
        ("proto", "17"),
        ("peer_asn", ""),
        ("src_asn", ""),
    ];
    let packets = |m: &Metrics| m.sum("rfm_flow_packets_total", &nobody);
    assert_eq!(packets(&after) - packets(&before), 1000, "no session");

    silent_in_the_neighbor_table(&exchange, &agent);
    assert_eq!(after.sum("rfm_errors_total", &[]), 0, "{}", agent.log());
}
