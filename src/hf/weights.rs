//! Parameters in the safetensors format: a header in JSON, then the numbers, little endian.

use half::{bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::Metadata;
use serde_json::{Map, Value, json};

use super::checked_file::CheckedFile;
use crate::error::{Error, Result};
use crate::memory;
use crate::model::ParameterSpec;

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

    /// Gives `length` bytes from `offset` to `take`, in order and in pieces of a multiple of eight bytes but for the last:
    /// of a file only one is in memory at a time.
    fn pieces(&mut self, offset: u64, length: usize, mut take: impl FnMut(&[u8])) -> Result<()> {
        const PIECE: usize = 1 << 17;
        match self {
            Source::File(file) => {
                let mut piece = vec![0; PIECE.min(length)];
                let mut done = 0;
                while done < length {
                    let bytes = &mut piece[..PIECE.min(length - done)];
                    file.read_into(offset + done as u64, bytes)?;
                    take(bytes);
                    done += bytes.len();
                }
            }
            Source::Bytes(bytes) => {
                let start = offset as usize;
                take(bytes.get(start..start + length).unwrap_or_default());
            }
        }
        Ok(())
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
        let metadata: Metadata = super::json::from_slice(&header, source.name())
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

    /// Whether there is a tensor of that name.
    pub fn contains(&self, name: &str) -> bool {
        self.metadata.info(name).is_some()
    }

    /// The numbers of a tensor that must be there, of this shape and finite, as float32.
    pub fn read_shaped(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let wrong = |file: String, what: String| {
            Err(Error::Format(format!(
                "In {file} the tensor '{name}' {what}."
            )))
        };
        match self.metadata.info(name) {
            None => return wrong(self.name(), "is missing".into()),
            Some(info) if info.shape != shape => {
                let what = format!("has the shape {:?} and must have {shape:?}", info.shape);
                return wrong(self.name(), what);
            }
            Some(_) => {}
        }
        let numbers = self.read_float32(name)?;
        check_finite(&numbers, &self.name(), name)?;
        Ok(numbers)
    }

    /// The numbers of a tensor that must be there, of this shape, as int8.
    pub fn read_int8(&mut self, name: &str, shape: &[usize]) -> Result<Vec<i8>> {
        let what = match self.metadata.info(name) {
            None => "is missing".into(),
            Some(info) if info.dtype != Dtype::I8 || info.shape != shape => format!(
                "is {:?} of the shape {:?} and must be I8 of the shape {shape:?}",
                info.dtype, info.shape
            ),
            Some(info) => {
                // The header was checked: the range lies inside the file and fits the shape and type.
                let (start, end) = info.data_offsets;
                let mut numbers = memory::room(end - start)?;
                let offset = self.data_start + start as u64;
                self.source.pieces(offset, end - start, |piece| {
                    numbers.extend(piece.iter().map(|byte| byte.cast_signed()));
                })?;
                return Ok(numbers);
            }
        };
        Err(Error::Format(format!(
            "In {} the tensor '{name}' {what}.",
            self.name()
        )))
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
        let Some(append) = decoder(dtype) else {
            return Err(Error::Unsupported(format!(
                "In {file} the parameter '{name}' has the type {dtype:?}; supported are F64, F32, F16 and BF16."
            )));
        };
        // The header was checked: the range lies inside the file and fits the shape and type.
        let (start, end) = info.data_offsets;
        let mut numbers = memory::room(info.shape.iter().product())?;
        let (offset, length) = (self.data_start + start as u64, end - start);
        self.source
            .pieces(offset, length, |piece| append(piece, &mut numbers))?;
        Ok(numbers)
    }
}

/// Refuses the numbers of the parameter `name` in `file` where one is NaN or infinite.
pub fn check_finite(numbers: &[f32], file: &str, name: &str) -> Result<()> {
    if numbers.iter().all(|x| x.is_finite()) {
        return Ok(());
    }
    Err(Error::Format(format!(
        "In {file} the parameter '{name}' holds a value that is NaN or infinite."
    )))
}

/// Appends numbers of a type, as float32, from their bytes.
type Decoder = fn(&[u8], &mut Vec<f32>);

/// That of a floating-point type; `None` for other types.
fn decoder(dtype: Dtype) -> Option<Decoder> {
    match dtype {
        Dtype::F32 => Some(|bytes, numbers| {
            let numbers_of = bytes.chunks_exact(4);
            numbers.extend(numbers_of.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])));
        }),
        Dtype::F16 => Some(|bytes, numbers| {
            let numbers_of = bytes.chunks_exact(2);
            numbers.extend(numbers_of.map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32()));
        }),
        Dtype::BF16 => Some(|bytes, numbers| {
            let numbers_of = bytes.chunks_exact(2);
            numbers.extend(numbers_of.map(|b| bf16::from_le_bytes([b[0], b[1]]).to_f32()));
        }),
        Dtype::F64 => Some(|bytes, numbers| {
            let numbers_of = bytes.as_chunks::<8>().0.iter();
            numbers.extend(numbers_of.map(|b| f64::from_le_bytes(*b) as f32));
        }),
        _ => None,
    }
}

/// A tensor to be written.
pub struct Tensor<'a> {
    /// Its name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its numbers.
    pub numbers: Numbers<'a>,
}

