// SPDX-License-Identifier: AGPL-3.0-only
//! The history on disk: thread history, and the sender that other threads use.

use std::sync::Arc;
use std::time::Duration;

use super::{Error, Running};
use crate::bill::current_month::MonthWatch;
use crate::config;
use crate::control::HistorySource;
use crate::http::deferred::Deferrer;
use crate::store::event_log;
use crate::store::files::writer::StoreSettings;
use crate::store::reader::HistoryReader;
use crate::store::sender::HistorySender;
use crate::store::shared::SharedHistory;
use crate::store::thread;

/// Rows wait in memory for at most this time.
const LONGEST_INTERVAL: Duration = Duration::from_secs(3600);

/// The history on disk, for the threads that feed it and for those that read it.
#[derive(Clone)]
pub(super) struct DiskHistory {
    pub shared: Arc<SharedHistory>,
    pub sender: HistorySender,
    /// Hands questions to thread history-read.
    reads: Deferrer,
}

impl Running {
    /// Starts thread history, if the configuration names a folder.
    pub(super) fn start_history(&mut self, agent: &config::Agent) -> Result<(), Error> {
        let history = &agent.history;
        let Some(folder) = history.folder() else {
            return Ok(());
        };
        let shared = Arc::new(SharedHistory::new(folder.to_owned()));
        let (sender, received) = HistorySender::new(shared.clone());
        let settings = StoreSettings {
            max_size: history.max_size.0,
            sync_interval: history.sync_interval.min(LONGEST_INTERVAL),
        };
        let (written, percentiles) = (shared.clone(), self.month_percentiles.clone());
        let has_percentiles = agent.prometheus.p95_series;
        self.spawn("history", move |heartbeat| {
            let reader = HistoryReader::new(written.clone()).with_heartbeat(&heartbeat);
            let mut watch = has_percentiles.then(|| MonthWatch::new(reader, percentiles));
            thread::run(written, settings, &received, &heartbeat, |now| {
                if let Some(watch) = &mut watch {
                    watch.update(now);
                }
            });
        })?;
        let (reads, requests) = Deferrer::new().map_err(Error::Start)?;
        self.spawn("history-read", move |heartbeat| requests.run(&heartbeat))?;
        event_log::install(sender.clone());
        self.history = Some(DiskHistory {
            shared,
            sender,
            reads,
        });
        Ok(())
    }
}

impl DiskHistory {
    pub fn reader(&self) -> HistoryReader {
        HistoryReader::new(self.shared.clone())
    }

    /// Returns the way of one server to thread history-read.
    pub fn reads(&self) -> Result<Deferrer, Error> {
        self.reads.for_another_server().map_err(Error::Start)
    }

    pub fn for_control(&self) -> Result<HistorySource, Error> {
        Ok(HistorySource {
            reader: self.reader(),
            deferrer: self.reads()?,
        })
    }
}
