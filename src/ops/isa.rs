//! Which instructions the kernels use: the widest that the processor has, or fewer where the environment variable
//! `BERT_INSTRUCTIONS` says so.

use std::sync::OnceLock;

use pulp::{Arch, Simd, WithSimd};

use crate::log;

/// What the kernels are written for, from the narrowest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// What every processor of the target has.
    Baseline,
    /// x86-64-v3: AVX2, FMA and F16C.
    Avx2,
    /// x86-64-v4: AVX-512 F, BW, CD, DQ and VL.
    Avx512,
    /// That and AMX with bfloat16: matrix instructions (Intel, since Sapphire Rapids).
    Amx,
}

impl Level {
    /// All of them.
    pub const ALL: [Level; 4] = [Level::Baseline, Level::Avx2, Level::Avx512, Level::Amx];

    /// As `BERT_INSTRUCTIONS` has it.
    pub fn name(self) -> &'static str {
        match self {
            Level::Baseline => "baseline",
            Level::Avx2 => "avx2",
            Level::Avx512 => "avx512",
            Level::Amx => "amx",
        }
    }
}

/// The environment variable that holds the choice back to a [`Level`]. It is read once, by the first call that computes.
pub const VARIABLE: &str = "BERT_INSTRUCTIONS";

/// What was chosen for this process.
#[derive(Clone, Copy)]
struct Choice {
    level: Level,
    arch: Arch,
    vnni: bool,
    bf16: bool,
    amx_int8: bool,
}

impl Choice {
    fn of(level: Level) -> Choice {
        Choice {
            level,
            arch: arch_of(level),
            vnni: level >= Level::Avx512 && has_vnni_instructions(),
            bf16: level >= Level::Avx512 && has_bf16_instructions(),
            amx_int8: level >= Level::Amx && has_amx_int8_instructions(),
        }
    }
}

/// The widest that this processor has.
pub fn widest() -> Level {
    #[cfg(target_arch = "x86_64")]
    {
        if pulp::x86::V4::is_available() {
            return match has_bf16_instructions() && amx::is_there() {
                true => Level::Amx,
                false => Level::Avx512,
            };
        }
        if pulp::x86::V3::is_available() {
            return Level::Avx2;
        }
    }
    Level::Baseline
}

#[cfg(target_arch = "x86_64")]
fn arch_of(level: Level) -> Arch {
    let wide = match level {
        Level::Amx | Level::Avx512 => pulp::x86::V4::try_new().map(Arch::V4),
        Level::Avx2 => pulp::x86::V3::try_new().map(Arch::V3),
        Level::Baseline => None,
    };
    wide.unwrap_or(Arch::Scalar)
}

#[cfg(not(target_arch = "x86_64"))]
fn arch_of(_: Level) -> Arch {
    Arch::new()
}

/// Whether this processor has them.
pub(super) fn has_vnni_instructions() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        std::arch::is_x86_feature_detected!("avx512vnni")
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        false
    }
}

fn has_bf16_instructions() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        std::arch::is_x86_feature_detected!("avx512bf16")
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        false
    }
}

/// Whether this processor's tiles have int8 products, where it has tiles.
pub(super) fn has_amx_int8_instructions() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        amx::has_int8()
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        false
    }
}

/// What `asked` makes of the widest level, and what is wrong with it.
fn limited(asked: Option<&str>, widest: Level) -> (Level, Option<String>) {
    let Some(asked) = asked.filter(|asked| !asked.is_empty()) else {
        return (widest, None);
    };
    match Level::ALL.into_iter().find(|level| level.name() == asked) {
        Some(level) if level <= widest => (level, None),
        Some(level) => {
            let complaint = format!(
                "{VARIABLE} asks for {}, which this processor doesn't have; {} is used.",
                level.name(),
                widest.name()
            );
            (widest, Some(complaint))
        }
        None => {
            let known = Level::ALL.map(Level::name).join(", ");
            let complaint = format!(
                "{VARIABLE} is '{asked}' and is ignored; it can be one of {known}. {} is used.",
                widest.name()
            );
            (widest, Some(complaint))
        }
    }
}

fn choice() -> Choice {
    static CHOICE: OnceLock<Choice> = OnceLock::new();
    if let Some(choice) = CHOICE.get() {
        return *choice;
    }
    let asked = std::env::var_os(VARIABLE).map(|asked| asked.to_string_lossy().into_owned());
    let (level, complaint) = limited(asked.as_deref(), widest());
    let is_first = CHOICE.set(Choice::of(level)).is_ok();
    // Told when the choice stands, since whoever is told may call the library.
    if let (true, Some(complaint)) = (is_first, complaint) {
        log::warning(|| complaint);
    }
    *CHOICE.get_or_init(|| Choice::of(level))
}

/// The level that this process computes with.
pub fn level() -> Level {
    choice().level
}

/// See [`vectorised`].
#[inline]
pub fn dispatch<R>(work: impl FnMut() -> R) -> R {
    choice().arch.dispatch(Work(work))
}

/// What `pulp` compiles once for each instruction set. It is called by reference: the call that takes a closure's value is a
/// function of its own, which the compiler may leave out of those, and then it is compiled for the narrowest.
struct Work<F>(F);

impl<R, F: FnMut() -> R> WithSimd for Work<F> {
    type Output = R;

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, _: S) -> R {
        (self.0)()
    }
}

