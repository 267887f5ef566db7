//! The one error type. Each variant is one category, one status code of the C ABI; the text is a full sentence for
//! the user: what was wrong, with which value, and what would be right. It never is a dependency's raw text.

use std::fmt;

/// What went wrong, by category. The `String` is the sentence that `bert_last_error_message()` gives.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// An argument or option that can't be used: out of range, contradictory, impossible.
    InvalidArgument(String),
    /// A handle that is NULL, freed, of another kind, or no handle of this library.
    Handle(String),
    /// A struct's size that no published version of it has.
    StructSize(String),
    /// The caller's buffer holds fewer elements than the result needs.
    BufferTooSmall(String),
    /// Text that isn't UTF-8.
    Utf8(String),
    /// The operating system refused to read or write.
    Io(String),
    /// A file whose content is damaged, or isn't what it should be.
    Format(String),
    /// A file written by a newer version of the format.
    Version(String),
    /// Data that can't be trained on or evaluated with: empty, one class only, a line that can't be read.
    Data(String),
    /// A label that the model doesn't have.
    UnknownLabel(String),
    /// Sound, but something that this library, this build or this model doesn't do.
    Unsupported(String),
    /// A device that isn't there or can't be used.
    Device(String),
    /// More memory than there is.
    OutOfMemory(String),
    /// A loss or a gradient that is NaN or infinite.
    NotFinite(String),
    /// Training ended because a callback or `bert_trainer_cancel` asked for it.
    Cancelled(String),
    /// A trainer whose planned epochs are all done.
    Finished(String),
    /// The model or trainer is training already.
    Busy(String),
    /// An earlier call on this handle failed in a way that may have left it inconsistent.
    Poisoned(String),
    /// The process was forked after the library was used.
    Forked(String),
    /// A defect of the library.
    Internal(String),
    /// One of the above, with where it happened. Who matches on the kind of an error matches on [`Error::category`].
    At(Box<Error>, Place),
}

/// Where an error happened: what a program may want to know of it without reading the sentence.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// The argument or option that is wrong.
    pub argument: Option<String>,
    /// The element of the array or batch that is wrong, from 0.
    pub index: Option<usize>,
    /// The line of the data file that is wrong, from 1.
    pub line: Option<u64>,
    /// How many elements a buffer must hold.
    pub needed_size: Option<usize>,
}

/// `Result` with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// The sentence of an [`Error`], borrowed as the error is.
macro_rules! sentence {
    ($error:expr) => {
        match $error {
            Error::InvalidArgument(m)
            | Error::Handle(m)
            | Error::StructSize(m)
            | Error::BufferTooSmall(m)
            | Error::Utf8(m)
            | Error::Io(m)
            | Error::Format(m)
            | Error::Version(m)
            | Error::Data(m)
            | Error::UnknownLabel(m)
            | Error::Unsupported(m)
            | Error::Device(m)
            | Error::OutOfMemory(m)
            | Error::NotFinite(m)
            | Error::Cancelled(m)
            | Error::Finished(m)
            | Error::Busy(m)
            | Error::Poisoned(m)
            | Error::Forked(m)
            | Error::Internal(m) => m,
            Error::At(..) => unreachable!("taken apart before"),
        }
    };
}

/// Refuses an option that isn't from `least` to `most`; NaN is in no range.
pub(crate) fn check_range<T: PartialOrd + fmt::Display>(
    name: &str,
    value: T,
    least: T,
    most: T,
) -> Result<()> {
    if least <= value && value <= most {
        return Ok(());
    }
    Err(Error::InvalidArgument(format!(
        "{name} is {value}; it must be between {least} and {most}."
    ))
    .of_argument(name))
}

impl Error {
    /// The sentence.
    pub fn message(&self) -> &str {
        sentence!(self.category())
    }

    /// The error without its place: one of the categories.
    pub fn category(&self) -> &Error {
        match self {
            Error::At(error, _) => error.category(),
            error => error,
        }
    }

    /// Where it happened; empty where that isn't known.
    pub fn place(&self) -> Place {
        match self {
            Error::At(_, place) => place.clone(),
            _ => Place::default(),
        }
    }

    fn with(self, change: impl FnOnce(&mut Place)) -> Error {
        let (error, mut place) = match self {
            Error::At(error, place) => (error, place),
            error => (Box::new(error), Place::default()),
        };
        change(&mut place);
        Error::At(error, place)
    }