/// A tensor's numbers, row by row.
#[derive(Clone, Copy)]
pub enum Numbers<'a> {
    /// float32.
    Float32(&'a [f32]),
    /// int8.
    Int8(&'a [i8]),
}

impl Numbers<'_> {
    fn type_name(&self) -> &'static str {
        match self {
            Numbers::Float32(_) => "F32",
            Numbers::Int8(_) => "I8",
        }
    }

    /// Bytes of all of them.
    pub fn bytes(&self) -> usize {
        match self {
            Numbers::Float32(numbers) => size_of_val(*numbers),
            Numbers::Int8(numbers) => size_of_val(*numbers),
        }
    }
}

/// The beginning of a safetensors file of these tensors; their numbers follow, see [`write_numbers`].
pub fn header_of(tensors: &[Tensor<'_>], metadata: Map<String, Value>) -> Vec<u8> {
    let tensors = tensors.iter().map(|tensor| {
        let numbers = tensor.numbers;
        (
            tensor.name.clone(),
            tensor.shape.as_slice(),
            numbers.type_name(),
            numbers.bytes(),
        )
    });
    header_json(tensors, metadata)
}

/// Gives the bytes of all tensors to `write`, in order.
pub fn write_numbers(
    tensors: &[Tensor<'_>],
    mut write: impl FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    const PIECE: usize = 65_536;
    let mut bytes = Vec::with_capacity(PIECE);
    for tensor in tensors {
        match tensor.numbers {
            Numbers::Float32(numbers) => write_values([numbers], &mut write)?,
            Numbers::Int8(numbers) => {
                for piece in numbers.chunks(PIECE) {
                    bytes.clear();
                    bytes.extend(piece.iter().map(|number| number.cast_unsigned()));
                    write(&bytes)?;
                }
            }
        }
    }
    Ok(())
}

/// The beginning of a safetensors file of these parameters as float32; their numbers follow, see [`write_values`].
pub fn header(specs: &[ParameterSpec], metadata: Map<String, Value>) -> Vec<u8> {
    let tensors = specs
        .iter()
        .map(|spec| (spec.name.clone(), spec.shape.as_slice()));
    tensors_header(tensors, metadata)
}

/// As [`header`], of any tensors, by name and shape in the order of their numbers.
pub fn tensors_header<'a>(
    tensors: impl IntoIterator<Item = (String, &'a [usize])>,
    metadata: Map<String, Value>,
) -> Vec<u8> {
    let tensors = tensors.into_iter().map(|(name, shape)| {
        let bytes = 4 * shape.iter().product::<usize>();
        (name, shape, "F32", bytes)
    });
    header_json(tensors, metadata)
}

/// The header of tensors by name, shape, type and bytes.
fn header_json<'a>(
    tensors: impl Iterator<Item = (String, &'a [usize], &'static str, usize)>,
    metadata: Map<String, Value>,
) -> Vec<u8> {
    let mut header = Map::new();
    header.insert("__metadata__".into(), Value::Object(metadata));
    let mut offset = 0;
    for (name, shape, kind, bytes) in tensors {
        let end = offset + bytes;
        header.insert(
            name,
            json!({"dtype": kind, "shape": shape, "data_offsets": [offset, end]}),
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
pub fn write_values<'a>(
    values: impl IntoIterator<Item = &'a [f32]>,
    mut write: impl FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    const PIECE: usize = 16_384;
    let mut bytes = Vec::with_capacity(4 * PIECE);
    for piece in values.into_iter().flat_map(|values| values.chunks(PIECE)) {
        bytes.clear();
        bytes.extend(piece.iter().flat_map(|x| x.to_le_bytes()));
        write(&bytes)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By the bits that the formats' definitions give.
    #[test]
    fn numbers_of_each_type_are_decoded() {
        let decoded = |dtype: Dtype, bits: &[u16]| {
            let bytes: Vec<u8> = bits.iter().flat_map(|b| b.to_le_bytes()).collect();
            let mut numbers = Vec::new();
            decoder(dtype).unwrap()(&bytes, &mut numbers);
            numbers
        };
        let smallest = 2f32.powi(-24);
        assert_eq!(
            decoded(
                Dtype::F16,
                &[0x3c00, 0xc000, 0x3555, 0x7bff, 0x0001, 0x8000]
            ),
            [1.0, -2.0, 0.333_251_95, 65_504.0, smallest, -0.0]
        );
        assert_eq!(
            decoded(Dtype::BF16, &[0x3f80, 0xc000, 0x4049, 0x7f7f, 0x0080]),
            [1.0, -2.0, 3.140_625, 3.389_531_4e38, f32::MIN_POSITIVE]
        );
        // Low half first.
        assert_eq!(
            decoded(Dtype::F32, &[0x0000, 0x3f80, 0x0fdb, 0x4049]),
            [1.0, std::f32::consts::PI]
        );
        assert_eq!(
            decoded(
                Dtype::F64,
                &[0, 0, 0, 0x3ff8, 0x9999, 0x9999, 0x9999, 0xbfb9]
            ),
            [1.5, -0.1]
        );
        assert!(decoder(Dtype::I64).is_none());
    }
}
