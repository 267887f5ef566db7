//! The GPU's way on a card that is the host: `tests/cuda_on_host` has a driver and a cuBLAS that run the library's kernels
//! block after block, so that everything but the card itself is tried on a machine without one: the kernels' arithmetic,
//! their launches, memory and copies, held to the CPU's numbers; what is said where something is missing; the C programs.
//!
//! With BERT_TEST_CARD=1 the same runs on the machine's own card and driver.

#[path = "common/mod.rs"]
mod common;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use bert::data::Batch;
use bert::device::{self, Device};
use bert::model::{
    BertConfig, Frozen, Gradients, HiddenAct, InferencePrecision, LoraConfig, Model, Parameters,
    Pooling, Projection, TrainingPass,
};
use bert::ops::{Buffers, Precision};
use bert::random::Dropout;
use common::{Outcome, cdylib, compile, deps_directory, has_program, root, run_quietly, trial};
use libtest_mimic::{Arguments, Trial};

/// C programs that try what a device has a part in. The others are about files, text, arguments and the host's memory.
const PROGRAMS: [&str; 30] = [
    "callbacks",
    "checkpoints",
    "concurrency",
    "create",
    "devices",
    "evaluate",
    "exits",
    "fine_tune",
    "float_state",
    "forks",
    "handles",
    "host",
    "loading",
    "lora",
    "multi_label",
    "one_token_type",
    "plan_edges",
    "precision",
    "predict",
    "regression",
    "save_load",
    "save_races",
    "save_recovery",
    "signals",
    "small_stack",
    "soak_threads",
    "toy_seeds",
    "train",
    "train_plan",
    "wrong_arguments",
];

fn main() {
    let arguments = Arguments::from_args();
    if !on_card() {
        // SAFETY: no other thread has been started yet.
        unsafe { std::env::set_var("BERT_CUDA_PATH", emulation_directory()) };
    }
    let can_run = || {
        if on_card() {
            return Ok(());
        }
        has_program("c++")?;
        emulation().map(|_| ())
    };
    let mut trials = vec![
        trial("gradients_are_the_cpus", can_run, gradients),
        trial(
            "gradients_of_bfloat16_are_near",
            can_run,
            gradients_of_bfloat16,
        ),
        trial(
            "gradients_of_adapters_are_the_cpus",
            can_run,
            gradients_of_adapters,
        ),
        trial("predictions_are_the_cpus", can_run, predictions),
        trial("a_published_model_is_the_cpus", can_run, published),
        trial("wide_models_are_refused", can_run, wide_models),
    ];
    if !on_card() {
        let has_compiler = || has_program("c++");
        trials.push(trial("numbers_of_16_bits", has_compiler, || {
            let directory = tempfile::tempdir()?;
            let program = directory.path().join("program");
            let source = root().join("tests/cuda_on_host/sixteen_bits.cpp");
            run_quietly(
                Command::new("c++")
                    .args(["-std=c++17", "-O2", "-Wall", "-Wextra", "-o"])
                    .args([&program, &source]),
            )?;
            run_quietly(&mut Command::new(&program))?;
            Ok(())
        }));
        for (name, settings, expected) in [
            (
                "no_card",
                &[("BERT_EMULATED_DEVICES", "0")][..],
                "finds no GPU",
            ),
            (
                "old_driver",
                &[("BERT_EMULATED_DRIVER", "11080")],
                "is for CUDA 11",
            ),
            (
                "little_memory",
                &[("BERT_EMULATED_MEMORY", "4000000")],
                "memory",
            ),
        ] {
            trials.push(trial(format!("c::failures::{name}"), can_run, move || {
                run_program("tests/cuda_on_host/failures.c", settings, &[expected])
            }));
        }
        let without = || can_run().and_then(|()| has_no_cuda());
        trials.push(trial("c::failures::no_driver", without, || {
            let settings = [("BERT_CUDA_PATH", "")];
            run_program(
                "tests/cuda_on_host/failures.c",
                &settings,
                &["libcuda.so.1 can't be loaded"],
            )
        }));
        trials.push(trial("c::failures::no_cublas", without, || {
            let directory = tempfile::tempdir()?;
            symlink(
                emulation()?.join("libcuda.so.1"),
                directory.path().join("libcuda.so.1"),
            )?;
            let settings = [("BERT_CUDA_PATH", directory.path().to_str().ok_or("UTF-8")?)];
            run_program(
                "tests/cuda_on_host/failures.c",
                &settings,
                &["libcublas.so.13 or libcublas.so.12"],
            )
        }));
    }
    trials.push(trial("c::between_devices", can_run, || {
        run_program("tests/cuda_on_host/between_devices.c", &[], &[])
    }));
    trials.extend(programs(can_run));
    libtest_mimic::run(&arguments, trials).exit();
}

