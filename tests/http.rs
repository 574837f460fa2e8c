// SPDX-License-Identifier: AGPL-3.0-only
//! The HTTP server and the exporter's routes with clients that mean well.

mod common;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use common::http::{
    Client, Reply, Running, SOON, eventually, exporter, is_closed, sized, start, text,
};
use hyper::body::Bytes;
use hyper::{Request, StatusCode};
use rfm::http::deferred::{Deferrer, HandlerReply};
use rfm::http::{ClientAddress, HttpLimits, Server, respond};
use rfm::page::routes::Routes;
use rfm::sys::error_counters::{ErrorCounters, Subsystem};
use rfm::sys::threads::Threads;
use rfm::types::problem::{Problem, ProblemKind};

#[test]
fn a_connection_is_kept_for_many_requests() {
    let server = start(HttpLimits::default(), sized);
    let mut client = server.client();
    for n in [1, 100_000, 0, 7] {
        let reply = client.get(&format!("/{n}"));
        assert_eq!((reply.status, reply.body.len()), (200, n));
    }
    assert_eq!(server.errors(), 0);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = start(HttpLimits::default(), sized);
    let mut client = server.client();
    let requests: String = (0..500)
        .map(|n| format!("GET /{n} HTTP/1.1\r\nHost: x\r\n\r\n"))
        .collect();
    client.send(&requests);
    for n in 0..500 {
        assert_eq!(client.reply().body.len(), n);
    }
    assert_eq!(server.errors(), 0);
}

