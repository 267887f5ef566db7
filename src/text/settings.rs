//! What the files beside a tokenizer.json or a vocab.txt say of a tokenizer, and what becomes of its added tokens by
//! that.

use std::collections::HashMap;

use tokenizers::{AddedToken, Model, ModelWrapper};

use super::BertNormalization;
use super::json_file::{AddedTokenFile, MAX_ADDED_TOKENS, check_id, shown};
use super::pipeline::SPECIAL_TOKENS;
use crate::error::{Error, Result};
use crate::log;

/// The bytes of all added tokens together, at most.
const MAX_ADDED_BYTES: usize = 8 << 20;

/// How much of tokenizer.json counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// As transformers' BertTokenizer, of which tokenizer.json is the vocabulary: its switches replace those of a
    /// BertNormalizer, and a file without a post-processor is BERT's.
    Bert,
    /// All of it, as transformers' PreTrainedTokenizerFast takes it.
    File,
    /// All of it, for a new model: a file without a post-processor gets BERT's, with a warning.
    Alone,
}

/// The tokens of each role, where a file names them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roles {
    /// `unk_token`
    pub unk: Option<String>,
    /// `cls_token`
    pub cls: Option<String>,
    /// `sep_token`
    pub sep: Option<String>,
    /// `pad_token`
    pub pad: Option<String>,
    /// `mask_token`
    pub mask: Option<String>,
}

/// A token that is looked for in a text before its words are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddedSetting {
    /// What is looked for.
    pub content: String,
    /// The file that names it, for messages.
    pub file: &'static str,
    /// Its id, where the file gives one.
    pub id: Option<u32>,
    /// Whether its flags count where tokenizer.json has the same token with others.
    pub overrides: bool,
    /// Whether the token of a role, which is left out where the model has no row for it.
    pub is_role: bool,
    /// Found only where no letter, digit or underscore stands beside it.
    pub single_word: bool,
    /// Takes the whitespace before it.
    pub lstrip: bool,
    /// Takes the whitespace behind it.
    pub rstrip: bool,
    /// Looked for in the normalised text.
    pub normalized: bool,
    /// Whether a special token.
    pub special: bool,
}

impl AddedSetting {
    /// A special token, looked for in the text as it comes.
    pub fn special(content: &str, file: &'static str) -> AddedSetting {
        AddedSetting {
            content: content.into(),
            file,
            id: None,
            overrides: false,
            is_role: false,
            single_word: false,
            lstrip: false,
            rstrip: false,
            normalized: false,
            special: true,
        }
    }

    fn to_added_token(&self) -> AddedToken {
        AddedToken::from(self.content.clone(), self.special)
            .single_word(self.single_word)
            .lstrip(self.lstrip)
            .rstrip(self.rstrip)
            .normalized(self.normalized)
    }
}

/// What the other files of a directory say.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How much of tokenizer.json counts.
    pub class: Class,
    /// BERT's normalization, for [`Class::Bert`].
    pub normalization: BertNormalization,
    /// The tokens of each role.
    pub roles: Roles,
    /// The added tokens that other files than tokenizer.json name, in the order in which they are added.
    pub added: Vec<AddedSetting>,
    /// Whether `added` is meant to be all of them, so that [`Class::Bert`] would leave out those of tokenizer.json
    /// alone.
    pub lists_all: bool,
    /// Whether the model gets token types (`model_input_names`): where it doesn't, all are 0.
    pub has_token_types: bool,
    /// Whether this library has saved tokenizer.json: then its switches count, whatever the class is.
    pub is_saved: bool,
    /// The rows of the model's embedding: no token that the vocabulary lacks may get an id beyond. `None`: none may be
    /// added.
    pub rows: Option<usize>,
}

impl Settings {
    /// tokenizer.json by itself, for a new model.
    pub fn alone() -> Settings {
        Settings {
            class: Class::Alone,
            normalization: BertNormalization::default(),
            roles: Roles::default(),
            added: Vec::new(),
            lists_all: false,
            has_token_types: true,
            is_saved: false,
            rows: None,
        }
    }

