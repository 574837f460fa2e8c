// SPDX-License-Identifier: AGPL-3.0-only
//! `agent.privacy.addresses`: no path of the HTTP server and no flow of the socket has more of an address.

use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rfm::types::address_detail::AddressDetail;
use serde_json::json;

use crate::browser::TOOLS;
use crate::common::agent::{Agent, PORT};
use crate::common::cases::{DST_MAC, SRC_MAC};
use crate::common::frames::Frame;
use crate::common::lab::{Lab, can_run, wait_for};
use crate::common::packet::Sender;
use crate::looks::visit;

const SOURCE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 77);
const DESTINATION: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 88);

/// All paths of the HTTP server, and those of the socket that show flows.
const PAGE: [&str; 9] = [
    "/",
    "/metrics",
    "/healthz?verbose",
    "/page/v1.json",
    "/page/v1.json?list=hosts",
    "/page/v1.json?list=hosts&side=near&filter=far.host.198.51.100.77",
    "/page/v1.json?list=prefixes&window=day",
    "/page/v1.json?list=services",
    "/page/v1.json?list=networks&filter=near.host.203.0.113.88",
];
const SOCKET: [&str; 5] = [
    "/v1/flows",
    "/v1/flows?src=198.51.100.77",
    "/v1/top?by=src,dst",
    "/v1/top?by=src,src_port,dst_port",
    "/v1/status",
];

#[test]
fn addresses_are_complete_a_prefix_or_absent() {
    if !can_run(&["ip"]) {
        return;
    }
    let lab = Lab::new();
    let (a, b) = lab.pair();
    let socket = lab.path("rfm.sock");
    for (detail, address, prefix) in [
        ("full", true, false),
        ("prefix", false, true),
        ("none", false, false),
    ] {
        let config = format!(
            "[agent]\ninterfaces = [\"a0\"]\n[agent.bpf]\nsample_rate = 1\n\
             [agent.privacy]\naddresses = \"{detail}\"\n\
             [agent.control]\nsocket = \"{}\"\n\
             [agent.prometheus]\nhost = \"127.0.0.1\"\nport = {PORT}\n",
            socket.display()
        );
        let agent = Agent::start(&lab, &a, &config);
        b.inside(|| {
            let sender = Sender::new("b0").expect("a packet socket");
            let frame = Frame::ethernet(SRC_MAC, DST_MAC)
                .ipv4(SOURCE, DESTINATION)
                .udp()
                .ports(53, 9)
                .payload(100);
            (0..10).for_each(|_| sender.send(&frame.build(), 0).expect("sent"));
        });
        let counted = wait_for(Duration::from_secs(10), || {
            ask(&socket, "/v1/flows").contains("\"src_port\":53")
        });
        assert!(counted, "{}", ask(&socket, "/v1/flows"));
        // thread page has seen the interface
        let known = wait_for(Duration::from_secs(10), || {
            let data = agent.get("/page/v1.json?list=services").expect("an answer");
            data.body.contains("\"17/9\"")
        });
        assert!(known);
        let page = PAGE.map(|path| (path, agent.get(path).expect("an answer").body));
        let flows = SOCKET.map(|path| (path, ask(&socket, path)));
        let (mut full, mut short) = (0, 0);
        for (path, body) in page.into_iter().chain(flows) {
            for host in [SOURCE, DESTINATION] {
                let mut network = host.octets();
                network[3] = 0;
                let network = format!("{}/24", Ipv4Addr::from(network));
                full += usize::from(body.contains(&format!("\"{host}\"")));
                short += usize::from(body.contains(&network));
                let leaks = body.contains(&host.to_string());
                assert!(address || !leaks, "{detail}: {path} has {host}: {body}");
                let leaks = body.contains(&network[..network.len() - 4]);
                assert!(address || prefix || !leaks, "{detail}: {path}: {body}");
            }
        }
        assert_eq!(full > 4, address, "{detail}: {full} addresses");
        assert!(!prefix || short > 4, "{detail}: {short} prefixes");
        agent.stop();
    }
}

fn ask(socket: &Path, path: &str) -> String {
    let mut stream = UnixStream::connect(socket).expect("the control socket");
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    .expect("sent");
    let mut reply = String::new();
    stream.read_to_string(&mut reply).expect("a reply");
    reply
}

/// The page says why there are no addresses.
#[test]
fn the_page_shows_that_addresses_are_absent() {
    if !can_run(&TOOLS) {
        return;
    }
    visit(30, 1, |browser, url, router| {
        let note = "document.querySelector('#table-note').textContent";
        let rows = "document.querySelectorAll('#table tbody tr').length";
        for (detail, text, lines) in [
            (
                AddressDetail::Absent,
                "The configuration shows no addresses (agent.privacy.addresses).",
                0,
            ),
            (
                AddressDetail::Prefix,
                "The configuration shows no complete addresses.",
                25,
            ),
        ] {
            *router.addresses.lock().unwrap() = detail;
            router.tick();
            browser.open(&format!("{url}?{lines}#tab=prefixes"));
            browser.wait(&format!(
                "return {note}.includes({}) && {rows} === {lines}",
                json!(text)
            ));
        }
        // services and networks have no addresses
        *router.addresses.lock().unwrap() = AddressDetail::Absent;
        router.tick();
        browser.open(&format!("{url}?services#tab=services&filter=far.asn.64500"));
        browser.wait(&format!(
            "return {rows} > 3 && {note}.startsWith('The services')"
        ));
        let text = browser.run("return document.querySelector('main').textContent");
        assert!(!text.as_str().unwrap().contains("203.0.113."), "{text}");
        // without names the page does not open on prefixes
        router.names_missing = true;
        router.tick();
        browser.open(&format!("{url}?bare"));
        browser.wait(&format!("return {rows} > 3 && document.querySelector('#tab [aria-pressed=true]').textContent === 'Networks'"));
    });
}
