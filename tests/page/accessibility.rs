// SPDX-License-Identifier: AGPL-3.0-only
//! axe-core finds no problem, in light and dark, with each tab and with filters; `scripts/setup.sh test` fetches it.

use serde_json::{Value, json};

use crate::browser::{Browser, TOOLS};
use crate::common::lab::can_run;
use crate::looks::visit;

const AXE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/.cache/axe-core/axe.min.js");

/// All rules of WCAG 2.2 A and AA, with the size of targets, and the best practices.
const RUN: &str = "return axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] })\
    .then(found => found.violations.map(v => `${v.id}: ${v.nodes.slice(0, 4).map(n => n.html.slice(0, 160)).join(' ')}`))";

#[test]
fn axe_finds_no_problem() {
    if !can_run(&TOOLS) {
        return;
    }
    let Ok(axe) = std::fs::read_to_string(AXE) else {
        assert!(
            std::env::var("RFM_REQUIRE_TOOLS").as_deref() != Ok("1"),
            "{AXE} is missing: scripts/setup.sh test fetches it"
        );
        println!("skipped: {AXE} is missing");
        return;
    };
    visit(60, 100, |browser, url, router| {
        router.names_missing = true;
        router.problems = json!([{"kind": "database_old", "text": "old", "remedy": "update it"}]);
        router.tick();
        for (width, dark) in [(1280, false), (1280, true), (390, false), (390, true)] {
            browser.resize(width, 900, dark);
            browser.open(&format!("{url}?{width}{dark}"));
            browser.wait("return document.querySelectorAll('#table tbody tr').length > 5");
            browser.run(&axe);
            for hash in [
                "",
                "tab=hosts",
                "tab=services&filter=far.asn.64500",
                "tab=cities&dir=egress&stack=family",
            ] {
                browser.run(&format!("location.hash = '{hash}'"));
                settle(browser);
                let found = browser.run(RUN);
                assert_eq!(found, json!([]), "{width} {dark} {hash}: {}", lines(&found));
            }
        }
    });
}

/// Returns the problems that axe-core finds, if it is there.
pub fn problems(browser: &Browser) -> Value {
    match std::fs::read_to_string(AXE) {
        Ok(axe) => {
            browser.run(&axe);
            browser.run(RUN)
        }
        Err(_) => json!([]),
    }
}

/// Waits until the page shows what its address asks for.
fn settle(browser: &Browser) {
    browser.wait("return new Promise(done => setTimeout(() => done(true), 300))");
    browser.wait("return document.querySelectorAll('#table tbody tr').length > 5");
}

fn lines(found: &Value) -> String {
    let found = found.as_array().into_iter().flatten();
    found.map(|line| format!("\n{line}")).collect()
}

/// At each width of a phone every tab is reachable, and nothing is wider than the screen.
#[test]
fn every_tab_is_reachable_on_a_phone() {
    if !can_run(&TOOLS) {
        return;
    }
    visit(60, 1, |browser, _, _| {
        for width in [320, 360, 390, 430] {
            browser.resize(width, 700, false);
            browser.wait(&format!("return innerWidth === {width}"));
            let tabs = browser.run(
                "return [...document.querySelectorAll('#tab button')].map(b => b.dataset.value)",
            );
            assert!(tabs.as_array().unwrap().len() > 7, "{tabs}");
            for tab in tabs.as_array().unwrap() {
                let tab = tab.as_str().unwrap();
                let button = format!("document.querySelector('#tab [data-value={tab}]')");
                // a click at its middle meets the button itself
                let is_reached = browser.run(&format!(
                    "const b = {button}; b.scrollIntoView({{ block: 'center' }}); const r = b.getBoundingClientRect(); \
                     return r.left >= 0 && r.right <= innerWidth && r.height >= 24 \
                     && document.elementFromPoint(r.left + r.width / 2, r.top + r.height / 2) === b"
                ));
                assert_eq!(is_reached, true, "{tab} at {width}");
                browser.run(&format!("{button}.click()"));
                browser.wait(&format!(
                    "return {button}.getAttribute('aria-pressed') === 'true' && document.querySelectorAll('#table tbody tr').length > 0"
                ));
                let wide = browser.run("return document.documentElement.scrollWidth");
                assert_eq!(wide, width, "{tab}");
            }
        }
    });
}
