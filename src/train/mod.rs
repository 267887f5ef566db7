//! Training and evaluation: options, loss, optimizer, schedule, the trainer.

pub mod automatic;
mod checkpoint;
pub mod checkpoint_folder;
mod evaluate;
pub mod fit_head;
mod gpu_step;
mod history;
mod lbfgs;
pub(crate) mod lengths;
mod linear_fit;
pub mod loss;
pub mod optimizer;
pub mod options;
mod plan;
mod resume;
pub mod schedule;
mod step;
pub mod target_scale;
pub mod touched;
mod trainer;
pub(crate) mod warnings;

pub use automatic::Asked;
pub use checkpoint_folder::CheckpointOptions;
pub use evaluate::{EncodedDataset, Evaluation, evaluate, evaluate_in, evaluate_texts};
pub use fit_head::{FitHeadOptions, FitHeadReport};
pub use options::{Metric, TrainOptions};
pub use schedule::ScheduleKind;
pub use step::StepOutcome;
pub use trainer::{
    Ended, EpochReport, Event, Progress, Resumed, StepReport, StopReason, TrainReport, Trainer,
};
