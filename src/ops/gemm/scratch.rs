//! Memory for packed operands, used again from product to product: fresh pages cost as much as the arithmetic on them.

use std::sync::Mutex;

/// A line of the cache, so that panels begin at one.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line(
    // Read and written by its address alone.
    #[expect(dead_code)] [u32; 16],
);

/// Memory that nobody uses at the moment.
static FREE: Mutex<Vec<Vec<Line>>> = Mutex::new(Vec::new());

/// Pieces that are kept, at most.
const KEPT: usize = 64;

/// Memory for one operand; it goes back when this is dropped.
#[derive(Default)]
pub(super) struct Scratch(Vec<Line>);

/// What scratch memory can hold: plain numbers of four bytes, of which all bit patterns are values.
pub(super) trait Plain: Copy {}

impl Plain for f32 {}
impl Plain for u32 {}

impl Scratch {
    /// `length` numbers; what they are is arbitrary.
    pub fn take<T: Plain>(&mut self, length: usize) -> &mut [T] {
        const { assert!(size_of::<T>() == 4 && align_of::<T>() == 4) };
        if self.0.capacity() == 0 {
            self.0 = free().pop().unwrap_or_default();
        }
        let lines = length.div_ceil(16);
        if self.0.len() < lines {
            self.0.resize(lines, Line([0; 16]));
        }
        // SAFETY: so many lines of 16 numbers are there, aligned to more than a number is, and every bit pattern is one.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), length) }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let mut free = free();
        if self.0.capacity() > 0 && free.len() < KEPT {
            free.push(std::mem::take(&mut self.0));
        }
    }
}

fn free() -> std::sync::MutexGuard<'static, Vec<Vec<Line>>> {
    FREE.lock().unwrap_or_else(|p| p.into_inner())
}
