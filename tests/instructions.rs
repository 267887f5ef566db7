//! BERT_INSTRUCTIONS holds the kernels back to narrower instructions, and those compute what the widest do.

use std::process::Command;

use bert::data::Batch;
use bert::device::Device;
use bert::model::quantized::quantized;
use bert::model::{BertConfig, InferencePrecision, Model, Parameters, TrainingPass};
use bert::ops::isa::{self, Level};
use bert::ops::{Buffers, Precision};
use bert::random::Dropout;

/// Set in a process that only computes and prints what it got.
const CHILD: &str = "BERT_TEST_INSTRUCTIONS_CHILD";

/// What a model computes in a format, and how far two levels may be apart in it, as a share of numbers above one.
struct Numbers {
    name: &'static str,
    tolerance: f32,
    numbers: Vec<f32>,
}

/// The logits, and in training the norm of each gradient, of a small model of odd sizes, dropout included.
fn numbers() -> Vec<Numbers> {
    let config = BertConfig {
        vocab_size: 50,
        hidden_size: 36,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        intermediate_size: 75,
        max_position_embeddings: 72,
        num_labels: 3,
        ..BertConfig::default()
    };
    let model = Model::new(config, Device::Cpu).unwrap();
    let parameters = Parameters::initialise(&model.config, &model.table, 7, &Device::Cpu).unwrap();
    let sequences: Vec<Vec<u32>> = [1u32, 40, 17, 70]
        .iter()
        .map(|&n| (0..n).map(|i| 1 + (i * 7 + n) % 49).collect())
        .collect();
    let types = [0u32; 70];
    let batch = Batch::pack(
        sequences
            .iter()
            .map(|ids| (ids.as_slice(), &types[..ids.len()])),
    );
    let logits = |parameters: &Parameters| model.logits(parameters, &batch).unwrap();
    let host = parameters.host().unwrap();
    let int8 = Parameters::Int8(quantized(&model.table, &host).unwrap().into());
    let rounded = model.logits_in(InferencePrecision::BFloat16, &parameters, &batch);
    let trained = |precision: Precision| {
        let mut gradients = model.zero_gradients(Default::default()).unwrap();
        let pass = TrainingPass {
            dropout: Some(Dropout::new(3, 5)),
            precision,
            ..TrainingPass::plain(&batch)
        };
        let mut numbers = model
            .logits_and_gradients(
                &parameters,
                pass,
                |logits| {
                    logits
                        .iter()
                        .enumerate()
                        .map(|(i, x)| x.sin() + i as f32)
                        .collect()
                },
                &mut gradients,
                &mut Buffers::default(),
            )
            .unwrap();
        for (gradient, spec) in gradients.iter().zip(&model.table.specs) {
            // The key biases' gradient is zero but for rounding.
            if !spec.name.contains("key.bias") {
                numbers.push(gradient.iter().map(|g| g * g).sum::<f32>().sqrt());
            }
        }
        numbers
    };
    let of = |name, tolerance, numbers| Numbers {
        name,
        tolerance,
        numbers,
    };
    vec![
        of("float32", 2e-5, logits(&parameters)),
        // Where a state, or its sum, is on the other side of a rounding, that number differs by a step.
        of("bfloat16", 1e-2, rounded.unwrap()),
        of("int8", 1e-2, logits(&int8)),
        of("training in float32", 2e-5, trained(Precision::Float32)),
        of("training in bfloat16", 1e-2, trained(Precision::BFloat16)),
    ]
}

#[test]
fn every_level_computes_the_same() {
    if std::env::var_os(CHILD).is_some() {
        println!("\nlevel: {}", isa::level().name());
        for Numbers { name, numbers, .. } in numbers() {
            let numbers: Vec<String> = numbers.iter().map(f32::to_string).collect();
            println!("{name}: {}", numbers.join(" "));
        }
        return;
    }
    let formats = numbers();
    let at = |level: Level| -> Vec<Vec<f32>> {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "every_level_computes_the_same", "--nocapture"])
            .env(CHILD, "1")
            .env(isa::VARIABLE, level.name())
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{text}");
        let line = |name: &str| {
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            line.expect("the child prints it").to_string()
        };
        assert_eq!(line("level"), level.name());
        let numbers_of = |format: &Numbers| {
            let numbers = line(format.name);
            numbers.split(' ').map(|n| n.parse().unwrap()).collect()
        };
        formats.iter().map(numbers_of).collect()
    };
    let levels: Vec<Level> = Level::ALL
        .into_iter()
        .filter(|&level| level <= isa::widest())
        .collect();
    let results: Vec<Vec<Vec<f32>>> = levels.iter().map(|&level| at(level)).collect();
    for (place, format) in formats.iter().enumerate() {
        let first = &results[0][place];
        for (level, result) in levels.iter().zip(&results) {
            let other = &result[place];
            assert_eq!(other.len(), first.len());
            for (index, (a, b)) in first.iter().zip(other).enumerate() {
                assert!(
                    (a - b).abs() <= format.tolerance * a.abs().max(1.0),
                    "{} at {}, number {index}: {a} {b}",
                    format.name,
                    level.name()
                );
            }
        }
    }
    // Both have the same instructions for everything but products of bfloat16 and int8, whose sums of whole numbers are
    // exact.
    if let [.., avx512, amx] = results.as_slice()
        && levels.ends_with(&[Level::Avx512, Level::Amx])
    {
        for (place, format) in formats.iter().enumerate() {
            if !format.name.contains("bfloat16") {
                assert_eq!(avx512[place], amx[place], "{}", format.name);
            }
        }
    }
}
