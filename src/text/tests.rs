//! What a user of the tokenizers relies on, across the files of this module.

use std::collections::HashSet;

use super::{BertNormalization, Encoding, Tokenizer, TokenizerKind, TokenizerOptions};
use crate::error::Error;

const KINDS: [TokenizerKind; 3] = [
    TokenizerKind::WordLevel,
    TokenizerKind::WordPiece,
    TokenizerKind::ByteLevelBpe,
];

const TEXTS: [&str; 4] = [
    "The cat sat on the mat",
    "the dog sat , too",
    "a cat and a dog",
    "Unbelievable cats!",
];

fn options(kind: TokenizerKind) -> TokenizerOptions {
    TokenizerOptions {
        kind,
        ..Default::default()
    }
}

fn learned(kind: TokenizerKind) -> Tokenizer {
    Tokenizer::train(TEXTS, &options(kind)).unwrap()
}

fn word_level() -> Tokenizer {
    learned(TokenizerKind::WordLevel)
}

fn ids(tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
    tokenizer.encode(text, None, 512).unwrap().input_ids
}

fn tokens(tokenizer: &Tokenizer, encoding: &Encoding) -> Vec<String> {
    let tokens = tokenizer.tokens();
    encoding
        .input_ids
        .iter()
        .map(|id| tokens[*id as usize].clone())
        .collect()
}

fn split(tokenizer: &Tokenizer, text: &str) -> String {
    tokens(tokenizer, &tokenizer.encode(text, None, 512).unwrap()).join(" ")
}

/// Numbers that look random and are the same everywhere.
pub(super) struct Numbers(pub(super) u64);

impl Numbers {
    pub(super) fn below(&mut self, n: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        ((self.0 >> 33) as usize) % n
    }
}

/// Sentences of made-up words, frequent and rare ones, with many ties.
fn corpus(sentences: usize) -> Vec<String> {
    const SYLLABLES: [&str; 16] = [
        "ba", "re", "ti", "no", "su", "Ka", "lé", "mi", "x", "qu", "日", "er", "in", "st", "ß", "o",
    ];
    let mut numbers = Numbers(7);
    let words: Vec<String> = (0..2000)
        .map(|_| {
            (0..1 + numbers.below(4))
                .map(|_| SYLLABLES[numbers.below(16)])
                .collect()
        })
        .collect();
    (0..sentences)
        .map(|_| {
            (0..3 + numbers.below(20))
                .map(|_| {
                    let range = 1 + numbers.below(words.len());
                    words[numbers.below(range)].as_str()
                })
                .collect::<Vec<_>>()
                .join([" ", ", ", "  "][numbers.below(3)])
        })
        .collect()
}

fn learned_from(corpus: &[String], options: &TokenizerOptions) -> Tokenizer {
    Tokenizer::train(corpus.iter().map(String::as_str), options).unwrap()
}

// --- Learning ---

#[test]
fn special_tokens_have_the_first_ids() {
    for kind in KINDS {
        let tokenizer = learned(kind);
        assert_eq!(tokenizer.kind(), kind);
        assert_eq!(
            tokenizer.tokens()[..5],
            ["[PAD]", "[CLS]", "[SEP]", "[MASK]", "[UNK]"]
        );
        assert_eq!(tokenizer.pad_token_id(), 0);
        assert_eq!(tokenizer.cls_token_id(), 1);
        assert_eq!(tokenizer.sep_token_id(), 2);
        assert_eq!(tokenizer.mask_token_id(), Some(3));
        assert_eq!(tokenizer.unk_token_id(), 4);
        assert_eq!(tokenizer.vocab_size(), tokenizer.tokens().len());
        assert!(tokenizer.lowercase());
    }
}

#[test]
fn words_are_ordered_by_frequency_then_first_appearance() {
    assert_eq!(
        word_level().tokens()[5..],
        [
            "the",
            "cat",
            "sat",
            "dog",
            "a",
            "on",
            "mat",
            ",",
            "too",
            "and",
            "unbelievable",
            "cats!"
        ]
    );
}

#[test]
fn an_unknown_word_is_unk() {
    assert_eq!(ids(&word_level(), "the zebra sat"), [1, 5, 4, 7, 2]);
    let pieces = learned(TokenizerKind::WordPiece);
    assert_eq!(split(&pieces, "the zebra"), "[CLS] the [UNK] [SEP]");
    // Byte-level BPE can write everything.
    let bytes = learned(TokenizerKind::ByteLevelBpe);
    assert!(!ids(&bytes, "zebra 日本 \u{0}").contains(&4));
}

#[test]
fn case_counts_only_where_asked_for() {
    assert_eq!(ids(&word_level(), "THE Cat"), [1, 5, 6, 2]);
    let cased = Tokenizer::train(
        TEXTS,
        &TokenizerOptions {
            lowercase: false,
            ..Default::default()
        },
    )
    .unwrap();
    assert!(!cased.lowercase());
    assert_eq!(split(&cased, "The the THE"), "[CLS] The the [UNK] [SEP]");
}

#[test]
fn rare_words_and_those_beyond_the_maximum_are_left_out() {
    let frequent = Tokenizer::train(
        TEXTS,
        &TokenizerOptions {
            min_frequency: 2,
            ..Default::default()
        },
    )
    .unwrap();
    assert_eq!(frequent.tokens()[5..], ["the", "cat", "sat", "dog", "a"]);
    let small = Tokenizer::train(
        TEXTS,
        &TokenizerOptions {
            max_vocab_size: 7,
            ..Default::default()
        },
    )
    .unwrap();
    assert_eq!(small.tokens()[5..], ["the", "cat"]);
    assert_eq!(ids(&small, "the cat sat"), [1, 5, 6, 4, 2]);
}

