//! The part of the zip format that PyTorch writes: stored entries found through the central directory, with zip64
//! records. Every length is held against the file before it is used.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use super::files::{read_at, regular_length};
use crate::error::{Error, Result};

/// A central directory larger than this isn't a state dict's: it would name some hundred thousand tensors.
const MAX_DIRECTORY_BYTES: u64 = 16 << 20;

const END_BYTES: usize = 22;
const END64_LOCATOR_BYTES: usize = 20;
const END64_BYTES: usize = 56;
const DIRECTORY_ENTRY_BYTES: usize = 46;
const LOCAL_HEADER_BYTES: usize = 30;
const MAX_COMMENT_BYTES: usize = u16::MAX as usize;

/// What the central directory says about one entry.
#[derive(Clone, Copy)]
pub struct Entry {
    /// Whether its bytes lie in the archive as they are, neither compressed nor encrypted.
    stored: bool,
    /// Its length.
    pub size: u64,
    /// Where its local header begins.
    header: u64,
}

/// An opened zip archive.
pub struct Archive {
    file: File,
    /// For messages.
    path: PathBuf,
    /// Where the central directory begins, and so the room for entries ends.
    entries_end: u64,
    entries: HashMap<Vec<u8>, Entry>,
}

/// Little-endian numbers from a slice, each `None` beyond its end.
fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_le_bytes(bytes.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(8)?)?;
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

/// An error of a file that is no whole archive.
pub fn damaged(path: &Path, what: &str) -> Error {
    Error::Format(format!(
        "'{}' is not a whole PyTorch file: {what}. Copy it again from where it came.",
        path.display()
    ))
}

/// Where the central directory is.
struct Directory {
    offset: u64,
    size: u64,
    count: u64,
}

/// The central directory's place by the records at the end of the file, `tail` being the file's last bytes, from
/// `tail_start`.
fn find_directory(file: &mut File, path: &Path, tail: &[u8], tail_start: u64) -> Result<Directory> {
    const NO_END: &str = "the end of its zip directory is missing";
    const BAD_END64: &str = "the zip64 record at its end is wrong";
    // The record may be followed by a comment, whose length it holds.
    let found = (0..=tail.len().saturating_sub(END_BYTES))
        .rev()
        .find(|&at| {
            tail.get(at..).is_some_and(|t| t.starts_with(b"PK\x05\x06"))
                && u16_at(tail, at + 20)
                    .is_some_and(|comment| at + END_BYTES + comment as usize == tail.len())
        });
    let Some(at) = found else {
        return Err(damaged(path, NO_END));
    };
    let (Some(count), Some(size), Some(offset)) = (
        u16_at(tail, at + 10),
        u32_at(tail, at + 12),
        u32_at(tail, at + 16),
    ) else {
        return Err(damaged(path, NO_END));
    };
    let mut directory = Directory {
        offset: offset.into(),
        size: size.into(),
        count: count.into(),
    };
    let end = tail_start + at as u64;
    let mut limit = end;
    if count == u16::MAX || size == u32::MAX || offset == u32::MAX {
        let Some(locator) = at
            .checked_sub(END64_LOCATOR_BYTES)
            .and_then(|start| tail.get(start..at))
            .filter(|locator| locator.starts_with(b"PK\x06\x07"))
        else {
            return Err(damaged(path, BAD_END64));
        };
        let Some(record_at) = u64_at(locator, 8).filter(|&record_at| {
            record_at
                .checked_add((END64_BYTES + END64_LOCATOR_BYTES) as u64)
                .is_some_and(|record_end| record_end <= end)
        }) else {
            return Err(damaged(path, BAD_END64));
        };
        let record = read_at(file, path, record_at, END64_BYTES as u64)?;
        let (true, Some(count64), Some(size64), Some(offset64)) = (
            record.starts_with(b"PK\x06\x06"),
            u64_at(&record, 32),
            u64_at(&record, 40),
            u64_at(&record, 48),
        ) else {
            return Err(damaged(path, BAD_END64));
        };
        if count == u16::MAX {
            directory.count = count64;
        }
        if size == u32::MAX {
            directory.size = size64;
        }
        if offset == u32::MAX {
            directory.offset = offset64;
        }
        limit = record_at;
    }
    let inside = directory
        .offset
        .checked_add(directory.size)
        .is_some_and(|directory_end| directory_end <= limit);
    if !inside || directory.count > directory.size / DIRECTORY_ENTRY_BYTES as u64 {
        return Err(damaged(path, "its zip directory lies outside the file"));
    }
    if directory.size > MAX_DIRECTORY_BYTES {
        return Err(damaged(
            path,
            "its zip directory is larger than any state dict's",
        ));
    }
    Ok(directory)
}

