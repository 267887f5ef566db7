//! Normalizer, pre-tokenizer, added tokens and model of a tokenizer as one thing that turns text into ids or words.
//!
//! The `tokenizers` crate holds them, writes them and defines what they do. A text doesn't go through it, though: it
//! normalises all of a text before it looks at a word, with some 20 bytes a character for where each came from. Here
//! text goes through the same steps as a stream of symbols, of which no more is read than the ids that are asked for
//! need.

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::Arc;

use tokenizers::normalizers::{BertNormalizer, Lowercase, NormalizerWrapper};
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::{AddedToken, ModelWrapper, NormalizedString, Normalizer};

use super::BertNormalization;
use super::added_tokens::{AddedTokens, FindAdded, TextSource};
use super::by_character::{ByCharacter, InWords, Part, Table};
use super::normalization::Normalization;
use super::overlong::Overlong;
use super::splitting::Splitting;
use super::symbols::{Step, Stream, character};
use super::token_counts::Counter;
use super::words::{Vocabulary, Words};
use crate::error::{Error, Result};

/// The special tokens of a vocabulary that is learned here, by id.
pub(super) const SPECIAL_TOKENS: [&str; 5] = ["[PAD]", "[CLS]", "[SEP]", "[MASK]", "[UNK]"];

/// The special tokens as the crate wants them: matched in the text as it comes, before normalisation.
pub(super) fn special_tokens() -> Vec<AddedToken> {
    SPECIAL_TOKENS
        .iter()
        .map(|token| AddedToken::from(*token, true))
        .collect()
}

/// The crate's form of BERT's normalization.
pub(super) fn bert_normalizer(options: &BertNormalization) -> NormalizerWrapper {
    BertNormalizer::new(
        options.clean_text,
        options.handle_chinese_chars,
        options.strip_accents,
        options.lowercase,
    )
    .into()
}

/// The normalizer that only lower-cases, where asked for.
pub(super) fn lowercase_normalizer(lowercase: bool) -> Option<NormalizerWrapper> {
    lowercase.then(|| Lowercase.into())
}

/// A failure of the crate that nothing outside can bring about; its text goes to the log.
pub(super) fn unexpected<E: Display>(what: &'static str) -> impl FnOnce(E) -> Error {
    move |error| {
        crate::log::debug(|| format!("{what}: {error}"));
        Error::Internal(format!(
            "The tokenizer failed ({what}); please report this with the log at level debug."
        ))
    }
}

/// See the module's head.
pub(super) struct Pipeline {
    tokenizer: tokenizers::Tokenizer,
    vocabulary: Vocabulary,
    links: Vec<Link>,
    /// Looked for in the text as it comes.
    added: Option<AddedTokens>,
    /// What is passed over, where something is.
    overlong: Option<Overlong>,
}

/// A step of the stream.
enum Link {
    /// Several at once.
    Table(Arc<Table>),
    Part(Part),
    /// Looks for added tokens in the text once normalised.
    Added(Arc<AddedTokens>),
}

impl Link {
    fn step(&self) -> Box<dyn Step> {
        match self {
            Link::Table(table) => Box::new(ByCharacter::new(Arc::clone(table))),
            Link::Part(part) => part.step(),
            Link::Added(tokens) => Box::new(FindAdded::new(Arc::clone(tokens))),
        }
    }
}

/// The steps, those together that can be.
fn links(
    normalization: &[Normalization],
    added: Option<AddedTokens>,
    splitting: &[Splitting],
) -> Vec<Link> {
    let normalization = normalization.iter().copied().map(Part::Normalization);
    let splitting = splitting.iter().copied().map(Part::Splitting);
    let all: Vec<Option<Part>> = match &added {
        Some(_) => normalization
            .map(Some)
            .chain([None])
            .chain(splitting.map(Some))
            .collect(),
        None => normalization.chain(splitting).map(Some).collect(),
    };
    let mut added = added;
    let mut links = Vec::new();
    for together in all.chunk_by(|a, b| {
        [a, b]
            .into_iter()
            .all(|part| part.is_some_and(Part::goes_by_character))
    }) {
        match *together {
            [None] => links.extend(added.take().map(|tokens| Link::Added(Arc::new(tokens)))),
            [Some(part)] if !part.goes_by_character() => links.push(Link::Part(part)),
            _ => {
                let parts = together.iter().copied().flatten().collect();
                links.push(Link::Table(Arc::new(Table::new(parts, InWords::ANY))));
            }
        }
    }
    links
}

