//! The `tokenizers` crate's normalizers as steps of a stream: the same characters come out, without the record of where
//! each came from.

use tokenizers::normalizers::NormalizerWrapper;
use unicode_normalization_alignments::char::{compose, decompose_canonical, decompose_compatible};

use super::SMALL_PARTS;
use super::characters::{
    CANONICAL, COMBINES, COMPATIBLE, DROPPED, JOINS, MARK, NONSPACING, SPACE, UPPER, class,
    combining_class, lower,
};
use super::simplification::simplified;
use super::symbols::{BLOCK, END, Step, character, copy_plain};

/// One normalizer, ready to make a step from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Normalization {
    /// BERT's cleaning: control characters go, whitespace becomes spaces.
    Clean,
    /// Spaces around Chinese characters.
    SeparateChinese,
    /// NFD or NFKD; characters with one of the `drop` bits are left out, and combining ones with one of `drop_marks`.
    Decompose {
        compatible: bool,
        drop: u16,
        drop_marks: u16,
    },
    /// The second half of NFC and NFKC.
    Compose,
    /// Characters with one of these bits go.
    Drop(u16),
    Lowercase,
    /// Whitespace at the start or the end goes.
    Strip {
        left: bool,
        right: bool,
    },
    /// Each byte as one printable character.
    Bytes,
}

impl Normalization {
    /// The crate's normalizer, `None` where it is one that isn't done here.
    pub(super) fn of(normalizer: &NormalizerWrapper) -> Option<Vec<Normalization>> {
        Some(simplified(Normalization::each_of(normalizer)?))
    }

    /// The same as it stands there.
    fn each_of(normalizer: &NormalizerWrapper) -> Option<Vec<Normalization>> {
        use NormalizerWrapper as N;
        let decompose = |compatible| Normalization::Decompose {
            compatible,
            drop: 0,
            drop_marks: 0,
        };
        Some(match normalizer {
            N::BertNormalizer(bert) => {
                let mut steps = Vec::new();
                if bert.clean_text {
                    steps.push(Normalization::Clean);
                }
                if bert.handle_chinese_chars {
                    steps.push(Normalization::SeparateChinese);
                }
                if bert.strip_accents.unwrap_or(bert.lowercase) {
                    steps.push(decompose(false));
                    steps.push(Normalization::Drop(NONSPACING));
                }
                if bert.lowercase {
                    steps.push(Normalization::Lowercase);
                }
                steps
            }
            N::Lowercase(_) => vec![Normalization::Lowercase],
            N::NFC(_) => vec![decompose(false), Normalization::Compose],
            N::NFD(_) => vec![decompose(false)],
            N::NFKC(_) => vec![decompose(true), Normalization::Compose],
            N::NFKD(_) => vec![decompose(true)],
            N::StripAccents(_) => vec![Normalization::Drop(MARK)],
            N::StripNormalizer(strip) => vec![Normalization::Strip {
                left: strip.strip_left,
                right: strip.strip_right,
            }],
            N::ByteLevel(_) => vec![Normalization::Bytes],
            N::Sequence(sequence) => sequence
                .as_ref()
                .iter()
                .map(Normalization::each_of)
                .collect::<Option<Vec<_>>>()?
                .concat(),
            _ => return None,
        })
    }

    /// The step that does it.
    pub(super) fn step(self) -> Box<dyn Step> {
        match self {
            Normalization::Clean => Box::new(Clean),
            Normalization::SeparateChinese => Box::new(SeparateChinese),
            Normalization::Decompose {
                compatible,
                drop,
                drop_marks,
            } => Box::new(Decompose {
                compatible,
                drop,
                drop_marks,
                marks: Marks::default(),
                parts: Vec::new(),
            }),
            Normalization::Compose => Box::new(Compose::default()),
            Normalization::Drop(bits) => Box::new(Drop(bits)),
            Normalization::Lowercase => Box::new(Lowercase),
            Normalization::Strip { left, right } => Box::new(Strip {
                left,
                right,
                started: false,
                held: Vec::new(),
                released: 0,
            }),
            Normalization::Bytes => Box::new(Bytes),
        }
    }
}

fn is_ascii(symbols: &[u32]) -> bool {
    // Without an early end, so that it is done for many at once.
    symbols.iter().fold(0, |all, symbol| all | symbol) < 0x80
}

struct Clean;

