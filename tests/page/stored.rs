// SPDX-License-Identifier: AGPL-3.0-only
//! `page/v2.json`: a year on disk in any resolution, and the same data as on the control socket.

use std::sync::{Arc, RwLock};
use std::time::Instant;

use rfm::control::{bill, history};
use rfm::store::reader::HistoryReader;
use rfm::types::address_detail::AddressDetail;
use serde_json::{Value, json};

use crate::common::http::{Client, Reply};
use crate::made::Router;
use crate::year::{DAY, PutIn, Year, stored_after};

fn get(client: &mut Client, query: &str) -> Reply {
    client.get(&format!("/page/v2.json?{query}"))
}

fn view(client: &mut Client, query: &str) -> Value {
    let reply = get(client, query);
    let text = String::from_utf8_lossy(&reply.body);
    assert_eq!(reply.status, 200, "{query}: {text}");
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    serde_json::from_str(&text).expect("JSON")
}

fn number(value: &Value) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("a number: {value}"))
}

/// The rows that lie in the period of an answer.
fn put_in<'a>(year: &'a Year, view: &Value) -> impl Iterator<Item = &'a PutIn> {
    let (from, to) = (number(&view["from"]), number(&view["to"]));
    year.rows
        .iter()
        .filter(move |row| (from..to).contains(&row.time))
}

#[test]
fn each_period_has_its_points_and_the_sums_that_were_put_in() {
    let year = Year::shared();
    let router = Router::new(20).with_history(year.stored());
    let server = router.serve();
    let mut client = server.client();
    for (seconds, step, tier) in [
        (3600, 60, "1m"),
        (6 * 3600, 60, "1m"),
        (DAY, 120, "1m"),
        (7 * DAY, 900, "5m"),
        (30 * DAY, 3600, "1h"),
        (365 * DAY, DAY, "1d"),
    ] {
        let from = year.now - seconds;
        let query = format!(
            "interface=wan0&from={from}&to={}&stack=family&by=asn",
            year.now
        );
        let start = Instant::now();
        let view = view(&mut client, &query);
        println!("{seconds} s: {:?}, {}", start.elapsed(), view["tier"]);
        assert_eq!((&view["schema"], &view["by"]), (&json!(2), &json!("asn")));
        assert_eq!((number(&view["step"]), &view["tier"]), (step, &json!(tier)));
        let ingress = &view["ingress"];
        for (direction, name) in ["ingress", "egress"].iter().enumerate() {
            let right: u64 = put_in(&year, &view)
                .map(|row| row.bytes[0][direction])
                .sum();
            assert_eq!(number(&view[name]["bytes"]), right, "{seconds} {name}");
            let rows = view[name]["rows"].as_array().expect("rows");
            let listed: u64 = rows.iter().map(|row| number(&row[1])).sum();
            assert_eq!(listed + number(&view[name]["rest_bytes"]), right);
            assert_eq!(rows.len(), 12);
        }
        let points = ingress["total"].as_array().expect("points");
        let slots = (number(&view["to"]) - number(&view["from"])) / step;
        assert_eq!(points.len() as u64, slots);
        // each point is the mean rate of its time
        for at in [points.len() / 3, points.len() * 2 / 3] {
            let time = number(&view["from"]) + at as u64 * step;
            let rows = year.rows.iter();
            let rows: Vec<_> = rows
                .filter(|row| (time..time + step).contains(&row.time))
                .collect();
            let bytes: u64 = rows.iter().map(|row| row.bytes[0][0]).sum();
            let observed: u64 = rows.iter().map(|row| row.seconds).sum();
            let right = bytes.checked_div(observed).unwrap_or(0);
            assert!(number(&points[at]).abs_diff(right) <= 1, "{time}: {right}");
        }
        let family = |n: usize| number(&ingress["families"][n][points.len() / 3]);
        let sum = family(0) + family(1) + family(2);
        assert!(sum.abs_diff(number(&points[points.len() / 3])) <= 3);
    }
}

/// The 95th percentile, by nearest rank, from what was put in: 5-minute means.
pub fn percentile(year: &Year, from: u64, to: u64, direction: usize) -> f64 {
    let mut samples = std::collections::BTreeMap::<u64, (u64, u64)>::new();
    let rows = year
        .rows
        .iter()
        .filter(|row| (from..to).contains(&row.time));
    for row in rows {
        let sample = samples.entry(row.time / 300).or_default();
        sample.0 += row.bytes[0][direction];
        sample.1 += row.seconds;
    }
    let mut rates: Vec<f64> = samples
        .values()
        .map(|(bytes, seconds)| *bytes as f64 / *seconds as f64)
        .collect();
    rates.sort_by(f64::total_cmp);
    // the highest 5 % are left out
    rates[rates.len() - 1 - rates.len() / 20]
}

