// SPDX-License-Identifier: AGPL-3.0-only
//! The columns of each list, and the choice of those that fit the width (pure).

use super::tab::Tab;

/// A width from which a list has the networks of both ends.
const WIDE: usize = 150;
/// The width of a bar; a shorter one shows too little.
pub const BAR: usize = 30;
const MIN_BAR: usize = 8;

/// The columns up to this rank are more important than whole addresses; further columns must leave this width for
/// an address.
const FIRST_RANKS: u8 = 4;
const FAIR: usize = 21;

/// A column of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    pub title: &'static str,
    /// Numbers are aligned to the right.
    pub right: bool,
    /// The least width, if the text may be shortened.
    pub least: Option<usize>,
    /// Whether both ends of a text that is shortened stay: those of an address with a port.
    pub keeps_ends: bool,
    /// Columns with a higher number are left out first; 0 is always shown.
    pub rank: u8,
    /// The widths of the terminal in which it is shown.
    from: usize,
    below: usize,
    /// Shows the figure of the row in proportion to the largest.
    pub is_bar: bool,
    /// Shown only if the column with this title is left out.
    instead_of: Option<&'static str>,
}

impl Column {
    const fn from(self, from: usize) -> Self {
        Self { from, ..self }
    }

    const fn below(self, below: usize) -> Self {
        Self { below, ..self }
    }
}

const fn text(title: &'static str, rank: u8) -> Column {
    Column {
        title,
        right: false,
        least: None,
        keeps_ends: false,
        rank,
        from: 0,
        below: usize::MAX,
        is_bar: false,
        instead_of: None,
    }
}

const fn bar() -> Column {
    Column {
        is_bar: true,
        ..text("", u8::MAX)
    }
}

const fn host(title: &'static str) -> Column {
    Column {
        keeps_ends: true,
        ..long(title, 0, 13)
    }
}

const fn long(title: &'static str, rank: u8, least: usize) -> Column {
    Column {
        least: Some(least),
        ..text(title, rank)
    }
}

const fn figure(title: &'static str, rank: u8) -> Column {
    Column {
        right: true,
        ..text(title, rank)
    }
}

/// The columns of conversations; `rows::conversation` has a cell for each.
const CONVERSATIONS: &[Column] = &[
    text("PROTO", 5),
    host("HOST A"),
    text("", 0),
    host("HOST B"),
    // protocols without ports
    Column {
        instead_of: Some("PROTO"),
        ..text("", 2)
    },
    // the network of one end, or those of both
    long("NETWORK", 3, 10).below(WIDE),
    text("CC", 4).below(WIDE),
    long("NETWORK A", 8, 12).from(WIDE),
    text("A", 8).from(WIDE),
    long("NETWORK B", 8, 12).from(WIDE),
    text("B", 8).from(WIDE),
    figure("2s", 1),
    figure("10s", 0),
    figure("40s", 2),
    figure("PEAK", 7),
    figure("PKT/S", 6),
    figure("BYTES", 9),
    figure("A→B", 10).from(WIDE),
    figure("B→A", 10).from(WIDE),
    figure("±", 3),
    text("IN>OUT", 10),
    bar(),
];

/// The columns of sums over flows; only the one of the common value differs.
const fn sums(value: Column) -> [Column; 10] {
    [
        text("DIR", 0),
        value,
        long("NAME", 1, 10),
        figure("RATE", 0),
        figure("SHARE", 2),
        figure("BYTES", 3),
        figure("PACKETS", 5),
        figure("FLOWS", 4),
        figure("±", 3),
        bar(),
    ]
}

const NETWORKS: &[Column] = &sums(figure("AS", 0));
const GROUPS: &[Column] = &sums(host("VALUE"));

const INTERFACES: &[Column] = &[
    text("NAME", 0),
    text("HOOK", 3),
    figure("SPEED", 4),
    figure("RX", 0),
    figure("RX PKT/S", 2),
    figure("TX", 0),
    figure("TX PKT/S", 2),
    figure("RX PEAK", 5),
    figure("TX PEAK", 5),
    text("ON", 1),
    long("ALIAS", 1, 8),
];

const PAGE: &[Column] = &[text("", 0), long("OPEN", 0, 20), long("", 1, 10)];

/// Returns the columns of a list; `page` is one conversation.
pub fn of(tab: Tab, page: bool) -> &'static [Column] {
    match tab {
        _ if page => PAGE,
        Tab::Conversations => CONVERSATIONS,
        Tab::SrcAsn | Tab::DstAsn => NETWORKS,
        Tab::Interfaces => INTERFACES,
        _ => GROUPS,
    }
}

