// SPDX-License-Identifier: AGPL-3.0-only
//! Names of hosts: a bounded cache, and the thread that queries the system's resolver.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::sys::resolver;

/// The maximum number of names; the oldest is evicted.
const MAX_NAMES: usize = 2048;
/// The maximum number of addresses that wait. The view requests the others again while it shows them.
const MAX_WAITING: usize = 64;

/// The names that are known, by address.
#[derive(Debug, Default)]
pub struct NameCache {
    /// Whether names are shown and requested.
    pub on: bool,
    /// `None`: requested, or without a name.
    names: HashMap<String, Option<String>>,
    order: VecDeque<String>,
    /// The number of names that were evicted.
    pub evicted: u64,
}

impl NameCache {
    /// Returns the name of an address if names are shown.
    pub fn get(&self, address: &str) -> Option<&str> {
        let name = self.names.get(address).filter(|_| self.on)?;
        name.as_deref()
    }

    pub fn is_known(&self, address: &str) -> bool {
        self.names.contains_key(address)
    }

    pub fn set(&mut self, address: &str, name: Option<String>) {
        let known = self.names.insert(address.to_owned(), name);
        if known.is_some() {
            return;
        }
        self.order.push_back(address.to_owned());
        if self.order.len() > MAX_NAMES
            && let Some(oldest) = self.order.pop_front()
        {
            self.names.remove(&oldest);
            self.evicted += 1;
        }
    }
}

/// The thread that resolves addresses, one after the other: a slow resolver does not delay the view.
pub struct Resolver {
    requests: Sender<String>,
    pub answers: Receiver<(String, Option<String>)>,
}

impl Resolver {
    pub fn start() -> io::Result<Self> {
        let (requests, waiting) = bounded::<String>(MAX_WAITING);
        let (replies, answers) = bounded(MAX_WAITING);
        thread::Builder::new()
            .name("resolver".into())
            .spawn(move || {
                for address in waiting {
                    let name = address.parse().ok().and_then(resolver::host_name);
                    if replies.send((address, name)).is_err() {
                        return;
                    }
                }
            })?;
        Ok(Self { requests, answers })
    }

    /// Requests a name; returns false if too many addresses wait.
    pub fn request(&self, address: &str) -> bool {
        self.requests.try_send(address.to_owned()).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_is_bounded_and_shows_names_only_if_on() {
        let mut names = NameCache::default();
        for n in 0..=MAX_NAMES {
            names.set(&n.to_string(), Some(format!("host-{n}")));
        }
        assert_eq!((names.names.len(), names.evicted), (MAX_NAMES, 1));
        assert!(!names.is_known("0") && names.is_known("1"));
        assert_eq!(names.get("1"), None);
        names.on = true;
        assert_eq!(names.get("1"), Some("host-1"));
        names.set("1", None);
        assert_eq!((names.get("1"), names.order.len()), (None, MAX_NAMES));
    }
}
