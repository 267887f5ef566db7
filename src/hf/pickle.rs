//! State dicts as PyTorch saves them (`pytorch_model.bin`): a zip archive with one pickle, which says what tensors
//! there are, and one entry of plain numbers per storage.
//!
//! A pickle is a program for a stack machine that may name any function of Python. This one knows the few that make a
//! tensor and builds a description of it, nothing else: whatever else a pickle names is refused, and nothing is run.
//! Values refer to lists, dicts and tuples by number, so that none owns another: neither depth nor cycles matter.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::ops::Range;
use std::path::Path;

use half::{bf16, f16};
use safetensors::Dtype;

use super::zip::{Archive, Entry, damaged};
use crate::error::{Error, Result};

/// A pickle larger than this doesn't describe a state dict.
const MAX_PICKLE_BYTES: u64 = 64 << 20;
/// The most operations of a pickle. A tensor takes about 40. This bounds the stack, the memo and all values.
const MAX_OPERATIONS: usize = 1 << 20;
/// The most tensors of a state dict.
const MAX_TENSORS: usize = 1 << 16;
/// The most dimensions of a tensor.
const MAX_DIMENSIONS: usize = 16;
/// The longest name of a storage in the archive; PyTorch counts them.
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

/// A PyTorch state dict in a zip archive (`torch.save` since PyTorch 1.6), opened: names, types, shapes.
pub struct StateDict<'a> {
    archive: Archive<'a>,
    path: &'a Path,
    tensors: Vec<TensorEntry>,
    /// One for each of `tensors`.
    layouts: Vec<Layout>,
}

