//! Reads a model directory. What a save wrote is held against the checksums in its manifest, each file as it is read.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::device::Device;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use super::checked_file::{CheckedFile, refuse_lfs_pointer};
use super::checkpoint::{Checkpoint, TensorFile};
use super::files::{MAX_JSON_BYTES, read_open_file, regular_length};
use super::manifest::{MANIFEST, MAX_MANIFEST_BYTES, Manifest, is_file_name};
use super::pickle::StateDict;
use super::save::CHECKPOINT_FILES;
use super::staging::{MAX_ATTEMPTS, has_saves_beside, recover};
use super::weights::{Source, Weights};
use super::{LoadOptions, PlanNumbers, assemble, config, sentence_transformers, tokenizer_files};
use crate::classifier::Classifier;
use crate::device;
use crate::error::{Error, Result};
use crate::text::Tokenizer;

pub const CONFIG: &str = "config.json";
pub const WEIGHTS: &str = "model.safetensors";
pub const WEIGHTS_INDEX: &str = "model.safetensors.index.json";
pub const STATE_DICT: &str = "pytorch_model.bin";
pub const STATE_DICT_INDEX: &str = "pytorch_model.bin.index.json";
pub const TOKENIZER: &str = "tokenizer.json";
pub const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
pub const SPECIAL_TOKENS: &str = "special_tokens_map.json";
pub const VOCABULARY: &str = "vocab.txt";

/// An open directory: all files come from the one that was there at the beginning, also where a save puts another in its
/// place meanwhile.
pub(crate) struct Directory {
    open: File,
    /// As the caller names it.
    path: PathBuf,
    /// What the save wrote; `None` for other people's directories.
    manifest: Option<Manifest>,
    /// The files of the manifest that were held against it, or are while they are read.
    checked: RefCell<BTreeSet<String>>,
}

impl Directory {
    /// Opens the directory and reads its manifest. Where a save stopped half-way, its new directory is opened.
    pub(crate) fn open(path: &Path) -> Result<Directory> {
        let open = open_directory(path)?;
        let metadata = open
            .metadata()
            .map_err(|error| Error::io("read", path, &error))?;
        if !metadata.is_dir() {
            return Err(Error::Io(format!(
                "'{}' is a file; a model is a directory with {CONFIG}, {WEIGHTS} and {TOKENIZER}.",
                path.display()
            )));
        }
        let mut directory = Directory {
            open,
            path: path.to_path_buf(),
            manifest: None,
            checked: RefCell::default(),
        };
        if let Some(file) = directory.open_file(MANIFEST)? {
            let path = path.join(MANIFEST);
            let bytes = read_open_file(file, &path, MAX_MANIFEST_BYTES)?;
            directory.manifest = Some(Manifest::parse(&bytes, &path)?);
        }
        Ok(directory)
    }

    /// Whether the path names another directory by now.
    fn was_replaced(&self) -> bool {
        let now = fs::metadata(&self.path);
        let (Ok(now), Ok(opened)) = (now, self.open.metadata()) else {
            return true;
        };
        (now.dev(), now.ino()) != (opened.dev(), opened.ino())
    }

    /// A regular file, or `None` where there is none of that name.
    fn open_file(&self, name: &str) -> Result<Option<File>> {
        let path = self.path.join(name);
        // Not blocking: opening a pipe would wait for its other end.
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        let file = loop {
            match openat(&self.open, name, flags, Mode::empty()) {
                Ok(file) => break File::from(file),
                Err(nix::Error::EINTR) => {}
                Err(nix::Error::ENOENT) => return Ok(None),
                Err(errno) => return Err(Error::io("read", &path, &errno.into())),
            }
        };
        regular_length(&file, &path)?;
        refuse_lfs_pointer(&file, &path)?;
        Ok(Some(file))
    }

    /// A regular file of any size, or `None` where there is none of that name and the save wrote none. To be told of
    /// damage the caller [finishes](CheckedFile::finish) it.
    pub(crate) fn file(&self, name: &str) -> Result<Option<CheckedFile>> {
        let saved = self.manifest.as_ref().and_then(|m| m.get(name)).cloned();
        let Some(file) = self.open_file(name)? else {
            return match saved {
                Some(_) => Err(Error::Io(format!(
                    "The model directory '{}' has no {name}, which was saved with it; copy the directory again from \
                     where it came. If the file was removed on purpose, remove {MANIFEST} as well.",
                    self.path.display()
                ))),
                None => Ok(None),
            };
        };
        if saved.is_some() {
            self.checked.borrow_mut().insert(name.to_owned());
        }
        CheckedFile::new(file, self.path.join(name), saved).map(Some)
    }

