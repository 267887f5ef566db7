//! Random numbers that depend on a key and a position alone, never on the order in which threads draw them.
//!
//! The generator is Philox4x32-10 (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011). Every use
//! has a [`Site`], so that initialisation, shuffling and each dropout draw from streams that never meet.

use rand::RngCore;

use crate::ops::dropout_factors::{self, BlockRows};

/// What a stream of random numbers is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Site {
    /// Initial values of parameter number n.
    Parameter(u32),
    /// The order of the examples, by epoch.
    Shuffle,
    /// Dropout number n of the model, by training batch.
    Dropout(u32),
}

impl Site {
    fn number(self) -> u32 {
        match self {
            Site::Parameter(n) => n,
            Site::Shuffle => 1 << 30,
            Site::Dropout(n) => (2 << 30) | n,
        }
    }
}

/// One stream: the numbers of a seed, a site and a step, addressable by position.
#[derive(Debug, Clone, Copy)]
pub struct Stream {
    key: [u32; 2],
    step: u32,
    site: u32,
}

impl Stream {
    /// The stream of `site` at `step` (an epoch, or a training batch) under `seed`.
    pub fn new(seed: u64, site: Site, step: u32) -> Stream {
        Stream {
            key: [seed as u32, (seed >> 32) as u32],
            step,
            site: site.number(),
        }
    }

    /// Four numbers, each uniform over all of u32, at position `index`.
    #[inline]
    pub fn block(&self, index: u64) -> [u32; 4] {
        let counter = [index as u32, (index >> 32) as u32, self.step, self.site];
        philox4x32_10(counter.map(|word| [word.into()]), self.key).map(|[word]| word as u32)
    }

    /// Fills `out` with normal(0, `standard_deviation`) values (Box-Muller, in float64).
    pub fn fill_normal(&self, standard_deviation: f64, out: &mut [f32]) {
        for (index, pair) in out.chunks_mut(2).enumerate() {
            let [a, b, c, d] = self.block(index as u64);
            // 53 bits each; the first in (0, 1], so that its logarithm is finite.
            let u = (((u64::from(a) << 32 | u64::from(b)) >> 11) + 1) as f64 / (1u64 << 53) as f64;
            let v = ((u64::from(c) << 32 | u64::from(d)) >> 11) as f64 / (1u64 << 53) as f64;
            let radius = standard_deviation * (-2.0 * u.ln()).sqrt();
            let (sine, cosine) = (2.0 * std::f64::consts::PI * v).sin_cos();
            pair[0] = (radius * cosine) as f32;
            if let Some(second) = pair.get_mut(1) {
                *second = (radius * sine) as f32;
            }
        }
    }

    /// Fills `out` with values uniform over [-`bound`, `bound`).
    pub fn fill_uniform(&self, bound: f64, out: &mut [f32]) {
        for (index, chunk) in out.chunks_mut(4).enumerate() {
            for (value, random) in chunk.iter_mut().zip(self.block(index as u64)) {
                *value = (bound * (f64::from(random) / 2_147_483_648.0 - 1.0)) as f32;
            }
        }
    }

    /// The stream from its start, one number after the other, for `rand`'s algorithms.
    pub fn sequence(self) -> Sequence {
        Sequence {
            stream: self,
            next: 0,
        }
    }
}

/// A [`Stream`] read in order.
pub struct Sequence {
    stream: Stream,
    next: u64,
}

impl RngCore for Sequence {
    fn next_u32(&mut self) -> u32 {
        let value = self.stream.block(self.next / 4)[(self.next % 4) as usize];
        self.next += 1;
        value
    }

    fn next_u64(&mut self) -> u64 {
        u64::from(self.next_u32()) | u64::from(self.next_u32()) << 32
    }

    fn fill_bytes(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(4) {
            let bytes = self.next_u32().to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
    }
}

/// Which elements a dropout drops, and how much the rest grows.
#[derive(Debug, Clone, Copy)]
pub struct Dropout {
    seed: u64,
    batch: u32,
}

impl Dropout {
    /// The dropouts of training batch number `batch` (counted over the whole run) under `seed`.
    pub fn new(seed: u64, batch: u32) -> Dropout {
        Dropout { seed, batch }
    }

