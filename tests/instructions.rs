//! BERT_INSTRUCTIONS holds the kernels back to narrower instructions, and those compute what the widest do.

use std::process::Command;

use bert::data::Batch;
use bert::device::Device;
use bert::model::{BertConfig, Model, Parameters, TrainingPass};
use bert::ops::isa::{self, Level};
use bert::ops::{Buffers, Precision};
use bert::random::Dropout;

/// Set in a process that only computes and prints what it got.
const CHILD: &str = "BERT_TEST_INSTRUCTIONS_CHILD";

/// The logits and the norm of each gradient of a small model of odd sizes, in float32 and in bfloat16, dropout included.
fn numbers() -> Vec<f32> {
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
    let mut numbers = model.logits(&parameters, &batch).unwrap();
    for precision in [Precision::Float32, Precision::BFloat16] {
        let mut gradients = model.zero_gradients(Default::default()).unwrap();
        let pass = TrainingPass {
            dropout: Some(Dropout::new(3, 5)),
            precision,
            ..TrainingPass::plain(&batch)
        };
        let logits = model
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
        numbers.extend(logits);
        for (gradient, spec) in gradients.iter().zip(&model.table.specs) {
            // The key biases' gradient is zero but for rounding.
            if !spec.name.contains("key.bias") {
                numbers.push(gradient.iter().map(|g| g * g).sum::<f32>().sqrt());
            }
        }
    }
    numbers
}

#[test]
fn every_level_computes_the_same() {
    if std::env::var_os(CHILD).is_some() {
        let numbers: Vec<String> = numbers().iter().map(f32::to_string).collect();
        println!(
            "\nlevel: {}\nnumbers: {}",
            isa::level().name(),
            numbers.join(" ")
        );
        return;
    }
    let at = |level: Level| -> Vec<f32> {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "every_level_computes_the_same", "--nocapture"])
            .env(CHILD, "1")
            .env(isa::VARIABLE, level.name())
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{text}");
        let line = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.expect("the child prints it").trim().to_string()
        };
        assert_eq!(line("level:"), level.name());
        line("numbers:")
            .split(' ')
            .map(|n| n.parse().unwrap())
            .collect()
    };
    let levels = Level::ALL
        .into_iter()
        .filter(|&level| level <= isa::widest());
    let results: Vec<Vec<f32>> = levels.map(at).collect();
    let floats = results[0].len() / 2;
    for other in &results[1..] {
        assert_eq!(other.len(), results[0].len());
        for (index, (a, b)) in results[0].iter().zip(other).enumerate() {
            // Where a sum ends on the other side of a bfloat16's rounding, that number differs by a 256th.
            let tolerance = if index < floats { 2e-5 } else { 1e-2 };
            assert!(
                (a - b).abs() <= tolerance * a.abs().max(1.0),
                "number {index}: {a} {b}"
            );
        }
    }
}
