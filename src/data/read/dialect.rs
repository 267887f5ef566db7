//! How a table is written, where nobody says it: from its first records.

use crate::error::Result;
use crate::log;
use crate::problem::ProblemType;

use super::columns;
use super::data_error;
use super::lines::Lines;
use super::records::{Dialect, Records, shown};
use super::{FileFormat, Quoting, ReadOptions};

/// How much of a file's beginning is looked at, in bytes of UTF-8.
pub(super) const SAMPLE: u64 = 256 << 10;

/// How many records are looked at.
const MOST_RECORDS: usize = 100;

/// What a comma may be mistaken for.
const RIVALS: [u8; 3] = [b';', b'\t', b'|'];

/// The beginning of a file.
pub(super) struct Sample {
    /// In UTF-8, as far as it is valid.
    pub bytes: Vec<u8>,
    /// Whether it is all of the file.
    pub is_whole: bool,
}

impl Sample {
    /// The first records, as `dialect` cuts them; `None` where it can't.
    pub fn records(&self, dialect: Dialect) -> Option<Vec<Vec<String>>> {
        self.collect(dialect, |fields, _| {
            fields.iter().map(|field| field.to_string()).collect()
        })
    }

    /// What `of` makes of the fields of each of the first records, and of what they were cut from.
    fn collect<T>(&self, dialect: Dialect, of: impl Fn(&[&str], &str) -> T) -> Option<Vec<T>> {
        let end = match self.bytes.iter().rposition(|byte| *byte == b'\n') {
            Some(last) if !self.is_whole => last + 1,
            None if !self.is_whole => 0,
            _ => self.bytes.len(),
        };
        // How a file is cut shows whatever its encoding is; what isn't UTF-8 is told when it is read.
        let text = String::from_utf8_lossy(self.bytes.get(..end).unwrap_or_default());
        let mut bytes = text.as_bytes();
        let mut records = Records::new(Lines::new(Box::new(&mut bytes), "sample"), dialect);
        let mut found = Vec::new();
        while found.len() < MOST_RECORDS {
            let record = records.next();
            match record.map(|record| record.map(|record| of(&record.fields, record.raw))) {
                Ok(Some(record)) => found.push(record),
                Ok(None) => break,
                // A quote that the sample's end left open.
                Err(_) if !self.is_whole && records.at_end() => break,
                Err(_) => return None,
            }
        }
        Some(found)
    }

    /// How many records there are, where each has the same number of fields, and more than one.
    fn even_records(&self, dialect: Dialect) -> Option<usize> {
        let counts = self.collect(dialect, |fields, _| fields.len())?;
        let first = *counts.first()?;
        (first > 1 && counts.iter().all(|count| *count == first)).then_some(counts.len())
    }

    /// Whether most records have the same number of fields, and more than one: four in five.
    fn is_mostly_even(&self, dialect: Dialect) -> bool {
        let counts = self
            .collect(dialect, |fields, _| fields.len())
            .unwrap_or_default();
        counts.iter().any(|most| {
            let same = counts.iter().filter(|count| *count == most).count();
            *most > 1 && 5 * same >= 4 * counts.len()
        })
    }

    /// Whether the first record has a name that tells a header, where `dialect` cuts it.
    fn has_known_header(&self, dialect: Dialect) -> bool {
        let records = self.records(dialect).unwrap_or_default();
        records.first().is_some_and(|first| {
            columns::is_header(&first.iter().map(String::as_str).collect::<Vec<_>>())
        })
    }

    /// Whether each field of each record is in quotes; of a header it needn't be.
    fn is_all_quoted(&self, separator: u8) -> bool {
        let dialect = Dialect {
            separator,
            quotes: true,
        };
        let between = format!("\"{}\"", char::from(separator));
        let quoted = self.collect(dialect, |fields, raw| {
            let doubled: Vec<String> = fields.iter().map(|f| f.replace('"', "\"\"")).collect();
            raw.len() >= 2
                && raw.get(1..raw.len() - 1) == Some(doubled.join(&between).as_str())
                && raw.starts_with('"')
                && raw.ends_with('"')
        });
        quoted.is_some_and(|all| match all.split_first() {
            Some((_, others @ [_, ..])) => others.iter().all(|quoted| *quoted),
            Some((first, [])) => *first,
            None => false,
        })
    }

