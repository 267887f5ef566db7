//! Scaled dot-product attention over packed sequences: softmax(Q Kᵀ / √d) V for each sequence and head on its own, so
//! that nothing is computed on padding tokens.

use std::ops::Range;

use super::gemm::tile::{self, Kernel, Left};
use super::gemm::{
    Lines, Matrix, Scratch, pack_columns, pack_left_columns, panels_len, prefetch, tiles,
};
use super::isa::{self, vectorised};
use super::linear::with_kernel;
use super::math::LANES;
use super::parallel::{self, Shared};
use super::sizes::{assert_offsets, product, sum, whole};
use super::softmax::{softmax_backward, softmax_of_first};
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

    /// Numbers in all probabilities: for each query and head a row ([`padded`]) over the tokens of the query's sequence.
    pub fn probabilities(&self) -> usize {
        let of_sequence = |range: Range<usize>| {
            let row = whole(range.len(), LANES);
            product([self.heads, self.queries_of(range.len()), row])
        };
        sum(self.batch.ranges().map(of_sequence))
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
                let piece = Piece {
                    tokens: range.clone(),
                    queries: queries.clone(),
                    heads: first..self.heads.min(first + HEADS),
                    probabilities: start,
                };
                start += piece.heads.len() * piece.of_one();
                pieces.push(piece);
            }
            query = queries.end;
        }
        pieces
    }

    /// Calls `work` for every head of every sequence, with memory that the thread uses again.
    fn each_head(&self, work: impl Fn(&Task, &mut Scratch) + Sync) {
        let pieces = self.pieces();
        parallel::run(pieces.len(), |number| {
            let mut scratch = Scratch::default();
            for task in pieces[number].tasks() {
                work(&task, &mut scratch);
            }
        });
    }

    /// Holds the sizes of what has a row for each query, and of what has one for each token. What follows from them below is no
    /// larger than these, or than [`probabilities`](Shape::probabilities).
    fn assert_sizes(&self, of_queries: &[&[f32]], of_tokens: &[&[f32]]) {
        assert_offsets(self.batch.offsets(), 1);
        let width = product([self.heads, self.head_size]);
        for (states, rows) in [
            (of_queries, self.query_rows()),
            (of_tokens, self.batch.tokens()),
        ] {
            for states in states {
                assert_eq!(states.len(), product([rows, width]));
            }
        }
    }
}

