//! A published BERT, all-MiniLM-L6-v2, against what Hugging Face transformers gives for it in float64
//! (`tests/fixtures/golden`, written by `make_golden.py` there): token ids, states, logits, gradients, training steps.
//! The model's directory comes from the variable `BERT_TEST_MODEL`, its device from `BERT_TEST_DEVICE` (the CPU).

mod common;

use std::path::{Path, PathBuf};

use bert::classifier::Classifier;
use bert::data::{Batch, Labels};
use bert::hf::{LabelChoice, LoadOptions};
use bert::model::{
    Frozen, Gradients, InferencePrecision, LoraConfig, Model, Parameters, Pooling, Projection,
    TrainingPass,
};
use bert::ops::Buffers;
use bert::text::{BertNormalization, Tokenizer};
use bert::threads;
use bert::train::ScheduleKind;
use bert::train::loss::CrossEntropy;
use bert::train::optimizer::{AdamW, AdamWOptions, Group, clip_factor, global_norm};
use bert::train::schedule::Schedule;
use common::trial;
use libtest_mimic::{Arguments, Trial};
use serde_json::Value;

fn main() {
    type Check = fn(&Path);
    let trials: [(&str, Check); 9] = [
        ("token_ids_and_types", token_ids_and_types),
        ("states_and_logits", states_and_logits),
        ("gradients", gradients),
        ("six_adamw_steps", six_adamw_steps),
        ("the_plain_definition_agrees", the_plain_definition_agrees),
        ("lora", lora),
        ("origins_are_told", origins_are_told),
        ("saved_and_loaded_again", saved_and_loaded_again),
        ("shards", shards),
    ];
    let trials: Vec<Trial> = trials
        .into_iter()
        .map(|(name, run)| {
            let is_there = || common::model().map(|_| ());
            trial(name, is_there, move || {
                run(&common::model()?);
                Ok(())
            })
        })
        .collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn golden(name: &str) -> Value {
    let bytes = std::fs::read(common::root().join("tests/fixtures/golden").join(name)).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

fn ids(value: &Value) -> Vec<u32> {
    reals(value).iter().map(|&v| v as u32).collect()
}

fn reals(value: &Value) -> Vec<f64> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_f64().unwrap())
        .collect()
}

fn assert_close(name: &str, got: &[f32], want: &[f64], tolerance: f64) {
    assert_eq!(got.len(), want.len(), "{name}");
    for (index, (got, want)) in got.iter().zip(want).enumerate() {
        let difference = (f64::from(*got) - want).abs();
        assert!(difference <= tolerance, "{name}[{index}]: {got} {want}");
    }
}

/// float32(scale · sin(k · i)).
fn wave(count: usize, k: f64, scale: f64) -> Vec<f32> {
    (0..count)
        .map(|i| (scale * (k * i as f64).sin()) as f32)
        .collect()
}

/// Loads to the device that is tested.
fn load_options() -> LoadOptions {
    LoadOptions {
        device: std::env::var("BERT_TEST_DEVICE").unwrap_or("cpu".into()),
        ..LoadOptions::default()
    }
}

/// The model with the golden classifier: weight float32(0.02 · sin(0.37 · i)), fixed biases.
fn load(path: &Path) -> Classifier {
    let labels = ["a", "b", "c"].map(str::to_string).to_vec();
    let options = LoadOptions {
        labels: LabelChoice::Names(Labels::from_names(labels).unwrap()),
        ..load_options()
    };
    let classifier = Classifier::load(path, &options).unwrap();
    let model = classifier.model();
    let mut updated = vec![Vec::new(); model.table.specs.len()];
    let weight = model.table.classifier.weight;
    updated[weight] = wave(model.table.specs[weight].len(), 0.37, 0.02);
    updated[model.table.classifier.bias] = vec![0.01, -0.02, 0.03];
    let parameters = classifier.parameters();
    let parameters = parameters.with_updated(updated, &model.table).unwrap();
    classifier.publish(parameters.into());
    classifier
}

fn batch(cases: &[&Value]) -> Batch {
    let sequences: Vec<(Vec<u32>, Vec<u32>)> = cases
        .iter()
        .map(|case| (ids(&case["input_ids"]), ids(&case["token_type_ids"])))
        .collect();
    Batch::pack(sequences.iter().map(|(ids, types)| (&ids[..], &types[..])))
}

