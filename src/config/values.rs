// SPDX-License-Identifier: AGPL-3.0-only
//! The types of keys: each reads a value of the file, reports what it expected, and describes itself to documents.

mod size;

use std::fmt::Display;
use std::marker::PhantomData;
use std::net::IpAddr;
use std::ops::{Range, RangeInclusive};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use humantime_serde::re::humantime;
use toml::Spanned;
use toml::de::DeValue;

use crate::types::duration as durations;
use crate::types::named::Named;
use crate::types::prefix::Prefix;

pub use size::size;

pub type Value<'d> = Spanned<DeValue<'d>>;

/// The longest valid duration: with it, later arithmetic with clocks cannot overflow.
pub const MAX_DURATION: Duration = durations::MAX;

/// Shortest duration of most keys.
pub const SECOND: Duration = Duration::from_secs(1);

/// Items in a list of patterns, prefixes or the like.
pub const MAX_LIST: usize = 1024;

/// The error of a rejected value. The text at `span` supplies the received value.
pub struct ValueError {
    pub span: Range<usize>,
    pub expected: String,
    /// More detail than `expected`, if there is any.
    pub reason: Option<String>,
}

pub type Parsed<T> = Result<T, Vec<ValueError>>;

fn value_error<T>(value: &Value<'_>, expected: impl Display, reason: Option<String>) -> Parsed<T> {
    Err(vec![ValueError {
        span: value.span(),
        expected: expected.to_string(),
        reason,
    }])
}

/// The type of a key: reads its value from the file, and describes it to documents.
pub trait KeyType {
    type Value;

    /// Reads a value, or returns an error with the expected values.
    fn parse(&self, value: &Value<'_>) -> Parsed<Self::Value>;

    /// The valid values in words, such as "a whole number from 1 to 65535".
    fn expected(&self) -> String;

    /// The type as an expression of nixpkgs' `lib.types`.
    fn nix(&self) -> String {
        "str".into()
    }

    /// A value as the file has it.
    fn to_toml(&self, value: &Self::Value) -> String;

    /// The error of a value that is not of this type.
    fn refuse(&self, value: &Value<'_>, reason: Option<String>) -> Parsed<Self::Value> {
        value_error(value, self.expected(), reason)
    }
}

/// `text` as a string of TOML.
pub(super) fn quoted(text: impl Display) -> String {
    toml::Value::String(text.to_string()).to_string()
}

/// A type of nixpkgs as the argument of another one.
fn nix_argument(inner: &str) -> String {
    match inner.contains(' ') {
        true => format!("({inner})"),
        false => inner.to_owned(),
    }
}

#[derive(Clone, Copy)]
pub struct BooleanType;

/// `true` or `false`.
pub fn boolean() -> BooleanType {
    BooleanType
}

impl KeyType for BooleanType {
    type Value = bool;

    fn parse(&self, value: &Value<'_>) -> Parsed<bool> {
        match value.get_ref().as_bool() {
            Some(b) => Ok(b),
            None => self.refuse(value, None),
        }
    }

    fn expected(&self) -> String {
        "true or false".into()
    }

    fn nix(&self) -> String {
        "bool".into()
    }

    fn to_toml(&self, value: &bool) -> String {
        value.to_string()
    }
}

pub(super) fn integer(value: &Value<'_>) -> Option<i128> {
    let integer = value.get_ref().as_integer()?;
    i128::from_str_radix(integer.as_str(), integer.radix()).ok()
}

pub struct NumberType<T>(RangeInclusive<T>);

/// A whole number in `range`.
pub fn number<T>(range: RangeInclusive<T>) -> NumberType<T> {
    NumberType(range)
}

impl<T: TryFrom<i128> + PartialOrd + Display> KeyType for NumberType<T> {
    type Value = T;

    fn parse(&self, value: &Value<'_>) -> Parsed<T> {
        match integer(value).and_then(|n| T::try_from(n).ok()) {
            Some(n) if self.0.contains(&n) => Ok(n),
            _ => self.refuse(value, None),
        }
    }