    /// BERT's own class with this normalization and its usual special tokens.
    pub fn bert(normalization: BertNormalization) -> Settings {
        Settings {
            class: Class::Bert,
            normalization,
            added: SPECIAL_TOKENS
                .iter()
                .map(|token| AddedSetting {
                    is_role: true,
                    ..AddedSetting::special(token, "BERT")
                })
                .collect(),
            ..Settings::alone()
        }
    }
}

/// How what was made differs from the file, and from what transformers makes of the files.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Notes {
    /// Other files have changed what tokenizer.json says.
    pub(super) changed: bool,
    /// transformers would make something else of the same files.
    pub(super) departs: bool,
}

impl Notes {
    pub(super) fn change(&mut self, text: impl FnOnce() -> String) {
        self.changed = true;
        log::warning(text);
    }

    pub(super) fn depart(&mut self, text: impl FnOnce() -> String) {
        self.departs = true;
        log::warning(text);
    }
}

fn yes_or_no(token: &AddedToken) -> String {
    format!(
        "single_word {}, lstrip {}, rstrip {}, normalized {}",
        token.single_word, token.lstrip, token.rstrip, token.normalized
    )
}

/// The added tokens of a tokenizer in the order of their ids: those of tokenizer.json, if there is one, and those of
/// the settings.
struct Plan<'a> {
    model: &'a ModelWrapper,
    tokens: Vec<(AddedToken, u32)>,
    by_content: HashMap<String, usize>,
    /// The id of the next token that the vocabulary lacks, which the crate gives itself.
    next: u32,
    bytes: usize,
}

impl Plan<'_> {
    /// The id that the crate would give.
    fn id_of(&self, content: &str) -> u32 {
        self.model.token_to_id(content).unwrap_or(self.next)
    }

    fn push(&mut self, token: AddedToken, id: u32) -> Result<()> {
        self.bytes += token.content.len();
        if self.tokens.len() == MAX_ADDED_TOKENS || self.bytes > MAX_ADDED_BYTES {
            return Err(Error::Format(format!(
                "The added tokens of tokenizer.json and the files beside it are more than {MAX_ADDED_TOKENS}, or have \
                 more than {MAX_ADDED_BYTES} bytes together."
            )));
        }
        if id == self.next && self.model.token_to_id(&token.content).is_none() {
            self.next += 1;
        }
        self.by_content
            .insert(token.content.clone(), self.tokens.len());
        self.tokens.push((token, id));
        Ok(())
    }

    /// One of tokenizer.json.
    fn of_file(&mut self, token: &AddedTokenFile) -> Result<()> {
        let fail = |what: String| {
            Err(Error::Format(format!(
                "tokenizer.json says that the added token '{}' has id {}, but {what}.",
                shown(&token.content),
                token.id
            )))
        };
        if token.content.is_empty() {
            return fail("an added token can't be empty".into());
        }
        let known = self.by_content.get(&token.content).copied();
        let id = known.map_or_else(|| self.id_of(&token.content), |place| self.tokens[place].1);
        if id != token.id {
            return fail(format!(
                "by its vocabulary and the tokens before it that is {id}"
            ));
        }
        match known {
            Some(place) => self.tokens[place].0 = token.to_added_token(),
            None => self.push(token.to_added_token(), id)?,
        }
        Ok(())
    }

    /// One of the settings.
    fn of_setting(
        &mut self,
        setting: &AddedSetting,
        settings: &Settings,
        has_file: bool,
        notes: &mut Notes,
    ) -> Result<()> {
        let AddedSetting { content, file, .. } = setting;
        if content.is_empty() {
            return Err(Error::Format(format!(
                "{file} names an empty token; an added token can't be empty."
            )));
        }
        let known = self.by_content.get(content).copied();
        let id = known.map_or_else(|| self.id_of(content), |place| self.tokens[place].1);
        if let Some(said) = setting.id
            && said != id
        {
            return Err(Error::Format(format!(
                "{file} gives the token '{}' the id {said}, but by the vocabulary and the tokens before it that is \
                 {id}; ids of added tokens follow the vocabulary's without a gap.",
                shown(content)
            )));
        }
        let token = setting.to_added_token();
        if let Some(place) = known {
            let before = &mut self.tokens[place].0;
            if setting.overrides && yes_or_no(before) != yes_or_no(&token) {
                if has_file {
                    notes.change(|| {
                        format!(
                            "The token '{}' has {} in tokenizer.json and {} in {file}, which counts.",
                            shown(content),
                            yes_or_no(before),
                            yes_or_no(&token)
                        )
                    });
                }
                *before = token;
            }
            return Ok(());
        }
        if self.model.token_to_id(content).is_none() {
            let rows = settings.rows.unwrap_or(0);
            let other = self.model.id_to_token(id);
            if id as usize >= rows || other.is_some() {
                if setting.is_role {
                    if settings.rows.is_some() {
                        notes.depart(|| {
                            format!(
                                "The vocabulary has no token '{0}' and the model no row for it: '{0}' in a text is \
                                 read as any other text.",
                                shown(content)
                            )
                        });
                    }
                    return Ok(());
                }
                return Err(Error::Format(match other {
                    Some(other) => format!(
                        "{file} names the token '{}', which would get id {id}, but that is the id of '{}'.",
                        shown(content),
                        shown(&other)
                    ),
                    None => format!(
                        "{file} names the token '{}', which gets id {id}, but the model's vocab_size is {rows}; they \
                         don't belong together.",
                        shown(content)
                    ),
                }));
            }
        }
        if has_file {
            notes.change(|| {
                format!(
                    "{file} names the token '{}' (id {id}), which tokenizer.json doesn't have among its added tokens; \
                     it is added.",
                    shown(content)
                )
            });
        }
        self.push(token, id)
    }
}

