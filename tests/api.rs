//! `include/bert_api.json`: the C interface for machines, from which bindings can be made. It is held against the source, and
//! a change that breaks programs which are compiled already is refused unless `BERT_ABI_VERSION` is raised.
//!
//! `BERT_UPDATE_HEADER=1 cargo test --release --test api` refreshes it.

#[path = "common/mod.rs"]
mod common;

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char};
use std::fs;
use std::path::{Path, PathBuf};

use bert::capi::fields::{Field, Number, Role, Rule, Struct};
use bert::capi::*;
use common::{Outcome, trial};
use serde_json::{Map, Value, json};
use syn::{Attribute, Expr, FnArg, Item, Lit, Meta, Pat, ReturnType, Type};

fn main() {
    let arguments = libtest_mimic::Arguments::from_args();
    let always = || Ok(());
    let trials = vec![
        trial("is_what_the_source_says", always, is_current),
        trial(
            "breaking_changes_are_found",
            always,
            breaking_changes_are_found,
        ),
        trial("structs_have_no_holes", always, structs_have_no_holes),
        trial(
            "comments_name_ranges_and_defaults",
            always,
            comments_name_ranges_and_defaults,
        ),
        trial("init_writes_the_defaults", always, init_writes_the_defaults),
        trial(
            "values_outside_their_range_are_refused",
            always,
            ranges_are_refused,
        ),
    ];
    libtest_mimic::run(&arguments, trials).exit();
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn path() -> PathBuf {
    root().join("include/bert_api.json")
}

// ---- The description -------------------------------------------------------------------------------------------------

/// A constant of the C interface.
struct Constant {
    name: String,
    kind: String,
    value: i64,
    help: String,
}

/// A field of a struct.
struct SourceField {
    name: String,
    kind: String,
    comment: String,
    help: String,
}

/// What the source says.
#[derive(Default)]
struct Source {
    constants: Vec<Constant>,
    types: Vec<(String, String, String)>,
    handles: Vec<(String, String)>,
    structs: BTreeMap<String, (String, Vec<SourceField>)>,
    functions: Vec<Value>,
    callbacks: Vec<Value>,
}

impl Source {
    fn read() -> Source {
        let mut source = Source::default();
        let folder = root().join("src/capi");
        let mut files: Vec<PathBuf> = fs::read_dir(folder)
            .expect("the C ABI's source is there")
            .map(|entry| entry.expect("the folder is readable").path())
            .collect();
        files.sort();
        for file in files {
            let text = fs::read_to_string(&file).expect("the source is readable");
            for item in syn::parse_file(&text).expect("the source parses").items {
                source.take(item);
            }
        }
        source
    }

    fn take(&mut self, item: Item) {
        match item {
            Item::Const(item) if item.ident.to_string().starts_with("BERT_") => {
                // BERT_NUL_TERMINATED is the largest size_t.
                let value = whole(&item.expr).unwrap_or(-1);
                self.constants.push(Constant {
                    name: item.ident.to_string(),
                    kind: c_type(&item.ty),
                    value,
                    help: help(&item.attrs),
                });
            }
            Item::Type(item) if item.ident.to_string().starts_with("bert_") => {
                let name = item.ident.to_string();
                match callback(&item.ty) {
                    Some((parameters, returns)) => self.callbacks.push(json!({
                        "name": name,
                        "help": help(&item.attrs),
                        "parameters": parameters,
                        "returns": returns,
                    })),
                    None => self.types.push((name, c_type(&item.ty), help(&item.attrs))),
                }
            }
            Item::Struct(item) if item.ident.to_string().starts_with("bert_") => {
                let name = item.ident.to_string();
                let mut fields = Vec::new();
                for field in &item.fields {
                    fields.push(SourceField {
                        name: field.ident.as_ref().expect("fields have names").to_string(),
                        kind: c_type(&field.ty),
                        comment: all_help(&field.attrs),
                        help: help(&field.attrs),
                    });
                }
                if fields.iter().any(|field| field.name == "_private") {
                    self.handles.push((name, help(&item.attrs)));
                } else {
                    self.structs.insert(name, (help(&item.attrs), fields));
                }
            }
            Item::Fn(item)
                if item.sig.abi.is_some() && item.sig.ident.to_string().starts_with("bert_") =>
            {
                let parameters: Vec<Value> = item
                    .sig
                    .inputs
                    .iter()
                    .map(|argument| match argument {
                        FnArg::Typed(argument) => {
                            let Pat::Ident(name) = &*argument.pat else {
                                panic!("an argument has a name");
                            };
                            json!({ "name": name.ident.to_string(), "type": c_type(&argument.ty) })
                        }
                        FnArg::Receiver(_) => panic!("functions of C have no receiver"),
                    })
                    .collect();
                let returns = match &item.sig.output {
                    ReturnType::Default => "void".to_string(),
                    ReturnType::Type(_, kind) => c_type(kind),
                };
                let whole_help = all_help(&item.attrs);
                let mut statuses: Vec<&str> = whole_help
                    .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                    .filter(|word| *word == "BERT_OK" || word.starts_with("BERT_ERR_"))
                    .collect();
                statuses.sort_unstable();
                statuses.dedup();
                self.functions.push(json!({
                    "name": item.sig.ident.to_string(),
                    "help": help(&item.attrs),
                    "parameters": parameters,
                    "returns": returns,
                    "statuses": if returns == "bert_status" { statuses } else { Vec::new() },
                }));
            }
            _ => {}
        }
    }

    fn type_help(&self, name: &str) -> &str {
        self.types
            .iter()
            .find(|kind| kind.0 == name)
            .map_or("", |kind| &kind.2)
    }

    /// The name of a constant of that kind.
    fn constant_named(&self, prefix: &str, value: i128) -> Option<&str> {
        let has = |constant: &&Constant| {
            constant.name.starts_with(prefix) && i128::from(constant.value) == value
        };
        self.constants
            .iter()
            .find(has)
            .map(|constant| constant.name.as_str())
    }

    /// Constants that make up a sum.
    fn sum(&self, prefix: &str, value: i128) -> String {
        let parts: Vec<&str> = self
            .constants
            .iter()
            .filter(|constant| {
                constant.name.starts_with(prefix) && value & i128::from(constant.value) != 0
            })
            .map(|constant| constant.name.as_str())
            .collect();
        parts.join(" + ")
    }
}

fn all_help(attributes: &[Attribute]) -> String {
    let mut lines = Vec::new();
    for attribute in attributes {
        if let Meta::NameValue(meta) = &attribute.meta
            && meta.path.is_ident("doc")
            && let Expr::Lit(text) = &meta.value
            && let Lit::Str(text) = &text.lit
        {
            lines.push(text.value().trim().to_string());
        }
    }
    lines.join("\n")
}

/// The first paragraph, in one line.
fn help(attributes: &[Attribute]) -> String {
    let all = all_help(attributes);
    let first = all.split("\n\n").next().unwrap_or_default();
    first.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn whole(expression: &Expr) -> Option<i64> {
    match expression {
        Expr::Lit(literal) => match &literal.lit {
            Lit::Int(number) => number.base10_parse().ok(),
            _ => None,
        },
        Expr::Unary(unary) => whole(&unary.expr).map(|number| -number),
        _ => None,
    }
}

/// A type as C writes it.
fn c_type(kind: &Type) -> String {
    match kind {
        Type::Path(path) => {
            let name = path
                .path
                .segments
                .last()
                .expect("a path has a name")
                .ident
                .to_string();
            let c = match name.as_str() {
                "i32" => "int32_t",
                "i64" => "int64_t",
                "u8" => "uint8_t",
                "u32" => "uint32_t",
                "u64" => "uint64_t",
                "usize" => "size_t",
                "f32" => "float",
                "f64" => "double",
                "c_char" => "char",
                "c_void" => "void",
                other => other,
            };
            c.to_string()
        }
        Type::Ptr(pointer) => {
            let inner = c_type(&pointer.elem);
            let is_pointer = matches!(*pointer.elem, Type::Ptr(_));
            match (
                matches!(pointer.mutability, syn::PointerMutability::Mut(_)),
                is_pointer,
            ) {
                (false, false) => format!("const {inner} *"),
                (false, true) => format!("{inner}const *"),
                (true, false) => format!("{inner} *"),
                (true, true) => format!("{inner}*"),
            }
        }
        Type::Array(array) => format!(
            "{}[{}]",
            c_type(&array.elem),
            whole(&array.len).expect("an array has a length")
        ),
        _ => panic!("a type that C doesn't have"),
    }
}

/// The parameters and the result of an optional function.
fn callback(kind: &Type) -> Option<(Vec<Value>, String)> {
    let Type::Path(path) = kind else { return None };
    let last = path.path.segments.last()?;
    let syn::PathArguments::AngleBracketed(arguments) = &last.arguments else {
        return None;
    };
    let Some(syn::GenericArgument::Type(Type::FnPtr(function))) = arguments.args.first() else {
        return None;
    };
    let parameters = function
        .inputs
        .iter()
        .map(|argument| {
            let name = argument
                .name
                .as_ref()
                .map_or(String::new(), |(name, _)| name.to_string());
            json!({ "name": name, "type": c_type(&argument.ty) })
        })
        .collect();
    let returns = match &function.output {
        ReturnType::Default => "void".to_string(),
        ReturnType::Type(_, kind) => c_type(kind),
    };
    Some((parameters, returns))
}

fn number(number: Number) -> Value {
    match number {
        Number::Whole(number) => match i64::try_from(number) {
            Ok(number) => json!(number),
            Err(_) => json!(u64::try_from(number).expect("no number is larger")),
        },
        Number::Real(number) => json!(number),
        Number::None => Value::Null,
    }
}

fn role(rule: &Rule) -> &'static str {
    match rule.role {
        Role::Output => "output",
        Role::Reserved => "reserved",
        _ => "input",
    }
}

fn field(field: &Field, kind: &str, help: &str) -> Value {
    let mut value = json!({
        "name": field.name,
        "type": kind,
        "offset": field.offset,
        "size": field.size,
        "role": role(&field.rule),
        "help": help,
    });
    let map = value.as_object_mut().expect("an object");
    if field.rule.role != Role::Output && field.name != "struct_size" {
        map.insert("default".into(), number(field.rule.default));
        if field.rule.by_preset {
            map.insert("default_by_preset".into(), json!(true));
        }
        if field.rule.automatic {
            map.insert("automatic".into(), number(field.rule.default));
        }
        if let Some((least, most)) = field.rule.range {
            map.insert("least".into(), number(least));
            map.insert("most".into(), number(most));
        }
    }
    value
}

/// The whole interface.
fn description() -> Value {
    let source = Source::read();
    let mut enums: Vec<Value> = Vec::new();
    let mut macros: Vec<Value> = Vec::new();
    for constant in &source.constants {
        let entry =
            json!({ "name": constant.name, "value": constant.value, "help": constant.help });
        if !constant.kind.starts_with("bert_") {
            // Its size is the platform's.
            if constant.name != "BERT_NUL_TERMINATED" {
                macros.push(entry);
            }
            continue;
        }
        match enums
            .iter_mut()
            .find(|group| group["name"] == constant.kind.as_str())
        {
            Some(group) => group["values"]
                .as_array_mut()
                .expect("an array")
                .push(entry),
            None => {
                let kind = source.types.iter().find(|kind| kind.0 == constant.kind);
                let kind = &kind.expect("each constant's type is declared").1;
                enums.push(json!({
                    "name": constant.kind,
                    "type": kind,
                    "help": source.type_help(&constant.kind),
                    "values": [entry],
                }));
            }
        }
    }
    let structs: Vec<Value> = structs()
        .iter()
        .map(|described| {
            let (help, fields) = &source.structs[described.name];
            let fields: Vec<Value> = described
                .fields
                .iter()
                .zip(fields)
                .map(|(of_code, of_source)| {
                    assert_eq!(of_code.name, of_source.name, "the table of {} has another order", described.name);
                    field(of_code, &of_source.kind, &of_source.help)
                })
                .collect();
            json!({ "name": described.name, "help": help, "sizes": described.sizes, "fields": fields })
        })
        .collect();
    let handles: Vec<Value> = source
        .handles
        .iter()
        .map(|(name, help)| json!({ "name": name, "help": help }))
        .collect();
    json!({
        "abi_version": BERT_ABI_VERSION,
        "data_model": "64-bit, little or big endian: int32_t 4, int64_t, size_t, double and pointers 8 bytes",
        "handles": handles,
        "constants": macros,
        "enums": enums,
        "callbacks": source.callbacks,
        "structs": structs,
        "functions": source.functions,
    })
}

/// JSON with a line for each constant, field and function, so that a change is a line in a diff.
fn text_of(description: &Value) -> String {
    let mut text = String::from("{\n");
    let map = description.as_object().expect("an object");
    for (index, (key, value)) in map.iter().enumerate() {
        let end = if index + 1 == map.len() { "\n" } else { ",\n" };
        match value {
            Value::Array(items) => {
                text.push_str(&format!("  {}: [\n", json!(key)));
                for (index, item) in items.iter().enumerate() {
                    let end = if index + 1 == items.len() {
                        "\n"
                    } else {
                        ",\n"
                    };
                    text.push_str(&format!("    {}{end}", entry(item)));
                }
                text.push_str(&format!("  ]{end}"));
            }
            value => text.push_str(&format!("  {}: {value}{end}", json!(key))),
        }
    }
    text.push_str("}\n");
    text
}

fn entry(item: &Value) -> String {
    let map = item.as_object().expect("an object");
    let list = ["fields", "values"]
        .into_iter()
        .find(|key| map.contains_key(*key));
    let Some(list) = list else {
        return item.to_string();
    };
    let head: Map<String, Value> = map
        .iter()
        .filter(|(key, _)| *key != list)
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    let head = Value::Object(head).to_string();
    let head = head.strip_suffix('}').expect("an object");
    let lines: Vec<String> = map[list]
        .as_array()
        .expect("an array")
        .iter()
        .map(|line| format!("      {line}"))
        .collect();
    format!("{head},{}:[\n{}\n    ]}}", json!(list), lines.join(",\n"))
}

// ---- What may change -------------------------------------------------------------------------------------------------

/// Changes from `old` to `new` that break programs which are compiled already. The help may change.
fn breaking(old: &Value, new: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let list = |whole: &Value, key: &str| -> Vec<Value> {
        whole[key].as_array().cloned().unwrap_or_default()
    };
    let named =
        |items: &[Value], name: &Value| items.iter().find(|item| item["name"] == *name).cloned();
    let same = |old: &Value, new: &Value, keys: &[&str], what: &str, found: &mut Vec<String>| {
        for key in keys {
            if old[*key] != new[*key] {
                found.push(format!("{what}: {key} was {}, is {}", old[*key], new[*key]));
            }
        }
    };
    for kind in ["handles", "constants", "callbacks", "functions"] {
        let now = list(new, kind);
        for item in list(old, kind) {
            let what = format!("{kind}: {}", item["name"]);
            match named(&now, &item["name"]) {
                None => found.push(format!("{what} is gone")),
                // A version's numbers change with each version.
                Some(_)
                    if item["name"]
                        .as_str()
                        .is_some_and(|name| name.contains("_VERSION")) => {}
                Some(other) => same(
                    &item,
                    &other,
                    &["value", "parameters", "returns"],
                    &what,
                    &mut found,
                ),
            }
        }
    }
    for group in list(old, "enums") {
        let Some(other) = named(&list(new, "enums"), &group["name"]) else {
            found.push(format!("the enum {} is gone", group["name"]));
            continue;
        };
        same(
            &group,
            &other,
            &["type"],
            &format!("the enum {}", group["name"]),
            &mut found,
        );
        for value in list(&group, "values") {
            match named(&list(&other, "values"), &value["name"]) {
                None => found.push(format!("the constant {} is gone", value["name"])),
                Some(now) => same(
                    &value,
                    &now,
                    &["value"],
                    &format!("the constant {}", value["name"]),
                    &mut found,
                ),
            }
        }
    }
    for old in list(old, "structs") {
        let Some(new) = named(&list(new, "structs"), &old["name"]) else {
            found.push(format!("the struct {} is gone", old["name"]));
            continue;
        };
        let now = list(&new, "fields");
        for (index, field) in list(&old, "fields").iter().enumerate() {
            let what = format!("field {} of {}", field["name"], old["name"]);
            match now.get(index) {
                Some(other) if other["name"] == field["name"] => {
                    same(
                        field,
                        other,
                        &["type", "offset", "size", "role"],
                        &what,
                        &mut found,
                    );
                    if let Some(change) = narrowed(field, other) {
                        found.push(format!("{what}: {change}"));
                    }
                }
                // What was reserved may become something, whose value 0 means what it meant.
                Some(other) if field["role"] == "reserved" => {
                    same(
                        field,
                        other,
                        &["offset", "size", "default"],
                        &what,
                        &mut found,
                    );
                }
                _ => found.push(format!("{what} isn't field {index} any more")),
            }
        }
        for size in list(&old, "sizes") {
            if !list(&new, "sizes").contains(&size) {
                found.push(format!(
                    "the size {size} of {} isn't accepted any more",
                    old["name"]
                ));
            }
        }
    }
    found
}

/// Why a field's range or default can't become another. A range may grow. A default may become a value that was refused
/// before: no program has set it, so that it can mean "automatic".
fn narrowed(old: &Value, new: &Value) -> Option<String> {
    let number = |field: &Value, key: &str, missing: f64| field[key].as_f64().unwrap_or(missing);
    let range = |field: &Value| {
        (
            number(field, "least", f64::NEG_INFINITY),
            number(field, "most", f64::INFINITY),
        )
    };
    let ((least, most), (new_least, new_most)) = (range(old), range(new));
    if new_least > least || new_most < most {
        return Some(format!(
            "the range was {least} to {most}, is {new_least} to {new_most}"
        ));
    }
    let default = number(new, "default", f64::NAN);
    if old["default"] != new["default"] && !(default < least || default > most) {
        return Some(format!(
            "default was {}, is {}",
            old["default"], new["default"]
        ));
    }
    None
}

fn is_current() -> Outcome {
    let new = description();
    let text = text_of(&new);
    let old = fs::read_to_string(path()).unwrap_or_default();
    if old == text {
        return Ok(());
    }
    // Both as they are read: a number's last digit may change on the way.
    if let (Ok(old), Ok(new)) = (
        serde_json::from_str::<Value>(&old),
        serde_json::from_str::<Value>(&text),
    ) {
        let broken = breaking(&old, &new);
        if !broken.is_empty() && old["abi_version"] == new["abi_version"] {
            return Err(format!(
                "The C interface changed in a way that breaks programs which are compiled already. Raise BERT_ABI_VERSION \
                 (src/capi/global.rs), or add at the end only:\n{}",
                broken.join("\n")
            )
            .into());
        }
    }
    if std::env::var_os("BERT_UPDATE_HEADER").is_some_and(|value| value == "1") {
        fs::write(path(), text).map_err(|error| error.to_string())?;
        return Ok(());
    }
    let differs = old.lines().zip(text.lines()).find(|(old, new)| old != new);
    Err(format!(
        "include/bert_api.json isn't what the source says; refresh it with `BERT_UPDATE_HEADER=1 cargo test --release --test \
         api`. The first line that differs: {differs:?}"
    )
    .into())
}

/// The rule above finds what it is for.
fn breaking_changes_are_found() -> Outcome {
    let old = description();
    assert_eq!(breaking(&old, &old), Vec::<String>::new());
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut new = old.clone();
        change(&mut new);
        breaking(&old, &new)
    };
    fn structure<'a>(api: &'a mut Value, name: &str) -> &'a mut Value {
        let all = api["structs"].as_array_mut().expect("an array");
        all.iter_mut()
            .find(|s| s["name"] == name)
            .expect("it is there")
    }
    // A field that is inserted moves those behind it.
    let inserted = changed(&|api| {
        let fields = structure(api, "bert_predict_options")["fields"]
            .as_array_mut()
            .expect("an array");
        let mut new = fields[2].clone();
        new["name"] = json!("inserted");
        fields.insert(2, new);
    });
    assert!(
        inserted.iter().any(|line| line.contains("long_text")),
        "{inserted:?}"
    );
    // One at the end, with the older size still known, breaks nothing.
    let appended = changed(&|api| {
        let one = structure(api, "bert_embed_options");
        let mut new = one["fields"][1].clone();
        new["name"] = json!("appended");
        new["offset"] = json!(40);
        one["fields"].as_array_mut().expect("an array").push(new);
        one["sizes"]
            .as_array_mut()
            .expect("an array")
            .push(json!(48));
    });
    assert_eq!(appended, Vec::<String>::new());
    let forgotten = changed(&|api| structure(api, "bert_embed_options")["sizes"] = json!([48]));
    assert_eq!(forgotten.len(), 2, "{forgotten:?}");
    // A reserved field may become an option.
    let used = changed(&|api| {
        let fields = structure(api, "bert_load_options")["fields"]
            .as_array_mut()
            .expect("an array");
        let reserved = fields
            .iter_mut()
            .find(|field| field["role"] == "reserved")
            .expect("it has one");
        reserved["name"] = json!("used");
        reserved["role"] = json!("input");
    });
    assert_eq!(used, Vec::<String>::new());
    let renumbered = changed(&|api| api["enums"][0]["values"][0]["value"] = json!(77));
    assert_eq!(renumbered.len(), 1, "{renumbered:?}");
    let narrowed =
        changed(&|api| structure(api, "bert_train_options")["fields"][2]["most"] = json!(10));
    assert_eq!(narrowed.len(), 1, "{narrowed:?}");
    // A wider range breaks nothing, nor does a default that was refused before.
    let with = |least: f64, default: f64| {
        changed(&|api| {
            let field = &mut structure(api, "bert_train_options")["fields"][6];
            assert_eq!(field["name"], "learning_rate");
            field["least"] = json!(least);
            field["default"] = json!(default);
        })
    };
    assert_eq!(with(-7.0, -7.0), Vec::<String>::new());
    assert_eq!(with(-7.0, 0.5).len(), 1);
    let dropped = changed(&|api| {
        api["functions"].as_array_mut().expect("an array").remove(0);
    });
    assert_eq!(dropped.len(), 1, "{dropped:?}");
    let parameter = changed(&|api| api["functions"][5]["parameters"] = json!([]));
    assert_eq!(parameter.len(), 1, "{parameter:?}");
    let help = changed(&|api| api["functions"][5]["help"] = json!("in other words"));
    assert_eq!(help, Vec::<String>::new());
    Ok(())
}

