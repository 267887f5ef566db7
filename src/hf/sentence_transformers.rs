//! Files that sentence-transformers lays beside a model. They say how vectors are made of texts; they aren't followed,
//! but told of.

use serde_json::Value;

use super::directory::Directory;
use super::manifest::is_file_name;
use crate::log;

const MODULES: &str = "modules.json";
const TRANSFORMER: &str = "sentence_bert_config.json";
const POOLING: &str = "1_Pooling";
const CONFIG: &str = "config_sentence_transformers.json";

/// The poolings that `bert_embed` has.
const OURS: [(&str, &str); 2] = [("mean", "BERT_POOLING_MEAN"), ("cls", "BERT_POOLING_CLS")];

/// The keys of older files, one for each pooling.
const KEYS: [(&str, &str); 6] = [
    ("pooling_mode_cls_token", "cls"),
    ("pooling_mode_mean_tokens", "mean"),
    ("pooling_mode_max_tokens", "max"),
    ("pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens"),
    ("pooling_mode_weightedmean_tokens", "weightedmean"),
    ("pooling_mode_lasttoken", "lasttoken"),
];

/// A file's value, where it can be read: what is only told of doesn't keep a model from loading.
fn read(directory: &Directory, name: &str) -> Option<Value> {
    let read = directory.read(name).and_then(|bytes| {
        bytes
            .map(|bytes| super::json::from_slice(&bytes, name))
            .transpose()
    });
    read.unwrap_or_else(|error| {
        log::warning(|| {
            format!(
                "A file of sentence-transformers beside the model can't be read: {}",
                error.message()
            )
        });
        None
    })
}

/// The last part of a module's type: "Pooling" of "sentence_transformers.models.Pooling".
fn kind(module: &Value) -> Option<&str> {
    module.get("type")?.as_str()?.rsplit('.').next()
}

/// Says in one line of the log what the files ask for, and with which options `bert_embed` does it.
pub(super) fn tell(directory: &Directory) {
    let modules = read(directory, MODULES);
    let modules = modules.as_ref().and_then(Value::as_array);
    let modules = modules.map_or(&[][..], Vec::as_slice);
    let folder = modules
        .iter()
        .filter(|module| kind(module) == Some("Pooling"))
        .find_map(|module| module.get("path")?.as_str())
        .filter(|path| is_file_name(path))
        .unwrap_or(POOLING);
    let pooling = read(directory, &format!("{folder}/config.json"));
    let transformer = read(directory, TRANSFORMER);
    let config = read(directory, CONFIG);
    if modules.is_empty() && pooling.is_none() && transformer.is_none() && config.is_none() {
        return;
    }
    let mut wants = Vec::new();
    if let Some(pooling) = &pooling {
        wants.push(wanted_pooling(pooling));
    }
    if let Some(length) = transformer
        .as_ref()
        .and_then(|t| t.get("max_seq_length")?.as_u64())
    {
        wants.push(format!(
            "at most {length} tokens of a text (max_length = {length})"
        ));
    }
    if transformer
        .as_ref()
        .and_then(|t| t.get("do_lower_case")?.as_bool())
        == Some(true)
    {
        wants.push("texts in lower case, which you must give".into());
    }
    for module in modules {
        match kind(module) {
            Some("Normalize") => wants.push("vectors of length 1 (normalise = 1)".into()),
            Some("Transformer" | "Pooling") | None => {}
            Some(other) => wants.push(format!(
                "a module of type {other}, which bert_embed doesn't have"
            )),
        }
    }
    let prompts = config.as_ref().and_then(|c| c.get("prompts")?.as_object());
    if prompts.is_some_and(|prompts| prompts.values().any(|p| p.as_str() != Some(""))) {
        wants.push("a prompt before a text, which you must write".into());
    }
    let wants = if wants.is_empty() {
        "nothing that bert_embed_options could say".into()
    } else {
        wants.join("; ")
    };
    log::info(|| {
        format!(
            "Files of sentence-transformers lie beside the model. bert_embed doesn't follow them by itself; its \
             options do. They ask for: {wants}."
        )
    });
}

fn wanted_pooling(pooling: &Value) -> String {
    let is_set = |key: &str| pooling.get(key).and_then(Value::as_bool) == Some(true);
    let newer = pooling.get("pooling_mode").and_then(Value::as_str);
    let older = || {
        KEYS.iter()
            .filter(|(key, _)| is_set(key))
            .map(|(_, mode)| *mode)
    };
    let modes: Vec<&str> = match newer {
        Some(mode) => vec![mode],
        None => older().collect(),
    };
    match modes.as_slice() {
        [] => "no pooling".into(),
        [mode] => match OURS.iter().find(|(name, _)| name == mode) {
            Some((_, option)) => format!("pooling \"{mode}\" (pooling = {option})"),
            None => format!("pooling \"{mode}\", which bert_embed doesn't have"),
        },
        several => format!(
            "poolings \"{}\" one after another, which bert_embed doesn't have",
            several.join("\", \"")
        ),
    }
}
