//! Texts: a tokenizer of each kind is learned from some, and encodes others.
//! `[kind] [lowercase] [vocabulary] [min_frequency] [max_length] [stride] [repeats] texts to learn from, one a line
//! MARK 1 text MARK 2 pair`; where `repeats` is high the text is many times as long as it stands there, so that short inputs
//! reach what long texts do.

use bert::text::{Tokenizer, TokenizerKind, TokenizerOptions};

use super::Target;
use crate::input::{self, Bytes};
use crate::oracle::{Encodings, answer};

pub const TARGET: Target = Target {
    name: "texts",
    most_bytes: 2 * 1024,
    run,
    seeds,
    words: &[
        b"[CLS]",
        b"[SEP]",
        b"[UNK]",
        b"[PAD]",
        b"[MASK]",
        b" ",
        b"  ",
        b"\n",
        b"\t",
        b"\r",
        b"\xc2\xa0",
        b"\xe2\x80\x83",
        b"\xe3\x80\x80",
        b"\xcc\x81",
        b"e\xcc\x81",
        b"\xc4\xb0",
        b"\xc3\x9f",
        b"\xe4\xb8\xad",
        b"\xf0\x9f\x98\x80",
        b"\xe2\x80\x8d",
        b"\xef\xbf\xbd",
        b"\xe2\x80\x8b",
        b"\x00",
        b"\xc2\x85",
        b"\xe1\x84\x80\xe1\x85\xa1",
        b"'s",
        b"'ll",
        b"42",
        b"##",
        b"\xce\xa3",
        b"\xcf\x82",
    ],
};

/// The longest text that an input becomes by repeating.
const MOST_BYTES: usize = 4 * 1024;

fn run(bytes: &[u8]) {
    let mut bytes = Bytes::new(bytes);
    let kind = bytes.one_of(&[
        TokenizerKind::WordLevel,
        TokenizerKind::WordPiece,
        TokenizerKind::ByteLevelBpe,
    ]);
    let lowercase = bytes.bit();
    let more = usize::from(bytes.byte());
    let least = if kind == TokenizerKind::ByteLevelBpe {
        261
    } else {
        6
    };
    let options = TokenizerOptions {
        kind,
        min_frequency: bytes.below(4) as u32,
        max_vocab_size: least + more,
        lowercase,
    };
    let max_length = 4 + bytes.below(60);
    let stride = bytes.below(64);
    // Most texts stay short: long ones take their time.
    let repeats = 1 + 20 * usize::from(bytes.byte().saturating_sub(192));
    let (learned_from, parts) = input::parts(bytes.rest());
    let learned_from = input::text(learned_from);
    let Some(tokenizer) = answer(Tokenizer::train(learned_from.lines(), &options)) else {
        return;
    };
    assert!(tokenizer.vocab_size() <= options.max_vocab_size);
    if more % 2 == 1 {
        let again = answer(Tokenizer::train(learned_from.lines(), &options));
        let again = again.expect("it was learned before").to_json();
        assert_eq!(tokenizer.to_json(), again, "learned twice");
    }
    let part = |name: u8| input::part(&parts, name).map(input::text);
    let text = part(b'1').unwrap_or_else(|| learned_from.clone());
    let repeats = repeats.min((MOST_BYTES / text.len().max(1)).max(1));
    Encodings::new(&tokenizer).check(
        &text.repeat(repeats),
        &part(b'2').unwrap_or_default(),
        max_length,
        stride,
    );
}

fn seeds() -> Vec<Vec<u8>> {
    let texts = "A good film, isn't it?\na bad film: déjà vu\nΣΑΣ İstanbul 中文 42\n";
    let text = "A gööd film\u{a0}[SEP] isn't 中文 4242 \u{1f600}";
    (0..6u8)
        .map(|seed| {
            let head = [
                &[seed, seed / 3, 30 + seed, 0, 7 + seed, 2, 192 + seed * 8],
                texts.as_bytes(),
            ]
            .concat();
            input::join(&head, &[(b'1', text.as_bytes()), (b'2', b"a bad film")])
        })
        .collect()
}