#[test]
fn a_vocabulary_without_room_is_refused() {
    for (kind, least) in [
        (TokenizerKind::WordLevel, 6),
        (TokenizerKind::WordPiece, 6),
        (TokenizerKind::ByteLevelBpe, 261),
    ] {
        for size in [0, 5, least - 1, 10_000_001, usize::MAX] {
            let options = TokenizerOptions {
                max_vocab_size: size,
                ..options(kind)
            };
            let Err(Error::InvalidArgument(message)) = Tokenizer::train(TEXTS, &options) else {
                panic!("{kind:?} {size}");
            };
            assert!(
                message.starts_with(&format!(
                    "max_vocab_size is {size}; it must be from {least} to 10000000"
                )),
                "{message}"
            );
        }
        let options = TokenizerOptions {
            max_vocab_size: least,
            ..options(kind)
        };
        // WordPiece may stay below: no character fits with its continuing form.
        assert!(Tokenizer::train(TEXTS, &options).unwrap().vocab_size() <= least);
    }
}

#[test]
fn no_texts_leave_the_special_tokens() {
    for (kind, size) in KINDS.into_iter().zip([5, 5, 261]) {
        for texts in [&[][..], &["", "  \n"][..]] {
            let tokenizer = Tokenizer::train(texts.iter().copied(), &options(kind)).unwrap();
            assert!(tokenizer.vocab_size() <= size + 8, "{kind:?}");
            assert_eq!(ids(&tokenizer, ""), [1, 2]);
        }
    }
}

#[test]
fn special_tokens_in_training_texts_are_no_words() {
    for lowercase in [true, false] {
        let tokenizer = Tokenizer::train(
            ["a [SEP] b[MASK]c [sep]"],
            &TokenizerOptions {
                lowercase,
                ..Default::default()
            },
        )
        .unwrap();
        assert_eq!(tokenizer.tokens()[5..], ["a", "b", "c", "[sep]"]);
    }
}

#[test]
fn wordpiece_merges_the_most_frequent_pair_first() {
    let tokenizer = Tokenizer::train(
        ["hug hug hug pug pug hugs"],
        &TokenizerOptions {
            max_vocab_size: 5 + 9 + 4,
            ..options(TokenizerKind::WordPiece)
        },
    )
    .unwrap();
    // ##ug 6 times, hug 4, pug 2, hugs 1.
    assert_eq!(
        tokenizer.tokens()[5..],
        [
            "g", "h", "p", "s", "u", "##g", "##s", "##u", "##ug", "hug", "pug", "hugs"
        ]
    );
    assert_eq!(split(&tokenizer, "pugs"), "[CLS] pug ##s [SEP]");
}

#[test]
fn a_large_alphabet_keeps_the_most_frequent_characters() {
    let tokenizer = Tokenizer::train(
        ["日 日 日 本 本 語 文 字"],
        &TokenizerOptions {
            max_vocab_size: 8,
            ..options(TokenizerKind::WordPiece)
        },
    )
    .unwrap();
    // 字 (U+5B57), 文 (U+6587) and 語 (U+8A9E) are equally frequent.
    assert_eq!(tokenizer.tokens()[5..], ["字", "日", "本"]);
    assert_eq!(split(&tokenizer, "日語"), "[CLS] 日 [UNK] [SEP]");
}

#[test]
fn wordpiece_covers_its_training_texts_and_stops_at_the_maximum() {
    let corpus = corpus(400);
    let tokenizer = learned_from(
        &corpus,
        &TokenizerOptions {
            max_vocab_size: 300,
            ..options(TokenizerKind::WordPiece)
        },
    );
    assert_eq!(tokenizer.vocab_size(), 300);
    let unknown = tokenizer.unk_token_id();
    for text in &corpus {
        assert!(!ids(&tokenizer, text).contains(&unknown), "{text}");
    }
    let tokens = tokenizer.tokens();
    assert_eq!(tokens.iter().collect::<HashSet<_>>().len(), tokens.len());
}

/// The crate's BPE trainer, which is stable for byte level, as an oracle for vocabulary, ids and merges.
#[test]
fn byte_level_bpe_equals_the_tokenizers_crate() {
    use tokenizers::models::bpe::{BPE, BpeTrainer};
    use tokenizers::pre_tokenizers::byte_level::ByteLevel;

    let corpus = corpus(500);
    for (min_frequency, max_vocab_size) in [(1, 600), (1, 30_000), (3, 30_000)] {
        let ours = learned_from(
            &corpus,
            &TokenizerOptions {
                min_frequency,
                max_vocab_size,
                lowercase: false,
                ..options(TokenizerKind::ByteLevelBpe)
            },
        );
        let trainer = BpeTrainer::builder()
            .show_progress(false)
            .min_frequency(u64::from(min_frequency))
            .vocab_size(max_vocab_size)
            .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
            .special_tokens(super::pipeline::special_tokens())
            .build();
        let mut theirs = tokenizers::Tokenizer::new(BPE::default());
        theirs.with_pre_tokenizer(Some(ByteLevel::new(false, true, true)));
        let mut trainer = tokenizers::models::TrainerWrapper::BpeTrainer(trainer);
        theirs
            .train(&mut trainer, corpus.iter().map(String::as_str))
            .unwrap();
        let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        let theirs = json(&serde_json::to_string(&theirs).unwrap());
        let ours = json(&ours.to_json().unwrap());
        assert_eq!(ours["model"]["vocab"], theirs["model"]["vocab"]);
        assert_eq!(ours["model"]["merges"], theirs["model"]["merges"]);
    }
}

