//! tokenizer.json as plain data: of the right kinds and of no absurd size, but not yet looked at any closer.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use tokenizers::models::bpe::Vocab;
use tokenizers::normalizers::{
    ByteLevel as ByteLevelNormalizer, Lowercase, NFC, NFD, NFKC, NFKD, NormalizerWrapper, Strip,
    StripAccents,
};
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::punctuation::Punctuation;
use tokenizers::pre_tokenizers::whitespace::{Whitespace, WhitespaceSplit};
use tokenizers::{AddedToken, SplitDelimiterBehavior};

use super::BertNormalization;
use super::pipeline::bert_normalizer;
use super::post_processor::Processors;
use crate::error::{Error, Result};

/// The most tokens that are read; the largest published BERT vocabularies have half a million.
pub(super) const MAX_TOKENS: usize = 2_000_000;

/// The most steps that a normalizer or pre-tokenizer is made of.
pub(super) const MAX_STEPS: usize = 64;

/// Ids lie under this: embeddings have a row for each.
const MAX_VOCAB_SIZE: usize = 10_000_000;

/// The most added tokens.
pub(super) const MAX_ADDED_TOKENS: usize = 100_000;

/// A piece of the file in a message: short, without control characters.
pub(super) fn shown(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .take(40)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    if text.chars().nth(40).is_some() {
        shown.push('…');
    }
    shown
}

/// That an id isn't absurd.
pub(super) fn check_id(token: &str, id: u32) -> Result<()> {
    if id as usize >= MAX_VOCAB_SIZE {
        return Err(Error::Format(format!(
            "tokenizer.json gives the token '{}' the id {id}; ids must be under {MAX_VOCAB_SIZE}.",
            shown(token)
        )));
    }
    Ok(())
}

/// The error for a step or a model of another kind than those that are done here.
pub(super) fn unsupported(what: &str, kind: &str) -> Error {
    Error::Unsupported(format!(
        "tokenizer.json has a {what} of type '{}', which isn't supported; tokenizers of the types WordPiece, WordLevel \
         and BPE load, SentencePiece's (Unigram) don't.",
        shown(kind)
    ))
}

/// The whole file. Fields that aren't named here (truncation, decoder, dropout) are skipped.
#[derive(Deserialize)]
pub(super) struct File {
    pub(super) version: Option<String>,
    pub(super) added_tokens: Option<AtMost<AddedTokenFile, MAX_ADDED_TOKENS>>,
    pub(super) normalizer: Option<Steps>,
    pub(super) pre_tokenizer: Option<Steps>,
    pub(super) post_processor: Option<Processors>,
    pub(super) padding: Option<PaddingFile>,
    pub(super) model: ModelFile,
}

/// How batches are padded, of which only the token is of use.
#[derive(Deserialize)]
pub(super) struct PaddingFile {
    pub(super) pad_token: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct AddedTokenFile {
    pub(super) id: u32,
    pub(super) content: String,
    #[serde(default)]
    pub(super) single_word: bool,
    #[serde(default)]
    pub(super) lstrip: bool,
    #[serde(default)]
    pub(super) rstrip: bool,
    pub(super) normalized: Option<bool>,
    #[serde(default)]
    pub(super) special: bool,
}

impl AddedTokenFile {
    /// The crate's form.
    pub(super) fn to_added_token(&self) -> AddedToken {
        AddedToken::from(self.content.clone(), self.special)
            .single_word(self.single_word)
            .lstrip(self.lstrip)
            .rstrip(self.rstrip)
            .normalized(self.normalized.unwrap_or(!self.special))
    }
}

/// A list that may not be long.
pub(super) struct AtMost<T, const N: usize>(pub(super) Vec<T>);

impl<T, const N: usize> Default for AtMost<T, N> {
    fn default() -> Self {
        AtMost(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>, const N: usize> Deserialize<'de> for AtMost<T, N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct List<T, const N: usize>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>, const N: usize> Visitor<'de> for List<T, N> {
            type Value = AtMost<T, N>;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                write!(f, "a list of at most {N}")
            }
            fn visit_seq<A: SeqAccess<'de>>(
                self,
                mut list: A,
            ) -> std::result::Result<Self::Value, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = list.next_element()? {
                    if items.len() == N {
                        return Err(A::Error::custom(format!("more than {N} items")));
                    }
                    items.push(item);
                }
                Ok(AtMost(items))
            }
        }
        deserializer.deserialize_seq(List(PhantomData))
    }
}

