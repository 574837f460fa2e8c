// SPDX-License-Identifier: AGPL-3.0-only
//! Decides which clients may change something. The permissions of the socket decide which clients may read.

use std::fs;
use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::net::sockopt;

use crate::sys::os_error;

/// Groups of one process: the kernel's NGROUPS_MAX.
const MAX_GROUPS: usize = 65_536;

/// Decides by the credentials that the kernel reports for a client (unix(7), SO_PEERCRED).
#[derive(Clone, Debug)]
pub struct Access {
    own_uid: u32,
    write_group: Option<u32>,
}

impl Access {
    /// Grants access to root, the agent's own user, and the members of the group.
    pub fn new(write_group: Option<u32>) -> Self {
        Self {
            own_uid: rustix::process::geteuid().as_raw(),
            write_group,
        }
    }

    /// Checks whether the client may change something; the error names its user and group.
    pub fn may_change(&self, connection: BorrowedFd<'_>) -> Result<(), String> {
        let peer = sockopt::socket_peercred(connection).map_err(|error| {
            format!(
                "cannot determine the user of the connection: {}",
                os_error::reason(&error)
            )
        })?;
        let (uid, gid) = (peer.uid.as_raw(), peer.gid.as_raw());
        if uid == 0 || uid == self.own_uid {
            return Ok(());
        }
        if let Some(group) = self.write_group
            && (gid == group || peer_groups(connection).is_ok_and(|all| all.contains(&group)))
        {
            return Ok(());
        }
        Err(format!(
            "user {uid} may only read: changes are for root, the agent's user, and the members of \
             agent.control.write_group"
        ))
    }
}

/// Returns the supplementary groups of the client process, as they were when it connected.
fn peer_groups(connection: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    let mut groups = vec![0u32; 32];
    loop {
        let mut length = (groups.len() * size_of::<u32>()) as libc::socklen_t;
        // SAFETY: the buffer has `length` bytes, is of a type that may hold any bits, and both
        // outlive the call; the kernel writes no more than `length` bytes.
        let result = unsafe {
            libc::getsockopt(
                connection.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        let needed = length as usize / size_of::<u32>();
        if result == 0 {
            groups.truncate(needed);
            return Ok(groups);
        }
        let error = io::Error::last_os_error();
        let is_short = error.raw_os_error() == Some(libc::ERANGE);
        if !is_short || needed <= groups.len() || needed > MAX_GROUPS {
            return Err(error);
        }
        groups.resize(needed, 0);
    }
}

/// Returns the id of a group, from its name in /etc/group or from the number itself.
pub fn find_group(name: &str) -> Option<u32> {
    if let Ok(number) = name.parse() {
        return Some(number);
    }
    group_in(&fs::read_to_string("/etc/group").ok()?, name)
}

fn group_in(file: &str, name: &str) -> Option<u32> {
    let line = file
        .lines()
        .find(|line| line.split(':').next() == Some(name))?;
    line.split(':').nth(2)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn groups_are_found_by_name_and_number() {
        let file = "root:x:0:\nadm:x:4:syslog\nbroken\nrfm-admin:x:998:a,b\n";
        assert_eq!(group_in(file, "rfm-admin"), Some(998));
        assert_eq!(group_in(file, "adm"), Some(4));
        for missing in ["ad", "broken", "", "x"] {
            assert_eq!(group_in(file, missing), None, "{missing}");
        }
        assert_eq!(find_group("1234"), Some(1234));
    }

    #[test]
    fn the_own_user_may_change_and_has_groups() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        assert_eq!(Access::new(None).may_change(ours.as_fd()), Ok(()));
        let groups = peer_groups(ours.as_fd()).unwrap();
        let own = rustix::process::getgroups().unwrap();
        let own: Vec<u32> = own.into_iter().map(|g| g.as_raw()).collect();
        assert_eq!(groups, own);
    }

    #[test]
    fn others_are_told_who_may() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        if rustix::process::geteuid().is_root() {
            return;
        }
        let access = Access {
            own_uid: 0,
            write_group: None,
        };
        let refusal = access.may_change(ours.as_fd()).unwrap_err();
        assert!(refusal.contains("write_group"), "{refusal}");
    }
}