fn token_ids_and_types(path: &Path) {
    let golden = golden("forward.json");
    let max_length = golden["max_len"].as_u64().unwrap() as usize;
    let from_json =
        Tokenizer::from_json(&std::fs::read(path.join("tokenizer.json")).unwrap()).unwrap();
    let saved = from_json.to_json().unwrap();
    let vocabulary = std::fs::read(path.join("vocab.txt")).unwrap();
    let tokenizers = [
        Tokenizer::from_json(saved.as_bytes()).unwrap(),
        Tokenizer::from_vocab_txt(&vocabulary, &BertNormalization::default()).unwrap(),
        from_json,
    ];
    let cases = golden["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 32);
    for tokenizer in tokenizers {
        assert_eq!(tokenizer.vocab_size(), 30_522);
        for case in cases {
            let text = case["text"].as_str().unwrap();
            let encoding = tokenizer
                .encode(text, case["pair"].as_str(), max_length)
                .unwrap();
            assert_eq!(encoding.input_ids, ids(&case["input_ids"]), "{text:?}");
            assert_eq!(
                encoding.token_type_ids,
                ids(&case["token_type_ids"]),
                "{text:?}"
            );
        }
    }
}

/// One text at a time, and all in one batch.
fn states_and_logits(path: &Path) {
    let golden = golden("forward.json");
    let cases: Vec<&Value> = golden["cases"].as_array().unwrap().iter().collect();
    assert_eq!(cases.len(), 32);
    let classifier = load(path);
    let (model, parameters) = (classifier.model(), classifier.parameters());
    let together: Vec<Vec<&Value>> = vec![cases.clone()];
    let alone: Vec<Vec<&Value>> = cases.iter().map(|&case| vec![case]).collect();
    let of_all = [
        ("cls", Some(Pooling::Cls)),
        ("mean", Some(Pooling::Mean)),
        ("pooled", Some(Pooling::Pooler)),
        ("logits", None),
    ];
    for cases in together.into_iter().chain(alone) {
        let batch = batch(&cases);
        let compute = |precision: InferencePrecision, pooling: Option<Pooling>| {
            threads::run(|| match pooling {
                Some(pooling) => model.pooled_in(precision, &parameters, &batch, pooling),
                None => model.logits_in(precision, &parameters, &batch),
            })
            .unwrap()
            .unwrap()
        };
        for (key, pooling) in of_all {
            let want: Vec<f64> = cases.iter().flat_map(|case| reals(&case[key])).collect();
            let float32 = compute(InferencePrecision::Float32, pooling);
            assert_close(key, &float32, &want, 1e-5);
            let bfloat16 = compute(InferencePrecision::BFloat16, pooling);
            check_rounded(key, &bfloat16, &want);
        }
    }
}

/// Numbers of 8 significant bits are off by a 512th at most, so products by a 256th; over six layers errors of either
/// sign add up to about that share of the whole vector, and to a few times as much in its worst number.
fn check_rounded(name: &str, got: &[f32], want: &[f64]) {
    assert_eq!(got.len(), want.len(), "{name}");
    let size = (want.iter().map(|x| x * x).sum::<f64>() / want.len() as f64).sqrt();
    let errors = || got.iter().zip(want).map(|(&a, b)| f64::from(a) - b);
    let error = (errors().map(|e| e * e).sum::<f64>() / want.len() as f64).sqrt();
    let worst = errors().fold(0f64, |most, e| most.max(e.abs()));
    eprintln!("{name}: {:.5} {:.5}", error / size, worst / size);
    assert!(
        error > 0.0 && error <= size / 64.0,
        "{name}: {error} of {size}"
    );
    assert!(worst <= size / 8.0, "{name}: {worst} of {size}");
}

/// The two training batches with their labels.
fn training_batches(training: &Value) -> Vec<(Batch, Vec<u32>)> {
    let forward = golden("forward.json");
    let cases = forward["cases"].as_array().unwrap();
    let batches = training["batches"].as_array().unwrap();
    let labels = training["labels"].as_array().unwrap();
    batches
        .iter()
        .zip(labels)
        .map(|(rows, labels)| {
            let cases: Vec<&Value> = ids(rows).iter().map(|&row| &cases[row as usize]).collect();
            (batch(&cases), ids(labels))
        })
        .collect()
}

/// Mean loss of a batch, and the gradients.
fn loss_and_gradients(
    model: &Model,
    parameters: &Parameters,
    (batch, labels): &(Batch, Vec<u32>),
) -> (f64, Gradients) {
    let mut gradients = model.zero_gradients(Frozen::default()).unwrap();
    let mut sum = 0.0;
    let examples = labels.len() as f64;
    threads::run(|| {
        model.logits_and_gradients(
            parameters,
            TrainingPass::plain(batch),
            |logits| {
                let loss = CrossEntropy::default().of(logits, labels, 3, 1.0 / examples);
                sum = loss.sum;
                loss.derivative
            },
            &mut gradients,
            &mut Buffers::default(),
        )
    })
    .unwrap()
    .unwrap();
    (sum / examples, gradients)
}

fn norm_and_probe(values: &[f32]) -> (f64, f64) {
    let squares: f64 = values.iter().map(|&v| f64::from(v).powi(2)).sum();
    let probe = values
        .iter()
        .enumerate()
        .map(|(i, &v)| f64::from(v) * (0.37 * i as f64).sin())
        .sum();
    (squares.sqrt(), probe)
}

fn gradients(path: &Path) {
    let training = golden("training.json");
    let classifier = load(path);
    let model = classifier.model();
    let batches = training_batches(&training);
    let (loss, gradients) = loss_and_gradients(model, &classifier.parameters(), &batches[0]);
    assert!(
        (loss - training["loss"].as_f64().unwrap()).abs() < 1e-6,
        "{loss}"
    );
    check_gradients(model, &gradients, &training);
}

fn check_gradients(model: &Model, gradients: &Gradients, training: &Value) {
    let wanted = training["grads"].as_object().unwrap();
    assert_eq!(wanted.len(), model.table.specs.len());
    for (spec, gradient) in model.table.specs.iter().zip(gradients) {
        let name = &spec.name;
        let want = &wanted[name];
        let (norm, probe) = norm_and_probe(gradient);
        let (want_norm, want_probe) = (
            want["norm"].as_f64().unwrap(),
            want["probe"].as_f64().unwrap(),
        );
        // Softmax cancels a key bias: its gradient is zero in theory.
        if name.ends_with("key.bias") {
            assert!(norm < 1e-8, "{name}: {norm}");
            continue;
        }
        assert!(
            (norm / want_norm - 1.0).abs() < 2e-5,
            "{name}: {norm} {want_norm}"
        );
        assert!(
            (probe - want_probe).abs() < 2e-5 * want_norm,
            "{name}: {probe} {want_probe}"
        );
        let first = reals(&want["first"]);
        assert_close(name, &gradient[..first.len()], &first, 1e-7);
        check_rows(name, &spec.shape, gradient, want, 1e-7);
    }
}

/// The rows that the golden values give whole, of the word embeddings: of words that a batch has, and of one that none
/// has.
fn check_rows(name: &str, shape: &[usize], got: &[f32], want: &Value, tolerance: f64) {
    let rows = want["rows"].as_object();
    let expected = if name.ends_with("word_embeddings.weight") {
        3
    } else {
        0
    };
    assert_eq!(rows.map_or(0, |rows| rows.len()), expected, "{name}");
    for (row, want) in rows.into_iter().flatten() {
        let row: usize = row.parse().unwrap();
        let width = shape[1];
        let got = &got[row * width..(row + 1) * width];
        assert_close(&format!("{name} row {row}"), got, &reals(want), tolerance);
    }
}

fn six_adamw_steps(path: &Path) {
    let training = golden("training.json");
    let classifier = load(path);
    let model = classifier.model();
    let batches = training_batches(&training);
    let options = AdamWOptions {
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
    };
    let schedule = Schedule {
        kind: ScheduleKind::Linear,
        warmup_steps: 2,
        total_steps: 6,
    };
    let mut optimizer =
        AdamW::new(options, &model.table, Group::plain(&model.table, 0.01)).unwrap();
    let mut set = classifier.parameters().on(&model.device).unwrap();
    let steps = training["adamw"]["steps"].as_array().unwrap();
    assert_eq!(steps.len(), 6);
    for (number, want) in steps.iter().enumerate() {
        let (loss, gradients) = loss_and_gradients(model, &set, &batches[number % 2]);
        let rate = 5e-4 * schedule.factor(number as u64);
        let norm = global_norm(&gradients, None);
        let want = |key: &str| want[key].as_f64().unwrap();
        assert_eq!(rate, want("lr"));
        assert!((loss - want("loss")).abs() < 1e-6, "step {number}: {loss}");
        assert!(
            (norm / want("grad_norm") - 1.0).abs() < 1e-4,
            "step {number}: {norm}"
        );
        let mut updated = model.zero_gradients(Frozen::default()).unwrap();
        let scale = clip_factor(norm, 1.0);
        let values = set.host().unwrap();
        optimizer.update(&values, &mut updated, (&gradients, None), rate, scale);
        let updated = set.with_updated(updated, &model.table).unwrap();
        drop(values);
        set = updated;
    }
    let (loss, _) = loss_and_gradients(model, &set, &batches[0]);
    let want = training["adamw"]["final_loss"].as_f64().unwrap();
    assert!((loss - want).abs() < 1e-6, "{loss} {want}");
    let finals = training["adamw"]["final_params"].as_object().unwrap();
    let values = set.host().unwrap();
    for (spec, values) in model.table.specs.iter().zip(values.iter()) {
        let name = &spec.name;
        // Adam makes steps of the rounding noise that a key bias has for a gradient.
        if name.ends_with("key.bias") {
            continue;
        }
        let want = &finals[name];
        let (norm, probe) = norm_and_probe(values);
        let want_norm = want["norm"].as_f64().unwrap();
        assert!(
            (norm / want_norm - 1.0).abs() < 1e-6,
            "{name}: {norm} {want_norm}"
        );
        let want_probe = want["probe"].as_f64().unwrap();
        assert!(
            (probe - want_probe).abs() < 5e-6 * want_norm,
            "{name}: {probe} {want_probe}"
        );
        let first = reals(&want["first"]);
        assert_close(name, &values[..first.len()], &first, 5e-7);
        check_rows(name, &spec.shape, values, want, 5e-7);
    }
}

/// The definition in plain candle, to the same tolerances.
fn the_plain_definition_agrees(path: &Path) {
    let training = golden("training.json");
    let classifier = load(path);
    let model = classifier.model();
    let batches = training_batches(&training);
    let (batch, labels) = &batches[0];
    let parameters = classifier.parameters();
    let tensors = parameters.tensors(&model.table).unwrap();
    let mut gradients = model.zero_gradients(Frozen::default()).unwrap();
    let mut sum = 0.0;
    threads::run(|| {
        model.plain_logits_and_gradients(
            &tensors,
            batch,
            None,
            |logits| {
                let loss = CrossEntropy::default().of(logits, labels, 3, 1.0 / labels.len() as f64);
                sum = loss.sum;
                loss.derivative
            },
            &mut gradients,
        )
    })
    .unwrap()
    .unwrap();
    let loss = sum / labels.len() as f64;
    assert!(
        (loss - training["loss"].as_f64().unwrap()).abs() < 1e-6,
        "{loss}"
    );
    check_gradients(model, &gradients, &training);
}

/// PEFT's adapters on query and value: logits, loss and gradient norms, both ways through the model, and the logits and
/// gradients after merging.
fn lora(path: &Path) {
    let golden = golden("lora.json");
    let lora = LoraConfig {
        rank: golden["r"].as_u64().unwrap() as usize,
        alpha: golden["lora_alpha"].as_f64().unwrap(),
        ..LoraConfig::default()
    };
    assert_eq!(
        golden["target_modules"],
        serde_json::json!(["query", "value"])
    );
    let adapted = load(path).add_lora(lora, 1).unwrap();
    let model = adapted.model();
    let updated = model
        .table
        .specs
        .iter()
        .map(|spec| match &spec.name {
            name if name.contains("lora_A") => wave(spec.len(), 0.37, 0.05),
            name if name.contains("lora_B") => wave(spec.len(), 0.53, 0.05),
            _ => Vec::new(),
        })
        .collect();
    let before = adapted.parameters();
    adapted.publish(before.with_updated(updated, &model.table).unwrap().into());
    let merged = adapted.merge_lora().unwrap();

    let texts: Vec<(&str, Option<&str>)> = golden["texts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|text| (text.as_str().unwrap(), None))
        .collect();
    let encodings = adapted.tokenizer().encode_batch(&texts, 128).unwrap();
    let batch = Batch::of(&encodings).unwrap();
    let labels = ids(&golden["labels"]);
    let want_logits: Vec<f64> = golden["logits"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(reals)
        .collect();
    let want_loss = golden["loss"].as_f64().unwrap();
    let norms = golden["grad_norms"].as_object().unwrap();

    let batch_and_labels = (batch, labels);
    let (batch, labels) = &batch_and_labels;
    for classifier in [&adapted, &merged] {
        let (model, parameters) = (classifier.model(), classifier.parameters());
        let tensors = parameters.tensors(&model.table).unwrap();
        let logits = threads::run(|| model.logits(&parameters, batch));
        assert_close("logits", &logits.unwrap().unwrap(), &want_logits, 1e-5);
        let plain = threads::run(|| model.plain_logits(&tensors, batch));
        assert_close("logits", &plain.unwrap().unwrap(), &want_logits, 1e-5);
        let (loss, packed) = loss_and_gradients(model, &parameters, &batch_and_labels);
        assert!((loss - want_loss).abs() < 1e-6, "{loss} {want_loss}");
        let mut plain = model.zero_gradients(Frozen::default()).unwrap();
        threads::run(|| {
            let derivative = |logits: &[f32]| {
                let scale = 1.0 / labels.len() as f64;
                CrossEntropy::default()
                    .of(logits, labels, 3, scale)
                    .derivative
            };
            model.plain_logits_and_gradients(&tensors, batch, None, derivative, &mut plain)
        })
        .unwrap()
        .unwrap();
        for gradients in [packed, plain] {
            let mut compared = 0;
            for (name, want) in norms {
                let name = name
                    .replace("base_model.model.", "")
                    .replace(".default", "")
                    .replace(".modules_to_save", "");
                let gradient = match model.table.specs.iter().position(|s| s.name == name) {
                    Some(index) => gradients[index].clone(),
                    None => through_merged_weight(&adapted, &gradients, &name),
                };
                let norm = norm_and_probe(&gradient).0;
                let want = want.as_f64().unwrap();
                assert!((norm / want - 1.0).abs() < 1e-4, "{name}: {norm} {want}");
                compared += 1;
            }
            assert_eq!(compared, 6 * 2 * 2 + 2);
        }
    }
    // The embeddings, of which nobody made a copy; a GPU's values have no address here.
    let words = |classifier: &Classifier| {
        let parameters = classifier.parameters();
        let values = parameters.host().unwrap();
        values[classifier.model().table.embeddings.word].as_ptr()
    };
    if model.device.is_cpu() {
        assert_eq!(words(&adapted), words(&merged));
    }

    // Saved apart, and loaded onto the published model, whose own classifier has other labels.
    let target = scratch("adapter");
    adapted.save_adapter(&target).unwrap();
    let base = Classifier::load(path, &load_options()).unwrap();
    let loaded = base.load_adapter(&target).unwrap();
    std::fs::remove_dir_all(&target).unwrap();
    assert_eq!(loaded.labels().names(), ["a", "b", "c"]);
    assert!(loaded.origins().initialised.is_empty());
    let logits = |c: &Classifier| c.predict(&texts, &Default::default()).unwrap().logits;
    assert_eq!(logits(&loaded), logits(&adapted));
    // A plain model, merged.
    adapted.save(&target).unwrap();
    let saved = Classifier::load(&target, &load_options()).unwrap();
    std::fs::remove_dir_all(&target).unwrap();
    assert_eq!(saved.model().table.lora, None);
    assert_eq!(logits(&saved), logits(&merged));
}

/// An adapter's gradient by the chain rule from that of the merged weight W + s B A: dA = s Bᵀ dW, dB = s dW Aᵀ.
fn through_merged_weight(adapted: &Classifier, merged: &Gradients, name: &str) -> Vec<f32> {
    let table = &adapted.model().table;
    let config = &adapted.model().config;
    let parameters = adapted.parameters();
    let values = parameters.host().unwrap();
    let (number, layer, projection) = table
        .layers
        .iter()
        .enumerate()
        .flat_map(|(number, layer)| Projection::ALL.map(|p| (number, layer, p)))
        .find(|(number, _, projection)| {
            name.starts_with(&format!(
                "bert.encoder.layer.{number}.{}.",
                projection.module()
            ))
        })
        .unwrap();
    let (adapter, lora) = table.adapter(number, projection).unwrap();
    let (inputs, outputs) = projection.sizes(config);
    let rank = lora.rank;
    let (a, b) = (&values[adapter.down], &values[adapter.up]);
    let dw = &merged[layer.projection(projection).weight];
    let sum = |terms: &mut dyn Iterator<Item = (f32, f32)>| -> f32 {
        let sum: f64 = terms.map(|(x, y)| f64::from(x) * f64::from(y)).sum();
        (lora.scale() * sum) as f32
    };
    if name.contains("lora_A") {
        (0..rank * inputs)
            .map(|place| {
                let (r, i) = (place / inputs, place % inputs);
                sum(&mut (0..outputs).map(|o| (b[o * rank + r], dw[o * inputs + i])))
            })
            .collect()
    } else {
        (0..outputs * rank)
            .map(|place| {
                let (o, r) = (place / rank, place % rank);
                sum(&mut (0..inputs).map(|i| (dw[o * inputs + i], a[r * inputs + i])))
            })
            .collect()
    }
}

fn origins_are_told(path: &Path) {
    let classifier = Classifier::load(path, &load_options()).unwrap();
    let origins = classifier.origins();
    assert_eq!(
        origins.initialised,
        ["classifier.weight", "classifier.bias"]
    );
    assert_eq!(origins.ignored, ["embeddings.position_ids"]);
    assert_eq!(origins.loaded.len(), 5 + 6 * 16 + 2);
    assert_eq!(classifier.max_length(0).unwrap(), 512);
    assert_eq!(classifier.labels().names(), ["LABEL_0", "LABEL_1"]);
}

fn scratch(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("bert-golden-{}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    path
}

fn saved_and_loaded_again(path: &Path) {
    let classifier = load(path);
    let texts = [("a stirring , funny film", None), ("one", Some("two"))];
    let predict = |c: &Classifier| c.predict(&texts, &Default::default()).unwrap().logits;
    let before = predict(&classifier);
    let target = scratch("saved");
    classifier.save(&target).unwrap();
    let loaded = Classifier::load(&target, &load_options()).unwrap();
    assert_eq!(predict(&loaded), before);
    assert!(loaded.origins().initialised.is_empty());
    let vocabulary = |path: &Path| std::fs::read(path.join("vocab.txt")).unwrap();
    assert_eq!(vocabulary(&target), vocabulary(path));
    // Other labels: the encoder stays, the classifier is new.
    let options = LoadOptions {
        labels: LabelChoice::Names(Labels::from_names(vec!["x".into(), "y".into()]).unwrap()),
        ..load_options()
    };
    let other = Classifier::load(&target, &options).unwrap();
    assert_eq!(
        other.origins().initialised,
        ["classifier.weight", "classifier.bias"]
    );
    assert_eq!(other.labels().len(), 2);
    std::fs::remove_dir_all(&target).unwrap();
}

/// The same weights in two files with an index; and an index that leads out of its directory.
fn shards(path: &Path) {
    let target = scratch("shards");
    std::fs::create_dir(&target).unwrap();
    for name in ["config.json", "tokenizer.json"] {
        std::fs::copy(path.join(name), target.join(name)).unwrap();
    }
    let bytes = std::fs::read(path.join("model.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut all = tensors.tensors();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    let mut map = serde_json::Map::new();
    for (number, half) in all.chunks(all.len().div_ceil(2)).enumerate() {
        let name = format!("model-{number}.safetensors");
        for (tensor, _) in half {
            map.insert(tensor.clone(), Value::from(name.clone()));
        }
        let views = half.iter().map(|(name, view)| (name.clone(), view));
        safetensors::serialize_to_file(views, None, &target.join(&name)).unwrap();
    }
    let index = target.join("model.safetensors.index.json");
    std::fs::write(&index, serde_json::json!({"weight_map": map}).to_string()).unwrap();
    let options = load_options();
    let predict = |c: &Classifier| {
        c.predict(&[("a text", None)], &Default::default())
            .unwrap()
            .logits
    };
    let whole = Classifier::load(path, &options).unwrap();
    assert_eq!(
        predict(&Classifier::load(&target, &options).unwrap()),
        predict(&whole)
    );
    let outside = r#"{"weight_map": {"x": "../model.safetensors"}}"#;
    std::fs::write(&index, outside).unwrap();
    let error = Classifier::load(&target, &options).unwrap_err();
    assert!(error.message().contains("../model.safetensors"), "{error}");
    std::fs::remove_dir_all(&target).unwrap();
}
