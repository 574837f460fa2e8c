// SPDX-License-Identifier: AGPL-3.0-only
//! The program from outside: what it prints, where, and its exit codes. Needs no privilege.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A folder of the test's own, gone when the test is.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("cli-{name}"));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.0.join(name);
        fs::write(&path, content).unwrap();
        path.into_os_string().into_string().unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn rfm<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Output {
    command(args).output().unwrap()
}

fn command<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rfm"));
    command.args(args).env_clear().stdin(Stdio::null());
    command
}

/// Exit code, standard output, standard error.
fn parts(output: Output) -> (i32, String, String) {
    (
        output.status.code().unwrap(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

fn check(file: &str) -> (i32, String, String) {
    parts(rfm(["--config", file, "--check"]))
}

#[test]
fn check_prints_what_is_in_effect_and_that_checks_to_the_same() {
    let folder = Folder::new("effective");
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/config/rfm.toml");
    let (code, printed, errors) = check(shipped);
    assert_eq!((code, errors.as_str()), (0, ""));
    assert!(
        printed.starts_with("[agent]\ninterfaces = [\"*\"]\n"),
        "{printed}"
    );
    assert!(printed.contains("\nsample_rate = 1\n"), "{printed}");
    assert!(
        printed.contains("\n[agent.firewall]\nenabled = false\n"),
        "{printed}"
    );
    let again = folder.file("printed.toml", &printed);
    assert_eq!(check(&again), (0, printed, String::new()));
}

#[test]
fn check_tells_every_problem_and_fails() {
    let folder = Folder::new("problems");
    let file = folder.file(
        "bad.toml",
        "[agent]\ninterfaces = [\"eth0\"]\n[agent.bpf]\nsample_rate = 0\nring_size = 4096\n",
    );
    let expected = format!(
        "rfm: {file}:4: agent.bpf.sample_rate: expected a whole number from 1 to 4294967295, got 0\n\
         rfm: {file}:5: agent.bpf.ring_size: unknown key, did you mean \
         agent.bpf.ring_buf_size?\n"
    );
    assert_eq!(check(&file), (2, String::new(), expected.clone()));
    // The agent itself refuses it in the same words.
    assert_eq!(
        parts(rfm(["--config", &file])),
        (2, String::new(), expected)
    );
}

#[test]
fn variables_and_options_set_single_keys() {
    let folder = Folder::new("set");
    let file = folder.file(
        "rfm.toml",
        "[agent]\ninterfaces = [\"eth0\"]\nbpf.sample_rate = 5\n",
    );
    let run = |args: &[&str], variables: &[(&str, &str)]| {
        let mut command = command(["--config", &file, "--check"].iter().chain(args));
        parts(command.envs(variables.iter().copied()).output().unwrap())
    };
    let rate = ("RFM_AGENT__BPF__SAMPLE_RATE", "6");
    let host = ["--set", "agent.prometheus.host=192.0.2.1"];
    let (code, printed, errors) = run(&host, &[rate, ("RFM_LOG", "info"), ("RFM_PORT", "x")]);
    let printed: toml::Table = printed.parse().unwrap();
    let agent = &printed["agent"];
    assert_eq!(agent["bpf"]["sample_rate"].as_integer(), Some(6));
    assert_eq!(agent["prometheus"]["host"].as_str(), Some("192.0.2.1"));
    assert_eq!(
        (code, errors.as_str()),
        (
            0,
            "rfm: agent.bpf.sample_rate is set by RFM_AGENT__BPF__SAMPLE_RATE\n\
             rfm: agent.prometheus.host is set by --set\n\
             rfm: warning: agent.prometheus listens on 192.0.2.1:9669 for anyone: set agent.prometheus.allow to limit \
             the clients\n"
        )
    );
    let unknown = ("RFM_AGENT__BPF__SAMPLERATE", "6");
    assert_eq!(
        run(&["--set=agent.bpf.sample_rate=0"], &[unknown]),
        (
            2,
            String::new(),
            "rfm: RFM_AGENT__BPF__SAMPLERATE: agent.bpf.samplerate: unknown key, did you mean \
             agent.bpf.sample_rate?\n\
             rfm: --set: agent.bpf.sample_rate: expected a whole number from 1 to 4294967295, got 0\n"
                .into()
        )
    );
    let database = ["--set", "agent.enrich.mmdb.asn_db=/nonexistent"];
    let (code, _, errors) = run(&database, &[]);
    assert_eq!(
        (code, errors.as_str()),
        (
            2,
            "rfm: --set: agent.enrich.mmdb.asn_db: cannot use /nonexistent: no such file or directory; check the path\n"
        )
    );
}

#[test]
fn check_warns_of_an_open_listener_and_succeeds() {
    let folder = Folder::new("warning");
    let file = folder.file(
        "open.toml",
        "[agent]\ninterfaces = [\"*\"]\nprometheus.host = \"::\"\n",
    );
    let (code, _, errors) = check(&file);
    assert_eq!(code, 0);
    assert_eq!(
        errors,
        "rfm: warning: agent.prometheus listens on [::]:9669 for anyone: set \
         agent.prometheus.allow to limit the clients\n"
    );
}

#[test]
fn what_is_no_usable_file_is_refused() {
    let folder = Folder::new("files");
    let filled = |size: usize| {
        let text = "[agent]\ninterfaces = [\"*\"]\n#";
        text.to_owned() + &"x".repeat(size - text.len())
    };
    let full = folder.file("full.toml", filled(1 << 20));
    let (code, _, errors) = check(&full);
    assert_eq!((code, errors.as_str()), (0, ""));

    let large = folder.file("large.toml", filled((1 << 20) + 1));
    let latin = folder.file("latin.toml", b"[agent]\n# \xfcber\n");
    let missing = format!("{}/missing.toml", folder.0.display());
    let directory = folder.0.display().to_string();
    for (file, expected) in [
        (
            large.as_str(),
            "expected at most 1048576 bytes, got 1048577",
        ),
        (&latin, "expected UTF-8, got another byte at offset 10"),
        (
            &missing,
            "cannot read: no such file or directory; name another file with --config",
        ),
        (&directory, "expected a regular file"),
        ("/dev/zero", "expected a regular file"),
    ] {
        let expected = format!("rfm: {file}: {expected}\n");
        assert_eq!(check(file), (2, String::new(), expected));
    }
}

#[test]
fn usage_errors_have_their_code() {
    for (args, expected) in [
        (&["--chekc"][..], "did you mean --check?"),
        (&["--config"], "--config needs a value"),
        (&["extra"], "unknown command extra: expected one of status"),
        (&["stauts"], "did you mean rfm status?"),
        (&["firewall", "lst"], "did you mean rfm firewall list?"),
        (&["flows", "--protcol", "tcp"], "did you mean --protocol?"),
        (&["--check", "--version"], "expected only one of"),
    ] {
        let (code, out, errors) = parts(rfm(args));
        assert_eq!((code, out.as_str()), (2, ""), "{args:?}");
        assert!(errors.contains(expected), "{args:?}: {errors}");
        assert!(errors.ends_with("rfm: see rfm --help\n"), "{errors}");
    }
}

/// setpriv is of util-linux, which every Debian has; who is not root needs no help to lack privilege.
#[test]
fn what_is_not_permitted_is_named() {
    let folder = Folder::new("privilege");
    let file = folder.file("rfm.toml", "[agent]\ninterfaces = [\"*\"]\n");
    for (args, needed) in [
        (
            vec!["--config", &file],
            "CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN",
        ),
        (vec!["--detach"], "CAP_NET_ADMIN, CAP_SYS_ADMIN"),
    ] {
        let mut command = if rustix::process::geteuid().is_root() {
            let mut command = Command::new("setpriv");
            command.args(["--bounding-set=-all", "--inh-caps=-all"]);
            command.arg(env!("CARGO_BIN_EXE_rfm"));
            command
        } else {
            Command::new(env!("CARGO_BIN_EXE_rfm"))
        };
        let output = command.args(args).stdin(Stdio::null()).output();
        let (code, _, errors) = parts(output.unwrap());
        let expected = format!(
            "rfm: not permitted: {needed} missing; run it as root, or give it these capabilities\n"
        );
        assert_eq!(errors, expected);
        assert_eq!(code, 1);
    }
}

/// What scripts/version.sh says of this checkout; a release has Cargo's version.
fn told_version() -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/version.sh");
    let output = Command::new(script).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with(env!("CARGO_PKG_VERSION")), "{text}");
    match text.trim_end().split_once(' ') {
        Some((version, revision)) => format!("{version} ({revision})"),
        None => text.trim_end().to_owned(),
    }
}

#[test]
fn version_and_help_go_to_standard_output() {
    let (code, out, errors) = parts(rfm(["--version"]));
    assert_eq!((code, errors.as_str()), (0, ""));
    assert_eq!(out, format!("rfm {}\n", told_version()));

    for args in [&["-V"][..], &["version"]] {
        assert_eq!(
            parts(rfm(args)),
            (0, out.clone(), String::new()),
            "{args:?}"
        );
    }
    for (args, usage) in [
        (&["--help"][..], "Usage: rfm"),
        (&["-h"], "Usage: rfm"),
        (&["help"], "Usage: rfm"),
        (&["help", "firewall", "add"], "Usage: rfm firewall add"),
        (&["firewall", "help"], "Usage: rfm firewall"),
        (&["flows", "-h"], "Usage: rfm flows"),
    ] {
        let (code, out, errors) = parts(rfm(args));
        assert_eq!((code, errors.as_str()), (0, ""), "{args:?}");
        assert!(out.starts_with(usage), "{args:?}: {out}");
    }
}

#[test]
fn an_output_that_cannot_be_written_is_a_failure() {
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let output = command(["--version"]).stdout(full).output().unwrap();
    let (code, _, errors) = parts(output);
    assert_eq!(code, 1);
    assert!(
        errors.starts_with("rfm: cannot write to standard output: "),
        "{errors}"
    );
}

#[test]
fn the_journal_gets_priorities() {
    use std::os::unix::fs::MetadataExt;
    let folder = Folder::new("journal");
    let path = folder.file("stderr", "");
    for (inode_offset, expected) in [(0, "<3>/missing: cannot"), (1, "rfm: /missing: cannot")] {
        let stderr = fs::File::create(&path).unwrap();
        let metadata = stderr.metadata().unwrap();
        let stream = format!("{}:{}", metadata.dev(), metadata.ino() + inode_offset);
        let status = command(["--config", "/missing", "--check"])
            .env("JOURNAL_STREAM", stream)
            .stderr(stderr)
            .status()
            .unwrap();
        assert_eq!(status.code(), Some(2));
        let errors = fs::read_to_string(&path).unwrap();
        assert!(errors.starts_with(expected), "{errors}");
    }
}

#[test]
fn check_database_describes_what_the_agent_can_use() {
    let file = |name: &str| format!("{}/tests/data/mmdb/{name}", env!("CARGO_MANIFEST_DIR"));
    let inspect = |path: &str| parts(rfm(["--check-database", path]));
    let (code, text, errors) = inspect(&file("GeoLite2-ASN-Test.mmdb"));
    assert_eq!((code, errors.as_str()), (0, ""));
    let lines: Vec<_> = text.lines().collect();
    let values: Vec<_> = lines
        .iter()
        .map(|line| line.split_once(": ").unwrap())
        .collect();
    assert_eq!(values[0], ("type", "GeoLite2-ASN"));
    assert!(values[1].1.ends_with(" days ago)"), "{text}");
    assert_eq!(
        (values[2].0, values[3]),
        ("networks", ("usable as", "agent.enrich.mmdb.asn_db"))
    );
    assert!(values[2].1.parse::<u64>().unwrap() > 100, "{text}");
    assert!(
        values[4].0 == "sample" && values[4].1.contains(" AS"),
        "{text}"
    );
    let maxmind = "This product includes GeoLite Data created by MaxMind, https://www.maxmind.com";
    assert_eq!(values[5], ("attribution", maxmind));

    let (_, text, _) = inspect(&file("GeoLite2-City-Test.mmdb"));
    assert!(
        text.contains("\nusable as: agent.enrich.mmdb.city_db\n"),
        "{text}"
    );

    let folder = Folder::new("database");
    let whole = fs::read(file("GeoLite2-ASN-Test.mmdb")).unwrap();
    let mut damaged = whole.clone();
    let middle = damaged.len() / 2;
    damaged[middle..]
        .iter_mut()
        .take(3000)
        .for_each(|byte| *byte = 0xff);
    for (content, reason) in [
        (
            &b"<html>"[..],
            "it is incomplete, or no MMDB database: download it again",
        ),
        (
            &whole[..whole.len() / 2],
            "it is incomplete, or no MMDB database: download it again",
        ),
        (&damaged, "it is damaged: download it again"),
        (&[], "expected 1 to 4294967296 bytes, got 0"),
    ] {
        let path = folder.file("broken.mmdb", content);
        let expected = format!("rfm: cannot use {path}: {reason}\n");
        assert_eq!(inspect(&path), (1, String::new(), expected));
    }
    assert_eq!(inspect("/nonexistent").0, 1);
    assert_eq!(parts(rfm(["--check-database"])).0, 2);
}
