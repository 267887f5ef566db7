//! The stack machine that a pickle is a program for. A pickle may name any function of Python; this machine knows the
//! few that make a tensor and builds a description of it, nothing else: whatever else a pickle names is refused, and
//! nothing is run. Values refer to lists, dicts and tuples by number, so that none owns another: neither depth nor
//! cycles matter.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::path::Path;

use safetensors::Dtype;

use super::{
    Layout, MAX_DIMENSIONS, MAX_KEY_BYTES, MAX_OPERATIONS, MAX_TENSORS, TensorEntry, item_bytes,
    shown, span,
};
use crate::error::{Error, Result};
use crate::hf::zip::{Archive, Entry, damaged};

/// What a pickle may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Global {
    OrderedDict,
    /// As PyTorch had it before 0.4: V2 without what follows the strides.
    RebuildTensor,
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
        ("torch._utils", "_rebuild_tensor") => Global::RebuildTensor,
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
pub(super) enum Value {
    /// A value that no tensor needs: None, a float, bytes, a number of more than 64 bits.
    Other,
    Bool(bool),
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

/// Where a storage's bytes are.
#[derive(Clone, Copy)]
pub(super) enum Data {
    /// An entry of the archive, which is long enough.
    Entry(Entry),
    /// The number of the [`Key`] that it has.
    Number(u32),
}

/// A storage, or a part of one.
#[derive(Clone, Copy)]
pub(super) struct Storage {
    /// Where its bytes are.
    pub data: Data,
    /// The first of its elements there.
    pub first: u64,
    /// The type of its elements.
    pub dtype: Dtype,
    /// Their number.
    pub elements: u64,
}

/// A storage of a file without an archive, as tensors name it.
pub(super) struct Key {
    /// The type of its elements.
    pub dtype: Dtype,
    /// How many of its elements there must be.
    pub elements: u64,
}

/// Where a pickle's storages are to be found.
pub(super) enum Storages<'m> {
    /// In an archive, under its folder.
    Archive {
        archive: &'m Archive,
        prefix: &'m [u8],
    },
    /// Behind the pickles, in a file of so many bytes: by their names, and in the order of those.
    Behind {
        length: u64,
        numbers: HashMap<Vec<u8>, u32>,
        keys: Vec<Key>,
    },
    /// Nowhere: the pickle describes no tensor.
    None,
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
pub(super) struct Machine<'m> {
    pickle: &'m [u8],
    /// Where in `pickle` the next operation is.
    pub at: usize,
    pub storages_at: Storages<'m>,
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

impl<'m> Machine<'m> {
    /// A machine that runs `pickle`.
    pub fn new(pickle: &'m [u8], storages_at: Storages<'m>, path: &'m Path) -> Machine<'m> {
        Machine {
            pickle,
            at: 0,
            storages_at,
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
    pub fn run(&mut self) -> Result<Value> {
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
            0x88 => Value::Bool(true),
            0x89 => Value::Bool(false),
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
            // SHORT_BINSTRING, BINSTRING: texts of Python 2.
            b'U' => {
                let length = self.byte()?.into();
                self.text(length)?
            }
            b'T' => {
                let length = self.long()? as usize;
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
                Global::RebuildTensor,
                &[
                    Value::Storage(storage),
                    Value::Int(offset),
                    Value::Tuple(shape),
                    Value::Tuple(strides),
                ],
            ) => self.tensor(storage, offset, shape, strides, None),
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

    /// The storage that a persistent id names: ('storage', class, key, device, number of elements); before 1.6 with
    /// None behind it, or with a part of it: (key, offset, number of elements).
    fn storage(&mut self, id: u32) -> Step<Value> {
        const WRONG: Fault = Fault::Damaged("data.pkl describes a storage wrongly");
        let &[
            Value::Text(start, end),
            Value::Global(class),
            Value::Text(key_start, key_end),
            Value::Text(..),
            Value::Int(elements),
            ref view @ ..,
        ] = self.members(id)
        else {
            return Err(WRONG);
        };
        let dtype = match class {
            Global::Storage(dtype) => dtype,
            Global::UntypedStorage => Dtype::U8,
            _ => return Err(WRONG),
        };
        let whole = u64::try_from(elements).map_err(|_| WRONG)?;
        let (mut first, mut elements) = (0, whole);
        match *view {
            [] | [Value::Other] => {}
            [Value::Tuple(part)] => {
                let &[Value::Text(..), Value::Int(offset), Value::Int(length)] = self.members(part)
                else {
                    return Err(WRONG);
                };
                first = u64::try_from(offset).map_err(|_| WRONG)?;
                elements = u64::try_from(length).map_err(|_| WRONG)?;
                if first.checked_add(elements).is_none_or(|end| end > whole) {
                    return Err(OUTSIDE);
                }
            }
            _ => return Err(WRONG),
        }
        let key = self.text_bytes(key_start, key_end);
        if self.text_bytes(start, end) != b"storage" || key.len() > MAX_KEY_BYTES {
            return Err(WRONG);
        }
        let bytes = whole.checked_mul(item_bytes(dtype));
        let short = Fault::Damaged("a storage is shorter than data.pkl says");
        let data = match &mut self.storages_at {
            Storages::Archive { archive, prefix } => {
                let name = [prefix, b"data/".as_slice(), key].concat();
                let entry = archive
                    .entry(&name)
                    .map_err(Fault::Sentence)?
                    .ok_or(Fault::Damaged("a tensor's storage is missing"))?;
                if bytes.is_none_or(|bytes| bytes > entry.size) {
                    return Err(short);
                }
                Data::Entry(entry)
            }
            Storages::Behind {
                length,
                numbers,
                keys,
            } => {
                if bytes.is_none_or(|bytes| bytes > *length) {
                    return Err(short);
                }
                let number = *numbers.entry(key.to_vec()).or_insert_with(|| {
                    keys.push(Key {
                        dtype,
                        elements: whole,
                    });
                    keys.len() as u32 - 1
                });
                let known = keys.get(number as usize).ok_or(WRONG)?;
                if known.dtype != dtype || known.elements != whole {
                    return Err(WRONG);
                }
                Data::Number(number)
            }
            Storages::None => return Err(WRONG),
        };
        let index = next(&self.storages);
        self.storages.push(Storage {
            data,
            first,
            dtype,
            elements,
        });
        Ok(Value::Storage(index))
    }

    /// The texts of a list.
    pub fn texts(&self, list: Value) -> Option<Vec<&'m [u8]>> {
        let Value::List(index) = list else {
            return None;
        };
        let text = |value: &Value| match *value {
            Value::Text(start, end) => Some(self.text_bytes(start, end)),
            _ => None,
        };
        self.lists.get(index as usize)?.iter().map(text).collect()
    }

    /// The value under a text in a dict.
    pub fn item(&self, dict: Value, name: &[u8]) -> Option<Value> {
        let is_it = |key: &Value| match *key {
            Value::Text(start, end) => self.text_bytes(start, end) == name,
            _ => false,
        };
        let items = self.items(dict)?;
        items.iter().find(|(key, _)| is_it(key)).map(|item| item.1)
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
            let (from, to) = (item_bytes(storage.dtype), item_bytes(dtype));
            if !(storage.first * from).is_multiple_of(to) {
                return Err(TENSOR);
            }
            storage.first = storage.first * from / to;
            storage.elements = storage.elements * from / to;
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
    pub fn state_dict(&self, root: Value) -> Result<(Vec<TensorEntry>, Vec<Layout>)> {
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
                Value::Other | Value::Bool(_) | Value::Int(_) | Value::Text(..) => continue,
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