    fn expected(&self) -> String {
        let (start, end) = (self.0.start(), self.0.end());
        format!("a whole number from {start} to {end}")
    }

    fn nix(&self) -> String {
        format!("ints.between {} {}", self.0.start(), self.0.end())
    }

    fn to_toml(&self, value: &T) -> String {
        value.to_string()
    }
}

pub struct PowerOfTwoType {
    range: RangeInclusive<u32>,
    or_zero: bool,
}

/// A power of two in `range`.
pub fn power_of_two(range: RangeInclusive<u32>) -> PowerOfTwoType {
    PowerOfTwoType {
        range,
        or_zero: false,
    }
}

/// A power of two in `range`, or 0.
pub fn power_of_two_or_zero(range: RangeInclusive<u32>) -> PowerOfTwoType {
    PowerOfTwoType {
        range,
        or_zero: true,
    }
}

impl KeyType for PowerOfTwoType {
    type Value = u32;

    fn parse(&self, value: &Value<'_>) -> Parsed<u32> {
        match integer(value).and_then(|n| u32::try_from(n).ok()) {
            Some(0) if self.or_zero => Ok(0),
            Some(n) if n.is_power_of_two() && self.range.contains(&n) => Ok(n),
            _ => self.refuse(value, None),
        }
    }

    fn expected(&self) -> String {
        let zero = if self.or_zero { "0 or " } else { "" };
        let (start, end) = (self.range.start(), self.range.end());
        format!("{zero}a power of two from {start} to {end}")
    }

    fn nix(&self) -> String {
        let start = if self.or_zero { 0 } else { *self.range.start() };
        format!("ints.between {start} {}", self.range.end())
    }

    fn to_toml(&self, value: &u32) -> String {
        value.to_string()
    }
}

pub struct DurationType(Duration);

/// A duration of at least `min`, such as "30s" or "1h30m".
pub fn duration(min: Duration) -> DurationType {
    DurationType(min)
}

impl DurationType {
    fn limits(&self) -> RangeInclusive<Duration> {
        self.0..=MAX_DURATION
    }
}

impl KeyType for DurationType {
    type Value = Duration;

    fn parse(&self, value: &Value<'_>) -> Parsed<Duration> {
        let text = value.get_ref().as_str();
        match text.map(|text| durations::parse(text, &self.limits())) {
            Some(Ok(duration)) => Ok(duration),
            Some(Err(reason)) => self.refuse(value, reason),
            None => self.refuse(value, None),
        }
    }

    fn expected(&self) -> String {
        durations::expected(&self.limits(), true)
    }

    fn to_toml(&self, value: &Duration) -> String {
        quoted(humantime::format_duration(*value))
    }
}

pub struct WordType<T> {
    expected: &'static str,
    read: PhantomData<T>,
}

/// A string that `T` can be read from; `expected` names it in words.
pub fn word<T>(expected: &'static str) -> WordType<T> {
    WordType {
        expected,
        read: PhantomData,
    }
}

impl<T: FromStr<Err: Display> + Display> KeyType for WordType<T> {
    type Value = T;

    fn parse(&self, value: &Value<'_>) -> Parsed<T> {
        match value.get_ref().as_str().map(str::parse) {
            Some(Ok(t)) => Ok(t),
            Some(Err(e)) => self.refuse(value, Some(format!("{e}"))),
            None => self.refuse(value, None),
        }
    }

    fn expected(&self) -> String {
        self.expected.into()
    }

    fn to_toml(&self, value: &T) -> String {
        quoted(value)
    }
}

pub struct OptionalType<T>(WordType<T>);

/// A string that `T` can be read from, or "" for none; `expected` names `T` in words.
pub fn optional<T>(expected: &'static str) -> OptionalType<T> {
    OptionalType(word(expected))
}

impl<T: FromStr<Err: Display> + Display> KeyType for OptionalType<T> {
    type Value = Option<T>;

    fn parse(&self, value: &Value<'_>) -> Parsed<Option<T>> {
        match value.get_ref().as_str() {
            Some("") => Ok(None),
            _ => self.0.parse(value).map(Some),
        }
    }

