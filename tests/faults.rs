//! Saves, loads and training runs while files fail: a preloaded shim counts the calls that the library makes of the
//! system, and at each in turn kills the process or lets the call fail. Whatever happens, the older model or checkpoint
//! or the new one is there, whole; what a save that died left is gone after the next one.
//!
//! The long form kills a process that saves in a loop, and one that trains, so many times at random:
//! `BERT_KILLS=500 cargo test --release --test faults killed_at_random`.

#[path = "common/mod.rs"]
mod common;
#[path = "faults/runs.rs"]
mod runs;

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use libtest_mimic::Trial;

use common::{Outcome, cdylib, compile, has_program, root, run_quietly, trial};
use tempfile::TempDir;

/// As in tests/faults/faults.h.
const KILL_BEFORE: i32 = -1;
const KILL_AFTER: i32 = -2;
const SHORT: i32 = -3;
const KILL_HALF: i32 = -4;

/// No save makes fewer calls; a shim that sees fewer isn't there.
const FEWEST_CALLS: usize = 60;

fn main() {
    let arguments = libtest_mimic::Arguments::from_args();
    let mut trials = Vec::new();
    let mut add = |name: String, test: fn(bool) -> Outcome, can_exchange: bool| {
        trials.push(trial(name, can_preload, move || test(can_exchange)));
    };
    for (can_exchange, how) in [(true, "exchanging"), (false, "renaming_twice")] {
        add(format!("killed_saves::{how}"), killed_saves, can_exchange);
        add(format!("failing_saves::{how}"), failing_saves, can_exchange);
        add(format!("racing::{how}"), racing, can_exchange);
    }
    add("killed_first_saves".into(), killed_first_saves, true);
    add("killed_recoveries".into(), killed_recoveries, false);
    add("failing_loads".into(), failing_loads, true);
    add("killed_at_random".into(), killed_at_random, true);
    for (name, test) in runs::tests() {
        trials.push(trial(format!("runs::{name}"), can_preload, test));
    }
    // Mounting is for the superuser: elsewhere this one stays ignored, and the shim's ENOSPC stands for it.
    let can_mount = SmallDisk::mount().map(|_| ());
    let full_disk = Trial::test("a_full_disk", a_full_disk);
    trials.push(match can_mount {
        Ok(()) => full_disk,
        Err(why) => full_disk.with_kind(why).with_ignored_flag(true),
    });
    libtest_mimic::run(&arguments, trials).exit();
}

/// The compiled program and shim.
struct Programs {
    saver: PathBuf,
    runs: PathBuf,
    shim: PathBuf,
    _directory: TempDir,
}

fn programs() -> Result<&'static Programs, String> {
    static PROGRAMS: OnceLock<Result<Programs, String>> = OnceLock::new();
    let build = || {
        let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
        let made = |name: &str| directory.path().join(name);
        let (saver, runs, shim) = (made("saver"), made("runs"), made("shim.so"));
        let sources = root().join("tests/faults");
        compile(&sources.join("saver.c"), &saver, cdylib()?)?;
        compile(&sources.join("runs.c"), &runs, cdylib()?)?;
        run_quietly(
            Command::new("cc")
                .args([
                    "-std=gnu11",
                    "-Wall",
                    "-Wextra",
                    "-Werror",
                    "-shared",
                    "-fPIC",
                ])
                .arg(sources.join("shim.c"))
                .arg("-o")
                .arg(&shim)
                .arg("-ldl"),
        )?;
        Ok(Programs {
            saver,
            runs,
            shim,
            _directory: directory,
        })
    };
    PROGRAMS.get_or_init(build).as_ref().map_err(Clone::clone)
}

/// One of the programs with the shim preloaded.
fn preloaded(program: impl FnOnce(&Programs) -> &PathBuf) -> Result<Command, String> {
    let programs = programs()?;
    let mut command = Command::new(program(programs));
    command
        .env("LD_PRELOAD", &programs.shim)
        .env_remove("LD_LIBRARY_PATH");
    Ok(command)
}

fn can_preload() -> Result<(), String> {
    has_program("cc")?;
    match preloaded(|programs| &programs.saver)?.arg("shim").status() {
        Ok(status) if status.success() => Ok(()),
        _ => Err("needs a system that preloads libraries (LD_PRELOAD)".into()),
    }
}

/// An empty directory, in memory where that can be: what is killed is the process and not the machine.
fn scratch() -> Result<TempDir, String> {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .map_err(|error| error.to_string())
}

/// Whether a program was killed; else it met none of the calls that it should be killed at.
fn was_killed(status: ExitStatus) -> Result<bool, String> {
    match (status.signal(), status.code()) {
        (Some(9), _) => Ok(true),
        (_, Some(3)) => Ok(false),
        _ => Err(format!("the program ended with {status}")),
    }
}

/// A directory with the models a and b, and `work`, in which the model is saved to.
struct Place(TempDir);

