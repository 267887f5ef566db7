//! Memory that is used again: fresh pages cost as much as the arithmetic on them.

use crate::error::{Error, Result};

/// Buffers that no one uses at the moment.
#[derive(Debug, Default)]
pub struct Buffers {
    free: Vec<Vec<f32>>,
}

impl Buffers {
    /// A buffer of `length` numbers; what they are is arbitrary. [`Error::OutOfMemory`] where there is no room for it.
    pub fn take(&mut self, length: usize) -> Result<Vec<f32>> {
        let fitting = self
            .free
            .iter()
            .enumerate()
            .filter(|(_, buffer)| buffer.capacity() >= length)
            .min_by_key(|(_, buffer)| buffer.capacity())
            .map(|(index, _)| index);
        let mut buffer = match fitting {
            Some(index) => self.free.swap_remove(index),
            // None is large enough: the largest grows, so that few are kept.
            None => {
                let largest = (0..self.free.len()).max_by_key(|&i| self.free[i].capacity());
                if let Some(index) = largest {
                    self.free.swap_remove(index);
                }
                let mut buffer = Vec::new();
                buffer.try_reserve_exact(length).map_err(|_| {
                    Error::OutOfMemory(format!(
                        "The system has no {} bytes of memory for this call; set a smaller max_length or batch_size.",
                        length.saturating_mul(4)
                    ))
                })?;
                buffer
            }
        };
        buffer.resize(length, 0.0);
        Ok(buffer)
    }

    /// Gives a buffer back.
    pub fn give(&mut self, buffer: Vec<f32>) {
        if buffer.capacity() > 0 {
            self.free.push(buffer);
        }
    }
}
