//! How many tokens a text has, without the tokens: which of two long texts has more shows only when both are read.
//!
//! What a word's next character adds depends on the characters before it, but only through little: in WordPiece the piece
//! that it goes on with, in BPE the tokens that may still become longer ones. That is the state of an automaton. States
//! and what leads from one to the next are worked out when they are first met, and then looked up: as a text meets the
//! same ones again and again, one look-up a character is nearly all that is done. Where it meets ever new ones they
//! aren't kept.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use super::SMALL_PARTS;
use super::long_words::Merges;
use super::symbols::{ADDED, END, character};
use super::trie::Trie;
use super::words::{Spelling, Words};
use crate::error::Result;

/// Counts the tokens of a stream of symbols.
pub(super) enum Counter<'a> {
    /// Where each word is one token, known or unknown.
    Words {
        total: usize,
        /// Whether a word has begun.
        open: bool,
    },
    Pieces(Automaton<Pieces<'a>>),
    Pairs(Automaton<Pairs<'a>>),
    /// By the tokens themselves, for models whose words aren't so simple.
    Ids {
        total: usize,
        words: Box<Words<'a>>,
        ids: Vec<u32>,
    },
}

impl Counter<'_> {
    /// Takes symbols.
    pub(super) fn take(&mut self, symbols: &[u32]) -> Result<()> {
        match self {
            Counter::Words { total, open } => {
                for &symbol in symbols {
                    *total += usize::from(symbol >= END && *open) + usize::from(symbol >= ADDED);
                    *open = symbol < END;
                }
            }
            Counter::Pieces(automaton) => automaton.take(symbols),
            Counter::Pairs(automaton) => automaton.take(symbols),
            Counter::Ids { total, words, ids } => {
                words.take(symbols, ids)?;
                *total += ids.len();
                ids.clear();
            }
        }
        Ok(())
    }

    /// So many tokens there are at least, whatever comes; behind a mark there are no more.
    pub(super) fn least(&self) -> usize {
        match self {
            Counter::Words { total, .. } | Counter::Ids { total, .. } => *total,
            Counter::Pieces(automaton) => automaton.least(),
            Counter::Pairs(automaton) => automaton.least(),
        }
    }
}

/// What a kind of model does with a word's characters, one after the other.
pub(super) trait Model {
    /// All of what came that matters to what comes.
    type State: Clone + Eq + Hash;

    /// Where a word begins.
    fn start(&self) -> Self::State;

    /// Takes a character, or [`END`]; gives by how much the number of the word's tokens changes, `None` where the word
    /// is unknown as a whole, whatever comes.
    fn step(&mut self, state: &mut Self::State, symbol: u32) -> Option<i32>;

    /// The tokens of a whole word, where there is a quicker way to them than its characters one after the other.
    fn whole(&mut self, word: &[u32]) -> Option<usize>;

    /// So many of the tokens counted may come to nothing.
    fn open(state: &Self::State) -> i64;

    /// How many parts of equal size a state has.
    fn size(state: &Self::State) -> usize;
}

/// A model's automaton, and where a text stands in it.
pub(super) struct Automaton<M: Model> {
    model: M,
    /// Words of more characters are unknown.
    most: usize,
    known: Known<M>,
    position: Position<M::State>,
    /// How many blocks in a row met too many new states, and for how many states aren't kept then.
    new_blocks: usize,
    pause: usize,
    total: usize,
    /// Of the word that is open.
    tokens: i64,
    characters: usize,
}

enum Position<S> {
    /// In a state that is kept, by its number.
    Kept(u32),
    /// In one that isn't, for so many more blocks; `None` where the word is unknown.
    Passing(Option<S>, usize),
}

/// Words of more characters aren't counted whole.
const WHOLE: usize = if SMALL_PARTS { 5 } else { 40 };

/// After so many blocks in which more than one symbol in so many led to a state that wasn't known, states aren't kept for
/// some blocks: that is faster then.
const NEW_BLOCKS: usize = 4;
const NEW_SYMBOLS: usize = 8;
/// How many blocks that is at first, and at most.
const FIRST_PAUSE: usize = if SMALL_PARTS { 1 } else { 8 };
const LONGEST_PAUSE: usize = if SMALL_PARTS { 4 } else { 512 };

