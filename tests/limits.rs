//! Control groups that set a limit above the process's own: a C program that must notice, run in a mount namespace where
//! they are made up, and in real ones where they may be made.

#[path = "common/mod.rs"]
mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Outcome, cdylib, compile, root, run_quietly};
use libtest_mimic::Trial;
use tempfile::TempDir;

fn main() {
    let arguments = libtest_mimic::Arguments::from_args();
    // Namespaces and control groups aren't everyone's to make: elsewhere a trial stays ignored, and the unit tests of
    // src/cgroups.rs, on the same files, stand for it.
    let trial = |name: &str, can_run: Result<(), String>, test: fn() -> Outcome| {
        let trial = Trial::test(name, test);
        match can_run {
            Ok(()) => trial,
            Err(why) => trial.with_kind(why).with_ignored_flag(true),
        }
    };
    let can_make_up = can_make_up();
    let trials = vec![
        trial("made_up::version_2", can_make_up.clone(), version_2),
        trial("made_up::version_1", can_make_up.clone(), version_1),
        trial("made_up::namespace", can_make_up, namespace),
        trial("real", Real::make().map(|_| ()), real),
    ];
    libtest_mimic::run(&arguments, trials).exit();
}

const LIMIT: &str = "67108864";

/// Where the limit is that the process's own group doesn't have.
const PARENT: &str = "/sys/fs/cgroup/parent/";

/// Files of a system.
struct MadeUp(TempDir);

impl MadeUp {
    fn new(files: &[(&str, &str)]) -> Result<MadeUp, String> {
        let made_up = MadeUp(tempfile::tempdir().map_err(|error| error.to_string())?);
        for (path, text) in files {
            let path = made_up.0.path().join(path);
            let parent = path.parent().ok_or("it has a parent")?;
            let written = fs::create_dir_all(parent).and_then(|()| fs::write(&path, text));
            written.map_err(|error| format!("{}: {error}", path.display()))?;
        }
        Ok(made_up)
    }

    /// A command that finds these files in place of the system's.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("sh");
        command
            .arg(root().join("tests/limits/in_made_up.sh"))
            .arg(self.0.path())
            .arg(program);
        command
    }
}

const MOUNTED: &str = "24 21 0:21 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw\n";

fn can_make_up() -> Result<(), String> {
    let made_up = MadeUp::new(&[
        ("sys/fs/cgroup/memory.max", "max\n"),
        ("proc/self/cgroup", "0::/\n"),
        ("proc/self/mountinfo", MOUNTED),
    ])?;
    match made_up.command(Path::new("true")).output() {
        Ok(output) if output.status.success() => Ok(()),
        _ => Err("needs the right to make a mount namespace (unshare) and to mount in it".into()),
    }
}

/// The program, compiled into `directory`.
fn limited(directory: &Path) -> Result<PathBuf, String> {
    let program = directory.join("limited");
    let source = root().join("tests/limits/limited.c");
    compile(&source, &program, cdylib()?)?;
    Ok(program)
}

fn is_limited(files: &[(&str, &str)], limit_in: &str, threads: &str) -> Outcome {
    let made_up = MadeUp::new(files)?;
    let program = limited(made_up.0.path())?;
    run_quietly(
        made_up
            .command(&program)
            .args([LIMIT, limit_in, threads])
            .current_dir(made_up.0.path()),
    )?;
    Ok(())
}

fn version_2() -> Outcome {
    is_limited(
        &[
            ("sys/fs/cgroup/parent/child/memory.max", "max\n"),
            ("sys/fs/cgroup/parent/child/memory.high", "1000000\n"),
            ("sys/fs/cgroup/parent/child/cpu.max", "max 100000\n"),
            ("sys/fs/cgroup/parent/memory.max", "67108864\n"),
            ("sys/fs/cgroup/parent/cpu.max", "150000 100000\n"),
            ("proc/self/cgroup", "0::/parent/child\n"),
            ("proc/self/mountinfo", MOUNTED),
        ],
        &format!("{PARENT}memory.max"),
        "1",
    )
}

