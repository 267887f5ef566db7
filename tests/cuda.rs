//! The GPU's way on a card that is the host: `tests/cuda_on_host` has a driver and a cuBLAS that run the library's kernels
//! block after block, so that everything but the card itself is tried on a machine without one: the kernels' arithmetic,
//! their launches, memory and copies, held to the CPU's numbers; what is said where something is missing; the C programs.
//!
//! With BERT_TEST_CARD=1 the same runs on the machine's own card and driver.

#[path = "common/mod.rs"]
mod common;

use std::ffi::{CStr, CString};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};

use bert::classifier::{Classifier, CreateOptions};
use bert::data::{Batch, Dataset, Example, Label};
use bert::device::{self, Device};
use bert::error::Error;
use bert::model::{
    BertConfig, Frozen, Gradients, HiddenAct, InferencePrecision, LoraConfig, Model, Parameters,
    Pooling, Preset, Projection, TrainingPass,
};
use bert::ops::{Buffers, Precision};
use bert::problem::ProblemType;
use bert::random::Dropout;
use bert::train::loss::CrossEntropy;
use bert::train::{EpochReport, Progress, ScheduleKind, StepReport, TrainOptions, Trainer};
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

const WAITS: &str = "steps_wait_for_nothing_but_the_one_before";

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
        trial("steps_are_the_cpus", can_run, steps),
        trial(
            "steps_are_saved_while_one_is_under_way",
            can_run,
            checkpoints,
        ),
        trial(
            "a_step_that_is_not_finite_holds_back_the_next",
            can_run,
            not_finite,
        ),
    ];
    if !on_card() {
        trials.push(trial(WAITS, can_run, waits));
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
                // As nvcc compiles: pieces of 16 bytes are numbers of 16 or 32 bits.
                "-fno-strict-aliasing",
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

// ---- Training --------------------------------------------------------------------------------------------------------

/// The toy texts with labels of each kind of problem.
fn labelled(problem: ProblemType) -> Result<Dataset, String> {
    let mut data = Dataset::new();
    for (number, text) in Dataset::toy_train().texts().enumerate() {
        let label = match problem {
            ProblemType::SingleLabel => Label::Name(["a", "b", "c"][number % 3].into()),
            ProblemType::MultiLabel => {
                let has = |label: &&str| number & label.len() != 0;
                let names = ["x", "yy", "zzzz"].into_iter().filter(has);
                Label::Names(names.map(str::to_string).collect())
            }
            ProblemType::Regression => Label::Targets(vec![number as f32 / 7.0, -1.0]),
        };
        data.push(Example {
            text: text.into(),
            pair: None,
            label,
        })
        .map_err(|error| error.to_string())?;
    }
    Ok(data)
}

/// The same compact model on the CPU and on the card.
fn classifiers(data: &Dataset) -> Result<[Arc<Classifier>; 2], String> {
    let text = |error: bert::error::Error| error.to_string();
    let options = CreateOptions::preset(Preset::Compact);
    let here = Classifier::create(&options, data).map_err(text)?;
    let there = here.copy_to_device("cuda").map_err(text)?;
    Ok([Arc::new(here), Arc::new(there)])
}

/// Each step's report, and the epoch's.
fn epoch(trainer: &Trainer) -> Result<(Vec<StepReport>, EpochReport), bert::error::Error> {
    let mut steps = Vec::new();
    let mut note = |progress: &Progress<'_>| {
        steps.push(progress.step);
        true
    };
    let report = trainer.train_epoch(Some(&mut note))?;
    Ok((steps, report))
}

fn is_near(a: f64, b: f64, tolerance: f64) -> bool {
    (a - b).abs() <= tolerance * a.abs().max(b.abs())
}

/// Loss, norm and right answers of each step, by each kind of problem, with all that goes into them.
fn steps() -> Outcome {
    for problem in [
        ProblemType::SingleLabel,
        ProblemType::MultiLabel,
        ProblemType::Regression,
    ] {
        let data = labelled(problem)?;
        let mut options = TrainOptions {
            batch_size: 3,
            gradient_accumulation_steps: 2,
            learning_rate: 1e-4,
            threshold: Some(0.45),
            ..TrainOptions::default()
        };
        if problem == ProblemType::SingleLabel {
            options.cross_entropy = CrossEntropy {
                class_weights: vec![0.5, 2.0, 1.25],
                label_smoothing: 0.1,
            };
        }
        let mut courses = Vec::new();
        for classifier in classifiers(&data)? {
            let trainer = Trainer::new(classifier, &data, None, options.clone())?;
            courses.push([epoch(&trainer)?, epoch(&trainer)?]);
        }
        for ((here, here_all), (there, there_all)) in courses[0].iter().zip(&courses[1]) {
            assert_eq!(here.len(), data.len().div_ceil(6));
            assert_eq!(here.len(), there.len());
            for (a, b) in here.iter().zip(there) {
                // Everything that isn't computed by the model is the same.
                let there = StepReport {
                    loss: a.loss,
                    grad_norm: a.grad_norm,
                    seconds: a.seconds,
                    ..*b
                };
                assert_eq!(*a, there);
                assert!(is_near(a.loss, b.loss, 1e-4), "{} and {}", a.loss, b.loss);
                let (a, b) = (a.grad_norm, b.grad_norm);
                assert!(is_near(a, b, 1e-3), "{a} and {b}");
            }
            assert!(is_near(here_all.loss, there_all.loss, 1e-4));
            assert_eq!(here_all.step, there_all.step);
            assert_eq!(here_all.tokens, there_all.tokens);
            assert_eq!(here_all.accuracy.to_bits(), there_all.accuracy.to_bits());
        }
    }
    Ok(())
}