// ---- Fields ----------------------------------------------------------------------------------------------------------

/// No struct has bytes that belong to no field: a field that is added later would be invisible to struct_size there.
fn structs_have_no_holes() -> Outcome {
    let all = structs();
    assert!(all.len() >= 16);
    for described in all {
        let mut end = 0;
        for field in &described.fields {
            assert_eq!(
                field.offset, end,
                "there is a hole before {} of {}",
                field.name, described.name
            );
            end += field.size;
        }
        assert_eq!(
            described.sizes.last(),
            Some(&end),
            "there is a hole at the end of {}",
            described.name
        );
    }
    Ok(())
}

/// What a field's comment must say of its range and default; `None` where it needn't say anything.
fn wanted_comment(source: &Source, is_options: bool, rule: &Rule) -> Option<String> {
    let default = |text: String| match rule.by_preset {
        true => "Set by the preset.".to_string(),
        false => format!("Default {text}."),
    };
    Some(match rule.role {
        Role::Output => return None,
        Role::Reserved => "Must be 0.".into(),
        Role::Flag if rule.by_preset => "Set by the preset.".into(),
        Role::Flag => format!("0 or 1. {}", default(rule.default.to_string())),
        Role::Constant(prefix) => {
            let Number::Whole(value) = rule.default else {
                return None;
            };
            default(source.constant_named(prefix, value)?.to_string())
        }
        Role::Flags(prefix) => {
            let Number::Whole(value) = rule.default else {
                return None;
            };
            default(source.sum(prefix, value))
        }
        Role::Any if rule.default == Number::None && !is_options => return None,
        Role::Any if !is_options => return None,
        Role::Any => default(rule.default.to_string()),
        Role::Ranged => {
            let (least, most) = rule.range?;
            let is_open = [i128::from(i32::MAX), i128::from(i64::MAX)]
                .map(Number::Whole)
                .contains(&most);
            if rule.automatic {
                return Some(format!(
                    "-1 (automatic) or {least} to {most}. Default {}.",
                    rule.default
                ));
            }
            let range = match is_open {
                true => format!("At least {least}."),
                false => format!("Range {least} to {most}."),
            };
            format!("{range} {}", default(rule.default.to_string()))
        }
    })
}

