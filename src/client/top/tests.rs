// SPDX-License-Identifier: AGPL-3.0-only

use std::time::{Duration, Instant};

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::style::Color;
use serde_json::json;

use super::model::{KeyAction, ListReply, Model, PollReply, SortKey};
use super::rates::HISTORY;
use super::tab::Tab;
use super::view::{self, Theme};
use crate::control::api;

const PLAIN: Theme = Theme {
    color: false,
    ascii: false,
};
const COLOR: Theme = Theme {
    color: true,
    ascii: false,
};
const ASCII: Theme = Theme {
    color: false,
    ascii: true,
};

fn interface(name: &str, ifindex: u32, rx_bytes: u64) -> serde_json::Value {
    json!({
        "name": name, "ifindex": ifindex, "alias": "", "kind": "ether", "master": null,
        "parent": null, "stacked_on": null, "up": true, "speed_bytes": 125_000_000, "attach": "tcx",
        "rx_bytes": rx_bytes, "rx_packets": rx_bytes / 100, "tx_bytes": 0, "tx_packets": 0,
        "families": [], "sampled_packets": 0, "sampled_bytes": 0, "lost_packets": 0, "lost_bytes": 0,
        "device": {"rx_bytes": 0, "rx_packets": 0, "tx_bytes": 0, "tx_packets": 0}, "rates": null
    })
}

fn status(interfaces: &[serde_json::Value]) -> api::Status {
    let status = json!({
        "version": "1.2.3", "revision": "", "pid": 1, "time": "", "started": "",
        "uptime_seconds": 3661, "healthy": true, "problems": [], "sample_rate": 100,
        "log_level": "info", "interfaces": interfaces,
        "flows": {"active": 7, "max": 100, "accounted_packets": 0, "accounted_bytes": 0,
                  "forced_evictions": 0, "series": 0, "series_limit": 0, "series_folded": 0},
        "lost": {"records": 0, "packets": 0, "bytes": 0},
        "memory": {"resident_bytes": 0, "virtual_bytes": 0}, "cpu_seconds": 0.0, "threads": [],
        "errors": [], "parse_errors": [], "databases": [], "exporters": [], "bmp": null,
        "config": {"file": "", "last_reload_successful": true, "last_reload_success": ""}
    });
    serde_json::from_value(status).expect("a status")
}

fn flow(src: &str, bytes: u64, sampled_packets: u64) -> api::LiveFlow {
    api::LiveFlow {
        interface: "eth0".into(),
        direction: "ingress".into(),
        protocol: 6,
        src: src.into(),
        dst: "192.0.2.1".into(),
        src_port: 50_000,
        dst_port: 443,
        bytes,
        sampled_packets,
        sample_rate: 100,
        bytes_per_second: bytes / 10,
        ..api::LiveFlow::default()
    }
}

fn flows(flows: Vec<api::LiveFlow>) -> Option<Result<ListReply, String>> {
    let matched = flows.len() as u64;
    Some(Ok(ListReply::Flows(api::FlowsReply {
        time: String::new(),
        sample_rate: 100,
        matched,
        flows,
    })))
}

fn sample(rx_bytes: u64, list: Option<Result<ListReply, String>>, at: Instant) -> PollReply {
    PollReply {
        at,
        status: status(&[interface("eth0", 2, rx_bytes)]),
        tab: Tab::Flows,
        list,
    }
}

fn screen(model: &Model, theme: Theme, width: u16, height: u16) -> (Vec<String>, Buffer) {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a screen");
    terminal
        .draw(|frame| view::draw(frame, model, theme))
        .expect("drawn");
    let buffer = terminal.backend().buffer().clone();
    let line = |y| {
        (0..width)
            .map(|x| buffer[(x, y)].symbol())
            .collect::<String>()
    };
    let lines = (0..height).map(|y| line(y).trim_end().to_owned()).collect();
    (lines, buffer)
}

/// Returns a model after two replies, one second apart: 1,000 bytes a second, and two flows.
fn model() -> Model {
    let mut model = Model::default();
    let start = Instant::now();
    let list = || {
        flows(vec![
            flow("10.0.0.1", 50_000, 200),
            flow("10.0.0.2", 900, 4),
        ])
    };
    model.update(sample(5_000, list(), start), start);
    let at = start + Duration::from_secs(1);
    model.update(sample(6_000, list(), at), at);
    model
}

