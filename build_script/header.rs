//! The C header, from the source of the C ABI. cbindgen writes it; what it can't do is done to its text: constants of one
//! type become an enum beside a typedef of fixed width, and structs that the library fills get an initialiser.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The C ABI's files, in the order in which the header has them.
const FILES: [&str; 13] = [
    "status",
    "global",
    "handles",
    "error_object",
    "problem",
    "dataset",
    "description",
    "model",
    "thresholds",
    "adapter",
    "trainer",
    "fit_head",
    "predict",
];

/// Structs that the library fills: they can be initialised without a call.
const RESULTS: [&str; 10] = [
    "bert_info",
    "bert_step_report",
    "bert_epoch_report",
    "bert_train_report",
    "bert_resume_report",
    "bert_evaluation",
    "bert_dataset_description",
    "bert_fit_head_report",
    "bert_prediction",
    "bert_predictions",
];

/// Writes the header into `out`.
pub fn write(root: &Path, out: &Path) {
    let config =
        cbindgen::Config::from_file(root.join("cbindgen.toml")).expect("cbindgen.toml is valid");
    let mut builder = cbindgen::Builder::new().with_config(config);
    let mut source = String::new();
    for file in FILES {
        let path = root.join(format!("src/capi/{file}.rs"));
        source.push_str(&fs::read_to_string(&path).expect("the C ABI's source is readable"));
        builder = builder.with_src(path);
    }
    // A source that doesn't parse is for the compiler to report.
    if let Ok(bindings) = builder.generate() {
        let mut header = Vec::new();
        bindings.write(&mut header);
        let text = String::from_utf8(header).expect("the source is UTF-8");
        fs::write(out.join("bert.h"), for_c(&text, &source)).expect("OUT_DIR is writable");
    }
}

fn for_c(header: &str, source: &str) -> String {
    // Rust's section about pointers says in C what every C programmer expects; its heading is Rust's, so it goes.
    let header = header.replace(" * # Safety\n", " * Pointers:\n");
    // cbindgen gives the attributes a line of their own where the line would be too long.
    let header = header.replace("\nBERT_API\n", "\nBERT_API ");
    let header = header.replace(
        "BERT_API bert_status ",
        "BERT_API BERT_MUST_USE bert_status ",
    );
    let header = with_enums(&header, &types_of_constants(source));
    with_declarations_laid_out(&with_initialisers(&header, source))
}

/// The longest line of the header.
const COLUMNS: usize = 120;

/// cbindgen lays the functions out without the attributes that they have by now: each gets a line, or one for each
/// parameter where that is too long.
fn with_declarations_laid_out(header: &str) -> String {
    let mut text = String::new();
    let mut lines = header.lines();
    while let Some(line) = lines.next() {
        let mut declaration = line.to_string();
        if line.starts_with("BERT_API ") {
            while !declaration.ends_with(';') {
                let more = lines.next().expect("a declaration ends with a semicolon");
                declaration.push(' ');
                declaration.push_str(more.trim_start());
            }
            if declaration.len() > COLUMNS {
                let bracket = declaration
                    .find('(')
                    .expect("a function's name has a bracket behind it");
                let indented = format!(",\n{}", " ".repeat(bracket + 1));
                declaration = declaration.replace(", ", &indented);
            }
        }
        text.push_str(&declaration);
        text.push('\n');
    }
    text
}

/// The names of the constants that have a type of ours: `pub const BERT_OK: bert_status = 0;`.
fn types_of_constants(source: &str) -> BTreeMap<&str, &str> {
    source
        .lines()
        .filter_map(|line| line.strip_prefix("pub const "))
        .filter_map(|rest| rest.split_once(": "))
        .filter_map(|(name, rest)| Some((name, rest.split_once(" =")?.0)))
        .filter(|(_, kind)| kind.starts_with("bert_"))
        .collect()
}

