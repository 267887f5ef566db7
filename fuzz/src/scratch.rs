//! A directory in memory for what the library reads by its path; the same one for every input.

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// A directory of this process, which is never entered by another. It stays when the fuzzer ends: libFuzzer leaves by
/// `_exit`; run.sh removes it.
pub fn directory(name: &str) -> PathBuf {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    let root = ROOT.get_or_init(|| {
        let parent = std::env::var_os("LIBBERT_FUZZ_SCRATCH").map(PathBuf::from);
        let parent = parent.unwrap_or_else(|| {
            let memory = PathBuf::from("/dev/shm");
            if memory.is_dir() {
                memory
            } else {
                std::env::temp_dir()
            }
        });
        parent.join(format!("libbert-fuzz-{}", std::process::id()))
    });
    root.join(name)
}

/// The path of that name, where nothing is.
pub fn absent(name: &str) -> PathBuf {
    let path = directory(name);
    let _ = fs::remove_dir_all(&path);
    path
}

/// An empty directory of that name.
pub fn empty(name: &str) -> PathBuf {
    let path = absent(name);
    fs::create_dir_all(&path).expect("the scratch directory is writable");
    path
}

/// Writes a file.
pub fn write(directory: &Path, name: &str, bytes: &[u8]) {
    use std::io::Write;
    fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(directory.join(name))
        .and_then(|mut file| file.write_all(bytes))
        .expect("the scratch directory is writable");
}
