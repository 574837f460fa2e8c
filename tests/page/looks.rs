// SPDX-License-Identifier: AGPL-3.0-only
//! The page of a made-up router, as a reader meets it.

use serde_json::json;

use crate::browser::{Browser, TOOLS, keep_picture};
use crate::common::http::Running;
use crate::common::lab::{Lab, can_run};
use crate::made::{HOSTILE_CITY, HOSTILE_INTERFACE, HOSTILE_NETWORK, Router};
use crate::year::Year;
use rfm::enrich::mmdb::Attribution;

/// Text of the first cell of each row.
const NAMES: &str = "return [...document.querySelectorAll('#table tbody tr')].map(r => r.querySelector('bdi').textContent)";
const LOADED: &str = "return document.querySelectorAll('#interfaces tbody tr').length > 0";

/// A day of a router with so many networks behind it, and a browser before it.
pub fn visit(networks: usize, sample_rate: u32, body: impl FnOnce(&Browser, &str, &mut Router)) {
    let mut router = Router::new(networks);
    router.sample_rate = sample_rate;
    visit_router(router, body);
}

fn visit_router(mut router: Router, body: impl FnOnce(&Browser, &str, &mut Router)) {
    let lab = Lab::new();
    let namespace = lab.namespace("p");
    router.pass(27);
    let server: Running = namespace.inside(|| router.serve());
    let browser = Browser::start(&lab, &namespace);
    let url = format!("http://{}/", server.address);
    browser.open(&url);
    browser.wait(LOADED);
    body(&browser, &url, &mut router);
    assert_eq!(browser.complaints(), Vec::<String>::new());
    let own = |address: &String| address.starts_with(&url) || address.starts_with("data:");
    let requests = browser.requests();
    assert!(requests.iter().all(own), "{requests:?}");
    assert!(requests.len() > 1, "the requests were not seen");
}

#[test]
fn a_reader_finds_the_way() {
    if !can_run(&TOOLS) {
        return;
    }
    visit(200, 100, |browser, url, _| {
        sorting(browser);
        choosing(browser);
        address(browser, url);
        keyboard(browser);
        isolating(browser);
        units_and_zones(browser);
        interfaces(browser);
        comma_separated(browser);
        narrow_and_dark(browser, url);
    });
}

fn sorting(browser: &Browser) {
    let figures = |column: usize| {
        let script = format!(
            "return [...document.querySelectorAll('#table tbody tr')].map(r => r.cells[{column}].textContent)"
        );
        browser.run(&script)
    };
    let first = browser.run(NAMES);
    assert_eq!(first[0], "Example Video Delivery");
    browser.run("document.querySelector('[data-column=name] button').click()");
    let names = browser.run(NAMES);
    assert_eq!(names[0], HOSTILE_NETWORK, "by name: {names}");
    browser.run("document.querySelector('[data-column=now] button').click()");
    let sort = "return document.querySelector('[data-column=now]').getAttribute('aria-sort')";
    assert_eq!(browser.run(sort), "descending");
    let down = figures(1);
    browser.run("document.querySelector('[data-column=now] button').click()");
    assert_eq!(browser.run(sort), "ascending");
    assert_ne!(figures(1), down);
    let hash = browser.run("return location.hash");
    assert_eq!(hash, "#sort=now&asc=1");
}

fn choosing(browser: &Browser) {
    let row = "[...document.querySelectorAll('#interfaces tbody tr')]";
    browser.run(&format!(
        "{row}.find(r => r.textContent.includes('ix0')).click()"
    ));
    browser.wait("return document.querySelector('#h-shown').textContent.startsWith('ix0')");
    browser.run("document.querySelector('#tab [data-value=cities]').click()");
    browser.wait("return document.querySelector('#table tbody').textContent.includes('Amsterdam')");
    browser.run("document.querySelector('#side [data-value=near]').click()");
    browser.run("document.querySelector('#tab [data-value=networks]').click()");
    browser.wait("return document.querySelector('#table tbody').textContent.includes('AS65550')");
    browser.run("document.querySelector('#window [data-value=day]').click()");
    browser.wait("return document.querySelector('#table-note').textContent.includes('1 d 0 h') || document.querySelector('#table-note').textContent.includes(' h ')");
}

