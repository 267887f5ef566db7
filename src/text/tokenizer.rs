//! The tokenizer that a user holds.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokenizers::decoders::DecoderWrapper;
use tokenizers::models::wordlevel::WordLevel;
use tokenizers::normalizers::NormalizerWrapper;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::pre_tokenizers::whitespace::WhitespaceSplit;
use tokenizers::{Model, ModelWrapper};

use super::json_file::shown;
use super::pipeline::{self, Pipeline, unexpected};
use super::post_processor::Template;
use super::settings::{Class, Notes, Roles, Settings};
use super::tokenizer_json::Parts;
use super::{
    BertNormalization, MAX_VOCAB_SIZE, TokenizerKind, TokenizerOptions, byte_level_bpe,
    tokenizer_json, vocab_txt, word_counts, word_level, wordpiece_trainer,
};
use crate::error::{Error, Result};

/// Turns text into token ids. Never changes; a clone is cheap and shares everything; many threads may use one at
/// once.
#[derive(Clone)]
pub struct Tokenizer {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) pipeline: Pipeline,
    kind: TokenizerKind,
    lowercase: bool,
    vocab_size: usize,
    pub(super) special: SpecialIds,
    roles: Roles,
    notes: Notes,
    files: BTreeMap<&'static str, Vec<u8>>,
}

/// The ids of the special tokens, and the token type of a second text.
pub(super) struct SpecialIds {
    pub(super) pad: u32,
    pub(super) cls: u32,
    pub(super) sep: u32,
    pub(super) mask: Option<u32>,
    pub(super) unk: u32,
    pub(super) second_type: u32,
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokenizer")
            .field("kind", &self.inner.kind)
            .field("lowercase", &self.inner.lowercase)
            .field("vocab_size", &self.inner.vocab_size)
            .finish_non_exhaustive()
    }
}

