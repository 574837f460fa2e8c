// SPDX-License-Identifier: AGPL-3.0-only
//! The rules made at run time in a file, for the next start: lines as in a rule file, with the number of
//! the rule and the moment it ends.

use std::fmt::Write as _;
use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use humantime_serde::re::humantime::{format_rfc3339_seconds, parse_rfc3339};

use super::book::Entry;
use super::rule::RuleId;
use super::words::{self, Known, Shown};
use super::{book, file};

const HEAD: &str = "# Rules of rfm made at run time: written by the agent, read at its start.\n";

/// Both clocks at one moment: rules end by the one that no step disturbs, files outlive it.
#[derive(Clone, Copy)]
pub struct Now {
    pub instant: Instant,
    pub wall: SystemTime,
}

impl Now {
    pub fn read() -> Self {
        Self {
            instant: Instant::now(),
            wall: SystemTime::now(),
        }
    }
}

/// In one step: what is there at any moment is one state or the other.
pub fn save(path: &Path, entries: &[Entry], now: Now) -> io::Result<()> {
    let beside = beside(path);
    let mut out = File::create(&beside)?;
    out.set_permissions(Permissions::from_mode(0o600))?;
    out.write_all(text(entries, now).as_bytes())?;
    out.sync_data()?;
    fs::rename(&beside, path)
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

fn text(entries: &[Entry], now: Now) -> String {
    let mut text = HEAD.to_owned();
    for Entry { id, rule, expires } in entries {
        // to write to a string does not fail
        let _ = write!(text, "--id {} {}", id.0, Shown(rule));
        if let Some(expires) = expires {
            let left = expires.saturating_duration_since(now.instant);
            let until = format_rfc3339_seconds(now.wall + left);
            let _ = write!(text, " --until {until}");
        }
        text.push('\n');
    }
    text
}

/// What the file has, without what has ended meanwhile; and each line that cannot be read, by its number.
/// No file is no rule.
pub fn load(path: &Path, now: Now) -> Result<(Vec<Entry>, Vec<String>), String> {
    if matches!(fs::symlink_metadata(path), Err(e) if e.kind() == io::ErrorKind::NotFound) {
        return Ok(Default::default());
    }
    let text = file::read(path, 2 * file::MAX_SIZE)?;
    Ok(parse(&text, now))
}

fn parse(text: &str, now: Now) -> (Vec<Entry>, Vec<String>) {
    let mut known = Known::default();
    let (mut entries, mut mistakes) = (Vec::new(), Vec::new());
    let mut ids = std::collections::HashSet::new();
    let lines = text.lines().enumerate();
    for (n, line) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
        match entry(line, now, &mut known) {
            Ok(Some(entry)) if !ids.insert(entry.id) => {
                mistakes.push(format!("line {}: rule {} once more", n + 1, entry.id.0));
            }
            Ok(_) if entries.len() == book::MAX_RULES => {
                mistakes.push(format!(
                    "line {}: more than {} rules",
                    n + 1,
                    book::MAX_RULES
                ));
                break;
            }
            Ok(entry) => entries.extend(entry),
            Err(mistake) => mistakes.push(format!("line {}: {mistake}", n + 1)),
        }
    }
    (entries, mistakes)
}

/// `None` where it has ended.
fn entry(line: &str, now: Now, known: &mut Known) -> Result<Option<Entry>, String> {
    let (words, [id, until]) = words::parse(line, ["id", "until"])?;
    let id = id.and_then(|id| id.parse().ok()).filter(|id| *id > 0);
    let id = RuleId(id.ok_or("expected --id and a number")?);
    let mut rule = words.rule(known)?;
    let mut expires = None;
    if let Some(until) = until {
        let until = parse_rfc3339(until).map_err(|error| format!("until: {error}"))?;
        let Ok(left) = until.duration_since(now.wall) else {
            return Ok(None);
        };
        // a clock that was far off must not make a rule that never ends
        let left = left.clamp(Duration::from_secs(1), crate::config::MAX_DURATION);
        rule.ttl = Some(left);
        expires = Some(now.instant + left);
    }
    Ok(Some(Entry { id, rule, expires }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Now {
        Now {
            instant: Instant::now(),
            wall: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
        }
    }

    #[test]
    fn what_is_saved_is_restored_with_what_is_left_of_its_time() {
        let start = now();
        let written = "--id 3 --action drop --src 192.0.2.0/24\n\
                       --id 9 --action limit --dst ::1/128 --rate 5 --until 2023-11-14T22:14:00Z\n";
        let (entries, mistakes) = parse(written, start);
        assert_eq!(mistakes, [""; 0]);
        assert_eq!(text(&entries, start), format!("{HEAD}{written}"));
        assert_eq!(
            entries[1].expires,
            Some(start.instant + Duration::from_secs(40))
        );

        let late = Now {
            wall: start.wall + Duration::from_secs(41),
            ..start
        };
        let (entries, _) = parse(written, late);
        assert_eq!(entries.len(), 1, "the other has ended");
    }

    #[test]
    fn a_line_that_cannot_be_read_costs_no_other() {
        let text = "--id 1 --src ::1\nnonsense\n--src ::2\n--id 1 --src ::3\n--id 2 --until x\n";
        let (entries, mistakes) = parse(text, now());
        assert_eq!(entries.len(), 1);
        assert_eq!(mistakes.len(), 4, "{mistakes:?}");
        assert!(mistakes[0].starts_with("line 2: "), "{mistakes:?}");
    }

    #[test]
    fn the_file_is_replaced_in_one_step() {
        let folder = std::env::temp_dir().join(format!("rfm-state-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("firewall");
        assert_eq!(load(&path, now()), Ok((vec![], vec![])), "no file yet");
        let (entries, _) = parse("--id 1 --src ::1\n", now());
        for _ in 0..2 {
            save(&path, &entries, now()).unwrap();
            assert_eq!(load(&path, now()), Ok((entries.clone(), vec![])));
        }
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        fs::remove_dir_all(folder).unwrap();
    }
}