/// What is chosen lies in the address, and an address chooses.
fn address(browser: &Browser, url: &str) {
    let hash = browser.run("return location.hash");
    for part in ["if=ix0", "side=near", "window=day", "sort=now"] {
        assert!(hash.as_str().unwrap().contains(part), "{part}: {hash}");
    }
    browser.run(&format!(
        "location.hash = {}",
        json!("if=lan1&dir=egress&sort=max&tab=protocols&window=nonsense")
    ));
    browser.wait("return document.querySelector('#h-shown').textContent.startsWith('lan1')");
    browser.wait("return document.querySelector('#table tbody').textContent.includes('UDP')");
    let pressed = "return [...document.querySelectorAll('[aria-pressed=true]')].map(b => b.textContent).join()";
    assert_eq!(
        browser.run(pressed),
        "1 h,bit/s,Local time,Networks,Remote networks,No comparison,Protocols,Out"
    );
    browser.open(&format!("{url}?x#if=wg0"));
    browser.wait("return document.querySelector('#h-shown').textContent.startsWith('wg0')");
}

/// Tab reaches the interfaces, Enter chooses, arrows read a curve.
fn keyboard(browser: &Browser) {
    const TAB: char = '\u{e004}';
    const ENTER: char = '\u{e007}';
    const LEFT: char = '\u{e012}';
    browser.run("document.activeElement.blur()");
    for _ in 0..30 {
        browser.press(&TAB.to_string());
        if browser.run("return document.activeElement.textContent") == "lan1" {
            break;
        }
    }
    assert_eq!(
        browser.run("return document.activeElement.className"),
        "name"
    );
    browser.press(&ENTER.to_string());
    browser.wait("return document.querySelector('#h-shown').textContent.startsWith('lan1')");
    for _ in 0..30 {
        browser.press(&TAB.to_string());
        if browser.run("return document.activeElement.tagName") == "svg" {
            break;
        }
    }
    browser.press(&LEFT.to_string());
    browser.wait("return !document.querySelector('#tip').hidden && document.querySelector('#tip').textContent.includes('bit/s')");
}

/// The pointer over an entry of the legend highlights its curve. A click shows only its curve, another click all of them;
/// a refresh keeps it.
fn isolating(browser: &Browser) {
    browser.run("location.hash = 'if=wan0'");
    browser.wait("return document.querySelector('#h-shown').textContent.startsWith('wan0')");
    let entry = "document.querySelectorAll('#chart-ingress .legend button')[1]";
    let areas = "return document.querySelectorAll('#chart-ingress path.area').length";
    let all = browser.run(areas).as_u64().unwrap();
    assert!(all > 5, "{all} curves");
    let key = browser.run(&format!("return {entry}.dataset.key"));
    let highlighted = |event: &str| {
        browser.run(&format!(
            "{entry}.dispatchEvent(new PointerEvent('{event}')); \
             return [document.querySelector('#chart-ingress svg').classList.contains('dim'), \
             ...[...document.querySelectorAll('#chart-ingress path.lit')].map(n => n.dataset.key)]"
        ))
    };
    let lit = highlighted("pointerenter");
    assert_eq!(lit[0], true, "{lit}");
    assert!(lit.as_array().unwrap().len() > 1, "{lit}");
    assert!(
        lit.as_array().unwrap()[1..].iter().all(|one| *one == key),
        "{lit}"
    );
    assert_eq!(highlighted("pointerleave"), serde_json::json!([false]));
    browser.run(&format!("{entry}.click()"));
    assert_eq!(browser.run(areas), 1);
    assert_eq!(
        browser.run("return document.querySelector('#chart-ingress path.area').dataset.key"),
        key
    );
    // the other chart and the table show a network in the same colour
    let colour = |selector: &str, property: &str| {
        browser.run(&format!(
            "return getComputedStyle(document.querySelector('{selector}')).{property}"
        ))
    };
    let key = key.as_str().unwrap();
    let fill = colour(&format!("#chart-ingress path[data-key=\"{key}\"]"), "fill");
    let dot = format!("#chart-egress [data-key=\"{key}\"] .dot");
    assert_eq!(colour(&dot, "backgroundColor"), fill);
    browser.run(&format!("{entry}.click()"));
    assert_eq!(browser.run(areas), all);
}