impl<M: Model> Automaton<M> {
    pub(super) fn new(model: M, most: usize) -> Automaton<M> {
        Automaton {
            known: Known::new(model.start()),
            model,
            most,
            position: Position::Kept(START),
            new_blocks: 0,
            pause: FIRST_PAUSE,
            total: 0,
            tokens: 0,
            characters: 0,
        }
    }

    /// Begins within a word, of which what matters has so many tokens.
    pub(super) fn begin_within(&mut self, state: M::State, tokens: i32) {
        self.position = Position::Kept(self.known.number(&state));
        self.tokens = tokens.into();
        self.characters = 1;
    }

    fn least(&self) -> usize {
        let open = match &self.position {
            Position::Kept(at) => M::open(self.known.state(*at)),
            Position::Passing(Some(state), _) => M::open(state),
            Position::Passing(None, _) => i64::MAX,
        };
        self.total + usize::try_from(self.tokens - open).unwrap_or(0)
    }

    fn take(&mut self, symbols: &[u32]) {
        match &mut self.position {
            Position::Kept(at) => {
                let at = *at;
                let new = self.by_known(at, symbols);
                if new * NEW_SYMBOLS <= symbols.len() {
                    (self.new_blocks, self.pause) = (0, FIRST_PAUSE);
                    return;
                }
                self.new_blocks += 1;
                if self.new_blocks >= NEW_BLOCKS
                    && let Position::Kept(at) = self.position
                {
                    let state = (at != FAILED).then(|| self.known.state(at).clone());
                    self.position = Position::Passing(state, self.pause);
                    self.pause = (2 * self.pause).min(LONGEST_PAUSE);
                }
            }
            Position::Passing(state, blocks) => {
                *blocks -= 1;
                let (state, last) = (state.take(), *blocks == 0);
                let state = self.by_steps(state, symbols);
                self.position = match (state, last) {
                    (state, false) => {
                        let Position::Passing(_, blocks) = self.position else {
                            unreachable!("it is only left here");
                        };
                        Position::Passing(state, blocks)
                    }
                    (None, true) => Position::Kept(FAILED),
                    (Some(state), true) => Position::Kept(self.known.number(&state)),
                };
            }
        }
    }

    /// By what is known, from the state `at` on; the number of symbols for which it had to be worked out.
    fn by_known(&mut self, at: u32, symbols: &[u32]) -> usize {
        let (mut at, mut tokens, mut total) = (at, self.tokens, self.total);
        // Where the word began; before these symbols it had some already.
        let (mut begin, mut earlier) = (0, self.characters);
        let mut new = 0;
        for (place, &symbol) in symbols.iter().enumerate() {
            let input = symbol.min(END);
            let mut way = self.known.ways[way_at(at, input)];
            if way.from != at || way.input != input {
                way = self.known.work_out(&mut self.model, at, input);
                new += 1;
            }
            at = way.to;
            tokens += i64::from(way.more);
            if input == END {
                let characters = earlier + place - begin;
                total += self.tokens_of_word(characters, (at != FAILED).then_some(tokens));
                total += usize::from(symbol >= ADDED);
                (at, tokens, begin, earlier) = (START, 0, place + 1, 0);
            }
        }
        self.position = Position::Kept(at);
        (self.tokens, self.total) = (tokens, total);
        self.characters = earlier + symbols.len() - begin;
        new
    }

    /// By the model itself, from a state on; where it leads to.
    fn by_steps(&mut self, state: Option<M::State>, symbols: &[u32]) -> Option<M::State> {
        let mut state = state;
        let mut rest = symbols;
        while let Some((&symbol, behind)) = rest.split_first() {
            if self.characters == 0 && symbol < END {
                let end = rest
                    .iter()
                    .take(WHOLE + 1)
                    .position(|&symbol| symbol >= END);
                let word = &rest[..end.unwrap_or(0)];
                if let Some(tokens) = self.model.whole(word) {
                    self.tokens = tokens as i64;
                    self.characters = word.len();
                    rest = &rest[word.len()..];
                    continue;
                }
            }
            rest = behind;
            if symbol < END {
                self.characters += 1;
            }
            if let Some(open) = &mut state {
                match self.model.step(open, symbol.min(END)) {
                    Some(more) => self.tokens += i64::from(more),
                    None => state = None,
                }
            }
            if symbol >= END {
                self.total +=
                    self.tokens_of_word(self.characters, state.is_some().then_some(self.tokens));
                self.total += usize::from(symbol >= ADDED);
                (self.tokens, self.characters) = (0, 0);
                state = Some(self.model.start());
            }
        }
        state
    }

