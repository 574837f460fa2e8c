// SPDX-License-Identifier: AGPL-3.0-only
//! Manages file descriptors: the limit of the process, and a reserve.
//!
//! A monitored interface holds a descriptor for each hook. The usual limit, 1,024, is reached with 490 of them.

use std::os::fd::{AsFd, OwnedFd};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit to `needed`, above the hard limit if the process has the right to. Returns the limit in force if
/// that is less than `needed`.
pub fn raise_limit(needed: u64) -> Result<(), u64> {
    let limit = getrlimit(Resource::Nofile);
    let is_enough = |limit: Option<u64>| limit.is_none_or(|limit| limit >= needed);
    if is_enough(limit.current) {
        return Ok(());
    }
    let raised = |current: u64, maximum: Option<u64>| {
        let current = Some(current);
        setrlimit(Resource::Nofile, Rlimit { current, maximum }).is_ok()
    };
    if is_enough(limit.maximum) && raised(needed, limit.maximum) || raised(needed, Some(needed)) {
        return Ok(());
    }
    if let Some(maximum) = limit.maximum {
        raised(maximum, limit.maximum);
    }
    Err(getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX))
}

/// A reserve of descriptors for the time when no others are free.
#[derive(Default)]
pub struct Reserve {
    spare: Vec<OwnedFd>,
    size: usize,
}

impl Reserve {
    pub fn new(size: usize) -> Self {
        let spare = Vec::with_capacity(size);
        Self { spare, size }
    }

    /// Fills the reserve with copies of `any`. To be called when descriptors may be free again.
    pub fn fill(&mut self, any: impl AsFd) {
        while self.spare.len() < self.size
            && let Ok(copy) = rustix::io::fcntl_dupfd_cloexec(&any, 0)
        {
            self.spare.push(copy);
        }
    }

    /// Frees up to `count` of them; returns false if there are none.
    pub fn free(&mut self, count: usize) -> bool {
        let left = self.spare.len().saturating_sub(count);
        let freed = self.spare.len() > left;
        self.spare.truncate(left);
        freed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserve_is_filled_and_freed() {
        let file = std::fs::File::open("/dev/null").unwrap();
        let mut reserve = Reserve::new(5);
        assert!(!reserve.free(1));
        reserve.fill(&file);
        assert!(reserve.free(4) && reserve.free(4) && !reserve.free(4));
        reserve.fill(&file);
        assert_eq!(reserve.spare.len(), 5);
        assert!(!Reserve::default().free(1));
    }

    #[test]
    fn a_limit_that_is_enough_stays() {
        let before = getrlimit(Resource::Nofile);
        assert_eq!(raise_limit(1), Ok(()));
        assert_eq!(getrlimit(Resource::Nofile), before);
    }
}
