//! Compiles and runs the C programs under `tests/c/` and `examples-c/` against the shared library that was built with
//! this test: the library as its users meet it.
//!
//! A program says in its source what it needs beyond the library: `/* needs: shared */`, the data in `../shared`, which
//! it gets as BERT_SHARED; `/* needs: model */`, a model directory in BERT_TEST_MODEL. Where that is missing its trial
//! is ignored, or fails with BERT_NO_SKIP=1.

#[path = "common/mod.rs"]
mod common;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{
    Outcome, cdylib, check_is_current, compile, has_program, root, run_and_listen, run_quietly,
    run_with_input, target_directory, trial,
};
use libtest_mimic::Trial;

fn main() {
    let arguments = libtest_mimic::Arguments::from_args();
    let mut trials: Vec<Trial> = sources("tests/c")
        .into_iter()
        .map(|source| {
            let needs = needs_of(&source);
            trial(name("c", &source), || needs, move || run_alone(&source))
        })
        .collect();
    trials.extend(examples());
    trials.push(trial("docs::forking", || has_program("cc"), forking_recipe));
    trials.push(trial(
        "readme::compile_line",
        readme_can_run,
        readme_compile_line,
    ));
    trials.push(trial(
        "readme::program",
        || has_program("cc"),
        readme_program,
    ));
    libtest_mimic::run(&arguments, trials).exit();
}

/// The C programs of a directory of the project, in a fixed order; none where there is no such directory.
fn sources(directory: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(root().join(directory))
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "c"))
        .collect();
    found.sort();
    found
}

fn name(group: &str, source: &Path) -> String {
    let stem = source.file_stem().unwrap_or_default();
    format!("{group}::{}", stem.to_string_lossy())
}

/// The data that tests may share with other projects' checkouts beside this one.
fn shared() -> Option<PathBuf> {
    root().join("../shared").canonicalize().ok()
}

fn needs_of(source: &Path) -> Result<(), String> {
    let text = fs::read_to_string(source).unwrap_or_default();
    let says = |what: &str| text.lines().any(|line| line.trim() == what);
    if says("/* needs: shared */") && shared().is_none() {
        return Err("needs ../shared".into());
    }
    if says("/* needs: model */") && std::env::var_os("BERT_TEST_MODEL").is_none() {
        return Err("needs BERT_TEST_MODEL".into());
    }
    has_program("cc")
}

/// A program of the project, compiled into `directory` and to be run there.
fn program(source: &Path, directory: &Path) -> Result<Command, String> {
    let stem = source.file_stem().unwrap_or_default().to_string_lossy();
    // Not the name alone: the program may write a directory of that name.
    let program = directory.join(format!("{stem}.program"));
    compile(source, &program, cdylib()?)?;
    let mut command = Command::new(program);
    command
        .current_dir(directory)
        .env("BERT_LIBRARY", cdylib()?)
        .env_remove("BERT_SHARED");
    if let Some(shared) = shared() {
        command.env("BERT_SHARED", shared);
    }
    Ok(command)
}

/// Runs a program in a directory of its own. The library prints nothing: what a program wrote that prints nothing itself
/// came from there.
fn run_alone(source: &Path) -> Outcome {
    let directory = tempfile::tempdir()?;
    let (out, err) = run_and_listen(&mut program(source, directory.path())?, "")?;
    let text = fs::read_to_string(source)?;
    let prints = |call: &str| text.lines().any(|line| line.trim_start().starts_with(call));
    let is_silent = !prints("printf(") && !prints("puts(");
    if !err.is_empty() || (is_silent && !out.is_empty()) {
        return Err(format!("something was printed:\n{out}{err}").into());
    }
    Ok(())
}

/// The examples, each with the arguments that a reader would give it.
fn examples() -> Vec<Trial> {
    let all = sources("examples-c");
    let mut trials = Vec::new();
    for source in &all {
        let needs = needs_of(source);
        let trial_name = name("example", source);
        let source = source.clone();
        let stem = source.file_stem().unwrap_or_default().to_string_lossy();
        trials.push(match stem.as_ref() {
            "train_file" => trial(trial_name, || needs, move || train_file(&source)),
            "classify" => trial(trial_name, || needs, move || classify(&source)),
            _ => trial(trial_name, || needs, move || run_alone(&source)),
        });
    }
    let python = root().join("examples-c/quickstart.py");
    if python.is_file() {
        let can_run = || has_program("python3").and_then(|()| has_program("cc"));
        trials.push(trial("example::quickstart_py", can_run, move || {
            let directory = tempfile::tempdir()?;
            let library = cdylib()?;
            let mut command = Command::new("python3");
            command
                .arg(&python)
                .arg(library)
                .env("BERT_LIBRARY", library)
                .env("PYTHONDONTWRITEBYTECODE", "1")
                .current_dir(directory.path());
            run_quietly(&mut command)?;
            Ok(())
        }));
    }
    trials
}

/// Sentences whose class one word tells.
const TRAINING: &str = "text\tlabel\n\
    a wonderful film\tgood\n\
    a terrible film\tbad\n\
    the food was wonderful\tgood\n\
    the food was terrible\tbad\n\
    wonderful music all evening\tgood\n\
    terrible music all evening\tbad\n\
    we had a wonderful time\tgood\n\
    we had a terrible time\tbad\n";