#[test]
fn percentiles_rows_and_events_are_those_of_the_control_socket() {
    let year = Year::shared();
    let router = Router::new(20).with_history(year.stored());
    let server = router.serve();
    let mut client = server.client();
    let reader = HistoryReader::of_folder(&year.history());
    for days in [1, 7, 30, 365] {
        let (from, to) = (year.now / DAY * DAY - days * DAY, year.now / DAY * DAY);
        let period = format!("from={from}&to={to}");
        let query = format!("interface=wan0&{period}");
        let view = view(&mut client, &format!("{query}&by=asn"));
        assert_eq!((number(&view["from"]), number(&view["to"])), (from, to));
        assert_eq!(view["p95_step"], 300);
        let bills = bill::query(Some(&query), year.now).unwrap();
        let bill = &bill::bill(&reader, &bills, &[]).bills[0];
        for (direction, name) in ["ingress", "egress"].iter().enumerate() {
            let found = view[name]["p95"].as_f64().expect("a rate");
            let right = percentile(&year, from, to, direction);
            assert!(
                (found - right).abs() < 1e-6 * right,
                "{days} {name}: {found} {right}"
            );
            assert_eq!(bill.rates[direction].p95, Some(found * 8.0));
        }
        let socket = history::query(Some(&format!("{query}&by=asn&direction=ingress")), year.now);
        let socket = history::history(&reader, &socket.unwrap(), AddressDetail::Full);
        let rows = view["ingress"]["rows"].as_array().unwrap();
        for (row, theirs) in rows.iter().zip(&socket.rows) {
            let value = (&row[0], number(&row[1]));
            // tiers of other lengths are rounded again
            let close = value.1.abs_diff(theirs.bytes) <= theirs.bytes / 1000;
            assert!(
                value.0 == &theirs.values["asn"] && close,
                "{days}: {row} {theirs:?}"
            );
        }
    }
    let whole = view(
        &mut client,
        &format!("interface=wan0&from={}", year.now - 9 * DAY),
    );
    let events = whole["events"].as_array().unwrap();
    let found: Vec<_> = events
        .iter()
        .map(|event| {
            (
                number(&event[0]),
                event[1].as_str().unwrap(),
                event[2].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(found, year.events);
    // the outage has no points
    let (from, step) = (number(&whole["from"]), number(&whole["step"]));
    let gaps = whole["gaps"].as_array().unwrap();
    let gap = gaps
        .iter()
        .find(|gap| from + number(&gap[0]) * step == year.outage.0);
    let seconds = gap.map(|gap| number(&gap[1]) * step);
    assert_eq!(seconds, Some(year.outage.1 - year.outage.0), "{gaps:?}");
}

#[test]
fn filters_and_lists_are_those_of_stored_parts_and_conversations() {
    let year = Year::shared();
    let router = Router::new(20).with_history(year.stored());
    let server = router.serve();
    let mut client = server.client();
    let week = format!("interface=wan0&from={}&to={}", year.now - 7 * DAY, year.now);
    // one network: its stored curve, and the hosts of its conversations
    let all = view(&mut client, &format!("{week}&by=asn"));
    let network = view(&mut client, &format!("{week}&by=host&filter=far.asn.64502"));
    let row = &all["ingress"]["rows"][2];
    assert_eq!(row[0], 64502);
    assert_eq!(network["ingress"]["bytes"], row[1]);
    assert_eq!(network["asns"]["64502"], "Northern Search");
    let hosts = network["ingress"]["rows"].as_array().unwrap();
    assert_eq!(hosts.len(), 1, "{hosts:?}");
    assert_eq!(
        (&hosts[0][0], &hosts[0][4]),
        (&json!("198.51.2.0/24"), &json!(64502))
    );
    assert_eq!(network["by"], "prefix");
    // a service in a network: only conversations have both
    let both = view(
        &mut client,
        &format!("{week}&by=service&filter=far.asn.64502&filter=far.service.6/80"),
    );
    let rows = both["ingress"]["rows"].as_array().unwrap();
    assert_eq!((rows.len(), &rows[0][0]), (1, &json!("6/80")));
    assert_eq!(rows[0][1], hosts[0][1]);
    assert_eq!(both["ingress"]["bytes"], hosts[0][1]);
    let none = view(
        &mut client,
        &format!("{week}&by=host&filter=far.asn.64502&filter=far.service.6/443"),
    );
    assert_eq!(none["ingress"]["rows"], json!([]));
    // protocols are sums of services
    let protocols = view(&mut client, &format!("{week}&by=protocol"));
    let services = view(&mut client, &format!("{week}&by=service"));
    let udp: u64 = services["egress"]["rows"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row[0].as_str().unwrap().starts_with("17/"))
        .map(|row| number(&row[1]))
        .sum();
    let rows = protocols["egress"]["rows"].as_array().unwrap();
    let row = rows.iter().find(|row| row[0] == 17).expect("UDP");
    assert_eq!(number(&row[1]), udp);
    // two interfaces together
    let two = view(&mut client, &week.replace("wan0", "wan0&interface=ix0"));
    let right: u64 = put_in(&year, &two)
        .map(|row| row.bytes[0][0] + row.bytes[1][0])
        .sum();
    assert_eq!(number(&two["ingress"]["bytes"]), right);
}

#[test]
fn a_new_history_begins_with_its_first_point() {
    let year = Year::shared();
    let router = Router::new(20).with_history(year.stored());
    let server = router.serve();
    let mut client = server.client();
    // the exchange is 40 days old, the router a year
    let ix = view(
        &mut client,
        &format!("interface=ix0&from={}", year.now - 365 * DAY),
    );
    let age = year.now - number(&ix["from"]);
    assert!((39 * DAY..=41 * DAY).contains(&age), "{age}");
    let unknown = view(&mut client, "interface=eth99");
    assert_eq!(
        (&unknown["ingress"], &unknown["egress"]),
        (&Value::Null, &Value::Null)
    );
}

#[test]
fn errors_are_clear_and_repeat_nothing() {
    let year = Year::shared();
    let router = Router::new(20).with_history(year.stored());
    let server = router.serve();
    let mut client = server.client();
    for (query, expected) in [
        ("", "interface: missing"),
        ("interface=wan0&from=x", "from: expected Unix seconds"),
        ("interface=wan0&by=%3Cb%3E", "by: expected one of asn"),
        ("interface=wan0&%3Cb%3E=1", "unknown option"),
    ] {
        let reply = get(&mut client, query);
        let error: Value = serde_json::from_slice(&reply.body).expect("JSON");
        let error = error["error"].as_str().unwrap();
        assert_eq!(reply.status, 400, "{query}");
        assert!(error.starts_with(expected), "{query}: {error}");
        assert!(!error.contains("<b>"), "{error}");
    }
    client
        .send("POST /page/v2.json?interface=wan0 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
    let reply = client.reply();
    assert_eq!(
        (reply.status, reply.header("allow")),
        (405, Some("GET, HEAD"))
    );
    let server = Router::new(20).serve();
    let reply = server.client().get("/page/v2.json?interface=wan0");
    let error = String::from_utf8(reply.body).unwrap();
    assert_eq!(reply.status, 404);
    assert!(error.contains("set agent.history.path"), "{error}");
}

/// Scrapes and the live figures do not wait for the files, and the number of waiting questions is limited.
#[test]
fn other_clients_do_not_wait_for_the_history() {
    let gate = Arc::new(RwLock::new(()));
    let wait = gate.clone();
    let wait = move || drop(wait.read().unwrap());
    let folder = std::env::temp_dir().join("rfm-page-no-history");
    let router = Router::new(20).with_history(stored_after(&folder, wait));
    let server = router.serve();
    let closed = gate.write().unwrap();
    let mut waiting: Vec<_> = (0..20)
        .map(|n| {
            let mut client = server.client();
            client.send(&format!(
                "GET /page/v2.json?interface=e{n} HTTP/1.1\r\nHost: x\r\n\r\n"
            ));
            client
        })
        .collect();
    let mut other = server.client();
    assert_eq!(other.get("/metrics").status, 200);
    assert_eq!(other.get("/page/v1.json").status, 200);
    assert_eq!(other.get("/page/v2.json?by=x").status, 400);
    drop(closed);
    let replies: Vec<_> = waiting.iter_mut().map(|client| client.reply()).collect();
    let of = |status: u16| {
        replies
            .iter()
            .filter(|reply| reply.status == status)
            .count()
    };
    // one in the thread, and 16 that wait
    assert!((16..=17).contains(&of(200)), "{} answers", of(200));
    assert_eq!(of(200) + of(503), 20);
    let busy = replies
        .iter()
        .find(|reply| reply.status == 503)
        .expect("one");
    assert!(String::from_utf8_lossy(&busy.body).contains("try again"));
    assert_eq!(busy.header("referrer-policy"), Some("no-referrer"));
}
