//! The one way in: catches panics, turns errors into status codes, keeps the thread's last message.

use std::cell::{Cell, RefCell};
use std::ffi::CString;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use once_cell::sync::OnceCell;

use super::error_object;
use super::status::{BERT_ERR_DEVICE, BERT_OK, bert_status, status_of};
use crate::error::{Error, Result};
use crate::ops::float_state::FloatState;
use crate::{cuda, log, threads};

thread_local! {
    static LAST_ERROR: RefCell<CString> = RefCell::new(CString::default());
    /// How many calls this thread is inside of; more than one within a callback.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
    /// The handles that the innermost call works on: a panic poisons them.
    static HANDLES: RefCell<Vec<Arc<AtomicBool>>> = const { RefCell::new(Vec::new()) };
    /// The host's floating-point state, while this thread is inside a call.
    static HOST_FLOATS: Cell<Option<FloatState>> = const { Cell::new(None) };
}

/// Runs one call of the C ABI.
pub(super) fn call(work: impl FnOnce() -> Result<()>) -> bert_status {
    // First of all: in a forked child no lock may be waited for.
    let inside = match threads::enter() {
        Ok(inside) => inside,
        Err(error) => return fail(&error),
    };
    let _floats = OwnFloats::set();
    let status = caught(work);
    drop(inside);
    if status == BERT_ERR_DEVICE {
        cuda::wait_for_exit();
    }
    status
}

/// Runs a call's work; not inlined, so that no computing moves to where the host's floating-point state is set.
#[inline(never)]
fn caught(work: impl FnOnce() -> Result<()>) -> bert_status {
    install_panic_hook();
    let outer = HANDLES.try_with(RefCell::take).unwrap_or_default();
    go_in();
    // What a panic leaves half done is behind a poisoned handle from then on.
    let outcome = catch_unwind(AssertUnwindSafe(work));
    come_out();
    let used = HANDLES
        .try_with(|slot| slot.replace(outer))
        .unwrap_or_default();
    let error = match outcome {
        Ok(Ok(())) => return BERT_OK,
        Ok(Err(error)) => error,
        Err(panic) => {
            for poisoned in used {
                poisoned.store(true, Ordering::Release);
            }
            let text = panic
                .downcast_ref::<&str>()
                .map(|text| text.to_string())
                .or_else(|| panic.downcast_ref::<String>().cloned())
                .unwrap_or_default();
            // A payload whose drop panics must not do so here.
            std::mem::forget(panic);
            let _ = catch_unwind(AssertUnwindSafe(|| {
                log::debug(|| format!("caught a panic: {text}"));
            }));
            Error::Internal(
                "A defect in the library stopped this call; the handles that it used can only be freed. Please \
                 report this with the log at level debug."
                    .into(),
            )
        }
    };
    fail(&error)
}

fn fail(error: &Error) -> bert_status {
    set_last_error(error.message());
    error_object::store(error);
    status_of(error)
}

/// Runs a free function: never fails, does nothing in a forked child.
pub(super) fn free(work: impl FnOnce()) {
    let Ok(_inside) = threads::enter() else {
        return;
    };
    let _floats = OwnFloats::set();
    install_panic_hook();
    go_in();
    let _ = catch_unwind(AssertUnwindSafe(work)).map_err(std::mem::forget);
    come_out();
}

/// Runs a question that can't fail: `None` where there is no answer, also in a forked child. The thread's last message
/// stays.
pub(super) fn ask<T>(work: impl FnOnce() -> Option<T>) -> Option<T> {
    let _inside = threads::enter().ok()?;
    let _floats = OwnFloats::set();
    install_panic_hook();
    go_in();
    let answer = catch_unwind(AssertUnwindSafe(work));
    come_out();
    answer.unwrap_or_else(|panic| {
        std::mem::forget(panic);
        None
    })
}

/// Calls back into the host, in its own floating-point state. What it sets there is its state from then on.
pub(super) fn outside<T>(callback: impl FnOnce() -> T) -> T {
    // On a worker thread there is no state of the host's.
    let Some(host) = HOST_FLOATS.get() else {
        return callback();
    };
    host.set();
    let answer = callback();
    HOST_FLOATS.set(Some(FloatState::current()));
    FloatState::DEFAULT.set();
    answer
}

/// While it lives, this thread computes in the floating-point state that the library needs; then in the host's again.
struct OwnFloats {
    outer: Option<FloatState>,
}

impl OwnFloats {
    fn set() -> OwnFloats {
        let outer = HOST_FLOATS.replace(Some(FloatState::current()));
        FloatState::DEFAULT.set();
        OwnFloats { outer }
    }
}

impl Drop for OwnFloats {
    fn drop(&mut self) {
        if let Some(host) = HOST_FLOATS.replace(self.outer) {
            host.set();
        }
    }
}

/// Remembers that the running call works on the handle with this flag.
pub(super) fn uses(poisoned: &Arc<AtomicBool>) {
    let _ = HANDLES.try_with(|slot| slot.borrow_mut().push(poisoned.clone()));
}

/// The thread's last message. The pointer is valid until the thread's next failing call.
pub(super) fn last_error() -> *const std::ffi::c_char {
    LAST_ERROR
        .try_with(|slot| slot.borrow().as_ptr())
        .unwrap_or(c"".as_ptr())
}

fn set_last_error(message: &str) {
    let text = error_object::c_text(message);
    let _ = LAST_ERROR.try_with(|slot| *slot.borrow_mut() = text);
}

fn go_in() {
    let _ = DEPTH.try_with(|depth| depth.set(depth.get() + 1));
}

fn come_out() {
    let _ = DEPTH.try_with(|depth| depth.set(depth.get() - 1));
}

/// The default hook prints even where the panic is caught. Ours is silent inside our calls and on our threads.
fn install_panic_hook() {
    static INSTALLED: OnceCell<()> = OnceCell::new();
    INSTALLED.get_or_init(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let inside = DEPTH.try_with(|depth| depth.get() > 0).unwrap_or(false);
            let is_worker = std::thread::current()
                .name()
                .is_some_and(|name| name.starts_with(threads::NAME_PREFIX));
            if !inside && !is_worker {
                previous(info);
            }
        }));
    });
}