/// Evaluates an expression that is compiled once for each instruction set, by this process's; functions that it calls have to
/// be `#[inline(always)]` to be compiled with it. Where it says so, a type stands for the instructions'
/// [`Arithmetic`](super::math::Arithmetic).
macro_rules! vectorised {
    ($arithmetic:ident => $body:expr) => {
        match $crate::ops::isa::level() {
            $crate::ops::isa::Level::Baseline => {
                type $arithmetic = $crate::ops::math::Separate;
                $crate::ops::isa::vectorised!($body)
            }
            _ => {
                type $arithmetic = $crate::ops::math::Fused;
                $crate::ops::isa::vectorised!($body)
            }
        }
    };
    ($body:expr) => {
        $crate::ops::isa::dispatch(
            #[inline(always)]
            || $body,
        )
    };
}
pub(crate) use vectorised;

/// Whether the int8 dot products of AVX-512 VNNI are used.
#[inline]
pub fn has_vnni() -> bool {
    choice().vnni
}

/// Whether the bfloat16 dot products of AVX-512 BF16 are used.
#[inline]
pub fn has_bf16() -> bool {
    choice().bf16
}

/// Whether the int8 products of AMX are used: where the processor has them and the operating system allows tiles, which
/// the first call may ask it for ([`may_use_amx`]).
#[inline]
pub fn has_amx_int8() -> bool {
    choice().amx_int8 && may_use_amx()
}

/// Whether this process may use AMX, which its first call asks the operating system for. Asked only where the processor has
/// it; what is refused is told to the log, so that the first call is one that may.
#[cfg(target_arch = "x86_64")]
#[inline]
pub fn may_use_amx() -> bool {
    static MAY: OnceLock<bool> = OnceLock::new();
    if let Some(may) = MAY.get() {
        return *may;
    }
    let answer = amx::ask_for();
    let is_first = MAY.set(answer.is_ok()).is_ok();
    // Told when the answer stands, as in `choice`.
    if let (true, Err(error)) = (is_first, answer) {
        log::warning(|| {
            format!(
                "The operating system refuses AMX ({error}), without which bfloat16 and int8 are slower on this \
                 processor; a thread's alternate stack for signals that is smaller than sysconf(_SC_MINSIGSTKSZ) is \
                 one reason."
            )
        });
    }
    MAY.get().copied().unwrap_or(false)
}

/// Other processors have none.
#[cfg(not(target_arch = "x86_64"))]
pub fn may_use_amx() -> bool {
    false
}

/// AMX as `std::arch` doesn't have it (Intel, Software Developer's Manual, volume 1, chapter 18).
#[cfg(target_arch = "x86_64")]
mod amx {
    use std::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};
    use std::io;

    /// Whether the processor has int8 products of tiles.
    #[allow(unused_unsafe, reason = "__cpuid is safe since Rust 1.94")]
    pub fn has_int8() -> bool {
        const INT8: u32 = 1 << 25;
        // SAFETY: as in `is_there`.
        unsafe { __cpuid(0).eax >= 7 && __cpuid_count(7, 0).edx & INT8 != 0 }
    }

    /// Whether the processor has tiles and their bfloat16 products, and the operating system keeps tiles.
    #[allow(unused_unsafe, reason = "__cpuid is safe since Rust 1.94")]
    pub fn is_there() -> bool {
        const BF16: u32 = 1 << 22;
        const TILE: u32 = 1 << 24;
        // The tiles' configuration and their numbers.
        const STATES: u64 = 1 << 17 | 1 << 18;
        const OSXSAVE: u32 = 1 << 27;
        // SAFETY: every processor of the target has the instruction; leaf 7 is asked for where there is one.
        let is_named = unsafe {
            __cpuid(0).eax >= 7
                && __cpuid(1).ecx & OSXSAVE != 0
                && __cpuid_count(7, 0).edx & (BF16 | TILE) == BF16 | TILE
        };
        if !is_named {
            return false;
        }
        /// The states that the operating system keeps.
        #[target_feature(enable = "xsave")]
        fn kept() -> u64 {
            // SAFETY: register 0 is there where OSXSAVE is.
            unsafe { _xgetbv(0) }
        }
        // SAFETY: OSXSAVE says that there is XSAVE.
        unsafe { kept() & STATES == STATES }
    }

    /// Asks Linux for tiles: a thread's state is larger with them, and so is what a signal's handler finds on its stack. It
    /// refuses where a thread's alternate stack for signals is too small for that.
    #[cfg(target_os = "linux")]
    pub fn ask_for() -> io::Result<()> {
        const ARCH_REQ_XCOMP_PERM: libc::c_ulong = 0x1023;
        const XFEATURE_XTILEDATA: libc::c_ulong = 18;
        // SAFETY: the call takes two numbers and touches no memory of ours.
        let answer = unsafe {
            libc::syscall(
                libc::SYS_arch_prctl,
                ARCH_REQ_XCOMP_PERM,
                XFEATURE_XTILEDATA,
            )
        };
        match answer {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Other systems: nobody has tried.
    #[cfg(not(target_os = "linux"))]
    pub fn ask_for() -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_holds_the_choice_back_and_never_widens_it() {
        for widest in Level::ALL {
            for level in Level::ALL {
                let (chosen, complaint) = limited(Some(level.name()), widest);
                assert_eq!(chosen, level.min(widest));
                assert_eq!(complaint.is_some(), level > widest);
            }
            for nothing in [None, Some("")] {
                assert_eq!(limited(nothing, widest), (widest, None));
            }
            let (chosen, complaint) = limited(Some("AVX9"), widest);
            assert_eq!(chosen, widest);
            assert!(complaint.is_some_and(|text| text.contains("'AVX9'")));
        }
    }

    #[test]
    fn narrower_levels_use_no_wider_features() {
        let narrow = Choice::of(Level::Avx2);
        assert!(!narrow.vnni && !narrow.bf16 && !narrow.amx_int8);
        assert!(!Choice::of(Level::Avx512).amx_int8);
        assert!(level() <= widest());
    }
}
