//! The files of a directory that say how text becomes ids, read as transformers 5 reads them: `tokenizer.json` or
//! `vocab.txt`, and beside them `tokenizer_config.json`, `special_tokens_map.json` and `added_tokens.json`.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Map, Value};

use super::directory::{SPECIAL_TOKENS, TOKENIZER, TOKENIZER_CONFIG, VOCABULARY};
use crate::error::{Error, Result};
use crate::log;
use crate::text::{AddedSetting, BertNormalization, Class, Roles, Settings, Tokenizer};

pub const ADDED_TOKENS: &str = "added_tokens.json";

/// What SentencePiece's own files are called.
pub(super) const SENTENCEPIECE: [&str; 4] = [
    "sentencepiece.bpe.model",
    "spiece.model",
    "spm.model",
    "tokenizer.model",
];

/// The key of tokenizer_config.json that lists all added tokens. Where it is there, neither special_tokens_map.json nor
/// added_tokens.json is looked at.
const DECODER: &str = "added_tokens_decoder";

/// The keys of the tokens with a role, in the order in which they are added.
const ROLES: [&str; 7] = [
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
];

/// The keys of lists of further special tokens: transformers 5's, and the older one.
const EXTRA: &str = "extra_special_tokens";
const ADDITIONAL: &str = "additional_special_tokens";

/// What BertTokenizer takes for a role that no file names.
const BERT_ROLES: [(&str, &str); 5] = [
    ("unk_token", "[UNK]"),
    ("sep_token", "[SEP]"),
    ("pad_token", "[PAD]"),
    ("cls_token", "[CLS]"),
    ("mask_token", "[MASK]"),
];

/// The classes that are BERT's own in transformers, without the "Fast" that may stand at their ends.
const BERT_CLASSES: [&str; 10] = [
    "BertTokenizer",
    "DistilBertTokenizer",
    "ElectraTokenizer",
    "MobileBertTokenizer",
    "SqueezeBertTokenizer",
    "LayoutLMTokenizer",
    "LxmertTokenizer",
    "DPRQuestionEncoderTokenizer",
    "DPRContextEncoderTokenizer",
    "DPRReaderTokenizer",
];

/// Those of them that give their models no token types.
const UNTYPED_CLASSES: [&str; 2] = ["DistilBertTokenizer", "DPRReaderTokenizer"];

/// BERT's class with a vocab.txt, and a tokenizer.json as it is.
const CONVBERT: &str = "ConvBertTokenizer";

/// The classes that take a tokenizer.json as it is.
const FILE_CLASSES: [&str; 4] = [
    "PreTrainedTokenizerFast",
    "TokenizersBackend",
    "PreTrainedTokenizer",
    "PythonBackend",
];

/// Where the files come from, and whose they are.
pub(super) struct Origin<'a> {
    /// A file's path, for messages.
    pub(super) path: &'a dyn Fn(&str) -> String,
    /// `tokenizer_class` of config.json.
    pub(super) class: Option<&'a str>,
    /// `vocab_size` of config.json.
    pub(super) rows: usize,
    /// Whether this library saved them.
    pub(super) is_saved: bool,
}

/// The files by name, of those that are there.
pub(super) type Files = BTreeMap<&'static str, Vec<u8>>;

/// Reads those that count.
pub(super) fn read(read: impl Fn(&str) -> Result<Option<Vec<u8>>>) -> Result<Files> {
    let mut files = Files::new();
    let names = [TOKENIZER_CONFIG, SPECIAL_TOKENS, ADDED_TOKENS, TOKENIZER];
    for name in names {
        files.extend(read(name)?.map(|bytes| (name, bytes)));
    }
    if !files.contains_key(TOKENIZER) {
        files.extend(read(VOCABULARY)?.map(|bytes| (VOCABULARY, bytes)));
    }
    Ok(files)
}

