// SPDX-License-Identifier: AGPL-3.0-only
//! Attacks on a host behind a router that forwards, beside connections and queries of real programs.

mod common;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::mpsc;
use std::thread::{self, sleep};
use std::time::{Duration, Instant, SystemTime};

use humantime_serde::re::humantime::parse_rfc3339;
use serde_json::Value;

use common::agent::{Agent, PORT};
use common::frames::Frame;
use common::lab::{Lab, Namespace, can_run, mac_of, wait_for};
use common::packet::Sender;
use common::traffic::{Other, meanwhile};
use rfm::client::http;

const TOOLS: [&str; 3] = ["ip", "sysctl", "iperf3"];
const HOST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
/// Frames a second: three times the threshold of packets to a host.
const RATE: u64 = 6_000;
const TTL: Duration = Duration::from_secs(2);

fn host6() -> Ipv6Addr {
    "2001:db8:1::7".parse().expect("an address")
}

fn outside6() -> Ipv6Addr {
    "2001:db8:2::1".parse().expect("an address")
}

/// The outside (`n0`), the router (`wan0`, `lan0`) and the protected host (`h0`).
struct Network {
    lab: Lab,
    outside: Namespace,
    router: Namespace,
    host: Namespace,
    socket: PathBuf,
}

impl Network {
    fn new() -> Self {
        let lab = Lab::new();
        let [outside, router, host] = ["n", "r", "h"].map(|name| lab.namespace(name));
        lab.veth((&outside, "n0"), (&router, "wan0"));
        lab.veth((&router, "lan0"), (&host, "h0"));
        for (namespace, device, v4, v6) in [
            (&outside, "n0", "203.0.113.1/24", "2001:db8:2::1/64"),
            (&router, "wan0", "203.0.113.254/24", "2001:db8:2::fe/64"),
            (&router, "lan0", "192.0.2.254/24", "2001:db8:1::fe/64"),
            (&host, "h0", "192.0.2.7/24", "2001:db8:1::7/64"),
        ] {
            let ipv6 = format!("-qw net.ipv6.conf.{device}.disable_ipv6=0");
            namespace.run("sysctl", &ipv6);
            namespace.ip(&format!("addr add {v4} dev {device}"));
            namespace.ip(&format!("addr add {v6} dev {device} nodad"));
        }
        for host in 1..=253 {
            // the hosts of the carpet need no answer to ARP
            let mac = "02:00:00:00:77:77";
            if host != 7 {
                router.ip(&format!(
                    "neigh replace 192.0.2.{host} lladdr {mac} nud permanent dev lan0"
                ));
            }
        }
        let forward = "net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1";
        let filter = "net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.wan0.rp_filter=0";
        router.run("sysctl", &format!("-qw {forward} {filter}"));
        router.ip("route add default via 203.0.113.1");
        router.ip("-6 route add default via 2001:db8:2::1");
        host.ip("route add default via 192.0.2.254");
        host.ip("-6 route add default via 2001:db8:1::fe");
        outside.ip("route add 192.0.2.0/24 via 203.0.113.254");
        outside.ip("-6 route add 2001:db8:1::/64 via 2001:db8:2::fe");
        let socket = std::env::temp_dir().join(format!("rfm-guard-{}.sock", std::process::id()));
        Self {
            lab,
            outside,
            router,
            host,
            socket,
        }
    }

    fn agent(&self, action: &str) -> Agent {
        let config = format!(
            "[agent]\ninterfaces = [\"wan0\"]\n[agent.bpf]\nsample_rate = 1\n\
             [agent.control]\nsocket = \"{}\"\n\
             [agent.prometheus]\nhost = \"127.0.0.1\"\nport = {PORT}\n\
             [agent.firewall]\nenabled = true\ninterfaces = [\"wan0\"]\n\
             [agent.guard]\nenabled = true\nmode = \"act\"\naction = \"{action}\"\nttl = \"{}s\"\n\
             protect = [\"192.0.2.0/24\", \"2001:db8:1::/64\"]\n\
             host_packets = 2000\nhost_bits = 40000000\nhost_new_flows = 2000\nhost_syn = 1000\n\
             host_fragments = 1000\nprefix_packets = 3000\nprefix_bits = 60000000\n\
             prefix_new_flows = 3000\nprefix_syn = 2000\nprefix_fragments = 2000\n",
            self.socket.display(),
            TTL.as_secs()
        );
        let agent = Agent::start(&self.lab, &self.router, &config);
        let attached = |m: &common::metrics::Metrics| {
            m.sum("rfm_firewall_interfaces", &[]) == 1
                && m.sum("rfm_firewall_interfaces", &[("mode", "none")]) == 0
        };
        let (_, attached) = agent.scrape_until(Duration::from_secs(10), attached);
        assert!(attached, "{}", agent.log());
        agent
    }

