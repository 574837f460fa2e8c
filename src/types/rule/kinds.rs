// SPDX-License-Identifier: AGPL-3.0-only
//! Defines the kinds of parts: how a value is read from a word, and how it is displayed.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::{self, Debug, Display};
use std::hash::Hash;
use std::marker::PhantomData;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use humantime_serde::re::humantime;
use serde::Serialize;

use super::MAX_TTL;
use super::rate::{LimitRate, RateJson};
use crate::types::duration;
use crate::types::interface_pattern::Pattern;
use crate::types::named::Named;

/// The limit of distinct patterns in one batch: a pattern is a small program, which is kept as long as its rule.
pub const MAX_PATTERNS: usize = 256;

/// The reason why a part cannot be read from a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartError {
    /// The word is not a value of the part; contains the reason if there is more than one possible reason.
    Invalid(Option<String>),
    /// The batch has [`MAX_PATTERNS`] patterns already.
    TooManyPatterns,
}

/// Compiles each pattern of interfaces once, however many rules name it.
#[derive(Default)]
pub struct PatternCache(HashMap<String, Pattern>);

impl PatternCache {
    fn pattern(&mut self, text: &str) -> Result<Pattern, PartError> {
        if let Some(pattern) = self.0.get(text) {
            return Ok(pattern.clone());
        }
        if self.0.len() == MAX_PATTERNS {
            return Err(PartError::TooManyPatterns);
        }
        let pattern: Pattern = from_word(text)?;
        self.0.insert(text.to_owned(), pattern.clone());
        Ok(pattern)
    }
}

/// A kind of parts. Each is a type without values.
pub trait PartKind {
    /// The type in a rule.
    type Field: Clone + Debug + Default + PartialEq;
    /// The key by which two rules are compared.
    type Key<'a>: Copy + Debug + Eq + Hash;
    /// The type in the JSON of the control API.
    type Json;

    const FORM: PartForm;

    fn read(text: &str, patterns: &mut PatternCache) -> Result<Self::Field, PartError>;

    fn write(field: &Self::Field, f: &mut fmt::Formatter<'_>) -> fmt::Result;

    fn key(field: &Self::Field) -> Self::Key<'_>;

    /// The value in the configuration.
    fn to_toml(field: &Self::Field) -> impl Serialize;

    fn to_json(field: &Self::Field) -> Option<Self::Json>;

    /// Returns the word from which [`PartKind::read`] reads the value of the JSON.
    fn json_to_word(json: &Self::Json) -> Cow<'_, str>;

    /// Returns all valid words, or those that have a name. Empty if there are none to propose.
    fn words() -> Vec<&'static str> {
        Vec::new()
    }
}

/// The form of a part in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartForm {
    Text,
    /// One of [`PartKind::words`].
    Name,
    Number {
        min: u32,
        max: u32,
    },
    /// A number, or a text with a unit.
    NumberOrText,
    /// One of [`TTLS`].
    Duration,
}

fn from_word<T: FromStr<Err: Display>>(text: &str) -> Result<T, PartError> {
    text.parse()
        .map_err(|reason: T::Err| PartError::Invalid(Some(reason.to_string())))
}

fn write_option(value: Option<impl Display>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    value.map_or(Ok(()), |value| write!(f, "{value}"))
}

/// A value that is written as text.
pub struct Text<T>(PhantomData<T>);

impl<T> PartKind for Text<T>
where
    T: FromStr<Err: Display> + Display + Serialize + Clone + Debug + Eq + Hash + Proposed + 'static,
{
    type Field = Option<T>;
    type Key<'a> = Option<&'a T>;
    type Json = String;

    const FORM: PartForm = PartForm::Text;

    fn read(text: &str, _: &mut PatternCache) -> Result<Self::Field, PartError> {
        from_word(text).map(Some)
    }

    fn write(field: &Self::Field, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_option(field.as_ref(), f)
    }

    fn key(field: &Self::Field) -> Self::Key<'_> {
        field.as_ref()
    }

    fn to_toml(field: &Self::Field) -> impl Serialize {
        field
    }

    fn to_json(field: &Self::Field) -> Option<String> {
        field.as_ref().map(T::to_string)
    }

    fn json_to_word(json: &String) -> Cow<'_, str> {
        json.into()
    }

    fn words() -> Vec<&'static str> {
        T::proposals()
    }
}

/// A type for which a shell can propose values.
pub trait Proposed {
    fn proposals() -> Vec<&'static str> {
        Vec::new()
    }
}

/// A pattern of interfaces.
pub struct Interfaces;

impl PartKind for Interfaces {
    type Field = Option<Pattern>;
    type Key<'a> = Option<&'a str>;
    type Json = String;

    const FORM: PartForm = PartForm::Text;

    fn read(text: &str, patterns: &mut PatternCache) -> Result<Self::Field, PartError> {
        patterns.pattern(text).map(Some)
    }

