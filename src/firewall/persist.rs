// SPDX-License-Identifier: AGPL-3.0-only
//! The file of the runtime rules, for the next start: lines as in a rule file, with the number and the expiry of each.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use humantime_serde::re::humantime::{format_rfc3339_seconds, parse_rfc3339};

use super::rule_set::RuleEntry;
use super::{file, rule_set, rule_syntax};
use crate::sys::clock;
use crate::sys::files::{beside, read_bytes, replace};
use crate::types::rule::{MAX_TTL, PatternCache, RuleId};

const HEAD: &str = "# Rules of rfm made at run time: written by the agent, read at its start.\n";

/// Both clocks at one moment: rules expire by the monotonic clock, and the file needs the wall clock.
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

/// Saves the rules.
pub fn save(path: &Path, entries: &[RuleEntry], now: Now) -> io::Result<()> {
    replace(path, text(entries, now).as_bytes())
}

/// Keeps a file that could not be read completely as FILE.bad, before it is replaced. Returns `None` if it is not a
/// regular file.
pub fn keep(path: &Path) -> io::Result<Option<PathBuf>> {
    if !fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file()) {
        return Ok(None);
    }
    let kept = beside(path, ".bad");
    match fs::remove_file(&kept) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::hard_link(path, &kept).map(|()| Some(kept))
}

fn text(entries: &[RuleEntry], now: Now) -> String {
    let mut text = HEAD.to_owned();
    for RuleEntry { id, rule, expires } in entries {
        // writing to a string cannot fail
        let _ = write!(text, "--id {} {}", id.0, rule);
        if let Some(expires) = expires {
            let left = expires.saturating_duration_since(now.instant);
            let until = format_rfc3339_seconds(clock::printable(now.wall + left));
            let _ = write!(text, " --until {until}");
        }
        text.push('\n');
    }
    text
}

/// Returns the rules of the file that have not expired, and an error for each line that cannot be read. Without a
/// file there are no rules.
pub fn load(path: &Path, now: Now) -> Result<(Vec<RuleEntry>, Vec<String>), String> {
    if matches!(fs::symlink_metadata(path), Err(e) if e.kind() == io::ErrorKind::NotFound) {
        return Ok(Default::default());
    }
    let bytes = read_bytes(path, 2 * file::MAX_SIZE)?;
    Ok(parse(&bytes, now))
}

fn parse(bytes: &[u8], now: Now) -> (Vec<RuleEntry>, Vec<String>) {
    let mut patterns = PatternCache::default();
    let (mut entries, mut mistakes) = (Vec::new(), Vec::new());
    let mut ids = std::collections::HashSet::new();
    let lines = bytes.split(|byte| *byte == b'\n').enumerate();
    for (n, line) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with(b"#")) {
        let Ok(line) = str::from_utf8(line) else {
            mistakes.push(format!("line {}: expected UTF-8", n + 1));
            continue;
        };
        match entry(line, now, &mut patterns) {
            Ok(Some(entry)) if !ids.insert(entry.id) => {
                mistakes.push(format!("line {}: rule {} once more", n + 1, entry.id.0));
            }
            Ok(_) if entries.len() == rule_set::MAX_RULES => {
                mistakes.push(format!(
                    "line {}: more than {} rules",
                    n + 1,
                    rule_set::MAX_RULES
                ));
                break;
            }
            Ok(entry) => entries.extend(entry),
            Err(mistake) => mistakes.push(format!("line {}: {mistake}", n + 1)),
        }
    }
    (entries, mistakes)
}

/// Parses a line; returns `None` if the rule has expired.
fn entry(line: &str, now: Now, patterns: &mut PatternCache) -> Result<Option<RuleEntry>, String> {
    let (args, [id, until]) = rule_syntax::parse(line, ["id", "until"])?;
    let id = id.and_then(|id| id.parse().ok()).filter(|id| *id > 0);
    let id = RuleId(id.ok_or("expected --id and a number")?);
    let mut rule = args.rule(patterns)?;
    let mut expires = None;
    if let Some(until) = until {
        let until = parse_rfc3339(&until).map_err(|error| format!("until: {error}"))?;
        let Ok(left) = until.duration_since(now.wall) else {
            return Ok(None);
        };
        // a clock that was far off must not make a rule that never expires
        let left = left.clamp(Duration::from_secs(1), MAX_TTL);
        rule.ttl = Some(left);
        expires = Some(now.instant + left);
    }
    Ok(Some(RuleEntry { id, rule, expires }))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

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
        let (entries, mistakes) = parse(written.as_bytes(), start);
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
        let (entries, _) = parse(written.as_bytes(), late);
        assert_eq!(entries.len(), 1, "the other has ended");
    }

    #[test]
    fn a_line_that_cannot_be_read_costs_no_other() {
        let text =
            b"--id 1 --src ::1\nnonsense\n--src ::2\n--id 1 --src ::3\n--id 2 --until x\n# \xff\n\xff\n";
        let (entries, mistakes) = parse(text, now());
        assert_eq!(entries.len(), 1);
        assert_eq!(mistakes.len(), 5, "{mistakes:?}");
        assert!(mistakes[0].starts_with("line 2: "), "{mistakes:?}");
    }

    #[test]
    fn the_file_is_replaced_in_one_step() {
        let folder = std::env::temp_dir().join(format!("rfm-state-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("firewall");
        assert_eq!(load(&path, now()), Ok((vec![], vec![])), "no file yet");
        let (entries, _) = parse(b"--id 1 --src ::1\n", now());
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

    #[test]
    fn a_link_in_place_of_the_new_file_is_not_followed() {
        let folder = std::env::temp_dir().join(format!("rfm-state-link-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (path, target) = (folder.join("firewall"), folder.join("precious"));
        fs::write(&target, "precious").unwrap();
        std::os::unix::fs::symlink(&target, folder.join("firewall.new")).unwrap();
        let (entries, _) = parse(b"--id 1 --src ::1\n", now());
        save(&path, &entries, now()).unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "precious");
        assert_eq!(load(&path, now()), Ok((entries.clone(), vec![])));
        // a file that others can read is not written to either
        fs::write(folder.join("firewall.new"), "").unwrap();
        save(&path, &entries, now()).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::remove_dir_all(folder).unwrap();
    }
}
