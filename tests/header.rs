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

use common::{Outcome, cdylib, compile, has_program, run_quietly, trial};

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
        trial("initialises_as_c99", needs("cc"), initialises_as_c),
        trial("initialises_as_cxx", needs(cxx), move || {
            initialises_as_cxx(cxx)
        }),
        trial("cffi_takes_it", has_cffi, cffi_takes_it),
        trial("documents_every_function", || Ok(()), is_documented),
        trial("lines_are_not_too_long", || Ok(()), lines_fit),
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

/// The lines that are no comment.
fn code(header: &str) -> impl Iterator<Item = &str> {
    let is_comment = |line: &&str| {
        let line = line.trim_start();
        line.starts_with("/*") || line.starts_with('*')
    };
    header.lines().filter(move |line| !is_comment(line))
}

/// No line is longer than 120 columns.
fn lines_fit() -> Outcome {
    let header = read(&header_path())?;
    let long: Vec<String> = header
        .lines()
        .enumerate()
        .filter(|(_, line)| line.chars().count() > 120)
        .map(|(place, line)| {
            format!(
                "line {} has {} columns: {line}",
                place + 1,
                line.chars().count()
            )
        })
        .collect();
    if long.is_empty() {
        return Ok(());
    }
    Err(long.join("\n").into())
}

/// What the header defines, by its text.
struct Definitions {
    /// The enums' types, and each constant with the type that it is one of.
    constants: Vec<(String, String)>,
    /// Structs with their fields.
    structs: Vec<(String, Vec<String>)>,
    /// Structs that can be initialised by a macro.
    initialised: Vec<String>,
}

fn definitions() -> Result<Definitions, String> {
    let header = read(&header_path())?;
    let mut found = Definitions {
        constants: Vec::new(),
        structs: Vec::new(),
        initialised: Vec::new(),
    };
    let mut kind: Option<String> = None;
    let mut fields: Option<Vec<String>> = None;
    for line in code(&header) {
        if let Some(name) = line.strip_prefix("enum ") {
            kind = name.strip_suffix("_values {").map(str::to_string);
        } else if line.starts_with("typedef struct ") && line.ends_with('{') {
            fields = Some(Vec::new());
        } else if line.starts_with('}') {
            let name = line.trim_start_matches("} ").trim_end_matches(';');
            if let Some(fields) = fields.take() {
                found.structs.push((name.to_string(), fields));
            }
            kind = None;
        } else if let Some(kind) = &kind {
            let constant = line.trim().split(' ').next().unwrap_or_default();
            found.constants.push((kind.clone(), constant.to_string()));
        } else if let Some(fields) = &mut fields {
            let line = line.trim_end_matches(';');
            let name = line.rsplit([' ', '*']).next().unwrap_or_default();
            fields.push(name.split('[').next().unwrap_or_default().to_string());
        } else if let Some(defined) = line.strip_prefix("#define ")
            && let Some((name, _)) = defined.split_once("_INIT {")
        {
            found.initialised.push(name.to_lowercase());
        }
    }
    let is_sound = found.constants.len() > 60 && found.structs.len() > 12;
    match is_sound && found.initialised.len() == 10 {
        true => Ok(found),
        false => Err(format!(
            "the header was read wrongly: {} constants, {} structs, {} macros",
            found.constants.len(),
            found.structs.len(),
            found.initialised.len()
        )),
    }
}

/// A program in the common part of C and C++: each macro writes what its _init function writes, every constant can be
/// assigned to its type, which has 32 bits.
fn initialising_program() -> Result<String, String> {
    let Definitions {
        constants,
        structs: _,
        initialised,
    } = definitions()?;
    let mut body = String::new();
    for name in initialised {
        let name_of_macro = format!("{}_INIT", name.to_uppercase());
        body += &format!(
            "    {{
        {name} by_macro = {name_of_macro}, by_call;
        memset(&by_call, 0x5a, sizeof(by_call));
        if ({name}_init(&by_call, sizeof(by_call)) != BERT_OK || memcmp(&by_macro, &by_call, sizeof(by_call)) != 0) {{
            puts(\"{name_of_macro} isn't what {name}_init writes\");
            wrong = 1;
        }}
    }}\n"
        );
    }
    for (kind, constant) in constants {
        body += &format!(
            "    {{
        {kind} value = {constant};
        if (value != {constant} || sizeof(value) != 4) {{
            puts(\"{constant}\");
            wrong = 1;
        }}
    }}\n"
        );
    }
    Ok(format!(
        "#include <stdio.h>\n#include <string.h>\n#include \"bert.h\"\n\nint main(void)\n{{\n    int wrong = 0;\n{body}    \
         return wrong;\n}}\n"
    ))
}

fn initialises_as_c() -> Outcome {
    let directory = tempfile::tempdir()?;
    let (source, program) = (
        directory.path().join("macros.c"),
        directory.path().join("macros"),
    );
    fs::write(&source, initialising_program()?)?;
    compile(&source, &program, cdylib()?)?;
    run_quietly(&mut Command::new(&program))?;
    Ok(())
}

