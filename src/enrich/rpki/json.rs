// SPDX-License-Identifier: AGPL-3.0-only
//! Reads the JSON of rpki-client, Routinator and FORT: an object with a list `roas`, whose entries have `prefix`,
//! `maxLength` and `asn`. The text is read as a stream and never in memory as a whole.

use std::fmt;
use std::io::Read;
use std::net::IpAddr;

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::table::VrpList;

/// Reads the VRPs that are valid at `now`, in seconds since the Unix epoch. The error names the entry.
pub fn read(source: impl Read, now: u64) -> Result<VrpList, String> {
    let mut json = serde_json::Deserializer::from_reader(source);
    let read = Document { now }.deserialize(&mut json);
    let list = read.and_then(|list| json.end().map(|()| list));
    let list = list.map_err(|error| error.to_string())?;
    match list.ipv4.is_empty() && list.ipv6.is_empty() {
        true => Err("it has no VRP that is valid now".to_owned()),
        false => Ok(list),
    }
}

#[derive(Clone, Copy)]
struct Document {
    now: u64,
}

impl<'de> DeserializeSeed<'de> for Document {
    type Value = VrpList;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<VrpList, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Document {
    type Value = VrpList;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a list \"roas\"")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<VrpList, M::Error> {
        let mut list = None;
        while let Some(key) = map.next_key::<Key>()? {
            match key {
                Key::Roas if list.is_some() => return Err(de::Error::duplicate_field("roas")),
                Key::Roas => list = Some(map.next_value_seed(Roas(self.now))?),
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        list.ok_or_else(|| de::Error::missing_field("roas"))
    }
}

/// The keys that matter; the others are of other documents, or of no use here.
#[derive(serde::Deserialize)]
enum Key {
    #[serde(rename = "roas")]
    Roas,
    #[serde(rename = "asn")]
    Asn,
    #[serde(rename = "prefix")]
    Prefix,
    #[serde(rename = "maxLength")]
    MaxLength,
    #[serde(rename = "expires")]
    Expires,
    #[serde(other)]
    Other,
}

struct Roas(u64);

impl<'de> DeserializeSeed<'de> for Roas {
    type Value = VrpList;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<VrpList, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Roas {
    type Value = VrpList;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of VRPs")
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut items: S) -> Result<VrpList, S::Error> {
        let mut list = VrpList::default();
        while let Some(roa) = items.next_element::<Roa>()? {
            if roa.expires.is_some_and(|expires| expires < self.0) {
                continue;
            }
            list.push(roa.address, roa.length, roa.max_length, roa.asn)
                .map_err(de::Error::custom)?;
        }
        list.ipv4.shrink_to_fit();
        list.ipv6.shrink_to_fit();
        Ok(list)
    }
}

struct Roa {
    address: IpAddr,
    length: u8,
    max_length: u64,
    asn: u32,
    expires: Option<u64>,
}

impl<'de> de::Deserialize<'de> for Roa {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(RoaVisitor)
    }
}

struct RoaVisitor;

impl<'de> Visitor<'de> for RoaVisitor {
    type Value = Roa;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with \"asn\", \"prefix\" and \"maxLength\"")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Roa, M::Error> {
        let (mut asn, mut prefix, mut max_length, mut expires) = (None, None, None, None);
        while let Some(key) = map.next_key::<Key>()? {
            match key {
                Key::Asn => asn = Some(map.next_value::<AsNumber>()?.0),
                Key::Prefix => prefix = Some(map.next_value::<Prefix>()?),
                Key::MaxLength => max_length = Some(map.next_value::<u64>()?),
                Key::Expires => expires = Some(map.next_value::<u64>()?),
                Key::Roas | Key::Other => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        let Prefix(address, length) = prefix.ok_or_else(|| de::Error::missing_field("prefix"))?;
        Ok(Roa {
            address,
            length,
            max_length: max_length.unwrap_or(length.into()),
            asn: asn.ok_or_else(|| de::Error::missing_field("asn"))?,
            expires,
        })
    }
}

/// A number, or text with or without "AS".
struct AsNumber(u32);

impl<'de> de::Deserialize<'de> for AsNumber {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AsnVisitor)
    }
}

struct AsnVisitor;

impl Visitor<'_> for AsnVisitor {
    type Value = AsNumber;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an AS number, such as 64500 or \"AS64500\"")
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<AsNumber, E> {
        u32::try_from(number)
            .map(AsNumber)
            .map_err(|_| E::invalid_value(de::Unexpected::Unsigned(number), &self))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<AsNumber, E> {
        let digits = text.strip_prefix("AS").unwrap_or(text);
        digits
            .parse()
            .map(AsNumber)
            .map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}

struct Prefix(IpAddr, u8);

impl<'de> de::Deserialize<'de> for Prefix {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(PrefixVisitor)
    }
}

struct PrefixVisitor;