/// The tokenizer, and `model_max_length` where tokenizer_config.json tells it; `None` where there is neither a
/// tokenizer.json nor a vocab.txt.
pub(super) fn tokenizer(
    files: Files,
    origin: &Origin<'_>,
) -> Result<Option<(Tokenizer, Option<usize>)>> {
    let config = Object::new(&files, TOKENIZER_CONFIG, origin)?;
    let max_length = config.max_length()?;
    let class = config.class(origin, files.contains_key(TOKENIZER))?;
    let beside = Beside::read(&files, &config, class, origin)?;
    let is_unusual = beside.is_unusual;
    let settings = beside.settings(class, &config, origin)?;
    let name = |file: &str, error: Error| {
        let path = (origin.path)(file);
        error.naming(file, std::path::Path::new(&path))
    };
    let tokenizer = if let Some(json) = files.get(TOKENIZER) {
        Tokenizer::from_json_with(json, &settings).map_err(|error| name(TOKENIZER, error))?
    } else if let Some(vocabulary) = files.get(VOCABULARY) {
        Tokenizer::from_vocab_txt_with(vocabulary, &settings)
            .map_err(|error| name(VOCABULARY, error))?
    } else {
        return Ok(None);
    };
    // What config.json says of the tokenizer isn't written back.
    let is_whole =
        !is_unusual && (config.get("tokenizer_class").is_some() || origin.class.is_none());
    let tokenizer = if is_whole {
        tokenizer.with_files(files)
    } else {
        tokenizer
    };
    Ok(Some((tokenizer, max_length)))
}

/// The tokenizer of a buffer, which has two of the files, both written by this library.
pub(super) fn saved(json: &[u8], config: &[u8], origin: &Origin<'_>) -> Result<Tokenizer> {
    let files = Files::from([(TOKENIZER, Vec::new()), (TOKENIZER_CONFIG, config.to_vec())]);
    let config = Object::new(&files, TOKENIZER_CONFIG, origin)?;
    let class = config.class(origin, true)?;
    let settings =
        Beside::read(&files, &config, class, origin)?.settings(class, &config, origin)?;
    Tokenizer::from_json_with(json, &settings)
}

/// A JSON object with its file's name.
struct Object {
    map: Map<String, Value>,
    file: &'static str,
    path: String,
}

impl Object {
    /// Empty where there is no such file.
    fn new(files: &Files, file: &'static str, origin: &Origin<'_>) -> Result<Object> {
        let path = (origin.path)(file);
        let map = match files.get(file) {
            None => Map::new(),
            Some(bytes) => match super::json::from_slice(bytes, &path)? {
                Value::Object(map) => map,
                _ => return Err(Error::Format(format!("'{path}' is not a JSON object."))),
            },
        };
        Ok(Object { map, file, path })
    }

    /// A value, where there is one that isn't null.
    fn get(&self, key: &str) -> Option<&Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    fn wrong(&self, key: &str, must: &str) -> Error {
        Error::Format(format!("\"{key}\" of '{}' must be {must}.", self.path))
    }

    fn unsupported(&self, key: &str, value: impl std::fmt::Display, why: &str) -> Error {
        Error::Unsupported(format!("'{}' has \"{key}\" {value}, {why}.", self.path))
    }

