// SPDX-License-Identifier: AGPL-3.0-only
//! The formats of records. Vendors differ in names and types: a number may be `"AS64500"`, a city a text or
//! a map of names. A value of an unexpected type counts as absent.

use std::fmt;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// The record of an ASN database: MaxMind and DB-IP use the long names, IPinfo and others the short ones.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct AsnRecord<'a> {
    autonomous_system_number: Number,
    asn: Number,
    #[serde(borrow)]
    autonomous_system_organization: Field<'a>,
    as_name: Field<'a>,
    name: Field<'a>,
}

impl<'a> AsnRecord<'a> {
    /// Returns the AS number; 0 = none.
    pub fn number(&self) -> u32 {
        match self.autonomous_system_number.0 {
            0 => self.asn.0,
            number => number,
        }
    }

    pub fn name(&self) -> Option<&'a str> {
        let long = self.autonomous_system_organization.text;
        filled(long.or(self.as_name.text).or(self.name.text))
    }
}

/// The record of a city or country database.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct LocationRecord<'a> {
    #[serde(borrow)]
    city: Field<'a>,
    country: Field<'a>,
    country_code: Field<'a>,
}

impl<'a> LocationRecord<'a> {
    pub fn city(&self) -> Option<&'a str> {
        filled(self.city.text.or(self.city.english).or(self.city.name))
    }

    /// Returns the country as two letters (ISO 3166-1).
    pub fn country(&self) -> Option<&'a str> {
        let code = self.country.iso_code.or(self.country_code.text);
        code.or(self.country.text).filter(|code| code.len() == 2)
    }
}

fn filled(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.is_empty())
}

/// An AS number, from a number or from a text with or without "AS"; 0 if it is neither.
#[derive(Default)]
struct Number(u32);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_any(AnyVisitor)
            .map(|any| match any {
                Any::Number(number) => Self(number),
                Any::Text(text) => Self(text.trim_start_matches("AS").parse().unwrap_or(0)),
                Any::Map(_) | Any::Else => Self(0),
            })
    }
}

/// A text, or the useful fields of a map.
#[derive(Default)]
struct Field<'a> {
    text: Option<&'a str>,
    name: Option<&'a str>,
    english: Option<&'a str>,
    iso_code: Option<&'a str>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Field<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_any(AnyVisitor)
            .map(|any| match any {
                Any::Text(text) => Self {
                    text: Some(text),
                    ..Self::default()
                },
                Any::Map(map) => Self {
                    text: None,
                    name: map.name,
                    english: map.names.en,
                    iso_code: map.iso_code,
                },
                Any::Number(_) | Any::Else => Self::default(),
            })
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Map<'a> {
    #[serde(borrow)]
    names: Names<'a>,
    name: Option<&'a str>,
    iso_code: Option<&'a str>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Names<'a> {
    en: Option<&'a str>,
}

enum Any<'a> {
    Number(u32),
    Text(&'a str),
    Map(Map<'a>),
    Else,
}

struct AnyVisitor;

impl<'de> Visitor<'de> for AnyVisitor {
    type Value = Any<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Any::Text(text))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(u32::try_from(number).map_or(Any::Else, Any::Number))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(u32::try_from(number).map_or(Any::Else, Any::Number))
    }

    fn visit_u128<E>(self, number: u128) -> Result<Self::Value, E> {
        Ok(u32::try_from(number).map_or(Any::Else, Any::Number))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Any::Else)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Any::Else)
    }

    fn visit_bytes<E>(self, _: &[u8]) -> Result<Self::Value, E> {
        Ok(Any::Else)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Any::Else)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        Map::deserialize(MapAccessDeserializer::new(map)).map(Any::Map)
    }
}
