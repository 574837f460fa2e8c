// SPDX-License-Identifier: AGPL-3.0-only
//! A time zone with the name that the output shows.

use std::fmt;

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// A time zone of the database of the system.
#[derive(Clone, Debug)]
pub struct Zone {
    pub(super) rules: TimeZone,
    name: String,
}

impl Zone {
    pub fn utc() -> Self {
        Self {
            rules: TimeZone::UTC,
            name: "UTC".to_owned(),
        }
    }

    /// Returns the zone of the reader: that of the variable TZ or of /etc/localtime, otherwise UTC.
    pub fn local() -> Self {
        let Ok(rules) = TimeZone::try_system() else {
            return Self::utc();
        };
        let name = match rules.iana_name() {
            Some("Etc/UTC" | "Etc/UCT" | "UCT") => "UTC".to_owned(),
            Some(name) => name.to_owned(),
            None => "local time".to_owned(),
        };
        Self { rules, name }
    }

    /// Returns a zone by its name in the database, such as Europe/Berlin.
    pub fn named(name: &str) -> Result<Self, String> {
        if name.eq_ignore_ascii_case("utc") || name.eq_ignore_ascii_case("z") {
            return Ok(Self::utc());
        }
        if name.eq_ignore_ascii_case("local") {
            return Ok(Self::local());
        }
        let rules = TimeZone::get(name).map_err(|_| {
            format!(
                "unknown time zone {}: expected a name such as Europe/Berlin or UTC; the names are those in \
                 /usr/share/zoneinfo (package tzdata)",
                name.escape_debug()
            )
        })?;
        let name = rules.iana_name().unwrap_or(name).to_owned();
        Ok(Self { rules, name })
    }

    /// Returns a moment as RFC 3339 with the offset of the zone: 2026-11-02T03:00:00+01:00.
    pub fn rfc3339(&self, seconds: u64) -> String {
        let (local, offset) = self.local_time(seconds);
        let offset = match offset {
            0 => "Z".to_owned(),
            offset => {
                let (sign, minutes) = (if offset < 0 { '-' } else { '+' }, offset.abs() / 60);
                format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
            }
        };
        format!("{}{offset}", local.replacen(' ', "T", 1))
    }

    /// Returns a moment as the clock of the zone shows it: 2026-11-02 03:00:00.
    pub fn clock(&self, seconds: u64) -> String {
        self.local_time(seconds).0
    }

    fn local_time(&self, seconds: u64) -> (String, i32) {
        let moment = i64::try_from(seconds).ok();
        let moment = moment.and_then(|seconds| Timestamp::from_second(seconds).ok());
        let moment = moment.unwrap_or(Timestamp::MAX);
        let offset = self.rules.to_offset(moment);
        let local = offset.to_datetime(moment);
        let text = format!(
            "{:04}-{:02}-{:02} {:02}:{:02}:{:02}",
            local.year(),
            local.month(),
            local.day(),
            local.hour(),
            local.minute(),
            local.second()
        );
        (text, offset.seconds())
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
