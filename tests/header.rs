//! `include/bert.h` against the source it is generated from, against C and C++ compilers, and against the symbols of
//! the shared library.
//!
//! `BERT_UPDATE_HEADER=1 cargo test --release --test header` refreshes the committed header.

#[path = "common/mod.rs"]
mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Outcome, cdylib, has_program, run_quietly, trial};

fn main() {
    let arguments = libtest_mimic::Arguments::from_args();
    let needs = |program: &'static str| move || has_program(program);
    let cxx = if has_program("g++").is_ok() {
        "g++"
    } else {
        "c++"
    };
    let trials = vec![
        trial("is_what_the_source_says", || Ok(()), is_current),
        trial("compiles_alone_as_c99", needs("cc"), || {
            compiles("cc", &["-std=c99", "-x", "c"])
        }),
        trial("compiles_alone_as_cxx", needs(cxx), move || {
            compiles(cxx, &["-std=c++11", "-x", "c++"])
        }),
        trial("documents_every_function", || Ok(()), is_documented),
        trial(
            "library_exports_what_it_declares",
            needs("nm"),
            exports_match,
        ),
        trial(
            "library_exports_one_version",
            needs("nm"),
            exports_have_the_version,
        ),
        trial(
            "library_soname_is_a_link_beside_it",
            needs("readelf"),
            soname_is_beside_the_library,
        ),
        trial(
            "cargo_c_knows_the_versions",
            || Ok(()),
            cargo_c_knows_the_versions,
        ),
    ];
    libtest_mimic::run(&arguments, trials).exit();
}

fn header_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("include/bert.h")
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// The committed header is what cbindgen writes from the source.
fn is_current() -> Outcome {
    let generated = read(Path::new(env!("BERT_HEADER")))?;
    if std::env::var_os("BERT_UPDATE_HEADER").is_some_and(|value| value == "1") {
        fs::write(header_path(), generated).map_err(|error| error.to_string())?;
        return Ok(());
    }
    let committed = read(&header_path())?;
    if committed == generated {
        return Ok(());
    }
    let mut wrong = String::from(
        "include/bert.h isn't what the source says; refresh it with \
         `BERT_UPDATE_HEADER=1 cargo test --release --test header`. The first lines that differ:\n",
    );
    let (old, new): (Vec<&str>, Vec<&str>) =
        (committed.lines().collect(), generated.lines().collect());
    let first = old
        .iter()
        .zip(&new)
        .position(|(a, b)| a != b)
        .unwrap_or(old.len().min(new.len()));
    let mut show = |sign: char, lines: &[&str]| {
        for (place, line) in lines.iter().enumerate().skip(first).take(5) {
            wrong.push_str(&format!("{sign} {:5} {line}\n", place + 1));
        }
    };
    show('-', &old);
    show('+', &new);
    Err(wrong.into())
}

/// A program that holds nothing but the header, so that what the header forgets to include is missed.
fn compiles(compiler: &str, language: &[&str]) -> Outcome {
    let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
    let source = directory.path().join("alone");
    fs::write(&source, "#include \"bert.h\"\n").map_err(|error| error.to_string())?;
    let mut command = Command::new(compiler);
    command
        .args(language)
        .args(["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only"])
        .arg("-I")
        .arg(header_path().parent().ok_or("the header has a directory")?)
        .arg(&source);
    run_quietly(&mut command).map(|_| ())?;
    Ok(())
}

/// The functions that the header declares: a name of ours before a parenthesis, on a line that isn't indented.
fn declared() -> Result<BTreeSet<String>, String> {
    let header = read(&header_path())?;
    let starts = |line: &&str| line.starts_with(|c: char| c.is_ascii_alphabetic());
    let name = |line: &str| {
        let before = line.split('(').next()?;
        let name = before.rsplit([' ', '*']).next()?;
        (line.contains('(') && name.starts_with("bert_")).then(|| name.to_string())
    };
    Ok(header
        .lines()
        .filter(starts)
        .filter(|line| !line.starts_with("typedef"))
        .filter_map(name)
        .collect())
}

/// Every function's comment says which threads may call it and each status that it returns; no type's size is left to the
/// compiler's choice.
fn is_documented() -> Outcome {
    let header = read(&header_path())?;
    let mut lacking = Vec::new();
    for name in declared()? {
        let declaration = header
            .match_indices(&format!("{name}("))
            .map(|(place, _)| &header[..place])
            .find(|before| {
                !before
                    .rsplit('\n')
                    .next()
                    .unwrap_or_default()
                    .starts_with(' ')
            })
            .ok_or_else(|| format!("{name} isn't declared at a line's beginning"))?;
        let (before, result) = declaration.rsplit_once("*/\n").unwrap_or_default();
        let comment = before.rsplit("/**").next().unwrap_or_default();
        let is_fallible = result.starts_with("bert_status");
        if !comment.to_lowercase().contains("thread") {
            lacking.push(format!("{name} doesn't say which threads may call it"));
        }
        if is_fallible && !comment.contains("Returns") {
            lacking.push(format!("{name} doesn't say what it returns"));
        }
    }
    for line in header.lines().filter(|line| !line.starts_with(" *")) {
        let mut words = line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        if words.any(|word| ["enum", "bool", "_Bool"].contains(&word)) {
            lacking.push(format!("'{line}' has a type of no fixed size"));
        }
    }
    if lacking.is_empty() {
        return Ok(());
    }
    Err(lacking.join("\n").into())
}

