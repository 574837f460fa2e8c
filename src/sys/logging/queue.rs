// SPDX-License-Identifier: AGPL-3.0-only
//! Queues lines between the threads that log and thread log, which writes them.
//!
//! Only thread log waits for the reader of standard error. If nobody reads (a stopped terminal, a stuck log
//! shipper), the queue fills, further lines are dropped and counted, and the next line that is written reports
//! how many.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread::Builder;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

/// The limits of the queue: lines, and their bytes.
const MAX_LINES: usize = 512;
const MAX_BYTES: usize = 1 << 20;

enum LogMessage {
    Line(Vec<u8>),
    /// Thread log drops it, and so closes its channel, when all lines before it are written.
    Flush(Sender<()>),
}

#[derive(Default)]
struct LogCounts {
    waiting: AtomicUsize,
    dropped: AtomicU64,
}

/// The sending end, for the threads that log. Cheap to clone.
#[derive(Clone)]
pub(super) struct Queue {
    messages: Sender<LogMessage>,
    counts: Arc<LogCounts>,
}

impl Queue {
    /// Starts thread log, which writes to `out`. `report` formats the line about dropped lines. The thread ends
    /// with the process: it may be waiting for a reader.
    pub fn start(
        out: impl Write + Send + 'static,
        report: fn(u64) -> String,
        prepare: fn(),
    ) -> io::Result<Self> {
        let (sender, messages) = bounded(MAX_LINES);
        let counts = Arc::new(LogCounts::default());
        let queue = Self {
            messages: sender,
            counts: counts.clone(),
        };
        Builder::new()
            .name("log".into())
            .stack_size(64 * 1024)
            .spawn(move || {
                prepare();
                write(&messages, &counts, out, report);
            })?;
        Ok(queue)
    }

    /// Queues a line, or drops and counts it. Never waits.
    pub fn push(&self, line: &[u8]) {
        let before = self.counts.waiting.fetch_add(line.len(), Ordering::AcqRel);
        let is_full = before + line.len() > MAX_BYTES;
        if is_full
            || self
                .messages
                .try_send(LogMessage::Line(line.into()))
                .is_err()
        {
            self.counts.waiting.fetch_sub(line.len(), Ordering::AcqRel);
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until all lines are written, at most `patience`.
    pub fn flush(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        let (done, written) = bounded(0);
        if self
            .messages
            .send_deadline(LogMessage::Flush(done), deadline)
            .is_ok()
        {
            // an error is the end of the wait: the other end was dropped, or the time is over
            let _ = written.recv_deadline(deadline);
        }
    }

    pub fn dropped(&self) -> u64 {
        self.counts.dropped.load(Ordering::Relaxed)
    }
}

impl Write for Queue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The body of thread log.
fn write(
    messages: &Receiver<LogMessage>,
    counts: &LogCounts,
    mut out: impl Write,
    report: fn(u64) -> String,
) {
    let mut reported = 0;
    for message in messages {
        match message {
            LogMessage::Line(line) => {
                // without a reader nobody would receive an error
                let _ = out.write_all(&line);
                counts.waiting.fetch_sub(line.len(), Ordering::AcqRel);
            }
            LogMessage::Flush(done) => drop(done),
        }
        let dropped = counts.dropped.load(Ordering::Relaxed);
        if dropped > reported && messages.is_empty() {
            let _ = out.write_all(report(dropped - reported).as_bytes());
            reported = dropped;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, pipe};

    use super::*;

    fn report(dropped: u64) -> String {
        format!("dropped {dropped}\n")
    }

    #[test]
    fn a_reader_that_stops_costs_lines_and_no_time() {
        let (mut reader, writer) = pipe().unwrap();
        let queue = Queue::start(writer, report, || {}).unwrap();
        let start = Instant::now();
        let line = [b"x".repeat(99), b"\n".to_vec()].concat();
        for _ in 0..10_000 {
            queue.push(&line);
        }
        queue.flush(Duration::from_millis(100));
        assert!(start.elapsed() < Duration::from_secs(2));
        let dropped = queue.dropped();
        // a pipe has 64 kB
        assert!(
            (8_500..=10_000 - MAX_LINES as u64).contains(&dropped),
            "{dropped}"
        );
        // thread log reports whenever it has caught up, so there may be several reports
        let mut reader = BufReader::new(&mut reader);
        let (mut written, mut reported) = (0, 0);
        while written + reported < 10_000 {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            match line.trim_end().strip_prefix("dropped ") {
                Some(count) => reported += count.parse::<u64>().unwrap(),
                None => written += 1,
            }
        }
        assert_eq!((written + reported, reported), (10_000, dropped));
    }

    #[test]
    fn long_lines_are_bounded_by_their_bytes() {
        let (_reader, writer) = pipe().unwrap();
        let queue = Queue::start(writer, report, || {}).unwrap();
        let line = b"x".repeat(MAX_BYTES / 4);
        for _ in 0..8 {
            queue.push(&line);
        }
        assert!((4..=5).contains(&queue.dropped()), "{}", queue.dropped());
    }

    #[test]
    fn all_is_written_before_the_end() {
        let (mut reader, writer) = pipe().unwrap();
        let queue = Queue::start(writer, report, || {}).unwrap();
        queue.push(b"last words\n");
        queue.flush(Duration::from_secs(5));
        let mut text = [0; 11];
        reader.read_exact(&mut text).unwrap();
        assert_eq!(&text, b"last words\n");
    }
}
