//! Reading and writing single files: bounded, never mapped, flushed.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::stat::Mode;

use super::checked_file::refuse_lfs_pointer;
use crate::error::{Error, Result};

/// A config or tokenizer file larger than this isn't one.
pub const MAX_JSON_BYTES: u64 = 64 << 20;

/// A whole file of at most `most` bytes.
pub fn read_file(path: &Path, most: u64) -> Result<Vec<u8>> {
    let file = File::open(path).map_err(|error| Error::io("read", path, &error))?;
    refuse_lfs_pointer(&file, path)?;
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
        return Err(became_shorter(path));
    }
    Ok(bytes)
}

/// The length of an open file, where it is a regular one.
///
/// # Errors
/// [`Error::Format`] for a directory, a pipe or a device; [`Error::Io`].
pub fn regular_length(file: &File, path: &Path) -> Result<u64> {
    let metadata = file
        .metadata()
        .map_err(|error| Error::io("read", path, &error))?;
    if !metadata.is_file() {
        return Err(Error::Format(format!(
            "'{}' is not a regular file.",
            path.display()
        )));
    }
    Ok(metadata.len())
}

/// The error of a file that ends before what it held a moment ago.
pub fn became_shorter(path: &Path) -> Error {
    Error::Format(format!(
        "'{}' became shorter while it was read.",
        path.display()
    ))
}

/// Creates a file, lets `fill` write to it, and flushes it to the disk.
pub fn create_file(path: &Path, fill: impl FnOnce(&mut dyn Sink) -> Result<()>) -> Result<()> {
    let fail = |error: io::Error| Error::io("write", path, &error);
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .open(path)
        .map_err(fail)?;
    let _held = HeldSignal::new();
    fill(&mut |bytes: &[u8]| file.write_all(bytes).map_err(fail))?;
    file.sync_all().map_err(fail)
}

/// While it is there, a write beyond the process's limit on the size of files (RLIMIT_FSIZE) fails as other writes do:
/// by itself the system would end the host with SIGXFSZ, too, which goes to the thread that writes.
struct HeldSignal(Option<(SigSet, SignalFd)>);

impl HeldSignal {
    fn new() -> HeldSignal {
        let mut signals = SigSet::empty();
        signals.add(Signal::SIGXFSZ);
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        // Where the signal can't be taken it isn't held either.
        HeldSignal(
            SignalFd::with_flags(&signals, flags)
                .ok()
                .and_then(|taken| {
                    let before = signals.thread_swap_mask(SigmaskHow::SIG_BLOCK).ok()?;
                    Some((before, taken))
                }),
        )
    }
}

impl Drop for HeldSignal {
    fn drop(&mut self) {
        if let Some((before, taken)) = &self.0
            && !before.contains(Signal::SIGXFSZ)
        {
            while let Ok(Some(_)) = taken.read_signal() {}
            let _ = before.thread_set_mask();
        }
    }
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

/// The names of what is in a directory. The standard library's reader ends the program's call with a panic where closing
/// a directory fails.
pub fn names_in(directory: &Path) -> io::Result<Vec<OsString>> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    let mut names = Vec::new();
    let mut open = loop {
        match Dir::open(directory, flags, Mode::empty()) {
            Err(Errno::EINTR) => {}
            open => break open?,
        }
    };
    for entry in open.iter() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(OsStr::from_bytes(name).to_owned());
        }
    }
    Ok(names)
}

/// Flushes a directory's entries to the disk.
pub fn sync_directory(path: &Path) -> Result<()> {
    File::open(path)
        .and_then(|directory| directory.sync_all())
        .map_err(|error| Error::io("flush the directory", path, &error))
}
