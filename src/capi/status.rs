//! The status codes: one for each variant of [`Error`].

use std::ffi::{CStr, c_char};

use crate::error::Error;

/// The result of a function that can fail: BERT_OK or an error category. bert_last_error_message() returns a
/// description of the error. A number never gets another meaning in a later version.
pub type bert_status = i32;

/// The call succeeded.
pub const BERT_OK: bert_status = 0;
/// An argument or option is invalid: out of range, contradictory, or NULL where a value is required.
pub const BERT_ERR_INVALID_ARGUMENT: bert_status = 1;
/// A handle is NULL, was freed, is of another kind, or was not created by this library.
pub const BERT_ERR_HANDLE: bert_status = 2;
/// The `struct_size` of a struct is unknown. Or the struct sets options that only a newer version of the library has.
/// Call the struct's _init function before you set its fields.
pub const BERT_ERR_STRUCT_SIZE: bert_status = 3;
/// An output buffer is too small. Nothing was written to it. The error message contains the required size.
pub const BERT_ERR_BUFFER_TOO_SMALL: bert_status = 4;
/// A text is not valid UTF-8.
pub const BERT_ERR_UTF8: bert_status = 5;
/// A file or directory can't be read or written, or the library refuses to replace it. Existing files are unchanged,
/// unless the error message says otherwise.
pub const BERT_ERR_IO: bert_status = 6;
/// A file or buffer is damaged, or is not of the expected kind.
pub const BERT_ERR_FORMAT: bert_status = 7;
/// A file or buffer was written by a newer version of this library, in a newer format.
pub const BERT_ERR_VERSION: bert_status = 8;
/// The data can't be used for training or evaluation. Examples: it is empty, it has only one class, a line can't be
/// read.
pub const BERT_ERR_DATA: bert_status = 9;
/// A label name or label id is not one of the model's.
pub const BERT_ERR_UNKNOWN_LABEL: bert_status = 10;
/// The request is valid, but this model or this build of the library doesn't support it.
pub const BERT_ERR_UNSUPPORTED: bert_status = 11;
/// The device doesn't exist or can't be used.
pub const BERT_ERR_DEVICE: bert_status = 12;
/// There is not enough memory.
pub const BERT_ERR_OUT_OF_MEMORY: bert_status = 13;
/// A computed number became NaN or infinite. After a training call the model has the weights of the last good step.
pub const BERT_ERR_NOT_FINITE: bert_status = 14;
/// A callback or bert_trainer_cancel ended the training. The model has the weights of the last completed step.
pub const BERT_ERR_CANCELLED: bert_status = 15;
/// All planned epochs of this trainer are done.
pub const BERT_ERR_FINISHED: bert_status = 16;
/// Another call is training this model or trainer.
pub const BERT_ERR_BUSY: bert_status = 17;
/// An earlier call on this handle failed because of a bug in the library. The handle can only be freed.
pub const BERT_ERR_POISONED: bert_status = 18;
/// This process is a forked child in which the library can't work. It was forked after the library had started threads
/// or opened a GPU, or while a call was running. Use the library in only one of the two processes, or call exec in the
/// child.
pub const BERT_ERR_FORKED: bert_status = 19;
/// A bug in this library. Please report the error message.
pub const BERT_ERR_INTERNAL: bert_status = 20;

/// The status code of an error.
pub(super) fn status_of(error: &Error) -> bert_status {
    match error.category() {
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
        Error::Internal(_) | Error::At(..) => BERT_ERR_INTERNAL,
    }
}

/// Returns the name of a status, such as "BERT_ERR_IO". For any other number it returns "unknown status". The text is
/// static; don't free it. Any thread.
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