/// The same bytes in every process: a constant that an earlier one found. FNV-1a of the saved tokenizer.
#[test]
fn the_same_texts_give_the_same_file_in_every_process() {
    let corpus = corpus(600);
    let hashes = KINDS.map(|kind| {
        let options = TokenizerOptions {
            max_vocab_size: 1000,
            ..options(kind)
        };
        let json = learned_from(&corpus, &options).to_json().unwrap();
        for _ in 0..3 {
            assert_eq!(learned_from(&corpus, &options).to_json().unwrap(), json);
        }
        json.bytes().fold(0xcbf29ce484222325u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100000001b3)
        })
    });
    assert_eq!(
        hashes,
        [0x9030a6db227da94c, 0xbbc1769f3b74866a, 0x3de5b1ffd07e30d1],
        "{hashes:#x?}"
    );
}

// --- Encoding ---

#[test]
fn a_pair_has_two_token_types() {
    let pair = word_level().encode("the cat", Some("a dog"), 64).unwrap();
    assert_eq!(pair.input_ids, [1, 5, 6, 2, 9, 8, 2]);
    assert_eq!(pair.token_type_ids, [0, 0, 0, 0, 1, 1, 1]);
    assert!(!pair.truncated);
}

#[test]
fn an_empty_second_text_is_still_a_pair() {
    let tokenizer = word_level();
    let pair = tokenizer.encode("the cat", Some(""), 64).unwrap();
    assert_eq!(pair.input_ids, [1, 5, 6, 2, 2]);
    assert_eq!(pair.token_type_ids, [0, 0, 0, 0, 1]);
    let pair = tokenizer.encode("", Some("the"), 64).unwrap();
    assert_eq!(pair.input_ids, [1, 2, 5, 2]);
    assert_eq!(pair.token_type_ids, [0, 0, 1, 1]);
}

#[test]
fn an_empty_text_is_cls_and_sep() {
    for kind in KINDS {
        let empty = learned(kind).encode("", None, 4).unwrap();
        assert_eq!(empty.input_ids, [1, 2]);
        assert_eq!(empty.token_type_ids, [0, 0]);
        assert!(!empty.truncated);
    }
}

#[test]
fn a_special_token_in_the_text_is_taken_for_one() {
    for kind in KINDS {
        let tokenizer = learned(kind);
        let ids = ids(&tokenizer, "the [SEP] the[MASK]");
        assert_eq!(ids.iter().filter(|id| **id == 2).count(), 2, "{kind:?}");
        assert_eq!(ids.iter().filter(|id| **id == 3).count(), 1, "{kind:?}");
    }
}

#[test]
fn truncation_keeps_the_closing_sep() {
    let tokenizer = word_level();
    let cut = tokenizer.encode("the cat sat on the mat", None, 5).unwrap();
    assert_eq!(cut.input_ids, [1, 5, 6, 7, 2]);
    assert_eq!(cut.token_type_ids, [0; 5]);
    assert!(cut.truncated);
    let whole = tokenizer.encode("the cat sat", None, 5).unwrap();
    assert_eq!(whole.input_ids, cut.input_ids);
    assert!(!whole.truncated);
}

#[test]
fn of_a_pair_the_longer_text_is_cut_first() {
    let tokenizer = word_level();
    let cut = |a, b, max_length| tokenizer.encode(a, Some(b), max_length).unwrap();
    let long = "the cat sat on the mat";
    assert_eq!(cut("dog", long, 7).input_ids, [1, 8, 2, 5, 6, 7, 2]);
    assert_eq!(cut(long, "dog", 7).input_ids, [1, 5, 6, 7, 2, 8, 2]);
    // Both too long: half each, the odd one to the longer, of equals to the second.
    assert_eq!(cut(long, long, 6).input_ids, [1, 5, 2, 5, 6, 2]);
    let longer = "the cat sat on the mat too";
    assert_eq!(cut(longer, long, 6).input_ids, [1, 5, 6, 2, 5, 2]);
    assert_eq!(cut(long, longer, 6).input_ids, [1, 5, 2, 5, 6, 2]);
    assert_eq!(cut(long, long, 4).token_type_ids, [0, 0, 1, 1]);
    assert!(cut(long, long, 4).truncated);
    assert!(!cut("the", "cat", 5).truncated);
}

#[test]
fn a_maximum_length_under_four_is_refused() {
    let tokenizer = word_level();
    for max_length in 0..4 {
        let expected = format!(
            "max_length is {max_length}; it must be at least 4, to hold the special tokens and some text."
        );
        let errors = [
            tokenizer.encode("a", None, max_length).unwrap_err(),
            tokenizer
                .encode_batch(&[("a", None)], max_length)
                .unwrap_err(),
            tokenizer
                .encode_windows("a", None, max_length, 0)
                .unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error, Error::InvalidArgument(expected.clone()));
        }
    }
    assert_eq!(
        tokenizer.encode("the", None, usize::MAX).unwrap().input_ids,
        [1, 5, 2]
    );
}