fn comments_name_ranges_and_defaults() -> Outcome {
    let source = Source::read();
    let mut wrong = Vec::new();
    for described in structs() {
        let is_options = described.name.ends_with("_options");
        let fields = &source.structs[described.name].1;
        for (field, of_source) in described.fields.iter().zip(fields).skip(1) {
            let Some(wanted) = wanted_comment(&source, is_options, &field.rule) else {
                continue;
            };
            let comment = of_source.comment.replace('\n', " ");
            if !comment.contains(&wanted) {
                wrong.push(format!(
                    "{}.{}: \"{wanted}\" isn't in its comment: {comment}",
                    described.name, of_source.name
                ));
            }
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    Err(wrong.join("\n").into())
}

/// A struct's bytes, aligned as every struct of the C interface.
#[repr(align(8))]
#[derive(Clone, Copy)]
struct Bytes([u8; 1024]);

impl Bytes {
    fn pointer<T>(&mut self) -> *mut T {
        std::ptr::from_mut(&mut self.0).cast()
    }

    fn set(&mut self, field: &Field, number: Number) {
        let at = &mut self.0[field.offset..field.offset + field.size];
        match (number, field.size) {
            (Number::Whole(number), 4) => at.copy_from_slice(&(number as i32).to_ne_bytes()),
            (Number::Whole(number), 8) => at.copy_from_slice(&(number as i64).to_ne_bytes()),
            (Number::Real(number), 8) => at.copy_from_slice(&number.to_ne_bytes()),
            (number, size) => panic!("{number:?} isn't written into {size} bytes"),
        }
    }

    fn get(&self, field: &Field) -> Number {
        let at = &self.0[field.offset..field.offset + field.size];
        match (field.rule.default, field.size) {
            (Number::Real(_), 8) => {
                Number::Real(f64::from_ne_bytes(at.try_into().expect("8 bytes")))
            }
            (Number::Whole(_), 4) => {
                Number::Whole(i32::from_ne_bytes(at.try_into().expect("4 bytes")).into())
            }
            (Number::Whole(_), 8) => {
                Number::Whole(i64::from_ne_bytes(at.try_into().expect("8 bytes")).into())
            }
            _ => {
                assert!(
                    at.iter().all(|byte| *byte == 0),
                    "{} isn't NULL",
                    field.name
                );
                Number::None
            }
        }
    }
}

/// A struct with the defaults, as its `_init` function writes them.
fn initialised(described: &Struct) -> Bytes {
    let size = *described.sizes.last().expect("a struct has a size");
    let mut bytes = Bytes([0xa5; 1024]);
    // SAFETY: there is room for every struct.
    let status = unsafe {
        match described.name {
            "bert_model_options" => {
                bert_model_options_init(bytes.pointer(), size, BERT_PRESET_COMPACT)
            }
            "bert_load_options" => bert_load_options_init(bytes.pointer(), size),
            "bert_info" => bert_info_init(bytes.pointer(), size),
            "bert_lora_options" => bert_lora_options_init(bytes.pointer(), size),
            "bert_read_options" => bert_read_options_init(bytes.pointer(), size),
            "bert_dataset_description" => bert_dataset_description_init(bytes.pointer(), size),
            "bert_train_options" => bert_train_options_init(bytes.pointer(), size),
            "bert_step_report" => bert_step_report_init(bytes.pointer(), size),
            "bert_epoch_report" => bert_epoch_report_init(bytes.pointer(), size),
            "bert_train_report" => bert_train_report_init(bytes.pointer(), size),
            "bert_resume_report" => bert_resume_report_init(bytes.pointer(), size),
            "bert_evaluation" => bert_evaluation_init(bytes.pointer(), size),
            "bert_evaluate_options" => bert_evaluate_options_init(bytes.pointer(), size),
            "bert_fit_head_options" => bert_fit_head_options_init(bytes.pointer(), size),
            "bert_fit_head_report" => bert_fit_head_report_init(bytes.pointer(), size),
            "bert_predict_options" => bert_predict_options_init(bytes.pointer(), size),
            "bert_prediction" => bert_prediction_init(bytes.pointer(), size),
            "bert_predictions" => bert_predictions_init(bytes.pointer(), size),
            "bert_embed_options" => bert_embed_options_init(bytes.pointer(), size),
            other => panic!("{other} isn't in the table of this test"),
        }
    };
    assert_eq!(status, BERT_OK);
    bytes
}

/// Structs that a caller has; bert_progress is the library's.
fn callers() -> impl Iterator<Item = Struct> {
    structs()
        .into_iter()
        .filter(|described| described.name != "bert_progress")
}

fn init_writes_the_defaults() -> Outcome {
    let mut count = 0;
    for described in callers() {
        let bytes = initialised(&described);
        for field in &described.fields {
            let expected = match field.rule.role {
                Role::Output => continue,
                _ => field.rule.default,
            };
            assert_eq!(
                bytes.get(field),
                expected,
                "{} of {}",
                field.name,
                described.name
            );
            count += 1;
        }
    }
    assert!(count > 100, "only {count} fields have a default");
    Ok(())
}

/// What the calls below work on.
struct World {
    model: *mut bert_model,
    data: *mut bert_dataset,
    file: CString,
    folder: CString,
}

impl World {
    /// Calls the function that takes these options.
    fn call(&self, name: &str, bytes: &mut Bytes) -> bert_status {
        let (mut model, mut data, mut trainer) = (
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            std::ptr::null_mut(),
        );
        let text = c"a great film".as_ptr();
        let texts: [*const c_char; 1] = [text];
        let named = |name: &str| structs().into_iter().find(|s| s.name == name);
        let mut prediction = initialised(&named("bert_prediction").expect("it is there"));
        let mut evaluation = initialised(&named("bert_evaluation").expect("it is there"));
        let mut vector = [0f32; 128];
        // SAFETY: each call gets what its comment asks for.
        unsafe {
            let status = match name {
                "bert_model_options" => bert_create(bytes.pointer(), self.data, &mut model),
                "bert_load_options" => bert_load(self.folder.as_ptr(), bytes.pointer(), &mut model),
                "bert_lora_options" => bert_add_lora(self.model, bytes.pointer(), &mut model),
                "bert_read_options" => {
                    bert_dataset_read(self.file.as_ptr(), bytes.pointer(), &mut data)
                }
                "bert_train_options" => bert_trainer_create(
                    self.model,
                    self.data,
                    std::ptr::null(),
                    bytes.pointer(),
                    &mut trainer,
                ),
                "bert_fit_head_options" => {
                    bert_fit_head(self.model, self.data, bytes.pointer(), std::ptr::null_mut())
                }
                "bert_evaluation" => bert_evaluate(self.model, self.data, 0, bytes.pointer()),
                "bert_evaluate_options" => {
                    bert_evaluate_with(self.model, self.data, bytes.pointer(), evaluation.pointer())
                }
                "bert_predict_options" => bert_predict(
                    self.model,
                    text,
                    BERT_NUL_TERMINATED,
                    std::ptr::null(),
                    0,
                    bytes.pointer(),
                    prediction.pointer(),
                ),
                "bert_embed_options" => bert_embed(
                    self.model,
                    1,
                    texts.as_ptr(),
                    std::ptr::null(),
                    std::ptr::null(),
                    std::ptr::null(),
                    bytes.pointer(),
                    vector.as_mut_ptr(),
                    vector.len(),
                ),
                other => panic!("{other} isn't in the table of this test"),
            };
            bert_free(model);
            bert_dataset_free(data);
            bert_trainer_free(trainer);
            status
        }
    }
}

/// The numbers next to a range, outside of it.
fn outside(field: &Field) -> Vec<Number> {
    let Some((least, most)) = field.rule.range else {
        return Vec::new();
    };
    let fits = |number: i128| match field.size {
        4 => i32::try_from(number).is_ok(),
        _ => i64::try_from(number).is_ok(),
    };
    match (least, most) {
        (Number::Real(least), Number::Real(most)) => {
            [least.next_down(), most.next_up(), f64::NAN, f64::INFINITY]
                .map(Number::Real)
                .to_vec()
        }
        (Number::Whole(least), Number::Whole(most)) => {
            let next = [least - 1, most + 1];
            next.into_iter()
                .filter(|number| fits(*number))
                .map(Number::Whole)
                .collect()
        }
        other => panic!("{other:?} is no range"),
    }
}

fn ranges_are_refused() -> Outcome {
    let scratch = tempfile::tempdir().map_err(|error| error.to_string())?;
    let c_path = |name: &str| {
        CString::new(
            scratch
                .path()
                .join(name)
                .into_os_string()
                .into_encoded_bytes(),
        )
        .expect("no NUL")
    };
    let file = scratch.path().join("data.tsv");
    fs::write(&file, "a great film\tpositive\na dull film\tnegative\n")
        .map_err(|error| error.to_string())?;
    let mut world = World {
        model: std::ptr::null_mut(),
        data: std::ptr::null_mut(),
        file: c_path("data.tsv"),
        folder: c_path("model"),
    };
    let mut error: *mut bert_error = std::ptr::null_mut();
    // SAFETY: each call gets what its comment asks for.
    unsafe {
        assert_eq!(bert_dataset_toy(BERT_TOY_TRAIN, &mut world.data), BERT_OK);
        assert_eq!(
            bert_create(std::ptr::null(), world.data, &mut world.model),
            BERT_OK
        );
        assert_eq!(bert_save(world.model, world.folder.as_ptr()), BERT_OK);
        assert_eq!(bert_error_create(&mut error), BERT_OK);
        assert_eq!(bert_error_bind(error), BERT_OK);
    }
    let mut count = 0;
    for described in callers() {
        let ranged = |field: &&Field| !outside(field).is_empty();
        if !described.fields.iter().any(|field| ranged(&field))
            || described.name == "bert_prediction"
        {
            continue;
        }
        if described
            .fields
            .iter()
            .all(|field| field.rule.role == Role::Output || outside(field).is_empty())
        {
            continue;
        }
        let right = initialised(&described);
        let is_result = described
            .fields
            .iter()
            .skip(1)
            .any(|field| field.rule.role == Role::Output);
        if is_result && described.name != "bert_evaluation" {
            continue;
        }
        assert_eq!(
            world.call(described.name, &mut right.clone()),
            BERT_OK,
            "{}",
            described.name
        );
        for field in described.fields.iter().filter(ranged) {
            for wrong in outside(field) {
                let mut bytes = right;
                bytes.set(field, wrong);
                let status = world.call(described.name, &mut bytes);
                let what = format!("{} = {wrong:?} of {}", field.name, described.name);
                assert_eq!(status, BERT_ERR_INVALID_ARGUMENT, "{what}");
                // SAFETY: both texts are valid until the object stores another error.
                let (message, argument) = unsafe {
                    (
                        CStr::from_ptr(bert_error_message(error)),
                        CStr::from_ptr(bert_error_argument(error)),
                    )
                };
                assert_eq!(argument.to_str(), Ok(field.name), "{what}: {message:?}");
                assert!(
                    message.to_string_lossy().contains(field.name),
                    "{what}: {message:?}"
                );
                count += 1;
            }
        }
    }
    bert_error_free(error);
    bert_free(world.model);
    bert_dataset_free(world.data);
    assert!(count > 100, "only {count} values were tried");
    Ok(())
}
