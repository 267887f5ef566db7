//! Texts and pairs as ids, with special tokens, token types, truncation and windows.

use rayon::prelude::*;

use super::truncation::longest_first;
use super::{Encoding, Tokenizer};
use crate::error::{Error, Result};

/// The least maximum length: a pair's three special tokens and one of text.
const MIN_MAX_LENGTH: usize = 4;

/// How many texts one thread encodes at least, so that handing them out costs little beside.
const TEXTS_A_TASK: usize = 16;

impl Tokenizer {
    /// `[CLS] text [SEP]`, or `[CLS] text [SEP] pair [SEP]` with token types 0 and 1; an empty second text is still a
    /// pair. At most `max_length` ids: the text is cut at its end, of a pair the longer one first, and the closing
    /// `[SEP]` always stays. A special token that stands in the text as such ("[SEP]") is taken for one, as Hugging
    /// Face's tokenizers do.
    ///
    /// Of a long text only as much is looked at as `max_length` needs, where it has whitespace to be cut at.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] where `max_length` is under 4.
    pub fn encode(&self, text: &str, pair: Option<&str>, max_length: usize) -> Result<Encoding> {
        check_max_length(max_length)?;
        let pipeline = &self.inner.pipeline;
        let room = room(pair.is_some(), max_length);
        let enough = room.saturating_add(1);
        let mut first = pipeline.ids(text, enough)?;
        let Some(pair) = pair else {
            let truncated = first.len() > room;
            first.truncate(room);
            return Ok(self.assemble(&first, None, truncated));
        };
        let mut second = pipeline.ids(pair, enough)?;
        if first.len() > room && second.len() > room && room % 2 == 1 {
            // The odd token belongs to the longer one, and which one that is shows only in the end.
            first = pipeline.ids(text, usize::MAX)?;
            second = pipeline.ids(pair, usize::MAX)?;
        }
        let (kept_first, kept_second) = longest_first(first.len(), second.len(), room);
        let truncated = kept_first < first.len() || kept_second < second.len();
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
        let first = pipeline.ids(text, usize::MAX)?;
        let Some(pair) = pair else {
            return windows(&first, room, stride)
                .try_for_each(|part| take(self.assemble(part, None, false)));
        };
        let second = pipeline.ids(pair, usize::MAX)?;
        let kept = first
            .len()
            .min((room / 2).max(room.saturating_sub(second.len())));
        windows(&second, room - kept, stride).try_for_each(|part| {
            take(self.assemble(&first[..kept], Some(part), kept < first.len()))
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
            token_type_ids.resize(length, 1);
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

/// `ids` in parts of at most `size` that share `stride` with the one before. What fits is one part, also no ids;
/// where it doesn't, `stride` must be under `size`.
fn windows(ids: &[u32], size: usize, stride: usize) -> impl Iterator<Item = &[u32]> {
    let (step, count) = match ids.len().checked_sub(size) {
        None | Some(0) => (0, 1),
        Some(behind) => {
            let step = size - stride;
            (step, 1 + behind.div_ceil(step))
        }
    };
    (0..count).map(move |window| {
        let from = window * step;
        &ids[from..ids.len().min(from.saturating_add(size))]
    })
}
