// SPDX-License-Identifier: AGPL-3.0-only
//! Draws a model at any size from 40 columns and 8 lines.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::apply::KeyAction;
use super::columns::{self, Column};
use super::model::{Model, Prompt};
use super::notes;
use super::overlay;
use super::rows::{self, ListRow};
use super::spark;
use super::tab::Tab;
use crate::client::table::clean;

/// The most interfaces above the list; a separate tab shows all of them.
const MAX_INTERFACES: u16 = 8;
/// A terminal with fewer columns or lines has only the most important lines.
const NARROW: u16 = 60;
const LOW: u16 = 14;

/// The capabilities of the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Theme {
    pub color: bool,
    /// No characters beyond ASCII.
    pub ascii: bool,
}

impl Theme {
    pub fn style(self, color: Color, without: Modifier) -> Style {
        match self.color {
            true => Style::new().fg(color),
            false => Style::new().add_modifier(without),
        }
    }

    pub fn bar(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// Returns a text in characters that the terminal has.
    pub fn text(self, text: &str) -> String {
        if !self.ascii {
            return text.to_owned();
        }
        let replaced = text.chars().map(|c| match c {
            '±' => "+-".to_owned(),
            '…' => "~".to_owned(),
            '→' => ">".to_owned(),
            '←' => "<".to_owned(),
            '↔' => "=".to_owned(),
            c if c.is_ascii() => c.to_string(),
            _ => "?".to_owned(),
        });
        replaced.collect()
    }
}

/// The parts of the screen.
struct Areas {
    head: Rect,
    interfaces: Rect,
    tabs: Rect,
    /// Problems, or a page's own lines.
    notes: Rect,
    list: Rect,
    sums: Rect,
    foot: Rect,
}

/// What the screen shows, with the parts that it needs.
struct Screenful {
    areas: Areas,
    /// The rows of the list: a long list takes most of the time of a drawing, so that they are made once.
    rows: Vec<ListRow>,
    interfaces: Vec<Line<'static>>,
    notes: Vec<Line<'static>>,
    sums: Option<String>,
}

impl Screenful {
    fn new(model: &Model, area: Rect, theme: Theme) -> Self {
        let interfaces = interface_lines(model, area, theme);
        let notes = notes::above(model, area, theme);
        let rows = model.rows();
        let sums = (area.height >= LOW)
            .then(|| notes::below(model, &rows, area.width))
            .flatten();
        let [head, top, tabs, above, list, below, foot] = Layout::vertical([
            Constraint::Length(1),
            Constraint::Length(interfaces.len() as u16),
            Constraint::Length(1),
            Constraint::Length(notes.len() as u16),
            Constraint::Min(0),
            Constraint::Length(u16::from(sums.is_some())),
            Constraint::Length(1),
        ])
        .areas(area);
        let areas = Areas {
            head,
            interfaces: top,
            tabs,
            notes: above,
            list,
            sums: below,
            foot,
        };
        Self {
            areas,
            rows,
            interfaces,
            notes,
            sums,
        }
    }

