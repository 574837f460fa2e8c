// SPDX-License-Identifier: AGPL-3.0-only
//! A router with an agent, the outside, and a protected host.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use humantime_serde::re::humantime::parse_rfc3339;
use serde_json::Value;

use crate::common::agent::{Agent, PORT};
use crate::common::lab::{Lab, Namespace};
use crate::common::metrics::Metrics;
use rfm::client::http;

pub const TOOLS: [&str; 3] = ["ip", "sysctl", "iperf3"];
pub const HOST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);
pub const OUTSIDE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
pub const TTL: Duration = Duration::from_secs(2);

pub fn host6() -> Ipv6Addr {
    "2001:db8:1::7".parse().expect("an address")
}

pub fn outside6() -> Ipv6Addr {
    "2001:db8:2::1".parse().expect("an address")
}

/// The outside (`n0`), the router (`wan0`, `lan0`) and the protected host (`h0`).
pub struct Network {
    pub lab: Lab,
    pub outside: Namespace,
    pub router: Namespace,
    pub host: Namespace,
    pub socket: PathBuf,
}

impl Network {
    pub fn new() -> Self {
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

    pub fn agent(&self, action: &str) -> Agent {
        self.agent_with(action, "")
    }

    /// Starts an agent with further lines of configuration.
    pub fn agent_with(&self, action: &str, more: &str) -> Agent {
        let config = format!(
            "[agent]\ninterfaces = [\"wan0\"]\n[agent.bpf]\nsample_rate = 1\n\
             [agent.control]\nsocket = \"{}\"\n\
             [agent.prometheus]\nhost = \"127.0.0.1\"\nport = {PORT}\n\
             [agent.firewall]\nenabled = true\ninterfaces = [\"wan0\"]\n\
             [[agent.enrich.peer]]\ninterface = \"wan0\"\nasn = 64500\n\
             [agent.guard]\nenabled = true\nmode = \"act\"\naction = \"{action}\"\nttl = \"{}s\"\n\
             protect = [\"192.0.2.0/24\", \"2001:db8:1::/64\"]\n\
             host_packets = 2000\nhost_bits = 40000000\nhost_new_flows = 2000\nhost_syn = 1000\n\
             host_fragments = 1000\nprefix_packets = 3000\nprefix_bits = 60000000\n\
             prefix_new_flows = 3000\nprefix_syn = 2000\nprefix_fragments = 2000\n{more}",
            self.socket.display(),
            TTL.as_secs()
        );
        let agent = Agent::start(&self.lab, &self.router, &config);
        let attached = |m: &Metrics| {
            m.sum("rfm_firewall_interfaces", &[]) == 1
                && m.sum("rfm_firewall_interfaces", &[("mode", "none")]) == 0
        };
        let (_, attached) = agent.scrape_until(Duration::from_secs(10), attached);
        assert!(attached, "{}", agent.log());
        agent
    }

    pub fn guard(&self) -> Value {
        let reply = http::get(&self.socket, "/v1/guard").expect("a reply");
        serde_json::from_slice(&reply).expect("JSON")
    }

    /// The events so far.
    pub fn events(&self) -> Vec<Value> {
        let reply = http::get(&self.socket, "/v1/events").expect("a reply");
        let text = String::from_utf8(reply).expect("UTF-8");
        text.lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect()
    }

    pub fn retransmitted(&self, namespace: &Namespace) -> u64 {
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

pub fn time(value: &Value) -> SystemTime {
    parse_rfc3339(value.as_str().expect("a time")).expect("RFC 3339")
}
