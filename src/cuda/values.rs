//! A model's values in a GPU's memory.

use std::sync::Arc;

use once_cell::sync::OnceCell;

use super::gpu::{Gpu, Kind, Memory, Number, THREADS};
use super::libraries::Address;
use crate::error::{Error, Result};
use crate::memory;
use crate::model::{ParameterKind, ParameterTable, Values};

/// Numbers that a block has of an array in the kernels over many arrays, as in `kernels/kernels.cu`.
const PIECE: usize = 4096;

/// For those kernels: the number of each array's first piece, and how many pieces there are.
pub(super) fn pieces(lengths: impl Iterator<Item = usize>) -> Result<(Vec<i32>, usize)> {
    let (mut firsts, mut count) = (Vec::new(), 0);
    for length in lengths {
        memory::reserve(&mut firsts, 1)?;
        firsts.push(count as i32);
        count += length.div_ceil(PIECE);
    }
    Ok((firsts, count))
}

/// `Copy` in `kernels/kernels.cu`.
#[derive(Clone, Copy)]
#[repr(C)]
struct Copied {
    from: Address,
    to: Address,
    count: i64,
}

// SAFETY: whole numbers without room between them.
unsafe impl Number for Copied {}

/// One whole set, float32, in the table's order. It never changes; sets share what is the same in them.
#[derive(Debug, Clone)]
pub struct CudaValues {
    gpu: &'static Gpu,
    values: Vec<Arc<Memory>>,
    /// The matrices in bfloat16 and in float16, made when they are first asked for.
    bfloat16: OnceCell<Arc<Matrices>>,
    float16: OnceCell<Arc<Matrices>>,
}

/// The matrices that products read, in the table's order; `None` where a value isn't one.
pub(super) type Matrices = Vec<Option<Memory>>;

impl CudaValues {
    /// A copy of values in host memory.
    pub fn upload<V: AsRef<Vec<f32>>>(gpu: &'static Gpu, values: &[V]) -> Result<CudaValues> {
        let values = values
            .iter()
            .map(|values| Ok(Arc::new(gpu.upload(values.as_ref())?)));
        Ok(CudaValues::of(gpu, memory::collected(values)?))
    }

    fn of(gpu: &'static Gpu, values: Vec<Arc<Memory>>) -> CudaValues {
        CudaValues {
            gpu,
            values,
            bfloat16: OnceCell::new(),
            float16: OnceCell::new(),
        }
    }

    /// The next set: what has numbers in `updated` gets those, the rest is shared with this one.
    pub fn with_updated(&self, updated: &[Vec<f32>]) -> Result<CudaValues> {
        let values = self.values.iter().zip(updated).map(|(old, new)| {
            Ok(if new.is_empty() {
                old.clone()
            } else {
                Arc::new(self.gpu.upload(new)?)
            })
        });
        Ok(CudaValues::of(self.gpu, memory::collected(values)?))
    }

    /// The next set, with room for what has so many numbers in `lengths`, of arbitrary content; the rest, where there is a
    /// 0, is shared with this one.
    pub(super) fn with_room(&self, lengths: &[usize]) -> Result<CudaValues> {
        let values = self.values.iter().zip(lengths).map(|(old, &length)| {
            Ok(match length {
                0 => old.clone(),
                _ => Arc::new(self.gpu.memory(old.bytes())?),
            })
        });
        Ok(CudaValues::of(self.gpu, memory::collected(values)?))
    }

    /// This set's with more behind them.
    pub fn with_more(&self, more: &[Vec<f32>]) -> Result<CudaValues> {
        let mut values = self.values.clone();
        for more in more {
            values.push(Arc::new(self.gpu.upload(more)?));
        }
        Ok(CudaValues::of(self.gpu, values))
    }

    /// A copy in host memory.
    pub fn host(&self) -> Result<Vec<Values>> {
        memory::collected(self.values.iter().map(|values| {
            let mut numbers = memory::filled(0f32, values.bytes() / 4)?;
            values.read(&mut numbers)?;
            Ok(Arc::new(numbers))
        }))
    }

    /// The GPU that has them.
    pub fn gpu(&self) -> &'static Gpu {
        self.gpu
    }

    /// Whether they are as large as the table's parameters.
    pub(super) fn are_of(&self, table: &ParameterTable) -> bool {
        let sizes = table.specs.iter().map(|spec| 4 * spec.len());
        self.values.iter().map(|values| values.bytes()).eq(sizes)
    }

    /// Parameter number `index`.
    pub(super) fn value(&self, index: usize) -> &Memory {
        &self.values[index]
    }

    /// The matrices rounded to that kind; `None` of float32, which the values are.
    pub(super) fn rounded(&self, table: &ParameterTable, kind: Kind) -> Result<Option<&Matrices>> {
        let cell = match kind {
            Kind::Float32 => return Ok(None),
            Kind::BFloat16 => &self.bfloat16,
            Kind::Float16 => &self.float16,
        };
        let rounded = cell.get_or_try_init(|| {
            let mut copies = Vec::new();
            let all = self.values.iter().zip(&table.specs).map(|(values, spec)| {
                let is_matrix = matches!(
                    spec.kind,
                    ParameterKind::Weight | ParameterKind::LoraDown | ParameterKind::LoraUp
                );
                if !is_matrix {
                    return Ok(None);
                }
                let count = values.bytes() / 4;
                let copy = self.gpu.memory(count * kind.bytes())?;
                copies.push(Copied {
                    from: values.at(),
                    to: copy.at(),
                    count: count as i64,
                });
                Ok(Some(copy))
            });
            let all = memory::collected(all)?;
            let (pieces, piece_count) = pieces(copies.iter().map(|copy| copy.count as usize))?;
            let count = copies.len();
            let (copies, pieces) = (self.gpu.upload(&copies)?, self.gpu.upload(&pieces)?);
            self.gpu.launch(
                ("round", kind.suffix()),
                (piece_count, 1),
                THREADS,
                0,
                &mut [(&copies).into(), (&pieces).into(), count.into()],
            )?;
            Ok::<_, Error>(Arc::new(all))
        })?;
        Ok(Some(rounded))
    }
}
