//! The folder in which `train` keeps a run's newest checkpoints: `checkpoint-STEP`, each a directory of its own.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::checkpoint::DESCRIPTION;
use crate::error::{Error, Result, check_range};
use crate::log;

/// Begins a checkpoint's name; the step follows.
const PREFIX: &str = "checkpoint-";
/// Begins the name of one that is being removed.
const REMOVED_PREFIX: &str = ".removed-checkpoint-";

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
        check_range("checkpoint_keep", self.keep, 1, 1_000_000)?;
        check_range("checkpoint_minutes", self.minutes, 0.0, 1e6)
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
        let mut steps = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(fail)? {
            let name = entry.map_err(fail)?.file_name();
            steps.extend(name.to_str().and_then(step_of));
        }
        steps.sort_unstable_by(|a, b| b.cmp(a));
        Ok(steps)
    }

    /// What `read` makes of the newest checkpoint that is whole; damaged ones are passed over with a line in the log.
    pub fn newest<T>(&self, mut read: impl FnMut(&Path) -> Result<T>) -> Result<Option<T>> {
        for step in self.steps()? {
            let path = self.path_of(step);
            match read(&path) {
                Ok(found) => return Ok(Some(found)),
                Err(error @ (Error::Format(_) | Error::Io(_))) => log::warning(|| {
                    format!(
                        "The checkpoint '{}' can't be used; an older one is looked for. {}",
                        path.display(),
                        error.message()
                    )
                }),
                Err(error) => return Err(error),
            }
        }
        Ok(None)
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
        let Ok(entries) = fs::read_dir(&self.path) else {
            return;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let name = name.to_str().unwrap_or_default();
            if name.strip_prefix(REMOVED_PREFIX).is_some_and(is_number) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
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