    fn expected(&self) -> String {
        format!("{} or \"\"", self.0.expected())
    }

    fn to_toml(&self, value: &Option<T>) -> String {
        value.as_ref().map_or(quoted(""), quoted)
    }
}

pub struct TextType {
    max: usize,
}

/// Text of at most `max` bytes, without control characters.
pub fn text(max: usize) -> TextType {
    TextType { max }
}

impl KeyType for TextType {
    type Value = String;

    fn parse(&self, value: &Value<'_>) -> Parsed<String> {
        match value.get_ref().as_str() {
            Some(s) if s.len() <= self.max && !s.contains(char::is_control) => Ok(s.to_owned()),
            _ => self.refuse(value, None),
        }
    }

    fn expected(&self) -> String {
        let max = self.max;
        format!("a string of at most {max} bytes without control characters")
    }

    fn to_toml(&self, value: &String) -> String {
        quoted(value)
    }
}

pub struct PathType {
    max: usize,
}

/// An absolute path of at most `max` bytes, or "".
pub fn path(max: usize) -> PathType {
    PathType { max }
}

impl KeyType for PathType {
    type Value = PathBuf;

    fn parse(&self, value: &Value<'_>) -> Parsed<PathBuf> {
        match text(self.max).parse(value) {
            Ok(s) if s.is_empty() || s.starts_with('/') => Ok(PathBuf::from(s)),
            _ => self.refuse(value, None),
        }
    }

    fn expected(&self) -> String {
        format!("an absolute path of at most {} bytes or \"\"", self.max)
    }

    fn to_toml(&self, value: &PathBuf) -> String {
        quoted(value.display())
    }
}

pub struct UrlType {
    max: usize,
}

/// An http or https address of at most `max` bytes, or "".
pub fn url(max: usize) -> UrlType {
    UrlType { max }
}

impl KeyType for UrlType {
    type Value = String;

    fn parse(&self, value: &Value<'_>) -> Parsed<String> {
        let is_url = |s: &str| {
            let rest = s
                .strip_prefix("https://")
                .or_else(|| s.strip_prefix("http://"));
            rest.is_some_and(|rest| !rest.is_empty() && !s.contains(char::is_whitespace))
        };
        match text(self.max).parse(value) {
            Ok(s) if s.is_empty() || is_url(&s) => Ok(s),
            _ => self.refuse(value, None),
        }
    }

    fn expected(&self) -> String {
        format!(
            "an address that starts with http:// or https://, of at most {} bytes, or \"\"",
            self.max
        )
    }

    fn to_toml(&self, value: &String) -> String {
        quoted(value)
    }
}

pub struct OneOfType<T: 'static>(&'static [T]);

/// One of the words of `T`.
pub fn named<T: Named>() -> OneOfType<T> {
    OneOfType(T::ALL)
}

/// One of these words of `T`.
pub fn one_of<T: Named>(words: &'static [T]) -> OneOfType<T> {
    OneOfType(words)
}

impl<T: Named> KeyType for OneOfType<T> {
    type Value = T;

    fn parse(&self, value: &Value<'_>) -> Parsed<T> {
        let text = value.get_ref().as_str();
        let found = text.and_then(T::parse);
        match found.filter(|found| self.0.contains(found)) {
            Some(t) => Ok(t),
            None => self.refuse(value, None),
        }
    }

    fn expected(&self) -> String {
        let names: Vec<_> = self.0.iter().map(|t| quoted(t.name())).collect();
        names.join(" or ")
    }

    fn nix(&self) -> String {
        let names: Vec<_> = self.0.iter().map(|t| quoted(t.name())).collect();
        format!("enum [ {} ]", names.join(" "))
    }

    fn to_toml(&self, value: &T) -> String {
        quoted(value.name())
    }
}

pub struct ListType<K> {
    max: usize,
    item: K,
}

/// A list of at most `max` items, each only once.
pub fn list<K>(max: usize, item: K) -> ListType<K> {
    ListType { max, item }
}