    /// How many tokens a whole word has; `tokens` is `None` where it can't be written.
    #[inline]
    fn tokens_of_word(&self, characters: usize, tokens: Option<i64>) -> usize {
        match tokens.filter(|_| characters <= self.most) {
            _ if characters == 0 => 0,
            Some(tokens) => tokens as usize,
            None => 1,
        }
    }
}

/// From a state by an input to another.
#[derive(Clone, Copy)]
struct Way {
    from: u32,
    input: u32,
    to: u32,
    more: i32,
}

/// Not from any state.
const NO_WAY: Way = Way {
    from: 0,
    input: u32::MAX,
    to: 0,
    more: 0,
};

/// States are numbered by multiples of this, so that their numbers' upper bits differ.
const SPREAD: u32 = 0x9e37_79b1;
/// By which a multiple of it becomes the number of the multiple.
const GATHER: u32 = {
    let mut inverse = 1u32;
    let mut round = 0;
    while round < 5 {
        inverse = inverse.wrapping_mul(2u32.wrapping_sub(SPREAD.wrapping_mul(inverse)));
        round += 1;
    }
    inverse
};
const START: u32 = 0;
/// The state of words that are unknown.
const FAILED: u32 = SPREAD;

const WAYS_BITS: u32 = if SMALL_PARTS { 5 } else { 16 };
const MOST_STATES: usize = if SMALL_PARTS { 12 } else { 1 << 16 };
/// Of all states together: where tokens are long, so are states.
const MOST_SIZE: usize = if SMALL_PARTS { 1 << 7 } else { 1 << 20 };

/// Where the way from a state by an input stands, if it does.
#[inline]
fn way_at(from: u32, input: u32) -> usize {
    ((from ^ input.wrapping_mul(0x85eb_ca6b)) >> (32 - WAYS_BITS)) as usize
}

/// The states and ways that are kept.
struct Known<M: Model> {
    ways: Vec<Way>,
    states: Vec<Arc<M::State>>,
    numbers: HashMap<Arc<M::State>, u32>,
    size: usize,
}

impl<M: Model> Known<M> {
    fn new(start: M::State) -> Known<M> {
        let mut known = Known {
            ways: vec![NO_WAY; 1 << WAYS_BITS],
            states: Vec::new(),
            numbers: HashMap::new(),
            size: 0,
        };
        known.begin(Arc::new(start));
        known
    }

    fn begin(&mut self, start: Arc<M::State>) {
        self.size = M::size(&start);
        self.numbers.insert(Arc::clone(&start), START);
        // What stands for unknown words isn't looked at.
        self.states = vec![Arc::clone(&start), start];
    }

    fn state(&self, number: u32) -> &M::State {
        &self.states[number.wrapping_mul(GATHER) as usize]
    }

    /// The number of a state, which is new where the state is.
    fn number(&mut self, state: &M::State) -> u32 {
        if let Some(&number) = self.numbers.get(state) {
            return number;
        }
        let number = (self.states.len() as u32).wrapping_mul(SPREAD);
        let state = Arc::new(state.clone());
        self.size += M::size(&state);
        self.states.push(Arc::clone(&state));
        self.numbers.insert(state, number);
        number
    }

    /// Forgets all but the start.
    fn clear(&mut self) {
        let start = Arc::clone(&self.states[START as usize]);
        self.numbers.clear();
        self.begin(start);
        self.ways.fill(NO_WAY);
    }

