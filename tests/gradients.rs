//! Every parameter's gradient against finite differences, in float64, for every kind of model.

use bert::data::Batch;
use bert::model::plain::Pass;
use bert::model::{
    BertConfig, Frozen, HiddenAct, Model, ParameterKind, Parameters, Pooling, TrainingPass,
};
use bert::ops::Buffers;
use bert::random::Dropout;
use candle_core::{Device, Tensor, Var};

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

/// Σ logits · fixed factors: every logit counts, each differently.
fn objective(model: &Model, tensors: &[Tensor], batch: &Batch, dropout: Option<Dropout>) -> Tensor {
    let pass = Pass {
        config: &model.config,
        table: &model.table,
        tensors,
        batch,
        dropout,
        device: &Device::Cpu,
    };
    let logits = pass.logits().unwrap();
    let factors: Vec<f64> = (0..logits.elem_count())
        .map(|i| (0.7 * i as f64 + 0.3).sin())
        .collect();
    let factors = Tensor::from_vec(factors, logits.shape(), &Device::Cpu).unwrap();
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
            Tensor::from_vec(values, spec.shape.as_slice(), &Device::Cpu).unwrap()
        })
        .collect()
}

fn check(config: BertConfig, dropout: Option<Dropout>) {
    let model = Model::new(config, Device::Cpu).unwrap();
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
        let gradient: Vec<f64> = store
            .get(&variables[index])
            .unwrap_or_else(|| panic!("{} has no gradient", spec.name))
            .flatten_all()
            .unwrap()
            .to_vec1()
            .unwrap();
        let original: Vec<f64> = tensors[index].flatten_all().unwrap().to_vec1().unwrap();
        let mut tensors = tensors.clone();
        let mut largest = 0f64;
        for element in 0..original.len() {
            let mut at = |step: f64| -> f64 {
                let mut values = original.clone();
                values[element] += step;
                tensors[index] =
                    Tensor::from_vec(values, spec.shape.as_slice(), &Device::Cpu).unwrap();
                value(&tensors)
            };
            let h = 1e-5;
            let difference = (at(h) - at(-h)) / (2.0 * h);
            let error = (difference - gradient[element]).abs();
            // candle's derivative of the exact GELU has constants of six digits.
            assert!(
                error < 1e-5 * (1.0 + difference.abs()),
                "{}[{element}]: gradient {}, difference {difference}",
                spec.name,
                gradient[element]
            );
            largest = largest.max(gradient[element].abs());
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
    assert_eq!(logits, model.logits(&parameters, &with_padding).unwrap());
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
            let batch = batch();
            let loss = |logits: &[f32]| -> Vec<f32> {
                (0..logits.len())
                    .map(|i| (0.7 * i as f32 + 0.3).sin())
                    .collect()
            };
            let mut packed = model.zero_gradients(Frozen::default()).unwrap();
            let mut buffers = Buffers::default();
            // Twice, the second time on used memory: nothing is left over from the first.
            for _ in 0..2 {
                packed = model.zero_gradients(Frozen::default()).unwrap();
                model
                    .logits_and_gradients(
                        &parameters,
                        TrainingPass {
                            batch: &batch,
                            dropout,
                            frozen: Frozen::default(),
                        },
                        loss,
                        &mut packed,
                        &mut buffers,
                    )
                    .unwrap();
            }
            let packed_logits = model
                .logits_and_gradients(
                    &parameters,
                    TrainingPass {
                        batch: &batch,
                        dropout,
                        frozen: Frozen::default(),
                    },
                    loss,
                    &mut model.zero_gradients(Frozen::default()).unwrap(),
                    &mut buffers,
                )
                .unwrap();
            let mut plain = model.zero_gradients(Frozen::default()).unwrap();
            let tensors = parameters.tensors(&model.table, &Device::Cpu).unwrap();
            let plain_logits = model
                .plain_logits_and_gradients(&tensors, &batch, dropout, loss, &mut plain)
                .unwrap();
            for (a, b) in packed_logits.iter().zip(&plain_logits) {
                assert!((a - b).abs() < 2e-5, "logits {a} {b}");
            }
            if dropout.is_none() {
                assert_eq!(model.logits(&parameters, &batch).unwrap(), packed_logits);
            }
            for ((a, b), spec) in packed.iter().zip(&plain).zip(&model.table.specs) {
                let scale = b.iter().fold(1f32, |m, v| m.max(v.abs()));
                for (a, b) in a.iter().zip(b) {
                    assert!((a - b).abs() < 3e-5 * scale, "{}: {a} {b}", spec.name);
                }
            }
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