/// Whether the machine's own loader finds neither a driver nor cuBLAS.
fn has_no_cuda() -> Result<(), String> {
    let found = Command::new("sh")
        .args([
            "-c",
            "/sbin/ldconfig -p | grep -E 'libcuda[.]so[.]1|libcublas[.]so'",
        ])
        .output();
    let is_there = found.is_ok_and(|output| output.status.success());
    match is_there || Path::new("/usr/local/cuda").exists() {
        true => Err("needs a machine without CUDA".into()),
        false => Ok(()),
    }
}

fn on_card() -> bool {
    std::env::var_os("BERT_TEST_CARD").is_some_and(|value| value == "1")
}

// ---- The emulated card -----------------------------------------------------------------------------------------------

fn emulation_directory() -> PathBuf {
    deps_directory().unwrap_or_default().join("cuda_on_host")
}

/// Builds the driver and cuBLAS once.
fn emulation() -> Result<&'static Path, String> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let directory = emulation_directory();
        fs::create_dir_all(&directory).map_err(|error| error.to_string())?;
        let sources = root().join("tests/cuda_on_host");
        for (library, files, options) in [
            (
                "libcuda.so.1",
                &["libcuda.cpp", "kernels.cpp"][..],
                "-DBERT_CUDA_ON_HOST",
            ),
            ("libcublas.so.13", &["libcublas.cpp"], "-Wall"),
        ] {
            let mut command = Command::new("c++");
            command.args([
                "-std=c++17",
                "-O2",
                "-fPIC",
                "-shared",
                "-Wno-unknown-pragmas",
            ]);
            command.arg(options).arg("-I").arg(&sources);
            command.arg("-I").arg(env!("BERT_CUDA_INCLUDE"));
            command.arg("-o").arg(directory.join(library));
            command.args(files.iter().map(|file| sources.join(file)));
            run_quietly(&mut command)?;
        }
        Ok(directory)
    });
    built.as_deref().map_err(Clone::clone)
}

fn cuda() -> Result<Device, String> {
    device::from_name("cuda").map_err(|error| error.to_string())
}

// ---- C programs ------------------------------------------------------------------------------------------------------

fn programs(can_run: impl Fn() -> Result<(), String> + Copy) -> Vec<Trial> {
    PROGRAMS
        .into_iter()
        .map(|name| {
            trial(format!("c::{name}"), can_run, move || {
                run_program(&format!("tests/c/{name}.c"), &[], &[])
            })
        })
        .collect()
}

fn run_program(source: &str, settings: &[(&str, &str)], arguments: &[&str]) -> Outcome {
    let directory = tempfile::tempdir()?;
    let program = directory.path().join("program");
    compile(&root().join(source), &program, cdylib()?)?;
    let mut command = Command::new(&program);
    command
        .args(arguments)
        .current_dir(directory.path())
        .env("BERT_LIBRARY", cdylib()?)
        .env("BERT_TEST_DEVICE", "cuda")
        .envs(settings.iter().copied());
    if let Ok(shared) = root().join("../shared").canonicalize() {
        command.env("BERT_SHARED", shared);
    }
    run_quietly(&mut command)?;
    Ok(())
}

// ---- Numbers ---------------------------------------------------------------------------------------------------------