    fn write(field: &Self::Field, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_option(field.as_ref(), f)
    }

    fn key(field: &Self::Field) -> Self::Key<'_> {
        field.as_ref().map(Pattern::as_str)
    }

    fn to_toml(field: &Self::Field) -> impl Serialize {
        field
    }

    fn to_json(field: &Self::Field) -> Option<String> {
        field.as_ref().map(Pattern::to_string)
    }

    fn json_to_word(json: &String) -> Cow<'_, str> {
        json.into()
    }
}

/// One of the names of `T`.
pub struct Name<T>(PhantomData<T>);

impl<T: Named + Default + Debug + Eq + Hash + Serialize> PartKind for Name<T> {
    type Field = T;
    type Key<'a> = T;
    type Json = String;

    const FORM: PartForm = PartForm::Name;

    fn read(text: &str, _: &mut PatternCache) -> Result<T, PartError> {
        let found = T::parse(text);
        found.ok_or(PartError::Invalid(None))
    }

    fn write(field: &T, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(field.name())
    }

    fn key(field: &Self::Field) -> Self::Key<'_> {
        *field
    }

    fn to_toml(field: &T) -> impl Serialize {
        field
    }

    fn to_json(field: &T) -> Option<String> {
        Some(field.name().to_owned())
    }

    fn json_to_word(json: &String) -> Cow<'_, str> {
        json.into()
    }

    fn words() -> Vec<&'static str> {
        T::ALL.iter().map(|one| one.name()).collect()
    }
}

/// A rate: a number of packets, or bits with their unit.
pub struct Rate;

impl PartKind for Rate {
    type Field = Option<LimitRate>;
    type Key<'a> = Option<LimitRate>;
    type Json = RateJson;

    const FORM: PartForm = PartForm::NumberOrText;

    fn read(text: &str, _: &mut PatternCache) -> Result<Self::Field, PartError> {
        from_word(text).map(Some)
    }

    fn write(field: &Self::Field, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_option(*field, f)
    }

    fn key(field: &Self::Field) -> Self::Key<'_> {
        *field
    }

    fn to_toml(field: &Self::Field) -> impl Serialize {
        field
    }

    fn to_json(field: &Self::Field) -> Option<RateJson> {
        field.map(RateJson::from)
    }

    fn json_to_word(json: &RateJson) -> Cow<'_, str> {
        json.to_string().into()
    }
}

/// A burst, in the unit of the rate.
pub struct Burst;

const MIN_BURST: u32 = 1;

impl PartKind for Burst {
    type Field = Option<u32>;
    type Key<'a> = Option<u32>;
    type Json = u32;

    const FORM: PartForm = PartForm::Number {
        min: MIN_BURST,
        max: u32::MAX,
    };

    fn read(text: &str, _: &mut PatternCache) -> Result<Self::Field, PartError> {
        match text.parse() {
            Ok(burst) if burst >= MIN_BURST => Ok(Some(burst)),
            _ => Err(PartError::Invalid(None)),
        }
    }

    fn write(field: &Self::Field, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_option(*field, f)
    }

    fn key(field: &Self::Field) -> Self::Key<'_> {
        *field
    }

    fn to_toml(field: &Self::Field) -> impl Serialize {
        field
    }

    fn to_json(field: &Self::Field) -> Option<u32> {
        *field
    }

    fn json_to_word(json: &u32) -> Cow<'_, str> {
        json.to_string().into()
    }
}

/// The valid times to live.
pub const TTLS: RangeInclusive<Duration> = Duration::from_secs(1)..=MAX_TTL;

/// A time to live. JSON has whole seconds.
pub struct Ttl;

impl PartKind for Ttl {
    type Field = Option<Duration>;
    type Key<'a> = Option<Duration>;
    type Json = u64;

    const FORM: PartForm = PartForm::Duration;

    fn read(text: &str, _: &mut PatternCache) -> Result<Self::Field, PartError> {
        let ttl = duration::parse(text, &TTLS);
        ttl.map(Some).map_err(PartError::Invalid)
    }

    fn write(field: &Self::Field, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_option(field.map(humantime::format_duration), f)
    }

    fn key(field: &Self::Field) -> Self::Key<'_> {
        *field
    }

    fn to_toml(field: &Self::Field) -> impl Serialize {
        humantime_serde::Serde::from(*field)
    }

    fn to_json(field: &Self::Field) -> Option<u64> {
        field.map(|ttl| ttl.as_secs().max(1))
    }

    fn json_to_word(json: &u64) -> Cow<'_, str> {
        format!("{json}s").into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_compiled_once_and_bounded() {
        let mut patterns = PatternCache::default();
        for n in 0..MAX_PATTERNS {
            patterns.pattern(&format!("eth{n}")).unwrap();
        }
        assert!(patterns.pattern("eth0").is_ok());
        assert_eq!(patterns.pattern("wan"), Err(PartError::TooManyPatterns));
    }
}
