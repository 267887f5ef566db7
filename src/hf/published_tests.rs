//! Model directories as others publish them: the names of each class, each type of numbers, each kind of file, either
//! kind of vocabulary.

use std::fs;
use std::path::Path;

use half::{bf16, f16};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::directory::{
    CONFIG, STATE_DICT, STATE_DICT_INDEX, TOKENIZER, TOKENIZER_CONFIG, VOCABULARY, WEIGHTS,
    WEIGHTS_INDEX,
};
use super::pickle::tests::{Zip, dict, tensor_of, zip};
use super::{LabelChoice, LoadOptions};
use crate::classifier::{Classifier, CreateOptions};
use crate::data::{Dataset, Labels};
use crate::error::{Error, Result};
use crate::model::{BertConfig, ParameterSpec, Preset};
use crate::problem::ProblemType;
use crate::text::{TokenizerKind, TokenizerOptions};

/// How the numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Numbers {
    F32,
    F16,
    BF16,
    I64,
}

impl Numbers {
    const FLOATS: [Numbers; 3] = [Numbers::F32, Numbers::F16, Numbers::BF16];

    fn safetensors(self) -> safetensors::Dtype {
        match self {
            Numbers::F32 => safetensors::Dtype::F32,
            Numbers::F16 => safetensors::Dtype::F16,
            Numbers::BF16 => safetensors::Dtype::BF16,
            Numbers::I64 => safetensors::Dtype::I64,
        }
    }

    fn storage(self) -> &'static str {
        match self {
            Numbers::F32 => "FloatStorage",
            Numbers::F16 => "HalfStorage",
            Numbers::BF16 => "BFloat16Storage",
            Numbers::I64 => "LongStorage",
        }
    }

    fn bytes(self, values: &[f32]) -> Vec<u8> {
        let of = |&x: &f32| match self {
            Numbers::F32 => x.to_le_bytes().to_vec(),
            Numbers::F16 => f16::from_f32(x).to_le_bytes().to_vec(),
            Numbers::BF16 => bf16::from_f32(x).to_le_bytes().to_vec(),
            Numbers::I64 => (x as i64).to_le_bytes().to_vec(),
        };
        values.iter().flat_map(of).collect()
    }

    /// What is left of a value.
    fn rounded(self, x: f32) -> f32 {
        match self {
            Numbers::F16 => f16::from_f32(x).to_f32(),
            Numbers::BF16 => bf16::from_f32(x).to_f32(),
            Numbers::F32 | Numbers::I64 => x,
        }
    }
}

/// The files that hold the weights.
#[derive(Debug, Clone, Copy)]
enum Files {
    One,
    Shards,
    StateDict,
    StateDictShards,
}

const FILES: [Files; 4] = [
    Files::One,
    Files::Shards,
    Files::StateDict,
    Files::StateDictShards,
];

/// The class that was saved, with what its names have of their own.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Class {
    /// No prefix, `gamma` and `beta`, an int64 buffer: as the oldest files have it.
    Model,
    PreTraining,
    /// No pooler.
    MaskedLM,
    SequenceClassification,
}

/// A tensor in a file.
struct Stored {
    name: String,
    shape: Vec<usize>,
    numbers: Numbers,
    values: Vec<f32>,
}

/// A value that tells of which parameter and of which place it is.
fn value(parameter: usize, place: usize) -> f32 {
    (0.1 * (0.37 * place as f64 + parameter as f64).sin()) as f32
}

fn values(parameter: usize, spec: &ParameterSpec) -> Vec<f32> {
    (0..spec.len())
        .map(|place| value(parameter, place))
        .collect()
}

/// A small classifier, for its tokenizer, its parameters' names and its config.json.
fn small(problem_type: ProblemType) -> Classifier {
    let options = CreateOptions {
        config: BertConfig {
            hidden_size: 8,
            num_hidden_layers: 2,
            num_attention_heads: 2,
            intermediate_size: 12,
            max_position_embeddings: 16,
            ..Preset::Tiny.config()
        },
        tokenizer: TokenizerOptions {
            kind: TokenizerKind::WordPiece,
            ..TokenizerOptions::default()
        },
        fits_positions: false,
        ..CreateOptions::preset(Preset::Tiny)
    };
    let mut classifier = Classifier::create(&options, &Dataset::toy_train()).unwrap();
    if problem_type != ProblemType::SingleLabel {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("model");
        classifier.save(&path).unwrap();
        let options = LoadOptions {
            problem_type: Some(problem_type),
            ..LoadOptions::default()
        };
        classifier = Classifier::load(&path, &options).unwrap();
    }
    classifier
}