/// Sequences of several lengths, one longer than a warp, which has two tiles of each of attention's kernels.
fn batch() -> Batch {
    let lengths = [6usize, 2, 37, 16, 4];
    let mut sequences = Vec::new();
    for (number, &length) in lengths.iter().enumerate() {
        let ids: Vec<u32> = (0..length)
            .map(|place| 1 + (7 * place + 3 * number) as u32 % 22)
            .collect();
        let types: Vec<u32> = (0..length)
            .map(|place| u32::from(2 * place > length))
            .collect();
        sequences.push((ids, types));
    }
    Batch::pack(sequences.iter().map(|(ids, types)| (&ids[..], &types[..])))
}

fn config(heads: usize, head_size: usize) -> BertConfig {
    BertConfig {
        vocab_size: 24,
        hidden_size: heads * head_size,
        num_hidden_layers: 2,
        num_attention_heads: heads,
        intermediate_size: 29,
        max_position_embeddings: 40,
        type_vocab_size: 2,
        pad_token_id: 3,
        num_labels: 3,
        initializer_range: 0.3,
        hidden_dropout_prob: 0.3,
        attention_probs_dropout_prob: 0.2,
        classifier_dropout: Some(0.4),
        ..BertConfig::default()
    }
}

/// The same model on the CPU and on the card, with values that leave no gradient out.
fn both(config: &BertConfig, lora: Option<LoraConfig>) -> Result<[(Model, Parameters); 2], String> {
    let model = |device: Device| match lora {
        Some(lora) => Model::with_lora(config.clone(), lora, device),
        None => Model::new(config.clone(), device),
    };
    let text = |error: bert::error::Error| error.to_string();
    let host = model(Device::Cpu).map_err(text)?;
    let initial =
        Parameters::initialise(&host.config, &host.table, 11, &Device::Cpu).map_err(text)?;
    let values: Vec<Vec<f32>> = initial
        .host()
        .map_err(text)?
        .iter()
        .enumerate()
        .map(|(index, values)| {
            // Wide sums stay as large as narrow ones.
            let scale = (8.0 / config.hidden_size as f32).sqrt().min(1.0);
            let moved = |(place, value): (usize, &f32)| {
                scale * (value + 0.1 * ((place * 7 + index * 13) as f32).sin())
            };
            values.iter().enumerate().map(moved).collect()
        })
        .collect();
    let cuda = cuda()?;
    let card = model(cuda.clone()).map_err(text)?;
    let there = Parameters::from_host(values.clone(), &card.table, &cuda).map_err(text)?;
    let here = Parameters::from_host(values, &host.table, &Device::Cpu).map_err(text)?;
    Ok([(host, here), (card, there)])
}

fn compute(
    (model, parameters): &(Model, Parameters),
    pass: TrainingPass<'_>,
) -> Result<(Vec<f32>, Gradients), String> {
    let loss = |logits: &[f32]| -> Vec<f32> {
        (0..logits.len())
            .map(|i| (0.7 * i as f32 + 0.3).sin())
            .collect()
    };
    let mut gradients = model
        .zero_gradients(pass.frozen)
        .map_err(|error| error.to_string())?;
    let logits = model
        .logits_and_gradients(
            parameters,
            pass,
            loss,
            &mut gradients,
            &mut Buffers::default(),
        )
        .map_err(|error| error.to_string())?;
    Ok((logits, gradients))
}

/// Each number to `tolerance`, relative to its array's largest.
fn check_near(what: &str, got: &[f32], want: &[f32], tolerance: f32) -> Result<(), String> {
    if got.len() != want.len() {
        return Err(format!(
            "{what}: {} numbers and not {}",
            got.len(),
            want.len()
        ));
    }
    let scale = want.iter().fold(1f32, |most, value| most.max(value.abs()));
    for (place, (got, want)) in got.iter().zip(want).enumerate() {
        // NaN is near nothing.
        let is_near = (got - want).abs() <= tolerance * scale;
        if !is_near {
            return Err(format!("{what}, number {place}: {got} and not {want}"));
        }
    }
    Ok(())
}

