// SPDX-License-Identifier: AGPL-3.0-only
//! The agent with a web configuration file, and real clients: curl, openssl, Prometheus.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use crate::browser;
use crate::certs::{Authority, P256, RSA};
use crate::common::http::SOON;
use crate::common::lab::{Lab, Namespace, can_run, try_run, wait_for};
use crate::common::metrics::Metrics;
use crate::common::prometheus::{query, start_jobs};
use crate::harness::SECRET;

const PORT: u16 = 9669;

/// An option of curl that selects HTTP without TLS here.
const PLAIN: &str = "--http1.1";

/// An agent behind `web.yml` in the folder of its lab.
pub struct Guarded<'a> {
    lab: &'a Lab,
    namespace: &'a Namespace,
    pid: u32,
}

impl<'a> Guarded<'a> {
    /// Starts it, and waits until curl gets `/healthz` with `options`.
    pub fn start(
        lab: &'a Lab,
        namespace: &'a Namespace,
        prometheus: &str,
        options: &[&str],
    ) -> Self {
        let web = lab.path("web.yml");
        let config = lab.file(
            "rfm.toml",
            &format!(
                "[agent]\ninterfaces = [\"a0\"]\n[agent.control]\nsocket = \"\"\n[agent.prometheus]\nhost = \"127.0.0.1\"\nport = {PORT}\n\
                 web_config = \"{}\"\n{prometheus}",
                web.display()
            ),
        );
        let path = config.to_str().unwrap();
        let pid = lab.spawn(
            namespace,
            "rfm.log",
            env!("CARGO_BIN_EXE_rfm"),
            &["--config", path],
        );
        let agent = Self {
            lab,
            namespace,
            pid,
        };
        let healthy = || agent.curl("/healthz", options).0 == 200;
        assert!(
            wait_for(Duration::from_secs(10), healthy),
            "{}",
            agent.log()
        );
        agent
    }

    pub fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], PORT).into()
    }

    /// The number of open file descriptors.
    pub fn descriptors(&self) -> usize {
        let folder = format!("/proc/{}/fd", self.pid);
        std::fs::read_dir(folder).expect("the agent runs").count()
    }

    /// The resident memory (`VmRSS`) in kB.
    pub fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid));
        let status = status.expect("the agent runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().next());
        number.expect("VmRSS").parse().expect("a number")
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.lab.path("rfm.log")).unwrap_or_default()
    }

    /// The status and the body; 0 if there was no response.
    fn curl(&self, path: &str, options: &[&str]) -> (u16, String) {
        let scheme = match options.contains(&PLAIN) {
            true => "http",
            false => "https",
        };
        let url = format!("{scheme}://127.0.0.1:{PORT}{path}");
        let mut command = self
            .namespace
            .command("curl", &["-sS", "-m", "10", "-w", "\n%{http_code}"]);
        command
            .args(options)
            .arg(&url)
            .current_dir(self.lab.path(""));
        let output = try_run(&mut command);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (body, status) = text.rsplit_once('\n').unwrap_or(("", "0"));
        (status.parse().unwrap_or(0), body.to_owned())
    }

    fn metrics(&self, options: &[&str]) -> Metrics {
        let (status, body) = self.curl("/metrics", options);
        assert_eq!(status, 200, "{body}");
        Metrics::parse(&body)
    }

    /// What `openssl s_client` prints with these options; nothing if the handshake fails.
    fn s_client(&self, options: &[&str]) -> String {
        let address = format!("127.0.0.1:{PORT}");
        let mut command = self
            .namespace
            .command("openssl", &["s_client", "-connect", &address]);
        command.args(options).current_dir(self.lab.path(""));
        let output = try_run(&mut command);
        match output.status.success() {
            true => String::from_utf8_lossy(&output.stdout).into_owned(),
            false => String::new(),
        }
    }

    /// The cipher of a handshake; `None` if it fails.
    fn cipher(&self, options: &[&str]) -> Option<String> {
        let text = self.s_client(options);
        let (_, rest) = text.split_once("Cipher is ")?;
        let cipher = rest.lines().next()?;
        (cipher != "(NONE)").then(|| cipher.to_owned())
    }

    fn shakes_hands(&self, options: &[&str]) -> bool {
        self.cipher(options).is_some()
    }

    /// The ciphers of `all` that are accepted with TLS 1.2, in the order of the server's preference.
    fn ciphers(&self, all: &[&str]) -> Vec<String> {
        let mut offered = all.to_vec();
        let mut accepted = Vec::new();
        while let Some(cipher) = self.cipher(&[
            "-tls1_2",
            "-cipher",
            &format!("{}:@SECLEVEL=0", offered.join(":")),
        ]) {
            offered.retain(|other| *other != cipher);
            accepted.push(cipher);
        }
        accepted
    }
}

