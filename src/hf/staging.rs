//! Directories that are replaced in one step. A save writes into a new directory beside the target, flushes it, and
//! puts it in the target's place: somebody who loads finds the older one, whole, or the new one, whole, whenever the
//! process is killed or the power fails.
//!
//! Beside a target `NAME` a save has the directory `.NAME.bert-save-PID-N`, locked (`flock`) as long as the save lives,
//! and in it
//!
//! - `files`, while they are written: whatever happens, nothing in it is needed;
//! - `whole`, which `files` becomes with all files flushed. It is exchanged with the target in one step, so that
//!   afterwards it is the older directory;
//! - `old-N`, where the file system can't exchange two directories: the target goes there, then `whole` to the target's
//!   name. A save that is interrupted in between leaves no target, but both of the others: a load finishes it, or reads
//!   `whole` where it is, and so does the next save.
//!
//! What a save that died left is removed by the next one to the same target, once that is flushed. Nothing is ever
//! removed but what a save wrote and what the target has as well.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, RenameFlags, renameat2};
use nix::unistd::{AccessFlags, faccessat};

use super::files::{MAX_JSON_BYTES, Sink, create_file, names_in, read_file, sync_directory};
use super::manifest::{Checksum, Entry, MANIFEST, MAX_MANIFEST_BYTES, Manifest, is_file_name};
use super::{config, save};
use crate::error::{Error, Result};
use crate::log;

/// While its files are written.
const FILES: &str = "files";
/// The new directory when it is complete; after an exchange the older one.
const WHOLE: &str = "whole";
/// Begins the names that the older directory gets where it can't be exchanged.
const OLD: &str = "old-";

/// How often a save or a load starts anew because another save came in between.
pub const MAX_ATTEMPTS: usize = 100;

/// How long a save waits for its turn at most.
const LONGEST_TURN: Duration = Duration::from_secs(10);

/// What a directory of ours is.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// The file that every save of this kind writes, and no other.
    pub marker: &'static str,
    /// "a model", for messages.
    pub name: &'static str,
}

/// A model directory.
pub const MODEL: Kind = Kind {
    marker: save::CONFIG,
    name: "a model",
};

/// A directory that is being written, to be put in the target's place as a whole. Dropped without
/// [`commit`](Staging::commit) it leaves the target as it was and nothing beside it.
pub struct Staging {
    kind: Kind,
    target: PathBuf,
    /// Beside the target.
    directory: PathBuf,
    /// The open directory, locked: no other save takes it for left behind.
    _lock: File,
    manifest: Manifest,
    /// The new directory has the target's name; what is left here is the older one.
    is_placed: bool,
}

impl Staging {
    /// Begins to write a directory that shall be at `target`: see [`check_save`] for what may be there.
    pub fn create(target: &Path) -> Result<Staging> {
        Staging::create_kind(target, MODEL)
    }

    /// As [`create`](Staging::create), for a directory of another kind, which replaces none but its own.
    pub fn create_kind(target: &Path, kind: Kind) -> Result<Staging> {
        let _turn = Turn::take(target);
        let target = check_place(target, kind)?;
        recover(&target);
        let (directory, lock) = create_beside(&target)?;
        let staging = Staging {
            kind,
            target,
            directory,
            _lock: lock,
            manifest: Manifest::default(),
            is_placed: false,
        };
        let files = staging.directory.join(FILES);
        fs::create_dir(&files)
            .map_err(|error| Error::io("create the directory", &files, &error))?;
        Ok(staging)
    }

    /// Writes and flushes a file. `name` is that of no file written before.
    pub fn file(
        &mut self,
        name: &str,
        fill: impl FnOnce(&mut dyn Sink) -> Result<()>,
    ) -> Result<()> {
        if !is_file_name(name) || name == MANIFEST || self.manifest.get(name).is_some() {
            return Err(Error::Internal(format!(
                "A save was asked to write '{name}', which can't be its file's name; please report this."
            )));
        }
        let mut checksum = Checksum::new();
        let mut bytes = 0;
        create_file(&self.directory.join(FILES).join(name), |file| {
            fill(&mut |piece: &[u8]| {
                checksum.update(piece);
                bytes += piece.len() as u64;
                file.write(piece)
            })
        })?;
        let checksum = checksum.digits();
        self.manifest.insert(name, Entry { bytes, checksum });
        Ok(())
    }

