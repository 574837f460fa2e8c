// SPDX-License-Identifier: AGPL-3.0-only

use std::time::{Duration, Instant};

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::style::Color;
use serde_json::json;

use super::apply::KeyAction;
use super::model::{AgentRequest, ListReply, Model, Overlay, PollReply, PollRequest, SortKey};
use super::proposal::ProposalState;
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
        first: "2026-11-29T11:59:50Z".into(),
        packets: bytes.div_ceil(100),
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
        time: "2026-11-29T12:00:00Z".into(),
        sample_rate: 100,
        matched,
        flows,
    })))
}

fn sample(rx_bytes: u64, list: Option<Result<ListReply, String>>, at: Instant) -> PollReply {
    PollReply {
        at,
        status: status(&[interface("eth0", 2, rx_bytes)]),
        request: PollRequest::default(),
        list,
    }
}

/// A reply without a list, with these interfaces.
fn sample_of(interfaces: &[serde_json::Value], at: Instant) -> PollReply {
    PollReply {
        at,
        status: status(interfaces),
        request: PollRequest::default(),
        list: None,
    }
}

fn screen(model: &mut Model, theme: Theme, width: u16, height: u16) -> (Vec<String>, Buffer) {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a screen");
    terminal
        .draw(|frame| {
            view::draw(frame, model, theme);
        })
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
fn the_screen_shows_the_data_of_the_agent() {
    let (lines, _) = screen(&mut model(), PLAIN, 80, 24);
    assert_eq!(
        lines[0],
        "rfm 1.2.3  up 1h 1m  in 8.00 kbit/s  out 0 bit/s               1 in 100  7 flows"
    );
    assert!(lines[1].starts_with("INTERFACE"), "{lines:#?}");
    assert!(lines[2].starts_with("eth0") && lines[2].contains("1.00 Gbit/s 8.00 kbit/s"));
    assert!(lines[2].contains('█'), "a rate is seen: {}", lines[2]);
    assert!(lines[4].starts_with("PROTO HOST A"), "{lines:#?}");
    let first = lines[5].split_whitespace().collect::<Vec<_>>();
    let expected = ["tcp", "10.0.0.1:50000", "→", "192.0.2.1:443"];
    assert_eq!(first[..4], expected, "{lines:#?}");
    assert!(
        lines[6].ends_with("±98%"),
        "rests on 4 samples: {}",
        lines[6]
    );
    assert!(lines[22].starts_with("2 conversations: "), "{lines:#?}");
    assert!(lines[23].starts_with("q end"));
    assert!(lines.iter().all(|line| line.chars().count() <= 80));
    let (lines, _) = screen(&mut model(), PLAIN, 60, 24);
    assert!(lines[0].starts_with("up 1h 1m  in 8.00 kbit/s  out 0 bit/s  "));
}

#[test]
fn it_can_be_drawn_at_any_size() {
    let mut model = model();
    for theme in [PLAIN, COLOR, ASCII] {
        for (width, height) in [(1, 1), (10, 3), (40, 8), (80, 24), (80, 5), (250, 80)] {
            for tab in Tab::ALL {
                model.apply(KeyAction::Tab(tab));
                model.overlay = (height > 5).then_some(Overlay::Help);
                screen(&mut model, theme, width, height);
            }
        }
    }
}

#[test]
fn without_colour_there_is_none_and_without_utf8_only_ascii() {
    let mut model = model();
    model.overlay = Some(Overlay::Help);
    let (_, buffer) = screen(&mut model, PLAIN, 80, 24);
    let all = |buffer: &Buffer| buffer.content().to_vec();
    assert!(
        all(&buffer)
            .iter()
            .all(|c| c.fg == Color::Reset && c.bg == Color::Reset)
    );
    let (_, buffer) = screen(&mut model, COLOR, 80, 24);
    assert!(all(&buffer).iter().any(|c| c.fg != Color::Reset));
    let (lines, _) = screen(&mut model, ASCII, 80, 24);
    assert!(lines.iter().all(|line| line.is_ascii()), "{lines:#?}");
    model.overlay = None;
    let (lines, _) = screen(&mut model, ASCII, 80, 24);
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
        model.update(sample_of(&[interface("eth0", 2, bytes), vlan], at), at);
    }
    assert_eq!(model.totals(), (1000.0, 0.0));
    let (lines, _) = screen(&mut model, PLAIN, 80, 24);
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
    model.update(sample_of(&[], at), at);
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
    let (lines, _) = screen(&mut model, PLAIN, 80, 24);
    assert!(lines[0].starts_with("PAUSED"), "{lines:#?}");
    model.apply(KeyAction::Pause);
    model.apply(KeyAction::Freeze);
    model.update(sample(9_000, turned(), later), later);
    let sources = |model: &Model| {
        let rows = model.rows().into_iter();
        rows.map(|row| row.cells[1].clone()).collect::<Vec<_>>()
    };
    assert_eq!(sources(&model), ["10.0.0.1:50000", "10.0.0.2:50000"]);
    assert_eq!(model.rows()[0].cells[16], "60.0kB", "figures go on");
    model.apply(KeyAction::Freeze);
    assert_eq!(sources(&model), ["10.0.0.2:50000", "10.0.0.1:50000"]);
}

