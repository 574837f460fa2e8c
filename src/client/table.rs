// SPDX-License-Identifier: AGPL-3.0-only
//! Aligned columns of text.

use ratatui::text::Span;

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

    /// Returns the table with its headings. Columns that are empty in all rows are left out.
    pub fn render(&self) -> String {
        let used = |column: &usize| self.rows.iter().any(|row| !row[*column].is_empty());
        let columns: Vec<usize> = (0..self.columns.len()).filter(used).collect();
        let heading = self.columns.iter().map(|(name, _)| name.clone());
        let heading: Vec<String> = heading.collect();
        let lines = || std::iter::once(&heading).chain(&self.rows);
        let width_of = |&column: &usize| lines().map(|row| width(&row[column])).max();
        let widths: Vec<usize> = columns.iter().map(|c| width_of(c).unwrap_or(0)).collect();
        let mut text = String::new();
        for row in lines() {
            let mut line = String::new();
            for (&column, &wide) in columns.iter().zip(&widths) {
                let cell = &row[column];
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
    fn what_moves_the_cursor_is_shown_as_a_mark() {
        assert_eq!(clean("a\x1b[2Jb\n"), "a\u{fffd}[2Jb\u{fffd}");
    }
}
