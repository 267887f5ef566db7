//! Memory that is used again: fresh pages cost as much as the arithmetic on them. It begins at a line of the cache:
//! where rows are whole lines too, no vector that is read or written lies across two.

use std::ops::{Deref, DerefMut};

use super::aligned::Aligned;
use crate::error::{Error, Result};

/// Numbers in memory that is used again.
#[derive(Debug, Default)]
pub struct Buffer {
    /// At least as many as are in use: memory that holds numbers once needs no clearing when more of it is used again.
    numbers: Aligned,
    length: usize,
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.numbers.slice()[..self.length]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.numbers.slice_mut()[..self.length]
    }
}

/// Numbers that fit it.
fn room(memory: &Aligned) -> usize {
    memory.slice::<f32>().len()
}

/// Buffers that no one uses at the moment.
#[derive(Debug, Default)]
pub struct Buffers {
    free: Vec<Aligned>,
}

impl Buffers {
    /// A buffer of `length` numbers; what they are is arbitrary. [`Error::OutOfMemory`] where there is no room for it.
    pub fn take(&mut self, length: usize) -> Result<Buffer> {
        let fitting = self
            .free
            .iter()
            .enumerate()
            .filter(|(_, numbers)| room(numbers) >= length)
            .min_by_key(|(_, numbers)| room(numbers))
            .map(|(index, _)| index);
        if let Some(index) = fitting {
            let numbers = self.free.swap_remove(index);
            return Ok(Buffer { numbers, length });
        }
        // None is large enough: a new one takes the largest one's place, so that few are kept.
        let largest = (0..self.free.len()).max_by_key(|&index| room(&self.free[index]));
        if let Some(index) = largest {
            self.free.swap_remove(index);
        }
        let numbers = Aligned::zeroed::<f32>(length).map_err(|_| {
            Error::OutOfMemory(format!(
                "The system has no {} bytes of memory for this call; set a smaller max_length or batch_size.",
                length.saturating_mul(4)
            ))
        })?;
        Ok(Buffer { numbers, length })
    }

    /// Gives a buffer back.
    pub fn give(&mut self, buffer: Buffer) {
        if room(&buffer.numbers) > 0 {
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
        let (small, large) = (buffers.take(3).unwrap(), buffers.take(100).unwrap());
        let places = [small.as_ptr(), large.as_ptr()];
        assert!(places.iter().all(|place| place.align_offset(64) == 0));
        buffers.give(small);
        buffers.give(large);
        // The smallest that holds it, and what it holds is as long as was asked for.
        let again = buffers.take(2).unwrap();
        assert_eq!((again.as_ptr(), again.len()), (places[0], 2));
        let other = buffers.take(2).unwrap();
        assert_eq!((other.as_ptr(), other.len()), (places[1], 2));
        buffers.give(again);
        buffers.give(other);
        let longest = buffers.take(200).unwrap();
        assert_eq!(longest.len(), 200);
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