#[test]
fn http_1_0_is_answered_and_closed_unless_it_asks_otherwise() {
    let server = start(HttpLimits::default(), sized);
    let mut client = server.client();
    client.send("GET /5 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_eq!(client.reply().body, b"xxxxx");
    client.send("GET /4 HTTP/1.0\r\n\r\n");
    assert_eq!(client.reply().body, b"xxxx");
    assert!(is_closed(&client.stream, SOON));
    assert_eq!(server.errors(), 0);
}

#[test]
fn head_has_the_header_of_get_and_no_body() {
    let server = exporter("rfm_up 1\n");
    let mut client = server.client();
    for path in ["/metrics", "/healthz", "/", "/nothing"] {
        let get = client.get(path);
        client.send(&format!("HEAD {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
        let head = client.head_reply();
        let without_date = |reply: &Reply| {
            let lines = reply.head.lines().filter(|l| !l.starts_with("date:"));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(without_date(&head), without_date(&get));
        assert_eq!(
            get.header("content-length"),
            Some(get.body.len().to_string().as_str())
        );
    }
    assert_eq!(server.errors(), 0);
}

/// Fields of requests, and the content types of the answers.
const FORMATS: [(&str, &str); 5] = [
    ("", "text/plain; version=0.0.4; charset=utf-8"),
    (
        "Accept: application/json\r\n",
        "text/plain; version=0.0.4; charset=utf-8",
    ),
    (
        "Accept: text/plain;version=1.0.0;escaping=allow-utf-8;q=0.5\r\nAccept: */*;q=0.1\r\n",
        "text/plain; version=1.0.0; charset=utf-8; escaping=allow-utf-8",
    ),
    (
        "Accept: application/openmetrics-text;version=1.0.0\r\n",
        "application/openmetrics-text; version=1.0.0; charset=utf-8",
    ),
    (
        "Accept: application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited\r\n",
        "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited",
    ),
];

#[test]
fn metrics_have_the_format_that_is_preferred() {
    let text: &'static str = "rfm_up 1\n".repeat(1000).leak();
    let server = exporter(text);
    let mut client = server.client();
    for (accept, content_type) in FORMATS {
        let reply = client.get_with("/metrics?name[]=x", accept);
        assert_eq!(reply.status, 200);
        assert!(reply.body == text.as_bytes());
        assert_eq!(reply.header("content-type"), Some(content_type));
        assert_eq!(reply.header("content-encoding"), None);
        assert_eq!(reply.header("vary"), Some("Accept, Accept-Encoding"));
        let packed = client.get_with("/metrics", &format!("{accept}Accept-Encoding: gzip\r\n"));
        assert_eq!(packed.header("content-type"), Some(content_type));
        assert_eq!(packed.header("content-encoding"), Some("gzip"));
        assert!(packed.body.len() < text.len() / 2);
    }
}

#[test]
fn times_of_creation_are_series_only_if_requested() {
    let routes = Routes::new(
        |request, out| {
            let format = (request.format)(true);
            out.extend_from_slice(format!("{format:?}").as_bytes());
            Ok(format)
        },
        || Ok(()),
        || Ok(Vec::new()),
    );
    let server = start(HttpLimits::default(), move |request, _| {
        routes.answer(&request)
    });
    let mut client = server.client();
    let [_, _, _, (openmetrics, _), (protobuf, _)] = FORMATS;
    for (path, accept, expected) in [
        ("/metrics", openmetrics, "OpenMetrics { created: false }"),
        (
            "/metrics?created=0",
            openmetrics,
            "OpenMetrics { created: false }",
        ),
        (
            "/metrics?a&created=1",
            openmetrics,
            "OpenMetrics { created: true }",
        ),
        ("/metrics?created=1", protobuf, "Protobuf"),
        ("/metrics?created=1", "", "TextV0"),
    ] {
        let reply = client.get_with(path, accept);
        assert_eq!(String::from_utf8_lossy(&reply.body), expected, "{path}");
    }
}

#[test]
fn gzip_comes_when_asked_for() {
    let text: &'static str = "rfm_interface_rx_bytes_total{ifname=\"eth0\"} 1\n"
        .repeat(50_000)
        .leak();
    let server = exporter(text);
    let mut client = server.client();
    let reply = client.get_with("/metrics", "Accept-Encoding: deflate, gzip;q=0.7\r\n");
    assert_eq!(reply.header("content-encoding"), Some("gzip"));
    assert_eq!(reply.header("vary"), Some("Accept, Accept-Encoding"));
    let mut unpacked = String::new();
    flate2::read::GzDecoder::new(&reply.body[..])
        .read_to_string(&mut unpacked)
        .unwrap();
    assert!(unpacked == text);
    let reply = client.get_with("/metrics", "Accept-Encoding: gzip;q=0\r\n");
    assert_eq!(reply.header("content-encoding"), None);
    assert!(reply.body == text.as_bytes());
}

#[test]
fn other_paths_and_methods_are_refused_without_an_echo() {
    let server = exporter("");
    let mut client = server.client();
    let reply = client.get("/%3Cscript%3Ealert(1)?echo=%3Cb%3E");
    assert_eq!((reply.status, &reply.body[..]), (404, &b"Not Found\n"[..]));
    for method in ["POST", "DELETE", "OPTIONS", "SPAM"] {
        client.send(&format!("{method} /metrics HTTP/1.1\r\nHost: x\r\n\r\n"));
        let reply = client.reply();
        assert_eq!(reply.status, 405);
        assert_eq!(reply.header("allow"), Some("GET, HEAD"));
        assert!(!reply.head.contains(method) && !reply.body.starts_with(method.as_bytes()));
    }
    assert_eq!(
        client.get("/").header("x-content-type-options"),
        Some("nosniff")
    );
    assert_eq!(server.errors(), 0);
}

#[test]
fn what_is_wrong_is_told_with_503() {
    let routes = Routes::new(
        |_, _| Err("no snapshot".into()),
        || Err(vec!["thread ring: stuck".into(), "eth\n0: lost".into()]),
        || {
            Ok(vec![Problem::new(
                ProblemKind::BmpSessionLost,
                "no session with a\nb",
            )])
        },
    );
    let server = start(HttpLimits::default(), move |request, _| {
        routes.answer(&request)
    });
    let mut client = server.client();
    let reply = client.get("/healthz");
    assert_eq!(reply.status, 503);
    assert_eq!(reply.body, b"thread ring: stuck\neth\\n0: lost\n");
    let reply = client.get("/healthz?verbose");
    assert_eq!(reply.status, 503);
    let body = String::from_utf8(reply.body).unwrap();
    let lines: Vec<_> = body.lines().collect();
    assert_eq!(
        lines[..2],
        ["1 problem", "bmp_session_lost: no session with a\\nb"]
    );
    assert!(lines[2].starts_with("    check the BMP station"), "{body}");
    let reply = client.get("/metrics");
    assert_eq!(
        (reply.status, &reply.body[..]),
        (503, &b"no snapshot\n"[..])
    );
}

#[test]
fn a_client_that_is_done_asking_gets_the_whole_answer() {
    let server = start(HttpLimits::default(), sized);
    let mut client = server.client();
    client.send("GET /20000000 HTTP/1.1\r\nHost: x\r\n\r\n");
    client.stream.shutdown(Shutdown::Write).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(client.reply().body.len(), 20_000_000);
    assert!(is_closed(&client.stream, SOON));
    assert_eq!(server.errors(), 0);
}

#[test]
fn a_panic_costs_one_response_and_is_counted() {
    let server = start(HttpLimits::default(), sized);
    let mut client = server.client();
    assert_eq!(client.get("/no-number").status, 500);
    assert_eq!(server.errors(), 1);
    assert_eq!(client.get("/1").status, 200);
    assert_eq!(server.errors(), 1);
}

#[test]
fn a_stop_ends_the_thread_at_once_and_a_response_under_way_arrives() {
    let server = start(HttpLimits::default(), sized);
    let mut idle = server.client();
    assert_eq!(idle.get("/1").status, 200);
    let mut stalled = server.client();
    stalled.send("GET /50000000 HTTP/1.1\r\nHost: x\r\n\r\n");
    let mut dripping = server.client();
    dripping.send("GET /1 HT");
    let mut reading = server.client();
    reading.send("GET /20000000 HTTP/1.1\r\nHost: x\r\n\r\n");
    let mut first = [0; 1];
    reading.stream.read_exact(&mut first).unwrap();
    let rest = std::thread::spawn(move || {
        let mut rest = Vec::new();
        reading.stream.read_to_end(&mut rest).unwrap();
        rest.len()
    });
    let begin = Instant::now();
    server.stop();
    assert!(
        begin.elapsed() < Duration::from_secs(1),
        "{:?}",
        begin.elapsed()
    );
    assert!(rest.join().unwrap() > 20_000_000);
    assert!(is_closed(&idle.stream, SOON));
    assert!(TcpStream::connect(server.address).is_err());
}

#[test]
fn a_stop_is_noticed_by_an_idle_thread() {
    let server = start(HttpLimits::default(), sized);
    let begin = Instant::now();
    server.stop();
    assert!(begin.elapsed() < Duration::from_secs(1));
}

#[test]
fn a_unix_socket_tells_who_asks() {
    let path = std::env::temp_dir().join(format!("rfm-http-{}.sock", std::process::id()));
    let listener = UnixListener::bind(&path).unwrap();
    let errors = Arc::new(ErrorCounters::default());
    let server = Server::unix(listener, errors.clone()).unwrap();
    let threads = Threads::new();
    threads
        .spawn("control", move |heartbeat| {
            server.run(&heartbeat, |request, peer| match peer {
                ClientAddress::Unix(fd) => {
                    let who = rustix::net::sockopt::socket_peercred(fd).unwrap();
                    text(format!("{} {}", who.uid.as_raw(), request.uri().path()))
                }
                ClientAddress::Tcp(_) => respond::status(StatusCode::FORBIDDEN),
            });
        })
        .unwrap();
    let mut stream = UnixStream::connect(&path).unwrap();
    stream
        .write_all(b"GET /status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let expected = format!("\r\n\r\n{} /status", rustix::process::getuid().as_raw());
    assert!(answer.ends_with(&expected), "{answer}");

    let mut stream = UnixStream::connect(&path).unwrap();
    stream.write_all(b"\0\0\r\n\r\n").unwrap();
    eventually(SOON, || errors.get(Subsystem::Control) == 1);
    assert_eq!(errors.get(Subsystem::Http), 0);
    threads.stop("control");
    std::fs::remove_file(&path).unwrap();
}

/// A server whose metrics are the time since which series are 0, and a clock for it.
fn scraped(limits: HttpLimits) -> (Running, Arc<AtomicU64>) {
    let clock = Arc::new(AtomicU64::new(1_000_000));
    let now = clock.clone();
    let routes = Routes::new(
        move |request, out| {
            let since = (request.zero_since)(now.load(Ordering::Relaxed));
            out.extend_from_slice(format!("{since:?}").as_bytes());
            Ok((request.format)(false))
        },
        || Ok(()),
        || Ok(Vec::new()),
    );
    let server = start(limits, move |request, _| routes.answer(&request));
    (server, clock)
}

const SCRAPER: &str = "User-Agent: Prometheus/2.42.0\r\nX-Prometheus-Scrape-Timeout-Seconds: 1\r\n";

/// Scrapes one second later, and returns the time since which series are 0.
fn scrape(client: &mut Client, clock: &AtomicU64, fields: &str) -> String {
    clock.fetch_add(1000, Ordering::Relaxed);
    String::from_utf8(client.get_with("/metrics", fields).body).unwrap()
}

#[test]
fn each_scraper_gets_the_series_since_its_last_scrape_as_zero() {
    let (server, clock) = scraped(HttpLimits::default());
    let mut first = server.client();
    assert_eq!(scrape(&mut first, &clock, SCRAPER), "Some(881000)");
    assert_eq!(scrape(&mut first, &clock, SCRAPER), "Some(1001000)");
    let mut second = server.client();
    assert_eq!(
        scrape(&mut second, &clock, SCRAPER),
        "Some(1001000)",
        "it may be the first one, which has lost its connection"
    );
    assert_eq!(scrape(&mut first, &clock, SCRAPER), "Some(1002000)");
    assert_eq!(scrape(&mut first, &clock, ""), "None", "no scraper");
    std::thread::sleep(Duration::from_millis(1100));
    drop(first);
    std::thread::sleep(Duration::from_millis(100));
    let mut third = server.client();
    assert_eq!(scrape(&mut third, &clock, SCRAPER), "Some(1004000)");
    assert_eq!(scrape(&mut second, &clock, SCRAPER), "Some(1003000)");
    assert_eq!(server.errors(), 0);
}

#[test]
fn scrapers_that_close_after_each_scrape_are_recognized() {
    let (server, clock) = scraped(HttpLimits::default());
    let fields = format!("{SCRAPER}Connection: close\r\n");
    assert_eq!(
        scrape(&mut server.client(), &clock, &fields),
        "Some(881000)"
    );
    for n in 1..5 {
        let since = scrape(&mut server.client(), &clock, &fields);
        assert_eq!(since, format!("Some({})", 1_000_000 + n * 1000));
    }
}

/// A scraper whose time limit ends closes the connection and discards the response.
#[test]
fn a_response_that_a_scraper_discards_does_not_count() {
    let (server, clock) = scraped(HttpLimits::default());
    let request = format!("GET /metrics HTTP/1.1\r\nHost: x\r\n{SCRAPER}\r\n");
    let mut first = server.client();
    assert_eq!(scrape(&mut first, &clock, SCRAPER), "Some(881000)");
    assert_eq!(scrape(&mut first, &clock, SCRAPER), "Some(1001000)");
    std::thread::sleep(Duration::from_millis(1100));
    drop(first);
    let mut hurried = server.client();
    clock.fetch_add(1000, Ordering::Relaxed);
    hurried.send(&request);
    // the response is there, and stays unread
    assert_eq!(hurried.stream.peek(&mut [0]).unwrap(), 1);
    drop(hurried);
    std::thread::sleep(Duration::from_millis(100));
    let mut next = server.client();
    assert_eq!(scrape(&mut next, &clock, SCRAPER), "Some(1002000)");
    assert_eq!(scrape(&mut next, &clock, SCRAPER), "Some(1004000)");
}

#[test]
fn connections_of_scrapers_are_kept_longer() {
    let (server, clock) = scraped(HttpLimits {
        idle: Duration::from_millis(200),
        ..HttpLimits::default()
    });
    let (mut scraper, mut other) = (server.client(), server.client());
    scrape(&mut scraper, &clock, SCRAPER);
    scrape(&mut other, &clock, "");
    assert!(is_closed(&other.stream, SOON));
    assert_eq!(scrape(&mut scraper, &clock, SCRAPER), "Some(1001000)");
}

/// A server whose replies to /later/ are made by another thread, each after a message of the test.
fn deferring() -> (Running, Threads, mpsc::Sender<()>) {
    let (deferrer, requests) = Deferrer::new().unwrap();
    let threads = Threads::new();
    threads
        .spawn("later", move |heartbeat| requests.run(&heartbeat))
        .unwrap();
    let errors = Arc::new(ErrorCounters::default());
    let server = Server::bind("127.0.0.1", 0, errors.clone())
        .unwrap()
        .deferrer(&deferrer);
    let (permit, permits) = mpsc::channel();
    let permits = Arc::new(Mutex::new(permits));
    let handler = move |request: Request<Bytes>, client: ClientAddress<'_>| {
        let Some(rest) = request.uri().path().strip_prefix("/later/") else {
            return sized(request, client).into();
        };
        let (rest, permits) = (rest.to_owned(), permits.clone());
        let later = deferrer.defer(move |_| {
            permits.lock().unwrap().recv_timeout(20 * SOON).unwrap();
            text(vec![b'x'; rest.parse().unwrap()])
        });
        later.unwrap_or_else(|| {
            HandlerReply::Ready(respond::status(StatusCode::SERVICE_UNAVAILABLE))
        })
    };
    (Running::new(server, errors, handler), threads, permit)
}

#[test]
fn a_reply_that_another_thread_makes_delays_no_other_client() {
    let (server, threads, permit) = deferring();
    let mut slow = server.client();
    slow.send("GET /later/70000 HTTP/1.1\r\nHost: x\r\n\r\n");
    let mut other = server.client();
    for n in 0..50 {
        assert_eq!(other.get(&format!("/{n}")).body.len(), n);
    }
    permit.send(()).unwrap();
    assert_eq!(slow.reply().body.len(), 70_000);
    // the connection is kept, also for requests that were sent before the reply
    slow.send(&"GET /later/3 HTTP/1.1\r\nHost: x\r\n\r\n".repeat(2));
    slow.send("GET /4 HTTP/1.1\r\nHost: x\r\n\r\n");
    permit.send(()).unwrap();
    permit.send(()).unwrap();
    for n in [3, 3, 4] {
        assert_eq!(slow.reply().body.len(), n);
    }
    assert_eq!(server.errors(), 0);
    threads.stop("later");
}

#[test]
fn a_later_reply_that_fails_is_an_error_and_too_many_are_refused() {
    let (server, threads, permit) = deferring();
    permit.send(()).unwrap();
    assert_eq!(server.client().get("/later/many").status, 500);
    assert_eq!(server.errors(), 1);
    // one is made and 16 wait
    let mut clients: Vec<_> = (0..40).map(|_| server.client()).collect();
    for client in &mut clients {
        client.send("GET /later/1 HTTP/1.1\r\nHost: x\r\n\r\n");
    }
    assert_eq!(clients.last_mut().unwrap().reply().status, 503);
    drop(permit);
    threads.stop("later");
}
