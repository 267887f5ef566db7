//! Which calls may reach the driver, and when.
//!
//! The driver goes away among the functions that `exit` calls, and a call that another thread is inside of at that moment
//! brings the process down. So this library's own function, which `exit` calls before the driver's (in the reverse of the
//! order in which they were registered), lets no more calls begin and waits for those that are under way. What is asked of
//! the GPU after that is answered with a status.
//!
//! In a forked child the driver answers nothing but errors, and nothing is asked of it.

use std::cell::Cell;
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::threads;

/// How many calls are inside of the driver, and [`ENDED`] where no more may begin.
static CALLS: AtomicU64 = AtomicU64::new(0);

const ENDED: u64 = 1 << 63;

/// A GPU that is at work answers sooner; one that doesn't answer any more mustn't keep the process from ending.
const PATIENCE: Duration = Duration::from_secs(10);

thread_local! {
    /// Those of this thread, which may be the one that calls `exit`.
    static HERE: Cell<u64> = const { Cell::new(0) };
}

/// A call, or several, that is inside of the driver; dropped when it is out.
pub(super) struct Call;

impl Call {
    /// [`Error::Forked`] in a forked child, [`Error::Device`] where the process is ending.
    pub fn begin() -> Result<Call> {
        threads::check_fork()?;
        let call = Call;
        let _ = HERE.try_with(|here| here.set(here.get() + 1));
        match CALLS.fetch_add(1, Ordering::AcqRel) & ENDED {
            0 => Ok(call),
            _ => Err(Error::Device(
                "The process is ending, and the GPU's driver has ended with it: functions that run at exit can use \
                 models on the device cpu only."
                    .into(),
            )),
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        CALLS.fetch_sub(1, Ordering::AcqRel);
        let _ = HERE.try_with(|here| here.set(here.get() - 1));
    }
}

/// From here on the end of the process waits for calls; to be called when the driver has registered its own functions.
pub(super) fn watch_exit() {
    static WATCHED: Once = Once::new();
    WATCHED.call_once(|| {
        // SAFETY: The function takes nothing and unwinds nowhere, and its code stays (-z nodelete).
        unsafe { libc::atexit(end) };
    });
}

extern "C" fn end() {
    let mut calls = CALLS.fetch_or(ENDED, Ordering::AcqRel) | ENDED;
    let here = HERE.try_with(Cell::get).unwrap_or(0);
    let begun = Instant::now();
    while calls > ENDED + here && begun.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_micros(50));
        calls = CALLS.load(Ordering::Acquire);
    }
}
