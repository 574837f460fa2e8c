// SPDX-License-Identifier: AGPL-3.0-only
//! Each key and the mouse.

use crate::common::lab::{can_run, wait_for};
use crate::harness::{parts, rfm};
use crate::router::BusyRouter;
use crate::terminal::{SOON, TOOLS, Terminal, top, traffic};

#[test]
fn lists_filters_and_views() {
    if !can_run(&TOOLS) {
        return;
    }
    let router = BusyRouter::new("");
    let terminal = Terminal::with_size(&router.top(""), "LANG=C.UTF-8", (120, 40));
    terminal.wait_for("100.64.7.21:51234");
    assert_eq!(terminal.property("mouse_sgr_flag"), "1");
    // lists
    for (key, text) in [
        ("2", "64496"),
        ("3", "64498"),
        ("4", "51234"),
        ("5", "8443"),
        ("6", "udp"),
        ("7", "transit"),
        ("8", "100.64.7.77"),
        ("9", "198.18.4.4"),
        ("1", "HOST B"),
    ] {
        terminal.keys(&[key]);
        terminal.wait_for(text);
    }
    // a filter while it is typed, by name and by port
    terminal.keys(&["/", "n", "o", "r", "t", "h"]);
    terminal.wait_for("filter: north_");
    terminal.wait_until("only one network", |screen| {
        screen.contains("198.18.3.53") && !screen.contains("198.18.1.10")
    });
    terminal.keys(&["Enter"]);
    terminal.wait_for("1 conversation: ");
    terminal.keys(&["/", "C-u", "tcp 22", "Enter"]);
    terminal.wait_until("only one port", |screen| {
        screen.contains("198.18.4.4:22") && !screen.contains("198.18.3.53")
    });
    terminal.keys(&["/", "C-u", "udp port=9", "Enter"]);
    terminal.wait_for("no live flow matches the filter");
    terminal.keys(&["/", "C-u", "interface=v9", "Enter"]);
    terminal.wait_for("no monitored interface is called v9");
    terminal.keys(&["Escape"]);
    terminal.wait_for("198.18.1.10");
    // bits and bytes, order, interval, pause
    terminal.keys(&["b"]);
    terminal.wait_for("MB/s");
    terminal.keys(&["b", "s"]);
    terminal.wait_for("sort:bytes");
    terminal.keys(&["s"]);
    terminal.wait_for("sort:packets");
    terminal.keys(&["s", "r"]);
    terminal.wait_until("the smallest first", |screen| {
        let line = screen
            .lines()
            .skip_while(|line| !line.contains("HOST A"))
            .nth(1);
        line.is_some_and(|line| !line.contains("51234")) && screen.contains("least 10s")
    });
    terminal.keys(&["r", "d"]);
    terminal.wait_for("d in  ");
    terminal.keys(&["d"]);
    terminal.wait_for("d out  ");
    terminal.keys(&["d", "i"]);
    terminal.wait_for("seconds between queries: _");
    terminal.keys(&["0", "Enter"]);
    terminal.wait_for("expected a duration from 200ms to 1m");
    terminal.keys(&["i", "0.5", "Enter"]);
    terminal.keys(&["p"]);
    terminal.wait_for("PAUSED");
    terminal.keys(&["p", "f"]);
    terminal.wait_for("FROZEN");
    terminal.keys(&["f", "h"]);
    terminal.wait_for("mouse on, off");
    terminal.keys(&["h"]);
    terminal.wait_until("no help", |screen| !screen.contains("mouse on, off"));
    terminal.keys(&["m"]);
    terminal.wait_until("no mouse", |_| terminal.property("mouse_sgr_flag") == "0");
    terminal.keys(&["q"]);
    terminal.assert_clean("0");
}

