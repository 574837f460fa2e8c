// SPDX-License-Identifier: AGPL-3.0-only
//! `rfm bill --samples` compared with an independent calculation in Python (reference.py), on 13 months of samples with
//! gaps, restarts and clock steps. It needs no agent and no privilege.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

fn scratch(name: &str) -> PathBuf {
    let folder =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("bill-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder.join(name)
}

fn rfm(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rfm"));
    command
        .args(["bill", "--samples"])
        .args(args)
        .output()
        .unwrap()
}

fn close(found: &Value, expected: &Value) -> bool {
    match (found.as_f64(), expected.as_f64()) {
        (Some(found), Some(expected)) => (found - expected).abs() <= expected.abs() * 1e-9,
        (found, expected) => found.is_none() && expected.is_none(),
    }
}

#[test]
fn every_month_is_as_python_calculates_it() {
    let (samples, expected) = (scratch("samples.csv"), scratch("expected.json"));
    let reference = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bill/reference.py");
    let mut python = Command::new("python3");
    let status = python.arg(reference).arg(&samples).arg(&expected).status();
    assert!(status.unwrap().success());
    let bills: Vec<Value> = serde_json::from_slice(&std::fs::read(&expected).unwrap()).unwrap();
    assert_eq!(bills.len(), 13);
    for bill in &bills {
        let text = |name: &str| bill[name].as_str().unwrap().to_owned();
        let overhead = bill["overhead"].to_string();
        let (month, zone) = (text("month"), text("zone"));
        let mut args = vec![
            samples.to_str().unwrap(),
            "--json",
            "--month",
            &month,
            "--tz",
            &zone,
        ];
        args.extend(["--overhead", &overhead]);
        for source in bill["sources"].as_array().unwrap() {
            args.extend(["--interface", source.as_str().unwrap()]);
        }
        let output = rfm(&args);
        let shown = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{month}: {shown}");
        let reply: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(reply["zone"], bill["zone"]);
        let found = &reply["bills"][0];
        for name in [
            "intervals",
            "samples",
            "missing",
            "partial",
            "bytes",
            "packets",
        ] {
            assert_eq!(found[name], bill[name], "{month} {name}");
        }
        let rates = found["rates"].as_array().unwrap();
        assert_eq!(rates.len(), 5);
        for rate in rates {
            let expected = &bill["rates"][rate["method"].as_str().unwrap()];
            assert!(
                close(&rate["p95"], &expected[0]),
                "{month}: {rate}, {expected}"
            );
            assert!(
                close(&rate["p95_interpolated"], &expected[1]),
                "{month}: {rate}, {expected}"
            );
        }
        assert!(
            close(&rates[0]["peak"], &bill["peak_in"]),
            "{month}: {}",
            rates[0]
        );
        // gaps are in every month
        let count = |name: &str| bill[name].as_u64().unwrap();
        assert!(count("missing") + count("partial") > 0 && count("samples") > 5000);
    }
}

#[test]
fn the_text_and_the_csv_have_the_same_values() {
    let file = scratch("few.csv");
    let rows = (0..100).map(|n| format!("{},{},0\n", 1_704_067_200 + n * 300, 37_500 * (n + 1)));
    let text: String = ["time,in_bytes,out_bytes\n".to_owned()]
        .into_iter()
        .chain(rows)
        .collect();
    std::fs::write(&file, text).unwrap();
    let path = file.to_str().unwrap();
    let output = rfm(&[path, "--month", "2024-01"]);
    let text = String::from_utf8(output.stdout).unwrap();
    for expected in [
        "2024-01-01 00:00:00 to 2024-02-01 00:00:00 (UTC)",
        "in                 95.0 kbit/s   95.0 kbit/s  100 kbit/s  2024-01-01 08:15:00",
        "samples: 100 of 8928, 8828 missing",
        "2024-01-01 08:15:00",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    let output = rfm(&[path, "--month", "2024-01", "--csv"]);
    let csv = String::from_utf8(output.stdout).unwrap();
    let line = csv.lines().nth(1).unwrap();
    let expected = "2024-01-01T00:00:00Z,2024-02-01T00:00:00Z,,in,95000.000,95050.000,100000.000,2024-01-01T08:15:00Z,";
    assert!(line.starts_with(expected), "{line}");
}

#[test]
fn errors_name_the_file_the_line_and_the_option() {
    let file = scratch("wrong.csv");
    std::fs::write(&file, "time,in_bytes,out_bytes\n0,1,1\n300,x,1\n").unwrap();
    let path = file.to_str().unwrap();
    for (args, code, expected) in [
        (
            vec![path],
            1,
            "wrong.csv: line 3: in_bytes: expected a whole number, got \"x\"",
        ),
        (vec!["/nonexistent"], 1, "/nonexistent: No such file"),
        (
            vec![path, "--month", "2024-13"],
            2,
            "2024-13: expected a range",
        ),
        (
            vec![path, "--tz", "Mars/Base"],
            2,
            "unknown time zone Mars/Base",
        ),
        (
            vec![path, "--overhead", "-1"],
            2,
            "--overhead: expected 0 to 1000 bytes, got \"-1\"",
        ),
        (
            vec![path, "--asn", "64500"],
            2,
            "expected --samples without --asn",
        ),
        (
            vec![path, "--json", "--csv"],
            2,
            "expected only one of --json, --csv",
        ),
    ] {
        let output = rfm(&args);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(text.contains(expected), "{expected}: {text}");
    }
    std::fs::write(&file, "time,in_bytes,out_bytes,source\n0,1,1,eth0\n").unwrap();
    let output = rfm(&[path, "--interface", "eth9"]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        text.contains("expected samples of eth9, got none"),
        "{text}"
    );
}
