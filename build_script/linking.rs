//! How the shared library is linked on Linux: its soname `libbert.so.N` with the ABI's number N, the symbol version
//! `BERT_N` on every function, and links of the soname's name beside the library that cargo writes.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

/// The name of the file that cargo writes.
const FILE: &str = "libbert.so";

/// Tells cargo the options for the shared library; nothing else that is linked gets them.
pub fn link(root: &Path, out: &Path) {
    if variable("CARGO_CFG_TARGET_OS") != "linux" {
        return;
    }
    let number = abi_number(root);
    let soname = format!("{FILE}.{number}");
    option(format!("-Wl,-soname,{soname}"));
    // Worker threads outlive every handle: the code must stay where it is after dlclose.
    option("-Wl,-z,nodelete");
    name_versions(out, &format!("BERT_{number}"));
    put_links(out, &soname);
}

fn option(text: impl AsRef<str>) {
    println!("cargo:rustc-cdylib-link-arg={}", text.as_ref());
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_default()
}

/// The ABI's number, from the line of the source that everybody has it from.
fn abi_number(root: &Path) -> u32 {
    let path = root.join("src/capi/global.rs");
    let source = fs::read_to_string(&path).unwrap_or_default();
    source
        .lines()
        .find_map(|line| line.strip_prefix("pub const BERT_ABI_VERSION: u32 = "))
        .and_then(|rest| rest.trim_end().strip_suffix(';'))
        .and_then(|number| number.parse().ok())
        .unwrap_or_else(|| {
            panic!(
                "{} has no line 'pub const BERT_ABI_VERSION: u32 = …;'",
                path.display()
            )
        })
}

// ---- Symbol versions ------------------------------------------------------------------------------------------------

/// What became of a trial library.
enum Trial {
    HasVersion,
    HasNone,
    /// For this target rustc makes no shared libraries, as for musl's with everything static.
    IsntMade,
    /// It can't be linked, and what rustc said of it.
    Failed(String),
}

/// Has the linker called by build_script/linker.sh, which says why and how, where a trial shows that this works. Where
/// it doesn't, the library is whole, but for the symbol versions.
fn name_versions(out: &Path, version: &str) {
    let script = out.join("linker.sh");
    let Ok(path) = write_script(&script, version) else {
        println!(
            "cargo:warning={FILE} gets no symbol versions: {} can't be written.",
            script.display()
        );
        return;
    };
    let ways = [
        vec!["-wrapper".to_string(), path.clone()],
        vec![format!("--ld-path={path}")],
    ];
    for way in ways {
        match try_linking(out, version, &way) {
            Trial::HasVersion => return way.iter().for_each(option),
            Trial::IsntMade => return,
            Trial::HasNone | Trial::Failed(_) => {}
        }
    }
    if let Trial::Failed(message) = try_linking(out, version, &[])
        && (message.contains("linker `") || message.contains("linking with `"))
    {
        // Nothing can be linked, so that this is `cargo check`, perhaps for another target. Next time there may be a
        // linker: a file that isn't there counts as changed.
        let missing = out.join("a linker");
        println!("cargo:rerun-if-changed={}", missing.display());
        return;
    }
    println!(
        "cargo:warning={FILE} gets no symbol versions ({version}): neither gcc's option -wrapper nor clang's --ld-path \
         works with the linker for {}. It is complete otherwise.",
        variable("TARGET")
    );
}

/// Gives the script's path as text, which options are.
fn write_script(script: &Path, version: &str) -> io::Result<String> {
    let text = include_str!("linker.sh").replace("@VERSION@", version);
    fs::write(script, text)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(script, fs::Permissions::from_mode(0o755))?;
    }
    let path = script.to_str().ok_or(io::ErrorKind::InvalidFilename)?;
    Ok(path.to_string())
}

