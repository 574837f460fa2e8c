// SPDX-License-Identifier: AGPL-3.0-only
//! The built-in page: thread page, and its memory for thread http.

use std::sync::Arc;

use super::{Error, Running, View};
use crate::config::Agent;
use crate::metrics::collect::LinkReader;
use crate::netlink::{DefaultRoute, Link, LinkSocket};
use crate::page::{self, Page};

impl Running {
    /// Starts thread page; `None` if the configuration disables the page.
    pub(super) fn start_page(
        &self,
        agent: &Agent,
        view: View,
        links: &[Link],
    ) -> Result<Option<Arc<Page>>, Error> {
        if !agent.prometheus.page {
            return Ok(None);
        }
        let socket = LinkSocket::new(self.errors.clone());
        let reader = LinkReader::new(socket, links.to_vec());
        let scrape = self.scrape(view, reader)?;
        let page = Arc::new(Page::default());
        let default_route = DefaultRoute::new(self.errors.clone());
        let fed = page.clone();
        self.spawn("page", move |heartbeat| {
            page::thread::run(&fed, &scrape, default_route, &heartbeat);
        })?;
        Ok(Some(page))
    }
}
