//! What the tests that need other programs share: the freshly built shared library, running with a time limit, and
//! trials that say why they are ignored.

// Each test takes what it needs.
#![allow(dead_code)]

use std::ffi::CStr;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use libtest_mimic::{Failed, Trial};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

pub type Outcome = Result<(), Failed>;

/// How long one program may run.
const TIME_LIMIT: Duration = Duration::from_secs(300);

/// A trial that is ignored where `can_run` says why it can't run; with BERT_NO_SKIP=1, as in CI, it fails instead.
pub fn trial(
    name: impl Into<String>,
    can_run: impl FnOnce() -> Result<(), String>,
    test: impl FnOnce() -> Outcome + Send + 'static,
) -> Trial {
    match can_run() {
        Ok(()) => Trial::test(name, test),
        Err(why) => {
            let may_skip = std::env::var_os("BERT_NO_SKIP").is_none_or(|value| value != "1");
            let message = format!("can't run: {why}");
            // The kind is the one text that is shown with an ignored trial.
            Trial::test(name, move || Err(message.into()))
                .with_kind(why)
                .with_ignored_flag(may_skip)
        }
    }
}

/// The directory of all-MiniLM-L6-v2, from the variable BERT_TEST_MODEL.
pub fn model() -> Result<PathBuf, String> {
    std::env::var_os("BERT_TEST_MODEL")
        .map(PathBuf::from)
        .filter(|path| path.join("config.json").is_file())
        .ok_or_else(|| "needs BERT_TEST_MODEL, the directory of all-MiniLM-L6-v2".into())
}

/// Whether a program is there to be called.
pub fn has_program(name: &str) -> Result<(), String> {
    Command::new(name)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .map(|_| ())
        .map_err(|_| format!("needs {name}"))
}

/// The directory that cargo builds this test into, where it puts the fresh shared library too. The copy one level up
/// is made by `cargo build` alone and may be older.
pub fn deps_directory() -> Result<PathBuf, String> {
    let test = std::env::current_exe().map_err(|error| error.to_string())?;
    Ok(test
        .parent()
        .ok_or("this test's executable has a directory")?
        .to_path_buf())
}

/// cargo's target directory.
pub fn target_directory() -> Result<PathBuf, String> {
    Ok(deps_directory()?
        .ancestors()
        .nth(2)
        .ok_or("cargo's target directory is two above this test")?
        .to_path_buf())
}

/// The shared library that was built together with this test.
pub fn cdylib() -> Result<&'static Path, String> {
    static LIBRARY: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let library = LIBRARY.get_or_init(|| {
        let library = deps_directory()?.join("libbert.so");
        check_is_current(&library)?;
        Ok(library)
    });
    library.as_deref().map_err(Clone::clone)
}

/// Whether a shared library was built from the source that this test was built from. A C program is asked, so that a
/// library that can't be linked to is noticed here.
pub fn check_is_current(library: &Path) -> Result<(), String> {
    if !library.is_file() {
        return Err(format!(
            "{} isn't there; run `cargo build --release` first.",
            library.display()
        ));
    }
    let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
    let source = directory.path().join("build_info.c");
    let program = directory.path().join("build_info");
    let text = "#include <stdio.h>\n#include \"bert.h\"\nint main(void) { puts(bert_build_info()); return 0; }\n";
    fs::write(&source, text).map_err(|error| error.to_string())?;
    compile(&source, &program, library)?;
    let found = run_quietly(&mut Command::new(&program))?;
    // SAFETY: the library's text lives for ever and ends with a NUL.
    let expected = unsafe { CStr::from_ptr(bert::capi::bert_build_info()) };
    let expected = expected.to_string_lossy();
    if number_of_source(&found) == number_of_source(&expected) {
        return Ok(());
    }
    Err(format!(
        "{} is stale: it says '{}', and the source is '{expected}'. Run `cargo build --release`.",
        library.display(),
        found.trim()
    ))
}

/// The last word of the build info: it changes with the source and not with the profile.
fn number_of_source(build_info: &str) -> &str {
    build_info
        .trim()
        .trim_end_matches(')')
        .rsplit(' ')
        .next()
        .unwrap_or_default()
}

/// The project's directory: where this test was built, or, where it was carried elsewhere, the variable BERT_TEST_ROOT.
pub fn root() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        std::env::var_os("BERT_TEST_ROOT")
            .unwrap_or(env!("CARGO_MANIFEST_DIR").into())
            .into()
    })
}

/// Compiles one C program as strictly as its users may, and links it to the shared library.
pub fn compile(source: &Path, program: &Path, library: &Path) -> Result<(), String> {
    let directory = library.parent().ok_or("the library has a directory")?;
    let mut command = Command::new("cc");
    command
        .args([
            "-std=c99",
            "-Wall",
            "-Wextra",
            "-Wpedantic",
            "-Werror",
            "-g",
        ])
        .arg("-I")
        .arg(root().join("include"))
        .arg(source)
        .arg("-o")
        .arg(program)
        .arg("-L")
        .arg(directory)
        .arg("-lbert")
        .arg(format!("-Wl,-rpath,{}", directory.display()))
        .args(["-lpthread", "-lm", "-ldl"]);
    run_quietly(&mut command).map(|_| ())
}

/// Runs a command to its end and gives what it wrote to standard output; a failure tells everything that it wrote.
pub fn run_quietly(command: &mut Command) -> Result<String, String> {
    run_with_input(command, "")
}

/// As [`run_quietly`], with a text on standard input.
pub fn run_with_input(command: &mut Command, input: &str) -> Result<String, String> {
    run_and_listen(command, input).map(|(out, _)| out)
}

/// As [`run_with_input`], and gives what was written to standard error too.
pub fn run_and_listen(command: &mut Command, input: &str) -> Result<(String, String), String> {
    let failed = |error: std::io::Error| format!("running a program: {error}");
    // Files and not pipes: a program that writes much or leaves a child behind can't block the test.
    let directory = tempfile::tempdir().map_err(failed)?;
    let path = |name: &str| directory.path().join(name);
    fs::write(path("in"), input).map_err(failed)?;
    command
        .stdin(File::open(path("in")).map_err(failed)?)
        .stdout(File::create(path("out")).map_err(failed)?)
        .stderr(File::create(path("err")).map_err(failed)?)
        // cargo's own library path would make a program find another library than the one it was linked to.
        .env_remove("LD_LIBRARY_PATH")
        .process_group(0);
    let mut child = command
        .spawn()
        .map_err(|error| format!("{command:?}: {error}"))?;
    let started = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().map_err(failed)? {
            break Some(status);
        }
        if started.elapsed() > TIME_LIMIT {
            let _ = killpg(Pid::from_raw(child.id() as i32), Signal::SIGKILL);
            let _ = child.wait();
            break None;
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    let text =
        |name: &str| fs::read(path(name)).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let (out, err) = (text("out").map_err(failed)?, text("err").map_err(failed)?);
    let ended = match status {
        Some(status) if status.success() => return Ok((out, err)),
        Some(status) => status.to_string(),
        None => format!("still running after {} s", TIME_LIMIT.as_secs()),
    };
    Err(format!(
        "{command:?}\nended with {ended}\n--- standard output\n{out}--- standard error\n{err}"
    ))
}
