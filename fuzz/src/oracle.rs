//! What must hold of the library's answers whatever it was given.

use std::ffi::CStr;

use bert::capi::{
    BERT_ERR_INVALID_ARGUMENT, BERT_ERR_POISONED, bert_last_error_message, bert_status,
};
use bert::classifier::Classifier;
use bert::error::{Error, Result};
use bert::hf::LoadOptions;
use bert::predict::{CombineWindows, EmbedOptions, LongText, PredictOptions};
use bert::problem::ProblemType;
use bert::text::{Encoding, Tokenizer, TokenizerKind};

/// An answer, or `None` for a refusal, which must be one: a category that isn't a defect, and a sentence.
pub fn answer<T>(result: Result<T>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) => {
            assert!(!matches!(error, Error::Internal(_)), "{error:?}");
            check_sentence(error.message());
            None
        }
    }
}

/// What a refusal through the C ABI looks like: a status that isn't a defect's, and a sentence, which it gives.
pub fn check_refusal(status: bert_status) -> String {
    assert!(
        (BERT_ERR_INVALID_ARGUMENT..BERT_ERR_POISONED).contains(&status),
        "status {status}"
    );
    // SAFETY: it ends with a NUL and lives until this thread's next failure.
    let message = unsafe { CStr::from_ptr(bert_last_error_message()) };
    let message = message.to_str().expect("messages are UTF-8");
    check_sentence(message);
    message.to_string()
}

/// A message is a sentence that a person can read.
fn check_sentence(message: &str) {
    assert!(message.ends_with('.'), "no full stop: {message:?}");
    assert!(
        message.len() < 4096,
        "{} bytes long: {message:?}",
        message.len()
    );
}

/// A model that was loaded can be used: it predicts, embeds, saves itself, and what it saved is the same model.
pub fn check_classifier(classifier: &Classifier) {
    let texts = [
        "a good film",
        "",
        "bad bad bad bad bad bad bad bad bad bad bad bad",
    ];
    let single: Vec<(&str, Option<&str>)> = texts.iter().map(|text| (*text, None)).collect();
    let pairs = [("a", Some("b")), ("", Some("a bad film"))];
    let windows = PredictOptions {
        long_text: LongText::Windows {
            stride: 0,
            combine: CombineWindows::MeanProbabilities,
        },
        ..PredictOptions::default()
    };
    let predicted = answer(classifier.predict(&single, &PredictOptions::default()));
    if let Some(predictions) = &predicted {
        for (row, label) in predictions
            .probabilities
            .chunks(predictions.num_labels)
            .zip(&predictions.label_ids)
        {
            assert!(row.iter().all(|p| (0.0..=1.0).contains(p)), "{row:?}");
            let sum: f32 = row.iter().sum();
            assert!(
                predictions.problem_type == ProblemType::MultiLabel || (sum - 1.0).abs() < 1e-3,
                "probabilities sum to {sum}"
            );
            assert!((*label as usize) < predictions.num_labels);
        }
    }
    answer(classifier.predict(&single, &windows));
    answer(classifier.predict(&pairs, &PredictOptions::default()));
    answer(classifier.embed(
        &single,
        &EmbedOptions {
            normalise: true,
            ..EmbedOptions::default()
        },
    ));
    let saved = answer(classifier.save_to_buffer()).expect("a model can be saved");
    let again = answer(Classifier::load_from_buffer(
        &saved,
        &LoadOptions::default(),
    ))
    .expect("what was saved can be loaded");
    assert_eq!(again.labels(), classifier.labels());
    let repeated = answer(again.predict(&single, &PredictOptions::default()));
    assert_eq!(repeated, predicted, "the saved model predicts otherwise");
}

/// What holds of every tokenizer: it can be written and read again, gives the ids that the `tokenizers` crate finds by
/// its own way through the file, cuts as it says, and encodes a text in a batch as it does alone.
pub struct Encodings<'a> {
    tokenizer: &'a Tokenizer,
    crates: tokenizers::Tokenizer,
}

/// More than any text here has.
const NO_LIMIT: usize = 1 << 40;

