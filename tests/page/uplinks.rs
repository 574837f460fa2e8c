// SPDX-License-Identifier: AGPL-3.0-only
//! All uplinks together.

use rfm::types::role::Role;
use serde_json::json;

use crate::browser::TOOLS;
use crate::common::lab::can_run;
use crate::looks::visit;

#[test]
fn all_uplinks_are_shown_together() {
    if !can_run(&TOOLS) {
        return;
    }
    visit(60, 1, |browser, url, router| {
        // one uplink needs no sum
        let button = "return document.querySelector('#uplinks').hidden";
        assert_eq!(browser.run(button), true);
        router.roles = vec![Role::Transit, Role::Ix];
        router.tick();
        browser.wait(&format!(
            "return !({})",
            button.trim_start_matches("return ")
        ));
        browser.run("document.querySelector('#uplinks').click()");
        let title = "return document.querySelector('#h-shown bdi').textContent";
        browser.wait(&format!("{title} === 'All uplinks together'"));
        browser.wait("return document.querySelectorAll('#table tbody tr').length === 25");
        assert_eq!(browser.run("return location.hash"), "#uplinks=1");
        let pressed = "return document.querySelector('#uplinks').getAttribute('aria-pressed')";
        assert_eq!(browser.run(pressed), "true");

        // the sum of both, of the interfaces and of a network
        let view = |query: &str| {
            let script = format!("return fetch('page/v1.json?{query}').then(r => r.json())");
            browser.run(&script)
        };
        let (all, wan, ix) = (
            view("ifindex=uplinks"),
            view("ifindex=2"),
            view("ifindex=3"),
        );
        for dir in ["ingress", "egress"] {
            let bytes = |view: &serde_json::Value| view[dir]["total"][5].as_f64().unwrap();
            let sum = bytes(&wan) + bytes(&ix);
            assert!(
                (bytes(&all) / sum - 1.0).abs() < 1e-4,
                "{dir}: {} and {sum}",
                bytes(&all)
            );
            let network = |view: &serde_json::Value| {
                let rows = view[dir]["networks"].as_array().unwrap();
                let row = rows.iter().find(|row| row[0] == 64_500).unwrap();
                row[5].as_f64().unwrap()
            };
            let sum = network(&wan) + network(&ix);
            assert!(
                (network(&all) / sum - 1.0).abs() < 1e-4,
                "{dir}: {} and {sum}",
                network(&all)
            );
        }
        // a filter applies to both, and the address is enough to see the same
        browser.run("document.querySelector('#table tbody tr .drill').click()");
        browser.wait("return document.querySelectorAll('.chip').length === 1 && document.querySelectorAll('#table tbody tr').length > 5");
        assert_eq!(browser.run(title), "All uplinks together");
        let hash = browser.run("return location.hash");
        browser.open(&format!("{url}?again{}", hash.as_str().unwrap()));
        browser.wait(&format!("{title} === 'All uplinks together'"));
        // a click on an interface ends it
        browser.run("document.querySelector('#interfaces tbody tr').click()");
        browser.wait(&format!("{title} === 'wan0'"));
        assert_ne!(browser.run(pressed), json!("true"));
    });
}