    /// The number of rows on the screen; one line is the heading.
    fn room(&self) -> usize {
        usize::from(self.areas.list.height).saturating_sub(1)
    }
}

/// Draws the model; returns the number of rows on the screen.
pub fn draw(frame: &mut Frame<'_>, model: &mut Model, theme: Theme) -> usize {
    let area = frame.area();
    let screen = Screenful::new(model, area, theme);
    let areas = &screen.areas;
    let room = screen.room();
    model.scroll_to_cursor(screen.rows.len(), room);
    let list = Paragraph::new(list_lines(model, screen.rows, areas.list, theme));
    frame.render_widget(header(model, areas.head.width, theme), areas.head);
    frame.render_widget(tab_bar(model, areas.tabs.width, theme), areas.tabs);
    frame.render_widget(list, areas.list);
    frame.render_widget(footer(model, areas.foot.width, theme), areas.foot);
    if let Some(sums) = screen.sums {
        let style = theme.style(Color::DarkGray, Modifier::DIM);
        let text = shorten(&theme.text(&sums), usize::from(areas.sums.width), theme);
        frame.render_widget(Line::styled(text, style), areas.sums);
    }
    frame.render_widget(Paragraph::new(screen.interfaces), areas.interfaces);
    frame.render_widget(Paragraph::new(screen.notes), areas.notes);
    overlay::draw(frame, model, theme);
    room
}

/// Returns the command of a click at a place of the screen.
pub fn hit(model: &Model, area: Rect, (x, y): (u16, u16), theme: Theme) -> Option<KeyAction> {
    if model.overlay.is_some() {
        return Some(KeyAction::Cancel);
    }
    let Screenful { areas, rows, .. } = Screenful::new(model, area, theme);
    let within = |area: Rect| y >= area.y && y < area.y + area.height;
    if within(areas.tabs) {
        let titles = tab_titles(model, area.width).into_iter();
        let mut right = 0;
        return titles
            .map(|(tab, title)| {
                right += cells(&title) as u16;
                (tab, right)
            })
            .find(|(_, right)| x < *right)
            .map(|(tab, _)| KeyAction::Tab(tab));
    }
    if within(areas.list) && y > areas.list.y {
        let row = model.scroll + usize::from(y - areas.list.y) - 1;
        return (row < rows.len()).then_some(KeyAction::Click(row));
    }
    if within(areas.list) {
        return Some(KeyAction::Sort);
    }
    let problems = model
        .status
        .as_ref()
        .is_some_and(|s| !s.problems.is_empty());
    (problems && (within(areas.head) || within(areas.notes))).then_some(KeyAction::Problems)
}

fn header(model: &Model, width: u16, theme: Theme) -> Line<'static> {
    let Some(status) = &model.status else {
        return bar("rfm top", "", width, theme);
    };
    let (rx, tx) = model.totals();
    let rates = format!("in {}  out {}", model.unit.rate(rx), model.unit.rate(tx));
    let states = [(model.paused, "PAUSED  "), (model.frozen, "FROZEN  ")];
    let states: String = states
        .iter()
        .filter(|(on, _)| *on)
        .map(|(_, s)| *s)
        .collect();
    let problems = match status.problems.len() {
        0 => String::new(),
        1 => "1 problem".to_owned(),
        n => format!("{n} problems"),
    };
    if width < NARROW {
        return bar(&format!("{states}{rates}"), &problems, width, theme);
    }
    let up = crate::client::format::duration(status.uptime_seconds);
    let sampling = match status.sample_rate {
        1 => "every packet".to_owned(),
        n => format!("1 in {n}"),
    };
    let problems = match problems.is_empty() {
        true => problems,
        false => problems + "  ",
    };
    let right = format!("{problems}{sampling}  {} flows", status.flows.active);
    let room = usize::from(width).saturating_sub(cells(&right) + 2);
    // the rates matter most
    let variants = [
        format!("{states}rfm {}  up {up}  {rates}", status.version),
        format!("{states}up {up}  {rates}"),
        format!("{states}{rates}"),
    ];
    let fits = variants.iter().find(|text| cells(text) <= room);
    let left = fits.unwrap_or(&variants[2]).clone();
    bar(&left, &right, width, theme)
}

/// Returns a line across the whole width.
fn bar(left: &str, right: &str, width: u16, theme: Theme) -> Line<'static> {
    let width = usize::from(width);
    let (left, right) = (clean(&theme.text(left)), clean(&theme.text(right)));
    let gap = if right.is_empty() { 0 } else { 1 };
    let room = width.saturating_sub(cells(&right) + gap);
    let left = shorten(&left, room, theme);
    let space = " ".repeat(width.saturating_sub(cells(&left) + cells(&right)));
    Line::styled(format!("{left}{space}{right}"), theme.bar())
}

