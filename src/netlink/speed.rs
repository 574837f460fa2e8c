// SPDX-License-Identifier: AGPL-3.0-only
//! Reads link speeds. rtnetlink does not report them; sysfs does, but each read takes the RTNL lock and queries
//! the driver, and some drivers query their hardware. Therefore a speed is kept until the link changes or the
//! value is too old.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::Link;

/// The lifetime of a value: a bond or a virtual device may change its speed without a change of carrier.
const KEEP: Duration = Duration::from_secs(60);

/// The unit of sysfs is 10^6 bit/s.
const BYTES_PER_MBIT: u64 = 125_000;

struct Entry {
    ifindex: u32,
    up: bool,
    carrier_changes: u32,
    read_at: Instant,
    speed: Option<u64>,
}

pub(super) struct Speeds {
    /// `/sys/class/net`.
    root: PathBuf,
    /// In order of ifindex; exactly the links of the last call.
    entries: Vec<Entry>,
}

impl Speeds {
    pub(super) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            entries: Vec::new(),
        }
    }

    /// Fills in the speeds of `links`, which are in order of ifindex.
    pub(super) fn fill(&mut self, links: &mut [Link], now: Instant) {
        let mut entries = Vec::with_capacity(links.len());
        for link in links {
            let speed = match self.known(link, now) {
                Some(known) => known,
                None => Entry {
                    ifindex: link.ifindex,
                    up: link.up,
                    carrier_changes: link.carrier_changes,
                    read_at: now,
                    speed: self.read(&link.name),
                },
            };
            link.speed_bytes = speed.speed;
            entries.push(speed);
        }
        self.entries = entries;
    }

    fn known(&self, link: &Link, now: Instant) -> Option<Entry> {
        let at = self
            .entries
            .binary_search_by_key(&link.ifindex, |e| e.ifindex)
            .ok()?;
        let e = &self.entries[at];
        let holds = e.up == link.up
            && e.carrier_changes == link.carrier_changes
            && now.saturating_duration_since(e.read_at) < KEEP;
        holds.then_some(Entry { ..*e })
    }

    fn read(&self, name: &str) -> Option<u64> {
        let text = fs::read_to_string(self.root.join(name).join("speed")).ok()?;
        parse(&text)
    }
}

/// Parses a speed. -1 is the kernel's SPEED_UNKNOWN; while the link is down, some drivers report 0, or -1 as
/// u32.
fn parse(text: &str) -> Option<u64> {
    let mbit: u64 = text.trim_end().parse().ok()?;
    let known = mbit != 0 && mbit != u64::from(u32::MAX);
    known.then(|| mbit.saturating_mul(BYTES_PER_MBIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speeds_are_bytes_per_second_where_known() {
        assert_eq!(parse("10000\n"), Some(1_250_000_000));
        assert_eq!(parse("10\n"), Some(1_250_000));
        for unknown in ["-1\n", "0\n", "4294967295\n", "", "fast\n"] {
            assert_eq!(parse(unknown), None, "{unknown:?}");
        }
    }

    #[test]
    fn a_speed_is_read_again_when_the_link_changed_or_time_has_passed() {
        let root = std::env::temp_dir().join(format!("rfm-speed-{}", std::process::id()));
        let file = root.join("eth0/speed");
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        let mut links = [Link {
            ifindex: 2,
            name: "eth0".into(),
            ..Link::default()
        }];
        let mut speeds = Speeds::new(&root);
        let start = Instant::now();
        let mut speed_at = |seconds: u64, says: &str, links: &mut [Link]| {
            fs::write(&file, says).unwrap();
            speeds.fill(links, start + Duration::from_secs(seconds));
            links[0].speed_bytes
        };

        assert_eq!(speed_at(0, "1000\n", &mut links), Some(125_000_000));
        assert_eq!(speed_at(59, "2500\n", &mut links), Some(125_000_000));
        assert_eq!(speed_at(60, "2500\n", &mut links), Some(312_500_000));
        links[0].carrier_changes += 1;
        assert_eq!(speed_at(61, "100\n", &mut links), Some(12_500_000));
        links[0].up = true;
        assert_eq!(speed_at(62, "-1\n", &mut links), None);
        fs::remove_dir_all(&root).unwrap();
    }
}