impl Place {
    fn new() -> Result<Place, String> {
        let place = Place(scratch()?);
        fs::create_dir(place.work()).map_err(|error| error.to_string())?;
        place.run("create", &[])?;
        Ok(place)
    }

    fn work(&self) -> PathBuf {
        self.0.path().join("work")
    }

    fn target(&self) -> PathBuf {
        self.work().join("model")
    }

    fn command(&self, mode: &str, arguments: &[&str]) -> Result<Command, String> {
        let mut command = preloaded(|programs| &programs.saver)?;
        command.arg(mode).arg(self.0.path()).args(arguments);
        Ok(command)
    }

    fn run(&self, mode: &str, arguments: &[&str]) -> Result<String, String> {
        let out = run_quietly(&mut self.command(mode, arguments)?)?;
        Ok(out.trim().to_string())
    }

    /// Runs it with a call at which the process is killed; whether there was such a call.
    fn is_killed(
        &self,
        mode: &str,
        call: usize,
        kind: i32,
        can_exchange: bool,
    ) -> Result<bool, String> {
        let arguments = [call.to_string(), kind.to_string(), exchange(can_exchange)];
        let status = self
            .command(mode, &arguments.each_ref().map(String::as_str))?
            .status()
            .map_err(|error| error.to_string())?;
        was_killed(status).map_err(|e| format!("{mode} with a kill ({kind}) at call {call}: {e}"))
    }

    /// A model of ours and a user's file in it, at the target.
    fn prepare(&self) -> Result<(), String> {
        self.run("check", &["-"])?;
        fs::write(self.target().join("notes.txt"), "the user's own")
            .map_err(|error| error.to_string())
    }

    /// Kills `mode` at each of its calls, and hands over what is there after each; gives their number.
    fn kill_at_each(
        &self,
        mode: &str,
        can_exchange: bool,
        old: &str,
        prepare: impl Fn() -> Result<(), String>,
    ) -> Result<(usize, Vec<String>), String> {
        let mut found = Vec::new();
        for call in 1.. {
            let mut goes_on = false;
            for kind in [KILL_BEFORE, KILL_AFTER] {
                prepare()?;
                goes_on |= self.is_killed(mode, call, kind, can_exchange)?;
                let what = format!("{mode} with a kill ({kind}) at call {call}");
                found.push(
                    self.run("check", &[old])
                        .map_err(|e| format!("{what}: {e}"))?,
                );
            }
            if !goes_on {
                return Ok((call - 1, found));
            }
        }
        unreachable!("a save has an end")
    }
}

fn exchange(can: bool) -> String {
    u8::from(can).to_string()
}

/// Both the older and the new model were met: the kills came before, between and after.
fn met(found: &[String], expected: &[&str]) -> Outcome {
    for which in expected {
        if !found.iter().any(|found| found == which) {
            return Err(format!("no kill left {which}: {found:?}").into());
        }
    }
    Ok(())
}

fn enough(calls: usize) -> Outcome {
    if calls < FEWEST_CALLS {
        return Err(format!("the shim saw {calls} calls only").into());
    }
    Ok(())
}

fn killed_saves(can_exchange: bool) -> Outcome {
    let place = Place::new()?;
    place.prepare()?;
    // The check after each puts a back, and the user's file stays.
    let (calls, found) = place.kill_at_each("save", can_exchange, "a", || Ok(()))?;
    enough(calls)?;
    met(&found, &["a", "b"])
}

fn killed_first_saves(can_exchange: bool) -> Outcome {
    let place = Place::new()?;
    let remove = || match fs::remove_dir_all(place.target()) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.to_string()),
        _ => Ok(()),
    };
    let (calls, found) = place.kill_at_each("save", can_exchange, "-", remove)?;
    enough(calls)?;
    met(&found, &["-", "b"])
}

/// A load that finishes a save which stopped between its two renames is killed itself.
fn killed_recoveries(can_exchange: bool) -> Outcome {
    let place = Place::new()?;
    place.prepare()?;
    let beside = place.work().join(".model.bert-save-4000000-0");
    let stop = || -> std::io::Result<()> {
        fs::create_dir(&beside)?;
        let whole = beside.join("whole");
        fs::create_dir(&whole)?;
        for entry in fs::read_dir(place.0.path().join("b"))? {
            let entry = entry?;
            fs::copy(entry.path(), whole.join(entry.file_name()))?;
        }
        fs::copy(place.target().join("notes.txt"), whole.join("notes.txt"))?;
        fs::rename(place.target(), beside.join("old-0"))
    };
    let prepare = || stop().map_err(|error| error.to_string());
    for mode in ["load", "save"] {
        let (calls, found) = place.kill_at_each(mode, can_exchange, "a", prepare)?;
        enough(calls)?;
        met(&found, &["b"])?;
    }
    Ok(())
}

