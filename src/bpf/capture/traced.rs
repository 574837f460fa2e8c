// SPDX-License-Identifier: AGPL-3.0-only
//! The programs that other programs trace.
//!
//! libbpf finds the function to trace in the types that the kernel has of the traced program, and to read these,
//! the kernel requires CAP_SYS_ADMIN, which the service does not have. The object of the traced program has the same
//! types under the same numbers. A section of libbpf's handlers for each program passes them to the kernel.

use std::ffi::{CStr, CString, c_int, c_long};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use libbpf_rs::{AsRawLibbpf, Object};

/// A program to trace.
pub struct TracedProgram {
    /// Its name in C.
    pub name: &'static CStr,
    descriptor: OwnedFd,
    /// The number of its function in the types of its object.
    function: u32,
}

impl TracedProgram {
    /// `object` is the one of the program.
    pub fn new(object: &Object, name: &'static CStr, program: BorrowedFd<'_>) -> io::Result<Self> {
        // SAFETY: the object is open, and the name ends in NUL. The types belong to the object.
        let function = unsafe {
            let types = libbpf_sys::bpf_object__btf(object.as_libbpf_object().as_ptr());
            libbpf_sys::btf__find_by_name_kind(types, name.as_ptr(), libbpf_sys::BTF_KIND_FUNC)
        };
        let function = u32::try_from(function)
            .map_err(|_| io::Error::other(format!("{name:?} has no type")))?;
        Ok(Self {
            name,
            descriptor: program.try_clone_to_owned()?,
            function,
        })
    }

    /// Makes the programs in a section of the next object trace this one. To be called once for each section, before the
    /// object is opened: libbpf keeps pointers to its handlers.
    pub(super) fn trace_from(&self, section: &str, at_exit: bool) -> libbpf_rs::Result<()> {
        let section =
            CString::new(section).map_err(|_| libbpf_rs::Error::from_raw_os_error(libc::EINVAL))?;
        let kind = match at_exit {
            true => libbpf_sys::BPF_TRACE_FEXIT,
            false => libbpf_sys::BPF_TRACE_FENTRY,
        };
        let opts = libbpf_sys::libbpf_prog_handler_opts {
            sz: size_of::<libbpf_sys::libbpf_prog_handler_opts>() as libbpf_sys::size_t,
            cookie: pack(self.descriptor.as_raw_fd() as u32, self.function),
            prog_prepare_load_fn: Some(set_target),
            ..Default::default()
        };
        // SAFETY: libbpf copies the name and the options, whose size is set.
        let handler = unsafe {
            libbpf_sys::libbpf_register_prog_handler(
                section.as_ptr(),
                libbpf_sys::BPF_PROG_TYPE_TRACING,
                kind,
                &opts,
            )
        };
        match handler {
            0.. => Ok(()),
            errno => Err(libbpf_rs::Error::from_raw_os_error(-errno)),
        }
    }
}

fn pack(descriptor: u32, function: u32) -> c_long {
    (u64::from(function) << 32 | u64::from(descriptor)) as c_long
}

/// Called by libbpf before it loads a program.
unsafe extern "C" fn set_target(
    _: *mut libbpf_sys::bpf_program,
    opts: *mut libbpf_sys::bpf_prog_load_opts,
    cookie: c_long,
) -> c_int {
    // SAFETY: libbpf passes options that it owns and reads after this call.
    if let Some(opts) = unsafe { opts.as_mut() } {
        opts.attach_prog_fd = cookie as u32;
        opts.attach_btf_id = (cookie as u64 >> 32) as u32;
    }
    0
}