#[test]
fn keys_change_the_query() {
    let mut model = Model::default();
    assert_eq!(
        model.request().list.as_deref(),
        Some("/v1/flows?limit=1000&sort=rate")
    );
    assert!(model.apply(KeyAction::Sort));
    assert!(model.apply(KeyAction::Direction));
    let asked = model.request().list.unwrap();
    assert_eq!(asked, "/v1/flows?limit=1000&sort=bytes&direction=ingress");
    assert!(!model.apply(KeyAction::EditFilter));
    for c in "tcp 443\n".chars() {
        model.apply(KeyAction::Type(c));
    }
    model.apply(KeyAction::Erase);
    assert!(model.apply(KeyAction::Accept));
    assert_eq!(model.filter, "tcp 44");
    assert!(model.apply(KeyAction::NextTab));
    let asked = model.request().list.unwrap();
    let expected =
        "/v1/top?limit=200&by=direction,src_asn&sort=bytes&protocol=tcp&port=44&direction=ingress";
    assert_eq!(asked, expected);
    assert!(model.apply(KeyAction::Tab(Tab::Interfaces)));
    assert_eq!(model.request().list, None);
    model.apply(KeyAction::EditFilter);
    model.apply(KeyAction::EraseAll);
    model.apply(KeyAction::Cancel);
    assert_eq!(model.filter, "tcp 44", "as it was");
    model.apply(KeyAction::PreviousTab);
    assert_eq!(model.tab, Tab::Protocol);
    assert_eq!(model.sort, SortKey::Bytes);
    model.apply(KeyAction::EditInterval);
    model.apply(KeyAction::Type('5'));
    assert!(model.apply(KeyAction::Accept));
    assert_eq!(model.interval, Duration::from_secs(5));
}

/// While it is typed, the filter already hides rows; a name matches like an address.
#[test]
fn a_filter_applies_while_it_is_typed() {
    let mut model = model();
    let mut named = flow("198.51.100.9", 5_000, 200);
    named.src_asn = Some(64500);
    named.src_asn_name = Some("Example Net".into());
    let now = Instant::now() + Duration::from_secs(3);
    let list = flows(vec![named, flow("10.0.0.2", 900, 4)]);
    model.update(sample(9_000, list, now), now);
    assert_eq!(model.rows().len(), 3);
    model.apply(KeyAction::EditFilter);
    for c in "EXAMPLE".chars() {
        model.apply(KeyAction::Type(c));
    }
    let shown = |model: &Model| {
        let rows = model.rows().into_iter();
        rows.map(|row| row.cells[1].clone()).collect::<Vec<_>>()
    };
    assert_eq!(shown(&model), ["198.51.100.9:50000"]);
    model.apply(KeyAction::EraseAll);
    for c in "10.0.0".chars() {
        model.apply(KeyAction::Type(c));
    }
    assert_eq!(shown(&model).len(), 2);
    model.apply(KeyAction::Cancel);
    assert_eq!(shown(&model).len(), 3);
}

#[test]
fn enter_opens_and_esc_returns() {
    let mut model = model();
    model.apply(KeyAction::Down(1));
    model.apply(KeyAction::Open);
    let (lines, _) = screen(&mut model, PLAIN, 80, 24);
    assert_eq!(lines[2], "tcp  A 10.0.0.2:50000  B 192.0.2.1:443");
    assert!(
        lines[4].starts_with("A→B") && lines[4].ends_with("in eth0"),
        "{lines:#?}"
    );
    assert!(lines[9].starts_with("host A"), "{lines:#?}");
    assert!(model.apply(KeyAction::Open), "the host");
    assert_eq!((&*model.filter, &model.page), ("address=10.0.0.2", &None));
    assert!(model.apply(KeyAction::Back));
    assert!(model.page.is_some() && model.filter.is_empty());
    model.apply(KeyAction::Back);
    assert_eq!((&model.page, model.cursor), (&None, 1));
    // the cursor stays on its row when the order changes
    let now = Instant::now() + Duration::from_secs(2);
    let turned = flows(vec![flow("10.0.0.2", 990_000, 4000)]);
    model.update(sample(9_000, turned, now), now);
    assert_eq!(model.cursor, 0);
    model.apply(KeyAction::Reverse);
    assert_eq!(model.cursor, 1);
}

