//! Items: what clients send as input, what is stored, what a model produced.
//!
//! An item is normalised once, when it comes in, and written as JSON once, with its id; from then on it is spliced
//! raw into records, lists and responses. [`StoredItem`] is the view by which a stored one is passed to a model.

mod hosted;
pub mod mcp;
mod part;
mod plain;
mod read;
mod stored;

pub use hosted::{HostedCall, HostedKind};
pub use part::{
    Annotation, Citation, Detail, FileCitation, LogProb, Part, TextPart, TokenLogProb, UrlCitation,
};
pub use plain::PlainMessage;
pub use read::InputElement;
pub use stored::{StoredId, StoredItem, StoredPart, StoredText, StoredTextPart};

use crate::id::{ItemId, ItemKind, Nonce};
use part::PartJson;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use std::borrow::Cow;

/// An item as it is stored and answered: its JSON object, with its id.
pub type RawItem = Box<RawValue>;

/// Who speaks in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The end user.
    User,
    /// The model.
    Assistant,
    /// The application's own instructions.
    System,
    /// OpenAI's newer name for the application's own instructions.
    Developer,
}

impl Role {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "user" => Self::User,
            "assistant" => Self::Assistant,
            "system" => Self::System,
            "developer" => Self::Developer,
            _ => return None,
        })
    }
}

/// What an assistant's message is, of a model that says more than one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Said on the way.
    Commentary,
    /// The answer.
    FinalAnswer,
}

/// The tokens that mark where a message begins and ends, and its role: as OpenAI documents them for its chat models
/// ("How to count tokens with tiktoken").
pub const TOKENS_AROUND_A_MESSAGE: u64 = 4;

/// What a model counts for an item beside its words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Untold {
    /// The tokens around it, and of its images and files.
    pub tokens: u64,
    /// Whether an image or a file is among it, whose tokens can only be estimated.
    pub is_estimate: bool,
}

/// What a function returned.
#[derive(Debug, Clone, PartialEq)]
pub enum ToolOutput<'a> {
    /// A text.
    Text(Cow<'a, str>),
    /// Texts, images, files.
    Parts(Vec<Part<'a>>),
}

impl<'a> From<&'a str> for ToolOutput<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

/// How an item ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemStatus {
    /// It is being produced.
    InProgress,
    /// It is whole.
    Completed,
    /// It was cut off.
    Incomplete,
}

/// An item.
#[derive(Debug, Clone, PartialEq)]
pub enum Item<'a> {
    /// Something said.
    Message {
        /// Who said it.
        role: Role,
        /// What was said.
        parts: Vec<Part<'a>>,
        /// What an assistant's message is, when its model said so.
        phase: Option<Phase>,
    },
    /// What the assistant said in place of a model that failed. Models do not get to see it.
    Fallback {
        /// What was said.
        parts: Vec<Part<'a>>,
    },
    /// The model asks for a function to be called.
    FunctionCall {
        /// Names this call, so that its output can refer to it.
        call_id: Cow<'a, str>,
        /// The function.
        name: Cow<'a, str>,
        /// Its arguments: JSON as the model wrote it.
        arguments: Cow<'a, str>,
    },
    /// What a function returned.
    FunctionCallOutput {
        /// The call it answers.
        call_id: Cow<'a, str>,
        /// What it returned.
        output: ToolOutput<'a>,
    },
    /// What a model thought. Chat Completions has no place for it, so only models that are asked by Responses get to see
    /// it again, and of it what is encrypted.
    Reasoning {
        /// In short.
        summary: Vec<Part<'a>>,
        /// In full, where the model tells it.
        content: Vec<Part<'a>>,
        /// In a form only the model's maker can read.
        encrypted_content: Option<Cow<'a, str>>,
    },
    /// What stands for items that were compacted.
    Compaction {
        /// In a form only its maker can read.
        encrypted_content: Cow<'a, str>,
    },
    /// What the model's endpoint did by a tool of its own, or this server by one of the tenant's.
    Hosted(HostedCall<'a>),
}

