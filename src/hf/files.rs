//! Reading and writing single files: bounded, never mapped, flushed.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use crate::error::{Error, Result};

/// A config or tokenizer file larger than this isn't one.
pub const MAX_JSON_BYTES: u64 = 64 << 20;

/// A whole file of at most `most` bytes.
pub fn read_file(path: &Path, most: u64) -> Result<Vec<u8>> {
    let file = File::open(path).map_err(|error| Error::io("read", path, &error))?;
    read_open_file(file, path, most)
}

/// The rest of an open file of at most `most` bytes.
pub fn read_open_file(file: File, path: &Path, most: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(most + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Error::io("read", path, &error))?;
    if bytes.len() as u64 > most {
        return Err(Error::Format(format!(
            "'{}' is larger than {most} bytes; it can't be a file of this kind.",
            path.display()
        )));
    }
    Ok(bytes)
}

/// `length` bytes of `file` from `offset`. The caller has held both against the file's length.
pub fn read_at(file: &mut File, path: &Path, offset: u64, length: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    usize::try_from(length)
        .ok()
        .and_then(|length| bytes.try_reserve_exact(length).ok())
        .ok_or_else(|| {
            Error::OutOfMemory(format!(
                "There is not enough memory to read {length} bytes of '{}'.",
                path.display()
            ))
        })?;
    file.seek(SeekFrom::Start(offset))
        .and_then(|_| file.take(length).read_to_end(&mut bytes))
        .map_err(|error| Error::io("read", path, &error))?;
    if bytes.len() as u64 != length {
        return Err(Error::Format(format!(
            "'{}' became shorter while it was read.",
            path.display()
        )));
    }
    Ok(bytes)
}

/// Creates a file, lets `fill` write to it, and flushes it to the disk.
pub fn create_file(path: &Path, fill: impl FnOnce(&mut dyn Sink) -> Result<()>) -> Result<()> {
    let fail = |error: std::io::Error| Error::io("write", path, &error);
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .open(path)
        .map_err(fail)?;
    fill(&mut |bytes: &[u8]| file.write_all(bytes).map_err(fail))?;
    file.sync_all().map_err(fail)
}

/// Where the bytes of a file go.
pub trait Sink {
    /// Writes all of them.
    fn write(&mut self, bytes: &[u8]) -> Result<()>;
}

impl<F: FnMut(&[u8]) -> Result<()>> Sink for F {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self(bytes)
    }
}

/// Flushes a directory's entries to the disk.
pub fn sync_directory(path: &Path) -> Result<()> {
    File::open(path)
        .and_then(|directory| directory.sync_all())
        .map_err(|error| Error::io("flush the directory", path, &error))
}
