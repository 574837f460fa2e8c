// SPDX-License-Identifier: AGPL-3.0-only
//! The states of an agent in which there is little to show: no "NaN", and no false "nothing".

use serde_json::json;

use crate::browser::{Browser, TOOLS, keep_picture};
use crate::common::agent::{Agent, EXACT, config};
use crate::common::http::Running;
use crate::common::lab::{Lab, can_run};
use crate::common::traffic::meanwhile;
use crate::live::frames;
use crate::looks::visit;
use crate::made::Router;

const STATUS: &str = "document.querySelector('#status').textContent";
const CLASS: &str = "document.querySelector('#status').className";
const LOADED: &str = "return document.querySelectorAll('#interfaces tbody tr').length > 0";

/// No text and no attribute has a number that is none.
pub fn is_sound(browser: &Browser) {
    let found = browser.run(
        "const body = document.body.cloneNode(true); body.querySelectorAll('script').forEach(s => s.remove()); \
         return (body.innerHTML.match(/.{0,60}(NaN|undefined|Infinity|Invalid Date|\\bnull\\b).{0,20}/) ?? [''])[0]",
    );
    assert_eq!(
        found,
        "",
        "{}",
        browser.run("return document.body.innerText")
    );
    // a rate below 0, such as that of a counter that began again
    let negative = browser.run(
        "return (document.body.innerText.match(/.{0,40}[^\\d\\w.][-−]\\d.{0,20}/) ?? [''])[0]",
    );
    assert_eq!(negative, "");
}