    /// The mask of dropout number `site`: elements are dropped with `probability`, to the nearest of 65,536 steps; the
    /// factor of the others is such that the mean stays what it was, exactly.
    pub fn mask(&self, site: u32, probability: f64) -> DropoutMask {
        let threshold = (probability * STEPS).round().min(STEPS - 1.0);
        DropoutMask {
            stream: Stream::new(self.seed, Site::Dropout(site), self.batch),
            threshold: threshold as u32,
            scale: (STEPS / (STEPS - threshold)) as f32,
        }
    }
}

/// Probabilities that dropout tells apart: a factor takes 16 random bits.
const STEPS: f64 = 65_536.0;

/// One dropout's factors: 0 for a dropped element, 1 / (1 - probability) for a kept one.
#[derive(Debug, Clone, Copy)]
pub struct DropoutMask {
    stream: Stream,
    threshold: u32,
    scale: f32,
}

/// Factors of one block.
pub const FACTORS: usize = 8;

impl DropoutMask {
    /// The factors of elements `start`, `start` + 1, … `start` must be a multiple of [`FACTORS`].
    pub fn fill(&self, start: u64, out: &mut [f32]) {
        debug_assert!(start.is_multiple_of(FACTORS as u64));
        let row = BlockRows {
            first: start / FACTORS as u64,
            stride: 0,
            blocks: out.len().div_ceil(FACTORS),
            width: out.len(),
        };
        dropout_factors::fill(self.parts(), row, out);
    }

    /// The factors of rows of `width`: those of the first are elements `start`, `start` + 1, …, those of each next one
    /// `stride` later. Both must be multiples of [`FACTORS`]. In `out` a row has `padded` places, room for whole blocks; those
    /// behind the width get some finite number.
    pub fn fill_rows(
        &self,
        (start, stride): (u64, u64),
        (width, padded): (usize, usize),
        out: &mut [f32],
    ) {
        let block = FACTORS as u64;
        debug_assert!(start.is_multiple_of(block) && stride.is_multiple_of(block));
        let rows = BlockRows {
            first: start / block,
            stride: stride / block,
            blocks: width.div_ceil(FACTORS),
            width: padded,
        };
        let drawn = rows.blocks * FACTORS;
        assert!(padded >= drawn);
        dropout_factors::fill(self.parts(), rows, out);
        if padded > drawn {
            for row in out.chunks_exact_mut(padded) {
                row[drawn..].fill(0.0);
            }
        }
    }
}

/// What a mask's factors follow from, for those who draw them elsewhere.
#[derive(Debug, Clone, Copy)]
pub struct MaskParts {
    /// The generator's key.
    pub key: [u32; 2],
    /// The counter's third word.
    pub step: u32,
    /// The counter's fourth word.
    pub site: u32,
    /// Elements whose 16 random bits are below are dropped.
    pub threshold: u32,
    /// The factor of the others.
    pub scale: f32,
}

impl DropoutMask {
    /// What its factors follow from.
    pub fn parts(&self) -> MaskParts {
        MaskParts {
            key: self.stream.key,
            step: self.stream.step,
            site: self.stream.site,
            threshold: self.threshold,
            scale: self.scale,
        }
    }

    /// The factors of row `row` of a matrix whose rows are as wide as `out`; each row starts with a block of its own.
    pub fn fill_row(&self, row: usize, out: &mut [f32]) {
        let stride = out.len().next_multiple_of(FACTORS) as u64;
        self.fill(row as u64 * stride, out);
    }
}

/// What the generator's counters are multiplied with.
pub const PHILOX_MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];

