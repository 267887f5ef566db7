//! The tensors of a saved model's weights: its parameters by their names; of an int8 model's parameter the numbers, and by
//! the name with `_scale` behind it the rows' scales.

use super::weights::{Numbers, Tensor};
use crate::error::Result;
use crate::memory;
use crate::model::quantized::QuantizedValues;
use crate::model::{Model, ParameterSpec, Parameters, Values};

/// What the name of a parameter's scales ends with.
pub const SCALE_SUFFIX: &str = "_scale";

/// A model's values as they are saved: LoRA adapters merged into the weights.
pub enum Saved<'a> {
    /// float32.
    Float32(&'a Model, Vec<Values>),
    /// An int8 model's.
    Int8(&'a Model, &'a [QuantizedValues]),
}

impl<'a> Saved<'a> {
    /// Those of `parameters`.
    pub fn new(model: &'a Model, parameters: &'a Parameters) -> Result<Saved<'a>> {
        match parameters {
            Parameters::Int8(values) => Ok(Saved::Int8(model, values)),
            Parameters::Host(_) | Parameters::Cuda(_) => {
                Ok(Saved::Float32(model, model.merged_values(parameters)?))
            }
        }
    }

    /// The tensors, those of float32 before those of int8, so that the former stand at multiples of four.
    pub fn tensors(&self) -> Result<Vec<Tensor<'_>>> {
        let of = |spec: &ParameterSpec, numbers| Tensor {
            name: spec.name.clone(),
            shape: spec.shape.clone(),
            numbers,
        };
        match self {
            Saved::Float32(model, values) => {
                let specs = model.table.base_specs().iter().zip(values);
                memory::collected(
                    specs.map(|(spec, values)| Ok(of(spec, Numbers::Float32(values)))),
                )
            }
            Saved::Int8(model, values) => {
                let mut float32 = Vec::new();
                let mut int8 = Vec::new();
                for (spec, values) in model.table.specs.iter().zip(*values) {
                    match values {
                        QuantizedValues::Float32(values) => {
                            float32.push(of(spec, Numbers::Float32(values)));
                        }
                        QuantizedValues::Int8 { numbers, scales } => {
                            int8.push(of(spec, Numbers::Int8(numbers)));
                            float32.push(Tensor {
                                name: format!("{}{SCALE_SUFFIX}", spec.name),
                                shape: vec![scales.len()],
                                numbers: Numbers::Float32(scales),
                            });
                        }
                    }
                }
                float32.append(&mut int8);
                Ok(float32)
            }
        }
    }
}