#[test]
fn enter_opens_conversations_hosts_and_networks() {
    if !can_run(&TOOLS) {
        return;
    }
    let router = BusyRouter::new("");
    let terminal = Terminal::new(&router.top(""), "LANG=C.UTF-8");
    terminal.wait_for("198.18.1.10");
    terminal.keys(&["/", "51234", "Enter"]);
    terminal.wait_for("1 conversation: ");
    terminal.keys(&["Enter"]);
    terminal.wait_for("tcp  A 100.64.7.21:51234  B 198.18.1.10:443");
    terminal.wait_for("in lan0, out wan0");
    println!("{}", terminal.screen());
    // network B
    terminal.keys(&["Down", "Down", "Down", "Enter"]);
    terminal.wait_for("asn=64496");
    terminal.keys(&["Escape"]);
    terminal.wait_for("B→A");
    terminal.keys(&["Escape"]);
    terminal.wait_for("1 conversation: ");
    // a key directly after it would be one with Alt
    terminal.keys(&["Escape"]);
    terminal.wait_for("198.18.3.53");
    terminal.keys(&["8"]);
    terminal.wait_for("VALUE");
    terminal.wait_for("100.64.7.142");
    terminal.keys(&["Enter"]);
    terminal.wait_for("address=");
    terminal.keys(&["Escape"]);
    terminal.wait_for("VALUE");
}

#[test]
fn the_mouse_selects_opens_and_scrolls() {
    if !can_run(&TOOLS) {
        return;
    }
    let router = BusyRouter::new("");
    let terminal = Terminal::new(&router.top(""), "LANG=C.UTF-8");
    terminal.wait_for("198.18.3.53");
    terminal.keys(&["f"]);
    terminal.wait_for("FROZEN");
    let row = terminal.line_of("198.18.3.53");
    terminal.mouse(0, (5, row));
    terminal.mouse(0, (5, row));
    terminal.wait_for("B 198.18.3.53:53");
    terminal.mouse(2, (5, row));
    terminal.wait_for("HOST A");
    // the fifth tab
    let tabs = terminal.line_of("1Conv");
    let column = terminal.screen().lines().nth(tabs).unwrap().find("6Proto");
    terminal.mouse(0, (column.unwrap() + 1, tabs));
    terminal.wait_for("SHARE");
    terminal.mouse(65, (5, row));
    terminal.keys(&["Enter"]);
    terminal.wait_for("protocol=");
    terminal.keys(&["q"]);
    terminal.assert_clean("0");
}

#[test]
fn a_rule_is_proposed_and_applied_after_a_confirmation() {
    if !can_run(&TOOLS) {
        return;
    }
    let rules = |router: &BusyRouter| {
        let (_, text, _) = parts(rfm(&router.folder.socket(), "firewall list"));
        text
    };
    let firewall = "[agent.firewall]\nenabled = true\ninterfaces = [\"wan0\"]\n";
    let router = BusyRouter::new(firewall);
    let terminal = Terminal::with_size(&router.top("--port 51234"), "LANG=C.UTF-8", (120, 40));
    // the server sends more, which the first answer need not show
    terminal.wait_for("100.64.7.21:51234 ← ");
    terminal.keys(&["x"]);
    terminal.wait_for("y apply");
    println!("{}", terminal.screen());
    let command = "rfm firewall add --src 198.18.1.10/32 --dst 100.64.7.21/32 --protocol tcp --action drop --ttl";
    terminal.wait_until("the command", |screen| {
        let words: Vec<_> = screen.split_whitespace().collect();
        words.join(" ").contains(command)
    });
    terminal.keys(&["Escape"]);
    terminal.wait_until("no box", |screen| !screen.contains("y apply"));
    assert!(!rules(&router).contains("198.18.1.10"), "only proposed");
    terminal.wait_for("← ");
    terminal.keys(&["x", "t"]);
    terminal.wait_for("--ttl 1h");
    terminal.keys(&["Space"]);
    terminal.wait_until("another rule", |screen| !screen.contains("--dst 100"));
    terminal.wait_for("y apply");
    terminal.keys(&["y"]);
    terminal.wait_for("is in force: rfm firewall add --src 198.18.1.10/32 --action drop --ttl 1h");
    let listed = rules(&router);
    assert!(
        listed.contains("198.18.1.10/32") && listed.contains("in 59m"),
        "{listed}"
    );
    // a network has the prefixes of its hosts
    terminal.keys(&["2"]);
    terminal.keys(&["/", "C-u", "Cloud", "Enter"]);
    terminal.wait_until("only one network", |screen| {
        screen.contains("64497") && !screen.contains("64498")
    });
    terminal.keys(&["x"]);
    terminal.wait_for("prefixes of AS64497 with the most traffic");
    terminal.wait_for("rfm firewall add --src 198.18.2.0/24 --action drop --ttl 10m");
    terminal.wait_for("y apply");
    println!("{}", terminal.screen());
    terminal.keys(&["Escape"]);
    drop(terminal);
    drop(router);

    let router = BusyRouter::new("");
    let terminal = Terminal::new(&router.top("--once"), "LANG=C.UTF-8");
    terminal.wait_for("ended:0");
    let terminal = Terminal::new(&router.top(""), "LANG=C.UTF-8");
    terminal.wait_for("198.18.1.10");
    terminal.keys(&["x"]);
    terminal.wait_for("agent.firewall.enabled is false");
    terminal.keys(&["y"]);
    terminal.keys(&["Escape"]);
    terminal.wait_until("no box", |screen| !screen.contains("Proposed"));
}

