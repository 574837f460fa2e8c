// SPDX-License-Identifier: AGPL-3.0-only
//! The page of an agent under live traffic: its numbers are those of /metrics.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::browser::{Browser, SHOWN, TOOLS};
use crate::common::agent::{Agent, EXACT, config};
use crate::common::cases::{DST_MAC, SRC_MAC};
use crate::common::frames::Frame;
use crate::common::lab::{Lab, can_run, wait_for};
use crate::common::metrics::Metrics;
use crate::common::mmdb::{Value, Writer, asn};
use crate::common::packet::Sender;
use crate::common::traffic::meanwhile;
use crate::made::{HOSTILE_CITY, HOSTILE_INTERFACE, HOSTILE_NETWORK};

/// Two refreshes of steady traffic.
const WATCHED: Duration = Duration::from_secs(12);
/// AS numbers, first byte of their addresses, frames in a hundredth of a second.
pub const NETWORKS: [(u32, u8, u8); 3] = [(64_500, 60, 1), (64_501, 61, 3), (64_502, 62, 6)];

#[test]
fn its_numbers_are_those_of_metrics() {
    if !can_run(&TOOLS) {
        return;
    }
    let lab = Lab::new();
    let (a, b) = lab.pair();
    a.ip(&format!(
        "link add {HOSTILE_INTERFACE} type veth peer name h1"
    ));
    a.ip(&format!("link set {HOSTILE_INTERFACE} up"));
    a.ip("link set a0 alias Uplink<u>[transit:<u>Net]");
    a.ip(&format!("link set {HOSTILE_INTERFACE} alias [internal]"));
    let agent = Agent::start(&lab, &a, &settings(&lab));
    let browser = Browser::start(&lab, &a);
    browser.open("http://127.0.0.1:9669/#if=a0&sort=packets");
    browser.wait("return document.querySelectorAll('#interfaces tbody tr').length === 2");
    browser.wait(
        "return !document.querySelector('#interfaces-note').textContent.includes('first rates')",
    );
    meanwhile(
        &[&|stop| b.inside(|| frames("b0", true, stop)), &|stop| {
            a.inside(|| frames("a0", false, stop))
        }],
        || rates_agree(&agent, &browser),
    );
    totals_agree(&agent, &browser);
    roles_are_labels(&agent);
    sums_are_by_role(&browser);
    shows_strangers(&browser);
    assert_eq!(browser.complaints(), Vec::<String>::new());
    let requests = browser.requests();
    let own = |address: &String| {
        address.starts_with("http://127.0.0.1:9669/") || address.starts_with("data:")
    };
    assert!(
        requests.len() > 2 && requests.iter().all(own),
        "{requests:?}"
    );
    drop(browser);
    agent.stop();
}

pub fn settings(lab: &Lab) -> String {
    let mut networks = Writer::new(4, 24, 1);
    let mut cities = Writer::new(4, 24, 1);
    for (i, (number, byte, _)) in NETWORKS.into_iter().enumerate() {
        let net = format!("{byte}.0.0.0/8");
        networks.insert(
            &net,
            &asn(number, [HOSTILE_NETWORK, "Plain", "Other & Sons"][i]),
        );
        let name = [HOSTILE_CITY, "Bern", "Basel"][i];
        let names = Value::Map(vec![("en", name.into())]);
        cities.insert(
            &net,
            &Value::Map(vec![("city", Value::Map(vec![("names", names)]))]),
        );
    }
    let path = |name: &str, content: Vec<u8>| {
        std::fs::write(lab.path(name), content).expect("written");
        lab.path(name).display().to_string()
    };
    let more = format!(
        "{EXACT}[agent.enrich.mmdb]\nasn_db = \"{}\"\ncity_db = \"{}\"\n",
        path("asn.mmdb", networks.finish()),
        path("city.mmdb", cities.finish())
    );
    config(r#"["a0", "<i>.*"]"#, &more)
}

/// The same every hundredth of a second: addresses of the networks are the source, or the destination.
pub fn frames(device: &str, from_them: bool, stop: &AtomicBool) {
    let sender = Sender::new(device).expect("a packet socket");
    let here = Ipv4Addr::new(10, 1, 1, 1);
    let start = Instant::now();
    for round in 1.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        for (_, byte, count) in NETWORKS {
            let there = Ipv4Addr::new(byte, 0, 0, 1);
            let (source, destination) = if from_them {
                (there, here)
            } else {
                (here, there)
            };
            for _ in 0..count {
                let frame = Frame::ethernet(SRC_MAC, DST_MAC)
                    .ipv4(source, destination)
                    .udp()
                    .ports(53, 9)
                    .payload(500 + usize::from(from_them) * 400);
                sender.send(&frame.build(), 0).expect("sent");
            }
        }
        let due = Duration::from_millis(10 * round);
        sleep(due.saturating_sub(start.elapsed()));
    }
}

fn shown(browser: &Browser, direction: &str, figure: &str) -> f64 {
    let script = format!(
        "return Number([...document.querySelectorAll('#interfaces tbody tr')].find(r => r.textContent.startsWith('a0')).querySelector('[data-dir={direction}]').dataset.{figure})"
    );
    browser.run(&script).as_f64().expect("a number")
}

fn crossed(metrics: &Metrics, direction: &str, figure: &str) -> u64 {
    let side = if direction == "ingress" { "rx" } else { "tx" };
    metrics.sum(
        &format!("rfm_interface_{side}_{figure}_total"),
        &[("ifname", "a0")],
    )
}

