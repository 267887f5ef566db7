//! Scaled dot-product attention over packed sequences: softmax(Q Kᵀ / √d) V for each sequence and head on its own, so
//! that nothing is computed on padding.

use std::ops::Range;

use super::gemm::{Accumulate, Lines, Matrix, small_product};
use super::isa::vectorised;
use super::parallel::{self, Shared};
use super::softmax::{softmax, softmax_backward};
use crate::data::Batch;
use crate::random::DropoutMask;

/// The sizes of one attention.
#[derive(Clone, Copy)]
pub struct Shape<'a> {
    /// Where each sequence stands among the packed tokens.
    pub batch: &'a Batch,
    /// Heads.
    pub heads: usize,
    /// Width of one head; rows are `heads` times as wide.
    pub head_size: usize,
    /// Whether queries and context are of each sequence's first token alone, one row a sequence.
    pub first_only: bool,
}

/// Dropout on the probabilities.
#[derive(Clone, Copy)]
pub struct ProbabilityDropout {
    /// Its factors.
    pub mask: DropoutMask,
    /// Factors from one row (a packed token's in one head) to the next.
    pub stride: usize,
}

impl ProbabilityDropout {
    /// The factors of packed token `token` in `head`, over as many keys as `out` has.
    pub fn fill(&self, token: usize, head: usize, heads: usize, out: &mut [f32]) {
        let row = token as u64 * heads as u64 + head as u64;
        self.mask.fill(row * self.stride as u64, out);
    }
}

impl Shape<'_> {
    fn width(&self) -> usize {
        self.heads * self.head_size
    }

    fn scale(&self) -> f32 {
        1.0 / (self.head_size as f32).sqrt()
    }

    /// Rows of the queries and of the context.
    fn query_rows(&self) -> usize {
        if self.first_only {
            self.batch.len()
        } else {
            self.batch.tokens()
        }
    }

    /// Numbers in all probabilities: one for each query, head and token of the query's sequence.
    pub fn probabilities(&self) -> usize {
        self.batch
            .ranges()
            .map(|range| self.heads * self.queries_of(range.len()) * range.len())
            .sum()
    }

    /// Queries of a sequence of that length.
    fn queries_of(&self, length: usize) -> usize {
        if self.first_only { 1 } else { length }
    }

    /// Every sequence, some heads at a time, with where their probabilities begin.
    fn pieces(&self) -> Vec<Piece> {
        let mut start = 0;
        let mut pieces = Vec::with_capacity(self.batch.len() * self.heads.div_ceil(HEADS));
        let mut query = 0;
        for range in self.batch.ranges() {
            let queries = query..query + self.queries_of(range.len());
            for first in (0..self.heads).step_by(HEADS) {
                let heads = first..self.heads.min(first + HEADS);
                pieces.push(Piece {
                    tokens: range.clone(),
                    queries: queries.clone(),
                    heads: heads.clone(),
                    probabilities: start,
                });
                start += heads.len() * queries.len() * range.len();
            }
            query = queries.end;
        }
        pieces
    }

    /// Holds the sizes of what has a row for each query, and of what has one for each token.
    fn assert_sizes(&self, of_queries: &[&[f32]], of_tokens: &[&[f32]]) {
        for (states, rows) in [
            (of_queries, self.query_rows()),
            (of_tokens, self.batch.tokens()),
        ] {
            for states in states {
                assert_eq!(states.len(), rows * self.width());
            }
        }
    }
}

/// Heads that a thread computes one after another: a row's numbers of neighbouring heads lie together.
const HEADS: usize = 4;

/// Some heads of one sequence.
struct Piece {
    tokens: Range<usize>,
    queries: Range<usize>,
    heads: Range<usize>,
    /// Where the first one's probabilities begin; those of the others follow.
    probabilities: usize,
}

impl Piece {
    fn tasks(&self) -> impl Iterator<Item = Task> {
        let scores = self.queries.len() * self.tokens.len();
        self.heads
            .clone()
            .enumerate()
            .map(move |(number, head)| Task {
                tokens: self.tokens.clone(),
                queries: self.queries.clone(),
                head,
                probabilities: self.probabilities + number * scores,
            })
    }
}

/// One head of one sequence.
struct Task {
    /// The sequence's rows among the keys and values.
    tokens: Range<usize>,
    /// Its rows among the queries and the context.
    queries: Range<usize>,
    head: usize,
    probabilities: usize,
}

