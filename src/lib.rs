//! libbert: train, fine-tune, evaluate and run BERT text classifiers, from C or from Rust.
//!
//! The C ABI is [`capi`] (`include/bert.h`). Below it is a safe API with the same functions: what takes no `unsafe` to call does
//! nothing undefined, whatever it is given. `unsafe` code is in [`ops`], [`cuda`] and [`capi`] alone.
//!
//! - [`classifier`]: model + tokenizer + labels, what a user makes or loads, predicts with ([`predict`]) and saves;
//! - [`data`]: examples, file readers, labels, batches;
//! - [`text`]: text to token ids;
//! - [`model`]: BERT itself, in plain candle, and packed for the CPU with the kernels of [`ops`];
//! - [`cuda`]: the same on an NVIDIA GPU;
//! - [`train`]: options, loss, optimizer, schedule, the trainer, evaluation; [`metrics`] beside it;
//! - [`hf`]: Hugging Face model directories;
//! - [`problem`]: the kinds of problem, single-label, multi-label and regression;
//! - [`sync`]: what threads share, and the order of their steps;
//! - [`device`], [`threads`], [`memory`], [`cgroups`], [`random`], [`setting`], [`log`], [`error`]: what all of them
//!   stand on.

#![warn(missing_docs)]
#![deny(unsafe_code)]

#[cfg(feature = "capi")]
#[allow(unsafe_code)]
pub mod capi;
pub mod cgroups;
pub mod classifier;
#[allow(unsafe_code)]
pub mod cuda;
pub mod data;
pub mod device;
pub mod error;
pub mod hf;
pub mod log;
pub mod memory;
pub mod metrics;
pub mod model;
#[allow(unsafe_code)]
pub mod ops;
pub mod predict;
pub mod problem;
pub mod random;
pub mod setting;
pub mod sync;
pub mod text;
pub mod threads;
pub mod train;
