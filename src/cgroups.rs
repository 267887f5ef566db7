//! What this process's cgroups allow it: the least limit of its own cgroup and of all above it, as far as they can be
//! seen from here. Versions 1 and 2, and both at once, wherever they are mounted.
//!
//! A container's runtime, a service manager and a batch system each make a level of cgroups and set a limit on the one
//! that they care about; the process's own cgroup often says "max" below a parent that doesn't. What is hard is to find
//! the directories: /proc/self/cgroup has the process's path from the root of its cgroup namespace, and
//! /proc/self/mountinfo has, from the same root, the path of what a mount shows as its own root.
//!
//! What can't be read, or isn't what it should be, is passed over: a limit that isn't known is none. The soft limits
//! (memory.high, memory.soft_limit_in_bytes) are none either: beyond them the system takes pages back and slows the
//! process down, but what needs more still runs. So what fits the hard limits isn't refused for them.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Limits from here on are none: version 1 writes its "none" as the largest number of whole pages.
const NONE_FROM: u64 = 1 << 62;

/// Directories that are looked at for a cgroup whose path can't be told.
const SEARCHED: usize = 4096;

/// A limit of memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryLimit {
    /// In bytes.
    pub bytes: u64,
    /// The file that says so.
    pub file: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// The process's cgroup in one hierarchy and those above it, as far up as they can be seen.
#[derive(Debug, PartialEq, Eq)]
struct Lineage {
    version: Version,
    /// Their directories, the process's own first.
    groups: Vec<PathBuf>,
}

/// A mounted hierarchy.
struct Mount {
    version: Version,
    /// Version 1: the controllers, among other options.
    options: Vec<u8>,
    /// The cgroup that it shows as its root.
    root: Vec<u8>,
    point: PathBuf,
}

/// Where the system's files are.
#[derive(Debug, Clone, Copy)]
pub struct System<'a> {
    root: &'a Path,
}