impl Tokenizer {
    /// Learns a vocabulary from `texts`, in the data set's order: the same texts and options give the same tokenizer
    /// on every run. `[PAD] [CLS] [SEP] [MASK] [UNK]` get the ids 0 to 4. Words are counted on rayon's current pool.
    ///
    /// Words of more than 1,000 characters are left out (byte-level BPE learns from them in parts, WordPiece leaves
    /// out those of more than 100, which it couldn't encode). Where even the alphabet exceeds `max_vocab_size`,
    /// WordPiece keeps the most frequent characters.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] where `max_vocab_size` is under 6, or under 261 for byte-level BPE, or over
    /// 10,000,000.
    pub fn train<'a>(
        texts: impl IntoIterator<Item = &'a str>,
        options: &TokenizerOptions,
    ) -> Result<Tokenizer> {
        let least = match options.kind {
            TokenizerKind::ByteLevelBpe => byte_level_bpe::MIN_VOCAB_SIZE,
            _ => MAX_VOCAB_SIZE.least,
        };
        let size = options.max_vocab_size;
        if !(least..=MAX_VOCAB_SIZE.most).contains(&size) {
            let why = match options.kind {
                TokenizerKind::ByteLevelBpe => {
                    "byte-level BPE needs the 256 bytes and the 5 special tokens"
                }
                _ => "the 5 special tokens count too",
            };
            return Err(Error::InvalidArgument(format!(
                "max_vocab_size is {size}; it must be from {least} to {} ({why}).",
                MAX_VOCAB_SIZE.most
            )));
        }
        let texts: Vec<&str> = texts.into_iter().collect();
        let (normalizer, pre_tokenizer): (Option<NormalizerWrapper>, PreTokenizerWrapper) =
            match options.kind {
                TokenizerKind::WordLevel => (
                    pipeline::lowercase_normalizer(options.lowercase),
                    WhitespaceSplit.into(),
                ),
                TokenizerKind::WordPiece => (
                    Some(pipeline::bert_normalizer(&BertNormalization {
                        lowercase: options.lowercase,
                        ..BertNormalization::default()
                    })),
                    BertPreTokenizer.into(),
                ),
                TokenizerKind::ByteLevelBpe => (
                    pipeline::lowercase_normalizer(options.lowercase),
                    byte_level_bpe::pre_tokenizer().into(),
                ),
            };
        // Words are cut by what will encode, with a model that isn't asked yet.
        let cutter = Pipeline::new(
            WordLevel::default().into(),
            normalizer.clone(),
            Some(pre_tokenizer.clone()),
            pipeline::special_tokens(),
        )?;
        let words = word_counts::count_words(&texts, &cutter)?;
        let model = match options.kind {
            TokenizerKind::WordLevel => word_level::learn(words, options)?.into(),
            TokenizerKind::WordPiece => wordpiece_trainer::learn(words, options)?.into(),
            TokenizerKind::ByteLevelBpe => byte_level_bpe::learn(words, options)?,
        };
        let pipeline = Pipeline::new(
            model,
            normalizer,
            Some(pre_tokenizer),
            pipeline::special_tokens(),
        )?;
        let parts = Parts {
            pipeline,
            template: None,
            unk: None,
            pad: None,
            notes: Notes::default(),
        };
        Tokenizer::from_parts(parts, &Settings::bert(BertNormalization::default()))
    }

    /// From the bytes of a `tokenizer.json`: one that [`Tokenizer::to_json`] gave, or any other. Its own truncation,
    /// padding and dropout are discarded.
    ///
    /// # Errors
    /// [`Error::Format`] where the file is damaged, over 64 MiB, contradicts itself, or lacks `[PAD]`, `[CLS]`,
    /// `[SEP]` or `[UNK]`; [`Error::Unsupported`] where it is sound but of a kind that isn't done here, named in the
    /// message; [`Error::Version`] where its version is unknown.
    pub fn from_json(json: &[u8]) -> Result<Tokenizer> {
        Tokenizer::from_json_with(json, &Settings::alone())
    }

    /// As [`Tokenizer::from_json`], with what other files say. What they change is told in warnings, and so is what
    /// transformers would do otherwise.
    ///
    /// # Errors
    /// As [`Tokenizer::from_json`].
    pub fn from_json_with(json: &[u8], settings: &Settings) -> Result<Tokenizer> {
        let mut parts = tokenizer_json::read(json, settings)?;
        if settings.class == Class::Bert {
            warn_of_other_readers(&mut parts, settings);
        }
        Tokenizer::from_parts(parts, settings)
    }

    /// From the text of a BERT `vocab.txt`: WordPiece, one token a line, the first line being id 0. Of a token that
    /// occurs twice the later line counts.
    ///
    /// # Errors
    /// [`Error::Format`] where it isn't UTF-8, is over 64 MiB, or lacks `[PAD]`, `[CLS]`, `[SEP]` or `[UNK]`.
    pub fn from_vocab_txt(vocab: &[u8], options: &BertNormalization) -> Result<Tokenizer> {
        Tokenizer::from_vocab_txt_with(vocab, &Settings::bert(*options))
    }

    /// As [`Tokenizer::from_vocab_txt`], with what other files say.
    ///
    /// # Errors
    /// As [`Tokenizer::from_vocab_txt`].
    pub fn from_vocab_txt_with(vocab: &[u8], settings: &Settings) -> Result<Tokenizer> {
        Tokenizer::from_parts(vocab_txt::read(vocab, settings)?, settings)
    }

    /// Checks that the special tokens are there, and adds what only saving needs.
    fn from_parts(parts: Parts, settings: &Settings) -> Result<Tokenizer> {
        let Parts {
            mut pipeline,
            template,
            unk,
            pad,
            notes,
        } = parts;
        let tokenizer = pipeline.inner();
        let named =
            |role: &Option<String>, usual: &str| role.clone().unwrap_or_else(|| usual.into());
        let mut template = template.unwrap_or_else(|| {
            let roles = &settings.roles;
            Template::bert(named(&roles.cls, "[CLS]"), named(&roles.sep, "[SEP]"))
        });
        if !settings.has_token_types {
            template.second_type = 0;
        }
        let unk = unk.unwrap_or_else(|| named(&settings.roles.unk, "[UNK]"));
        let pad = settings.roles.pad.clone().unwrap_or_else(|| {
            let others = pad.into_iter().chain(["<pad>".to_owned()]);
            let usual = ["[PAD]".to_owned()].into_iter().chain(others);
            let mut there = usual.filter(|token| tokenizer.token_to_id(token).is_some());
            there.next().unwrap_or_else(|| "[PAD]".into())
        });
        let missing = |token: &str| {
            Error::Format(format!(
                "The tokenizer has no token {}; a BERT tokenizer has [PAD], [CLS], [SEP] and [UNK], or names others in \
                 tokenizer_config.json (pad_token, cls_token, sep_token, unk_token).",
                shown(token)
            ))
        };
        let find = |token: &str| tokenizer.token_to_id(token).ok_or_else(|| missing(token));
        let special = SpecialIds {
            pad: find(&pad)?,
            cls: find(&template.cls)?,
            sep: find(&template.sep)?,
            mask: tokenizer.token_to_id(&named(&settings.roles.mask, "[MASK]")),
            // Where words may be unknown, a token that was only added is none to the model.
            unk: match tokenizer.get_model() {
                ModelWrapper::BPE(_) => find(&unk)?,
                model => model.token_to_id(&unk).ok_or_else(|| missing(&unk))?,
            },
            second_type: template.second_type,
        };
        template.check_ids(special.cls, special.sep)?;
        let roles = Roles {
            unk: Some(unk),
            cls: Some(template.cls.clone()),
            sep: Some(template.sep.clone()),
            pad: Some(pad),
            mask: special.mask.map(|_| named(&settings.roles.mask, "[MASK]")),
        };
        let (kind, decoder): (TokenizerKind, Option<DecoderWrapper>) = match tokenizer.get_model() {
            ModelWrapper::WordLevel(_) => (TokenizerKind::WordLevel, None),
            ModelWrapper::WordPiece(model) => (
                TokenizerKind::WordPiece,
                Some(
                    tokenizers::decoders::wordpiece::WordPiece::new(
                        model.continuing_subword_prefix.clone(),
                        true,
                    )
                    .into(),
                ),
            ),
            ModelWrapper::BPE(model) => (
                TokenizerKind::ByteLevelBpe,
                Some(match &model.end_of_word_suffix {
                    Some(suffix) => {
                        tokenizers::decoders::bpe::BPEDecoder::new(suffix.clone()).into()
                    }
                    None => byte_level_bpe::pre_tokenizer().into(),
                }),
            ),
            ModelWrapper::Unigram(_) => {
                return Err(Error::Unsupported(
                    "The tokenizer's model is Unigram; WordPiece, WordLevel and BPE are supported."
                        .into(),
                ));
            }
        };
        let lowercase = tokenizer.get_normalizer().is_some_and(lowercases);
        let vocab_size = tokenizer
            .get_vocab(true)
            .values()
            .max()
            .map_or(0, |id| *id as usize + 1);
        let template = template.to_crate(special.cls, special.sep)?;
        pipeline
            .inner_mut()
            .with_post_processor(Some(template))
            .with_decoder(decoder);
        Ok(Tokenizer {
            inner: Arc::new(Inner {
                pipeline,
                kind,
                lowercase,
                vocab_size,
                special,
                roles,
                notes,
                files: BTreeMap::new(),
            }),
        })
    }

    /// The standard `tokenizer.json`, in which Hugging Face's `tokenizers` finds the same ids and token types: the
    /// vocabulary by id, no padding, no truncation. Equal tokenizers give equal text, byte for byte.
    ///
    /// # Errors
    /// [`Error::Internal`] only.
    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string(self.inner.pipeline.inner()).map_err(unexpected("writing JSON"))
    }

    /// The tokens of each role; only that of `mask` may be lacking.
    pub fn roles(&self) -> &Roles {
        &self.inner.roles
    }

    /// Whether the token is looked for in a text before its words are.
    pub fn is_added(&self, token: &str) -> bool {
        let inner = self.inner.pipeline.inner();
        let id = inner.token_to_id(token);
        id.is_some_and(|id| inner.get_added_tokens_decoder().contains_key(&id))
    }

    /// BERT's normalization, where transformers' BertTokenizer of the same vocabulary, normalization and roles gives
    /// the same ids.
    pub fn as_bert(&self) -> Option<BertNormalization> {
        let inner = self.inner.pipeline.inner();
        let roles = &self.inner.roles;
        let special = [&roles.unk, &roles.cls, &roles.sep, &roles.pad];
        let are_added = special
            .into_iter()
            .flatten()
            .all(|token| self.is_added(token));
        if unlike_bert(inner).is_some() || self.inner.special.second_type != 1 || !are_added {
            return None;
        }
        match inner.get_normalizer() {
            Some(NormalizerWrapper::BertNormalizer(bert)) => Some(BertNormalization {
                lowercase: bert.lowercase,
                strip_accents: bert.strip_accents,
                handle_chinese_chars: bert.handle_chinese_chars,
                clean_text: bert.clean_text,
            }),
            _ => None,
        }
    }

    /// Keeps the files that it was made of, to be written back as they were: unless one of them changes what another
    /// says, or transformers would make something else of them.
    #[must_use]
    pub fn with_files(self, files: BTreeMap<&'static str, Vec<u8>>) -> Tokenizer {
        let Notes { changed, departs } = self.inner.notes;
        match Arc::try_unwrap(self.inner) {
            Ok(mut inner) if !changed && !departs => {
                inner.files = files;
                Tokenizer {
                    inner: Arc::new(inner),
                }
            }
            Ok(inner) => Tokenizer {
                inner: Arc::new(inner),
            },
            // It is shared already.
            Err(inner) => Tokenizer { inner },
        }
    }

    /// The files that are written back as they were, by name; empty where they are to be written anew.
    pub fn files(&self) -> &BTreeMap<&'static str, Vec<u8>> {
        &self.inner.files
    }

    /// How text is cut into tokens.
    pub fn kind(&self) -> TokenizerKind {
        self.inner.kind
    }

    /// Whether upper and lower case are one.
    pub fn lowercase(&self) -> bool {
        self.inner.lowercase
    }

    /// The largest id + 1, added tokens included.
    pub fn vocab_size(&self) -> usize {
        self.inner.vocab_size
    }

    /// Every token by id; an id that no token has is an empty string.
    pub fn tokens(&self) -> Vec<String> {
        let mut tokens = vec![String::new(); self.inner.vocab_size];
        for (token, id) in self.inner.pipeline.inner().get_vocab(true) {
            tokens[id as usize] = token;
        }
        tokens
    }

    /// The id of a token, as [`Tokenizer::tokens`] writes it.
    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        self.inner.pipeline.inner().token_to_id(token)
    }

    /// The id of `[PAD]`.
    pub fn pad_token_id(&self) -> u32 {
        self.inner.special.pad
    }

    /// The id of `[CLS]`.
    pub fn cls_token_id(&self) -> u32 {
        self.inner.special.cls
    }

    /// The id of `[SEP]`.
    pub fn sep_token_id(&self) -> u32 {
        self.inner.special.sep
    }

    /// The id of `[MASK]`, which a loaded tokenizer may lack.
    pub fn mask_token_id(&self) -> Option<u32> {
        self.inner.special.mask
    }

    /// The token type of the second text of a pair, 0 or 1.
    pub fn second_token_type(&self) -> u32 {
        self.inner.special.second_type
    }

    /// The id of `[UNK]`.
    pub fn unk_token_id(&self) -> u32 {
        self.inner.special.unk
    }
}