impl Step for Clean {
    fn run(&mut self, input: &[u32], out: &mut Vec<u32>) -> usize {
        // Without an early end, so that it is done for many at once.
        let other = |symbol: &u32| u32::from(symbol.wrapping_sub(0x20) >= 0x5f);
        if input.iter().fold(0, |any, symbol| any | other(symbol)) == 0 {
            out.extend_from_slice(input);
            return input.len();
        }
        out.extend(input.iter().filter_map(|&symbol| {
            if symbol >= END {
                return Some(symbol);
            }
            match class(symbol) & (DROPPED | SPACE) {
                0 => Some(symbol),
                SPACE => Some(u32::from(b' ')),
                _ => None,
            }
        }));
        input.len()
    }
}

struct SeparateChinese;

/// The blocks of Chinese characters that BERT knows.
fn is_chinese(symbol: u32) -> bool {
    matches!(
        symbol,
        0x4E00..=0x9FFF
            | 0x3400..=0x4DBF
            | 0x20000..=0x2A6DF
            | 0x2A700..=0x2B73F
            | 0x2B740..=0x2B81F
            | 0x2B920..=0x2CEAF
            | 0xF900..=0xFAFF
            | 0x2F800..=0x2FA1F
    )
}

impl Step for SeparateChinese {
    fn run(&mut self, input: &[u32], out: &mut Vec<u32>) -> usize {
        if is_ascii(input) {
            out.extend_from_slice(input);
            return input.len();
        }
        for &symbol in input {
            if symbol >= 0x3400 && is_chinese(symbol) {
                out.extend([u32::from(b' '), symbol, u32::from(b' ')]);
            } else {
                out.push(symbol);
            }
        }
        input.len()
    }
}

/// Combining marks that wait to be put in the order of their classes, of which there may be millions behind one
/// character.
#[derive(Default)]
struct Marks {
    /// Class and character, the class in the upper 8 bits.
    waiting: Vec<u32>,
    /// The classes that there are, a bit for each.
    classes: [u64; 4],
    /// While they are given out: the class, and how many were looked at for it.
    at: Option<(u32, usize)>,
}

impl Marks {
    /// As many are sorted in one go.
    const FEW: usize = if SMALL_PARTS { 2 } else { 64 };

    fn push(&mut self, mark: u32, class: u8) {
        self.classes[usize::from(class / 64)] |= 1 << (class % 64);
        self.waiting.push(u32::from(class) << 24 | mark);
    }

    /// The next class that there is.
    fn class_from(&self, class: u32) -> Option<u32> {
        (class..256).find(|class| self.classes[*class as usize / 64] >> (class % 64) & 1 == 1)
    }

    /// Appends them to `out`, in order; false where a block was filled before all were.
    fn release(&mut self, out: &mut Vec<u32>) -> bool {
        const CHARACTER: u32 = 0xff_ffff;
        if self.waiting.len() <= Self::FEW {
            self.waiting.sort_by_key(|mark| mark >> 24);
            out.extend(self.waiting.drain(..).map(|mark| mark & CHARACTER));
            self.classes = [0; 4];
            return true;
        }
        // Sorting in place isn't stable, and otherwise takes as much memory again: so once through for each class.
        let (mut at, mut from) = match self.at {
            Some((class, from)) => (Some(class), from),
            None => (self.class_from(1), 0),
        };
        while let Some(class) = at {
            for (place, &mark) in self.waiting.iter().enumerate().skip(from) {
                if mark >> 24 == class {
                    if out.len() >= BLOCK {
                        self.at = Some((class, place));
                        return false;
                    }
                    out.push(mark & CHARACTER);
                }
            }
            (at, from) = (self.class_from(class + 1), 0);
        }
        *self = Marks::default();
        true
    }
}

struct Decompose {
    compatible: bool,
    drop: u16,
    drop_marks: u16,
    marks: Marks,
    /// Of the character at hand.
    parts: Vec<(char, u8)>,
}