#[test]
fn a_batch_equals_its_texts_one_by_one() {
    let corpus = corpus(200);
    for kind in KINDS {
        let tokenizer = learned_from(&corpus, &options(kind));
        let texts: Vec<(&str, Option<&str>)> = corpus
            .iter()
            .enumerate()
            .map(|(i, text)| {
                let pair = (i % 3 == 0).then(|| corpus[(i * 7) % corpus.len()].as_str());
                (text.as_str(), pair)
            })
            .collect();
        let batch = tokenizer.encode_batch(&texts, 12).unwrap();
        assert_eq!(batch.len(), texts.len());
        for ((text, pair), encoding) in texts.iter().zip(&batch) {
            assert_eq!(&tokenizer.encode(text, *pair, 12).unwrap(), encoding);
        }
    }
}

#[test]
fn windows_cover_every_token_and_overlap_by_the_stride() {
    let tokenizer = word_level();
    let windows = tokenizer
        .encode_windows("the cat sat on the mat too", None, 6, 2)
        .unwrap();
    let ids: Vec<&[u32]> = windows.iter().map(|w| w.input_ids.as_slice()).collect();
    assert_eq!(
        ids,
        [
            &[1, 5, 6, 7, 10, 2][..],
            &[1, 7, 10, 5, 11, 2],
            &[1, 5, 11, 13, 2]
        ]
    );
    assert!(windows.iter().all(|w| !w.truncated));

    let corpus = corpus(60);
    for kind in KINDS {
        let tokenizer = learned_from(&corpus, &options(kind));
        for text in &corpus {
            let whole = tokenizer.encode(text, None, 10_000).unwrap().input_ids;
            let text_ids = &whole[1..whole.len() - 1];
            for (max_length, stride) in [(4, 0), (4, 1), (7, 0), (7, 3), (9, 6), (500, 100)] {
                let windows = tokenizer
                    .encode_windows(text, None, max_length, stride)
                    .unwrap();
                let mut covered: Vec<u32> = Vec::new();
                for (i, window) in windows.iter().enumerate() {
                    let ids = &window.input_ids;
                    assert!(ids.len() <= max_length);
                    assert_eq!((ids[0], ids[ids.len() - 1]), (1, 2));
                    let part = &ids[1..ids.len() - 1];
                    let shared = if i == 0 { 0 } else { stride };
                    assert_eq!(covered[covered.len() - shared..], part[..shared]);
                    assert!(
                        i == 0 || part.len() > shared,
                        "a window without anything new"
                    );
                    covered.extend(&part[shared..]);
                }
                assert_eq!(covered, text_ids);
            }
        }
    }
}

#[test]
fn windows_of_a_short_and_an_empty_text_are_one() {
    let tokenizer = word_level();
    let short = tokenizer.encode_windows("the cat", None, 16, 3).unwrap();
    assert_eq!(short, [tokenizer.encode("the cat", None, 16).unwrap()]);
    let empty = tokenizer.encode_windows("", None, 16, 3).unwrap();
    assert_eq!(empty.len(), 1);
    assert_eq!(empty[0].input_ids, [1, 2]);
    let pair = tokenizer
        .encode_windows("the cat", Some(""), 16, 3)
        .unwrap();
    assert_eq!(pair, [tokenizer.encode("the cat", Some(""), 16).unwrap()]);
}

#[test]
fn a_second_text_no_longer_than_the_stride_beside_a_long_first_is_one_window() {
    let tokenizer = word_level();
    let long = "the cat sat on the mat";
    for (second, stride) in [
        ("", 0),
        ("", 3),
        ("a", 1),
        ("a", 3),
        ("a dog", 2),
        ("a dog", 3),
    ] {
        let windows = tokenizer
            .encode_windows(long, Some(second), 10, stride)
            .unwrap();
        assert_eq!(windows.len(), 1, "'{second}' with a stride of {stride}");
        let whole = tokenizer.encode(long, Some(second), 10).unwrap();
        assert_eq!(windows[0], whole);
    }
}

#[test]
fn windows_of_a_pair_hold_the_first_text_and_part_of_the_second() {
    let tokenizer = word_level();
    let windows = |a, b, max_length, stride| -> Vec<Encoding> {
        tokenizer
            .encode_windows(a, Some(b), max_length, stride)
            .unwrap()
    };
    let ids = |windows: &[Encoding]| -> Vec<Vec<u32>> {
        windows.iter().map(|w| w.input_ids.clone()).collect()
    };
    let long = "the cat sat on the mat";
    let parts = windows("dog", long, 7, 1);
    assert_eq!(
        ids(&parts),
        [
            vec![1, 8, 2, 5, 6, 7, 2],
            vec![1, 8, 2, 7, 10, 5, 2],
            vec![1, 8, 2, 5, 11, 2]
        ]
    );
    assert_eq!(parts[2].token_type_ids, [0, 0, 0, 1, 1, 1]);
    assert!(parts.iter().all(|part| !part.truncated));
    // A long first text is cut to half of the room of 5.
    let parts = windows(long, "a dog and a cat", 8, 0);
    assert_eq!(
        ids(&parts),
        [vec![1, 5, 6, 2, 9, 8, 14, 2], vec![1, 5, 6, 2, 9, 6, 2]]
    );
    assert!(parts.iter().all(|part| part.truncated));
    // A short second text leaves more to it.
    assert_eq!(
        ids(&windows(long, "dog", 8, 0)),
        [vec![1, 5, 6, 7, 10, 2, 8, 2]]
    );
    assert_eq!(
        windows("the cat", "a dog", 7, 0),
        [tokenizer.encode("the cat", Some("a dog"), 7).unwrap()]
    );
}

