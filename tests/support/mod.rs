//! What the tests that need something from outside share: where it is, and how its absence is told.

#![allow(dead_code)]

use std::path::{Path, PathBuf};

use libtest_mimic::{Arguments, Trial};

/// The directory of all-MiniLM-L6-v2, from the variable `BERT_TEST_MODEL`.
pub fn model() -> Option<PathBuf> {
    std::env::var_os("BERT_TEST_MODEL")
        .map(PathBuf::from)
        .filter(|path| path.join("config.json").is_file())
}

/// A file under `tests/fixtures`.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

/// A trial that needs something: it is reported as ignored where that is absent, and fails there with `BERT_NO_SKIP=1`.
pub fn trial(name: &str, is_there: bool, run: impl FnOnce() + Send + 'static) -> Trial {
    let must_run = std::env::var_os("BERT_NO_SKIP").is_some_and(|value| value == "1");
    if is_there {
        return Trial::test(name, move || {
            run();
            Ok(())
        });
    }
    Trial::test(name, || Err("what this test needs is absent".into())).with_ignored_flag(!must_run)
}

/// Runs the trials and ends the process.
pub fn main(trials: Vec<Trial>) -> ! {
    libtest_mimic::run(&Arguments::from_args(), trials).exit()
}
