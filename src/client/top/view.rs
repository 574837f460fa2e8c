// SPDX-License-Identifier: AGPL-3.0-only
//! Draws a model at any size from 40 columns and 8 lines.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Paragraph};

use super::model::Model;
use super::rows::{self, Column, ListRow};
use super::spark;
use super::tab::Tab;
use crate::client::format;
use crate::client::table::clean;

/// The most interfaces above the list; a separate tab shows all of them.
const MAX_INTERFACES: u16 = 8;

const HELP: &[&str] = &[
    "Tab, 1-7     what is listed             s   sort by rate, bytes, packets",
    "Up, Down     scroll                     d   in and out, in, out",
    "p, Space     pause: all stands still    f   freeze: rows keep their places",
    "/            filter: words such as eth0, in, out, tcp, 443, 10.0.0.0/8,",
    "             AS64500, src=10.0.0.1, dst_port=53; an empty one shows all",
    "q, Ctrl-C    end",
    "",
    "±            rests on fewer than 100 samples: so far off it may be (95 %)",
    "rates of flows are of the part in progress, at most a minute or so",
];

/// The capabilities of the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Theme {
    pub color: bool,
    /// No characters beyond ASCII.
    pub ascii: bool,
}

impl Theme {
    fn style(self, color: Color, without: Modifier) -> Style {
        match self.color {
            true => Style::new().fg(color),
            false => Style::new().add_modifier(without),
        }
    }

    fn bar(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    fn text(self, text: &str) -> String {
        match self.ascii {
            true => text.replace('±', "+-").replace('…', "~"),
            false => text.to_owned(),
        }
    }
}

pub fn draw(frame: &mut Frame<'_>, model: &Model, theme: Theme) {
    let area = frame.area();
    let interfaces = interface_lines(model, area, theme);
    let [head, top, tabs, list, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(interfaces.len() as u16),
        Constraint::Length(1),
        Constraint::Min(0),
        Constraint::Length(1),
    ])
    .areas(area);
    frame.render_widget(header(model, head.width, theme), head);
    frame.render_widget(Paragraph::new(interfaces), top);
    frame.render_widget(tab_bar(model, tabs.width, theme), tabs);
    frame.render_widget(Paragraph::new(list_lines(model, list, theme)), list);
    frame.render_widget(footer(model, foot.width, theme), foot);
    if model.help {
        draw_help(frame, area, theme);
    }
}

fn header(model: &Model, width: u16, theme: Theme) -> Line<'static> {
    let Some(status) = &model.status else {
        return bar("rfm top", "", width, theme);
    };
    let (rx, tx) = model.totals();
    let left = format!(
        "rfm {}  up {}  in {}  out {}",
        status.version,
        format::duration(status.uptime_seconds),
        format::bits(rx),
        format::bits(tx)
    );
    let sampling = match status.sample_rate {
        1 => "every packet".to_owned(),
        n => format!("1 in {n}"),
    };
    let problems = match status.problems.len() {
        0 => String::new(),
        1 => "1 problem  ".to_owned(),
        n => format!("{n} problems  "),
    };
    let right = format!("{problems}{sampling}  {} flows", status.flows.active);
    bar(&left, &right, width, theme)
}

/// Returns a line across the whole width.
fn bar(left: &str, right: &str, width: u16, theme: Theme) -> Line<'static> {
    let width = usize::from(width);
    let (left, right) = (clean(&theme.text(left)), clean(&theme.text(right)));
    let room = width.saturating_sub(cells(&right) + 1);
    let left = shorten(&left, room, theme);
    let space = " ".repeat(width.saturating_sub(cells(&left) + cells(&right)));
    Line::styled(format!("{left}{space}{right}"), theme.bar())
}