    #[cold]
    fn work_out(&mut self, model: &mut M, from: u32, input: u32) -> Way {
        let mut from = from;
        let (to, more) = if from == FAILED {
            (FAILED, 0)
        } else {
            let mut state = self.state(from).clone();
            if self.states.len() >= MOST_STATES || self.size >= MOST_SIZE {
                self.clear();
                from = self.number(&state);
            }
            match model.step(&mut state, input) {
                None => (FAILED, 0),
                // Behind the end there is nothing.
                Some(more) if input == END => (START, more),
                Some(more) => (self.number(&state), more),
            }
        };
        let way = Way {
            from,
            input,
            to,
            more,
        };
        self.ways[way_at(from, input)] = way;
        way
    }
}

/// WordPiece: the longest piece from the left, again and again.
pub(super) struct Pieces<'a> {
    starting: &'a Trie,
    continuing: &'a Trie,
}

/// The characters that aren't in a piece for sure yet.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Piece {
    /// Whether pieces came before.
    continuing: bool,
    characters: Vec<u32>,
    /// Where they lead to.
    node: u32,
}

impl<'a> Pieces<'a> {
    pub(super) fn new(starting: &'a Trie, continuing: &'a Trie) -> Pieces<'a> {
        Pieces {
            starting,
            continuing,
        }
    }

    /// Takes the longest piece that the characters begin with; false where they begin with none.
    fn cut(&self, piece: &mut Piece) -> bool {
        let trie = if piece.continuing {
            self.continuing
        } else {
            self.starting
        };
        let (mut node, mut longest) = (Trie::ROOT, 0);
        for (place, &c) in piece.characters.iter().enumerate() {
            let Some(next) = trie.next(node, c) else {
                break;
            };
            node = next;
            if trie.value(node).is_some() {
                longest = place + 1;
            }
        }
        piece.characters.drain(..longest);
        piece.continuing = true;
        longest > 0
    }
}

impl Model for Pieces<'_> {
    type State = Piece;

    fn start(&self) -> Piece {
        Piece {
            continuing: false,
            characters: Vec::new(),
            node: Trie::ROOT,
        }
    }

    fn step(&mut self, piece: &mut Piece, symbol: u32) -> Option<i32> {
        let mut more = 0;
        if symbol == END {
            while !piece.characters.is_empty() {
                if !self.cut(piece) {
                    return None;
                }
                more += 1;
            }
            return Some(more);
        }
        piece.characters.push(symbol);
        let trie = if piece.continuing {
            self.continuing
        } else {
            self.starting
        };
        if let Some(next) = trie.next(piece.node, symbol) {
            piece.node = next;
            return Some(0);
        }
        // Until what is left may be the beginning of a piece, or is nothing.
        loop {
            if !self.cut(piece) {
                return None;
            }
            more += 1;
            let mut through = piece.characters.iter();
            let end = through.try_fold(Trie::ROOT, |node, &c| self.continuing.next(node, c));
            if let Some(node) = end {
                piece.node = node;
                return Some(more);
            }
        }
    }

    fn whole(&mut self, _: &[u32]) -> Option<usize> {
        None
    }

    fn open(_: &Piece) -> i64 {
        // The word may be unknown.
        i64::MAX
    }

    fn size(piece: &Piece) -> usize {
        piece.characters.len()
    }
}

/// Byte-pair encoding. As [`super::long_words`] has it, the last token of each beginning of a word is the one that ends
/// there and fits to the last token of the beginning without it; so what matters of a beginning are the places from
/// which a token may go further, the last token before each, and how many tokens lead there.
pub(super) struct Pairs<'a> {
    joining: Joining<'a>,
    spelling: Spelling<'a>,
    /// Of a word.
    symbols: Vec<u32>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Pending {
    places: Vec<Place>,
    /// As in [`Spelling`].
    first: bool,
    unknown: bool,
}

/// Where a token may begin that goes further than the symbols that came.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Place {
    /// Where the symbols behind it lead to.
    node: u32,
    /// The last token before it; [`NONE`] at the beginning of the word.
    before: u32,
    /// How many more tokens all symbols have than those before it.
    behind: i32,
}

const NONE: u32 = u32::MAX;

struct Joining<'a> {
    merges: &'a Merges,
    starts: &'a Trie,
    /// Of pairs of tokens that came lately, whether they stay apart.
    fits: Vec<(u32, u32, bool)>,
}

