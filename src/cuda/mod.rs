//! Models on an NVIDIA GPU: kernels of our own and cuBLAS, over the driver's interface, opened when a GPU is first asked
//! for. `docs/cuda.md` says why so.
//!
//! - [`libraries`]: `libcuda` and `libcublas`, bound while the program runs;
//! - [`calls`]: which calls may reach the driver, and when;
//! - [`gpu`]: one GPU: its memory, launches and products, all in the order of one stream;
//! - [`staging`]: page-locked memory that copies go through;
//! - [`values`]: a model's values on it;
//! - [`batch`]: a batch there;
//! - [`pass`]: the forward and backward pass;
//! - [`loss`]: the loss and its derivative;
//! - [`optimizer`]: what training keeps there, and its update;
//! - `kernels/`: what the GPU runs, in CUDA C++.
//!
//! This is one of the places with `unsafe` code (calls of C functions that were found by name). Without the feature `cuda`
//! all of it is compiled but the kernels, and no GPU is found.

mod adapter;
mod arena;
mod batch;
mod calls;
mod gpu;
mod libraries;
mod loss;
mod optimizer;
mod pass;
mod staging;
mod values;

pub use calls::wait_for_exit;
pub use gpu::{Gpu, gpu};
pub use optimizer::{BegunStep, CudaTraining};
pub use pass::{Answer, answers, check_config, logits_and_gradients};
pub use values::CudaValues;
