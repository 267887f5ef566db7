//! What normalization and cutting make of each character, in a table: nearly always that depends on the character alone,
//! and then one look-up does what a step after the other would. Where it depends on others beside it (marks that are put
//! in order or joined to a letter), and there only, the steps are gone through.
//!
//! A table is worked out for 256 characters at a time, when the first of them is met, by the steps themselves.

use std::sync::{Arc, OnceLock};

use tokenizers::SplitDelimiterBehavior;
use unicode_normalization_alignments::char::{decompose_canonical, decompose_compatible};

use super::SMALL_PARTS;
use super::characters::{COMBINES, JOINS, PUNCTUATION, SPACE, WORD, alike, class, combining_class};
use super::normalization::{Normalization, byte_character, push_bytes};
use super::splitting::Splitting;
use super::symbols::{ADDED, BLOCK, END, Source, Step, Stream, character};

/// One step of a pipeline, ready to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Normalization(Normalization),
    Splitting(Splitting),
}

impl Part {
    pub(super) fn step(self) -> Box<dyn Step> {
        match self {
            Part::Normalization(normalization) => normalization.step(),
            Part::Splitting(splitting) => splitting.step(),
        }
    }

    /// Whether a table can stand for it: what it makes of a character depends at most on marks beside it.
    pub(super) fn goes_by_character(self) -> bool {
        match self {
            Part::Normalization(normalization) => {
                !matches!(normalization, Normalization::Strip { .. })
            }
            Part::Splitting(Splitting::Bert) => true,
            Part::Splitting(Splitting::At(_, behavior)) => {
                behavior != SplitDelimiterBehavior::Contiguous
            }
            Part::Splitting(Splitting::ByteLevel {
                prefix_space,
                words,
            }) => !prefix_space && !words,
            Part::Splitting(Splitting::WordsAndOthers) => false,
        }
    }

    /// Whether what it makes of a character depends on others beside it.
    fn looks_around(self) -> bool {
        matches!(
            self,
            Part::Normalization(Normalization::Decompose { .. } | Normalization::Compose)
        )
    }
}

const PAGE: usize = 256;

/// Entries that aren't a symbol.
const SEVERAL: u32 = 0x8000_0000;
const IN_BYTES: u32 = 0xffff_fffd;
const NOTHING: u32 = 0xffff_fffe;
const DEPENDS: u32 = 0xffff_ffff;

/// The mark behind what goes through the steps; no added token has this id.
const SENTINEL: u32 = ADDED | 0x7fff_fff0;

/// Flags of a character.
///
/// Neither it nor what it becomes ends a word.
pub(super) const OPAQUE: u8 = 1;
/// Something of it stays.
pub(super) const STAYS: u8 = 1 << 1;
/// It doesn't matter to what comes before it, nor the other way round.
pub(super) const INDEPENDENT: u8 = 1 << 2;

struct Page {
    /// By character the one symbol that it becomes; or [`SEVERAL`] with their place in `several` and, in the last 8 bits,
    /// their number; or [`IN_BYTES`]: the characters that stand for its bytes; or [`NOTHING`]: the text is as if it weren't
    /// there; or [`DEPENDS`].
    entries: [u32; PAGE],
    several: Vec<u32>,
    flags: [u8; PAGE],
}

impl Page {
    /// Appends what `symbol`, a character of the page, becomes by its entry; false where the text is as if it weren't there, or where
    /// that depends on others.
    #[inline]
    fn append(&self, symbol: u32, entry: u32, out: &mut Vec<u32>) -> bool {
        if entry < END {
            out.push(entry);
        } else if entry == END {
            // Whitespace often stands together, and one mark is enough.
            if out.last() != Some(&END) {
                out.push(END);
            }
        } else if entry == IN_BYTES {
            push_bytes(symbol, out);
        } else if entry < NOTHING {
            let from = (entry & !SEVERAL) as usize >> 8;
            let mut made = &self.several[from..from + (entry & 0xff) as usize];
            if let [END, rest @ ..] = made
                && out.last() == Some(&END)
            {
                made = rest;
            }
            out.extend_from_slice(made);
        } else {
            return false;
        }
        true
    }
}

/// Which characters can't end a word.
#[derive(Debug, Clone, Copy)]
pub(super) struct InWords {
    /// Bits that a character must have, and those that it mustn't.
    needs: u16,
    not: u16,
}

impl InWords {
    /// Where words don't matter.
    pub(super) const ANY: InWords = InWords { needs: 0, not: 0 };

    /// Whether none of them is whitespace.
    pub(super) fn excludes_space(self) -> bool {
        self.not & SPACE != 0
    }

