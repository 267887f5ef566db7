//! A program that was compiled with the header of an earlier commit, `tests/fixtures/abi-1`, and meets the present
//! library: the number of the binary interface is another, which the header says to compare; or each of its structs is
//! laid out as it was, or refused by its size. Nothing is read as something else.

#[path = "common/mod.rs"]
mod common;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Outcome, cdylib, has_program, root, run_quietly, trial};
use tempfile::TempDir;

/// BERT_ERR_STRUCT_SIZE: numbers of statuses stay.
const STRUCT_SIZE: i32 = 3;
/// The structs of the old header, and those among them that a function prepares (bert_progress is the library's).
const OLD_STRUCTS: usize = 16;
const PREPARED: usize = 15;

fn main() {
    let arguments = libtest_mimic::Arguments::from_args();
    let needs = || has_program("cc").and_then(|()| has_program("readelf"));
    let trials = vec![
        trial("abi_1_is_told_or_read_right", needs, old_program),
        trial("every_change_is_noticed", needs, changes_are_noticed),
    ];
    libtest_mimic::run(&arguments, trials).exit();
}

/// A field: its type as the header has it, and where it lies.
#[derive(Debug, Clone, PartialEq)]
struct Field {
    name: String,
    kind: String,
    offset: usize,
    size: usize,
}

#[derive(Debug, Clone, PartialEq)]
struct Layout {
    size: usize,
    fields: Vec<Field>,
}

type Layouts = BTreeMap<String, Layout>;

fn old_directory() -> PathBuf {
    root().join("tests/fixtures/abi-1")
}

/// A struct of a header.
struct Declared {
    name: String,
    /// Type and name of each.
    fields: Vec<(String, String)>,
}

/// The structs of a header, in its order.
fn structs(header: &str) -> Result<Vec<Declared>, String> {
    let mut code = String::new();
    let mut rest = header;
    while let Some((before, comment)) = rest.split_once("/*") {
        code.push_str(before);
        rest = comment.split_once("*/").ok_or("a comment has no end")?.1;
    }
    code.push_str(rest);
    let mut found = Vec::new();
    for part in code.split("typedef struct {").skip(1) {
        let (body, after) = part.split_once('}').ok_or("a struct has no end")?;
        let name = after.split(';').next().unwrap_or_default().trim();
        let fields = body.split(';').map(str::trim).filter(|f| !f.is_empty());
        let split = |field: &str| {
            // "char device[16]": the array's length belongs to the type.
            let (before, length) = field.split_at(field.find('[').unwrap_or(field.len()));
            let of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let at = before.rfind(|c| !of_name(c)).map_or(0, |place| place + 1);
            let (kind, name) = before.split_at(at);
            (format!("{}{length}", kind.trim()), name.to_string())
        };
        found.push(Declared {
            name: name.to_string(),
            fields: fields.map(split).collect(),
        });
    }
    Ok(found)
}

/// How a C compiler lays out the structs of the present header.
fn present_layouts() -> Result<Layouts, String> {
    let failed = |error: std::io::Error| error.to_string();
    let include = root().join("include");
    let header = fs::read_to_string(include.join("bert.h")).map_err(failed)?;
    let structs = structs(&header)?;
    let mut text = String::from(
        "#include <stdio.h>\n#include \"bert.h\"\n\
         #define NUMBER(n) (unsigned long)(n)\n\
         int main(void)\n{\n",
    );
    for Declared { name, fields } in &structs {
        text.push_str(&format!(
            "  printf(\"struct {name} %lu\\n\", NUMBER(sizeof({name})));\n"
        ));
        for (_, field) in fields {
            text.push_str(&format!(
                "  printf(\"field {field} %lu %lu\\n\", NUMBER(offsetof({name}, {field})), \
                 NUMBER(sizeof((({name} *)0)->{field})));\n"
            ));
        }
    }
    text.push_str("  return 0;\n}\n");
    let directory = tempfile::tempdir().map_err(failed)?;
    let source = directory.path().join("layouts.c");
    fs::write(&source, text).map_err(failed)?;
    let program = compile(&include, &source, directory.path(), None)?;
    read_layouts(&run_quietly(&mut Command::new(program))?, structs)
}

