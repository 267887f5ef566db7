//! Measures what issue and README promise of long texts: 10 MB are cut to a maximum length within 100 ms and 50 MB,
//! whatever the tokenizer and the text, a pair of two such included.
//!
//!     cargo bench --bench long_texts -- [--pairs] [--check] [--from N] [--seconds S] [TOKENIZER/TEXT...]
//!
//! Each case runs in a process of its own. A line for each: the case, milliseconds of the first call, the median of five,
//! what processors worked for one, MiB that the process had at most beyond what it had before. The second text of a pair
//! is the first with its halves swapped: other words, and nearly as many. `--check` compares with the ids that the
//! `tokenizers` crate gives the whole text instead. A name given is a part of the cases' names. `--seconds` ends after some time and
//! says where to go on with `--from`. The environment variable BERT_TEST_MODEL adds the tokenizer of that directory.

use std::process::Command;
use std::time::Instant;

use bert::text::{Tokenizer, TokenizerKind, TokenizerOptions};
use serde_json::{Value, json};

/// Unless the environment variable LONG_TEXTS_BYTES says another.
const SIZE: usize = 10_000_000;
const MAX_LENGTH: usize = 512;
const RUNS: usize = 5;

fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| a != "--bench")
        .collect();
    if let Some(case) = arguments.strip_prefix(&["case".to_owned()]) {
        return run_case(&case[0], &case[1], case[2] == "pair", case[3] == "check");
    }
    let flag = |name: &str| arguments.iter().any(|a| a == name);
    let number = |name: &str| {
        let place = arguments.iter().position(|a| a == name)?;
        arguments.get(place + 1)?.parse::<usize>().ok()
    };
    let names: Vec<&String> = {
        let mut names = Vec::new();
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            match argument.as_str() {
                "--from" | "--seconds" => drop(rest.next()),
                other if other.starts_with("--") => {}
                _ => names.push(argument),
            }
        }
        names
    };
    let (start, seconds) = (Instant::now(), number("--seconds"));
    let mut place = 0;
    for tokenizer in tokenizers() {
        for text in TEXTS {
            let case = format!("{}/{}", tokenizer.0, text.0);
            if !names.is_empty() && !names.iter().any(|name| case.contains(name.as_str())) {
                continue;
            }
            place += 1;
            if place <= number("--from").unwrap_or(0) {
                continue;
            }
            if seconds.is_some_and(|s| start.elapsed().as_secs() >= s as u64) {
                println!("next: --from {}", place - 1);
                return;
            }
            let pair = if flag("--pairs") { "pair" } else { "single" };
            let check = if flag("--check") { "check" } else { "time" };
            let result = Command::new(std::env::current_exe().expect("the program has a path"))
                .args(["case", tokenizer.0, text.0, pair, check])
                .output()
                .expect("the program starts again");
            let said = String::from_utf8_lossy(&result.stdout);
            let failed = String::from_utf8_lossy(&result.stderr);
            println!(
                "{:<40} {pair} {}{}",
                case,
                said.trim_end(),
                failed.trim_end()
            );
        }
    }
    println!("end");
}