fn units_and_zones(browser: &Browser) {
    let rate = "document.querySelector('#interfaces .rate').textContent";
    assert!(
        browser
            .run(&format!("return {rate}"))
            .as_str()
            .unwrap()
            .ends_with("bit/s")
    );
    browser.run("document.querySelector('#unit [data-value=bytes]').click()");
    assert!(
        browser
            .run(&format!("return {rate}"))
            .as_str()
            .unwrap()
            .ends_with("B/s")
    );
    // packets: the rate of the interface, the axis of the curve and the table
    browser.run("document.querySelector('#unit [data-value=packets]').click()");
    browser.wait("return [...document.querySelectorAll('#chart-ingress .direct')].some(t => t.textContent === 'p/s')");
    browser.wait("return [...document.querySelectorAll('#table tbody tr')].every(r => r.cells[1].textContent.replace('~', '').trim() === r.cells[5].textContent.replace('~', '').trim())");
    assert!(
        browser
            .run(&format!("return {rate}"))
            .as_str()
            .unwrap()
            .ends_with("p/s")
    );
    browser.run("document.querySelector('#unit [data-value=bytes]').click()");
    browser.run("document.querySelector('#zone [data-value=utc]').click()");
    let now = browser.run("return document.querySelector('#status').textContent");
    let utc = browser.run(
        "return fetch('page/v1.json').then(r => r.json()).then(v => new Date(v.now * 1000).toISOString().slice(11, 19))",
    );
    assert!(
        now.as_str().unwrap().contains(utc.as_str().unwrap()),
        "{now} {utc}"
    );
    let hash = browser.run("return location.hash");
    assert!(
        hash.as_str().unwrap().contains("unit=bytes&zone=utc"),
        "{hash}"
    );
    browser.run("location.hash = ''");
}

/// Each column sorts the interfaces.
fn interfaces(browser: &Browser) {
    let names =
        "return [...document.querySelectorAll('#interfaces tbody .name')].map(b => b.textContent)";
    browser.run("document.querySelector('#interfaces [data-sort=name] button').click()");
    let by_name = browser.run(names);
    let mut sorted: Vec<_> = by_name
        .as_array()
        .unwrap()
        .iter()
        .map(|n| n.as_str().unwrap())
        .collect();
    sorted.sort_unstable();
    assert_eq!(by_name, json!(sorted));
    browser.run("document.querySelector('#interfaces [data-sort=ingress] button').click()");
    let rates = "return [...document.querySelectorAll('#interfaces tbody [data-dir=ingress]')].map(c => Number(c.dataset.now ?? -1))";
    let rates: Vec<_> = browser
        .run(rates)
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r.as_f64().unwrap())
        .collect();
    assert!(rates.is_sorted_by(|a, b| a >= b), "{rates:?}");
    browser.run("const f = document.querySelector('#find-interface'); f.value = 'office'; f.dispatchEvent(new Event('input'))");
    assert_eq!(browser.run(names), json!(["lan1"]));
    browser.run("const f = document.querySelector('#find-interface'); f.value = ''; f.dispatchEvent(new Event('input'))");
}

/// The CSV link contains every line of the table, and no cell that a spreadsheet would evaluate.
fn comma_separated(browser: &Browser) {
    browser.run("document.querySelector('#csv').addEventListener('click', e => e.preventDefault()); document.querySelector('#csv').click()");
    // the lines that the page does not show are requested first
    browser.wait("return document.querySelector('#csv').href.startsWith('data:text/csv')");
    let link = browser.run("return decodeURIComponent(document.querySelector('#csv').href)");
    let lines: Vec<_> = link.as_str().unwrap().trim_end().split("\r\n").collect();
    assert!(lines[0].ends_with(",neighbor"), "{}", lines[0]);
    assert!(lines.len() > 150, "{} lines", lines.len());
    assert!(
        lines[1].starts_with("\"Example Video Delivery\",\"AS64500\","),
        "{}",
        lines[1]
    );
}

fn narrow_and_dark(browser: &Browser, url: &str) {
    let ground = "return getComputedStyle(document.documentElement).backgroundColor";
    browser.open(&format!("{url}?y"));
    browser.resize(360, 800, false);
    browser.wait(LOADED);
    let wide = "return document.documentElement.scrollWidth";
    assert_eq!(browser.run(wide), 360);
    let light = browser.run(ground);
    browser.resize(1280, 800, true);
    browser.wait("return document.documentElement.dataset.theme === 'dark'");
    let dark = browser.run(ground);
    assert_ne!(dark, light);
    browser.resize(1280, 800, false);
    browser.wait("return document.documentElement.dataset.theme === 'light'");
    assert_eq!(browser.run(ground), light);
    // the button goes before what the system says, and is remembered
    browser
        .run("document.querySelector('#theme').click(); document.querySelector('#theme').click()");
    assert_eq!(browser.run(ground), dark);
    browser.open(&format!("{url}?z"));
    browser.wait(LOADED);
    assert_eq!(browser.run(ground), dark);
}