    /// With these pre-tokenizers; `None` where that depends on more than the characters.
    pub(super) fn of(splitting: &[Splitting]) -> Option<InWords> {
        let mut all = InWords::ANY;
        for splitting in splitting {
            match splitting {
                Splitting::At(bits, _) => all.not |= bits,
                Splitting::Bert => all.not |= SPACE | PUNCTUATION,
                Splitting::WordsAndOthers => {
                    all.needs |= WORD;
                    all.not |= SPACE;
                }
                Splitting::ByteLevel { .. } => return None,
            }
        }
        Some(all)
    }

    fn holds(self, symbol: u32) -> bool {
        symbol < END && class(symbol) & (self.needs | self.not) == self.needs
    }
}

/// See the module's head.
pub(super) struct Table {
    parts: Vec<Part>,
    in_words: InWords,
    /// Whether one of the parts looks around.
    around: bool,
    pages: Box<[OnceLock<Arc<Page>>]>,
    /// The page of characters that are alike and become their bytes; `None` where those may become something else.
    in_bytes: OnceLock<Option<Arc<Page>>>,
}

impl Table {
    /// For parts that go by character. The flags are those of words as `in_words` has them.
    pub(super) fn new(parts: Vec<Part>, in_words: InWords) -> Table {
        let pages = 0x11_0000 / PAGE;
        Table {
            around: parts.iter().any(|part| part.looks_around()),
            parts,
            in_words,
            pages: (0..pages).map(|_| OnceLock::new()).collect(),
            in_bytes: OnceLock::new(),
        }
    }

    #[inline]
    fn page(&self, symbol: u32) -> &Page {
        let page = symbol as usize / PAGE;
        match self.pages[page].get() {
            Some(page) => page,
            None => self.pages[page].get_or_init(|| self.work_out(page)),
        }
    }

    /// The flags of a character, which must be under [`END`].
    #[inline]
    pub(super) fn flags(&self, c: u32) -> u8 {
        self.page(c).flags[c as usize % PAGE]
    }

    #[cold]
    fn work_out(&self, page: usize) -> Arc<Page> {
        if alike(page) {
            let mut all = self.work_out_first(page, 1);
            let first = (page * PAGE) as u32;
            let (entry, made) = (all.entries[0], std::mem::take(&mut all.several));
            // What the others become is the same but for themselves, unless they are written in bytes.
            let holds_itself = entry != DEPENDS && made.contains(&first);
            if entry == NOTHING || entry == first || holds_itself {
                all.flags = [all.flags[0]; PAGE];
                for (symbol, place) in (first..).zip(&mut all.entries) {
                    *place = match entry {
                        NOTHING => NOTHING,
                        _ if entry == first => symbol,
                        _ => entry | (all.several.len() as u32) << 8,
                    };
                    let itself = |&part: &u32| if part == first { symbol } else { part };
                    all.several.extend(made.iter().map(itself));
                }
                return Arc::new(all);
            }
            let mut bytes = Vec::new();
            push_bytes(first, &mut bytes);
            if made == bytes
                && let Some(in_bytes) = self.in_bytes()
            {
                return Arc::clone(in_bytes);
            }
        }
        Arc::new(self.work_out_first(page, PAGE))
    }

    fn in_bytes(&self) -> Option<&Arc<Page>> {
        let all = || {
            let writes = |part: &Part| {
                matches!(
                    part,
                    Part::Normalization(Normalization::Bytes)
                        | Part::Splitting(Splitting::ByteLevel { .. })
                )
            };
            let behind = &self.parts[self.parts.iter().position(writes)? + 1..];
            // What stands for the bytes of what isn't ASCII.
            let mut characters = Vec::new();
            ('\u{80}'..'\u{800}').for_each(|c| push_bytes(c as u32, &mut characters));
            (0xe0..0xf5).for_each(|byte| characters.push(byte_character(byte)));
            let stay =
                |part: &Part| !part.looks_around() && through(&characters, *part) == characters;
            behind.iter().all(stay).then(|| {
                Arc::new(Page {
                    entries: [IN_BYTES; PAGE],
                    several: Vec::new(),
                    flags: [0; PAGE],
                })
            })
        };
        self.in_bytes.get_or_init(all).as_ref()
    }