impl Task {
    /// Where this head's columns of row `first` begin.
    fn offset(&self, shape: &Shape<'_>, first: usize) -> usize {
        first * shape.width() + self.head * shape.head_size
    }

    /// This head's [queries, head_size] part of states; `lines` says what its rows are to the product.
    fn of_queries<'a>(&self, shape: &Shape<'_>, states: &'a [f32], lines: Lines) -> Matrix<'a> {
        Matrix::new(
            &states[self.offset(shape, self.queries.start)..],
            shape.width(),
            lines,
        )
    }

    /// This head's [tokens, head_size] part.
    fn of_tokens<'a>(&self, shape: &Shape<'_>, states: &'a [f32], lines: Lines) -> Matrix<'a> {
        Matrix::new(
            &states[self.offset(shape, self.tokens.start)..],
            shape.width(),
            lines,
        )
    }

    /// Where the part of the queries begins in states that are written.
    fn of_queries_mut(&self, shape: &Shape<'_>, states: Shared<f32>) -> *mut f32 {
        // The offset lies inside the states, whose size was checked.
        states.at(self.offset(shape, self.queries.start))
    }

    /// Where the part of the tokens begins in states that are written.
    fn of_tokens_mut(&self, shape: &Shape<'_>, states: Shared<f32>) -> *mut f32 {
        // As above.
        states.at(self.offset(shape, self.tokens.start))
    }

    /// The factors of every probability, row by row. The first query is the first token's in either case.
    fn factors(&self, shape: &Shape<'_>, dropout: &ProbabilityDropout, out: &mut [f32]) {
        let stride = (shape.heads * dropout.stride) as u64;
        let start = self.tokens.start as u64 * stride + (self.head * dropout.stride) as u64;
        dropout
            .mask
            .fill_rows(start, stride, self.tokens.len(), out);
    }
}

/// [queries, tokens] numbers, row by row.
fn scores_of(values: &[f32], tokens: usize, lines: Lines) -> Matrix<'_> {
    Matrix::new(values, tokens, lines)
}

/// `context` gets the heads' outputs side by side; `probabilities` ([`Shape::probabilities`] numbers) gets them as they
/// are before dropout, for the backward pass.
pub fn forward(
    shape: Shape<'_>,
    dropout: Option<ProbabilityDropout>,
    (query, key, value): (&[f32], &[f32], &[f32]),
    probabilities: &mut [f32],
    context: &mut [f32],
) {
    shape.assert_sizes(&[query, context], &[key, value]);
    assert_eq!(probabilities.len(), shape.probabilities());
    let (all, context) = (
        Shared(probabilities.as_mut_ptr()),
        Shared(context.as_mut_ptr()),
    );
    let pieces = shape.pieces();
    parallel::run(pieces.len(), |number| {
        let piece = &pieces[number];
        let (m, n) = (piece.queries.len(), piece.tokens.len());
        let mut dropped = vec![0f32; if dropout.is_some() { m * n } else { 0 }];
        for task in piece.tasks() {
            // SAFETY: this task's m n numbers, which lie inside the buffer (its size was checked) and are no other task's.
            let scores =
                unsafe { std::slice::from_raw_parts_mut(all.at(task.probabilities), m * n) };
            // SAFETY: the scores are this task's own.
            unsafe {
                small_product(
                    (m, n, shape.head_size),
                    task.of_queries(&shape, query, Lines::Inner),
                    task.of_tokens(&shape, key, Lines::Inner),
                    (scores.as_mut_ptr(), n),
                    Accumulate::Replace,
                );
            }
            if let Some(dropout) = &dropout {
                task.factors(&shape, dropout, &mut dropped);
            }
            let scale = shape.scale();
            vectorised!(A => {
                for row in scores.chunks_exact_mut(n) {
                    softmax::<A>(row, scale);
                }
                for (factor, probability) in dropped.iter_mut().zip(scores.iter()) {
                    *factor *= probability;
                }
            });
            let used = match dropout {
                None => &*scores,
                Some(_) => &*dropped,
            };
            // SAFETY: of the context, whose size was checked, this task writes its sequence's rows in its head's columns
            // alone.
            unsafe {
                small_product(
                    (m, shape.head_size, n),
                    scores_of(used, n, Lines::Inner),
                    task.of_tokens(&shape, value, Lines::Outer),
                    (task.of_queries_mut(&shape, context), shape.width()),
                    Accumulate::Replace,
                );
            }
        }
    });
}