    /// The same of the argument or option of that name.
    pub fn of_argument(self, name: &str) -> Error {
        self.with(|place| place.argument = Some(name.to_string()))
    }

    /// The same of an element of an array or a batch.
    pub fn at_index(self, index: usize) -> Error {
        self.with(|place| place.index = Some(index))
    }

    /// The same of a line of a data file.
    pub fn at_line(self, line: u64) -> Error {
        self.with(|place| place.line = Some(line))
    }

    /// The same of a buffer that must hold so many elements.
    pub fn needing(self, elements: usize) -> Error {
        self.with(|place| place.needed_size = Some(elements))
    }

    /// The same of the file at `path`, where the sentence calls it by its usual `name` only.
    pub fn naming(mut self, name: &str, path: &std::path::Path) -> Error {
        if let Error::At(error, place) = self {
            return Error::At(Box::new(error.naming(name, path)), place);
        }
        let message = sentence!(&mut self);
        *message = message.replacen(name, &format!("'{}'", path.display()), 1);
        self
    }

    /// An [`Error::Io`] for `action` ("read", "write", …) on `path`, in our words with the system's reason.
    pub fn io(action: &str, path: &std::path::Path, error: &std::io::Error) -> Error {
        use std::io::ErrorKind;
        let reason = match error.kind() {
            ErrorKind::NotFound => "there is no such file or directory".to_string(),
            ErrorKind::PermissionDenied => "permission was denied".to_string(),
            ErrorKind::AlreadyExists => "it exists already".to_string(),
            ErrorKind::IsADirectory => "it is a directory".to_string(),
            ErrorKind::NotADirectory => "a part of the path is not a directory".to_string(),
            ErrorKind::StorageFull => "the disk is full".to_string(),
            ErrorKind::ReadOnlyFilesystem => "the file system is read-only".to_string(),
            ErrorKind::InvalidFilename => "the name is too long for the file system".to_string(),
            ErrorKind::UnexpectedEof => "the file ends too early".to_string(),
            ErrorKind::QuotaExceeded => "the quota for disk space is used up".to_string(),
            ErrorKind::FileTooLarge => {
                "the file would be larger than its file system or a limit of this process \
                                        (RLIMIT_FSIZE) allows"
                    .to_string()
            }
            ErrorKind::Unsupported => {
                "it is not a regular file or the file system doesn't support that".to_string()
            }
            ErrorKind::DirectoryNotEmpty => "the directory is not empty".to_string(),
            ErrorKind::StaleNetworkFileHandle => {
                "it is gone from the network file system".to_string()
            }
            ErrorKind::ResourceBusy | ErrorKind::CrossesDevices => {
                "it can't be moved, as a mount point or a directory \
                                                                    of a container's image can't"
                    .to_string()
            }
            _ => match error.raw_os_error() {
                Some(libc::EIO) => "the device reported an input/output error".to_string(),
                Some(libc::ELOOP) => {
                    "its symbolic links lead in a circle or are too many".to_string()
                }
                Some(libc::EMFILE) => "this process has too many files open".to_string(),
                Some(libc::ENFILE) => "the system has too many files open".to_string(),
                Some(libc::ENXIO | libc::ENODEV) => "there is no device behind it".to_string(),
                Some(code) => format!("the system reported error {code}"),
                None => "the operation failed".to_string(),
            },
        };
        Error::Io(format!(
            "Could not {action} '{}': {reason}.",
            path.display()
        ))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl std::error::Error for Error {}

/// A tensor operation that failed is a defect of ours (shapes are checked before), except where it says that memory
/// ran out. candle's text, which may hold a backtrace, goes to the log and not into the message.
impl From<candle_core::Error> for Error {
    fn from(error: candle_core::Error) -> Error {
        let text = error.to_string();
        crate::log::debug(|| format!("tensor operation failed: {text}"));
        if text.contains("OUT_OF_MEMORY") || text.contains("out of memory") {
            return Error::OutOfMemory(
                "The device ran out of memory; use a smaller batch_size or max_length.".into(),
            );
        }
        Error::Internal(
            "A tensor operation failed inside the library; please report this with the log at level debug.".into(),
        )
    }
}