/// The rate now is that of the last seconds on /metrics.
fn rates_agree(agent: &Agent, browser: &Browser) {
    sleep(WATCHED);
    let (before, start) = (agent.scrape(), Instant::now());
    sleep(Duration::from_secs(6));
    let (after, seconds) = (agent.scrape(), start.elapsed().as_secs_f64());
    for direction in ["ingress", "egress"] {
        let grown = crossed(&after, direction, "bytes") - crossed(&before, direction, "bytes");
        let (page, metrics) = (shown(browser, direction, "now"), grown as f64 / seconds);
        println!("{direction}: the page says {page:.0} B/s, /metrics {metrics:.0}");
        assert!(metrics > 100_000.0, "hardly any traffic");
        assert!((page / metrics - 1.0).abs() < 0.1, "{page} and {metrics}");
    }
}

/// What was counted in all, once the traffic has ended.
fn totals_agree(agent: &Agent, browser: &Browser) {
    let settled = || {
        let metrics = agent.scrape();
        let all = |direction, figure| {
            (shown(browser, direction, figure) as u64)
                .abs_diff(crossed(&metrics, direction, figure))
                == 0
        };
        all("ingress", "bytes") && all("egress", "bytes") && all("ingress", "packets")
    };
    assert!(
        wait_for(SHOWN, settled),
        "the page's totals are not those of /metrics"
    );
    for (direction, label, city) in [
        ("ingress", "src_asn", "src_city"),
        ("egress", "dst_asn", "dst_city"),
    ] {
        browser.run(&format!(
            "document.querySelector('#dir [data-value={direction}]').click()"
        ));
        for (tab, label) in [("networks", label), ("cities", city)] {
            browser.run(&format!(
                "document.querySelector('#tab [data-value={tab}]').click()"
            ));
            for (i, (number, ..)) in NETWORKS.iter().enumerate() {
                let value = match tab {
                    "networks" => number.to_string(),
                    _ => [HOSTILE_CITY, "Bern", "Basel"][i].to_owned(),
                };
                line_agrees(agent, browser, direction, label, &value);
            }
        }
    }
}

fn line_agrees(agent: &Agent, browser: &Browser, direction: &str, label: &str, value: &str) {
    let what = if label.ends_with("asn") {
        format!("AS{value}")
    } else {
        value.to_owned()
    };
    let row = |figure: &str| {
        let script = format!(
            "return Number([...document.querySelectorAll('#table tbody tr')].find(r => r.cells[0].textContent.includes({})).dataset.{figure})",
            serde_json::json!(what)
        );
        browser.run(&script).as_f64().expect("a line with figures")
    };
    for figure in ["bytes", "packets"] {
        let labels = [("ifname", "a0"), ("direction", direction), (label, value)];
        let (mut page, mut told) = (0.0, 0.0);
        // flows follow the interfaces' counters after a second, and the page after five more
        let agrees = wait_for(SHOWN, || {
            let metrics = agent.scrape();
            told = metrics.sum(&format!("rfm_flow_{figure}_total"), &labels) as f64;
            page = row(figure);
            // sums of an hour are kept in 24 bits
            told > 100.0 && (page / told - 1.0).abs() < 1e-5
        });
        assert!(
            agrees,
            "{direction} {what}: {page} {figure}, /metrics {told}"
        );
    }
}

/// The aliases give the roles and the provider.
fn roles_are_labels(agent: &Agent) {
    let metrics = agent.scrape();
    for (ifname, role, provider) in [
        ("a0", "transit", "<u>Net"),
        (HOSTILE_INTERFACE, "internal", ""),
    ] {
        let labels = [("ifname", ifname), ("role", role), ("provider", provider)];
        let value = metrics.get("rfm_interface_info", &labels);
        assert_eq!(value, Some(1.0), "{ifname}");
    }
}

/// The sums leave out the internal interface, so that each is that of `a0`.
fn sums_are_by_role(browser: &Browser) {
    let names = "return [...document.querySelectorAll('#interfaces tfoot .sum')].map(n => n.textContent).join()";
    assert_eq!(browser.run(names), "All,All transit");
    let figures = |row: &str| {
        browser.run(&format!(
            "return [...[...document.querySelectorAll('#interfaces {row}')].find(r => r.textContent.startsWith('a')\
             || r.textContent.startsWith('All transit')).querySelectorAll('.rate')].map(c => [c.dataset.bytes, c.dataset.packets].join()).join()"
        ))
    };
    let sums_agree = wait_for(SHOWN, || {
        figures("tbody tr") == figures("tfoot tr:last-child")
    });
    assert!(
        sums_agree,
        "{} {}",
        figures("tbody tr"),
        figures("tfoot tr:last-child")
    );
    let tags = "return document.querySelector('#interfaces .tag').textContent";
    assert_eq!(browser.run(tags), "transit: <u>Net");
}

fn shows_strangers(browser: &Browser) {
    let text = browser.run("return document.querySelector('#interfaces').textContent");
    for name in [HOSTILE_INTERFACE, "Uplink<u>"] {
        assert!(
            text.as_str().expect("text").contains(name),
            "{name}: {text}"
        );
    }
    assert_eq!(browser.run("return document.title"), "a0 – rfm");
    assert_eq!(
        browser.run("return document.querySelectorAll('main img, main u').length"),
        0
    );
}
