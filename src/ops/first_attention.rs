//! Scaled dot-product attention of each sequence's first token, from the states themselves: neither keys nor values of
//! the tokens are computed.
//!
//! A token's key is W x + b, so that its score with a query q is (Wᵀ q) · x + q · b, whose second part is the same for all
//! tokens and doesn't change the softmax. What probabilities p make of the values W x + b is W (Σ p x) + (Σ p) b. So
//! products with a row for each sequence take the place of those with a row for each token.

use std::ops::Range;

use super::attention::ProbabilityDropout;
use super::gemm::{Accumulate, Lines, Matrix, small_product};
use super::isa::vectorised;
use super::math::{dot, sum};
use super::parallel::{self, Shared};
use super::sizes::{assert_offsets, product};
use super::softmax::{softmax, softmax_backward};
use super::{Buffer, Buffers};
use crate::data::Batch;
use crate::error::Result;
use crate::random::FACTORS;

/// Narrower heads compute keys and values: they need hidden_size numbers for each head, and so narrow ones are many.
pub const NARROWEST_HEAD: usize = 4;

/// One attention of first tokens. hidden_size, the width of states, queries and context, is `heads` · `head_size`.
#[derive(Clone, Copy)]
pub struct FirstAttention<'a> {
    /// Where each sequence stands among the packed tokens.
    pub batch: &'a Batch,
    /// Heads.
    pub heads: usize,
    /// Width of one head.
    pub head_size: usize,
    /// Dropout on the probabilities.
    pub dropout: Option<ProbabilityDropout>,
    /// The projection of states to keys, [hidden_size, hidden_size]. Its bias has no part in the result.
    pub key_weight: &'a [f32],
    /// The projection of states to values, [hidden_size, hidden_size].
    pub value_weight: &'a [f32],
    /// [hidden_size].
    pub value_bias: &'a [f32],
}

/// What the forward pass leaves to the backward pass.
#[derive(Default)]
pub struct Tape {
    /// Each head's query taken back through the projection of keys, [sequences, heads, hidden_size]: its product with a
    /// token's state is the token's score.
    state_query: Buffer,
    /// As they are before dropout: sequence by sequence, [heads, tokens].
    probabilities: Buffer,
    /// Σ p x behind dropout, [sequences, heads, hidden_size].
    state_context: Buffer,
    /// Σ p behind dropout, [sequences, heads].
    totals: Buffer,
}

/// The gradients of the projections, which are written to or added to; empty where they aren't wanted.
pub struct ProjectionGradients<'a> {
    /// [hidden_size, hidden_size].
    pub key_weight: &'a mut [f32],
    /// [hidden_size, hidden_size].
    pub value_weight: &'a mut [f32],
    /// [hidden_size]; added to.
    pub value_bias: &'a mut [f32],
}

