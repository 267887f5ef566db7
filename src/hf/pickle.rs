//! State dicts as PyTorch saves them (`pytorch_model.bin`): a pickle, which says what tensors there are, and the plain
//! numbers of each storage. Since PyTorch 1.6 they are entries of a zip archive; before they stand one after another.

mod legacy;
mod machine;

use std::fs::File;
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use safetensors::Dtype;

use self::legacy::Legacy;
use self::machine::{Data, Machine, Storage, Storages};
use super::files::{read_at, regular_length};
use super::zip::{Archive, damaged};
use crate::error::{Error, Result};

/// A pickle larger than this doesn't describe a state dict.
const MAX_PICKLE_BYTES: u64 = 64 << 20;
/// The most operations of a pickle. A tensor takes about 40. This bounds the stack, the memo and all values.
const MAX_OPERATIONS: usize = 1 << 20;
/// The most tensors of a state dict.
const MAX_TENSORS: usize = 1 << 16;
/// The most dimensions of a tensor.
const MAX_DIMENSIONS: usize = 16;
/// The longest name of a storage; PyTorch counts them, or takes their addresses.
const MAX_KEY_BYTES: usize = 64;
/// The longest name of the archive's folder; PyTorch takes it from the file's.
const MAX_PREFIX_BYTES: usize = 1024;
/// How many bytes are read and converted at a time.
const CHUNK_BYTES: u64 = 1 << 20;

/// One tensor of a state dict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorEntry {
    /// Its name, unique in the file.
    pub name: String,
    /// The type of its elements in the file.
    pub dtype: Dtype,
    /// Its shape.
    pub shape: Vec<usize>,
}

/// Where a tensor's elements are, in elements of its storage. It was held against the storage's length.
struct Layout {
    storage: Storage,
    offset: u64,
    strides: Vec<usize>,
}

/// Where the storages' bytes are.
enum Container {
    /// In a zip archive (`torch.save` since PyTorch 1.6).
    Zip(Archive),
    /// One after another, as before.
    Legacy(Legacy),
}

/// A PyTorch state dict, opened: names, types, shapes.
pub struct StateDict {
    container: Container,
    path: PathBuf,
    tensors: Vec<TensorEntry>,
    /// One for each of `tensors`.
    layouts: Vec<Layout>,
}

impl StateDict {
    /// Reads the description of the tensors, none of their numbers. Every tensor lies inside its storage and every
    /// storage inside the file.
    ///
    /// The dict may stand alone or, as training scripts save it, under the key `state_dict` or `model_state_dict` of
    /// another. What is not a tensor in it (a number, a text) is passed over; a dict, list or tuple is refused.
    pub fn open(mut file: File, path: &Path) -> Result<StateDict> {
        let length = regular_length(&file, path)?;
        let start = read_at(&mut file, path, 0, length.min(legacy::START_BYTES))?;
        if start.starts_with(b"version https://git-lfs") {
            return Err(Error::Format(format!(
                "'{}' is not the file itself but text in its place, as Git LFS leaves it; fetch the file with git lfs \
                 pull.",
                path.display()
            )));
        }
        if legacy::is_one(&start) {
            let (legacy, tensors, layouts) = Legacy::open(file, path, length)?;
            return Ok(StateDict {
                container: Container::Legacy(legacy),
                path: path.to_path_buf(),
                tensors,
                layouts,
            });
        }
        let mut archive = Archive::open(file, path)?;
        let prefix = prefix(&archive, path)?;
        let name = |rest: &str| [prefix.as_slice(), rest.as_bytes()].concat();

        if let Some(entry) = archive.entry(&name("byteorder"))? {
            let order = match entry.size {
                0..=16 => archive.read_entry(&entry)?,
                _ => Vec::new(),
            };
            if order != b"little" {
                return Err(not_little_endian(path));
            }
        }
        let Some(entry) = archive.entry(&name("data.pkl"))? else {
            return Err(damaged(path, "it has no data.pkl"));
        };
        if entry.size > MAX_PICKLE_BYTES {
            return Err(Error::Format(format!(
                "In '{}' data.pkl has {} bytes; at most {MAX_PICKLE_BYTES} are read.",
                path.display(),
                entry.size
            )));
        }
        let pickle = archive.read_entry(&entry)?;
        let storages = Storages::Archive {
            archive: &archive,
            prefix: &prefix,
        };
        let mut machine = Machine::new(&pickle, storages, path);
        let root = machine.run()?;
        let (tensors, layouts) = machine.state_dict(root)?;
        Ok(StateDict {
            container: Container::Zip(archive),
            path: path.to_path_buf(),
            tensors,
            layouts,
        })
    }