    /// A small file's bytes as they were saved, or `None`.
    pub(crate) fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let Some(mut file) = self.file(name)? else {
            return Ok(None);
        };
        if file.length() > MAX_JSON_BYTES {
            return Err(Error::Format(format!(
                "{} is larger than {MAX_JSON_BYTES} bytes; it can't be a file of this kind.",
                file.name()
            )));
        }
        let bytes = file.read(0, file.length())?;
        file.finish()?;
        Ok(Some(bytes))
    }

    /// Holds the small files that weren't read against the manifest: with those that were, the whole save. A large one
    /// that a load has no use for (beside the weights: a training's state) is left to those who read it.
    fn check_the_others(&self) -> Result<()> {
        let Some(manifest) = &self.manifest else {
            return Ok(());
        };
        for name in manifest.names() {
            let is_small = manifest
                .get(name)
                .is_some_and(|entry| entry.bytes <= MAX_JSON_BYTES);
            if is_small && !self.checked.borrow().contains(name) {
                self.read(name)?;
            }
        }
        Ok(())
    }

    /// What is wrong with the directory where a load failed with `error`: a file that isn't as it was saved, if there is
    /// one.
    fn explain(&self, error: Error) -> Error {
        let whole = |name: &str| match self.file(name)? {
            Some(mut file) => file.check_whole(),
            None => Ok(()),
        };
        let mut names = self.manifest.iter().flat_map(Manifest::names);
        names.find_map(|name| whole(name).err()).unwrap_or(error)
    }

    /// Where it is, as the caller names it.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The error that says that it lacks something.
    pub(crate) fn missing(&self, what: &str) -> Error {
        Error::Io(format!(
            "The directory '{}' has no {what}.",
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

    /// The opened weights: one file or the shards of an index, of safetensors or else of PyTorch's.
    fn weights(&self) -> Result<Vec<TensorFile<'_>>> {
        if let Some(weights) = self.tensor_file(WEIGHTS)? {
            return Ok(vec![weights]);
        }
        if let Some(shards) = self.shards(WEIGHTS_INDEX)? {
            return Ok(shards);
        }
        if let Some(weights) = self.tensor_file(STATE_DICT)? {
            return Ok(vec![weights]);
        }
        match self.shards(STATE_DICT_INDEX)? {
            Some(shards) => Ok(shards),
            None => Err(self.missing(&format!(
                "{WEIGHTS}, {WEIGHTS_INDEX}, {STATE_DICT} or {STATE_DICT_INDEX}"
            ))),
        }
    }

    /// A file of weights, by its name's end of safetensors or PyTorch's; `None` where there is none of that name.
    fn tensor_file(&self, name: &str) -> Result<Option<TensorFile<'_>>> {
        if name.ends_with(".safetensors") {
            let Some(file) = self.file(name)? else {
                return Ok(None);
            };
            let weights = Weights::open(Source::File(file))?;
            return Ok(Some(TensorFile::Safetensors(weights)));
        }
        let Some(file) = self.open_file(name)? else {
            return Ok(None);
        };
        let path = self.path.join(name);
        let shown = format!("'{}'", path.display());
        let dict = StateDict::open(file, &path)?;
        Ok(Some(TensorFile::StateDict(dict, shown)))
    }

    /// The files that an index names; `None` where there is no index of that name.
    fn shards(&self, index: &str) -> Result<Option<Vec<TensorFile<'_>>>> {
        let Some(json) = self.json(index)? else {
            return Ok(None);
        };
        let wrong =
            |what: &str| Error::Format(format!("'{}' {what}.", self.path.join(index).display()));
        let map = json
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
        let open = |name: &str| {
            // A shard lies in the directory itself: no path leads out of it.
            if !is_file_name(name) {
                return Err(wrong(&format!(
                    "names the shard '{name}', which is not a file name"
                )));
            }
            self.tensor_file(name)?
                .ok_or_else(|| self.missing(&format!("'{name}', which its index names")))
        };
        names.into_iter().map(open).collect::<Result<_>>().map(Some)
    }

    /// The tokenizer, and `model_max_length` where tokenizer_config.json tells it. `class` and `rows` are
    /// `tokenizer_class` and `vocab_size` of config.json.
    fn tokenizer(&self, class: Option<&str>, rows: usize) -> Result<(Tokenizer, Option<usize>)> {
        let files = tokenizer_files::read(|name| self.read(name))?;
        let manifest = self.manifest.as_ref();
        let origin = tokenizer_files::Origin {
            path: &|name| self.path.join(name).display().to_string(),
            class,
            rows,
            is_saved: manifest.is_some_and(|manifest| manifest.get(TOKENIZER).is_some()),
        };
        if let Some(found) = tokenizer_files::tokenizer(files, &origin)? {
            return Ok(found);
        }
        for name in tokenizer_files::SENTENCEPIECE {
            if self.open_file(name)?.is_some() {
                return Err(Error::Unsupported(format!(
                    "The directory '{}' has SentencePiece's {name} and neither {TOKENIZER} nor {VOCABULARY}; \
                     tokenizers of the types WordPiece, WordLevel and BPE load, SentencePiece's (Unigram) don't.",
                    self.path.display()
                )));
            }
        }
        Err(self.missing(&format!("{TOKENIZER} or {VOCABULARY}")))
    }
}

