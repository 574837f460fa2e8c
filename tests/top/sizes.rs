// SPDX-License-Identifier: AGPL-3.0-only
//! What the view shows at each size of the terminal.

use crate::common::lab::can_run;
use crate::common::mmdb::Writer;
use crate::harness::Fixture;
use crate::router::BusyRouter;
use crate::terminal::{TOOLS, Terminal, top};

/// Returns the rate of the fast conversation in a column that counts from the right, in bits a second.
fn rate(line: &str, title: &str, heading: &str) -> f64 {
    // columns of figures are aligned to the right
    let end = heading.find(title).expect("the column") + title.len();
    let text: String = line.chars().take(heading[..end].chars().count()).collect();
    let cell = text.split_whitespace().last().expect("a cell");
    let number = cell.trim_end_matches(char::is_alphabetic);
    let scale = match &cell[number.len()..] {
        "Mb" => 1e6,
        "kb" => 1e3,
        _ => 1.0,
    };
    number.parse::<f64>().expect(cell) * scale
}

#[test]
fn each_size_has_its_columns() {
    if !can_run(&TOOLS) {
        return;
    }
    let router = BusyRouter::new("");
    // the size, titles of columns, and texts
    type Case = ((u16, u16), &'static [&'static str], &'static [&'static str]);
    let cases: [Case; 4] = [
        ((40, 10), &["HOST A", "HOST B", "10s"], &["100.64.7"]),
        (
            (80, 24),
            &["NETWORK", "CC", "2s", "10s", "40s"],
            &["Example Vid"],
        ),
        (
            (120, 40),
            &["PROTO", "NETWORK", "PKT/S", "PEAK"],
            &["Example Vid"],
        ),
        (
            (200, 60),
            &["NETWORK A", "NETWORK B", "BYTES", "IN>OUT"],
            &[
                "AS64511 City Fibre Cooperative",
                "AS64500 Zürich Fibre 東京",
                "lan0>wan0",
            ],
        ),
    ];
    for ((width, height), titles, texts) in cases {
        let terminal = Terminal::with_size(&router.top(""), "LANG=C.UTF-8", (width, height));
        // a screen may be captured while it is drawn
        terminal.wait_until("its columns and names", |screen| {
            let heading = screen.lines().find(|line| line.contains("HOST A"));
            let heading = heading.unwrap_or_default();
            let has_texts = texts.iter().all(|text| screen.contains(text));
            has_texts && titles.iter().all(|title| heading.contains(title))
        });
        // both directions are one line, and no line is longer than the screen
        terminal.wait_until("one line for each conversation", |screen| {
            let rows = screen.lines().filter(|line| line.contains("51234")).count();
            rows == 1 && screen.contains("q end")
        });
        let screen = terminal.screen();
        println!("{width}x{height}\n{screen}");
        assert!(screen.lines().count() <= usize::from(height));
        for line in screen.lines() {
            assert!(line.chars().count() <= usize::from(width), "{line}");
        }
    }
}

/// A forwarded packet is seen at ingress and at egress: the view counts it once.
#[test]
fn forwarded_packets_count_once() {
    if !can_run(&TOOLS) {
        return;
    }
    let router = BusyRouter::new("");
    let terminal = Terminal::with_size(&router.top(""), "LANG=C.UTF-8", (200, 60));
    terminal.wait_for(":51234");
    let counted = |screen: &str| {
        let heading = screen.lines().find(|line| line.contains("HOST A"))?;
        let line = screen.lines().find(|line| line.contains(":51234"))?;
        Some(rate(line, "10s", heading))
    };
    // rates of the same time, by the agent: both directions, at ingress only
    let once = || {
        let socket = router.folder.socket();
        let words = "flows --port 51234 --direction ingress --json";
        let (_, text, _) = crate::harness::parts(crate::harness::rfm(&socket, words));
        let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let flows = json["flows"].as_array().expect("flows").iter();
        flows
            .map(|flow| flow["bytes_per_second"].as_f64().unwrap() * 8.0)
            .sum::<f64>()
    };
    terminal.wait_until("the rate of the agent", |screen| {
        let (shown, expected) = (counted(screen).unwrap_or(0.0), once());
        shown > expected * 0.7 && shown < expected * 1.3
    });
}

#[test]
fn an_empty_agent_and_problems_are_shown() {
    if !can_run(&TOOLS) {
        return;
    }
    let fixture = Fixture::new("");
    let terminal = Terminal::new(&top(&fixture), "LANG=C.UTF-8");
    terminal.wait_for("no flow is live");
    println!("empty\n{}", terminal.screen());
    drop(terminal);
    drop(fixture);
    // an old database is a problem
    let lab = crate::common::lab::Lab::new();
    let namespace = lab.wire();
    let folder = crate::harness::Folder::new();
    let old = Writer::new(6, 28, 1_000_000_000).with_type("GeoLite2-ASN");
    let path = lab.path("old-asn.mmdb");
    std::fs::write(&path, old.finish()).expect("a file of the lab");
    let database = format!("[agent.enrich.mmdb]\nasn_db = \"{}\"\n", path.display());
    let config = crate::harness::config(&folder, "[\"v1\"]", 1, &database);
    let _agent = crate::common::agent::Agent::start(&lab, &namespace, &config);
    let line = format!(
        "{} top --socket {}",
        env!("CARGO_BIN_EXE_rfm"),
        folder.socket().display()
    );
    for size in [(40, 10), (80, 24)] {
        let terminal = Terminal::with_size(&line, "LANG=C.UTF-8", size);
        terminal.wait_for("1 problem");
        println!("problem\n{}", terminal.screen());
        terminal.keys(&["!"]);
        terminal.wait_until("the remedy", |screen| {
            screen.contains("update the database")
        });
        println!("problems\n{}", terminal.screen());
    }
}
