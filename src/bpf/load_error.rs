// SPDX-License-Identifier: AGPL-3.0-only
//! The reason why BPF programs could not be loaded, with its remedy, and whether another attempt can succeed.

use std::path::Path;
use std::{fmt, fs, io};

use super::load::warnings;
use crate::sys::{kernel, os_error};

/// The first kernel for which programs are tested.
const OLDEST_KERNEL: (u32, u32) = (5, 10);

const NO_CAPABILITY: &str = "CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON are needed, or root";
const NO_SYS: &str = "/sys is not mounted: mount -t sysfs sysfs /sys";
const NO_JIT: &str = "the BPF JIT compiler is off: sysctl -w net.core.bpf_jit_enable=1";
const NO_BPF: &str = "this kernel is built without BPF: use one with CONFIG_BPF_SYSCALL";
const OLD_KERNEL: &str = "this kernel is older than Linux 5.10: use a newer one";
const SECCOMP: &str = "a seccomp filter refuses bpf(2), as the default profiles of some container runtimes do even with \
                       CAP_BPF: use a profile that permits it, such as --security-opt seccomp=unconfined";
pub const USER_NAMESPACE: &str = "the kernel refuses bpf(2) in a user namespace: start the container as root, without a user \
                              namespace (no rootless container, --userns=host)";

/// The error of a load.
#[derive(Debug)]
pub struct LoadError {
    action: &'static str,
    source: libbpf_rs::Error,
    cause: Option<&'static str>,
    is_permanent: bool,
}

impl LoadError {
    /// Returns whether the kernel returned this kind of error.
    pub(super) fn is_unsupported(&self) -> bool {
        self.source.kind() == libbpf_rs::ErrorKind::Unsupported
    }

    /// Returns whether each further attempt on this kernel fails as well: it has no BPF, it is too old, or its verifier
    /// rejects a program.
    pub fn is_permanent(&self) -> bool {
        self.is_permanent
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = os_error::in_words(format!("{:#}", self.source));
        write!(f, "{}: {reason}", self.action)?;
        self.cause.map_or(Ok(()), |cause| write!(f, "; {cause}"))
    }
}

impl std::error::Error for LoadError {}

/// Converts an error of libbpf, whose last warnings are not yet logged.
pub(super) fn load_error(action: &'static str) -> impl Fn(libbpf_rs::Error) -> LoadError + Copy {
    move |source| {
        let here = Surroundings::here();
        let errno = os_error::number(&format!("{source:#}"));
        LoadError {
            action,
            cause: here.cause(errno),
            is_permanent: here.is_permanent(errno),
            source,
        }
    }
}

/// Returns whether this process is in a user namespace other than the initial one, in which its capabilities do not
/// permit bpf(2).
pub fn is_in_user_namespace() -> bool {
    fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| !is_initial(&map))
}

/// Returns whether a map of user_namespaces(7) maps every user to itself.
fn is_initial(uid_map: &str) -> bool {
    let fields: Vec<_> = uid_map.split_whitespace().collect();
    fields == ["0", "0", "4294967295"]
}

/// The features of the system on which the cause of an error depends.
#[derive(Clone, Debug)]
struct Surroundings {
    has_sys: bool,
    has_jit: bool,
    in_user_namespace: bool,
    /// Whether a seccomp filter answers bpf(2) in place of the kernel.
    is_filtered: bool,
    /// Whether the verifier has rejected a program.
    is_rejected: bool,
    kernel: Option<(u32, u32)>,
}

impl Surroundings {
    fn here() -> Self {
        let jit = fs::read_to_string("/proc/sys/net/core/bpf_jit_enable");
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let warnings = warnings();
        let has_sys = Path::new("/sys/kernel").exists();
        // a kernel with BPF has this folder; without it the service's own filter is not the cause
        let has_bpf = !has_sys || Path::new("/sys/fs/bpf").exists();
        Self {
            has_sys,
            // a service may have no access to the file; then only the verifier names the cause
            has_jit: jit.map_or_else(|_| !needs_jit(&warnings), |text| text.trim() != "0"),
            in_user_namespace: is_in_user_namespace(),
            is_filtered: has_bpf && has_seccomp_filter(&status) && !reaches_kernel(),
            is_rejected: is_rejected(&warnings),
            kernel: kernel::version(),
        }
    }

    fn cause(&self, errno: Option<i32>) -> Option<&'static str> {
        let is_refused = matches!(errno, Some(libc::EPERM | libc::EACCES | libc::ENOSYS));
        let is_old = self.kernel.is_some_and(|kernel| kernel < OLDEST_KERNEL);
        match errno {
            _ if is_refused && self.is_filtered => Some(SECCOMP),
            Some(libc::EPERM) if self.in_user_namespace => Some(USER_NAMESPACE),
            Some(libc::ENOSYS) => Some(NO_BPF),
            Some(libc::EPERM) => Some(NO_CAPABILITY),
            Some(libc::EACCES) if !self.is_rejected => Some(NO_CAPABILITY),
            _ if !self.has_sys => Some(NO_SYS),
            _ if !self.has_jit => Some(NO_JIT),
            _ if is_old => Some(OLD_KERNEL),
            _ => None,
        }
    }

    fn is_permanent(&self, errno: Option<i32>) -> bool {
        match errno {
            Some(libc::ENOSYS) => !self.is_filtered,
            _ if !self.has_sys || !self.has_jit => false,
            Some(libc::EACCES) => self.is_rejected,
            // privileges, and resources of which there may be more later
            Some(
                libc::EPERM
                | libc::ENOMEM
                | libc::EAGAIN
                | libc::EINTR
                | libc::EBUSY
                | libc::EMFILE
                | libc::ENFILE,
            )
            | None => false,
            Some(_) => true,
        }
    }
}