impl<'a> Encodings<'a> {
    pub fn new(tokenizer: &'a Tokenizer) -> Encodings<'a> {
        let json = tokenizer.to_json().expect("a tokenizer can be written");
        let again = Tokenizer::from_json(json.as_bytes()).expect("what was written can be read");
        assert_eq!(again.to_json().as_deref(), Ok(json.as_str()));
        let crates = tokenizers::Tokenizer::from_bytes(&json).expect("the file is a standard one");
        Encodings { tokenizer, crates }
    }

    /// The ids and token types that the crate finds. On a thread of its own: the crate keeps something of every BPE
    /// tokenizer until the thread ends.
    fn by_the_crate(&self, text: &str, pair: Option<&str>) -> (Vec<u32>, Vec<u32>) {
        let encode = || {
            let encoding = match pair {
                Some(pair) => self.crates.encode((text, pair), true),
                None => self.crates.encode(text, true),
            };
            let encoding = encoding.expect("the crate takes any text");
            (
                encoding.get_ids().to_vec(),
                encoding.get_type_ids().to_vec(),
            )
        };
        if self.tokenizer.kind() != TokenizerKind::ByteLevelBpe {
            return encode();
        }
        std::thread::scope(|scope| scope.spawn(encode).join())
            .expect("a panic has ended the program")
    }

    /// Two texts, of which the ids are known, both ways round, where there is room for an odd number of tokens and for an even
    /// one.
    fn check_pairs(&self, text: (&str, &[u32]), other: (&str, &[u32]), max_length: usize) {
        let (cls, sep) = (self.tokenizer.cls_token_id(), self.tokenizer.sep_token_id());
        for [(first, of_first), (second, of_second)] in [[text, other], [other, text]] {
            for max_length in [max_length, max_length + 1] {
                let cut = self
                    .tokenizer
                    .encode(first, Some(second), max_length)
                    .expect("the maximum length is allowed");
                let (kept_first, kept_second) =
                    kept_of_pair(of_first.len(), of_second.len(), max_length - 3);
                let expected = Encoding {
                    input_ids: [
                        &[cls],
                        &of_first[..kept_first],
                        &[sep],
                        &of_second[..kept_second],
                        &[sep],
                    ]
                    .concat(),
                    token_type_ids: [
                        vec![0; kept_first + 2],
                        vec![self.tokenizer.second_token_type(); kept_second + 1],
                    ]
                    .concat(),
                    truncated: kept_first < of_first.len() || kept_second < of_second.len(),
                };
                assert_eq!(cut, expected, "cut to {max_length}");
            }
        }
    }

    /// Holds one text, and one pair, against all of this.
    pub fn check(&self, text: &str, pair: &str, max_length: usize, stride: usize) {
        let tokenizer = self.tokenizer;
        let encode = |pair: Option<&str>, max_length| {
            tokenizer
                .encode(text, pair, max_length)
                .expect("the maximum length is allowed")
        };
        let whole = encode(None, NO_LIMIT);
        let (expected, _) = self.by_the_crate(text, None);
        assert_eq!(whole.input_ids, expected);
        let vocab_size = tokenizer.vocab_size() as u32;
        assert!(whole.input_ids.iter().all(|id| *id < vocab_size));
        assert!(!whole.truncated);

        let (cls, sep) = (tokenizer.cls_token_id(), tokenizer.sep_token_id());
        let ids = &whole.input_ids[1..whole.input_ids.len() - 1];
        let kept = &ids[..ids.len().min(max_length - 2)];
        let cut = encode(None, max_length);
        assert_eq!(cut.input_ids, [&[cls], kept, &[sep]].concat());
        assert_eq!(cut.truncated, kept.len() < ids.len());

        let whole_pair = encode(Some(pair), NO_LIMIT);
        let (expected, types) = self.by_the_crate(text, Some(pair));
        assert_eq!(whole_pair.input_ids, expected);
        assert_eq!(whole_pair.token_type_ids, types);
        let second = &whole_pair.input_ids[ids.len() + 2..whole_pair.input_ids.len() - 1];
        let cut_pair = encode(Some(pair), max_length);
        self.check_pairs((text, ids), (pair, second), max_length);
        // Two that are about as long: which one is longer shows late.
        let swapped = halves_swapped(text);
        let of_swapped = self.by_the_crate(&swapped, None).0;
        let of_swapped = &of_swapped[1..of_swapped.len() - 1];
        self.check_pairs((text, ids), (&swapped, of_swapped), max_length);

        let batch = [(text, None), (text, Some(pair)), (pair, None)];
        let together = tokenizer
            .encode_batch(&batch, max_length)
            .expect("the maximum length is allowed");
        assert_eq!(together[0], cut, "alone and in a batch");
        assert_eq!(together[1], cut_pair, "alone and in a batch");

        let stride = stride.min(max_length - 3);
        let windows = tokenizer
            .encode_windows(text, None, max_length, stride)
            .expect("the stride is allowed");
        let mut covered: Vec<u32> = Vec::new();
        for (number, window) in windows.iter().enumerate() {
            assert!(window.input_ids.len() <= max_length);
            let part = &window.input_ids[1..window.input_ids.len() - 1];
            let shared = if number == 0 { 0 } else { stride };
            assert!(covered.ends_with(&part[..shared]));
            covered.extend(&part[shared..]);
        }
        assert_eq!(covered, ids, "the windows together are the text");
        let room = max_length - 3;
        let stride = stride.min(room - room / 2 - 1);
        let windows = tokenizer
            .encode_windows(text, Some(pair), max_length, stride)
            .expect("the stride is allowed");
        let kept = ids
            .len()
            .min((room / 2).max(room.saturating_sub(second.len())));
        let mut covered: Vec<u32> = Vec::new();
        for (number, window) in windows.iter().enumerate() {
            assert!(window.input_ids.len() <= max_length);
            assert_eq!(window.input_ids[1..=kept], ids[..kept]);
            assert_eq!(window.truncated, kept < ids.len());
            let part = &window.input_ids[kept + 2..window.input_ids.len() - 1];
            let shared = if number == 0 { 0 } else { stride };
            assert!(covered.ends_with(&part[..shared]));
            covered.extend(&part[shared..]);
        }
        assert_eq!(covered, second, "the windows together are the second text");
    }
}

/// How many tokens of two texts of so many are kept where there is room for `room`: the longer one is cut first, down to the
/// shorter one; then each has half, and the odd token is the longer one's, of equal ones the second's.
fn kept_of_pair(first: usize, second: usize, room: usize) -> (usize, usize) {
    if first + second <= room {
        return (first, second);
    }
    let of_shorter = first.min(second).min(room / 2);
    if first > second {
        (room - of_shorter, of_shorter)
    } else {
        (of_shorter, room - of_shorter)
    }
}

/// A text's second half, then its first one: about as many tokens.
fn halves_swapped(text: &str) -> String {
    let middle = text.ceil_char_boundary(text.len() / 2);
    let (first, second) = text.split_at(middle);
    [second, first].concat()
}
