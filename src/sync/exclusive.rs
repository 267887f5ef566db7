//! A right that one at a time has, and for which nobody waits.

use std::sync::atomic::Ordering;

use crate::sync::primitives::AtomicBool;

/// What only one may do.
#[derive(Debug)]
pub struct Exclusive {
    is_taken: AtomicBool,
}

/// The right, given back when dropped. What was done with it is seen by whoever has it next.
#[derive(Debug)]
pub struct Right<'a>(&'a Exclusive);

impl Exclusive {
    /// Nobody has it yet.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Exclusive {
        Exclusive {
            is_taken: AtomicBool::new(false),
        }
    }

    /// The right; `None` while somebody has it.
    pub fn take(&self) -> Option<Right<'_>> {
        let taken =
            self.is_taken
                .compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed);
        // Made only where it is given: dropped, it would take the right from who has it.
        taken.is_ok().then(|| Right(self))
    }
}

impl Drop for Right<'_> {
    fn drop(&mut self) {
        self.0.is_taken.store(false, Ordering::Release);
    }
}