impl Class {
    const ALL: [Class; 4] = [
        Class::Model,
        Class::PreTraining,
        Class::MaskedLM,
        Class::SequenceClassification,
    ];

    /// Whether the class has the parameter.
    fn has(self, name: &str) -> bool {
        match self {
            Class::SequenceClassification => true,
            Class::MaskedLM => !name.starts_with("classifier.") && !name.contains(".pooler."),
            Class::Model | Class::PreTraining => !name.starts_with("classifier."),
        }
    }

    /// Tensors beyond those of BertForSequenceClassification.
    fn others(self) -> &'static [(&'static str, Numbers)] {
        match self {
            Class::Model => &[("embeddings.position_ids", Numbers::I64)],
            Class::PreTraining => &[
                ("bert.embeddings.position_ids", Numbers::I64),
                ("cls.predictions.bias", Numbers::F32),
                ("cls.seq_relationship.weight", Numbers::F32),
            ],
            Class::MaskedLM => &[
                ("cls.predictions.bias", Numbers::F32),
                ("cls.predictions.transform.LayerNorm.gamma", Numbers::F32),
            ],
            Class::SequenceClassification => &[],
        }
    }

    fn name(self, name: &str) -> String {
        if self != Class::Model {
            return name.into();
        }
        name.trim_start_matches("bert.")
            .replace("LayerNorm.weight", "LayerNorm.gamma")
            .replace("LayerNorm.bias", "LayerNorm.beta")
    }

    fn tensors(self, specs: &[ParameterSpec], numbers: Numbers) -> Vec<Stored> {
        let own = specs
            .iter()
            .enumerate()
            .filter(|(_, spec)| self.has(&spec.name))
            .map(|(index, spec)| Stored {
                name: self.name(&spec.name),
                shape: spec.shape.clone(),
                numbers,
                values: values(index, spec),
            });
        let others = self.others().iter().map(|&(name, numbers)| Stored {
            name: name.into(),
            shape: vec![1, 3],
            numbers,
            values: vec![0.0, 1.0, 2.0],
        });
        own.chain(others).collect()
    }
}

fn write_safetensors(path: &Path, tensors: &[Stored]) {
    let bytes: Vec<Vec<u8>> = tensors
        .iter()
        .map(|tensor| tensor.numbers.bytes(&tensor.values))
        .collect();
    let views = tensors.iter().zip(&bytes).map(|(tensor, bytes)| {
        let dtype = tensor.numbers.safetensors();
        let view = safetensors::tensor::TensorView::new(dtype, tensor.shape.clone(), bytes);
        (&tensor.name, view.unwrap())
    });
    safetensors::serialize_to_file(views, None, path).unwrap();
}

fn write_state_dict(path: &Path, tensors: &[Stored]) {
    let mut items = Vec::new();
    let mut storages = Vec::new();
    for (number, tensor) in tensors.iter().enumerate() {
        let shape: Vec<i64> = tensor.shape.iter().map(|&n| n as i64).collect();
        let strides: Vec<i64> = (1..=shape.len())
            .map(|from| shape[from..].iter().product())
            .collect();
        let (key, count) = (number.to_string(), tensor.values.len() as i64);
        let storage = tensor.numbers.storage();
        let pickled = tensor_of(storage, &key, count, 0, &shape, &strides);
        items.push((tensor.name.as_str(), pickled));
        let bytes = tensor.numbers.bytes(&tensor.values);
        storages.push((format!("archive/data/{number}"), bytes));
    }
    let pickle = dict(&items);
    let mut entries = vec![("archive/data.pkl", pickle.as_slice())];
    entries.extend(
        storages
            .iter()
            .map(|(name, b)| (name.as_str(), b.as_slice())),
    );
    fs::write(path, zip(&entries, Zip::Plain)).unwrap();
}

