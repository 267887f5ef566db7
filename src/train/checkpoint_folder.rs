//! The folder in which `train` keeps a run's newest checkpoints: `checkpoint-STEP`, each a directory of its own.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::checkpoint::DESCRIPTION;
use crate::error::{Error, Result};
use crate::setting::Setting;
use crate::{hf, log};

/// Begins a checkpoint's name; the step follows.
const PREFIX: &str = "checkpoint-";
/// Begins the name of one that is being removed.
const REMOVED_PREFIX: &str = ".removed-checkpoint-";

/// How many checkpoints are kept.
pub const CHECKPOINT_KEEP: Setting<usize> = Setting::new("checkpoint_keep", 2, 1, 1_000_000);
/// Minutes from one checkpoint to the next; 0: not by time.
pub const CHECKPOINT_MINUTES: Setting<f64> = Setting::new("checkpoint_minutes", 0.0, 0.0, 1e6);

/// When checkpoints are made, and how many are kept.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckpointOptions {
    /// The folder; made where it is absent.
    pub folder: PathBuf,
    /// One every so many steps; 0: not by steps.
    pub steps: u64,
    /// One every so many minutes; 0: not by time. With neither one comes after each epoch.
    pub minutes: f64,
    /// How many are kept, the newest.
    pub keep: usize,
}

impl CheckpointOptions {
    /// Says which option can't be used, and what would be right.
    pub fn validate(&self) -> Result<()> {
        CHECKPOINT_KEEP.check(self.keep)?;
        CHECKPOINT_MINUTES.check(self.minutes)
    }
}

/// The folder, which is there.
#[derive(Debug)]
pub struct CheckpointFolder {
    path: PathBuf,
    keep: usize,
}