/// A width for each column; `None`: left out. `needed` is the width of the longest cell, 0 if all are empty.
pub fn fit(columns: &[Column], needed: &[usize], room: usize) -> Vec<Option<usize>> {
    let mut widths = vec![None; columns.len()];
    let is_shown = |n: usize| needed[n] > 0 && (columns[n].from..columns[n].below).contains(&room);
    let mut order: Vec<usize> = (0..columns.len()).filter(|n| !columns[*n].is_bar).collect();
    order.sort_by_key(|n| columns[*n].rank);
    let full = |n: usize| needed[n].max(columns[n].title.chars().count());
    let mut used = 0;
    let mut fair = false;
    for n in order {
        let column = &columns[n];
        if column.rank > FIRST_RANKS && !fair {
            fair = true;
            let limit = |n: usize| full(n).min(FAIR);
            used += grow(&mut widths, limit, room.saturating_sub(used));
        }
        if column.rank > 0 && !is_shown(n) {
            continue;
        }
        let least = column.least.map_or(full(n), |least| full(n).min(least));
        let gap = usize::from(used > 0);
        if column.rank == 0 || used + gap + least <= room {
            widths[n] = Some(least);
            used += gap + least;
        }
    }
    for n in 0..columns.len() {
        let other = columns
            .iter()
            .position(|c| Some(c.title) == columns[n].instead_of);
        if other.is_some_and(|other| widths[other].is_some())
            && let Some(width) = widths[n].take()
        {
            used -= width + 1;
        }
    }
    used += grow(&mut widths, full, room.saturating_sub(used));
    // a bar has the room that nothing else needs
    for n in (0..columns.len()).filter(|n| columns[*n].is_bar && needed[*n] > 0) {
        let left = room.saturating_sub(used + 1);
        if left >= MIN_BAR {
            widths[n] = Some(left.min(BAR));
            used += 1 + left.min(BAR);
        }
    }
    widths
}

/// Makes the columns wider, the narrowest first, up to a limit for each; returns the room that was used.
fn grow(widths: &mut [Option<usize>], limit: impl Fn(usize) -> usize, room: usize) -> usize {
    for used in 0..room {
        let short = |n: &usize| widths[*n].is_some_and(|width| width < limit(*n));
        let narrowest = (0..widths.len()).filter(short).min_by_key(|n| widths[*n]);
        let Some(n) = narrowest else {
            return used;
        };
        widths[n] = widths[n].map(|width| width + 1);
    }
    room
}

#[cfg(test)]
mod tests {
    use super::*;

    fn titles(room: usize) -> Vec<&'static str> {
        let needed: Vec<_> = CONVERSATIONS.iter().map(|c| c.least.unwrap_or(6)).collect();
        let widths = fit(CONVERSATIONS, &needed, room);
        let used: usize = widths.iter().flatten().map(|width| width + 1).sum();
        assert!(used <= room + 1, "{room}: {widths:?}");
        let shown = CONVERSATIONS.iter().zip(&widths);
        let shown = shown.filter(|(column, width)| width.is_some() && !column.is_bar);
        shown.map(|(column, _)| column.title).collect()
    }

    #[test]
    fn a_wider_terminal_has_more_columns() {
        assert_eq!(titles(41), ["HOST A", "", "HOST B", "10s"]);
        let protocols = |room| {
            titles(room)
                .iter()
                .filter(|t| ["", "PROTO"].contains(*t))
                .count()
        };
        // the arrow, and one of the two columns for the protocol
        assert_eq!([protocols(60), protocols(120)], [2, 2]);
        let usual = titles(80);
        for title in ["NETWORK", "2s", "10s", "40s"] {
            assert!(usual.contains(&title), "{usual:?}");
        }
        let wide = titles(200);
        for title in [
            "PROTO",
            "NETWORK A",
            "NETWORK B",
            "PEAK",
            "PKT/S",
            "IN>OUT",
            "A→B",
        ] {
            assert!(wide.contains(&title), "{wide:?}");
        }
        assert!(!wide.contains(&"NETWORK"));
    }

    #[test]
    fn a_bar_has_only_room_that_is_left() {
        let columns = [long("A", 0, 2), bar()];
        assert_eq!(fit(&columns, &[9, BAR], 17), [Some(9), None]);
        assert_eq!(fit(&columns, &[9, BAR], 18), [Some(9), Some(8)]);
        assert_eq!(fit(&columns, &[9, BAR], 80), [Some(9), Some(BAR)]);
        assert_eq!(fit(&columns, &[9, 0], 80), [Some(9), None]);
    }

    #[test]
    fn an_empty_column_is_left_out_and_room_goes_to_the_narrowest() {
        let columns = [long("A", 0, 2), figure("B", 1), long("C", 0, 2)];
        assert_eq!(fit(&columns, &[9, 0, 9], 12), [Some(6), None, Some(5)]);
        assert_eq!(fit(&columns, &[9, 3, 2], 12), [Some(5), Some(3), Some(2)]);
    }
}
