//! A lock for one who takes it again as soon as it is free, and others who want it now and then.

use std::sync::{LockResult, PoisonError};

use crate::sync::primitives::{Mutex, MutexGuard};

/// A value behind a lock. Without a queue the one who takes it again at once would starve the others.
#[derive(Debug)]
pub struct Turns<T> {
    /// Held by who waits for the value: the next one waits for this.
    turn: Mutex<()>,
    value: Mutex<T>,
}

impl<T> Turns<T> {
    /// A free one.
    pub fn new(value: T) -> Turns<T> {
        Turns {
            turn: Mutex::new(()),
            value: Mutex::new(value),
        }
    }

    /// The value, once who has it is done; an error where a panic left it half changed.
    pub fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.value.lock()
    }
}
