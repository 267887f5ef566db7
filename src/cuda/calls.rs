//! Which calls may reach the driver, and when.
//!
//! The driver goes away among the functions that `exit` calls, and a call that another thread is inside of at that moment
//! brings the process down. So this library's own function, which `exit` calls before the driver's (in the reverse of the
//! order in which they were registered), lets no more calls begin and waits for those that are under way. What is asked of
//! the GPU after that is answered with a status.
//!
//! In a forked child the driver answers nothing but errors, and nothing is asked of it.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::threads;

/// How many calls are inside of the driver, and [`ENDED`] where no more may begin.
static CALLS: AtomicU64 = AtomicU64::new(0);

const ENDED: u64 = 1 << 63;

/// A GPU that is at work answers sooner; one that doesn't answer any more mustn't keep the process from ending.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a thread waits for the end of the process before it is answered: longer than the driver takes to go away.
const PAUSE: Duration = Duration::from_secs(2);

thread_local! {
    /// Those of this thread, which may be the one that calls `exit`.
    static HERE: Cell<u64> = const { Cell::new(0) };
    /// Whether this thread is the one that called `exit`.
    static ENDS: Cell<bool> = const { Cell::new(false) };
}

/// A call, or several, that is inside of the driver; dropped when it is out.
pub(super) struct Call;

impl Call {
    /// [`Error::Forked`] in a forked child, [`Error::Device`] where the process is ending.
    pub fn begin() -> Result<Call> {
        threads::check_fork()?;
        let call = Call;
        let outer = HERE.try_with(|here| here.replace(here.get() + 1));
        // The end waits for the outer call, and so for those inside of it.
        if CALLS.fetch_add(1, Ordering::AcqRel) & ENDED == 0 || outer.is_ok_and(|calls| calls > 0) {
            return Ok(call);
        }
        Err(Error::Device(
            "The process is ending, and the GPU's driver has ended with it: functions that run at exit can use models \
             on the device cpu only."
                .into(),
        ))
    }
}

/// For a thread that was refused since another one ends the process: it would probably end next, and what the driver does
/// then with its data of the thread meets its own end. So it waits a while before it has its answer. To be called where
/// nothing is held that others wait for, on the thread that asked, which may be the one that ends the process.
pub fn wait_for_exit() {
    let is_another = !ENDS.try_with(Cell::get).unwrap_or(true);
    if is_another && CALLS.load(Ordering::Acquire) & ENDED != 0 {
        std::thread::sleep(PAUSE);
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        CALLS.fetch_sub(1, Ordering::AcqRel);
        let _ = HERE.try_with(|here| here.set(here.get() - 1));
    }
}

/// From here on the end of the process waits for calls; to be called whenever the driver and cuBLAS may have registered
/// functions of their own.
pub(super) fn watch_exit() {
    // SAFETY: The function takes nothing and unwinds nowhere, and its code stays (-z nodelete). It may run several times.
    unsafe { libc::atexit(end) };
}

extern "C" fn end() {
    let _ = ENDS.try_with(|ends| ends.set(true));
    // Of a forked child's parent calls may have been inside, which end there.
    if threads::check_fork().is_err() {
        return;
    }
    let mut calls = CALLS.fetch_or(ENDED, Ordering::AcqRel);
    if calls & ENDED != 0 {
        // It has been waited for.
        return;
    }
    calls |= ENDED;
    let here = HERE.try_with(Cell::get).unwrap_or(0);
    let begun = Instant::now();
    while calls > ENDED + here && begun.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_micros(50));
        calls = CALLS.load(Ordering::Acquire);
    }
}