const TLS: &str = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n";

fn users() -> String {
    format!("basic_auth_users:\n  prometheus: {SECRET}\n")
}

#[test]
fn only_strong_versions_and_ciphers_are_offered() {
    if !can_run(&["ip", "sysctl", "openssl", "curl"]) {
        return;
    }
    let lab = Lab::among_others();
    let (a, _b) = lab.pair();
    let authority = Authority::new(&lab.path(""), "ca");
    // every cipher that this openssl has, for TLS up to 1.2
    let all = try_run(Command::new("openssl").args(["ciphers", "ALL:COMPLEMENTOFALL:@SECLEVEL=0"]));
    let all = String::from_utf8(all.stdout).unwrap();
    let all: Vec<&str> = all
        .trim()
        .split(':')
        .filter(|c| !c.starts_with("TLS_"))
        .collect();
    assert!(all.len() > 50, "{all:?}");
    lab.file("web.yml", TLS);
    authority.issue("server", P256);
    let agent = Guarded::start(&lab, &a, "", &["--cacert", "ca.crt"]);
    for (kind, key) in [("ECDSA", P256), ("RSA", RSA)] {
        authority.issue("server", key);
        let algorithm = format!("ECDHE-{kind}-AES128-GCM-SHA256");
        let renewed = || agent.shakes_hands(&["-tls1_2", "-cipher", &algorithm]);
        assert!(wait_for(SOON, renewed), "{}", agent.log());
        for (version, expected) in [
            ("-tls1", false),
            ("-tls1_1", false),
            ("-tls1_2", true),
            ("-tls1_3", true),
        ] {
            let options = [version, "-cipher", "ALL:@SECLEVEL=0"];
            assert_eq!(agent.shakes_hands(&options), expected, "{version}");
        }
        let mut accepted = agent.ciphers(&all);
        accepted.sort_unstable();
        let mut expected = [
            format!("ECDHE-{kind}-AES256-GCM-SHA384"),
            format!("ECDHE-{kind}-CHACHA20-POLY1305"),
            algorithm.clone(),
        ];
        expected.sort();
        assert_eq!(accepted, expected);
    }
    for version in ["-tls1_2", "-tls1_3"] {
        assert!(agent.shakes_hands(&[version, "-sess_out", "session"]));
        let again = agent.s_client(&[version, "-sess_in", "session"]);
        assert!(
            !again.contains("Reused, "),
            "a session was resumed: {again}"
        );
    }
    lab.file(
        "web.yml",
        &format!("{TLS}  min_version: TLS13\n  curve_preferences: [CurveP384]\n"),
    );
    let refuses_12 = || !agent.shakes_hands(&["-tls1_2"]);
    assert!(wait_for(SOON, refuses_12), "{}", agent.log());
    assert!(agent.shakes_hands(&["-tls1_3", "-groups", "P-384"]));
    assert!(!agent.shakes_hands(&["-tls1_3", "-groups", "X25519"]));
}