    fn guard(&self) -> Value {
        let reply = http::get(&self.socket, "/v1/guard").expect("a reply");
        serde_json::from_slice(&reply).expect("JSON")
    }

    /// The events so far.
    fn events(&self) -> Vec<Value> {
        let reply = http::get(&self.socket, "/v1/events").expect("a reply");
        let text = String::from_utf8(reply).expect("UTF-8");
        text.lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect()
    }

    fn retransmitted(&self, namespace: &Namespace) -> u64 {
        let text = namespace.run("cat", "/proc/net/snmp");
        let mut lines = text.lines().filter(|line| line.starts_with("Tcp:"));
        let names = lines.next().expect("names").split(' ');
        let values = lines.next().expect("values").split(' ');
        let mut all = names.zip(values);
        let found = all.find(|(name, _)| *name == "RetransSegs");
        found.expect("the counter").1.parse().expect("a number")
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.socket);
    }
}

fn time(value: &Value) -> SystemTime {
    parse_rfc3339(value.as_str().expect("a time")).expect("RFC 3339")
}

/// Real programs: web (new connections), ssh (one connection since before), DNS of the host (queries to the outside).
/// Each panics if an answer is missing.
struct Legitimate<'a> {
    network: &'a Network,
    answers: AtomicU64,
}

impl Legitimate<'_> {
    /// Servers that end with the namespaces: on threads that are not joined.
    fn serve(&self) {
        let listener = self
            .network
            .host
            .inside(|| TcpListener::bind("0.0.0.0:443").expect("a listener"));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || echo(stream));
            }
        });
        for address in [
            SocketAddr::from((OUTSIDE, 53)),
            SocketAddr::from((outside6(), 53)),
        ] {
            let dns = self
                .network
                .outside
                .inside(|| UdpSocket::bind(address).expect("a socket"));
            thread::spawn(move || {
                let mut query = [0; 512];
                while let Ok((_, from)) = dns.recv_from(&mut query) {
                    let _ = dns.send_to(&[0; 90], from);
                }
            });
        }
    }

    fn connect(&self) -> TcpStream {
        let to = SocketAddr::from((HOST, 443));
        let stream = TcpStream::connect_timeout(&to, Duration::from_secs(2));
        let stream = stream.expect("a new connection through the attack");
        let limit = Some(Duration::from_secs(2));
        stream.set_read_timeout(limit).expect("a limit");
        stream
    }

    fn exchange(&self, stream: &mut TcpStream) {
        stream.write_all(&[7; 100]).expect("sent");
        let mut answer = [0; 100];
        stream
            .read_exact(&mut answer)
            .expect("an answer of the web server");
        self.answers.fetch_add(1, SeqCst);
    }

    fn web(&self, stop: &std::sync::atomic::AtomicBool) {
        self.network.outside.inside(|| {
            while !stop.load(SeqCst) {
                self.exchange(&mut self.connect());
                sleep(Duration::from_millis(20));
            }
        });
    }

    fn ssh(&self, stop: &std::sync::atomic::AtomicBool) {
        self.network.outside.inside(|| {
            let mut stream = self.connect();
            while !stop.load(SeqCst) {
                self.exchange(&mut stream);
                sleep(Duration::from_millis(10));
            }
        });
    }

    fn dns(&self, stop: &std::sync::atomic::AtomicBool) {
        self.network.host.inside(|| {
            while !stop.load(SeqCst) {
                for (own, to) in [
                    ("0.0.0.0:0", SocketAddr::from((OUTSIDE, 53))),
                    ("[::]:0", SocketAddr::from((outside6(), 53))),
                ] {
                    let socket = UdpSocket::bind(own).expect("a socket");
                    let limit = Some(Duration::from_secs(2));
                    socket.set_read_timeout(limit).expect("a limit");
                    socket.send_to(&[1; 40], to).expect("sent");
                    let length = socket.recv(&mut [0; 512]).expect("an answer to a query");
                    assert_eq!(length, 90);
                    self.answers.fetch_add(1, SeqCst);
                }
                sleep(Duration::from_millis(20));
            }
        });
    }
}

