// SPDX-License-Identifier: AGPL-3.0-only
//! The built-in page: thread page, and its memory for thread http.

use std::sync::Arc;
use std::time::Duration;

use super::labels::Labels;
use super::{Error, Running, View};
use crate::config::Agent;
use crate::enrich::rib::SharedRib;
use crate::flow::thread::{Request, ask};
use crate::history::recorder::Recorder;
use crate::metrics::collect::LinkReader;
use crate::netlink::{DefaultRoute, Link, LinkSocket};
use crate::page::stored::StoredHistory;
use crate::page::{self, Page, TalkerSource};

/// Thread flow answers between two batches; without an answer the page has no list.
const TALKERS_TIMEOUT: Duration = Duration::from_secs(1);

impl Running {
    /// Starts thread page, which also feeds the history on disk; `None` if the configuration disables the page.
    pub(super) fn start_page(
        &self,
        agent: &Agent,
        view: View,
        links: &[Link],
        rib: SharedRib,
    ) -> Result<Option<Arc<Page>>, Error> {
        if !agent.prometheus.page && self.history.is_none() {
            return Ok(None);
        }
        let socket = LinkSocket::new(self.errors.clone());
        let reader = LinkReader::new(socket, links.to_vec());
        let scrape = self.scrape(view, reader)?;
        let (flows, live) = (scrape.flows.clone(), self.live.clone());
        let page = Page::with_talkers(TalkerSource {
            ask: Box::new(move |query| {
                let query = Box::new(query);
                ask(&flows, TALKERS_TIMEOUT, |reply| {
                    Request::Talkers(query, reply)
                })
                .ok()
            }),
            addresses: Box::new(move || live.get().config.agent.privacy.addresses),
        });
        let page = Arc::new(match &self.history {
            Some(history) => {
                page.record(Recorder::new(history.sender.clone()));
                let names = Labels::new(self, rib).for_history(agent.history.conversations);
                let stored = StoredHistory::new(history.reader(), names, history.reads()?);
                page.with_stored(stored)
            }
            None => page,
        });
        let default_route = DefaultRoute::new(self.errors.clone());
        let fed = page.clone();
        self.spawn("page", move |heartbeat| {
            page::thread::run(&fed, &scrape, default_route, &heartbeat);
        })?;
        Ok(Some(page).filter(|_| agent.prometheus.page))
    }
}