    /// Writes the manifest and puts the directory in the target's place, with the files in that which no save wrote.
    /// An error leaves the target as it was, but for the one that says that the new directory is in place.
    pub fn commit(mut self) -> Result<()> {
        let files = self.directory.join(FILES);
        create_file(&files.join(MANIFEST), |file| {
            file.write(self.manifest.to_text().as_bytes())
        })?;
        let whole = self.directory.join(WHOLE);
        fs::rename(&files, &whole).map_err(|error| Error::io("rename", &files, &error))?;
        let _turn = Turn::take(&self.target);
        self.put_in_place(&whole)?;
        self.is_placed = true;
        sync_directory(&parent(&self.target)).map_err(|error| {
            // The older model stays where it is: after a loss of power it may be the one that is needed.
            Error::Io(format!(
                "'{}' holds what was saved now, but may not after a loss of power; save again. {}",
                self.target.display(),
                error.message()
            ))
        })?;
        if let Err(error) = discard(&self.directory, &self.target) {
            log::info(|| not_removed(&self.directory, &error));
        }
        sweep(&self.target);
        Ok(())
    }

    /// Gives the new directory the target's name. Another save may do the same at the same time: the last one stays.
    fn put_in_place(&self, new: &Path) -> Result<()> {
        let target = &self.target;
        let fail = |error: io::Error| Error::io("put the model in place at", target, &error);
        for attempt in 0..MAX_ATTEMPTS {
            if !check_target(target, self.kind)? {
                if attempt + 1 < MAX_ATTEMPTS && is_in_between(target) {
                    // Another save's second rename is to come.
                    std::thread::sleep(Duration::from_millis(1));
                    continue;
                }
                sync_directory(new)?;
                match fs::rename(new, target) {
                    Ok(()) => return Ok(()),
                    Err(error) if is_there_by_now(&error) => continue,
                    Err(error) => return Err(fail(error)),
                }
            }
            match carry_over(target, new) {
                Ok(()) => {}
                // The older model was replaced while its files were gone through.
                Err(_) if !target.exists() => continue,
                Err(error) => return Err(error),
            }
            sync_directory(new)?;
            let old = self.directory.join(format!("{OLD}{attempt}"));
            match exchange(new, target, &old) {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::NotFound || is_there_by_now(&error) => {}
                Err(error) => return Err(fail(error)),
            }
        }
        Err(Error::Io(format!(
            "'{}' was replaced by another save each time; try again when fewer saves go on.",
            target.display()
        )))
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // Placed, it was removed already, or is kept since the new one couldn't be flushed. With the older one here and
        // no target, a load or the next save finishes what couldn't be.
        if !self.is_placed
            && !is_interrupted(&self.directory, &self.target)
            && let Err(error) = discard(&self.directory, &self.target)
        {
            log::info(|| not_removed(&self.directory, &error));
        }
    }
}

fn not_removed(directory: &Path, error: &io::Error) -> String {
    let error = Error::io("remove", directory, error);
    format!("{} The next save tries again.", error.message())
}

/// Whether a directory could be saved to that path as things stand, and the one that is meant, symbolic links followed:
/// it is absent and its parent is there, or it is empty, or a save of ours.
pub fn check_save(path: &Path) -> Result<PathBuf> {
    let _turn = Turn::take(path);
    check_place(path, MODEL)
}

fn check_place(path: &Path, kind: Kind) -> Result<PathBuf> {
    let target = resolve(path)?;
    if std::env::current_dir().is_ok_and(|here| here == target) {
        return Err(Error::Io(
            "The model can't be saved over the current directory, which would vanish below its users; name a directory \
             inside it."
                .into(),
        ));
    }
    check_target(&target, kind)?;
    let parent = parent(&target);
    match fs::metadata(&parent) {
        Ok(metadata) if metadata.is_dir() => Ok(target),
        Ok(_) => Err(Error::Io(format!(
            "'{}' is not a directory; the model can't be saved in it.",
            parent.display()
        ))),
        Err(error) => Err(Error::io("save in", &parent, &error)),
    }
}