impl Step for Decompose {
    fn run(&mut self, input: &[u32], out: &mut Vec<u32>) -> usize {
        if self.marks.waiting.is_empty() && is_ascii(input) {
            out.extend_from_slice(input);
            return input.len();
        }
        let special = if self.compatible {
            COMPATIBLE
        } else {
            CANONICAL
        };
        let mut place = 0;
        while let Some(&symbol) = input.get(place) {
            let plain = |symbol: u32| {
                !(0x80..END).contains(&symbol)
                    || class(symbol) & (special | COMBINES | self.drop) == 0
            };
            if plain(symbol) {
                if !self.marks.release(out) {
                    return place;
                }
                place += copy_plain(&input[place..], out, plain);
                continue;
            }
            let bits = class(symbol);
            if bits & special == 0 {
                if bits & COMBINES == 0 {
                    if !self.marks.release(out) {
                        return place;
                    }
                } else if bits & self.drop_marks == 0 {
                    self.marks.push(symbol, combining_class(symbol));
                }
                place += 1;
                continue;
            }
            let Some(c) = character(symbol) else {
                place += 1;
                continue;
            };
            self.parts.clear();
            let part = |part| self.parts.push((part, combining_class(part as u32)));
            if self.compatible {
                decompose_compatible(c, part);
            } else {
                decompose_canonical(c, part);
            }
            // What comes before a character of class 0 is complete.
            if self.parts.iter().any(|(_, class)| *class == 0) && self.parts[0].1 != 0 {
                // No character decomposes into a mark and then others, but the tables may change.
                while !self.marks.release(out) {}
            }
            for &(part, combining) in &self.parts {
                if combining != 0 {
                    if class(part as u32) & self.drop_marks == 0 {
                        self.marks.push(part as u32, combining);
                    }
                } else {
                    if !self.marks.release(out) {
                        return place;
                    }
                    if class(part as u32) & self.drop == 0 {
                        out.push(part as u32);
                    }
                }
            }
            place += 1;
        }
        input.len()
    }
}

/// Joins a character and the marks behind it, which come in the order of their classes, where one character is both.
#[derive(Default)]
struct Compose {
    /// The last character of class 0.
    base: Option<char>,
    /// Marks behind it that couldn't be joined, and how many of them were given out.
    marks: Vec<char>,
    released: usize,
    /// The class of the last of them.
    last: u8,
}

impl Compose {
    /// Gives out the character and its marks; false where a block was filled before all were.
    fn release(&mut self, out: &mut Vec<u32>) -> bool {
        out.extend(self.base.take().map(u32::from));
        if self.marks.is_empty() {
            return true;
        }
        let until = self.marks.len().min(self.released + BLOCK);
        out.extend(
            self.marks[self.released..until]
                .iter()
                .map(|&c| u32::from(c)),
        );
        self.released = until;
        if until < self.marks.len() {
            return false;
        }
        // Those of millions are freed.
        if self.marks.len() > BLOCK {
            self.marks = Vec::new();
        }
        self.marks.clear();
        self.released = 0;
        self.last = 0;
        true
    }
}

impl Step for Compose {
    fn run(&mut self, input: &[u32], out: &mut Vec<u32>) -> usize {
        let apart = |symbol: u32| symbol < 0x300 || class(symbol) & JOINS == 0;
        let mut place = 0;
        while let Some(&symbol) = input.get(place) {
            let Some(c) = character(symbol) else {
                if !self.release(out) {
                    return place;
                }
                out.push(symbol);
                place += 1;
                continue;
            };
            if apart(symbol) {
                if !self.release(out) {
                    return place;
                }
                // Of those that aren't joined to what is before them all but the last are complete.
                let joins = input[place..]
                    .iter()
                    .position(|&symbol| symbol >= END || !apart(symbol));
                let end = joins.map_or(input.len(), |joins| place + joins);
                out.extend_from_slice(&input[place..end - 1]);
                self.base = character(input[end - 1]);
                place = end;
                continue;
            }
            let combining = combining_class(symbol);
            // While marks are given out there is no base: their release goes on, whatever comes.
            if self.released > 0 && !self.release(out) {
                return place;
            }
            let Some(base) = self.base else {
                if combining != 0 {
                    out.push(symbol);
                } else {
                    self.base = Some(c);
                }
                place += 1;
                continue;
            };
            let blocked = !self.marks.is_empty() && self.last >= combining;
            match compose(base, c).filter(|_| !blocked) {
                Some(joined) => self.base = Some(joined),
                None if combining == 0 => {
                    if !self.release(out) {
                        return place;
                    }
                    self.base = Some(c);
                }
                None => {
                    self.marks.push(c);
                    self.last = combining;
                }
            }
            place += 1;
        }
        input.len()
    }
}

struct Drop(u16);

impl Step for Drop {
    fn run(&mut self, input: &[u32], out: &mut Vec<u32>) -> usize {
        if is_ascii(input) {
            // No mark is ASCII.
            out.extend_from_slice(input);
        } else {
            out.extend(
                input
                    .iter()
                    .filter(|&&symbol| symbol >= END || class(symbol) & self.0 == 0),
            );
        }
        input.len()
    }
}