#[test]
fn the_screen_says_what_the_agent_said() {
    let (lines, _) = screen(&model(), PLAIN, 80, 24);
    assert_eq!(
        lines[0],
        "rfm 1.2.3  up 1h 1m  in 8.00 kbit/s  out 0 bit/s               1 in 100  7 flows"
    );
    assert!(lines[1].starts_with("INTERFACE"), "{lines:#?}");
    assert!(lines[2].starts_with("eth0") && lines[2].contains("1.00 Gbit/s 8.00 kbit/s"));
    assert!(lines[2].contains('█'), "a rate is seen: {}", lines[2]);
    assert!(lines[4].starts_with("IF   DIR PROTO SOURCE"), "{lines:#?}");
    assert!(
        lines[5].starts_with("eth0 in  tcp   10.0.0.1:50000"),
        "{lines:#?}"
    );
    assert!(lines[5].ends_with("40.0 kbit/s 50.0 kB"), "{lines:#?}");
    assert!(
        lines[6].ends_with("±98%"),
        "rests on 4 samples: {}",
        lines[6]
    );
    assert!(lines[23].starts_with("q end"));
    assert!(lines.iter().all(|line| line.chars().count() <= 80));
}

#[test]
fn it_can_be_drawn_at_any_size() {
    let mut model = model();
    for theme in [PLAIN, COLOR, ASCII] {
        for (width, height) in [(1, 1), (10, 3), (40, 8), (80, 24), (80, 5), (250, 80)] {
            for tab in 0..Tab::ALL.len() {
                model.apply(KeyAction::Tab(tab));
                model.help = height > 5;
                screen(&model, theme, width, height);
            }
        }
    }
}

#[test]
fn without_colour_there_is_none_and_without_utf8_only_ascii() {
    let mut model = model();
    model.help = true;
    let (_, buffer) = screen(&model, PLAIN, 80, 24);
    let all = |buffer: &Buffer| buffer.content().to_vec();
    assert!(
        all(&buffer)
            .iter()
            .all(|c| c.fg == Color::Reset && c.bg == Color::Reset)
    );
    let (_, buffer) = screen(&model, COLOR, 80, 24);
    assert!(all(&buffer).iter().any(|c| c.fg != Color::Reset));
    let (lines, _) = screen(&model, ASCII, 80, 24);
    assert!(lines.iter().all(|line| line.is_ascii()), "{lines:#?}");
    assert!(
        lines.iter().any(|line| line.contains("+-98%")),
        "{lines:#?}"
    );
}

#[test]
fn what_is_stacked_is_shown_and_not_added() {
    let mut model = Model::default();
    let start = Instant::now();
    for (seconds, bytes) in [(0, 0), (1, 1000)] {
        let mut vlan = interface("eth0.7", 3, bytes);
        vlan["stacked_on"] = json!("eth0");
        let at = start + Duration::from_secs(seconds);
        let sample = PollReply {
            at,
            status: status(&[interface("eth0", 2, bytes), vlan]),
            tab: Tab::Flows,
            list: None,
        };
        model.update(sample, at);
    }
    assert_eq!(model.totals(), (1000.0, 0.0));
    let (lines, _) = screen(&model, PLAIN, 80, 24);
    assert!(
        lines.iter().any(|line| line.starts_with("eth0.7 on eth0")),
        "{lines:#?}"
    );
}

#[test]
fn history_is_bounded_and_of_interfaces_that_are_there() {
    let mut model = Model::default();
    let start = Instant::now();
    for second in 0..200 {
        let at = start + Duration::from_secs(second);
        model.update(sample(second * 10, None, at), at);
    }
    assert_eq!(model.rates[&2].rx.len(), HISTORY);
    let at = start + Duration::from_secs(201);
    let gone = PollReply {
        at,
        status: status(&[]),
        tab: Tab::Flows,
        list: None,
    };
    model.update(gone, at);
    assert!(model.rates.is_empty());
}

#[test]
fn paused_nothing_moves_and_frozen_rows_keep_their_places() {
    let mut model = model();
    let later = Instant::now() + Duration::from_secs(2);
    let turned = || {
        flows(vec![
            flow("10.0.0.2", 90_000, 400),
            flow("10.0.0.1", 60_000, 300),
        ])
    };
    model.apply(KeyAction::Pause);
    let before = model.rows();
    model.update(sample(9_000, turned(), later), later);
    assert_eq!(model.rows(), before);
    let (lines, _) = screen(&model, PLAIN, 80, 24);
    assert!(lines[3].ends_with("PAUSED"), "{lines:#?}");
    model.apply(KeyAction::Pause);
    model.apply(KeyAction::Freeze);
    model.update(sample(9_000, turned(), later), later);
    let sources = |model: &Model| {
        let rows = model.rows().into_iter();
        rows.map(|row| row.cells[3].clone()).collect::<Vec<_>>()
    };
    assert_eq!(sources(&model), ["10.0.0.1:50000", "10.0.0.2:50000"]);
    assert_eq!(model.rows()[0].cells[6], "60.0 kB", "figures go on");
    model.apply(KeyAction::Freeze);
    assert_eq!(sources(&model), ["10.0.0.2:50000", "10.0.0.1:50000"]);
}

