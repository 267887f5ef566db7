//! The stream's ids are those of the `tokenizers` crate, which sees the whole text: for texts of what is hard to cut,
//! with every kind of pipeline.

use serde_json::{Value, json};

use super::Tokenizer;
use super::pipeline::SPECIAL_TOKENS;
use super::tests::Numbers;

impl Numbers {
    fn of<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    fn part(&mut self) -> &'static str {
        PARTS[self.below(PARTS.len())]
    }

    fn chance(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }
}

/// What normalizers and pre-tokenizers treat in a way of its own, or depending on what stands beside.
const PARTS: &[&str] = &[
    " ",
    " ",
    "  ",
    "\t",
    "\n",
    "\r\n",
    "\u{b}",
    "\u{85}",
    "\u{a0}",
    "\u{2003}",
    "\u{3000}",
    "\u{200b}",
    "\u{200d}",
    "\u{fe0f}",
    "\u{ad}",
    "\u{7f}",
    "\0",
    "\u{1}",
    "\u{fffd}",
    "\u{e000}",
    "\u{378}",
    "a",
    "a",
    "b",
    "c",
    "ab",
    "abc",
    "A",
    "B",
    "é",
    "É",
    "e\u{301}",
    "\u{301}",
    "\u{300}",
    "\u{323}",
    "\u{327}",
    "\u{344}",
    "\u{345}",
    "\u{f71}",
    "\u{f72}",
    "\u{f73}",
    "\u{f74}",
    "\u{3099}",
    "か",
    "が",
    "\u{302e}",
    "\u{1d165}",
    "ำ",
    "\u{e33}",
    "\u{e49}",
    "ᄀ",
    "\u{1161}",
    "\u{11a8}",
    "가",
    "각",
    "\u{9be}",
    "\u{9c7}",
    "İ",
    "ı",
    "ß",
    "ẞ",
    "Σ",
    "ς",
    "ﬁ",
    "①",
    "㌀",
    "ﷺ",
    "Å",
    "Ω",
    "日",
    "本",
    "\u{20000}",
    "\u{2f800}",
    "\u{f900}",
    "!",
    "?!",
    ".",
    "-",
    "_",
    "$",
    "’",
    "«",
    "'",
    "'s",
    "'t",
    "'re",
    "'ve",
    "'ll",
    "'d",
    "'m",
    "'r",
    "'l",
    "'S",
    "1",
    "23",
    "٣",
    "½",
    "Ⅷ",
    "²",
    "[SEP]",
    "[MASK]",
    "[",
    "[[SEP]",
    "[sep]",
    "<x>",
    "<",
    "<x",
    "x",
    "😀",
    "👩‍👩‍👧",
    "🇩🇪",
    "[UNK]",
    "Ġ",
];

fn text(numbers: &mut Numbers, most: usize) -> String {
    let count = numbers.below(most + 1);
    // Some texts of few parts, and some with long runs of one.
    let few: Vec<&str> = (0..1 + numbers.below(4)).map(|_| numbers.part()).collect();
    let style = numbers.below(4);
    let mut text = String::new();
    for _ in 0..count {
        match style {
            0 => text.push_str(few[numbers.below(few.len())]),
            1 if numbers.chance(4) => text.push_str(&numbers.part().repeat(numbers.below(40))),
            2 if numbers.chance(3) => text.push_str(few[numbers.below(few.len())]),
            _ => text.push_str(numbers.part()),
        }
    }
    text
}

fn normalizer(numbers: &mut Numbers, nested: bool) -> Value {
    match numbers.below(if nested { 11 } else { 13 }) {
        0 | 1 => json!({"type": "BertNormalizer", "clean_text": numbers.chance(2),
            "handle_chinese_chars": numbers.chance(2), "lowercase": numbers.chance(2),
            "strip_accents": numbers.of(&[None, Some(true), Some(false)])}),
        2 => json!({"type": "Lowercase"}),
        3 => json!({"type": "NFC"}),
        4 => json!({"type": "NFD"}),
        5 => json!({"type": "NFKC"}),
        6 => json!({"type": "NFKD"}),
        7 => json!({"type": "StripAccents"}),
        8 | 9 => {
            json!({"type": "Strip", "strip_left": numbers.chance(2), "strip_right": numbers.chance(2)})
        }
        10 => json!({"type": "ByteLevel"}),
        _ => {
            let steps: Vec<Value> = (0..numbers.below(4))
                .map(|_| normalizer(numbers, true))
                .collect();
            json!({"type": "Sequence", "normalizers": steps})
        }
    }
}

