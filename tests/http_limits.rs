// SPDX-License-Identifier: AGPL-3.0-only
//! The HTTP server with clients that are broken, slow, greedy or too many.

mod common;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use common::http::{Client, Running, SOON, eventually, exporter, is_closed, sized, start, text};
use hyper::Request;
use hyper::body::Bytes;
use rfm::http::{ClientAddress, HttpLimits, Server};
use rfm::sys::error_counters::{ErrorCounters, Subsystem};
use rfm::sys::threads::Threads;

const MS: Duration = Duration::from_millis(1);

#[test]
fn a_client_that_pipelines_waits_its_turn() {
    let pipelined = Arc::new(AtomicUsize::new(0));
    let count = pipelined.clone();
    let server = start(HttpLimits::default(), move |request, _| {
        if request.uri().path() == "/slow" {
            std::thread::sleep(10 * MS);
            count.fetch_add(1, Ordering::SeqCst);
        }
        text(count.load(Ordering::SeqCst).to_string())
    });
    let mut client = server.client();
    assert_eq!(client.get("/").body, b"0");
    let mut greedy = server.client();
    greedy.send(&"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n".repeat(100));
    assert_eq!(greedy.reply().body, b"1");
    for _ in 0..3 {
        let before = pipelined.load(Ordering::SeqCst);
        let reply = String::from_utf8(client.get("/").body).unwrap();
        let waited = reply.parse::<usize>().unwrap() - before;
        // One that was under way and one of the next turn; the rest is for a busy machine.
        assert!(waited < 8, "behind {waited} requests of another client");
    }
}

#[test]
fn garbage_is_refused_and_counted_once_each() {
    let server = start(HttpLimits::default(), sized);
    let garbage: [&[u8]; 5] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /1 HTTP/1.1\r\nA\0: b\r\n\r\n",
        b"POST /1 HTTP/1.1\r\nContent-Length: 1x\r\n\r\n",
    ];
    for (i, bytes) in garbage.iter().enumerate() {
        let mut client = server.client();
        client.stream.write_all(bytes).unwrap();
        assert_eq!(client.reply().status, 400);
        assert!(is_closed(&client.stream, SOON));
        eventually(SOON, || server.errors() == i as u64 + 1);
    }
    for other in Subsystem::ALL {
        let expected = if other == Subsystem::Http {
            garbage.len()
        } else {
            0
        };
        assert_eq!(server.errors.get(other), expected as u64);
    }
}

#[test]
fn mangled_requests_end_at_worst_their_own_connection() {
    let server = exporter("rfm_up 1\n");
    let valid = b"POST /metrics?a=b HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip;q=0.5, *\r\n\
        Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n3\r\nabc\r\n0\r\n\r\n\
        GET / HTTP/1.0\r\nContent-Length: 2\r\n\r\nhi";
    // xorshift: the same requests in every run.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    for _ in 0..500 {
        let mut bytes = valid.to_vec();
        for _ in 0..=random(4) {
            let at = random(bytes.len());
            match random(3) {
                0 => bytes[at] = random(256) as u8,
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, b"\r\n \0:;,"[random(7)]),
            }
        }
        let mut client = server.client();
        let _ = client.stream.write_all(&bytes);
        let _ = client.stream.shutdown(Shutdown::Write);
        assert!(is_closed(&client.stream, SOON));
    }
    assert!(server.errors() > 0);
    assert_eq!(server.client().get("/metrics").body, b"rfm_up 1\n");
}

