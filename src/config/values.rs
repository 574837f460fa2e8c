// SPDX-License-Identifier: AGPL-3.0-only
//! From a TOML value to a typed one: each function here makes a parser that knows what it expects.

use crate::types::named::Named;
use std::fmt::Display;
use std::net::IpAddr;
use std::ops::{Range, RangeInclusive};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use humantime_serde::re::humantime;
use toml::Spanned;
use toml::de::DeValue;

pub type Value<'d> = Spanned<DeValue<'d>>;

/// Longest duration taken: later arithmetic with clocks cannot overflow.
pub const MAX_DURATION: Duration = Duration::from_secs(365 * 24 * 3600);

/// Why a value was not taken. What came instead is read from the text at `span`.
pub struct Complaint {
    pub span: Range<usize>,
    pub expected: String,
    /// More than `expected` says, where there is more to say.
    pub reason: Option<String>,
}

pub type Parsed<T> = Result<T, Vec<Complaint>>;

fn complain<T>(value: &Value<'_>, expected: impl Display, reason: Option<String>) -> Parsed<T> {
    Err(vec![Complaint {
        span: value.span(),
        expected: expected.to_string(),
        reason,
    }])
}

pub fn boolean(value: &Value<'_>) -> Parsed<bool> {
    match value.get_ref().as_bool() {
        Some(b) => Ok(b),
        None => complain(value, "true or false", None),
    }
}

fn integer(value: &Value<'_>) -> Option<i128> {
    let integer = value.get_ref().as_integer()?;
    i128::from_str_radix(integer.as_str(), integer.radix()).ok()
}