impl System<'_> {
    /// The one that this process runs on.
    pub fn here() -> System<'static> {
        System {
            root: Path::new("/"),
        }
    }

    /// One whose files were made up below a directory.
    #[cfg(test)]
    pub(crate) fn below(root: &Path) -> System<'_> {
        System { root }
    }

    /// The least hard limit of memory, where there is one.
    pub fn memory_limit(self) -> Option<MemoryLimit> {
        let mut least: Option<MemoryLimit> = None;
        let mut take = |limit: Option<u64>, file: PathBuf| {
            if let Some(bytes) = limit
                && least.as_ref().is_none_or(|least| bytes < least.bytes)
            {
                least = Some(MemoryLimit { bytes, file });
            }
        };
        for Lineage { version, groups } in self.lineages("memory") {
            if version == Version::Two {
                for group in groups {
                    let file = group.join("memory.max");
                    take(self.number(&file), file);
                }
                continue;
            }
            // Without a hierarchy, which old systems may have switched off, what is above sets no limit.
            let is_cut = |group: &&PathBuf| {
                self.text(&group.join("memory.use_hierarchy"))
                    .is_some_and(|text| text == "0")
            };
            let above = groups.iter().skip(1).take_while(|group| !is_cut(group));
            let groups: Vec<&PathBuf> = groups.iter().take(1).chain(above).collect();
            for group in &groups {
                let file = group.join("memory.limit_in_bytes");
                take(self.number(&file), file);
            }
            // It knows of those above that aren't mounted here.
            for group in &groups {
                let file = group.join("memory.stat");
                take(self.hierarchical_limit(&file), file);
            }
        }
        least
    }

    /// Processors whose time the process may use up, where a quota says so: rounded down, at least 1. Which processors it
    /// may run on is another matter.
    pub fn processors(self) -> Option<usize> {
        let lineages = self.lineages("cpu");
        let quotas = lineages.iter().flat_map(|Lineage { version, groups }| {
            groups.iter().filter_map(|group| {
                let (quota, period) = match version {
                    Version::One => {
                        let period = self.number(&group.join("cpu.cfs_period_us"))?;
                        (self.number(&group.join("cpu.cfs_quota_us"))?, period)
                    }
                    Version::Two => {
                        let text = self.text(&group.join("cpu.max"))?;
                        let (quota, period) = text.split_once(' ')?;
                        (number(quota)?, number(period)?)
                    }
                };
                quota.checked_div(period)
            })
        });
        let least = quotas.min()?;
        Some(usize::try_from(least).unwrap_or(usize::MAX).max(1))
    }

    /// Where the process is, in each mounted hierarchy that has this controller or may have it.
    fn lineages(self, controller: &str) -> Vec<Lineage> {
        let read = |name: &str| fs::read(self.path(Path::new("/proc/self")).join(name));
        let (Ok(groups), Ok(mounts)) = (read("cgroup"), read("mountinfo")) else {
            // What is mounted at the usual places is the process's cgroup or one above it.
            let usual = Path::new("/sys/fs/cgroup");
            return vec![
                Lineage {
                    version: Version::Two,
                    groups: vec![usual.to_path_buf()],
                },
                Lineage {
                    version: Version::One,
                    groups: vec![usual.join(controller)],
                },
            ];
        };
        let mounts = mounts_in(&mounts);
        let mut found = Vec::new();
        for line in groups.split(|&byte| byte == b'\n') {
            // Its number, its controllers, the path.
            let mut fields = line.splitn(3, |&byte| byte == b':').skip(1);
            let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else {
                continue;
            };
            let version = match controllers {
                b"" => Version::Two,
                list if has(list, controller) => Version::One,
                _ => continue,
            };
            let of_it = mounts.iter().filter(|mount| {
                mount.version == version
                    && (version == Version::Two || has(&mount.options, controller))
            });
            found.extend(of_it.filter_map(|mount| {
                Some(Lineage {
                    version,
                    groups: self.groups(mount, path)?,
                })
            }));
        }
        found
    }

    /// The directories from the cgroup of that path up to the mount's root; `None` where the mount doesn't show it.
    fn groups(self, mount: &Mount, path: &[u8]) -> Option<Vec<PathBuf>> {
        let (root, path) = (components(&mount.root), components(path));
        let own = if let Some(rest) = path.strip_prefix(root.as_slice()) {
            mount.point.join(relative(rest)?)
        } else {
            // The mount's root is above the namespace's, and the names on the way down can't be told.
            let ups = path.iter().take_while(|&&name| name == b"..").count();
            if root.iter().any(|&name| name != b"..") || root.len() < ups {
                return None;
            }
            let (rest, mut left) = (relative(&path[ups..])?, SEARCHED);
            self.find(&mount.point, root.len() - ups, &rest, &mut left)
                // The root is above the process all the same.
                .unwrap_or(mount.point.clone())
        };
        let inside = |group: &&Path| group.starts_with(&mount.point);
        let groups = own.ancestors().take_while(inside);
        Some(groups.map(Path::to_path_buf).collect())
    }

    /// The cgroup `rest` so many levels further down that this process is in.
    fn find(self, at: &Path, levels: usize, rest: &Path, left: &mut usize) -> Option<PathBuf> {
        if levels == 0 {
            let group = at.join(rest);
            let own = std::process::id().to_string();
            let members = self.text(&group.join("cgroup.procs"))?;
            return members.lines().any(|line| line == own).then_some(group);
        }
        for entry in fs::read_dir(self.path(at)).ok()?.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                *left = left.checked_sub(1)?;
                let found = self.find(&at.join(entry.file_name()), levels - 1, rest, left);
                if found.is_some() {
                    return found;
                }
            }
        }
        None
    }

    fn hierarchical_limit(self, file: &Path) -> Option<u64> {
        let text = self.text(file)?;
        let limit = |line: &str| number(line.strip_prefix("hierarchical_memory_limit ")?);
        text.lines().find_map(limit)
    }

    fn number(self, file: &Path) -> Option<u64> {
        number(&self.text(file)?)
    }

    /// A file's text, without spaces at its ends.
    fn text(self, file: &Path) -> Option<String> {
        let text = fs::read_to_string(self.path(file)).ok()?;
        Some(text.trim().to_string())
    }

    /// Where a file is that the process knows by this absolute path.
    fn path(self, absolute: &Path) -> PathBuf {
        self.root
            .join(absolute.strip_prefix("/").unwrap_or(absolute))
    }
}

