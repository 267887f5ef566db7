//! An open file, read piece by piece and never mapped, whose checksum is computed on the way.

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::files::{MAX_JSON_BYTES, became_shorter, read_at};
use super::manifest::{Checksum, Entry, MANIFEST};
use crate::error::{Error, Result};

/// The most that is read at once only for the checksum.
const PIECE: u64 = 1 << 20;

/// No file of ours is longer; of a longer one the end isn't read.
const MAX_CHECKED_BYTES: u64 = 1 << 36;

/// What the pointer begins with that Git leaves in a large file's place where Git LFS hasn't fetched it.
const LFS_POINTER: &[u8] = b"version https://git-lfs.github.com/spec/v1";

/// Refuses the pointer of Git LFS in place of a file, with its remedy.
pub fn refuse_lfs_pointer(file: &File, path: &Path) -> Result<()> {
    let mut beginning = [0; LFS_POINTER.len()];
    match file.read_exact_at(&mut beginning, 0) {
        Ok(()) if beginning == LFS_POINTER => Err(Error::Format(format!(
            "'{}' is a Git LFS pointer, not the file itself; run \"git lfs pull\" in the repository that it came from, \
             or download the file.",
            path.display()
        ))),
        // A file that is too short for one, or can't be read, is told of by those who read it.
        _ => Ok(()),
    }
}

/// An open file with what a save's manifest says of it.
pub struct CheckedFile {
    file: File,
    path: PathBuf,
    length: u64,
    /// What it was when it was saved, if that is known.
    saved: Option<Entry>,
    checksum: Checksum,
    /// How far the checksum has come: up to the end of the last range that was read.
    checked: u64,
}

impl CheckedFile {
    /// Takes an open file. One that isn't as long as it was saved is refused.
    pub fn new(file: File, path: PathBuf, saved: Option<Entry>) -> Result<CheckedFile> {
        let length = file
            .metadata()
            .map_err(|error| Error::io("read", &path, &error))?
            .len();
        let file = CheckedFile {
            file,
            path,
            length,
            saved,
            checksum: Checksum::new(),
            checked: 0,
        };
        match &file.saved {
            Some(saved) if saved.bytes != length => {
                Err(file.differs(&format!("it has {length} bytes and had {}", saved.bytes)))
            }
            _ => Ok(file),
        }
    }

    /// Its length when it was opened.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// For messages.
    pub fn name(&self) -> String {
        format!("'{}'", self.path.display())
    }

    /// `length` bytes from `offset`; the caller has held both against [`CheckedFile::length`]. Ranges that are read in
    /// the file's order are read once.
    pub fn read(&mut self, offset: u64, length: u64) -> Result<Vec<u8>> {
        if self.saved.is_some() {
            self.check_up_to(offset)?;
        }
        let bytes = read_at(&mut self.file, &self.path, offset, length)?;
        self.was_read(offset, &bytes);
        Ok(bytes)
    }

    /// As [`read`](CheckedFile::read), into memory that is there already.
    pub fn read_into(&mut self, offset: u64, bytes: &mut [u8]) -> Result<()> {
        if self.saved.is_some() {
            self.check_up_to(offset)?;
        }
        self.file
            .read_exact_at(bytes, offset)
            .map_err(|error| match error.kind() {
                ErrorKind::UnexpectedEof => became_shorter(&self.path),
                _ => Error::io("read", &self.path, &error),
            })?;
        self.was_read(offset, bytes);
        Ok(())
    }

    fn was_read(&mut self, offset: u64, bytes: &[u8]) {
        if self.saved.is_some() && offset == self.checked {
            self.checksum.update(bytes);
            self.checked += bytes.len() as u64;
        }
    }

    /// Reads what wasn't read yet, and says if anything in the file isn't as it was saved.
    pub fn finish(&mut self) -> Result<()> {
        if self.saved.is_some() {
            self.check_up_to(self.length)?;
        }
        self.compare()
    }

    /// As [`finish`](CheckedFile::finish), for a file of which nothing may have been read.
    pub fn check_whole(&mut self) -> Result<()> {
        if self.saved.is_some() {
            self.advance(self.length.min(MAX_CHECKED_BYTES))?;
        }
        self.compare()
    }

    fn compare(&self) -> Result<()> {
        match &self.saved {
            Some(saved) if saved.checksum != self.checksum.digits() => {
                Err(self.differs("its checksum is another"))
            }
            _ => Ok(()),
        }
    }

    /// Takes the bytes before `end` that the checksum lacks, if they aren't too many.
    fn check_up_to(&mut self, end: u64) -> Result<()> {
        // A save's file holds little that a load has no use for; one that claims more may be endless (sparse).
        if end.saturating_sub(self.checked) > self.checked.saturating_add(MAX_JSON_BYTES) {
            return Err(Error::Format(format!(
                "{} holds far more than belongs to it; it can't be a file that this library saved.",
                self.name()
            )));
        }
        self.advance(end)
    }

    fn advance(&mut self, end: u64) -> Result<()> {
        while self.checked < end {
            let length = PIECE.min(end - self.checked);
            let bytes = read_at(&mut self.file, &self.path, self.checked, length)?;
            self.checksum.update(&bytes);
            self.checked += length;
        }
        Ok(())
    }

    fn differs(&self, how: &str) -> Error {
        Error::Format(format!(
            "'{}' is not as it was saved: {how}. If it was changed on purpose, remove '{}' to accept that; if not, it is \
             damaged: copy the directory again from where it came.",
            self.path.display(),
            self.path.with_file_name(MANIFEST).display()
        ))
    }
}
