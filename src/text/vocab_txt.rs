//! BERT's `vocab.txt`.

use tokenizers::models::bpe::Vocab;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;

use super::BertNormalization;
use super::pipeline::{Pipeline, bert_normalizer, special_tokens, unexpected};
use super::tokenizer_json::{MAX_FILE_BYTES, MAX_TOKENS};
use super::wordpiece_trainer::{MAX_CHARS_A_WORD, PREFIX};
use crate::error::{Error, Result};

/// One token a line, the first one being id 0. A token that stands there twice has the later id, as in Hugging Face's
/// `BertTokenizer`; an empty line is an id without a token.
pub(super) fn read(vocab: &[u8], options: &BertNormalization) -> Result<Pipeline> {
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
        let token = token.strip_suffix('\r').unwrap_or(token);
        if line >= MAX_TOKENS && !token.is_empty() {
            return Err(Error::Format(format!(
                "vocab.txt has more than {MAX_TOKENS} lines; it should hold one token a line."
            )));
        }
        if !token.is_empty() {
            ids.insert(token.to_owned(), line as u32);
        }
    }
    let special = special_tokens()
        .into_iter()
        .filter(|token| ids.contains_key(&token.content))
        .collect();
    let model = WordPiece::builder()
        .vocab(ids)
        .unk_token("[UNK]".into())
        .continuing_subword_prefix(PREFIX.into())
        .max_input_chars_per_word(MAX_CHARS_A_WORD)
        .build()
        .map_err(unexpected("building the WordPiece model"))?;
    Pipeline::new(
        model.into(),
        Some(bert_normalizer(options)),
        Some(BertPreTokenizer.into()),
        special,
    )
}
