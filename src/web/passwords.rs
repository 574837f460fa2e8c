// SPDX-License-Identifier: AGPL-3.0-only
//! Verifies passwords: each distinct one once, on thread web, with a bounded queue.
//!
//! bcrypt takes 70 ms at cost 10. Thread http therefore only looks a result up. Results are stored under a hash with a
//! key of this process, so that neither memory nor the time of a comparison reveals a password.
//!
//! A client (an IPv4 address, or a /64 of IPv6) has few places in the queue: one that sends many wrong passwords waits
//! for itself. The result of a waiting password is stored even if its connection has ended, so that the next attempt
//! of a user succeeds at once.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use ring::hmac;

use super::file::User;
use crate::sys::wake_up::WakeUp;

/// Passwords that wait for thread web.
const MAX_WAITING: usize = 32;

/// Passwords of one client that wait for thread web.
const MAX_WAITING_OF_CLIENT: usize = 4;

/// Results kept of each kind. More than there are connections: a result is still there when its connection asks again.
const MAX_RESULTS: usize = 256;

/// The name and the password of a request.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    pub name: Vec<u8>,
    pub password: Vec<u8>,
}

/// The state of a verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Accepted,
    Refused,
    /// The waker is woken when the result is known.
    Waiting,
    /// Too many passwords wait already.
    Busy,
}

/// Connections that wait for one password. More than there are at a time; the oldest have ended.
const MAX_WAKERS: usize = 128;

type Digest = [u8; 32];

pub struct Passwords {
    key: hmac::Key,
    results: Mutex<Results>,
    jobs: (Sender<Job>, Receiver<Job>),
}

#[derive(Default)]
struct Results {
    /// Apart, so that wrong passwords do not evict right ones.
    accepted: VecDeque<Digest>,
    refused: VecDeque<Digest>,
    waiting: Vec<Waiting>,
}

/// A password that waits, and the connections that wait for it.
struct Waiting {
    digest: Digest,
    client: Option<IpAddr>,
    wakers: Vec<Waker>,
}

struct Job {
    digest: Digest,
    password: Vec<u8>,
    hash: String,
    is_known: bool,
}

impl Passwords {
    /// Creates an empty store; the key of its hashes is random.
    ///
    /// # Panics
    ///
    /// If the kernel has no random numbers. Linux always has some after the start of the machine.
    pub fn with_random_key() -> Self {
        let random = ring::rand::SystemRandom::new();
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &random);
        Self {
            key: key.expect("random numbers"),
            results: Mutex::default(),
            jobs: bounded(MAX_WAITING),
        }
    }

    /// Returns whether the credentials are those of one of `users`, which are not empty.
    pub fn verify(
        &self,
        users: &[User],
        credentials: &Credentials,
        client: Option<IpAddr>,
        waker: &Waker,
    ) -> Verdict {
        let known = users.iter().find(|u| u.name.as_bytes() == credentials.name);
        // an unknown user takes as long as one of the known ones, always the same
        let Some(user) = known.or_else(|| users.get(self.stand_in(&credentials.name, users.len())))
        else {
            return Verdict::Refused;
        };
        let digest = self.digest(known.is_some(), &user.hash, credentials);
        let mut results = self.lock();
        if results.accepted.contains(&digest) {
            return Verdict::Accepted;
        }
        if results.refused.contains(&digest) {
            return Verdict::Refused;
        }
        if let Some(waiting) = results.waiting.iter_mut().find(|w| w.digest == digest) {
            if !waiting.wakers.iter().any(|w| w.will_wake(waker)) {
                if waiting.wakers.len() >= MAX_WAKERS {
                    waiting.wakers.remove(0);
                }
                waiting.wakers.push(waker.clone());
            }
            return Verdict::Waiting;
        }
        let client = client.map(network);
        let of_client = results.waiting.iter().filter(|w| w.client == client);
        if of_client.count() >= MAX_WAITING_OF_CLIENT || results.waiting.len() >= MAX_WAITING {
            return Verdict::Busy;
        }
        let job = Job {
            digest,
            password: credentials.password.clone(),
            hash: user.hash.clone(),
            is_known: known.is_some(),
        };
        if self.jobs.0.try_send(job).is_err() {
            return Verdict::Busy;
        }
        results.waiting.push(Waiting {
            digest,
            client,
            wakers: vec![waker.clone()],
        });
        Verdict::Waiting
    }

    /// Waits for a password, at most for `timeout`, and verifies it.
    pub fn work(&self, timeout: Duration, wake_up: &WakeUp) {
        let Ok(job) = self.jobs.1.recv_timeout(timeout) else {
            return;
        };
        let is_right = bcrypt::verify(&job.password, &job.hash).unwrap_or(false) && job.is_known;
        let mut results = self.lock();
        let list = match is_right {
            true => &mut results.accepted,
            false => &mut results.refused,
        };
        if list.len() >= MAX_RESULTS {
            list.pop_front();
        }
        list.push_back(job.digest);
        if let Some(at) = results.waiting.iter().position(|w| w.digest == job.digest) {
            let waiting = results.waiting.swap_remove(at);
            drop(results);
            waiting.wakers.iter().for_each(Waker::wake_by_ref);
            wake_up.wake();
        }
    }

    /// Returns the index of the user whose hash an unknown user gets.
    fn stand_in(&self, name: &[u8], users: usize) -> usize {
        let tag = hmac::sign(&self.key, name);
        let bytes: [u8; 8] = std::array::from_fn(|i| tag.as_ref()[i]);
        (u64::from_le_bytes(bytes) % users.max(1) as u64) as usize
    }

    fn digest(&self, is_known: bool, hash: &str, credentials: &Credentials) -> Digest {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(&[u8::from(is_known)]);
        for part in [&credentials.name, hash.as_bytes(), &credentials.password] {
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part);
        }
        let tag = context.sign();
        std::array::from_fn(|i| tag.as_ref()[i])
    }

    fn lock(&self) -> MutexGuard<'_, Results> {
        self.results.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the address, or the network of 64 bits that one host may have to itself.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}
