//! The course of a training run as JSON Lines: a line for each step and each evaluation, written as they happen.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
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
    /// Bytes written; `None` while the file still has what it held before.
    length: Option<u64>,
    /// Lines of what was done already that couldn't be written: they come before the next one.
    unwritten: String,
}

impl History {
    /// Opens the file, or creates it. What it holds is replaced with the first line, unless the run goes on with it.
    pub fn create(path: &Path) -> Result<History> {
        // Reading too: a run that goes on looks at what is there.
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(|error| Error::io("create the history", path, &error))?;
        Ok(History {
            file,
            path: path.to_path_buf(),
            length: None,
            unwritten: String::new(),
        })
    }

    /// Bytes written.
    pub fn length(&self) -> u64 {
        self.length.unwrap_or(0)
    }

    /// Goes on after the first `length` bytes, which the run wrote before it was interrupted; what came after them is
    /// written again. A file that can't be the run's is replaced.
    pub fn resume(&mut self, length: u64) -> Result<()> {
        let fail = |error: std::io::Error| Error::io("read the history", &self.path, &error);
        let mut is_ours = length > 0 && self.file.metadata().map_err(fail)?.len() >= length;
        if is_ours {
            let mut last = [0];
            self.file.seek(SeekFrom::Start(length - 1)).map_err(fail)?;
            self.file.read_exact(&mut last).map_err(fail)?;
            is_ours = last == *b"\n";
        }
        self.start(if is_ours { length } else { 0 })?;
        self.unwritten.clear();
        Ok(())
    }

    /// Writing begins at `length`, and nothing comes after it.
    fn start(&mut self, length: u64) -> Result<()> {
        let fail = |error: std::io::Error| Error::io("write the history to", &self.path, &error);
        // A pipe or a terminal has no length.
        if self.file.metadata().map_err(fail)?.is_file() {
            self.file.set_len(length).map_err(fail)?;
            self.file.seek(SeekFrom::Start(length)).map_err(fail)?;
        }
        self.length = Some(length);
        Ok(())
    }

    /// One optimizer step, which is done: its line is written by [`write`](History::write).
    pub fn note_step(&mut self, report: &StepReport) {
        self.note(&json!({
            "event": "step",
            "step": report.step,
            "epoch": report.epoch,
            "loss": report.loss,
            "learning_rate": report.learning_rate,
            "grad_norm": report.grad_norm,
            "examples": report.examples,
            "tokens": report.tokens,
            "seconds": report.seconds,
        }));
    }

    /// Writes one evaluation after step `step`, with the metrics that its problem has. Where that fails it has no line:
    /// it is made again.
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
        let noted = self.unwritten.len();
        self.note(&line);
        self.write().inspect_err(|_| self.unwritten.truncate(noted))
    }

    fn note(&mut self, line: &serde_json::Value) {
        self.unwritten += &format!("{line}\n");
    }

    /// Writes what was noted.
    pub fn write(&mut self) -> Result<()> {
        if self.unwritten.is_empty() {
            return Ok(());
        }
        if self.length.is_none() {
            self.start(0)?;
        }
        let length = self.length();
        // One write a line: a reader never sees half of one.
        match self.file.write_all(self.unwritten.as_bytes()) {
            Ok(()) => {
                self.length = Some(length + self.unwritten.len() as u64);
                self.unwritten.clear();
                Ok(())
            }
            Err(error) => {
                // What part of it was written is written again.
                if self.file.metadata().is_ok_and(|now| now.is_file()) {
                    let _ = self.file.set_len(length);
                    let _ = self.file.seek(SeekFrom::Start(length));
                }
                Err(Error::io("write the history to", &self.path, &error))
            }
        }
    }
}
