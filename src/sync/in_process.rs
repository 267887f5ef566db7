//! How many of something there are in this process, for a child that is forked meanwhile: it finds the number as it was at
//! the fork, and has none of them.

use std::sync::atomic::Ordering;

use crate::sync::primitives::AtomicU64;

/// The process that they are in (upper half), and how many there are now (lower half): calls that are inside of the library,
/// pools of threads. Threads that there were at a fork don't exist in the child, and what they had locked stays locked.
#[derive(Debug)]
pub struct InProcess(
    /// 0 at the beginning.
    pub AtomicU64,
);

impl InProcess {
    /// One of `process` begins; false, with nothing changed, where there are some of another process: then this one was
    /// forked from it meanwhile. Takes no lock, since another thread may have had it at the fork.
    pub fn enter(&self, process: u32) -> bool {
        let mut before = self.0.load(Ordering::Relaxed);
        loop {
            if is_of_another(before, process) {
                return false;
            }
            let after = u64::from(process) << 32 | u64::from(before as u32 + 1);
            match self
                .0
                .compare_exchange_weak(before, after, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => return true,
                Err(now) => before = now,
            }
        }
    }

    /// Whether there are some, and in another process than this.
    pub fn is_of_another(&self, process: u32) -> bool {
        is_of_another(self.0.load(Ordering::Acquire), process)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed) as u32 as usize
    }

    /// One that had begun is over.
    pub fn leave(&self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

fn is_of_another(value: u64, process: u32) -> bool {
    value as u32 > 0 && (value >> 32) as u32 != process
}