fn run_case(tokenizer: &str, text: &str, pair: bool, check: bool) {
    let (_, make) = tokenizers()
        .into_iter()
        .find(|(name, _)| *name == tokenizer)
        .expect("a known tokenizer");
    let tokenizer = make();
    let (_, make) = TEXTS
        .iter()
        .find(|(name, _)| *name == text)
        .expect("a known text");
    let size = std::env::var("LONG_TEXTS_BYTES")
        .map_or(SIZE, |size| size.parse().expect("a number of bytes"));
    let text = make(size);
    // About the same length in tokens: both must be read to their ends.
    let second = pair.then(|| halves_swapped(&text));
    if check {
        return check_case(&tokenizer, &text, second.as_deref());
    }
    let before = memory("VmRSS:");
    std::fs::write("/proc/self/clear_refs", "5").expect("the peak can be reset");
    let mut times = Vec::new();
    let ticks = processor_time();
    let mut said = String::new();
    for _ in 0..RUNS {
        let start = Instant::now();
        let encoded = tokenizer.encode(&text, second.as_deref(), MAX_LENGTH);
        times.push(start.elapsed().as_secs_f64() * 1e3);
        said = match encoded {
            Ok(encoded) => format!("{} ids", encoded.input_ids.len()),
            Err(error) => format!("refused: {error}"),
        };
    }
    let first = times[0];
    times.sort_by(f64::total_cmp);
    let peak = memory("VmHWM:").saturating_sub(before) as f64 / 1024.0;
    let median = times[RUNS / 2];
    let over = if median > 100.0 || peak > 50.0 {
        "OVER"
    } else {
        ""
    };
    let worked = (processor_time() - ticks) * 1e3 / RUNS as f64;
    println!(
        "{first:7.1} {median:7.1} ms ({worked:.0} of processors) {peak:6.1} MiB {said} {over}"
    );
}

fn halves_swapped(text: &str) -> String {
    let middle = (text.len() / 2..).find(|&place| text.is_char_boundary(place));
    let (first, second) = text.split_at(middle.unwrap_or(text.len()));
    format!("{second}{first}")
}

/// The ids that encoding all of each text with the crate and then truncating gives.
fn check_case(tokenizer: &Tokenizer, text: &str, second: Option<&str>) {
    let crates: tokenizers::Tokenizer = tokenizer
        .to_json()
        .expect("it saves")
        .parse()
        .expect("the crate reads it");
    let whole = |text: &str| {
        let encoded = crates.encode_fast(text, false).expect("the crate encodes");
        encoded.get_ids().to_vec()
    };
    let ours = match tokenizer.encode(text, second, MAX_LENGTH) {
        Ok(ours) => ours.input_ids,
        Err(error) => return println!("refused: {error}"),
    };
    let mut first = whole(text);
    let mut expected = vec![tokenizer.cls_token_id()];
    if let Some(second) = second {
        let mut second = whole(second);
        let room = MAX_LENGTH - 3;
        // Of equally long ones the second has the odd token.
        let least = first.len().min(second.len());
        if first.len() + second.len() > room {
            if least <= room / 2 {
                let rest = room - least;
                first.truncate(rest.max(least));
                second.truncate(rest.max(least));
            } else {
                let second_is_longer = second.len() >= first.len();
                first.truncate(room / 2 + usize::from(!second_is_longer));
                second.truncate(room / 2 + usize::from(second_is_longer));
            }
        }
        expected.extend(first);
        expected.push(tokenizer.sep_token_id());
        expected.extend(second);
    } else {
        first.truncate(MAX_LENGTH - 2);
        expected.extend(first);
    }
    expected.push(tokenizer.sep_token_id());
    println!(
        "{}",
        if ours == expected {
            "same"
        } else {
            "DIFFERENT"
        }
    );
}

/// Seconds that all threads of this process have worked, in steps of 10 ms.
fn processor_time() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .expect("a name")
        .split_whitespace()
        .collect();
    let ticks = |place: usize| fields[place].parse::<f64>().expect("a number of ticks");
    (ticks(11) + ticks(12)) / 100.0
}

/// A line of /proc/self/status, in KiB.
fn memory(line: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|l| l.strip_prefix(line));
    let number = line.and_then(|l| l.split_whitespace().next());
    number.and_then(|n| n.parse().ok()).expect("a number of kB")
}

// --- Tokenizers. ---

type Make = Box<dyn Fn() -> Tokenizer>;

