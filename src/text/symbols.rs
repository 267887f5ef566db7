//! Text on its way through normalization and cutting: a stream of symbols in blocks, so that of a text of any length
//! only as much is looked at as is asked for, and little of it is held at once.
//!
//! A symbol is a character or a mark. [`END`] says that what came before it ends there: the text, and on the way a word.
//! Several in a row, or one before anything, say nothing more. [`ADDED`] with an id is an added token, which ends what
//! came before it too.

use super::SMALL_PARTS;

/// What came before ends here.
pub(super) const END: u32 = 0x11_0000;

/// With an id: an added token.
pub(super) const ADDED: u32 = 0x8000_0000;

/// About how many symbols there are in a block.
pub(super) const BLOCK: usize = if SMALL_PARTS { 8 } else { 4096 };

/// The character that a symbol is, or `None` for a mark.
#[inline]
pub(super) fn character(symbol: u32) -> Option<char> {
    char::from_u32(symbol)
}

/// Appends to `out` what `input` begins with of symbols that are `plain`, all in one go; gives their number.
#[inline]
pub(super) fn copy_plain(input: &[u32], out: &mut Vec<u32>, plain: impl Fn(u32) -> bool) -> usize {
    let count = input.iter().position(|&symbol| !plain(symbol));
    let count = count.unwrap_or(input.len());
    out.extend_from_slice(&input[..count]);
    count
}

/// One step of normalization or cutting. What it does restarts behind each mark.
pub(super) trait Step: Send {
    /// Takes symbols from `input` and appends to `out` what they become. Gives the number of those taken: all, unless
    /// `out` has grown beyond a block. May hold back what depends on later symbols, but nothing behind a mark.
    fn run(&mut self, input: &[u32], out: &mut Vec<u32>) -> usize;
}

/// Where symbols come from.
pub(super) trait Source {
    /// Appends the next ones to `out`; false once there are none. The last one must be a mark.
    fn fill(&mut self, out: &mut Vec<u32>) -> bool;
}

/// A source and what is done to its symbols, one step after the other.
pub(super) struct Stream<S> {
    source: S,
    steps: Vec<Running>,
}

struct Running {
    step: Box<dyn Step>,
    /// What the step is given, and how much of it was taken.
    input: Vec<u32>,
    taken: usize,
}

impl<S: Source> Stream<S> {
    pub(super) fn new(source: S, steps: impl Iterator<Item = Box<dyn Step>>) -> Stream<S> {
        Stream {
            source,
            steps: steps
                .map(|step| Running {
                    step,
                    input: Vec::new(),
                    taken: 0,
                })
                .collect(),
        }
    }

    pub(super) fn source(&mut self) -> &mut S {
        &mut self.source
    }

    /// The next symbols in place of what is in `out`; false at the end, or while the source has none.
    pub(super) fn next(&mut self, out: &mut Vec<u32>) -> bool {
        next(&mut self.source, &mut self.steps, out)
    }
}

fn next(source: &mut impl Source, steps: &mut [Running], out: &mut Vec<u32>) -> bool {
    out.clear();
    let Some((last, before)) = steps.split_last_mut() else {
        return source.fill(out);
    };
    while out.is_empty() {
        if last.taken == last.input.len() {
            last.taken = 0;
            if !next(source, before, &mut last.input) {
                return false;
            }
        }
        last.taken += last.step.run(&last.input[last.taken..], out);
    }
    true
}
