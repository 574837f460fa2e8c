// SPDX-License-Identifier: AGPL-3.0-only
//! The learned traffic in a file, for the next start.

use std::io;
use std::path::{Path, PathBuf};

use super::baseline::{HOURS, HourValues, LearnedHours, LearnedTraffic, MAX_LEARNED};
use super::shared::GuardHandle;
use crate::sys::files::{read_bytes, replace};
use crate::sys::os_error;
use crate::types::guard::{Heading, Quantity};
use crate::types::named::Named;

const MAGIC: &[u8; 8] = b"rfmbase1";
const VALUES: usize = HOURS * Heading::ALL.len() * Quantity::ALL.len();
/// The longest text of a prefix.
const MAX_TEXT: usize = 49;

/// The largest file: a damaged one may have any length.
const MAX_FILE: u64 = (8 + MAX_LEARNED * (1 + MAX_TEXT + VALUES * 4) + 4) as u64;

/// Writes all prefixes as bytes with a checksum.
pub fn encode(learned: &LearnedTraffic) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    for (prefix, hours) in learned {
        let text = prefix.to_string();
        bytes.push(text.len() as u8);
        bytes.extend_from_slice(text.as_bytes());
        for value in hours.iter().flatten().flatten() {
            bytes.extend_from_slice(&value.to_le_bytes());
        }
    }
    let checksum = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

/// Reads what [`encode`] wrote; `None` if it is damaged.
pub fn decode(bytes: &[u8]) -> Option<LearnedTraffic> {
    let (content, checksum) = bytes.split_last_chunk::<4>()?;
    if crc32fast::hash(content) != u32::from_le_bytes(*checksum) {
        return None;
    }
    let mut rest = content.strip_prefix(MAGIC)?;
    let mut learned = LearnedTraffic::new();
    while let [length, more @ ..] = rest {
        let (text, more) = more.split_at_checked(usize::from(*length))?;
        let (values, more) = more.split_at_checked(VALUES * 4)?;
        rest = more;
        let prefix = std::str::from_utf8(text).ok()?.parse().ok()?;
        let mut hours: LearnedHours = Box::new([HourValues::default(); HOURS]);
        let places = hours.iter_mut().flatten().flatten();
        for (place, value) in places.zip(values.as_chunks::<4>().0) {
            *place = f32::from_le_bytes(*value);
        }
        if hours
            .iter()
            .flatten()
            .flatten()
            .any(|value| !value.is_finite())
        {
            return None;
        }
        learned.insert(prefix, hours);
    }
    Some(learned)
}

/// Reads the file; without one, nothing has been learned.
pub fn load(path: &Path) -> Result<LearnedTraffic, String> {
    if matches!(path.symlink_metadata(), Err(error) if error.kind() == io::ErrorKind::NotFound) {
        return Ok(LearnedTraffic::default());
    }
    let bytes = read_bytes(path, MAX_FILE)?;
    decode(&bytes).ok_or_else(|| "it is damaged, or of another version".into())
}

/// Saves what was learned.
pub struct BaselineFile(pub PathBuf);

impl BaselineFile {
    /// Saves what was learned since the last call; a failure is logged, and the next hour is saved with all others.
    pub fn save(&self, handle: &GuardHandle) {
        let unsaved = handle.lock().unsaved.take();
        let Some(learned) = unsaved else {
            return;
        };
        if let Err(error) = replace(&self.0, &encode(&learned)) {
            log::warn!(
                "the baseline of the guard is not saved in {}: {}; set agent.guard.baseline_file",
                self.0.display(),
                os_error::of_file(&error)
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_as_it_was_written_and_a_damaged_one_is_refused() {
        let mut hours: LearnedHours = Box::new([HourValues::default(); HOURS]);
        hours[167][Heading::Out as usize][Quantity::Syn as usize] = 12.5;
        let mut learned = LearnedTraffic::new();
        learned.insert("2001:db8::/32".parse().unwrap(), hours.clone());
        hours[0][Heading::In as usize][Quantity::Bits as usize] = 1e9;
        learned.insert("192.0.2.0/24".parse().unwrap(), hours);

        let folder = tempfolder();
        let path = folder.join("baseline");
        assert_eq!(load(&path), Ok(LearnedTraffic::new()));
        replace(&path, &encode(&learned)).unwrap();
        assert_eq!(load(&path), Ok(learned.clone()));

        let bytes = encode(&learned);
        for at in (0..bytes.len()).step_by(997).chain([0, bytes.len() - 1]) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x40;
            assert_eq!(decode(&damaged), None, "byte {at}");
            assert_eq!(decode(&bytes[..at]), None, "{at} bytes");
        }
        std::fs::remove_dir_all(folder).unwrap();
    }

    fn tempfolder() -> PathBuf {
        let folder = std::env::temp_dir().join(format!("rfm-baseline-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }
}