/// Places of a row of probabilities over so many tokens: whole vectors, which take less time than a rest. Those behind the tokens
/// are zero.
pub(crate) fn padded(tokens: usize) -> usize {
    tokens.next_multiple_of(LANES)
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
    /// Numbers in one head's probabilities.
    fn of_one(&self) -> usize {
        self.queries.len() * padded(self.tokens.len())
    }

    fn tasks(&self) -> impl Iterator<Item = Task> {
        let of_one = self.of_one();
        self.heads.clone().enumerate().map(move |(number, head)| {
            let start = self.probabilities + number * of_one;
            Task {
                tokens: self.tokens.clone(),
                queries: self.queries.clone(),
                head,
                probabilities: start..start + of_one,
            }
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
    /// Where its probabilities stand.
    probabilities: Range<usize>,
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
        let width = self.tokens.len();
        dropout
            .mask
            .fill_rows((start, stride), (width, padded(width)), out);
    }

    /// Asks for the next head's part of these rows, where they are few: this thread reads them when it is done with this head, unless
    /// that is its piece's last.
    fn ask_for_next(&self, shape: &Shape<'_>, states: &[f32], rows: &Range<usize>) {
        if self.head + 1 < shape.heads && rows.len() <= FEW {
            for row in rows.clone() {
                prefetch::numbers(
                    &states[self.offset(shape, row) + shape.head_size..][..shape.head_size],
                );
            }
        }
    }
}

/// Columns of the probabilities that are packed at once, in tiles.
const GROUP: usize = 8;

/// Rows of a head that the first-level cache holds beside what is worked on, about.
const FEW: usize = 64;

/// Probabilities whose columns are read where they are, at most: the first-level cache holds them.
const SHORT: usize = 4096;

/// A matrix's rows from `first` on as a tile's left side.
fn rows_from(matrix: Matrix<'_>, first: usize) -> Left<f32> {
    Left::new(&matrix.values[first * matrix.stride..], matrix.stride)
}

/// So many numbers of the memory for each.
fn parts<const N: usize>(mut memory: &mut [f32], sizes: [usize; N]) -> [&mut [f32]; N] {
    sizes.map(|size| {
        memory
            .split_off_mut(..size)
            .expect("as many as were asked for")
    })
}

/// `context` gets the heads' outputs side by side; `probabilities` ([`Shape::probabilities`] numbers) gets them as they
/// are before dropout, for the backward pass.
pub fn forward(
    shape: Shape<'_>,
    dropout: Option<ProbabilityDropout>,
    states: (&[f32], &[f32], &[f32]),
    probabilities: &mut [f32],
    context: &mut [f32],
) {
    let (query, key, value) = states;
    shape.assert_sizes(&[query, context], &[key, value]);
    assert_eq!(probabilities.len(), shape.probabilities());
    let (all, context) = (
        Shared(probabilities.as_mut_ptr()),
        Shared(context.as_mut_ptr()),
    );
    shape.each_head(|task, scratch| {
        let Range { start, end } = task.probabilities;
        // SAFETY: all sizes were checked, and the macro chooses this machine's kernel. The probabilities are this task's alone; of
        // the context it writes its sequence's rows in its head's columns alone.
        unsafe {
            let probabilities = std::slice::from_raw_parts_mut(all.at(start), end - start);
            with_kernel!(forward_head::<K>(
                (&shape, task),
                dropout,
                states,
                probabilities,
                context,
                scratch
            ));
        }
    });
}

/// # Safety
/// The kernel is of this machine's instructions, the states have the shape's sizes, `context` is as large as the queries, and the
/// task's part of it no one else's.
unsafe fn forward_head<K: Kernel<Unit = f32>>(
    (shape, task): (&Shape<'_>, &Task),
    dropout: Option<ProbabilityDropout>,
    (query, key, value): (&[f32], &[f32], &[f32]),
    probabilities: &mut [f32],
    context: Shared<f32>,
    scratch: &mut Scratch,
) {
    let (m, n, size) = (task.queries.len(), task.tokens.len(), shape.head_size);
    let width = padded(n);
    let sizes = [
        panels_len::<K>((size, n)),
        panels_len::<K>((n, size)),
        if dropout.is_some() { m * width } else { 0 },
    ];
    let [keys, values, factors] = parts(scratch.take(sizes.iter().sum()), sizes);
    pack_columns::<K>(task.of_tokens(shape, key, Lines::Inner), (size, n), keys);
    pack_columns::<K>(
        task.of_tokens(shape, value, Lines::Outer),
        (n, size),
        values,
    );
    if let Some(dropout) = &dropout {
        task.factors(shape, dropout, factors);
    }
    for (states, rows) in [
        (query, &task.queries),
        (key, &task.tokens),
        (value, &task.tokens),
    ] {
        task.ask_for_next(shape, states, rows);
    }
    let queries = task.of_queries(shape, query, Lines::Inner);
    let (context, stride) = (task.of_queries_mut(shape, context), shape.width());
    let scale = shape.scale();
    for first in (0..m).step_by(K::ROWS) {
        let rows = K::ROWS.min(m - first);
        let here = first * width..(first + rows) * width;
        let scores = &mut probabilities[here.clone()];
        // SAFETY: the rows of queries are the task's, the panels were just packed, and the scores have these rows.
        unsafe {
            tiles::<K, false>(
                (rows, width, size),
                rows_from(queries, first),
                keys,
                (scores.as_mut_ptr(), width),
            );
        }
        let dropped = if dropout.is_some() {
            &mut factors[here]
        } else {
            &mut []
        };
        vectorised!(A => {
            for row in scores.chunks_exact_mut(width) {
                softmax_of_first::<A>(row, n, scale);
            }
            for (factor, probability) in dropped.iter_mut().zip(scores.iter()) {
                *factor *= probability;
            }
        });
        let used = if dropout.is_some() { dropped } else { scores };
        // SAFETY: as above; the rows of the context are this task's, by this function's contract.
        unsafe {
            tiles::<K, false>(
                (rows, size, n),
                Left::new(used, width),
                values,
                (context.wrapping_add(first * stride), stride),
            );
        }
    }
}

/// The derivatives by query, key and value, written to `dq`, `dk`, `dv`, from the derivative by the context and from
/// what the forward pass had.
pub fn backward(
    shape: Shape<'_>,
    dropout: Option<ProbabilityDropout>,
    states: (&[f32], &[f32], &[f32]),
    probabilities: &[f32],
    dcontext: &[f32],
    (dq, dk, dv): (&mut [f32], &mut [f32], &mut [f32]),
) {
    let (query, key, value) = states;
    shape.assert_sizes(&[query, dcontext, dq], &[key, value, dk, dv]);
    assert_eq!(probabilities.len(), shape.probabilities());
    let derivatives = [dq, dk, dv].map(|derivatives| Shared(derivatives.as_mut_ptr()));
    shape.each_head(|task, scratch| {
        let probabilities = &probabilities[task.probabilities.clone()];
        // SAFETY: all sizes were checked, and the macro chooses this machine's kernel. Of the derivatives it writes its sequence's
        // rows in its head's columns alone.
        unsafe {
            with_kernel!(backward_head::<K>(
                (&shape, task),
                dropout,
                states,
                probabilities,
                dcontext,
                derivatives,
                scratch
            ));
        }
    });
}

/// # Safety
/// The kernel is of this machine's instructions, the states and `dcontext` have the shape's sizes, the derivatives are as large as
/// what they are of, and the task's part of them no one else's.
unsafe fn backward_head<K: Kernel<Unit = f32>>(
    (shape, task): (&Shape<'_>, &Task),
    dropout: Option<ProbabilityDropout>,
    (query, key, value): (&[f32], &[f32], &[f32]),
    probabilities: &[f32],
    dcontext: &[f32],
    [dq, dk, dv]: [Shared<f32>; 3],
    scratch: &mut Scratch,
) {
    let (m, n, size) = (task.queries.len(), task.tokens.len(), shape.head_size);
    let (width, stride) = (padded(n), shape.width());
    let group = GROUP * K::ROWS;
    let packs_columns = K::PACKS_COLUMNS && m * width > SHORT;
    let sizes = [
        panels_len::<K>((size, n)),
        panels_len::<K>((n, size)),
        panels_len::<K>((m, size)),
        m * width,
        if dropout.is_some() { m * width } else { 0 },
        if packs_columns { m * group } else { 0 },
    ];
    let [values, keys, panels, scores, factors, columns] =
        parts(scratch.take(sizes.iter().sum()), sizes);
    pack_columns::<K>(
        task.of_tokens(shape, value, Lines::Inner),
        (size, n),
        values,
    );
    pack_columns::<K>(task.of_tokens(shape, key, Lines::Outer), (n, size), keys);
    if let Some(dropout) = &dropout {
        task.factors(shape, dropout, factors);
    }
    for (states, rows) in [
        (query, &task.queries),
        (key, &task.tokens),
        (value, &task.tokens),
        (dcontext, &task.queries),
    ] {
        task.ask_for_next(shape, states, rows);
    }
    let upstream = task.of_queries(shape, dcontext, Lines::Inner);
    let scale = shape.scale();
    // A tile's rows at a time: the derivatives by the probabilities, by the scores, and by the queries.
    for first in (0..m).step_by(K::ROWS) {
        let rows = K::ROWS.min(m - first);
        let here = first * width..(first + rows) * width;
        let (scores, probabilities) = (&mut scores[here.clone()], &probabilities[here.clone()]);
        // SAFETY: the rows are the task's, the panels were just packed, and the scores have these rows.
        unsafe {
            tiles::<K, false>(
                (rows, width, size),
                rows_from(upstream, first),
                values,
                (scores.as_mut_ptr(), width),
            );
        }
        // Narrow panels may leave places behind the tokens as they were.
        let written = n.next_multiple_of(K::COLUMNS);
        if written < width {
            for row in scores.chunks_exact_mut(width) {
                row[written..].fill(0.0);
            }
        }
        let factors = if dropout.is_some() {
            &mut factors[here]
        } else {
            &mut []
        };
        vectorised!({
            for ((score, factor), probability) in
                scores.iter_mut().zip(factors.iter_mut()).zip(probabilities)
            {
                *score *= *factor;
                *factor *= probability;
            }
            let rows = scores.chunks_exact_mut(width);
            for (row, probabilities) in rows.zip(probabilities.chunks_exact(width)) {
                softmax_backward(row, probabilities, scale);
            }
        });
        let dq = task.of_queries_mut(shape, dq).wrapping_add(first * stride);
        // SAFETY: as above; the rows of the derivative are this task's, by this function's contract.
        unsafe {
            tiles::<K, false>(
                (rows, size, n),
                Left::new(scores, width),
                keys,
                (dq, stride),
            );
        }
    }
    // A row for each token: by the values from what was used of the probabilities, by the keys from the scores.
    let used = if dropout.is_some() {
        &*factors
    } else {
        probabilities
    };
    for (left, right, result) in [(used, dcontext, dv), (&*scores, query, dk)] {
        let right = task.of_queries(shape, right, Lines::Outer);
        pack_columns::<K>(right, (m, size), panels);
        let result = task.of_tokens_mut(shape, result);
        for first in (0..n).step_by(group) {
            let count = group.min(n - first);
            let left = Matrix::new(&left[first..], width, Lines::Outer);
            if packs_columns {
                pack_left_columns::<K>(left, (m, count), columns);
            }
            for tile in (0..count).step_by(K::ROWS) {
                let left = match packs_columns {
                    true => Left::new(&columns[tile * m..], K::ROWS),
                    false => Left::new(&left.values[tile..], width),
                };
                let rows = K::ROWS.min(count - tile);
                // SAFETY: the columns and the panels were just packed or are there; the rows of the derivative are this
                // task's, by this function's contract.
                unsafe {
                    let result = result.wrapping_add((first + tile) * stride);
                    tiles::<K, true>((rows, size, m), left, panels, (result, stride));
                }
            }
        }
    }
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
            (vec![29, 90], 2, 40),
            (vec![512], 1, 4),
        ] {
            for first_only in [false, true] {
                check(&lengths, heads, head_size, first_only);
            }
        }
    }

    #[test]
    fn sizes_that_do_not_fit_are_refused() {
        let batch = Batch::pack([(&[1][..], &[0][..]), (&[1, 2], &[0, 0])]);
        let shape = Shape {
            batch: &batch,
            heads: 1,
            head_size: 2,
            first_only: false,
        };
        let is_refused = |shape: Shape<'_>, sizes: [usize; 5]| {
            std::panic::catch_unwind(|| {
                let [q, k, v, mut p, mut c] = sizes.map(|size| vec![0.0; size]);
                forward(shape, None, (&q, &k, &v), &mut p, &mut c);
                let [mut dq, mut dk, mut dv] = [&q, &k, &v].map(Clone::clone);
                backward(
                    shape,
                    None,
                    (&q, &k, &v),
                    &p,
                    &c,
                    (&mut dq, &mut dk, &mut dv),
                );
            })
            .is_err()
        };
        let sound = [6, 6, 6, shape.probabilities(), 6];
        assert!(!is_refused(shape, sound));
        for place in 0..sound.len() {
            let mut sizes = sound;
            sizes[place] -= 1;
            assert!(is_refused(shape, sizes), "{place}");
        }
        let half = 1 << (usize::BITS / 2);
        let wide = Shape {
            heads: half,
            head_size: half,
            ..shape
        };
        assert!(is_refused(wide, [0; 5]));
        let many = Shape {
            heads: 1 << (usize::BITS - LANES.ilog2()),
            ..shape
        };
        assert!(std::panic::catch_unwind(|| many.probabilities()).is_err());
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