/// Three files and the index that names them.
fn write_shards(
    directory: &Path,
    tensors: &[Stored],
    (index, prefix, suffix): (&str, &str, &str),
    write: fn(&Path, &[Stored]),
) {
    let mut map = serde_json::Map::new();
    for (number, part) in tensors.chunks(tensors.len().div_ceil(3)).enumerate() {
        let name = format!("{prefix}-{:05}-of-00003.{suffix}", number + 1);
        write(&directory.join(&name), part);
        map.extend(part.iter().map(|t| (t.name.clone(), json!(name))));
    }
    let index_json = json!({"metadata": {"total_size": 1}, "weight_map": map});
    fs::write(directory.join(index), index_json.to_string()).unwrap();
}

fn write_weights(directory: &Path, tensors: &[Stored], files: Files) {
    match files {
        Files::One => write_safetensors(&directory.join(WEIGHTS), tensors),
        Files::StateDict => write_state_dict(&directory.join(STATE_DICT), tensors),
        Files::Shards => {
            let names = (WEIGHTS_INDEX, "model", "safetensors");
            write_shards(directory, tensors, names, write_safetensors);
        }
        Files::StateDictShards => {
            let names = (STATE_DICT_INDEX, "pytorch_model", "bin");
            write_shards(directory, tensors, names, write_state_dict);
        }
    }
}

fn write_index(directory: &Path, index: &Value) {
    fs::write(directory.join(WEIGHTS_INDEX), index.to_string()).unwrap();
}

/// config.json without what tells that this library wrote it; `change` does the rest.
fn write_config(
    directory: &Path,
    model: &Classifier,
    change: impl FnOnce(&mut serde_json::Map<String, Value>),
) {
    let mut config: Value = serde_json::from_str(&super::config_json(model).unwrap()).unwrap();
    let object = config.as_object_mut().unwrap();
    object.remove(super::config::VERSION_KEY);
    change(object);
    fs::write(directory.join(CONFIG), config.to_string()).unwrap();
}

/// As the class's own config.json is: the head's labels with the head alone.
fn write_config_of(directory: &Path, model: &Classifier, class: Class) {
    write_config(directory, model, |object| {
        if class != Class::SequenceClassification {
            for key in ["id2label", "label2id", "problem_type"] {
                object.remove(key);
            }
        }
    });
}

fn write_tokenizer(directory: &Path, model: &Classifier) {
    fs::write(
        directory.join(TOKENIZER),
        model.tokenizer().to_json().unwrap(),
    )
    .unwrap();
}

/// A directory of that class.
fn published(model: &Classifier, class: Class, numbers: Numbers, files: Files) -> TempDir {
    let directory = TempDir::new().unwrap();
    write_config_of(directory.path(), model, class);
    write_tokenizer(directory.path(), model);
    let tensors = class.tensors(&model.model().table.specs, numbers);
    write_weights(directory.path(), &tensors, files);
    directory
}

fn load(directory: &TempDir) -> Result<Classifier> {
    Classifier::load(directory.path(), &LoadOptions::default())
}

fn assert_refused(directory: &TempDir, words: &[&str]) {
    let error = load(directory).unwrap_err();
    for word in words {
        assert!(error.message().contains(word), "{word}: {error}");
    }
}

