// SPDX-License-Identifier: AGPL-3.0-only
//! Verification of passwords, without a network.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

use super::file::User;
use super::passwords::{Credentials, Passwords, Verdict};
use crate::sys::wake_up::WakeUp;

const A: &str = "192.0.2.1";
const B: &str = "192.0.2.2";

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

struct Bench {
    passwords: Passwords,
    users: Vec<User>,
    wakes: Arc<Count>,
    wake_up: WakeUp,
}

impl Bench {
    fn new() -> Self {
        let user = |name: &str, password: &str, cost| User {
            name: name.into(),
            hash: bcrypt::hash(password, cost).unwrap(),
        };
        Self {
            passwords: Passwords::with_random_key(),
            users: vec![user("alice", "secret", 4), user("bob", "other", 4)],
            wakes: Arc::default(),
            wake_up: WakeUp::new().unwrap(),
        }
    }

    fn verify(&self, name: &str, password: &str, client: &str) -> Verdict {
        let credentials = Credentials {
            name: name.into(),
            password: password.into(),
        };
        let client: IpAddr = client.parse().unwrap();
        let waker = Waker::from(self.wakes.clone());
        self.passwords
            .verify(&self.users, &credentials, Some(client), &waker)
    }

    /// Verifies all passwords that wait; returns how many did.
    fn work(&self) -> usize {
        let before = self.wakes.0.load(Ordering::Relaxed);
        let none = Duration::ZERO;
        (0..100).for_each(|_| self.passwords.work(none, &self.wake_up));
        self.wakes.0.load(Ordering::Relaxed) - before
    }
}

#[test]
fn a_password_is_verified_once_and_its_result_kept() {
    let bench = Bench::new();
    for (name, password, expected) in [
        ("alice", "secret", Verdict::Accepted),
        ("bob", "other", Verdict::Accepted),
        ("alice", "other", Verdict::Refused),
        ("carol", "secret", Verdict::Refused),
        ("", "", Verdict::Refused),
    ] {
        assert_eq!(bench.verify(name, password, A), Verdict::Waiting);
        // the second connection waits for the same result
        assert_eq!(bench.verify(name, password, B), Verdict::Waiting);
        assert_eq!(bench.work(), 1, "{name}");
        for client in [A, B] {
            assert_eq!(bench.verify(name, password, client), expected, "{name}");
        }
        assert_eq!(bench.work(), 0, "{name}");
    }
}

#[test]
fn a_changed_hash_is_verified_again() {
    let mut bench = Bench::new();
    bench.verify("alice", "secret", A);
    bench.work();
    assert_eq!(bench.verify("alice", "secret", A), Verdict::Accepted);
    bench.users[0].hash = bcrypt::hash("new", 4).unwrap();
    assert_eq!(bench.verify("alice", "secret", A), Verdict::Waiting);
    bench.work();
    assert_eq!(bench.verify("alice", "secret", A), Verdict::Refused);
    // the other user is known without another verification
    bench.users.remove(0);
    assert_eq!(bench.verify("alice", "new", A), Verdict::Waiting);
    bench.work();
    assert_eq!(bench.verify("alice", "new", A), Verdict::Refused);
}

#[test]
fn one_client_cannot_fill_the_queue() {
    let bench = Bench::new();
    let verdicts = |client: &str| {
        let verdicts = (0..10).map(|n| bench.verify("alice", &format!("{client} {n}"), client));
        let waiting = verdicts.filter(|verdict| *verdict == Verdict::Waiting);
        waiting.count()
    };
    assert_eq!(verdicts(A), 4);
    assert_eq!(verdicts(B), 4);
    // a host may have all addresses of its /64
    assert_eq!(verdicts("2001:db8::1") + verdicts("2001:db8::2"), 4);
    let others: usize = (3..250).map(|n| verdicts(&format!("192.0.2.{n}"))).sum();
    assert_eq!(others, 32 - 12);
    assert_eq!(bench.work(), 32);
    assert_eq!(verdicts(A), 4);
}

#[test]
fn wrong_passwords_do_not_evict_right_ones() {
    let bench = Bench::new();
    bench.verify("alice", "secret", A);
    bench.work();
    for n in 0..300 {
        bench.verify("alice", &format!("wrong {n}"), B);
        bench.work();
    }
    assert_eq!(bench.verify("alice", "secret", A), Verdict::Accepted);
    // the first of them is forgotten, and the last is not
    assert_eq!(bench.verify("alice", "wrong 299", B), Verdict::Refused);
    assert_eq!(bench.verify("alice", "wrong 0", B), Verdict::Waiting);
}

#[test]
fn an_unknown_user_takes_as_long_as_a_known_one() {
    let mut bench = Bench::new();
    bench.users.truncate(1);
    bench.users[0].hash = bcrypt::hash("secret", 6).unwrap();
    let took = |name: &str| {
        let shortest = (0..5).map(|n| {
            bench.verify(name, &format!("wrong {n}"), A);
            let start = Instant::now();
            bench.passwords.work(Duration::ZERO, &bench.wake_up);
            start.elapsed()
        });
        shortest.min().unwrap()
    };
    let (known, unknown) = (took("alice"), took("carol"));
    let ratio = known.as_secs_f64() / unknown.as_secs_f64();
    assert!((0.5..2.0).contains(&ratio), "{known:?} and {unknown:?}");
}
