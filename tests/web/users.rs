// SPDX-License-Identifier: AGPL-3.0-only
//! Which requests are answered, without TLS.

use std::fs;

use crate::common::http::{SOON, eventually};
use crate::harness::{Folder, SECRET, Secured, login};

fn users() -> String {
    let header = "http_server_config:\n  headers: {X-Frame-Options: deny}\n";
    format!("{header}basic_auth_users:\n  prometheus: {SECRET}\n")
}

#[test]
fn only_users_get_an_answer() {
    let folder = Folder::new();
    let secured = Secured::start(&folder, &users());
    let mut client = secured.server.client();
    for path in ["/metrics", "/", "/api/figures", "/healthz"] {
        let refused = client.get(path);
        assert_eq!(refused.status, 401, "{path}");
        let challenge = refused.header("www-authenticate").unwrap();
        assert!(challenge.starts_with("Basic realm="), "{challenge}");
        assert_eq!(refused.header("x-frame-options"), Some("deny"));
        assert!(!String::from_utf8_lossy(&refused.body).contains(path));
    }
    // a request without a name is no failure
    assert_eq!(secured.status.failures(), Some(0));
    // the connection stays open: a browser sends the name on it
    let answered = client.get_with("/metrics", &login("prometheus", "secret"));
    assert_eq!(
        (answered.status, &answered.body[..]),
        (200, &b"/metrics"[..])
    );
    assert_eq!(answered.header("x-frame-options"), Some("deny"));
}

#[test]
fn wrong_logins_are_refused_and_counted() {
    let folder = Folder::new();
    let secured = Secured::start(&folder, &users());
    let wrong = [
        login("prometheus", "Secret"),
        login("prometheus", ""),
        login("nobody", "secret"),
        login("", "secret"),
        login("prometheus\0", "secret"),
        // no name, no Basic, no base64, no colon
        "Authorization: Basic Og==\r\n".into(),
        "Authorization: Bearer c2VjcmV0\r\n".into(),
        "Authorization: Basic !!!\r\n".into(),
        "Authorization: Basic c2VjcmV0\r\n".into(),
        "Authorization: Basic\r\n".into(),
    ];
    for (i, fields) in wrong.iter().enumerate() {
        // the second attempt is answered from memory
        for attempt in 1..=2 {
            let reply = secured.server.client().get_with("/metrics", fields);
            assert_eq!(reply.status, 401, "{fields}");
            let expected = Some((2 * i + attempt) as u64);
            assert_eq!(secured.status.failures(), expected, "{fields}");
        }
    }
}

#[test]
fn open_health_leaves_only_healthz_open() {
    let folder = Folder::new();
    let secured = Secured::start(&folder, &users());
    secured.gate.set_open_health(true);
    let mut client = secured.server.client();
    assert_eq!(client.get("/healthz").status, 200);
    for path in [
        "/healthz?verbose",
        "/healthz/",
        "//healthz",
        "/metrics",
        "/",
    ] {
        assert_eq!(client.get(path).status, 401, "{path}");
    }
    secured.gate.set_open_health(false);
    assert_eq!(client.get("/healthz").status, 401);
}

#[test]
fn a_removed_user_is_refused_on_an_open_connection() {
    let folder = Folder::new();
    let secured = Secured::start(&folder, &users());
    let fields = login("prometheus", "secret");
    let mut client = secured.server.client();
    assert_eq!(client.get_with("/metrics", &fields).status, 200);
    let other = users().replace("prometheus:", "grafana:");
    fs::write(folder.path().join("web.yml"), other).unwrap();
    eventually(SOON, || {
        let mut client = secured.server.client();
        client
            .get_with("/metrics", &login("grafana", "secret"))
            .status
            == 200
    });
    assert_eq!(client.get_with("/metrics", &fields).status, 401);
}

#[test]
fn a_password_longer_than_72_bytes_is_compared_as_bcrypt_does() {
    let long = "p".repeat(72);
    let hash = bcrypt::hash(&long, 4).unwrap();
    let folder = Folder::new();
    let secured = Secured::start(&folder, &format!("basic_auth_users: {{u: '{hash}'}}\n"));
    let status = |password: &str| {
        let mut client = secured.server.client();
        client.get_with("/", &login("u", password)).status
    };
    assert_eq!(status(&long), 200);
    assert_eq!(status(&format!("{long}more")), 200);
    assert_eq!(status(&long[1..]), 401);
}