    /// A page of which so many characters are worked out.
    fn work_out_first(&self, page: usize, count: usize) -> Page {
        let mut all = Page {
            entries: [NOTHING; PAGE],
            several: Vec::new(),
            flags: [OPAQUE; PAGE],
        };
        // The characters with a mark behind each, which says where what each becomes ends.
        let mut symbols = Vec::with_capacity(2 * count);
        for place in 0..count {
            let c = char::from_u32((page * PAGE + place) as u32);
            symbols.extend(c.map(u32::from));
            symbols.push(ADDED | place as u32);
            if c.is_some_and(|c| !self.in_words.holds(c as u32)) {
                all.flags[place] = 0;
            }
        }
        // Before the first part that looks around what goes leaves no trace; behind it, it was something between others.
        let mut looked = false;
        let mut depends = [false; PAGE];
        let mut traceless = [false; PAGE];
        for part in &self.parts {
            let after = through(&symbols, *part);
            for ((place, before), (_, made)) in segments(&symbols).zip(segments(&after)) {
                if !made.iter().all(|&symbol| self.in_words.holds(symbol)) {
                    all.flags[place] &= !OPAQUE;
                }
                if traceless[place] {
                    continue;
                }
                if part.looks_around() {
                    match beside_others(*part, before) {
                        Beside::Independent => {}
                        Beside::GoesAlone if !looked => traceless[place] = true,
                        _ => depends[place] = true,
                    }
                } else if !looked && made.is_empty() {
                    traceless[place] = true;
                }
            }
            looked |= part.looks_around();
            symbols = after;
        }
        for (place, made) in segments(&symbols) {
            all.entries[place] = match made {
                _ if depends[place] => DEPENDS,
                [] if traceless[place] => NOTHING,
                [one] => *one,
                _ => {
                    let from = all.several.len() as u32;
                    all.several.extend_from_slice(made);
                    match u8::try_from(made.len()) {
                        Ok(count) => SEVERAL | from << 8 | u32::from(count),
                        Err(_) => DEPENDS,
                    }
                }
            };
            if !made.is_empty() {
                all.flags[place] |= STAYS;
            }
            if !depends[place] && !traceless[place] {
                all.flags[place] |= INDEPENDENT;
            }
        }
        all
    }
}

/// What `part` makes of all the symbols.
fn through(symbols: &[u32], part: Part) -> Vec<u32> {
    let mut step = part.step();
    let (mut made, mut taken) = (Vec::new(), 0);
    let mut block = Vec::new();
    while taken < symbols.len() {
        taken += step.run(&symbols[taken..], &mut block);
        made.append(&mut block);
    }
    made
}

/// The symbols before each added token, with its id.
fn segments(symbols: &[u32]) -> impl Iterator<Item = (usize, &[u32])> {
    symbols
        .split_inclusive(|&symbol| symbol >= ADDED)
        .filter_map(|segment| {
            let (mark, made) = segment.split_last()?;
            Some(((mark - ADDED) as usize, made))
        })
}

/// What symbols are to those beside them, for a part that looks around.
enum Beside {
    Independent,
    /// Marks that aren't kept, and that the order of others doesn't depend on.
    GoesAlone,
    Depends,
}

fn beside_others(part: Part, symbols: &[u32]) -> Beside {
    let Some(&first) = symbols.first() else {
        // It was something before and is nothing now: what is on its two sides meets.
        return Beside::Depends;
    };
    let depends = match part {
        Part::Normalization(Normalization::Decompose {
            compatible,
            drop_marks,
            ..
        }) => {
            let mut parts = Vec::new();
            for c in symbols.iter().filter_map(|&symbol| character(symbol)) {
                if compatible {
                    decompose_compatible(c, |part| parts.push(part as u32));
                } else {
                    decompose_canonical(c, |part| parts.push(part as u32));
                }
            }
            let goes = |&part: &u32| combining_class(part) != 0 && class(part) & drop_marks != 0;
            if parts.iter().all(goes) {
                return Beside::GoesAlone;
            }
            parts
                .first()
                .is_some_and(|&part| combining_class(part) != 0)
        }
        _ => class(first) & (JOINS | COMBINES) != 0,
    };
    if depends {
        Beside::Depends
    } else {
        Beside::Independent
    }
}

/// Symbols that are waiting to go through the steps.
#[derive(Default)]
struct Waiting(Vec<u32>);

impl Source for Waiting {
    fn fill(&mut self, out: &mut Vec<u32>) -> bool {
        out.append(&mut self.0);
        !out.is_empty()
    }
}

/// The step that goes by a table.
pub(super) struct ByCharacter {
    table: Arc<Table>,
    /// The last character, where it isn't known yet whether what follows depends on it.
    held: Option<u32>,
    /// The steps, for what depends on others; whether what comes goes through them, and whether something of them is to
    /// be given out.
    steps: Option<Stream<Waiting>>,
    by_steps: bool,
    giving: bool,
    block: Vec<u32>,
}

