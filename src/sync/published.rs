//! A value that is replaced as a whole while others use the one before.

use crate::sync::primitives::{Arc, RwLock};

/// Whoever takes the value keeps what it was then, however often it is replaced.
#[derive(Debug)]
pub struct Published<T>(RwLock<Arc<T>>);

impl<T> Published<T> {
    /// Begins with this value.
    pub fn new(value: Arc<T>) -> Published<T> {
        Published(RwLock::new(value))
    }

    /// The present value.
    pub fn get(&self) -> Arc<T> {
        self.0.read().unwrap_or_else(|p| p.into_inner()).clone()
    }

    /// Puts a new value in the present one's place, and gives that back.
    pub fn replace(&self, value: Arc<T>) -> Arc<T> {
        let mut slot = self.0.write().unwrap_or_else(|p| p.into_inner());
        std::mem::replace(&mut *slot, value)
    }
}