/// How often the host has waited for all of the emulated card's work, and for an event.
fn emulated_waits() -> Result<[u32; 2], String> {
    let library = emulation()?.join("libcuda.so.1");
    let library =
        CString::new(library.as_os_str().as_encoded_bytes()).map_err(|e| e.to_string())?;
    // SAFETY: The text ends with NUL; the library is the tests' own and loaded already.
    let handle = unsafe { libc::dlopen(library.as_ptr(), libc::RTLD_NOW) };
    let count = |name: &CStr| {
        // SAFETY: The handle is open or NULL, which dlsym takes too; the text ends with NUL.
        let function = unsafe { libc::dlsym(handle, name.as_ptr()) };
        if function.is_null() {
            return Err(format!("no {name:?}"));
        }
        // SAFETY: tests/cuda_on_host/libcuda.cpp declares it so.
        let function: extern "C" fn() -> u32 = unsafe { std::mem::transmute(function) };
        Ok(function())
    };
    Ok([
        count(c"emulated_stream_waits")?,
        count(c"emulated_event_waits")?,
    ])
}

/// Set in the process that counts waits.
const COUNTS: &str = "BERT_TEST_CUDA_COUNTS";

/// No step of an epoch waits for the card but for how the one before went, and that is told late: not before the next is
/// begun.
fn waits() -> Outcome {
    if std::env::var_os(COUNTS).is_none() {
        // This very test in a process of its own, where no other one waits.
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--exact", WAITS, "--test-threads=1"]);
        run_quietly(command.env(COUNTS, "1"))?;
        return Ok(());
    }
    let data = labelled(ProblemType::SingleLabel)?;
    let [_, classifier] = classifiers(&data)?;
    let options = TrainOptions {
        batch_size: 2,
        ..TrainOptions::default()
    };
    let trainer = Trainer::new(classifier.clone(), &data, None, options)?;
    // The first epoch finds no memory that was used before.
    epoch(&trainer)?;
    let mut told = Vec::new();
    let mut note = |progress: &Progress<'_>| {
        told.push((
            progress.step.step,
            emulated_waits(),
            classifier.parameters(),
        ));
        true
    };
    let before = emulated_waits()?;
    let report = trainer.train_epoch(Some(&mut note))?;
    let after = emulated_waits()?;
    let steps = data.len().div_ceil(2);
    assert_eq!(told.len(), steps);
    assert_eq!(report.step, 2 * steps as u64);
    assert_eq!(after[0], before[0], "the whole stream was waited for");
    // One event a step. (Page-locked memory is there for more copies than a step has.)
    assert_eq!((after[1] - before[1]) as usize, steps);
    for (number, (step, waits, parameters)) in told.iter().enumerate() {
        assert_eq!(*step as usize, steps + number + 1);
        assert_eq!((waits.clone()?[1] - before[1]) as usize, number + 1);
        // The model has the weights of the step that is told of.
        if let Some((_, _, next)) = told.get(number + 1) {
            assert!(!Arc::ptr_eq(next, parameters));
        }
    }
    Ok(())
}

/// The step that is under way when one turns out not to be finite makes no update, and comes again.
fn not_finite() -> Outcome {
    let data = labelled(ProblemType::SingleLabel)?;
    let [_, classifier] = classifiers(&data)?;
    let options = TrainOptions {
        batch_size: 2,
        epochs: 10_000,
        learning_rate: 10.0,
        weight_decay: 10.0,
        max_grad_norm: 0.0,
        schedule: ScheduleKind::Constant,
        warmup_ratio: 0.0,
        ..TrainOptions::default()
    };
    let trainer = Trainer::new(classifier.clone(), &data, None, options.clone())?;
    let mut last = None;
    let mut error = None;
    for _ in 0..100 {
        let mut note = |progress: &Progress<'_>| {
            last = Some((progress.step, classifier.parameters()));
            true
        };
        if let Err(failed) = trainer.train_epoch(Some(&mut note)) {
            error = Some(failed);
            break;
        }
    }
    let (last, parameters) = last.ok_or("no step went well")?;
    let error = error.ok_or("every step went well")?;
    assert!(matches!(error, Error::NotFinite(_)), "{error}");
    let named = format!("At step {} ", last.step + 1);
    assert!(error.message().starts_with(&named), "{error}");
    assert!(Arc::ptr_eq(&parameters, &classifier.parameters()));
    // As on the CPU the step's batch is left out, and the next one is the one behind it: a trainer that makes one step at
    // a time comes to the same.
    let [_, other] = classifiers(&data)?;
    let one_by_one = Trainer::new(other.clone(), &data, None, options)?;
    for _ in 0..last.step {
        one_by_one.train_step(None)?;
    }
    assert!(matches!(
        one_by_one.train_step(None),
        Err(Error::NotFinite(_))
    ));
    assert_eq!(
        classifier.save_to_buffer()?,
        other.save_to_buffer()?,
        "the weights differ"
    );
    let outcomes = [&trainer, &one_by_one].map(|trainer| {
        let report = trainer.train_step(None);
        report.map(|report| (report.step, report.tokens, report.loss.to_bits()))
    });
    match outcomes {
        [Ok(a), Ok(b)] => assert_eq!(a, b),
        [Err(a), Err(b)] => assert_eq!(a.message(), b.message()),
        [a, b] => return Err(format!("{a:?} and {b:?}").into()),
    }
    Ok(())
}

