//! Page-locked host memory that small copies go through. A copy from or to other memory may make the host wait for all
//! that the GPU has still to do; one from or to this is only begun.

use std::ffi::c_void;
use std::sync::Mutex;

use super::calls::Call;
use super::gpu::{Event, Gpu, Number, locked};
use crate::error::Result;
use crate::log;

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
    free: Vec<PageLocked>,
}

/// Page-locked memory.
#[derive(Clone, Copy)]
struct PageLocked {
    start: *mut c_void,
    size: usize,
    /// What the GPU has to have done before anybody else may have it.
    event: Event,
}

// SAFETY: The memory is that of who has it, on whichever thread; the driver lets any thread use it.
unsafe impl Send for PageLocked {}

/// Some page-locked memory; dropped, it goes to the next who asks, once what has been begun is done.
pub(super) struct Piece {
    gpu: &'static Gpu,
    memory: PageLocked,
}

impl Drop for Piece {
    fn drop(&mut self) {
        match self.gpu.record(self.memory.event) {
            Ok(()) => locked(&self.gpu.staging.sizes)[number_of(self.memory.size)]
                .free
                .push(self.memory),
            // Without its event nobody may have it again.
            Err(error) => log::debug(|| error.message().to_string()),
        }
    }
}

/// Where a power of two stands among the sizes.
fn number_of(size: usize) -> usize {
    (size / SMALLEST).ilog2() as usize
}

impl Staging {
    /// A piece for so many bytes; `None` where they are too many, or there is no memory for it.
    pub fn piece(&self, gpu: &'static Gpu, bytes: usize) -> Result<Option<Piece>> {
        let size = bytes.max(SMALLEST).next_power_of_two();
        if size > LARGEST {
            return Ok(None);
        }
        let mut sizes = locked(&self.sizes);
        let Size { count, free } = &mut sizes[number_of(size)];
        // Copies are done in the order in which they were begun: if the oldest isn't, none is.
        if let Some(oldest) = free.first() {
            let is_done = gpu.is_done(oldest.event)?;
            if is_done || *count >= PIECES {
                let memory = free.remove(0);
                if !is_done {
                    gpu.wait(memory.event)?;
                }
                return Ok(Some(Piece { gpu, memory }));
            }
        }
        let Some(start) = gpu.allocate_on_host(size)? else {
            return Ok(None);
        };
        let event = gpu.event()?;
        *count += 1;
        let memory = PageLocked { start, size, event };
        Ok(Some(Piece { gpu, memory }))
    }
}

impl Piece {
    /// Where it begins.
    pub fn start(&self) -> *mut c_void {
        self.memory.start
    }

    /// The copy from it or to it is what has been begun last.
    pub fn record(&self) -> Result<()> {
        self.gpu.record(self.memory.event)
    }

    /// Puts numbers at its beginning; gives where that is.
    pub fn fill<T: Number>(&mut self, numbers: &[T]) -> *const T {
        assert!(size_of_val(numbers) <= self.memory.size);
        let start = self.start().cast::<T>();
        // SAFETY: It is as large, aligned for any number (the driver gives whole pages), nobody else's, and no copy from
        // or to it is going on.
        unsafe { start.copy_from_nonoverlapping(numbers.as_ptr(), numbers.len()) };
        start
    }

    /// The numbers at its beginning, once the copy to it that was recorded is done.
    pub fn wait<T: Number, const N: usize>(&self) -> Result<[T; N]> {
        assert!(N * size_of::<T>() <= self.memory.size);
        // Until it is read: the driver takes the memory along when the process ends.
        let _call = Call::begin()?;
        self.gpu.wait(self.memory.event)?;
        // SAFETY: As above; numbers have no bits that aren't one.
        Ok(unsafe { self.start().cast::<[T; N]>().read() })
    }
}