#[test]
fn a_stride_without_progress_is_refused() {
    let tokenizer = word_level();
    let long = "the cat sat on the mat";
    for (pair, stride) in [
        (None, 6),
        (None, usize::MAX),
        (Some(long), 3),
        (Some(""), 3),
    ] {
        let error = tokenizer.encode_windows(long, pair, 8, stride).unwrap_err();
        assert!(
            error.message().starts_with(&format!(
                "stride is {stride}; with a max_length of 8 it must be under {} for",
                if pair.is_some() { 3 } else { 6 }
            )),
            "{error}"
        );
    }
    assert!(tokenizer.encode_windows(long, None, 8, 5).is_ok());
    assert!(tokenizer.encode_windows(long, Some(long), 8, 2).is_ok());
}

/// Long texts are cut into pieces before they are encoded; the ids must be those of the whole text.
#[test]
fn a_long_text_has_the_ids_of_the_whole() {
    const PARTS: [&str; 24] = [
        " ",
        "  ",
        "\t",
        "\n",
        "\r\n",
        "\u{a0}",
        "\u{2003} ",
        "\u{85}",
        "\u{b} ",
        " \u{7f} ",
        "\u{200b}",
        "word",
        "Straße",
        "cafe\u{301}",
        "é",
        " \u{301}",
        "日本",
        "don't",
        "'s",
        "12",
        "!?",
        "[SEP]",
        " [MASK] ",
        "[UNK]x",
    ];
    let mut numbers = Numbers(3);
    let text: String = (0..60_000).map(|_| PARTS[numbers.below(24)]).collect();
    let corpus = corpus(100);
    let texts: Vec<&str> = corpus
        .iter()
        .map(String::as_str)
        .chain(["Straße café word don't 12!? 日本"])
        .collect();
    for kind in KINDS {
        for lowercase in [true, false] {
            let tokenizer = Tokenizer::train(
                texts.iter().copied(),
                &TokenizerOptions {
                    lowercase,
                    ..options(kind)
                },
            )
            .unwrap();
            let whole = tokenizer.inner.pipeline.inner();
            let whole = whole.encode_fast(text.as_str(), false).unwrap();
            let whole = whole.get_ids();
            let ours = tokenizer.encode(&text, None, usize::MAX).unwrap();
            assert_eq!(&ours.input_ids[1..ours.input_ids.len() - 1], whole);
            for max_length in [4, 100, 10_000] {
                let ours = tokenizer.encode(&text, None, max_length).unwrap();
                assert_eq!(&ours.input_ids[1..max_length - 1], &whole[..max_length - 2]);
                assert!(ours.truncated);
            }
        }
    }
}

// --- Saving and loading ---

/// Texts in which every rule of the normalizers and pre-tokenizers shows.
const SAMPLES: [&str; 8] = [
    "",
    "  The cat\tsat ",
    "Unbelievable!? don't [SEP] stop [MASK]",
    "naïve café — déjà vu",
    "日本の cat",
    "emoji 😀 and \u{0} control \u{7f}",
    "ÀÉÎÕÜ ß İstanbul",
    "a\u{300}b\u{301}",
];

#[test]
fn a_saved_tokenizer_loads_as_itself() {
    let corpus = corpus(300);
    for kind in KINDS {
        for lowercase in [true, false] {
            let tokenizer = learned_from(
                &corpus,
                &TokenizerOptions {
                    lowercase,
                    max_vocab_size: 1200,
                    ..options(kind)
                },
            );
            let json = tokenizer.to_json().unwrap();
            let loaded = Tokenizer::from_json(json.as_bytes()).unwrap();
            assert_eq!(loaded.kind(), kind);
            assert_eq!(loaded.lowercase(), lowercase);
            assert_eq!(loaded.vocab_size(), tokenizer.vocab_size());
            assert_eq!(loaded.tokens(), tokenizer.tokens());
            assert_eq!(loaded.to_json().unwrap(), json);
            for text in SAMPLES.into_iter().chain(corpus.iter().map(String::as_str)) {
                assert_eq!(
                    loaded.encode(text, Some("the cat"), 32).unwrap(),
                    tokenizer.encode(text, Some("the cat"), 32).unwrap()
                );
            }
        }
    }
}

/// What Hugging Face's reader and post-processor make of the file is what we make of the text.
#[test]
fn the_saved_file_means_the_same_to_the_tokenizers_crate() {
    let corpus = corpus(100);
    for kind in KINDS {
        let ours = learned_from(&corpus, &options(kind));
        let json = ours.to_json().unwrap();
        let theirs = tokenizers::Tokenizer::from_bytes(json.as_bytes()).unwrap();
        assert!(theirs.get_truncation().is_none());
        assert!(theirs.get_padding().is_none());
        for text in SAMPLES.into_iter().chain(corpus.iter().map(String::as_str)) {
            let single = theirs.encode(text, true).unwrap();
            let expected = ours.encode(text, None, 10_000).unwrap();
            assert_eq!(single.get_ids(), expected.input_ids);
            assert_eq!(single.get_type_ids(), expected.token_type_ids);
            let pair = theirs.encode((text, "a cat"), true).unwrap();
            let expected = ours.encode(text, Some("a cat"), 10_000).unwrap();
            assert_eq!(pair.get_ids(), expected.input_ids);
            assert_eq!(pair.get_type_ids(), expected.token_type_ids);
        }
    }
}