/// One entry at the start of `bytes`: its name, what is said about it, and how many bytes that took.
fn directory_entry(bytes: &[u8]) -> Option<(&[u8], Entry, usize)> {
    if !bytes.starts_with(b"PK\x01\x02") {
        return None;
    }
    let flags = u16_at(bytes, 8)?;
    let method = u16_at(bytes, 10)?;
    let mut packed = u64::from(u32_at(bytes, 20)?);
    let mut size = u64::from(u32_at(bytes, 24)?);
    let mut header = u64::from(u32_at(bytes, 42)?);
    let name_end = DIRECTORY_ENTRY_BYTES + usize::from(u16_at(bytes, 28)?);
    let extra_end = name_end + usize::from(u16_at(bytes, 30)?);
    let end = extra_end + usize::from(u16_at(bytes, 32)?);
    let name = bytes.get(DIRECTORY_ENTRY_BYTES..name_end)?;
    let mut extra = bytes.get(name_end..extra_end)?;
    bytes.get(extra_end..end)?;

    // The zip64 field holds, in this order, those numbers that don't fit their places.
    let mut wide: Vec<&mut u64> = [&mut size, &mut packed, &mut header]
        .into_iter()
        .filter(|value| **value == u64::from(u32::MAX))
        .collect();
    if !wide.is_empty() {
        let field = loop {
            let (kind, length) = (u16_at(extra, 0)?, usize::from(u16_at(extra, 2)?));
            let field = extra.get(4..4 + length)?;
            if kind == 1 {
                break field;
            }
            extra = extra.get(4 + length..)?;
        };
        for (i, value) in wide.iter_mut().enumerate() {
            **value = u64_at(field, 8 * i)?;
        }
    }
    let entry = Entry {
        stored: method == 0 && flags & 1 == 0 && packed == size,
        size,
        header,
    };
    Some((name, entry, end))
}

impl Archive {
    /// Reads the central directory.
    pub fn open(mut file: File, path: &Path) -> Result<Archive> {
        let length = regular_length(&file, path)?;
        let start = read_at(&mut file, path, 0, length.min(8))?;
        if !start.starts_with(b"PK\x03\x04") {
            return Err(Error::Format(format!(
                "'{}' is not a PyTorch file: it begins neither as a zip archive does nor as torch.save wrote before \
                 PyTorch 1.6.",
                path.display()
            )));
        }
        let tail_length = length.min((END64_LOCATOR_BYTES + END_BYTES + MAX_COMMENT_BYTES) as u64);
        let tail_start = length - tail_length;
        let tail = read_at(&mut file, path, tail_start, tail_length)?;
        let directory = find_directory(&mut file, path, &tail, tail_start)?;

        let bytes = read_at(&mut file, path, directory.offset, directory.size)?;
        let mut rest = bytes.as_slice();
        let mut entries = HashMap::new();
        for _ in 0..directory.count {
            let Some((name, entry, taken)) = directory_entry(rest) else {
                return Err(damaged(path, "its zip directory can't be read"));
            };
            if entries.insert(name.to_vec(), entry).is_some() {
                return Err(damaged(
                    path,
                    "its zip directory names an entry more than once",
                ));
            }
            rest = &rest[taken..];
        }
        Ok(Archive {
            file,
            path: path.to_path_buf(),
            entries_end: directory.offset,
            entries,
        })
    }

    /// The names of all entries, in no particular order.
    pub fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.entries.keys().map(Vec::as_slice)
    }

    /// The entry of that name, where it is stored plainly and its length can fit the file.
    pub fn entry(&self, name: &[u8]) -> Result<Option<Entry>> {
        let Some(&entry) = self.entries.get(name) else {
            return Ok(None);
        };
        if !entry.stored {
            return Err(Error::Unsupported(format!(
                "'{}' holds a compressed or encrypted entry; PyTorch stores entries as they are, so save it anew with \
                 torch.save.",
                self.path.display()
            )));
        }
        let least_end = (entry.header)
            .checked_add(LOCAL_HEADER_BYTES as u64)
            .and_then(|end| end.checked_add(name.len() as u64))
            .and_then(|end| end.checked_add(entry.size));
        if least_end.is_none_or(|end| end > self.entries_end) {
            return Err(damaged(
                &self.path,
                "an entry's bytes lie outside the zip archive",
            ));
        }
        Ok(Some(entry))
    }

    /// Where the bytes of an entry that [`Archive::entry`] gave begin; all of them lie before the directory.
    pub fn start(&mut self, entry: &Entry) -> Result<u64> {
        let header = read_at(
            &mut self.file,
            &self.path,
            entry.header,
            LOCAL_HEADER_BYTES as u64,
        )?;
        let start = match (u16_at(&header, 26), u16_at(&header, 28)) {
            (Some(name), Some(extra)) if header.starts_with(b"PK\x03\x04") => {
                entry.header + LOCAL_HEADER_BYTES as u64 + u64::from(name) + u64::from(extra)
            }
            _ => {
                return Err(damaged(
                    &self.path,
                    "an entry of the zip archive can't be read",
                ));
            }
        };
        if start
            .checked_add(entry.size)
            .is_none_or(|end| end > self.entries_end)
        {
            return Err(damaged(
                &self.path,
                "an entry's bytes lie outside the zip archive",
            ));
        }
        Ok(start)
    }

    /// `length` bytes from `offset` in the file, which lie in an entry by [`Archive::start`].
    pub fn read(&mut self, offset: u64, length: u64) -> Result<Vec<u8>> {
        read_at(&mut self.file, &self.path, offset, length)
    }

    /// All bytes of an entry.
    pub fn read_entry(&mut self, entry: &Entry) -> Result<Vec<u8>> {
        let start = self.start(entry)?;
        self.read(start, entry.size)
    }
}
