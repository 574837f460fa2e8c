// SPDX-License-Identifier: AGPL-3.0-only
//! Delivers the signals of operators only to the main thread, and only when the start is over.
//!
//! A pending signal makes the verifier abort with EAGAIN (kernel/bpf/verifier.c), and makes blocking system
//! calls return EINTR. A blocked signal stays pending and has its effect later.

use std::mem::MaybeUninit;
use std::{io, ptr};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::sys::os_error;

/// Reloads the config.
pub const RELOAD: i32 = SIGHUP;

/// Signals for which the agent has handlers.
pub const HANDLED: [i32; 3] = [SIGHUP, SIGINT, SIGTERM];

/// Blocks `signals` for the calling thread and for the threads that it starts from now on.
pub fn block(signals: &[i32]) {
    change(libc::SIG_BLOCK, signals);
}

/// Lets the calling thread receive `signals`; those that are pending are delivered before this returns.
pub fn unblock(signals: &[i32]) {
    change(libc::SIG_UNBLOCK, signals);
}

fn change(how: i32, signals: &[i32]) {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigemptyset writes all of the set that it is given.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: the call before this one has written it.
    let mut set = unsafe { set.assume_init() };
    for &signal in signals {
        // SAFETY: `set` is a valid set; an unknown number is an error and changes nothing.
        unsafe { libc::sigaddset(&mut set, signal) };
    }
    // SAFETY: the set is only read, and a null pointer asks for no copy of the previous mask.
    let errno = unsafe { libc::pthread_sigmask(how, &set, ptr::null_mut()) };
    if errno != 0 {
        let error = io::Error::from_raw_os_error(errno);
        log::warn!(
            "cannot change the signal mask of a thread: {}",
            os_error::reason(&error)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bits of a line of /proc/thread-self/status.
    fn bits(name: &str) -> u64 {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        u64::from_str_radix(line.unwrap().trim(), 16).unwrap()
    }

    #[test]
    fn a_thread_inherits_the_signals_that_are_blocked() {
        let bit = |signal: i32| 1 << (signal - 1);
        std::thread::spawn(move || {
            let before = bits("SigBlk:");
            block(&[SIGHUP, SIGTERM]);
            let inherited = std::thread::spawn(|| bits("SigBlk:")).join().unwrap();
            assert_eq!(inherited, before | bit(SIGHUP) | bit(SIGTERM));
            unblock(&HANDLED);
            assert_eq!(bits("SigBlk:"), before);
        })
        .join()
        .unwrap();
    }
}