/// Opens what the path names; while a save of two renames goes on there, or where one stopped, its new directory.
fn open_directory(path: &Path) -> Result<File> {
    let fail = |error: std::io::Error| Error::io("open the model", path, &error);
    let mut last = ErrorKind::NotFound.into();
    let mut was_alone = false;
    for _ in 0..MAX_ATTEMPTS {
        last = match File::open(path) {
            Ok(open) => return Ok(open),
            Err(error) if error.kind() == ErrorKind::NotFound => error,
            Err(error) => return Err(fail(error)),
        };
        match recover(path) {
            Some(place) => match File::open(place) {
                Ok(open) => return Ok(open),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(fail(error)),
            },
            None if has_saves_beside(path) => {}
            // A save may have ended since the path was tried: once more.
            None if !was_alone => was_alone = true,
            None => break,
        }
    }
    Err(fail(last))
}

/// Reads a model directory: one that [`save_directory`](super::save_directory) wrote, or a published BERT's.
pub fn load_directory(path: &Path, options: &LoadOptions) -> Result<Classifier> {
    load_directory_with(path, options, |_| Ok(())).map(|(classifier, ())| classifier)
}

/// As [`load_directory`], with what `more` reads from the same directory: both are of one save.
pub(crate) fn load_directory_with<T>(
    path: &Path,
    options: &LoadOptions,
    more: impl Fn(&Directory) -> Result<T>,
) -> Result<(Classifier, T)> {
    let device = device::from_name(&options.device)?;
    read_directory(path, |directory| {
        let classifier = load_open_directory(directory, &device, options)?;
        Ok((classifier, more(directory)?))
    })
}

/// What `read` makes of a directory, all of it of one save.
pub(crate) fn read_directory<T>(path: &Path, read: impl Fn(&Directory) -> Result<T>) -> Result<T> {
    for _ in 0..MAX_ATTEMPTS {
        let directory = Directory::open(path)?;
        let loaded =
            read(&directory).and_then(|loaded| directory.check_the_others().map(|()| loaded));
        // A save that put another directory in this one's place meanwhile has removed this one's files. What agrees with
        // a manifest was read before.
        match loaded {
            Ok(loaded) if directory.manifest.is_some() || !directory.was_replaced() => {
                return Ok(loaded);
            }
            Err(error) if !directory.was_replaced() => return Err(directory.explain(error)),
            _ => {}
        }
    }
    Err(Error::Io(format!(
        "'{}' was replaced by another save each time while it was read; try again when fewer saves go on.",
        path.display()
    )))
}

fn load_open_directory(
    directory: &Directory,
    device: &Device,
    options: &LoadOptions,
) -> Result<Classifier> {
    let json = directory
        .read(CONFIG)?
        .ok_or_else(|| directory.missing(CONFIG))?;
    let name = directory.path.join(CONFIG).display().to_string();
    let description = config::read(&json, &name)?;
    let value: serde_json::Value = super::json::from_slice(&json, &name)?;
    let class = value
        .get("tokenizer_class")
        .and_then(|class| class.as_str());
    let (tokenizer, max_length) = directory.tokenizer(class, description.config.vocab_size)?;
    sentence_transformers::tell(directory);
    let checkpoint = Checkpoint::new(directory.weights()?)?;
    let classifier = assemble(description, tokenizer, checkpoint, device.clone(), options)?;
    // A directory of another library's may have a file of this name too.
    let run = match directory.manifest.is_some() && classifier.origins().initialised.is_empty() {
        true => directory.read(CHECKPOINT_FILES[0])?,
        false => None,
    };
    let run = run.and_then(|json| PlanNumbers::of_checkpoint(&json));
    Ok(classifier.with_max_length(max_length).with_run_numbers(run))
}
