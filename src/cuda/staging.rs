//! Page-locked host memory that small copies go through. A copy from or to other memory may make the host wait for all
//! that the GPU has still to do; one from or to this is only begun.

use std::ffi::c_void;
use std::sync::Mutex;

use super::gpu::{Event, Gpu, Number, locked};
use crate::error::Result;

/// The largest copy that goes this way; larger ones are of whole models, where a wait doesn't count.
const LARGEST: usize = 1 << 20;
/// The smallest piece.
const SMALLEST: usize = 256;
/// Pieces of one size, at most: whoever finds all of them in use waits for the oldest.
const PIECES: usize = 32;

/// The pieces that nobody has, for each power of two: a copy from or to one may still be going on.
#[derive(Default)]
pub(super) struct Staging {
    sizes: Mutex<[Size; (LARGEST / SMALLEST).ilog2() as usize + 1]>,
}

#[derive(Default)]
struct Size {
    /// Made so far.
    count: usize,
    /// In the order in which they were given back.
    pieces: Vec<Piece>,
}

/// Some page-locked memory, that of who has it.
pub(super) struct Piece {
    start: *mut c_void,
    size: usize,
    /// What the GPU has to have done before anybody else may have it.
    event: Event,
}

// SAFETY: The memory is that of who has the piece, on whichever thread; the driver lets any thread use it.
unsafe impl Send for Piece {}

impl Staging {
    /// A piece for so many bytes; `None` where they are too many, or there is no memory for it.
    pub fn piece(&self, gpu: &Gpu, bytes: usize) -> Result<Option<Piece>> {
        let size = bytes.max(SMALLEST).next_power_of_two();
        if size > LARGEST {
            return Ok(None);
        }
        let mut sizes = locked(&self.sizes);
        let Size { count, pieces } = &mut sizes[(size / SMALLEST).ilog2() as usize];
        // Copies are done in the order in which they were begun: if the oldest isn't, none is.
        if let Some(oldest) = pieces.first() {
            let is_done = gpu.is_done(oldest.event)?;
            if is_done || *count >= PIECES {
                let oldest = pieces.remove(0);
                if !is_done {
                    gpu.wait(oldest.event)?;
                }
                return Ok(Some(oldest));
            }
        }
        let Some(start) = gpu.allocate_on_host(size)? else {
            return Ok(None);
        };
        let event = gpu.event()?;
        *count += 1;
        Ok(Some(Piece { start, size, event }))
    }
}

impl Piece {
    /// Where it begins.
    pub fn start(&self) -> *mut c_void {
        self.start
    }

    pub fn event(&self) -> Event {
        self.event
    }

    /// Puts numbers at its beginning; gives where that is.
    pub fn fill<T: Number>(&mut self, numbers: &[T]) -> *const T {
        assert!(size_of_val(numbers) <= self.size);
        let start = self.start.cast::<T>();
        // SAFETY: It is as large, aligned for any number (the driver gives whole pages), nobody else's, and no copy from
        // or to it is going on.
        unsafe { start.copy_from_nonoverlapping(numbers.as_ptr(), numbers.len()) };
        start
    }

    /// The numbers at its beginning, which were copied there.
    pub fn numbers<T: Number, const N: usize>(&self) -> [T; N] {
        assert!(N * size_of::<T>() <= self.size);
        // SAFETY: As above; numbers have no bits that aren't one.
        unsafe { self.start.cast::<[T; N]>().read() }
    }

    /// For the next who asks, once what has been begun is done.
    pub fn give_back(self, gpu: &Gpu) -> Result<()> {
        gpu.record(self.event)?;
        let number = (self.size / SMALLEST).ilog2() as usize;
        locked(&gpu.staging.sizes)[number].pieces.push(self);
        Ok(())
    }
}
