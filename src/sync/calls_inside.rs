//! How many calls are inside the library, for a child that is forked meanwhile: it finds the number as it was at the fork.

use std::sync::atomic::Ordering;

use crate::sync::primitives::AtomicU64;

/// The process that calls were last made in (upper half), and how many of them are inside now (lower half). Threads that
/// were inside at a fork don't exist in the child, and what they had locked stays locked.
#[derive(Debug)]
pub struct CallsInside(
    /// 0 at the beginning.
    pub AtomicU64,
);

impl CallsInside {
    /// A call of `process` goes in; false, with nothing changed, where calls of another process are inside: then this one
    /// was forked from it meanwhile. Takes no lock, since another thread may have had it at the fork.
    pub fn enter(&self, process: u32) -> bool {
        let mut before = self.0.load(Ordering::Relaxed);
        loop {
            let count = before as u32;
            let owner = (before >> 32) as u32;
            if owner != process && count > 0 {
                return false;
            }
            let after = u64::from(process) << 32 | u64::from(count + 1);
            match self
                .0
                .compare_exchange_weak(before, after, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => return true,
                Err(now) => before = now,
            }
        }
    }

    /// Calls that are inside.
    pub fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed) as u32 as usize
    }

    /// A call that had gone in comes out.
    pub fn leave(&self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