fn interface_lines(model: &Model, area: Rect, theme: Theme) -> Vec<Line<'static>> {
    let all = rows::busiest_first(model.status.as_ref(), &model.rates);
    // the list below keeps at least half of the screen
    let room = (area.height.saturating_sub(4) / 2).min(MAX_INTERFACES);
    if model.tab == Tab::Interfaces || all.is_empty() || room < 2 {
        return Vec::new();
    }
    let shown = &all[..all.len().min(usize::from(room) - 1)];
    let names = shown.iter().map(|i| cells(&label(i))).max().unwrap_or(0);
    let speeds = shown.iter().map(|i| cells(&rows::speed(i))).max();
    let names = names.clamp(9, 30).min(usize::from(area.width) / 3);
    let speeds = speeds.unwrap_or(0).max(5);
    const RATE: usize = 11;
    let fixed = names + speeds + 2 * RATE + 7;
    let sparks = usize::from(area.width).saturating_sub(fixed) / 2;
    let more = match all.len() - shown.len() {
        0 => String::new(),
        n => format!(" (+{n} more)"),
    };
    let heading = format!(
        "{:names$}  {:>speeds$} {:>RATE$} {:sparks$}  {:>RATE$} {:sparks$}",
        shorten(&format!("INTERFACE{more}"), names, theme),
        "SPEED",
        "RX",
        "",
        "TX",
        ""
    );
    let mut lines = vec![Line::styled(
        heading.trim_end().to_owned(),
        theme.style(Color::Cyan, Modifier::BOLD),
    )];
    for interface in shown {
        let rates = model.rates.get(&interface.ifindex);
        let (rx, tx) = model.rates_of(interface.ifindex);
        let name = pad(&shorten(&label(interface), names, theme), names);
        let spark = |of: fn(&super::rates::Rates) -> &std::collections::VecDeque<f64>| {
            let values = rates.map(|r| of(r).iter().copied().collect::<Vec<_>>());
            spark::line(&values.unwrap_or_default(), sparks, theme.ascii)
        };
        lines.push(Line::from(vec![
            Span::raw(format!(
                "{name}  {:>speeds$} {:>RATE$} ",
                rows::speed(interface),
                format::bits(rx)
            )),
            Span::styled(
                spark(|r| &r.rx),
                theme.style(Color::Green, Modifier::empty()),
            ),
            Span::raw(format!("  {:>RATE$} ", format::bits(tx))),
            Span::styled(
                spark(|r| &r.tx),
                theme.style(Color::Blue, Modifier::empty()),
            ),
        ]));
    }
    lines
}

fn label(interface: &crate::control::api::InterfaceStatus) -> String {
    let on = interface.stacked_on.as_ref();
    let on = on.map_or_else(String::new, |below| format!(" on {below}"));
    let alias = match &interface.alias[..] {
        "" => String::new(),
        alias => format!(" {alias}"),
    };
    clean(&format!("{}{on}{alias}", interface.name))
}

fn tab_bar(model: &Model, width: u16, theme: Theme) -> Line<'static> {
    let mut spans = Vec::new();
    let mut used = 0;
    for (n, tab) in Tab::ALL.into_iter().enumerate() {
        let text = format!(" {}{} ", n + 1, tab.title());
        used += text.len();
        let style = match tab == model.tab {
            true => theme.bar(),
            false => theme.style(Color::Cyan, Modifier::empty()),
        };
        spans.push(Span::styled(text, style));
    }
    let states = states(model);
    let room = usize::from(width).saturating_sub(used + 1);
    if room >= cells(&states) {
        let space = " ".repeat(usize::from(width).saturating_sub(used + cells(&states)));
        let style = theme.style(Color::Yellow, Modifier::BOLD);
        spans.push(Span::styled(format!("{space}{states}"), style));
    }
    Line::from(spans)
}

fn states(model: &Model) -> String {
    let mut states = Vec::new();
    if model.paused {
        states.push("PAUSED");
    }
    if model.frozen {
        states.push("FROZEN");
    }
    states.join(" ")
}

fn list_lines(model: &Model, area: Rect, theme: Theme) -> Vec<Line<'static>> {
    let mut rows = model.rows();
    for cell in rows.iter_mut().flat_map(|row| &mut row.cells) {
        *cell = theme.text(cell);
    }
    let columns = rows::columns(model.tab);
    let titles: Vec<_> = columns.iter().map(|c| theme.text(c.title)).collect();
    let widths = widths(columns, &titles, &rows, usize::from(area.width));
    let heading = line(columns, &titles, &widths, theme);
    let style = theme.style(Color::Cyan, Modifier::BOLD);
    let mut lines = vec![Line::styled(heading, style)];
    let room = usize::from(area.height).saturating_sub(1);
    for row in rows.iter().skip(model.scroll).take(room) {
        let style = match row.few_samples {
            true => theme.style(Color::DarkGray, Modifier::DIM),
            false => Style::new(),
        };
        lines.push(Line::styled(
            line(columns, &row.cells, &widths, theme),
            style,
        ));
    }
    if rows.is_empty() && model.status.is_some() && model.problem.is_none() {
        let nothing = match (model.list.is_some(), model.filter.is_empty()) {
            (false, _) => "",
            (true, true) => "no flow is live",
            (true, false) => "no live flow matches the filter",
        };
        lines.push(Line::raw(nothing));
    }
    lines
}