#[test]
fn the_first_seconds_and_attaching() {
    if !can_run(&TOOLS) {
        return;
    }
    let lab = Lab::new();
    let namespace = lab.namespace("p");
    let mut router = Router::new(20);
    let server: Running = namespace.inside(|| router.serve());
    let browser = Browser::start(&lab, &namespace);
    browser.resize(1280, 900, false);
    browser.open(&format!("http://{}/", server.address));
    browser.wait(&format!(
        "return {STATUS}.startsWith('rfm has just started')"
    ));
    is_sound(&browser);
    let text = browser.run("return document.body.innerText");
    for word in ["No interface", "othing", "No flow", "healthy"] {
        assert!(!text.as_str().unwrap().contains(word), "{word}: {text}");
    }

    // the first reading; further interfaces are attached
    router.problems =
        json!([{"kind": "starting", "text": "not all interfaces are attached", "remedy": "wait"}]);
    router.tick();
    browser.wait(LOADED);
    is_sound(&browser);
    let note = "document.querySelector('#interfaces-note').textContent";
    browser.wait(&format!(
        "return {note}.includes('More interfaces are being attached')"
    ));
    browser.wait("return document.querySelector('#table-note').textContent.includes('The first rates follow')");
    assert_eq!(
        browser.run(&format!("return {STATUS}.startsWith('1 problem · ')")),
        true
    );
    router.problems = json!([]);
    router.tick();
    router.tick();
    browser.wait(&format!(
        "return {CLASS} === 'good' && {note} !== '' && !{note}.includes('attached')"
    ));
    browser.wait("return document.querySelectorAll('#table tbody tr').length > 5");
    is_sound(&browser);
    let covered = "const b = document.querySelector('#chart-ingress path.area').getBBox(); \
        return b.width / document.querySelector('#chart-ingress svg').viewBox.baseVal.width";
    let covered = browser.run(covered).as_f64().unwrap();
    assert!(covered > 0.85, "two points cover {covered:.2} of the width");
    keep_picture(&browser, "state-new", (1280, 1180));
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn lost_sessions_lost_packets_and_a_set_clock() {
    if !can_run(&TOOLS) {
        return;
    }
    visit(30, 1, |browser, _, router| {
        browser.resize(1280, 900, false);
        browser.wait(&format!("return {STATUS}.includes('nothing lost')"));
        router.sessions[1] = false;
        router.problems = json!([
            {"kind": "packets_lost", "text": "9 sampled packets did not reach the flow table", "remedy": "raise it"},
            {"kind": "bmp_session_lost", "text": "no BMP session with edge2", "remedy": "check it"},
        ]);
        router.lost = 9_000;
        router.tick();
        browser.wait(&format!("return {STATUS}.startsWith('2 problems · ')"));
        browser.wait(&format!(
            "return {STATUS}.includes('losing 1.80 kp/s') && !{STATUS}.includes('nothing')"
        ));
        let health = browser.run("return document.querySelector('#health').innerText");
        for text in ["edge2: lost", "edge1 <b>: up", "9\u{202f}000 packets"] {
            assert!(health.as_str().unwrap().contains(text), "{text}: {health}");
        }
        is_sound(browser);
        keep_picture(browser, "state-trouble", (1280, 1400));
        router.tick();
        browser.wait(&format!(
            "return {STATUS}.includes('packets lost') && !{STATUS}.includes('losing')"
        ));

        // the clock of the router is set back, then forward
        for seconds in [-90.0, 3600.0] {
            router.lost += 500;
            router.step_clock(seconds);
            let shown = browser.run(&format!("return {STATUS}"));
            router.tick();
            browser.wait(&format!(
                "return {STATUS} !== {shown} && {STATUS}.includes('losing 100 p/s')"
            ));
            is_sound(browser);
        }
    });
}

/// An agent that stops, and one that starts again with counters from 0.
#[test]
fn an_agent_that_stops_and_starts_again() {
    if !can_run(&TOOLS) {
        return;
    }
    let lab = Lab::new();
    let (a, b) = lab.pair();
    let settings = config(r#"["a0"]"#, EXACT);
    let agent = Agent::start(&lab, &a, &settings);
    let browser = Browser::start(&lab, &a);
    meanwhile(&[&|stop| b.inside(|| frames("b0", true, stop))], || {
        browser.open("http://127.0.0.1:9669/#if=a0&tab=services");
        browser.wait(LOADED);
        let has_traffic = "return document.querySelectorAll('#table tbody tr').length > 0";
        browser.wait(has_traffic);
        browser.wait("return document.querySelectorAll('#chart-ingress path.area').length > 0");
        is_sound(&browser);
        agent.stop();
        browser.wait(&format!(
            "return {CLASS} === 'bad' && {STATUS}.startsWith('No answer for ')"
        ));
        // the last figures stay, with their time
        assert_eq!(
            browser.run(&format!(
                "return {STATUS}.includes('The figures below are those of ')"
            )),
            true
        );
        assert_eq!(browser.run(has_traffic), true);
        is_sound(&browser);
        let agent = Agent::start(&lab, &a, &settings);
        browser.wait(&format!(
            "return {CLASS} !== 'bad' && /counting since .* \\(\\d+ s\\)/.test({STATUS})"
        ));
        is_sound(&browser);
        browser.wait(has_traffic);
        browser.wait("return document.querySelectorAll('#chart-ingress path.area').length > 0");
        is_sound(&browser);
        agent.stop();
    });
    // the browser reports the requests without answer itself
    let complaints = browser.complaints();
    assert!(
        complaints.iter().all(|text| text.contains("page/v1.json")),
        "{complaints:?}"
    );
}

/// Every label of a chart is inside it, and no head of a table is cut.
#[test]
fn labels_are_not_clipped() {
    if !can_run(&TOOLS) {
        return;
    }
    visit(60, 1, |browser, url, _| {
        for width in [320, 390, 1280, 2560] {
            browser.resize(width, 900, false);
            for hash in [
                "",
                "window=day&unit=packets",
                "stack=family&tab=hosts",
                "if=wg0&filter=far.asn.64500&tab=services",
            ] {
                browser.open(&format!("{url}?{width}#{hash}"));
                browser.wait("return document.querySelectorAll('#table tbody tr').length > 3 && document.querySelectorAll('.chart text').length > 8");
                let clipped = browser.run(
                    "return [...document.querySelectorAll('.chart svg')].flatMap(svg => { const { width, height } = svg.viewBox.baseVal; \
                       return [...svg.querySelectorAll('text')].filter(text => { const b = text.getBBox(); \
                         return b.x < -.5 || b.y < -2 || b.x + b.width > width + .5 || b.y + b.height > height + 2; }).map(text => text.textContent); })",
                );
                assert_eq!(clipped, json!([]), "{width} {hash}");
                let cut = browser.run(
                    "return [...document.querySelectorAll('th, button, dt, .chart h3, #status')].filter(n => n.getClientRects().length && !n.closest('.legend') \
                       && !n.closest('.sr') && getComputedStyle(n).overflowX !== 'visible' && n.scrollWidth > n.clientWidth + 1).map(n => n.textContent)",
                );
                assert_eq!(cut, json!([]), "{width} {hash}");
                let wide = browser.run("return document.documentElement.scrollWidth");
                assert!(wide.as_u64() <= Some(width.into()), "{hash}: {wide}");
            }
        }
    });
}
