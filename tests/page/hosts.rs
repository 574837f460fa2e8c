// SPDX-License-Identifier: AGPL-3.0-only
//! Hosts, services and filters: of a made-up router, and of live traffic.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde_json::json;

use crate::browser::{Browser, SHOWN, TOOLS, keep_picture};
use crate::common::agent::{Agent, EXACT, config};
use crate::common::cases::{DST_MAC, SRC_MAC};
use crate::common::frames::Frame;
use crate::common::lab::{Lab, Namespace, can_run, wait_for};
use crate::common::packet::Sender;
use crate::looks::visit;

const TITLES: &str = "return [...document.querySelectorAll('#filters .chip')].map(c => c.innerText.replace(/\\s+/g, ' '))";
const FIRST: &str = "document.querySelector('#table tbody tr .drill')";

fn press(browser: &Browser, group: &str, value: &str) {
    browser.run(&format!(
        "document.querySelector('#{group} [data-value={value}]').click()"
    ));
}

#[test]
fn a_click_is_a_filter_and_the_back_button_removes_it() {
    if !can_run(&TOOLS) {
        return;
    }
    visit(60, 1, |browser, url, _| {
        browser.wait(&format!("return {FIRST} !== null"));
        browser.run(&format!("{FIRST}.click()"));
        browser.wait(&format!("return {FIRST}.textContent === '203.0.113.0'"));
        let first = json!(["Network Example Video Delivery AS64500 ×"]);
        assert_eq!(browser.run(TITLES), first);
        assert_eq!(
            browser.run("return location.hash"),
            "#tab=hosts&filter=far.asn.64500"
        );
        // the curve of the network has a past: an hour of the history
        let areas = "return [...document.querySelectorAll('#chart-ingress path.area')].map(p => p.dataset.key).join()";
        assert_eq!(browser.run(areas), "filtered");
        let links = "return [...document.querySelectorAll('#links a')].map(a => a.href).join()";
        assert_eq!(
            browser.run(links),
            "https://bgp.tools/as/64500,https://www.peeringdb.com/asn/64500,https://stat.ripe.net/AS64500"
        );
        let figures = browser.run("return document.querySelector('#figures').innerText");
        for word in ["95th percentile", "IPv6 now", "Mbit/s"] {
            assert!(
                figures.as_str().unwrap().contains(word),
                "{word}: {figures}"
            );
        }
        pictures(browser, "network");

        press(browser, "tab", "services");
        browser.wait(&format!("return {FIRST}.textContent === 'TCP 443'"));
        browser.run(&format!("{FIRST}.click()"));
        let second = json!([first[0], "Service TCP 443 HTTPS ×"]);
        browser.wait(&format!("return document.querySelectorAll('.chip').length === 2 && {FIRST}.textContent === '203.0.113.0'"));
        assert_eq!(browser.run(TITLES), second);
        // a combination is counted from now on, by IP version
        assert_eq!(browser.run(areas), "IPv4,IPv6");
        browser.run(&format!("{FIRST}.click()"));
        browser.wait("return document.querySelectorAll('.chip').length === 3");
        browser.wait(
            "return document.querySelector('#links').innerText.includes('203.0.113.0 on RIPEstat')",
        );
        pictures(browser, "host");

        // the address of the page is enough to see the same
        let address = browser.run("return location.href");
        browser.run("history.back()");
        browser.wait("return document.querySelectorAll('.chip').length === 2");
        assert_eq!(browser.run(TITLES), second);
        browser.run("history.back()");
        browser.wait("return document.querySelectorAll('.chip').length === 1");
        browser.run("document.querySelector('.chip').click()");
        browser.wait("return document.querySelector('#filters').hidden");
        browser.open(&format!("{url}?other"));
        browser.open(address.as_str().unwrap());
        browser.wait("return document.querySelectorAll('.chip').length === 3");
    });
}

