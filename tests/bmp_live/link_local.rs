// SPDX-License-Identifier: AGPL-3.0-only
//! Two neighbors with the same link-local address, each on a link of its own, are two peers.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::bird::Bird;
use crate::common::agent::EXACT;
use crate::common::lab::{Lab, Namespace};
use crate::daemon::{Daemon, HOME, Rejoins};
use crate::frr::{self, BGPD, bmp};
use crate::readme::stanza;
use crate::speaker::{Identity, Path, Speaker};
use crate::topology::{HERE, Topology};

/// Device of the router, that of the neighbor, and the neighbor.
const LINKS: [(&str, &str, Identity); 2] = [
    ("ab0", "ab1", neighbour(1, 64502)),
    ("ac0", "ac1", neighbour(2, 64503)),
];

const fn neighbour(link: u8, asn: u32) -> Identity {
    Identity {
        local: Ipv4Addr::new(10, 98, link, 2),
        // it is the router that dials
        router: HERE,
        asn,
        next_hop: Ipv6Addr::new(0xfd98, link as u16, 0, 0, 0, 0, 0, 2),
    }
}

/// The neighbor's end of a link.
fn connect(topology: &Topology, (near, far, identity): (&str, &str, Identity)) -> Namespace {
    let namespace = topology.lab.namespace(far);
    topology
        .lab
        .veth((&topology.router, near), (&namespace, far));
    let link = identity.local.octets()[2];
    for (namespace, device, host) in [(&topology.router, near, 1), (&namespace, far, 2)] {
        let conf = format!("net.ipv6.conf.{device}");
        // no link-local address but the one below
        let sysctl = format!("-qw {conf}.addr_gen_mode=1 {conf}.accept_dad=0");
        namespace.run("sysctl", &sysctl);
        let sysctl = format!("-qw {conf}.accept_ra=0 {conf}.disable_ipv6=0");
        namespace.run("sysctl", &sysctl);
        for address in [
            format!("fe80::{host}/64"),
            format!("fd98:{link}::{host}/64"),
            format!("10.98.{link}.{host}/24"),
        ] {
            let nodad = if address.contains(':') { "nodad" } else { "" };
            namespace.ip(&format!("address add {address} dev {device} {nodad}"));
        }
    }
    namespace
}

fn run(daemon: &dyn Daemon) {
    let topology = Topology::new(daemon);
    let agent = topology.agent(EXACT, Duration::from_secs(60));
    let namespaces = LINKS.map(|link| connect(&topology, link));
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for (namespace, (_, far, _)) in namespaces.iter().zip(LINKS) {
            let (index, stop) = (namespace.ifindex(far), &stop);
            scope.spawn(move || namespace.inside(|| advertise_router(index, stop)));
        }
        let _end = End(&stop);
        let _router = topology.start(daemon);
        topology.wait_for_session(&agent, Duration::from_secs(15));
        let speakers = [0, 1].map(|n| Speaker::accept(&namespaces[n], LINKS[n].2));
        let [mut west, mut east] = speakers;
        // FRR reports no route whose next hop it does not know yet, also not later
        for (speaker, (.., identity)) in [&mut west, &mut east].into_iter().zip(LINKS) {
            let asns = [identity.asn, 64599];
            let path = Path::new(&asns, &[]);
            speaker.announce("192.0.2.0/24", path);
            speaker.announce("2001:db8:ffff::/48", path);
        }
        topology.settle();
        topology.change(|| {
            west.announce("198.51.100.0/24", Path::new(&[64502, 64510], &[]));
            west.announce("2001:db8:1::/48", Path::new(&[64502, 64510], &[]));
            east.announce("203.0.113.0/24", Path::new(&[64503, 64520], &[]));
            // the same prefix: the longer path must not take the place of the other
            east.announce("198.51.100.0/24", Path::new(&[64503, 64520, 64521], &[]));
            west.end_of_rib();
            east.end_of_rib();
        });
        for (address, labels) in [
            ("198.51.100.1", ["64510", "64502"]),
            ("2001:db8:1::1", ["64510", "64502"]),
            ("203.0.113.1", ["64520", "64503"]),
        ] {
            topology.expect(&agent, address, labels, "both are up");
        }
        topology.change(|| west.end());
        topology.expect(&agent, "2001:db8:1::1", ["", ""], "one is down");
        for (address, labels) in [
            ("198.51.100.1", ["64521", "64503"]),
            ("203.0.113.1", ["64520", "64503"]),
        ] {
            topology.expect(&agent, address, labels, "the other is up");
        }
        topology.expect_no_errors(&agent);
    });
    agent.stop();
}

