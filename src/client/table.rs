// SPDX-License-Identifier: AGPL-3.0-only
//! Aligned columns of text.

use std::borrow::Cow;
use std::io::{self, IsTerminal};

use ratatui::text::Span;

/// A column of text is not made narrower.
const MIN_WIDTH: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    Left,
    Right,
}

pub struct TextTable {
    columns: Vec<(String, Align)>,
    rows: Vec<Vec<String>>,
}

impl TextTable {
    pub fn new<T: ToString>(columns: &[(T, Align)]) -> Self {
        let columns = columns.iter();
        Self {
            columns: columns
                .map(|(name, align)| (name.to_string(), *align))
                .collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row with a cell for each column.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows
            .push(cells.into_iter().map(|c| clean(&c)).collect());
    }

    /// Returns the table with its headings, as wide as the terminal if the output is one. Columns that are empty in all
    /// rows are left out.
    pub fn render(&self) -> String {
        self.render_within(terminal_width())
    }

    /// Shortens the widest text columns until the lines have at most this width.
    fn render_within(&self, limit: Option<usize>) -> String {
        let used = |column: &usize| self.rows.iter().any(|row| !row[*column].is_empty());
        let columns: Vec<usize> = (0..self.columns.len()).filter(used).collect();
        let heading = self.columns.iter().map(|(name, _)| name.clone());
        let heading: Vec<String> = heading.collect();
        let lines = || std::iter::once(&heading).chain(&self.rows);
        let width_of = |&column: &usize| lines().map(|row| width(&row[column])).max();
        let mut widths: Vec<usize> = columns.iter().map(|c| width_of(c).unwrap_or(0)).collect();
        let is_text = |n: &usize| self.columns[columns[*n]].1 == Align::Left;
        let lines_width =
            |widths: &[usize]| widths.iter().sum::<usize>() + 2 * (widths.len().max(1) - 1);
        while limit.is_some_and(|limit| lines_width(&widths) > limit) {
            let widest = (0..widths.len()).filter(is_text).max_by_key(|n| widths[*n]);
            match widest {
                Some(n) if widths[n] > MIN_WIDTH => widths[n] -= 1,
                _ => break,
            }
        }
        let mut text = String::new();
        for row in lines() {
            let mut line = String::new();
            for (&column, &wide) in columns.iter().zip(&widths) {
                let cell = &shortened(&row[column], wide);
                let space = " ".repeat(wide - width(cell));
                match self.columns[column].1 {
                    Align::Left => line += &format!("{cell}{space}  "),
                    Align::Right => line += &format!("{space}{cell}  "),
                }
            }
            text += line.trim_end();
            text.push('\n');
        }
        text
    }
}

/// Returns the width of the terminal; `None` if the output is none.
fn terminal_width() -> Option<usize> {
    let size = io::stdout()
        .is_terminal()
        .then(ratatui::crossterm::terminal::size);
    let (columns, _) = size?.ok()?;
    (columns > 0).then_some(columns.into())
}

/// Returns a text that is too wide with "…" at its end.
fn shortened(text: &str, limit: usize) -> Cow<'_, str> {
    if width(text) <= limit {
        return Cow::Borrowed(text);
    }
    let mut short = String::new();
    for letter in text.chars() {
        short.push(letter);
        if width(&short) >= limit {
            short.pop();
            break;
        }
    }
    Cow::Owned(short + "…")
}

fn width(text: &str) -> usize {
    Span::raw(text).width()
}

/// Replaces control characters, so that text from outside cannot move the cursor or ring the bell.
pub fn clean(text: &str) -> String {
    let shown = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_empty_ones_left_out() {
        let columns = [
            ("NAME", Align::Left),
            ("ALIAS", Align::Left),
            ("BYTES", Align::Right),
        ];
        let mut table = TextTable::new(&columns);
        table.row(["eth0".into(), String::new(), "1".into()]);
        table.row(["wide東".into(), String::new(), "12345678".into()]);
        assert_eq!(
            table.render(),
            "NAME       BYTES\n\
             eth0           1\n\
             wide東  12345678\n"
        );
    }

    #[test]
    fn a_narrow_terminal_shortens_the_widest_texts() {
        let columns = [
            ("NAME", Align::Left),
            ("BYTES", Align::Right),
            ("ALIAS", Align::Left),
        ];
        let mut table = TextTable::new(&columns);
        table.row([
            "eth0".into(),
            "12345678".into(),
            "Example Transit Network".into(),
        ]);
        table.row(["eth1".into(), "1".into(), "東京東京東京東京東京".into()]);
        assert_eq!(
            table.render_within(Some(30)),
            "NAME     BYTES  ALIAS\n\
             eth0  12345678  Example Trans…\n\
             eth1         1  東京東京東京…\n"
        );
        // numbers are never shortened
        let narrow = table.render_within(Some(10));
        assert!(narrow.contains("12345678  Example…\n"), "{narrow}");
        assert_eq!(table.render_within(None), table.render_within(Some(80)));
    }

    #[test]
    fn what_moves_the_cursor_is_shown_as_a_mark() {
        assert_eq!(clean("a\x1b[2Jb\n"), "a\u{fffd}[2Jb\u{fffd}");
    }
}