impl CheckpointFolder {
    /// Makes the folder where it is absent; its parent must be there.
    pub fn open(options: &CheckpointOptions) -> Result<CheckpointFolder> {
        let path = &options.folder;
        match fs::create_dir(path) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => {}
            Err(error) => {
                return Err(Error::io("create the folder for checkpoints", path, &error));
            }
        }
        Ok(CheckpointFolder {
            path: path.clone(),
            keep: options.keep,
        })
    }

    /// Where the checkpoint of `step` is, or will be.
    pub fn path_of(&self, step: u64) -> PathBuf {
        self.path.join(format!("{PREFIX}{step}"))
    }

    /// The steps that have a checkpoint, whole or not, the newest first.
    pub fn steps(&self) -> Result<Vec<u64>> {
        let fail = |error: std::io::Error| Error::io("read the folder", &self.path, &error);
        let names = hf::names_in(&self.path).map_err(fail)?;
        let steps = names
            .iter()
            .filter_map(|name| name.to_str().and_then(step_of));
        let mut steps: Vec<u64> = steps.collect();
        steps.sort_unstable_by(|a, b| b.cmp(a));
        Ok(steps)
    }

    /// What `read` makes of the newest checkpoint that is whole; damaged ones are passed over with a line in the log.
    pub fn newest<T>(&self, mut read: impl FnMut(&Path) -> Result<T>) -> Result<Option<T>> {
        self.tidy();
        for step in self.steps()? {
            let path = self.path_of(step);
            match read(&path) {
                Ok(found) => return Ok(Some(found)),
                Err(error @ (Error::Format(_) | Error::Io(_))) => log::warning(|| {
                    format!(
                        "The checkpoint '{}' can't be used, so an older one is tried. {}",
                        path.display(),
                        error.message()
                    )
                }),
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Finishes or removes what a run that was killed while it saved a checkpoint left here. No later save does it: after
    /// the interruption checkpoints may come at other steps.
    fn tidy(&self) {
        for target in hf::targets_in(&self.path) {
            let name = target.file_name().and_then(|name| name.to_str());
            if name.and_then(step_of).is_some() {
                hf::tidy(&target);
            }
        }
    }

    /// Removes all but the newest up to `step`; one that can't be removed now is left to the next time. Newer ones, which
    /// were found damaged, stay until the run comes by them.
    pub fn prune(&self, step: u64) {
        let Ok(steps) = self.steps() else {
            return;
        };
        let older = steps.into_iter().filter(|&s| s <= step).skip(self.keep);
        for step in older {
            let path = self.path_of(step);
            // A directory of the user's that only has such a name isn't touched.
            if path.join(DESCRIPTION).is_file() {
                // First out of sight: what is half removed is nobody's checkpoint.
                let _ = fs::rename(&path, self.path.join(format!("{REMOVED_PREFIX}{step}")));
            }
        }
        for name in hf::names_in(&self.path).unwrap_or_default() {
            let step = name
                .to_str()
                .and_then(|name| name.strip_prefix(REMOVED_PREFIX));
            if step.is_some_and(is_number) {
                let _ = remove(&self.path.join(name));
            }
        }
    }
}

/// Removes a directory and the files in it. One with directories in it, which are the user's, stays.
fn remove(directory: &Path) -> std::io::Result<()> {
    for name in hf::names_in(directory)? {
        fs::remove_file(directory.join(name))?;
    }
    fs::remove_dir(directory)
}

fn is_number(text: &str) -> bool {
    text.parse::<u64>().is_ok_and(|n| n.to_string() == text)
}

fn step_of(name: &str) -> Option<u64> {
    let digits = name.strip_prefix(PREFIX)?;
    is_number(digits).then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(keep: usize) -> (tempfile::TempDir, CheckpointFolder) {
        let scratch = tempfile::tempdir().unwrap();
        let folder = CheckpointFolder::open(&CheckpointOptions {
            folder: scratch.path().join("run"),
            steps: 0,
            minutes: 0.0,
            keep,
        })
        .unwrap();
        (scratch, folder)
    }

    #[test]
    fn the_newest_whole_one_is_found() {
        let (_scratch, folder) = folder(2);
        for step in [9, 10, 101] {
            fs::create_dir(folder.path_of(step)).unwrap();
        }
        for other in ["checkpoint-", "checkpoint-007", "checkpoint-x", "notes"] {
            fs::create_dir(folder.path.join(other)).unwrap();
        }
        assert_eq!(folder.steps().unwrap(), [101, 10, 9]);
        let found = folder.newest(|path| {
            if path.ends_with("checkpoint-101") {
                return Err(Error::Format("It is damaged.".into()));
            }
            Ok(path.to_path_buf())
        });
        assert_eq!(found.unwrap(), Some(folder.path_of(10)));
        let none = folder.newest(|_| Err::<(), _>(Error::Io("It can't be read.".into())));
        assert_eq!(none.unwrap(), None);
        // What isn't about this one checkpoint is told.
        let told = folder.newest(|_| Err::<(), _>(Error::InvalidArgument("Another run's.".into())));
        assert!(told.is_err());
    }

    #[test]
    fn what_a_killed_save_left_is_finished_or_removed() {
        let (_scratch, folder) = folder(2);
        let inside = |name: &str| folder.path.join(name);
        for name in [
            // It died with the new one in place,
            "checkpoint-4",
            ".checkpoint-4.bert-save-4000000-0/whole",
            // between the two renames,
            ".checkpoint-5.bert-save-4000000-0/whole",
            ".checkpoint-5.bert-save-4000000-0/old-0",
            // and while files were written.
            ".checkpoint-6.bert-save-4000000-0/files",
            // No checkpoints of ours.
            ".checkpoint-x.bert-save-4000000-0/files",
            ".checkpoint-7.bert-save-mine/files",
        ] {
            fs::create_dir_all(inside(name)).unwrap();
        }
        let newest = folder.newest(|path| Ok(path.to_path_buf())).unwrap();
        assert_eq!(newest, Some(folder.path_of(5)));
        let names = fs::read_dir(&folder.path).unwrap();
        let mut names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(
            names,
            [
                ".checkpoint-7.bert-save-mine",
                ".checkpoint-x.bert-save-4000000-0",
                "checkpoint-4",
                "checkpoint-5",
            ]
        );
    }

    #[test]
    fn only_checkpoints_are_removed_and_the_newest_stay() {
        let (_scratch, folder) = folder(2);
        for step in [1, 2, 3, 4, 9] {
            fs::create_dir(folder.path_of(step)).unwrap();
            if step != 2 {
                fs::write(folder.path_of(step).join(DESCRIPTION), "{}").unwrap();
            }
        }
        fs::create_dir(folder.path.join(".removed-checkpoint-0")).unwrap();
        fs::create_dir(folder.path.join(".removed-checkpoint-mine")).unwrap();
        folder.prune(4);
        // 1 went; 2 has nothing of ours; 9 is beyond the run.
        assert_eq!(folder.steps().unwrap(), [9, 4, 3, 2]);
        assert!(!folder.path.join(".removed-checkpoint-0").exists());
        assert!(folder.path.join(".removed-checkpoint-mine").exists());
    }
}
