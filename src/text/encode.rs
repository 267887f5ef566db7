//! Texts and pairs as ids, with special tokens, token types, truncation and windows.

use rayon::prelude::*;

use super::pipeline::{Counting, Ids};
use super::truncation::longest_first;
use super::{Encoding, SMALL_PARTS, Tokenizer};
use crate::error::{Error, Result};
use crate::threads;

/// The least maximum length: a pair's three special tokens and one of text.
const MIN_MAX_LENGTH: usize = 4;

/// How many texts one thread encodes at least, so that handing them out costs little beside.
const TEXTS_A_TASK: usize = 16;

/// The texts of a pair that are shorter than this, in bytes, are read by one thread, and nothing is prepared for them.
const BYTES_A_THREAD: usize = if SMALL_PARTS { 16 } else { 1 << 16 };

impl Tokenizer {
    /// `[CLS] text [SEP]`, or `[CLS] text [SEP] pair [SEP]` with token types 0 and 1 (where the tokenizer's file says
    /// so, 0 for both); an empty second text is still a pair. At most `max_length` ids: the text is cut at its end, of
    /// a pair the longer one first, and the closing `[SEP]` always stays. A special token that stands in the text as
    /// such ("[SEP]") is taken for one, as Hugging Face's tokenizers do.
    ///
    /// Of a long text only as much is looked at as `max_length` needs. Of a pair of two that are both longer than what
    /// there is room for, where that is odd, the odd token belongs to the longer one: both are read until one ends, on
    /// two threads of rayon's current pool.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] where `max_length` is under 4.
    pub fn encode(&self, text: &str, pair: Option<&str>, max_length: usize) -> Result<Encoding> {
        check_max_length(max_length)?;
        let pipeline = &self.inner.pipeline;
        let room = room(pair.is_some(), max_length);
        let enough = room.saturating_add(1);
        let mut first = pipeline.ids(text);
        let Some(pair) = pair else {
            let first_is_long = first.until(enough)?;
            let kept = first.ids.len().min(room);
            return Ok(self.assemble(&first.ids[..kept], None, first_is_long));
        };
        let mut second = pipeline.ids(pair);
        let large = text.len().min(pair.len()) >= BYTES_A_THREAD;
        let (first_is_long, second_is_long) = if large {
            let (first, second) = threads::join(|| first.until(enough), || second.until(enough));
            (first?, second?)
        } else {
            (first.until(enough)?, second.until(enough)?)
        };
        let (first, second, lengths) = if first_is_long && second_is_long && room % 2 == 1 {
            let (first, mut count_first) = first.counting(large)?;
            let (second, mut count_second) = second.counting(large)?;
            let lengths = compare_lengths(&mut count_first, &mut count_second)?;
            (first, second, lengths)
        } else {
            let lengths = (first.ids.len(), second.ids.len());
            (first.ids, second.ids, lengths)
        };
        let (kept_first, kept_second) = longest_first(lengths.0, lengths.1, room);
        let truncated = kept_first < lengths.0 || kept_second < lengths.1;
        Ok(self.assemble(
            &first[..kept_first],
            Some(&second[..kept_second]),
            truncated,
        ))
    }