/// One normalizer or pre-tokenizer with every field that any of them has; `L` is the list in a sequence.
#[derive(Deserialize)]
pub(super) struct StepFile<L> {
    #[serde(rename = "type")]
    kind: String,
    clean_text: Option<bool>,
    handle_chinese_chars: Option<bool>,
    strip_accents: Option<bool>,
    lowercase: Option<bool>,
    strip_left: Option<bool>,
    strip_right: Option<bool>,
    add_prefix_space: Option<bool>,
    trim_offsets: Option<bool>,
    use_regex: Option<bool>,
    individual_digits: Option<bool>,
    behavior: Option<String>,
    normalizers: Option<L>,
    pretokenizers: Option<L>,
}

/// What may stand in a sequence: no sequence again.
pub(super) type Step = StepFile<IgnoredAny>;

/// A step, or a sequence of them.
pub(super) type Steps = StepFile<AtMost<Step, MAX_STEPS>>;

impl<L> StepFile<L> {
    fn to_normalizer(
        &self,
        instead: &mut dyn FnMut(BertNormalization) -> BertNormalization,
    ) -> Result<NormalizerWrapper> {
        Ok(match self.kind.as_str() {
            "BertNormalizer" => bert_normalizer(&instead(BertNormalization {
                lowercase: self.lowercase.unwrap_or(true),
                strip_accents: self.strip_accents,
                handle_chinese_chars: self.handle_chinese_chars.unwrap_or(true),
                clean_text: self.clean_text.unwrap_or(true),
            })),
            "Lowercase" => Lowercase.into(),
            "NFC" => NFC.into(),
            "NFD" => NFD.into(),
            "NFKC" => NFKC.into(),
            "NFKD" => NFKD.into(),
            "StripAccents" => StripAccents.into(),
            "Strip" => Strip::new(
                self.strip_left.unwrap_or(true),
                self.strip_right.unwrap_or(true),
            )
            .into(),
            "ByteLevel" => ByteLevelNormalizer::new().into(),
            other => return Err(unsupported("normalizer", other)),
        })
    }

    fn to_pre_tokenizer(&self) -> Result<PreTokenizerWrapper> {
        Ok(match self.kind.as_str() {
            "BertPreTokenizer" => BertPreTokenizer.into(),
            "Whitespace" => Whitespace.into(),
            "WhitespaceSplit" => WhitespaceSplit.into(),
            "ByteLevel" => ByteLevel::new(
                self.add_prefix_space.unwrap_or(true),
                self.trim_offsets.unwrap_or(true),
                self.use_regex.unwrap_or(true),
            )
            .into(),
            "Digits" => Digits::new(self.individual_digits.unwrap_or(false)).into(),
            "Punctuation" => Punctuation::new(match self.behavior.as_deref() {
                None | Some("Isolated") => SplitDelimiterBehavior::Isolated,
                Some("Removed") => SplitDelimiterBehavior::Removed,
                Some("MergedWithPrevious") => SplitDelimiterBehavior::MergedWithPrevious,
                Some("MergedWithNext") => SplitDelimiterBehavior::MergedWithNext,
                Some("Contiguous") => SplitDelimiterBehavior::Contiguous,
                Some(other) => return Err(unsupported("punctuation behavior", other)),
            })
            .into(),
            other => return Err(unsupported("pre-tokenizer", other)),
        })
    }
}

impl Steps {
    /// How many steps write each byte as a character.
    pub(super) fn count_byte_level(&self) -> usize {
        let inner = [&self.normalizers, &self.pretokenizers];
        let inner = inner.into_iter().flatten().flat_map(|steps| &steps.0);
        usize::from(self.kind == "ByteLevel")
            + inner.filter(|step| step.kind == "ByteLevel").count()
    }

    /// The crate's form; `instead` has a BertNormalizer's switches in place of the file's.
    pub(super) fn into_normalizer(
        self,
        instead: &mut dyn FnMut(BertNormalization) -> BertNormalization,
    ) -> Result<NormalizerWrapper> {
        if self.kind != "Sequence" {
            return self.to_normalizer(instead);
        }
        let steps = self.normalizers.unwrap_or_default().0;
        let steps = steps.iter().map(|step| step.to_normalizer(instead));
        Ok(tokenizers::normalizers::Sequence::new(steps.collect::<Result<_>>()?).into())
    }