impl Visitor<'_> for PrefixVisitor {
    type Value = Prefix;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a prefix, such as \"192.0.2.0/24\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Prefix, E> {
        let parse = || {
            let (address, length) = text.split_once('/')?;
            Some(Prefix(address.parse().ok()?, length.parse().ok()?))
        };
        parse().ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns each VRP as text.
    fn vrps(json: &str) -> Result<Vec<String>, String> {
        let list = read(json.as_bytes(), 1_000)?;
        let text = |address: IpAddr, length: u8, max_length: u8, asn: u32| {
            format!("{address}/{length}-{max_length} AS{asn}")
        };
        let ipv4 = list.ipv4.iter().map(|vrp| {
            let address = IpAddr::V4(vrp.address.into());
            text(address, vrp.length, vrp.max_length, vrp.asn)
        });
        let ipv6 = list.ipv6.iter().map(|vrp| {
            let address = IpAddr::V6(vrp.address.into());
            text(address, vrp.length, vrp.max_length, vrp.asn)
        });
        Ok(ipv4.chain(ipv6).collect())
    }

    #[test]
    fn the_files_of_each_program_are_read() {
        let rpki_client = r#"{
            "metadata": { "buildtime": "2026-11-29T00:00:00Z", "vrps": 3 },
            "roas": [
                { "asn": 64500, "prefix": "192.0.2.0/24", "maxLength": 24, "ta": "ripe", "expires": 2000 },
                { "asn": 64500, "prefix": "198.51.100.0/24", "maxLength": 24, "ta": "ripe", "expires": 999 },
                { "asn": 64501, "prefix": "2001:db8::/32", "maxLength": 48, "ta": "arin", "expires": 1000 }
            ],
            "bgpsec_keys": [ { "asn": 1, "ski": "00" } ],
            "aspas": [ { "customer_asid": 1, "expires": 1, "providers": [ 2 ] } ]
        }"#;
        let routinator = r#"{
            "metadata": { "generated": 1626853335, "generatedTime": "2021-07-21T07:42:15Z" },
            "roas": [
                { "asn": "AS64500", "prefix": "192.0.2.0/24", "maxLength": 24, "ta": "ripe" },
                { "asn": "AS64501", "prefix": "2001:db8::/32", "maxLength": 48,
                  "source": [ { "type": "roa", "uri": "rsync://x", "chainValidity": { "notAfter": "y" } } ] }
            ],
            "routerKeys": [], "aspas": []
        }"#;
        let fort = r#"{"roas":[{ "asn" : "AS64500", "prefix" : "192.0.2.0/24", "maxLength" : 24 },
            { "asn" : "AS64501", "prefix" : "2001:db8::/32", "maxLength" : 48 }]}"#;
        for json in [rpki_client, routinator, fort] {
            let expected = ["192.0.2.0/24-24 AS64500", "2001:db8::/32-48 AS64501"];
            assert_eq!(vrps(json).unwrap(), expected, "{json}");
        }
        // without a maximum length, the VRP has the length of its prefix
        let short = r#"{"roas":[{"asn":"0","prefix":"10.0.0.0/8"}]}"#;
        assert_eq!(vrps(short).unwrap(), ["10.0.0.0/8-8 AS0"]);
    }

    #[test]
    fn broken_files_are_refused() {
        let with = |roa: &str| format!("{{\"roas\":[{roa}]}}");
        for (json, expected) in [
            (
                String::new(),
                "EOF while parsing a value at line 1 column 0",
            ),
            ("{}".into(), "missing field `roas`"),
            (
                "[1]".into(),
                "invalid type: sequence, expected an object with a list \"roas\"",
            ),
            (with(""), "it has no VRP that is valid now"),
            (
                with("{\"asn\":1,\"prefix\":\"10.0.0.0/8\"}") + "x",
                "trailing characters",
            ),
            (
                with("{\"asn\":1,\"prefix\":\"10.0.0.0/8\"},"),
                "trailing comma",
            ),
            (with("{\"asn\":1}"), "missing field `prefix`"),
            (with("{\"prefix\":\"10.0.0.0/8\"}"), "missing field `asn`"),
            (
                with("{\"asn\":1,\"prefix\":\"10.0.0.0\"}"),
                "invalid value: string \"10.0.0.0\", expected a prefix, such as \"192.0.2.0/24\"",
            ),
            (
                with("{\"asn\":4294967296,\"prefix\":\"10.0.0.0/8\"}"),
                "invalid value: integer `4294967296`, expected an AS number, such as 64500 or \"AS64500\"",
            ),
            (
                with("{\"asn\":\"ASx\",\"prefix\":\"10.0.0.0/8\"}"),
                "invalid value: string \"ASx\", expected an AS number, such as 64500 or \"AS64500\"",
            ),
            (
                with("{\"asn\":1,\"prefix\":\"10.0.0.0/8\",\"maxLength\":7}"),
                "the maximum length 7 does not fit 10.0.0.0/8",
            ),
            ("{\"roas\":[],\"roas\":[]}".into(), "duplicate field `roas`"),
            (
                "{\"a\":".to_owned() + &"[".repeat(100_000),
                "EOF while parsing a list",
            ),
        ] {
            let error = vrps(&json).unwrap_err();
            assert!(error.starts_with(expected), "{expected}: {error}");
        }
    }
}
