//! A float32 array for each parameter, in one piece of a GPU's memory.

use super::gpu::{Gpu, Memory};
use super::libraries::Address;
use crate::error::{Error, Result};
use crate::memory;

/// Arrays one after another.
pub(super) struct Arena {
    pub memory: Memory,
    /// Where each begins; `None` where it has no numbers.
    pub addresses: Vec<Option<Address>>,
}

impl Arena {
    /// Arrays of zeros, of so many numbers each.
    pub fn new(gpu: &'static Gpu, lengths: &[usize]) -> Result<Arena> {
        let memory = gpu.zeros(4 * lengths.iter().sum::<usize>())?;
        let mut next = memory.at();
        let addresses = lengths.iter().map(|&length| {
            let address = (length > 0).then_some(next);
            next += 4 * length as Address;
            Ok::<_, Error>(address)
        });
        Ok(Arena {
            addresses: memory::collected(addresses)?,
            memory,
        })
    }
}
