// SPDX-License-Identifier: AGPL-3.0-only
//! A file's content in memory, which does not change when the file does.
//!
//! Access to a mapped page that the file no longer has raises SIGBUS (mmap(2)), and a process that may
//! replace a database may also truncate it. So rfm maps a nameless copy. The copy is on a disk, so that the
//! kernel can drop its pages and read them again: resident anonymous memory does not grow by it.

use std::env;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memmap2::{Mmap, UncheckedAdvice};
use rustix::fs::{AtFlags, CWD, MemfdFlags, Mode, OFlags};

use crate::sys::os_error;

/// Maximum size in bytes; the largest known databases have less than a quarter of it.
const MAX_SIZE: u64 = 4 << 30;

/// Bytes copied between two heartbeats.
const CHUNK: u64 = 8 << 20;

/// File systems whose files are in memory, or can disappear with a server (linux/magic.h).
const NOT_ON_A_DISK: [u32; 6] = [
    0x0102_1994, // tmpfs
    0x8584_58f6, // ramfs
    0x6969,      // NFS
    0xff53_4d42, // CIFS
    0xfe53_4d42, // SMB2
    0x6573_5546, // FUSE
];

/// The state of a file, to detect that it was replaced or modified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileIdentity {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl From<&Metadata> for FileIdentity {
    fn from(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// The mapped copy.
#[derive(Clone)]
pub struct PrivateCopy {
    map: Arc<Mmap>,
}

impl AsRef<[u8]> for PrivateCopy {
    fn as_ref(&self) -> &[u8] {
        &self.map
    }
}

impl PrivateCopy {
    /// Copies the file at `path`; `beat` is called from time to time.
    pub fn of(path: &Path, beat: &dyn Fn()) -> io::Result<(Self, FileIdentity)> {
        // Non-blocking: otherwise opening a FIFO waits for a writer.
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(OFlags::NONBLOCK.bits() as i32)
            .open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other("expected a regular file"));
        }
        if !(1..=MAX_SIZE).contains(&metadata.len()) {
            let text = format!("expected 1 to {MAX_SIZE} bytes, got {}", metadata.len());
            return Err(io::Error::other(text));
        }
        let identity = FileIdentity::from(&metadata);
        let copy = copy(&file, path, &folders(path), beat)?;
        if FileIdentity::from(&file.metadata()?) != identity {
            return Err(io::Error::other("it changed while it was read"));
        }
        // SAFETY: the mapping is read-only and private to this process: the file behind it has no name, its
        // descriptor is closed below, nobody else ever had one, and nothing here writes to it again.
        let map = unsafe { Mmap::map(&copy) }?;
        Ok((Self { map: Arc::new(map) }, identity))
    }

    /// Lets the pages go: the next access reads them again.
    pub fn release_pages(&self) {
        // SAFETY: the mapping is shared and read-only, so that a page that is read again has the same content.
        let released = unsafe { self.map.unchecked_advise(UncheckedAdvice::DontNeed) };
        if let Err(error) = released {
            log::debug!("madvise(MADV_DONTNEED): {}", os_error::reason(&error));
        }
    }
}

/// Copies a file into the first folder that has room for all of it; a folder may be full or read-only.
fn copy(source: &File, path: &Path, folders: &[PathBuf], beat: &dyn Fn()) -> io::Result<File> {
    for folder in folders {
        if let Ok(copy) = nameless(folder)
            && fill(source, &copy, beat).is_ok()
        {
            return Ok(copy);
        }
    }
    log::warn!(
        "{}: no folder on a disk takes a copy of it (tried $CACHE_DIRECTORY, its own, /var/tmp): \
         it is kept in memory",
        path.display()
    );
    let copy = File::from(rustix::fs::memfd_create("mmdb", MemfdFlags::CLOEXEC)?);
    fill(source, &copy, beat).map(|()| copy)
}