fn check_gradients(
    both: &[(Model, Parameters); 2],
    pass: TrainingPass<'_>,
    tolerance: f32,
) -> Result<(), String> {
    let (want_logits, want) = compute(&both[0], pass)?;
    let (logits, gradients) = compute(&both[1], pass)?;
    check_near("logits", &logits, &want_logits, tolerance)?;
    for ((got, want), spec) in gradients.iter().zip(&want).zip(&both[0].0.table.specs) {
        check_near(&spec.name, got, want, tolerance)?;
    }
    // The card's own numbers are the same at every run, and computed again from the blocks' inputs.
    for gradient_checkpointing in [false, true] {
        let pass = TrainingPass {
            gradient_checkpointing,
            ..pass
        };
        if compute(&both[1], pass)? != (logits.clone(), gradients.clone()) {
            return Err(format!("not the same again ({gradient_checkpointing})"));
        }
    }
    Ok(())
}

fn gradients() -> Outcome {
    let batch = batch();
    for (heads, head_size, pooling, hidden_act, final_layer_norm) in [
        (2, 4, Pooling::Pooler, HiddenAct::Gelu, false),
        (3, 5, Pooling::Mean, HiddenAct::GeluTanh, true),
        (1, 40, Pooling::Cls, HiddenAct::Relu, false),
        (2, 70, Pooling::Pooler, HiddenAct::Gelu, false),
    ] {
        let config = BertConfig {
            pooling,
            hidden_act,
            final_layer_norm,
            ..config(heads, head_size)
        };
        let both = both(&config, None)?;
        for dropout in [None, Some(Dropout::new(3, 5))] {
            for (embeddings, layers) in [(false, 0), (true, 0), (true, 1)] {
                let pass = TrainingPass {
                    dropout,
                    frozen: Frozen { embeddings, layers },
                    ..TrainingPass::plain(&batch)
                };
                check_gradients(&both, pass, 3e-5)
                    .map_err(|error| format!("{heads} heads of {head_size}, {pass:?}: {error}"))?;
            }
        }
    }
    Ok(())
}

/// Half the numbers' digits: what is lost shows, and a wrong formula shows more.
fn gradients_of_bfloat16() -> Outcome {
    let batch = batch();
    let both = both(&config(2, 24), None)?;
    for dropout in [None, Some(Dropout::new(3, 5))] {
        let pass = TrainingPass {
            dropout,
            ..TrainingPass::plain(&batch)
        };
        let (want_logits, want) = compute(&both[0], pass)?;
        let rounded = TrainingPass {
            precision: Precision::BFloat16,
            ..pass
        };
        let (logits, gradients) = compute(&both[1], rounded)?;
        check_near("logits", &logits, &want_logits, 0.05)?;
        let norm = |values: &[f32]| values.iter().map(|v| v * v).sum::<f32>().sqrt();
        for ((got, want), spec) in gradients.iter().zip(&want).zip(&both[0].0.table.specs) {
            let difference: Vec<f32> = got.iter().zip(want).map(|(a, b)| a - b).collect();
            let share = norm(&difference) / norm(want);
            // The key biases' gradient is zero but for rounding.
            let is_near = share <= 0.15 || spec.name.contains("key.bias");
            if !is_near {
                return Err(format!("{}: {share} of it is lost", spec.name).into());
            }
        }
    }
    Ok(())
}

fn gradients_of_adapters() -> Outcome {
    let batch = batch();
    for dropout in [0.0, 0.25] {
        let lora = LoraConfig {
            rank: 3,
            alpha: 5.0,
            dropout,
            targets: Projection::ALL.into_iter().collect(),
            ..LoraConfig::default()
        };
        let both = both(&config(2, 4), Some(lora))?;
        for layers in [0, 1] {
            let pass = TrainingPass {
                dropout: Some(Dropout::new(3, 5)),
                frozen: Frozen {
                    embeddings: false,
                    layers,
                },
                ..TrainingPass::plain(&batch)
            };
            check_gradients(&both, pass, 3e-5)?;
        }
        let [host, card] = &both;
        let logits = |(model, parameters): &(Model, Parameters)| model.logits(parameters, &batch);
        check_near("logits", &logits(card)?, &logits(host)?, 3e-5)?;
    }
    Ok(())
}

