//! Versions, messages, the log, threads: what belongs to no handle.

use std::ffi::{CString, c_char, c_void};

use super::boundary::{self, call, last_error};
use super::{arguments, bert_status};
use crate::error::Error;
use crate::{log, threads};

pub use super::arguments::BERT_NUL_TERMINATED;

/// Major version of this header, as in MAJOR.MINOR.PATCH. bert_version() returns the version of the loaded library.
pub const BERT_VERSION_MAJOR: u32 = 0;
/// Minor version of this header, as in MAJOR.MINOR.PATCH. bert_version() returns the version of the loaded library.
pub const BERT_VERSION_MINOR: u32 = 1;
/// Patch version of this header, as in MAJOR.MINOR.PATCH. bert_version() returns the version of the loaded library.
pub const BERT_VERSION_PATCH: u32 = 0;
/// Number of the binary interface (ABI) that this header describes. A compiled program works only with a library whose
/// bert_abi_version() returns the same number.
pub const BERT_ABI_VERSION: u32 = 2;

/// The level of a log message.
pub type bert_log_level = i32;

/// Debug messages. Useful when you report a bug in the library.
pub const BERT_LOG_DEBUG: bert_log_level = 0;
/// Messages about what the library chose or did.
pub const BERT_LOG_INFO: bert_log_level = 1;
/// Warnings: the call works, but probably not as you intended.
pub const BERT_LOG_WARNING: bert_log_level = 2;

/// A function that receives the library's log messages. `level` is a bert_log_level. `message` is a NUL-terminated
/// text that is valid during the call. `user_data` is the pointer that was passed to bert_set_log_callback. Several
/// threads may call the function at the same time. It must not throw or longjmp.
pub type bert_log_callback =
    Option<unsafe extern "C" fn(level: i32, message: *const c_char, user_data: *mut c_void)>;

/// Returns the version of the library, such as "0.1.0". The text is static; don't free it. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn bert_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// Returns the number of the library's binary interface (ABI). Compare it with BERT_ABI_VERSION. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn bert_abi_version() -> u32 {
    BERT_ABI_VERSION
}

/// Returns a text that describes how the library was built. It contains the version, profile, target, features, and a
/// number that changes with the library's source. Include it in bug reports; don't parse it. The text is static; don't
/// free it. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn bert_build_info() -> *const c_char {
    concat!(env!("BERT_BUILD_INFO"), "\0").as_ptr().cast()
}

/// Returns a description of the last error in the calling thread. It is a full sentence: what is wrong, with which
/// value, and what would be right. A call that succeeds doesn't clear it. Before the first error it is an empty text.
/// The text is valid until the next call in this thread that fails. Any thread; each thread has its own message.
#[unsafe(no_mangle)]
pub extern "C" fn bert_last_error_message() -> *const c_char {
    last_error()
}

/// Sets the function that receives the library's log messages. `user_data` is passed to it with each message. NULL for
/// `callback` turns the log off. The log is off by default.
///
/// The function waits until no other thread is inside the former callback. After that the former callback is not
/// called again. Don't hold a lock here that the former callback needs. The function doesn't wait if you call it from
/// inside the former callback. Any thread.
///
/// Returns BERT_OK, BERT_ERR_FORKED (this process is a forked child).
///
/// # Safety
/// `callback` and `user_data` stay valid until a later call of bert_set_log_callback has returned. If that later call
/// is made inside the callback itself, they stay valid until all running calls of the callback have returned.
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

/// Sets the number of threads that the library computes with. All models and all calls share these threads. 0
/// (default) uses as many threads as the CPU affinity and the cgroup quota of the process allow. Calls that are
/// already running keep the number of threads they started with. Threads of your program are not affected. New threads
/// start when there is work for them; with 1 there are none, and the calling thread does the work. Any thread.
///
/// Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (`num_threads` is negative or greater than 1024), BERT_ERR_OUT_OF_MEMORY
/// (the threads can't be started), BERT_ERR_FORKED (this process is a forked child).
#[unsafe(no_mangle)]
pub extern "C" fn bert_set_num_threads(num_threads: i32) -> bert_status {
    call(|| {
        let count = arguments::size(num_threads, "num_threads")?;
        threads::set_num_threads(count).map_err(|error| match error {
            Error::InvalidArgument(_) => error.of_argument("num_threads"),
            other => other,
        })
    })
}

/// Writes the number of threads that the library computes with. It starts none. Any thread.
///
/// Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (`num_threads` is NULL), BERT_ERR_OUT_OF_MEMORY (the threads can't be
/// started), BERT_ERR_FORKED (this process is a forked child).
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