/// What is passed over of a text's words, where that can be told.
fn overlong(
    vocabulary: &Vocabulary,
    normalization: &[Normalization],
    splitting: &[Splitting],
) -> Option<Overlong> {
    let most = vocabulary.most_characters()?;
    let in_words = InWords::of(splitting)?;
    let mut parts = Vec::new();
    for &normalization in normalization {
        match normalization {
            // What letters are in bytes may end a word where the letters don't.
            Normalization::Bytes => return None,
            // It does nothing within a word.
            Normalization::Strip { .. } if in_words.excludes_space() => {}
            Normalization::Strip { .. } => return None,
            other => parts.push(Part::Normalization(other)),
        }
    }
    Some(Overlong::new(Arc::new(Table::new(parts, in_words)), most))
}

/// A model with the merges of BPE, which the crate doesn't tell.
pub(super) struct ModelParts {
    pub(super) model: ModelWrapper,
    /// Ids of the left, the right and the merged token, by rank; empty for other models.
    pub(super) merges: Vec<(u32, u32, u32)>,
}

impl<M: Into<ModelWrapper>> From<M> for ModelParts {
    /// A model without merges.
    fn from(model: M) -> ModelParts {
        ModelParts {
            model: model.into(),
            merges: Vec::new(),
        }
    }
}

impl Pipeline {
    /// From the crate's parts. The tokens must be ones that the crate accepts, else [`Error::Format`].
    pub(super) fn new(
        parts: ModelParts,
        normalizer: Option<NormalizerWrapper>,
        pre_tokenizer: Option<PreTokenizerWrapper>,
        added_tokens: Vec<AddedToken>,
    ) -> Result<Pipeline> {
        let ModelParts { model, merges } = parts;
        let other = || {
            Error::Unsupported(
                "The tokenizer has a normalizer or pre-tokenizer that isn't supported.".into(),
            )
        };
        let normalization = normalizer
            .as_ref()
            .map_or(Some(Vec::new()), Normalization::of)
            .ok_or_else(other)?;
        let splitting = pre_tokenizer
            .as_ref()
            .map_or(Some(Vec::new()), Splitting::of)
            .ok_or_else(other)?;
        let vocabulary = Vocabulary::new(&model, merges)?;
        let mut tokenizer = tokenizers::Tokenizer::new(model);
        tokenizer
            .with_normalizer(normalizer)
            .map_err(unexpected("setting the normalizer"))?;
        tokenizer.with_pre_tokenizer(pre_tokenizer);
        let unusable = || {
            Error::Format(
                "The tokenizer's added tokens can't be used together: two of them are the same once normalised, or \
                 one is empty then."
                    .into(),
            )
        };
        // The crate takes an empty one and would find it everywhere; of two equal ones it would find one at random.
        let mut seen: HashMap<String, &str> = HashMap::new();
        for token in added_tokens.iter().filter(|token| token.normalized) {
            let text = normalized_content(&tokenizer, token)?;
            let empty = text.is_empty() && !token.content.is_empty();
            let before = seen.insert(text, &token.content);
            if empty || before.is_some_and(|content| content != token.content) {
                return Err(unusable());
            }
        }
        tokenizer.add_tokens(added_tokens).map_err(|error| {
            crate::log::debug(|| format!("adding tokens: {error}"));
            unusable()
        })?;
        let mut as_they_are = Vec::new();
        let mut once_normalized = Vec::new();
        let added = tokenizer.get_added_tokens_decoder();
        for (id, token) in &added {
            if token.normalized {
                once_normalized.push((normalized_content(&tokenizer, token)?, *id, token));
            } else {
                as_they_are.push((token.content.clone(), *id, token));
            }
        }
        let added_normalized = AddedTokens::new(once_normalized)?;
        let overlong = match &added_normalized {
            Some(_) => None,
            None => overlong(&vocabulary, &normalization, &splitting),
        };
        Ok(Pipeline {
            overlong,
            vocabulary,
            links: links(&normalization, added_normalized, &splitting),
            added: AddedTokens::new(as_they_are)?,
            tokenizer,
        })
    }

    /// The crate's tokenizer.
    pub(super) fn inner(&self) -> &tokenizers::Tokenizer {
        &self.tokenizer
    }

