// SPDX-License-Identifier: AGPL-3.0-only
//! Returns memory that is no longer needed to the system, so that resident memory stays small.

use std::fs;

/// Keeps glibc from raising its mmap threshold to the size of the largest block ever freed: otherwise the body
/// of one large /metrics would stay resident forever. To be called before any thread starts.
pub fn return_large_blocks() {
    const THRESHOLD: i32 = 128 * 1024;
    // SAFETY: mallopt only sets a parameter of the allocator, and no other thread runs yet.
    unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, THRESHOLD) };
}

/// Returns free blocks of all heaps to the system: glibc itself does so only at the end of a heap, and a block
/// in use may stay there forever. Walks the heaps, which takes about 100 µs.
pub fn return_free_blocks() {
    // SAFETY: malloc_trim locks each heap while it walks it, and touches free blocks only.
    unsafe { libc::malloc_trim(0) };
}

/// Discards the resident pages of program and library files that are mapped read-only. Only the start used most
/// of them (the config, libbpf's linker); the kernel maps a page that is needed again from the page cache.
pub fn forget_startup_code() {
    let Ok(maps) = fs::read_to_string("/proc/self/smaps") else {
        return;
    };
    for (start, length) in unwritten_files(&maps) {
        // SAFETY: the range is a private mapping of a file that nothing has written to and nothing can:
        // its pages are those of the file, so that dropping them changes no byte that is read later.
        // If the call fails, the pages stay.
        unsafe { libc::madvise(start as *mut libc::c_void, length, libc::MADV_DONTNEED) };
    }
}

/// Returns address and length of each mapping of proc_pid_smaps(5) that is private, not writable, backed by a
/// file, and without anonymous pages: pages that were relocated before they became read-only are anonymous.
fn unwritten_files(smaps: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut mapping = None;
    for line in smaps.lines() {
        match line.strip_prefix("Anonymous:") {
            Some(kilobytes) if kilobytes.trim() == "0 kB" => found.extend(mapping.take()),
            Some(_) => mapping = None,
            None => mapping = read_only_file(line).or(mapping),
        }
    }
    found
}

/// Returns address and length, if `line` begins a private mapping of a file that cannot be written.
fn read_only_file(line: &str) -> Option<(usize, usize)> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let permissions = fields.next()?;
    let path = fields.nth(3)?;
    if !matches!(permissions, "r-xp" | "r--p") || !path.starts_with('/') {
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
    fn only_files_that_nothing_was_written_to_are_let_go() {
        let mapping = |line: &str, kilobytes: u32| {
            format!("{line}\nRss: 8 kB\nAnonymous: {kilobytes:8} kB\nVmFlags: rd mr\n")
        };
        for (line, kilobytes, expected) in [
            (
                "55d0c7a00000-55d0c7b00000 r-xp 00012000 fe:00 7 /usr/bin/rfm",
                0,
                Some((0x55d0_c7a0_0000, 0x10_0000)),
            ),
            (
                "7f00-8f00 r--p 00000000 fe:00 7 /usr/bin/rfm",
                0,
                Some((0x7f00, 0x1000)),
            ),
            ("7f00-8f00 r--p 00420000 fe:00 7 /usr/bin/rfm", 76, None),
            ("7f00-8f00 rw-p 00000000 fe:00 7 /usr/bin/rfm", 0, None),
            ("7f00-8f00 r-xs 00000000 fe:00 7 /usr/bin/rfm", 0, None),
            ("7f00-8f00 r-xp 00000000 00:00 0 [vdso]", 0, None),
            ("7f00-8f00 r--p 00000000 00:00 0", 0, None),
        ] {
            let found = unwritten_files(&mapping(line, kilobytes));
            assert_eq!(found, Vec::from_iter(expected), "{line}");
        }
        // the fields of one mapping do not count for the next
        let writable = mapping("7f00-8f00 rw-p 00000000 00:00 0", 0);
        let relocated = mapping("9f00-af00 r--p 00420000 fe:00 7 /usr/bin/rfm", 76);
        assert!(unwritten_files(&(relocated + &writable)).is_empty());
    }

    #[test]
    fn the_program_goes_on() {
        forget_startup_code();
        assert_eq!(format!("{:?}", Some(1)), "Some(1)");
    }
}