fn echo(mut stream: TcpStream) {
    let mut bytes = [0; 100];
    while stream.read_exact(&mut bytes).is_ok() {
        if stream.write_all(&bytes).is_err() {
            return;
        }
    }
}

/// Sends frames out of `n0` at a constant rate until the receiver is dropped; `sent` counts them.
fn flood(
    outside: &Namespace,
    rate: u64,
    frame: &(dyn Fn(u64) -> Vec<u8> + Sync),
    sent: &AtomicU64,
    stop: &std::sync::atomic::AtomicBool,
) {
    outside.inside(|| {
        let sender = Sender::new("n0").expect("a packet socket");
        let start = Instant::now();
        let mut n = 0;
        while !stop.load(SeqCst) {
            let due = (start.elapsed().as_secs_f64() * rate as f64) as u64;
            while n < due {
                sender.send(&frame(n), 0).expect("sent");
                n += 1;
                sent.store(n, SeqCst);
            }
            sleep(Duration::from_millis(1));
        }
    });
}

/// To the router's `wan0`.
fn ethernet() -> Frame {
    Frame::ethernet(mac_of("n0"), mac_of("wan0"))
}

/// An address that no one has here.
fn spoofed(n: u64) -> Ipv4Addr {
    let n = n.wrapping_mul(2_654_435_761) as u32;
    Ipv4Addr::new(100, 64 + (n >> 16 & 31) as u8, (n >> 8) as u8, n as u8 | 1)
}

/// An attack, and what its first alarm must say.
struct Case {
    name: &'static str,
    frame: Box<dyn Fn(u64) -> Vec<u8> + Sync>,
    target: &'static str,
    signature: &'static [&'static str],
    action: &'static str,
}

fn cases() -> Vec<Case> {
    let case = |name, target, signature, action, frame: Box<dyn Fn(u64) -> Vec<u8> + Sync>| Case {
        name,
        frame,
        target,
        signature,
        action,
    };
    let random = |n: u64| (n.wrapping_mul(40_503) >> 3) as u16 | 1;
    vec![
        case(
            "NTP reflection from 500 sources",
            "192.0.2.7/32",
            &["protocol udp", "sport 123", "length 468"],
            "drop",
            Box::new(move |n| {
                let frame = ethernet().ipv4(spoofed(n % 500), HOST).udp();
                frame.ports(123, random(n % 500)).payload(440).build()
            }),
        ),
        case(
            "SYN flood of 40 bytes",
            "192.0.2.7/32",
            &["protocol tcp", "syn/syn,ack", "dport 443", "length 40"],
            "drop",
            Box::new(move |n| {
                let frame = ethernet().ipv4(spoofed(n), HOST).tcp(0x02);
                frame.ports(random(n), 443).build()
            }),
        ),
        case(
            "UDP carpet over a /24",
            "192.0.2.0/24",
            &["dst 192.0.2.0/24", "protocol udp", "length 228"],
            "drop",
            Box::new(move |n| {
                let to = Ipv4Addr::new(192, 0, 2, (n * 97 % 253) as u8 + 1);
                let frame = ethernet().ipv4(spoofed(n), to).udp();
                frame.ports(random(n), random(n + 7)).payload(200).build()
            }),
        ),
        case(
            "fragments",
            "192.0.2.7/32",
            &["protocol udp", "fragment later"],
            "drop",
            Box::new(move |n| {
                let frame = ethernet().ipv4(spoofed(n), HOST);
                let frame = frame.fragment(1_480 * ((n % 5) as u16 + 1), true);
                frame.udp().ports(random(n), 9).payload(300).build()
            }),
        ),
        case(
            "DNS amplification with IPv6",
            "2001:db8:1::7/128",
            &["protocol udp", "sport 53", "length"],
            "drop",
            Box::new(move |n| {
                let from = Ipv6Addr::new(0x2001, 0xdb8, 0xbad, 0, 0, 0, 0, (n % 300) as u16 + 1);
                let frame = ethernet().ipv6(from, host6()).udp();
                frame
                    .ports(53, random(n))
                    .payload(1_100 + (n % 60) as usize)
                    .build()
            }),
        ),
        case(
            "GRE flood",
            "192.0.2.7/32",
            &["protocol gre"],
            "drop",
            Box::new(move |n| {
                let frame = ethernet().ipv4(spoofed(n), HOST);
                frame.says(47).payload(100 + (n % 700) as usize).build()
            }),
        ),
    ]
}

