//! A file's bytes as UTF-8, whatever encoding it is in.
//!
//! UTF-8 passes through as it is: [`Lines`](super::lines::Lines) checks it and tells the place of a wrong byte. Every
//! other encoding is decoded as the stream is read, a few kilobytes at a time.

use std::fmt;
use std::io::{self, Read};

use encoding_rs::{Decoder, DecoderResult, Encoding, UTF_8, UTF_16BE, UTF_16LE};

use crate::error::{Error, Result};
use crate::log;

use super::super::quoted;
use super::data_error;

/// How much of the file's beginning shows whether it is UTF-16 without a byte-order mark.
pub(super) const HEAD: u64 = 4096;

/// The encoding that goes by `name`: the names of the WHATWG Encoding Standard, and those that Python and Windows have
/// for the same.
///
/// # Errors
/// [`Error::InvalidArgument`] for a name that isn't known.
pub(super) fn named(name: &str) -> Result<&'static Encoding> {
    let plain = name.trim().to_ascii_lowercase().replace('_', "-");
    let label = match plain.as_str() {
        "utf-8-sig" | "utf8-sig" | "cp65001" => "utf-8",
        "utf16" => "utf-16",
        "utf16-le" | "utf16le" | "utf-16-le" => "utf-16le",
        "utf16-be" | "utf16be" | "utf-16-be" => "utf-16be",
        "latin-1" | "ansi" | "cp-1252" => "latin1",
        "cp932" => "shift_jis",
        "cp936" => "gbk",
        "cp949" => "euc-kr",
        "cp950" => "big5",
        "mac-roman" => "macintosh",
        "shift-jis" => "shift_jis",
        other => other,
    };
    let found = Encoding::for_label_no_replacement(label.as_bytes());
    found.ok_or_else(|| {
        Error::InvalidArgument(format!(
            "The encoding {} isn't known; expected a name such as UTF-8, UTF-16LE, UTF-16BE, windows-1252 (which \
             ISO-8859-1 is a part of), Shift_JIS or GBK.",
            quoted(name)
        ))
        .of_argument("encoding")
    })
}

/// The stream `reader`, of which `head` was read already, in UTF-8. `wanted` is the encoding that was asked for.
///
/// # Errors
/// [`Error::Data`] for a file in UTF-32, or in UTF-16 that nobody named.
pub(super) fn to_utf8<'r>(
    head: Vec<u8>,
    reader: &'r mut dyn Read,
    wanted: Option<&'static Encoding>,
    source: &str,
) -> Result<Box<dyn Read + 'r>> {
    let marked = match head.as_slice() {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => {
            let what = "the file begins with the byte-order mark of UTF-32, which isn't read; convert the file to \
                        UTF-8";
            return Err(data_error(source, 1, what));
        }
        [0xff, 0xfe, ..] => Some(UTF_16LE),
        [0xfe, 0xff, ..] => Some(UTF_16BE),
        [0xef, 0xbb, 0xbf, ..] => Some(UTF_8),
        _ => None,
    };
    let encoding = match (marked, wanted) {
        (None, None) => {
            if let Some(likely) = unmarked_utf16(&head) {
                let name = likely.name();
                let what = format!(
                    "the file looks like UTF-16 without a byte-order mark; set the option encoding to \"{name}\""
                );
                return Err(data_error(source, 1, &what));
            }
            UTF_8
        }
        (None, Some(wanted)) => wanted,
        (Some(marked), None) => marked,
        (Some(marked), Some(wanted)) => {
            // "UTF-16" alone leaves the order of the bytes to the mark, and goes by the name of the usual one.
            let is_utf16 = |encoding| encoding == UTF_16LE || encoding == UTF_16BE;
            if marked != wanted && !(is_utf16(marked) && is_utf16(wanted)) {
                log::warning(|| {
                    format!(
                        "{source} begins with the byte-order mark of {}, so it is read as that and not as {}, which \
                         the option encoding says.",
                        marked.name(),
                        wanted.name()
                    )
                });
            }
            marked
        }
    };
    let whole = io::Cursor::new(head).chain(reader);
    Ok(if encoding == UTF_8 {
        Box::new(whole)
    } else {
        log::info(|| format!("{source} is read as {}.", encoding.name()));
        Box::new(Decoded::new(whole, encoding))
    })
}