    /// The tensors in the file's order.
    pub fn tensors(&self) -> &[TensorEntry] {
        &self.tensors
    }

    /// The values of one of [`StateDict::tensors`] in row-major order. Only its own range of its storage is read.
    /// Types other than F32, F16, BF16 and F64 are [`Error::Unsupported`], and so is a tensor that has more elements
    /// than its storage (an expanded one).
    pub fn read_float32(&mut self, index: usize) -> Result<Vec<f32>> {
        let path = &self.path;
        let (Some(tensor), Some(layout)) = (self.tensors.get(index), self.layouts.get(index))
        else {
            return Err(Error::Internal(format!(
                "Tensor {index} of '{}' was asked for, which has {}.",
                path.display(),
                self.tensors.len()
            )));
        };
        let name = shown(tensor.name.as_bytes());
        let Some(decode) = decoder(tensor.dtype) else {
            return Err(Error::Unsupported(format!(
                "In '{}' the parameter '{name}' has the type {:?}; supported are F32, F16, BF16 and F64.",
                path.display(),
                tensor.dtype
            )));
        };
        // Both were computed with checks when the file was opened.
        let elements = tensor.shape.iter().product::<usize>() as u64;
        if elements == 0 {
            return Ok(Vec::new());
        }
        let span = span(&tensor.shape, &layout.strides)
            .filter(|_| elements <= layout.storage.elements)
            .ok_or_else(|| {
                Error::Unsupported(format!(
                    "In '{}' the parameter '{name}' repeats the elements of a smaller tensor; save it anew from its \
                     contiguous() copy.",
                    path.display()
                ))
            })?;

        let item = item_bytes(layout.storage.dtype);
        let start = match (&mut self.container, layout.storage.data) {
            (Container::Zip(archive), Data::Entry(entry)) => archive.start(&entry)?,
            (Container::Legacy(legacy), Data::Number(number)) => legacy.start(number)?,
            _ => {
                return Err(Error::Internal(
                    "A tensor's storage is of another file.".into(),
                ));
            }
        };
        let start = start + (layout.storage.first + layout.offset) * item;
        let end = start + span * item;
        let mut values = room(span, path)?;
        let mut at = start;
        while at < end {
            // A chunk is a multiple of every item's length.
            let length = CHUNK_BYTES.min(end - at);
            let bytes = match &mut self.container {
                Container::Zip(archive) => archive.read(at, length)?,
                Container::Legacy(legacy) => legacy.read(path, at, length)?,
            };
            decode(&bytes, &mut values);
            at += length;
        }
        let (shape, strides) = (&tensor.shape, &layout.strides);
        if is_contiguous(shape, strides) {
            return Ok(values);
        }
        gather(&values, shape, strides, room(elements, path)?)
            .ok_or_else(|| Error::Internal(format!("The strides of '{name}' leave its storage.")))
    }
}

/// The error of numbers that stand the other way round.
fn not_little_endian(path: &Path) -> Error {
    Error::Unsupported(format!(
        "'{}' was not saved in little-endian byte order; load it in Python and save it anew as model.safetensors.",
        path.display()
    ))
}

/// An empty vector that has room for `elements` values.
fn room(elements: u64, path: &Path) -> Result<Vec<f32>> {
    let mut values = Vec::new();
    usize::try_from(elements)
        .ok()
        .and_then(|elements| values.try_reserve_exact(elements).ok())
        .ok_or_else(|| {
            Error::OutOfMemory(format!(
                "There is not enough memory for {elements} values of '{}'.",
                path.display()
            ))
        })?;
    Ok(values)
}

