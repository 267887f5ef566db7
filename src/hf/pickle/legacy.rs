//! State dicts as PyTorch saved them before 1.6, and still does on request: five parts one after another. A pickle of a
//! number by which the format is known; one of its version; one that tells of the machine; one that describes the
//! tensors; one with the storages' names; then, in the order of these, each storage: the number of its elements, and
//! they.

use std::fs::File;
use std::path::Path;

use super::machine::{Machine, Storages, Value};
use super::{
    Layout, MAX_KEY_BYTES, MAX_PICKLE_BYTES, TensorEntry, damaged, item_bytes, not_little_endian,
};
use crate::error::{Error, Result};
use crate::hf::files::read_at;

/// How many bytes of a file tell whether it is one.
pub const START_BYTES: u64 = 32;

/// 0x1950a86a20f9469cfc6c, as a pickle writes it.
const MAGIC: &[u8] = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";

/// The version that all of PyTorch's releases wrote.
const VERSION: i64 = 1001;

/// The storages of an opened file.
pub struct Legacy {
    file: File,
    /// Where the bytes of each begin; they lie inside the file.
    starts: Vec<u64>,
}

/// Whether a file that begins so is of this format: a pickle of any version that holds the number.
pub fn is_one(start: &[u8]) -> bool {
    let [0x80, 1..=5, rest @ ..] = start else {
        return false;
    };
    // Newer pickles have a frame around it.
    let rest = match rest {
        [0x95, frame @ ..] => frame.get(8..).unwrap_or_default(),
        rest => rest,
    };
    rest.starts_with(MAGIC)
}

impl Legacy {
    /// Reads all but the numbers: every tensor lies inside its storage and every storage inside the file.
    pub fn open(
        mut file: File,
        path: &Path,
        length: u64,
    ) -> Result<(Legacy, Vec<TensorEntry>, Vec<Layout>)> {
        let bytes = read_at(&mut file, path, 0, length.min(MAX_PICKLE_BYTES))?;
        let wrong = |what: &str| damaged(path, what);
        let mut at = 0;
        let mut next = |storages| -> Result<(Machine<'_>, Value)> {
            let mut machine = Machine::new(&bytes, storages, path);
            machine.at = at;
            let value = machine.run()?;
            at = machine.at;
            Ok((machine, value))
        };
        next(Storages::None)?;
        let (_, version) = next(Storages::None)?;
        if !matches!(version, Value::Int(VERSION)) {
            return Err(Error::Unsupported(format!(
                "'{}' is of another version than {VERSION} of the format that PyTorch wrote before 1.6; load it in \
                 Python and save it anew as model.safetensors.",
                path.display()
            )));
        }
        let (system, told) = next(Storages::None)?;
        match system.item(told, b"little_endian") {
            Some(Value::Bool(true)) => {}
            Some(Value::Bool(false)) => return Err(not_little_endian(path)),
            _ => return Err(wrong("it doesn't tell its byte order")),
        }
        let (mut described, root) = next(Storages::Behind {
            length,
            numbers: Default::default(),
            keys: Vec::new(),
        })?;
        let (tensors, layouts) = described.state_dict(root)?;
        let Storages::Behind { numbers, keys, .. } =
            std::mem::replace(&mut described.storages_at, Storages::None)
        else {
            return Err(Error::Internal("A pickle has lost its storages.".into()));
        };
        let (listed, list) = next(Storages::None)?;
        let names = listed
            .texts(list)
            .ok_or_else(|| wrong("its storages have no list of names"))?;

        let mut starts = vec![None; keys.len()];
        let mut at = at as u64;
        for name in names {
            // Without a tensor that it belongs to nobody knows how long it is.
            let number = (name.len() <= MAX_KEY_BYTES)
                .then(|| numbers.get(name))
                .flatten();
            let number = *number.ok_or_else(|| wrong("a storage belongs to no tensor"))? as usize;
            let begin = at + 8;
            if begin > length {
                return Err(wrong("a storage is missing"));
            }
            let mut count = [0; 8];
            count.copy_from_slice(&read_at(&mut file, path, at, 8)?);
            let count = u64::from_le_bytes(count);
            let key = &keys[number];
            let end = count
                .checked_mul(item_bytes(key.dtype))
                .and_then(|bytes| begin.checked_add(bytes));
            match end.filter(|&end| end <= length && count == key.elements) {
                Some(end) if starts[number].replace(begin).is_none() => at = end,
                Some(_) => return Err(wrong("a storage is there twice")),
                None => return Err(wrong("a storage isn't as long as its description says")),
            }
        }
        let starts: Option<Vec<u64>> = starts.into_iter().collect();
        let starts = starts.ok_or_else(|| wrong("a tensor's storage is missing"))?;
        Ok((Legacy { file, starts }, tensors, layouts))
    }

    /// Where the bytes of a storage begin.
    pub fn start(&self, number: u32) -> Result<u64> {
        let start = self.starts.get(number as usize).copied();
        start.ok_or_else(|| Error::Internal("A storage of another file was asked for.".into()))
    }

    /// `length` bytes from `offset`, which lie in a storage.
    pub fn read(&mut self, path: &Path, offset: u64, length: u64) -> Result<Vec<u8>> {
        read_at(&mut self.file, path, offset, length)
    }
}