fn predictions() -> Outcome {
    let batch = batch();
    for pooling in [Pooling::Pooler, Pooling::Mean, Pooling::Cls] {
        let config = BertConfig {
            pooling,
            ..config(2, 4)
        };
        let [host, card] = both(&config, None)?;
        let logits = |(model, parameters): &(Model, Parameters)| model.logits(parameters, &batch);
        let all = logits(&card)?;
        check_near("logits", &all, &logits(&host)?, 2e-5)?;
        for asked in [Pooling::Pooler, Pooling::Mean, Pooling::Cls] {
            if asked == Pooling::Pooler && card.0.table.pooler.is_none() {
                continue;
            }
            let pooled =
                |(model, parameters): &(Model, Parameters)| model.pooled(parameters, &batch, asked);
            check_near("pooled", &pooled(&card)?, &pooled(&host)?, 2e-5)?;
        }
        // Each state is rounded by 2⁻⁹ of its size in bfloat16 and by 2⁻¹² in float16.
        for (precision, tolerance) in [
            (InferencePrecision::BFloat16, 0.05),
            (InferencePrecision::Float16, 0.05 / 8.0),
        ] {
            let what = format!("{precision:?}");
            let rounded = card.0.logits_in(precision, &card.1, &batch)?;
            check_near(&what, &rounded, &all, tolerance)?;
            let vectors = |precision| card.0.pooled_in(precision, &card.1, &batch, pooling);
            let whole = vectors(InferencePrecision::Float32)?;
            let rounded_vectors = vectors(precision)?;
            check_near(&what, &rounded_vectors, &whole, tolerance)?;
            if rounded == all || rounded_vectors == whole {
                return Err(format!("{precision:?} gives float32's numbers").into());
            }
            // The CPU computes in float32 whatever is asked for.
            if host.0.logits_in(precision, &host.1, &batch)? != logits(&host)? {
                return Err(format!("{precision:?} changes the CPU's numbers").into());
            }
        }
        // One alone, and from many threads at once, is what it was in the batch.
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        (0..batch.len()).try_for_each(|index| {
                            let alone = card.0.logits(&card.1, &batch.select(&[index]));
                            let alone = alone.map_err(|error| error.to_string())?;
                            check_near("alone", &alone, &all[3 * index..][..3], 1e-5)
                        })
                    })
                })
                .collect();
            threads
                .into_iter()
                .try_for_each(|thread| thread.join().map_err(|_| "a panic".to_string())?)
        })?;
    }
    Ok(())
}

/// all-MiniLM-L6-v2 on both.
fn published() -> Outcome {
    let path = common::model()?;
    let load = |device: &str| {
        bert::classifier::Classifier::load(
            &path,
            &bert::hf::LoadOptions {
                device: device.into(),
                labels: bert::hf::LabelChoice::Names(bert::data::Labels::from_names(vec![
                    "a".into(),
                    "b".into(),
                ])?),
                ..bert::hf::LoadOptions::default()
            },
        )
    };
    let (host, card) = (load("cpu")?, load("cuda")?);
    let batch = Batch::pack([
        (&[101u32, 2023, 2003, 1037, 3231, 102][..], &[0u32; 6][..]),
        (&[101, 7592, 102], &[0; 3]),
    ]);
    let pooled = |of: &bert::classifier::Classifier| {
        of.model().pooled(&of.parameters(), &batch, Pooling::Mean)
    };
    let whole = pooled(&host)?;
    check_near("pooled", &pooled(&card)?, &whole, 1e-5)?;
    // Six layers' roundings, which are independent of one another: 2⁻⁹ and 2⁻¹² each.
    for (precision, tolerance) in [
        (InferencePrecision::BFloat16, 0.03),
        (InferencePrecision::Float16, 0.03 / 8.0),
    ] {
        let (model, parameters) = (card.model(), card.parameters());
        let rounded = model.pooled_in(precision, &parameters, &batch, Pooling::Mean)?;
        check_near(&format!("{precision:?}"), &rounded, &whole, tolerance)?;
    }
    Ok(())
}

fn wide_models() -> Outcome {
    let error = Model::new(config(1, 130), cuda()?).err();
    match error {
        Some(bert::error::Error::Unsupported(sentence)) if sentence.contains("130") => Ok(()),
        other => Err(format!("{other:?}").into()),
    }
}
