//! Errors as objects of the caller's, for callers whose threads change between a call and the question what went wrong.

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};

use super::arguments::result;
use super::boundary::{ask, call, free};
use super::handles::{self, Object, bert_error};
use super::status::{BERT_ERR_HANDLE, BERT_OK, bert_status, status_of};
use crate::error::Error;

/// What an error object holds.
struct Record {
    status: bert_status,
    message: CString,
    argument: CString,
    index: i64,
    line: i64,
    needed_size: usize,
}

impl Default for Record {
    fn default() -> Record {
        Record {
            status: BERT_OK,
            message: CString::default(),
            argument: CString::default(),
            index: -1,
            line: 0,
            needed_size: 0,
        }
    }
}

/// The state behind an error object.
#[derive(Default)]
pub(super) struct ErrorState(Mutex<Record>);

impl ErrorState {
    fn record(&self) -> MutexGuard<'_, Record> {
        self.0.lock().unwrap_or_else(|p| p.into_inner())
    }

    fn store(&self, error: &Error) {
        let mut record = match self.0.try_lock() {
            Ok(record) => record,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // In a forked child a lock that another thread held stays locked.
            Err(TryLockError::WouldBlock) if matches!(error.category(), Error::Forked(_)) => return,
            Err(TryLockError::WouldBlock) => self.record(),
        };
        let place = error.place();
        *record = Record {
            status: status_of(error),
            message: c_text(error.message()),
            argument: c_text(place.argument.as_deref().unwrap_or_default()),
            index: place.index.map_or(-1, |index| index as i64),
            line: place.line.map_or(0, |line| line as i64),
            needed_size: place.needed_size.unwrap_or(0),
        };
    }
}

/// A text for C. One from outside may hold U+0000, which a C string can't.
pub(super) fn c_text(text: &str) -> CString {
    CString::new(text.replace('\0', "\u{2400}")).unwrap_or_default()
}

thread_local! {
    /// The object that gets this thread's errors.
    static BOUND: RefCell<Option<Arc<ErrorState>>> = const { RefCell::new(None) };
}

/// Stores an error of this thread's in the object that is bound to it, if there is one.
pub(super) fn store(error: &Error) {
    let bound = BOUND
        .try_with(|bound| bound.borrow().clone())
        .ok()
        .flatten();
    if let Some(state) = bound {
        state.store(error);
    }
}

/// Creates an error object. It stores the errors of the threads that it is bound to; bind it with bert_error_bind.
/// Free it with bert_error_free. Any thread.
///
/// Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (`error` is NULL), BERT_ERR_FORKED (this process is a forked child).
///
/// # Safety
/// `error` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_error_create(error: *mut *mut bert_error) -> bert_status {
    call(|| {
        // SAFETY: by this function's contract.
        let out = unsafe { result(error, "error") }?;
        *out = handles::insert(Object::Error(Arc::default()));
        Ok(())
    })
}

/// Binds an error object to the calling thread and clears it. Each later error in this thread is stored in the object
/// and replaces the error before it. Calls that succeed don't change the object. A thread has at most one bound
/// object; one object may be bound to several threads. If `error` is NULL, the calling thread has no bound object
/// afterwards. Any thread.
///
/// Returns BERT_OK, BERT_ERR_HANDLE (`error` is neither NULL nor a valid error object), BERT_ERR_FORKED (this process
/// is a forked child).
#[unsafe(no_mangle)]
pub extern "C" fn bert_error_bind(error: *mut bert_error) -> bert_status {
    call(|| {
        let state = match error.is_null() {
            true => None,
            false => Some(handles::error(error)?),
        };
        if let Some(state) = &state {
            *state.record() = Record::default();
        }
        let _ = BOUND.try_with(|bound| *bound.borrow_mut() = state);
        Ok(())
    })
}

/// Returns the status of the stored error. It returns BERT_OK if no error is stored. It returns BERT_ERR_HANDLE if
/// `error` is not a valid error object, or in a forked child process in which the library can't work. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn bert_error_status(error: *const bert_error) -> bert_status {
    field(error, |record| record.status).unwrap_or(BERT_ERR_HANDLE)
}

/// Returns the message of the stored error, a full sentence. It returns an empty text if no error is stored. The text
/// is valid until any thread stores another error in the object, binds it again or frees it. Any
/// thread.
#[unsafe(no_mangle)]
pub extern "C" fn bert_error_message(error: *const bert_error) -> *const c_char {
    field(error, |record| record.message.as_ptr()).unwrap_or(NO_TEXT.as_ptr())
}

/// Returns the name of the argument or struct field that caused the stored error. It returns an empty text if the
/// error has no such argument. The text is valid until the object stores another error, is bound again or is freed,
/// whichever thread does this. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn bert_error_argument(error: *const bert_error) -> *const c_char {
    field(error, |record| record.argument.as_ptr()).unwrap_or(NO_TEXT.as_ptr())
}

/// Returns the index of the array element or of the text in a batch that caused the stored error. The first index is
/// 0. It returns -1 if the error has no such element. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn bert_error_index(error: *const bert_error) -> i64 {
    field(error, |record| record.index).unwrap_or(-1)
}

/// Returns the line of the data file that caused the stored error. The first line is 1. It returns 0 if the error has
/// no such line. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn bert_error_line(error: *const bert_error) -> i64 {
    field(error, |record| record.line).unwrap_or(0)
}

/// Returns the number of elements that the output buffer needs, if the stored error is BERT_ERR_BUFFER_TOO_SMALL.
/// Otherwise it returns 0. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn bert_error_needed_size(error: *const bert_error) -> usize {
    field(error, |record| record.needed_size).unwrap_or(0)
}

/// Frees an error object. NULL is allowed. Threads that were bound to it have no bound object afterwards. Any thread;
/// free each error object once.
#[unsafe(no_mangle)]
pub extern "C" fn bert_error_free(error: *mut bert_error) {
    free(|| handles::free_error(error));
}

/// No message, no argument.
const NO_TEXT: &CStr = c"";

/// A field of the record behind a handle; `None` where the handle is none, or the process is a forked child.
fn field<T>(error: *const bert_error, pick: impl FnOnce(&Record) -> T) -> Option<T> {
    ask(|| {
        handles::error(error)
            .ok()
            .map(|state| pick(&state.record()))
    })
}