/// The functions that the library exports, each with its version as `nm` shows it: `@@BERT_N`, or nothing. Not the
/// version's own name, which GNU ld exports too.
fn exported() -> Result<Vec<(String, String)>, String> {
    let listing = run_quietly(
        Command::new("nm")
            .args(["-D", "--defined-only", "--extern-only"])
            .arg(cdylib()?),
    )?;
    let version = version();
    let names = listing.lines().filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let name = *words.get(2)?;
        (words[1] != "A" || name.split('@').next() != Some(&version)).then_some(name)
    });
    Ok(names
        .map(|name| name.split_at(name.find('@').unwrap_or(name.len())))
        .map(|(name, version)| (name.to_string(), version.to_string()))
        .collect())
}

fn exports_match() -> Outcome {
    let exported: BTreeSet<String> = exported()?.into_iter().map(|(name, _)| name).collect();
    let declared = declared()?;
    if declared.len() < 40 {
        return Err(format!("only {} functions were found in the header", declared.len()).into());
    }
    let missing: Vec<_> = declared.difference(&exported).collect();
    let undeclared: Vec<_> = exported.difference(&declared).collect();
    if missing.is_empty() && undeclared.is_empty() {
        return Ok(());
    }
    Err(format!(
        "declared, but not exported: {missing:?}; exported, but not declared: {undeclared:?}"
    )
    .into())
}

/// The symbol version of every exported function.
fn version() -> String {
    format!("BERT_{}", bert::capi::BERT_ABI_VERSION)
}

fn exports_have_the_version() -> Outcome {
    let exported = exported()?;
    // A linker that can't give versions makes a library without any, which the build tells. Here it must be able to.
    let may_lack = !cfg!(all(target_arch = "x86_64", target_env = "gnu"));
    if may_lack && exported.iter().all(|(_, version)| version.is_empty()) {
        return Ok(());
    }
    let expected = format!("@@{}", version());
    let wrong: Vec<_> = exported
        .iter()
        .filter(|(_, version)| *version != expected)
        .collect();
    if wrong.is_empty() {
        return Ok(());
    }
    Err(format!("these functions don't have the version {expected}: {wrong:?}").into())
}

/// A program asks the loader for a file of the soname's name. cargo writes none: that is a link that the build puts beside
/// the library, here and where `cargo build` leaves it.
fn soname_is_beside_the_library() -> Outcome {
    let library = cdylib()?;
    let soname = format!("libbert.so.{}", bert::capi::BERT_ABI_VERSION);
    let dynamic = run_quietly(Command::new("readelf").arg("-d").arg(library))?;
    let line = dynamic
        .lines()
        .find(|line| line.contains("(SONAME)"))
        .ok_or("the library has no soname")?;
    if !line.contains(&format!("[{soname}]")) {
        return Err(format!("the soname isn't {soname}: {}", line.trim()).into());
    }
    let beside = library.parent().ok_or("the library has a directory")?;
    let above = beside.parent().ok_or("cargo's directory has a parent")?;
    for directory in [beside, above] {
        let link = directory.join(&soname);
        let target =
            fs::read_link(&link).map_err(|error| format!("{}: {error}", link.display()))?;
        if target != Path::new("libbert.so") {
            return Err(format!("{} leads to {}", link.display(), target.display()).into());
        }
        // A link with another number would lead to this library too.
        for entry in fs::read_dir(directory)? {
            let name = entry?.file_name();
            let name = name.to_string_lossy();
            if name.starts_with("libbert.so.") && name != soname {
                return Err(format!("{} has {name} too", directory.display()).into());
            }
        }
    }
    Ok(())
}

/// cargo-c takes the soname and the file's name from Cargo.toml, where they are written down once more.
fn cargo_c_knows_the_versions() -> Outcome {
    let manifest = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"))?;
    let section = manifest
        .split("\n[")
        .find_map(|section| section.strip_prefix("package.metadata.capi.library]\n"))
        .ok_or("Cargo.toml has no section package.metadata.capi.library")?;
    let number = bert::capi::BERT_ABI_VERSION;
    let minor = env!("CARGO_PKG_VERSION_MINOR");
    let patch = env!("CARGO_PKG_VERSION_PATCH");
    for expected in [
        format!("version = \"{number}.{minor}.{patch}\""),
        "version_suffix_components = 1".to_string(),
    ] {
        if !section.lines().any(|line| line == expected) {
            let place = "Cargo.toml's section package.metadata.capi.library";
            return Err(format!("{place} has no line '{expected}'").into());
        }
    }
    Ok(())
}
