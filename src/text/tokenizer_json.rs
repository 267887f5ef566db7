//! `tokenizer.json` from outside: read into plain data, checked, and only then built. The crate's own reader panics on
//! some damaged files and takes settings that aren't wanted here.

use std::collections::HashSet;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::models::wordlevel::WordLevel;
use tokenizers::models::wordpiece::WordPiece;
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
use tokenizers::{AddedToken, Model, SplitDelimiterBehavior};

use super::BertNormalization;
use super::pipeline::{ModelParts, Pipeline, bert_normalizer, unexpected};
use crate::error::{Error, Result};

/// The largest file that is read, in bytes: vocabularies of half a million tokens are under 20 MB.
pub(super) const MAX_FILE_BYTES: usize = 64 << 20;

/// The most tokens that are read; the largest published BERT vocabularies have half a million.
pub(super) const MAX_TOKENS: usize = 2_000_000;

/// Ids lie under this: embeddings have a row for each.
pub(super) const MAX_VOCAB_SIZE: usize = 10_000_000;

/// WordPiece tries every end of a word for each start, so longer words would take for ever.
const MAX_CHARS_A_WORD: usize = 1000;

/// The most steps that a normalizer or pre-tokenizer is made of.
const MAX_STEPS: usize = 64;

/// The most steps that write each byte as a character, which makes two and more of one: several times in a row there is
/// no end of it.
const MAX_BYTE_LEVEL_STEPS: usize = 2;

/// The most added tokens, and their bytes together.
const MAX_ADDED_TOKENS: usize = 100_000;
const MAX_ADDED_BYTES: usize = 8 << 20;

/// The checked tokenizer, without post-processor and decoder.
pub(super) fn read(json: &[u8]) -> Result<Pipeline> {
    if json.len() > MAX_FILE_BYTES {
        return Err(Error::Format(format!(
            "tokenizer.json has {} bytes; at most {MAX_FILE_BYTES} are read.",
            json.len()
        )));
    }
    let file: File = serde_json::from_slice(json).map_err(|error| {
        crate::log::debug(|| format!("reading tokenizer.json: {error}"));
        let problem = match error.classify() {
            serde_json::error::Category::Eof => "ends too early",
            serde_json::error::Category::Data => {
                "doesn't hold what a tokenizer's file holds: a value is of the wrong kind or size, or a field is \
                 missing or there twice,"
            }
            _ => "isn't valid JSON",
        };
        Error::Format(format!(
            "tokenizer.json {problem} at line {}, column {}.",
            error.line(),
            error.column()
        ))
    })?;
    if let Some(version) = &file.version
        && version != "1.0"
    {
        return Err(Error::Version(format!(
            "tokenizer.json has version '{}'; this library reads version '1.0'.",
            shown(version)
        )));
    }
    let model = model(file.model)?;
    if !file.post_processor.is_none_or(|p| p.is_bert()) {
        crate::log::warning(|| {
            "The tokenizer's file puts texts together in another way than [CLS] a [SEP] b [SEP] with token types 0 \
             and 1; here that way is used."
                .into()
        });
    }
    let byte_level = [&file.normalizer, &file.pre_tokenizer]
        .into_iter()
        .flatten()
        .map(Steps::count_byte_level)
        .sum::<usize>();
    if byte_level > MAX_BYTE_LEVEL_STEPS {
        return Err(Error::Unsupported(format!(
            "tokenizer.json has {byte_level} steps of type 'ByteLevel' in its normalizer and pre-tokenizer; at most \
             {MAX_BYTE_LEVEL_STEPS} are supported."
        )));
    }
    let normalizer = file.normalizer.map(Steps::into_normalizer).transpose()?;
    let pre_tokenizer = file
        .pre_tokenizer
        .map(Steps::into_pre_tokenizer)
        .transpose()?;
    let added = file.added_tokens.unwrap_or_default().0;
    if added.iter().map(|token| token.content.len()).sum::<usize>() > MAX_ADDED_BYTES {
        return Err(Error::Format(format!(
            "The added tokens of tokenizer.json have more than {MAX_ADDED_BYTES} bytes together."
        )));
    }
    for token in &added {
        check_id(&token.content, token.id)?;
        if let Some(other) = model.model.id_to_token(token.id)
            && other != token.content
        {
            return Err(Error::Format(format!(
                "tokenizer.json gives id {} to the added token '{}' and to '{}'; each token needs an id of its own.",
                token.id,
                shown(&token.content),
                shown(&other)
            )));
        }
    }
    let pipeline = Pipeline::new(
        model,
        normalizer,
        pre_tokenizer,
        added.iter().map(AddedTokenFile::to_added_token).collect(),
    )?;
    for token in &added {
        // The crate gives ids itself, in order, to tokens that the model doesn't have.
        let given = pipeline.inner().token_to_id(&token.content);
        if given != Some(token.id) {
            return Err(Error::Format(format!(
                "tokenizer.json says that the added token '{}' has id {}, but {}.",
                shown(&token.content),
                token.id,
                match given {
                    Some(id) => format!("by its vocabulary and the tokens before it that is {id}"),
                    None => "an added token can't be empty".into(),
                }
            )));
        }
    }
    Ok(pipeline)
}

