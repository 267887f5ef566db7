//! Memory that is used again: fresh pages cost as much as the arithmetic on them.

/// Buffers that no one uses at the moment.
#[derive(Debug, Default)]
pub struct Buffers {
    free: Vec<Vec<f32>>,
}

impl Buffers {
    /// A buffer of `length` numbers; what they are is arbitrary.
    pub fn take(&mut self, length: usize) -> Vec<f32> {
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
                Vec::with_capacity(length)
            }
        };
        buffer.resize(length, 0.0);
        buffer
    }

    /// Gives a buffer back.
    pub fn give(&mut self, buffer: Vec<f32>) {
        if buffer.capacity() > 0 {
            self.free.push(buffer);
        }
    }

    /// Bytes that are kept.
    pub fn bytes(&self) -> usize {
        self.free.iter().map(|buffer| 4 * buffer.capacity()).sum()
    }
}
