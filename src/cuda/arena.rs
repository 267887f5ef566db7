//! A float32 array for each parameter, in one piece of a GPU's memory.

use super::gpu::{Gpu, Memory};
use super::libraries::Address;
use crate::error::Result;
use crate::memory;

/// Each array begins at a multiple of so many numbers, where cuBLAS and wide loads are at their best.
const ALIGNMENT: usize = 64;

/// Arrays one after another.
pub(super) struct Arena {
    memory: Memory,
    lengths: Vec<usize>,
}

/// Where each array begins, in numbers, and how many all take.
fn starts(lengths: &[usize]) -> (impl Iterator<Item = usize> + '_, usize) {
    let room = |length: usize| length.next_multiple_of(ALIGNMENT);
    let starts = lengths.iter().scan(0, move |next, &length| {
        let start = *next;
        *next += room(length);
        Some(start)
    });
    (starts, lengths.iter().map(|&length| room(length)).sum())
}

impl Arena {
    /// Arrays of zeros, of so many numbers each.
    pub fn new(gpu: &'static Gpu, lengths: Vec<usize>) -> Result<Arena> {
        let memory = gpu.zeros(4 * starts(&lengths).1)?;
        Ok(Arena { memory, lengths })
    }

    /// Sets all numbers to zero.
    pub fn clear(&mut self) -> Result<()> {
        self.memory.clear()
    }

    /// Where each array begins; `None` where it has no numbers.
    pub fn addresses(&self) -> Result<Vec<Option<Address>>> {
        let mut addresses = memory::room(self.lengths.len())?;
        for (&length, start) in self.lengths.iter().zip(starts(&self.lengths).0) {
            let address = self.memory.at() + 4 * start as Address;
            addresses.push((length > 0).then_some(address));
        }
        Ok(addresses)
    }

    /// Gives each array, in host memory, to `take`.
    pub fn read(&self, mut take: impl FnMut(usize, &[f32]) -> Result<()>) -> Result<()> {
        let (starts, room) = starts(&self.lengths);
        let mut all = memory::filled(0f32, room)?;
        self.memory.read(&mut all)?;
        for (index, (&length, start)) in self.lengths.iter().zip(starts).enumerate() {
            take(index, &all[start..start + length])?;
        }
        Ok(())
    }

    /// Puts these numbers, as many as there are, in place of the present ones.
    pub fn write(&mut self, arrays: &[Vec<f32>]) -> Result<()> {
        assert!(arrays.iter().map(Vec::len).eq(self.lengths.iter().copied()));
        let (starts, room) = starts(&self.lengths);
        let mut all = memory::filled(0f32, room)?;
        for (array, start) in arrays.iter().zip(starts) {
            all[start..start + array.len()].copy_from_slice(array);
        }
        self.memory.write(&all)
    }
}