#[test]
fn a_rule_is_shown_first_and_sent_after_a_confirmation() {
    let mut model = model();
    model.apply(KeyAction::Propose);
    assert!(matches!(
        model.take_requests()[..],
        [AgentRequest::CheckFirewall]
    ));
    model.apply(KeyAction::Confirm);
    assert!(
        model.take_requests().is_empty(),
        "the agent has not answered"
    );
    let off = "there is no firewall: agent.firewall.enabled is false";
    model.answered(&AgentRequest::CheckFirewall, Err(off.into()));
    let (lines, _) = screen(&mut model, PLAIN, 80, 24);
    let all = lines.join("\n");
    assert!(
        all.contains("--src 10.0.0.1/32") && all.contains("--ttl 10m"),
        "{all}"
    );
    assert!(all.contains(off) && !all.contains("y apply"), "{all}");
    model.apply(KeyAction::Confirm);
    assert!(model.take_requests().is_empty());
    model.apply(KeyAction::NextTime);
    model.take_requests();
    model.answered(&AgentRequest::CheckFirewall, Ok(b"{}".to_vec()));
    model.apply(KeyAction::Confirm);
    let sent = model.take_requests();
    let [AgentRequest::AddRule(add)] = &sent[..] else {
        panic!("{sent:?}");
    };
    assert_eq!(add.rules[0].ttl_seconds, Some(3600));
    model.answered(&sent[0], Err("refused".into()));
    let Some(Overlay::Rule(proposal)) = &model.overlay else {
        panic!("the proposal stays");
    };
    assert_eq!(proposal.state, ProposalState::Refused("refused".into()));
    model.answered(&sent[0], Ok(br#"{"added":[7],"removed":0}"#.to_vec()));
    assert!(model.overlay.is_none());
    let (lines, _) = screen(&mut model, PLAIN, 80, 24);
    assert!(lines[23].starts_with("rule 7 is in force"), "{lines:#?}");
}

#[test]
fn each_kind_of_line_has_its_rules() {
    let mut model = model();
    let propose = |model: &mut Model, name: &str, value: &str| {
        model.overlay = None;
        model.propose_for_query(&[(name.to_owned(), value.to_owned())]);
        model.take_requests()
    };
    let command = |model: &Model| match &model.overlay {
        Some(Overlay::Rule(proposal)) => proposal.command(),
        other => panic!("{other:?}"),
    };
    propose(&mut model, "port", "53");
    assert_eq!(
        command(&model),
        "rfm firewall add --protocol udp --dport 53 --action drop --ttl 10m"
    );
    propose(&mut model, "protocol", "icmp6");
    assert!(command(&model).contains("--protocol icmpv6 --action drop --ttl 10m"));
    propose(&mut model, "address", "2001:db8::/48");
    assert!(command(&model).contains("--src 2001:db8::/48 "));
    assert!(propose(&mut model, "interface", "eth0").is_empty());
    assert!(model.overlay.is_none() && model.notice.is_some());

    // a network has the prefixes of its hosts with the most traffic
    let sent = propose(&mut model, "asn", "64500");
    assert!(matches!(sent[..], [AgentRequest::FlowsOf { asn: 64500 }]));
    let of = |src: &str, bytes| api::LiveFlow {
        src_asn: Some(64500),
        dst_asn: Some(64501),
        ..flow(src, bytes, 1000)
    };
    let hosts = [
        ("198.51.100.1", 5000),
        ("203.0.113.1", 3000),
        ("203.0.113.2", 3000),
    ];
    let list = flows(hosts.map(|(src, bytes)| of(src, bytes)).to_vec());
    let Some(Ok(ListReply::Flows(list))) = list else {
        panic!("flows");
    };
    let reply = || Ok(serde_json::to_vec(&list).unwrap());
    model.answered(&AgentRequest::FlowsOf { asn: 64501 }, reply());
    assert_eq!(model.overlay, Some(Overlay::Waiting { asn: 64500 }));
    model.answered(&sent[0], reply());
    let sent = model.take_requests();
    assert!(matches!(sent[..], [AgentRequest::CheckFirewall]));
    let proposed = "rfm firewall add --src 203.0.113.0/24 --action drop --ttl 10m";
    assert_eq!(command(&model), proposed);
    let (lines, _) = screen(&mut model, PLAIN, 80, 24);
    let all = lines.join("\n");
    assert!(
        all.contains("prefixes of AS64500 with the most traffic"),
        "{all}"
    );
    model.apply(KeyAction::NextRule);
    model.apply(KeyAction::NextRule);
    assert!(command(&model).contains("--src 198.51.100.0/24 "));
    // cancelled, or without addresses
    let sent = propose(&mut model, "dst_asn", "AS64499");
    model.apply(KeyAction::Cancel);
    model.answered(&sent[0], reply());
    assert_eq!(model.overlay, None);
    let sent = propose(&mut model, "dst_asn", "AS64499");
    model.answered(&sent[0], reply());
    let notice = model.notice.as_deref();
    assert_eq!(notice, Some("no live flow has an address of AS64499"));
}

#[test]
fn a_click_selects_and_a_second_one_opens() {
    let mut model = model();
    screen(&mut model, PLAIN, 80, 24);
    let area = ratatui::layout::Rect::new(0, 0, 80, 24);
    let hit = |model: &Model, x, y| view::hit(model, area, (x, y), PLAIN);
    assert_eq!(hit(&model, 5, 6), Some(KeyAction::Click(1)));
    assert_eq!(hit(&model, 5, 9), None, "no row");
    assert_eq!(hit(&model, 1, 3), Some(KeyAction::Tab(Tab::Conversations)));
    assert_eq!(hit(&model, 9, 3), Some(KeyAction::Tab(Tab::SrcAsn)));
    model.apply(KeyAction::Click(1));
    assert_eq!((model.cursor, &model.page), (1, &None));
    model.apply(KeyAction::Click(1));
    assert!(model.page.is_some());
}

#[test]
fn problems_are_on_the_screen_with_their_remedies() {
    let mut model = model();
    let status = model.status.as_mut().unwrap();
    status.problems = vec![api::Problem {
        kind: "packets_lost".into(),
        text: "5 packets were lost".into(),
        remedy: "raise agent.bpf.ring_buf_size".into(),
    }];
    for (width, height) in [(40, 10), (80, 24)] {
        let (lines, _) = screen(&mut model, PLAIN, width, height);
        let all = lines.join("\n");
        assert!(lines[0].contains("1 problem"), "{all}");
        assert!(all.contains("! 5 packets were lost"), "{all}");
    }
    model.apply(KeyAction::Problems);
    let (lines, _) = screen(&mut model, PLAIN, 40, 10);
    assert!(lines.join("\n").contains("raise agent.bpf.ring_buf_size"));
}

#[test]
fn bits_or_bytes() {
    let mut model = model();
    model.apply(KeyAction::Unit);
    let (lines, _) = screen(&mut model, PLAIN, 80, 24);
    assert!(lines[0].contains("in 1.00 kB/s"), "{lines:#?}");
}

#[test]
fn a_problem_is_shown_until_the_next_reply() {
    let mut model = model();
    model.failed("no agent answers".into());
    let (lines, _) = screen(&mut model, PLAIN, 80, 24);
    assert_eq!(lines[23], "no agent answers");
    assert!(lines[5].starts_with("tcp"), "the last data stay");
    let now = Instant::now() + Duration::from_secs(9);
    assert!(model.silence(now) > Duration::from_secs(6));
    model.update(
        sample(9_000, Some(Err("port: expected a port".into())), now),
        now,
    );
    let (lines, _) = screen(&mut model, PLAIN, 80, 24);
    assert_eq!(lines[23], "port: expected a port");
    model.update(sample(9_000, flows(Vec::new()), now), now);
    let (lines, _) = screen(&mut model, PLAIN, 80, 24);
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
    let (lines, _) = screen(&mut model, PLAIN, 80, 24);
    assert!(lines[21].contains("10.0.0.99"), "{lines:#?}");
    model.apply(KeyAction::Home);
    let (lines, _) = screen(&mut model, PLAIN, 80, 24);
    assert!(lines[5].contains("10.0.0.0:"), "{lines:#?}");
}

#[test]
fn text_from_outside_moves_no_cursor() {
    let mut model = Model::default();
    let mut hostile = interface("eth0", 2, 0);
    hostile["alias"] = json!("\u{1b}[2J\u{7}bell");
    model.update(sample_of(&[hostile], Instant::now()), Instant::now());
    for tab in [Tab::Conversations, Tab::Interfaces] {
        model.apply(KeyAction::Tab(tab));
        let (lines, _) = screen(&mut model, PLAIN, 80, 24);
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
    let (lines, _) = screen(&mut model, PLAIN, 80, 24);
    assert!(lines[5].contains("[2001:db8"), "{}", lines[5]);
    assert!(
        lines[5].contains("]:50000") && lines[5].contains("]:443"),
        "{}",
        lines[5]
    );
    let (lines, _) = screen(&mut model, PLAIN, 160, 24);
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
