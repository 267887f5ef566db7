//! Writes the C header from the source into `OUT_DIR` (a test compares it with `include/bert.h`), names the build, and
//! sets the linker's options for the shared library.

use std::collections::hash_map::DefaultHasher;
use std::env;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};

fn main() {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets it"));
    for watched in [
        "build.rs",
        "cbindgen.toml",
        "src",
        "Cargo.toml",
        "Cargo.lock",
    ] {
        println!("cargo:rerun-if-changed={watched}");
    }
    write_header(&root, &out);
    println!(
        "cargo:rustc-env=BERT_HEADER={}",
        out.join("bert.h").display()
    );
    println!("cargo:rustc-env=BERT_BUILD_INFO={}", build_info(&root));
    link_options();
}

fn write_header(root: &Path, out: &Path) {
    let config =
        cbindgen::Config::from_file(root.join("cbindgen.toml")).expect("cbindgen.toml is valid");
    // The C ABI's files alone, in the order in which the header tells of them.
    let mut builder = cbindgen::Builder::new().with_config(config);
    for file in [
        "status", "global", "handles", "problem", "dataset", "model", "adapter", "trainer",
        "predict",
    ] {
        builder = builder.with_src(root.join(format!("src/capi/{file}.rs")));
    }
    // A source that doesn't parse is for the compiler to report.
    if let Ok(bindings) = builder.generate() {
        let mut header = Vec::new();
        bindings.write(&mut header);
        let text = String::from_utf8(header).expect("the source is UTF-8");
        fs::write(out.join("bert.h"), for_c(&text)).expect("OUT_DIR is writable");
    }
}

/// Rust's section about pointers says in C what every C programmer expects; its heading is Rust's, so it goes.
fn for_c(header: &str) -> String {
    header.replace(" * # Safety\n", " * Pointers:\n")
}

/// Version, profile, target, features, and a number that changes with the source.
fn build_info(root: &Path) -> String {
    let mut hasher = DefaultHasher::new();
    let mut files = vec![root.join("Cargo.lock"), root.join("build.rs")];
    collect(&root.join("src"), &mut files);
    files.sort();
    for file in &files {
        fs::read(file).unwrap_or_default().hash(&mut hasher);
    }
    let variable = |name: &str| env::var(name).unwrap_or_default();
    let cuda = if env::var_os("CARGO_FEATURE_CUDA").is_some() {
        "cpu, cuda"
    } else {
        "cpu"
    };
    format!(
        "libbert {} ({}, {}, {cuda}, source {:016x})",
        variable("CARGO_PKG_VERSION"),
        variable("PROFILE"),
        variable("TARGET"),
        hasher.finish()
    )
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files);
        } else {
            files.push(path);
        }
    }
}

fn link_options() {
    if env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        // One soname, the file's own name, whoever builds it: cargo writes no file with a version in its name.
        println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libbert.so");
        // Worker threads outlive every handle: the code must stay where it is after dlclose.
        println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    }
}