#[test]
fn prometheus_scrapes_with_certificate_and_password() {
    if !can_run(&["ip", "sysctl", "openssl", "curl", "prometheus"]) {
        return;
    }
    let lab = Lab::new();
    let (a, _b) = lab.pair();
    let authority = Authority::new(&lab.path(""), "ca");
    authority.issue("server", P256);
    authority.issue("client", RSA);
    lab.file(
        "web.yml",
        &format!(
            "{TLS}  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n{}",
            users()
        ),
    );
    let known = [
        "--cacert",
        "ca.crt",
        "--cert",
        "client.crt",
        "--key",
        "client.key",
    ];
    let user = [&known[..], &["-u", "prometheus:secret"]].concat();
    let agent = Guarded::start(&lab, &a, "open_health = true\n", &known);
    assert!(agent.log().contains("serving https://"), "{}", agent.log());
    for (options, expected) in [
        (&known[..], 401),
        (&user, 200),
        (&[&known[..], &["-u", "prometheus:wrong"]].concat(), 401),
        (&["--cacert", "ca.crt", "-u", "prometheus:secret"], 0),
        (&[PLAIN, "-u", "prometheus:secret"], 400),
    ] {
        for path in ["/metrics", "/", "/page/v1.json"] {
            assert_eq!(agent.curl(path, options).0, expected, "{path} {options:?}");
        }
    }
    let scrape = |password: &str| {
        format!(
            "  scheme: https\n  tls_config: {{ca_file: ca.crt, cert_file: client.crt, key_file: client.key}}\n  \
             basic_auth: {{username: prometheus, password: {password}}}\n"
        )
    };
    let up = "up{job='rfm'}";
    let other = format!(
        "- job_name: wrong\n{}  static_configs: [{{targets: ['127.0.0.1:{PORT}']}}]\n",
        scrape("wrong")
    );
    start_jobs(&lab, &a, &scrape("secret"), &other, up);
    assert!(query(&a, "rfm_build_info{job='rfm'}").is_some());
    let refused = || query(&a, "up{job='wrong'}") == Some(0.0);
    assert!(wait_for(SOON, refused), "the wrong password is accepted");
    // renewal while Prometheus reads, on its open connection and on new ones
    for key in [RSA, P256] {
        authority.issue("server", key);
        std::thread::sleep(Duration::from_secs(3));
    }
    let least = "min_over_time(up{job='rfm'}[10s])";
    assert_eq!(
        query(&a, least),
        Some(1.0),
        "a scrape failed\n{}",
        agent.log()
    );
    let metrics = agent.metrics(&user);
    assert!(metrics.sum("rfm_http_auth_failures_total", &[]) > 3);
    let broken = [("kind", "web_config_broken")];
    assert_eq!(metrics.sum("rfm_problems", &broken), 0);
    lab.file("web.yml", "tls_server_config: {cert_file: server.crt}\n");
    let reported = || agent.metrics(&user).sum("rfm_problems", &broken) == 1;
    assert!(wait_for(SOON, reported), "{}", agent.log());
    let (_, health) = agent.curl("/healthz?verbose", &user);
    let expected = "tls_server_config.key_file: required in tls_server_config";
    assert!(
        health.contains("web_config_broken: ") && health.contains(expected),
        "{health}"
    );
    assert!(agent.log().contains(expected), "{}", agent.log());
}

#[test]
fn sighup_reads_the_file_and_its_key() {
    if !can_run(&["ip", "sysctl", "openssl", "curl"]) {
        return;
    }
    let lab = Lab::among_others();
    let (a, _b) = lab.pair();
    Authority::new(&lab.path(""), "ca").issue("server", P256);
    let config = |more: &str| crate::common::agent::config("[\"a0\"]", "") + more;
    let agent = crate::common::agent::Agent::start(&lab, &a, &config(""));
    let guarded = Guarded {
        lab: &lab,
        namespace: &a,
        pid: agent.pid(),
    };
    let trusted = ["--cacert", "ca.crt"];
    assert_eq!(guarded.curl("/metrics", &trusted).0, 0);
    let key = format!("web_config = \"{}\"\n", lab.path("web.yml").display());
    let reload = || agent.signal(rustix::process::Signal::HUP);
    // a file that cannot be used changes nothing
    lab.file("web.yml", "tls: {}\n");
    lab.file("rfm.toml", &config(&key));
    reload();
    let refused = || agent.log().contains("tls: unknown key");
    assert!(wait_for(SOON, refused), "{}", agent.log());
    assert_eq!(agent.get("/metrics").unwrap().status, 200);
    lab.file("web.yml", TLS);
    reload();
    let encrypted = || guarded.curl("/metrics", &trusted).0 == 200;
    assert!(wait_for(SOON, encrypted), "{}", agent.log());
    assert_eq!(agent.get("/metrics").unwrap().status, 400);
    lab.file("rfm.toml", &config(""));
    reload();
    let open = || agent.get("/metrics").is_ok_and(|reply| reply.status == 200);
    assert!(wait_for(SOON, open), "{}", agent.log());
    agent.stop();
}

