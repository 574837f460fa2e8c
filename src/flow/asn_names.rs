// SPDX-License-Identifier: AGPL-3.0-only
//! The names of the ASNs in the labels. A name is stored as long as a series uses its ASN.

use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::string_interner::clean;

#[derive(Debug, Default)]
pub struct AsnNames {
    entries: HashMap<u32, Entry, RandomState>,
}

#[derive(Debug, Default)]
struct Entry {
    users: u32,
    name: Option<Arc<str>>,
}

impl AsnNames {
    /// Adds a user to these ASNs; 0 means none.
    pub fn retain<const N: usize>(&mut self, asns: [u32; N]) {
        for asn in asns.into_iter().filter(|&asn| asn > 0) {
            self.entries.entry(asn).or_default().users += 1;
        }
    }

    /// Undoes [`AsnNames::retain`].
    pub fn release<const N: usize>(&mut self, asns: [u32; N]) {
        for asn in asns.into_iter().filter(|&asn| asn > 0) {
            if let Some(entry) = self.entries.get_mut(&asn) {
                entry.users -= 1;
                if entry.users == 0 {
                    self.entries.remove(&asn);
                }
            }
        }
    }

    /// Stores the name of an ASN that is in use. The first name stays: databases use several names
    /// for one AS, and each change of a name would create a new series.
    pub fn learn(&mut self, asn: u32, name: Option<&Arc<str>>) {
        if let Some(name) = name
            && let Some(entry) = self.entries.get_mut(&asn)
            && entry.name.is_none()
        {
            entry.name = Some(clean(name).into());
        }
    }

    pub fn get(&self, asn: u32) -> Option<&Arc<str>> {
        self.entries.get(&asn)?.name.as_ref()
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_lives_as_long_as_its_asn_is_spoken_of() {
        let mut names = AsnNames::default();
        names.learn(64500, Some(&"early".into()));
        assert_eq!(names.get(64500), None);
        names.retain([64500, 64501]);
        names.retain([64500, 0]);
        names.learn(64500, Some(&"Exam\u{7}ple".into()));
        names.learn(64500, None);
        names.learn(64500, Some(&"Example, Inc.".into()));
        assert_eq!(names.get(64500).map(|n| &**n), Some("Example"));
        assert_eq!(names.get(64501), None);
        names.release([64500, 64501]);
        assert_eq!(names.get(64500).map(|n| &**n), Some("Example"));
        names.release([64500, 0]);
        assert_eq!(names.len(), 0);
    }
}