/// A whole number in `range`.
pub fn number<T>(range: RangeInclusive<T>) -> impl Fn(&Value<'_>) -> Parsed<T>
where
    T: TryFrom<i128> + PartialOrd + Display,
{
    move |value| match integer(value).and_then(|n| T::try_from(n).ok()) {
        Some(n) if range.contains(&n) => Ok(n),
        _ => complain(
            value,
            format_args!("a whole number from {} to {}", range.start(), range.end()),
            None,
        ),
    }
}

/// A power of two in `range`, or 0 where `zero` allows it.
pub fn power_of_two(range: RangeInclusive<u32>, zero: bool) -> impl Fn(&Value<'_>) -> Parsed<u32> {
    move |value| match integer(value).and_then(|n| u32::try_from(n).ok()) {
        Some(0) if zero => Ok(0),
        Some(n) if n.is_power_of_two() && range.contains(&n) => Ok(n),
        _ => complain(
            value,
            format_args!(
                "{}a power of two from {} to {}",
                if zero { "0 or " } else { "" },
                range.start(),
                range.end()
            ),
            None,
        ),
    }
}

/// A duration of at least `min`, such as "30s" or "1h30m".
pub fn duration(min: Duration) -> impl Fn(&Value<'_>) -> Parsed<Duration> {
    move |value| {
        let expected = format!(
            "a duration from \"{}\" to \"365days\", such as \"30s\" or \"5m\"",
            humantime::format_duration(min)
        );
        match value.get_ref().as_str().map(humantime::parse_duration) {
            Some(Ok(d)) if (min..=MAX_DURATION).contains(&d) => Ok(d),
            Some(Err(e)) => complain(value, expected, Some(e.to_string())),
            Some(Ok(_)) | None => complain(value, expected, None),
        }
    }
}

/// A string that `T` can be read from; `expected` names what that is.
pub fn word<T>(expected: &'static str) -> impl Fn(&Value<'_>) -> Parsed<T>
where
    T: FromStr<Err: Display>,
{
    move |value| match value.get_ref().as_str().map(str::parse) {
        Some(Ok(t)) => Ok(t),
        Some(Err(e)) => complain(value, expected, Some(e.to_string())),
        None => complain(value, expected, None),
    }
}

/// Like [`word`]; the empty string is `None`.
pub fn word_or_empty<T>(expected: &'static str) -> impl Fn(&Value<'_>) -> Parsed<Option<T>>
where
    T: FromStr<Err: Display>,
{
    let word = word(expected);
    move |value| match value.get_ref().as_str() {
        Some("") => Ok(None),
        _ => word(value).map(Some),
    }
}

/// Text of at most `max` bytes, without control characters.
pub fn text(max: usize) -> impl Fn(&Value<'_>) -> Parsed<String> {
    move |value| match value.get_ref().as_str() {
        Some(s) if s.len() <= max && !s.contains(char::is_control) => Ok(s.to_owned()),
        _ => complain(
            value,
            format_args!("a string of at most {max} bytes without control characters"),
            None,
        ),
    }
}

/// An absolute path of at most `max` bytes, or "".
pub fn path(max: usize) -> impl Fn(&Value<'_>) -> Parsed<PathBuf> {
    let text = text(max);
    move |value| match text(value) {
        Ok(s) if s.is_empty() || s.starts_with('/') => Ok(PathBuf::from(s)),
        _ => complain(
            value,
            format_args!("an absolute path of at most {max} bytes or \"\""),
            None,
        ),
    }
}

/// One of the words of `T`.
pub fn named<T: Named>(value: &Value<'_>) -> Parsed<T> {
    let found = value
        .get_ref()
        .as_str()
        .and_then(|s| T::ALL.iter().copied().find(|t| t.name() == s));
    match found {
        Some(t) => Ok(t),
        None => {
            let names: Vec<_> = T::ALL.iter().map(|t| format!("\"{}\"", t.name())).collect();
            complain(value, names.join(" or "), None)
        }
    }
}

/// A list of at most `max` items, each only once.
pub fn list<T: PartialEq>(
    max: usize,
    item: impl Fn(&Value<'_>) -> Parsed<T>,
) -> impl Fn(&Value<'_>) -> Parsed<Vec<T>> {
    move |value| {
        let Some(items) = value.get_ref().as_array() else {
            return complain(value, "a list in [brackets]", None);
        };
        if items.len() > max {
            return complain(value, format!("a list of at most {max} items"), None);
        }
        let mut list = Vec::with_capacity(items.len());
        let mut complaints = Vec::new();
        for value in items.iter() {
            match item(value) {
                Ok(t) if list.contains(&t) => complaints.push(Complaint {
                    span: value.span(),
                    expected: "each item only once".into(),
                    reason: None,
                }),
                Ok(t) => list.push(t),
                Err(more) => complaints.extend(more),
            }
        }
        if complaints.is_empty() {
            Ok(list)
        } else {
            Err(complaints)
        }
    }
}

/// Where to listen or to send to: an address, with a zone if need be, or a host name.
#[derive(Clone, Debug, PartialEq)]
pub struct Host(pub String);

impl FromStr for Host {
    type Err = &'static str;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let address = s.split_once('%').map_or(s, |(address, _zone)| address);
        // Whatever has a colon is meant as an address, and so are digits and dots alone.
        let numeric = s.contains([':', '%']) || s.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        if address.parse::<IpAddr>().is_ok() || (!numeric && is_host_name(s)) {
            Ok(Self(s.to_owned()))
        } else {
            Err("neither an address nor a host name")
        }
    }
}

/// RFC 1123 section 2.1, with the underscore that many a network uses.
fn is_host_name(s: &str) -> bool {
    let label = |l: &str| {
        (1..=63).contains(&l.len())
            && !l.starts_with('-')
            && !l.ends_with('-')
            && l.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    s.len() <= 253 && s.split('.').all(label)
}

/// An address or a host name; "" is taken as well.
pub fn host(value: &Value<'_>) -> Parsed<String> {
    let host = word_or_empty::<Host>("an address or a host name")(value)?;
    Ok(host.map_or_else(String::new, |h| h.0))
}