/// What its key grows by from round to round.
pub const PHILOX_KEY_STEPS: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// The random words of as many counters as there are lanes. Words stand in the low halves of wider numbers, where products
/// need no unpacking; what is in the high halves is arbitrary.
#[inline(always)]
pub fn philox4x32_10<const N: usize>(
    mut counter: [[u64; N]; 4],
    mut key: [u32; 2],
) -> [[u64; N]; 4] {
    let low = u64::from(u32::MAX);
    for _ in 0..10 {
        let mut next = [[0; N]; 4];
        for lane in 0..N {
            let first = (counter[0][lane] & low) * u64::from(PHILOX_MULTIPLIERS[0]);
            let second = (counter[2][lane] & low) * u64::from(PHILOX_MULTIPLIERS[1]);
            next[0][lane] = second >> 32 ^ counter[1][lane] ^ u64::from(key[0]);
            next[1][lane] = second;
            next[2][lane] = first >> 32 ^ counter[3][lane] ^ u64::from(key[1]);
            next[3][lane] = first;
        }
        counter = next;
        key = [0, 1].map(|i| key[i].wrapping_add(PHILOX_KEY_STEPS[i]));
    }
    counter
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn philox_gives_the_published_values() {
        // Known-answer tests of Random123 1.14 (kat_vectors, philox4x32 10).
        let philox4x32_10 = |counter: [u32; 4], key| -> [u32; 4] {
            // Every lane by itself.
            philox4x32_10(counter.map(|word| [word.into(); 3]), key).map(|words| {
                assert_eq!(words, [words[0]; 3]);
                words[0] as u32
            })
        };
        assert_eq!(
            philox4x32_10([0; 4], [0; 2]),
            [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]
        );
        assert_eq!(
            philox4x32_10([u32::MAX; 4], [u32::MAX; 2]),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
        assert_eq!(
            philox4x32_10(
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0]
            ),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn normal_values_have_the_asked_moments() {
        let mut values = vec![0f32; 100_001];
        Stream::new(7, Site::Parameter(3), 0).fill_normal(0.02, &mut values);
        let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / values.len() as f64;
        let variance = values
            .iter()
            .map(|&v| (f64::from(v) - mean).powi(2))
            .sum::<f64>()
            / values.len() as f64;
        assert!(mean.abs() < 3e-4, "{mean}");
        assert!((variance.sqrt() - 0.02).abs() < 3e-4, "{variance}");
    }

    #[test]
    fn uniform_values_fill_their_range_evenly() {
        let mut values = vec![0f32; 100_003];
        Stream::new(7, Site::Parameter(3), 0).fill_uniform(0.5, &mut values);
        assert!(values.iter().all(|v| (-0.5..=0.5).contains(v)));
        let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / values.len() as f64;
        let square =
            values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / values.len() as f64;
        assert!(mean.abs() < 3e-3, "{mean}");
        assert!((square - 1.0 / 12.0).abs() < 1e-3, "{square}");
    }

    #[test]
    fn dropout_keeps_the_asked_share_and_the_mean() {
        let mask = Dropout::new(1, 9).mask(4, 0.1);
        let mut factors = vec![0f32; 40_000];
        mask.fill(0, &mut factors);
        let dropped = factors.iter().filter(|&&f| f == 0.0).count();
        assert!((3_700..4_300).contains(&dropped), "{dropped}");
        assert!(
            factors
                .iter()
                .all(|&f| f == 0.0 || f == (65_536.0 / (65_536.0 - 6_554.0)) as f32)
        );
        // Position decides, not how much is drawn at once.
        let mut part = vec![0f32; 100];
        mask.fill(400, &mut part);
        assert_eq!(part, factors[400..500]);
        for (width, rows) in [(1usize, 5), (7, 40), (8, 3), (24, 24), (100, 2), (129, 9)] {
            for padded in [width.next_multiple_of(8), width.next_multiple_of(16)] {
                let mut together = vec![f32::NAN; rows * padded];
                mask.fill_rows((80, 256), (width, padded), &mut together);
                for (row, together) in together.chunks_exact(padded).enumerate() {
                    let mut alone = vec![f32::NAN; width];
                    mask.fill(80 + 256 * row as u64, &mut alone);
                    assert_eq!(together[..width], alone);
                    assert!(together.iter().all(|factor| factor.is_finite()));
                }
            }
        }
        let mut other = vec![0f32; 100];
        Dropout::new(1, 10).mask(4, 0.1).fill(400, &mut other);
        assert_ne!(part, other);
    }
}