#[test]
fn a_vocab_txt_is_read_by_lines() {
    let vocab = "[PAD]\r\n[UNK]\n[CLS]\n[SEP]\n\nthe\ncat\n##s\ncafe\nTHE\n";
    let tokenizer = Tokenizer::from_vocab_txt(vocab.as_bytes(), &Default::default()).unwrap();
    assert_eq!(tokenizer.kind(), TokenizerKind::WordPiece);
    assert_eq!(tokenizer.vocab_size(), 10);
    assert_eq!(tokenizer.mask_token_id(), None);
    assert_eq!(tokenizer.tokens()[4], "");
    assert_eq!(tokenizer.token_to_id("cat"), Some(6));
    assert_eq!(tokenizer.token_to_id("dog"), None);
    assert_eq!(ids(&tokenizer, "THE cats Café dog"), [2, 5, 6, 7, 8, 1, 3]);
    let cased = Tokenizer::from_vocab_txt(
        vocab.as_bytes(),
        &BertNormalization {
            lowercase: false,
            ..Default::default()
        },
    )
    .unwrap();
    assert!(!cased.lowercase());
    assert_eq!(ids(&cased, "THE the Café"), [2, 9, 5, 1, 3]);
    let stripped = Tokenizer::from_vocab_txt(
        vocab.as_bytes(),
        &BertNormalization {
            lowercase: true,
            strip_accents: Some(false),
            ..Default::default()
        },
    )
    .unwrap();
    assert_eq!(ids(&stripped, "café"), [2, 1, 3]);
    let again = Tokenizer::from_json(tokenizer.to_json().unwrap().as_bytes()).unwrap();
    assert_eq!(ids(&again, "THE cats"), [2, 5, 6, 7, 3]);
    assert_eq!(again.tokens(), tokenizer.tokens());
}

#[test]
fn a_vocab_txt_that_cant_be_one_is_refused() {
    for (vocab, sentence) in [
        (&b""[..], "The tokenizer has no token [PAD]"),
        (b"[PAD]\n[CLS]\n[SEP]\n", "The tokenizer has no token [UNK]"),
        (b"[PAD]\n\xff\xfe\n", "Line 2 of vocab.txt isn't UTF-8"),
    ] {
        let Err(Error::Format(message)) = Tokenizer::from_vocab_txt(vocab, &Default::default())
        else {
            panic!("{sentence}");
        };
        assert!(message.starts_with(sentence), "{message}");
    }
}

// --- Files that are damaged or hostile ---

fn small_json(kind: TokenizerKind) -> String {
    Tokenizer::train(
        TEXTS,
        &TokenizerOptions {
            max_vocab_size: 270,
            ..options(kind)
        },
    )
    .unwrap()
    .to_json()
    .unwrap()
}

/// The file with `pointer` set to `value`; "-" as value removes it.
fn changed(kind: TokenizerKind, pointer: &str, value: &str) -> Vec<u8> {
    let mut json: serde_json::Value = serde_json::from_str(&small_json(kind)).unwrap();
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    let parent = json.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    if value == "-" {
        parent.remove(field).unwrap();
    } else {
        parent.insert(field.into(), serde_json::from_str(value).unwrap());
    }
    json.to_string().into_bytes()
}

#[test]
fn a_file_that_ends_early_is_refused() {
    for kind in KINDS {
        let json = small_json(kind);
        for end in (0..json.len()).step_by(50) {
            let Err(Error::Format(message)) = Tokenizer::from_json(&json.as_bytes()[..end]) else {
                panic!("{kind:?} cut at {end}");
            };
            assert!(
                message.starts_with("tokenizer.json ends too early at line 1"),
                "{message}"
            );
        }
    }
}

#[test]
fn a_file_with_changed_bytes_is_refused_or_loads() {
    let mut numbers = Numbers(11);
    for kind in KINDS {
        let json = small_json(kind).into_bytes();
        for _ in 0..2000 {
            let mut damaged = json.clone();
            for _ in 0..1 + numbers.below(3) {
                let at = numbers.below(damaged.len());
                damaged[at] = b"\"{}[]:,0-9ae\\ \xff\x00n"[numbers.below(17)];
            }
            if let Ok(tokenizer) = Tokenizer::from_json(&damaged) {
                for text in SAMPLES {
                    tokenizer.encode(text, Some("cats"), 16).unwrap();
                }
                tokenizer.to_json().unwrap();
            }
        }
    }
}