/// What a program tells of the structs of a header, all of them and in their order, with the types that the header has.
fn read_layouts(told: &str, structs: Vec<Declared>) -> Result<Layouts, String> {
    let mut lines = told
        .lines()
        .map(|line| line.split(' ').collect::<Vec<&str>>());
    let mut next = |what: &str, name: &str| {
        let line = lines.next().unwrap_or_default();
        let numbers: Result<Vec<usize>, _> = line.iter().skip(2).map(|n| n.parse()).collect();
        match (line.get(..2), numbers) {
            (Some(begin), Ok(numbers)) if begin == [what, name] => Ok(numbers),
            _ => Err(format!(
                "the program tells {line:?} and not of the {what} {name}"
            )),
        }
    };
    let wrong = |name: &str| format!("the program tells too little of {name}");
    let mut found = Layouts::new();
    for Declared { name, fields } in structs {
        let [size] = next("struct", &name)?[..] else {
            return Err(wrong(&name));
        };
        let mut layout = Layout {
            size,
            fields: Vec::new(),
        };
        for (kind, field) in fields {
            let [offset, size] = next("field", &field)?[..] else {
                return Err(wrong(&field));
            };
            layout.fields.push(Field {
                name: field,
                kind,
                offset,
                size,
            });
        }
        found.insert(name, layout);
    }
    match lines.next() {
        None => Ok(found),
        Some(line) => Err(format!(
            "the program tells {line:?}, which the header doesn't have"
        )),
    }
}

/// Compiles a program into `directory`, with the header in `include`, and links it to `library` if there is one.
fn compile(
    include: &Path,
    source: &Path,
    directory: &Path,
    library: Option<&Path>,
) -> Result<PathBuf, String> {
    let program = directory.join("program");
    let mut command = Command::new("cc");
    command
        .args(["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror"])
        .arg("-I")
        .arg(include)
        .arg(source)
        .arg("-o")
        .arg(&program);
    if let Some(library) = library {
        // The program looks for the library by its soname, and cargo's file has the plain name.
        let link = directory.join(soname(library)?);
        symlink(library, link).map_err(|error| error.to_string())?;
        command
            .arg(library)
            .arg(format!("-Wl,-rpath,{}", directory.display()));
    }
    run_quietly(&mut command)?;
    Ok(program)
}

fn soname(library: &Path) -> Result<String, String> {
    let dynamic = run_quietly(Command::new("readelf").arg("-d").arg(library))?;
    let line = dynamic.lines().find(|line| line.contains("(SONAME)"));
    let name = line.and_then(|line| line.split(['[', ']']).nth(1));
    Ok(name.ok_or("the library has no soname")?.to_string())
}

/// What an old program would misread: of each struct of its header that the library doesn't refuse by its size, what
/// isn't as it was. A struct may have grown: by fields that begin behind the old one, padding included.
fn misread(old: &Layouts, now: &Layouts, statuses: &BTreeMap<String, i32>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, then) in old {
        if statuses.get(name) == Some(&STRUCT_SIZE) {
            continue;
        }
        let Some(present) = now.get(name) else {
            wrong.push(format!("{name} is gone"));
            continue;
        };
        if present.size < then.size {
            wrong.push(format!(
                "{name} has {} bytes, then {}",
                present.size, then.size
            ));
        }
        for (index, field) in then.fields.iter().enumerate() {
            let there = present.fields.get(index);
            if there != Some(field) {
                wrong.push(format!("{name} has {there:?}, then {field:?}"));
            }
        }
        for field in present.fields.iter().skip(then.fields.len()) {
            if field.offset < then.size {
                wrong.push(format!(
                    "{name}.{} lies in what was padding, which has any content",
                    field.name
                ));
            }
        }
    }
    wrong
}

/// The old program, linked to the present library.
struct OldProgram {
    program: PathBuf,
    _directory: TempDir,
}

impl OldProgram {
    fn new() -> Result<OldProgram, String> {
        let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
        let include = old_directory();
        let source = include.join("old_program.c");
        Ok(OldProgram {
            program: compile(&include, &source, directory.path(), Some(cdylib()?))?,
            _directory: directory,
        })
    }