    /// The crate's form.
    pub(super) fn into_pre_tokenizer(self) -> Result<PreTokenizerWrapper> {
        if self.kind != "Sequence" {
            return self.to_pre_tokenizer();
        }
        let steps = self.pretokenizers.unwrap_or_default().0;
        let steps = steps.iter().map(Step::to_pre_tokenizer);
        Ok(
            tokenizers::pre_tokenizers::sequence::Sequence::new(steps.collect::<Result<_>>()?)
                .into(),
        )
    }
}

#[derive(Deserialize)]
pub(super) struct ModelFile {
    #[serde(rename = "type")]
    kind: Option<String>,
    pub(super) vocab: Option<VocabFile>,
    pub(super) merges: Option<AtMost<MergeFile, MAX_TOKENS>>,
    pub(super) unk_token: Option<String>,
    pub(super) continuing_subword_prefix: Option<String>,
    pub(super) end_of_word_suffix: Option<String>,
    pub(super) max_input_chars_per_word: Option<u64>,
    pub(super) fuse_unk: Option<bool>,
    pub(super) byte_fallback: Option<bool>,
    pub(super) ignore_merges: Option<bool>,
}

impl ModelFile {
    /// The type. Files from before tokenizers 0.9 don't tell it: the first kind whose fields are all there, as the
    /// crate has it.
    pub(super) fn kind(&self) -> Result<&str> {
        if let Some(kind) = &self.kind {
            return Ok(kind);
        }
        let has_ids = matches!(self.vocab, Some(VocabFile::Ids(_)));
        let has_unk = self.unk_token.is_some();
        match &self.vocab {
            Some(VocabFile::Ids(_)) if self.merges.is_some() => Ok("BPE"),
            Some(VocabFile::Ids(_))
                if has_unk
                    && self.continuing_subword_prefix.is_some()
                    && self.max_input_chars_per_word.is_some() =>
            {
                Ok("WordPiece")
            }
            Some(VocabFile::Ids(_)) if has_unk => Ok("WordLevel"),
            Some(VocabFile::List) => Ok("Unigram"),
            _ => Err(Error::Format(format!(
                "The model of tokenizer.json has no type, and not the fields by which it could be told: {} is missing.",
                if has_ids {
                    "unk_token or merges"
                } else {
                    "vocab"
                }
            ))),
        }
    }
}

/// Tokens and their ids; other models than ours have lists there.
pub(super) enum VocabFile {
    Ids(Vocab),
    List,
}

impl<'de> Deserialize<'de> for VocabFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Tokens;
        impl<'de> Visitor<'de> for Tokens {
            type Value = VocabFile;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                write!(f, "at most {MAX_TOKENS} different tokens with their ids")
            }
            fn visit_map<A: MapAccess<'de>>(
                self,
                mut map: A,
            ) -> std::result::Result<VocabFile, A::Error> {
                let mut ids = Vocab::default();
                while let Some((token, id)) = map.next_entry::<String, u32>()? {
                    if ids.len() == MAX_TOKENS || ids.insert(token, id).is_some() {
                        return Err(A::Error::custom("too many tokens, or a token twice"));
                    }
                }
                Ok(VocabFile::Ids(ids))
            }
            fn visit_seq<A: SeqAccess<'de>>(
                self,
                mut list: A,
            ) -> std::result::Result<VocabFile, A::Error> {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(VocabFile::List)
            }
        }
        deserializer.deserialize_any(Tokens)
    }
}

/// "left right", or ["left", "right"].
pub(super) struct MergeFile(pub(super) String, pub(super) String);

impl<'de> Deserialize<'de> for MergeFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Merge;
        impl<'de> Visitor<'de> for Merge {
            type Value = MergeFile;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                write!(f, "two tokens")
            }
            fn visit_str<E: serde::de::Error>(
                self,
                merge: &str,
            ) -> std::result::Result<MergeFile, E> {
                match merge.split_once(' ') {
                    Some((left, right)) if !right.contains(' ') => {
                        Ok(MergeFile(left.into(), right.into()))
                    }
                    _ => Err(E::custom("not two tokens")),
                }
            }
            fn visit_seq<A: SeqAccess<'de>>(
                self,
                mut list: A,
            ) -> std::result::Result<MergeFile, A::Error> {
                match (
                    list.next_element()?,
                    list.next_element()?,
                    list.next_element::<IgnoredAny>()?,
                ) {
                    (Some(left), Some(right), None) => Ok(MergeFile(left, right)),
                    _ => Err(A::Error::custom("not two tokens")),
                }
            }
        }
        deserializer.deserialize_any(Merge)
    }
}
