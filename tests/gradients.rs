//! Every parameter's gradient against finite differences, in float64, for every kind of model.

use bert::data::{Batch, Targets};
use bert::device::Device;
use bert::model::plain::Pass;
use bert::model::{
    BertConfig, Frozen, Gradients, HiddenAct, LoraConfig, Model, ParameterKind, Parameters,
    Pooling, Projection, Projections, TrainingPass,
};
use bert::ops::{Buffers, Precision};
use bert::problem::ProblemType;
use bert::random::Dropout;
use bert::train::loss::{CrossEntropy, Objective};
use candle_core::{Tensor, Var};

fn batch() -> Batch {
    Batch::pack([
        (&[1u32, 5, 6, 2, 7, 2][..], &[0u32, 0, 0, 0, 1, 1][..]),
        (&[1, 2], &[0, 0]),
        (&[1, 8, 5, 2], &[0, 0, 0, 0]),
    ])
}

fn config(pooling: Pooling, hidden_act: HiddenAct, final_layer_norm: bool) -> BertConfig {
    BertConfig {
        vocab_size: 10,
        hidden_size: 8,
        num_hidden_layers: 2,
        num_attention_heads: 2,
        intermediate_size: 12,
        hidden_act,
        max_position_embeddings: 8,
        // Large values, so that every gradient is far from zero.
        initializer_range: 0.5,
        layer_norm_eps: 1e-12,
        pooling,
        final_layer_norm,
        num_labels: 3,
        ..BertConfig::default()
    }
}

/// By the plain definition.
fn logits(model: &Model, tensors: &[Tensor], batch: &Batch, dropout: Option<Dropout>) -> Tensor {
    let pass = Pass {
        config: &model.config,
        table: &model.table,
        tensors,
        batch,
        dropout,
    };
    pass.logits().unwrap()
}

/// Σ logits · fixed factors: every logit counts, each differently.
fn objective(model: &Model, tensors: &[Tensor], batch: &Batch, dropout: Option<Dropout>) -> Tensor {
    let logits = logits(model, tensors, batch, dropout);
    let factors: Vec<f64> = (0..logits.elem_count())
        .map(|i| (0.7 * i as f64 + 0.3).sin())
        .collect();
    let factors = Tensor::from_vec(factors, logits.shape(), &candle_core::Device::Cpu).unwrap();
    (logits * factors).unwrap().sum_all().unwrap()
}

/// Norms and biases away from one and zero, in float64.
fn parameters(model: &Model) -> Vec<Tensor> {
    let initial = Parameters::initialise(&model.config, &model.table, 11, &Device::Cpu).unwrap();
    initial
        .host()
        .unwrap()
        .iter()
        .zip(&model.table.specs)
        .map(|(values, spec)| {
            let values: Vec<f64> = values
                .iter()
                .map(|&v| f64::from(v))
                .enumerate()
                .map(|(i, v)| match spec.kind {
                    ParameterKind::Embedding { .. } | ParameterKind::Weight => v,
                    _ => v + 0.2 * (1.3 * i as f64 + 1.0).sin(),
                })
                .collect();
            Tensor::from_vec(values, spec.shape.as_slice(), &candle_core::Device::Cpu).unwrap()
        })
        .collect()
}

fn numbers(tensor: &Tensor) -> Vec<f64> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// The same as the kernels take them.
fn narrow(model: &Model, tensors: &[Tensor]) -> Parameters {
    let values = tensors
        .iter()
        .map(|tensor| numbers(tensor).into_iter().map(|v| v as f32).collect())
        .collect();
    Parameters::from_host(values, &model.table, &Device::Cpu).unwrap()
}

/// The derivative of `value` by one element of tensor `index`, by its values on both sides.
fn difference(
    value: &dyn Fn(&[Tensor]) -> f64,
    tensors: &[Tensor],
    index: usize,
    element: usize,
) -> f64 {
    let original = numbers(&tensors[index]);
    let mut moved = tensors.to_vec();
    let mut at = |step: f64| -> f64 {
        let mut values = original.clone();
        values[element] += step;
        moved[index] =
            Tensor::from_vec(values, tensors[index].shape(), &candle_core::Device::Cpu).unwrap();
        value(&moved)
    };
    let h = 1e-5;
    (at(h) - at(-h)) / (2.0 * h)
}

fn check(config: BertConfig, dropout: Option<Dropout>) {
    check_model(Model::new(config, Device::Cpu).unwrap(), dropout);
}