#[test]
fn a_file_that_says_nonsense_is_refused() {
    use TokenizerKind::{ByteLevelBpe, WordLevel, WordPiece};
    let wrong_kind = "tokenizer.json doesn't hold what a tokenizer's file holds";
    for (kind, pointer, value, sentence) in [
        (WordLevel, "/model", "-", wrong_kind),
        (WordLevel, "/model", "[]", wrong_kind),
        (WordLevel, "/model", "null", wrong_kind),
        (WordLevel, "/model/vocab", "3", wrong_kind),
        (WordLevel, "/model/type", "3", wrong_kind),
        (
            WordLevel,
            "/model/vocab",
            "-",
            "The WordLevel model of tokenizer.json has no vocabulary",
        ),
        (
            WordLevel,
            "/model/vocab",
            "[\"a\"]",
            "The WordLevel model of tokenizer.json has no vocabulary",
        ),
        (WordLevel, "/model/vocab", "{\"a\": -1}", wrong_kind),
        (WordLevel, "/model/vocab", "{\"a\": 1.5}", wrong_kind),
        (WordLevel, "/model/vocab", "{\"a\": \"b\"}", wrong_kind),
        (
            WordLevel,
            "/model/vocab",
            "{\"[UNK]\": 4294967295}",
            "tokenizer.json gives the token '[UNK]' the id 4294967295; ids must be under 10000000.",
        ),
        (
            WordLevel,
            "/model/vocab",
            "{\"[UNK]\": 99999999999}",
            wrong_kind,
        ),
        (
            WordLevel,
            "/model/vocab",
            "{\"[UNK]\": 3, \"b\": 3}",
            "tokenizer.json gives id 3 to more than one token",
        ),
        (
            WordLevel,
            "/model/vocab",
            "{\"a\": 3}",
            "The model of tokenizer.json uses '[UNK]' for unknown words",
        ),
        (
            WordPiece,
            "/model/unk_token",
            "\"<unk>\"",
            "The model of tokenizer.json uses '<unk>' for unknown words",
        ),
        (
            WordPiece,
            "/model/max_input_chars_per_word",
            "-1",
            wrong_kind,
        ),
        (ByteLevelBpe, "/model/merges", "[[\"a\"]]", wrong_kind),
        (
            ByteLevelBpe,
            "/model/merges",
            "[[\"a\", \"b\", \"c\"]]",
            wrong_kind,
        ),
        (ByteLevelBpe, "/model/merges", "[\"a b c\"]", wrong_kind),
        (
            ByteLevelBpe,
            "/model/merges",
            "[\"a nowhere\"]",
            "tokenizer.json merges 'a' and 'nowhere', but",
        ),
        (
            ByteLevelBpe,
            "/model/merges",
            "[[\"[PAD]\", \"[MASK]\"]]",
            "tokenizer.json merges '[PAD]' and '[MASK]', but",
        ),
        (
            ByteLevelBpe,
            "/model/continuing_subword_prefix",
            "\"a long one\"",
            "tokenizer.json merges",
        ),
        (
            WordLevel,
            "/normalizer",
            "{\"type\": \"Sequence\", \"normalizers\": 3}",
            wrong_kind,
        ),
        (WordLevel, "/normalizer", "{}", wrong_kind),
        (WordLevel, "/added_tokens", "{}", wrong_kind),
        (
            WordLevel,
            "/added_tokens",
            "[{\"content\": \"x\"}]",
            wrong_kind,
        ),
        (
            WordLevel,
            "/added_tokens",
            "[{\"id\": 6, \"content\": \"x\"}]",
            "tokenizer.json gives id 6 to the added token 'x' and to 'cat'",
        ),
        (
            WordLevel,
            "/added_tokens",
            "[{\"id\": 600, \"content\": \"x\"}]",
            "tokenizer.json says that the added token 'x' has id 600, but by its vocabulary",
        ),
        (
            WordLevel,
            "/added_tokens",
            "[{\"id\": 600, \"content\": \"\"}]",
            "tokenizer.json says that the added token '' has id 600, but an added token can't be empty.",
        ),
        (
            WordLevel,
            "/added_tokens",
            "[{\"id\": 10000000, \"content\": \"x\"}]",
            "tokenizer.json gives the token 'x' the id 10000000",
        ),
    ] {
        let result = Tokenizer::from_json(&changed(kind, pointer, value));
        let Err(Error::Format(message)) = result else {
            panic!("{kind:?} {pointer} {value}: {result:?}");
        };
        assert!(
            message.starts_with(sentence),
            "{pointer} {value}: {message}"
        );
    }
    for json in [
        &b""[..],
        b"  ",
        b"null",
        b"[]",
        b"3",
        b"{",
        b"{}",
        b"\xff\xfe{}",
        b"{\"model\"",
    ] {
        assert!(matches!(Tokenizer::from_json(json), Err(Error::Format(_))));
    }
}

#[test]
fn what_isnt_done_here_is_named() {
    use TokenizerKind::{WordLevel, WordPiece};
    for (kind, pointer, value, sentence) in [
        (
            WordLevel,
            "/model",
            "{\"type\": \"Unigram\", \"unk_id\": 0, \"vocab\": [[\"<unk>\", 0.0]]}",
            "tokenizer.json has a model of type 'Unigram'",
        ),
        (
            WordLevel,
            "/model/type",
            "\"Other\\u0007\"",
            "tokenizer.json has a model of type 'Other\u{fffd}'",
        ),
        (
            WordLevel,
            "/normalizer",
            "{\"type\": \"Precompiled\", \"precompiled_charsmap\": \"\"}",
            "tokenizer.json has a normalizer of type 'Precompiled'",
        ),
        (
            WordLevel,
            "/pre_tokenizer",
            "{\"type\": \"Split\", \"pattern\": {\"Regex\": \"((((\"}, \"behavior\": \"Isolated\", \"invert\": false}",
            "tokenizer.json has a pre-tokenizer of type 'Split'",
        ),
        (
            WordPiece,
            "/model/max_input_chars_per_word",
            "1001",
            "tokenizer.json has max_input_chars_per_word 1001; at most 1000",
        ),
        (
            WordLevel,
            "/normalizer",
            "{\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"ByteLevel\"}, {\"type\": \"ByteLevel\"}, \
             {\"type\": \"ByteLevel\"}]}",
            "tokenizer.json has 3 steps of type 'ByteLevel'",
        ),
    ] {
        let result = Tokenizer::from_json(&changed(kind, pointer, value));
        let Err(Error::Unsupported(message)) = result else {
            panic!("{pointer} {value}: {result:?}");
        };
        assert!(
            message.starts_with(sentence),
            "{pointer} {value}: {message}"
        );
    }
    assert!(matches!(
        Tokenizer::from_json(&changed(WordLevel, "/version", "\"2.0\"")),
        Err(Error::Version(_))
    ));
}

