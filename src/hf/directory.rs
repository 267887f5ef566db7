//! A model directory on disk. A save is written beside the target, flushed, and put in its place in one step, so that
//! an older model is there, whole, until the new one is.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use candle_core::Device;
use nix::fcntl::{AT_FDCWD, OFlag, RenameFlags, openat, renameat2};
use nix::sys::stat::Mode;
use serde_json::json;

use super::checkpoint::{Checkpoint, TensorFile};
use super::files::{MAX_JSON_BYTES, create_file, read_file, read_open_file, sync_directory};
use super::pickle::StateDict;
use super::weights::{Source, Weights, header, write_values};
use super::{LoadOptions, assemble, config, config_json};
use crate::classifier::Classifier;
use crate::device;
use crate::error::{Error, Result};
use crate::text::{BertNormalization, Tokenizer, TokenizerKind};

const CONFIG: &str = "config.json";
const WEIGHTS: &str = "model.safetensors";
const WEIGHTS_INDEX: &str = "model.safetensors.index.json";
const STATE_DICT: &str = "pytorch_model.bin";
const TOKENIZER: &str = "tokenizer.json";
const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
const SPECIAL_TOKENS: &str = "special_tokens_map.json";
const VOCABULARY: &str = "vocab.txt";

/// Every file that a save writes; others in the directory are the user's.
const OURS: [&str; 6] = [
    CONFIG,
    WEIGHTS,
    TOKENIZER,
    TOKENIZER_CONFIG,
    SPECIAL_TOKENS,
    VOCABULARY,
];

/// An open directory: all files come from the one that was there at the beginning, also where a save puts another in its
/// place meanwhile.
struct Directory<'a> {
    open: File,
    path: &'a Path,
    /// Where PyTorch's file would be.
    state_dict: PathBuf,
}

impl<'a> Directory<'a> {
    fn open(path: &'a Path) -> Result<Directory<'a>> {
        let open = File::open(path).map_err(|error| Error::io("open the model", path, &error))?;
        if !open.metadata().is_ok_and(|m| m.is_dir()) {
            return Err(Error::Io(format!(
                "'{}' is a file; a model is a directory with {CONFIG}, {WEIGHTS} and {TOKENIZER}.",
                path.display()
            )));
        }
        Ok(Directory {
            open,
            path,
            state_dict: path.join(STATE_DICT),
        })
    }

    /// Whether the path names another directory by now.
    fn was_replaced(&self) -> bool {
        let now = fs::metadata(self.path);
        let (Ok(now), Ok(opened)) = (now, self.open.metadata()) else {
            return true;
        };
        (now.dev(), now.ino()) != (opened.dev(), opened.ino())
    }

    /// A regular file, or `None` where there is none of that name.
    fn file(&self, name: &str) -> Result<Option<File>> {
        let path = self.path.join(name);
        // Not blocking: opening a pipe would wait for its other end.
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        let opened = loop {
            match openat(&self.open, name, flags, Mode::empty()) {
                // A signal of the host's came in between.
                Err(nix::Error::EINTR) => {}
                opened => break opened,
            }
        };
        let file = match opened {
            Ok(file) => File::from(file),
            Err(nix::Error::ENOENT) => return Ok(None),
            Err(errno) => return Err(Error::io("read", &path, &errno.into())),
        };
        if !file.metadata().is_ok_and(|m| m.is_file()) {
            return Err(Error::Format(format!(
                "'{}' is not a regular file.",
                path.display()
            )));
        }
        Ok(Some(file))
    }

    /// A small file's bytes, or `None`.
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        match self.file(name)? {
            Some(file) => read_open_file(file, &self.path.join(name), MAX_JSON_BYTES).map(Some),
            None => Ok(None),
        }
    }

    fn missing(&self, what: &str) -> Error {
        Error::Io(format!(
            "The model directory '{}' has no {what}.",
            self.path.display()
        ))
    }

    /// A JSON object's text, or `None` where there is no such file.
    fn json(&self, name: &str) -> Result<Option<serde_json::Value>> {
        let Some(bytes) = self.read(name)? else {
            return Ok(None);
        };
        super::json::from_slice(&bytes, self.path.join(name).display()).map(Some)
    }