fn check_model(model: Model, dropout: Option<Dropout>) {
    let tensors = parameters(&model);
    let variables: Vec<Tensor> = tensors
        .iter()
        .map(|t| Var::from_tensor(t).unwrap().into_inner())
        .collect();
    let batch = batch();
    let store = objective(&model, &variables, &batch, dropout)
        .backward()
        .unwrap();
    let value = |tensors: &[Tensor]| -> f64 {
        objective(&model, tensors, &batch, dropout)
            .to_scalar::<f64>()
            .unwrap()
    };
    for (index, spec) in model.table.specs.iter().enumerate() {
        let gradient = store
            .get(&variables[index])
            .unwrap_or_else(|| panic!("{} has no gradient", spec.name));
        let gradient = numbers(gradient);
        let mut largest = 0f64;
        assert_eq!(gradient.len(), spec.len());
        for (element, &gradient) in gradient.iter().enumerate() {
            let difference = difference(&value, &tensors, index, element);
            let error = (difference - gradient).abs();
            // candle's derivative of the exact GELU has constants of six digits.
            assert!(
                error < 1e-5 * (1.0 + difference.abs()),
                "{}[{element}]: gradient {gradient}, difference {difference}",
                spec.name
            );
            largest = largest.max(gradient.abs());
        }
        // Softmax cancels a constant added to all of a query's scores: in theory a key bias has no gradient.
        if spec.name.ends_with("key.bias") {
            assert!(largest < 1e-8, "{}: {largest}", spec.name);
        } else {
            assert!(largest > 1e-3, "{}: {largest}", spec.name);
        }
    }
}

#[test]
fn every_parameter_gets_its_gradient_with_pooler_and_gelu() {
    check(config(Pooling::Pooler, HiddenAct::Gelu, false), None);
}

#[test]
fn every_parameter_gets_its_gradient_with_cls_and_tanh_gelu_and_last_norm() {
    check(config(Pooling::Cls, HiddenAct::GeluTanh, true), None);
}

#[test]
fn every_parameter_gets_its_gradient_with_mean_and_relu() {
    check(config(Pooling::Mean, HiddenAct::Relu, false), None);
}

#[test]
fn every_parameter_gets_its_gradient_with_every_dropout_acting() {
    let config = BertConfig {
        hidden_dropout_prob: 0.3,
        attention_probs_dropout_prob: 0.2,
        classifier_dropout: Some(0.4),
        ..config(Pooling::Pooler, HiddenAct::Gelu, false)
    };
    check(config, Some(Dropout::new(3, 5)));
}

/// Every dropout of the model, and that of adapters on `targets`.
fn lora_model(pooling: Pooling, targets: Projections) -> Model {
    let config = BertConfig {
        hidden_dropout_prob: 0.3,
        attention_probs_dropout_prob: 0.2,
        classifier_dropout: Some(0.4),
        ..config(pooling, HiddenAct::Gelu, pooling == Pooling::Mean)
    };
    let lora = LoraConfig {
        rank: 3,
        alpha: 5.0,
        dropout: 0.25,
        targets,
        ..LoraConfig::default()
    };
    Model::with_lora(config, lora, Device::Cpu).unwrap()
}

#[test]
fn every_parameter_gets_its_gradient_with_adapters_and_their_dropout() {
    let all: Projections = Projection::ALL.into_iter().collect();
    check_model(lora_model(Pooling::Pooler, all), Some(Dropout::new(3, 5)));
}