    /// The separator that Excel reads from a first line such as "sep=;".
    pub fn separator_line(&self) -> Option<u8> {
        let bytes = self
            .bytes
            .strip_prefix(b"\xef\xbb\xbf")
            .unwrap_or(&self.bytes);
        let (line, _) = bytes.split_at_checked(bytes.iter().position(|byte| *byte == b'\n')?)?;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let (separator, key) = line.split_last()?;
        (key.eq_ignore_ascii_case(b"sep=") && may_separate(*separator)).then_some(*separator)
    }

    /// The separator that cuts most records evenly where `used` leaves them in one piece, for a message.
    pub fn better_than(&self, used: Dialect) -> Option<u8> {
        let candidates = [b',', b';', b'\t', b'|'].into_iter();
        let mut others = candidates
            .filter(|separator| *separator != used.separator)
            .filter(|separator| {
                let dialect = Dialect {
                    separator: *separator,
                    ..used
                };
                self.is_mostly_even(dialect)
            });
        match (others.next(), others.next()) {
            (Some(only), None) => Some(only),
            _ => None,
        }
    }
}

/// Whether a byte can stand between fields.
pub(super) fn may_separate(byte: u8) -> bool {
    byte.is_ascii() && !matches!(byte, 0 | b'"' | b'\n' | b'\r')
}

/// How the table is written.
///
/// # Errors
/// [`Error::Data`](crate::error::Error::Data) where the records can be cut in two ways.
pub(super) fn of(
    sample: &Sample,
    format: FileFormat,
    separator: Option<u8>,
    options: &ReadOptions,
    source: &str,
) -> Result<Dialect> {
    let is_csv = format == FileFormat::Csv;
    let quotes = match options.quoting {
        Quoting::Auto => is_csv,
        Quoting::None => false,
        Quoting::Double => true,
    };
    let usual = Dialect {
        separator: separator.unwrap_or(if is_csv { b',' } else { b'\t' }),
        quotes,
    };
    if is_csv {
        return match separator {
            Some(_) => Ok(usual),
            None => of_csv(sample, usual, options, source),
        };
    }
    if options.quoting == Quoting::Auto && sample.is_all_quoted(usual.separator) {
        log::info(|| {
            format!(
                "All fields of {source} are in double quotes, which aren't part of them (the option quoting decides)."
            )
        });
        return Ok(Dialect {
            quotes: true,
            ..usual
        });
    }
    Ok(usual)
}

/// A comma, or what else cuts the records evenly where a comma doesn't.
fn of_csv(sample: &Sample, comma: Dialect, options: &ReadOptions, source: &str) -> Result<Dialect> {
    let label_separator = match options.problem_type {
        ProblemType::SingleLabel => None,
        _ => Some(options.separator_of_labels().as_bytes()),
    };
    let with = |separator: u8| Dialect { separator, ..comma };
    let rivals: Vec<(u8, usize)> = RIVALS
        .into_iter()
        .filter(|rival| label_separator != Some(&[*rival]))
        .filter_map(|rival| Some((rival, sample.even_records(with(rival))?)))
        .collect();
    let Some(records) = sample.even_records(comma) else {
        let [(rival, records)] = rivals[..] else {
            return Ok(comma);
        };
        let tell = if records < 3 { log::warning } else { log::info };
        tell(|| {
            format!(
                "The fields of {source} are separated by {} and not by a comma (the option separator decides).",
                shown(rival)
            )
        });
        return Ok(with(rival));
    };
    // A bar is seldom a separator, and often part of a text.
    let Some((rival, _)) = rivals.into_iter().find(|(rival, _)| *rival != b'|') else {
        return Ok(comma);
    };
    let chosen = match (
        sample.has_known_header(comma),
        sample.has_known_header(with(rival)),
    ) {
        (true, false) => return Ok(comma),
        (false, true) => with(rival),
        _ if records > 2 => {
            let what = format!(
                "a comma and {} both cut every record into the same number of fields; set the option separator to the \
                 one that is meant",
                shown(rival)
            );
            return Err(data_error(source, 1, &what));
        }
        _ => comma,
    };
    log::warning(|| {
        let other = if chosen == comma { rival } else { b',' };
        format!(
            "The fields of {source} are separated by {}, but {} would cut every record evenly too; set the option \
             separator to the one that is meant.",
            shown(chosen.separator),
            shown(other)
        )
    });
    Ok(chosen)
}