/// Returns the folders to try. The service manager sets $CACHE_DIRECTORY (systemd.exec(5)).
fn folders(path: &Path) -> Vec<PathBuf> {
    let cache = env::var_os("CACHE_DIRECTORY").unwrap_or_default();
    let own = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    env::split_paths(&cache)
        .filter(|folder| folder.is_absolute())
        .chain([own.to_owned(), "/var/tmp".into()])
        .collect()
}

/// Creates a file without a name in a folder on a disk.
fn nameless(folder: &Path) -> io::Result<File> {
    let mode = Mode::RUSR | Mode::WUSR;
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let file = match rustix::fs::open(folder, flags | OFlags::TMPFILE, mode) {
        Ok(file) => file,
        // Not every file system supports this: overlayfs does since Linux 6.1.
        Err(_) => unlinked(folder, flags | OFlags::CREATE | OFlags::EXCL, mode)?,
    };
    let kind = rustix::fs::fstatfs(file.as_fd())?.f_type as u32;
    if NOT_ON_A_DISK.contains(&kind) {
        return Err(io::ErrorKind::Unsupported.into());
    }
    Ok(file.into())
}

fn unlinked(folder: &Path, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
    let mut random = [0; 8];
    rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
    let name = format!(".rfm-{:016x}", u64::from_ne_bytes(random));
    let path = folder.join(name);
    let file = rustix::fs::open(&path, flags, mode)?;
    rustix::fs::unlinkat(CWD, &path, AtFlags::empty())?;
    Ok(file)
}

/// Copies the source from its beginning to its end.
fn fill(source: &File, mut copy: &File, beat: &dyn Fn()) -> io::Result<()> {
    rustix::fs::seek(source, rustix::fs::SeekFrom::Start(0))?;
    let mut left = MAX_SIZE;
    while left > 0 {
        beat();
        // The kernel copies, and on some file systems shares the blocks until one of the two files changes.
        match io::copy(&mut source.take(CHUNK.min(left)), &mut copy)? {
            0 => break,
            copied => left -= copied,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::fs;
    use std::io::{Seek, Write};

    use super::*;

    const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/mmdb/README.md");
    const DISK: &str = env!("CARGO_MANIFEST_DIR");

    #[test]
    fn the_file_behind_has_no_name_and_lies_on_a_disk() {
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::CREATE | OFlags::EXCL;
        let unlinked = unlinked(Path::new(DISK), flags, Mode::RUSR).unwrap();
        for mut file in [nameless(Path::new(DISK)).unwrap(), unlinked.into()] {
            assert_eq!(file.metadata().unwrap().nlink(), 0);
            file.write_all(b"abc").unwrap();
            file.rewind().unwrap();
            assert_eq!(io::read_to_string(file).unwrap(), "abc");
        }
        for folder in ["/proc", "/nonexistent", "/dev/shm"] {
            assert!(nameless(Path::new(folder)).is_err(), "{folder}");
        }
    }

    #[test]
    fn the_content_is_the_same_wherever_it_lies() {
        let expected = fs::read(SHIPPED).unwrap();
        for folders in [
            &[][..],
            &["/dev/shm".into()],
            &["/proc".into(), DISK.into()],
        ] {
            let source = File::open(SHIPPED).unwrap();
            let mut copy = copy(&source, Path::new(SHIPPED), folders, &|| {}).unwrap();
            copy.rewind().unwrap();
            let mut content = Vec::new();
            copy.read_to_end(&mut content).unwrap();
            assert_eq!(content, expected, "{folders:?}");
        }
    }

    #[test]
    fn a_file_that_changes_meanwhile_is_refused() {
        let path = env::temp_dir().join(format!("rfm-changing-{}", std::process::id()));
        fs::write(&path, "before").unwrap();
        let beats = Cell::new(0);
        let change = || {
            beats.set(beats.get() + 1);
            fs::write(&path, "and after").unwrap();
        };
        let result = PrivateCopy::of(&path, &change)
            .map(|_| ())
            .map_err(|e| e.to_string());
        fs::remove_file(&path).unwrap();
        assert_eq!(result, Err("it changed while it was read".into()));
        assert!(beats.get() > 0);
    }
}