/// The directory that the target is in.
fn parent(target: &Path) -> PathBuf {
    match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

/// While it is there, no other save looks at what stands beside its target, or changes it: without it one save would
/// find no target between another's two renames, or see what is swept away the next moment. It is a lock (`flock`) on the
/// directory that the target is in.
struct Turn(Option<File>);

impl Turn {
    /// Waits for it. Where it can't be had, or somebody holds that lock for another reason, saves go on without it: then
    /// they start anew where another came in between.
    fn take(path: &Path) -> Turn {
        let Ok(open) = File::open(parent(&follow(path))) else {
            return Turn(None);
        };
        let started = Instant::now();
        loop {
            match open.try_lock() {
                Ok(()) => return Turn(Some(open)),
                Err(fs::TryLockError::WouldBlock) if started.elapsed() < LONGEST_TURN => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(_) => return Turn(None),
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // A child that was forked meanwhile has the open directory too, and would keep the lock.
        if let Some(open) = &self.0 {
            let _ = open.unlock();
        }
    }
}

/// The directory that is meant, symbolic links followed.
fn resolve(path: &Path) -> Result<PathBuf> {
    if path.as_os_str().is_empty() {
        return Err(Error::InvalidArgument(
            "The path is empty; give the directory that the model shall be written to.".into(),
        ));
    }
    match fs::canonicalize(path) {
        Ok(target) => Ok(target),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            if fs::symlink_metadata(path).is_ok() {
                let target = follow(path);
                return match interrupted(&target) {
                    Some(_) => Ok(target),
                    None => Err(Error::Io(format!(
                        "'{}' is a symbolic link to nowhere; create its target or remove it.",
                        path.display()
                    ))),
                };
            }
            if path.file_name().is_none() {
                return Err(Error::Io(format!(
                    "'{}' does not name a directory that could be created.",
                    path.display()
                )));
            }
            Ok(path.to_path_buf())
        }
        Err(error) => Err(Error::io("save to", path, &error)),
    }
}

/// What a path names in the end, though nothing may be there.
fn follow(path: &Path) -> PathBuf {
    let mut path = path.to_path_buf();
    // As many links as Linux follows.
    for _ in 0..40 {
        let Ok(link) = fs::read_link(&path) else {
            break;
        };
        path = parent(&path).join(link);
    }
    path
}

/// Whether there is something to replace; refuses what isn't ours.
fn check_target(target: &Path, kind: Kind) -> Result<bool> {
    let names = match names_in(target) {
        Ok(names) => names,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(Error::io("save to", target, &error)),
    };
    let is_ours =
        || written_names(target).is_some_and(|names| names.contains(OsStr::new(kind.marker)));
    if !names.is_empty() && !is_ours() {
        return Err(Error::Io(format!(
            "'{}' holds files and is not {} that this library saved; nothing was written. Save to a new or empty \
             directory.",
            target.display(),
            kind.name
        )));
    }
    match faccessat(
        AT_FDCWD,
        target,
        AccessFlags::W_OK | AccessFlags::X_OK,
        AtFlags::AT_EACCESS,
    ) {
        // Gone since.
        Ok(()) | Err(Errno::ENOENT) => Ok(true),
        Err(errno) => Err(Error::io("replace", target, &errno.into())),
    }
}

/// The names of the files that a save wrote into a directory, whether or not they are there still; `None` where the
/// directory isn't one of ours. They are in its manifest, or those of a model where that is missing or damaged.
fn written_names(directory: &Path) -> Option<BTreeSet<OsString>> {
    let path = directory.join(MANIFEST);
    let manifest = read_file(&path, MAX_MANIFEST_BYTES)
        .and_then(|bytes| Manifest::parse(&bytes, &path))
        .ok();
    let is_model = || {
        let json = read_file(&directory.join(save::CONFIG), MAX_JSON_BYTES).ok()?;
        let value: serde_json::Value = super::json::from_slice(&json, save::CONFIG).ok()?;
        value.get(config::VERSION_KEY).map(|_| ())
    };
    let mut names: BTreeSet<OsString> = match &manifest {
        Some(manifest) => manifest.names().map(OsString::from).collect(),
        None => {
            is_model()?;
            // Where a manifest is damaged the save may have been a training checkpoint.
            let more: &[&str] = match path.symlink_metadata() {
                Ok(_) => &save::CHECKPOINT_FILES,
                Err(_) => &[],
            };
            let names = save::MODEL_FILES.iter().chain(more);
            names.map(OsString::from).collect()
        }
    };
    names.insert(MANIFEST.into());
    Some(names)
}

/// Begins the names of all directories that saves to the target have beside it.
fn prefix(target: &Path) -> OsString {
    let name = target.file_name().unwrap_or_default();
    let mut prefix = OsString::from(".");
    // With what follows it must not be longer than the 255 bytes of a name.
    if name.len() <= 200 {
        prefix.push(name);
    } else {
        prefix.push(Checksum::of(name.as_bytes()));
    }
    prefix.push(".bert-save-");
    prefix
}

/// Makes a directory beside the target that no other save of this or another process has, and locks it.
fn create_beside(target: &Path) -> Result<(PathBuf, File)> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    loop {
        let mut name = prefix(target);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        name.push(format!("{}-{count}", std::process::id()));
        let directory = target.with_file_name(name);
        let fail = |error: io::Error| Error::io("create the directory", &directory, &error);
        match fs::create_dir(&directory) {
            Ok(()) => {}
            // Of a process with this number that is dead, or that lives in another container.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
            Err(error) => return Err(fail(error)),
        }
        let lock = match File::open(&directory) {
            Ok(lock) => lock,
            // Another save took it for left behind before it was open.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => {
                let _ = fs::remove_dir(&directory);
                return Err(fail(error));
            }
        };
        // Where directories can't be locked, no save takes another's for left behind.
        if !matches!(lock.try_lock(), Err(fs::TryLockError::WouldBlock))
            && is_same(&lock.metadata().map_err(fail)?, &directory)
        {
            return Ok((directory, lock));
        }
        // Another save took it for left behind before it was locked.
    }
}