/// What of a tokenizer.json isn't as BERT's own class makes it, if anything: transformers rebuilds a tokenizer of that
/// class from its vocabulary, with BERT's own steps.
fn unlike_bert(tokenizer: &tokenizers::Tokenizer) -> Option<&'static str> {
    let ModelWrapper::WordPiece(model) = tokenizer.get_model() else {
        return Some("model isn't WordPiece");
    };
    if model.continuing_subword_prefix != wordpiece_trainer::PREFIX {
        return Some("continuing_subword_prefix isn't '##'");
    }
    if model.max_input_chars_per_word != wordpiece_trainer::MAX_CHARS_A_WORD {
        return Some("max_input_chars_per_word isn't 100");
    }
    match tokenizer.get_normalizer() {
        Some(NormalizerWrapper::BertNormalizer(bert)) if bert.clean_text => {}
        Some(NormalizerWrapper::BertNormalizer(_)) => return Some("clean_text is false"),
        _ => return Some("normalizer isn't a single BertNormalizer"),
    }
    match tokenizer.get_pre_tokenizer() {
        Some(PreTokenizerWrapper::BertPreTokenizer(_)) => None,
        _ => Some("pre-tokenizer isn't BertPreTokenizer"),
    }
}

/// Says what transformers, which rebuilds a tokenizer of BERT's class, does otherwise than tokenizer.json has it.
fn warn_of_other_readers(parts: &mut Parts, settings: &Settings) {
    let Parts {
        pipeline,
        template,
        unk,
        notes,
        ..
    } = parts;
    let second_type = template
        .as_ref()
        .is_some_and(|template| template.second_type != 1)
        .then_some("post-processor gives a second text token type 0");
    if let Some(what) = unlike_bert(pipeline.inner()).or(second_type) {
        notes.depart(|| {
            format!(
                "The tokenizer's class is BERT's, but tokenizer.json isn't: its {what}. tokenizer.json is followed, \
                 while transformers would use BERT's own steps. Set \"tokenizer_class\" to \"PreTrainedTokenizerFast\" \
                 in tokenizer_config.json to have the same there; bert_save writes that."
            )
        });
    }
    let roles = &settings.roles;
    let template = template.as_ref();
    for (key, usual, role, of_file) in [
        ("unk_token", "[UNK]", &roles.unk, unk.as_deref()),
        (
            "cls_token",
            "[CLS]",
            &roles.cls,
            template.map(|t| t.cls.as_str()),
        ),
        (
            "sep_token",
            "[SEP]",
            &roles.sep,
            template.map(|t| t.sep.as_str()),
        ),
    ] {
        let role = role.as_deref().unwrap_or(usual);
        if let Some(of_file) = of_file.filter(|of_file| *of_file != role) {
            notes.depart(|| {
                format!(
                    "{key} is '{}' in tokenizer.json, which counts; by tokenizer_config.json, or BertTokenizer's \
                     default where that lacks it, it is '{}'.",
                    shown(of_file),
                    shown(role)
                )
            });
        }
    }
}

fn lowercases(normalizer: &NormalizerWrapper) -> bool {
    match normalizer {
        NormalizerWrapper::BertNormalizer(bert) => bert.lowercase,
        NormalizerWrapper::Lowercase(_) => true,
        NormalizerWrapper::Sequence(sequence) => sequence.as_ref().iter().any(lowercases),
        _ => false,
    }
}