struct Lowercase;

impl Step for Lowercase {
    fn run(&mut self, input: &[u32], out: &mut Vec<u32>) -> usize {
        let ascii = |symbol: u32| symbol + 32 * u32::from(symbol.wrapping_sub(0x41) < 26);
        if is_ascii(input) {
            out.extend(input.iter().map(|&symbol| ascii(symbol)));
            return input.len();
        }
        for &symbol in input {
            if !(0x80..END).contains(&symbol) || class(symbol) & UPPER == 0 {
                out.push(ascii(symbol));
            } else if let Some(one) = lower(symbol) {
                out.push(one as u32);
            } else if let Some(c) = character(symbol) {
                out.extend(c.to_lowercase().map(u32::from));
            }
        }
        input.len()
    }
}

struct Strip {
    left: bool,
    right: bool,
    /// Whether something else than whitespace came.
    started: bool,
    /// Whitespace that may be the last, in [`SPACES`], and how much of it was given out.
    held: Vec<u8>,
    released: usize,
}

/// All characters that are White_Space.
const SPACES: [char; 25] = [
    '\t', '\n', '\u{b}', '\u{c}', '\r', ' ', '\u{85}', '\u{a0}', '\u{1680}', '\u{2000}',
    '\u{2001}', '\u{2002}', '\u{2003}', '\u{2004}', '\u{2005}', '\u{2006}', '\u{2007}', '\u{2008}',
    '\u{2009}', '\u{200a}', '\u{2028}', '\u{2029}', '\u{202f}', '\u{205f}', '\u{3000}',
];

impl Step for Strip {
    fn run(&mut self, input: &[u32], out: &mut Vec<u32>) -> usize {
        let mut place = 0;
        while let Some(&symbol) = input.get(place) {
            if symbol >= END {
                self.held.clear();
                self.started = false;
                out.push(symbol);
                place += 1;
                continue;
            }
            if class(symbol) & SPACE != 0 {
                place += 1;
                if self.left && !self.started {
                    continue;
                }
                if self.right
                    && let Some(which) = SPACES.iter().position(|&c| c as u32 == symbol)
                {
                    self.held.push(which as u8);
                } else {
                    out.push(symbol);
                }
                continue;
            }
            let until = self.held.len().min(self.released + BLOCK);
            out.extend(
                self.held[self.released..until]
                    .iter()
                    .map(|&which| SPACES[usize::from(which)] as u32),
            );
            self.released = until;
            if until < self.held.len() {
                return place;
            }
            self.held.clear();
            self.released = 0;
            self.started = true;
            place += copy_plain(&input[place..], out, |symbol| {
                symbol < END && class(symbol) & SPACE == 0
            });
        }
        input.len()
    }
}

struct Bytes;

impl Step for Bytes {
    fn run(&mut self, input: &[u32], out: &mut Vec<u32>) -> usize {
        for &symbol in input {
            push_bytes(symbol, out);
        }
        input.len()
    }
}

/// The characters that stand for the bytes of a character; a mark as it is.
#[inline]
pub(super) fn push_bytes(symbol: u32, out: &mut Vec<u32>) {
    if symbol < 0x80 {
        out.push(byte_character(symbol as u8));
        return;
    }
    // UTF-8: the upper bits say how many there are.
    let byte = |first: u32, shift: u32| byte_character((first | symbol >> shift) as u8);
    let next = |shift: u32| byte_character((0x80 | symbol >> shift & 0x3f) as u8);
    match symbol {
        0..0x800 => out.extend([byte(0xc0, 6), next(0)]),
        0x800..0x1_0000 => out.extend([byte(0xe0, 12), next(6), next(0)]),
        0x1_0000..END => out.extend([byte(0xf0, 18), next(12), next(6), next(0)]),
        _ => out.push(symbol),
    }
}

/// GPT-2's printable character for a byte: itself where it is one in Latin-1, else the next from U+0100 on.
#[inline]
pub(super) fn byte_character(byte: u8) -> u32 {
    const ALL: [u16; 256] = {
        let mut all = [0; 256];
        let mut byte = 0;
        while byte < 256 {
            all[byte] = match byte as u16 {
                byte @ 0..=0x20 => 0x100 + byte,
                byte @ 0x7f..=0xa0 => 0x121 + byte - 0x7f,
                0xad => 0x143,
                byte => byte,
            };
            byte += 1;
        }
        all
    };
    ALL[usize::from(byte)].into()
}
