//! The parameters of an int8 model: what one set of float32 values is rounded to, once and for all.
//!
//! Weights have a scale for each output, embeddings one for each row. Norms, biases and the classifier stay float32: they
//! are few, and the classifier's outputs are the answer.

use std::sync::Arc;

use super::parameters::{ParameterKind, ParameterSpec, ParameterTable, Values};
use crate::error::Result;
use crate::memory;
use crate::ops::linear::quantize;

/// One parameter of an int8 model.
#[derive(Debug, Clone)]
pub enum QuantizedValues {
    /// As it was.
    Float32(Values),
    /// Each row's numbers, -127 to 127, times the row's scale.
    Int8 {
        /// Row by row.
        numbers: Arc<Vec<i8>>,
        /// A positive number a row.
        scales: Arc<Vec<f32>>,
    },
}

impl QuantizedValues {
    /// The numbers that are computed with.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`](crate::error::Error::OutOfMemory).
    pub fn float32(&self) -> Result<Values> {
        let (numbers, scales) = match self {
            QuantizedValues::Float32(values) => return Ok(values.clone()),
            QuantizedValues::Int8 { numbers, scales } => (numbers, scales),
        };
        let mut values = memory::room(numbers.len())?;
        let width = numbers.len() / scales.len();
        for (row, scale) in numbers.chunks_exact(width).zip(scales.iter()) {
            values.extend(row.iter().map(|&number| f32::from(number) * scale));
        }
        Ok(Arc::new(values))
    }
}

/// Whether parameter number `index` of an int8 model is int8.
pub fn is_int8(table: &ParameterTable, index: usize) -> bool {
    let is_table = matches!(
        table.specs[index].kind,
        ParameterKind::Embedding { .. } | ParameterKind::Weight
    );
    is_table && index != table.classifier.weight
}

/// Rounds values, in the table's order, to an int8 model's. The table has no adapters.
///
/// # Errors
/// [`Error::OutOfMemory`](crate::error::Error::OutOfMemory).
pub fn quantized(table: &ParameterTable, values: &[Values]) -> Result<Vec<QuantizedValues>> {
    let of = |(index, (spec, values)): (usize, (&ParameterSpec, &Values))| {
        if !is_int8(table, index) {
            return Ok(QuantizedValues::Float32(values.clone()));
        }
        let (numbers, scales) = quantize(values, spec.shape[1])?;
        Ok(QuantizedValues::Int8 {
            numbers: Arc::new(numbers),
            scales: Arc::new(scales),
        })
    };
    memory::collected(table.specs.iter().zip(values).enumerate().map(of))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Device;
    use crate::model::{BertConfig, Parameters, Preset};

    #[test]
    fn each_number_is_half_a_step_off_at_most_and_few_parameters_stay_as_they_are() {
        let config = BertConfig {
            vocab_size: 50,
            ..Preset::Compact.config()
        };
        let table = ParameterTable::new(&config);
        let parameters = Parameters::initialise(&config, &table, 3, &Device::Cpu).unwrap();
        let values = parameters.host().unwrap();
        let quantized = quantized(&table, &values).unwrap();
        for (((spec, values), quantized), index) in table
            .specs
            .iter()
            .zip(values.iter())
            .zip(&quantized)
            .zip(0..)
        {
            let back = quantized.float32().unwrap();
            let QuantizedValues::Int8 { numbers, scales } = quantized else {
                assert!(!is_int8(&table, index));
                assert_eq!(&back, values, "{}", spec.name);
                continue;
            };
            assert!(is_int8(&table, index));
            assert_eq!((numbers.len(), scales.len()), (spec.len(), spec.shape[0]));
            for (row, scale) in scales.iter().enumerate() {
                assert!(*scale > 0.0);
                for place in row * spec.shape[1]..(row + 1) * spec.shape[1] {
                    assert!(
                        (back[place] - values[place]).abs() <= scale * 0.501,
                        "{}",
                        spec.name
                    );
                }
            }
        }
        let float32 = |name: &str| {
            let index = table
                .specs
                .iter()
                .position(|spec| spec.name == name)
                .unwrap();
            matches!(quantized[index], QuantizedValues::Float32(_))
        };
        assert!(float32("classifier.weight") && float32("bert.embeddings.LayerNorm.weight"));
        assert!(!float32("bert.embeddings.word_embeddings.weight"));
    }
}
