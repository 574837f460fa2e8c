// SPDX-License-Identifier: AGPL-3.0-only
//! Web configuration files that rfm and exporter-toolkit accept or refuse. promtool has the toolkit, and is the judge of
//! the second column.

use std::process::Command;

use rfm::web::load::load;

use crate::certs::{Authority, P256};
use crate::common::lab::{can_run, try_run};
use crate::harness::{Folder, SECRET};

/// Whether the toolkit accepts a file.
#[derive(Clone, Copy, PartialEq)]
enum Toolkit {
    Accepts,
    Refuses,
    /// Debian's promtool is older than this setting.
    IsOlder,
}
use Toolkit::{Accepts, IsOlder, Refuses};

/// A file, without the certificate, and what rfm says of it: "" if it is accepted.
type Case = (&'static str, Toolkit, &'static str);

const PAIR: &str = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n";

/// Files that contain [`PAIR`] and continue in its section.
const WITH_PAIR: &[Case] = &[
    ("", Accepts, ""),
    ("  client_auth_type: NoClientCert\n", Accepts, ""),
    ("  client_auth_type: ''\n", Accepts, ""),
    ("  client_auth_type: RequestClientCert\n", Accepts, ""),
    ("  client_auth_type: RequireAnyClientCert\n", Accepts, ""),
    ("  client_auth_type: RequireClientCert\n", Accepts, ""),
    ("  client_auth_type: VerifyClientCertIfGiven\n", Accepts, ""),
    (
        "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n",
        Accepts,
        "",
    ),
    // Go takes the authorities of the system, which sign for everybody
    (
        "  client_auth_type: RequireAndVerifyClientCert\n",
        Accepts,
        "line 2: tls_server_config.client_auth_type: RequireAndVerifyClientCert needs client_ca_file",
    ),
    (
        "  client_ca_file: ca.crt\n",
        Refuses,
        "tls_server_config.client_auth_type: required with client_ca_file",
    ),
    (
        "  client_auth_type: RequireSomething\n",
        Refuses,
        "line 4: tls_server_config.client_auth_type: expected NoClientCert, RequestClientCert",
    ),
    (
        "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: none.crt\n",
        Refuses,
        "none.crt): cannot read: no such file or directory",
    ),
    // Go ignores what is no certificate
    (
        "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: server.key\n",
        Accepts,
        "server.key): no certificate in PEM",
    ),
    ("  min_version: TLS12\n  max_version: TLS13\n", Accepts, ""),
    ("  min_version: TLS13\n", Accepts, ""),
    (
        "  min_version: TLS11\n",
        Accepts,
        "line 4: tls_server_config.min_version: TLS below 1.2 is not supported: use TLS12 or TLS13",
    ),
    (
        "  max_version: TLS10\n",
        Accepts,
        "tls_server_config.max_version: TLS below 1.2 is not supported",
    ),
    (
        "  min_version: TLS111\n",
        Refuses,
        "tls_server_config.min_version: expected TLS12 or TLS13",
    ),
    (
        "  min_version: TLS13\n  max_version: TLS12\n",
        Accepts,
        "tls_server_config.min_version: expected at most max_version",
    ),
    (
        "  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384]\n  \
         prefer_server_cipher_suites: false\n",
        Accepts,
        "",
    ),
    // weak ones beside strong ones are left out
    (
        "  cipher_suites: [TLS_AES_128_GCM_SHA256, TLS_RSA_WITH_AES_128_CBC_SHA, \
         TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256]\n",
        Accepts,
        "",
    ),
    (
        "  cipher_suites:\n  - TLS_RSA_WITH_AES_128_CBC_SHA\n",
        Accepts,
        "line 5: tls_server_config.cipher_suites: TLS_RSA_WITH_AES_128_CBC_SHA is not supported: it is weak",
    ),
    (
        "  cipher_suites: [TLS_AES_128_GCM_SHA256]\n  max_version: TLS12\n",
        Accepts,
        "tls_server_config.cipher_suites: expected a suite of TLS 1.2",
    ),
    (
        "  cipher_suites: [TLS_RSA_WITH_ROT13_SHA]\n",
        Refuses,
        "tls_server_config.cipher_suites: unknown name TLS_RSA_WITH_ROT13_SHA",
    ),
    (
        "  curve_preferences: [X25519, CurveP256, CurveP384, CurveP521]\n",
        Accepts,
        "",
    ),
    (
        "  curve_preferences: [CurveP521]\n",
        Accepts,
        "tls_server_config.curve_preferences: CurveP521 is not supported",
    ),
    (
        "  curve_preferences: [CurveP255]\n",
        Refuses,
        "tls_server_config.curve_preferences: unknown name CurveP255",
    ),
    (
        "  client_allowed_sans: [router.example]\n  client_auth_type: RequireAndVerifyClientCert\n  \
         client_ca_file: ca.crt\n",
        IsOlder,
        "line 4: tls_server_config.client_allowed_sans: rfm does not support it",
    ),
    (
        "  cert: inline\n",
        IsOlder,
        "tls_server_config.cert_file: expected either it or cert, got both",
    ),
    (
        "  cert_files: x\n",
        Refuses,
        "tls_server_config.cert_files: unknown key; did you mean tls_server_config.cert_file?",
    ),
    (
        "  key_file: server.key\n",
        Refuses,
        "line 4: the key key_file appears twice",
    ),
    ("http_server_config: {http2: false}\n", Accepts, ""),
    ("http_server_config: {http2: true}\n", Accepts, ""),
    (
        "http_server_config: {http2: 'true'}\n",
        Refuses,
        "http_server_config.http2: expected true or false",
    ),
];

