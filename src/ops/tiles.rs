//! The processor's own tiles (AMX): a thread has eight of 16 rows of 64 bytes, which it configures before it uses them.
//! `std::arch` has no stable intrinsics for them, so they are written as assembly.

use std::arch::asm;

use super::gemm::tile::Ahead;

/// Rows of a tile, and numbers of 32 bits in a row.
pub(super) const SIDE: usize = 16;

/// What a thread's tiles are: Intel's palette 1, all tiles of 16 rows of 64 bytes.
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    bytes_per_row: [u16; 16],
    rows: [u8; 16],
}

static CONFIGURATION: Configuration = {
    let (mut bytes_per_row, mut rows) = ([0; 16], [0; 16]);
    let mut tile = 0;
    while tile < 8 {
        bytes_per_row[tile] = 64;
        rows[tile] = SIDE as u8;
        tile += 1;
    }
    Configuration {
        palette: 1,
        start_row: 0,
        reserved: [0; 14],
        bytes_per_row,
        rows,
    }
};

/// Gives this thread its tiles.
///
/// # Safety
/// The processor has AMX, and this process may use it ([`may_use_amx`](super::isa::may_use_amx)).
pub(super) unsafe fn configure() {
    // SAFETY: the configuration is 64 bytes that say what the manual allows.
    unsafe {
        asm!(
            "ldtilecfg [{}]",
            in(reg) &raw const CONFIGURATION,
            options(nostack, preserves_flags, readonly),
        );
    }
}

/// Takes this thread's tiles away.
///
/// # Safety
/// As for [`configure`].
pub(super) unsafe fn release() {
    // SAFETY: tiles are nobody else's; a thread without any is switched faster.
    unsafe { asm!("tilerelease", options(nostack, preserves_flags, nomem)) }
}

/// The assembly of the products of 32 rows and a panel of 32 columns, which are added to the tiles 0 to 3: the first
/// and the last 16 rows of `left` and `below`, `stride` bytes apart, times columns that stand `width` bytes apart from
/// one unit of the inner dimension to the next, in `steps` steps of 16 units. What is given behind the instruction's
/// name is done with each step.
macro_rules! products {
    ($multiply:literal $(, $($with_each:tt)+)?) => {
        concat!(
            "2:\n",
            "tileloadd tmm4, [{left} + {stride}]\n",
            "tileloadd tmm6, [{panel} + {width}]\n",
            "tileloadd tmm7, [{panel} + {width} + 64]\n",
            $multiply,
            " tmm0, tmm4, tmm6\n",
            "tileloadd tmm5, [{below} + {stride}]\n",
            $multiply,
            " tmm1, tmm4, tmm7\n",
            $($($with_each)+,)?
            $multiply,
            " tmm2, tmm5, tmm6\n",
            $multiply,
            " tmm3, tmm5, tmm7\n",
            "add {left}, 64\n",
            "add {below}, 64\n",
            "add {panel}, 2048\n",
            "dec {steps}\n",
            "jnz 2b\n",
        )
    };
}
pub(super) use products;

/// The same of 16 rows, which are added to the tiles 0 and 1.
macro_rules! products_of_half {
    ($multiply:literal, $($with_each:tt)+) => {
        concat!(
            "2:\n",
            "tileloadd tmm4, [{left} + {stride}]\n",
            "tileloadd tmm6, [{panel} + {width}]\n",
            "tileloadd tmm7, [{panel} + {width} + 64]\n",
            $($with_each)+,
            $multiply,
            " tmm0, tmm4, tmm6\n",
            $multiply,
            " tmm1, tmm4, tmm7\n",
            "add {left}, 64\n",
            "add {panel}, 2048\n",
            "dec {steps}\n",
            "jnz 2b\n",
        )
    };
}
pub(super) use products_of_half;

/// Asks for `lines` lines of the cache, one or more, from `ahead` on.
macro_rules! ask_ahead {
    () => {
        "mov {line}, {lines}\n\
         3:\n\
         prefetcht1 [{ahead}]\n\
         add {ahead}, 64\n\
         dec {line}\n\
         jnz 3b\n"
    };
}
pub(super) use ask_ahead;

/// Lines that are asked for with each step of 16 units.
pub(super) fn lines(ahead: Ahead) -> usize {
    (SIDE * ahead.step).div_ceil(64).max(1)
}
