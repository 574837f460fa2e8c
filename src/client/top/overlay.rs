// SPDX-License-Identifier: AGPL-3.0-only
//! Draws the boxes over the view: keys, problems, and the proposal of a rule.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::{Clear, Paragraph};

use super::model::{Model, Overlay};
use super::proposal::{Proposal, ProposalState};
use super::view::{Theme, cells};
use crate::client::table::clean;

const HELP: &[&str] = &[
    "Tab, 1-9  lists          Up, Down  select     Enter  open",
    "Esc       back           /  filter as you type: eth0, in, tcp, 443,",
    "          10.0.0.0/8, AS64500, src=10.0.0.1, or a part of a name",
    "s  sort   r  reverse     b  bits, bytes       i  interval",
    "d  in, out, both         p  pause             f  freeze the order",
    "n  names of hosts        x  firewall rule     !  problems",
    "m  mouse on, off         h  this box          q  end",
    "",
    "2s, 10s, 40s: rates of both directions. A packet that is forwarded",
    "counts once; with NAT its two sides are two conversations.",
    "±  fewer than 100 samples: the error at 95 % confidence",
];

/// The width of a box, including its margins.
const WIDTH: u16 = 76;

pub fn draw(frame: &mut Frame<'_>, model: &Model, theme: Theme) {
    let Some(overlay) = &model.overlay else {
        return;
    };
    let area = frame.area();
    let width = WIDTH.min(area.width);
    let room = usize::from(width).saturating_sub(2);
    let lines: Vec<String> = match overlay {
        Overlay::Help => HELP.iter().flat_map(|line| wrapped(line, room)).collect(),
        Overlay::Problems => problems(model, room),
        Overlay::Rule(proposal) => rule(proposal, room),
        Overlay::Waiting { asn } => vec![format!("looking for the prefixes of AS{asn} ...")],
    };
    let height = (lines.len() as u16).min(area.height);
    let place = Rect {
        x: (area.width - width) / 2,
        y: (area.height - height) / 2,
        width,
        height,
    };
    let lines: Vec<_> = lines
        .iter()
        .map(|text| {
            let text = format!(" {}", theme.text(&clean(text)));
            let space = " ".repeat(usize::from(width).saturating_sub(cells(&text)));
            Line::styled(format!("{text}{space}"), theme.bar())
        })
        .collect();
    frame.render_widget(Clear, place);
    frame.render_widget(Paragraph::new(lines), place);
}

fn problems(model: &Model, room: usize) -> Vec<String> {
    let problems = model.status.iter().flat_map(|status| &status.problems);
    let lines = problems.flat_map(|problem| {
        let texts = [problem.text.clone(), format!("  {}", problem.remedy)];
        texts.into_iter().flat_map(|text| wrapped(&text, room))
    });
    let lines: Vec<_> = lines.collect();
    match lines.is_empty() {
        true => vec!["no problems".into()],
        false => lines,
    }
}

fn rule(proposal: &Proposal, room: usize) -> Vec<String> {
    let mut lines = vec!["Proposed firewall rule, which is not in force:".to_owned()];
    lines.extend(wrapped(&format!("  {}", proposal.command()), room));
    lines.push(String::new());
    let note = proposal.note.iter();
    lines.extend(note.flat_map(|note| wrapped(note, room)));
    let keys = "Space another rule   t time to live   Esc cancel";
    let (state, keys) = match &proposal.state {
        ProposalState::Checking => ("asking the agent ...".to_owned(), keys.to_owned()),
        ProposalState::Ready => {
            let state = "Packets that it matches are dropped from now on.".to_owned();
            (state, format!("y apply   {keys}"))
        }
        ProposalState::Applying => ("applying ...".to_owned(), "Esc close".to_owned()),
        ProposalState::Refused(reason) => (format!("not possible: {reason}"), keys.to_owned()),
    };
    lines.extend(wrapped(&state, room));
    lines.extend(wrapped(&keys, room));
    lines
}

/// Breaks a text into lines of at most `room` columns. Further lines have the indentation of the first.
fn wrapped(text: &str, room: usize) -> Vec<String> {
    if cells(text) <= room {
        return vec![text.to_owned()];
    }
    let indent = &text[..text.len() - text.trim_start().len()];
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && cells(&line) + 1 + cells(word) > room {
            lines.push(std::mem::take(&mut line));
        }
        line += if line.is_empty() { indent } else { " " };
        line += word;
    }
    lines.push(line);
    lines
}