/// A checkpoint that is made in a callback, while a step is under way, has that step too, its line in the history included.
fn checkpoints() -> Outcome {
    let data = labelled(ProblemType::SingleLabel)?;
    let directory = tempfile::tempdir()?;
    let history = directory.path().join("history.jsonl");
    let checkpoint = directory.path().join("checkpoint");
    let options = TrainOptions {
        batch_size: 2,
        epochs: 2,
        history_path: Some(history.clone()),
        ..TrainOptions::default()
    };
    let trainer = |options: &TrainOptions| -> Result<_, String> {
        let [_, classifier] = classifiers(&data)?;
        let trainer = Trainer::new(classifier.clone(), &data, None, options.clone());
        Ok((classifier, trainer.map_err(|error| error.to_string())?))
    };
    let (whole, uninterrupted) = trainer(&options)?;
    uninterrupted.train(None)?;
    let (_, first) = trainer(&options)?;
    let mut saved = Ok(());
    let mut save = |progress: &Progress<'_>| {
        if progress.step.step == 3 {
            saved = first.save(&checkpoint);
        }
        progress.step.step < 6
    };
    let outcome = first.train(Some(&mut save));
    assert!(matches!(outcome, Err(Error::Cancelled(_))));
    saved?;
    let (classifier, second) = trainer(&options)?;
    assert_eq!(second.resume(&checkpoint)?.step, 4);
    let report = second.train(None)?;
    assert_eq!(report.steps as usize, 2 * data.len().div_ceil(2));
    assert!(classifier.save_to_buffer()? == whole.save_to_buffer()?);
    let lines = fs::read_to_string(&history)?;
    let steps: Vec<u64> = lines
        .lines()
        .map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            line["step"].as_u64().unwrap()
        })
        .collect();
    assert_eq!(steps, (1..=report.steps).collect::<Vec<_>>());
    Ok(())
}

// ---- Numbers ---------------------------------------------------------------------------------------------------------

/// Sequences of several lengths, one longer than a warp, which has two tiles of each of attention's kernels.
fn batch() -> Batch {
    batch_of(&[6, 2, 37, 16, 4])
}

fn batch_of(lengths: &[usize]) -> Batch {
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
        (1, 40, Pooling::Cls, HiddenAct::Relu, true),
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

/// Half the numbers' digits: what is lost shows, and a wrong formula shows more. Heads of 16, 40 and 64 columns go through
/// the tensor cores, whose blocks have 64 rows.
fn gradients_of_bfloat16() -> Outcome {
    let short = batch();
    let long = batch_of(&[150, 1, 64, 65, 33]);
    for (heads, head_size, batch) in [
        (2, 20, &short),
        (2, 16, &short),
        (2, 32, &long),
        (1, 40, &long),
        (2, 64, &long),
        (1, 72, &long),
    ] {
        gradients_of_heads_in_bfloat16(heads, head_size, batch)
            .map_err(|error| format!("{heads} heads of {head_size}: {error}"))?;
    }
    Ok(())
}

fn gradients_of_heads_in_bfloat16(
    heads: usize,
    head_size: usize,
    batch: &Batch,
) -> Result<(), String> {
    let config = BertConfig {
        max_position_embeddings: 150,
        ..config(heads, head_size)
    };
    let both = both(&config, None)?;
    for dropout in [None, Some(Dropout::new(3, 5))] {
        let pass = TrainingPass {
            dropout,
            ..TrainingPass::plain(batch)
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
            let is_near = share <= 0.04 || spec.name.contains("key.bias");
            if !is_near {
                return Err(format!("{}: {share} of it is lost", spec.name));
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
            // The CPU rounds to bfloat16 too, and computes in float32 where float16 is asked for.
            let on_host = host.0.logits_in(precision, &host.1, &batch)?;
            check_near(&what, &on_host, &all, tolerance)?;
            let is_float32 = on_host == logits(&host)?;
            if is_float32 != (precision == InferencePrecision::Float16) {
                return Err(format!("{precision:?} on the CPU: float32 is {is_float32}").into());
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