    fn flag(&self, key: &str) -> Result<Option<bool>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => Err(self.wrong(key, "true or false")),
        }
    }

    /// `model_max_length`, or `max_len` in old files. Published files hold 1e30 for "no limit".
    fn max_length(&self) -> Result<Option<usize>> {
        let key = match self.get("model_max_length") {
            Some(_) => "model_max_length",
            None => "max_len",
        };
        match self.get(key) {
            None => Ok(None),
            Some(Value::Number(number)) => {
                let whole = number.as_u64().and_then(|n| usize::try_from(n).ok());
                let rounded = number
                    .as_f64()
                    .filter(|n| (1.0..1e15).contains(n))
                    .map(|n| n as usize);
                Ok(whole.or(rounded))
            }
            Some(_) => Err(self.wrong(key, "a number")),
        }
    }

    /// Whether the model gets token types: `model_input_names`, or what the class has for it. Without them
    /// transformers' model takes 0 for both texts of a pair.
    fn has_token_types(&self, class: Class) -> Result<bool> {
        const KEY: &str = "model_input_names";
        match self.get(KEY) {
            Some(Value::Array(names)) => Ok(names.iter().any(|name| name == "token_type_ids")),
            Some(_) => Err(self.wrong(KEY, "a list of names")),
            None => {
                let name = self.get("tokenizer_class").and_then(Value::as_str);
                let slow = name.map(|name| name.strip_suffix("Fast").unwrap_or(name));
                Ok(class == Class::Bert
                    && !slow.is_some_and(|name| UNTYPED_CLASSES.contains(&name)))
            }
        }
    }

    /// What the class makes of a tokenizer.json; refuses what can't be followed.
    fn class(&self, origin: &Origin<'_>, has_json: bool) -> Result<Class> {
        let code = match self.get("auto_map") {
            Some(Value::Object(map)) => map.get("AutoTokenizer").filter(|code| !code.is_null()),
            other => other,
        };
        if code.is_some() {
            return Err(Error::Unsupported(format!(
                "'{}' has an \"auto_map\": its tokenizer is Python code of its own, which can't be followed.",
                self.path
            )));
        }
        let named = match self.get("tokenizer_class") {
            None => None,
            Some(Value::String(class)) => Some((class.as_str(), self.path.clone())),
            Some(_) => return Err(self.wrong("tokenizer_class", "a text")),
        };
        let of_config = || {
            origin
                .class
                .map(|class| (class, (origin.path)("config.json")))
        };
        let Some((class, path)) = named.or_else(of_config) else {
            return Ok(Class::Bert);
        };
        let slow = class.strip_suffix("Fast").unwrap_or(class);
        if BERT_CLASSES.contains(&slow) || (slow == CONVBERT && !has_json) {
            return Ok(Class::Bert);
        }
        if slow == CONVBERT {
            return Ok(Class::File);
        }
        if !FILE_CLASSES.contains(&class) {
            return Err(Error::Unsupported(format!(
                "'{path}' names the tokenizer class '{class}', which isn't supported; supported are BertTokenizer, \
                 classes that are the same ({}, each with or without \"Fast\"), and, with a tokenizer.json, \
                 PreTrainedTokenizerFast.",
                BERT_CLASSES[1..].join(", ")
            )));
        }
        if !has_json {
            return Err(Error::Io(format!(
                "'{path}' names the tokenizer class '{class}', which is made of a {TOKENIZER}, and there is none; if a \
                 {VOCABULARY} is BERT's, \"tokenizer_class\" must be \"BertTokenizer\"."
            )));
        }
        Ok(Class::File)
    }

    /// Refuses, or tells of, the other keys that change ids elsewhere.
    fn check_keys(&self, roles: &[(String, Token)], origin: &Origin<'_>) -> Result<()> {
        for (key, usual) in [
            ("word_tokenizer_type", "basic"),
            ("subword_tokenizer_type", "wordpiece"),
        ] {
            if let Some(value) = self.get(key)
                && value != usual
            {
                let why = format!("which isn't supported; \"{usual}\" is");
                return Err(self.unsupported(key, value, &why));
            }
        }
        if self.flag("split_special_tokens")? == Some(true) {
            let why = "by which special tokens in a text are split; that isn't supported";
            return Err(self.unsupported("split_special_tokens", true, why));
        }
        if let Some(value) = self.get("truncation_side")
            && value != "right"
        {
            let why = "but only the ends of texts can be cut (\"right\")";
            return Err(self.unsupported("truncation_side", value, why));
        }
        if let Some(Value::Array(names)) = self.get("fast_tokenizer_files")
            && let Some(name) = names.iter().find(|name| *name != TOKENIZER)
        {
            let why = "a file for one version of transformers; only tokenizer.json is supported";
            return Err(self.unsupported("fast_tokenizer_files", name, why));
        }
        if let Some(Value::Array(inputs)) = self.get("init_inputs")
            && let Some(input) = inputs.first()
        {
            let why = "which can't be followed; give the settings by their names";
            return Err(self.unsupported("init_inputs", input, why));
        }
        if origin.is_saved {
            // It was told of before.
            return Ok(());
        }
        if self.flag("do_basic_tokenize")? == Some(false) {
            log::warning(|| {
                format!(
                    "\"do_basic_tokenize\" of '{}' is false; it isn't followed, as in transformers 5.",
                    self.path
                )
            });
        }
        let kept = match self.get("never_split") {
            Some(Value::Array(kept)) => kept.as_slice(),
            _ => &[],
        };
        let is_role = |text: &str| roles.iter().any(|(_, token)| token.content == text);
        let kept = kept.iter().filter_map(Value::as_str);
        if let Some(text) = kept.into_iter().find(|text| !is_role(text)) {
            log::warning(|| {
                format!(
                    "\"never_split\" of '{}' names '{text}'; it isn't followed, as in transformers 5.",
                    self.path
                )
            });
        }
        Ok(())
    }
}

