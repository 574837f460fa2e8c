// SPDX-License-Identifier: AGPL-3.0-only
//! The memory limit of the control groups that this process is in (cgroups(7)): version 2, version 1, and
//! both at the same time.

use std::fs;
use std::path::{Path, PathBuf};

/// The files of one version that limit the memory of a group. Above `memory.high` the kernel slows the group down.
const V2: [&str; 2] = ["memory.max", "memory.high"];
const V1: [&str; 1] = ["memory.limit_in_bytes"];

/// Returns the smallest limit of the groups from this process's own up to the root, in bytes.
pub fn memory_limit() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    smallest(&groups, &mounts, |path| fs::read_to_string(path).ok())
}

/// Returns the smallest limit; `groups` is the text of /proc/PID/cgroup and `mounts` that of /proc/PID/mountinfo.
fn smallest(groups: &str, mounts: &str, read: impl Fn(&Path) -> Option<String>) -> Option<u64> {
    let mounts: Vec<_> = mounts.lines().filter_map(Mount::parse).collect();
    let limits = groups.lines().flat_map(|line| {
        let group = Group::parse(line);
        let mount = group.and_then(|group| mounts.iter().find(|mount| mount.shows(&group)));
        let folders = group
            .zip(mount)
            .map(|(group, mount)| mount.folders(group.path));
        let files: &[&str] = if group.is_some_and(|group| group.unified) {
            &V2
        } else {
            &V1
        };
        let files = folders.into_iter().flatten().flat_map(|folder| {
            let paths = files.iter().map(|file| folder.join(file));
            paths.collect::<Vec<_>>()
        });
        // "max" is no number: no limit
        files
            .filter_map(|path| read(&path)?.trim().parse().ok())
            .collect::<Vec<u64>>()
    });
    limits.min()
}

/// A group that may limit memory.
#[derive(Clone, Copy)]
struct Group<'a> {
    unified: bool,
    path: &'a str,
}

impl<'a> Group<'a> {
    /// Parses a line `hierarchy:controllers:path`; version 2 is hierarchy 0 and names no controller.
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.splitn(3, ':');
        let (hierarchy, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        let unified = hierarchy == "0";
        let memory = controllers.split(',').any(|name| name == "memory");
        (unified || memory).then_some(Self { unified, path })
    }
}

/// A mounted hierarchy.
struct Mount<'a> {
    unified: bool,
    /// The group that the mount point shows. In a container it is often that of the container.
    root: &'a str,
    point: &'a str,
}

impl<'a> Mount<'a> {
    /// Parses a line `id parent device root point options [tag ...] - type source options` (proc_pid_mountinfo(5)).
    fn parse(line: &'a str) -> Option<Self> {
        let (mount, system) = line.split_once(" - ")?;
        let mut mount = mount.split(' ').skip(3);
        let (root, point) = (mount.next()?, mount.next()?);
        let mut system = system.split(' ');
        let kind = system.next()?;
        let mut memory = || {
            system
                .nth(1)
                .is_some_and(|text| text.split(',').any(|o| o == "memory"))
        };
        let unified = kind == "cgroup2";
        (unified || kind == "cgroup" && memory()).then_some(Self {
            unified,
            root,
            point,
        })
    }

    fn shows(&self, group: &Group<'_>) -> bool {
        self.unified == group.unified
    }

    /// Returns the folders of a group and of the groups above it. A group that is not below the root of the mount
    /// belongs to another namespace: then only the mount point is known.
    fn folders(&self, group: &str) -> Vec<PathBuf> {
        let below = Path::new(group).strip_prefix(self.root);
        let below = below.ok().filter(|path| !path.starts_with(".."));
        let below = below.unwrap_or(Path::new(""));
        below
            .ancestors()
            .map(|path| Path::new(self.point).join(path))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    const UNIFIED: &str = "25 20 0:22 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";

    fn limit(groups: &str, mounts: &str, files: &[(&str, &str)]) -> Option<u64> {
        let files: HashMap<_, _> = files.iter().copied().collect();
        smallest(groups, mounts, |path| {
            files.get(path.to_str()?).map(|text| format!("{text}\n"))
        })
    }

    #[test]
    fn the_smallest_of_nested_groups_limits() {
        let groups = "0::/system.slice/rfm.service\n";
        let own = "/sys/fs/cgroup/system.slice/rfm.service/memory.max";
        let above = "/sys/fs/cgroup/system.slice/memory.max";
        let high = "/sys/fs/cgroup/system.slice/rfm.service/memory.high";
        for (files, expected) in [
            (&[(own, "50331648"), (above, "max")][..], Some(50_331_648)),
            (&[(own, "50331648"), (above, "1048576")], Some(1_048_576)),
            (&[(own, "max"), (high, "4096")], Some(4096)),
            (&[(own, "max"), (above, "max")], None),
            (&[(own, "nonsense")], None),
            (&[], None),
        ] {
            assert_eq!(limit(groups, UNIFIED, files), expected, "{files:?}");
        }
    }

    #[test]
    fn version_1_is_mounted_for_each_controller() {
        let mounts = "31 30 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                      34 30 0:30 / /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory\n\
                      35 30 0:31 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let groups = "4:memory:/a/b\n1:cpu:/a\n0::/\n";
        let files = [
            (
                "/sys/fs/cgroup/memory/a/b/memory.limit_in_bytes",
                "9223372036854771712",
            ),
            ("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "67108864"),
            ("/sys/fs/cgroup/cpu/a/memory.limit_in_bytes", "1"),
        ];
        assert_eq!(limit(groups, mounts, &files), Some(67_108_864));
    }

    #[test]
    fn a_container_finds_its_limit_at_the_mount_point() {
        let files = [("/sys/fs/cgroup/memory.max", "268435456")];
        // with its own namespace, with the mount of its own group, and with only the path of the host
        for (groups, root) in [
            ("0::/\n", "/"),
            ("0::/docker/4f\n", "/docker/4f"),
            ("0::/docker/4f\n", "/../../kubepods/7"),
            ("0::/../../other\n", "/"),
        ] {
            let mounts = UNIFIED.replace(" / /sys", &format!(" {root} /sys"));
            assert_eq!(
                limit(groups, &mounts, &files),
                Some(268_435_456),
                "{groups} {root}"
            );
        }
    }

    #[test]
    fn broken_files_are_no_limit() {
        for text in ["", "\n", ":", "0:", "x y z", "1 2 3 4 - cgroup2", " - "] {
            assert_eq!(limit(text, UNIFIED, &[]), None, "{text:?}");
            assert_eq!(limit("0::/\n", text, &[]), None, "{text:?}");
        }
    }
}