/// A piece of the file in a message: short, without control characters.
fn shown(text: &str) -> String {
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

fn check_id(token: &str, id: u32) -> Result<()> {
    if id as usize >= MAX_VOCAB_SIZE {
        return Err(Error::Format(format!(
            "tokenizer.json gives the token '{}' the id {id}; ids must be under {MAX_VOCAB_SIZE}.",
            shown(token)
        )));
    }
    Ok(())
}

// --- The file as plain data. Fields that aren't named here (truncation, padding, decoder, dropout) are skipped. ---

#[derive(Deserialize)]
struct File {
    version: Option<String>,
    added_tokens: Option<AtMost<AddedTokenFile, MAX_ADDED_TOKENS>>,
    normalizer: Option<Steps>,
    pre_tokenizer: Option<Steps>,
    post_processor: Option<PostProcessorFile>,
    model: ModelFile,
}

#[derive(Deserialize)]
struct AddedTokenFile {
    id: u32,
    content: String,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    normalized: Option<bool>,
    #[serde(default)]
    special: bool,
}

impl AddedTokenFile {
    fn to_added_token(&self) -> AddedToken {
        AddedToken::from(self.content.clone(), self.special)
            .single_word(self.single_word)
            .lstrip(self.lstrip)
            .rstrip(self.rstrip)
            .normalized(self.normalized.unwrap_or(!self.special))
    }
}

/// A list that may not be long.
struct AtMost<T, const N: usize>(Vec<T>);

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
struct StepFile<L> {
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
type Step = StepFile<IgnoredAny>;

/// A step, or a sequence of them.
type Steps = StepFile<AtMost<Step, MAX_STEPS>>;

impl<L> StepFile<L> {
    fn to_normalizer(&self) -> Result<NormalizerWrapper> {
        Ok(match self.kind.as_str() {
            "BertNormalizer" => bert_normalizer(&BertNormalization {
                lowercase: self.lowercase.unwrap_or(true),
                strip_accents: self.strip_accents,
                handle_chinese_chars: self.handle_chinese_chars.unwrap_or(true),
                clean_text: self.clean_text.unwrap_or(true),
            }),
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
    fn count_byte_level(&self) -> usize {
        let inner = [&self.normalizers, &self.pretokenizers];
        let inner = inner.into_iter().flatten().flat_map(|steps| &steps.0);
        usize::from(self.kind == "ByteLevel")
            + inner.filter(|step| step.kind == "ByteLevel").count()
    }

    fn into_normalizer(self) -> Result<NormalizerWrapper> {
        if self.kind != "Sequence" {
            return self.to_normalizer();
        }
        let steps = self.normalizers.unwrap_or_default().0;
        let steps = steps.iter().map(Step::to_normalizer);
        Ok(tokenizers::normalizers::Sequence::new(steps.collect::<Result<_>>()?).into())
    }

    fn into_pre_tokenizer(self) -> Result<PreTokenizerWrapper> {
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

fn unsupported(what: &str, kind: &str) -> Error {
    Error::Unsupported(format!(
        "tokenizer.json has a {what} of type '{}', which isn't supported; BERT's tokenizers, WordLevel, WordPiece and \
         byte-level BPE are.",
        shown(kind)
    ))
}

/// Only looked at to say where texts are put together in another way than here.
#[derive(Deserialize)]
struct PostProcessorFile {
    #[serde(rename = "type")]
    kind: String,
    single: Option<AtMost<TemplatePiece, MAX_STEPS>>,
    pair: Option<AtMost<TemplatePiece, MAX_STEPS>>,
    cls: Option<(String, u32)>,
    sep: Option<(String, u32)>,
}

#[derive(Deserialize)]
enum TemplatePiece {
    SpecialToken { id: String, type_id: u32 },
    Sequence { id: String, type_id: u32 },
}

impl PostProcessorFile {
    fn is_bert(&self) -> bool {
        let equals = |template: &Option<AtMost<TemplatePiece, MAX_STEPS>>,
                      expected: &[(&str, u32)]| {
            template.as_ref().is_some_and(|pieces| {
                pieces.0.len() == expected.len()
                    && pieces.0.iter().zip(expected).all(|(piece, expected)| {
                        let (TemplatePiece::SpecialToken { id, type_id }
                        | TemplatePiece::Sequence { id, type_id }) = piece;
                        (id.as_str(), *type_id) == *expected
                    })
            })
        };
        match self.kind.as_str() {
            "BertProcessing" => {
                self.cls.as_ref().is_some_and(|(token, _)| token == "[CLS]")
                    && self.sep.as_ref().is_some_and(|(token, _)| token == "[SEP]")
            }
            "TemplateProcessing" => {
                equals(&self.single, &[("[CLS]", 0), ("A", 0), ("[SEP]", 0)])
                    && equals(
                        &self.pair,
                        &[("[CLS]", 0), ("A", 0), ("[SEP]", 0), ("B", 1), ("[SEP]", 1)],
                    )
            }
            _ => false,
        }
    }
}

#[derive(Deserialize)]
struct ModelFile {
    #[serde(rename = "type")]
    kind: String,
    vocab: Option<VocabFile>,
    merges: Option<AtMost<MergeFile, MAX_TOKENS>>,
    unk_token: Option<String>,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
    max_input_chars_per_word: Option<u64>,
    fuse_unk: Option<bool>,
    byte_fallback: Option<bool>,
    ignore_merges: Option<bool>,
}

/// Tokens and their ids; other models than ours have lists there.
enum VocabFile {
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
struct MergeFile(String, String);

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

// --- From plain data to the crate's model. ---

fn model(file: ModelFile) -> Result<ModelParts> {
    let kind = file.kind.as_str();
    if !["WordLevel", "WordPiece", "BPE"].contains(&kind) {
        return Err(unsupported("model", kind));
    }
    let Some(VocabFile::Ids(vocab)) = file.vocab else {
        return Err(Error::Format(format!(
            "The {kind} model of tokenizer.json has no vocabulary of tokens with their ids."
        )));
    };
    check_vocab(&vocab)?;
    let unk_token = match (file.unk_token, kind) {
        // Byte-level BPE needs none.
        (None, "BPE") => None,
        (token, _) => {
            let token = token.unwrap_or_else(|| "[UNK]".into());
            if !vocab.contains_key(&token) {
                return Err(Error::Format(format!(
                    "The model of tokenizer.json uses '{}' for unknown words, but its vocabulary doesn't have it.",
                    shown(&token)
                )));
            }
            Some(token)
        }
    };
    let mut ids_of_merges = Vec::new();
    let model = match kind {
        "WordLevel" => WordLevel::builder()
            .vocab(vocab)
            .unk_token(unk_token.unwrap_or_default())
            .build()
            .map_err(unexpected("building the word-level model"))?
            .into(),
        "WordPiece" => {
            let most = file.max_input_chars_per_word.unwrap_or(100);
            if most > MAX_CHARS_A_WORD as u64 {
                return Err(Error::Unsupported(format!(
                    "tokenizer.json has max_input_chars_per_word {most}; at most {MAX_CHARS_A_WORD} are supported."
                )));
            }
            WordPiece::builder()
                .vocab(vocab)
                .unk_token(unk_token.unwrap_or_default())
                .continuing_subword_prefix(
                    file.continuing_subword_prefix
                        .unwrap_or_else(|| "##".into()),
                )
                .max_input_chars_per_word(most as usize)
                .build()
                .map_err(unexpected("building the WordPiece model"))?
                .into()
        }
        _ => {
            let prefix = file.continuing_subword_prefix.unwrap_or_default();
            let merges: Vec<(String, String)> = file
                .merges
                .unwrap_or_default()
                .0
                .into_iter()
                .map(|merge| (merge.0, merge.1))
                .collect();
            ids_of_merges = check_merges(&merges, &vocab, &prefix)?;
            let mut builder = BPE::builder()
                .vocab_and_merges(vocab, merges)
                // The crate's cache is one for each thread and never shrinks.
                .cache_capacity(0)
                .fuse_unk(file.fuse_unk.unwrap_or(false))
                .byte_fallback(file.byte_fallback.unwrap_or(false))
                .ignore_merges(file.ignore_merges.unwrap_or(false));
            if let Some(token) = unk_token {
                builder = builder.unk_token(token);
            }
            if !prefix.is_empty() {
                builder = builder.continuing_subword_prefix(prefix);
            }
            if let Some(suffix) = file.end_of_word_suffix.filter(|suffix| !suffix.is_empty()) {
                builder = builder.end_of_word_suffix(suffix);
            }
            builder
                .build()
                .map_err(unexpected("building the BPE model"))?
                .into()
        }
    };
    Ok(ModelParts {
        model,
        merges: ids_of_merges,
    })
}

fn check_vocab(vocab: &Vocab) -> Result<()> {
    let mut seen = HashSet::with_capacity(vocab.len());
    for (token, id) in vocab {
        check_id(token, *id)?;
        if !seen.insert(*id) {
            return Err(Error::Format(format!(
                "tokenizer.json gives id {id} to more than one token; each token needs an id of its own."
            )));
        }
    }
    Ok(())
}

/// The crate takes for granted that both sides of a merge and its result are tokens, and would panic on some merges
/// that aren't so. Gives the ids of both and of the result.
fn check_merges(
    merges: &[(String, String)],
    vocab: &Vocab,
    prefix: &str,
) -> Result<Vec<(u32, u32, u32)>> {
    let mut merged = String::new();
    let mut ids = Vec::with_capacity(merges.len());
    for (left, right) in merges {
        merged.clear();
        merged.push_str(left);
        let known = right.get(prefix.len()..).and_then(|rest| {
            merged.push_str(rest);
            let id = |token: &str| vocab.get(token).copied();
            Some((id(left)?, id(right)?, id(&merged)?))
        });
        let Some(known) = known else {
            return Err(Error::Format(format!(
                "tokenizer.json merges '{}' and '{}', but its vocabulary doesn't have both and what they make.",
                shown(left),
                shown(right)
            )));
        };
        ids.push(known);
    }
    Ok(ids)
}