/// A constant's comment, name and value.
type Constant<'a> = (Vec<&'a str>, &'a str, &'a str);

/// Puts the constants of a type into an enum behind the type's declaration.
fn with_enums(header: &str, types: &BTreeMap<&str, &str>) -> String {
    let mut constants: BTreeMap<&str, Vec<Constant<'_>>> = BTreeMap::new();
    let mut rest: Vec<&str> = Vec::new();
    for line in header.lines() {
        let define = line
            .strip_prefix("#define ")
            .and_then(|rest| rest.split_once(' '));
        let Some((name, value)) = define.filter(|(name, _)| types.contains_key(name)) else {
            rest.push(line);
            continue;
        };
        // The comment before it, and the empty line before that.
        let begin = rest
            .iter()
            .rposition(|line| line.starts_with("/**"))
            .expect("each constant has a comment");
        let comment = rest.split_off(begin);
        if rest.last() == Some(&"") {
            rest.pop();
        }
        constants
            .entry(types[name])
            .or_default()
            .push((comment, name, value));
    }
    let mut text = String::new();
    for line in rest {
        text.push_str(line);
        text.push('\n');
        let declared = line
            .strip_prefix("typedef ")
            .and_then(|rest| rest.strip_suffix(';'));
        let name = declared
            .and_then(|rest| rest.split_once(' '))
            .map(|(_, name)| name);
        let Some((name, list)) = name.and_then(|name| constants.remove_entry(name)) else {
            continue;
        };
        text.push_str(&format!("enum {name}_values {{\n"));
        for (comment, constant, value) in list {
            for line in comment {
                text.push_str(&format!("  {line}\n"));
            }
            text.push_str(&format!("  {constant} = {value},\n"));
        }
        // C99 has a comma behind the last one, C++98 hadn't.
        text.truncate(text.len() - 2);
        text.push_str("\n};\n");
    }
    assert!(
        constants.is_empty(),
        "constants of types that aren't declared: {:?}",
        constants.keys()
    );
    text
}

/// Gives each struct of [`RESULTS`] a macro with what its `_init` function writes.
fn with_initialisers(header: &str, source: &str) -> String {
    let mut text = header.to_string();
    for name in RESULTS {
        let rules = source
            .split_once(&format!("sized_struct!({name} {{\n"))
            // Of a struct that grew the sizes of its older versions come first.
            .or_else(|| source.split_once(&format!("sized_struct!({name}, older [")))
            .and_then(|(_, rest)| rest.split_once("\n});"))
            .map(|(rules, _)| rules)
            .expect("each result is declared by sized_struct!");
        let values: Vec<&str> = rules.lines().filter_map(initial_value).collect();
        let values = values.join(", ");
        let end = format!("}} {name};\n");
        let macro_name = format!("{}_INIT", name.to_uppercase());
        // A line has 120 columns at most.
        let value = format!("`{name} value = {macro_name};`");
        let is_long = name.len() > 20;
        let (gap, fold) = if is_long {
            ("\n * ", " \\\n    ")
        } else {
            (" ", " ")
        };
        let defined = format!(
            "{end}\n/**\n * Initialises a {name} without a call:{gap}{value}.\n */\n#define {macro_name} \
             {{sizeof({name}),{fold}{values}}}\n"
        );
        assert!(text.contains(&end), "the header has no struct {name}");
        text = text.replacen(&end, &defined, 1);
    }
    text
}

/// What `_init` writes into a field, from its line in `sized_struct!`; `None` for a line that goes on with the one before.
fn initial_value(line: &str) -> Option<&'static str> {
    let line = line.strip_prefix("    ")?;
    let (field, rule) = line.split_once(": ").filter(|_| !line.starts_with(' '))?;
    Some(match (field, rule) {
        // An array.
        ("device", _) => "{0}",
        // The one number that isn't 0: the model's own thresholds.
        (_, "setting(&THRESHOLD),") => "-1",
        _ => "0",
    })
}
