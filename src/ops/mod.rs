//! The CPU's kernels: what plain candle operations compute in many passes over fresh memory, in few over memory that is
//! used again. One file an operation, forward and backward, with its test against the plain formula.
//!
//! Everything works on float32 slices, rows one after another. Each kernel is one piece of Rust that `pulp` compiles for
//! several instruction sets and chooses from at run time. Sums go by fixed lanes and blocks, so that a result depends
//! neither on the number of threads nor on the instruction set's width, only on whether it fuses multiply-adds.

pub mod activation;
pub mod aligned;
pub mod arena;
pub mod attend;
pub mod attend_first;
pub mod attention;
mod buffers;
pub mod dropout_factors;
pub mod first_attention;
pub mod float_state;
pub mod gemm;
pub mod isa;
pub mod layer_norm;
pub mod linear;
mod math;
pub mod norm;
pub mod parallel;
mod rows;
mod sizes;
mod softmax;
pub mod team;
#[cfg(target_arch = "x86_64")]
mod tiles;

pub use buffers::{Buffer, Buffers};
pub use gemm::{Accumulate, Precision};
pub use rows::{RowDropout, add_bias_gradient, apply_dropout_rows, copy_dropout_rows};
