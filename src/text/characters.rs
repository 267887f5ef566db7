//! What Unicode says about each character, by the same tables as the `tokenizers` crate, so that our cutting of text
//! is its cutting. Kept as bits for each character and worked out for 256 characters at a time, when the first of them
//! is met.

use std::collections::HashSet;
use std::sync::{LazyLock, OnceLock};

use unicode_categories::UnicodeCategories;
use unicode_normalization_alignments::char::{
    canonical_combining_class, decompose_canonical, decompose_compatible, is_combining_mark,
};

/// White_Space.
pub(super) const SPACE: u16 = 1;
/// What BERT's cleaning drops: NUL, U+FFFD, and control, format and private characters but tab and line ends.
pub(super) const DROPPED: u16 = 1 << 1;
/// Nonspacing_Mark.
pub(super) const NONSPACING: u16 = 1 << 2;
/// Mark.
pub(super) const MARK: u16 = 1 << 3;
/// Punctuation, and all ASCII symbols.
pub(super) const PUNCTUATION: u16 = 1 << 4;
/// Numeric.
pub(super) const NUMERIC: u16 = 1 << 5;
/// `\w` of regular expressions.
pub(super) const WORD: u16 = 1 << 6;
/// `\p{L}`.
pub(super) const LETTER: u16 = 1 << 7;
/// `\p{N}`.
pub(super) const NUMBER: u16 = 1 << 8;
/// Lower-casing changes it.
pub(super) const UPPER: u16 = 1 << 9;
/// Has a canonical decomposition.
pub(super) const CANONICAL: u16 = 1 << 10;
/// Has a compatible decomposition.
pub(super) const COMPATIBLE: u16 = 1 << 11;
/// May be joined to the character before it by composition.
pub(super) const JOINS: u16 = 1 << 12;
/// Has a combining class other than 0.
pub(super) const COMBINES: u16 = 1 << 13;

const PAGE: usize = 256;

struct Page {
    bits: [u16; PAGE],
    /// Canonical combining classes.
    combining: [u8; PAGE],
    /// The character in lower case, where that is one.
    lower: [Option<char>; PAGE],
}

static PAGES: [OnceLock<Box<Page>>; 0x11_0000 / PAGE] =
    [const { OnceLock::new() }; 0x11_0000 / PAGE];

/// Whether all characters of a page (of 256) are alike in every respect: they are Chinese characters, private ones or
/// nothing is assigned there, now or soon. (The last page of each plane holds noncharacters.)
pub(super) fn alike(page: usize) -> bool {
    match page {
        0x34..=0x4c | 0x4e..=0x9e | 0xe0..=0xf8 => true,
        0x147..=0x160 | 0x170..=0x186 | 0x190..=0x1ae | 0x1bd..=0x1ca => true,
        0x200..=0x2a5 | 0x2a8..=0x2b6 | 0x2ba..=0x2cd | 0x2cf..=0x2ea => true,
        0x300..=0x312 | 0x340..0x1100 => !matches!(page, 0xe00 | 0xe01) && page % 0x100 != 0xff,
        _ => false,
    }
}

#[inline]
fn page(character: u32) -> &'static Page {
    let page = character as usize / PAGE;
    match PAGES[page].get() {
        Some(page) => page,
        None => PAGES[page].get_or_init(|| work_out(page)),
    }
}

/// The bits of a character, which must be under 0x11_0000.
#[inline]
pub(super) fn class(character: u32) -> u16 {
    page(character).bits[character as usize % PAGE]
}

/// The canonical combining class of a character, which must be under 0x11_0000.
#[inline]
pub(super) fn combining_class(character: u32) -> u8 {
    page(character).combining[character as usize % PAGE]
}

/// The character in lower case, where that is one character; it must be under 0x11_0000.
#[inline]
pub(super) fn lower(character: u32) -> Option<char> {
    page(character).lower[character as usize % PAGE]
}

#[cold]
fn work_out(page: usize) -> Box<Page> {
    let mut all = Box::new(Page {
        bits: [0; PAGE],
        combining: [0; PAGE],
        lower: [None; PAGE],
    });
    if alike(page)
        && let Some(c) = char::from_u32((page * PAGE) as u32)
    {
        all.bits = [bits_of(c); PAGE];
        all.lower = std::array::from_fn(|place| char::from_u32((page * PAGE + place) as u32));
        return all;
    }
    for place in 0..PAGE {
        if let Some(c) = char::from_u32((page * PAGE + place) as u32) {
            all.bits[place] = bits_of(c);
            all.combining[place] = canonical_combining_class(c);
            let mut lower = c.to_lowercase();
            all.lower[place] = lower.next().filter(|_| lower.next().is_none());
        }
    }
    all
}