/// Trains by the example, as its users call it, and gives the model's directory.
fn train_into(source: &Path, directory: &Path) -> Result<PathBuf, String> {
    let data = directory.join("train.tsv");
    fs::write(&data, TRAINING).map_err(|error| error.to_string())?;
    let model = directory.join("model");
    let mut command = program(source, directory)?;
    command
        .arg("--train")
        .arg(&data)
        .arg("--valid")
        .arg(&data)
        .args(["--epochs", "2", "--batch", "4", "--output"])
        .arg(&model);
    run_quietly(&mut command)?;
    for file in ["config.json", "model.safetensors", "tokenizer.json"] {
        if !model.join(file).is_file() {
            return Err(format!("train_file wrote no {file}"));
        }
    }
    Ok(model)
}

fn train_file(source: &Path) -> Outcome {
    let directory = tempfile::tempdir()?;
    train_into(source, directory.path())?;
    Ok(())
}

/// Trains a model first, then classifies lines with it in both forms.
fn classify(source: &Path) -> Outcome {
    let directory = tempfile::tempdir()?;
    let model = train_into(&source.with_file_name("train_file.c"), directory.path())?;
    let lines = "a wonderful evening\nterrible food\n\"quoted\"\tand a tab\n";
    for json in [false, true] {
        let mut command = program(source, directory.path())?;
        command.arg(&model);
        if json {
            command.arg("--json");
        }
        let out = run_with_input(&mut command, lines)?;
        if out.lines().count() != lines.lines().count() {
            return Err(
                format!("expected a line of output for each of:\n{lines}got:\n{out}").into(),
            );
        }
        for line in out.lines() {
            let right = if json {
                serde_json::from_str::<serde_json::Value>(line).is_ok_and(|value| value.is_object())
            } else {
                line.contains("good") || line.contains("bad")
            };
            if !right {
                return Err(format!("not an answer: {line}").into());
            }
        }
    }
    Ok(())
}

/// The program of docs/forking.md: a model is loaded once, and each of the workers that it forks says what it predicts.
fn forking_recipe() -> Outcome {
    let directory = tempfile::tempdir()?;
    let model = train_into(&root().join("examples-c/train_file.c"), directory.path())?;
    let text = fs::read_to_string(root().join("docs/forking.md"))?;
    let code = text
        .split("```c\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next())
        .ok_or("docs/forking.md has a program")?;
    let source = directory.path().join("prefork.c");
    fs::write(&source, code)?;
    let out = run_quietly(program(&source, directory.path())?.arg(&model))?;
    let mut lines: Vec<&str> = out.lines().collect();
    lines.sort_unstable();
    let answers: Vec<&str> = lines
        .iter()
        .enumerate()
        .filter_map(|(number, line)| line.strip_prefix(&format!("worker {number}: ")))
        .collect();
    if answers.len() != 4 || lines.len() != 4 || answers.iter().any(|answer| *answer != answers[0])
    {
        return Err(format!("expected the same answer of four workers, got:\n{out}").into());
    }
    Ok(())
}

/// The lines of README.md's first shell block that has a C compiler's, continued lines joined.
fn readme_block() -> Option<Vec<String>> {
    let readme = fs::read_to_string(root().join("README.md")).ok()?;
    readme
        .split("```sh\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .map(|block| block.replace("\\\n", " "))
        .find(|block| block.lines().any(|line| line.starts_with("cc ")))
        .map(|block| block.lines().map(str::to_string).collect())
}

fn readme_can_run() -> Result<(), String> {
    if readme_block().is_none() {
        return Err("needs README.md with a shell block that has a line `cc …`".into());
    }
    has_program("cc")?;
    let library = target_directory()?.join("release/libbert.so");
    // `cargo test` alone doesn't refresh it.
    check_is_current(&library)
}

/// The README's compile line, letter by letter, where its reader runs it; and the program that it makes, if the block
/// goes on to run it.
fn readme_compile_line() -> Outcome {
    let target = target_directory()?;
    // The project's root with everything in it but nothing of it written to.
    let directory = tempfile::tempdir()?;
    for entry in fs::read_dir(root())? {
        let entry = entry?;
        if entry.file_name() != "target" {
            symlink(entry.path(), directory.path().join(entry.file_name()))?;
        }
    }
    symlink(&target, directory.path().join("target"))?;
    let block = readme_block().ok_or("the README has the block")?;
    let from = block
        .iter()
        .position(|line| line.starts_with("cc "))
        .ok_or("the block has the line")?;
    let runs = |line: &&String| line.starts_with("cc ") || line.contains("./");
    for line in block[from..].iter().filter(runs) {
        run_quietly(
            Command::new("sh")
                .args(["-c", line.trim_end_matches("&&")])
                .current_dir(directory.path()),
        )?;
    }
    Ok(())
}

/// The README's C program, which prints what the README says.
fn readme_program() -> Outcome {
    let readme = fs::read_to_string(root().join("README.md"))?;
    let code = readme
        .split("```c\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next());
    let code = code.ok_or("the README has a C program")?;
    let directory = tempfile::tempdir()?;
    let source = directory.path().join("app.c");
    fs::write(&source, code)?;
    let printed = run_quietly(program(&source, directory.path())?.current_dir(directory.path()))?;
    if readme.contains(&format!("It prints `{}`", printed.trim())) {
        return Ok(());
    }
    Err(format!(
        "it prints '{}', of which the README says something else",
        printed.trim()
    )
    .into())
}