/// The CPU's kernels and the plain definition give the same logits and the same gradient of every parameter that isn't
/// frozen. Gives the kernels' gradients.
fn both_ways_agree(
    model: &Model,
    parameters: &Parameters,
    dropout: Option<Dropout>,
    frozen: Frozen,
) -> Gradients {
    let batch = batch();
    let loss = |logits: &[f32]| -> Vec<f32> {
        (0..logits.len())
            .map(|i| (0.7 * i as f32 + 0.3).sin())
            .collect()
    };
    let pass = TrainingPass {
        batch: &batch,
        dropout,
        frozen,
        ..TrainingPass::plain(&batch)
    };
    let mut buffers = Buffers::default();
    let zeros = || model.zero_gradients(frozen).unwrap();
    let mut compute = |pass: TrainingPass<'_>, mut gradients: Gradients| {
        let logits = model
            .logits_and_gradients(parameters, pass, loss, &mut gradients, &mut buffers)
            .unwrap();
        (logits, gradients)
    };
    // Twice, the second time on used memory: nothing is left over from the first.
    compute(pass, zeros());
    let (packed_logits, packed) = compute(pass, zeros());
    // What is computed again is the same, bit for bit.
    let checkpointing = TrainingPass {
        gradient_checkpointing: true,
        ..pass
    };
    let checkpointed = compute(checkpointing, zeros());
    assert!(checkpointed == (packed_logits.clone(), packed.clone()));
    // Weights' gradients take the place of whatever was there, or are added to it; all others are added.
    for (before, replaces_weight_gradients) in [(f32::NAN, true), (1.0, false)] {
        let pass = TrainingPass {
            replaces_weight_gradients,
            ..pass
        };
        let mut gradients = zeros();
        let is_weight = |index: usize| model.table.specs[index].kind == ParameterKind::Weight;
        for (index, gradient) in gradients.iter_mut().enumerate() {
            gradient.fill(if is_weight(index) { before } else { 0.0 });
        }
        let (_, gradients) = compute(pass, gradients);
        for (index, (again, once)) in gradients.iter().zip(&packed).enumerate() {
            if replaces_weight_gradients || !is_weight(index) {
                assert!(again == once, "{}", model.table.specs[index].name);
            } else {
                for (again, once) in again.iter().zip(once) {
                    assert!((again - once - 1.0).abs() < 1e-5 * once.abs().max(1.0));
                }
            }
        }
    }
    // bfloat16 keeps 8 bits of a number, and such small models make much of what is lost: 12 % at most were seen.
    let rounding = TrainingPass {
        precision: Precision::BFloat16,
        ..pass
    };
    let (_, rounded) = compute(rounding, zeros());
    let norm = |values: &[f32]| values.iter().map(|v| v * v).sum::<f32>().sqrt();
    for ((a, b), spec) in rounded.iter().zip(&packed).zip(&model.table.specs) {
        let difference: Vec<f32> = a.iter().zip(b).map(|(a, b)| a - b).collect();
        // The key biases' gradient is zero but for rounding.
        if !spec.name.contains("key.bias") {
            assert!(norm(&difference) <= 0.2 * norm(b), "{}", spec.name);
        }
    }
    let mut plain = model.zero_gradients(frozen).unwrap();
    let tensors = parameters.tensors(&model.table).unwrap();
    let plain_logits = model
        .plain_logits_and_gradients(&tensors, &batch, dropout, loss, &mut plain)
        .unwrap();
    for (a, b) in packed_logits.iter().zip(&plain_logits) {
        assert!((a - b).abs() < 2e-5, "logits {a} {b}");
    }
    if dropout.is_none() {
        assert_close(&model.logits(parameters, &batch).unwrap(), &packed_logits);
    }
    for ((a, b), spec) in packed.iter().zip(&plain).zip(&model.table.specs) {
        let scale = b.iter().fold(1f32, |m, v| m.max(v.abs()));
        for (a, b) in a.iter().zip(b) {
            assert!((a - b).abs() < 3e-5 * scale, "{}: {a} {b}", spec.name);
        }
    }
    packed
}

/// The CPU's kernels and the plain definition with adapters: the same logits, the same gradients of the adapters and the
/// head, none of anything else; for each projection alone and for all, with and without frozen layers.
#[test]
fn both_ways_through_a_model_with_adapters_agree() {
    let one = |projection: Projection| -> Projections { [projection].into_iter().collect() };
    let all: Projections = Projection::ALL.into_iter().collect();
    for targets in Projection::ALL.map(one).into_iter().chain([all]) {
        for (pooling, layers) in [(Pooling::Pooler, 0), (Pooling::Mean, 0), (Pooling::Cls, 1)] {
            for dropout in [None, Some(Dropout::new(3, 5))] {
                let model = lora_model(pooling, targets);
                // B of no zeros.
                let parameters = narrow(&model, &parameters(&model));
                let frozen = Frozen {
                    embeddings: false,
                    layers,
                };
                let gradients = both_ways_agree(&model, &parameters, dropout, frozen);
                let mut trained = 0;
                for (gradient, spec) in gradients.iter().zip(&model.table.specs) {
                    let is_trained = spec.name.starts_with("classifier.")
                        || spec.name.starts_with("bert.pooler.")
                        || (spec.name.contains(".lora_")
                            && !(layers == 1 && spec.name.contains("layer.0.")));
                    assert_eq!(gradient.is_empty(), !is_trained, "{}", spec.name);
                    trained += usize::from(is_trained);
                }
                let head = if pooling == Pooling::Pooler { 4 } else { 2 };
                assert_eq!(trained, head + 2 * (2 - layers) * targets.len());
            }
        }
    }
}

