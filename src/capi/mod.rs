//! The C ABI: `include/bert.h` is generated from this module, and nothing else crosses the library's border.
//!
//! Each function checks its arguments, calls the safe Rust below, and translates. Raw pointers from outside are read
//! and written in [`arguments`] and [`sized`] alone; [`boundary`] turns errors and panics into status codes;
//! [`handles`] owns what a caller holds.

// The names are C's.
#![allow(non_camel_case_types)]

mod adapter;
mod arguments;
mod boundary;
mod dataset;
mod global;
mod handle_table;
mod handles;
mod model;
mod predict;
mod problem;
mod sized;
mod status;
#[cfg(test)]
mod tests;
mod trainer;

pub use adapter::*;
pub use dataset::*;
pub use global::*;
pub use handles::{bert_dataset, bert_model, bert_trainer};
pub use model::*;
pub use predict::*;
pub use problem::*;
pub use status::*;
pub use trainer::*;