/// Beside a version 2 that has no controllers.
fn version_1() -> Outcome {
    let none = "9223372036854771712\n";
    is_limited(
        &[
            ("sys/fs/cgroup/memory/a/b/memory.limit_in_bytes", none),
            ("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "67108864\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", none),
            ("sys/fs/cgroup/cpu/c/cpu.cfs_quota_us", "-1\n"),
            ("sys/fs/cgroup/cpu/c/cpu.cfs_period_us", "100000\n"),
            ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "100000\n"),
            ("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"),
            ("sys/fs/cgroup/unified/cgroup.controllers", ""),
            (
                "proc/self/cgroup",
                "3:memory:/a/b\n2:cpu,cpuacct:/c\n0::/\n",
            ),
            (
                "proc/self/mountinfo",
                "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
                 32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n\
                 33 31 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                 34 31 0:31 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
            ),
        ],
        "/sys/fs/cgroup/memory/a/memory.limit_in_bytes",
        "1",
    )
}

/// Mounted somewhere else, from above the root of the process's namespace.
fn namespace() -> Outcome {
    is_limited(
        &[
            ("sys/fs/cgroup/memory.max", "max\n"),
            ("sys/fs/cgroup/here/a/child/memory.max", "max\n"),
            ("sys/fs/cgroup/here/a/cpu.max", "100000 100000\n"),
            ("sys/fs/cgroup/here/memory.max", "67108864\n"),
            ("proc/self/cgroup", "0::/../a/child\n"),
            (
                "proc/self/mountinfo",
                "24 21 0:21 /.. /sys/fs/cgroup/here rw shared:4 - cgroup2 cgroup2 rw\n",
            ),
        ],
        "/sys/fs/cgroup/here/memory.max",
        "1",
    )
}

/// Two groups of the system's, one in the other, of which the upper one has a limit.
struct Real {
    parent: PathBuf,
    limit_in: PathBuf,
}

const REAL_LIMIT: &str = "134217728";

impl Real {
    fn make() -> Result<Real, String> {
        let read = |file: &str| fs::read_to_string(file).map_err(|error| error.to_string());
        let (groups, mounts) = (read("/proc/self/cgroup")?, read("/proc/self/mountinfo")?);
        let made = groups.lines().find_map(|line| {
            let [_, controllers, path] = line.splitn(3, ':').collect::<Vec<_>>()[..] else {
                return None;
            };
            let (kind, file) = match controllers {
                "" => (" - cgroup2 ", "memory.max"),
                "memory" => (" - cgroup ", "memory.limit_in_bytes"),
                _ => return None,
            };
            let mount = mounts.lines().find(|line| {
                line.contains(kind) && (controllers.is_empty() || line.contains(",memory"))
            })?;
            let [_, _, _, "/", point, ..] = mount.split(' ').collect::<Vec<_>>()[..] else {
                return None;
            };
            let own = Path::new(point).join(path.trim_start_matches('/'));
            let parent = own.join(format!("libbert-test-{}", std::process::id()));
            fs::create_dir(&parent).ok()?;
            // Removed where it is of no use.
            let real = Real {
                limit_in: parent.join(file),
                parent,
            };
            if controllers.is_empty() {
                fs::write(real.parent.join("cgroup.subtree_control"), "+memory").ok()?;
            }
            fs::write(&real.limit_in, REAL_LIMIT).ok()?;
            fs::create_dir(real.child()).ok()?;
            real.child().join(file).is_file().then_some(real)
        });
        made.ok_or_else(|| "needs the right to make control groups with a limit of memory".into())
    }

    fn child(&self) -> PathBuf {
        self.parent.join("child")
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        let _ = fs::remove_dir(self.child());
        let _ = fs::remove_dir(&self.parent);
    }
}

fn real() -> Outcome {
    let directory = tempfile::tempdir()?;
    let program = limited(directory.path())?;
    let real = Real::make()?;
    run_quietly(
        Command::new("sh")
            .args(["-c", "echo $$ >\"$0\" && exec \"$@\""])
            .arg(real.child().join("cgroup.procs"))
            .arg(&program)
            .arg(REAL_LIMIT)
            .arg(&real.limit_in)
            .arg("0")
            .current_dir(directory.path()),
    )?;
    Ok(())
}
