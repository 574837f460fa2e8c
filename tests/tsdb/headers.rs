// SPDX-License-Identifier: AGPL-3.0-only
//! The header fields that scrapers send: rfm recognises them by one, and by their connection.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::common::lab::{Lab, Namespace, wait_for};
use crate::common::traffic::meanwhile;
use crate::engine::{Engine, Kind, Spec, can_run_all, with_collector};

/// A port for each program, so that each request has a known sender.
const FIRST_PORT: u16 = 9700;

const BODY: &str = "# HELP a_total A counter.\n# TYPE a_total counter\na_total 1\n";

/// The field by which rfm recognises a scraper.
const SCRAPER: &str = "x-prometheus-scrape-timeout-seconds";

/// A request: the number of its connection, and its fields, names in lower case.
type Request = (usize, Fields);
type Fields = BTreeMap<String, String>;

#[derive(Default)]
struct Recorder(Mutex<Vec<Request>>);

impl Recorder {
    fn requests(&self) -> Vec<Request> {
        let requests = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        requests.clone()
    }

    /// Answers every request on the port until told to stop.
    fn serve(&self, namespace: &Namespace, port: u16, stop: &AtomicBool) {
        let listener = namespace.inside(|| TcpListener::bind(("127.0.0.1", port)));
        let listener = listener.expect("a free port");
        listener.set_nonblocking(true).expect("a socket");
        let mut connections: Vec<(TcpStream, String)> = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            if let Ok((stream, _)) = listener.accept() {
                stream.set_nonblocking(true).expect("a socket");
                connections.push((stream, String::new()));
            }
            for (number, (stream, received)) in connections.iter_mut().enumerate() {
                if let Some(fields) = receive(stream, received) {
                    let reply = format!(
                        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n\
                         Content-Length: {}\r\n\r\n{BODY}",
                        BODY.len()
                    );
                    stream.write_all(reply.as_bytes()).expect("a small reply");
                    let mut requests = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                    requests.push((number, fields));
                }
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// The fields of a request, once it is complete.
fn receive(stream: &mut TcpStream, received: &mut String) -> Option<Fields> {
    let mut bytes = [0; 4096];
    match stream.read(&mut bytes) {
        Ok(length) => received.push_str(&String::from_utf8_lossy(&bytes[..length])),
        Err(e) => assert!(
            matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::ConnectionReset),
            "{e}"
        ),
    }
    let (head, rest) = received.split_once("\r\n\r\n")?;
    let fields = head.lines().filter_map(|line| line.split_once(": "));
    let fields = fields.map(|(name, value)| (name.to_lowercase(), value.to_owned()));
    let fields = fields.collect();
    *received = rest.to_owned();
    Some(fields)
}

/// Each scraper sends the field, asks for gzip, and keeps its connection open.
#[test]
fn scrapers_send_what_rfm_expects_of_them() {
    let mut programs = vec![
        (Kind::Prometheus2, "Prometheus/2."),
        (Kind::Prometheus3, "Prometheus/3."),
        (Kind::VictoriaMetrics, "vm_promscrape"),
        (Kind::Vmagent, "vm_promscrape"),
    ];
    if with_collector() {
        programs.push((Kind::Collector, "collector/"));
    }
    if !can_run_all(programs.iter().map(|(kind, _)| *kind)) {
        return;
    }
    for (at, (kind, agent)) in programs.into_iter().enumerate() {
        let lab = Lab::new();
        let namespace = lab.namespace("h");
        let (recorder, port) = (Recorder::default(), FIRST_PORT + at as u16);
        let spec = Spec {
            target: port,
            // nothing listens there
            store: Some(port + 50),
            ..Spec::new("rfm", kind, 19090)
        };
        let requests = meanwhile(&[&|stop| recorder.serve(&namespace, port, stop)], || {
            let _scraper = Engine::launch(&lab, &namespace, spec);
            let enough = || recorder.requests().len() >= 4;
            assert!(wait_for(Duration::from_secs(60), enough), "{kind:?}");
            recorder.requests()
        });
        println!("{kind:?}: {:#?}", requests[0].1);
        for (connection, fields) in &requests {
            let of = |name: &str| fields.get(name).map(String::as_str).unwrap_or_default();
            assert_eq!(*connection, 0, "{kind:?} opens connections");
            assert!(of("user-agent").starts_with(agent), "{fields:?}");
            assert_eq!(of("accept-encoding"), "gzip", "{kind:?}");
            assert_eq!(of(SCRAPER).parse(), Ok(1.0), "{kind:?}: {fields:?}");
        }
    }
}