fn pre_tokenizer(numbers: &mut Numbers, nested: bool) -> Value {
    match numbers.below(if nested { 9 } else { 11 }) {
        0 | 1 => json!({"type": "BertPreTokenizer"}),
        2 => json!({"type": "Whitespace"}),
        3 => json!({"type": "WhitespaceSplit"}),
        4 | 5 => {
            json!({"type": "ByteLevel", "add_prefix_space": numbers.chance(2), "trim_offsets": true,
            "use_regex": !numbers.chance(4)})
        }
        6 => json!({"type": "Digits", "individual_digits": numbers.chance(2)}),
        7 | 8 => json!({"type": "Punctuation", "behavior": numbers.of(
            &["Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"])}),
        _ => {
            let steps: Vec<Value> = (0..numbers.below(4))
                .map(|_| pre_tokenizer(numbers, true))
                .collect();
            json!({"type": "Sequence", "pretokenizers": steps})
        }
    }
}

/// Tokens by their place.
fn vocab(tokens: &[String]) -> Value {
    Value::Object(tokens.iter().cloned().zip((0..).map(Value::from)).collect())
}

fn start() -> Vec<String> {
    SPECIAL_TOKENS.map(str::to_owned).to_vec()
}

fn push(tokens: &mut Vec<String>, token: String) {
    if !token.is_empty() && !tokens.contains(&token) {
        tokens.push(token);
    }
}

/// The characters of the parts, and those that stand for their bytes.
fn alphabet() -> Vec<char> {
    let bytes = tokenizers::pre_tokenizers::byte_level::ByteLevel::alphabet();
    let mut all: Vec<char> = PARTS
        .iter()
        .flat_map(|part| part.chars())
        .chain(bytes)
        .collect();
    all.extend(all.clone().iter().flat_map(|c| c.to_lowercase()));
    all.sort_unstable();
    all.dedup();
    all
}

fn words(numbers: &mut Numbers, tokens: &mut Vec<String>, prefix: &str) {
    let alphabet = alphabet();
    for _ in 0..numbers.below(400) {
        let length = 1 + numbers.below(3);
        let word: String = (0..length).map(|_| *numbers.of(&alphabet)).collect();
        push(
            tokens,
            if numbers.chance(2) {
                format!("{prefix}{word}")
            } else {
                word
            },
        );
    }
    for word in [
        "a", "b", "ab", "abc", "é", "日", "!", "[", " ", "  ", "Ġ", "ĠĠ", "Ġa", "'s",
    ] {
        push(tokens, format!("{prefix}{word}"));
        push(tokens, word.into());
    }
}

fn model(numbers: &mut Numbers) -> (Value, usize) {
    let mut tokens = start();
    match numbers.below(3) {
        0 => {
            words(numbers, &mut tokens, "");
            (
                json!({"type": "WordLevel", "unk_token": "[UNK]", "vocab": vocab(&tokens)}),
                tokens.len(),
            )
        }
        1 => {
            let prefix = *numbers.of(&["##", "##", "", "a"]);
            words(numbers, &mut tokens, prefix);
            let most = *numbers.of(&[0, 1, 5, 7, 100]);
            (
                json!({"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": prefix,
                    "max_input_chars_per_word": most, "vocab": vocab(&tokens)}),
                tokens.len(),
            )
        }
        _ => {
            let letters: Vec<String> = alphabet().iter().map(char::to_string).collect();
            bpe(numbers, &letters, 60)
        }
    }
}

