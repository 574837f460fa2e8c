// SPDX-License-Identifier: AGPL-3.0-only
//! Restricts the running process: it can attach programs to interfaces, but has no other right of an
//! administrator. It reads later files (the configuration, databases) with the rights of its user.

use std::collections::BTreeMap;

use rustix::io;
use rustix::thread::{CapabilitySet, CapabilitySets};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

use crate::sys::os_error;

/// To attach to interfaces that appear later, and to read and write maps.
const KEPT: CapabilitySet = CapabilitySet::BPF
    .union(CapabilitySet::NET_ADMIN)
    .union(CapabilitySet::PERFMON);

/// Prevents programs that this process executes from gaining rights. Applies to all threads that start later.
pub fn gain_nothing() {
    report("no_new_privs", rustix::thread::set_no_new_privs(true));
}

/// Drops all capabilities of the calling thread, and of those that it starts, except those that attaching needs.
pub fn drop_capabilities() {
    report("dropping capabilities", try_drop_capabilities());
}

fn try_drop_capabilities() -> io::Result<()> {
    let have = rustix::thread::capabilities(None)?.permitted;
    let mut kept = have & KEPT;
    if !have.contains(CapabilitySet::BPF) {
        // kernels without CAP_BPF require CAP_SYS_ADMIN instead
        kept |= have & CapabilitySet::SYS_ADMIN;
    }
    rustix::thread::set_capabilities(
        None,
        CapabilitySets {
            effective: kept,
            permitted: kept,
            inheritable: CapabilitySet::empty(),
        },
    )
}

/// Denies to all threads the system calls that the agent never makes, but that an attacker who controls it
/// would. A list of the calls that the agent does make would break with the next C library.
pub fn refuse_system_calls() {
    match filter() {
        Ok(Some(filter)) => report("seccomp", seccompiler::apply_filter_all_threads(&filter)),
        // seccompiler does not support this architecture
        Ok(None) => {}
        Err(error) => report("seccomp", Err(error)),
    }
}

fn filter() -> Result<Option<BpfProgram>, seccompiler::BackendError> {
    let Ok(architecture) = std::env::consts::ARCH.try_into() else {
        return Ok(None);
    };
    let rules: BTreeMap<_, _> = REFUSED.iter().map(|&call| (call, Vec::new())).collect();
    let refuse = SeccompAction::Errno(libc::EPERM as u32);
    SeccompFilter::new(rules, SeccompAction::Allow, refuse, architecture)?
        .try_into()
        .map(Some)
}

const REFUSED: &[libc::c_long] = &[
    // other programs
    libc::SYS_execve,
    libc::SYS_execveat,
    // other processes
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
    // other users
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setfsuid,
    libc::SYS_setfsgid,
    libc::SYS_setgroups,
    // other views of the system
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsmount,
    libc::SYS_mount_setattr,
    libc::SYS_open_by_handle_at,
    // the kernel and the machine
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_syslog,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_personality,
    libc::SYS_perf_event_open,
    // large kernel interfaces that the agent does not use
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
];

/// Logs an error and continues: monitoring with more rights than needed is better than none.
fn report<E: std::fmt::Display>(what: &str, result: Result<(), E>) {
    if let Err(error) = result {
        log::warn!(
            "cannot restrict the process by {what}: {}; rfm runs without this restriction",
            os_error::reason(&error)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs `body` in a separate thread, since a thread cannot regain the rights that it drops.
    fn apart(body: impl FnOnce() + Send + 'static) {
        std::thread::spawn(body).join().unwrap();
    }

    #[test]
    fn only_what_attaching_needs_is_kept() {
        apart(|| {
            let before = rustix::thread::capabilities(None).unwrap();
            drop_capabilities();
            let after = rustix::thread::capabilities(None).unwrap();
            assert_eq!(after.effective, before.permitted & KEPT);
            assert_eq!(after.permitted, after.effective);
            assert!(after.inheritable.is_empty());
        });
    }

    #[test]
    fn refused_calls_fail_and_the_others_do_not() {
        apart(|| {
            gain_nothing();
            seccompiler::apply_filter(&filter().unwrap().unwrap()).unwrap();
            let refused = std::process::Command::new("/bin/true").status();
            assert_eq!(
                refused.unwrap_err().kind(),
                std::io::ErrorKind::PermissionDenied
            );
            assert!(std::fs::read("/proc/self/stat").is_ok());
            std::thread::spawn(|| {}).join().unwrap();
        });
    }
}