    /// The crate's tokenizer, to set what isn't part of cutting text.
    pub(super) fn inner_mut(&mut self) -> &mut tokenizers::Tokenizer {
        &mut self.tokenizer
    }

    /// The ids of `text`, without special tokens around it.
    pub(super) fn ids<'a>(&'a self, text: &'a str) -> Ids<'a> {
        Ids {
            stream: self.stream(text, self.overlong.as_ref()),
            words: Words::new(self.tokenizer.get_model(), &self.vocabulary),
            block: Vec::new(),
            ids: Vec::new(),
            ended: false,
        }
    }

    /// Calls `take` for each word of `text` of at most `longest` characters, as the model would get them; added tokens
    /// aren't words. Ends with the first error that `take` gives.
    pub(super) fn each_word(
        &self,
        text: &str,
        longest: usize,
        mut take: impl FnMut(&str) -> Result<()>,
    ) -> Result<()> {
        let mut stream = self.stream(text, None);
        let (mut word, mut characters) = (String::new(), 0);
        let mut block = Vec::new();
        while stream.next(&mut block) {
            for &symbol in &block {
                match character(symbol) {
                    Some(c) => {
                        if characters < longest {
                            word.push(c);
                        }
                        characters += 1;
                    }
                    None => {
                        if (1..=longest).contains(&characters) {
                            take(&word)?;
                        }
                        word.clear();
                        characters = 0;
                    }
                }
            }
        }
        Ok(())
    }

    fn stream<'a>(
        &'a self,
        text: &'a str,
        overlong: Option<&'a Overlong>,
    ) -> Stream<TextSource<'a>> {
        Stream::new(
            TextSource::new(text, self.added.as_ref(), overlong),
            self.links.iter().map(Link::step),
        )
    }
}

/// An added token's content as the normalizer leaves it.
fn normalized_content(tokenizer: &tokenizers::Tokenizer, token: &AddedToken) -> Result<String> {
    let mut text = NormalizedString::from(token.content.as_str());
    if let Some(normalizer) = tokenizer.get_normalizer() {
        normalizer
            .normalize(&mut text)
            .map_err(unexpected("normalising an added token"))?;
    }
    Ok(text.get().to_owned())
}

/// The ids of a text, which are worked out as they are asked for.
pub(super) struct Ids<'a> {
    stream: Stream<TextSource<'a>>,
    words: Words<'a>,
    block: Vec<u32>,
    /// Those that are there and weren't taken out.
    pub(super) ids: Vec<u32>,
    ended: bool,
}

impl<'a> Ids<'a> {
    /// Works out some more ids, if not always at once; false where the text has no more.
    pub(super) fn more(&mut self) -> Result<bool> {
        self.ended = self.ended || !self.stream.next(&mut self.block);
        if !self.ended {
            self.words.take(&self.block, &mut self.ids)?;
        }
        Ok(!self.ended)
    }

    /// Works out ids until there are `enough`, or all; whether there are enough.
    pub(super) fn until(&mut self, enough: usize) -> Result<bool> {
        while self.ids.len() < enough && self.more()? {}
        Ok(self.ids.len() >= enough)
    }

    /// The ids that were worked out, and the number of all. Where the text is `large` it pays to prepare for counting.
    pub(super) fn counting(self, large: bool) -> Result<(Vec<u32>, Counting<'a>)> {
        let before = self.ids.len();
        let counting = Counting {
            counter: if large {
                self.words.counter()?
            } else {
                self.words.counter_by_ids()
            },
            stream: self.stream,
            block: self.block,
            before,
            ended: self.ended,
        };
        Ok((self.ids, counting))
    }
}

/// How many ids a text has, which is worked out as it is asked for.
pub(super) struct Counting<'a> {
    stream: Stream<TextSource<'a>>,
    counter: Counter<'a>,
    block: Vec<u32>,
    /// Those that were worked out before.
    before: usize,
    pub(super) ended: bool,
}

impl Counting<'_> {
    /// So many there are at least, or in all where the text has ended.
    pub(super) fn least(&self) -> usize {
        self.before + self.counter.least()
    }

    /// Counts until there are `enough`, or all.
    pub(super) fn until(&mut self, enough: usize) -> Result<()> {
        while !self.ended && self.least() < enough {
            self.ended = !self.stream.next(&mut self.block);
            if !self.ended {
                self.counter.take(&self.block)?;
            }
        }
        Ok(())
    }
}