/// Whether the path names that file or directory.
fn is_same(opened: &fs::Metadata, path: &Path) -> bool {
    fs::symlink_metadata(path)
        .is_ok_and(|now| (now.dev(), now.ino()) == (opened.dev(), opened.ino()))
}

/// The directories that saves to the target, alive or dead, have beside it.
fn saves_beside(target: &Path) -> Vec<PathBuf> {
    let prefix = prefix(target);
    let is_number = |digits: &[u8]| !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let is_ours = |name: &[u8]| {
        let Some(rest) = name.strip_prefix(prefix.as_bytes()) else {
            return false;
        };
        let mut numbers = rest.splitn(2, |byte| *byte == b'-');
        numbers.next().is_some_and(is_number) && numbers.next().is_some_and(is_number)
    };
    names_in(&parent(target))
        .unwrap_or_default()
        .into_iter()
        .filter(|name| is_ours(name.as_bytes()))
        .map(|name| target.with_file_name(name))
        .filter(|path| fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir()))
        .collect()
}

/// The older directories in a save's, oldest last.
fn olds(save: &Path) -> Vec<PathBuf> {
    let names = names_in(save).unwrap_or_default().into_iter();
    names
        .filter(|name| name.as_bytes().starts_with(OLD.as_bytes()))
        .map(|name| save.join(name))
        .collect()
}

/// Whether that save stopped between its two renames.
fn is_interrupted(save: &Path, target: &Path) -> bool {
    save.join(WHOLE).is_dir() && !olds(save).is_empty() && fs::symlink_metadata(target).is_err()
}

/// The save to this absent target that stopped between its two renames, if there is one.
fn interrupted(target: &Path) -> Option<PathBuf> {
    let mut saves = saves_beside(target);
    saves.retain(|save| is_interrupted(save, target));
    saves.pop()
}

/// Whether a save that is alive is between its two renames.
fn is_in_between(target: &Path) -> bool {
    interrupted(target).is_some_and(|save| lock(&save).is_none())
}

/// The open directory, locked, unless it belongs to a save that is alive.
fn lock(save: &Path) -> Option<File> {
    let open = File::open(save).ok()?;
    open.try_lock().ok()?;
    is_same(&open.metadata().ok()?, save).then_some(open)
}

