// SPDX-License-Identifier: AGPL-3.0-only
//! Parses durations, in all commands and in the configuration.

use std::ops::RangeInclusive;
use std::time::Duration;

use humantime_serde::re::humantime;

/// The longest duration: no timer overflows.
pub const MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// Parses a duration such as "30s" or "1h30m" within limits. An error has the reason, unless it is a limit.
pub fn parse(text: &str, limits: &RangeInclusive<Duration>) -> Result<Duration, Option<String>> {
    match humantime::parse_duration(text.trim()) {
        Ok(duration) if limits.contains(&duration) => Ok(duration),
        Ok(_) => Err(None),
        Err(error) => Err(Some(error.to_string())),
    }
}

/// Describes the valid durations in errors; `quoted` as the configuration writes them.
pub fn expected(limits: &RangeInclusive<Duration>, quoted: bool) -> String {
    let mark = if quoted { "\"" } else { "" };
    let [from, to] = [limits.start(), limits.end()].map(|one| match *one == MAX {
        // humantime has months and years
        true => "365days".to_owned(),
        false => humantime::format_duration(*one).to_string(),
    });
    format!(
        "a duration from {mark}{from}{mark} to {mark}{to}{mark}, such as {mark}30s{mark} or {mark}5m{mark}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit_and_limits() {
        let limits = Duration::from_secs(1)..=MAX;
        assert_eq!(parse(" 90s ", &limits), Ok(Duration::from_secs(90)));
        assert_eq!(parse("1h30m", &limits), Ok(Duration::from_secs(5400)));
        assert_eq!(parse("1ms", &limits), Err(None));
        assert_eq!(parse("366days", &limits), Err(None));
        let reason = parse("30", &limits).unwrap_err().unwrap();
        assert!(reason.starts_with("time unit needed"), "{reason}");
        assert_eq!(
            expected(&limits, false),
            "a duration from 1s to 365days, such as 30s or 5m"
        );
    }
}
