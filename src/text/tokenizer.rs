//! The tokenizer that a user holds.

use std::sync::Arc;

use tokenizers::ModelWrapper;
use tokenizers::decoders::DecoderWrapper;
use tokenizers::models::wordlevel::WordLevel;
use tokenizers::normalizers::NormalizerWrapper;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::pre_tokenizers::whitespace::WhitespaceSplit;
use tokenizers::processors::template::TemplateProcessing;

use super::pipeline::{self, Pipeline, unexpected};
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
}

/// The ids of the special tokens.
pub(super) struct SpecialIds {
    pub(super) pad: u32,
    pub(super) cls: u32,
    pub(super) sep: u32,
    pub(super) mask: Option<u32>,
    pub(super) unk: u32,
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
        Tokenizer::from_pipeline(Pipeline::new(
            model,
            normalizer,
            Some(pre_tokenizer),
            pipeline::special_tokens(),
        )?)
    }

    /// From the bytes of a `tokenizer.json`: one that [`Tokenizer::to_json`] gave, or a Hugging Face BERT's. Its own
    /// truncation, padding and dropout are discarded, and texts are always put together as `[CLS] a [SEP] b [SEP]`.
    ///
    /// # Errors
    /// [`Error::Format`] where the file is damaged, over 64 MiB, contradicts itself, or lacks `[PAD]`, `[CLS]`,
    /// `[SEP]` or `[UNK]`; [`Error::Unsupported`] where it is sound but of a kind that isn't done here, named in the
    /// message; [`Error::Version`] where its version is unknown.
    pub fn from_json(json: &[u8]) -> Result<Tokenizer> {
        Tokenizer::from_pipeline(tokenizer_json::read(json)?)
    }

    /// From the text of a BERT `vocab.txt`: WordPiece, one token a line, the first line being id 0. Of a token that
    /// occurs twice the later line counts.
    ///
    /// # Errors
    /// [`Error::Format`] where it isn't UTF-8, is over 64 MiB, or lacks `[PAD]`, `[CLS]`, `[SEP]` or `[UNK]`.
    pub fn from_vocab_txt(vocab: &[u8], options: &BertNormalization) -> Result<Tokenizer> {
        Tokenizer::from_pipeline(vocab_txt::read(vocab, options)?)
    }

    /// Checks that the special tokens are there, and adds what only saving needs.
    fn from_pipeline(mut pipeline: Pipeline) -> Result<Tokenizer> {
        let tokenizer = pipeline.inner();
        let find = |token: &str| {
            tokenizer.token_to_id(token).ok_or_else(|| {
                Error::Format(format!(
                    "The tokenizer has no token {token}; a BERT tokenizer has [PAD], [CLS], [SEP] and [UNK]."
                ))
            })
        };
        let special = SpecialIds {
            pad: find("[PAD]")?,
            cls: find("[CLS]")?,
            sep: find("[SEP]")?,
            mask: tokenizer.token_to_id("[MASK]"),
            unk: find("[UNK]")?,
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
                    "The tokenizer's model is Unigram; WordLevel, WordPiece and BPE are supported."
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
        let template = TemplateProcessing::builder()
            .try_single("[CLS] $A [SEP]")
            .and_then(|template| template.try_pair("[CLS] $A [SEP] $B:1 [SEP]:1"))
            .map_err(unexpected("writing the template"))?
            .special_tokens(vec![("[CLS]", special.cls), ("[SEP]", special.sep)])
            .build()
            .map_err(unexpected("building the template"))?;
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

    /// The id of `[UNK]`.
    pub fn unk_token_id(&self) -> u32 {
        self.inner.special.unk
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