/// Where the directory at `path` is to be found if a save stopped between its two renames, or is there now: `None`
/// if there is no such save. Finishes it if it is dead and the file system lets it.
pub fn recover(path: &Path) -> Option<PathBuf> {
    let target = follow(path);
    let save = interrupted(&target)?;
    let whole = save.join(WHOLE);
    let Some(_lock) = lock(&save) else {
        return Some(whole);
    };
    match fs::rename(&whole, &target) {
        Ok(()) => {
            let _ = sync_directory(&parent(&target));
            Some(target)
        }
        // Another has done it.
        Err(_) if target.exists() => Some(target),
        Err(_) => Some(whole),
    }
}

/// Whether saves to that path go on, or left something.
pub fn has_saves_beside(path: &Path) -> bool {
    !saves_beside(&follow(path)).is_empty()
}

/// Finishes or removes what saves to the target left that died, as the next save to it would.
pub fn tidy(target: &Path) {
    let _turn = Turn::take(target);
    recover(target);
    // Where it couldn't be finished, it holds all that there is.
    if interrupted(target).is_none() {
        sweep(target);
    }
}

/// The targets in a folder that saves, alive or dead, have a directory beside.
pub fn targets_in(folder: &Path) -> BTreeSet<PathBuf> {
    let names = names_in(folder).unwrap_or_default().into_iter();
    names
        .filter_map(|name| {
            let (target, _) = name
                .to_str()?
                .strip_prefix('.')?
                .rsplit_once(".bert-save-")?;
            Some(folder.join(target))
        })
        .filter(|target| !saves_beside(target).is_empty())
        .collect()
}

/// Removes what saves to the target left that died.
fn sweep(target: &Path) {
    for save in saves_beside(target) {
        let Some(_lock) = lock(&save) else {
            continue;
        };
        if let Err(error) = discard(&save, target) {
            log::info(|| not_removed(&save, &error));
        }
    }
}

