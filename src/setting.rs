//! A number that a user may choose: its name, its default and its range, in one place for Rust, for C and for the docs.

use std::fmt;

use crate::error::{Result, check_range};

/// A number that a user may choose.
#[derive(Debug, Clone, Copy)]
pub struct Setting<T> {
    /// What it is called, in options and in messages.
    pub name: &'static str,
    /// What it is unless it is set.
    pub default: T,
    /// The smallest value that is accepted.
    pub least: T,
    /// The largest value that is accepted.
    pub most: T,
}

impl<T: PartialOrd + fmt::Display> Setting<T> {
    /// A setting of that name.
    pub const fn new(name: &'static str, default: T, least: T, most: T) -> Setting<T> {
        Setting {
            name,
            default,
            least,
            most,
        }
    }

    /// Refuses a value outside the range; NaN is in no range.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`](crate::error::Error::InvalidArgument) with the name, the value and the range.
    pub fn check(&self, value: T) -> Result<()>
    where
        T: Copy,
    {
        check_range(self.name, value, self.least, self.most)
    }
}
