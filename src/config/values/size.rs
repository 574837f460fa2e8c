// SPDX-License-Identifier: AGPL-3.0-only
//! The type of keys that are a number of bytes.

use std::ops::RangeInclusive;

use super::{KeyType, Parsed, Value, quoted};
use crate::types::byte_size::ByteSize;

pub struct SizeType(RangeInclusive<ByteSize>);

/// A number of bytes in `range`.
pub fn size(range: RangeInclusive<ByteSize>) -> SizeType {
    SizeType(range)
}

impl KeyType for SizeType {
    type Value = ByteSize;

    fn parse(&self, value: &Value<'_>) -> Parsed<ByteSize> {
        match value.get_ref().as_str().map(str::parse) {
            Some(Ok(size)) if self.0.contains(&size) => Ok(size),
            Some(Err(reason)) => self.refuse(value, Some(String::from(reason))),
            Some(Ok(_)) | None => self.refuse(value, None),
        }
    }

    fn expected(&self) -> String {
        let (start, end) = (self.0.start(), self.0.end());
        format!("a size from \"{start}\" to \"{end}\", such as \"96M\"")
    }

    fn to_toml(&self, value: &ByteSize) -> String {
        quoted(value)
    }
}
