//! The course of a training run as JSON Lines: a line for each step and each evaluation, written as they happen.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::evaluate::Evaluation;
use super::trainer::StepReport;
use crate::error::{Error, Result};

/// The open file.
#[derive(Debug)]
pub struct History {
    file: File,
    path: PathBuf,
}

impl History {
    /// Creates or empties the file.
    pub fn create(path: &Path) -> Result<History> {
        let file =
            File::create(path).map_err(|error| Error::io("create the history", path, &error))?;
        Ok(History {
            file,
            path: path.to_path_buf(),
        })
    }

    /// One optimizer step.
    pub fn step(&mut self, report: &StepReport) -> Result<()> {
        self.line(&json!({
            "event": "step",
            "step": report.step,
            "epoch": report.epoch,
            "loss": report.loss,
            "learning_rate": report.learning_rate,
            "grad_norm": report.grad_norm,
            "examples": report.examples,
            "tokens": report.tokens,
            "seconds": report.seconds,
        }))
    }

    /// One evaluation after step `step`, with the metrics that its problem has.
    pub fn evaluation(&mut self, step: u64, epoch: u32, evaluation: &Evaluation) -> Result<()> {
        let mut line = json!({
            "event": "evaluation",
            "step": step,
            "epoch": epoch,
            "loss": evaluation.loss,
        });
        let scores = evaluation.metrics.scores();
        for (name, score) in [
            ("accuracy", scores.accuracy),
            ("f1_micro", scores.f1_micro),
            ("f1_macro", scores.f1_macro),
            ("f1_weighted", scores.f1_weighted),
            ("matthews", scores.matthews),
            ("mse", scores.mse),
            ("pearson", scores.pearson),
            ("spearman", scores.spearman),
        ] {
            if !score.is_nan() {
                line[name] = json!(score);
            }
        }
        line["examples"] = json!(evaluation.examples);
        self.line(&line)
    }

    fn line(&mut self, value: &serde_json::Value) -> Result<()> {
        // One write a line: a reader never sees half of one.
        let line = format!("{value}\n");
        self.file
            .write_all(line.as_bytes())
            .map_err(|error| Error::io("write the history to", &self.path, &error))
    }
}