const WITHOUT_PAIR: &[Case] = &[
    ("", Accepts, ""),
    ("# nothing\n", Accepts, ""),
    ("tls_server_config:\n", Accepts, ""),
    ("basic_auth_users: {}\n", Accepts, ""),
    ("a\n", Refuses, "line 1: the file: expected keys and values"),
    (
        "- a\n",
        Refuses,
        "line 1: the file: expected keys and values",
    ),
    ("a: [b\n", Refuses, "not valid YAML"),
    (
        "tls_server: {}\n",
        Refuses,
        "line 1: tls_server: unknown key",
    ),
    (
        "tls_server_config: {cert_file: server.crt}\n",
        Refuses,
        "tls_server_config.key_file: required in tls_server_config: key_file or key",
    ),
    (
        "tls_server_config: {key_file: server.key}\n",
        Refuses,
        "tls_server_config.cert_file: required in tls_server_config: cert_file or cert",
    ),
    // the toolkit serves plain HTTP in both of these cases
    (
        "tls_server_config: {cert_file: '', key_file: ''}\n",
        Accepts,
        "tls_server_config.cert_file: required",
    ),
    (
        "tls_server_config: {min_version: TLS13}\n",
        Accepts,
        "tls_server_config.cert_file: required",
    ),
    (
        "tls_server_config: {cert_file: none.crt, key_file: server.key}\n",
        Refuses,
        "none.crt): cannot read: no such file or directory",
    ),
    (
        "tls_server_config: {cert_file: server.crt, key_file: none.key}\n",
        Refuses,
        "none.key): cannot read: no such file or directory",
    ),
    (
        "tls_server_config: {cert_file: server.crt, key_file: ca.key}\n",
        Refuses,
        "the key is not that of the certificate",
    ),
    (
        "tls_server_config: {cert_file: server.key, key_file: server.key}\n",
        Refuses,
        "server.key): no certificate in PEM",
    ),
    (
        "tls_server_config: {cert_file: server.crt, key_file: server.crt}\n",
        Refuses,
        "server.crt): no private key in PEM",
    ),
    (
        "tls_server_config: {cert_file: ., key_file: server.key}\n",
        Refuses,
        "expected a regular file",
    ),
    (
        "http_server_config:\n  headers:\n    X-Frame-Options: sameorigin\n    X-XSS-Protection: 1\n    \
         X-Content-Type-Options: nosniff\n    Strict-Transport-Security: max-age=600\n    \
         Content-Security-Policy: \"default-src 'self'\"\n",
        Accepts,
        "",
    ),
    (
        "http_server_config: {headers: {X-Frame-Options: allow}}\n",
        Refuses,
        "http_server_config.headers.X-Frame-Options: expected deny or sameorigin",
    ),
    (
        "http_server_config: {headers: {X-Content-Type-Options: sniff}}\n",
        Refuses,
        "http_server_config.headers.X-Content-Type-Options: expected nosniff",
    ),
    (
        "http_server_config: {headers: {Server: nginx}}\n",
        Refuses,
        "http_server_config.headers.Server: unknown key",
    ),
    (
        "http_server_config: {headers: {x-frame-options: deny}}\n",
        Refuses,
        "http_server_config.headers.x-frame-options: unknown key",
    ),
    (
        "basic_auth_users: {alice: plain}\n",
        Refuses,
        "line 1: basic_auth_users.alice: expected a bcrypt hash",
    ),
    (
        "basic_auth_users: {alice: }\n",
        Refuses,
        "basic_auth_users.alice: expected a bcrypt hash",
    ),
    (
        "basic_auth_users:\n  alice: $2y$14$SYdBpGn1W25u9SqdsfmSfOm7pyQ.cpYL9Rclz9ERS42N3YxMYfMza\n",
        Accepts,
        "",
    ),
    // a scrape would wait for the password for minutes
    (
        "basic_auth_users:\n  alice: $2y$20$SYdBpGn1W25u9SqdsfmSfOm7pyQ.cpYL9Rclz9ERS42N3YxMYfMza\n",
        Accepts,
        "basic_auth_users.alice: expected a cost from 4 to 15, got 20",
    ),
    (
        "rate_limit: {interval: 1s, burst: 20}\n",
        IsOlder,
        "line 1: rate_limit: rfm does not support it",
    ),
];