/// The gradient of each problem's mean loss by every parameter, through the head and all below it, against finite
/// differences of that loss in float64 by its textbook formula.
#[test]
fn every_parameter_gets_its_gradient_of_every_loss() {
    let lists = vec![vec![0, 2], vec![], vec![1]];
    let values = vec![0.5f32, -1.0, 2.0, 0.0, 1.5, -0.5, 3.0, 1.0, -2.0];
    for problem in ProblemType::ALL {
        let targets = match problem {
            ProblemType::SingleLabel => Targets::Classes(vec![2, 0, 1]),
            ProblemType::MultiLabel => Targets::Labels(lists.clone()),
            ProblemType::Regression => Targets::Values {
                values: values.clone(),
                width: 3,
            },
        };
        let config = BertConfig {
            problem_type: problem,
            ..config(Pooling::Pooler, HiddenAct::Gelu, false)
        };
        let model = Model::new(config, Device::Cpu).unwrap();
        let tensors = parameters(&model);
        let batch = batch();
        let mean_loss = |tensors: &[Tensor]| -> f64 {
            let rows: Vec<Vec<f64>> = logits(&model, tensors, &batch, None).to_vec2().unwrap();
            let mut sum = 0.0;
            for (i, row) in rows.iter().enumerate() {
                for (j, &x) in row.iter().enumerate() {
                    sum += match problem {
                        ProblemType::SingleLabel if [2, 0, 1][i] == j => {
                            row.iter().map(|y| y.exp()).sum::<f64>().ln() - x
                        }
                        ProblemType::SingleLabel => 0.0,
                        ProblemType::MultiLabel => {
                            let p = 1.0 / (1.0 + (-x).exp());
                            let has_label = lists[i].contains(&(j as u32));
                            -(if has_label { p } else { 1.0 - p }).ln() / 3.0
                        }
                        ProblemType::Regression => (x - f64::from(values[3 * i + j])).powi(2) / 3.0,
                    };
                }
            }
            sum / 3.0
        };
        let objective = Objective {
            targets: &targets,
            cross_entropy: &CrossEntropy::default(),
            thresholds: &[0.5; 3],
            num_labels: 3,
            deviations: None,
        };
        let mut gradients = model.zero_gradients(Frozen::default()).unwrap();
        let mut loss = 0.0;
        model
            .logits_and_gradients(
                &narrow(&model, &tensors),
                TrainingPass::plain(&batch),
                |logits| {
                    let found = objective.of(&[0, 1, 2], logits, 1.0 / 3.0);
                    loss = found.sum / 3.0;
                    found.derivative
                },
                &mut gradients,
                &mut Buffers::default(),
            )
            .unwrap();
        let expected = mean_loss(&tensors);
        assert!(
            (loss - expected).abs() < 1e-5 * expected,
            "{problem}: {loss} {expected}"
        );
        for (index, spec) in model.table.specs.iter().enumerate() {
            // A few of each: every one of them is held to differences above.
            for element in (0..spec.len()).step_by(spec.len().div_ceil(7)) {
                let difference = difference(&mean_loss, &tensors, index, element);
                let gradient = f64::from(gradients[index][element]);
                assert!(
                    (difference - gradient).abs() < 1e-4 * (1.0 + difference.abs()),
                    "{problem}: {}[{element}]: gradient {gradient}, difference {difference}",
                    spec.name
                );
            }
        }
    }
}

/// Inference goes another way than training.
fn assert_close(a: &[f32], b: &[f32]) {
    assert_eq!(a.len(), b.len());
    for (a, b) in a.iter().zip(b) {
        assert!((a - b).abs() < 1e-5, "{a} {b}");
    }
}