/// Links a library of one function as cargo will have this one linked: by the same compiler, linker and flags.
fn try_linking(out: &Path, version: &str, options: &[String]) -> Trial {
    let source = out.join("trial.rs");
    let library = out.join("trial.so");
    let _ = fs::remove_file(&library);
    let text = "#![no_std]\n\
                #[panic_handler]\n\
                fn panic(_: &core::panic::PanicInfo<'_>) -> ! {\n    loop {}\n}\n\
                #[unsafe(no_mangle)]\n\
                pub extern \"C\" fn bert_trial() {}\n";
    if let Err(error) = fs::write(&source, text) {
        return Trial::Failed(error.to_string());
    }
    let mut command = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    command.args([
        "--edition=2024",
        "--crate-type=cdylib",
        "--crate-name=trial",
    ]);
    if env::var_os("TARGET") != env::var_os("HOST") {
        command.arg("--target").arg(variable("TARGET"));
    }
    if let Some(linker) = env::var_os("RUSTC_LINKER") {
        let mut option = OsString::from("-Clinker=");
        option.push(linker);
        command.arg(option);
    }
    let flags = variable("CARGO_ENCODED_RUSTFLAGS");
    command.args(flags.split('\x1f').filter(|flag| !flag.is_empty()));
    // Last, so that no flag undoes them.
    command.args(["-Cpanic=abort", "--cap-lints=allow"]);
    command.args(options.iter().map(|option| format!("-Clink-arg={option}")));
    command.arg(&source).arg("-o").arg(&library);
    match command.output() {
        Err(error) => Trial::Failed(error.to_string()),
        Ok(output) if !output.status.success() => {
            Trial::Failed(String::from_utf8_lossy(&output.stderr).into_owned())
        }
        Ok(_) => match fs::read(&library) {
            Err(_) => Trial::IsntMade,
            // The name stands among the library's strings exactly if the version is defined.
            Ok(bytes) if has_string(&bytes, version) => Trial::HasVersion,
            Ok(_) => Trial::HasNone,
        },
    }
}

fn has_string(bytes: &[u8], text: &str) -> bool {
    bytes
        .split(|&byte| byte == 0)
        .any(|string| string == text.as_bytes())
}

// ---- The soname's file ----------------------------------------------------------------------------------------------

/// A program that was linked to the library asks the loader for a file of the soname's name. cargo writes none: a link
/// of that name is put beside the library, where `cargo build` leaves it and where the tests find it.
fn put_links(out: &Path, soname: &str) {
    // OUT_DIR is below the folder `build`, which is beside the library.
    let build = out.ancestors().find(|folder| folder.ends_with("build"));
    let Some(profile) = build.and_then(Path::parent) else {
        println!(
            "cargo:warning=There is no link {soname} beside {FILE}: it isn't known where cargo puts the library."
        );
        return;
    };
    for folder in [profile.to_path_buf(), profile.join("deps")] {
        if !folder.is_dir() {
            continue;
        }
        if let Err(error) = put_link(&folder, soname) {
            println!(
                "cargo:warning=There is no link {soname} to {FILE} in {}: {error}. A program that was linked to the \
                 library needs one there.",
                folder.display()
            );
        }
    }
}

#[cfg(unix)]
fn put_link(folder: &Path, soname: &str) -> io::Result<()> {
    // A link of an earlier number would lead to a library that isn't that one.
    for entry in fs::read_dir(folder)?.flatten() {
        let name = entry.file_name();
        let number = name
            .to_str()
            .and_then(|name| name.strip_prefix(FILE)?.strip_prefix('.'));
        let is_soname =
            number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()));
        if is_soname && name.to_str() != Some(soname) && leads_to_library(&entry.path()) {
            fs::remove_file(entry.path())?;
        }
    }
    let link = folder.join(soname);
    if leads_to_library(&link) {
        return Ok(());
    }
    // Put in place at once: another build may look for it.
    let fresh = folder.join(format!("{soname}.{}", std::process::id()));
    std::os::unix::fs::symlink(FILE, &fresh)?;
    fs::rename(&fresh, &link).inspect_err(|_| {
        let _ = fs::remove_file(&fresh);
    })
}

#[cfg(unix)]
fn leads_to_library(link: &Path) -> bool {
    fs::read_link(link).is_ok_and(|target| target == Path::new(FILE))
}

#[cfg(not(unix))]
fn put_link(_: &Path, _: &str) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