    /// [`Tokenizer::encode`] for many texts at once, on rayon's current pool; results in the texts' order.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode_batch(
        &self,
        texts: &[(&str, Option<&str>)],
        max_length: usize,
    ) -> Result<Vec<Encoding>> {
        check_max_length(max_length)?;
        if texts.len() <= TEXTS_A_TASK || threads::current_num_threads() == 1 {
            let encode = |(text, pair): &(&str, Option<&str>)| self.encode(text, *pair, max_length);
            return texts.iter().map(encode).collect();
        }
        texts
            .par_iter()
            .with_min_len(TEXTS_A_TASK)
            .map(|(text, pair)| self.encode(text, *pair, max_length))
            .collect()
    }

    /// A text as windows of at most `max_length` ids, each `[CLS] part [SEP]`, neighbouring ones sharing `stride`
    /// tokens of text; every token of the text is in some window. A short text is one window, an empty one
    /// `[CLS] [SEP]`.
    ///
    /// Of a pair that doesn't fit, the second text is windowed and the first stands whole in each window; where it is
    /// longer than half of the room it is cut to that half, or to what a short second text leaves.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] where `max_length` is under 4, or where `stride` isn't smaller than the least text
    /// a window may hold: `max_length - 2`, for a pair half of `max_length - 3`, rounded up.
    pub fn encode_windows(
        &self,
        text: &str,
        pair: Option<&str>,
        max_length: usize,
        stride: usize,
    ) -> Result<Vec<Encoding>> {
        let mut all = Vec::new();
        self.for_each_window(text, pair, max_length, stride, |window| {
            all.push(window);
            Ok(())
        })?;
        Ok(all)
    }

    /// Gives each window of [`encode_windows`](Tokenizer::encode_windows) to `take`, one after another: a long text has
    /// more of them than should be in memory at once.
    ///
    /// # Errors
    /// As `encode_windows`, and what `take` gives.
    pub fn for_each_window(
        &self,
        text: &str,
        pair: Option<&str>,
        max_length: usize,
        stride: usize,
        mut take: impl FnMut(Encoding) -> Result<()>,
    ) -> Result<()> {
        check_max_length(max_length)?;
        let room = room(pair.is_some(), max_length);
        let least = match pair {
            None => room,
            Some(_) => room - room / 2,
        };
        if stride >= least {
            return Err(Error::InvalidArgument(format!(
                "stride is {stride}; with a max_length of {max_length} it must be under {least} for {}, so that each \
                 window goes further than the one before it.",
                if pair.is_some() { "pairs" } else { "texts" }
            )));
        }
        let pipeline = &self.inner.pipeline;
        let mut first = pipeline.ids(text);
        let Some(pair) = pair else {
            return each_window(first, room, stride, |part| {
                take(self.assemble(part, None, false))
            });
        };
        let mut second = pipeline.ids(pair);
        first.until(room.saturating_add(1))?;
        second.until(room)?;
        let kept = first
            .ids
            .len()
            .min((room / 2).max(room.saturating_sub(second.ids.len())));
        let truncated = kept < first.ids.len();
        first.ids.truncate(kept);
        each_window(second, room - kept, stride, |part| {
            take(self.assemble(&first.ids, Some(part), truncated))
        })
    }

    /// Puts the special tokens around.
    fn assemble(&self, first: &[u32], second: Option<&[u32]>, truncated: bool) -> Encoding {
        let special = &self.inner.special;
        let length = first.len() + 2 + second.map_or(0, |second| second.len() + 1);
        let mut input_ids = Vec::with_capacity(length);
        input_ids.push(special.cls);
        input_ids.extend_from_slice(first);
        input_ids.push(special.sep);
        let mut token_type_ids = Vec::with_capacity(length);
        token_type_ids.resize(input_ids.len(), 0);
        if let Some(second) = second {
            input_ids.extend_from_slice(second);
            input_ids.push(special.sep);
            token_type_ids.resize(length, special.second_type);
        }
        Encoding {
            input_ids,
            token_type_ids,
            truncated,
        }
    }
}

fn check_max_length(max_length: usize) -> Result<()> {
    if max_length < MIN_MAX_LENGTH {
        return Err(Error::InvalidArgument(format!(
            "max_length is {max_length}; it must be at least {MIN_MAX_LENGTH}, to hold the special tokens and some \
             text."
        )));
    }
    Ok(())
}

/// How many tokens of text fit between the special ones.
fn room(pair: bool, max_length: usize) -> usize {
    max_length - if pair { 3 } else { 2 }
}

/// Of two texts it is first looked which one has more ids when each has so many more.
const IDS_A_TURN: usize = if SMALL_PARTS { 3 } else { 1 << 16 };

/// Counts the ids of two texts until it shows which one has more, both at once on rayon's current pool; lengths that
/// compare as theirs do, and are no longer.
fn compare_lengths(first: &mut Counting, second: &mut Counting) -> Result<(usize, usize)> {
    let mut turn = IDS_A_TURN;
    loop {
        let lengths = (first.least(), second.least());
        // One that has ended and isn't longer never will be.
        if (first.ended || lengths.0 > lengths.1) && (second.ended || lengths.1 > lengths.0) {
            return Ok(lengths);
        }
        let target = lengths.0.max(lengths.1).saturating_add(turn);
        let (in_first, in_second) = threads::join(|| first.until(target), || second.until(target));
        in_first.and(in_second)?;
        // One that goes further than the other's end does so by no more than that had.
        turn = turn.saturating_mul(2);
    }
}

/// Gives `ids` to `take` in parts of at most `size` that share `stride` with the one before. What fits is one part,
/// also no ids; where it doesn't, `stride` must be under `size`.
fn each_window(
    mut ids: Ids,
    size: usize,
    stride: usize,
    mut take: impl FnMut(&[u32]) -> Result<()>,
) -> Result<()> {
    let mut from = 0;
    loop {
        // One more, to see whether this is the last one.
        let end = from + size;
        let goes_on = ids.until(end.saturating_add(1))?;
        take(&ids.ids[from..end.min(ids.ids.len())])?;
        if !goes_on {
            return Ok(());
        }
        from = end - stride;
        // Not after each window, as what is left moves then.
        if from >= ids.ids.len() / 2 {
            ids.ids.drain(..from);
            from = 0;
        }
    }
}