    fn layouts(&self) -> Result<Layouts, String> {
        let header = fs::read_to_string(old_directory().join("bert.h"));
        let structs = structs(&header.map_err(|error| error.to_string())?)?;
        read_layouts(&run_quietly(&mut Command::new(&self.program))?, structs)
    }

    fn call(&self) -> Result<String, String> {
        run_quietly(Command::new(&self.program).arg("call"))
    }
}

fn old_program() -> Outcome {
    let program = OldProgram::new()?;
    let old = program.layouts()?;
    let told = program.call()?;
    let mut lines = told
        .lines()
        .map(|line| line.split(' ').collect::<Vec<&str>>());
    let Some(&["abi", then, now]) = lines.next().as_deref() else {
        return Err(format!("the program begins otherwise:\n{told}").into());
    };
    let mut statuses = BTreeMap::new();
    for line in lines {
        let &[name, size, status] = line.as_slice() else {
            return Err(format!("not a line of the program's: {line:?}").into());
        };
        assert_eq!(size.parse(), Ok(old[name].size), "{name}");
        let status: i32 = status.parse()?;
        if status != 0 && status != STRUCT_SIZE {
            return Err(format!("{name}_init gives the status {status}").into());
        }
        statuses.insert(name.to_string(), status);
    }
    assert_eq!((old.len(), statuses.len()), (OLD_STRUCTS, PREPARED));
    assert_eq!(then, "1");
    if then != now {
        // The program compares the two before anything else.
        return Ok(());
    }
    let wrong = misread(&old, &present_layouts()?, &statuses);
    if wrong.is_empty() {
        return Ok(());
    }
    Err(format!(
        "BERT_ABI_VERSION is still {then}, and programs of then would misread:\n{}",
        wrong.join("\n")
    )
    .into())
}

/// Each way in which a struct can change is noticed, and one that only grew isn't.
fn changes_are_noticed() -> Outcome {
    const NAME: &str = "bert_resume_report";
    let old = OldProgram::new()?.layouts()?;
    let statuses = BTreeMap::new();
    let field = |name: &str, kind: &str, offset, size| Field {
        name: name.into(),
        kind: kind.into(),
        offset,
        size,
    };
    let expected = Layout {
        size: 32,
        fields: vec![
            field("struct_size", "size_t", 0, 8),
            field("epochs", "int32_t", 8, 4),
            field("is_exact", "int32_t", 12, 4),
            field("step", "int64_t", 16, 8),
            field("total_steps", "int64_t", 24, 8),
        ],
    };
    assert_eq!(old[NAME], expected);
    let mut fields = old["bert_info"].fields.iter();
    let device = fields.find(|field| field.name == "device");
    assert_eq!(device.map(|field| field.kind.as_str()), Some("char[16]"));
    assert_eq!(misread(&old, &old, &statuses), Vec::<String>::new());

    let changed = |change: &dyn Fn(&mut Layout)| {
        let mut now = old.clone();
        change(now.get_mut(NAME).expect("the header has it"));
        misread(&old, &now, &statuses)
    };
    let changes: [&dyn Fn(&mut Layout); 6] = [
        // Two of one type that change places.
        &|now| {
            let name = std::mem::replace(&mut now.fields[1].name, "is_exact".into());
            now.fields[2].name = name;
        },
        &|now| now.fields[4].offset = 32,
        &|now| now.fields[3].kind = "double".into(),
        &|now| now.fields.truncate(4),
        &|now| now.size = 24,
        &|now| now.fields.push(field("more", "int32_t", 28, 4)),
    ];
    for (index, change) in changes.iter().enumerate() {
        let wrong = changed(*change);
        assert!(
            !wrong.is_empty() && wrong.iter().all(|line| line.contains(NAME)),
            "change {index}: {wrong:?}"
        );
    }
    let grown = changed(&|now| {
        now.size = 40;
        now.fields.push(field("more", "int64_t", 32, 8));
    });
    assert_eq!(grown, Vec::<String>::new());

    let mut now = old.clone();
    now.remove(NAME);
    assert_eq!(
        misread(&old, &now, &statuses),
        ["bert_resume_report is gone"]
    );
    // Refused by its size, it isn't read.
    let refused = BTreeMap::from([(NAME.to_string(), STRUCT_SIZE)]);
    assert_eq!(misread(&old, &now, &refused), Vec::<String>::new());
    Ok(())
}