/// BPE with random merges, now and then in an order that training never gives.
fn bpe(numbers: &mut Numbers, letters: &[String], most: usize) -> (Value, usize) {
    let mut tokens = start();
    let prefix = if numbers.chance(4) { "#" } else { "" };
    let suffix = if numbers.chance(4) { "/" } else { "" };
    let byte_fallback = numbers.chance(4);
    // Some letters aren't known.
    for letter in letters.iter().filter(|_| !numbers.chance(20)) {
        push(&mut tokens, letter.clone());
        if !prefix.is_empty() {
            push(&mut tokens, format!("{prefix}{letter}"));
        }
        if !suffix.is_empty() {
            push(&mut tokens, format!("{prefix}{letter}{suffix}"));
        }
    }
    if byte_fallback {
        for byte in 0..=255u8 {
            push(&mut tokens, format!("<0x{byte:02X}>"));
        }
    }
    let mut pool: Vec<String> = tokens[if numbers.chance(10) { 4 } else { 5 }..].to_vec();
    let mut merges: Vec<[String; 2]> = Vec::new();
    if pool.is_empty() {
        pool.push("[UNK]".into());
    }
    // Few letters often, so that they meet.
    let common: Vec<String> = (0..3).map(|_| numbers.of(&pool).clone()).collect();
    for _ in 0..numbers.below(most) {
        let pick = |numbers: &mut Numbers, pool: &[String]| match numbers.below(3) {
            0 => numbers.of(&common).clone(),
            1 => pool[pool.len() - 1 - numbers.below(pool.len().min(8))].clone(),
            _ => numbers.of(pool).clone(),
        };
        let (left, right) = (pick(numbers, &pool), pick(numbers, &pool));
        let Some(rest) = right.strip_prefix(prefix) else {
            continue;
        };
        let merged = format!("{left}{rest}");
        if merged.chars().count() > 12 {
            continue;
        }
        push(&mut tokens, merged.clone());
        pool.push(merged);
        merges.push([left, right]);
    }
    if numbers.chance(5) {
        for place in (1..merges.len()).rev() {
            merges.swap(place, numbers.below(place + 1));
        }
    }
    let mut model = json!({"type": "BPE", "vocab": vocab(&tokens), "merges": merges,
        "continuing_subword_prefix": prefix, "end_of_word_suffix": suffix, "fuse_unk": numbers.chance(2),
        "byte_fallback": byte_fallback, "ignore_merges": numbers.chance(4)});
    if !numbers.chance(4) {
        model["unk_token"] = "[UNK]".into();
    }
    (model, tokens.len())
}

fn added_tokens(numbers: &mut Numbers, size: usize) -> Vec<Value> {
    let mut added: Vec<Value> = (0..)
        .zip(SPECIAL_TOKENS)
        .map(|(id, content)| json!({"id": id, "content": content, "special": true, "normalized": false,
            "lstrip": numbers.chance(6), "rstrip": numbers.chance(6), "single_word": numbers.chance(6)}))
        .collect();
    for (place, content) in ["<x>", "<", "[SEP]a", " ", "é", "a b", "İ", "xx"]
        .iter()
        .enumerate()
    {
        if numbers.chance(4) {
            let id = size + added.len() - SPECIAL_TOKENS.len();
            added.push(json!({"id": id, "content": format!("{content}"), "special": place % 2 == 0,
                "normalized": numbers.chance(2), "lstrip": numbers.chance(3), "rstrip": numbers.chance(3),
                "single_word": numbers.chance(3)}));
        }
    }
    added
}

/// A tokenizer of random parts, or `None` where they can't be used together.
fn tokenizer(numbers: &mut Numbers) -> Option<(Tokenizer, String)> {
    let (model, size) = model(numbers);
    let mut file =
        json!({"version": "1.0", "model": model, "normalizer": null, "pre_tokenizer": null});
    if !numbers.chance(6) {
        file["normalizer"] = normalizer(numbers, false);
    }
    if !numbers.chance(6) {
        file["pre_tokenizer"] = pre_tokenizer(numbers, false);
    }
    file["added_tokens"] = added_tokens(numbers, size).into();
    let tokenizer = Tokenizer::from_json(file.to_string().as_bytes()).ok()?;
    file["model"]["vocab"] = Value::Null;
    Some((tokenizer, file.to_string()))
}

/// The ids of the whole text by the crate; `None` where it fails or panics.
fn theirs(tokenizer: &Tokenizer, text: &str) -> Option<Vec<u32>> {
    let whole = std::panic::catch_unwind(|| {
        let crates = tokenizer.inner.pipeline.inner();
        crates.encode_fast(text, false).ok()
    });
    Some(whole.ok()??.get_ids().to_vec())
}

fn assert_same(tokenizer: &Tokenizer, text: &str, max_length: usize, about: &str) {
    let Some(theirs) = theirs(tokenizer, text) else {
        return;
    };
    let room = max_length - 2;
    let ours = tokenizer.encode(text, None, max_length).unwrap();
    let kept = theirs.len().min(room);
    assert_eq!(
        ours.input_ids[1..ours.input_ids.len() - 1],
        theirs[..kept],
        "{text:?} cut to {max_length} by {about}"
    );
    assert_eq!(ours.truncated, theirs.len() > room, "{text:?} {about}");
}

