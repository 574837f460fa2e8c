// SPDX-License-Identifier: AGPL-3.0-only
//! Networks on AS paths and the source check, on the page of a made-up router.

use std::time::{Duration, SystemTime};

use rfm::enrich::source_check::ViewReport;
use rfm::flow::paths::{PathCounters, PathVolume};
use rfm::flow::sources::{OTHER_PEERS, SourceRow, SourceSnapshot};
use rfm::page::paths::{PathTables, PathsState};
use rfm::types::flow::Direction;
use rfm::types::network_path::NetworkPath;
use rfm::types::source::SourceState;
use serde_json::{Value, json};

use crate::browser::{Browser, TOOLS, keep_picture};
use crate::common::lab::can_run;
use crate::looks::visit;
use crate::made::Router;

/// The time of the traffic: a mean rate of 1 byte/s is so many bytes.
const SECONDS: u64 = 1000;

fn paths(rows: &[(Direction, &[u32], u64)]) -> PathTables {
    // no interval of five minutes is older than an hour
    let epoch = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let mut counters = PathCounters::new(epoch, 0);
    for (direction, asns, bytes) in rows {
        let mut path = NetworkPath::default();
        path.push_sequence(asns.iter().copied());
        path.set_origin(asns.last().copied().unwrap_or(0));
        let (bytes, packets) = (*bytes, 1);
        let volume = PathVolume { bytes, packets };
        counters.count(0, *direction, path.path(), volume);
    }
    PathTables::new(&counters.snapshot(SECONDS * 1000))
}

fn sources(spoofed: u64) -> (SourceSnapshot, ViewReport) {
    use SourceState::{Bogon, Feasible, Infeasible, Local, Unknown, Unrouted};
    let row = |state, peer_asn, bytes| SourceRow {
        ifname: "ix0".into(),
        state,
        peer_asn,
        bytes,
        created_ms: 0,
    };
    let rows = vec![
        row(Feasible, 0, 900_000_000),
        row(Unknown, 64_501, 90_000_000),
        row(Bogon, 64_620, 4_000_000),
        row(Local, 0, 500_000),
        row(Unrouted, 64_502, 400_000),
        row(Infeasible, 64_620, spoofed),
        row(Infeasible, OTHER_PEERS, 100_000),
    ];
    let report = ViewReport {
        neighbors: 4,
        without_view: vec![64_501],
    };
    (SourceSnapshot { rows, folded: 1 }, report)
}

/// The text of each cell of a table.
fn cells(browser: &Browser, table: &str) -> Value {
    browser.run(&format!(
        "return [...document.querySelectorAll('#{table} tbody tr')].map(r => [...r.cells].map(c => c.innerText.replace(/\\s+/g, ' ')))"
    ))
}

fn is_hidden(browser: &Browser, part: &str) -> Value {
    browser.run(&format!(
        "return document.querySelector('#{part}').offsetParent === null"
    ))
}

fn note(browser: &Browser, part: &str) -> String {
    let text = browser.run(&format!(
        "return document.querySelector('#{part}').textContent"
    ));
    text.as_str().expect("a text").to_owned()
}

#[test]
fn paths_and_invalid_sources_are_shown_only_if_they_are_counted() {
    if !can_run(&TOOLS) {
        return;
    }
    visit(30, 1, |browser, url, router| {
        for part in ["paths-section", "sources-section"] {
            assert_eq!(is_hidden(browser, part), true, "{part}");
        }
        let hint = note(browser, "paths-hint");
        assert!(hint.contains("paths = true in [agent.collector]"), "{hint}");
        networks_on_the_path(browser, router);
        invalid_sources(browser, router);
        pictures(browser, url);
    });
}