/// A token with its flags, as the files write it.
#[derive(Clone)]
struct Token {
    content: String,
    single_word: bool,
    lstrip: bool,
    rstrip: bool,
    normalized: Option<bool>,
    special: bool,
    /// Whether added_tokens.json's token of this name is special by it, as transformers has it: a role as a text, or as
    /// an object in special_tokens_map.json, and what `extra_special_tokens` lists, but no other object, nor that
    /// file's `additional_special_tokens`.
    makes_special: bool,
    file: &'static str,
}

impl Token {
    /// A special token that is looked for as it is.
    fn plain(content: &str, file: &'static str) -> Token {
        Token {
            content: content.into(),
            single_word: false,
            lstrip: false,
            rstrip: false,
            normalized: None,
            special: true,
            makes_special: true,
            file,
        }
    }

    /// A text, or an object with flags; `None` for null.
    fn read(value: &Value, key: &str, object: &Object) -> Result<Option<Token>> {
        let must = "a token: a text, or an object with the text \"content\" and flags that are true or false";
        let makes_special = |is_text: bool| match key {
            EXTRA => true,
            ADDITIONAL => is_text && object.file == TOKENIZER_CONFIG,
            _ => is_text || object.file == SPECIAL_TOKENS,
        };
        let fields = match value {
            Value::Null => return Ok(None),
            Value::String(content) => {
                return Ok(Some(Token {
                    makes_special: makes_special(true),
                    ..Token::plain(content, object.file)
                }));
            }
            Value::Object(fields) => fields,
            _ => return Err(object.wrong(key, must)),
        };
        let Some(Value::String(content)) = fields.get("content") else {
            return Err(object.wrong(key, must));
        };
        let flag = |name: &str| match fields.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => Err(object.wrong(key, must)),
        };
        Ok(Some(Token {
            content: content.clone(),
            single_word: flag("single_word")?.unwrap_or(false),
            lstrip: flag("lstrip")?.unwrap_or(false),
            rstrip: flag("rstrip")?.unwrap_or(false),
            normalized: flag("normalized")?,
            special: flag("special")?.unwrap_or(false),
            makes_special: makes_special(false),
            file: object.file,
        }))
    }

    fn setting(&self) -> AddedSetting {
        AddedSetting {
            single_word: self.single_word,
            lstrip: self.lstrip,
            rstrip: self.rstrip,
            normalized: self.normalized.unwrap_or(!self.special),
            special: self.special,
            ..AddedSetting::special(&self.content, self.file)
        }
    }

    /// That of a role, which is special whatever its flag says.
    fn role_setting(&self) -> AddedSetting {
        let token = Token {
            special: true,
            ..self.clone()
        };
        AddedSetting {
            is_role: true,
            ..token.setting()
        }
    }
}

/// Whether transformers doesn't see that an object is a token.
fn is_untyped(value: &Value, object: &Object) -> bool {
    let is_config = object.file == TOKENIZER_CONFIG;
    is_config && value.is_object() && value.get("__type").is_none()
}

/// What the files name.
#[derive(Default)]
struct Beside {
    /// The tokens by role, in no order; a role with null is in `nameless`.
    roles: Vec<(String, Token)>,
    nameless: HashSet<String>,
    /// Tokens of further keys that end in "_token", and of `extra_special_tokens` where it is an object.
    more: Vec<(String, Token)>,
    /// Those of `additional_special_tokens`, or `extra_special_tokens`.
    extra: Vec<Token>,
    /// Whether a file has one of those keys.
    has_extra: bool,
    /// Those with ids, and whether `added_tokens_decoder` lists them.
    with_ids: Vec<(u32, Token)>,
    lists_all: bool,
    /// Whether something is written in a way that transformers doesn't take.
    is_unusual: bool,
}

