// SPDX-License-Identifier: AGPL-3.0-only
//! Certificates and the file change while clients read.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::certs::{Authority, P256, RSA};
use crate::common::http::{SOON, eventually, is_closed};
use crate::common::lab::{can_run, wait_for};
use crate::harness::{Folder, Secured, Trust, certificates};

const TLS: &str = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n";

/// Replaces the files of the server as `mv` does.
fn put_in_place(folder: &Folder, name: &str) {
    for end in ["crt", "key"] {
        let of = |name: &str| folder.path().join(format!("{name}.{end}"));
        fs::rename(of(name), of("server")).unwrap();
    }
}

#[test]
fn a_renewal_fails_no_request() {
    if !can_run(&["openssl"]) {
        return;
    }
    let folder = Folder::new();
    let authority = Authority::new(folder.path(), "ca");
    authority.issue("server", P256);
    let secured = Secured::start(&folder, TLS);
    let address = secured.address();
    let trust = Trust::new(&folder, "ca.crt", None);
    let (stop, requests) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for is_kept in [true, true, false, false] {
            let (trust, stop, requests) = (&trust, &stop, &requests);
            scope.spawn(move || {
                let mut kept = trust.connect(address).unwrap();
                while !stop.load(Ordering::Relaxed) {
                    let status = match is_kept {
                        true => kept.get("/metrics", "").map(|(status, _)| status),
                        false => trust.status(address, "/metrics", ""),
                    };
                    assert_eq!(status.unwrap(), 200);
                    requests.fetch_add(1, Ordering::Relaxed);
                    thread::sleep(Duration::from_millis(2));
                }
            });
        }
        let mut renewals = Ok(());
        for kind in [RSA, P256, RSA] {
            authority.issue("new", kind);
            let expected = certificates(&folder, "new.crt").remove(0);
            put_in_place(&folder, "new");
            let start = Instant::now();
            let served = wait_for(Duration::from_secs(5), || {
                let mut client = trust.connect(address).unwrap();
                let answered = client.get("/", "").is_ok();
                answered && client.peer() == expected.to_vec()
            });
            println!("served after {:?}", start.elapsed());
            if !served {
                renewals = Err("the new certificate is not served within 5 s");
                break;
            }
        }
        stop.store(true, Ordering::Relaxed);
        renewals.unwrap();
    });
    let requests = requests.load(Ordering::Relaxed);
    println!("{requests} requests");
    assert!(requests > 100, "{requests} requests: no test");
    assert_eq!(secured.status.problem(), None);
    assert_eq!(secured.server.errors(), 0);
}

#[test]
fn a_broken_file_keeps_the_previous_one_and_is_a_problem() {
    if !can_run(&["openssl"]) {
        return;
    }
    let folder = Folder::new();
    let authority = Authority::new(folder.path(), "ca");
    authority.issue("server", P256);
    authority.issue("other", P256);
    let secured = Secured::start(&folder, TLS);
    let trust = Trust::new(&folder, "ca.crt", None);
    let file = |name: &str| folder.path().join(name);
    let good = [folder.read("server.crt"), folder.read("server.key")];
    let broken: [(&str, &dyn Fn(), &str); 4] = [
        (
            "server.key",
            &|| fs::write(file("server.key"), folder.read("other.key")).unwrap(),
            "the key is not that of the certificate",
        ),
        (
            "server.crt",
            &|| fs::write(file("server.crt"), "nonsense").unwrap(),
            "no certificate in PEM",
        ),
        (
            "server.key",
            &|| fs::remove_file(file("server.key")).unwrap(),
            "no such file",
        ),
        (
            "web.yml",
            &|| fs::write(file("web.yml"), format!("{TLS}  min_version: TLS11\n")).unwrap(),
            "TLS below 1.2 is not supported",
        ),
    ];
    for (name, break_it, expected) in broken {
        break_it();
        eventually(SOON, || secured.status.problem().is_some());
        let problem = secured.status.problem().unwrap();
        assert!(
            problem.contains(name) && problem.contains(expected),
            "{problem}"
        );
        assert_eq!(trust.status(secured.address(), "/", "").unwrap(), 200);
        fs::write(file("server.crt"), &good[0]).unwrap();
        fs::write(file("server.key"), &good[1]).unwrap();
        fs::write(file("web.yml"), TLS).unwrap();
        eventually(SOON, || secured.status.problem().is_none());
    }
}

#[test]
fn clients_must_have_a_certificate_of_the_authority_in_effect() {
    if !can_run(&["openssl"]) {
        return;
    }
    let folder = Folder::new();
    let authority = Authority::new(folder.path(), "ca");
    authority.issue("server", P256);
    authority.issue("client", P256);
    let second = Authority::new(folder.path(), "second");
    second.issue("stranger", RSA);
    let file = |policy: &str| format!("{TLS}{policy}");
    let required = "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ";
    let secured = Secured::start(&folder, &file(&format!("{required}ca.crt\n")));
    let address = secured.address();
    let trust = |identity| Trust::new(&folder, "ca.crt", identity);
    let (nobody, client, stranger) = (trust(None), trust(Some("client")), trust(Some("stranger")));
    let status = |trust: &Trust| trust.status(address, "/", "").ok();
    assert_eq!(status(&client), Some(200));
    assert_eq!((status(&nobody), status(&stranger)), (None, None));
    // an open connection does not outlive the authority that admitted it
    let mut open = client.connect(address).unwrap();
    assert_eq!(open.get("/", "").unwrap().0, 200);
    folder.write("web.yml", &file(&format!("{required}second.crt\n")));
    eventually(SOON, || status(&stranger) == Some(200));
    assert!(open.get("/", "").is_err());
    assert_eq!((status(&nobody), status(&client)), (None, None));
    for (policy, expected) in [
        (
            "VerifyClientCertIfGiven\n  client_ca_file: ca.crt",
            [Some(200), Some(200), None],
        ),
        ("VerifyClientCertIfGiven", [Some(200), None, None]),
        ("RequireAnyClientCert", [None, Some(200), Some(200)]),
        ("RequestClientCert", [Some(200), Some(200), Some(200)]),
        ("NoClientCert", [Some(200), Some(200), Some(200)]),
    ] {
        folder.write("web.yml", &file(&format!("  client_auth_type: {policy}\n")));
        let got = || [&nobody, &client, &stranger].map(status);
        let reached = wait_for(SOON, || got() == expected);
        assert!(reached, "{policy}: {:?}", got());
    }
}

#[test]
fn connections_without_tls_end_when_tls_is_required() {
    if !can_run(&["openssl"]) {
        return;
    }
    let folder = Folder::new();
    Authority::new(folder.path(), "ca").issue("server", P256);
    let secured = Secured::start(&folder, "");
    let mut plain = secured.server.client();
    assert_eq!(plain.get("/").status, 200);
    folder.write("web.yml", TLS);
    assert!(is_closed(&plain.stream, SOON));
    let trust = Trust::new(&folder, "ca.crt", None);
    assert_eq!(trust.status(secured.address(), "/", "").unwrap(), 200);
}