#[test]
fn keys_change_what_is_asked_for() {
    let mut model = Model::default();
    assert_eq!(
        model.request().list.as_deref(),
        Some("/v1/flows?limit=200&sort=rate")
    );
    assert!(model.apply(KeyAction::Sort));
    assert!(model.apply(KeyAction::Direction));
    let asked = model.request().list.unwrap();
    assert_eq!(asked, "/v1/flows?limit=200&sort=bytes&direction=ingress");
    assert!(!model.apply(KeyAction::EditFilter));
    for c in "tcp 443\n".chars() {
        assert!(!model.apply(KeyAction::Type(c)));
    }
    assert!(!model.apply(KeyAction::Erase));
    assert!(model.apply(KeyAction::Accept));
    assert_eq!(model.filter, "tcp 44");
    assert!(model.apply(KeyAction::NextTab));
    let asked = model.request().list.unwrap();
    let expected =
        "/v1/top?limit=200&by=direction,src_asn&sort=bytes&protocol=tcp&port=44&direction=ingress";
    assert_eq!(asked, expected);
    assert!(model.apply(KeyAction::Tab(6)));
    assert_eq!(model.request().list, None);
    model.apply(KeyAction::EditFilter);
    model.apply(KeyAction::EraseAll);
    model.apply(KeyAction::Cancel);
    assert_eq!(model.filter, "tcp 44", "as it was");
    model.apply(KeyAction::PreviousTab);
    assert_eq!(model.tab, Tab::Protocol);
    assert_eq!(model.sort, SortKey::Bytes);
}

#[test]
fn a_problem_is_shown_until_the_next_reply() {
    let mut model = model();
    model.failed("no agent answers".into());
    let (lines, _) = screen(&model, PLAIN, 80, 24);
    assert_eq!(lines[23], "no agent answers");
    assert!(lines[5].starts_with("eth0"), "what was heard last stays");
    let now = Instant::now() + Duration::from_secs(9);
    assert!(model.silence(now) > Duration::from_secs(6));
    model.update(
        sample(9_000, Some(Err("port: expected a port".into())), now),
        now,
    );
    let (lines, _) = screen(&model, PLAIN, 80, 24);
    assert_eq!(lines[23], "port: expected a port");
    model.update(sample(9_000, flows(Vec::new()), now), now);
    let (lines, _) = screen(&model, PLAIN, 80, 24);
    assert!(lines[23].starts_with("q end"));
    assert!(lines[5].starts_with("no flow is live"));
}

#[test]
fn a_long_list_is_scrolled_to_its_end_and_not_beyond() {
    let mut model = Model::default();
    let many: Vec<_> = (0..100)
        .map(|n| flow(&format!("10.0.0.{n}"), 1, 1))
        .collect();
    model.update(sample(0, flows(many), Instant::now()), Instant::now());
    model.apply(KeyAction::Down(1000));
    let (lines, _) = screen(&model, PLAIN, 80, 24);
    assert!(lines[5].contains("10.0.0.99"), "{lines:#?}");
    model.apply(KeyAction::Home);
    let (lines, _) = screen(&model, PLAIN, 80, 24);
    assert!(lines[5].contains("10.0.0.0:"), "{lines:#?}");
}

#[test]
fn text_from_outside_moves_no_cursor() {
    let mut model = Model::default();
    let mut hostile = interface("eth0", 2, 0);
    hostile["alias"] = json!("\u{1b}[2J\u{7}bell");
    let sample = PollReply {
        at: Instant::now(),
        status: status(&[hostile]),
        tab: Tab::Flows,
        list: None,
    };
    model.update(sample, Instant::now());
    for tab in [0, 6] {
        model.apply(KeyAction::Tab(tab));
        let (lines, _) = screen(&model, PLAIN, 80, 24);
        let all = lines.concat();
        assert!(
            all.contains("bell") && !all.contains(char::is_control),
            "{all}"
        );
    }
}

#[test]
fn long_addresses_keep_both_ends() {
    let mut model = Model::default();
    let long = flow("2001:db8:1234:5678:9abc:def0:1234:5678", 1, 1);
    let long = api::LiveFlow {
        dst: long.src.clone(),
        ..long
    };
    model.update(sample(0, flows(vec![long]), Instant::now()), Instant::now());
    let (lines, _) = screen(&model, PLAIN, 80, 24);
    assert!(lines[5].contains("[2001:db8"), "{}", lines[5]);
    assert!(
        lines[5].contains("]:50000") && lines[5].contains("]:443"),
        "{}",
        lines[5]
    );
    let (lines, _) = screen(&model, PLAIN, 160, 24);
    assert!(lines[5].contains("[2001:db8:1234:5678:9abc:def0:1234:5678]:50000"));
}

/// After a slow terminal, the model may receive two replies at once.
#[test]
fn rates_are_over_the_time_between_answers_and_not_between_looks() {
    let mut model = Model::default();
    let start = Instant::now();
    let late = start + Duration::from_secs(5);
    for second in 0..3 {
        let at = start + Duration::from_secs(second);
        model.update(sample(second * 1000, None, at), late);
    }
    assert_eq!(model.rates[&2].rx, [1000.0, 1000.0]);
}
