// SPDX-License-Identifier: AGPL-3.0-only
//! A router with many interfaces: the details stay in view, and search and sort find one.

use crate::browser::{TOOLS, keep_picture};
use crate::common::lab::can_run;
use crate::looks::visit;

#[test]
fn the_details_stay_visible() {
    if !can_run(&TOOLS) {
        return;
    }
    visit(20, 1, |browser, _, router| {
        for more in [34, 160] {
            router.add_interfaces(more);
            router.tick();
            router.tick();
            let rows = "document.querySelectorAll('#interfaces tbody tr').length";
            let all = if more == 34 { 40 } else { 200 };
            browser.wait(&format!("return {rows} === {all}"));
            for (width, height) in [(1280, 900), (2560, 1300), (390, 844)] {
                browser.resize(width, height, false);
                browser.wait(&format!("return innerWidth === {width}"));
                let top = browser.run("scrollTo(0, 0); return document.querySelector('#h-shown').getBoundingClientRect().top");
                let top = top.as_f64().unwrap();
                assert!(
                    top < f64::from(height),
                    "{all} interfaces, {width} px wide: the details begin at {top:.0}"
                );
                keep_picture(
                    browser,
                    &format!("interfaces-{all}-{width}"),
                    (width, height),
                );
            }
            browser.resize(1280, 900, false);
        }
        let names = "return [...document.querySelectorAll('#interfaces tbody .name')].map(b => b.textContent)";
        browser.run("const f = document.querySelector('#find-interface'); f.value = 'eth15'; f.dispatchEvent(new Event('input'))");
        let found = browser.run(names);
        let found: Vec<_> = found
            .as_array()
            .unwrap()
            .iter()
            .map(|n| n.as_str().unwrap().to_owned())
            .collect();
        assert!(
            found.contains(&"eth15".to_owned()) && found.iter().all(|n| n.starts_with("eth15")),
            "{found:?}"
        );
        browser.run("const f = document.querySelector('#find-interface'); f.value = ''; f.dispatchEvent(new Event('input'))");
        browser.run("document.querySelector('#interfaces [data-sort=name] button').click()");
        let sorted = browser.run(names);
        let at = |name: &str| sorted.as_array().unwrap().iter().position(|n| n == name);
        assert!(at("eth2") < at("eth10"), "{sorted}");
        // a click shows it below
        browser.run("[...document.querySelectorAll('#interfaces tbody tr')].find(r => r.querySelector('.name').textContent === 'eth9').click()");
        browser.wait("return document.querySelector('#h-shown bdi').textContent === 'eth9'");
    });
}