impl<K: KeyType<Value: PartialEq>> KeyType for ListType<K> {
    type Value = Vec<K::Value>;

    fn parse(&self, value: &Value<'_>) -> Parsed<Self::Value> {
        let Some(items) = value.get_ref().as_array() else {
            return value_error(value, "a list in [brackets]", None);
        };
        if items.len() > self.max {
            let expected = format!("a list of at most {} items", self.max);
            return value_error(value, expected, None);
        }
        let mut list = Vec::with_capacity(items.len());
        let mut errors = Vec::new();
        for value in items.iter() {
            match self.item.parse(value) {
                Ok(t) if list.contains(&t) => errors.push(ValueError {
                    span: value.span(),
                    expected: "each item only once".into(),
                    reason: None,
                }),
                Ok(t) => list.push(t),
                Err(more) => errors.extend(more),
            }
        }
        if errors.is_empty() {
            Ok(list)
        } else {
            Err(errors)
        }
    }

    fn expected(&self) -> String {
        let (max, item) = (self.max, self.item.expected());
        format!("a list of at most {max} items, each {item}")
    }

    fn nix(&self) -> String {
        format!("listOf {}", nix_argument(&self.item.nix()))
    }

    fn to_toml(&self, value: &Self::Value) -> String {
        let items: Vec<_> = value.iter().map(|item| self.item.to_toml(item)).collect();
        format!("[{}]", items.join(", "))
    }
}

pub struct WordListType<T: 'static>(ListType<OneOfType<T>>);

/// A list of at most `max` words of `T`, kept in the order of [`Named::ALL`].
pub fn words<T: Named>(max: usize) -> WordListType<T> {
    WordListType(list(max, named()))
}

impl<T: Named + Ord> KeyType for WordListType<T> {
    type Value = Vec<T>;

    fn parse(&self, value: &Value<'_>) -> Parsed<Vec<T>> {
        let mut words = self.0.parse(value)?;
        words.sort();
        Ok(words)
    }

    fn expected(&self) -> String {
        self.0.expected()
    }

    fn nix(&self) -> String {
        self.0.nix()
    }

    fn to_toml(&self, value: &Vec<T>) -> String {
        self.0.to_toml(value)
    }
}

pub struct PrefixType(WordType<Prefix>);

/// A prefix. An IPv4-mapped prefix becomes its IPv4 prefix.
pub fn canonical_prefix() -> PrefixType {
    PrefixType(word("a prefix such as \"10.0.0.0/8\""))
}

impl KeyType for PrefixType {
    type Value = Prefix;

    fn parse(&self, value: &Value<'_>) -> Parsed<Prefix> {
        self.0.parse(value).map(Prefix::to_canonical)
    }

    fn expected(&self) -> String {
        self.0.expected()
    }

    fn to_toml(&self, value: &Prefix) -> String {
        self.0.to_toml(value)
    }
}

/// A host to listen on or to send to: an address, with a zone if necessary, or a host name.
pub struct HostType;

/// An address or a host name; "" is valid as well.
pub fn address_or_name() -> HostType {
    HostType
}

impl KeyType for HostType {
    type Value = String;

    fn parse(&self, value: &Value<'_>) -> Parsed<String> {
        match value.get_ref().as_str() {
            Some(s) if s.is_empty() || is_host(s) => Ok(s.to_owned()),
            Some(_) => {
                let reason = "neither an address nor a host name";
                self.refuse(value, Some(reason.into()))
            }
            None => self.refuse(value, None),
        }
    }

    fn expected(&self) -> String {
        "an address or a host name".into()
    }

    fn to_toml(&self, value: &String) -> String {
        quoted(value)
    }
}

fn is_host(s: &str) -> bool {
    let address = s.split_once('%').map_or(s, |(address, _zone)| address);
    // A text with a colon is meant as an address, and so is one of only digits and dots.
    let numeric = s.contains([':', '%']) || s.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    address.parse::<IpAddr>().is_ok() || (!numeric && is_host_name(s))
}

/// Checks a host name by RFC 1123 section 2.1, and permits the underscore, which many networks use.
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
