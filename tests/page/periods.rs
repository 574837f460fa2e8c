// SPDX-License-Identifier: AGPL-3.0-only
//! The page with a year of history on disk: each period, zoom, events, percentiles, other days, and drill-downs.

use serde_json::{Value, json};

use crate::accessibility::problems;
use crate::browser::{Browser, TOOLS, keep_picture};
use crate::common::http::Running;
use crate::common::lab::{Lab, can_run};
use crate::made::Router;
use crate::year::{DAY, Year, stored};

const LEFT: char = '\u{e012}';
const ENTER: char = '\u{e007}';
const SHIFT: char = '\u{e008}';

/// Whether charts and table of the selected period are there.
const DRAWN: &str = "return document.querySelector('#chart-ingress path.area') !== null \
    && document.querySelector('#chart-egress path.area') !== null && document.querySelectorAll('#table tbody tr').length > 3";
const NOTE: &str = "return document.querySelector('#period-note').textContent";

fn visit(mut router: Router, body: impl FnOnce(&Browser, &str)) {
    let lab = Lab::new();
    let namespace = lab.namespace("p");
    router.pass(27);
    let server: Running = namespace.inside(|| router.serve());
    let browser = Browser::start(&lab, &namespace);
    let url = format!("http://{}/", server.address);
    browser.open(&format!("{url}#zone=utc"));
    browser.wait(DRAWN);
    body(&browser, &url);
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

fn select(browser: &Browser, window: &str) {
    browser.run(&format!(
        "document.querySelector('#window [data-value={window}]').click()"
    ));
    browser.wait(&format!(
        "return document.querySelector('#window [data-value={window}]').getAttribute('aria-pressed') === 'true' \
         && document.querySelector('#table').classList.contains('stored') === {}",
        !["hour", "day"].contains(&window)
    ));
    browser.wait(DRAWN);
    wait_for_points(
        browser,
        match window {
            "six" => "1 min",
            "week" => "15 min",
            "month" => "1 h 0 min",
            "year" => "1 d 0 h",
            _ => return,
        },
    );
}

/// Waits until the answer with points of this length is there.
fn wait_for_points(browser: &Browser, step: &str) {
    browser.wait(&format!(
        "return document.querySelector('#table-note').textContent.includes('in points of {step}.')"
    ));
}

#[test]
fn every_period_of_a_year_is_shown() {
    if !can_run(&TOOLS) {
        return;
    }
    let year = Year::shared();
    visit(
        Router::realistic(60).with_history(year.stored()),
        |browser, url| {
            periods(browser, &year);
            percentile(browser, &year);
            another_day(browser, &year);
            zoom(browser);
            events(browser);
            drill_down(browser);
            pictures(browser, url);
        },
    );
}

/// The times on the axis are those of the period, and no two labels overlap.
fn periods(browser: &Browser, year: &Year) {
    for (window, seconds, unit) in [
        ("six", 6 * 3600, ":00"),
        ("week", 7 * DAY, " Nov"),
        ("month", 30 * DAY, " "),
        ("year", 365 * DAY, ""),
    ] {
        select(browser, window);
        let labels = browser.run(
            "return [...document.querySelectorAll('#chart-ingress svg text')].filter(t => t.getAttribute('y') === '206') \
             .map(t => [t.textContent, t.getBoundingClientRect().left, t.getBoundingClientRect().right])",
        );
        let labels = labels.as_array().unwrap();
        assert!(labels.len() >= 4, "{window}: {labels:?}");
        if window != "week"
            || labels
                .iter()
                .any(|label| label[0].as_str().unwrap().contains(unit))
        {
            let named = |label: &Value| label[0].as_str().unwrap().contains(unit);
            assert!(
                labels.iter().filter(|label| named(label)).count() * 2 > labels.len(),
                "{labels:?}"
            );
        }
        for pair in labels.windows(2) {
            assert!(
                pair[0][2].as_f64() < pair[1][1].as_f64(),
                "{window}: {labels:?}"
            );
        }
        // the sum of the table is that of what was put in
        let note = browser.run("return document.querySelector('#table-note').textContent");
        assert!(
            note.as_str()
                .unwrap()
                .starts_with("Mean, share and volume from "),
            "{note}"
        );
        let volume =
            browser.run("return Number(document.querySelector('#table tbody tr').dataset.bytes)");
        let rows = year
            .rows
            .iter()
            .filter(|row| row.time >= year.now - seconds);
        let right = rows.map(|row| row.bytes[0][0] / 4 * 3 / 4).sum::<u64>() as f64;
        let found = volume.as_f64().unwrap();
        // points are whole, so that the first one may begin earlier
        assert!(
            (found / right - 1.0).abs() < 0.02,
            "{window}: {found} {right}"
        );
        let wide = browser.run("return document.documentElement.scrollWidth <= innerWidth");
        assert_eq!(wide, true, "{window}");
    }
}

/// A number with the prefix of its unit, as the page writes it.
fn number(text: &str) -> f64 {
    let (number, unit) = text.trim().split_once(' ').expect("a unit");
    let power = ["", "k", "M", "G", "T"]
        .iter()
        .position(|prefix| unit.strip_suffix("bit/s").unwrap_or(unit) == *prefix);
    number.parse::<f64>().unwrap() * 1000f64.powi(power.expect("a prefix") as i32)
}

/// The line of the 95th percentile is at its value.
fn percentile(browser: &Browser, year: &Year) {
    select(browser, "week");
    let shown =
        browser.run("return document.querySelector('#chart-ingress .percentile').textContent");
    let shown = number(
        shown
            .as_str()
            .unwrap()
            .strip_prefix("95th percentile ")
            .unwrap(),
    );
    let right = 8.0 * crate::stored::percentile(year, year.now - 7 * DAY, year.now, 0);
    assert!((shown / right - 1.0).abs() < 0.01, "{shown} {right}");
    let line = browser
        .run("return Number(document.querySelector('#chart-ingress .p95').getAttribute('y1'))");
    let place = place(browser, shown);
    assert!(
        (line.as_f64().unwrap() - place).abs() < 1.5,
        "{line} {place}"
    );
}

/// Returns the height of a rate in the chart of received traffic, from the labels of its axis.
fn place(browser: &Browser, rate: f64) -> f64 {
    let grid = browser.run(
        "const t = [...document.querySelectorAll('#chart-ingress svg text[text-anchor=end]')].slice(0, 5); \
         return [t[0].getAttribute('y'), t[4].getAttribute('y'), t[4].textContent]",
    );
    let at = |n: usize| grid[n].as_str().unwrap().parse::<f64>().unwrap() - 4.0;
    at(0) + (at(1) - at(0)) * rate / number(grid[2].as_str().unwrap())
}

/// The faint line is the traffic of a day before.
fn another_day(browser: &Browser, year: &Year) {
    select(browser, "six");
    browser.run("document.querySelector('#compare [data-value=day]').click()");
    browser.wait("return document.querySelector('#chart-ingress .earlier') !== null");
    browser
        .wait("return document.querySelector('#chart-ingress .key')?.textContent === 'Yesterday'");
    let path =
        browser.run("return document.querySelector('#chart-ingress .earlier').getAttribute('d')");
    let points: Vec<(f64, f64)> = path.as_str().unwrap()[1..]
        .split('L')
        .filter_map(|point| point.split_once(','))
        .map(|(x, y)| (x.parse().unwrap(), y.parse().unwrap()))
        .collect();
    assert!(points.len() > 350, "{} points", points.len());
    // the first hour of the curve: minute by minute, a day earlier
    let heights = points.iter().take(60).map(|point| point.1);
    let mean = heights.sum::<f64>() / 60.0;
    let from = year.now - 6 * 3600 - DAY;
    let rows = year
        .rows
        .iter()
        .filter(|row| (from..from + 3600).contains(&row.time));
    let bytes: u64 = rows.map(|row| row.bytes[0][0]).sum();
    let right = place(browser, bytes as f64 * 8.0 / 3600.0);
    assert!((mean - right).abs() < 3.0, "{mean} {right}");
    select(browser, "year");
    // a year has no such line
    browser.wait("return document.querySelector('#chart-ingress .earlier') === null");
    browser.run("document.querySelector('#compare [data-value=none]').click()");
}

/// Drag, keyboard, and the ways back.
fn zoom(browser: &Browser) {
    let period = "return ['from', 'to'].map(key => Number(new URLSearchParams(location.hash.slice(1)).get(key)))";
    let seconds = |found: &Value| found[1].as_f64().unwrap() - found[0].as_f64().unwrap();
    select(browser, "week");
    let plot = browser.run(
        "const svg = document.querySelector('#chart-ingress svg'), r = svg.getBoundingClientRect(); \
         svg.scrollIntoView({ block: 'center' }); const s = svg.getBoundingClientRect(); return [s.left + 62, s.right - 4, s.top + 100, r.width]",
    );
    let [left, right, y] = [0, 1, 2].map(|n| plot[n].as_f64().unwrap());
    browser.drag(
        (left + (right - left) * 0.25, y),
        (left + (right - left) * 0.5, y),
    );
    browser.wait("return location.hash.includes('from=')");
    browser.wait("return document.querySelector('#period').textContent.includes(' – ')");
    wait_for_points(browser, "5 min");
    let dragged = browser.run(period);
    let quarter = 7.0 / 4.0 * DAY as f64;
    assert!(
        (seconds(&dragged) / quarter - 1.0).abs() < 0.05,
        "{dragged}"
    );
    assert_eq!(
        browser.run("return document.querySelectorAll('#window [aria-pressed=true]').length"),
        0
    );
    // half of it by keyboard: a selection, Enter
    browser.run("document.querySelector('#chart-ingress svg').focus()");
    let points = browser.run("return document.querySelector('#chart-ingress path.area').getAttribute('d').split('L').length / 2");
    let half = points.as_f64().unwrap() / 2.0;
    let keys: String = std::iter::repeat_n(LEFT, half as usize).collect();
    browser.press(&LEFT.to_string());
    browser.press_with(SHIFT, &keys);
    browser.wait("return document.querySelector('#chart-ingress .band').getAttribute('visibility') === 'visible'");
    let shown = browser.run("return document.querySelector('#period').textContent");
    browser.press(&ENTER.to_string());
    browser.wait(&format!(
        "return !location.hash.includes('from={}&')",
        dragged[0]
    ));
    let selected = browser.run(period);
    assert!(
        (seconds(&selected) / seconds(&dragged) - 0.5).abs() < 0.05,
        "{selected} {dragged}"
    );
    browser.wait(&format!(
        "return document.querySelector('#period').textContent !== {shown}"
    ));
    browser.run("location.hash = location.hash.replace(/from=\\d+/, 'from=' + (Number(/from=(\\d+)/.exec(location.hash)[1]) + 7200))");
    browser.wait(&format!(
        "return !location.hash.includes('from={}&')",
        selected[0]
    ));
    // back: the browser's button, then that of the page
    browser.run("history.back()");
    browser.wait(&format!(
        "return location.hash.includes('from={}&')",
        selected[0]
    ));
    browser.run("document.querySelector('#zoom').click()");
    browser
        .wait("return !location.hash.includes('from=') && document.querySelector('#zoom').hidden");
    browser.wait("return document.querySelector('#window [data-value=week]').getAttribute('aria-pressed') === 'true'");
    // an address selects a period
    browser.run(&format!(
        "location.hash = 'zone=utc&from={}&to={}'",
        selected[0], selected[1]
    ));
    browser.wait("return document.querySelector('#period').textContent.includes(' – ')");
    browser.run("location.hash = 'zone=utc'");
    browser.wait(DRAWN);
}

/// Each mark has a text, for the pointer, the keyboard and screen readers; texts stay text.
fn events(browser: &Browser) {
    browser.run("location.hash = 'zone=utc&window=six'");
    browser.wait("return document.querySelectorAll('#chart-ingress .mark').length > 0");
    browser.wait(DRAWN);
    let names = browser.run("return [...document.querySelectorAll('#chart-ingress .mark')].map(m => m.getAttribute('aria-label')).join()");
    let names = names.as_str().unwrap();
    for part in ["Reload /etc/rfm/rfm.toml", "Interface gone wg9 <b>"] {
        assert!(names.contains(part), "{names}");
    }
    let tip = browser.run(
        "const marks = [...document.querySelectorAll('#chart-ingress .mark')]; marks.at(-1).focus(); \
         return [document.querySelector('#tip').hidden, document.querySelector('#tip').innerText]",
    );
    assert_eq!(tip[0], false);
    assert!(
        tip[1].as_str().unwrap().contains("Interface gone: wg9 <b>"),
        "{tip}"
    );
    browser.run("document.activeElement.blur()");
    assert_eq!(
        browser.run("return document.querySelector('#tip').hidden"),
        true
    );
    // on the live curve as well
    browser.run("location.hash = 'zone=utc'");
    browser.wait("return !document.querySelector('#table').classList.contains('stored') && document.querySelectorAll('#chart-ingress .mark').length > 0");
    // while the agent did not run
    browser.run("location.hash = 'zone=utc&window=month'");
    browser.wait("return document.querySelector('#chart-ingress .gap') !== null");
}

/// A network of a week, its hosts and services, and a combination.
fn drill_down(browser: &Browser) {
    browser.run("location.hash = 'zone=utc&window=week'");
    browser.wait("return document.querySelector('#table').classList.contains('stored')");
    browser.wait(DRAWN);
    let open = |name: &str| {
        browser.wait(&format!("return [...document.querySelectorAll('#table tbody .drill')].some(b => b.textContent === '{name}')"));
        browser.run(&format!("[...document.querySelectorAll('#table tbody .drill')].find(b => b.textContent === '{name}').click()"));
    };
    let names =
        "return [...document.querySelectorAll('#table tbody .drill')].map(b => b.textContent)";
    open("Northern Search");
    browser.wait(&format!("{names}.join() === '198.51.2.0/24'"));
    browser.wait("return document.querySelectorAll('#chart-ingress path.area').length === 1");
    let figures = browser.run("return document.querySelector('#figures tbody tr').innerText");
    assert!(figures.as_str().unwrap().contains("TB"), "{figures}");
    browser.run("document.querySelector('#tab [data-value=services]').click()");
    browser.wait(&format!("{names}.join() === 'TCP 80'"));
    open("TCP 80");
    browser.wait("return document.querySelectorAll('.chip').length === 2");
    browser.wait("return document.querySelector('#table-note').textContent.includes('largest conversations')");
    browser.wait("return document.querySelector('#chart-ingress path.area') !== null");
    browser.run("history.back()");
    browser.wait("return document.querySelectorAll('.chip').length === 1");
    browser.run("history.back()");
    browser.wait("return document.querySelectorAll('.chip').length === 0");
    for (tab, name) in [
        ("neighbours", "Example Video Delivery"),
        ("countries", "Switzerland (CH)"),
        ("protocols", "UDP"),
        ("services", "TCP 443"),
        ("prefixes", "198.51.0.0/24"),
    ] {
        browser.run(&format!(
            "document.querySelector('#tab [data-value={tab}]').click()"
        ));
        browser.wait(&format!("{names}.includes('{name}')"));
    }
    assert_eq!(
        browser.run("return document.querySelector('#tab [data-value=cities]').hidden"),
        true
    );
}

/// In light, dark and on a phone: axe finds no problem, and nothing is wider than the screen.
fn pictures(browser: &Browser, url: &str) {
    for (name, hash, width, dark) in [
        ("page-history", "window=week&compare=week", 1280, false),
        ("history-year", "window=year", 1280, true),
        ("history-narrow", "window=month", 400, false),
    ] {
        browser.resize(width, 1100, dark);
        browser.open(&format!("{url}?{name}#zone=utc&{hash}"));
        browser.wait(DRAWN);
        browser.wait(&format!(
            "return document.documentElement.scrollWidth <= {width}"
        ));
        keep_picture(
            browser,
            name,
            (width, if width < 600 { 1500 } else { 1000 }),
        );
        assert_eq!(problems(browser), json!([]), "{name}");
    }
}

#[test]
fn without_a_history_the_page_has_a_day_and_says_why() {
    if !can_run(&TOOLS) {
        return;
    }
    visit(Router::realistic(20), |browser, url| {
        browser.open(&format!("{url}?w#window=week&zone=utc"));
        browser.wait(DRAWN);
        let note = browser.run(NOTE);
        assert!(
            note.as_str()
                .unwrap()
                .contains("agent.history.path is empty"),
            "{note}"
        );
        let usable = "return [...document.querySelectorAll('#window button')].filter(b => !b.disabled).map(b => b.textContent).join()";
        assert_eq!(browser.run(usable), "1 h,24 h");
        let pressed = "return document.querySelector('#window [aria-pressed=true]').textContent";
        assert_eq!(browser.run(pressed), "24 h");
        let requests = browser.requests();
        assert!(
            requests.iter().all(|url| !url.contains("v2.json")),
            "{requests:?}"
        );
    });
}

/// A history without data, on a router with problems.
#[test]
fn an_empty_history_and_a_router_with_problems() {
    if !can_run(&TOOLS) {
        return;
    }
    let empty = std::env::temp_dir().join(format!("rfm-page-empty-{}", std::process::id()));
    let mut router = Router::realistic(20).with_history(stored(&empty));
    router.problems =
        json!([{"kind": "history_failing", "text": "cannot write", "remedy": "make room"}]);
    router.lost = 5;
    visit(router, |browser, _| {
        browser.run("location.hash = 'window=month'");
        browser.wait(&format!("{NOTE} === 'No data of this period.'"));
        let text = browser.run("return document.querySelector('#shown').innerText");
        let text = text.as_str().unwrap();
        assert!(text.contains("No data."), "{text}");
        assert!(
            !text.contains("NaN") && !text.contains("undefined"),
            "{text}"
        );
        let status = browser.run("return document.querySelector('#status').textContent");
        assert!(
            status.as_str().unwrap().starts_with("1 problem"),
            "{status}"
        );
        // the live curves are there
        browser.run("location.hash = ''");
        browser.wait(DRAWN);
    });
}