impl FirstAttention<'_> {
    fn hidden(&self) -> usize {
        self.heads * self.head_size
    }

    fn scale(&self) -> f32 {
        1.0 / (self.head_size as f32).sqrt()
    }

    /// Numbers of a sequence's row that has hidden_size numbers for each head.
    fn wide(&self) -> usize {
        self.heads * self.hidden()
    }

    /// A head's part of rows that have `head_size` numbers for each.
    fn narrow_part<'a>(&self, rows: &'a [f32], head: usize, lines: Lines) -> Matrix<'a> {
        Matrix::new(&rows[head * self.head_size..], self.hidden(), lines)
    }

    /// A head's part of rows that have hidden_size numbers for each.
    fn wide_part<'a>(&self, rows: &'a [f32], head: usize, lines: Lines) -> Matrix<'a> {
        Matrix::new(&rows[head * self.hidden()..], self.wide(), lines)
    }

    /// A head's rows of a projection's weight, [head_size, hidden_size].
    fn of_weight<'a>(&self, weight: &'a [f32], head: usize, lines: Lines) -> Matrix<'a> {
        let hidden = self.hidden();
        Matrix::new(&weight[head * self.head_size * hidden..], hidden, lines)
    }

    /// Calls `work` for every head.
    fn each_head(&self, work: impl Fn(usize) + Sync) {
        parallel::run(self.heads, work);
    }

    /// Calls `work` for every sequence with its number, its tokens and where its probabilities begin.
    fn each_sequence(&self, work: impl Fn(usize, Range<usize>, usize) + Sync) {
        parallel::run(self.batch.len(), |number| {
            let range = self.batch.range(number);
            let probabilities = self.heads * range.start;
            work(number, range, probabilities);
        });
    }

    /// The factors of a sequence's probabilities, [heads, tokens].
    fn factors(&self, dropout: &ProbabilityDropout, tokens: &Range<usize>, out: &mut [f32]) {
        let n = tokens.len();
        let padded = n.next_multiple_of(FACTORS);
        let stride = dropout.stride as u64;
        let start = (tokens.start * self.heads) as u64 * stride;
        let mut rows = vec![0f32; self.heads * padded];
        dropout
            .mask
            .fill_rows((start, stride), (n, padded), &mut rows);
        for (out, row) in out.chunks_exact_mut(n).zip(rows.chunks_exact(padded)) {
            out.copy_from_slice(&row[..n]);
        }
    }

    fn assert_sizes(&self, states: &[f32], of_sequences: [&[f32]; 2]) {
        assert_offsets(self.batch.offsets(), 1);
        let hidden = product([self.heads, self.head_size]);
        assert_eq!(states.len(), product([self.batch.tokens(), hidden]));
        for rows in of_sequences {
            assert_eq!(rows.len(), product([self.batch.len(), hidden]));
        }
        assert_eq!(self.key_weight.len(), product([hidden, hidden]));
        assert_eq!(self.value_weight.len(), hidden * hidden);
        assert_eq!(self.value_bias.len(), hidden);
    }

    /// Numbers that a tape has: of [sequences, heads, hidden_size], of probabilities and of totals.
    fn tape_sizes(&self) -> [usize; 3] {
        let (sequences, heads) = (self.batch.len(), self.heads);
        [
            product([sequences, heads, self.hidden()]),
            product([self.batch.tokens(), heads]),
            product([sequences, heads]),
        ]
    }

    /// `context`[sequences, hidden_size] gets the heads' outputs side by side, of `query`[sequences, hidden_size] and
    /// `states`[tokens, hidden_size].
    ///
    /// # Errors
    /// [`Error::OutOfMemory`](crate::error::Error::OutOfMemory).
    pub fn forward(
        &self,
        buffers: &mut Buffers,
        query: &[f32],
        states: &[f32],
        context: &mut [f32],
    ) -> Result<Tape> {
        self.assert_sizes(states, [query, context]);
        let (hidden, heads, head_size) = (self.hidden(), self.heads, self.head_size);
        let sequences = self.batch.len();
        if sequences == 0 {
            return Ok(Tape::default());
        }
        let [wide, probabilities, totals] = self.tape_sizes();
        let mut tape = Tape {
            state_query: buffers.take(wide)?,
            probabilities: buffers.take(probabilities)?,
            state_context: buffers.take(wide)?,
            totals: buffers.take(totals)?,
        };
        let shared = Shared(tape.state_query.as_mut_ptr());
        // SAFETY: [sequences, heads, hidden_size] numbers are there, of which each head writes its own.
        self.each_head(|head| unsafe {
            small_product(
                (sequences, hidden, head_size),
                self.narrow_part(query, head, Lines::Inner),
                self.of_weight(self.key_weight, head, Lines::Outer),
                (shared.at(head * hidden), self.wide()),
                Accumulate::Replace,
            );
        });
        self.attend(&mut tape, states);
        let shared = Shared(context.as_mut_ptr());
        self.each_head(|head| {
            // SAFETY: the context is [sequences, hidden_size], of which each head writes its own columns.
            unsafe {
                small_product(
                    (sequences, head_size, hidden),
                    self.wide_part(&tape.state_context, head, Lines::Inner),
                    self.of_weight(self.value_weight, head, Lines::Inner),
                    (shared.at(head * head_size), hidden),
                    Accumulate::Replace,
                );
            }
            let bias = &self.value_bias[head * head_size..][..head_size];
            for (number, totals) in tape.totals.chunks_exact(heads).enumerate() {
                // SAFETY: as above.
                let row = unsafe {
                    let start = shared.at(number * hidden + head * head_size);
                    std::slice::from_raw_parts_mut(start, head_size)
                };
                for (out, bias) in row.iter_mut().zip(bias) {
                    *out += totals[head] * bias;
                }
            }
        });
        Ok(tape)
    }

    /// From the states' queries to probabilities, contexts and totals.
    fn attend(&self, tape: &mut Tape, states: &[f32]) {
        let (hidden, heads) = (self.hidden(), self.heads);
        let all = Shared(tape.probabilities.as_mut_ptr());
        let contexts = Shared(tape.state_context.as_mut_ptr());
        let totals = Shared(tape.totals.as_mut_ptr());
        let queries = &*tape.state_query;
        self.each_sequence(|number, range, place| {
            let n = range.len();
            let states = &states[range.start * hidden..range.end * hidden];
            let query = &queries[number * self.wide()..][..self.wide()];
            // SAFETY: heads · tokens probabilities are there, of which these are this sequence's, and heads · sequences
            // totals.
            let (scores, totals) = unsafe {
                (
                    std::slice::from_raw_parts_mut(all.at(place), heads * n),
                    std::slice::from_raw_parts_mut(totals.at(number * heads), heads),
                )
            };
            // SAFETY: the scores are this sequence's own.
            unsafe {
                small_product(
                    (heads, n, hidden),
                    Matrix::new(query, hidden, Lines::Inner),
                    Matrix::new(states, hidden, Lines::Inner),
                    (scores.as_mut_ptr(), n),
                    Accumulate::Replace,
                );
            }
            let mut dropped = vec![0f32; self.dropout.map_or(0, |_| heads * n)];
            if let Some(dropout) = &self.dropout {
                self.factors(dropout, &range, &mut dropped);
            }
            vectorised!(A => {
                for row in scores.chunks_exact_mut(n) {
                    softmax::<A>(row, self.scale());
                }
                for (factor, probability) in dropped.iter_mut().zip(scores.iter()) {
                    *factor *= probability;
                }
            });
            let used = match self.dropout {
                None => &*scores,
                Some(_) => &*dropped,
            };
            for (total, row) in totals.iter_mut().zip(used.chunks_exact(n)) {
                *total = sum(row);
            }
            // SAFETY: [sequences, heads, hidden_size] numbers are there, of which these are this sequence's.
            unsafe {
                small_product(
                    (heads, hidden, n),
                    Matrix::new(used, n, Lines::Inner),
                    Matrix::new(states, hidden, Lines::Outer),
                    (contexts.at(number * self.wide()), hidden),
                    Accumulate::Replace,
                );
            }
        });
    }

    /// From the derivative by the context to that by the query, which `dquery` gets, and by the states, which `dstates`
    /// gets unless it is empty. The gradients of weights are added to, or replaced, as `accumulate` says, which isn't a bias.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`](crate::error::Error::OutOfMemory).
    pub fn backward(
        &self,
        buffers: &mut Buffers,
        (tape, query, states): (&Tape, &[f32], &[f32]),
        dcontext: &[f32],
        (dquery, dstates): (&mut [f32], &mut [f32]),
        (gradients, accumulate): (ProjectionGradients<'_>, Accumulate<'_>),
    ) -> Result<()> {
        self.assert_sizes(states, [query, dcontext]);
        assert_eq!(dquery.len(), query.len());
        assert!(dstates.is_empty() || dstates.len() == states.len());
        assert!(
            !matches!(accumulate, Accumulate::Bias(_)),
            "a gradient has no bias"
        );
        let (hidden, heads, head_size) = (self.hidden(), self.heads, self.head_size);
        let sequences = self.batch.len();
        if sequences == 0 {
            if accumulate == Accumulate::Replace {
                gradients.key_weight.fill(0.0);
                gradients.value_weight.fill(0.0);
            }
            return Ok(());
        }
        let [wide, probabilities, totals] = self.tape_sizes();
        assert!(
            tape.state_query.len() == wide
                && tape.probabilities.len() == probabilities
                && tape.state_context.len() == wide
                && tape.totals.len() == totals,
            "the tape is of another pass"
        );
        let mut dstate_context = buffers.take(wide)?;
        let mut dtotals = buffers.take(totals)?;
        for (derivatives, dcontext) in dtotals
            .chunks_exact_mut(heads)
            .zip(dcontext.chunks_exact(hidden))
        {
            let of_heads = dcontext.chunks_exact(head_size);
            let biases = self.value_bias.chunks_exact(head_size);
            for ((derivative, dcontext), bias) in derivatives.iter_mut().zip(of_heads).zip(biases) {
                *derivative = dot(dcontext, bias);
            }
        }
        let place_of = |gradient: &mut [f32]| {
            assert!(gradient.is_empty() || gradient.len() == hidden * hidden);
            (!gradient.is_empty()).then_some(Shared(gradient.as_mut_ptr()))
        };
        let value_gradient = place_of(gradients.value_weight);
        let shared = Shared(dstate_context.as_mut_ptr());
        self.each_head(|head| {
            // SAFETY: [sequences, heads, hidden_size] numbers are there, of which each head writes its own, and of the
            // gradient its own rows.
            unsafe {
                small_product(
                    (sequences, hidden, head_size),
                    self.narrow_part(dcontext, head, Lines::Inner),
                    self.of_weight(self.value_weight, head, Lines::Outer),
                    (shared.at(head * hidden), self.wide()),
                    Accumulate::Replace,
                );
                if let Some(gradient) = value_gradient {
                    small_product(
                        (head_size, hidden, sequences),
                        self.narrow_part(dcontext, head, Lines::Outer),
                        self.wide_part(&tape.state_context, head, Lines::Outer),
                        (gradient.at(head * head_size * hidden), hidden),
                        accumulate,
                    );
                }
            }
        });
        if !gradients.value_bias.is_empty() {
            for (totals, dcontext) in tape
                .totals
                .chunks_exact(heads)
                .zip(dcontext.chunks_exact(hidden))
            {
                let gradients = gradients.value_bias.chunks_exact_mut(head_size);
                let of_heads = dcontext.chunks_exact(head_size);
                for ((gradients, dcontext), total) in gradients.zip(of_heads).zip(totals) {
                    for (gradient, derivative) in gradients.iter_mut().zip(dcontext) {
                        *gradient += total * derivative;
                    }
                }
            }
        }
        let mut dstate_query = buffers.take(wide)?;
        self.attend_backward(
            (tape, states),
            (&dstate_context, &dtotals),
            (&mut dstate_query, dstates),
        );
        let key_gradient = place_of(gradients.key_weight);
        let shared = Shared(dquery.as_mut_ptr());
        self.each_head(|head| {
            // SAFETY: `dquery` is [sequences, hidden_size], of which each head writes its own columns, and of the gradient its
            // own rows.
            unsafe {
                small_product(
                    (sequences, head_size, hidden),
                    self.wide_part(&dstate_query, head, Lines::Inner),
                    self.of_weight(self.key_weight, head, Lines::Inner),
                    (shared.at(head * head_size), hidden),
                    Accumulate::Replace,
                );
                if let Some(gradient) = key_gradient {
                    small_product(
                        (head_size, hidden, sequences),
                        self.narrow_part(query, head, Lines::Outer),
                        self.wide_part(&dstate_query, head, Lines::Outer),
                        (gradient.at(head * head_size * hidden), hidden),
                        accumulate,
                    );
                }
            }
        });
        for buffer in [dstate_context, dtotals, dstate_query] {
            buffers.give(buffer);
        }
        Ok(())
    }

    /// From the derivatives by the states' contexts and by the totals to those by the states' queries and by the states.
    fn attend_backward(
        &self,
        (tape, states): (&Tape, &[f32]),
        (dstate_context, dtotals): (&[f32], &[f32]),
        (dstate_query, dstates): (&mut [f32], &mut [f32]),
    ) {
        let (hidden, heads) = (self.hidden(), self.heads);
        let queries = Shared(dstate_query.as_mut_ptr());
        let all = (!dstates.is_empty()).then_some(Shared(dstates.as_mut_ptr()));
        self.each_sequence(|number, range, place| {
            let n = range.len();
            let states = &states[range.start * hidden..range.end * hidden];
            let probabilities = &tape.probabilities[place..][..heads * n];
            let wide = number * self.wide()..(number + 1) * self.wide();
            let dcontext = &dstate_context[wide.clone()];
            let mut dscores = vec![0f32; heads * n];
            // SAFETY: the scores' derivatives are this call's own.
            unsafe {
                small_product(
                    (heads, n, hidden),
                    Matrix::new(dcontext, hidden, Lines::Inner),
                    Matrix::new(states, hidden, Lines::Inner),
                    (dscores.as_mut_ptr(), n),
                    Accumulate::Replace,
                );
            }
            let mut dropped = vec![0f32; self.dropout.map_or(0, |_| heads * n)];
            if let Some(dropout) = &self.dropout {
                self.factors(dropout, &range, &mut dropped);
            }
            vectorised!({
                let of_heads = &dtotals[number * heads..][..heads];
                for (row, dtotal) in dscores.chunks_exact_mut(n).zip(of_heads) {
                    for derivative in row {
                        *derivative += dtotal;
                    }
                }
                for (derivative, factor) in dscores.iter_mut().zip(&dropped) {
                    *derivative *= factor;
                }
                for (row, probabilities) in dscores
                    .chunks_exact_mut(n)
                    .zip(probabilities.chunks_exact(n))
                {
                    softmax_backward(row, probabilities, self.scale());
                }
                for (factor, probability) in dropped.iter_mut().zip(probabilities) {
                    *factor *= probability;
                }
            });
            let used = match self.dropout {
                None => probabilities,
                Some(_) => &dropped,
            };
            // SAFETY: of the queries' derivatives [sequences, heads, hidden_size] and the states' [tokens, hidden_size] these
            // rows are this sequence's.
            unsafe {
                small_product(
                    (heads, hidden, n),
                    Matrix::new(&dscores, n, Lines::Inner),
                    Matrix::new(states, hidden, Lines::Outer),
                    (queries.at(wide.start), hidden),
                    Accumulate::Replace,
                );
                let Some(all) = all else {
                    return;
                };
                let dstates = (all.at(range.start * hidden), hidden);
                small_product(
                    (n, hidden, heads),
                    Matrix::new(used, n, Lines::Outer),
                    Matrix::new(dcontext, hidden, Lines::Outer),
                    dstates,
                    Accumulate::Replace,
                );
                small_product(
                    (n, hidden, heads),
                    Matrix::new(&dscores, n, Lines::Outer),
                    Matrix::new(&tape.state_query[wide.clone()], hidden, Lines::Outer),
                    dstates,
                    Accumulate::Add,
                );
            }
        });
    }
}