/// Returns the width of each column: fixed columns have the width they need, and the flexible ones share the
/// rest.
fn widths(columns: &[Column], titles: &[String], rows: &[ListRow], room: usize) -> Vec<usize> {
    let needed = |n: usize| {
        let longest = rows.iter().map(|row| cells(&row.cells[n])).max();
        longest.unwrap_or(0).max(cells(&titles[n]))
    };
    let mut widths: Vec<_> = (0..columns.len()).map(needed).collect();
    let gaps = columns.len().saturating_sub(1);
    let flexible = columns.iter().filter(|c| c.flexible).count();
    let total: usize = widths.iter().sum::<usize>() + gaps;
    if total <= room || flexible == 0 {
        return widths;
    }
    let fixed: usize = columns
        .iter()
        .zip(&widths)
        .filter(|(column, _)| !column.flexible)
        .map(|(_, width)| width)
        .sum();
    let share = room.saturating_sub(fixed + gaps) / flexible;
    // a column that needs less leaves the rest to the others
    let spare: usize = columns
        .iter()
        .zip(&widths)
        .filter(|(column, _)| column.flexible)
        .map(|(_, width)| share.saturating_sub(*width))
        .sum();
    for (column, width) in columns.iter().zip(&mut widths) {
        if column.flexible && *width > share {
            *width = (*width).min(share + spare).max(4);
        }
    }
    widths
}

fn line(columns: &[Column], cells_of: &[String], widths: &[usize], theme: Theme) -> String {
    let mut text = String::new();
    for ((column, cell), &width) in columns.iter().zip(cells_of).zip(widths) {
        let cell = shorten(cell, width, theme);
        let space = " ".repeat(width.saturating_sub(cells(&cell)));
        if !text.is_empty() {
            text.push(' ');
        }
        match column.right {
            true => text += &format!("{space}{cell}"),
            false => text += &format!("{cell}{space}"),
        }
    }
    text
}

fn footer(model: &Model, width: u16, theme: Theme) -> Line<'static> {
    if let Some(text) = &model.editing {
        let text = format!("filter: {text}_");
        let style = theme.style(Color::Yellow, Modifier::BOLD);
        return Line::styled(clean(&text), style);
    }
    if let Some(problem) = &model.problem {
        let text = shorten(&clean(problem), usize::from(width), theme);
        return Line::styled(text, theme.style(Color::Red, Modifier::BOLD));
    }
    let direction = match model.direction {
        None => "in+out",
        Some("ingress") => "in",
        Some(_) => "out",
    };
    let mut left = format!(
        "q end  s sort:{}  d {direction}  p pause  f freeze  h help",
        model.sort.name()
    );
    left += "  / filter";
    if !model.filter.is_empty() {
        left += &format!(": {}", model.filter);
    }
    bar(&left, "", width, theme)
}

fn draw_help(frame: &mut Frame<'_>, area: Rect, theme: Theme) {
    let height = (HELP.len() as u16).min(area.height);
    let width = 76.min(area.width);
    let place = Rect {
        x: (area.width - width) / 2,
        y: (area.height - height) / 2,
        width,
        height,
    };
    frame.render_widget(Clear, place);
    let lines: Vec<_> = HELP
        .iter()
        .map(|text| {
            let text = format!(" {}", theme.text(text));
            let space = " ".repeat(usize::from(width).saturating_sub(cells(&text)));
            Line::styled(format!("{text}{space}"), theme.bar())
        })
        .collect();
    frame.render_widget(Paragraph::new(lines), place);
}

/// Returns the width of a text in columns of the terminal.
fn cells(text: &str) -> usize {
    Span::raw(text).width()
}

fn pad(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(cells(text))))
}

/// Shortens a text in the middle: both ends of an address with a port carry information.
fn shorten(text: &str, width: usize, theme: Theme) -> String {
    if cells(text) <= width {
        return text.to_owned();
    }
    let mark = if theme.ascii { "~" } else { "…" };
    let room = width.saturating_sub(1);
    let tail = room * 2 / 5;
    let take = |chars: &mut dyn Iterator<Item = char>, room: usize| {
        let mut taken = String::new();
        for c in chars {
            if cells(&taken) + cells(c.encode_utf8(&mut [0; 4])) > room {
                break;
            }
            taken.push(c);
        }
        taken
    };
    let end: String = take(&mut text.chars().rev(), tail).chars().rev().collect();
    let start = take(&mut text.chars(), room - cells(&end));
    match width {
        0 => String::new(),
        _ => format!("{start}{mark}{end}"),
    }
}