#[test]
fn every_class_type_and_kind_of_file_gives_its_values() {
    let model = small(ProblemType::SingleLabel);
    let specs = &model.model().table.specs;
    for class in Class::ALL {
        for numbers in Numbers::FLOATS {
            for files in FILES {
                let what = format!("{class:?} {numbers:?} {files:?}");
                let loaded = load(&published(&model, class, numbers, files)).unwrap();
                let parameters = loaded.parameters();
                let got = parameters.host().unwrap();
                let origins = loaded.origins();
                for (index, spec) in specs.iter().enumerate() {
                    let is_there = class.has(&spec.name);
                    let list = if is_there {
                        let want = values(index, spec);
                        let want: Vec<f32> = want.iter().map(|&x| numbers.rounded(x)).collect();
                        assert_eq!(got[index].as_slice(), want, "{what}: {}", spec.name);
                        &origins.loaded
                    } else {
                        &origins.initialised
                    };
                    assert!(list.contains(&spec.name), "{what}: {}", spec.name);
                }
                let count = origins.loaded.len() + origins.initialised.len();
                assert_eq!(count, specs.len(), "{what}");
                let mut others: Vec<&str> = class.others().iter().map(|other| other.0).collect();
                others.sort_unstable();
                assert_eq!(origins.ignored, others, "{what}");
                assert_eq!(loaded.model().config, model.model().config, "{what}");
                let names = match class {
                    Class::SequenceClassification => ["negative", "positive"],
                    _ => ["LABEL_0", "LABEL_1"],
                };
                assert_eq!(loaded.labels().names(), names, "{what}");
            }
        }
    }
}

#[test]
fn a_head_is_kept_with_its_labels_and_its_problem_unless_others_are_asked_for() {
    for problem in ProblemType::ALL {
        let model = small(problem);
        let specs = &model.model().table.specs;
        let class = Class::SequenceClassification;
        let directory = published(&model, class, Numbers::F16, Files::One);
        let loaded = load(&directory).unwrap();
        assert_eq!(loaded.model().config.problem_type, problem);
        assert_eq!(loaded.labels().names(), ["negative", "positive"]);
        assert_eq!(loaded.origins().loaded.len(), specs.len());

        let other = ProblemType::ALL.into_iter().find(|&other| other != problem);
        let three = Labels::from_names(["a", "b", "c"].map(String::from).to_vec()).unwrap();
        let asked = [
            LoadOptions {
                problem_type: other,
                ..LoadOptions::default()
            },
            LoadOptions {
                labels: LabelChoice::Names(three),
                ..LoadOptions::default()
            },
        ];
        for (options, count) in asked.into_iter().zip([2, 3]) {
            let loaded = Classifier::load(directory.path(), &options).unwrap();
            let origins = loaded.origins();
            assert_eq!(
                origins.initialised,
                ["classifier.weight", "classifier.bias"]
            );
            assert_eq!(origins.ignored, ["classifier.bias", "classifier.weight"]);
            assert_eq!(loaded.labels().len(), count);
            let want = options.problem_type.unwrap_or(problem);
            assert_eq!(loaded.model().config.problem_type, want);
        }
    }
}

/// Labels are sorted by their numbers, not by the texts that JSON has for keys.
#[test]
fn labels_are_sorted_by_number() {
    let model = small(ProblemType::SingleLabel);
    let directory = published(&model, Class::MaskedLM, Numbers::F32, Files::One);
    let names: Vec<String> = (0..11).map(|id| format!("name {id}")).collect();
    write_config(directory.path(), &model, |object| {
        let mut labels: Vec<(String, Value)> = names
            .iter()
            .enumerate()
            .map(|(id, name)| (id.to_string(), json!(name)))
            .collect();
        labels.sort_by(|a, b| a.0.cmp(&b.0));
        assert_eq!(labels[2].0, "10");
        object.insert(
            "id2label".into(),
            Value::Object(labels.into_iter().collect()),
        );
    });
    assert_eq!(load(&directory).unwrap().labels().names(), names);
}