fn interface_lines(model: &Model, area: Rect, theme: Theme) -> Vec<Line<'static>> {
    let all = rows::busiest_first(model.status.as_ref(), &model.rates);
    // the list below keeps at least half of the screen
    let room = (area.height.saturating_sub(4) / 2).min(MAX_INTERFACES);
    let hidden = model.tab == Tab::Interfaces || model.page.is_some();
    if hidden || all.is_empty() || room < 2 || area.height < LOW {
        return Vec::new();
    }
    let shown = &all[..all.len().min(usize::from(room) - 1)];
    let names = shown.iter().map(|i| cells(&label(i))).max().unwrap_or(0);
    let speeds = shown.iter().map(|i| cells(&rows::speed(i))).max();
    let names = names.clamp(9, 30).min(usize::from(area.width) / 3);
    let speeds = match area.width < NARROW {
        true => 0,
        false => speeds.unwrap_or(0).max(5),
    };
    const RATE: usize = 11;
    let fixed = names + speeds + 2 * RATE + 7;
    let sparks = usize::from(area.width).saturating_sub(fixed) / 2;
    let more = match all.len() - shown.len() {
        0 => String::new(),
        n => format!(" (+{n} more)"),
    };
    let speed_of = |text: String| match speeds {
        0 => String::new(),
        _ => format!("  {text:>speeds$}"),
    };
    let heading = format!(
        "{:names$}{} {:>RATE$} {:sparks$}  {:>RATE$} {:sparks$}",
        shorten(&format!("INTERFACE{more}"), names, theme),
        speed_of("SPEED".into()),
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
        let name = pad(
            &shorten(&theme.text(&label(interface)), names, theme),
            names,
        );
        let spark = |of: fn(&super::rates::Rates) -> &std::collections::VecDeque<f64>| {
            let values = rates.map(|r| of(r).iter().copied().collect::<Vec<_>>());
            spark::line(&values.unwrap_or_default(), sparks, theme.ascii)
        };
        lines.push(Line::from(vec![
            Span::raw(format!(
                "{name}{} {:>RATE$} ",
                speed_of(rows::speed(interface)),
                model.unit.rate(rx)
            )),
            Span::styled(
                spark(|r| &r.rx),
                theme.style(Color::Green, Modifier::empty()),
            ),
            Span::raw(format!("  {:>RATE$} ", model.unit.rate(tx))),
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

/// Returns the tabs that fit, each with its title: in full, in short, or only those around the current one.
fn tab_titles(model: &Model, width: u16) -> Vec<(Tab, String)> {
    let title = |tab: Tab, short: bool| {
        let number = Tab::ALL.iter().position(|one| *one == tab);
        let number = number.map_or(0, |n| n + 1);
        let (long, brief) = tab.titles();
        let text = match tab {
            Tab::Fields => format!("By {}", model.by.join(",")),
            _ if short => brief.to_owned(),
            _ => long.to_owned(),
        };
        format!(" {number}{text} ")
    };
    let tabs = model.tabs();
    let all = |short| tabs.iter().map(move |tab| (*tab, title(*tab, short)));
    let wide = |titles: &[(Tab, String)]| titles.iter().map(|(_, t)| cells(t)).sum::<usize>();
    let full: Vec<_> = all(false).collect();
    if wide(&full) <= usize::from(width) {
        return full;
    }
    let mut short: Vec<_> = all(true).collect();
    while wide(&short) > usize::from(width) && short.len() > 1 {
        match short[0].0 == model.tab || short.len() > 2 && short[1].0 == model.tab {
            true => drop(short.pop()),
            false => drop(short.remove(0)),
        }
    }
    short
}

fn tab_bar(model: &Model, width: u16, theme: Theme) -> Line<'static> {
    let titles = tab_titles(model, width).into_iter();
    let spans = titles.map(|(tab, title)| {
        let style = match tab == model.tab {
            true => theme.bar(),
            false => theme.style(Color::Cyan, Modifier::empty()),
        };
        Span::styled(title, style)
    });
    Line::from(spans.collect::<Vec<_>>())
}

fn list_lines(
    model: &Model,
    mut rows: Vec<ListRow>,
    area: Rect,
    theme: Theme,
) -> Vec<Line<'static>> {
    for cell in rows.iter_mut().flat_map(|row| &mut row.cells) {
        *cell = theme.text(cell);
    }
    let columns = columns::of(model.tab, model.page.is_some());
    let titles: Vec<_> = columns.iter().map(|c| theme.text(c.title)).collect();
    let largest = rows.iter().map(|row| row.figure).fold(0.0, f64::max);
    let needed = |n: usize| match columns[n].is_bar {
        true => (largest > 0.0).then_some(columns::BAR),
        false => rows.iter().map(|row| cells(&row.cells[n])).max(),
    };
    let needed: Vec<_> = (0..columns.len()).map(|n| needed(n).unwrap_or(0)).collect();
    let widths = columns::fit(columns, &needed, usize::from(area.width));
    for (n, width) in (0..columns.len())
        .filter(|n| columns[*n].is_bar)
        .map(|n| (n, widths[n]))
    {
        for row in &mut rows {
            row.cells[n] = spark::bar(row.figure / largest, width.unwrap_or(0), theme.ascii);
        }
    }
    let style = theme.style(Color::Cyan, Modifier::BOLD);
    let mut lines = vec![Line::styled(line(columns, &titles, &widths, theme), style)];
    let room = usize::from(area.height).saturating_sub(1);
    let shown = rows.iter().enumerate().skip(model.scroll).take(room);
    for (n, row) in shown {
        let style = match row.few_samples {
            _ if n == model.cursor => theme.bar(),
            true => theme.style(Color::DarkGray, Modifier::DIM),
            false => Style::new(),
        };
        let text = line(columns, &row.cells, &widths, theme);
        lines.push(Line::styled(pad(&text, usize::from(area.width)), style));
    }
    if rows.is_empty() && model.status.is_some() && model.problem.is_none() {
        lines.push(Line::raw(notes::nothing(model)));
    }
    lines
}

fn line(columns: &[Column], texts: &[String], widths: &[Option<usize>], theme: Theme) -> String {
    let mut line = String::new();
    let shown = columns.iter().zip(texts).zip(widths);
    for ((column, text), width) in shown {
        let Some(width) = *width else { continue };
        let text = match column.keeps_ends {
            true => shorten(text, width, theme),
            false => cut(text, width, theme),
        };
        let space = " ".repeat(width.saturating_sub(cells(&text)));
        if !line.is_empty() {
            line.push(' ');
        }
        match column.right {
            true => line += &format!("{space}{text}"),
            false => line += &format!("{text}{space}"),
        }
    }
    line
}

fn footer(model: &Model, width: u16, theme: Theme) -> Line<'static> {
    let typed = match &model.prompt {
        Some(Prompt::Filter(text)) => Some(format!("filter: {text}_")),
        Some(Prompt::Interval(text)) => Some(format!("seconds between queries: {text}_")),
        None => None,
    };
    if let Some(text) = typed {
        let style = theme.style(Color::Yellow, Modifier::BOLD);
        return Line::styled(theme.text(&clean(&text)), style);
    }
    let messages = [(&model.problem, Color::Red), (&model.notice, Color::Yellow)];
    for (message, color) in messages {
        if let Some(message) = message {
            let text = shorten(&theme.text(&clean(message)), usize::from(width), theme);
            return Line::styled(text, theme.style(color, Modifier::BOLD));
        }
    }
    bar(&notes::keys(model, usize::from(width)), "", width, theme)
}

/// Returns the width of a text in columns of the terminal.
pub fn cells(text: &str) -> usize {
    Span::raw(text).width()
}

fn pad(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(cells(text))))
}

/// Shortens a text in the middle: both ends of an address with a port carry information.
pub fn shorten(text: &str, width: usize, theme: Theme) -> String {
    let tail = width.saturating_sub(1) * 2 / 5;
    shortened(text, width, tail, theme)
}

/// Shortens a text at its end.
fn cut(text: &str, width: usize, theme: Theme) -> String {
    shortened(text, width, 0, theme)
}

/// Shortens a text of which the last `tail` columns stay.
fn shortened(text: &str, width: usize, tail: usize, theme: Theme) -> String {
    if cells(text) <= width {
        return text.to_owned();
    }
    let mark = if theme.ascii { "~" } else { "…" };
    let room = width.saturating_sub(1);
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
        _ => format!("{}{mark}{end}", start.trim_end()),
    }
}
