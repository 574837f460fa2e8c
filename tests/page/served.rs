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
