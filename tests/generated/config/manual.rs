// SPDX-License-Identifier: AGPL-3.0-only
//! rfm.toml(5).

use rfm::config::reference::{KeyReference, SectionReference, TableLayout};

use super::{full, reload, values, wrapped};

const HEAD: &str = r#".\" Written by `make generate` from the declarations of the keys in src/config/: change these.
.\" SPDX-License-Identifier: AGPL-3.0-only
.Dd November 29, 2026
.Dt RFM.TOML 5
.Os
.Sh NAME
.Nm rfm.toml
.Nd configuration of rfm, the Router Flow Monitor
.Sh SYNOPSIS
.Pa /etc/rfm/rfm.toml
.Sh DESCRIPTION
The file is TOML.
Each key is listed below its section; the value is the default, or an example
if a key has none.
Unknown keys are errors that name the line and the nearest known key.
.Ic rfm --check
shows the configuration in effect, or all errors.
Durations are written
.Qq 30s ,
.Qq 5m ,
.Qq 1h30m .
A file may have at most 1 MiB.
.Pp
SIGHUP and
.Ic rfm reload
make a running agent read the file again.
It applies the keys that are marked so, and names the changed keys that need a
restart.
.Ss Variables and options
A variable or the option
.Fl -set
of
.Xr rfm 8
sets a single key in place of the file.
The name of the variable is
.Ev RFM_ ,
and the key in upper case with two underscores for each dot:
.Ev RFM_AGENT__PROMETHEUS__HOST
or
.Ic --set agent.prometheus.host=VALUE .
An option has precedence over a variable, and the last option over the others
for the same key.
The value has the syntax of the file; a text that is none is a string, so that
.Ql ::1
needs no quotes.
It replaces the value of the file as a whole, also that of a list, of a
section, and of all tables of one name:
.Ic --set 'agent.ipfix.collector=[{ host = \(dq::1\(dq }]' .
A variable does not change while the agent runs, and applies again at each
reload.
.Sh KEYS
"#;

const TAIL: &str = r".Sh FILES
.Bl -tag -width Ds
.It Pa /etc/rfm/rfm.toml
the default file;
.Fl -config
names another one
.El
.Sh SEE ALSO
.Xr rfm 8
";

/// Characters of a line of text.
const WIDTH: usize = 75;

pub fn page(sections: &[&SectionReference]) -> String {
    let mut page = HEAD.to_owned();
    for section in sections {
        let path = &section.path;
        page += &match section.layout {
            TableLayout::Table | TableLayout::FreeKeys => format!(".Ss {path}\n"),
            TableLayout::Tables(max) => format!(".Ss each {path}\nAt most {max}.\n"),
        };
        page += &sentences(&full(section.text, section.details));
        page += ".Bl -tag -width Ds\n";
        for key in &section.keys {
            page += &item(key);
        }
        page += ".El\n";
    }
    page + TAIL
}

fn item(key: &KeyReference) -> String {
    let declared = &key.declared;
    let value = escaped(shown(key)).replace('"', "\\(dq");
    let name = escaped(declared.name);
    let text = sentences(&full(declared.text, declared.details));
    let values = sentences(&format!("Value: {}.", values(key)));
    let recommended = match declared.recommended {
        Some(value) if !declared.required => sentences(&format!("The packaged file sets {value}.")),
        _ => String::new(),
    };
    let reload = sentences(&format!("Reload: {}.", reload(key)));
    format!(".It Ic {name} No = {value}\n{text}{values}{recommended}{reload}")
}

/// The default, or an example.
fn shown(key: &KeyReference) -> &str {
    let default = key.default.as_deref().or(key.declared.example);
    default.unwrap_or_else(|| key.shown())
}

fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    match text.starts_with(['.', '\'']) {
        true => format!("\\&{text}"),
        false => text,
    }
}

/// Each sentence begins on a line of its own.
fn sentences(text: &str) -> String {
    let mut lines = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest
            .match_indices(['.', ';'])
            .map(|(at, _)| at + 1)
            .find(|at| {
                let mut next = rest[*at..].chars();
                next.next() == Some(' ') && next.next().is_some_and(char::is_uppercase)
            });
        let (sentence, after) = rest.split_at(end.unwrap_or(rest.len()));
        for line in wrapped(sentence, WIDTH) {
            lines += &escaped(&line);
            lines += "\n";
        }
        rest = after.trim_start();
    }
    lines
}