/// A limit; `None` where it says that there is none, or is no number.
fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|&limit| limit < NONE_FROM)
}

/// Whether a list with commas has this name.
fn has(list: &[u8], name: &str) -> bool {
    list.split(|&byte| byte == b',')
        .any(|other| other == name.as_bytes())
}

/// The names in a path.
fn components(path: &[u8]) -> Vec<&[u8]> {
    path.split(|&byte| byte == b'/')
        .filter(|name| !name.is_empty())
        .collect()
}

/// A path that goes down only; `None` where it would go up.
fn relative(names: &[&[u8]]) -> Option<PathBuf> {
    let goes_down = names.iter().all(|&name| name != b".." && name != b".");
    goes_down.then(|| names.iter().map(|name| OsStr::from_bytes(name)).collect())
}

/// The hierarchies that a mountinfo tells of. Where several are mounted at one place the last one is what is seen there.
fn mounts_in(mountinfo: &[u8]) -> Vec<Mount> {
    let mut mounts: Vec<Mount> = Vec::new();
    for line in mountinfo.split(|&byte| byte == b'\n') {
        if let Some(mount) = mount_of(line) {
            mounts.retain(|other| other.point != mount.point);
            mounts.push(mount);
        }
    }
    mounts
}

/// `number parent device root point options [tags …] - type source options`, where the type is a cgroup's.
fn mount_of(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|&byte| byte == b' ');
    let (root, point) = (fields.nth(3)?, fields.next()?);
    let mut fields = fields.skip_while(|&field| field != b"-").skip(1);
    let version = match fields.next()? {
        b"cgroup" => Version::One,
        b"cgroup2" => Version::Two,
        _ => return None,
    };
    Some(Mount {
        version,
        options: fields.nth(1)?.to_vec(),
        root: unescaped(root),
        point: PathBuf::from(OsStr::from_bytes(&unescaped(point))),
    })
}

