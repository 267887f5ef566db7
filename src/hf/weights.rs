//! Parameters in the safetensors format: a header in JSON, then the numbers, little endian.

use half::{bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::Metadata;
use serde_json::{Map, Value, json};

use super::checked_file::CheckedFile;
use crate::error::{Error, Result};
use crate::memory;
use crate::model::Model;

/// A header larger than this isn't one (the format's own limit).
const MAX_HEADER_BYTES: u64 = 100_000_000;

/// Where a safetensors file's bytes are.
pub enum Source<'a> {
    /// An open file, read piece by piece and never mapped.
    File(CheckedFile),
    /// Bytes in memory.
    Bytes(&'a [u8]),
}

impl Source<'_> {
    fn length(&self) -> u64 {
        match self {
            Source::File(file) => file.length(),
            Source::Bytes(bytes) => bytes.len() as u64,
        }
    }

    fn name(&self) -> String {
        match self {
            Source::File(file) => file.name(),
            Source::Bytes(_) => "The buffer".into(),
        }
    }

    /// `length` bytes from `offset`; the caller has held both against [`Source::length`].
    fn read(&mut self, offset: u64, length: u64) -> Result<Vec<u8>> {
        match self {
            Source::File(file) => file.read(offset, length),
            Source::Bytes(bytes) => {
                let (start, end) = (offset as usize, (offset + length) as usize);
                memory::copied(bytes.get(start..end).unwrap_or_default())
            }
        }
    }
}

/// An opened safetensors file whose header is sound.
pub struct Weights<'a> {
    source: Source<'a>,
    metadata: Metadata,
    /// Where the numbers begin.
    data_start: u64,
}

impl<'a> Weights<'a> {
    /// Reads and checks the header: every tensor lies inside the file.
    pub fn open(mut source: Source<'a>) -> Result<Weights<'a>> {
        let damaged = |name: String, what: &str| {
            Error::Format(format!(
                "{name} is not a whole safetensors file: {what}. Copy it again from where it came."
            ))
        };
        let total = source.length();
        if total < 8 {
            return Err(damaged(source.name(), "it is shorter than 8 bytes"));
        }
        let mut length = [0u8; 8];
        length.copy_from_slice(&source.read(0, 8)?);
        let length = u64::from_le_bytes(length);
        if length > MAX_HEADER_BYTES || length > total - 8 {
            return Err(damaged(
                source.name(),
                "its header is longer than the file or than the format allows",
            ));
        }
        let header = source.read(8, length)?;
        let metadata: Metadata = serde_json::from_slice(&header)
            .map_err(|_| damaged(source.name(), "its header can't be read"))?;
        let data_start = 8 + length;
        if metadata.data_len() as u64 != total - data_start {
            return Err(damaged(
                source.name(),
                &format!(
                    "its header describes {} bytes of numbers and there are {}",
                    metadata.data_len(),
                    total - data_start
                ),
            ));
        }
        Ok(Weights {
            source,
            metadata,
            data_start,
        })
    }

    /// A text of the header's `__metadata__`.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        Some(self.metadata.metadata().as_ref()?.get(key)?.as_str())
    }

    /// Every tensor's name and shape, in the file's order.
    pub fn tensors(&self) -> impl Iterator<Item = (String, Vec<usize>)> + '_ {
        self.metadata.offset_keys().into_iter().filter_map(|name| {
            let shape = self.metadata.info(&name)?.shape.clone();
            Some((name, shape))
        })
    }

    /// For messages.
    pub fn name(&self) -> String {
        self.source.name()
    }

    /// Says if anything in the file isn't as it was saved, where that is known. To be called when all that is needed was
    /// read.
    pub fn finish(&mut self) -> Result<()> {
        match &mut self.source {
            Source::File(file) => file.finish(),
            Source::Bytes(_) => Ok(()),
        }
    }

    /// One tensor's numbers as float32.
    pub fn read_float32(&mut self, name: &str) -> Result<Vec<f32>> {
        let file = self.source.name();
        let Some(info) = self.metadata.info(name) else {
            return Err(Error::Internal(format!(
                "{file} was asked for '{name}', which it lacks; please report this."
            )));
        };
        let dtype = info.dtype;
        // The header was checked: the range lies inside the file and fits the shape and type.
        let (start, end) = info.data_offsets;
        let bytes = self
            .source
            .read(self.data_start + start as u64, (end - start) as u64)?;
        to_float32(&bytes, dtype)?.ok_or_else(|| {
            Error::Unsupported(format!(
                "In {file} the parameter '{name}' has the type {dtype:?}; supported are F32, F16 and BF16."
            ))
        })
    }
}

/// Numbers of a floating-point type as float32; `None` for other types.
fn to_float32(bytes: &[u8], dtype: Dtype) -> Result<Option<Vec<f32>>> {
    let size = match dtype {
        Dtype::F32 => 4,
        Dtype::F16 | Dtype::BF16 => 2,
        _ => return Ok(None),
    };
    let mut values = memory::room(bytes.len() / size)?;
    let pairs = || {
        bytes
            .chunks_exact(2)
            .map(|b| u16::from_le_bytes([b[0], b[1]]))
    };
    match dtype {
        Dtype::F16 => values.extend(pairs().map(|b| f16::from_bits(b).to_f32())),
        Dtype::BF16 => values.extend(pairs().map(|b| bf16::from_bits(b).to_f32())),
        _ => values.extend(
            bytes
                .chunks_exact(4)
                .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])),
        ),
    }
    Ok(Some(values))
}

/// The beginning of a safetensors file of a model's parameters as float32; their numbers follow, see [`write_values`].
pub fn header(model: &Model, metadata: Map<String, Value>) -> Vec<u8> {
    let mut header = Map::new();
    header.insert("__metadata__".into(), Value::Object(metadata));
    let mut offset = 0;
    for spec in &model.table.specs {
        let end = offset + 4 * spec.len();
        header.insert(
            spec.name.clone(),
            json!({"dtype": "F32", "shape": spec.shape, "data_offsets": [offset, end]}),
        );
        offset = end;
    }
    let mut json = Value::Object(header).to_string().into_bytes();
    // The numbers begin at a multiple of eight, as the reference implementation aligns them.
    json.resize(json.len().next_multiple_of(8), b' ');
    let mut head = (json.len() as u64).to_le_bytes().to_vec();
    head.append(&mut json);
    head
}

/// Gives the bytes of all values to `write`, a piece at a time: no second copy of the model is in memory.
pub fn write_values(values: &[Vec<f32>], mut write: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    const PIECE: usize = 16_384;
    let mut bytes = Vec::with_capacity(4 * PIECE);
    for piece in values.iter().flat_map(|values| values.chunks(PIECE)) {
        bytes.clear();
        bytes.extend(piece.iter().flat_map(|x| x.to_le_bytes()));
        write(&bytes)?;
    }
    Ok(())
}