    /// The opened weights: one file, the shards of an index, or PyTorch's file.
    fn weights(&self) -> Result<Vec<TensorFile<'_>>> {
        let open = |name: &str| -> Result<Option<TensorFile<'_>>> {
            let Some(file) = self.file(name)? else {
                return Ok(None);
            };
            let path = self.path.join(name);
            let length = file
                .metadata()
                .map_err(|error| Error::io("read", &path, &error))?
                .len();
            let weights = Weights::open(Source::File { file, length, path })?;
            Ok(Some(TensorFile::Safetensors(weights)))
        };
        if let Some(weights) = open(WEIGHTS)? {
            return Ok(vec![weights]);
        }
        let Some(index) = self.json(WEIGHTS_INDEX)? else {
            let Some(file) = self.file(STATE_DICT)? else {
                return Err(self.missing(&format!("{WEIGHTS}, {WEIGHTS_INDEX} or {STATE_DICT}")));
            };
            let name = format!("'{}'", self.state_dict.display());
            let dict = StateDict::open(file, &self.state_dict)?;
            return Ok(vec![TensorFile::StateDict(dict, name)]);
        };
        let wrong = |what: &str| {
            Error::Format(format!(
                "'{}' {what}.",
                self.path.join(WEIGHTS_INDEX).display()
            ))
        };
        let map = index
            .get("weight_map")
            .and_then(serde_json::Value::as_object)
            .ok_or_else(|| wrong("has no object \"weight_map\""))?;
        let mut names = map
            .values()
            .map(|name| {
                name.as_str()
                    .ok_or_else(|| wrong("names a shard that is not a text"))
            })
            .collect::<Result<Vec<&str>>>()?;
        names.sort_unstable();
        names.dedup();
        names
            .into_iter()
            .map(|name| {
                // A shard lies in the directory itself: no path leads out of it.
                if name.is_empty() || name.contains(['/', '\0']) || name == ".." {
                    return Err(wrong(&format!(
                        "names the shard '{name}', which is not a file name"
                    )));
                }
                open(name)?.ok_or_else(|| self.missing(&format!("'{name}', which its index names")))
            })
            .collect()
    }

    /// The tokenizer, and `model_max_length` where tokenizer_config.json tells it.
    fn tokenizer(&self) -> Result<(Tokenizer, Option<usize>)> {
        let config = self.json(TOKENIZER_CONFIG)?.unwrap_or_default();
        // Published files hold 1e30 for "no limit": a number that isn't a size says nothing.
        let max_length = config
            .get("model_max_length")
            .and_then(serde_json::Value::as_u64)
            .and_then(|n| usize::try_from(n).ok());
        if let Some(json) = self.read(TOKENIZER)? {
            return Ok((Tokenizer::from_json(&json)?, max_length));
        }
        let Some(vocabulary) = self.read(VOCABULARY)? else {
            return Err(self.missing(&format!("{TOKENIZER} or {VOCABULARY}")));
        };
        let flag = |key: &str| config.get(key).and_then(serde_json::Value::as_bool);
        let options = BertNormalization {
            lowercase: flag("do_lower_case").unwrap_or(true),
            strip_accents: flag("strip_accents"),
            handle_chinese_chars: flag("tokenize_chinese_chars").unwrap_or(true),
            clean_text: true,
        };
        Ok((
            Tokenizer::from_vocab_txt(&vocabulary, &options)?,
            max_length,
        ))
    }
}

/// Reads a model directory: one that [`save_directory`] wrote, or a published BERT's.
pub fn load_directory(path: &Path, options: &LoadOptions) -> Result<Classifier> {
    let device = device::from_name(&options.device)?;
    for _ in 0..MAX_ATTEMPTS {
        let directory = Directory::open(path)?;
        let loaded = load_open_directory(&directory, &device, options);
        // A save that put another directory in this one's place meanwhile has removed this one's files.
        if loaded.is_ok() || !directory.was_replaced() {
            return loaded;
        }
    }
    Err(Error::Io(format!(
        "'{}' was replaced by another save each time while it was read; try again when fewer saves go on.",
        path.display()
    )))
}

fn load_open_directory(
    directory: &Directory<'_>,
    device: &Device,
    options: &LoadOptions,
) -> Result<Classifier> {
    let json = directory
        .read(CONFIG)?
        .ok_or_else(|| directory.missing(CONFIG))?;
    let name = directory.path.join(CONFIG).display().to_string();
    let description = config::read(&json, &name)?;
    let (tokenizer, max_length) = directory.tokenizer()?;
    let checkpoint = Checkpoint::new(directory.weights()?)?;
    let classifier = assemble(description, tokenizer, checkpoint, device.clone(), options)?;
    Ok(classifier.with_max_length(max_length))
}

