// SPDX-License-Identifier: AGPL-3.0-only
//! What the page says of a firewall at work.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::Duration;

use crate::browser::{Browser, TOOLS};
use crate::common::agent::{Agent, EXACT, config};
use crate::common::cases::{DST_MAC, SRC_MAC};
use crate::common::frames::Frame;
use crate::common::lab::{Lab, Namespace, can_run};
use crate::common::packet::Sender;
use crate::common::traffic::meanwhile;

const RULES: &str = "[agent.firewall]\nenabled = true\ninterfaces = [\"a0\"]\n\
    [[agent.firewall.rule]]\nsrc = \"192.0.2.0/24\"\naction = \"pass\"\n\
    [[agent.firewall.rule]]\nsrc = \"203.0.113.0/24\"\n";

#[test]
fn it_tells_what_the_firewall_drops() {
    if !can_run(&TOOLS) {
        return;
    }
    let lab = Lab::new();
    let (a, b) = lab.pair();
    let text = config(r#"["a0"]"#, &format!("{EXACT}{RULES}"));
    let agent = Agent::start(&lab, &a, &text);
    let browser = Browser::start(&lab, &a);
    browser.open("http://127.0.0.1:9669/");
    browser.wait(&health("text.includes('Drops nothing now')"));
    browser.wait(&health("text.includes('1 interface, native')"));
    browser.wait(&health("/rules: .*2 config/.test(text)"));
    meanwhile(&[&|stop| unwanted(&b, stop)], || {
        browser.wait(&health("text.includes('p/s dropped')"));
        browser.wait(&health("/config-2: /.test(text)"));
    });
    let dropped = [("rule", "config-2"), ("action", "drop")];
    let total = agent.scrape().sum("rfm_firewall_packets_total", &dropped);
    assert!(total > 0);
    // the page groups thousands
    browser.wait(&health(&format!(
        "text.replace(/[^0-9a-z ]/gi, '').includes('{total} packets dropped since the start')"
    )));
    browser.wait(&health("text.includes('Drops nothing now')"));
    assert_eq!(browser.complaints(), Vec::<String>::new());
    drop(browser);
    agent.stop();
}

/// Whether this holds of the item's text.
fn health(condition: &str) -> String {
    format!(
        "const item = [...document.querySelectorAll('#health > div')].find(item => \
         item.querySelector('dt').textContent === 'Firewall'); \
         if (!item) return false; const text = item.textContent; return {condition};"
    )
}

fn unwanted(namespace: &Namespace, stop: &AtomicBool) {
    let sender = namespace.inside(|| Sender::new("b0").expect("a packet socket"));
    let frame = Frame::ethernet(SRC_MAC, DST_MAC)
        .ipv4([203, 0, 113, 1].into(), [10, 99, 0, 77].into())
        .udp()
        .payload(100)
        .build();
    while !stop.load(Ordering::Relaxed) {
        sender.send(&frame, 0).expect("sent");
        sleep(Duration::from_millis(10));
    }
}
