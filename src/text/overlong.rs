//! The inside of a word that is too long for the model, which then is unknown whatever it is: it is passed over, and
//! only looked at for where it may end.
//!
//! All that is passed over are characters that neither end a word nor become what does, also not with those beside them,
//! between others of that kind: so many before that the word is too long in any case, and behind it those with which
//! what follows may be put together.

use std::sync::Arc;

use super::by_character::{INDEPENDENT, OPAQUE, STAYS, Table};

/// What is passed over, and when.
#[derive(Clone)]
pub(super) struct Overlong {
    table: Arc<Table>,
    /// Words of more characters are unknown.
    most: usize,
}

/// Composition joins at most so many characters into one.
const JOINED: usize = 4;

impl Overlong {
    /// `table` is that of the normalizers, which must not make characters of bytes.
    pub(super) fn new(table: Arc<Table>, most: usize) -> Overlong {
        Overlong { table, most }
    }
}

/// How it stands with the text that was given out.
pub(super) struct Passing<'a> {
    overlong: &'a Overlong,
    /// Of the last characters that can't end a word those of which something stays, and whether what comes before them
    /// doesn't matter to those behind them.
    given: usize,
    apart: bool,
    /// Where to go on if what comes depends on what was passed over; none while nothing is.
    resume: Option<usize>,
    /// Nothing is passed over before this place.
    not_before: usize,
}

impl<'a> Passing<'a> {
    pub(super) fn new(overlong: &'a Overlong) -> Passing<'a> {
        Passing {
            overlong,
            given: 0,
            apart: true,
            resume: None,
            not_before: 0,
        }
    }

    /// These characters of the text were given out.
    pub(super) fn gave(&mut self, part: &[u32]) {
        let (mut stays, mut apart) = (0, false);
        for &c in part.iter().rev() {
            let flags = self.overlong.table.flags(c);
            if flags & OPAQUE == 0 {
                (self.given, self.apart) = (stays, apart);
                return;
            }
            stays += usize::from(flags & STAYS != 0);
            apart |= flags & INDEPENDENT != 0;
        }
        self.given += stays;
        self.apart |= apart;
    }

    /// An added token was given out.
    pub(super) fn gave_token(&mut self) {
        (self.given, self.apart, self.resume) = (0, true, None);
    }

    /// Where `text` goes on, of which all up to `given` was given out or passed over, and that up to `clear` holds no
    /// added token.
    pub(super) fn pass(&mut self, text: &str, given: usize, clear: usize) -> usize {
        let enough = JOINED.saturating_mul(self.overlong.most.saturating_add(2));
        let Some(mut resume) = self.resume.or_else(|| {
            let passes = self.apart && self.given >= enough && given >= self.not_before;
            passes.then_some(given)
        }) else {
            return given;
        };
        for (place, c) in text[given..clear].char_indices() {
            let flags = self.overlong.table.flags(c as u32);
            if flags & OPAQUE == 0 {
                (self.given, self.apart, self.resume) = (0, false, None);
                self.not_before = given + place;
                return if flags & INDEPENDENT != 0 {
                    given + place
                } else {
                    resume
                };
            }
            if flags & INDEPENDENT != 0 {
                resume = given + place;
            }
        }
        self.resume = Some(resume);
        clear
    }
}