fn initialises_as_cxx(compiler: &str) -> Outcome {
    let directory = tempfile::tempdir()?;
    let (source, program) = (
        directory.path().join("macros.cpp"),
        directory.path().join("macros"),
    );
    fs::write(&source, initialising_program()?)?;
    let library = cdylib()?.parent().ok_or("the library is in a directory")?;
    run_quietly(
        Command::new(compiler)
            .args(["-std=c++11", "-Wall", "-Wextra", "-Wpedantic", "-Werror"])
            .arg("-I")
            .arg(header_path().parent().ok_or("the header has a directory")?)
            .arg(&source)
            .arg("-o")
            .arg(&program)
            .arg("-L")
            .arg(library)
            .arg("-lbert")
            .arg(format!("-Wl,-rpath,{}", library.display())),
    )?;
    run_quietly(&mut Command::new(&program))?;
    Ok(())
}

fn has_cffi() -> Result<(), String> {
    has_program("cc")?;
    has_program("python3")?;
    let import = run_quietly(Command::new("python3").args(["-c", "import cffi"]));
    import.map(|_| ()).map_err(|_| "needs Python's cffi".into())
}

/// Reads declarations from the first file and names from the second; tells what they are, and what the library says.
const CFFI: &str = r#"
import sys
from cffi import FFI

ffi = FFI()
ffi.cdef(open(sys.argv[1]).read())
library = ffi.dlopen(sys.argv[3])
for name in open(sys.argv[2]).read().split():
    if name.startswith("BERT_"):
        print(name, getattr(library, name))
    elif "." in name:
        print(name, ffi.offsetof(*name.split(".")))
    else:
        print(name, ffi.sizeof(name))
print("bert_abi_version", library.bert_abi_version())
"#;

/// What the preprocessor makes of the header is C that cffi's cdef takes, and cffi finds the same constants, sizes and
/// places of fields as the C compiler.
fn cffi_takes_it() -> Outcome {
    let directory = tempfile::tempdir()?;
    let path = |name: &str| directory.path().join(name);
    let declarations = run_quietly(
        Command::new("cc")
            .args(["-E", "-P", "-DBERT_PLAIN_DECLARATIONS"])
            .arg(header_path()),
    )?;
    fs::write(path("declarations.h"), declarations)?;
    let found = definitions()?;
    let mut names: Vec<String> = found.constants.into_iter().map(|(_, name)| name).collect();
    for (name, fields) in found.structs {
        names.extend(fields.iter().map(|field| format!("{name}.{field}")));
        names.push(name);
    }
    fs::write(path("names"), names.join("\n"))?;
    fs::write(path("read.py"), CFFI)?;
    let by_cffi = run_quietly(
        Command::new("python3")
            .arg(path("read.py"))
            .arg(path("declarations.h"))
            .arg(path("names"))
            .arg(cdylib()?),
    )?;
    let mut body = String::new();
    for name in &names {
        let value = match name.split_once('.') {
            Some((name, field)) => format!("offsetof({name}, {field})"),
            None if name.starts_with("BERT_") => name.clone(),
            None => format!("sizeof({name})"),
        };
        body += &format!("    printf(\"%s %lld\\n\", \"{name}\", (long long)({value}));\n");
    }
    fs::write(
        path("names.c"),
        format!(
            "#include <stdio.h>\n#include \"bert.h\"\n\nint main(void)\n{{\n{body}    printf(\"bert_abi_version %d\\n\", \
             BERT_ABI_VERSION);\n    return 0;\n}}\n"
        ),
    )?;
    compile(&path("names.c"), &path("program"), cdylib()?)?;
    let by_compiler = run_quietly(&mut Command::new(path("program")))?;
    if by_cffi == by_compiler {
        return Ok(());
    }
    let differing: Vec<String> = by_cffi
        .lines()
        .zip(by_compiler.lines())
        .filter(|(cffi, compiler)| cffi != compiler)
        .map(|(cffi, compiler)| format!("cffi: {cffi}; the compiler: {compiler}"))
        .collect();
    Err(format!(
        "{} lines by cffi, {} by the compiler\n{}",
        by_cffi.lines().count(),
        by_compiler.lines().count(),
        differing.join("\n")
    )
    .into())
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
    let mut fallible = 0;
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
        let is_fallible = result.starts_with("BERT_API BERT_MUST_USE bert_status ");
        fallible += usize::from(is_fallible);
        if !comment.to_lowercase().contains("thread") {
            lacking.push(format!("{name} doesn't say which threads may call it"));
        }
        if is_fallible && !comment.contains("Returns") {
            lacking.push(format!("{name} doesn't say what it returns"));
        }
    }
    if fallible < 40 {
        lacking.push(format!(
            "only {fallible} functions were found that return a status"
        ));
    }
    for line in code(&header) {
        let mut words = line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        // The constants of a type that is an integer of fixed size: nothing is of the enum's own type.
        let is_list = line.starts_with("enum bert_") && line.ends_with("_values {");
        if !is_list && words.any(|word| ["enum", "bool", "_Bool"].contains(&word)) {
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
