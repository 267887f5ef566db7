//! Memory that begins at a line of the cache, so that no vector of a kernel lies across two.

use crate::error::Result;
use crate::memory;

/// A line of the cache.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Line(#[expect(dead_code, reason = "read as numbers, by address")] [u8; LINE]);

const LINE: usize = 64;

/// What such memory can hold.
///
/// # Safety
/// Every pattern of bits is a value, none of the bytes is padding, and no more than a line's alignment is needed.
pub unsafe trait Plain: Copy + Send + Sync + 'static {}

// SAFETY: numbers of one, two and four bytes; so the others.
unsafe impl Plain for u8 {}
// SAFETY: as above.
unsafe impl Plain for i8 {}
// SAFETY: as above.
unsafe impl Plain for i16 {}
// SAFETY: as above.
unsafe impl Plain for u32 {}
// SAFETY: as above.
unsafe impl Plain for f32 {}

/// Bytes at the beginning of a line; which numbers they are is for whoever uses them.
#[derive(Debug, Default)]
pub struct Aligned(Vec<Line>);

impl Aligned {
    /// Room for `count` numbers, all bytes zero.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`](crate::error::Error::OutOfMemory).
    pub fn zeroed<T: Plain>(count: usize) -> Result<Aligned> {
        let lines = lines::<T>(count);
        Ok(Aligned(memory::filled(Line([0; LINE]), lines)?))
    }

    /// `count` numbers, what they are is arbitrary; the memory grows where it is too small.
    ///
    /// # Errors
    /// As [`zeroed`](Aligned::zeroed).
    pub fn room<T: Plain>(&mut self, count: usize) -> Result<&mut [T]> {
        if self.0.len() < lines::<T>(count) {
            // What was there isn't needed: nothing is copied.
            self.0 = Vec::new();
            *self = Aligned::zeroed::<T>(count)?;
        }
        Ok(&mut self.slice_mut()[..count])
    }

    /// All of it.
    pub fn slice<T: Plain>(&self) -> &[T] {
        // SAFETY: so many numbers fit the lines, which are aligned to more than a number is, and any bytes are numbers.
        unsafe {
            std::slice::from_raw_parts(
                self.0.as_ptr().cast(),
                size_of_val(self.0.as_slice()) / size_of::<T>(),
            )
        }
    }

    /// All of it, to write to.
    pub fn slice_mut<T: Plain>(&mut self) -> &mut [T] {
        // SAFETY: as in `slice`; it is borrowed by this call alone.
        unsafe {
            std::slice::from_raw_parts_mut(
                self.0.as_mut_ptr().cast(),
                size_of_val(self.0.as_slice()) / size_of::<T>(),
            )
        }
    }
}

fn lines<T: Plain>(count: usize) -> usize {
    count.saturating_mul(size_of::<T>()).div_ceil(LINE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_aligned_large_enough_and_refused_where_there_is_none() {
        let mut memory = Aligned::default();
        for count in [0usize, 1, 15, 16, 17, 1000, 3] {
            let room = memory.room::<f32>(count).unwrap();
            assert_eq!(room.len(), count);
            assert_eq!(room.as_ptr() as usize % LINE, 0);
            room.fill(1.5);
            assert!(memory.slice::<f32>()[..count].iter().all(|&x| x == 1.5));
        }
        assert!(memory.room::<f32>(usize::MAX / 2).is_err());
        assert!(Aligned::zeroed::<i16>(usize::MAX).is_err());
    }
}