/// How many elements lie from a tensor's first to its last in the storage; `None` for a tensor without elements, and
/// if that is no number.
fn span(shape: &[usize], strides: &[usize]) -> Option<u64> {
    let mut span = 1u64;
    for (&length, &stride) in shape.iter().zip(strides) {
        let steps = length.checked_sub(1)? as u64;
        span = span.checked_add(steps.checked_mul(stride as u64)?)?;
    }
    Some(span)
}

/// Whether elements in row-major order lie one after the other.
fn is_contiguous(shape: &[usize], strides: &[usize]) -> bool {
    let mut expected = 1;
    shape.iter().zip(strides).rev().all(|(&length, &stride)| {
        let fits = length == 1 || stride == expected;
        expected *= length;
        fits
    })
}

/// Appends to `out` the values of a strided tensor, which has elements, in row-major order. `None` if they aren't all
/// in `values`.
fn gather(
    values: &[f32],
    shape: &[usize],
    strides: &[usize],
    mut out: Vec<f32>,
) -> Option<Vec<f32>> {
    let mut index = vec![0; shape.len()];
    let mut at = 0;
    loop {
        out.push(*values.get(at)?);
        // The last axis that has a next element goes on, those after it start again.
        let axis = (0..shape.len()).rev().find(|&axis| {
            if index[axis] + 1 < shape[axis] {
                return true;
            }
            at -= index[axis] * strides[axis];
            index[axis] = 0;
            false
        });
        let Some(axis) = axis else {
            return Some(out);
        };
        index[axis] += 1;
        at += strides[axis];
    }
}

/// Appends the values in bytes, a whole number of elements, to a vector.
type Decoder = fn(&[u8], &mut Vec<f32>);

/// The decoder of that type; `None` for types that aren't read.
fn decoder(dtype: Dtype) -> Option<Decoder> {
    fn pairs(bytes: &[u8]) -> impl Iterator<Item = u16> {
        bytes
            .chunks_exact(2)
            .map(|b| u16::from_le_bytes([b[0], b[1]]))
    }
    match dtype {
        Dtype::F32 => Some(|bytes, out| {
            out.extend(
                bytes
                    .chunks_exact(4)
                    .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])),
            );
        }),
        Dtype::F16 => {
            Some(|bytes, out| out.extend(pairs(bytes).map(|b| f16::from_bits(b).to_f32())))
        }
        Dtype::BF16 => {
            Some(|bytes, out| out.extend(pairs(bytes).map(|b| bf16::from_bits(b).to_f32())))
        }
        Dtype::F64 => Some(|bytes, out| {
            out.extend(bytes.chunks_exact(8).map(|b| {
                f64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]) as f32
            }));
        }),
        _ => None,
    }
}

/// The length of one element. The types that [`known`] gives all take whole bytes.
fn item_bytes(dtype: Dtype) -> u64 {
    dtype.bitsize() as u64 / 8
}

/// A name from a file, short and printable enough for a message.
fn shown(name: &[u8]) -> String {
    const MOST: usize = 120;
    let start = &name[..name.len().min(4 * MOST)];
    let text = String::from_utf8_lossy(start);
    let mut short: String = text
        .chars()
        .take(MOST)
        .map(|c| if c.is_control() { '?' } else { c })
        .collect();
    if short.len() < name.len() && text.chars().count() > MOST {
        short.push('…');
    }
    short
}

/// The folder of the archive that all is in, with its slash: `archive/`, or the name under which the file was saved.
fn prefix(archive: &Archive, path: &Path) -> Result<Vec<u8>> {
    let mut folders = archive.names().filter_map(|name| {
        let folder = name.strip_suffix(b"data.pkl")?;
        let (b'/', rest) = folder.split_last()? else {
            return None;
        };
        (!rest.contains(&b'/')).then_some(folder)
    });
    match (folders.next(), folders.next()) {
        (Some(folder), None) if folder.len() <= MAX_PREFIX_BYTES => Ok(folder.to_vec()),
        (Some(_), None) => Err(damaged(path, "the name of its folder is too long")),
        (None, _) => Err(Error::Format(format!(
            "'{}' is a zip archive but not a PyTorch file: it has no data.pkl.",
            path.display()
        ))),
        (Some(_), Some(_)) => Err(damaged(path, "it has more than one data.pkl")),
    }
}

#[cfg(test)]
pub(super) mod tests;