/// The pictures of the documents: `RFM_PICTURES=docs` renews them.
#[test]
fn a_realistic_router_in_light_dark_and_on_a_phone() {
    if !can_run(&TOOLS) {
        return;
    }
    let year = Year::shared();
    let router = Router::realistic(60).with_history(year.stored());
    visit_router(router, |browser, _, _| {
        for (name, width, height, dark) in [
            ("page-light", 1280, 1180, false),
            ("page-dark", 1280, 1180, true),
            ("page-narrow", 360, 1500, false),
            ("page-wide", 2560, 1300, false),
        ] {
            browser.resize(width, height, dark);
            let theme = if dark { "dark" } else { "light" };
            browser.wait(&format!(
                "return document.documentElement.dataset.theme === '{theme}' && innerWidth === {width} \
                 && document.documentElement.scrollWidth <= {width} && document.querySelectorAll('#table tbody tr').length === 25"
            ));
            let text = browser.run("return document.body.innerText");
            assert!(!text.as_str().unwrap().contains('<'), "{text}");
            keep_picture(browser, name, (width, height));
        }
    });
}

#[test]
fn names_from_outside_stay_text() {
    if !can_run(&TOOLS) {
        return;
    }
    visit(30, 1, |browser, _, _| {
        let row = "[...document.querySelectorAll('#interfaces tbody tr')]";
        browser.run(&format!(
            "{row}.find(r => r.textContent.includes({})).click()",
            json!(HOSTILE_INTERFACE)
        ));
        browser.wait(&format!(
            "return document.querySelector('#h-shown bdi').textContent === {}",
            json!(HOSTILE_INTERFACE)
        ));
        assert!(
            browser
                .run(NAMES)
                .as_array()
                .unwrap()
                .contains(&json!(HOSTILE_NETWORK))
        );
        browser.run("document.querySelector('#tab [data-value=cities]').click()");
        browser.wait(&format!(
            "return [...document.querySelectorAll('#table tbody bdi')].some(b => b.textContent === {})",
            json!(HOSTILE_CITY)
        ));
        let intruders = "return document.querySelectorAll('main img, main script, .interfaces b, #h-shown b, dl b, main svg[onload], main i:not([class]):not(.meter i)').length";
        assert_eq!(browser.run(intruders), 0);
        let title = browser.run("return document.title");
        assert_eq!(title, format!("{HOSTILE_INTERFACE} – rfm"));
    });
}

#[test]
fn a_thousand_networks_do_not_freeze_it() {
    if !can_run(&TOOLS) {
        return;
    }
    visit(1000, 100, |browser, _, router| {
        let rows = "return document.querySelectorAll('#table tbody tr').length";
        assert_eq!(browser.run(rows), 25);
        let took = browser.run(
            "const start = performance.now(); document.querySelector('#more').click(); \
             document.body.offsetHeight; return performance.now() - start",
        );
        // the other lines are in the next answer
        browser.wait("return document.querySelectorAll('#table tbody tr').length === 1000");
        let took = took.as_f64().unwrap();
        println!("the first of 1,000 rows drawn and laid out in {took:.0} ms");
        assert!(took < 1000.0, "{took} ms");
        // fewer samples than a figure should rest on are marked
        assert_ne!(
            browser.run("return document.querySelectorAll('#table .few').length"),
            0
        );
        // a refresh with all of them shown: no long task
        browser.run(
            "window.longest = 0; new PerformanceObserver(l => l.getEntries().forEach(e => longest = Math.max(longest, e.duration))).observe({type: 'longtask'}); \
             window.asOf = document.querySelector('#status').textContent",
        );
        router.tick();
        browser.wait("return document.querySelector('#status').textContent !== asOf");
        let longest = browser.run("return longest").as_f64().unwrap();
        println!("a refresh held the page for {longest:.0} ms at most");
        assert!(longest < 500.0, "{longest} ms");
        browser.run("const f = document.querySelector('#find'); f.value = 'AS64999'; f.dispatchEvent(new Event('input'))");
        assert_eq!(browser.run(rows), 1);
    });
}