impl Joining<'_> {
    const FITS_BITS: u32 = if SMALL_PARTS { 2 } else { 13 };

    /// Whether `token` may stand behind `before`.
    fn fits(&mut self, before: u32, token: u32) -> bool {
        if before == NONE {
            return true;
        }
        let hash = (before.wrapping_mul(SPREAD) ^ token).wrapping_mul(SPREAD);
        let known = &mut self.fits[(hash >> (32 - Self::FITS_BITS)) as usize];
        if (known.0, known.1) != (before, token) {
            *known = (
                before,
                token,
                self.merges.stay_apart(before, token, u32::MAX),
            );
        }
        known.2
    }

    /// Takes a symbol; gives by how much the number of tokens changes.
    fn push(&mut self, places: &mut Vec<Place>, symbol: u32) -> i32 {
        // Unless a token ends here, the symbol is one.
        let (mut last, mut more) = (symbol, 1);
        let mut kept = 0;
        for at in 0..places.len() {
            let Place {
                node,
                before,
                behind,
            } = places[at];
            let Some(node) = self.starts.next(node, symbol) else {
                continue;
            };
            if let Some(token) = self.starts.value(node)
                && last == symbol
                && self.fits(before, token)
            {
                (last, more) = (token, 1 - behind);
            }
            if self.starts.goes_on(node) {
                places[kept] = Place {
                    node,
                    before,
                    behind,
                };
                kept += 1;
            }
        }
        places.truncate(kept);
        for place in places.iter_mut() {
            place.behind += more;
        }
        places.push(Place {
            node: Trie::ROOT,
            before: last,
            behind: 0,
        });
        more
    }
}

impl<'a> Pairs<'a> {
    /// `starts` are the tokens of `merges` by their symbols.
    pub(super) fn new(merges: &'a Merges, starts: &'a Trie, spelling: Spelling<'a>) -> Pairs<'a> {
        Pairs {
            joining: Joining {
                merges,
                starts,
                fits: vec![(NONE, NONE, false); 1 << Joining::FITS_BITS],
            },
            spelling,
            symbols: Vec::new(),
        }
    }

    /// Behind symbols of a word that begins with them, if not at their first; `first` and `unknown` as in [`Spelling`].
    pub(super) fn within(&mut self, symbols: &[u32], first: bool, unknown: bool) -> (Pending, i32) {
        let mut pending = Pending {
            first,
            unknown,
            ..self.start()
        };
        let push = |&symbol| self.joining.push(&mut pending.places, symbol);
        let tokens = symbols.iter().map(push).sum();
        (pending, tokens)
    }
}

impl Model for Pairs<'_> {
    type State = Pending;

    fn start(&self) -> Pending {
        Pending {
            places: vec![Place {
                node: Trie::ROOT,
                before: NONE,
                behind: 0,
            }],
            first: true,
            unknown: false,
        }
    }

    fn step(&mut self, pending: &mut Pending, symbol: u32) -> Option<i32> {
        let Pairs {
            joining, spelling, ..
        } = self;
        (spelling.first, spelling.unknown) = (pending.first, pending.unknown);
        let mut more = 0;
        let push = |symbol| more += joining.push(&mut pending.places, symbol);
        match character(symbol) {
            Some(c) => spelling.character(c, false, push),
            None => spelling.flush(push),
        }
        (pending.first, pending.unknown) = (spelling.first, spelling.unknown);
        Some(more)
    }

    fn whole(&mut self, word: &[u32]) -> Option<usize> {
        if word.is_empty() {
            return None;
        }
        let Pairs {
            joining,
            spelling,
            symbols,
        } = self;
        symbols.clear();
        (spelling.first, spelling.unknown) = (true, false);
        for c in word.iter().filter_map(|&c| character(c)) {
            spelling.character(c, false, |symbol| symbols.push(symbol));
        }
        spelling.flush(|symbol| symbols.push(symbol));
        Some(joining.merges.merged(symbols))
    }

    fn open(pending: &Pending) -> i64 {
        // The last token goes from one of the places.
        let behind = pending.places.iter().map(|place| place.behind);
        behind.max().unwrap_or(0).into()
    }

    fn size(pending: &Pending) -> usize {
        pending.places.len()
    }
}