/// The derivatives by query, key and value, written to `dq`, `dk`, `dv`, from the derivative by the context and from
/// what the forward pass had.
pub fn backward(
    shape: Shape<'_>,
    dropout: Option<ProbabilityDropout>,
    (query, key, value): (&[f32], &[f32], &[f32]),
    probabilities: &[f32],
    dcontext: &[f32],
    (dq, dk, dv): (&mut [f32], &mut [f32], &mut [f32]),
) {
    shape.assert_sizes(&[query, dcontext, dq], &[key, value, dk, dv]);
    assert_eq!(probabilities.len(), shape.probabilities());
    let (dq, dk, dv) = (
        Shared(dq.as_mut_ptr()),
        Shared(dk.as_mut_ptr()),
        Shared(dv.as_mut_ptr()),
    );
    let pieces = shape.pieces();
    parallel::run(pieces.len(), |number| {
        let piece = &pieces[number];
        let (m, n) = (piece.queries.len(), piece.tokens.len());
        let width = shape.width();
        let mut factors = vec![0f32; if dropout.is_some() { m * n } else { 0 }];
        let (mut dropped, mut scores) = (vec![0f32; m * n], vec![0f32; m * n]);
        for task in piece.tasks() {
            let probabilities = &probabilities[task.probabilities..][..m * n];
            if let Some(dropout) = &dropout {
                task.factors(&shape, dropout, &mut factors);
            }
            vectorised!({
                dropped.copy_from_slice(probabilities);
                for (probability, factor) in dropped.iter_mut().zip(&factors) {
                    *probability *= factor;
                }
            });
            // SAFETY: the scores are this task's own; of dv, dq and dk, whose sizes were checked, it writes its sequence's
            // rows in its head's columns alone.
            unsafe {
                small_product(
                    (n, shape.head_size, m),
                    scores_of(&dropped, n, Lines::Outer),
                    task.of_queries(&shape, dcontext, Lines::Outer),
                    (task.of_tokens_mut(&shape, dv), width),
                    Accumulate::Replace,
                );
                small_product(
                    (m, n, shape.head_size),
                    task.of_queries(&shape, dcontext, Lines::Inner),
                    task.of_tokens(&shape, value, Lines::Inner),
                    (scores.as_mut_ptr(), n),
                    Accumulate::Replace,
                );
            }
            let scale = shape.scale();
            vectorised!({
                for (derivative, factor) in scores.iter_mut().zip(&factors) {
                    *derivative *= factor;
                }
                for (row, probabilities) in scores
                    .chunks_exact_mut(n)
                    .zip(probabilities.chunks_exact(n))
                {
                    softmax_backward(row, probabilities, scale);
                }
            });
            // SAFETY: as above.
            unsafe {
                small_product(
                    (m, shape.head_size, n),
                    scores_of(&scores, n, Lines::Inner),
                    task.of_tokens(&shape, key, Lines::Outer),
                    (task.of_queries_mut(&shape, dq), width),
                    Accumulate::Replace,
                );
                small_product(
                    (n, shape.head_size, m),
                    scores_of(&scores, n, Lines::Outer),
                    task.of_queries(&shape, query, Lines::Outer),
                    (task.of_tokens_mut(&shape, dk), width),
                    Accumulate::Replace,
                );
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Dropout;
    use candle_core::{D, Device, Tensor, Var};

    fn wave(n: usize, k: f32) -> Vec<f32> {
        (0..n).map(|i| (k * i as f32).sin()).collect()
    }

    /// Against plain candle in float64, sequence by sequence, with and without dropout, of all tokens and of the first.
    #[test]
    fn forward_and_backward_are_those_of_the_plain_operations() {
        for (lengths, heads, head_size) in [
            (vec![1], 1, 1),
            (vec![5, 1, 9], 3, 7),
            (vec![64, 33], 2, 16),
            (vec![512], 1, 4),
        ] {
            for first_only in [false, true] {
                check(&lengths, heads, head_size, first_only);
            }
        }
    }

    fn check(lengths: &[usize], heads: usize, head_size: usize, first_only: bool) {
        let ids: Vec<Vec<u32>> = lengths.iter().map(|&n| vec![0; n]).collect();
        let batch = Batch::pack(ids.iter().map(|ids| (ids.as_slice(), ids.as_slice())));
        let shape = Shape {
            batch: &batch,
            heads,
            head_size,
            first_only,
        };
        let (tokens, width) = (batch.tokens(), heads * head_size);
        let queries = shape.query_rows();
        let (q, k, v) = (
            wave(queries * width, 0.37),
            wave(tokens * width, 0.53),
            wave(tokens * width, 0.71),
        );
        let upstream = wave(queries * width, 0.19);
        let with_dropout = ProbabilityDropout {
            mask: Dropout::new(1, 1).mask(0, 0.3),
            stride: 512,
        };
        for dropout in [None, Some(with_dropout)] {
            let mut probabilities = vec![f32::NAN; shape.probabilities()];
            let mut context = vec![f32::NAN; queries * width];
            forward(
                shape,
                dropout,
                (&q, &k, &v),
                &mut probabilities,
                &mut context,
            );
            let mut derivatives =
                [queries, tokens, tokens].map(|rows| vec![f32::NAN; rows * width]);
            let [dq, dk, dv] = &mut derivatives;
            backward(
                shape,
                dropout,
                (&q, &k, &v),
                &probabilities,
                &upstream,
                (dq, dk, dv),
            );
            for (sequence, range) in batch.ranges().enumerate() {
                let n = range.len();
                let asking = match first_only {
                    true => sequence..sequence + 1,
                    false => range.clone(),
                };
                let m = asking.len();
                let part = |x: &[f32], rows: &Range<usize>| -> Tensor {
                    let x: Vec<f64> = x[rows.start * width..rows.end * width]
                        .iter()
                        .map(|&v| f64::from(v))
                        .collect();
                    Tensor::from_vec(x, (rows.len(), heads, head_size), &Device::Cpu)
                        .unwrap()
                        .transpose(0, 1)
                        .unwrap()
                        .contiguous()
                        .unwrap()
                };
                let vars: Vec<Var> = [(&q, &asking), (&k, &range), (&v, &range)]
                    .iter()
                    .map(|(x, rows)| Var::from_tensor(&part(x, rows)).unwrap())
                    .collect();
                let scores = (vars[0]
                    .matmul(&vars[1].transpose(1, 2).unwrap().contiguous().unwrap())
                    .unwrap()
                    / (head_size as f64).sqrt())
                .unwrap();
                let mut p = candle_nn::ops::softmax(&scores, D::Minus1).unwrap();
                if let Some(dropout) = dropout {
                    let mut factors = vec![0f32; heads * m * n];
                    for (index, row) in factors.chunks_mut(n).enumerate() {
                        dropout.fill(range.start + index % m, index / m, heads, row);
                    }
                    let factors: Vec<f64> = factors.iter().map(|&f| f64::from(f)).collect();
                    p = (p * Tensor::from_vec(factors, (heads, m, n), &Device::Cpu).unwrap())
                        .unwrap();
                }
                let plain = p.matmul(&vars[2]).unwrap();
                let gradients = (&plain * part(&upstream, &asking))
                    .unwrap()
                    .sum_all()
                    .unwrap()
                    .backward()
                    .unwrap();
                let check = |name: &str, got: &[f32], rows, want: &Tensor| {
                    let got = part(got, rows)
                        .flatten_all()
                        .unwrap()
                        .to_vec1::<f64>()
                        .unwrap();
                    let want = want.flatten_all().unwrap().to_vec1::<f64>().unwrap();
                    for (got, want) in got.iter().zip(&want) {
                        assert!(
                            (got - want).abs() < 1e-5 * want.abs().max(1.0),
                            "{name} length {n}: {got} {want}"
                        );
                    }
                };
                check("context", &context, &asking, &plain);
                check(
                    "dq",
                    &derivatives[0],
                    &asking,
                    gradients.get(&vars[0]).unwrap(),
                );
                check(
                    "dk",
                    &derivatives[1],
                    &range,
                    gradients.get(&vars[1]).unwrap(),
                );
                check(
                    "dv",
                    &derivatives[2],
                    &range,
                    gradients.get(&vars[2]).unwrap(),
                );
            }
        }
    }
}