#[test]
fn an_open_port_is_a_problem_until_users_are_required() {
    if !can_run(&["ip", "sysctl", "curl"]) {
        return;
    }
    let lab = Lab::among_others();
    let (a, _b) = lab.pair();
    let header = "http_server_config: {headers: {X-Frame-Options: deny}}\n";
    let web = lab.file("web.yml", header);
    let config = crate::common::agent::config("[\"a0\"]", "").replace("127.0.0.1", "0.0.0.0")
        + &format!("web_config = \"{}\"\n", web.display());
    let agent = crate::common::agent::Agent::start(&lab, &a, &config);
    let guarded = Guarded {
        lab: &lab,
        namespace: &a,
        pid: agent.pid(),
    };
    let user = [PLAIN, "-u", "prometheus:secret"];
    let is_open = || {
        let metrics = guarded.metrics(&user);
        metrics.sum("rfm_problems", &[("kind", "open_port")])
    };
    assert_eq!(is_open(), 1);
    assert!(agent.log().contains("for anyone"), "{}", agent.log());
    lab.file("web.yml", &format!("{header}{}", users()));
    let refused = || guarded.curl("/metrics", &[PLAIN]).0 == 401;
    assert!(wait_for(SOON, refused), "{}", agent.log());
    assert_eq!(is_open(), 0);
    agent.stop();
}

#[test]
fn check_tests_the_file_and_its_certificates() {
    if !can_run(&["openssl"]) {
        return;
    }
    let lab = Lab::among_others();
    Authority::new(&lab.path(""), "ca").issue("server", P256);
    let check = |host: &str, web: &str| {
        let web = lab.file("web.yml", web);
        let text = format!(
            "[agent]\ninterfaces = [\"eth0\"]\n[agent.prometheus]\nhost = \"{host}\"\nweb_config = \"{}\"\n",
            web.display()
        );
        let file = lab.file("rfm.toml", &text);
        let mut command = Command::new(env!("CARGO_BIN_EXE_rfm"));
        let output = try_run(command.arg("--check").arg("--config").arg(file));
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), errors)
    };
    assert_eq!(
        check("::", &format!("{TLS}{}", users())),
        (Some(0), String::new())
    );
    assert_eq!(check("::1", &users()), (Some(0), String::new()));
    for (web, expected) in [
        (TLS, "for anyone"),
        (
            &users(),
            "names and passwords cross the network in clear text",
        ),
    ] {
        let (code, errors) = check("::", web);
        assert_eq!(code, Some(0), "{errors}");
        assert!(
            errors.contains("warning: ") && errors.contains(expected),
            "{errors}"
        );
    }
    let missing = TLS.replace("server.key", "none.key");
    let (code, errors) = check("::1", &missing);
    assert_eq!(code, Some(2), "{errors}");
    assert!(errors.contains("agent.prometheus.web_config: "), "{errors}");
    assert!(
        errors.contains("none.key): cannot read: no such file"),
        "{errors}"
    );
}

#[test]
fn a_start_with_a_broken_file_is_refused() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let lab = Lab::among_others();
    let (a, _b) = lab.pair();
    let key = format!("web_config = \"{}\"\n", lab.path("none.yml").display());
    let config = crate::common::agent::config("[\"a0\"]", "") + &key;
    let (code, said) = crate::common::agent::refused(&lab, &a, &config, &[]);
    assert_eq!(code, Some(1), "{said}");
    let expected = "none.yml: cannot read: no such file or directory";
    assert!(
        said.contains("agent.prometheus.web_config: ") && said.contains(expected),
        "{said}"
    );
}

/// The page reads its figures with the name and the password of the address bar.
#[test]
fn the_page_reads_its_figures_as_a_user() {
    if !can_run(&browser::TOOLS) || !can_run(&["openssl", "curl"]) {
        return;
    }
    let lab = Lab::new();
    let (a, _b) = lab.pair();
    Authority::new(&lab.path(""), "ca").issue("server", P256);
    lab.file("web.yml", &format!("{TLS}{}", users()));
    let user = ["--cacert", "ca.crt", "-u", "prometheus:secret"];
    let agent = Guarded::start(&lab, &a, "", &user);
    let browser = browser::Browser::start(&lab, &a);
    browser.open(&format!("https://prometheus:secret@127.0.0.1:{PORT}/"));
    browser.wait("return document.querySelectorAll('#interfaces tbody tr').length === 1");
    browser.wait(
        "return !document.querySelector('#interfaces-note').textContent.includes('first rates')",
    );
    let failures = agent
        .metrics(&user)
        .sum("rfm_http_auth_failures_total", &[]);
    assert_eq!((failures, browser.complaints()), (0, Vec::new()));
}
