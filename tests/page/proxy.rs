// SPDX-License-Identifier: AGPL-3.0-only
//! The nginx of docs/page.md: TLS, a password, and the page below a path.

use std::process::Command;
use std::time::Duration;

use crate::browser::{Browser, TOOLS};
use crate::common::lab::{Lab, Namespace, can_run, run, wait_for};
use crate::made::Router;

/// The first block of nginx in docs/page.md, with the lab's paths and ports.
fn configuration(lab: &Lab, upstream: &str) -> String {
    let chapter = include_str!("../../docs/page.md");
    let block = chapter.split("```nginx\n").nth(1).expect("an example");
    let mut block = block.split("```").next().expect("its end").to_owned();
    for (line, here) in [
        ("listen 443 ssl", "listen 127.0.0.1:8443 ssl".to_owned()),
        ("    listen [::]:443 ssl;\n", String::new()),
        ("/etc/ssl/rfm", lab.path("").display().to_string()),
        (
            "/etc/nginx/rfm.htpasswd",
            lab.path("htpasswd").display().to_string(),
        ),
        ("[::1]:9669", upstream.to_owned()),
    ] {
        assert!(
            block.contains(line),
            "{line} is not in the example of docs/page.md"
        );
        block = block.replace(line, &here);
    }
    let folder = lab.path("").display().to_string();
    format!(
        "user root;\ndaemon off;\nmaster_process off;\npid {folder}/nginx.pid;\nerror_log {folder}/error.log;\n\
         events {{}}\nhttp {{\naccess_log off;\n{}{block}}}\n",
        ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {folder}/{kind};\n"))
            .concat()
    )
}

fn start_nginx(lab: &Lab, namespace: &Namespace, upstream: &str) {
    let path = |name: &str| lab.path(name).display().to_string();
    let subject = [
        "-subj",
        "/CN=router.example.net",
        "-days",
        "2",
        "-newkey",
        "rsa:2048",
    ];
    run(Command::new("openssl")
        .args(["req", "-x509", "-nodes"])
        .args(subject)
        .args([
            "-keyout",
            &path("privkey.pem"),
            "-out",
            &path("fullchain.pem"),
        ]));
    let hash = run(Command::new("openssl").args(["passwd", "-apr1", "secret"]));
    lab.file("htpasswd", &format!("operator:{hash}"));
    let file = lab.file("nginx.conf", &configuration(lab, upstream));
    let file = file.to_str().expect("UTF-8");
    lab.spawn(namespace, "nginx.log", "nginx", &["-c", file]);
    let answers = || fetch(namespace, "/rfm/healthz", "operator:secret").0 == "200";
    let log = || std::fs::read_to_string(lab.path("nginx.log")).unwrap_or_default();
    assert!(wait_for(Duration::from_secs(10), answers), "{}", log());
}

/// Status and body.
fn fetch(namespace: &Namespace, path: &str, user: &str) -> (String, String) {
    let url = format!("https://127.0.0.1:8443{path}");
    let arguments = [
        "-sk",
        "--compressed",
        "-u",
        user,
        "-w",
        "\n%{http_code}",
        &url,
    ];
    let output = namespace
        .command("curl", &arguments)
        .output()
        .expect("curl");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (body, status) = text.rsplit_once('\n').expect("a status");
    (status.to_owned(), body.to_owned())
}

#[test]
fn it_works_behind_the_nginx_of_the_readme() {
    if !can_run(&[&TOOLS[..], &["nginx", "openssl", "curl"]].concat()) {
        return;
    }
    let lab = Lab::new();
    let namespace = lab.namespace("n");
    let mut router = Router::new(20);
    router.pass(1);
    let server = namespace.inside(|| router.serve());
    start_nginx(&lab, &namespace, &server.address.to_string());
    for path in ["/rfm/", "/rfm/page/v1.json", "/rfm/metrics"] {
        assert_eq!(fetch(&namespace, path, "operator:wrong").0, "401", "{path}");
        assert_eq!(
            fetch(&namespace, path, "operator:secret").0,
            "200",
            "{path}"
        );
    }
    assert_eq!(fetch(&namespace, "/rfm", "operator:secret").0, "301");
    assert_eq!(
        fetch(&namespace, "/page/v1.json", "operator:secret").0,
        "404"
    );
    let browser = Browser::start(&lab, &namespace);
    // a first visit with the password, which the browser then knows
    browser.open("https://operator:secret@127.0.0.1:8443/rfm/healthz");
    browser.open("https://127.0.0.1:8443/rfm/");
    browser.wait("return document.querySelectorAll('#interfaces tbody tr').length === 6");
    browser.wait("return document.querySelector('#status').className === 'good'");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}
