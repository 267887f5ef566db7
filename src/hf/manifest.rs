//! `libbert.json`: what a save wrote into a directory, each file with its size and checksum, so that a load tells a
//! flipped bit. Other programs ignore it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value;
use twox_hash::XxHash3_128;

use crate::error::{Error, Result};

/// The manifest's file name.
pub const MANIFEST: &str = "libbert.json";

/// A manifest larger than this isn't one.
pub const MAX_MANIFEST_BYTES: u64 = 1 << 20;

/// The version of the manifest that this library writes. Newer ones are refused.
const VERSION: u64 = 1;

/// Begins the last line, which the checksum of everything before its digits ends.
const CHECKSUM_KEY: &str = "  \"checksum\": \"";

/// Ends the file.
const END: &str = "\"\n}\n";

/// A running XXH3 of 128 bits: not against forgery, but no damage goes unseen, at the speed of memory.
pub struct Checksum(Box<XxHash3_128>);

impl Checksum {
    /// That of no bytes.
    pub fn new() -> Checksum {
        Checksum(Box::new(XxHash3_128::new()))
    }

    /// That of `bytes`.
    pub fn of(bytes: &[u8]) -> String {
        format!("{:032x}", XxHash3_128::oneshot(bytes))
    }

    /// Goes on with `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
    }

    /// Its 32 hexadecimal digits.
    pub fn digits(&self) -> String {
        format!("{:032x}", self.0.finish_128())
    }
}

/// The number of digits of a checksum.
pub const DIGITS: usize = 32;

/// What one file was when it was saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its size.
    pub bytes: u64,
    /// The checksum of all of them.
    pub checksum: String,
}

/// The files of one save, by their names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Manifest(BTreeMap<String, Entry>);

impl Manifest {
    /// Adds a file.
    pub fn insert(&mut self, name: &str, entry: Entry) {
        self.0.insert(name.to_owned(), entry);
    }

    /// What the file was, or `None` where the save wrote none of that name.
    pub fn get(&self, name: &str) -> Option<&Entry> {
        self.0.get(name)
    }

    /// The names of all files, the manifest's own left out.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The file's text. Its last value is the checksum of all that stands before.
    pub fn to_text(&self) -> String {
        let mut text = format!("{{\n  \"libbert_manifest_version\": {VERSION},\n  \"files\": {{");
        for (index, (name, entry)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let (name, bytes) = (Value::from(name.as_str()), entry.bytes);
            // Writing to a `String` can't fail.
            let _ = write!(
                text,
                "{comma}\n    {name}: {{\"bytes\": {bytes}, \"xxh3_128\": \"{}\"}}",
                entry.checksum
            );
        }
        text += "\n  },\n";
        text += CHECKSUM_KEY;
        let checksum = Checksum::of(text.as_bytes());
        text + &checksum + END
    }

    /// Reads it back; `path` is for messages. Every byte counts: the smallest change is told.
    pub fn parse(bytes: &[u8], path: &Path) -> Result<Manifest> {
        let damaged = || {
            Error::Format(format!(
                "'{}' was changed or damaged since it was saved, so that the files beside it can't be checked; copy the \
                 directory again from where it came, or remove this file to load the others as they are.",
                path.display()
            ))
        };
        let text = std::str::from_utf8(bytes).map_err(|_| damaged())?;
        let before = text
            .strip_suffix(END)
            .and_then(|text| text.split_at_checked(text.len().checked_sub(DIGITS)?))
            .filter(|(before, checksum)| {
                before.ends_with(CHECKSUM_KEY) && Checksum::of(before.as_bytes()) == *checksum
            });
        if before.is_none() {
            return Err(damaged());
        }
        let value: Value =
            super::json::from_slice(text.as_bytes(), path.display()).map_err(|_| damaged())?;
        match value
            .get("libbert_manifest_version")
            .and_then(Value::as_u64)
        {
            Some(VERSION) => {}
            Some(version) if version > VERSION => {
                return Err(Error::Version(format!(
                    "'{}' has the version {version}; this library reads versions up to {VERSION}. Update the library.",
                    path.display()
                )));
            }
            _ => return Err(damaged()),
        }
        let files = value.get("files").and_then(Value::as_object);
        files
            .ok_or_else(damaged)?
            .iter()
            .map(|(name, file)| {
                let bytes = file.get("bytes").and_then(Value::as_u64);
                let checksum = file.get("xxh3_128").and_then(Value::as_str);
                match (bytes, checksum) {
                    // A file lies in the directory itself: no name leads out of it.
                    (Some(bytes), Some(checksum)) if is_file_name(name) => Ok((
                        name.clone(),
                        Entry {
                            bytes,
                            checksum: checksum.into(),
                        },
                    )),
                    _ => Err(damaged()),
                }
            })
            .collect::<Result<_>>()
            .map(Manifest)
    }
}

/// Whether a text is the name of something in a directory, and neither a way out of it nor the directory itself.
pub fn is_file_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(['/', '\0']) && name != "." && name != ".."
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let mut manifest = Manifest::default();
        for (name, bytes) in [("config.json", &b"{}"[..]), ("a \"b\".bin", b"")] {
            manifest.insert(
                name,
                Entry {
                    bytes: bytes.len() as u64,
                    checksum: Checksum::of(bytes),
                },
            );
        }
        manifest
    }

    #[test]
    fn the_checksum_is_xxh3_of_128_bits() {
        // The reference implementation's values.
        assert_eq!(Checksum::of(b""), "99aa06d3014798d86001c324468d497f");
        let mut pieces = Checksum::new();
        let text = "0123456789".repeat(100);
        text.as_bytes().chunks(7).for_each(|p| pieces.update(p));
        assert_eq!(pieces.digits(), Checksum::of(text.as_bytes()));
        assert_eq!(pieces.digits().len(), DIGITS);
    }

    #[test]
    fn it_comes_back() {
        let text = manifest().to_text();
        let read = Manifest::parse(text.as_bytes(), Path::new("m")).unwrap();
        assert_eq!(read, manifest());
        assert_eq!(
            read.names().collect::<Vec<_>>(),
            ["a \"b\".bin", "config.json"]
        );
        assert!(serde_json::from_str::<Value>(&text).is_ok());
        let empty = Manifest::default();
        let read = Manifest::parse(empty.to_text().as_bytes(), Path::new("m"));
        assert_eq!(read.unwrap(), empty);
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_told() {
        let text = manifest().to_text().into_bytes();
        for bit in 0..8 * text.len() {
            let mut changed = text.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let error = Manifest::parse(&changed, Path::new("m")).unwrap_err();
            assert!(error.message().contains("remove this file"), "{error}");
        }
        for length in 0..text.len() {
            assert!(Manifest::parse(&text[..length], Path::new("m")).is_err());
        }
    }

    #[test]
    fn other_versions_and_names_outside_are_refused() {
        let forged = |from: &str, to: &str| {
            let text = manifest().to_text().replace(from, to);
            let before = &text[..text.len() - END.len() - DIGITS];
            let text = format!("{before}{}{END}", Checksum::of(before.as_bytes()));
            Manifest::parse(text.as_bytes(), Path::new("m"))
        };
        assert!(forged("config.json", "config2.json").is_ok());
        assert!(matches!(
            forged("version\": 1", "version\": 2"),
            Err(Error::Version(_))
        ));
        assert!(matches!(
            forged("version\": 1", "version\": 0"),
            Err(Error::Format(_))
        ));
        for name in ["../config.json", "..", ".", "", "a/b", "\\u0000"] {
            assert!(forged("config.json", name).is_err(), "{name}");
        }
    }
}