/// Ends the advertisements, also of a test that fails.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Sends router advertisements (RFC 4861 section 4.2), from which FRR learns its neighbor's address.
fn advertise_router(index: u32, stop: &AtomicBool) {
    use rustix::net::{
        AddressFamily, SendFlags, SocketAddrV6, SocketType, ipproto, sendto, socket, sockopt,
    };
    let socket =
        socket(AddressFamily::INET6, SocketType::RAW, Some(ipproto::ICMPV6)).expect("a raw socket");
    sockopt::set_ipv6_multicast_hops(&socket, 255).expect("a hop limit");
    let all_nodes = SocketAddrV6::new(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1), 0, 0, index);
    // no default router, no prefixes
    let mut advertisement = [0; 16];
    advertisement[0] = 134;
    while !stop.load(Ordering::Acquire) {
        let _ = sendto(&socket, &advertisement, SendFlags::empty(), &all_nodes);
        thread::sleep(Duration::from_millis(200));
    }
}

/// FRR's unnumbered BGP.
struct Unnumbered;

impl Daemon for Unnumbered {
    fn configure(&self, lab: &Lab) {
        let mut text = format!(
            "router bgp {HOME}\n bgp router-id {HERE}\n no bgp ebgp-requires-policy\n \
             no bgp default ipv4-unicast\n"
        );
        for (device, _, identity) in LINKS {
            text += &format!(
                " neighbor {device} interface remote-as {}\n neighbor {device} timers connect 1\n",
                identity.asn
            );
            for family in ["ipv4", "ipv6"] {
                text += &format!(
                    " address-family {family} unicast\n  neighbor {device} activate\n \
                     exit-address-family\n"
                );
            }
        }
        lab.file("frr.conf", &(text + "exit\n" + &bmp("post-policy")));
    }

    fn command(&self, lab: &Lab) -> (String, Vec<String>) {
        let socket = frr::zebra_socket(lab).display().to_string();
        // routes stay out of the kernel's table
        let arguments = frr::arguments(lab, &["-n", "-z", &socket]);
        (BGPD.to_owned(), arguments)
    }

    fn helper(&self, lab: &Lab) -> Option<(String, Vec<String>, PathBuf)> {
        Some(frr::zebra(lab))
    }

    fn rejoins(&self) -> Rejoins {
        Rejoins::ByItself(Duration::from_secs(10))
    }
}

/// BIRD with the same neighbors.
struct LinkLocal(Bird);

impl Daemon for LinkLocal {
    fn configure(&self, lab: &Lab) {
        let mut text = format!("log stderr all;\nrouter id {HERE};\nprotocol device {{}}\n");
        for (device, _, identity) in LINKS {
            text += &format!(
                "protocol bgp {device} {{\n local fe80::1 as {HOME};\n \
                 neighbor fe80::2 % '{device}' as {};\n connect delay time 1;\n \
                 error wait time 1, 1;\n ipv4 {{ import all; export none; }};\n \
                 ipv6 {{ import all; export none; }};\n}}\n",
                identity.asn
            );
        }
        lab.file("bird.conf", &(text + &stanza("`/etc/bird/bird.conf`")));
    }

    fn command(&self, lab: &Lab) -> (String, Vec<String>) {
        self.0.command(lab)
    }

    fn rejoins(&self) -> Rejoins {
        self.0.rejoins()
    }
}

#[test]
fn frr_unnumbered_neighbours_are_two_peers() {
    if frr::there() {
        run(&Unnumbered);
    }
}

#[test]
fn bird_neighbours_with_one_link_local_address_are_two_peers() {
    if let Some(bird) = Bird::find() {
        run(&LinkLocal(bird));
    }
}