fn pictures(browser: &Browser, name: &str) {
    for (width, dark) in [(390, false), (1280, false), (1280, true), (2560, false)] {
        browser.resize(width, 900, dark);
        browser.wait(&format!(
            "return innerWidth === {width} && document.documentElement.scrollWidth <= {width}"
        ));
        let theme = if dark { "-dark" } else { "" };
        keep_picture(browser, &format!("{name}-{width}{theme}"), (width, 1600));
    }
    browser.resize(1280, 800, false);
}

/// Hosts and services have exactly the bytes that were sent since the list was opened.
#[test]
fn hosts_and_services_are_those_of_the_traffic() {
    if !can_run(&TOOLS) {
        return;
    }
    let lab = Lab::new();
    let (a, b) = lab.pair();
    let agent = Agent::start(&lab, &a, &config(r#"["a0"]"#, EXACT));
    let browser = Browser::start(&lab, &a);
    browser.open("http://127.0.0.1:9669/#if=a0&tab=hosts");
    let complete = "return document.querySelector('#table-note').textContent.startsWith('The hosts with the most bytes')";
    browser.wait(complete);
    let v4 = |n| IpAddr::from(Ipv4Addr::new(198, 51, 100, n));
    let v6 = IpAddr::from("2001:db8::7".parse::<Ipv6Addr>().unwrap());
    send(&b, v4(1), 443, 30);
    send(&b, v4(2), 8443, 10);
    send(&b, v6, 53, 20);
    let rows = "return [...document.querySelectorAll('#table tbody tr')].map(r => [r.querySelector('bdi').textContent, Number(r.dataset.bytes)])";
    // frames of 14 + 20 or 40 + 8 + 1000 bytes
    let expected = json!([
        ["198.51.100.1", 31_260],
        ["2001:db8::7", 21_240],
        ["198.51.100.2", 10_420]
    ]);
    shows(&browser, rows, &expected);
    // what the flow table has is in a new list
    press(&browser, "tab", "services");
    let services = json!([
        ["UDP 443", 31_260],
        ["UDP 53", 21_240],
        ["UDP 8443", 10_420]
    ]);
    shows(&browser, rows, &services);
    press(&browser, "tab", "prefixes");
    let prefixes = json!([["198.51.100.0/24", 41_680], ["2001:db8::/48", 21_240]]);
    shows(&browser, rows, &prefixes);
    browser.run(&format!("{FIRST}.click()"));
    press(&browser, "tab", "hosts");
    shows(&browser, rows, &json!([expected[0], expected[2]]));
    // the other direction has nothing
    press(&browser, "dir", "egress");
    shows(&browser, rows, &json!([]));
    // the curve of the filter shows further traffic
    send(&b, v4(3), 443, 50);
    browser.wait("return [...document.querySelectorAll('#chart-ingress path.area')].length === 1 && document.querySelector('#chart-ingress svg').getAttribute('aria-label').includes('with the filters')");
    press(&browser, "dir", "ingress");
    let with_new = json!([["198.51.100.3", 52_100], expected[0], expected[2]]);
    shows(&browser, rows, &with_new);
    assert_eq!(browser.complaints(), Vec::<String>::new());
    drop(browser);
    agent.stop();
}

fn shows(browser: &Browser, script: &str, expected: &serde_json::Value) {
    let mut last = json!(null);
    let is_shown = wait_for(2 * SHOWN, || {
        last = browser.run(script);
        last == *expected
    });
    assert!(is_shown, "{last}, not {expected}");
}

fn send(from: &Namespace, source: IpAddr, port: u16, frames: u32) {
    from.inside(|| {
        let sender = Sender::new("b0").expect("a packet socket");
        let frame = Frame::ethernet(SRC_MAC, DST_MAC);
        let frame = match source {
            IpAddr::V4(source) => frame.ipv4(source, Ipv4Addr::new(10, 1, 1, 1)),
            IpAddr::V6(source) => frame.ipv6(source, "2001:db8:ffff::1".parse().unwrap()),
        };
        let frame = frame.udp().ports(port, 40_000).payload(1000).build();
        (0..frames).for_each(|_| sender.send(&frame, 0).expect("sent"));
    });
}
