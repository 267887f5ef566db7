//! Memory that is used again: fresh pages cost as much as the arithmetic on them.

use std::ops::{Deref, DerefMut};

use crate::error::{Error, Result};

/// Numbers in memory that is used again.
#[derive(Debug, Default)]
pub struct Buffer {
    /// At least as many as are in use: memory that holds numbers once needs no clearing when more of it is used again.
    numbers: Vec<f32>,
    length: usize,
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.numbers[..self.length]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.numbers[..self.length]
    }
}

/// Buffers that no one uses at the moment.
#[derive(Debug, Default)]
pub struct Buffers {
    free: Vec<Vec<f32>>,
}

impl Buffers {
    /// A buffer of `length` numbers; what they are is arbitrary. [`Error::OutOfMemory`] where there is no room for it.
    pub fn take(&mut self, length: usize) -> Result<Buffer> {
        let fitting = self
            .free
            .iter()
            .enumerate()
            .filter(|(_, numbers)| numbers.len() >= length)
            .min_by_key(|(_, numbers)| numbers.len())
            .map(|(index, _)| index);
        if let Some(index) = fitting {
            let numbers = self.free.swap_remove(index);
            return Ok(Buffer { numbers, length });
        }
        // None is large enough: a new one takes the largest one's place, so that few are kept.
        let largest = (0..self.free.len()).max_by_key(|&index| self.free[index].len());
        if let Some(index) = largest {
            self.free.swap_remove(index);
        }
        let mut numbers = Vec::new();
        numbers.try_reserve_exact(length).map_err(|_| {
            Error::OutOfMemory(format!(
                "The system has no {} bytes of memory for this call; set a smaller max_length or batch_size.",
                length.saturating_mul(4)
            ))
        })?;
        numbers.resize(length, 0.0);
        Ok(Buffer { numbers, length })
    }

    /// Gives a buffer back.
    pub fn give(&mut self, buffer: Buffer) {
        if !buffer.numbers.is_empty() {
            self.free.push(buffer.numbers);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_used_again_and_the_largest_grows() {
        let mut buffers = Buffers::default();
        let (small, large) = (buffers.take(3).unwrap(), buffers.take(10).unwrap());
        let places = [small.as_ptr(), large.as_ptr()];
        buffers.give(small);
        buffers.give(large);
        // The smallest that holds it, and what it holds is as long as was asked for.
        let again = buffers.take(2).unwrap();
        assert_eq!((again.as_ptr(), again.len()), (places[0], 2));
        let other = buffers.take(2).unwrap();
        assert_eq!((other.as_ptr(), other.len()), (places[1], 2));
        buffers.give(again);
        buffers.give(other);
        let longest = buffers.take(11).unwrap();
        assert_eq!(longest.len(), 11);
        buffers.give(longest);
        assert_eq!(buffers.free.len(), 2);
        buffers.give(Buffer::default());
        assert_eq!(buffers.free.len(), 2);
        assert!(matches!(
            buffers.take(usize::MAX / 8),
            Err(Error::OutOfMemory(_))
        ));
    }
}
