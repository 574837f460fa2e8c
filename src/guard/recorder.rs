// SPDX-License-Identifier: AGPL-3.0-only
//! Stores the first packets of attacks in files.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::pcapng;
use super::report::AttackId;
use super::shared::AttackStatus;
use crate::bpf::capture::{CapturedPacket, FILTERS, PacketCapture, PacketFilter, SNAP_LENGTH};
use crate::sys::clock::Clock;
use crate::sys::os_error;
use crate::types::guard::Heading;

/// Packets of one attack.
const PACKETS: u64 = 1_000;
/// The programs are attached no longer than this for one attack.
const LONGEST: Duration = Duration::from_secs(60);
const PREFIX: &str = "attack-";
const SUFFIX: &str = ".pcapng";

/// Stores the packets of an attack.
pub trait AttackRecorder: Send {
    /// Begins a file; returns its path.
    fn begin(&mut self, attack: &AttackStatus, now: Instant) -> Result<String, String>;
    /// Writes the packets that were captured since the previous call.
    fn write(&mut self, now: Instant);
    /// Ends the file of an attack.
    fn end(&mut self, id: AttackId);
}

/// A file that is being written.
struct OpenFile {
    id: AttackId,
    path: PathBuf,
    file: File,
    /// The number in the file of each interface and kind of frame.
    interfaces: HashMap<(u32, bool), u32>,
    packets: u64,
    until: Instant,
    error: Option<io::Error>,
}

pub struct PacketFiles {
    capture: PacketCapture,
    folder: PathBuf,
    max_files: usize,
    name_interface: Box<dyn Fn(u32) -> Option<String> + Send>,
    open: [Option<OpenFile>; FILTERS],
}

impl PacketFiles {
    /// `name_interface` returns the name of an interface.
    pub fn new(
        capture: PacketCapture,
        folder: PathBuf,
        max_files: usize,
        name_interface: Box<dyn Fn(u32) -> Option<String> + Send>,
    ) -> io::Result<Self> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)?;
        Ok(Self {
            capture,
            folder,
            max_files,
            name_interface,
            open: Default::default(),
        })
    }

    fn finish(&mut self, number: usize) {
        let Some(open) = self.open[number].take() else {
            return;
        };
        let lost = self.capture.clear_filter(number).unwrap_or_else(|error| {
            log::warn!("cannot end the capture of packets: {error}; restart rfm");
            0
        });
        let path = open.path.display();
        match open.error {
            Some(error) => {
                let why = os_error::reason(&error);
                log::warn!(
                    "{path}: {why}; the file ends after {} packets",
                    open.packets
                );
            }
            None => log::info!(
                "{path}: {} packets of the attack, {lost} lost",
                open.packets
            ),
        }
        if self.open.iter().all(Option::is_none) {
            self.capture.detach();
        }
    }
}

impl AttackRecorder for PacketFiles {
    fn begin(&mut self, attack: &AttackStatus, now: Instant) -> Result<String, String> {
        let free = self.open.iter().position(Option::is_none);
        let number = free.ok_or_else(|| format!("{FILTERS} other attacks are being stored"))?;
        let report = &attack.report;
        let target = report.target.prefix();
        let target = target.ok_or("the alarm is that of an interface or a neighbor")?;
        make_room(&self.folder, self.max_files);
        let time = humantime_serde::re::humantime::format_rfc3339_seconds(attack.alarm);
        let time = time.to_string().replace(['-', ':'], "");
        let path = self
            .folder
            .join(format!("{PREFIX}{time}-{}{SUFFIX}", report.id.0));
        let failed = |error: io::Error| format!("{}: {}", path.display(), os_error::reason(&error));
        let mut options = File::options();
        let file = options.write(true).create_new(true).mode(0o600).open(&path);
        let mut file = file.map_err(failed)?;
        let signature = report.signature.as_ref();
        let text = signature.map_or_else(|| "none".to_owned(), ToString::to_string);
        let comment = format!(
            "attack {} on {}, signature: {text}",
            report.id.0, report.target
        );
        file.write_all(&pcapng::header(&comment)).map_err(failed)?;
        let filter = PacketFilter {
            prefix: signature.map_or(target, |signature| signature.dst),
            by_source: report.heading == Heading::Out,
            protocol: signature.map(|signature| signature.protocol),
            packets: PACKETS,
        };
        if let Err(error) = self.capture.start(number, &filter) {
            // without packets it is of no use
            let _ = fs::remove_file(&path);
            return Err(format!("the programs cannot be attached: {error}"));
        }
        let name = path.display().to_string();
        self.open[number] = Some(OpenFile {
            id: report.id,
            path,
            file,
            interfaces: HashMap::new(),
            packets: 0,
            until: now + LONGEST,
            error: None,
        });
        Ok(name)
    }