/// Writes a model directory. The target may be absent, an empty directory, or a model of ours, which is replaced;
/// files in it that aren't ours stay. Anything else is refused. A symbolic link is followed.
pub fn save_directory(classifier: &Classifier, path: &Path) -> Result<()> {
    let target = check_save(path)?;
    let parent = parent(&target);
    let beside = beside(&target);
    let result = write_files(classifier, &beside)
        .and_then(|()| sync_directory(&beside))
        .and_then(|()| put_in_place(&beside, &target))
        .and_then(|()| sync_directory(&parent));
    // After an exchange the older model lies beside; after a failure, what was written of the new one.
    let _ = fs::remove_dir_all(&beside);
    result
}

/// Whether a model could be saved to that path as things stand, and the directory that is meant: it is absent and its
/// parent is there, or it is empty, or a model of ours.
pub fn check_save(path: &Path) -> Result<PathBuf> {
    let target = resolve(path)?;
    if std::env::current_dir().is_ok_and(|here| here == target) {
        return Err(Error::Io(
            "The model can't be saved over the current directory, which would vanish below its users; name a directory \
             inside it."
                .into(),
        ));
    }
    check_target(&target)?;
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

/// The directory that is meant, symbolic links followed.
fn resolve(path: &Path) -> Result<PathBuf> {
    if path.as_os_str().is_empty() {
        return Err(Error::InvalidArgument(
            "The path is empty; give the directory that the model shall be written to.".into(),
        ));
    }
    match fs::canonicalize(path) {
        Ok(target) => Ok(target),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            if fs::symlink_metadata(path).is_ok() {
                return Err(Error::Io(format!(
                    "'{}' is a symbolic link to nowhere; create its target or remove it.",
                    path.display()
                )));
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

/// Whether there is something to replace; refuses what isn't ours.
fn check_target(target: &Path) -> Result<bool> {
    let mut entries = match fs::read_dir(target) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(Error::io("save to", target, &error)),
    };
    let is_ours = || {
        let json = read_file(&target.join(CONFIG), MAX_JSON_BYTES).ok()?;
        let value: serde_json::Value = super::json::from_slice(&json, CONFIG).ok()?;
        value.get(config::VERSION_KEY).map(|_| ())
    };
    if entries.next().is_some() && is_ours().is_none() {
        return Err(Error::Io(format!(
            "'{}' holds files and is not a model that this library saved; nothing was written. Save to a new or empty \
             directory.",
            target.display()
        )));
    }
    Ok(true)
}

/// A name beside the target that no other save of this or another process uses.
fn beside(target: &Path) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    target.with_file_name(format!(
        ".bert-save-{}-{}",
        std::process::id(),
        COUNT.fetch_add(1, Ordering::Relaxed)
    ))
}

/// Writes and flushes every file of the model into the new directory `into`.
fn write_files(classifier: &Classifier, into: &Path) -> Result<()> {
    fs::create_dir(into).map_err(|error| Error::io("create the directory", into, &error))?;
    let mut metadata = serde_json::Map::new();
    metadata.insert("format".into(), json!("pt"));
    let parameters = classifier.parameters();
    create_file(&into.join(WEIGHTS), |file| {
        file.write(&header(classifier.model(), metadata))?;
        write_values(&parameters.host()?, |piece| file.write(piece))
    })?;
    let tokenizer = classifier.tokenizer();
    let write =
        |name: &str, text: &str| create_file(&into.join(name), |file| file.write(text.as_bytes()));
    write(TOKENIZER, &tokenizer.to_json()?)?;
    write(TOKENIZER_CONFIG, &tokenizer_config(classifier))?;
    write(SPECIAL_TOKENS, &special_tokens(tokenizer))?;
    if tokenizer.kind() == TokenizerKind::WordPiece {
        write(VOCABULARY, &(tokenizer.tokens().join("\n") + "\n"))?;
    }
    write(CONFIG, &config_json(classifier)?)
}

/// The names of the special tokens, by transformers' keys.
fn special_token_names(tokenizer: &Tokenizer) -> serde_json::Map<String, serde_json::Value> {
    let mut names = serde_json::Map::new();
    for (key, token) in [
        ("unk_token", "[UNK]"),
        ("sep_token", "[SEP]"),
        ("pad_token", "[PAD]"),
        ("cls_token", "[CLS]"),
        ("mask_token", "[MASK]"),
    ] {
        if tokenizer.token_to_id(token).is_some() {
            names.insert(key.into(), json!(token));
        }
    }
    names
}

fn special_tokens(tokenizer: &Tokenizer) -> String {
    format!(
        "{:#}\n",
        serde_json::Value::Object(special_token_names(tokenizer))
    )
}

/// tokenizer_config.json. `BertTokenizer` would rebuild any other kind as WordPiece with other ids.
fn tokenizer_config(classifier: &Classifier) -> String {
    let tokenizer = classifier.tokenizer();
    let mut object = special_token_names(tokenizer);
    let class = if tokenizer.kind() == TokenizerKind::WordPiece {
        object.insert("do_lower_case".into(), json!(tokenizer.lowercase()));
        "BertTokenizer"
    } else {
        "PreTrainedTokenizerFast"
    };
    object.insert("tokenizer_class".into(), json!(class));
    object.insert(
        "model_input_names".into(),
        json!(["input_ids", "token_type_ids", "attention_mask"]),
    );
    object.insert(
        "model_max_length".into(),
        json!(classifier.max_length(0).unwrap_or_default()),
    );
    format!("{:#}\n", serde_json::Value::Object(object))
}

/// Brings the user's own files from the older directory into the new one, as links to the same data where the file
/// system can, else as copies; and the older one's permissions. Directories among them are refused, since they can't be
/// in both places at once.
fn carry_over(old: &Path, new: &Path) -> Result<()> {
    let fail = |action: &'static str, path: &Path| {
        let path = path.to_path_buf();
        move |error: std::io::Error| Error::io(action, &path, &error)
    };
    let permissions = fs::metadata(old).map_err(fail("read", old))?.permissions();
    fs::set_permissions(new, permissions).map_err(fail("set the permissions of", new))?;
    for entry in fs::read_dir(old).map_err(fail("read", old))? {
        let entry = entry.map_err(fail("read", old))?;
        let (name, from) = (entry.file_name(), entry.path());
        let to = new.join(&name);
        let metadata = match fs::symlink_metadata(&from) {
            // Another save has put another directory in this one's place.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            metadata => metadata.map_err(fail("read", &from))?,
        };
        if OURS.iter().any(|ours| name == *ours) {
            if to.exists() && metadata.is_file() {
                fs::set_permissions(&to, metadata.permissions())
                    .map_err(fail("set the permissions of", &to))?;
            }
            continue;
        }
        if metadata.is_dir() {
            return Err(Error::Io(format!(
                "'{}' is a directory inside the model that would be replaced; move it elsewhere, or save to a new \
                 directory. Nothing was changed.",
                from.display()
            )));
        }
        // What an earlier attempt linked is linked again.
        let _ = fs::remove_file(&to);
        if fs::hard_link(&from, &to).is_err() {
            fs::copy(&from, &to).map_err(fail("carry over", &from))?;
        }
    }
    Ok(())
}

/// How often a save or a load starts anew because another save came in between.
const MAX_ATTEMPTS: usize = 100;

/// Gives the new directory the target's name. Another save may do the same at the same time: the last one stays.
fn put_in_place(new: &Path, target: &Path) -> Result<()> {
    let fail = |error: std::io::Error| Error::io("put the model in place at", target, &error);
    for _ in 0..MAX_ATTEMPTS {
        if !check_target(target)? {
            match fs::rename(new, target) {
                Ok(()) => return Ok(()),
                Err(error) if is_in_between(&error) => continue,
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
        match exchange(new, target) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(fail(error)),
        }
    }
    Err(Error::Io(format!(
        "'{}' was replaced by another save each time; try again when fewer saves go on.",
        target.display()
    )))
}

/// Whether a rename failed because somebody else has made the target since.
fn is_in_between(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    matches!(
        error.kind(),
        ErrorKind::AlreadyExists | ErrorKind::DirectoryNotEmpty
    )
}

/// One step where the file system can exchange two directories; else two renames, with the older model's name free in
/// between.
fn exchange(new: &Path, target: &Path) -> std::io::Result<()> {
    match renameat2(
        AT_FDCWD,
        new,
        AT_FDCWD,
        target,
        RenameFlags::RENAME_EXCHANGE,
    ) {
        Ok(()) => return Ok(()),
        Err(nix::Error::EINVAL | nix::Error::ENOSYS) => {}
        Err(errno) => return Err(errno.into()),
    }
    let mut aside = new.as_os_str().to_owned();
    aside.push("-old");
    let aside = PathBuf::from(aside);
    fs::rename(target, &aside)?;
    if let Err(error) = fs::rename(new, target) {
        // The older model goes back to its name.
        let _ = fs::rename(&aside, target);
        return Err(error);
    }
    let _ = fs::remove_dir_all(&aside);
    Ok(())
}