impl ByCharacter {
    /// The steps are left once so many symbols in a row don't depend on others.
    const LEAVE: usize = if SMALL_PARTS { 3 } else { 32 };

    pub(super) fn new(table: Arc<Table>) -> ByCharacter {
        ByCharacter {
            table,
            held: None,
            steps: None,
            by_steps: false,
            giving: false,
            block: Vec::new(),
        }
    }

    /// What goes through the steps.
    fn waiting(&mut self) -> &mut Vec<u32> {
        let parts = &self.table.parts;
        let steps = self
            .steps
            .get_or_insert_with(|| Stream::new(Waiting::default(), parts.iter().map(|p| p.step())));
        &mut steps.source().0
    }

    /// Gives out what the steps have made; false where a block was filled before all was.
    fn give(&mut self, out: &mut Vec<u32>) -> bool {
        while self.giving {
            if out.len() >= BLOCK {
                return false;
            }
            self.giving = self
                .steps
                .as_mut()
                .is_some_and(|steps| steps.next(&mut self.block));
            if self.giving {
                out.extend(self.block.iter().filter(|&&symbol| symbol != SENTINEL));
            }
        }
        true
    }

    /// How many of the symbols go through the steps, and whether those behind them don't.
    fn count_for_steps(&self, input: &[u32]) -> (usize, bool) {
        // Where they may be left: at a character that doesn't depend on those before it.
        let mut leave = None;
        let mut since = 0;
        for (place, &symbol) in input.iter().enumerate() {
            if symbol >= END {
                return (place, true);
            }
            match self.table.page(symbol).entries[symbol as usize % PAGE] {
                DEPENDS => leave = None,
                NOTHING => since += 1,
                _ if leave.is_none() => (leave, since) = (Some(place), 1),
                _ => since += 1,
            }
            if let Some(leave) = leave
                && since >= Self::LEAVE
            {
                return (leave, true);
            }
        }
        (input.len(), false)
    }

    /// Looks symbols up until one depends on others or is a mark; their number.
    fn look_up(&mut self, input: &[u32], out: &mut Vec<u32>) -> usize {
        let table = &*self.table;
        // The last character that others may depend on, and where what it becomes begins.
        let mut last = None;
        if let Some(held) = self.held.take() {
            last = Some((held, out.len()));
            let page = table.page(held);
            page.append(held, page.entries[held as usize % PAGE], out);
        }
        let mut taken = 0;
        while let Some(&symbol) = input.get(taken) {
            if symbol >= END {
                last = None;
                break;
            }
            let page = table.page(symbol);
            let entry = |symbol: u32| page.entries[symbol as usize % PAGE];
            let this = entry(symbol);
            // Neighbours often are of one page and become one symbol each, or the same mark.
            let rest = &input[taken..];
            let like_next = |alike: fn(u32) -> bool| {
                let other = |&other: &u32| (other ^ symbol) >= PAGE as u32 || !alike(entry(other));
                match rest.get(1) {
                    Some(next) if !other(next) => rest.iter().position(other).unwrap_or(rest.len()),
                    _ => 1,
                }
            };
            let mut count = 1;
            let mut start = out.len();
            if this < END {
                count = like_next(|entry| entry < END);
                if count > 1 {
                    out.extend(rest[..count].iter().map(|&symbol| entry(symbol)));
                    start = out.len() - 1;
                } else {
                    out.push(this);
                }
            } else if this == END {
                count = like_next(|entry| entry == END);
                if out.last() != Some(&END) {
                    out.push(END);
                    start += usize::from(count > 1);
                }
            } else if this == DEPENDS {
                break;
            } else if !page.append(symbol, this, out) {
                taken += 1;
                continue;
            }
            last = Some((rest[count - 1], start));
            taken += count;
        }
        if table.around
            && let Some((symbol, start)) = last
        {
            out.truncate(start);
            self.held = Some(symbol);
        }
        taken
    }
}

impl Step for ByCharacter {
    fn run(&mut self, input: &[u32], out: &mut Vec<u32>) -> usize {
        let mut place = 0;
        while self.give(out) {
            let Some(&symbol) = input.get(place) else {
                break;
            };
            if self.by_steps {
                let (count, leave) = self.count_for_steps(&input[place..]);
                self.waiting()
                    .extend_from_slice(&input[place..place + count]);
                if leave {
                    self.waiting().push(SENTINEL);
                    self.by_steps = false;
                }
                self.giving = true;
                place += count;
            } else if symbol < END
                && self.table.page(symbol).entries[symbol as usize % PAGE] == DEPENDS
            {
                if let Some(held) = self.held.take() {
                    self.waiting().push(held);
                }
                self.by_steps = true;
            } else if symbol >= END && self.held.is_none() {
                out.push(symbol);
                place += 1;
            } else {
                place += self.look_up(&input[place..], out);
            }
        }
        place
    }
}