#[test]
fn an_index_leads_nowhere_but_to_files_beside_it() {
    let model = small(ProblemType::SingleLabel);
    let class = Class::SequenceClassification;
    let directory = published(&model, class, Numbers::F32, Files::Shards);
    let inside = directory.path().join("inside");
    fs::create_dir(&inside).unwrap();
    let outside = directory.path().join("model-00001-of-00003.safetensors");
    fs::copy(&outside, inside.join("model.safetensors")).unwrap();
    for name in [CONFIG, TOKENIZER] {
        fs::copy(directory.path().join(name), inside.join(name)).unwrap();
    }
    fs::remove_file(inside.join("model.safetensors")).unwrap();
    let refused = |shard: &Value, words: &[&str]| {
        write_index(&inside, &json!({"weight_map": {"classifier.bias": shard}}));
        let error = Classifier::load(&inside, &LoadOptions::default()).unwrap_err();
        for word in words {
            assert!(error.message().contains(word), "{shard}: {error}");
        }
    };
    let absolute = outside.display().to_string();
    for shard in [
        "../model-00001-of-00003.safetensors",
        absolute.as_str(),
        "../inside/x.safetensors",
        "deeper/x.safetensors",
        "./x.safetensors",
        "..",
        ".",
        "",
    ] {
        refused(&json!(shard), &["is not a file name", shard]);
    }
    refused(&json!(["x"]), &["not a text"]);
    refused(&json!("missing.safetensors"), &["missing.safetensors"]);
    for index in [json!([]), json!({"weight_map": []}), json!({})] {
        write_index(&inside, &index);
        let error = Classifier::load(&inside, &LoadOptions::default()).unwrap_err();
        assert!(error.message().contains("weight_map"), "{error}");
    }
}

#[test]
fn what_does_not_fit_is_refused_with_its_reason() {
    let model = small(ProblemType::SingleLabel);
    let specs = &model.model().table.specs;
    for files in FILES {
        let write = |change: &dyn Fn(&mut Vec<Stored>)| {
            let directory = TempDir::new().unwrap();
            write_config_of(directory.path(), &model, Class::SequenceClassification);
            write_tokenizer(directory.path(), &model);
            let mut tensors = Class::SequenceClassification.tensors(specs, Numbers::F16);
            change(&mut tensors);
            write_weights(directory.path(), &tensors, files);
            directory
        };
        let key = "bert.encoder.layer.1.attention.self.key.weight";
        let place = specs.iter().position(|spec| spec.name == key).unwrap();
        assert!(load(&write(&|_| {})).is_ok());
        let shape = write(&|tensors| tensors[place].shape = vec![4, 16]);
        assert_refused(&shape, &[key, "[4, 16]", "[8, 8]"]);
        let missing = write(&|tensors| drop(tensors.remove(place)));
        assert_refused(&missing, &[key, "lacks"]);
        let infinite = write(&|tensors| tensors[place].values[5] = f32::INFINITY);
        assert_refused(&infinite, &[key, "infinite"]);
        let integers = write(&|tensors| tensors[place].numbers = Numbers::I64);
        assert_refused(&integers, &[key, "I64"]);
        // Under both of its names.
        let twice = write(&|tensors| {
            let shape = vec![8];
            let (numbers, values) = (Numbers::F16, vec![0.0; 8]);
            let name = "embeddings.LayerNorm.gamma".into();
            tensors.push(Stored {
                name,
                shape,
                numbers,
                values,
            });
        });
        assert_refused(&twice, &["twice", "embeddings.LayerNorm.gamma"]);
        // Of the numbers that a config promises, fewer are there.
        let vocabulary = write(&|_| {});
        let size = model.tokenizer().vocab_size() - 1;
        write_config(vocabulary.path(), &model, |object| {
            object.insert("vocab_size".into(), json!(size));
        });
        let shape = format!("[{}, 8]", size + 1);
        assert_refused(&vocabulary, &["word_embeddings", &shape]);
        for (key, value) in [
            ("model_type", json!("roberta")),
            ("position_embedding_type", json!("relative_key_query")),
            ("is_decoder", json!(true)),
        ] {
            let other = write(&|_| {});
            let said = value.as_str().unwrap_or("decoder").to_owned();
            write_config(other.path(), &model, |object| {
                object.insert(key.into(), value);
            });
            assert_refused(&other, &[&said]);
        }
    }
}

#[test]
fn a_tokenizer_larger_than_the_embedding_is_refused() {
    let model = small(ProblemType::SingleLabel);
    let directory = published(&model, Class::Model, Numbers::F32, Files::One);
    let mut tokens = model.tokenizer().tokens();
    tokens.push("onemore".into());
    fs::remove_file(directory.path().join(TOKENIZER)).unwrap();
    fs::write(directory.path().join(VOCABULARY), tokens.join("\n")).unwrap();
    let ids = format!("up to {}", tokens.len() - 1);
    assert_refused(&directory, &[&ids, "vocab_size"]);
    tokens.pop();
    fs::write(directory.path().join(VOCABULARY), tokens.join("\n")).unwrap();
    load(&directory).unwrap();
}