impl<'a> StateDict<'a> {
    /// Reads the archive's directory and the description of the tensors, none of their numbers. Every tensor lies
    /// inside its storage and every storage inside the file.
    ///
    /// The dict may stand alone or, as training scripts save it, under the key `state_dict` or `model_state_dict` of
    /// another. What is not a tensor in it (a number, a text) is passed over; a dict, list or tuple is refused.
    pub fn open(file: File, path: &'a Path) -> Result<StateDict<'a>> {
        let mut archive = Archive::open(file, path)?;
        let prefix = prefix(&archive, path)?;
        let name = |rest: &str| [prefix.as_slice(), rest.as_bytes()].concat();

        if let Some(entry) = archive.entry(&name("byteorder"))? {
            let order = match entry.size {
                0..=16 => archive.read_entry(&entry)?,
                _ => Vec::new(),
            };
            if order != b"little" {
                return Err(Error::Unsupported(format!(
                    "'{}' was not saved in little-endian byte order; load it in Python and save it anew as \
                     model.safetensors.",
                    path.display()
                )));
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
        let mut machine = Machine::new(&pickle, &archive, &prefix, path);
        let root = machine.run()?;
        let (tensors, layouts) = machine.state_dict(root)?;
        Ok(StateDict {
            archive,
            path,
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
        let path = self.path;
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
        let start = self.archive.start(&layout.storage.entry)? + layout.offset * item;
        let end = start + span * item;
        let mut values = room(span, path)?;
        let mut at = start;
        while at < end {
            // A chunk is a multiple of every item's length.
            let length = CHUNK_BYTES.min(end - at);
            decode(&self.archive.read(at, length)?, &mut values);
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

/// What a pickle may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Global {
    OrderedDict,
    RebuildTensorV2,
    /// Like V2 with a type after it: for types that have no storage class of their own.
    RebuildTensorV3,
    RebuildParameter,
    /// A class of storage with the type of its elements.
    Storage(Dtype),
    /// A storage that counts bytes.
    UntypedStorage,
    Dtype(Dtype),
}

/// The meaning of a name; `None` for all that isn't allowed.
fn known(module: &[u8], name: &[u8]) -> Option<Global> {
    if module.len() > 32 || name.len() > 32 {
        return None;
    }
    let (module, name) = (
        std::str::from_utf8(module).ok()?,
        std::str::from_utf8(name).ok()?,
    );
    Some(match (module, name) {
        ("collections", "OrderedDict") => Global::OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2") => Global::RebuildTensorV2,
        ("torch._utils", "_rebuild_tensor_v3") => Global::RebuildTensorV3,
        ("torch._utils", "_rebuild_parameter") => Global::RebuildParameter,
        ("torch" | "torch.storage", "UntypedStorage") => Global::UntypedStorage,
        ("torch", "DoubleStorage") => Global::Storage(Dtype::F64),
        ("torch", "FloatStorage") => Global::Storage(Dtype::F32),
        ("torch", "HalfStorage") => Global::Storage(Dtype::F16),
        ("torch", "BFloat16Storage") => Global::Storage(Dtype::BF16),
        ("torch", "LongStorage") => Global::Storage(Dtype::I64),
        ("torch", "IntStorage") => Global::Storage(Dtype::I32),
        ("torch", "ShortStorage") => Global::Storage(Dtype::I16),
        ("torch", "CharStorage") => Global::Storage(Dtype::I8),
        ("torch", "ByteStorage") => Global::Storage(Dtype::U8),
        ("torch", "BoolStorage") => Global::Storage(Dtype::BOOL),
        ("torch", "ComplexFloatStorage") => Global::Storage(Dtype::C64),
        ("torch", "float64") => Global::Dtype(Dtype::F64),
        ("torch", "float32") => Global::Dtype(Dtype::F32),
        ("torch", "float16") => Global::Dtype(Dtype::F16),
        ("torch", "bfloat16") => Global::Dtype(Dtype::BF16),
        ("torch", "int64") => Global::Dtype(Dtype::I64),
        ("torch", "int32") => Global::Dtype(Dtype::I32),
        ("torch", "int16") => Global::Dtype(Dtype::I16),
        ("torch", "int8") => Global::Dtype(Dtype::I8),
        ("torch", "uint64") => Global::Dtype(Dtype::U64),
        ("torch", "uint32") => Global::Dtype(Dtype::U32),
        ("torch", "uint16") => Global::Dtype(Dtype::U16),
        ("torch", "uint8") => Global::Dtype(Dtype::U8),
        ("torch", "bool") => Global::Dtype(Dtype::BOOL),
        ("torch", "complex64") => Global::Dtype(Dtype::C64),
        ("torch", "float8_e4m3fn") => Global::Dtype(Dtype::F8_E4M3),
        ("torch", "float8_e5m2") => Global::Dtype(Dtype::F8_E5M2),
        ("torch", "float8_e4m3fnuz") => Global::Dtype(Dtype::F8_E4M3FNUZ),
        ("torch", "float8_e5m2fnuz") => Global::Dtype(Dtype::F8_E5M2FNUZ),
        ("torch", "float8_e8m0fnu") => Global::Dtype(Dtype::F8_E8M0),
        _ => return None,
    })
}

/// A value of a pickle. Numbers are indices into the tables of the [`Machine`].
#[derive(Clone, Copy)]
enum Value {
    /// A value that no tensor needs: None, a float, bytes, a number of more than 64 bits.
    Other,
    Bool,
    Int(i64),
    /// Where in the pickle a text is; it is UTF-8.
    Text(u32, u32),
    Global(Global),
    Tuple(u32),
    List(u32),
    Dict(u32),
    Storage(u32),
    Tensor(u32),
}

/// A storage that lies in the archive in full length.
#[derive(Clone, Copy)]
struct Storage {
    /// Its entry.
    entry: Entry,
    /// The type of its elements.
    dtype: Dtype,
    /// Their number.
    elements: u64,
}

/// A tensor that lies in its storage; shape and strides are tuples of whole numbers.
#[derive(Clone, Copy)]
struct Tensor {
    storage: Storage,
    offset: u64,
    shape: u32,
    strides: u32,
}

/// Why a pickle can't be read, before the file's name is known to the sentence.
enum Fault {
    /// It isn't what PyTorch writes.
    Damaged(&'static str),
    /// It names what isn't allowed.
    Name(String),
    /// It holds an operation that state dicts don't.
    Operation(u8),
    /// It is larger than any state dict.
    Large,
    /// What has a sentence of its own.
    Sentence(Error),
}

type Step<T> = std::result::Result<T, Fault>;

const EARLY: Fault = Fault::Damaged("data.pkl ends too early");
const STACK: Fault = Fault::Damaged("data.pkl takes more values than it has made");
const TENSOR: Fault = Fault::Damaged("data.pkl describes a tensor wrongly");
const OUTSIDE: Fault = Fault::Damaged("a tensor lies outside its storage");

/// The stack machine.
struct Machine<'m, 'a> {
    pickle: &'m [u8],
    /// Where in `pickle` the next operation is.
    at: usize,
    archive: &'m Archive<'a>,
    prefix: &'m [u8],
    path: &'m Path,
    stack: Vec<Value>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u32, Value>,
    /// The members of all tuples.
    members: Vec<Value>,
    tuples: Vec<Range<u32>>,
    lists: Vec<Vec<Value>>,
    dicts: Vec<Vec<(Value, Value)>>,
    storages: Vec<Storage>,
    tensors: Vec<Tensor>,
}

/// The index of the next element of a table, which the number of operations bounds.
fn next<T>(table: &[T]) -> u32 {
    table.len() as u32
}

impl<'m, 'a> Machine<'m, 'a> {
    fn new(
        pickle: &'m [u8],
        archive: &'m Archive<'a>,
        prefix: &'m [u8],
        path: &'m Path,
    ) -> Machine<'m, 'a> {
        Machine {
            pickle,
            at: 0,
            archive,
            prefix,
            path,
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            members: Vec::new(),
            tuples: Vec::new(),
            lists: Vec::new(),
            dicts: Vec::new(),
            storages: Vec::new(),
            tensors: Vec::new(),
        }
    }

    /// Runs the pickle to its end: the value it makes.
    fn run(&mut self) -> Result<Value> {
        let path = self.path;
        let mut left = MAX_OPERATIONS;
        let fault = loop {
            if left == 0 {
                break Fault::Large;
            }
            left -= 1;
            match self.step() {
                Ok(None) => {}
                Ok(Some(value)) => return Ok(value),
                Err(fault) => break fault,
            }
        };
        Err(match fault {
            Fault::Damaged(what) => damaged(path, what),
            Fault::Name(name) => Error::Format(format!(
                "'{}' names '{name}', which a file of tensors does not need; it is not loaded. Load it in Python, if \
                 you trust it, and save its state dict as model.safetensors.",
                path.display()
            )),
            Fault::Operation(code) => Error::Format(format!(
                "In '{}' data.pkl holds the pickle operation 0x{code:02x}, which state dicts do not need; it is \
                 not loaded.",
                path.display()
            )),
            Fault::Large => Error::Format(format!(
                "In '{}' data.pkl holds more than {MAX_OPERATIONS} operations; no state dict of a BERT does.",
                path.display()
            )),
            Fault::Sentence(error) => error,
        })
    }

    fn take(&mut self, length: usize) -> Step<&'m [u8]> {
        let pickle = self.pickle;
        let end = self.at.checked_add(length).ok_or(EARLY)?;
        let bytes = pickle.get(self.at..end).ok_or(EARLY)?;
        self.at = end;
        Ok(bytes)
    }

    fn byte(&mut self) -> Step<u8> {
        Ok(self.take(1)?[0])
    }

    fn word(&mut self) -> Step<u16> {
        let bytes = self.take(2)?;
        Ok(u16::from_le_bytes([bytes[0], bytes[1]]))
    }

    fn long(&mut self) -> Step<u32> {
        let b = self.take(4)?;
        Ok(u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
    }

    /// A length of eight bytes; the pickle is far shorter than 4 GiB.
    fn length8(&mut self) -> Step<usize> {
        let low = self.long()?;
        match self.long()? {
            0 => Ok(low as usize),
            _ => Err(EARLY),
        }
    }

    fn line(&mut self) -> Step<&'m [u8]> {
        let rest = self.pickle.get(self.at..).ok_or(EARLY)?;
        let length = rest.iter().position(|&b| b == b'\n').ok_or(EARLY)?;
        let line = self.take(length)?;
        self.byte()?;
        Ok(line)
    }

    fn text(&mut self, length: usize) -> Step<Value> {
        let start = self.at as u32;
        let bytes = self.take(length)?;
        if std::str::from_utf8(bytes).is_err() {
            return Err(Fault::Damaged("data.pkl holds a text that isn't UTF-8"));
        }
        Ok(Value::Text(start, self.at as u32))
    }

    fn text_bytes(&self, start: u32, end: u32) -> &'m [u8] {
        self.pickle
            .get(start as usize..end as usize)
            .unwrap_or_default()
    }

    /// Takes the top value; what lies under the last mark can't be taken.
    fn pop(&mut self) -> Step<Value> {
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= floor {
            return Err(STACK);
        }
        self.stack.pop().ok_or(STACK)
    }

    fn top(&self) -> Step<Value> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.last() {
            Some(value) if self.stack.len() > floor => Ok(*value),
            _ => Err(STACK),
        }
    }

    /// The height of the last mark, which is taken away.
    fn mark(&mut self) -> Step<usize> {
        self.marks.pop().ok_or(STACK)
    }

    /// Makes a tuple of the values from `start` on the stack.
    fn tuple(&mut self, start: usize) -> Step<Value> {
        let first = next(&self.members);
        self.members.extend(self.stack.drain(start..));
        let index = next(&self.tuples);
        self.tuples.push(first..next(&self.members));
        Ok(Value::Tuple(index))
    }

    /// Makes a tuple of the `count` topmost values.
    fn short_tuple(&mut self, count: usize) -> Step<Value> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.len().checked_sub(count) {
            Some(start) if start >= floor => self.tuple(start),
            _ => Err(STACK),
        }
    }

    fn members(&self, tuple: u32) -> &[Value] {
        self.tuples
            .get(tuple as usize)
            .and_then(|range| self.members.get(range.start as usize..range.end as usize))
            .unwrap_or_default()
    }

    fn new_dict(&mut self) -> Value {
        let index = next(&self.dicts);
        self.dicts.push(Vec::new());
        Value::Dict(index)
    }

    /// The list or dict that operations on values above it work on: now the top one.
    fn append(&mut self, start: usize) -> Step<()> {
        let target = match start.checked_sub(1).and_then(|at| self.stack.get(at)) {
            Some(Value::List(index)) => *index as usize,
            _ => return Err(Fault::Damaged("data.pkl appends to what is no list")),
        };
        let list = self.lists.get_mut(target).ok_or(STACK)?;
        list.extend(self.stack.drain(start..));
        Ok(())
    }

    fn set_items(&mut self, start: usize) -> Step<()> {
        let target = match start.checked_sub(1).and_then(|at| self.stack.get(at)) {
            Some(Value::Dict(index)) => *index as usize,
            _ => return Err(Fault::Damaged("data.pkl sets an item of what is no dict")),
        };
        let dict = self.dicts.get_mut(target).ok_or(STACK)?;
        let items = self.stack.get(start..).unwrap_or_default();
        if items.len() % 2 != 0 {
            return Err(Fault::Damaged("data.pkl sets a key without a value"));
        }
        dict.extend(items.chunks_exact(2).map(|pair| (pair[0], pair[1])));
        self.stack.truncate(start);
        Ok(())
    }

    fn remember(&mut self, index: u32) -> Step<()> {
        let value = self.top()?;
        self.memo.insert(index, value);
        Ok(())
    }

    fn recall(&mut self, index: u32) -> Step<Value> {
        self.memo.get(&index).copied().ok_or(Fault::Damaged(
            "data.pkl refers to a value that it has not made",
        ))
    }

    fn global(&self, module: &[u8], name: &[u8]) -> Step<Value> {
        match known(module, name) {
            Some(global) => Ok(Value::Global(global)),
            None => Err(Fault::Name(format!("{}.{}", shown(module), shown(name)))),
        }
    }

    /// One operation. The last one gives the value of the whole.
    fn step(&mut self) -> Step<Option<Value>> {
        let code = self.byte()?;
        let value = match code {
            // PROTO and FRAME say how the pickle is written, which the operations say as well.
            0x80 => {
                if self.byte()? > 5 {
                    return Err(Fault::Damaged("data.pkl has an unknown version"));
                }
                return Ok(None);
            }
            0x95 => {
                self.take(8)?;
                return Ok(None);
            }
            // STOP
            b'.' => {
                return match (self.pop(), self.stack.is_empty(), self.marks.is_empty()) {
                    (Ok(value), true, true) => Ok(Some(value)),
                    _ => Err(Fault::Damaged("data.pkl does not end in one value")),
                };
            }
            // MARK
            b'(' => {
                self.marks.push(self.stack.len());
                return Ok(None);
            }
            // BINPUT, LONG_BINPUT, MEMOIZE
            b'q' => {
                let index = self.byte()?.into();
                self.remember(index)?;
                return Ok(None);
            }
            b'r' => {
                let index = self.long()?;
                self.remember(index)?;
                return Ok(None);
            }
            0x94 => {
                self.remember(self.memo.len() as u32)?;
                return Ok(None);
            }
            // APPEND, APPENDS, SETITEM, SETITEMS
            b'a' => {
                self.top()?;
                self.append(self.stack.len() - 1)?;
                return Ok(None);
            }
            b'e' => {
                let start = self.mark()?;
                self.append(start)?;
                return Ok(None);
            }
            b's' => {
                let start = self.stack.len().checked_sub(2).ok_or(STACK)?;
                if start < self.marks.last().copied().unwrap_or(0) {
                    return Err(STACK);
                }
                self.set_items(start)?;
                return Ok(None);
            }
            b'u' => {
                let start = self.mark()?;
                self.set_items(start)?;
                return Ok(None);
            }
            // BUILD: attributes of a dict, `_metadata` of a module's state dict.
            b'b' => {
                self.pop()?;
                return match self.top()? {
                    Value::Dict(_) => Ok(None),
                    _ => Err(Fault::Operation(code)),
                };
            }
            // BINGET, LONG_BINGET
            b'h' => {
                let index = self.byte()?.into();
                self.recall(index)?
            }
            b'j' => {
                let index = self.long()?;
                self.recall(index)?
            }
            // NONE, NEWTRUE, NEWFALSE
            b'N' => Value::Other,
            0x88 | 0x89 => Value::Bool,
            // BININT, BININT1, BININT2, LONG1
            b'J' => Value::Int((self.long()? as i32).into()),
            b'K' => Value::Int(self.byte()?.into()),
            b'M' => Value::Int(self.word()?.into()),
            0x8a => {
                let length = self.byte()?.into();
                whole_number(self.take(length)?)
            }
            // BINFLOAT
            b'G' => {
                self.take(8)?;
                Value::Other
            }
            // SHORT_BINUNICODE, BINUNICODE, BINUNICODE8
            0x8c => {
                let length = self.byte()?.into();
                self.text(length)?
            }
            b'X' => {
                let length = self.long()? as usize;
                self.text(length)?
            }
            0x8d => {
                let length = self.length8()?;
                self.text(length)?
            }
            // SHORT_BINBYTES, BINBYTES
            b'C' => {
                let length = self.byte()?.into();
                self.take(length)?;
                Value::Other
            }
            b'B' => {
                let length = self.long()? as usize;
                self.take(length)?;
                Value::Other
            }
            // EMPTY_TUPLE, TUPLE1, TUPLE2, TUPLE3, TUPLE
            b')' => self.short_tuple(0)?,
            0x85 => self.short_tuple(1)?,
            0x86 => self.short_tuple(2)?,
            0x87 => self.short_tuple(3)?,
            b't' => {
                let start = self.mark()?;
                self.tuple(start)?
            }
            // EMPTY_LIST
            b']' => {
                let index = next(&self.lists);
                self.lists.push(Vec::new());
                Value::List(index)
            }
            // EMPTY_DICT
            b'}' => self.new_dict(),
            // GLOBAL, STACK_GLOBAL
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.global(module, name)?
            }
            0x93 => match (self.pop()?, self.pop()?) {
                (Value::Text(from, to), Value::Text(start, end)) => {
                    self.global(self.text_bytes(start, end), self.text_bytes(from, to))?
                }
                _ => return Err(Fault::Damaged("data.pkl names something by no text")),
            },
            // BINPERSID
            b'Q' => match self.pop()? {
                Value::Tuple(tuple) => self.storage(tuple)?,
                _ => return Err(Fault::Damaged("data.pkl describes a storage wrongly")),
            },
            // REDUCE
            b'R' => match (self.pop()?, self.pop()?) {
                (Value::Tuple(arguments), Value::Global(function)) => {
                    self.reduce(function, arguments)?
                }
                _ => return Err(Fault::Operation(code)),
            },
            _ => return Err(Fault::Operation(code)),
        };
        self.stack.push(value);
        Ok(None)
    }

    /// A function's value for a tuple of arguments.
    fn reduce(&mut self, function: Global, arguments: u32) -> Step<Value> {
        match (function, self.members(arguments)) {
            (Global::OrderedDict, []) => Ok(self.new_dict()),
            (
                Global::RebuildTensorV2,
                &[
                    Value::Storage(storage),
                    Value::Int(offset),
                    Value::Tuple(shape),
                    Value::Tuple(strides),
                    _,
                    _,
                    ref view @ ..,
                ],
            ) if view.len() <= 1 => {
                self.plain(view)?;
                self.tensor(storage, offset, shape, strides, None)
            }
            (
                Global::RebuildTensorV3,
                &[
                    Value::Storage(storage),
                    Value::Int(offset),
                    Value::Tuple(shape),
                    Value::Tuple(strides),
                    _,
                    _,
                    Value::Global(Global::Dtype(dtype)),
                    ref view @ ..,
                ],
            ) if view.len() <= 1 => {
                self.plain(view)?;
                self.tensor(storage, offset, shape, strides, Some(dtype))
            }
            (Global::RebuildParameter, &[tensor @ Value::Tensor(_), _, _]) => Ok(tensor),
            _ => Err(TENSOR),
        }
    }

    /// Holds what follows a tensor's layout to be nothing, or a dict that says nothing: others mark a view that negates
    /// or conjugates the storage's values.
    fn plain(&self, view: &[Value]) -> Step<()> {
        match view {
            [] | [Value::Other] => Ok(()),
            [value] if self.items(*value).is_some_and(<[_]>::is_empty) => Ok(()),
            _ => Err(Fault::Sentence(Error::Unsupported(format!(
                "'{}' holds a tensor that is a negated or conjugated view of another; save it anew with its values \
                 resolved, best as model.safetensors.",
                self.path.display()
            )))),
        }
    }

    /// The storage that a persistent id names: ('storage', class, key, device, number of elements).
    fn storage(&mut self, id: u32) -> Step<Value> {
        const WRONG: Fault = Fault::Damaged("data.pkl describes a storage wrongly");
        let &[
            Value::Text(start, end),
            Value::Global(class),
            Value::Text(key_start, key_end),
            Value::Text(..),
            Value::Int(elements),
        ] = self.members(id)
        else {
            return Err(WRONG);
        };
        let dtype = match class {
            Global::Storage(dtype) => dtype,
            Global::UntypedStorage => Dtype::U8,
            _ => return Err(WRONG),
        };
        let key = self.text_bytes(key_start, key_end);
        if self.text_bytes(start, end) != b"storage" || key.len() > MAX_KEY_BYTES {
            return Err(WRONG);
        }
        let name = [self.prefix, b"data/", key].concat();
        let entry = self
            .archive
            .entry(&name)
            .map_err(Fault::Sentence)?
            .ok_or(Fault::Damaged("a tensor's storage is missing"))?;
        let elements = u64::try_from(elements).map_err(|_| WRONG)?;
        if elements
            .checked_mul(item_bytes(dtype))
            .is_none_or(|bytes| bytes > entry.size)
        {
            return Err(Fault::Damaged("a storage is shorter than data.pkl says"));
        }
        let index = next(&self.storages);
        self.storages.push(Storage {
            entry,
            dtype,
            elements,
        });
        Ok(Value::Storage(index))
    }

    /// The whole numbers from 0 in a tuple; `None` if it holds others or too many.
    fn sizes(&self, tuple: u32) -> Option<Vec<usize>> {
        let members = self.members(tuple);
        if members.len() > MAX_DIMENSIONS {
            return None;
        }
        let size = |value: &Value| match value {
            Value::Int(n) => usize::try_from(*n).ok(),
            _ => None,
        };
        members.iter().map(size).collect()
    }

    /// A tensor, held against its storage. `dtype` is its type where the storage counts bytes.
    fn tensor(
        &mut self,
        storage: u32,
        offset: i64,
        shape: u32,
        strides: u32,
        dtype: Option<Dtype>,
    ) -> Step<Value> {
        let mut storage = *self.storages.get(storage as usize).ok_or(TENSOR)?;
        if let Some(dtype) = dtype {
            let bytes = storage.elements * item_bytes(storage.dtype);
            storage.elements = bytes / item_bytes(dtype);
            storage.dtype = dtype;
        }
        let offset = u64::try_from(offset).map_err(|_| TENSOR)?;
        let lengths = self.sizes(shape).ok_or(TENSOR)?;
        let steps = self.sizes(strides).ok_or(TENSOR)?;
        if lengths.len() != steps.len() {
            return Err(TENSOR);
        }
        // In this order no product of the lengths overflows, whatever is 0.
        let elements = (lengths.iter())
            .try_fold(1usize, |elements, &length| elements.checked_mul(length))
            .ok_or(OUTSIDE)?;
        let inside = || span(&lengths, &steps)?.checked_add(offset);
        if elements > 0 && inside().is_none_or(|end| end > storage.elements) {
            return Err(OUTSIDE);
        }
        let index = next(&self.tensors);
        self.tensors.push(Tensor {
            storage,
            offset,
            shape,
            strides,
        });
        Ok(Value::Tensor(index))
    }

    fn items(&self, value: Value) -> Option<&[(Value, Value)]> {
        match value {
            Value::Dict(index) => self.dicts.get(index as usize).map(Vec::as_slice),
            _ => None,
        }
    }

    /// The dict of tensors that the pickle's value is or holds.
    fn state_dict(&self, root: Value) -> Result<(Vec<TensorEntry>, Vec<Layout>)> {
        let path = self.path;
        let format = |what: String| Error::Format(format!("In '{}' {what}", path.display()));
        let no_tensors = || {
            Error::Format(format!(
                "'{}' holds no state dict: no dict of tensors by name.",
                path.display()
            ))
        };
        let mut items = self.items(root).ok_or_else(no_tensors)?;
        let is_tensor = |value: &Value| matches!(value, Value::Tensor(_));
        if !items.iter().any(|(_, value)| is_tensor(value)) {
            // A training script's checkpoint.
            let mut inner = items.iter().filter_map(|&(key, value)| match key {
                Value::Text(start, end) => match self.text_bytes(start, end) {
                    b"state_dict" | b"model_state_dict" => self.items(value),
                    _ => None,
                },
                _ => None,
            });
            items = match (inner.next(), inner.next()) {
                (Some(inner), None) => inner,
                (Some(_), Some(_)) => {
                    return Err(format("there is more than one state dict.".into()));
                }
                (None, _) => return Err(no_tensors()),
            };
        }

        let mut names = HashSet::new();
        let (mut tensors, mut layouts) = (Vec::new(), Vec::new());
        for &(key, value) in items {
            let Value::Text(start, end) = key else {
                return Err(format("the state dict has a key that is no text.".into()));
            };
            let name = self.text_bytes(start, end);
            if !names.insert(name) {
                return Err(format(format!(
                    "the name '{}' stands more than once.",
                    shown(name)
                )));
            }
            let tensor = match value {
                Value::Tensor(index) => self.tensors.get(index as usize),
                Value::Other | Value::Bool | Value::Int(_) | Value::Text(..) => continue,
                _ => None,
            };
            let Some(tensor) = tensor else {
                return Err(Error::Unsupported(format!(
                    "In '{}' the entry '{}' of the state dict is no tensor; save a flat dict of tensors, best as \
                     model.safetensors.",
                    path.display(),
                    shown(name)
                )));
            };
            if tensors.len() == MAX_TENSORS {
                return Err(format(format!(
                    "there are more than {MAX_TENSORS} tensors."
                )));
            }
            tensors.push(TensorEntry {
                name: String::from_utf8_lossy(name).into_owned(),
                dtype: tensor.storage.dtype,
                shape: self.sizes(tensor.shape).unwrap_or_default(),
            });
            layouts.push(Layout {
                storage: tensor.storage,
                offset: tensor.offset,
                strides: self.sizes(tensor.strides).unwrap_or_default(),
            });
        }
        if tensors.is_empty() {
            return Err(no_tensors());
        }
        Ok((tensors, layouts))
    }
}

/// A number of two's complement bytes, the lowest first.
fn whole_number(bytes: &[u8]) -> Value {
    let negative = bytes.last().is_some_and(|b| b & 0x80 != 0);
    let mut all = [if negative { 0xff } else { 0 }; 8];
    match all.get_mut(..bytes.len()) {
        Some(low) => low.copy_from_slice(bytes),
        None => return Value::Other,
    }
    Value::Int(i64::from_le_bytes(all))
}

#[cfg(test)]
pub(super) mod tests;
