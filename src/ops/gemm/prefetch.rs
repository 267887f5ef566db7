//! Asking for memory before it is read. It is advice: the processor reads nothing that could fault, wherever the address
//! points. Without instructions for it nothing is asked.

/// Asks for the cache line at an address.
#[inline(always)]
pub(super) fn line<T>(at: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: SSE is part of x86-64, and a prefetch has no other effect.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(at.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

/// Asks for as many cache lines as the numbers take, from the one that the first is in.
#[inline(always)]
pub(in crate::ops) fn numbers(values: &[f32]) {
    for values in values.chunks(16) {
        line(values.as_ptr());
    }
}

/// Asks for the cache line at an address, to be written to.
#[inline(always)]
pub(in crate::ops) fn line_to_write(at: *const f32) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a processor without the instruction takes it as none, and it has no other effect.
    unsafe {
        std::arch::asm!("prefetchw [{}]", in(reg) at, options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}
