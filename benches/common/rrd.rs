// SPDX-License-Identifier: AGPL-3.0-only
//! The same series in files of rrdtool, one for each curve, as AS-Stats stores them.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use rfm::store::types::{MinuteRows, Part};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Mean and maximum in the points of the history: 1 minute for 2 days, 5 minutes for 5 weeks, 1 hour for 13 months, and
/// 1 day for 10 years.
const ARCHIVES: &str = "RRA:AVERAGE:0.5:1:2880 RRA:AVERAGE:0.5:5:10080 RRA:AVERAGE:0.5:60:9504 \
                        RRA:AVERAGE:0.5:1440:3650 RRA:MAX:0.5:5:10080 RRA:MAX:0.5:60:9504 RRA:MAX:0.5:1440:3650";
/// Updates of a file at once.
const AT_ONCE: usize = 5;

pub fn is_installed() -> bool {
    let version = Command::new("rrdtool").arg("--version").output();
    version.is_ok_and(|output| output.status.success())
}

/// One process that gets all commands.
pub struct Files {
    folder: PathBuf,
    start: u64,
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// The updates that wait, by file.
    waiting: BTreeMap<String, Vec<(u64, u64)>>,
    known: BTreeMap<String, ()>,
}

impl Files {
    pub fn new(folder: &Path, start: u64) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let mut child = Command::new("rrdtool")
            .arg("-")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = child.stdin.take().ok_or("a pipe")?;
        let output = BufReader::new(child.stdout.take().ok_or("a pipe")?);
        Ok(Self {
            folder: folder.to_owned(),
            start,
            child,
            input,
            output,
            waiting: BTreeMap::new(),
            known: BTreeMap::new(),
        })
    }

    pub fn add(&mut self, minute: &MinuteRows) -> Result<()> {
        for row in &minute.rows {
            let scope = format!("{}-{}", row.interface, row.direction.name());
            for (n, total) in row.totals.iter().enumerate().filter(|(_, t)| t.bytes > 0) {
                self.put(format!("{scope}-total{n}"), minute.minute, total.bytes)?;
            }
            for part in &row.parts {
                if let Part::Network(asn) = part.part {
                    self.put(format!("{scope}-as{asn}"), minute.minute, part.bytes)?;
                }
            }
        }
        Ok(())
    }

    fn put(&mut self, name: String, time: u64, bytes: u64) -> Result<()> {
        if self.known.insert(name.clone(), ()).is_none() {
            let (path, start) = (self.path(&name), self.start);
            self.run(&format!(
                "create {path} --start {start} --step 60 DS:bytes:ABSOLUTE:120:0:U {ARCHIVES}"
            ))?;
        }
        let waiting = self.waiting.entry(name.clone()).or_default();
        waiting.push((time + 60, bytes));
        if waiting.len() >= AT_ONCE {
            self.flush(&name)?;
        }
        Ok(())
    }

    fn flush(&mut self, name: &str) -> Result<()> {
        let values = self.waiting.remove(name).unwrap_or_default();
        let mut command = format!("update {}", self.path(name));
        for (time, bytes) in values {
            write!(command, " {time}:{bytes}")?;
        }
        self.run(&command)
    }

    fn path(&self, name: &str) -> String {
        self.folder
            .join(name)
            .with_extension("rrd")
            .display()
            .to_string()
    }

    fn run(&mut self, command: &str) -> Result<()> {
        writeln!(self.input, "{command}")?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        match line.starts_with("OK") {
            true => Ok(()),
            false => Err(format!("rrdtool: {line}").into()),
        }
    }

    pub fn finish(mut self) -> Result<()> {
        let names: Vec<_> = self.waiting.keys().cloned().collect();
        for name in names {
            self.flush(&name)?;
        }
        drop(self.input);
        self.child.wait()?;
        Ok(())
    }
}

/// Returns the bytes of all files of a folder.
pub fn size(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        bytes += entry?.metadata()?.len();
    }
    Ok(bytes)
}
