// SPDX-License-Identifier: AGPL-3.0-only
//! config/rfm.toml: every key with its short text; the recommended values are set, the defaults are comments.

use rfm::config::reference::{SectionReference, TableLayout};

use super::{short, wrapped};

const HEAD: &str = "\
# rfm, the Router Flow Monitor. `rfm --check` shows the configuration in effect.
# Every key is here: a line that begins with \"#\" and a key shows a default, or an example if a
# key has none. Durations are written \"30s\", \"5m\", \"1h30m\".
";

const WIDTH: usize = 100;

pub fn file(sections: &[&SectionReference]) -> String {
    let mut text = HEAD.to_owned();
    for section in sections {
        text += "\n";
        text += &comment(section.text);
        let path = &section.path;
        text += &match section.layout {
            TableLayout::Table | TableLayout::FreeKeys => format!("[{path}]\n"),
            TableLayout::Tables(_) => format!("#[[{path}]]\n"),
        };
        for key in &section.keys {
            text += &comment(&short(key));
            let mark = match key.declared.recommended {
                Some(_) => "",
                None => "#",
            };
            text += &format!("{mark}{} = {}\n", key.declared.name, key.shown());
        }
    }
    text
}

fn comment(text: &str) -> String {
    let lines = wrapped(text, WIDTH - 2).into_iter();
    lines.map(|line| format!("# {line}\n")).collect()
}
