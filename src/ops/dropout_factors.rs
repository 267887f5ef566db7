//! Dropout's factors: the random numbers of several blocks side by side, and what follows from them.

#[cfg(target_arch = "x86_64")]
use super::isa;
use crate::random::{FACTORS, MaskParts, philox4x32_10};

/// Which blocks are drawn, and where they go.
#[derive(Debug, Clone, Copy)]
pub struct BlockRows {
    /// The number of the first row's first block.
    pub first: u64,
    /// From one row's first block to the next one's.
    pub stride: u64,
    /// Blocks of a row.
    pub blocks: usize,
    /// Places from one row to the next.
    pub width: usize,
}

/// Fills the rows of `out` with their blocks' factors. Places behind a row's blocks stay what they are; the last block may reach behind
/// the end of `out`.
pub fn fill(mask: MaskParts, rows: BlockRows, out: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if isa::level() >= isa::Level::Avx2 {
        // SAFETY: the instructions are there.
        unsafe { x86::fill(mask, rows, out) };
        return;
    }
    each::<16>(rows, out, |numbers| portable(mask, numbers));
}

/// Fills the rows with what `factors` gives for some blocks at a time.
#[inline(always)]
fn each<const LANES: usize>(
    rows: BlockRows,
    out: &mut [f32],
    factors: impl Fn([u64; LANES]) -> [[f32; FACTORS]; LANES],
) {
    let whole = rows.blocks - rows.blocks % LANES;
    // What is left of a row waits for the next one's: attention's rows are short.
    let (mut numbers, mut places, mut waiting) = ([0; LANES], [0; LANES], 0);
    let mut first = rows.first;
    for start in (0..out.len()).step_by(rows.width.max(1)) {
        for block in (0..whole).step_by(LANES) {
            let factors = factors(std::array::from_fn(|lane| first + (block + lane) as u64));
            write(out, start + block * FACTORS, factors.as_flattened());
        }
        for block in whole..rows.blocks {
            numbers[waiting] = first + block as u64;
            places[waiting] = start + block * FACTORS;
            waiting += 1;
            if waiting == LANES {
                for (factors, place) in factors(numbers).iter().zip(places) {
                    write(out, place, factors);
                }
                waiting = 0;
            }
        }
        first += rows.stride;
    }
    if waiting > 0 {
        for (factors, place) in factors(numbers).iter().zip(places).take(waiting) {
            write(out, place, factors);
        }
    }
}

/// Writes the factors that there is room for.
#[inline(always)]
fn write(out: &mut [f32], place: usize, factors: &[f32]) {
    match out.get_mut(place..place + factors.len()) {
        Some(out) => out.copy_from_slice(factors),
        None => {
            let out = &mut out[place..];
            out.copy_from_slice(&factors[..out.len()]);
        }
    }
}

