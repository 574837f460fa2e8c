// SPDX-License-Identifier: AGPL-3.0-only
//! Resident memory: what is not needed any more goes back to the system.

use std::fs;

/// Keeps glibc from raising its mmap threshold to the size of the largest block ever freed: the body
/// of one large /metrics would else stay resident for good. To be called before any thread starts.
pub fn return_large_blocks() {
    const THRESHOLD: i32 = 128 * 1024;
    // SAFETY: mallopt only sets a parameter of the allocator, and no other thread runs yet.
    unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, THRESHOLD) };
}

/// Lets go of the pages of program and library files that are mapped read-only. Most were touched by
/// the start alone (the config, libbpf's linker); what is needed again comes back from the page cache.
pub fn forget_startup_code() {
    let Ok(maps) = fs::read_to_string("/proc/self/maps") else {
        return;
    };
    for (start, length) in maps.lines().filter_map(read_only_file) {
        // SAFETY: the range is a private mapping of a file that nothing has written to and nothing can:
        // its pages are those of the file, so that dropping them changes no byte that is read later.
        // A failure leaves them where they are.
        unsafe { libc::madvise(start as *mut libc::c_void, length, libc::MADV_DONTNEED) };
    }
}

/// Address and length of a line of proc_pid_maps(5) if it is a file, mapped privately as code.
fn read_only_file(line: &str) -> Option<(usize, usize)> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let permissions = fields.next()?;
    let path = fields.nth(3)?;
    if permissions != "r-xp" || !path.starts_with('/') {
        return None;
    }
    let start = usize::from_str_radix(start, 16).ok()?;
    let end = usize::from_str_radix(end, 16).ok()?;
    Some((start, end.checked_sub(start)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_of_files_is_let_go() {
        for (line, expected) in [
            (
                "55d0c7a00000-55d0c7b00000 r-xp 00012000 fe:00 7 /usr/bin/rfm",
                Some((0x55d0_c7a0_0000, 0x10_0000)),
            ),
            ("7f00-8f00 r--p 00000000 fe:00 7 /usr/bin/rfm", None),
            ("7f00-8f00 rw-p 00000000 fe:00 7 /usr/bin/rfm", None),
            ("7f00-8f00 r-xs 00000000 fe:00 7 /usr/bin/rfm", None),
            ("7f00-8f00 r-xp 00000000 00:00 0 [vdso]", None),
            ("7f00-8f00 r-xp 00000000 00:00 0", None),
            ("", None),
        ] {
            assert_eq!(read_only_file(line), expected, "{line}");
        }
    }

    #[test]
    fn the_program_goes_on() {
        forget_startup_code();
        assert_eq!(format!("{:?}", Some(1)), "Some(1)");
    }
}
