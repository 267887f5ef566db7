//! Versions, messages, the log, threads: what belongs to no handle.

use std::ffi::{CString, c_char, c_void};

use super::boundary::{self, call, last_error};
use super::{arguments, bert_status};
use crate::{log, threads};

pub use super::arguments::BERT_NUL_TERMINATED;

/// This header's version: bert_version() tells the library's.
pub const BERT_VERSION_MAJOR: u32 = 0;
/// See BERT_VERSION_MAJOR.
pub const BERT_VERSION_MINOR: u32 = 1;
/// See BERT_VERSION_MAJOR.
pub const BERT_VERSION_PATCH: u32 = 0;
/// The number of the binary interface that this header describes. A program that was compiled with one number needs a
/// library whose bert_abi_version() gives the same one.
pub const BERT_ABI_VERSION: u32 = 1;

/// A line of the log at the level for defects of the library.
pub const BERT_LOG_DEBUG: i32 = 0;
/// A line of the log about what the library chose or did.
pub const BERT_LOG_INFO: i32 = 1;
/// A line of the log about something that works, but probably not as it was meant.
pub const BERT_LOG_WARNING: i32 = 2;

/// Receives a line of the log: its level, its NUL-terminated text (valid during the call), and what was given to
/// bert_set_log_callback. It may be called from several threads at once.
pub type bert_log_callback =
    Option<unsafe extern "C" fn(level: i32, message: *const c_char, user_data: *mut c_void)>;

/// The library's version, such as "0.1.0". The text lives for ever. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn bert_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// The number of the library's binary interface; compare it with BERT_ABI_VERSION. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn bert_abi_version() -> u32 {
    BERT_ABI_VERSION
}

/// How the library was built: version, profile, target, features, and a number that changes with its source. For
/// reports of defects; not to be parsed. The text lives for ever. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn bert_build_info() -> *const c_char {
    concat!(env!("BERT_BUILD_INFO"), "\0").as_ptr().cast()
}

/// The sentence for this thread's last failure: what was wrong, with which value, and what would be right. Empty before
/// the first. The text is valid until this thread's next failing call. Any thread; each has its own.
#[unsafe(no_mangle)]
pub extern "C" fn bert_last_error_message() -> *const c_char {
    last_error()
}

/// Sends the library's log to `callback`, which gets `user_data` with each line; NULL turns it off, as it is at first.
/// Without a callback the library is silent. Any thread; a line that is under way may still reach the former callback.
///
/// Returns BERT_OK, BERT_ERR_FORKED.
///
/// # Safety
/// `callback` and `user_data` stay valid until another callback is set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_set_log_callback(
    callback: bert_log_callback,
    user_data: *mut c_void,
) -> bert_status {
    /// The caller's pointer, to be handed back on whichever thread logs.
    struct UserData(*mut c_void);
    // SAFETY: it is never followed here; the documentation says that several threads may pass it at once.
    unsafe impl Send for UserData {}
    // SAFETY: as above.
    unsafe impl Sync for UserData {}
    impl UserData {
        fn get(&self) -> *mut c_void {
            self.0
        }
    }

    call(|| {
        let user_data = UserData(user_data);
        log::set_receiver(callback.map(|callback| {
            Box::new(move |level: log::Level, text: &str| {
                let text = CString::new(text.replace('\0', "\u{2400}")).unwrap_or_default();
                // SAFETY: the caller says that both are valid while they are set.
                boundary::outside(|| unsafe {
                    callback(level as i32, text.as_ptr(), user_data.get())
                })
            }) as Box<dyn Fn(log::Level, &str) + Send + Sync>
        }));
        Ok(())
    })
}

/// Sets how many threads the library computes with, over all models and calls; 0 takes as many as affinity and cgroup
/// quota allow, which is the default. Calls that are running finish on the threads they have. The host's own threads
/// are left alone. Any thread.
///
/// Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (negative, or over 1024), BERT_ERR_OUT_OF_MEMORY (threads can't be
/// started), BERT_ERR_FORKED.
#[unsafe(no_mangle)]
pub extern "C" fn bert_set_num_threads(num_threads: i32) -> bert_status {
    call(|| threads::set_num_threads(arguments::size(num_threads, "num_threads")?))
}

/// Writes how many threads the library computes with. Any thread.
///
/// Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (NULL), BERT_ERR_OUT_OF_MEMORY, BERT_ERR_FORKED.
///
/// # Safety
/// `num_threads` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bert_get_num_threads(num_threads: *mut i32) -> bert_status {
    call(|| {
        // SAFETY: by this function's contract.
        let out = unsafe { arguments::result(num_threads, "num_threads") }?;
        *out = threads::num_threads()? as i32;
        Ok(())
    })
}