fn networks_on_the_path(browser: &Browser, router: &mut Router) {
    use Direction::{Egress, Ingress};
    // nobody has looked for some time
    router.paths = PathsState::Waiting;
    router.tick();
    browser.wait("return !document.querySelector('#paths-section').hidden");
    assert_eq!(is_hidden(browser, "paths-hint"), true);
    assert_eq!(cells(browser, "paths"), json!([]));
    let text = note(browser, "paths-note");
    assert!(text.contains("only while the page is open"), "{text}");

    router.paths = PathsState::Read(
        paths(&[
            (Ingress, &[64_501, 64_610, 64_502], 500_000 * SECONDS),
            (Ingress, &[64_501, 64_503], 125_000 * SECONDS),
            (Egress, &[64_504, 64_610], 250_000 * SECONDS),
            (Egress, &[], 125_000 * SECONDS),
        ])
        .into(),
    );
    router.tick();
    browser.wait("return document.querySelector('#paths').tBodies[0].rows.length > 0");
    assert_eq!(is_hidden(browser, "paths-hint"), true);
    let row = |name: &str, figures: [&str; 4]| json!([&[name][..], &figures].concat());
    let carrier = row(
        "Long Haul <b>Carrier</b>AS64610",
        ["4.00 Mbit/s", "–", "–", "2.00 Mbit/s"],
    );
    let shown = cells(browser, "paths");
    let expected = json!([
        row("Cloud Nine HostingAS64501", ["5.00 Mbit/s", "–", "–", "–"]),
        carrier,
        row("Harbour BackboneAS64504", ["–", "–", "2.00 Mbit/s", "–"]),
        row("Northern SearchAS64502", ["–", "4.00 Mbit/s", "–", "–"]),
        row("Meridian SocialAS64503", ["–", "1.00 Mbit/s", "–", "–"]),
    ]);
    assert_eq!(shown, expected);
    let text = note(browser, "paths-note");
    assert!(text.contains("13 % has no path."), "{text}");
    browser.run("document.querySelectorAll('#paths th button')[3].click()");
    assert_eq!(cells(browser, "paths")[0], carrier, "by egress and origin");
    let sort = "return document.querySelector('#paths [aria-sort=descending]').textContent";
    assert_eq!(browser.run(sort), "Origin");
    browser.run("document.querySelectorAll('#paths th button')[3].click()");
    assert_eq!(cells(browser, "paths"), expected);
}

fn invalid_sources(browser: &Browser, router: &mut Router) {
    router.sources = Some(sources(1_000_000));
    router.tick();
    browser.wait("return !document.querySelector('#sources-section').hidden");
    router.sources = Some(sources(2_000_000));
    router.tick();
    // ticks of 5 s of the made-up router
    browser.wait("return document.querySelector('#sources').innerText.includes('2.00 MB')");
    let shown = cells(browser, "sources");
    let reasons: Vec<_> = shown.as_array().expect("rows").iter().collect();
    let part = |row: usize, cell: usize| reasons[row][cell].as_str().expect("a text");
    let member = "Member of the ExchangeAS64620";
    let row = |at: usize| [0, 1, 3, 4].map(|cell| part(at, cell));
    assert!(row(0)[0].starts_with("Bogon no network"), "{:?}", row(0));
    assert_eq!(row(0)[1..], [member, "0 bit/s", "4.00 MB"]);
    assert!(row(1)[0].starts_with("Infeasible "), "{:?}", row(1));
    assert_eq!(row(1)[1], member);
    assert_eq!(row(1)[3], "2.00 MB");
    assert!(part(2, 0).starts_with("Local prefix "));
    assert_eq!(part(2, 1), "Unknown neighbor");
    assert_eq!(part(4, 1), "Other neighbors");
    // the largest row is the last: it is not known whether these are invalid
    assert_eq!(reasons.len(), 6);
    assert!(part(5, 0).starts_with("Not known "));
    assert_eq!(part(5, 1), "Cloud Nine HostingAS64501");
    assert_eq!((part(5, 2), part(5, 4)), ("ix0", "90.0 MB"));
    let text = note(browser, "sources-note");
    for expected in [
        "7.00 MB of 997 MB (0.7 %) have an invalid source.",
        "Of 90.0 MB (9.0 %) it is not known.",
        "of 3 of 4 neighbors",
        "missing from Cloud Nine Hosting AS64501.",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
}

fn pictures(browser: &Browser, url: &str) {
    for (name, width, height, dark) in [
        ("paths-light", 1280, 2700, false),
        ("paths-dark", 1280, 2700, true),
        ("paths-narrow", 390, 4600, false),
        ("paths-narrow-dark", 390, 4600, true),
    ] {
        browser.resize(width, 800, dark);
        browser.open(&format!("{url}?{name}"));
        browser.wait("return document.querySelectorAll('#sources tbody tr').length === 6");
        // the table of networks would be most of the picture
        browser.run("document.querySelector('#find').value = 'Number 1'; document.querySelector('#find').dispatchEvent(new Event('input'))");
        let fits = "return document.documentElement.scrollWidth <= innerWidth";
        assert_eq!(browser.run(fits), true, "{name}");
        keep_picture(browser, name, (width, height));
    }
}