/// What the trainer sees: gradients of the padding token's row are zero, of tokens and positions that a batch lacks too.
#[test]
fn rows_that_a_batch_lacks_and_the_padding_row_get_no_gradient() {
    let model = Model::new(config(Pooling::Pooler, HiddenAct::Gelu, false), Device::Cpu).unwrap();
    let parameters = Parameters::initialise(&model.config, &model.table, 11, &Device::Cpu).unwrap();
    let mut gradients = model.zero_gradients(Frozen::default()).unwrap();
    let with_padding = Batch::pack([(&[1u32, 0, 5, 2][..], &[0u32; 4][..])]);
    let logits = model
        .logits_and_gradients(
            &parameters,
            TrainingPass::plain(&with_padding),
            |logits| vec![1.0; logits.len()],
            &mut gradients,
            &mut Buffers::default(),
        )
        .unwrap();
    assert_close(&logits, &model.logits(&parameters, &with_padding).unwrap());
    let words = &gradients[model.table.embeddings.word];
    let used = |row: usize| words[row * 8..(row + 1) * 8].iter().any(|&g| g != 0.0);
    assert!(used(1) && used(2) && used(5));
    assert!(!used(0), "the padding row got a gradient");
    assert!(!used(3) && !used(9));
    let positions = &gradients[model.table.embeddings.position];
    assert!(positions[..4 * 8].iter().any(|&g| g != 0.0));
    assert!(positions[4 * 8..].iter().all(|&g| g == 0.0));
}

/// The CPU's kernels and the plain definition: the same logits and the same gradient of every parameter, for every kind of
/// model, with every dropout acting.
#[test]
fn both_ways_through_the_model_agree() {
    for (pooling, hidden_act, final_layer_norm) in [
        (Pooling::Pooler, HiddenAct::Gelu, false),
        (Pooling::Cls, HiddenAct::GeluTanh, true),
        (Pooling::Mean, HiddenAct::Relu, true),
    ] {
        for dropout in [None, Some(Dropout::new(3, 5))] {
            let config = BertConfig {
                hidden_dropout_prob: 0.3,
                attention_probs_dropout_prob: 0.2,
                classifier_dropout: Some(0.4),
                ..config(pooling, hidden_act, final_layer_norm)
            };
            let model = Model::new(config, Device::Cpu).unwrap();
            let parameters =
                Parameters::initialise(&model.config, &model.table, 11, &Device::Cpu).unwrap();
            both_ways_agree(&model, &parameters, dropout, Frozen::default());
        }
    }
}

/// What isn't frozen gets the gradient that it gets where nothing is; what is has none.
#[test]
fn freezing_leaves_the_other_gradients_as_they_are() {
    let config = config(Pooling::Pooler, HiddenAct::Gelu, true);
    let model = Model::new(config, Device::Cpu).unwrap();
    let parameters = Parameters::initialise(&model.config, &model.table, 11, &Device::Cpu).unwrap();
    let compute = |frozen: Frozen| {
        let mut gradients = model.zero_gradients(frozen).unwrap();
        model
            .logits_and_gradients(
                &parameters,
                TrainingPass {
                    batch: &batch(),
                    dropout: Some(Dropout::new(3, 5)),
                    frozen,
                    ..TrainingPass::plain(&batch())
                },
                |logits| logits.iter().map(|x| x.sin()).collect(),
                &mut gradients,
                &mut Buffers::default(),
            )
            .unwrap();
        gradients
    };
    let whole = compute(Frozen::default());
    for (embeddings, layers, trained) in [
        (true, 0, 5 + 2 * 16 + 2 + 4 - 5),
        (false, 1, 16 + 2 + 4),
        (true, 2, 4),
    ] {
        let frozen = Frozen { embeddings, layers };
        let part = compute(frozen);
        let mut count = 0;
        for (index, (part, whole)) in part.iter().zip(&whole).enumerate() {
            if model.table.is_frozen(index, frozen) {
                assert!(part.is_empty());
            } else {
                count += 1;
                assert_eq!(part, whole, "{}", model.table.specs[index].name);
            }
        }
        assert_eq!(count, trained);
    }
}

/// Padding changes nothing: a text alone and in a batch with a longer one, and the dropouts too.
#[test]
fn a_text_alone_and_in_a_batch_agree() {
    let model = Model::new(
        BertConfig {
            hidden_dropout_prob: 0.3,
            ..config(Pooling::Mean, HiddenAct::Gelu, true)
        },
        Device::Cpu,
    )
    .unwrap();
    let parameters = Parameters::initialise(&model.config, &model.table, 2, &Device::Cpu).unwrap();
    let batch = batch();
    let together = model.logits(&parameters, &batch).unwrap();
    for index in 0..batch.len() {
        let alone = model.logits(&parameters, &batch.select(&[index])).unwrap();
        for (a, b) in alone.iter().zip(&together[index * 3..]) {
            assert!((a - b).abs() < 1e-5, "{a} {b}");
        }
    }
}