#[test]
fn deep_nesting_and_sheer_size_are_refused() {
    for (open, close) in [("[", "]"), ("{\"model\":", "}"), ("{\"normalizer\":", "}")] {
        let deep = open.repeat(200_000) + &close.repeat(200_000);
        assert!(matches!(
            Tokenizer::from_json(deep.as_bytes()),
            Err(Error::Format(_))
        ));
        let inside = format!("{{\"unknown\": {deep}}}");
        assert!(matches!(
            Tokenizer::from_json(inside.as_bytes()),
            Err(Error::Format(_))
        ));
    }
    let step = "{\"type\": \"NFC\"},".repeat(65);
    let many = format!(
        "{{\"type\": \"Sequence\", \"normalizers\": [{}]}}",
        step.trim_end_matches(',')
    );
    assert!(matches!(
        Tokenizer::from_json(&changed(TokenizerKind::WordLevel, "/normalizer", &many)),
        Err(Error::Format(_))
    ));
    let huge = vec![b' '; (64 << 20) + 1];
    for result in [
        Tokenizer::from_json(&huge),
        Tokenizer::from_vocab_txt(&huge, &Default::default()),
    ] {
        let Err(Error::Format(message)) = result else {
            panic!("a file of 64 MiB and a byte was read");
        };
        assert!(
            message.contains("has 67108865 bytes; at most 67108864"),
            "{message}"
        );
    }
}

#[test]
fn a_files_own_truncation_padding_and_dropout_are_discarded() {
    let tokenizer = learned(TokenizerKind::ByteLevelBpe);
    let mut json: serde_json::Value = serde_json::from_str(&tokenizer.to_json().unwrap()).unwrap();
    json["truncation"] = serde_json::json!({"max_length": 1, "strategy": "LongestFirst", "stride": 9, "direction": "Left"});
    json["padding"] = serde_json::json!({"strategy": {"Fixed": 1_000_000_000}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"});
    json["model"]["dropout"] = 1.0.into();
    let loaded = Tokenizer::from_json(json.to_string().as_bytes()).unwrap();
    assert_eq!(ids(&loaded, TEXTS[0]), ids(&tokenizer, TEXTS[0]));
    assert_eq!(loaded.to_json().unwrap(), tokenizer.to_json().unwrap());
}

#[test]
fn added_tokens_count_into_the_vocabulary() {
    let json = String::from_utf8(changed(
        TokenizerKind::WordLevel,
        "/added_tokens",
        r#"[{"id": 17, "content": "<b>", "special": true}, {"id": 18, "content": "New York", "special": false, "normalized": true}]"#,
    ))
    .unwrap();
    let loaded = Tokenizer::from_json(json.as_bytes()).unwrap();
    assert_eq!(loaded.vocab_size(), 19);
    assert_eq!(loaded.tokens()[17..], ["<b>", "New York"]);
    assert_eq!(ids(&loaded, "the<b>cat new york"), [1, 5, 17, 6, 18, 2]);
    let again = Tokenizer::from_json(loaded.to_json().unwrap().as_bytes()).unwrap();
    assert_eq!(ids(&again, "the<b>cat new york"), [1, 5, 17, 6, 18, 2]);
    // A text long enough to be cut into pieces: the token with a space in it must stay whole.
    let long = "new york ".repeat(20_000);
    let encoding = loaded.encode(&long, None, usize::MAX).unwrap();
    assert_eq!(encoding.input_ids.len(), 20_002);
}

#[test]
fn added_tokens_that_normalisation_makes_empty_or_equal_are_refused() {
    for tokens in [
        r#"[{"id": 261, "content": "\u0301", "normalized": true}]"#,
        r#"[{"id": 261, "content": "xyz", "normalized": true}, {"id": 262, "content": "XYZ", "normalized": true}]"#,
    ] {
        let vocab: Vec<String> = ["[PAD]", "[CLS]", "[SEP]", "[MASK]", "[UNK]"]
            .into_iter()
            .map(str::to_owned)
            .chain((5..261).map(|id| format!("w{id}")))
            .collect();
        let tokenizer =
            Tokenizer::from_vocab_txt(vocab.join("\n").as_bytes(), &Default::default()).unwrap();
        assert_eq!(tokenizer.vocab_size(), 261);
        let mut json: serde_json::Value =
            serde_json::from_str(&tokenizer.to_json().unwrap()).unwrap();
        json["added_tokens"] = serde_json::from_str(tokens).unwrap();
        let Err(Error::Format(message)) = Tokenizer::from_json(json.to_string().as_bytes()) else {
            panic!("{tokens}");
        };
        assert!(
            message.starts_with("The tokenizer's added tokens"),
            "{message}"
        );
    }
}

#[test]
fn a_tokenizer_is_shared_between_threads() {
    fn assert_shared<T: Send + Sync + Clone>() {}
    assert_shared::<Tokenizer>();
}
