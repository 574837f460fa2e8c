// SPDX-License-Identifier: AGPL-3.0-only
//! Defines values that are written as one word, and how they are serialized.

/// A value of a small closed set, which is written as a word.
pub trait Named: Copy + PartialEq + 'static {
    const ALL: &'static [Self];
    /// Other spellings that are accepted.
    const ALIASES: &'static [(&'static str, Self)] = &[];

    fn name(self) -> &'static str;

    /// Returns the value of a name or of another spelling.
    fn parse(text: &str) -> Option<Self> {
        let named = Self::ALL.iter().find(|one| one.name() == text);
        let alias = || Self::ALIASES.iter().find(|(alias, _)| *alias == text);
        named.copied().or_else(|| Some(alias()?.1))
    }
}

macro_rules! serialize_by_name {
    ($($type:ty),+) => {$(
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str($crate::types::named::Named::name(*self))
            }
        }
    )+};
}

macro_rules! serialize_as_text {
    ($($type:ty),+) => {$(
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    )+};
}

pub(crate) use {serialize_as_text, serialize_by_name};