/// That as many ids are counted as there are, whenever the counting begins, and never more on the way.
fn assert_counted(tokenizer: &Tokenizer, text: &str, begin: usize, about: &str) {
    let Some(theirs) = theirs(tokenizer, text) else {
        return;
    };
    let mut ids = tokenizer.inner.pipeline.ids(text);
    ids.until(begin).unwrap();
    let (begun, mut counting) = ids.counting(true).unwrap();
    assert_eq!(begun, theirs[..begun.len()]);
    while !counting.ended {
        let least = counting.least();
        assert!(least <= theirs.len(), "{least} {text:?} {about}");
        counting.until(least + 1).unwrap();
    }
    assert_eq!(
        counting.least(),
        theirs.len(),
        "{text:?} counted from {begin} by {about}"
    );
}

#[test]
fn random_pipelines_give_the_ids_of_the_whole_text() {
    let mut numbers = Numbers(5);
    let mut tried = 0;
    while tried < 1500 {
        let Some((tokenizer, about)) = tokenizer(&mut numbers) else {
            continue;
        };
        tried += 1;
        for _ in 0..12 {
            let text = text(&mut numbers, 60);
            assert_same(&tokenizer, &text, usize::MAX, &about);
            assert_same(&tokenizer, &text, 4 + numbers.below(40), &about);
            assert_counted(&tokenizer, &text, numbers.below(20), &about);
        }
    }
}

/// What stands in long words, and what ends them depending on what stands beside it.
const WORDY: &[&str] = &[
    "a", "b", "é", "e\u{301}", "\u{301}", "\u{323}", "\u{338}", "\u{345}", "\u{3099}", "か", "が",
    "ᄀ", "\u{1161}", "\u{11a8}", "각", "ж", "Ж", "İ", "ﬁ", "日", "\u{1}", "\u{200d}", "1",
];

#[test]
fn the_inside_of_overlong_words_is_passed_over_without_a_trace() {
    let mut numbers = Numbers(77);
    let mut tried = 0;
    while tried < 1500 {
        let Some((tokenizer, about)) = tokenizer(&mut numbers) else {
            continue;
        };
        if tokenizer.kind() == super::TokenizerKind::ByteLevelBpe {
            continue;
        }
        tried += 1;
        for _ in 0..8 {
            let few: Vec<&str> = (0..1 + numbers.below(6))
                .map(|_| *numbers.of(WORDY))
                .collect();
            let rare = 5 + numbers.below(60);
            let text: String = (0..200 + numbers.below(200))
                .map(|_| match numbers.below(rare) {
                    0 => numbers.part(),
                    1 => *numbers.of(&[
                        "<",
                        ">\u{338}",
                        " ",
                        "\u{338}",
                        "!",
                        "[MASK]",
                        "=\u{301}\u{338}",
                    ]),
                    _ => *numbers.of(&few),
                })
                .collect();
            assert_same(&tokenizer, &text, usize::MAX, &about);
            assert_same(&tokenizer, &text, 4 + numbers.below(4), &about);
            assert_counted(&tokenizer, &text, numbers.below(3), &about);
        }
    }
}

