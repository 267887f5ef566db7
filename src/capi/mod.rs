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
mod description;
mod error_object;
pub mod fields;
mod fit_head;
mod global;
mod handle_table;
mod handles;
mod model;
mod predict;
mod problem;
mod running;
mod sized;
mod status;
#[cfg(test)]
mod tests;
mod thresholds;
mod trainer;

pub use adapter::*;
pub use dataset::*;
pub use description::*;
pub use error_object::*;
pub use fit_head::*;
pub use global::*;
pub use handles::{bert_dataset, bert_error, bert_model, bert_trainer};
pub use model::*;
pub use predict::*;
pub use problem::*;
pub use status::*;
pub use thresholds::*;
pub use trainer::*;

/// The structs of the C ABI, for `include/bert_api.json`.
pub fn structs() -> Vec<fields::Struct> {
    use sized::Sized_;
    vec![
        bert_model_options::describe(),
        bert_load_options::describe(),
        bert_info::describe(),
        bert_lora_options::describe(),
        bert_read_options::describe(),
        bert_dataset_description::describe(),
        bert_progress::describe(),
        bert_train_options::describe(),
        bert_step_report::describe(),
        bert_epoch_report::describe(),
        bert_train_report::describe(),
        bert_resume_report::describe(),
        bert_evaluation::describe(),
        bert_evaluate_options::describe(),
        bert_fit_head_options::describe(),
        bert_fit_head_report::describe(),
        bert_predict_options::describe(),
        bert_prediction::describe(),
        bert_predictions::describe(),
        bert_embed_options::describe(),
    ]
}
