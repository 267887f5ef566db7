//! Memory for packed operands and for what attention works with, used again from call to call: fresh pages cost as much as the
//! arithmetic on them.

use std::cell::RefCell;

use crate::ops::aligned::Plain;

/// A line of the cache, so that panels begin at one.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line(
    // Read and written by its address alone.
    #[expect(dead_code)] [u32; 16],
);

thread_local! {
    /// Memory that nobody uses at the moment; the thread's own, since small products would spend their time on a lock.
    static FREE: RefCell<Vec<Vec<Line>>> = const { RefCell::new(Vec::new()) };
}

/// Pieces that a thread keeps, at most.
const KEPT: usize = 8;

/// Lines of a piece that is kept, at most: 32 MiB. Arithmetic on more takes far longer than getting its pages.
const LONGEST: usize = 1 << 19;

/// A piece of memory; it goes back when this is dropped.
#[derive(Default)]
pub(in crate::ops) struct Scratch(Vec<Line>);

impl Scratch {
    /// `length` numbers of four bytes; what they are is arbitrary.
    pub fn take<T: Plain>(&mut self, length: usize) -> &mut [T] {
        const { assert!(size_of::<T>() == 4 && align_of::<T>() == 4) };
        if self.0.capacity() == 0 {
            self.0 = free(Vec::pop).flatten().unwrap_or_default();
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
        let memory = std::mem::take(&mut self.0);
        if (1..=LONGEST).contains(&memory.capacity()) {
            free(|free| {
                if free.len() < KEPT {
                    free.push(memory);
                }
            });
        }
    }
}

/// What threads keep that do the library's work one after another: it goes from one to the next, so that not each of them
/// keeps as much until it ends.
#[derive(Default)]
pub struct KeptScratch(Vec<Vec<Line>>);

impl KeptScratch {
    /// This thread's until the guard is dropped.
    pub fn lend(&mut self) -> LentScratch<'_> {
        self.exchange();
        LentScratch(self)
    }

    fn exchange(&mut self) {
        free(|free| std::mem::swap(free, &mut self.0));
    }
}

/// What a thread has for a while; see [`KeptScratch::lend`].
pub struct LentScratch<'a>(&'a mut KeptScratch);

impl Drop for LentScratch<'_> {
    fn drop(&mut self) {
        self.0.exchange();
    }
}

/// Nothing where the thread is ending.
fn free<R>(work: impl FnOnce(&mut Vec<Vec<Line>>) -> R) -> Option<R> {
    FREE.try_with(|free| work(&mut free.borrow_mut())).ok()
}
