// SPDX-License-Identifier: AGPL-3.0-only
//! What the page costs its reader: time to the first paint, bytes, and CPU of the main thread of the browser.

use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::browser::{Browser, TOOLS};
use crate::common::lab::can_run;
use crate::looks::visit;

/// Share of a core.
const MAIN_THREAD: f64 = 0.03;
const FIRST_PAINT_MS: f64 = 500.0;
const FIRST_LOAD: u64 = 40_000;
const REFRESH: u64 = 5_000;
const LOADS: usize = 7;
const REFRESHES: usize = 6;
/// Between two refreshes.
const PERIOD: Duration = Duration::from_secs(5);

#[test]
fn the_page_costs_its_reader_little() {
    if !can_run(&TOOLS) {
        return;
    }
    visit(1000, 100, |browser, url, router| {
        let mut paints: Vec<_> = (0..LOADS)
            .map(|n| first_paint(browser, &format!("{url}?{n}")))
            .collect();
        paints.sort_by(f64::total_cmp);
        println!("first paint: {paints:.0?} ms");
        // the others show the load of the machine
        assert!(paints[0] < FIRST_PAINT_MS, "{paints:?}");

        let sizes = "return [performance.getEntriesByType('navigation')[0], ...performance.getEntriesByType('resource')].map(e => e.encodedBodySize)";
        let sizes = browser.run(sizes);
        let sizes: Vec<_> = sizes
            .as_array()
            .unwrap()
            .iter()
            .map(|size| size.as_u64().unwrap())
            .collect();
        println!("document and data: {sizes:?} bytes");
        assert!(sizes.len() >= 2 && sizes[0] > 10_000, "{sizes:?}");
        assert!(sizes.iter().sum::<u64>() <= FIRST_LOAD, "{sizes:?}");

        browser.devtools("Performance.enable", json!({"timeDomain": "threadTicks"}));
        browser.run("performance.clearResourceTimings()");
        let (before, start) = (busy_seconds(browser), Instant::now());
        // without questions by the driver, which need the main thread, too
        for _ in 0..REFRESHES {
            router.tick();
            sleep(PERIOD);
        }
        let share = (busy_seconds(browser) - before) / start.elapsed().as_secs_f64();
        println!("the main thread needs {:.2} % of a core", share * 100.0);
        assert!(share < MAIN_THREAD, "{share}");
        let sizes = browser
            .run("return performance.getEntriesByType('resource').map(e => e.encodedBodySize)");
        println!("refreshes: {sizes} bytes");
        let sizes = sizes.as_array().unwrap();
        assert!(sizes.len() >= REFRESHES - 1);
        assert!(
            sizes.iter().all(|size| size.as_u64().unwrap() <= REFRESH),
            "{sizes:?}"
        );
    });
}

fn first_paint(browser: &Browser, url: &str) -> f64 {
    browser.open(url);
    browser.wait("return performance.getEntriesByName('first-contentful-paint').length === 1");
    browser.wait("return document.querySelectorAll('#table tbody tr').length === 25");
    let paint = "return performance.getEntriesByName('first-contentful-paint')[0].startTime";
    browser.run(paint).as_f64().unwrap()
}

/// CPU time of all tasks of the main thread.
fn busy_seconds(browser: &Browser) -> f64 {
    let metrics = browser.devtools("Performance.getMetrics", json!({}));
    let metrics = metrics["metrics"].as_array().expect("metrics");
    let found = metrics
        .iter()
        .find(|metric| metric["name"] == "TaskDuration");
    found
        .and_then(|metric| metric["value"].as_f64())
        .expect("TaskDuration")
}