#[test]
fn every_character_is_treated_as_by_the_crate() {
    let pipelines = [
        (
            json!({"type": "BertNormalizer"}),
            json!({"type": "BertPreTokenizer"}),
        ),
        (json!({"type": "NFKC"}), json!({"type": "Whitespace"})),
        (
            json!({"type": "Sequence", "normalizers": [{"type": "NFD"}, {"type": "StripAccents"}]}),
            json!({"type": "Sequence", "pretokenizers": [{"type": "Digits"}, {"type": "Punctuation"}]}),
        ),
        (
            json!({"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Lowercase"}]}),
            json!({"type": "ByteLevel", "add_prefix_space": false}),
        ),
    ];
    // Byte-level BPE shows the characters, as ids of their bytes.
    let mut tokens = start();
    let bytes = tokenizers::pre_tokenizers::byte_level::ByteLevel::alphabet();
    let mut bytes: Vec<char> = bytes.into_iter().collect();
    bytes.sort_unstable();
    tokens.extend(bytes.iter().map(char::to_string));
    for (normalizer, pre_tokenizer) in pipelines {
        // The space in front shows where words begin.
        let file = json!({
            "version": "1.0",
            "normalizer": normalizer,
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
                pre_tokenizer["pretokenizers"][0].as_object().map_or(pre_tokenizer.clone(), |s| s.clone().into()),
                pre_tokenizer["pretokenizers"][1].as_object().map_or(json!({"type": "WhitespaceSplit"}), |s| s.clone().into()),
                {"type": "ByteLevel", "add_prefix_space": true, "use_regex": false},
            ]},
            "model": {"type": "BPE", "vocab": vocab(&tokens), "merges": []},
            "added_tokens": [],
        });
        let tokenizer = Tokenizer::from_json(file.to_string().as_bytes()).unwrap();
        // What isn't here isn't assigned, or is private and treated like U+E000.
        let all: Vec<char> = ('\0'..'\u{30000}')
            .chain('\u{e0000}'..'\u{e0200}')
            .collect();
        for characters in all.chunks(64) {
            let text: String = characters
                .iter()
                .flat_map(|&c| ['a', c, 'b', ' ', c, c, '1'])
                .collect();
            let whole = theirs(&tokenizer, &text).unwrap();
            let ours = tokenizer.encode(&text, None, usize::MAX).unwrap();
            if ours.input_ids[1..ours.input_ids.len() - 1] != whole {
                for c in characters {
                    for text in [format!("a{c}b"), format!(" {c}{c}1")] {
                        assert_same(
                            &tokenizer,
                            &text,
                            usize::MAX,
                            &format!("{c:?} {normalizer} {pre_tokenizer}"),
                        );
                    }
                }
                panic!("{text:?} {normalizer} {pre_tokenizer}");
            }
        }
    }
}

#[test]
fn long_words_of_bpe_have_the_tokens_of_the_whole_word() {
    let mut numbers = Numbers(9);
    let letters: Vec<String> = ["a", "b", "c"].map(str::to_owned).to_vec();
    let mut prepared = 0;
    for _ in 0..3000 {
        let letters = &letters[..1 + numbers.below(3)];
        let (model, _) = bpe(&mut numbers, letters, 40);
        let file = json!({"version": "1.0", "model": model, "added_tokens": []});
        let Ok(tokenizer) = Tokenizer::from_json(file.to_string().as_bytes()) else {
            continue;
        };
        prepared += 1;
        for _ in 0..8 {
            let length = 1 + numbers.below(120);
            let text: String = (0..length)
                .map(|_| {
                    if numbers.chance(40) {
                        "d"
                    } else {
                        numbers.of(letters).as_str()
                    }
                })
                .collect();
            assert_same(&tokenizer, &text, usize::MAX, &file.to_string());
            assert_same(&tokenizer, &text, 4 + numbers.below(20), &file.to_string());
            assert_counted(&tokenizer, &text, numbers.below(20), &file.to_string());
        }
    }
    assert!(prepared > 2000, "{prepared}");
}

/// Of each two texts, also where which one is longer shows late or never.
#[test]
fn pairs_are_cut_as_the_whole_texts_would_be() {
    use super::truncation::longest_first;
    let mut numbers = Numbers(21);
    let mut tried = 0;
    while tried < 400 {
        let Some((tokenizer, about)) = tokenizer(&mut numbers) else {
            continue;
        };
        tried += 1;
        for _ in 0..6 {
            let first = text(&mut numbers, 60);
            let second = match numbers.below(4) {
                0 => first.clone(),
                1 => format!("{first}{}", text(&mut numbers, 2)),
                _ => text(&mut numbers, 60),
            };
            let (Some(a), Some(b)) = (theirs(&tokenizer, &first), theirs(&tokenizer, &second))
            else {
                continue;
            };
            for max_length in [4, 5, 6, 7, 12, 13, 100] {
                let (kept_a, kept_b) = longest_first(a.len(), b.len(), max_length - 3);
                let ours = tokenizer.encode(&first, Some(&second), max_length).unwrap();
                let ids = &ours.input_ids;
                assert_eq!(
                    ids[1..=kept_a],
                    a[..kept_a],
                    "{first:?} {second:?} {max_length} {about}"
                );
                assert_eq!(
                    ids[kept_a + 2..ids.len() - 1],
                    b[..kept_b],
                    "{first:?} {second:?} {max_length} {about}"
                );
                assert_eq!(ours.truncated, kept_a < a.len() || kept_b < b.len());
            }
        }
    }
}