/// Every kind of model with the normalizer and pre-tokenizer that it usually has, then each normalizer with a word-level
/// model and each pre-tokenizer with byte-level BPE.
fn tokenizers() -> Vec<(&'static str, Make)> {
    let mut all: Vec<(&'static str, Make)> = Vec::new();
    if let Ok(directory) = std::env::var("BERT_TEST_MODEL") {
        all.push((
            "minilm",
            Box::new(move || {
                let json = std::fs::read(format!("{directory}/tokenizer.json"));
                Tokenizer::from_json(&json.expect("the model is there")).expect("it is sound")
            }),
        ));
    }
    for (name, kind) in [
        ("word-level", TokenizerKind::WordLevel),
        ("wordpiece", TokenizerKind::WordPiece),
        ("byte-level-bpe", TokenizerKind::ByteLevelBpe),
    ] {
        all.push((
            name,
            Box::new(move || {
                let options = TokenizerOptions {
                    kind,
                    ..TokenizerOptions::default()
                };
                let learn = training_texts();
                Tokenizer::train(learn.iter().map(String::as_str), &options).expect("it learns")
            }),
        ));
    }
    let mut from = |name, model: fn() -> Value, normalizer: Value, pre_tokenizer: Value| {
        all.push((
            name,
            Box::new(move || of_parts(model(), normalizer.clone(), pre_tokenizer.clone())),
        ));
    };
    let sequence = |steps: Value| json!({"type": "Sequence", "normalizers": steps});
    let is = |kind: &str| json!({"type": kind});
    let bert = |clean, chinese, accents, lowercase| {
        json!({"type": "BertNormalizer", "clean_text": clean, "handle_chinese_chars": chinese,
            "strip_accents": accents, "lowercase": lowercase})
    };
    let words = is("WhitespaceSplit");
    from(
        "wl bert uncased",
        word_level,
        bert(true, true, Value::Null, true),
        is("BertPreTokenizer"),
    );
    from(
        "wl bert cased",
        word_level,
        bert(true, true, Value::Null, false),
        is("BertPreTokenizer"),
    );
    from(
        "wl bert accents",
        word_level,
        bert(true, true, true.into(), false),
        is("BertPreTokenizer"),
    );
    from("wl none", word_level, Value::Null, words.clone());
    from("wl lowercase", word_level, is("Lowercase"), words.clone());
    from("wl nfc", word_level, is("NFC"), words.clone());
    from("wl nfd", word_level, is("NFD"), words.clone());
    from("wl nfkc", word_level, is("NFKC"), words.clone());
    from("wl nfkd", word_level, is("NFKD"), words.clone());
    from(
        "wl strip-accents",
        word_level,
        is("StripAccents"),
        words.clone(),
    );
    from("wl strip", word_level, is("Strip"), words.clone());
    from("wl byte-level", word_level, is("ByteLevel"), words.clone());
    from(
        "wl nfd lowercase accents",
        word_level,
        sequence(json!([is("NFD"), is("Lowercase"), is("StripAccents")])),
        words.clone(),
    );
    from(
        "wl nfkc lowercase",
        word_level,
        sequence(json!([is("NFKC"), is("Lowercase")])),
        words.clone(),
    );
    from(
        "wl nfkc bert",
        word_level,
        sequence(json!([is("NFKC"), bert(true, true, Value::Null, true)])),
        is("BertPreTokenizer"),
    );
    let pre = |steps: Value| json!({"type": "Sequence", "pretokenizers": steps});
    let byte_level = json!({"type": "ByteLevel", "add_prefix_space": true, "use_regex": true});
    let no_regex = json!({"type": "ByteLevel", "add_prefix_space": false, "use_regex": false});
    from("bpe byte-level", byte_bpe, Value::Null, byte_level.clone());
    from(
        "bpe byte-level nfc",
        byte_bpe,
        is("NFC"),
        byte_level.clone(),
    );
    from(
        "bpe byte-level nfkc lowercase",
        byte_bpe,
        sequence(json!([is("NFKC"), is("Lowercase")])),
        byte_level.clone(),
    );
    from("bpe no-regex", byte_bpe, Value::Null, no_regex.clone());
    from("bpe normalizer", byte_bpe, is("ByteLevel"), Value::Null);
    from(
        "bpe characters",
        character_bpe,
        Value::Null,
        is("BertPreTokenizer"),
    );
    from(
        "bpe characters nfkc",
        character_bpe,
        is("NFKC"),
        is("Whitespace"),
    );
    from("bpe odd order", odd_bpe, Value::Null, no_regex.clone());
    from("bpe fused unknown", fused_bpe, Value::Null, Value::Null);
    from(
        "bpe without unknown",
        unknown_less_bpe,
        is("NFC"),
        Value::Null,
    );
    from(
        "wl five steps",
        word_level,
        sequence(json!([
            is("NFKC"),
            is("Lowercase"),
            is("NFD"),
            is("StripAccents"),
            is("NFC")
        ])),
        words.clone(),
    );
    from("wp whitespace", word_piece, Value::Null, is("Whitespace"));
    from(
        "wp whitespace nfkc",
        word_piece,
        is("NFKC"),
        is("Whitespace"),
    );
    from("wp none", word_piece, Value::Null, Value::Null);
    from(
        "wp digits",
        word_piece,
        Value::Null,
        json!({"type": "Digits", "individual_digits": true}),
    );
    from("wp punctuation", word_piece, Value::Null, is("Punctuation"));
    from(
        "wp contiguous",
        word_piece,
        Value::Null,
        json!({"type": "Punctuation", "behavior": "Contiguous"}),
    );
    from(
        "wp all",
        word_piece,
        bert(true, true, Value::Null, true),
        pre(json!([
            is("WhitespaceSplit"),
            is("Punctuation"),
            is("Digits"),
            is("BertPreTokenizer")
        ])),
    );
    all.push(("wp added", Box::new(|| with_added_tokens("BertNormalizer"))));
    all.push(("wp added nfkc", Box::new(|| with_added_tokens("NFKC"))));
    all
}

/// Sentences of several scripts.
fn training_texts() -> Vec<String> {
    TEXTS
        .iter()
        .map(|(_, make)| make(2000))
        .chain(["The cat sees the dog.".into()])
        .collect()
}

fn special() -> Vec<String> {
    ["[PAD]", "[CLS]", "[SEP]", "[MASK]", "[UNK]"]
        .map(str::to_owned)
        .to_vec()
}

fn vocab(tokens: &[String]) -> Value {
    let mut ids = serde_json::Map::new();
    for token in tokens {
        let id = ids.len();
        ids.entry(token.clone()).or_insert(id.into());
    }
    Value::Object(ids)
}

fn letters() -> impl Iterator<Item = char> {
    ('a'..='z')
        .chain('а'..='я')
        .chain('0'..='9')
        .chain("日本語가각!?.,-".chars())
}

fn word_level() -> Value {
    let mut tokens = special();
    tokens.extend(letters().map(String::from));
    tokens.extend(["the", "cat", "привет"].map(str::to_owned));
    json!({"type": "WordLevel", "unk_token": "[UNK]", "vocab": vocab(&tokens)})
}

fn word_piece() -> Value {
    let mut tokens = special();
    tokens.extend(letters().flat_map(|c| [format!("{c}"), format!("##{c}")]));
    tokens.extend(["the", "cat", "##cat", "привет", "##aa", "aaaa"].map(str::to_owned));
    json!({"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 100, "vocab": vocab(&tokens)})
}

fn bpe(letters: impl Iterator<Item = char>, merges: &[[&str; 2]]) -> Value {
    let mut tokens = special();
    tokens.extend(letters.map(String::from));
    tokens.extend(merges.iter().map(|[left, right]| format!("{left}{right}")));
    json!({"type": "BPE", "vocab": vocab(&tokens), "merges": merges, "unk_token": "[UNK]"})
}

fn bytes() -> impl Iterator<Item = char> {
    let mut all: Vec<char> = tokenizers::pre_tokenizers::byte_level::ByteLevel::alphabet()
        .into_iter()
        .collect();
    all.sort_unstable();
    all.into_iter()
}

const MERGES: &[[&str; 2]] = &[
    ["t", "h"],
    ["th", "e"],
    ["a", "a"],
    ["aa", "aa"],
    ["aaaa", "aaaa"],
    ["c", "a"],
    ["ca", "t"],
    ["Ġ", "Ġ"],
    ["ĠĠ", "ĠĠ"],
    ["Ġ", "the"],
    ["Ð", "°"],
    ["Ð", "±"],
    ["Ð°", "Ð±"],
    ["!", "!"],
    ["e", "r"],
    ["i", "n"],
    ["o", "n"],
];

fn byte_bpe() -> Value {
    bpe(bytes(), MERGES)
}

fn character_bpe() -> Value {
    let merges = [
        ["t", "h"],
        ["th", "e"],
        ["a", "a"],
        ["aa", "aa"],
        ["п", "р"],
        ["日", "本"],
        ["!", "!"],
    ];
    bpe(letters(), &merges)
}

/// Few letters are known; those that aren't are one token together.
fn fused_bpe() -> Value {
    let mut model = bpe("ab".chars(), &[["a", "b"]]);
    model["fuse_unk"] = true.into();
    model
}

/// Letters that aren't known are passed over.
fn unknown_less_bpe() -> Value {
    let mut model = bpe("ab".chars(), &[["a", "b"]]);
    model["unk_token"] = Value::Null;
    model
}

/// A token's parts are merged later than it, and so it is made in other ways too.
fn odd_bpe() -> Value {
    let merges = [
        ["aa", "a"],
        ["a", "a"],
        ["aa", "aa"],
        ["th", "e"],
        ["t", "h"],
        ["a", "aa"],
    ];
    bpe(bytes(), &merges)
}

fn of_parts(model: Value, normalizer: Value, pre_tokenizer: Value) -> Tokenizer {
    let file = json!({"version": "1.0", "model": model, "normalizer": normalizer, "pre_tokenizer": pre_tokenizer,
        "added_tokens": (0..).zip(special()).map(|(id, content)| json!({"id": id, "content": content,
            "special": true, "normalized": false})).collect::<Vec<_>>()});
    Tokenizer::from_json(file.to_string().as_bytes()).expect("a sound tokenizer")
}

/// Tokens that are looked for in the text once normalised, and that take the whitespace around.
fn with_added_tokens(normalizer: &str) -> Tokenizer {
    let size = word_piece()["vocab"]
        .as_object()
        .expect("a vocabulary")
        .len();
    let mut added: Vec<Value> = (0..)
        .zip(special())
        .map(|(id, content)| {
            json!({"id": id, "content": content, "special": true, "normalized": false, "lstrip": true, "rstrip": true})
        })
        .collect();
    for (place, content) in ["<x>", "йй", "aaaaaaaaab"].iter().enumerate() {
        added.push(
            json!({"id": size + place, "content": content, "normalized": true, "lstrip": true,
            "rstrip": true, "single_word": place == 1}),
        );
    }
    let file = json!({"version": "1.0", "model": word_piece(), "normalizer": {"type": normalizer},
        "pre_tokenizer": {"type": "BertPreTokenizer"}, "added_tokens": added});
    Tokenizer::from_json(file.to_string().as_bytes()).expect("a sound tokenizer")
}

// --- Texts. ---

/// Each of so many bytes, or up to three less.
type Text = (&'static str, fn(usize) -> String);

const TEXTS: &[Text] = &[
    ("a", |size| "a".repeat(size)),
    ("letters", |size| {
        random(size, &['a', 'b', 'e', 'h', 't', 'z', 'Q', 'R'])
    }),
    ("words", |size| {
        random(size, &['a', 'b', 'e', 'h', 't', 'z', ' ', 't'])
    }),
    ("sentences", |size| {
        repeated(
            "The cat, it seems, sees 17 dogs; 'tis what they'd said. ",
            size,
        )
    }),
    ("digits", |size| random(size, &['0', '1', '7'])),
    ("punctuation", |size| {
        random(size, &['!', '?', '.', '\'', '-', '$', '['])
    }),
    ("spaces", |size| " ".repeat(size)),
    ("newlines", |size| "\n".repeat(size)),
    ("whitespace", |size| {
        random(
            size,
            &[' ', '\t', '\n', '\r', '\u{a0}', '\u{2003}', '\u{3000}'],
        )
    }),
    ("controls", |size| {
        random(
            size,
            &['\u{1}', '\u{7f}', '\0', '\u{ad}', '\u{200b}', '\u{feff}'],
        )
    }),
    ("cyrillic", |size| {
        random(size, &['а', 'б', 'в', 'ж', 'я', 'о'])
    }),
    ("cyrillic upper", |size| {
        random(size, &['А', 'Б', 'В', 'Ж', 'Й', 'Ё'])
    }),
    ("cyrillic words", |size| {
        random(size, &['а', 'б', 'в', 'ж', 'й', ' '])
    }),
    ("greek", |size| {
        random(size, &['α', 'β', 'Σ', 'ς', 'ώ', 'Ω'])
    }),
    ("accents", |size| {
        random(size, &['é', 'ü', 'Ñ', 'ç', 'ậ', 'Å'])
    }),
    ("letters and marks", |size| {
        repeated("e\u{301}a\u{323}\u{302}", size)
    }),
    ("marks", |size| "\u{301}".repeat(size / 2)),
    ("mixed marks", |size| {
        random(
            size,
            &[
                '\u{301}', '\u{323}', '\u{327}', '\u{345}', '\u{334}', '\u{3099}',
            ],
        )
    }),
    ("cjk", |size| random(size, &['日', '本', '語', '中', '文'])),
    ("cjk compatible", |size| {
        random(size, &['豈', '更', '\u{2f800}', '㌀', '㈱', '①'])
    }),
    ("kana", |size| {
        random(size, &['か', 'が', 'ｶ', 'ﾞ', 'パ', '\u{3099}'])
    }),
    ("hangul", |size| {
        random(size, &['가', '각', '한', '글', '힣'])
    }),
    ("jamo", |size| {
        repeated("\u{1100}\u{1161}\u{11a8}\u{1112}\u{1161}", size)
    }),
    ("arabic", |size| {
        random(size, &['ا', 'ل', 'م', '\u{64b}', '\u{651}', 'ﻻ'])
    }),
    ("ligature", |size| "ﷺ".repeat(size / 3)),
    ("devanagari", |size| {
        random(size, &['क', 'ा', '\u{94d}', 'ख', '\u{93c}', '\u{958}'])
    }),
    ("emoji", |size| {
        random(size, &['😀', '👍', '🏽', '\u{200d}', '\u{fe0f}', '❤'])
    }),
    ("mathematical", |size| {
        random(size, &['𝐀', '𝒷', '𝔠', 'ﬁ', 'Ⅷ', '½'])
    }),
    ("two lower", |size| "İ".repeat(size / 2)),
    ("mixed", |size| {
        random(
            size,
            &[
                'a', 'Z', ' ', 'é', '\u{301}', 'ж', 'Ж', '日', '가', '😀', '!', '1', '\n', '\u{1}',
                'ﬁ', 'ｶ',
            ],
        )
    }),
    ("all characters", all_characters),
    ("special", |size| repeated("[MASK]", size)),
    ("half special", |size| repeated("[MAS", size)),
    ("brackets", |size| "[".repeat(size)),
];

fn repeated(part: &str, size: usize) -> String {
    part.repeat(size / part.len())
}

/// Every character, in an order in which neighbours are far apart.
fn all_characters(size: usize) -> String {
    let mut text = String::with_capacity(size);
    let mut at = 0u32;
    loop {
        at = (at + 0x1_3c6f) % 0x11_0000;
        let Some(c) = char::from_u32(at) else {
            continue;
        };
        if text.len() + c.len_utf8() > size {
            return text;
        }
        text.push(c);
    }
}

fn random(size: usize, characters: &[char]) -> String {
    let mut text = String::with_capacity(size);
    let mut state = 88172645463325252u64;
    loop {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let c = characters[(state >> 33) as usize % characters.len()];
        if text.len() + c.len_utf8() > size {
            return text;
        }
        text.push(c);
    }
}