/// An agent that has just started: the curves fill the width, and nothing is wrong.
#[test]
fn a_new_agent_and_a_wrong_clock() {
    if !can_run(&TOOLS) {
        return;
    }
    let lab = Lab::new();
    let namespace = lab.namespace("p");
    let mut router = Router::new(20);
    router.tick();
    let server: Running = namespace.inside(|| router.serve());
    let browser = Browser::start(&lab, &namespace);
    browser.open(&format!("http://{}/", server.address));
    browser.wait(LOADED);
    let text = "return document.body.innerText";
    let is_sound = |text: &str| !text.contains("NaN") && !text.contains("undefined");
    assert!(is_sound(browser.run(text).as_str().unwrap()));
    // the reader's clock is 90 s ahead
    browser.run("const real = Date.now; Date.now = () => real() + 90000");
    for _ in 0..30 {
        router.tick();
    }
    browser.wait("return document.querySelectorAll('#chart-ingress path.area').length > 3");
    browser.wait("return document.querySelector('#status').className === 'good'");
    let covered = "const b = document.querySelector('#chart-ingress path.area').getBBox(); \
        return b.width / document.querySelector('#chart-ingress svg').viewBox.baseVal.width";
    let covered = browser.run(covered).as_f64().unwrap();
    assert!(covered > 0.85, "the curve covers {covered:.2} of the width");
    assert!(is_sound(browser.run(text).as_str().unwrap()));
    // the value under the pointer stays over a refresh
    browser.run("const svg = document.querySelector('#chart-ingress svg'), b = svg.getBoundingClientRect(); \
        window.asOf = document.querySelector('#status').textContent; \
        svg.dispatchEvent(new PointerEvent('pointermove', { clientX: b.left + b.width / 2, clientY: b.top + 50 }))");
    router.tick();
    browser.wait("return document.querySelector('#status').textContent !== asOf");
    assert_eq!(
        browser.run("return document.querySelector('#tip').hidden"),
        false
    );
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn problems_are_listed_with_their_remedy_until_they_are_gone() {
    if !can_run(&TOOLS) {
        return;
    }
    visit(30, 1, |browser, _, router| {
        let status = "return document.querySelector('#status').textContent";
        let is_healthy = format!("{status}.startsWith('healthy · ')");
        browser.wait(&is_healthy);
        assert_eq!(
            browser.run("return document.querySelector('#problems').hidden"),
            true
        );
        router.problems = json!([
            {"kind": "bmp_session_lost", "text": "no session with <b>", "remedy": "check it"},
            {"kind": "database_old", "text": "old", "remedy": "update it"},
        ]);
        router.tick();
        browser.wait(&format!("{status}.startsWith('2 problems · ')"));
        let lines = "return [...document.querySelectorAll('#problems li')].map(l => l.innerText)";
        let expected = json!(["no session with <b>\ncheck it", "old\nupdate it"]);
        assert_eq!(browser.run(lines), expected);
        let class = "return document.querySelector('#status').className";
        assert_eq!(browser.run(class), "warn");
        router.problems = json!([]);
        router.tick();
        browser.wait(&is_healthy);
    });
}

#[test]
fn missing_names_have_a_hint_and_databases_their_attribution() {
    if !can_run(&TOOLS) {
        return;
    }
    visit(30, 1, |browser, _, router| {
        let hidden = |part: &str| format!("return document.querySelector('#{part}').hidden");
        browser.wait("return document.querySelectorAll('#interfaces tbody tr').length === 6");
        for part in ["names-hint", "attributions"] {
            assert_eq!(browser.run(&hidden(part)), true, "{part}");
        }
        router.names_missing = true;
        router.tick();
        browser.wait("return !document.querySelector('#names-hint').hidden");
        let text = "return document.querySelector('#names-hint').innerText";
        let closed = json!("Names are missing: how to get them");
        assert_eq!(browser.run(text), closed);
        browser.run("document.querySelector('#names-hint summary').click()");
        let open = browser.run(text);
        assert!(open.as_str().unwrap().contains("rfm-update-databases"));
        keep_picture(browser, "names-hint", (1280, 900));

        router.names_missing = false;
        router.dashboard = "https://grafana.example.net/d/rfm".into();
        let db_ip = Attribution::of("DBIP-ASN-Lite").expect("required");
        router.attributions = json!([{ "text": db_ip.text, "url": db_ip.url }]);
        router.tick();
        browser.wait("return !document.querySelector('#attributions').hidden");
        assert_eq!(browser.run(&hidden("names-hint")), true);
        let link =
            "const a = document.querySelector('#attributions a'); return [a.innerText, a.href]";
        let expected = json!(["IP Geolocation by DB-IP", "https://db-ip.com/"]);
        assert_eq!(browser.run(link), expected);
        let dashboard = "const a = document.querySelector('#dashboard:not([hidden]) a'); return [a.innerText, a.href]";
        let expected = json!(["dashboard", "https://grafana.example.net/d/rfm"]);
        assert_eq!(browser.run(dashboard), expected);
    });
}
