// SPDX-License-Identifier: AGPL-3.0-only
//! How the page is served.

use std::io::Read;

use crate::common::http::{Reply, Running, exporter};
use crate::made::Router;
use serde_json::Value;

fn server() -> Running {
    let mut router = Router::new(20);
    router.pass(1);
    router.serve()
}

fn unpacked(reply: &Reply) -> Vec<u8> {
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(&reply.body[..])
        .read_to_end(&mut plain)
        .expect("gzip");
    plain
}

#[test]
fn the_document_is_small_and_needs_nothing() {
    let server = server();
    let reply = server.client().get("/");
    assert_eq!(reply.status, 200);
    assert_eq!(
        reply.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    assert!(reply.body.len() <= 110_000, "{} bytes", reply.body.len());
    let text = String::from_utf8(reply.body).expect("UTF-8");
    // the only reference is to a pattern in the document itself
    let text = text.replace("url(#hatch)", "");
    for word in [
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "src=\"",
        "@import",
        "url(",
    ] {
        assert!(!text.contains(word), "{word}");
    }
    // the namespace of SVG is a name and no address; the others are links for the reader
    let mut addresses: Vec<_> = text.split("http").skip(1).collect();
    for known in [
        "://www.w3.org/2000/svg\"",
        "s://bgp.tools/",
        "s://www.peeringdb.com/",
        "s://stat.ripe.net/",
    ] {
        assert!(addresses.iter().any(|a| a.starts_with(known)), "{known}");
        addresses.retain(|address| !address.starts_with(known));
    }
    assert_eq!(addresses, Vec::<&str>::new());
}

#[test]
fn the_policy_lets_only_this_script_and_style_run() {
    let server = server();
    let reply = server.client().get("/");
    let policy = reply.header("content-security-policy").expect("a policy");
    assert!(
        policy.starts_with("default-src 'none'; script-src 'sha256-"),
        "{policy}"
    );
    assert!(
        !policy.contains("unsafe") && policy.contains("frame-ancestors 'none'"),
        "{policy}"
    );
    assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(reply.header("referrer-policy"), Some("no-referrer"));
    let figures = server.client().get("/page/v1.json");
    let policy = figures.header("content-security-policy").expect("a policy");
    assert!(policy.starts_with("default-src 'none'; frame"), "{policy}");
}

#[test]
fn the_document_is_asked_for_again_and_sent_once() {
    let server = server();
    let mut client = server.client();
    let reply = client.get_with("/", "Accept-Encoding: gzip\r\n");
    assert_eq!(reply.header("content-encoding"), Some("gzip"));
    assert_eq!(reply.header("cache-control"), Some("no-cache"));
    assert_eq!(unpacked(&reply), client.get("/").body);
    assert!(reply.body.len() < 40_000, "{} bytes", reply.body.len());
    let tag = reply.header("etag").expect("a tag").to_owned();
    client.send(&format!(
        "GET / HTTP/1.1\r\nHost: x\r\nIf-None-Match: {tag}\r\n\r\n"
    ));
    let head = client.head_reply();
    assert_eq!((head.status, head.header("etag")), (304, Some(&*tag)));
    assert_eq!(client.get("/healthz").status, 200, "no body follows a 304");
}

#[test]
fn figures_are_never_kept_and_come_packed() {
    let server = server();
    let mut client = server.client();
    let plain = client.get("/page/v1.json?window=day&side=near");
    assert_eq!(plain.header("content-type"), Some("application/json"));
    assert_eq!(plain.header("cache-control"), Some("no-store"));
    let packed = client.get_with(
        "/page/v1.json?window=day&side=near",
        "Accept-Encoding: gzip\r\n",
    );
    assert_eq!(unpacked(&packed), plain.body);
    let view: serde_json::Value = serde_json::from_slice(&plain.body).expect("JSON");
    assert_eq!(
        (&view["schema"], &view["window"], &view["step"]),
        (&1.into(), &"day".into(), &120.into())
    );
}

/// A reader gets only the points that it does not have.
#[test]
fn a_refresh_is_small() {
    let mut router = Router::new(20);
    router.pass(2);
    let server = router.serve();
    let mut client = server.client();
    let whole: Value = serde_json::from_slice(&client.get("/page/v1.json").body).expect("JSON");
    router.tick();
    router.tick();
    let path = format!("/page/v1.json?after={}&table=networks", whole["ticks"]);
    let packed = client.get_with(&path, "Accept-Encoding: gzip\r\n");
    println!("a refresh takes {} bytes", packed.body.len());
    assert!(packed.body.len() < 5_000, "{} bytes", packed.body.len());
    let newest: Value = serde_json::from_slice(&unpacked(&packed)).expect("JSON");
    let now: Value = serde_json::from_slice(&client.get("/page/v1.json").body).expect("JSON");
    assert_eq!(newest["after"], whole["ticks"]);
    assert_eq!(newest["ingress"]["cities"], Value::Null);
    assert_eq!(newest["ingress"]["networks"], now["ingress"]["networks"]);
    let points = |view: &Value| view["ingress"]["flows"].as_array().expect("points").clone();
    assert_eq!(points(&newest), points(&now)[718..]);
    assert_eq!((points(&newest).len(), points(&now).len()), (2, 720));
    // a tick of another agent, and one of long ago
    for after in ["99999999", "1"] {
        let path = format!("/page/v1.json?after={after}");
        let view: Value = serde_json::from_slice(&client.get(&path).body).expect("JSON");
        assert_eq!((&view["after"], points(&view).len()), (&Value::Null, 720));
    }
}

#[test]
fn a_strange_query_is_a_plain_one() {
    let server = server();
    let mut client = server.client();
    let plain = client.get("/page/v1.json").body;
    for query in [
        "?",
        "?ifindex=-1",
        "?ifindex=99999999999999",
        "?window=%00&side=%3Cb%3E&&&=&x=y",
        "?side=far&window=hour",
    ] {
        assert!(
            client.get(&format!("/page/v1.json{query}")).body == plain,
            "{query}"
        );
    }
}

#[test]
fn without_a_page_there_is_a_line_of_links() {
    let server = exporter("");
    let mut client = server.client();
    let reply = client.get("/");
    assert!(reply.body.len() < 1000);
    assert_eq!(client.get("/page/v1.json").status, 404);
}

/// What the page requests, in addition to what it has: see `refresh` and `askForLines` in its script.
const SHOWN: &str = "window=hour&side=far&points=packed&dir=ingress&rows=25&sort=mean";

/// The first load and each refresh are small, with few networks and with many, with each list and with a filter.
#[test]
fn each_view_is_small() {
    const GZIP: &str = "Accept-Encoding: gzip\r\n";
    for (networks, interfaces) in [(20, 6), (1000, 6), (20, 200)] {
        let mut router = Router::new(networks);
        router.add_interfaces(interfaces - 6);
        router.pass(2);
        let server = router.serve();
        let mut client = server.client();
        let document = client.get_with("/", GZIP).body.len();
        for view in [
            "table=networks&stack=networks",
            "table=networks&stack=family",
            "table=cities&stack=networks",
            "table=protocols&stack=networks&list=hosts",
            "table=protocols&stack=networks&list=prefixes",
            "table=protocols&stack=networks&list=services",
            "table=protocols&stack=none&list=networks&filter=far.asn.64500",
            "table=protocols&stack=none&list=hosts&filter=far.asn.64500",
            "table=protocols&stack=none&list=hosts&filter=far.host.192.0.2.1",
        ] {
            let path = format!("/page/v1.json?{SHOWN}&{view}");
            let first = client.get_with(&path, GZIP);
            let whole: Value = serde_json::from_slice(&unpacked(&first)).expect("JSON");
            router.tick();
            let mut path = format!("{path}&after={}", whole["ticks"]);
            if view.contains("list") {
                path += &format!("&seen={}", whole["talkers"]["end"]);
            }
            let refresh = client.get_with(&path, GZIP).body.len();
            let load = document + first.body.len();
            println!(
                "{networks} networks, {interfaces} interfaces, {view}: first load {load} bytes, refresh {refresh}"
            );
            // 200 busy interfaces have 4,000 figures
            let more = if interfaces == 6 { 0 } else { 10_000 };
            assert!(load <= 40_000 + 2 * more, "{view}: {load} bytes");
            assert!(refresh <= 5_000 + more, "{view}: {refresh} bytes");
        }
    }
}

/// A reader that shows 25 lines gets these, by the figure that sorts them.
#[test]
fn a_table_has_the_lines_that_are_shown() {
    let mut router = Router::new(60);
    router.pass(2);
    let server = router.serve();
    let mut client = server.client();
    let mut view = |query: &str| -> Value {
        serde_json::from_slice(&client.get(&format!("/page/v1.json?{query}")).body).expect("JSON")
    };
    let all = view("");
    let now = |row: &Value| row[1].as_f64().expect("a rate");
    let mut rates: Vec<_> = all["egress"]["networks"]
        .as_array()
        .unwrap()
        .iter()
        .map(now)
        .collect();
    rates.sort_by(|a, b| b.total_cmp(a));
    let some = view("table=networks&dir=egress&rows=25&sort=now");
    let shown: Vec<_> = some["egress"]["networks"]
        .as_array()
        .unwrap()
        .iter()
        .map(now)
        .collect();
    assert_eq!(shown, rates[..25]);
    assert_eq!(some["egress"]["lines"], 60);
    assert_eq!(some["ingress"]["networks"], Value::Null);
    assert_eq!(some["egress"]["cities"], Value::Null);
    assert_eq!(some["egress"]["total"], all["egress"]["total"]);
    let least = view("table=networks&dir=egress&rows=5&sort=now&asc=1");
    let shown: Vec<_> = least["egress"]["networks"]
        .as_array()
        .unwrap()
        .iter()
        .map(now)
        .collect();
    assert!(shown.iter().eq(rates[55..].iter().rev()), "{shown:?}");
    let hosts = view("list=hosts&dir=ingress&rows=25&sort=packets");
    assert_eq!(hosts["talkers"]["rows"].as_array().unwrap().len(), 25);
    assert_eq!(hosts["talkers"]["lines"], 250);
    // packed curves are those of the numbers
    let packed = view("stack=networks&points=packed");
    assert!(packed["ingress"]["rest"].is_string());
    assert_eq!(packed["ingress"]["families"], serde_json::json!([]));
    assert_eq!(packed["ingress"]["curves"].as_array().unwrap().len(), 10);
}