fn promtool_accepts(path: &std::path::Path) -> bool {
    let mut command = Command::new("promtool");
    command.args(["check", "web-config"]).arg(path);
    try_run(&mut command).status.success()
}

#[test]
fn files_are_accepted_or_refused_by_name() {
    if !can_run(&["openssl", "promtool"]) {
        return;
    }
    let folder = Folder::new();
    Authority::new(folder.path(), "ca").issue("server", P256);
    let with_pair = WITH_PAIR.iter().map(|case| (PAIR, case));
    let cases = with_pair.chain(WITHOUT_PAIR.iter().map(|case| ("", case)));
    for (pair, (text, toolkit, expected)) in cases {
        let path = folder.write("web.yml", &format!("{pair}{text}"));
        match load(&path).result {
            Ok(_) => assert_eq!(*expected, "", "{text}"),
            Err(error) => {
                let own = format!("{}: ", path.display());
                assert!(error.starts_with(&own), "{error}");
                assert!(
                    !expected.is_empty() && error.contains(expected),
                    "{text}: {error}"
                );
            }
        }
        if *toolkit != IsOlder {
            assert_eq!(promtool_accepts(&path), *toolkit == Accepts, "{text}");
        }
    }
}

#[test]
fn certificate_and_key_may_be_in_the_file_itself() {
    if !can_run(&["openssl"]) {
        return;
    }
    let folder = Folder::new();
    Authority::new(folder.path(), "ca").issue("server", P256);
    let block = |name: &str| {
        let text = String::from_utf8(folder.read(name)).unwrap();
        text.lines()
            .map(|line| format!("    {line}\n"))
            .collect::<String>()
    };
    let text = format!(
        "tls_server_config:\n  cert: |\n{}  key: |\n{}  client_ca: |\n{}  client_auth_type: RequireAndVerifyClientCert\n",
        block("server.crt"),
        block("server.key"),
        block("ca.crt")
    );
    let loaded = load(&folder.write("web.yml", &text)).result.unwrap();
    assert!(loaded.tls.is_some() && loaded.is_protected());
}

#[test]
fn what_is_left_out_is_warned_of() {
    if !can_run(&["openssl"]) {
        return;
    }
    let folder = Folder::new();
    Authority::new(folder.path(), "ca").issue("server", P256);
    let text = format!(
        "{PAIR}  client_auth_type: VerifyClientCertIfGiven\n  curve_preferences: [CurveP521, X25519]\n  \
         cipher_suites:\n  - TLS_RSA_WITH_AES_256_GCM_SHA384\n  - TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384\n\
         basic_auth_users: {{u: {SECRET}}}\n"
    );
    let loaded = load(&folder.write("web.yml", &text)).result.unwrap();
    assert!(loaded.is_protected());
    assert_eq!(
        loaded.warnings,
        [
            "line 5: tls_server_config.curve_preferences: CurveP521 is left out: the library that rfm uses for TLS does \
             not have it",
            "line 7: tls_server_config.cipher_suites: TLS_RSA_WITH_AES_256_GCM_SHA384 is left out: it is weak",
            "line 2: tls_server_config.client_auth_type: without client_ca_file, every client certificate is refused",
        ]
    );
}

#[test]
fn mangled_files_are_read_or_refused_with_a_line() {
    let seed = include_bytes!("../../fuzz/corpus/web/complete");
    // xorshift: the same files in every run
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let (mut read, mut refused) = (0, 0);
    for _ in 0..5_000 {
        let mut bytes = seed.to_vec();
        for _ in 0..=random(3) {
            let at = random(bytes.len());
            match random(4) {
                0 => bytes[at] = random(128) as u8,
                1 => drop(bytes.remove(at)),
                2 => bytes.insert(at, b"\n :-[]{}'\"&*!|>?#%@,~\t"[random(22)]),
                _ => bytes.truncate(at.max(4)),
            }
        }
        let text = String::from_utf8(bytes).unwrap();
        match rfm::web::file::parse(&text, std::path::Path::new("/etc")) {
            Ok(_) => read += 1,
            Err(errors) => {
                refused += 1;
                let has_line = errors.iter().all(|error| error.starts_with("line "));
                assert!(!errors.is_empty() && has_line, "{errors:?}: {text}");
            }
        }
    }
    assert!(
        read > 100 && refused > 1_000,
        "{read} read, {refused} refused"
    );
}