#[cfg(test)]
mod tests {
    use super::super::characters::MARK;
    use super::*;
    use unicode_normalization_alignments::char::compose;

    #[test]
    fn pages_of_characters_that_are_alike_are_what_they_would_be_one_by_one() {
        use Normalization as N;
        let decompose = |drop| N::Decompose {
            compatible: true,
            drop,
            drop_marks: drop,
        };
        for (normalizer, splitting) in [
            (
                vec![N::Clean, N::SeparateChinese, decompose(MARK), N::Lowercase],
                Splitting::Bert,
            ),
            (vec![decompose(0), N::Compose], Splitting::Bert),
            (vec![N::SeparateChinese, N::Bytes], Splitting::Bert),
            (
                vec![N::Lowercase, N::Bytes],
                Splitting::At(SPACE, SplitDelimiterBehavior::Removed),
            ),
        ] {
            let mut parts: Vec<Part> = normalizer.into_iter().map(Part::Normalization).collect();
            parts.push(Part::Splitting(splitting));
            let table = Table::new(parts, InWords::of(&[splitting]).unwrap());
            let in_bytes = table.in_bytes().is_some();
            assert_eq!(in_bytes, splitting != Splitting::Bert);
            for page in (0..0x1100).filter(|&page| alike(page)) {
                let (at_once, one_by_one) =
                    (table.work_out(page), table.work_out_first(page, PAGE));
                if !in_bytes {
                    assert_eq!(at_once.flags, one_by_one.flags, "{page:#x}");
                }
                for place in 0..PAGE {
                    let symbol = (page * PAGE + place) as u32;
                    let (mut made, mut expected) = (Vec::new(), Vec::new());
                    let (a, b) = (at_once.entries[place], one_by_one.entries[place]);
                    at_once.append(symbol, a, &mut made);
                    one_by_one.append(symbol, b, &mut expected);
                    assert_eq!(made, expected, "{symbol:#x}");
                    assert_eq!(a.max(NOTHING), b.max(NOTHING), "{symbol:#x}");
                }
            }
        }
    }

    /// What is joined of characters that can't end a word can't either, for every pair that is joined at all: so it is
    /// enough to look at the characters.
    #[test]
    fn what_is_joined_of_opaque_characters_is_opaque() {
        use Normalization as N;
        let decompose = |compatible| N::Decompose {
            compatible,
            drop: 0,
            drop_marks: 0,
        };
        let normalizers = [
            vec![decompose(false), N::Compose],
            vec![decompose(true), N::Compose],
            vec![N::Lowercase, decompose(false), N::Compose],
            vec![decompose(true), N::Compose, N::Lowercase],
            vec![decompose(true), N::Compose, N::Clean, N::SeparateChinese],
        ];
        let pre_tokenizers = [
            vec![Splitting::Bert],
            vec![Splitting::WordsAndOthers],
            vec![Splitting::At(SPACE, SplitDelimiterBehavior::Removed)],
            vec![Splitting::At(
                super::super::characters::NUMERIC,
                SplitDelimiterBehavior::Contiguous,
            )],
        ];
        let mut joined = 0;
        for normalizer in &normalizers {
            for pre_tokenizer in &pre_tokenizers {
                let parts = normalizer.iter().copied().map(Part::Normalization);
                let in_words = InWords::of(pre_tokenizer).unwrap();
                let table = Table::new(parts.collect(), in_words);
                for whole in '\0'..='\u{2ffff}' {
                    let mut parts = Vec::new();
                    decompose_canonical(whole, |part| parts.push(part));
                    let Some((&last, before)) = parts.split_last().filter(|_| parts.len() > 1)
                    else {
                        continue;
                    };
                    let Some(made) = before
                        .iter()
                        .copied()
                        .map(Some)
                        .reduce(|a, b| compose(a?, b?))
                        .flatten()
                        .and_then(|base| compose(base, last))
                    else {
                        continue;
                    };
                    joined += 1;
                    if parts
                        .iter()
                        .all(|&part| table.flags(part as u32) & OPAQUE != 0)
                    {
                        assert_ne!(
                            table.flags(made as u32) & OPAQUE,
                            0,
                            "{made:?} {normalizer:?}"
                        );
                    }
                }
            }
        }
        assert!(joined > 100_000, "{joined}");
    }
}