impl Tape {
    /// Gives its memory back.
    pub fn give(self, buffers: &mut Buffers) {
        for buffer in [
            self.state_query,
            self.probabilities,
            self.state_context,
            self.totals,
        ] {
            buffers.give(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Dropout;
    use candle_core::{D, DType, Device, Tensor, Var};
    use std::panic::{AssertUnwindSafe, catch_unwind};

    fn wave(n: usize, k: f32) -> Vec<f32> {
        (0..n).map(|i| (k * i as f32).sin()).collect()
    }

    fn tensor(values: &[f32], shape: (usize, usize)) -> Tensor {
        Tensor::from_slice(values, shape, &Device::Cpu)
            .unwrap()
            .to_dtype(DType::F64)
            .unwrap()
    }

    /// Against keys, values and softmax in plain candle in float64, with and without dropout.
    #[test]
    fn forward_and_backward_are_those_of_keys_and_values() {
        for (lengths, heads, head_size) in [
            (vec![1], 1, 1),
            (vec![5, 1, 9], 3, 7),
            (vec![64, 33, 2, 7], 4, 16),
            (vec![200], 13, 4),
        ] {
            let dropout = ProbabilityDropout {
                mask: Dropout::new(1, 1).mask(0, 0.3),
                stride: 256,
            };
            for dropout in [None, Some(dropout)] {
                check(&lengths, heads, head_size, dropout);
            }
        }
    }

    /// As with frozen projections of a model whose way doesn't go on below: the query's derivative is as otherwise.
    #[test]
    fn what_is_not_wanted_is_left_out() {
        let ids = [[0; 7]; 3];
        let batch = Batch::pack(ids.iter().map(|ids| (&ids[..], &ids[..])));
        let (states, query, weight) = (wave(21 * 6, 0.5), wave(3 * 6, 0.3), wave(36, 0.7));
        let attention = FirstAttention {
            batch: &batch,
            heads: 2,
            head_size: 3,
            dropout: None,
            key_weight: &weight,
            value_weight: &weight,
            value_bias: &weight[..6],
        };
        let mut buffers = Buffers::default();
        let mut context = vec![0.0; 18];
        let tape = attention
            .forward(&mut buffers, &query, &states, &mut context)
            .unwrap();
        let mut derivative = |dstates: &mut [f32], wanted: usize| {
            let mut gradients = [(); 3].map(|()| vec![0.0; 36]);
            let [key_weight, value_weight, value_bias] = &mut gradients;
            let gradients = ProjectionGradients {
                key_weight: &mut key_weight[..36 * wanted],
                value_weight: &mut value_weight[..36 * wanted],
                value_bias: &mut value_bias[..6 * wanted],
            };
            let mut dquery = vec![f32::NAN; 18];
            attention
                .backward(
                    &mut buffers,
                    (&tape, &query, &states),
                    &context,
                    (&mut dquery, dstates),
                    (gradients, Accumulate::Replace),
                )
                .unwrap();
            dquery
        };
        let all = derivative(&mut vec![0.0; states.len()], 1);
        assert!(all.iter().any(|d| *d != 0.0));
        assert_eq!(derivative(&mut [], 0), all);
    }

    #[test]
    fn tapes_biases_and_sizes_of_something_else_are_refused() {
        let batch = Batch::pack([(&[1, 2][..], &[0, 0][..])]);
        let (states, query, weight) = (wave(2 * 6, 0.5), wave(6, 0.3), wave(36, 0.7));
        let attention = FirstAttention {
            batch: &batch,
            heads: 2,
            head_size: 3,
            dropout: None,
            key_weight: &weight,
            value_weight: &weight,
            value_bias: &weight[..6],
        };
        let pass = |attention: &FirstAttention<'_>| {
            let mut context = vec![0.0; 6];
            attention.forward(&mut Buffers::default(), &query, &states, &mut context)
        };
        let is_refused = |tape: &Tape, accumulate: Accumulate<'_>| {
            let back = AssertUnwindSafe(|| {
                let mut gradients = vec![0.0; 36 + 36 + 6];
                let (key_weight, rest) = gradients.split_at_mut(36);
                let (value_weight, value_bias) = rest.split_at_mut(36);
                let gradients = ProjectionGradients {
                    key_weight,
                    value_weight,
                    value_bias,
                };
                let (mut dquery, mut dstates) = (vec![0.0; 6], vec![0.0; 12]);
                attention.backward(
                    &mut Buffers::default(),
                    (tape, &query, &states),
                    &query,
                    (&mut dquery, &mut dstates),
                    (gradients, accumulate),
                )
            });
            catch_unwind(back).is_err()
        };
        let tape = pass(&attention).unwrap();
        assert!(!is_refused(&tape, Accumulate::Add));
        assert!(is_refused(&tape, Accumulate::Bias(&[])));
        assert!(is_refused(&Tape::default(), Accumulate::Add));
        let other = FirstAttention {
            heads: 1,
            head_size: 6,
            ..attention
        };
        assert!(is_refused(&pass(&other).unwrap(), Accumulate::Add));
        let half = 1 << (usize::BITS / 2);
        let wide = FirstAttention {
            heads: half,
            head_size: half,
            key_weight: &[],
            value_weight: &[],
            value_bias: &[],
            ..attention
        };
        let forward = AssertUnwindSafe(|| {
            wide.forward(&mut Buffers::default(), &[], &[], &mut [])
                .is_ok()
        });
        assert!(catch_unwind(forward).is_err());
    }

    #[test]
    fn no_sequences_have_no_part_in_any_gradient() {
        let batch = Batch::pack([]);
        let attention = FirstAttention {
            batch: &batch,
            heads: 2,
            head_size: 2,
            dropout: None,
            key_weight: &[1.0; 16],
            value_weight: &[1.0; 16],
            value_bias: &[1.0; 4],
        };
        let mut buffers = Buffers::default();
        let tape = attention.forward(&mut buffers, &[], &[], &mut []).unwrap();
        for (accumulate, want) in [(Accumulate::Replace, 0.0), (Accumulate::Add, 2.0)] {
            let [mut key_weight, mut value_weight] = [[2.0; 16]; 2];
            let mut value_bias = [2.0; 4];
            let gradients = ProjectionGradients {
                key_weight: &mut key_weight,
                value_weight: &mut value_weight,
                value_bias: &mut value_bias,
            };
            attention
                .backward(
                    &mut buffers,
                    (&tape, &[], &[]),
                    &[],
                    (&mut [], &mut []),
                    (gradients, accumulate),
                )
                .unwrap();
            assert_eq!((key_weight, value_weight), ([want; 16], [want; 16]));
            assert_eq!(value_bias, [2.0; 4]);
        }
    }

    fn check(
        lengths: &[usize],
        heads: usize,
        head_size: usize,
        dropout: Option<ProbabilityDropout>,
    ) {
        let ids: Vec<Vec<u32>> = lengths.iter().map(|&n| vec![0; n]).collect();
        let batch = Batch::pack(ids.iter().map(|ids| (ids.as_slice(), ids.as_slice())));
        let (sequences, tokens, hidden) = (batch.len(), batch.tokens(), heads * head_size);
        let query = wave(sequences * hidden, 0.37);
        let states = wave(tokens * hidden, 0.53);
        let upstream = wave(sequences * hidden, 0.19);
        let (key_weight, value_weight) = (
            wave(hidden * hidden, 0.71)
                .iter()
                .map(|w| w * 0.3)
                .collect::<Vec<_>>(),
            wave(hidden * hidden, 0.29),
        );
        let (key_bias, value_bias) = (wave(hidden, 0.41), wave(hidden, 0.83));
        let attention = FirstAttention {
            batch: &batch,
            heads,
            head_size,
            dropout,
            key_weight: &key_weight,
            value_weight: &value_weight,
            value_bias: &value_bias,
        };
        let mut buffers = Buffers::default();
        let mut context = vec![f32::NAN; sequences * hidden];
        let tape = attention
            .forward(&mut buffers, &query, &states, &mut context)
            .unwrap();
        let backward = |accumulate: Accumulate<'_>, before: f32| {
            let mut buffers = Buffers::default();
            let (mut dquery, mut dstates) =
                (vec![f32::NAN; query.len()], vec![f32::NAN; states.len()]);
            let [mut dkey_weight, mut dvalue_weight] =
                [0; 2].map(|_| vec![before; hidden * hidden]);
            let mut dvalue_bias = vec![2.0; hidden];
            let gradients = ProjectionGradients {
                key_weight: &mut dkey_weight,
                value_weight: &mut dvalue_weight,
                value_bias: &mut dvalue_bias,
            };
            attention
                .backward(
                    &mut buffers,
                    (&tape, &query, &states),
                    &upstream,
                    (&mut dquery, &mut dstates),
                    (gradients, accumulate),
                )
                .unwrap();
            dvalue_bias.iter_mut().for_each(|g| *g -= 2.0);
            for gradient in dkey_weight.iter_mut().chain(&mut dvalue_weight) {
                *gradient -= if before.is_nan() { 0.0 } else { before };
            }
            [dquery, dstates, dkey_weight, dvalue_weight, dvalue_bias]
        };

        let var = |values: &[f32], rows: usize| {
            Var::from_tensor(&tensor(values, (rows, values.len() / rows))).unwrap()
        };
        let vars = [
            var(&query, sequences),
            var(&states, tokens),
            var(&key_weight, hidden),
            var(&value_weight, hidden),
            var(&value_bias, 1),
        ];
        let [q, x, wk, wv, bv] = &vars;
        let keys = x
            .matmul(&wk.t().unwrap())
            .unwrap()
            .broadcast_add(&tensor(&key_bias, (1, hidden)))
            .unwrap();
        let values = x
            .matmul(&wv.t().unwrap())
            .unwrap()
            .broadcast_add(bv)
            .unwrap();
        let mut rows = Vec::new();
        for (number, range) in batch.ranges().enumerate() {
            let n = range.len();
            let of = |tensor: &Tensor, start: usize, n: usize| {
                tensor
                    .narrow(0, start, n)
                    .unwrap()
                    .reshape((n, heads, head_size))
                    .unwrap()
                    .transpose(0, 1)
                    .unwrap()
                    .contiguous()
                    .unwrap()
            };
            let scores = of(q, number, 1)
                .matmul(&of(&keys, range.start, n).transpose(1, 2).unwrap())
                .unwrap()
                / (head_size as f64).sqrt();
            let mut p = candle_nn::ops::softmax(&scores.unwrap(), D::Minus1).unwrap();
            if let Some(dropout) = dropout {
                let mut factors = vec![0f32; heads * n];
                for (head, row) in factors.chunks_mut(n).enumerate() {
                    dropout.fill(range.start, head, heads, row);
                }
                let factors = tensor(&factors, (heads, n)).reshape((heads, 1, n)).unwrap();
                p = (p * factors).unwrap();
            }
            let row = p.matmul(&of(&values, range.start, n)).unwrap();
            rows.push(row.reshape((1, hidden)).unwrap());
        }
        let plain = Tensor::cat(&rows, 0).unwrap();
        let close = |name: &str, got: &[f32], want: &Tensor| {
            let want = want.flatten_all().unwrap().to_vec1::<f64>().unwrap();
            assert_eq!(got.len(), want.len());
            let scale = want.iter().fold(1.0, |most: f64, x| most.max(x.abs()));
            for (&got, want) in got.iter().zip(&want) {
                assert!(
                    (f64::from(got) - want).abs() < 1e-5 * scale,
                    "{name}, {lengths:?}: {got} {want}"
                );
            }
        };
        close("context", &context, &plain);
        let objective = (plain * tensor(&upstream, (sequences, hidden))).unwrap();
        let expected = objective.sum_all().unwrap().backward().unwrap();
        let names = [
            "query",
            "states",
            "key weight",
            "value weight",
            "value bias",
        ];
        for (accumulate, before) in [(Accumulate::Replace, f32::NAN), (Accumulate::Add, 3.0)] {
            let derivatives = backward(accumulate, before);
            for ((name, got), var) in names.iter().zip(&derivatives).zip(&vars) {
                close(name, got, expected.get(var).unwrap());
            }
        }
    }
}