impl Beside {
    fn read(files: &Files, config: &Object, class: Class, origin: &Origin<'_>) -> Result<Beside> {
        let mut beside = Beside::default();
        beside.tokens_of(config)?;
        if let Some(listed) = config.get(DECODER) {
            beside.lists_all = true;
            beside.listed(listed, config)?;
            if !origin.is_saved {
                beside.tell_of_what_is_not_read(files, origin)?;
            }
        } else {
            beside.tokens_of(&Object::new(files, SPECIAL_TOKENS, origin)?)?;
            beside.of_added_tokens(&Object::new(files, ADDED_TOKENS, origin)?)?;
        }
        beside.with_ids.sort_by_key(|(id, _)| *id);
        if class == Class::Bert {
            for (key, usual) in BERT_ROLES {
                let known = beside.roles.iter().any(|(role, _)| role == key);
                if !known && !beside.nameless.contains(key) {
                    beside
                        .roles
                        .push((key.into(), Token::plain(usual, "BertTokenizer")));
                }
            }
        }
        Ok(beside)
    }

    /// The tokens that one of the two files names by a key; a later file's count.
    fn tokens_of(&mut self, object: &Object) -> Result<()> {
        for (key, value) in &object.map {
            if ROLES.contains(&key.as_str()) {
                self.roles.retain(|(role, _)| role != key);
                self.nameless.remove(key);
                self.is_unusual |= is_untyped(value, object);
                match Token::read(value, key, object)? {
                    Some(token) => self.roles.push((key.clone(), token)),
                    None => drop(self.nameless.insert(key.clone())),
                }
            } else if key.ends_with("_token") && (value.is_string() || value.is_object()) {
                self.name(key, value, object)?;
            }
        }
        // The newer key counts where it names any, and the older one where no file before this one has either.
        let mut list = None;
        match object.get(EXTRA) {
            Some(Value::Array(tokens)) if !tokens.is_empty() => list = Some((EXTRA, tokens)),
            Some(Value::Array(_)) => {}
            // Null takes the place of a list in the file before.
            None if object.map.contains_key(EXTRA) => self.extra.clear(),
            None => {}
            Some(Value::Object(tokens)) => {
                self.extra.clear();
                for (name, value) in tokens {
                    self.name(name, value, object)?;
                }
            }
            Some(_) => return Err(object.wrong(EXTRA, "a list of tokens")),
        }
        match object.get(ADDITIONAL) {
            Some(Value::Array(tokens)) if list.is_none() && !self.has_extra => {
                list = Some((ADDITIONAL, tokens));
            }
            Some(Value::Array(_)) | None => {}
            Some(_) => return Err(object.wrong(ADDITIONAL, "a list of tokens")),
        }
        self.has_extra |= [EXTRA, ADDITIONAL]
            .iter()
            .any(|key| object.map.contains_key(*key));
        let Some((key, tokens)) = list else {
            return Ok(());
        };
        for value in tokens {
            self.is_unusual |= is_untyped(value, object);
            let token = Token::read(value, key, object)?
                .ok_or_else(|| object.wrong(key, "a list of tokens"))?;
            self.extra.push(token);
        }
        Ok(())
    }

    fn name(&mut self, key: &str, value: &Value, object: &Object) -> Result<()> {
        if let Some(token) = Token::read(value, key, object)? {
            self.more.retain(|(name, _)| name != key);
            self.more.push((key.into(), token));
        }
        Ok(())
    }

    /// `added_tokens_decoder`: tokens by their ids.
    fn listed(&mut self, listed: &Value, config: &Object) -> Result<()> {
        let must = "an object of tokens by their ids";
        let tokens = listed
            .as_object()
            .ok_or_else(|| config.wrong(DECODER, must))?;
        for (id, value) in tokens {
            let id = id.parse().map_err(|_| config.wrong(DECODER, must))?;
            if !value.is_object() {
                return Err(config.wrong(DECODER, must));
            }
            let token = Token::read(value, DECODER, config)?;
            self.with_ids.extend(token.map(|token| (id, token)));
        }
        Ok(())
    }

    /// added_tokens.json: ids by tokens, which are looked for in the normalised text unless they are special.
    fn of_added_tokens(&mut self, object: &Object) -> Result<()> {
        for (content, id) in &object.map {
            let id = id
                .as_u64()
                .and_then(|id| u32::try_from(id).ok())
                .ok_or_else(|| object.wrong(content, "an id"))?;
            let roles = self.roles.iter().map(|(_, token)| token);
            let special = roles
                .chain(&self.extra)
                .any(|token| token.makes_special && &token.content == content);
            let token = Token {
                special,
                ..Token::plain(content, object.file)
            };
            self.with_ids.push((id, token));
        }
        Ok(())
    }