#[derive(Serialize)]
struct MessageJson<'a> {
    id: ItemId,
    r#type: &'static str,
    status: ItemStatus,
    role: Role,
    content: Vec<PartJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    phase: Option<Phase>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    waggle_fallback: bool,
}

#[derive(Serialize)]
struct CallJson<'a> {
    id: ItemId,
    r#type: &'static str,
    status: ItemStatus,
    call_id: &'a str,
    name: &'a str,
    arguments: &'a str,
}

#[derive(Serialize)]
struct OutputJson<'a> {
    id: ItemId,
    r#type: &'static str,
    status: ItemStatus,
    call_id: &'a str,
    output: ToolOutputJson<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum ToolOutputJson<'a> {
    Text(&'a str),
    Parts(Vec<PartJson<'a>>),
}

#[derive(Serialize)]
struct ReasoningJson<'a> {
    id: ItemId,
    r#type: &'static str,
    status: ItemStatus,
    summary: Vec<PartJson<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    content: Vec<PartJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encrypted_content: Option<&'a str>,
}

#[derive(Serialize)]
struct CompactionJson<'a> {
    id: ItemId,
    r#type: &'static str,
    encrypted_content: &'a str,
}

fn part_jsons<'a>(parts: &'a [Part<'_>], said_by_model: bool) -> Vec<PartJson<'a>> {
    parts.iter().map(|part| part.to_json(said_by_model)).collect()
}

impl Item<'_> {
    /// What kind of item this is.
    pub fn kind(&self) -> ItemKind {
        match self {
            Self::Message { .. } | Self::Fallback { .. } => ItemKind::Message,
            Self::FunctionCall { .. } => ItemKind::FunctionCall,
            Self::FunctionCallOutput { .. } => ItemKind::FunctionCallOutput,
            Self::Reasoning { .. } => ItemKind::Reasoning,
            Self::Compaction { .. } => ItemKind::Compaction,
            Self::Hosted(call) => ItemKind::Hosted(call.kind()),
        }
    }

    /// Adds what a tokenizer has to count of it to `texts`, and returns the rest of what a model counts for it. There is
    /// nothing of what models do not get to see.
    pub fn tally<'t>(&'t self, texts: &mut Vec<&'t str>) -> Untold {
        let (parts, words): (&[Part<'_>], [&str; 2]) = match self {
            Self::Fallback { .. } | Self::Reasoning { .. } | Self::Compaction { .. } => {
                return Untold::default();
            }
            Self::Hosted(call) if call.is_unseen() => return Untold::default(),
            Self::Message { parts, .. }
            | Self::FunctionCallOutput { output: ToolOutput::Parts(parts), .. } => (parts, [""; 2]),
            Self::FunctionCall { name, arguments, .. } => (&[], [name, arguments]),
            Self::FunctionCallOutput { output: ToolOutput::Text(text), .. } => (&[], [text, ""]),
            Self::Hosted(call) => (&[], [call.members(), ""]),
        };
        texts
            .extend(words.into_iter().chain(parts.iter().map(Part::words)).filter(|words| !words.is_empty()));
        let estimates: u64 = parts.iter().map(Part::tokens_beyond_words).sum();
        Untold { tokens: TOKENS_AROUND_A_MESSAGE + estimates, is_estimate: estimates > 0 }
    }

    /// An estimate of the tokens a model counts for it, where nobody is there who counts.
    pub fn estimate(&self) -> u64 {
        let mut texts = Vec::new();
        let untold = self.tally(&mut texts).tokens;
        untold + texts.into_iter().map(estimate_tokens).sum::<u64>()
    }

    /// Writes the item as it is stored and answered.
    ///
    /// # Errors
    /// None in practice: these types always serialise.
    pub fn to_raw(&self, nonce: Nonce, index: usize, status: ItemStatus) -> serde_json::Result<RawItem> {
        let id = ItemId { kind: self.kind(), nonce, index };
        let message = |role, parts, phase, waggle_fallback| {
            let content = part_jsons(parts, role == Role::Assistant);
            to_raw_value(&MessageJson {
                id,
                r#type: "message",
                status,
                role,
                content,
                phase,
                waggle_fallback,
            })
        };
        match self {
            Self::Message { role, parts, phase } => message(*role, parts, *phase, false),
            Self::Fallback { parts } => message(Role::Assistant, parts, None, true),
            Self::FunctionCall { call_id, name, arguments } => {
                to_raw_value(&CallJson { id, r#type: "function_call", status, call_id, name, arguments })
            }
            Self::FunctionCallOutput { call_id, output } => {
                let output = match output {
                    ToolOutput::Text(text) => ToolOutputJson::Text(text),
                    ToolOutput::Parts(parts) => ToolOutputJson::Parts(part_jsons(parts, false)),
                };
                to_raw_value(&OutputJson { id, r#type: "function_call_output", status, call_id, output })
            }
            Self::Reasoning { summary, content, encrypted_content } => to_raw_value(&ReasoningJson {
                id,
                r#type: "reasoning",
                status,
                summary: part_jsons(summary, true),
                content: part_jsons(content, true),
                encrypted_content: encrypted_content.as_deref(),
            }),
            Self::Compaction { encrypted_content } => {
                to_raw_value(&CompactionJson { id, r#type: "compaction", encrypted_content })
            }
            Self::Hosted(call) => call.to_raw(id, status),
        }
    }
}

/// Writes the items of one commit, numbered from `first_index`.
///
/// # Errors
/// None in practice: these types always serialise.
pub fn to_raw_items(
    items: &[Item<'_>],
    nonce: Nonce,
    first_index: usize,
) -> serde_json::Result<Vec<RawItem>> {
    (first_index..).zip(items).map(|(index, item)| item.to_raw(nonce, index, ItemStatus::Completed)).collect()
}

/// An estimate of the tokens in `text`: a quarter of its bytes, but one for each character of the scripts that models
/// split into single characters (Chinese, Japanese, Korean and what stands near them in Unicode).
///
/// It is an estimate: real tokenizers differ by model, and this one needs no vocabulary.
pub fn estimate_tokens(text: &str) -> u64 {
    const FIRST_WIDE_CHARACTER: char = '\u{2e80}';
    if text.is_ascii() {
        return text.len().div_ceil(4) as u64;
    }
    let wide = text.chars().filter(|character| *character >= FIRST_WIDE_CHARACTER);
    let (count, bytes) =
        wide.fold((0, 0), |(count, bytes), character| (count + 1, bytes + character.len_utf8()));
    (count + (text.len() - bytes).div_ceil(4)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(json: &str) -> String {
        let item: Item<'_> = serde_json::from_str(json).unwrap();
        let raw = item.to_raw(Nonce::mint(0, 0), 7, ItemStatus::Completed).unwrap();
        raw.get().replace(Nonce::mint(0, 0).as_str(), "N")
    }

    #[test]
    fn items_are_normalised_and_numbered() {
        let user = r#"{"id":"msg_N007","type":"message","status":"completed","role":"user","content":[{"type":"input_text","text":"h\"i"}]}"#;
        assert_eq!(stored(r#"{"role":"user","content":"h\"i"}"#), user);
        assert_eq!(
            stored(
                r#"{"type":"message","id":"mine","role":"user","content":[{"type":"input_text","text":"h\"i"}]}"#
            ),
            user
        );
        assert_eq!(
            stored(r#"{"role":"assistant","content":"a"}"#),
            r#"{"id":"msg_N007","type":"message","status":"completed","role":"assistant","content":[{"type":"output_text","text":"a","annotations":[],"logprobs":[]}]}"#
        );
        assert_eq!(
            stored(r#"{"type":"function_call","call_id":"c","name":"n","arguments":"{}"}"#),
            r#"{"id":"fc_N007","type":"function_call","status":"completed","call_id":"c","name":"n","arguments":"{}"}"#
        );
        assert_eq!(
            stored(r#"{"type":"function_call_output","call_id":"c","output":"o"}"#),
            r#"{"id":"fco_N007","type":"function_call_output","status":"completed","call_id":"c","output":"o"}"#
        );
    }

    /// What is sent is what is kept, but for id and status.
    fn check_kept(sent: &str, kept: &str) {
        assert_eq!(stored(sent), kept, "{sent}");
        assert_eq!(stored(kept), kept, "a stored item is one a client may send back");
    }

    #[test]
    fn images_files_reasoning_and_all_they_hold_are_kept() {
        check_kept(
            r#"{"role":"user","content":[{"type":"input_text","text":"a"},
                {"type":"input_image","image_url":"https://e.x/a.png","file_id":null},
                {"type":"input_image","image_url":"data:image/png;base64,AA==","detail":"low"},
                {"type":"input_file","filename":"a.pdf","file_data":"data:application/pdf;base64,AA=="},
                {"type":"input_file","file_url":"https://e.x/a.pdf","file_data":null}]}"#,
            r#"{"id":"msg_N007","type":"message","status":"completed","role":"user","content":[{"type":"input_text","text":"a"},{"type":"input_image","image_url":"https://e.x/a.png","detail":"auto"},{"type":"input_image","image_url":"data:image/png;base64,AA==","detail":"low"},{"type":"input_file","filename":"a.pdf","file_data":"data:application/pdf;base64,AA=="},{"type":"input_file","file_url":"https://e.x/a.pdf"}]}"#,
        );
        check_kept(
            r#"{"role":"assistant","phase":"commentary","content":[{"type":"output_text","text":"a","annotations":[
                {"type":"url_citation","start_index":0,"end_index":1,"url":"https://e.x","title":"t"},
                {"type":"file_citation","file_id":"f","index":0},{"type":"file_path","file_id":"f","index":0}],
                "logprobs":[]},{"type":"refusal","refusal":"no"}]}"#,
            r#"{"id":"msg_N007","type":"message","status":"completed","role":"assistant","content":[{"type":"output_text","text":"a","annotations":[{"type":"url_citation","start_index":0,"end_index":1,"url":"https://e.x","title":"t"},{"type":"file_citation","file_id":"f","filename":"","index":0}],"logprobs":[]},{"type":"refusal","refusal":"no"}],"phase":"commentary"}"#,
        );
        check_kept(
            r#"{"type":"reasoning","id":"rs_1","summary":[{"type":"summary_text","text":"s"}],
                "content":[{"type":"reasoning_text","text":"r"}],"encrypted_content":"e=="}"#,
            r#"{"id":"rs_N007","type":"reasoning","status":"completed","summary":[{"type":"summary_text","text":"s"}],"content":[{"type":"reasoning_text","text":"r"}],"encrypted_content":"e=="}"#,
        );
        check_kept(
            r#"{"type":"reasoning","summary":[],"content":null}"#,
            r#"{"id":"rs_N007","type":"reasoning","status":"completed","summary":[]}"#,
        );
        check_kept(
            r#"{"type":"compaction","encrypted_content":"e==","created_by":null}"#,
            r#"{"id":"cmp_N007","type":"compaction","encrypted_content":"e=="}"#,
        );
        check_kept(
            r#"{"type":"function_call_output","call_id":"c","output":[{"type":"input_text","text":"o"},
                {"type":"input_image","image_url":"data:,","detail":"high"}]}"#,
            r#"{"id":"fco_N007","type":"function_call_output","status":"completed","call_id":"c","output":[{"type":"input_text","text":"o"},{"type":"input_image","image_url":"data:,","detail":"high"}]}"#,
        );
    }

    #[test]
    fn what_an_endpoint_did_by_its_own_tools_is_kept_as_it_came() {
        check_kept(
            r#"{"type":"web_search_call","id":"ws_1","status":"completed","action":{"type":"search","query":"q"}}"#,
            r#"{"id":"ws_N007","type":"web_search_call","status":"completed","action":{"type":"search","query":"q"}}"#,
        );
        check_kept(
            r#"{"type":"file_search_call","status":"failed","results":null,"queries":["q"]}"#,
            r#"{"id":"fs_N007","type":"file_search_call","status":"failed","queries":["q"]}"#,
        );
        check_kept(
            r#"{"type":"code_interpreter_call","status":"completed","code":"1","container_id":"c","outputs":[{"type":"logs","logs":"1"}]}"#,
            r#"{"id":"ci_N007","type":"code_interpreter_call","status":"completed","code":"1","container_id":"c","outputs":[{"type":"logs","logs":"1"}]}"#,
        );
        check_kept(
            r#"{"type":"mcp_call","name":"n","arguments":"{\"a\":1}","server_label":"s","output":"o","error":null}"#,
            r#"{"id":"mcp_N007","type":"mcp_call","name":"n","arguments":"{\"a\":1}","output":"o","server_label":"s"}"#,
        );
        check_kept(
            r#"{"type":"mcp_list_tools","server_label":"s","tools":[]}"#,
            r#"{"id":"mcpl_N007","type":"mcp_list_tools","server_label":"s","tools":[]}"#,
        );
        let cut = HostedCall::read(HostedKind::WebSearch, r#"{"status":"searching","else":1}"#).unwrap();
        let raw = Item::Hosted(cut).to_raw(Nonce::mint(0, 0), 0, ItemStatus::Incomplete).unwrap();
        assert!(raw.get().ends_with(r#""type":"web_search_call","status":"failed"}"#), "{raw}");
    }

    #[test]
    fn what_no_model_sees_costs_no_tokens_and_an_image_costs_what_it_is_looked_at() {
        let tokens = |json: &str| {
            let (item, mut texts) = (serde_json::from_str::<Item<'_>>(json).unwrap(), Vec::new());
            let untold = item.tally(&mut texts);
            assert_eq!((texts, untold.is_estimate), (Vec::new(), untold.tokens > 0), "{json}");
            untold.tokens
        };
        assert_eq!(tokens(r#"{"type":"reasoning","summary":[{"type":"summary_text","text":"long"}]}"#), 0);
        assert_eq!(tokens(r#"{"type":"compaction","encrypted_content":"long"}"#), 0);
        assert_eq!(tokens(r#"{"type":"file_search_call","queries":["q"],"results":[{"text":"long"}]}"#), 0);
        let image = |detail: &str| {
            tokens(&format!(
                r#"{{"role":"user","content":[{{"type":"input_image","image_url":"data:,","detail":"{detail}"}}]}}"#
            ))
        };
        assert_eq!((image("low"), image("high"), image("auto")), (89, 769, 769));
    }

    #[test]
    fn a_stored_item_is_an_item_a_client_may_send_back() {
        let item = Item::Message { role: Role::Assistant, parts: vec![Part::text("é\n")], phase: None };
        let raw = item.to_raw(Nonce::mint(9, 9), 0, ItemStatus::Completed).unwrap();
        let again: Item<'_> = serde_json::from_str(raw.get()).unwrap();
        assert_eq!(again, item);
        let view: StoredItem<'_> = serde_json::from_str(raw.get()).unwrap();
        assert_eq!((view.kind, view.role), ("message", Some("assistant")));
        assert_eq!(view.content[0].text.unwrap().get(), r#""é\n""#);
    }

    #[test]
    fn what_was_said_for_a_model_is_marked_and_stays_so_when_it_is_sent_back() {
        let fallback = Item::Fallback { parts: vec![Part::text("busy")] };
        let raw = fallback.to_raw(Nonce::mint(9, 9), 0, ItemStatus::Completed).unwrap();
        assert!(raw.get().ends_with(r#""waggle_fallback":true}"#), "{raw}");
        assert_eq!(serde_json::from_str::<Item<'_>>(raw.get()).unwrap(), fallback);
        assert!(serde_json::from_str::<StoredItem<'_>>(raw.get()).unwrap().fallback);
        let users = r#"{"role":"user","content":"x","waggle_fallback":true}"#;
        assert!(stored(users).ends_with("]}"), "only what an assistant says can be one");
    }

    #[test]
    fn tokens_are_estimated_by_script() {
        assert_eq!(estimate_tokens(""), 0);
        assert_eq!(estimate_tokens("hello"), 2);
        assert_eq!(estimate_tokens("你好世界"), 4);
        assert_eq!(estimate_tokens("hi 你好"), 3);
        assert_eq!(estimate_tokens("ééé"), 2);
    }
}