/// UTF-16 that has no mark, by its line ends: each is two bytes, one of them 0, at an even place. Without a line end,
/// by the zeros that every ASCII character has.
fn unmarked_utf16(head: &[u8]) -> Option<&'static Encoding> {
    let zeros = |odd: usize| {
        let places = head.iter().skip(odd).step_by(2);
        places.filter(|byte| **byte == 0).count()
    };
    let (even, odd) = (zeros(0), zeros(1));
    if even + odd == 0 {
        return None;
    }
    let ends: Vec<usize> = (0..head.len()).filter(|at| head[*at] == b'\n').collect();
    if ends.is_empty() {
        // Of letters with accents too, the most are ASCII.
        return match (even * 4 > head.len(), odd * 4 > head.len()) {
            (false, true) => Some(UTF_16LE),
            (true, false) => Some(UTF_16BE),
            _ => None,
        };
    }
    // A byte 10 may be a half of another character; most are line ends.
    let most = |count: usize| count * 2 > ends.len();
    let is_little = |at: &&usize| at.is_multiple_of(2) && head.get(*at + 1).is_none_or(|b| *b == 0);
    let is_big = |at: &&usize| !at.is_multiple_of(2) && head[*at - 1] == 0;
    if most(ends.iter().filter(is_little).count()) && odd > 0 {
        Some(UTF_16LE)
    } else if most(ends.iter().filter(is_big).count()) && even > 0 {
        Some(UTF_16BE)
    } else {
        None
    }
}

/// Bytes that stand for nothing in their encoding.
#[derive(Debug)]
pub(super) struct Malformed {
    encoding: &'static str,
    /// Which byte of the file, counted from 1.
    byte: u64,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "byte {} of the file isn't valid {}; expected a file in {1}, or the option encoding to name what it is in",
            self.byte, self.encoding
        )
    }
}

impl std::error::Error for Malformed {}

/// A stream in UTF-8 from one in another encoding.
struct Decoded<R> {
    reader: R,
    encoding: &'static Encoding,
    decoder: Decoder,
    /// What was read and isn't decoded yet is `raw[raw_start..raw_end]`.
    raw: Vec<u8>,
    raw_start: usize,
    raw_end: usize,
    /// Bytes of the file before `raw_start`.
    before: u64,
    /// What was decoded and isn't given yet is `text[text_start..text_end]`.
    text: Vec<u8>,
    text_start: usize,
    text_end: usize,
    /// Whether the reader has ended.
    at_end: bool,
    /// Whether all of it is decoded.
    is_done: bool,
    /// Told when the text before it has been given.
    wrong: Option<Malformed>,
}

impl<R: Read> Decoded<R> {
    fn new(reader: R, encoding: &'static Encoding) -> Decoded<R> {
        Decoded {
            reader,
            encoding,
            // The mark stays: it is taken off where that of UTF-8 is.
            decoder: encoding.new_decoder_without_bom_handling(),
            raw: vec![0; 8192],
            raw_start: 0,
            raw_end: 0,
            before: 0,
            text: vec![0; 3 * 8192],
            text_start: 0,
            text_end: 0,
            at_end: false,
            is_done: false,
            wrong: None,
        }
    }

    /// Decodes some more; the text that was there has been given.
    fn refill(&mut self) -> io::Result<()> {
        if self.raw_start == self.raw_end && !self.at_end {
            let count = self.reader.read(&mut self.raw)?;
            self.at_end = count == 0;
            (self.raw_start, self.raw_end) = (0, count);
        }
        let (result, read, written) = self.decoder.decode_to_utf8_without_replacement(
            &self.raw[self.raw_start..self.raw_end],
            &mut self.text,
            self.at_end,
        );
        self.raw_start += read;
        self.before += read as u64;
        (self.text_start, self.text_end) = (0, written);
        match result {
            DecoderResult::InputEmpty => self.is_done = self.at_end,
            DecoderResult::OutputFull => {}
            DecoderResult::Malformed(wrong, after) => {
                let back = u64::from(wrong) + u64::from(after);
                self.wrong = Some(Malformed {
                    encoding: self.encoding.name(),
                    byte: self.before.saturating_sub(back) + 1,
                });
            }
        }
        Ok(())
    }
}

impl<R: Read> Read for Decoded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        while self.text_start == self.text_end {
            if let Some(wrong) = self.wrong.take() {
                return Err(io::Error::new(io::ErrorKind::InvalidData, wrong));
            }
            if self.is_done {
                return Ok(0);
            }
            self.refill()?;
        }
        let count = buffer.len().min(self.text_end - self.text_start);
        buffer[..count].copy_from_slice(&self.text[self.text_start..self.text_start + count]);
        self.text_start += count;
        Ok(count)
    }
}