fn bits_of(c: char) -> u16 {
    let dropped =
        !matches!(c, '\t' | '\n' | '\r') && (c == '\0' || c == '\u{fffd}' || c.is_other());
    let lowered = {
        let mut lower = c.to_lowercase();
        lower.next() != Some(c) || lower.next().is_some()
    };
    let combines = canonical_combining_class(c) != 0;
    let changes = |decompose: fn(char, &mut dyn FnMut(char))| {
        let mut changes = false;
        decompose(c, &mut |part| changes |= part != c);
        changes
    };
    [
        (SPACE, c.is_whitespace()),
        (DROPPED, dropped),
        (NONSPACING, c.is_mark_nonspacing()),
        (MARK, is_combining_mark(c)),
        (PUNCTUATION, c.is_ascii_punctuation() || c.is_punctuation()),
        (NUMERIC, c.is_numeric()),
        (WORD, regex_syntax::is_word_character(c)),
        (LETTER, LETTERS.contains(c)),
        (NUMBER, NUMBERS.contains(c)),
        (UPPER, lowered),
        (CANONICAL, changes(|c, each| decompose_canonical(c, each))),
        (COMPATIBLE, changes(|c, each| decompose_compatible(c, each))),
        (COMBINES, combines),
        (JOINS, combines || JOINING.contains(&c)),
    ]
    .into_iter()
    .filter(|(_, holds)| *holds)
    .fold(0, |bits, (bit, _)| bits | bit)
}

/// A character class of a regular expression.
struct Class(Vec<(char, char)>);

static LETTERS: LazyLock<Class> = LazyLock::new(|| Class::parse(r"\p{L}"));
static NUMBERS: LazyLock<Class> = LazyLock::new(|| Class::parse(r"\p{N}"));

impl Class {
    fn parse(pattern: &str) -> Class {
        let parsed = regex_syntax::parse(pattern);
        let Some(regex_syntax::hir::HirKind::Class(regex_syntax::hir::Class::Unicode(class))) =
            parsed.as_ref().ok().map(|hir| hir.kind())
        else {
            unreachable!("'{pattern}' is a Unicode class");
        };
        Class(class.iter().map(|r| (r.start(), r.end())).collect())
    }

    fn contains(&self, c: char) -> bool {
        let after = self.0.partition_point(|(start, _)| *start <= c);
        after > 0 && self.0[after - 1].1 >= c
    }
}

/// The last characters of all canonical decompositions: no other character is ever joined to what stands before it.
static JOINING: LazyLock<HashSet<char>> = LazyLock::new(|| {
    let mut joining = HashSet::new();
    // Nothing above the supplementary ideographs decomposes.
    for c in ('\u{c0}'..='\u{2ffff}').filter(|c| !('\u{ac00}'..='\u{d7a3}').contains(c)) {
        let (mut parts, mut last) = (0, c);
        decompose_canonical(c, |part| {
            parts += 1;
            last = part;
        });
        if parts > 1 {
            joining.insert(last);
        }
    }
    // Hangul syllables are composed by rule.
    joining.extend('\u{1161}'..='\u{1175}');
    joining.extend('\u{11a7}'..='\u{11c2}');
    joining
});

#[cfg(test)]
mod tests {
    use super::*;
    use unicode_normalization_alignments::char::compose;

    #[test]
    fn what_joins_is_all_that_composition_joins() {
        let decomposes = |c: &char| {
            let mut parts = Vec::new();
            decompose_canonical(*c, |part| parts.push(part));
            (parts.len() > 1).then_some(parts)
        };
        for parts in ('\0'..=char::MAX).filter_map(|c| decomposes(&c)) {
            for pair in parts.windows(2) {
                if compose(pair[0], pair[1]).is_some() {
                    assert_ne!(class(pair[1] as u32) & JOINS, 0, "{pair:?}");
                }
            }
        }
        assert_eq!(class('a' as u32) & JOINS, 0);
    }

    #[test]
    fn pages_of_characters_that_are_alike_are_what_they_would_be_one_by_one() {
        for c in ('\0'..=char::MAX).filter(|&c| alike(c as usize / PAGE)) {
            assert_eq!(class(c as u32), bits_of(c), "{c:?}");
            assert_eq!(combining_class(c as u32), canonical_combining_class(c));
            assert!(c.to_lowercase().eq(lower(c as u32)), "{c:?}");
        }
    }

    /// Marks may go before what is lower-cased as well as behind.
    #[test]
    fn no_mark_has_another_case() {
        for c in '\0'..=char::MAX {
            if class(c as u32) & (MARK | NONSPACING) != 0 && class(c as u32) & COMBINES != 0 {
                assert_eq!(lower(c as u32), Some(c));
            }
        }
    }

    #[test]
    fn the_bits_are_those_of_some_known_characters() {
        assert_eq!(class(' ' as u32), SPACE);
        assert_eq!(class('\n' as u32), SPACE);
        assert_eq!(class(0x85), SPACE | DROPPED);
        assert_eq!(class('a' as u32), WORD | LETTER);
        assert_eq!(class('A' as u32), WORD | LETTER | UPPER);
        assert_eq!(class('7' as u32), WORD | NUMBER | NUMERIC);
        assert_eq!(class('$' as u32), PUNCTUATION);
        assert_eq!(class('é' as u32), WORD | LETTER | CANONICAL | COMPATIBLE);
        assert_eq!(class('ﬁ' as u32), WORD | LETTER | COMPATIBLE);
        assert_eq!(class(0x301), WORD | NONSPACING | MARK | JOINS | COMBINES);
    }
}