/// Returns whether the verifier rejected a program because there is no JIT compiler (kernel/bpf/verifier.c).
fn needs_jit(warnings: &[String]) -> bool {
    warnings.iter().any(|line| line.contains("non-JITed"))
}

/// Returns whether libbpf has printed the verifier's log of a rejected program.
fn is_rejected(warnings: &[String]) -> bool {
    warnings
        .iter()
        .any(|line| line.contains("END PROG LOAD LOG"))
}

/// Returns whether a process has a seccomp filter; `status` is its /proc/PID/status.
fn has_seccomp_filter(status: &str) -> bool {
    const FILTER: &str = "2";
    let mut modes = status
        .lines()
        .filter_map(|line| line.strip_prefix("Seccomp:"));
    modes.any(|mode| mode.trim() == FILTER)
}

/// Returns whether the kernel answers bpf(2): it returns EINVAL for an unknown command, after its check of privileges.
fn reaches_kernel() -> bool {
    const UNKNOWN: libc::c_long = 0x7fff_ffff;
    // SAFETY: the command does not exist, so the kernel reads no attributes; their size is 0.
    let result = unsafe { libc::syscall(libc::SYS_bpf, UNKNOWN, std::ptr::null::<u8>(), 0) };
    result == -1 && io::Error::last_os_error().raw_os_error() == Some(libc::EINVAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usual() -> Surroundings {
        Surroundings {
            has_sys: true,
            has_jit: true,
            in_user_namespace: false,
            is_filtered: false,
            is_rejected: false,
            kernel: Some((6, 12)),
        }
    }

    #[test]
    fn each_error_has_its_cause_and_tells_whether_it_is_permanent() {
        let filtered = Surroundings {
            is_filtered: true,
            ..usual()
        };
        let rootless = Surroundings {
            in_user_namespace: true,
            ..usual()
        };
        let rejected = Surroundings {
            is_rejected: true,
            ..usual()
        };
        let old = Surroundings {
            is_rejected: true,
            kernel: Some((4, 19)),
            ..usual()
        };
        let no_jit = Surroundings {
            has_jit: false,
            ..usual()
        };
        let no_sys = Surroundings {
            has_sys: false,
            ..usual()
        };
        for (here, errno, cause, is_permanent) in [
            (usual(), libc::EPERM, Some(NO_CAPABILITY), false),
            (usual(), libc::EACCES, Some(NO_CAPABILITY), false),
            (usual(), libc::ENOSYS, Some(NO_BPF), true),
            (usual(), libc::ENOMEM, None, false),
            (usual(), libc::EMFILE, None, false),
            (usual(), libc::EINVAL, None, true),
            (filtered.clone(), libc::EPERM, Some(SECCOMP), false),
            (filtered.clone(), libc::ENOSYS, Some(SECCOMP), false),
            (filtered, libc::EACCES, Some(SECCOMP), false),
            (rootless, libc::EPERM, Some(USER_NAMESPACE), false),
            (rejected.clone(), libc::EACCES, None, true),
            (rejected, libc::E2BIG, None, true),
            (old, libc::EINVAL, Some(OLD_KERNEL), true),
            (no_jit, libc::EINVAL, Some(NO_JIT), false),
            (no_sys, libc::ENOENT, Some(NO_SYS), false),
        ] {
            let errno = Some(errno);
            assert_eq!(here.cause(errno), cause, "{errno:?} {here:?}");
            assert_eq!(here.is_permanent(errno), is_permanent, "{errno:?} {here:?}");
        }
        assert!(!usual().is_permanent(None));
    }

    #[test]
    fn the_verifier_names_a_missing_jit() {
        let is_jit_missing = |line: &str| needs_jit(&["0: R1=ctx()".into(), line.into()]);
        assert!(is_jit_missing(
            "callbacks are not allowed in non-JITed programs"
        ));
        assert!(!is_jit_missing("unknown func bpf_timer_init#169"));
    }

    #[test]
    fn the_process_describes_its_filter_and_its_namespace() {
        assert!(has_seccomp_filter(
            "NoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t3\n"
        ));
        assert!(!has_seccomp_filter("Seccomp:\t0\nSeccomp_filters:\t0\n"));
        assert!(is_initial("         0          0 4294967295\n"));
        assert!(!is_initial(
            "         0       1000          1\n         1     100000      65536\n"
        ));
    }
}