fn has(text: &str, part: &str) -> bool {
    text.split(", ").any(|one| one.contains(part))
}

/// Runs an attack until its rules have been in force for two seconds, and checks everything that has an
/// expectation. Returns the time from the alarm to the rule.
fn attack(network: &Network, legitimate: &Legitimate<'_>, case: &Case) -> Duration {
    let before = network.events().len();
    let sent = AtomicU64::new(0);
    let answers = legitimate.answers.load(SeqCst);
    let began = SystemTime::now();
    let first = |events: &[Value], step: &str| {
        let found = events[before..].iter().find(|event| event["event"] == step);
        found.cloned()
    };
    let attacker: Other<'_> = &|stop| {
        flood(&network.outside, RATE, &*case.frame, &sent, stop);
    };
    let (share, rules) = meanwhile(&[attacker], || {
        let limit = Duration::from_secs(5);
        assert!(
            wait_for(limit, || first(&network.events(), "rules").is_some()),
            "{}: no rules: {:#}",
            case.name,
            network.guard()
        );
        let count = || {
            let matched = network.guard()["active"][0]["matched_packets"].as_u64();
            (sent.load(SeqCst), matched.expect("a number"))
        };
        // the counters are read four times a second
        sleep(Duration::from_millis(600));
        let (sent_before, matched_before) = count();
        sleep(Duration::from_millis(2_500));
        let (sent_after, matched_after) = count();
        let share = (matched_after - matched_before) as f64 / (sent_after - sent_before) as f64;
        (
            share,
            first(&network.events(), "rules").expect("still there"),
        )
    });
    let ended = SystemTime::now();
    let attack = &rules["attack"];
    let signature = attack["signature"].as_str().unwrap_or("none");
    let alarm = time(&attack["alarm"]).duration_since(began).expect("after");
    let rule = time(&rules["time"])
        .duration_since(time(&attack["alarm"]))
        .expect("after");
    println!(
        "{}: alarm after {alarm:?}, rule after {rule:?} more, {:.1} % dropped: {signature}",
        case.name,
        100.0 * share
    );
    assert_eq!(attack["target"], case.target, "{attack:#}");
    assert_eq!(attack["action"], case.action, "{attack:#}");
    for part in case.signature {
        assert!(has(signature, part), "{}: {signature}", case.name);
    }
    assert!(alarm <= Duration::from_millis(1_500), "{}", case.name);
    // both counters are read at slightly different times
    assert!(share >= 0.98 - 0.02, "{}: {share}", case.name);
    let done = wait_for(TTL + Duration::from_secs(10), || {
        first(&network.events(), "end").is_some()
    });
    assert!(done, "{}: {:#}", case.name, network.guard());
    let removed = first(&network.events(), "rules_removed").expect("removed");
    let after = time(&removed["time"]).duration_since(ended).expect("after");
    assert!(after <= TTL, "{}: removed after {after:?}", case.name);
    assert!(legitimate.answers.load(SeqCst) > answers + 200);
    rule
}

#[test]
fn attacks_are_dropped_and_nothing_else() {
    if !can_run(&TOOLS) {
        return;
    }
    let network = Network::new();
    let legitimate = Legitimate {
        network: &network,
        answers: AtomicU64::new(0),
    };
    legitimate.serve();
    let agent = network.agent("drop");
    let [web, ssh, dns]: [Other<'_>; 3] = [
        &|stop| legitimate.web(stop),
        &|stop| legitimate.ssh(stop),
        &|stop| legitimate.dns(stop),
    ];
    let before = network.retransmitted(&network.outside);
    meanwhile(&[web, ssh, dns], || {
        // all flows are new in the first three seconds
        sleep(Duration::from_secs(4));
        let cases = cases();
        let mut rules: Vec<_> = cases
            .iter()
            .map(|case| attack(&network, &legitimate, case))
            .collect();
        rules.sort_unstable();
        // the kernel may take longer to swap a set of rules on a busy machine
        let usual = rules[rules.len() / 2];
        assert!(usual <= Duration::from_millis(100), "{rules:?}");
    });
    // a busy machine answers some segments late, and the kernel sends them again; queries by UDP are sent once
    let again = network.retransmitted(&network.outside) - before;
    assert!(again < 10, "{again} segments were sent again");
    let metrics = agent.scrape();
    assert_eq!(metrics.sum("rfm_guard_active", &[]), 0);
    let drops = metrics.sum("rfm_guard_attacks_total", &[("action", "drop")]);
    assert_eq!(drops, cases().len() as u64, "{:#}", network.guard());
    agent.stop();
}