#[test]
fn a_header_above_the_limit_is_431_even_if_the_client_goes_on_sending() {
    let server = start(HttpLimits::default(), sized);
    for header in [
        format!("GET /1 HTTP/1.1\r\nA: {}\r\n\r\n", "a".repeat(200_000)),
        format!("GET /1 HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(200)),
    ] {
        let mut client = server.client();
        client.send(&header);
        assert_eq!(client.reply().status, 431);
        assert!(is_closed(&client.stream, SOON));
    }
    let mut client = server.client();
    let reply = client.get_with("/1", &format!("A: {}\r\n", "a".repeat(15_000)));
    assert_eq!(reply.status, 200);
    eventually(SOON, || server.errors() == 2);
}

#[test]
fn a_refused_client_may_finish_sending() {
    let server = start(HttpLimits::default(), sized);
    let mut client = server.client();
    client.send(&format!("GET /1 HTTP/1.1\r\nA: {}", "a".repeat(20_000)));
    assert_eq!(client.reply().status, 431);
    for _ in 0..100 {
        // A reset would make this fail, and elsewhere take the answer away from the client.
        client.stream.write_all(&[b'a'; 1_000]).unwrap();
        std::thread::sleep(MS);
    }
    let begin = Instant::now();
    while client.stream.write_all(&[b'a'; 10_000]).is_ok() {
        assert!(begin.elapsed() < SOON, "but not go on for ever");
    }
    eventually(SOON, || server.errors() == 1);
}

#[test]
fn a_dripped_header_is_cut_in_time() {
    let limits = HttpLimits {
        request: 400 * MS,
        ..HttpLimits::default()
    };
    let server = start(limits, sized);
    let mut client = server.client();
    let begin = Instant::now();
    for byte in "GET /1 HTTP/1.1\r\nHost: abcdefghijklmnopqrstuvwxyz\r\n"
        .bytes()
        .cycle()
    {
        if client.stream.write_all(&[byte]).is_err() || is_closed(&client.stream, 20 * MS) {
            break;
        }
        assert!(begin.elapsed() < SOON);
    }
    assert!(begin.elapsed() >= limits.request);
    assert_eq!(server.errors(), 1);
}

#[test]
fn a_client_that_says_nothing_is_closed() {
    let limits = HttpLimits {
        request: 100 * MS,
        idle: 300 * MS,
        ..HttpLimits::default()
    };
    let server = start(limits, sized);
    let silent = server.client();
    assert!(is_closed(&silent.stream, SOON));
    assert_eq!(server.errors(), 0, "browsers open connections in advance");

    let mut kept = server.client();
    assert_eq!(kept.get("/1").status, 200);
    assert!(!is_closed(&kept.stream, 150 * MS));
    assert_eq!(kept.get("/1").status, 200);
    assert!(is_closed(&kept.stream, SOON));
    assert_eq!(server.errors(), 0, "idling is no error");
}

#[test]
fn half_a_request_and_then_the_end_is_counted() {
    let server = start(HttpLimits::default(), sized);
    let client = server.client();
    (&client.stream).write_all(b"GET /1 HT").unwrap();
    client.stream.shutdown(Shutdown::Write).unwrap();
    eventually(SOON, || server.errors() == 1);
    drop(server.client());
    assert_eq!(server.client().get("/1").status, 200);
    assert_eq!(
        server.errors(),
        1,
        "a connection without a byte is no error"
    );
}

#[test]
fn a_stalled_reader_is_cut_and_holds_up_nobody() {
    let limits = HttpLimits {
        stalled_write: 500 * MS,
        ..HttpLimits::default()
    };
    let server = start(limits, sized);
    let mut stalled = server.client();
    stalled.send("GET /30000000 HTTP/1.1\r\nHost: x\r\n\r\n");
    let begin = Instant::now();
    let mut client = server.client();
    while server.errors() == 0 {
        assert_eq!(client.get("/1000").status, 200);
        assert!(begin.elapsed() < SOON);
    }
    assert!(begin.elapsed() >= limits.stalled_write);
    let mut taken = Vec::new();
    let _ = stalled.stream.read_to_end(&mut taken);
    assert!(taken.len() < 30_000_000, "{}", taken.len());
    assert_eq!(server.errors(), 1);
}

#[test]
fn a_sipping_reader_is_cut_in_the_end() {
    let limits = HttpLimits {
        stalled_write: 60 * 1000 * MS,
        response: 500 * MS,
        ..HttpLimits::default()
    };
    let server = start(limits, sized);
    let mut client = server.client();
    client.send("GET /100000000 HTTP/1.1\r\nHost: x\r\n\r\n");
    let mut sip = vec![0; 200_000];
    let begin = Instant::now();
    while server.errors() == 0 {
        client.stream.read_exact(&mut sip).unwrap();
        std::thread::sleep(20 * MS);
        assert!(begin.elapsed() < SOON);
    }
    assert!(begin.elapsed() >= limits.response);
}

#[test]
fn responses_not_taken_are_bounded_in_memory() {
    let limits = HttpLimits {
        response_memory: 70_000_000,
        ..HttpLimits::default()
    };
    let server = start(limits, sized);
    let mut clients: Vec<Client> = (0..3).map(|_| server.client()).collect();
    for client in &mut clients {
        client.send("GET /30000000 HTTP/1.1\r\nHost: x\r\n\r\n");
        std::thread::sleep(50 * MS);
    }
    eventually(SOON, || server.errors() == 1);
    let mut taken = Vec::new();
    let _ = clients[0].stream.read_to_end(&mut taken);
    assert!(taken.len() < 30_000_000, "the oldest goes");
    for client in &mut clients[1..] {
        assert_eq!(client.reply().body.len(), 30_000_000);
    }
    // One response may be larger than the limit.
    assert_eq!(server.client().get("/80000000").body.len(), 80_000_000);
    assert_eq!(server.errors(), 1);
}

#[test]
fn a_thousand_connections_do_not_keep_a_good_client_out() {
    common::http::raise_descriptor_limit(2_500);
    let server = start(HttpLimits::default(), sized);
    let address = server.address;
    let (done, finished) = mpsc::channel::<()>();
    let flood = std::thread::spawn(move || {
        let mut crowd = Vec::new();
        for i in 0..1_000 {
            let mut stream = TcpStream::connect(address).unwrap();
            if i % 2 == 0 {
                // A peer that was closed already may answer with a reset.
                let _ = stream.write_all(b"GET /1 HTTP/1.1\r\nHo");
            }
            crowd.push(stream);
        }
        // Held open until the good client has had enough.
        let _ = finished.recv();
    });
    // whoever is kept from speaking by the scheduler, while a limit's worth of others come, is himself the one
    // idle longest and comes again
    let (mut answers, mut turned_away) = (0, 0);
    while answers < 200 || server.errors() < 900 {
        let mut client = server.client();
        client.send("GET /10 HTTP/1.1\r\nHost: x\r\n\r\n");
        match client.is_answered() {
            true => {
                assert_eq!(client.reply().body.len(), 10);
                answers += 1;
            }
            false => turned_away += 1,
        }
        assert!(answers < 100_000);
        assert!(
            turned_away <= 10,
            "{turned_away} turned away, {answers} served"
        );
    }
    drop(done);
    flood.join().unwrap();
    assert_eq!(server.client().get("/10").body.len(), 10);
}

#[test]
fn at_the_limit_the_one_idle_longest_makes_room() {
    let limits = HttpLimits {
        connections: 2,
        ..HttpLimits::default()
    };
    let server = start(limits, sized);
    let (mut first, mut second) = (server.client(), server.client());
    assert_eq!(first.get("/1").status, 200);
    assert_eq!(second.get("/1").status, 200);
    assert_eq!(first.get("/1").status, 200);
    let mut third = server.client();
    assert_eq!(third.get("/1").status, 200);
    assert!(is_closed(&second.stream, SOON));
    assert_eq!(first.get("/1").status, 200);
    assert_eq!(third.get("/1").status, 200);
    assert_eq!(server.errors(), 1);
}

#[test]
fn who_is_not_allowed_gets_not_a_byte() {
    let errors = Arc::new(ErrorCounters::default());
    let server = Server::bind("::", 0, errors.clone())
        .unwrap()
        .allow(|ip| ip.is_ipv6());
    let server = Running::new(server, errors, sized);
    let port = server.address.port();
    let mut refused = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let _ = refused.write_all(b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\n");
    let mut answer = Vec::new();
    let _ = refused.read_to_end(&mut answer);
    assert!(answer.is_empty());
    assert_eq!(server.errors(), 1);
    let mut welcome = Client::new(TcpStream::connect(("::1", port)).unwrap());
    assert_eq!(welcome.get("/1").status, 200);
    assert_eq!(server.errors(), 1);
}

#[test]
fn who_is_no_longer_allowed_loses_a_connection_that_is_kept() {
    let errors = Arc::new(ErrorCounters::default());
    let allowed = Arc::new(AtomicBool::new(true));
    let list = allowed.clone();
    let server = Server::bind("127.0.0.1", 0, errors.clone())
        .unwrap()
        .allow(move |_| list.load(Ordering::SeqCst));
    let server = Running::new(server, errors, sized);
    let mut client = server.client();
    assert_eq!(client.get("/1").status, 200);
    allowed.store(false, Ordering::SeqCst);
    let reply = client.get("/1");
    assert_eq!((reply.status, &reply.body[..]), (403, &b"Forbidden\n"[..]));
    assert!(is_closed(&client.stream, SOON));
    assert_eq!(server.errors(), 1);
}

#[test]
fn a_request_without_one_valid_host_is_400() {
    let server = start(HttpLimits::default(), sized);
    let ask = |head: &str| {
        let mut client = server.client();
        client.send(&format!("{head}\r\n"));
        let status = client.reply().status;
        (status, status == 200 || is_closed(&client.stream, SOON))
    };
    let get = "GET /1 HTTP/1.1\r\n";
    for bad in [
        "",
        "Host: a\r\nHost: a\r\n",
        "Host: a\r\nhost: b\r\n",
        "Host: a b\r\n",
        "Host: a/b\r\n",
        "Host: u@a\r\n",
        "Host: a:b\r\n",
        "Host: ::1\r\n",
        "Host: [::1\r\n",
        "Host: \u{e4}\r\n",
    ] {
        assert_eq!(ask(&format!("{get}{bad}")), (400, true), "{bad:?}");
    }
    assert_eq!(server.errors(), 10);
    for good in ["Host:\r\n", "Host: a\r\n", "Host: [::1]:9669\r\n"] {
        assert_eq!(ask(&format!("{get}{good}")), (200, true), "{good:?}");
    }
    // a body is not waited for
    assert_eq!(
        ask("POST /1 HTTP/1.1\r\nContent-Length: 9\r\n"),
        (400, true)
    );
    assert_eq!(ask("GET /1 HTTP/1.0\r\n"), (200, true));
    assert_eq!(
        ask("GET /1 HTTP/1.0\r\nHost: a\r\nHost: b\r\n"),
        (400, true)
    );
}

#[test]
fn bodies_are_bounded() {
    let length =
        |request: Request<Bytes>, _: ClientAddress<'_>| text(request.body().len().to_string());
    let server = start(HttpLimits::default(), length);
    let limit = HttpLimits::default().body_bytes;

    let mut client = server.client();
    client.send(&format!(
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {limit}\r\n\r\n"
    ));
    client.send(&"b".repeat(limit));
    assert_eq!(client.reply().body, limit.to_string().as_bytes());
    client.send(
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    );
    assert_eq!(client.reply().body, b"3");
    assert_eq!(server.errors(), 0);

    client.send(&format!(
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
        limit + 1
    ));
    assert_eq!(client.reply().status, 413);
    assert!(is_closed(&client.stream, SOON));
    assert_eq!(server.errors(), 1);

    let mut client = server.client();
    client.send("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send(&format!("20000\r\n{}\r\n0\r\n\r\n", "b".repeat(0x20000)));
    assert_eq!(client.reply().status, 413);
    assert_eq!(server.errors(), 2);

    let mut client = server.client();
    client.send("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n");
    assert_eq!(client.reply().status, 400);
    assert_eq!(server.errors(), 3);
}

#[test]
fn a_dripped_body_is_cut_in_time() {
    let limits = HttpLimits {
        request: 300 * MS,
        ..HttpLimits::default()
    };
    let server = start(limits, sized);
    let mut client = server.client();
    client.send("POST /1 HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nab");
    assert!(is_closed(&client.stream, SOON));
    assert_eq!(server.errors(), 1);
}

#[test]
fn waiting_takes_no_time_of_the_processor() {
    let errors = Arc::new(ErrorCounters::default());
    let server = Server::bind("127.0.0.1", 0, errors).unwrap();
    let address = server.addresses()[0];
    let (cpu, spent) = mpsc::channel();
    let threads = Threads::new();
    threads
        .spawn("http", move |heartbeat| {
            server.run(&heartbeat, sized);
            let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
            cpu.send(Duration::try_from(time).unwrap()).unwrap();
        })
        .unwrap();
    let client = || {
        let client = Client::new(TcpStream::connect(address).unwrap());
        // The server shall wait for the request, and then for more than it is interested in.
        std::thread::sleep(50 * MS);
        client
    };
    let mut idle = client();
    assert_eq!(idle.get("/1").status, 200);
    // Stalled; half closed besides; still sending besides.
    let request = "GET /30000000 HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut stalled = client();
    stalled.send(request);
    let mut half_closed = client();
    half_closed.send(request);
    half_closed.stream.shutdown(Shutdown::Write).unwrap();
    let mut sending = client();
    for _ in 0..100 {
        sending.send(request);
        std::thread::sleep(MS);
    }
    let mut partial = client();
    partial.send("GET /");
    std::thread::sleep(2_000 * MS);
    threads.stop("http");
    let spent = spent.recv().unwrap();
    assert!(spent < 300 * MS, "{spent:?} in two seconds of waiting");
}
