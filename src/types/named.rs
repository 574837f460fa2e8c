// SPDX-License-Identifier: AGPL-3.0-only
//! Defines values that are written as one word, and how they are serialized.

/// A value of a small closed set, which is written as a word.
pub trait Named: Copy + PartialEq + 'static {
    const ALL: &'static [Self];

    fn name(self) -> &'static str;
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