#[test]
fn a_flood_of_syns_as_clients_send_them_is_limited_by_source() {
    if !can_run(&TOOLS) {
        return;
    }
    let network = Network::new();
    let legitimate = Legitimate {
        network: &network,
        answers: AtomicU64::new(0),
    };
    legitimate.serve();
    let agent = network.agent("drop");
    let [web, ssh]: [Other<'_>; 2] = [&|stop| legitimate.web(stop), &|stop| legitimate.ssh(stop)];
    let sent = AtomicU64::new(0);
    meanwhile(&[web, ssh], || {
        sleep(Duration::from_secs(4));
        // 60 bytes: 20 of options
        let frame = |n: u64| {
            let frame = ethernet().ipv4(spoofed(n), HOST).tcp(0x02);
            let mut bytes = frame
                .ports((n % 60_000) as u16 + 1, 443)
                .payload(20)
                .build();
            bytes[46] = 10 << 4;
            bytes
        };
        let attacker: Other<'_> = &|stop| flood(&network.outside, RATE, &frame, &sent, stop);
        meanwhile(&[attacker], || {
            let rules = || {
                let events = network.events();
                events.into_iter().find(|event| event["event"] == "rules")
            };
            assert!(wait_for(Duration::from_secs(5), || rules().is_some()));
            let event = rules().expect("still there");
            let attack = &event["attack"];
            assert_eq!(attack["action"], "limit", "{attack:#}");
            assert_eq!(attack["rules"][0]["per"], "source", "{attack:#}");
            sleep(Duration::from_secs(2));
        });
    });
    assert!(legitimate.answers.load(SeqCst) > 200);
    agent.stop();
}

#[test]
fn ordinary_load_raises_no_alarm() {
    if !can_run(&TOOLS) {
        return;
    }
    let network = Network::new();
    common::traffic::iperf3_server(&network.lab, &network.host);
    let legitimate = Legitimate {
        network: &network,
        answers: AtomicU64::new(0),
    };
    legitimate.serve();
    let agent = network.agent("drop");
    let resolver = network
        .host
        .inside(|| UdpSocket::bind(SocketAddr::from((HOST, 53))).expect("a socket"));
    thread::spawn(move || {
        let mut query = [0; 512];
        while let Ok((_, from)) = resolver.recv_from(&mut query) {
            let _ = resolver.send_to(&[0; 90], from);
        }
    });
    sleep(Duration::from_secs(4));
    let sent = AtomicU64::new(0);
    // a busy resolver, a speed test and a backup
    let query = |n: u64| {
        let frame = ethernet().ipv4(spoofed(n), HOST).udp();
        frame.ports((n % 60_000) as u16 + 1, 53).payload(40).build()
    };
    let queries: Other<'_> = &|stop| flood(&network.outside, 1_500, &query, &sent, stop);
    meanwhile(&[queries], || {
        for how in ["-b 150M -t 5", "-R -b 150M -t 5"] {
            network.outside.run("iperf3", &format!("-c {HOST} {how}"));
        }
        // a crowd of 2,000 clients within about a second
        network.outside.inside(|| {
            let (sender, clients) = mpsc::channel();
            thread::scope(|scope| {
                for _ in 0..8 {
                    let sender = sender.clone();
                    let legitimate = &legitimate;
                    let outside = &network.outside;
                    scope.spawn(move || {
                        outside.inside(|| {
                            for _ in 0..250 {
                                let mut client = legitimate.connect();
                                legitimate.exchange(&mut client);
                                sender.send(client).expect("kept");
                            }
                        });
                    });
                }
            });
            drop(sender);
            assert_eq!(clients.iter().count(), 2_000);
        });
        sleep(Duration::from_secs(2));
        assert_eq!(network.events(), Vec::<Value>::new());
        // a restart during the queries
        agent.stop();
        let agent = network.agent("drop");
        sleep(Duration::from_secs(6));
        assert_eq!(network.events(), Vec::<Value>::new(), "{}", agent.log());
        agent.stop();
    });
}
