// SPDX-License-Identifier: AGPL-3.0-only
//! The lines around the list: problems, the page of a conversation, sums, keys.

use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier};
use ratatui::text::Line;

use super::conversations::{Conversation, ConversationKey};
use super::model::{Model, SortKey};
use super::rows::{self, ListRow, RowStyle};
use super::tab::Tab;
use super::view::{Theme, cells, shorten};
use super::windows::WINDOWS;
use crate::client::format::{plural, short};
use crate::client::table::clean;
use crate::types::protocol::Protocol;

/// Returns the lines above the list.
pub fn above(model: &Model, area: Rect, theme: Theme) -> Vec<Line<'static>> {
    let width = usize::from(area.width);
    let fits = |text: &str| shorten(&theme.text(&clean(text)), width, theme);
    let mut lines = Vec::new();
    let problem = model.status.iter().flat_map(|s| &s.problems).next();
    if let Some(problem) = problem {
        let text = match area.width < 60 {
            true => format!("! {}", problem.text),
            false => format!("! {}: {}", problem.text, problem.remedy),
        };
        lines.push(Line::styled(
            fits(&text),
            theme.style(Color::Red, Modifier::BOLD),
        ));
    }
    if model.counts_twice() {
        let text = "forwarded packets are counted twice: d shows one direction";
        lines.push(Line::styled(
            fits(text),
            theme.style(Color::Yellow, Modifier::BOLD),
        ));
    }
    let page = model.page.as_ref();
    if let Some((key, one)) = page.and_then(|key| Some((key, model.conversations.table.get(key)?)))
    {
        lines.extend(
            page_lines(model, key, one)
                .iter()
                .map(|text| Line::raw(fits(text))),
        );
    }
    // the list keeps a few lines
    lines.truncate(usize::from(area.height).saturating_sub(5));
    lines
}

/// The rates of a conversation: each direction, and both.
fn page_lines(model: &Model, key: &ConversationKey, one: &Conversation) -> Vec<String> {
    let now = model.conversations.now();
    let style = RowStyle {
        unit: model.unit,
        names: &model.names,
    };
    let protocol = Protocol(key.protocol);
    let [a, b] = [&key.a, &key.b].map(|host| rows::host_port(host, protocol, style));
    let figures = |rates: [(f64, f64); 3], more: &str| {
        let [two, ten, forty] = rates.map(|(bytes, _)| model.unit.short(bytes));
        let packets = short(rates[1].1, "");
        format!("{two:>8} {ten:>8} {forty:>8} {packets:>8} {more}")
    };
    let way = |n: usize| {
        let way = &one.ways[n];
        let places = way.places.iter().map(|(egress, name)| match egress {
            true => format!("out {name}"),
            false => format!("in {name}"),
        });
        let places: Vec<_> = places.collect();
        let rates = WINDOWS.map(|window| way.rate(window, now));
        figures(rates, &format!("        {}", places.join(", ")))
    };
    let both = WINDOWS.map(|window| one.rate(window, now));
    let peak = format!("{:>8}", model.unit.short(one.peak));
    vec![
        format!("{protocol}  A {a}  B {b}"),
        format!(
            "{:5}{:>8} {:>8} {:>8} {:>8} {:>8}",
            "", "2s", "10s", "40s", "PKT/S", "PEAK"
        ),
        format!("A→B  {}", way(0).trim_end()),
        format!("B→A  {}", way(1).trim_end()),
        format!("both {}", figures(both, &peak)),
        String::new(),
    ]
}

/// Returns the line below the list: sums, and the part of the flows that they contain.
pub fn below(model: &Model, shown: &[ListRow], width: u16) -> Option<String> {
    if model.page.is_some() {
        return None;
    }
    match model.tab {
        Tab::Conversations => {
            let table = &model.conversations.table;
            let now = model.conversations.now();
            let filter = model.typed_filter();
            let words = !filter.words.is_empty();
            let keys: std::collections::HashSet<_> = shown.iter().map(|row| &row.key).collect();
            let sums = WINDOWS.map(|window| {
                let all = table.iter();
                let all =
                    all.filter(|(key, _)| !words || keys.contains(&rows::conversation_id(key)));
                all.map(|(_, one)| one.rate(window, now).0).sum::<f64>()
            });
            let [two, ten, forty] = sums.map(|sum| model.unit.short(sum));
            let count = plural(shown.len() as u64, "conversation");
            let (matched, received) = model.conversations.matched;
            let part = match matched > received {
                true => format!("  from the {received} largest of {matched} flows"),
                false => String::new(),
            };
            let evicted = match model.conversations.evicted {
                0 => String::new(),
                n => format!("  {n} evicted"),
            };
            Some(format!("{count}: {two} {ten} {forty}{part}{evicted}"))
        }
        Tab::Interfaces => None,
        _ if model.direction.is_none() && !model.adds_directions() => {
            let text = "a forwarded packet is in one row of \"in\" and in one of \"out\"";
            (usize::from(width) >= cells(text)).then(|| text.to_owned())
        }
        _ => None,
    }
}

/// Returns the text of an empty list.
pub fn nothing(model: &Model) -> &'static str {
    let loaded = model.list.is_some() || model.tab == Tab::Interfaces;
    let filter = model.typed_filter();
    match (loaded, filter.pairs.is_empty() && filter.words.is_empty()) {
        (false, _) => "",
        (true, _) if model.page.is_some() => "this conversation has ended",
        (true, true) if model.interfaces().is_empty() => "no interface is monitored",
        (true, true) => "no flow is live",
        (true, false) => "no live flow matches the filter",
    }
}

/// Returns the keys, as many as fit; the filter stands first.
pub fn keys(model: &Model, width: usize) -> String {
    let direction = match model.direction {
        None => "in+out",
        Some("ingress") => "in",
        Some(_) => "out",
    };
    let order = if model.reversed { "least " } else { "" };
    let sort = match (model.tab, model.sort) {
        (Tab::Conversations, SortKey::Rate) => "10s",
        (_, sort) => sort.name(),
    };
    let mut parts = vec!["q end".to_owned(), "h help".into()];
    if model.filter.is_empty() && model.back.is_empty() {
        parts.push("/ filter".into());
    } else {
        parts.push(
            format!("/ filter: {}", model.filter)
                .trim_end_matches(": ")
                .to_owned(),
        );
        parts.push("Esc back".into());
    }
    parts.extend([
        "Enter open".into(),
        format!("s sort:{order}{sort}"),
        format!("d {direction}"),
        format!("b {}", model.unit.name()),
        "x rule".into(),
        format!("n names:{}", if model.names.on { "on" } else { "off" }),
        "p pause".into(),
        "f freeze".into(),
        "r reverse".into(),
        format!("i interval:{:?}", model.interval),
    ]);
    let mut text = String::new();
    for part in parts {
        let gap = if text.is_empty() { "" } else { "  " };
        if !text.is_empty() && cells(&text) + gap.len() + cells(&part) > width {
            break;
        }
        text += gap;
        text += &part;
    }
    text
}
