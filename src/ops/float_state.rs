//! The processor's floating-point settings: rounding, whether tiny numbers are flushed to zero, which exceptions raise a
//! signal. They belong to each thread, and new threads on Linux start with their creator's. The kernels and everything
//! around them compute with the settings that Rust assumes, whatever the host has set.

/// A thread's settings and the exceptions that it has met so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FloatState(registers::Values);

impl FloatState {
    /// Round to nearest, denormal numbers kept, no exception raises a signal, none has been met.
    pub const DEFAULT: FloatState = FloatState(registers::DEFAULT);

    /// This thread's.
    pub fn current() -> FloatState {
        FloatState(registers::read())
    }

    /// Makes these this thread's.
    pub fn set(self) {
        registers::write(self.0);
    }
}

#[cfg(target_arch = "x86_64")]
mod registers {
    use std::arch::asm;

    /// MXCSR. The x87 unit has settings of its own; nothing here computes with it.
    pub type Values = u32;

    /// All exceptions masked, as the ABI has it at the start of a process.
    pub const DEFAULT: Values = 0x1f80;

    /// The default, but tiny results are zero.
    #[cfg(test)]
    pub const FLUSHES: Values = DEFAULT | 1 << 15;

    pub fn read() -> Values {
        let mut value: Values = 0;
        // SAFETY: stores MXCSR into the four bytes that it is given, and changes nothing else.
        unsafe {
            asm!("stmxcsr [{}]", in(reg) &raw mut value, options(nostack, preserves_flags));
        }
        value
    }

    pub fn write(value: Values) {
        // SAFETY: only values that `read` gave or the default come here, so that no reserved bit is set. Rust assumes
        // the default: it is set where a call from outside begins and on every thread of ours, and another value is set
        // only where the caller's code goes on.
        unsafe {
            asm!("ldmxcsr [{}]", in(reg) &raw const value, options(nostack, preserves_flags, readonly));
        }
    }
}

#[cfg(target_arch = "aarch64")]
mod registers {
    use std::arch::asm;

    /// FPCR with the settings, FPSR with the exceptions met.
    pub type Values = [u64; 2];

    pub const DEFAULT: Values = [0, 0];

    /// The default, but tiny results are zero.
    #[cfg(test)]
    pub const FLUSHES: Values = [1 << 24, 0];

    pub fn read() -> Values {
        let (settings, met): (u64, u64);
        // SAFETY: reads two registers that every program may read, and changes nothing.
        unsafe {
            asm!("mrs {}, fpcr", "mrs {}, fpsr", out(reg) settings, out(reg) met,
                 options(nomem, nostack, preserves_flags));
        }
        [settings, met]
    }

    pub fn write(values: Values) {
        // SAFETY: as for x86-64; every program may write these two.
        unsafe {
            asm!("msr fpcr, {}", "msr fpsr, {}", in(reg) values[0], in(reg) values[1],
                 options(nostack, preserves_flags));
        }
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod registers {
    /// Nothing is known of this processor's settings, so they stay as they are.
    pub type Values = ();

    pub const DEFAULT: Values = ();

    pub fn read() -> Values {}

    pub fn write((): Values) {}
}

#[cfg(all(test, any(target_arch = "x86_64", target_arch = "aarch64")))]
mod tests {
    use std::hint::black_box;

    use super::*;

    #[test]
    fn what_is_set_is_what_the_thread_computes_with() {
        let flushes = FloatState(registers::FLUSHES);
        let before = FloatState::current();
        // Half of the smallest normal number is a denormal one.
        let half = || black_box(f32::MIN_POSITIVE) * black_box(0.5);
        assert!(half() > 0.0);
        flushes.set();
        let set = FloatState::current();
        let flushed = half();
        before.set();
        assert_eq!(flushed, 0.0);
        assert_eq!(set, flushes);
        assert!(half() > 0.0);
        before.set();
        assert_eq!(FloatState::current(), before);
    }

    #[test]
    fn what_was_met_is_set_too() {
        let before = FloatState::current();
        FloatState::DEFAULT.set();
        let none = FloatState::current();
        black_box(black_box(1.0f32) / black_box(3.0));
        let inexact = FloatState::current();
        FloatState::DEFAULT.set();
        let none_again = FloatState::current();
        before.set();
        assert_eq!(none, FloatState::DEFAULT);
        assert_ne!(inexact, FloatState::DEFAULT);
        assert_eq!(none_again, FloatState::DEFAULT);
    }
}