    /// Files that transformers doesn't look at where `added_tokens_decoder` lists all tokens may name more.
    fn tell_of_what_is_not_read(&self, files: &Files, origin: &Origin<'_>) -> Result<()> {
        let mut unread = Beside::default();
        unread.tokens_of(&Object::new(files, SPECIAL_TOKENS, origin)?)?;
        unread.of_added_tokens(&Object::new(files, ADDED_TOKENS, origin)?)?;
        let mut known: HashSet<&str> = self.with_ids.iter().map(|t| t.1.content.as_str()).collect();
        known.extend(self.all().map(|token| token.content.as_str()));
        known.extend(BERT_ROLES.iter().map(|(_, usual)| *usual));
        let others = unread.with_ids.iter().map(|(_, token)| token);
        let mut others = others.chain(unread.all());
        if let Some(token) = others.find(|token| !known.contains(token.content.as_str())) {
            log::warning(|| {
                format!(
                    "{} names the token '{}', which isn't added: {TOKENIZER_CONFIG} has {DECODER}, which lists all \
                     added tokens, as in transformers.",
                    token.file, token.content
                )
            });
        }
        Ok(())
    }

    /// The tokens without ids in the order in which they are added.
    fn all(&self) -> impl Iterator<Item = &Token> {
        let roles = ROLES.iter().filter_map(|key| self.role(key));
        roles
            .chain(self.more.iter().map(|(_, token)| token))
            .chain(&self.extra)
    }

    fn role(&self, key: &str) -> Option<&Token> {
        let found = self.roles.iter().find(|(role, _)| role == key);
        found.map(|(_, token)| token)
    }

    fn settings(self, class: Class, config: &Object, origin: &Origin<'_>) -> Result<Settings> {
        config.check_keys(&self.roles, origin)?;
        let named = |key: &str| {
            let role = self.role(key).filter(|token| token.file != "BertTokenizer");
            role.map(|token| token.content.clone())
        };
        for key in ["unk_token", "cls_token", "sep_token"] {
            if class == Class::Bert && self.nameless.contains(key) {
                return Err(Error::Unsupported(format!(
                    "'{}' has \"{key}\" null; a BERT tokenizer needs one.",
                    config.path
                )));
            }
        }
        let roles = Roles {
            unk: named("unk_token"),
            cls: named("cls_token"),
            sep: named("sep_token"),
            pad: named("pad_token"),
            mask: named("mask_token"),
        };
        let mut normalization = BertNormalization::default();
        if class == Class::Bert {
            for key in ["do_lower_case", "tokenize_chinese_chars"] {
                if config.map.get(key).is_some_and(Value::is_null) {
                    return Err(config.wrong(key, "true or false"));
                }
            }
            normalization.lowercase = config.flag("do_lower_case")?.unwrap_or(true);
            normalization.strip_accents = config.flag("strip_accents")?;
            normalization.handle_chinese_chars =
                config.flag("tokenize_chinese_chars")?.unwrap_or(true);
        }
        let lists_all = self.lists_all && !origin.is_saved;
        let mut added = Vec::new();
        // What this library saved has them all in its tokenizer.json.
        if !origin.is_saved {
            added.extend(self.with_ids.iter().map(|(id, token)| AddedSetting {
                id: Some(*id),
                overrides: self.lists_all,
                ..token.setting()
            }));
            let overrides = |token: &Token| {
                let listed = |(_, other): &(u32, Token)| other.content == token.content;
                lists_all && class == Class::Bert && !self.with_ids.iter().any(listed)
            };
            let roles = ROLES.iter().filter_map(|key| self.role(key));
            let more = self.more.iter().map(|(_, token)| token);
            added.extend(roles.chain(more).map(|token| AddedSetting {
                overrides: overrides(token),
                ..token.role_setting()
            }));
            added.extend(self.extra.iter().map(|token| AddedSetting {
                overrides: overrides(token),
                ..token.setting()
            }));
        }
        Ok(Settings {
            class,
            normalization,
            roles,
            added,
            lists_all,
            has_token_types: config.has_token_types(class)?,
            is_saved: origin.is_saved,
            rows: Some(origin.rows),
        })
    }
}
