//! Fuzz targets of libbert, all in one libFuzzer program: `LIBBERT_FUZZ` names the one that runs. See README.md.

// libFuzzer brings its own.
#![no_main]

mod harness;
mod input;
mod oracle;
mod scratch;
mod small_model;
mod targets;

use std::io::Write;
use std::path::PathBuf;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use targets::{TARGETS, Target};

static TARGET: OnceLock<&'static Target> = OnceLock::new();

/// Chooses the target, or does what `LIBBERT_FUZZ` asks for instead: `list` prints every target's name and its longest
/// input's length,
/// `seeds DIRECTORY` writes every target's first inputs and its dictionary.
fn start() {
    let chosen = std::env::var("LIBBERT_FUZZ").unwrap_or_default();
    if chosen == "list" {
        for target in TARGETS {
            println!("{} {}", target.name, target.most_bytes);
        }
        std::process::exit(0);
    }
    harness::initialise();
    if let Some(directory) = chosen.strip_prefix("seeds ") {
        write_seeds(PathBuf::from(directory)).expect("the directory is writable");
        std::process::exit(0);
    }
    let Some(target) = TARGETS.iter().find(|target| target.name == chosen) else {
        eprintln!("LIBBERT_FUZZ is '{chosen}'; LIBBERT_FUZZ=list prints the targets.");
        std::process::exit(2);
    };
    let _ = TARGET.set(target);
}

fn write_seeds(directory: PathBuf) -> std::io::Result<()> {
    for target in TARGETS {
        let own = directory.join(target.name);
        std::fs::create_dir_all(&own)?;
        for (number, seed) in (target.seeds)().iter().enumerate() {
            std::fs::write(own.join(format!("seed-{number:02}")), seed)?;
        }
        let mut dictionary =
            std::fs::File::create(directory.join(format!("{}.dict", target.name)))?;
        for word in target.words.iter().copied().chain(input::MARKS) {
            let escaped: String = word.iter().map(|byte| format!("\\x{byte:02x}")).collect();
            writeln!(dictionary, "\"{escaped}\"")?;
        }
    }
    Ok(())
}

fuzz_target!(init: start(), |data: &[u8]| {
    if let Some(target) = TARGET.get() {
        harness::within_limits(|| (target.run)(data));
    }
});
