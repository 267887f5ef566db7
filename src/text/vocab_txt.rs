//! BERT's `vocab.txt`.

use tokenizers::models::bpe::Vocab;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;

use super::json_file::MAX_TOKENS;
use super::pipeline::{ModelParts, Pipeline, bert_normalizer, unexpected};
use super::settings::{Notes, Settings, added_tokens};
use super::tokenizer_json::{MAX_FILE_BYTES, Parts};
use super::wordpiece_trainer::{MAX_CHARS_A_WORD, PREFIX};
use crate::error::{Error, Result};

/// One token a line, the first one being id 0. A token that stands there twice has the later id, as in Hugging Face's
/// `BertTokenizer`; an empty line is an id without a token.
pub(super) fn read(vocab: &[u8], settings: &Settings) -> Result<Parts> {
    if vocab.len() > MAX_FILE_BYTES {
        return Err(Error::Format(format!(
            "vocab.txt has {} bytes; at most {MAX_FILE_BYTES} are read.",
            vocab.len()
        )));
    }
    let vocab = vocab.strip_prefix(b"\xef\xbb\xbf").unwrap_or(vocab);
    let mut ids = Vocab::default();
    for (line, token) in vocab.split(|byte| *byte == b'\n').enumerate() {
        let token = std::str::from_utf8(token).map_err(|_| {
            Error::Format(format!(
                "Line {} of vocab.txt isn't UTF-8; it should be one token.",
                line + 1
            ))
        })?;
        // As Python's rstrip.
        let token = token.trim_end();
        if line >= MAX_TOKENS && !token.is_empty() {
            return Err(Error::Format(format!(
                "vocab.txt has more than {MAX_TOKENS} lines; it should hold one token a line."
            )));
        }
        if !token.is_empty() {
            ids.insert(token.to_owned(), line as u32);
        }
    }
    let unk = settings.roles.unk.as_deref().unwrap_or("[UNK]");
    let model: ModelParts = WordPiece::builder()
        .vocab(ids)
        .unk_token(unk.into())
        .continuing_subword_prefix(PREFIX.into())
        .max_input_chars_per_word(MAX_CHARS_A_WORD)
        .build()
        .map_err(unexpected("building the WordPiece model"))?
        .into();
    let mut notes = Notes::default();
    let added = added_tokens(&model.model, None, settings, &mut notes)?;
    Ok(Parts {
        pipeline: Pipeline::new(
            model,
            Some(bert_normalizer(&settings.normalization)),
            Some(BertPreTokenizer.into()),
            added,
        )?,
        template: None,
        unk: Some(unk.into()),
        pad: None,
        notes,
    })
}