    fn write(&mut self, now: Instant) {
        if self.open.iter().all(Option::is_none) {
            return;
        }
        let clock = Clock::new();
        let (open, name) = (&mut self.open, &self.name_interface);
        let read = self.capture.read(&mut |packet| {
            let file = open.get_mut(packet.filter).and_then(Option::as_mut);
            // the file of a packet may have ended meanwhile
            if let Some(file) = file {
                file.add(packet, &clock, name);
            }
        });
        if let Err(error) = read {
            log::warn!("cannot read the packets of attacks: {error}; restart rfm");
        }
        for number in 0..FILTERS {
            let is_done = |open: &OpenFile| {
                open.packets >= PACKETS || now >= open.until || open.error.is_some()
            };
            if self.open[number].as_ref().is_some_and(is_done) {
                self.finish(number);
            }
        }
    }

    fn end(&mut self, id: AttackId) {
        self.write(Instant::now());
        let of = |open: &Option<OpenFile>| open.as_ref().is_some_and(|open| open.id == id);
        if let Some(number) = self.open.iter().position(of) {
            self.finish(number);
        }
    }
}

impl OpenFile {
    fn add(
        &mut self,
        packet: &CapturedPacket<'_>,
        clock: &Clock,
        name_interface: &dyn Fn(u32) -> Option<String>,
    ) {
        // programs on other CPUs may have captured one more
        if self.error.is_some() || self.packets >= PACKETS {
            return;
        }
        let mut bytes = Vec::new();
        let next = self.interfaces.len() as u32;
        let key = (packet.ifindex, packet.is_ip);
        let interface = *self.interfaces.entry(key).or_insert_with(|| {
            let name = name_interface(packet.ifindex);
            let name = name.unwrap_or_else(|| format!("ifindex {}", packet.ifindex));
            bytes = pcapng::interface(&name, packet.is_ip, SNAP_LENGTH);
            next
        });
        let comment = if packet.is_dropped { "dropped" } else { "" };
        let time = clock.wall(packet.time);
        bytes.extend(pcapng::packet(
            interface,
            time,
            packet.frame_bytes,
            packet.data,
            comment,
        ));
        match self.file.write_all(&bytes) {
            Ok(()) => self.packets += 1,
            Err(error) => self.error = Some(error),
        }
    }
}

/// Removes the oldest files, so that there is room for one more.
fn make_room(folder: &Path, max_files: usize) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut names: Vec<_> = names
        .filter(|name| name.starts_with(PREFIX) && name.ends_with(SUFFIX))
        .collect();
    // the time is in the name
    names.sort();
    let surplus = (names.len() + 1).saturating_sub(max_files);
    for name in &names[..surplus] {
        let path = folder.join(name);
        if let Err(error) = fs::remove_file(&path) {
            let why = os_error::reason(&error);
            log::warn!("cannot remove {}: {why}", path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_files_make_room_and_others_stay() {
        let folder = std::env::temp_dir().join(format!("rfm-pcap-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let name = |n: u32| format!("{PREFIX}2026110{n}T000000Z-1{SUFFIX}");
        for n in 1..=5 {
            fs::write(folder.join(name(n)), "").unwrap();
        }
        fs::write(folder.join("notes.txt"), "").unwrap();
        make_room(&folder, 3);
        let mut left: Vec<_> = fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, [name(4), name(5), "notes.txt".to_owned()]);
        fs::remove_dir_all(&folder).unwrap();
    }
}