/// The added tokens by id. `of_file` are those of tokenizer.json, where there is one.
pub(super) fn added_tokens(
    model: &ModelWrapper,
    of_file: Option<Vec<AddedTokenFile>>,
    settings: &Settings,
    notes: &mut Notes,
) -> Result<Vec<AddedToken>> {
    let mut plan = Plan {
        model,
        tokens: Vec::new(),
        by_content: HashMap::new(),
        next: u32::try_from(model.get_vocab_size()).unwrap_or(u32::MAX),
        bytes: 0,
    };
    let has_file = of_file.is_some();
    let mut of_file = of_file.unwrap_or_default();
    if !of_file.is_sorted_by_key(|token| token.id) {
        notes.changed = true;
        let is_new = |token: &AddedTokenFile| model.token_to_id(&token.content).is_none();
        if settings.class == Class::File && of_file.iter().any(is_new) {
            notes.depart(|| {
                "The added tokens of tokenizer.json aren't in the order of their ids, which count; transformers' \
                 PreTrainedTokenizerFast would number them by their order. bert_save writes them in order."
                    .into()
            });
        }
        of_file.sort_by_key(|token| token.id);
    }
    for token in &of_file {
        check_id(&token.content, token.id)?;
        if let Some(other) = model.id_to_token(token.id)
            && other != token.content
        {
            return Err(Error::Format(format!(
                "tokenizer.json gives id {} to the added token '{}' and to '{}'; each token needs an id of its own.",
                token.id,
                shown(&token.content),
                shown(&other)
            )));
        }
        plan.of_file(token)?;
    }
    for setting in &settings.added {
        plan.of_setting(setting, settings, has_file, notes)?;
    }
    if settings.lists_all && settings.class == Class::Bert {
        let listed = |token: &&AddedTokenFile| {
            !settings
                .added
                .iter()
                .any(|setting| setting.content == token.content)
        };
        if let Some(token) = of_file.iter().find(listed) {
            notes.depart(|| {
                format!(
                    "tokenizer.json has the added token '{}', which added_tokens_decoder of tokenizer_config.json \
                     doesn't list; it is kept, while transformers would leave it out.",
                    shown(&token.content)
                )
            });
        }
    }
    Ok(plan.tokens.into_iter().map(|(token, _)| token).collect())
}
