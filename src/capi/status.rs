//! The status codes: one for each variant of [`Error`].

use std::ffi::{CStr, c_char};

use crate::error::Error;

/// What every function that can fail returns: BERT_OK, or the category of the failure. The sentence that goes with it
/// is bert_last_error_message(). Numbers are never reused.
pub type bert_status = i32;

/// Success.
pub const BERT_OK: bert_status = 0;
/// An argument or option can't be used: out of range, contradictory, NULL where something is needed.
pub const BERT_ERR_INVALID_ARGUMENT: bert_status = 1;
/// A handle is NULL, freed, of another kind, or not one of this library's.
pub const BERT_ERR_HANDLE: bert_status = 2;
/// A struct's struct_size is none that this library knows: call its _init function first.
pub const BERT_ERR_STRUCT_SIZE: bert_status = 3;
/// A buffer of the caller's is too small; nothing was written to it, and the message and the count that the function
/// gives tell the size that is needed.
pub const BERT_ERR_BUFFER_TOO_SMALL: bert_status = 4;
/// A text is not valid UTF-8.
pub const BERT_ERR_UTF8: bert_status = 5;
/// The operating system refused to read or write; files are as they were.
pub const BERT_ERR_IO: bert_status = 6;
/// A file or buffer is damaged, or not of the kind that it should be.
pub const BERT_ERR_FORMAT: bert_status = 7;
/// A file was written by a newer version of this library's format.
pub const BERT_ERR_VERSION: bert_status = 8;
/// Data can't be trained on or evaluated with: empty, one class only, a line that can't be read.
pub const BERT_ERR_DATA: bert_status = 9;
/// A label is not one of the model's.
pub const BERT_ERR_UNKNOWN_LABEL: bert_status = 10;
/// Sound, but nothing that this library, this build or this model does.
pub const BERT_ERR_UNSUPPORTED: bert_status = 11;
/// The device is not there or can't be used.
pub const BERT_ERR_DEVICE: bert_status = 12;
/// More memory would be needed than there is.
pub const BERT_ERR_OUT_OF_MEMORY: bert_status = 13;
/// The loss or the gradient became NaN or infinite; the model has the weights of the last good step.
pub const BERT_ERR_NOT_FINITE: bert_status = 14;
/// Training ended because a callback or bert_trainer_cancel asked for it; the model has the last step's weights.
pub const BERT_ERR_CANCELLED: bert_status = 15;
/// All planned epochs of this trainer are done.
pub const BERT_ERR_FINISHED: bert_status = 16;
/// The model is being trained by another call.
pub const BERT_ERR_BUSY: bert_status = 17;
/// An earlier call on this handle failed inside the library; it can only be freed.
pub const BERT_ERR_POISONED: bert_status = 18;
/// The process was forked after the library had started its threads, or while a call was inside it; use it in one process
/// only, or exec.
pub const BERT_ERR_FORKED: bert_status = 19;
/// A defect of the library: please report the message.
pub const BERT_ERR_INTERNAL: bert_status = 20;

/// The status code of an error.
pub(super) fn status_of(error: &Error) -> bert_status {
    match error {
        Error::InvalidArgument(_) => BERT_ERR_INVALID_ARGUMENT,
        Error::Handle(_) => BERT_ERR_HANDLE,
        Error::StructSize(_) => BERT_ERR_STRUCT_SIZE,
        Error::BufferTooSmall(_) => BERT_ERR_BUFFER_TOO_SMALL,
        Error::Utf8(_) => BERT_ERR_UTF8,
        Error::Io(_) => BERT_ERR_IO,
        Error::Format(_) => BERT_ERR_FORMAT,
        Error::Version(_) => BERT_ERR_VERSION,
        Error::Data(_) => BERT_ERR_DATA,
        Error::UnknownLabel(_) => BERT_ERR_UNKNOWN_LABEL,
        Error::Unsupported(_) => BERT_ERR_UNSUPPORTED,
        Error::Device(_) => BERT_ERR_DEVICE,
        Error::OutOfMemory(_) => BERT_ERR_OUT_OF_MEMORY,
        Error::NotFinite(_) => BERT_ERR_NOT_FINITE,
        Error::Cancelled(_) => BERT_ERR_CANCELLED,
        Error::Finished(_) => BERT_ERR_FINISHED,
        Error::Busy(_) => BERT_ERR_BUSY,
        Error::Poisoned(_) => BERT_ERR_POISONED,
        Error::Forked(_) => BERT_ERR_FORKED,
        Error::Internal(_) => BERT_ERR_INTERNAL,
    }
}

/// A status code's name, such as "BERT_ERR_IO"; "unknown status" for a number that is none. The text lives for ever.
/// Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn bert_status_string(status: bert_status) -> *const c_char {
    let name: &'static CStr = match status {
        BERT_OK => c"BERT_OK",
        BERT_ERR_INVALID_ARGUMENT => c"BERT_ERR_INVALID_ARGUMENT",
        BERT_ERR_HANDLE => c"BERT_ERR_HANDLE",
        BERT_ERR_STRUCT_SIZE => c"BERT_ERR_STRUCT_SIZE",
        BERT_ERR_BUFFER_TOO_SMALL => c"BERT_ERR_BUFFER_TOO_SMALL",
        BERT_ERR_UTF8 => c"BERT_ERR_UTF8",
        BERT_ERR_IO => c"BERT_ERR_IO",
        BERT_ERR_FORMAT => c"BERT_ERR_FORMAT",
        BERT_ERR_VERSION => c"BERT_ERR_VERSION",
        BERT_ERR_DATA => c"BERT_ERR_DATA",
        BERT_ERR_UNKNOWN_LABEL => c"BERT_ERR_UNKNOWN_LABEL",
        BERT_ERR_UNSUPPORTED => c"BERT_ERR_UNSUPPORTED",
        BERT_ERR_DEVICE => c"BERT_ERR_DEVICE",
        BERT_ERR_OUT_OF_MEMORY => c"BERT_ERR_OUT_OF_MEMORY",
        BERT_ERR_NOT_FINITE => c"BERT_ERR_NOT_FINITE",
        BERT_ERR_CANCELLED => c"BERT_ERR_CANCELLED",
        BERT_ERR_FINISHED => c"BERT_ERR_FINISHED",
        BERT_ERR_BUSY => c"BERT_ERR_BUSY",
        BERT_ERR_POISONED => c"BERT_ERR_POISONED",
        BERT_ERR_FORKED => c"BERT_ERR_FORKED",
        BERT_ERR_INTERNAL => c"BERT_ERR_INTERNAL",
        _ => c"unknown status",
    };
    name.as_ptr()
}