/// vocab.txt alone, and what tokenizer_config.json beside it says; ids by hand.
#[test]
fn a_vocab_txt_is_read_as_its_config_says() {
    let model = small(ProblemType::SingleLabel);
    let directory = published(&model, Class::MaskedLM, Numbers::BF16, Files::StateDict);
    fs::remove_file(directory.path().join(TOKENIZER)).unwrap();
    let vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\ncafe\ncafé\nCafé\n東京\n東\n京\n##s\n";
    assert!(vocabulary.lines().count() <= model.model().config.vocab_size);
    fs::write(directory.path().join(VOCABULARY), vocabulary).unwrap();
    for (config, cafes) in [
        (None, vec![5, 11]),
        (Some(json!({})), vec![5, 11]),
        (Some(json!({"do_lower_case": false})), vec![7, 11]),
        (Some(json!({"strip_accents": false})), vec![6, 11]),
        (
            Some(json!({"do_lower_case": false, "strip_accents": true})),
            vec![1],
        ),
    ] {
        if let Some(config) = &config {
            fs::write(directory.path().join(TOKENIZER_CONFIG), config.to_string()).unwrap();
        }
        let tokenizer = load(&directory).unwrap().tokenizer().clone();
        let encoding = tokenizer.encode("Cafés 東京", None, 16).unwrap();
        let want = [vec![2], cafes, vec![9, 10, 3]].concat();
        assert_eq!(encoding.input_ids, want, "{config:?}");
    }
    let whole = json!({"tokenize_chinese_chars": false}).to_string();
    fs::write(directory.path().join(TOKENIZER_CONFIG), whole).unwrap();
    let tokenizer = load(&directory).unwrap().tokenizer().clone();
    assert_eq!(
        tokenizer.encode("東京", None, 16).unwrap().input_ids,
        [2, 8, 3]
    );
}

/// A published tokenizer.json may pad and truncate; `model_max_length` may be 1e30.
#[test]
fn the_longest_text_is_what_tokenizer_and_model_both_take() {
    let model = small(ProblemType::SingleLabel);
    let directory = published(&model, Class::Model, Numbers::F16, Files::One);
    let mut json: Value = serde_json::from_str(&model.tokenizer().to_json().unwrap()).unwrap();
    json["truncation"] =
        json!({"max_length": 6, "strategy": "LongestFirst", "stride": 0, "direction": "Right"});
    json["padding"] = json!({"strategy": {"Fixed": 12}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"});
    fs::write(directory.path().join(TOKENIZER), json.to_string()).unwrap();
    for (config, longest) in [
        (json!({}), 16),
        (json!({"model_max_length": 1e30}), 16),
        (json!({"model_max_length": 1_000_000}), 16),
        (json!({"model_max_length": 9}), 9),
    ] {
        fs::write(directory.path().join(TOKENIZER_CONFIG), config.to_string()).unwrap();
        let loaded = load(&directory).unwrap();
        let length = loaded.max_length(0).unwrap();
        assert_eq!(length, longest, "{config}");
        let encode = |text: &str| loaded.tokenizer().encode(text, None, length).unwrap();
        assert_eq!(encode(&"the film ".repeat(20)).input_ids.len(), longest);
        assert_eq!(encode("the film").input_ids.len(), 4);
    }
}

/// With a checkpoint of this library's own nothing may be missing, not even a classifier.
#[test]
fn a_saved_model_that_lacks_a_parameter_is_refused() {
    let model = small(ProblemType::SingleLabel);
    let directory = published(&model, Class::PreTraining, Numbers::F32, Files::One);
    load(&directory).unwrap();
    fs::write(
        directory.path().join(CONFIG),
        super::config_json(&model).unwrap(),
    )
    .unwrap();
    let error = load(&directory).unwrap_err();
    assert!(matches!(error, Error::Format(_)), "{error}");
    assert!(error.message().contains("'classifier.weight'"), "{error}");
}