/// The resolver of the system has a name for the loopback in every namespace.
#[test]
fn names_are_off_until_requested() {
    if !can_run(&TOOLS) {
        return;
    }
    let fixture = crate::harness::Fixture::new("");
    traffic(&fixture);
    fixture.namespace.inside(|| {
        use std::net::Ipv4Addr;

        let sender = crate::common::packet::Sender::new("v0").expect("a packet socket");
        let frame = crate::common::frames::Frame::ethernet([2; 6], [4; 6])
            .ipv4(Ipv4Addr::LOCALHOST, Ipv4Addr::new(192, 0, 2, 1))
            .udp()
            .ports(5000, 53)
            .pad_to(100)
            .build();
        for _ in 0..20 {
            sender.send(&frame, 0).expect("sent");
        }
    });
    let terminal = Terminal::new(&top(&fixture), "LANG=C.UTF-8");
    terminal.wait_for("127.0.0.1:5000");
    terminal.keys(&["n"]);
    terminal.wait_for("localhost:5000");
    terminal.keys(&["/", "localh"]);
    terminal.wait_until("only one host", |screen| !screen.contains("8.0.0.1:7"));
    terminal.keys(&["Escape"]);
    terminal.wait_for("8.0.0.1:7");
    terminal.keys(&["n"]);
    terminal.wait_for("127.0.0.1:5000");
}

#[test]
fn options_are_presets() {
    if !can_run(&TOOLS) {
        return;
    }
    let router = BusyRouter::new("");
    let start = |options: &str| {
        let terminal = Terminal::with_size(&router.top(options), "LANG=C.UTF-8", (120, 40));
        terminal.wait_for("q end");
        terminal
    };
    let terminal = start("--interface lan0 --direction ingress --sort packets");
    terminal.wait_for("interface=lan0 direction=ingress");
    terminal.wait_for("sort:packets");
    let terminal = start("--by src_asn --limit 3");
    terminal.wait_for("NAME");
    let terminal = start("--by src,dst,src_port,dst_port");
    terminal.wait_for("forwarded packets are counted twice");
    terminal.keys(&["d"]);
    terminal.wait_until("once", |screen| !screen.contains("counted twice"));
    let terminal = Terminal::new(&router.top("--sort last"), "LANG=C.UTF-8");
    terminal.assert_clean("2");
}

#[test]
fn json_names_both_networks() {
    if !can_run(&TOOLS) {
        return;
    }
    let router = BusyRouter::new("");
    let words = "top --by src_asn,dst_asn --json";
    let mut text = String::new();
    let named = wait_for(SOON, || {
        text = parts(rfm(&router.folder.socket(), words)).1;
        let reply: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let groups = reply["top"].as_array().expect("groups").iter();
        let mut names = groups.map(|group| &group["asn_names"]);
        names.any(|names| {
            names["src_asn"] == "City Fibre Cooperative" && names["dst_asn"] == "Cloud Nine Hosting"
        })
    });
    assert!(named, "{text}");
}
