//! Writes the C header from the source into `OUT_DIR` (a test compares it with `include/bert.h`), names the build, and
//! sets the linker's options for the shared library.

use std::collections::hash_map::DefaultHasher;
use std::env;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

#[path = "build_script/header.rs"]
mod header;
#[path = "build_script/linking.rs"]
mod linking;

fn main() {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets it"));
    for watched in [
        "build.rs",
        "build_script",
        "cbindgen.toml",
        "src",
        "Cargo.toml",
        "Cargo.lock",
    ] {
        println!("cargo:rerun-if-changed={watched}");
    }
    header::write(&root, &out);
    println!(
        "cargo:rustc-env=BERT_HEADER={}",
        out.join("bert.h").display()
    );
    println!("cargo:rustc-env=BERT_BUILD_INFO={}", build_info(&root));
    linking::link(&root, &out);
    if env::var_os("CARGO_FEATURE_CUDA").is_some() {
        compile_kernels(&root, &out);
    }
}

/// Version, profile, target, features, and a number that changes with the source.
fn build_info(root: &Path) -> String {
    let mut hasher = DefaultHasher::new();
    let mut files = vec![root.join("Cargo.lock"), root.join("build.rs")];
    collect(&root.join("build_script"), &mut files);
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

/// The GPU's kernels for the common architectures, and in the form that a newer GPU's driver compiles itself.
fn compile_kernels(root: &Path, out: &Path) {
    let nvcc = nvcc();
    let version = Command::new(&nvcc).arg("--version").output();
    let text = version.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    // "Cuda compilation tools, release 13.0, V13.0.88"
    let release = text.as_deref().unwrap_or_default().split("release ").nth(1);
    let Some(release) = release.and_then(|rest| rest.split(',').next()) else {
        panic!(
            "The feature cuda needs CUDA's compiler, and '{}' doesn't run. Install the CUDA toolkit and set CUDA_HOME to \
             it, or let scripts/cuda-toolkit.sh get the compiler: eval \"$(scripts/cuda-toolkit.sh)\"",
            nvcc.display()
        );
    };
    println!("cargo:rustc-env=BERT_CUDA_VERSION={release}");
    // The driver's header, for the tests' own driver.
    let toolkit = nvcc.canonicalize().unwrap_or_default();
    let toolkit = toolkit.ancestors().nth(2).unwrap_or(root);
    println!(
        "cargo:rustc-env=BERT_CUDA_INCLUDE={}",
        toolkit.join("include").display()
    );
    let mut command = Command::new(&nvcc);
    command.args(["-std=c++17", "-O3", "--fatbin"]);
    for (virtual_architecture, code) in [
        ("compute_80", "sm_80"),
        ("compute_90", "sm_90"),
        ("compute_80", "compute_80"),
    ] {
        command.arg(format!("-gencode=arch={virtual_architecture},code={code}"));
    }
    command
        .arg("-o")
        .arg(out.join("kernels.fatbin"))
        .arg(root.join("src/cuda/kernels/kernels.cu"));
    let status = command.status().expect("nvcc ran before");
    assert!(status.success(), "nvcc can't compile the kernels: {status}");
}

fn nvcc() -> PathBuf {
    let variables = ["CUDA_HOME", "CUDA_PATH"];
    for variable in variables {
        println!("cargo:rerun-if-env-changed={variable}");
    }
    let homes = variables.into_iter().filter_map(env::var_os);
    homes
        .map(|home| PathBuf::from(home).join("bin/nvcc"))
        .chain(
            env::split_paths(&env::var_os("PATH").unwrap_or_default())
                .map(|directory| directory.join("nvcc")),
        )
        .chain([PathBuf::from("/usr/local/cuda/bin/nvcc")])
        .find(|nvcc| nvcc.is_file())
        .unwrap_or_else(|| PathBuf::from("nvcc"))
}