/// Spaces, tabs, line ends and backslashes are written as three octal digits behind a backslash.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, behind @ ..] = rest {
        rest = behind;
        match behind {
            [
                a @ b'0'..=b'3',
                b @ b'0'..=b'7',
                c @ b'0'..=b'7',
                behind @ ..,
            ] if *first == b'\\' => {
                bytes.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = behind;
            }
            _ => bytes.push(*first),
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    const GIB: u64 = 1 << 30;

    /// A system of made-up files: their paths and contents.
    struct MadeUp(TempDir);

    impl MadeUp {
        fn new(cgroup: &str, mountinfo: &str) -> MadeUp {
            let made_up = MadeUp(tempfile::tempdir().unwrap());
            made_up.write("/proc/self/cgroup", cgroup);
            made_up.write("/proc/self/mountinfo", mountinfo);
            made_up
        }

        fn write(&self, path: &str, text: impl AsRef<[u8]>) -> &MadeUp {
            let path = self.system().path(Path::new(path));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
            self
        }

        fn system(&self) -> System<'_> {
            System::below(self.0.path())
        }

        fn limit(&self) -> Option<(u64, String)> {
            let limit = self.system().memory_limit()?;
            Some((limit.bytes, limit.file.to_str().unwrap().to_string()))
        }
    }

    fn limit(bytes: u64, file: &str) -> Option<(u64, String)> {
        Some((bytes, file.to_string()))
    }

    const TWO: &str =
        "25 21 0:22 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";

    const ONE: &str = "\
        31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
        32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
        35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
        41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";

    #[test]
    fn the_least_limit_of_all_above_counts() {
        let m = MadeUp::new("0::/a/b/c\n", TWO);
        assert_eq!(m.limit(), None);
        assert_eq!(m.system().processors(), None);
        m.write("/sys/fs/cgroup/a/b/c/memory.max", "max\n");
        m.write("/sys/fs/cgroup/a/b/c/memory.high", "1000\n");
        m.write("/sys/fs/cgroup/a/b/memory.max", format!("{}\n", 3 * GIB));
        m.write("/sys/fs/cgroup/a/b/c/cpu.max", "max 100000\n");
        m.write("/sys/fs/cgroup/a/b/cpu.max", "750000 100000\n");
        assert_eq!(m.limit(), limit(3 * GIB, "/sys/fs/cgroup/a/b/memory.max"));
        assert_eq!(m.system().processors(), Some(7));
        m.write("/sys/fs/cgroup/a/memory.max", format!("{GIB}\n"));
        m.write("/sys/fs/cgroup/a/cpu.max", "150000 100000\n");
        assert_eq!(m.limit(), limit(GIB, "/sys/fs/cgroup/a/memory.max"));
        assert_eq!(m.system().processors(), Some(1));
        m.write("/sys/fs/cgroup/a/b/c/memory.max", "0\n");
        m.write("/sys/fs/cgroup/a/b/c/cpu.max", "1000 100000\n");
        assert_eq!(m.limit(), limit(0, "/sys/fs/cgroup/a/b/c/memory.max"));
        assert_eq!(m.system().processors(), Some(1));
        // Beside the way up there is nothing.
        m.write("/sys/fs/cgroup/a/b/d/memory.max", "0\n");
        m.write("/sys/fs/cgroup/a/b/c/e/memory.max", "0\n");
        m.write("/sys/fs/memory.max", "0\n");
        m.write("/sys/fs/cgroup/a/b/c/memory.max", "max\n");
        assert_eq!(m.limit(), limit(GIB, "/sys/fs/cgroup/a/memory.max"));
    }

    #[test]
    fn version_1_has_its_own_files_and_says_none_by_a_number() {
        let m = MadeUp::new("4:memory:/a/b\n3:cpu,cpuacct:/x/y\n0::/\n", ONE);
        let write = |path: &str, value: u64| {
            m.write(
                &format!("/sys/fs/cgroup/memory{path}"),
                format!("{value}\n"),
            );
        };
        write("/a/b/memory.limit_in_bytes", 9_223_372_036_854_771_712);
        write("/a/memory.limit_in_bytes", 9_223_372_036_854_710_272);
        assert_eq!(m.limit(), None);
        write("/a/memory.limit_in_bytes", GIB);
        write("/a/memory.use_hierarchy", 1);
        let file = "/sys/fs/cgroup/memory/a/memory.limit_in_bytes";
        assert_eq!(m.limit(), limit(GIB, file));
        let stat =
            |limit: u64| format!("cache 7\nhierarchical_memory_limit {limit}\ntotal_rss 1\n");
        m.write("/sys/fs/cgroup/memory/a/b/memory.stat", stat(GIB));
        assert_eq!(m.limit(), limit(GIB, file));
        // It tells of a limit above what is mounted.
        m.write("/sys/fs/cgroup/memory/a/b/memory.stat", stat(GIB / 2));
        let of_stat = "/sys/fs/cgroup/memory/a/b/memory.stat";
        assert_eq!(m.limit(), limit(GIB / 2, of_stat));
        m.write(of_stat, stat(9_223_372_036_854_771_712));
        // No hierarchy: the parent's limit is its own affair.
        write("/a/memory.use_hierarchy", 0);
        assert_eq!(m.limit(), None);
        m.write("/sys/fs/cgroup/cpu,cpuacct/x/y/cpu.cfs_quota_us", "-1\n");
        m.write(
            "/sys/fs/cgroup/cpu,cpuacct/x/y/cpu.cfs_period_us",
            "100000\n",
        );
        assert_eq!(m.system().processors(), None);
        m.write("/sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_quota_us", "250000\n");
        m.write("/sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_period_us", "50000\n");
        assert_eq!(m.system().processors(), Some(5));
    }

    #[test]
    fn with_both_versions_mounted_each_has_its_say() {
        let m = MadeUp::new("4:memory:/a\n0::/b\n", ONE);
        m.write("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "5000000\n");
        m.write("/sys/fs/cgroup/unified/b/memory.max", "4000000\n");
        assert_eq!(
            m.limit(),
            limit(4_000_000, "/sys/fs/cgroup/unified/b/memory.max")
        );
        m.write("/sys/fs/cgroup/unified/b/memory.max", "6000000\n");
        assert_eq!(
            m.limit(),
            limit(5_000_000, "/sys/fs/cgroup/memory/a/memory.limit_in_bytes")
        );
    }

    #[test]
    fn a_mount_may_show_a_part() {
        // As containers without a namespace of their own have it: the path is the host's, the mount shows the end of it.
        let mount = |root: &str| format!("25 21 0:22 {root} /cg rw - cgroup2 cgroup2 rw\n");
        let of = |path: &str, root: &str| MadeUp::new(&format!("0::{path}\n"), &mount(root));
        let m = of("/docker/0123/inner", "/docker/0123");
        m.write("/cg/memory.max", "3000\n");
        m.write("/cg/inner/memory.max", "max\n");
        assert_eq!(m.limit(), limit(3000, "/cg/memory.max"));
        m.write("/cg/inner/memory.max", "2000\n");
        assert_eq!(m.limit(), limit(2000, "/cg/inner/memory.max"));
        // Another container's isn't this one's, though its name begins alike, nor is what the path leaves.
        for (path, root) in [
            ("/docker/01234", "/docker/0123"),
            ("/docker", "/docker/0123"),
            ("/../other", "/"),
            ("/../../a", "/.."),
            ("/../..", "/../b"),
            ("/a/../b", "/a"),
        ] {
            let m = of(path, root);
            m.write("/cg/memory.max", "3000\n");
            m.write("/cg/4/memory.max", "2000\n");
            m.write("/other/memory.max", "1000\n");
            assert_eq!(m.limit(), None, "{path} in {root}");
        }
        // Above the namespace's root, with the name known.
        let m = of("/../a", "/..");
        m.write("/cg/a/memory.max", "3000\n");
        m.write("/cg/memory.max", "max\n");
        assert_eq!(m.limit(), limit(3000, "/cg/a/memory.max"));
    }

    #[test]
    fn a_cgroup_of_unknown_name_is_found_by_its_members() {
        let mount = "25 21 0:22 /../.. /cg rw - cgroup2 cgroup2 rw\n";
        let m = MadeUp::new("0::/inner\n", mount);
        m.write("/cg/memory.max", "9000\n");
        m.write("/cg/x/y/inner/memory.max", "1000\n");
        m.write("/cg/x/y/inner/cgroup.procs", "1\n2\n");
        m.write("/cg/u/v/memory.max", "max\n");
        m.write("/cg/u/memory.max", "3000\n");
        // Its root is above the process in any case.
        assert_eq!(m.limit(), limit(9000, "/cg/memory.max"));
        let own = format!("1\n{}\n", std::process::id());
        m.write("/cg/u/v/inner/cgroup.procs", own);
        assert_eq!(m.limit(), limit(3000, "/cg/u/memory.max"));
        // One level up is known.
        let m = MadeUp::new("0::/../beside\n", mount);
        m.write("/cg/u/beside/memory.max", "1000\n");
        m.write("/cg/u/beside/cgroup.procs", std::process::id().to_string());
        assert_eq!(m.limit(), limit(1000, "/cg/u/beside/memory.max"));
    }

    #[test]
    fn mounts_are_found_wherever_they_are() {
        let mountinfo = "\
            24 21 0:21 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n\
            25 21 0:22 /a\\040b /mnt/my\\040groups\\134 rw master:1 shared:2 - cgroup2 none rw\n\
            26 21 0:22 /hidden /mnt/over rw - cgroup2 none rw\n\
            27 21 0:22 / /mnt/over rw - cgroup2 none rw\n";
        let m = MadeUp::new("0::/a b/c\n", mountinfo);
        m.write("/mnt/my groups\\/c/memory.max", "3000\n");
        assert_eq!(m.limit(), limit(3000, "/mnt/my groups\\/c/memory.max"));
        m.write("/mnt/over/a b/memory.max", "2000\n");
        assert_eq!(m.limit(), limit(2000, "/mnt/over/a b/memory.max"));
        m.write("/sys/fs/cgroup/memory.max", "1000\n");
        assert_eq!(m.limit(), limit(1000, "/sys/fs/cgroup/memory.max"));
        // Names are bytes.
        let m = MadeUp::new("", TWO);
        m.write("/proc/self/cgroup", b"0::/\xff:x (deleted)\n");
        m.write("/sys/fs/cgroup/memory.max", "1000\n");
        assert_eq!(m.limit(), limit(1000, "/sys/fs/cgroup/memory.max"));
    }

    #[test]
    fn without_proc_the_usual_places_are_read() {
        let m = MadeUp::new("", "");
        fs::remove_dir_all(m.0.path().join("proc")).unwrap();
        assert_eq!(m.limit(), None);
        m.write("/sys/fs/cgroup/memory/memory.limit_in_bytes", "3000\n");
        m.write("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "300000\n");
        m.write("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
        assert_eq!(
            m.limit(),
            limit(3000, "/sys/fs/cgroup/memory/memory.limit_in_bytes")
        );
        assert_eq!(m.system().processors(), Some(3));
        m.write("/sys/fs/cgroup/memory.max", "2000\n");
        assert_eq!(m.limit(), limit(2000, "/sys/fs/cgroup/memory.max"));
    }

    #[test]
    fn odd_content_is_no_limit() {
        let m = MadeUp::new("0::/a\n", TWO);
        for odd in [
            "",
            "\n",
            "max",
            "-1",
            "-5",
            "12 34",
            "0x10",
            "1e9",
            "18446744073709551616",
            "∞",
            "9223372036854775807",
            "99999999999999999999999999",
        ] {
            m.write("/sys/fs/cgroup/a/memory.max", odd);
            m.write("/sys/fs/cgroup/a/cpu.max", odd);
            m.write(
                "/sys/fs/cgroup/memory.max",
                [odd.as_bytes(), b"\xff"].concat(),
            );
            assert_eq!(m.limit(), None, "{odd}");
        }
        for odd in ["1000 0", "max", "1000", "x 100000", "1000  1000 ", "0 -1"] {
            m.write("/sys/fs/cgroup/a/cpu.max", odd);
            let processors = m.system().processors();
            assert!(
                matches!(processors, None | Some(1)),
                "{odd}: {processors:?}"
            );
        }
        m.write("/sys/fs/cgroup/a/memory.max", "4096");
        for (cgroup, mountinfo) in [
            ("", TWO),
            (":::", TWO),
            ("0:", TWO),
            ("0::", ""),
            ("0::/a", "25 21 0:22 / /sys/fs/cgroup rw"),
            ("0::/a", "25 21 0:22 / /sys/fs/cgroup rw -"),
            ("0::/a", "25 21 0:22 / /sys/fs/cgroup rw - cgroup2"),
            ("0::/a", "- cgroup2 a b"),
            ("0::/a", "25 21 0:22 \\ \\777 rw - cgroup2 a b"),
            ("4:memory,,:/a", ONE),
            ("1:memory", ONE),
        ] {
            m.write("/proc/self/cgroup", cgroup);
            m.write("/proc/self/mountinfo", mountinfo);
            assert_eq!(m.limit(), None, "{cgroup} {mountinfo}");
            assert_eq!(m.system().processors(), None);
        }
        // A path without a slash, and slashes too many.
        for path in ["0::a", "0:://a//"] {
            m.write("/proc/self/cgroup", path);
            m.write("/proc/self/mountinfo", TWO);
            assert_eq!(m.limit(), limit(4096, "/sys/fs/cgroup/a/memory.max"));
        }
        // A directory in a file's place.
        let m = MadeUp::new("0::/a\n", TWO);
        m.write("/sys/fs/cgroup/a/memory.max/x", "1");
        m.write("/sys/fs/cgroup/memory.max", "4096\n");
        assert_eq!(m.limit(), limit(4096, "/sys/fs/cgroup/memory.max"));
    }

    #[test]
    fn this_system_can_be_asked() {
        let system = System::here();
        if let Some(limit) = system.memory_limit() {
            assert!(limit.bytes < NONE_FROM && limit.file.is_absolute());
        }
        assert!(system.processors().is_none_or(|count| count > 0));
    }
}
