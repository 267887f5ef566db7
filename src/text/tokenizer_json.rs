//! `tokenizer.json` from outside: read into plain data, checked, and only then built. The crate's own reader panics on
//! some damaged files and takes settings that aren't wanted here.

use std::collections::HashSet;

use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::models::wordlevel::WordLevel;
use tokenizers::models::wordpiece::WordPiece;

use super::BertNormalization;
use super::json_file::{File, ModelFile, Steps, VocabFile, check_id, shown, unsupported};
use super::pipeline::{ModelParts, Pipeline, unexpected};
use super::post_processor::Template;
use super::settings::{Class, Notes, Settings, added_tokens};
use crate::error::{Error, Result};

/// The largest file that is read, in bytes: vocabularies of half a million tokens are under 20 MB.
pub(super) const MAX_FILE_BYTES: usize = 64 << 20;

/// WordPiece tries every end of a word for each start, so longer words would take for ever.
const MAX_CHARS_A_WORD: usize = 1000;

/// The most steps that write each byte as a character, which makes two and more of one: several times in a row there is
/// no end of it.
const MAX_BYTE_LEVEL_STEPS: usize = 2;

/// What a file gives: a tokenizer without post-processor and decoder, and what is told of those.
pub(super) struct Parts {
    pub(super) pipeline: Pipeline,
    /// How texts are put together, where the file tells it.
    pub(super) template: Option<Template>,
    /// The model's token for unknown words.
    pub(super) unk: Option<String>,
    /// The token that batches are padded with, where the file tells it.
    pub(super) pad: Option<String>,
    pub(super) notes: Notes,
}

/// The checked tokenizer.
pub(super) fn read(json: &[u8], settings: &Settings) -> Result<Parts> {
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
    let mut notes = Notes::default();
    let (model, unk) = model(file.model)?;
    let template = match &file.post_processor {
        Some(post_processor) => post_processor.template()?,
        None => None,
    };
    if template.is_none() {
        match settings.class {
            Class::Bert => {}
            Class::Alone => notes.depart(|| {
                "tokenizer.json has no post-processor that adds special tokens; BERT's is used, which makes [CLS] text \
                 [SEP] of a text."
                    .into()
            }),
            Class::File => {
                return Err(Error::Unsupported(
                    "tokenizer.json has no post-processor that puts special tokens around a text, which BERT needs. If \
                     [CLS] text [SEP] is meant, set \"tokenizer_class\" to \"BertTokenizer\" in tokenizer_config.json \
                     or give tokenizer.json a TemplateProcessing."
                        .into(),
                ));
            }
        }
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
    let mut instead = |of_file| switches(of_file, settings, &mut notes);
    let normalizer = file
        .normalizer
        .map(|steps| steps.into_normalizer(&mut instead))
        .transpose()?;
    let pre_tokenizer = file
        .pre_tokenizer
        .map(Steps::into_pre_tokenizer)
        .transpose()?;
    let added = file.added_tokens.unwrap_or_default().0;
    let added = added_tokens(&model.model, Some(added), settings, &mut notes)?;
    Ok(Parts {
        pipeline: Pipeline::new(model, normalizer, pre_tokenizer, added)?,
        template,
        unk,
        pad: file.padding.and_then(|padding| padding.pad_token),
        notes,
    })
}

/// The switches of a BertNormalizer that count: the settings' where the class is BERT's, else the file's.
fn switches(
    of_file: BertNormalization,
    settings: &Settings,
    notes: &mut Notes,
) -> BertNormalization {
    if settings.class != Class::Bert {
        return of_file;
    }
    let count = BertNormalization {
        clean_text: of_file.clean_text,
        ..settings.normalization
    };
    let in_words = |value: Option<bool>| match value {
        Some(value) => value.to_string(),
        None => "null".into(),
    };
    for (key, of_config, ours, theirs) in [
        (
            "lowercase",
            "do_lower_case",
            Some(count.lowercase),
            Some(of_file.lowercase),
        ),
        (
            "strip_accents",
            "strip_accents",
            count.strip_accents,
            of_file.strip_accents,
        ),
        (
            "handle_chinese_chars",
            "tokenize_chinese_chars",
            Some(count.handle_chinese_chars),
            Some(of_file.handle_chinese_chars),
        ),
    ] {
        if ours == theirs {
            continue;
        }
        let (theirs, ours) = (in_words(theirs), in_words(ours));
        let differs = format!(
            "The BertNormalizer of tokenizer.json has {key} {theirs}, but by tokenizer_config.json, or BertTokenizer's \
             default where that lacks it, {of_config} is {ours}."
        );
        if settings.is_saved {
            notes.depart(|| {
                format!(
                    "{differs} The former counts, as the model was saved with it, but transformers would take the \
                     latter; save the model again to have the same there."
                )
            });
        } else {
            notes.change(|| format!("{differs} The latter counts, as in transformers."));
        }
    }
    if settings.is_saved { of_file } else { count }
}

/// The crate's model, and its token for unknown words.
fn model(file: ModelFile) -> Result<(ModelParts, Option<String>)> {
    let kind = file.kind()?.to_owned();
    let kind = kind.as_str();
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
    let unk = unk_token.clone();
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
    let parts = ModelParts {
        model,
        merges: ids_of_merges,
    };
    Ok((parts, unk))
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