/// Removes a save's directory: its own files, and of an older directory those that a save wrote or that the target has
/// as well. What else came into the older one since it was gone through moves to the target.
fn discard(save: &Path, target: &Path) -> io::Result<()> {
    // Others may write into this directory's parent: only what this user made is a save's.
    if fs::metadata(save)?.uid() != nix::unistd::geteuid().as_raw() {
        return Err(ErrorKind::PermissionDenied.into());
    }
    let files = save.join(FILES);
    match names_in(&files) {
        Ok(names) => {
            for name in names {
                fs::remove_file(files.join(name))?;
            }
            fs::remove_dir(&files)?;
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    for old in olds(save).into_iter().chain([save.join(WHOLE)]) {
        if fs::symlink_metadata(&old).is_ok_and(|metadata| metadata.is_dir()) {
            retire(&old, target)?;
        }
    }
    // Fails where there is more.
    fs::remove_dir(save)
}

/// Removes an older directory, see [`discard`].
fn retire(old: &Path, target: &Path) -> io::Result<()> {
    let written = written_names(old).unwrap_or_default();
    for name in names_in(old)? {
        let (from, to) = (old.join(&name), target.join(&name));
        let metadata = fs::symlink_metadata(&from)?;
        if written.contains(&name) && !metadata.is_dir() {
            continue;
        }
        if fs::symlink_metadata(&to).is_err() {
            fs::rename(&from, &to)?;
        } else if is_same(&metadata, &to) || is_equal(&from, &to)? {
            fs::remove_file(&from)?;
        }
        // What differs is kept, and with it this directory.
    }
    // Those which tell that the directory is ours, and what is ours in it, go last.
    let is_telling = |name: &OsString| name == save::CONFIG || name == MANIFEST;
    let (last, first): (Vec<_>, Vec<_>) = written.into_iter().partition(is_telling);
    for name in first.into_iter().chain(last) {
        match fs::remove_file(old.join(name)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    fs::remove_dir(old)
}

/// Whether both are regular files with the same bytes, or links to the same path.
fn is_equal(a: &Path, b: &Path) -> io::Result<bool> {
    let (first, second) = (fs::symlink_metadata(a)?, fs::symlink_metadata(b)?);
    if first.is_symlink() && second.is_symlink() {
        return Ok(fs::read_link(a)? == fs::read_link(b)?);
    }
    if !first.is_file() || !second.is_file() || first.len() != second.len() {
        return Ok(false);
    }
    let (mut a, mut b) = (File::open(a)?, File::open(b)?);
    let (mut one, mut other) = (Vec::new(), Vec::new());
    loop {
        one.clear();
        other.clear();
        a.by_ref().take(1 << 16).read_to_end(&mut one)?;
        b.by_ref().take(1 << 16).read_to_end(&mut other)?;
        if one != other {
            return Ok(false);
        }
        if one.is_empty() {
            return Ok(true);
        }
    }
}

/// Brings the user's own files from the older directory into the new one, as links to the same data where the file
/// system can, else as copies; and the older one's permissions. Directories among them are refused, since they can't be
/// in both places at once.
fn carry_over(old: &Path, new: &Path) -> Result<()> {
    let fail = |action: &'static str, path: &Path| {
        let path = path.to_path_buf();
        move |error: io::Error| Error::io(action, &path, &error)
    };
    let written = written_names(old).unwrap_or_default();
    let ours = written_names(new).unwrap_or_default();
    let permissions = fs::metadata(old).map_err(fail("read", old))?.permissions();
    for name in names_in(old).map_err(fail("read", old))? {
        let (from, to) = (old.join(&name), new.join(&name));
        let metadata = match fs::symlink_metadata(&from) {
            // Another save has put another directory in this one's place.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            metadata => metadata.map_err(fail("read", &from))?,
        };
        if metadata.is_dir() {
            return Err(Error::Io(format!(
                "'{}' is a directory inside the model that would be replaced; move it elsewhere, or save to a new \
                 directory. Nothing was changed.",
                from.display()
            )));
        }
        if written.contains(&name) {
            if ours.contains(&name) && metadata.is_file() {
                fs::set_permissions(&to, metadata.permissions())
                    .map_err(fail("set the permissions of", &to))?;
            }
            continue;
        }
        if ours.contains(&name) {
            return Err(Error::Io(format!(
                "'{}' is not a file that this library wrote, and the save has one of that name; move it elsewhere, or \
                 save to a new directory. Nothing was changed.",
                from.display()
            )));
        }
        // What an earlier attempt linked is linked again.
        let _ = fs::remove_file(&to);
        if fs::hard_link(&from, &to).is_err() {
            copy(&from, &to, &metadata).map_err(fail("carry over", &from))?;
        }
    }
    fs::set_permissions(new, permissions).map_err(fail("set the permissions of", new))
}

/// A copy of a regular file, flushed, or of a symbolic link; anything else is refused.
fn copy(from: &Path, to: &Path, metadata: &fs::Metadata) -> io::Result<()> {
    if metadata.is_symlink() {
        return std::os::unix::fs::symlink(fs::read_link(from)?, to);
    }
    if !metadata.is_file() {
        // Reading a pipe would wait for its writer.
        return Err(ErrorKind::Unsupported.into());
    }
    fs::copy(from, to)?;
    File::open(to)?.sync_all()
}

/// Whether a rename failed because somebody else has made the target since.
fn is_there_by_now(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::AlreadyExists | ErrorKind::DirectoryNotEmpty
    )
}

/// One step where the file system can exchange two directories; else two renames, the older directory's to `old`, with
/// its name free in between.
fn exchange(new: &Path, target: &Path, old: &Path) -> io::Result<()> {
    match renameat2(
        AT_FDCWD,
        new,
        AT_FDCWD,
        target,
        RenameFlags::RENAME_EXCHANGE,
    ) {
        Ok(()) => return Ok(()),
        // How file systems, kernels and sandboxes say that they don't know it.
        Err(Errno::EINVAL | Errno::ENOSYS | Errno::EOPNOTSUPP | Errno::EPERM) => {}
        Err(errno) => return Err(errno.into()),
    }
    // On the disk, too, neither directory may be missing in between.
    let save = parent(new);
    for directory in [&save, &parent(target)] {
        File::open(directory)?.sync_all()?;
    }
    fs::rename(target, old)?;
    let finish = || {
        File::open(&save)?.sync_all()?;
        fs::rename(new, target)
    };
    finish().inspect_err(|_| {
        // The older directory goes back to its name.
        let _ = fs::rename(old, target);
    })
}