/// The factors of the blocks with these numbers.
#[inline(always)]
fn portable<const LANES: usize>(mask: MaskParts, numbers: [u64; LANES]) -> [[f32; FACTORS]; LANES] {
    let counters = [
        numbers,
        numbers.map(|number| number >> 32),
        [mask.step.into(); LANES],
        [mask.site.into(); LANES],
    ];
    let random = philox4x32_10(counters, mask.key);
    let factor = |bits: u32| {
        if bits >= mask.threshold {
            mask.scale
        } else {
            0.0
        }
    };
    let mut factors = [[0f32; FACTORS]; LANES];
    for lane in 0..LANES {
        for (word, random) in random.iter().enumerate() {
            let random = random[lane] as u32;
            factors[lane][word] = factor(random & 0xffff);
            factors[lane][4 + word] = factor(random >> 16);
        }
    }
    factors
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{BlockRows, each};
    use crate::random::{FACTORS, MaskParts, PHILOX_KEY_STEPS, PHILOX_MULTIPLIERS};

    /// Blocks whose words stand in one register.
    const LANES: usize = 4;

    /// Registers whose rounds go side by side.
    const GROUPS: usize = 2;

    #[target_feature(enable = "avx2")]
    pub fn fill(mask: MaskParts, rows: BlockRows, out: &mut [f32]) {
        let mut key = mask.key;
        let keys: [[__m256i; 2]; 10] = std::array::from_fn(|_| {
            let round = [every(key[0]), every(key[1])];
            key = [0, 1].map(|i| key[i].wrapping_add(PHILOX_KEY_STEPS[i]));
            round
        });
        each(rows, out, |numbers: [u64; GROUPS * LANES]| {
            let mut factors = [[0f32; FACTORS]; GROUPS * LANES];
            let mut counters = [[every(0); 4]; GROUPS];
            for (counter, numbers) in counters.iter_mut().zip(numbers.as_chunks::<LANES>().0) {
                let [a, b, c, d] = numbers.map(u64::cast_signed);
                let numbers = _mm256_setr_epi64x(a, b, c, d);
                *counter = [
                    numbers,
                    _mm256_srli_epi64::<32>(numbers),
                    every(mask.step),
                    every(mask.site),
                ];
            }
            for key in &keys {
                for counter in &mut counters {
                    *counter = round(*counter, key);
                }
            }
            for (out, counter) in factors.chunks_exact_mut(LANES).zip(counters) {
                for (out, factors) in out.iter_mut().zip(factors_of(mask, counter)) {
                    // SAFETY: eight numbers are there.
                    unsafe { _mm256_storeu_ps(out.as_mut_ptr(), factors) }
                }
            }
            factors
        });
    }

    /// The word in the low half of every lane.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn every(word: u32) -> __m256i {
        _mm256_set1_epi64x(i64::from(word))
    }

    /// One of the generator's rounds. Words stand in the low halves of wider numbers, where products need no unpacking; what is
    /// in the high halves is arbitrary.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn round(counter: [__m256i; 4], key: &[__m256i; 2]) -> [__m256i; 4] {
        let [first, second] = [
            _mm256_mul_epu32(counter[0], every(PHILOX_MULTIPLIERS[0])),
            _mm256_mul_epu32(counter[2], every(PHILOX_MULTIPLIERS[1])),
        ];
        let others = [
            _mm256_xor_si256(counter[1], key[0]),
            _mm256_xor_si256(counter[3], key[1]),
        ];
        [
            _mm256_xor_si256(_mm256_srli_epi64::<32>(second), others[0]),
            second,
            _mm256_xor_si256(_mm256_srli_epi64::<32>(first), others[1]),
            first,
        ]
    }

    /// The factors that follow from the words of each block.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn factors_of(mask: MaskParts, words: [__m256i; 4]) -> [__m256; LANES] {
        // Two words of a block side by side, then all four in a half.
        let pair = |low, high| _mm256_blend_epi32::<0xAA>(low, _mm256_slli_epi64::<32>(high));
        let pairs = [pair(words[0], words[1]), pair(words[2], words[3])];
        let [even, odd] = [
            _mm256_unpacklo_epi64(pairs[0], pairs[1]),
            _mm256_unpackhi_epi64(pairs[0], pairs[1]),
        ];
        // The words' low 16 bits, then the high ones.
        let [even, odd] = [even, odd].map(|words| {
            let low = _mm256_and_si256(words, _mm256_set1_epi32(0xffff));
            [low, _mm256_srli_epi32::<16>(words)]
        });
        let scale = _mm256_set1_ps(mask.scale);
        let below = _mm256_set1_epi32(mask.threshold.cast_signed() - 1);
        [
            _mm256_permute2x128_si256::<0x20>(even[0], even[1]),
            _mm256_permute2x128_si256::<0x20>(odd[0], odd[1]),
            _mm256_permute2x128_si256::<0x31>(even[0], even[1]),
            _mm256_permute2x128_si256::<0x31>(odd[0], odd[1]),
        ]
        .map(|bits| {
            let is_kept = _mm256_cmpgt_epi32(bits, below);
            _mm256_and_ps(_mm256_castsi256_ps(is_kept), scale)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Dropout;

    #[test]
    fn every_instruction_path_draws_the_same() {
        for probability in [0.0, 0.1, 0.5, 1.0] {
            let mask = Dropout::new(0x1234_5678_9abc_def0, 7)
                .mask(3, probability)
                .parts();
            for (first, stride, blocks, width, rows) in [
                (0, 0, 1, 3, 1),
                (5, 0, 40, 313, 1),
                (0xffff_fffe, 64, 4, 32, 9),
                (3, 8, 3, 32, 11),
                (3, 8, 1, 8, 100),
            ] {
                let rows_of = BlockRows {
                    first,
                    stride,
                    blocks,
                    width,
                };
                let draw = |fill: &dyn Fn(&mut [f32])| {
                    let mut out = vec![7.0; rows * width];
                    fill(&mut out);
                    out
                };
                let plain = draw(&|out| each::<1>(rows_of, out, |numbers| portable(mask, numbers)));
                let chosen = draw(&|out| fill(mask, rows_of, out));
                let portable =
                    draw(&|out| each::<16>(rows_of, out, |numbers| portable(mask, numbers)));
                assert_eq!(plain, chosen);
                assert_eq!(plain, portable);
                // What is behind the blocks stays.
                let kept = plain.chunks(width).all(|row| {
                    row.iter()
                        .enumerate()
                        .all(|(place, &f)| (f == 7.0) == (place >= 8 * blocks))
                });
                assert!(kept);
            }
        }
    }
}
