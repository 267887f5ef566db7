//! How tokenizer.json puts the texts of a pair together with special tokens. What puts one token before the first text
//! and one behind each is followed; anything else is refused by its name.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;
use tokenizers::processors::template::TemplateProcessing;

use super::json_file::{AtMost, MAX_STEPS, shown};
use super::pipeline::unexpected;
use crate::error::{Error, Result};

/// The tokens around the texts, and the token type of the second text and of the token behind it; all others have 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template {
    pub(super) cls: String,
    pub(super) sep: String,
    pub(super) second_type: u32,
    /// The ids that the file gives the tokens, where it gives some.
    ids: Option<(u32, u32)>,
}

impl Template {
    /// BERT's, with these tokens.
    pub(super) fn bert(cls: String, sep: String) -> Template {
        Template {
            cls,
            sep,
            second_type: 1,
            ids: None,
        }
    }

    /// That the file gives the tokens no other ids than these, which the vocabulary has.
    pub(super) fn check_ids(&self, cls: u32, sep: u32) -> Result<()> {
        match self.ids {
            Some(ids) if ids != (cls, sep) => Err(Error::Format(format!(
                "The post-processor of tokenizer.json gives '{}' and '{}' the ids {} and {}; its vocabulary gives them \
                 {cls} and {sep}.",
                shown(&self.cls),
                shown(&self.sep),
                ids.0,
                ids.1
            ))),
            _ => Ok(()),
        }
    }

    /// The crate's form.
    pub(super) fn to_crate(&self, cls: u32, sep: u32) -> Result<TemplateProcessing> {
        let special =
            |token: &str, number: u32| json!({"SpecialToken": {"id": token, "type_id": number}});
        let text = |name: &str, number: u32| json!({"Sequence": {"id": name, "type_id": number}});
        let single = [special(&self.cls, 0), text("A", 0), special(&self.sep, 0)];
        let second = [
            text("B", self.second_type),
            special(&self.sep, self.second_type),
        ];
        let pair: Vec<_> = single.iter().chain(&second).collect();
        let token = |token: &str, id: u32| json!({"id": token, "ids": [id], "tokens": [token]});
        let value = json!({
            "type": "TemplateProcessing",
            "single": single,
            "pair": pair,
            "special_tokens": {
                &self.cls: token(&self.cls, cls),
                &self.sep: token(&self.sep, sep),
            },
        });
        serde_json::from_value(value).map_err(unexpected("building the template"))
    }
}

/// A post-processor with every field that any of them has; `L` is the list in a sequence.
#[derive(Deserialize)]
pub(super) struct ProcessorFile<L> {
    #[serde(rename = "type")]
    kind: String,
    single: Option<AtMost<Piece, MAX_STEPS>>,
    pair: Option<AtMost<Piece, MAX_STEPS>>,
    special_tokens: Option<BTreeMap<String, TemplateToken>>,
    cls: Option<(String, u32)>,
    sep: Option<(String, u32)>,
    processors: Option<L>,
}

/// What may stand in a sequence: no sequence again.
pub(super) type Processor = ProcessorFile<IgnoredAny>;

/// A post-processor, or a sequence of them.
pub(super) type Processors = ProcessorFile<AtMost<Processor, MAX_STEPS>>;

#[derive(Deserialize)]
enum Piece {
    SpecialToken { id: String, type_id: u32 },
    Sequence { id: Text, type_id: u32 },
}

#[derive(Deserialize, PartialEq, Clone, Copy)]
enum Text {
    A,
    B,
}

#[derive(Deserialize)]
struct TemplateToken {
    ids: AtMost<u32, MAX_STEPS>,
}

/// What is refused, with the reason.
fn other(what: &str) -> Error {
    Error::Unsupported(format!(
        "tokenizer.json has a post-processor that {what}, which isn't supported; supported are BertProcessing and a \
         TemplateProcessing that makes [CLS] A [SEP] of a text and [CLS] A [SEP] B [SEP] of a pair, with any two \
         tokens in their places."
    ))
}

impl Processors {
    /// What it does; `None` where it adds nothing.
    pub(super) fn template(&self) -> Result<Option<Template>> {
        if self.kind != "Sequence" {
            return self.one();
        }
        let mut found = None;
        for processor in self.processors.iter().flat_map(|list| &list.0) {
            let template = processor.one()?;
            if found.is_some() && template.is_some() {
                return Err(other("is a sequence of two that add tokens"));
            }
            found = found.or(template);
        }
        Ok(found)
    }
}

impl<L> ProcessorFile<L> {
    fn one(&self) -> Result<Option<Template>> {
        match self.kind.as_str() {
            // It changes only what a token tells of its place in the text.
            "ByteLevel" => Ok(None),
            "BertProcessing" => {
                let (Some((cls, cls_id)), Some((sep, sep_id))) = (&self.cls, &self.sep) else {
                    return Err(Error::Format(
                        "The BertProcessing of tokenizer.json lacks its tokens \"cls\" and \"sep\"."
                            .into(),
                    ));
                };
                Ok(Some(Template {
                    cls: cls.clone(),
                    sep: sep.clone(),
                    second_type: 1,
                    ids: Some((*cls_id, *sep_id)),
                }))
            }
            "TemplateProcessing" => self.of_template().map(Some),
            kind => Err(other(&format!("is of type '{}'", shown(kind)))),
        }
    }

    fn of_template(&self) -> Result<Template> {
        use Piece::{Sequence, SpecialToken};
        let (Some(single), Some(pair)) = (&self.single, &self.pair) else {
            return Err(Error::Format(
                "The TemplateProcessing of tokenizer.json lacks \"single\" or \"pair\".".into(),
            ));
        };
        let [
            SpecialToken {
                id: cls,
                type_id: 0,
            },
            Sequence {
                id: Text::A,
                type_id: 0,
            },
            SpecialToken {
                id: sep,
                type_id: 0,
            },
        ] = single.0.as_slice()
        else {
            return Err(other(
                "doesn't put a text between two special tokens, all with token type 0",
            ));
        };
        let second_type = match pair.0.as_slice() {
            [
                SpecialToken { id: c, type_id: 0 },
                Sequence {
                    id: Text::A,
                    type_id: 0,
                },
                SpecialToken { id: s, type_id: 0 },
                Sequence {
                    id: Text::B,
                    type_id: second @ (0 | 1),
                },
                SpecialToken { id: e, type_id },
            ] if (c, s, e) == (cls, sep, sep) && type_id == second => *second,
            _ => {
                return Err(other(
                    "puts a pair together in another way than [CLS] A [SEP] B [SEP] with token types 0 and 1",
                ));
            }
        };
        let id = |token: &str| match self.special_tokens.as_ref().and_then(|all| all.get(token)) {
            Some(TemplateToken { ids }) => match ids.0.as_slice() {
                [id] => Ok(*id),
                _ => Err(other(&format!(
                    "writes '{}' as several tokens",
                    shown(token)
                ))),
            },
            None => Err(Error::Format(format!(
                "The TemplateProcessing of tokenizer.json uses '{}', which isn't among its special_tokens.",
                shown(token)
            ))),
        };
        Ok(Template {
            ids: Some((id(cls)?, id(sep)?)),
            cls: cls.clone(),
            sep: sep.clone(),
            second_type,
        })
    }
}