/// A call that fails, and what may be tried again or goes on after half.
fn kinds() -> [i32; 6] {
    let [io, full, denied] = [libc::EIO, libc::ENOSPC, libc::EACCES];
    [io, full, denied, libc::EMFILE, libc::EINTR, SHORT]
}

fn failing_saves(can_exchange: bool) -> Outcome {
    let place = Place::new()?;
    for kind in kinds() {
        for old in ["a", "-"] {
            let calls = place.run("fail", &[&kind.to_string(), &exchange(can_exchange), old])?;
            if kind > 0 && kind != libc::EINTR {
                enough(calls.parse()?)?;
            }
        }
    }
    Ok(())
}

fn failing_loads(can_exchange: bool) -> Outcome {
    let place = Place::new()?;
    for kind in kinds() {
        let calls = place.run("fail_load", &[&kind.to_string(), &exchange(can_exchange)])?;
        if kind > 0 && kind != libc::EINTR {
            enough(calls.parse()?)?;
        }
    }
    Ok(())
}

/// Saves beside saves and loads of the same directory.
fn racing(can_exchange: bool) -> Outcome {
    Place::new()?.run("race", &[&exchange(can_exchange)])?;
    Ok(())
}

/// How many kills come at random moments.
fn kills(short: u32) -> Result<u32, std::num::ParseIntError> {
    std::env::var("BERT_KILLS").map_or(Ok(short), |text| text.parse())
}

/// The moments needn't be good, only different.
struct Random(u32);

impl Default for Random {
    fn default() -> Random {
        Random(std::process::id() | 1)
    }
}

impl Random {
    fn below(&mut self, limit: u32) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        u64::from(self.0 % limit)
    }
}

/// `kill -9` at random moments of a loop of saves.
fn killed_at_random(_: bool) -> Outcome {
    let kills = kills(20)?;
    let place = Place::new()?;
    place.prepare()?;
    let mut counts = [0, 0];
    let mut random = Random::default();
    // In turn with and without an exchange of directories.
    for kill in 0..kills {
        let mut child = place
            .command("loop", &[&exchange(kill % 2 == 0)])?
            .stdout(Stdio::null())
            .spawn()?;
        std::thread::sleep(Duration::from_micros(8_000 + random.below(30_000)));
        child.kill()?;
        let status = child.wait()?;
        if status.signal() != Some(9) {
            return Err(format!("saving in a loop ended with {status}").into());
        }
        match place.run("check", &["a"])?.as_str() {
            "a" => counts[0] += 1,
            _ => counts[1] += 1,
        }
    }
    eprintln!(
        "{kills} kills: the older model {} times, the new one {} times",
        counts[0], counts[1]
    );
    if kills >= 100 && counts.contains(&0) {
        return Err(format!("the kills all came at the same place: {counts:?}").into());
    }
    Ok(())
}

/// A file system of half a megabyte, until dropped.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount() -> Result<SmallDisk, String> {
        let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"])
            .arg(directory.path());
        run_quietly(&mut mount).map_err(|_| "needs the right to mount")?;
        Ok(SmallDisk(directory))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = run_quietly(Command::new("umount").arg("-l").arg(self.0.path()));
    }
}

/// A disk that is full for real: saves fail with a sentence until there is room, and the older model stays.
fn a_full_disk() -> Outcome {
    let disk = SmallDisk::mount()?;
    let place = Place::new()?;
    let small = |name: &str| disk.0.path().join(name);
    let model = small("model");
    let classifier = |name: &str| {
        let options = bert::hf::LoadOptions::default();
        bert::classifier::Classifier::load(&place.0.path().join(name), &options)
    };
    let (a, b) = (classifier("a")?, classifier("b")?);
    let is_a = || -> Result<bool, bert::error::Error> {
        let options = bert::hf::LoadOptions::default();
        let loaded = bert::classifier::Classifier::load(&model, &options)?;
        Ok(loaded.save_to_buffer()? == a.save_to_buffer()?)
    };
    a.save(&model)?;
    // Less and less room, until none is left.
    let mut refused = 0;
    for index in 0..100 {
        let result = b.save(&model);
        match result {
            Ok(()) => a.save(&model)?,
            Err(error) => {
                refused += 1;
                assert!(error.message().contains("disk is full"), "{error}");
                assert!(is_a()?);
            }
        }
        let names: Vec<_> = fs::read_dir(disk.0.path())?.collect::<Result<_, _>>()?;
        assert_eq!(names.len(), 1 + index, "{names:?}");
        if fs::write(small(&format!("filler{index}")), vec![1; 5000]).is_err() {
            break;
        }
    }
    assert!(refused > 2, "{refused}");
    assert!(is_a()?);
    fs::remove_file(small("filler0"))?;
    for index in 1..100 {
        let _ = fs::remove_file(small(&format!("filler{index}")));
    }
    b.save(&model)?;
    assert!(!is_a()?);
    Ok(())
}
