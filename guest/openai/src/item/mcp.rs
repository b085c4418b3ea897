//! Items of tools that this server runs itself, in OpenAI's shapes of MCP: what there is, a call, the question whether it
//! may be made, and the answer to that.
//!
//! They are [`HostedCall`]s, as those of an endpoint's own tools are. What tells them apart is the member `waggle`, which
//! says as what a model knows the tool and in which step of the run it asked for it; an endpoint's items have none.

use super::hosted::{HostedCall, HostedKind};
use crate::id::{ItemId, ItemKind};
use crate::json::Text;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// The longest reason of a decision, in bytes.
pub const REASON_BYTES_MAX: usize = 4 << 10;

/// What only this server says of an item: it stands in its member `waggle`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnMark<'a> {
    /// What a model calls the tool by; of a list, its label.
    #[serde(borrow)]
    pub name: Cow<'a, str>,
    /// The step of the run in which the model asked, from 1. Calls of one step were asked for at once.
    #[serde(default)]
    pub step: u32,
}

/// A call of a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct McpCall<'a> {
    /// The tool it belongs to.
    pub server_label: &'a str,
    /// What is called of it.
    pub name: &'a str,
    /// The arguments, as the model wrote them.
    pub arguments: &'a str,
    /// How far it has come.
    pub outcome: Outcome<'a>,
    /// The question that was answered before it was made.
    pub approval_request_id: Option<ItemId>,
    /// As what the model knows it.
    pub mark: OwnMark<'a>,
}

/// How far a call has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// It is being made.
    InProgress,
    /// It gave this.
    Completed(&'a str),
    /// It failed, for this reason.
    Failed(McpFailure<'a>),
}

/// Why a call failed, as OpenAI has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum McpFailure<'a> {
    /// The tool was called and says that it failed: `mcp_tool_execution_error`.
    Execution(&'a str),
    /// The call was not made, or nobody knows what came of it: `mcp_protocol_error`, with JSON-RPC's code for it. These are
    /// this server's own words, which a model is told as such; what a tool has said must not be among them.
    Protocol(i32, &'a str),
}

#[derive(Serialize)]
struct ExecutionJson<'a> {
    r#type: &'static str,
    content: [ContentJson<'a>; 1],
}

#[derive(Serialize)]
struct ContentJson<'a> {
    r#type: &'static str,
    text: &'a str,
}

#[derive(Serialize)]
struct ProtocolJson<'a> {
    r#type: &'static str,
    code: i32,
    message: &'a str,
}

/// An error of any of its types, as far as its words go.
#[derive(Deserialize)]
struct FailureBody<'a> {
    #[serde(borrow)]
    message: Option<Text<'a>>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ContentBody<'a> {
    #[serde(borrow)]
    text: Option<Text<'a>>,
}

/// Whether these are this server's own words: [`McpFailure::Protocol`].
pub fn is_own_failure(error: &RawValue) -> bool {
    #[derive(Deserialize)]
    struct Kind<'a> {
        #[serde(borrow, rename = "type")]
        kind: Text<'a>,
    }
    serde_json::from_str::<Kind<'_>>(error.get()).is_ok_and(|error| &*error.kind == "mcp_protocol_error")
}

impl McpFailure<'_> {
    fn to_json(self) -> serde_json::Result<String> {
        match self {
            Self::Execution(text) => {
                let content = [ContentJson { r#type: "text", text }];
                serde_json::to_string(&ExecutionJson { r#type: "mcp_tool_execution_error", content })
            }
            Self::Protocol(code, message) => {
                serde_json::to_string(&ProtocolJson { r#type: "mcp_protocol_error", code, message })
            }
        }
    }
}

/// The words of the `error` of a call: a text, as older servers have it, or one of OpenAI's objects. What is neither is
/// told as it stands.
pub fn words_of_failure(error: &RawValue) -> String {
    if let Ok(Text(text)) = serde_json::from_str::<Text<'_>>(error.get()) {
        return text.into_owned();
    }
    let body = serde_json::from_str::<FailureBody<'_>>(error.get()).ok();
    let words = body.and_then(|body| match (body.message, body.content) {
        (Some(Text(message)), _) => Some(message.into_owned()),
        (None, Some(content)) => {
            let parts: Vec<ContentBody<'_>> = serde_json::from_str(content.get()).ok()?;
            let texts: Vec<_> = parts.into_iter().filter_map(|part| part.text.map(|text| text.0)).collect();
            Some(texts.join("\n"))
        }
        (None, None) => None,
    });
    words.unwrap_or_else(|| error.get().to_owned())
}

impl McpCall<'_> {
    /// The item.
    ///
    /// # Errors
    /// None in practice: these types always serialise.
    pub fn to_item(&self) -> serde_json::Result<HostedCall<'static>> {
        let (status, output, error) = match self.outcome {
            Outcome::InProgress => ("in_progress", None, None),
            Outcome::Completed(output) => ("completed", Some(serde_json::to_string(output)?), None),
            Outcome::Failed(failure) => ("failed", None, Some(failure.to_json()?)),
        };
        let asked =
            Asked { label: self.server_label, name: Some(self.name), arguments: Some(self.arguments) };
        let id = self.approval_request_id.map(|id| serde_json::to_string(&id)).transpose()?;
        let others = [("output", output), ("error", error), ("approval_request_id", id)];
        asked.item(HostedKind::Mcp, Some(status), &self.mark, &others)
    }
}

/// What the items have in common.
struct Asked<'a> {
    label: &'a str,
    name: Option<&'a str>,
    arguments: Option<&'a str>,
}

impl Asked<'_> {
    fn item(
        &self,
        kind: HostedKind,
        status: Option<&str>,
        mark: &OwnMark<'_>,
        others: &[(&str, Option<String>)],
    ) -> serde_json::Result<HostedCall<'static>> {
        let literal = |text: Option<&str>| text.map(serde_json::to_string).transpose();
        let (name, arguments) = (literal(self.name)?, literal(self.arguments)?);
        let (label, mark) = (serde_json::to_string(self.label)?, serde_json::to_string(mark)?);
        Ok(HostedCall::new(kind, status.map(str::to_owned), |member| match member {
            "name" => name.as_deref(),
            "arguments" => arguments.as_deref(),
            "server_label" => Some(label.as_str()),
            "waggle" => Some(mark.as_str()),
            other => others.iter().find(|(name, _)| *name == other).and_then(|(_, json)| json.as_deref()),
        }))
    }
}

/// What there is of a tool: told once, for whoever follows a run; models do not get to see it.
#[derive(Debug, Clone)]
pub struct McpList<'a> {
    /// The tool.
    pub server_label: &'a str,
    /// What can be called of it.
    pub tools: Vec<ListedTool<'a>>,
    /// Why there is nothing.
    pub error: Option<&'a str>,
}

/// One thing that can be called.
#[derive(Debug, Clone, Serialize)]
pub struct ListedTool<'a> {
    /// Its name in the tool.
    pub name: &'a str,
    /// What it does.
    pub description: &'a str,
    /// The JSON Schema of its arguments.
    pub input_schema: &'a RawValue,
    /// What is known of it besides.
    pub annotations: ListedAnnotations,
}

/// What is known of a tool besides, by MCP's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListedAnnotations {
    /// Whether a call changes nothing outside.
    pub read_only_hint: bool,
    /// Whether the same call, made twice, does no more than made once.
    pub idempotent_hint: bool,
}

impl McpList<'_> {
    /// The item.
    ///
    /// # Errors
    /// None in practice: these types always serialise.
    pub fn to_item(&self) -> serde_json::Result<HostedCall<'static>> {
        let asked = Asked { label: self.server_label, name: None, arguments: None };
        let mark = OwnMark { name: Cow::Borrowed(self.server_label), step: 0 };
        let tools = Some(serde_json::to_string(&self.tools)?);
        let error = self.error.map(serde_json::to_string).transpose()?;
        asked.item(HostedKind::McpListTools, None, &mark, &[("tools", tools), ("error", error)])
    }
}

/// The question whether a call may be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApprovalRequest<'a> {
    /// The tool.
    pub server_label: Cow<'a, str>,
    /// What is to be called of it.
    pub name: Cow<'a, str>,
    /// The arguments, as the model wrote them.
    pub arguments: Cow<'a, str>,
    /// As what the model knows it.
    pub mark: OwnMark<'a>,
}

#[derive(Deserialize)]
struct RequestView<'a> {
    #[serde(borrow)]
    id: Text<'a>,
    #[serde(borrow)]
    server_label: Text<'a>,
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow)]
    arguments: Text<'a>,
    #[serde(borrow)]
    waggle: OwnMark<'a>,
}

impl<'a> ApprovalRequest<'a> {
    /// The item.
    ///
    /// # Errors
    /// None in practice: these types always serialise.
    pub fn to_item(&self) -> serde_json::Result<HostedCall<'static>> {
        let asked =
            Asked { label: &self.server_label, name: Some(&self.name), arguments: Some(&self.arguments) };
        asked.item(HostedKind::McpApproval, None, &self.mark, &[])
    }

    /// Reads a stored item, with its id; `None` for whatever is no question of this server's.
    pub fn read(stored: &'a str) -> Option<(ItemId, Self)> {
        let view: RequestView<'a> = serde_json::from_str(stored).ok()?;
        let id = approval_request_id(&view.id)?;
        let (Text(server_label), Text(name), Text(arguments)) =
            (view.server_label, view.name, view.arguments);
        Some((id, Self { server_label, name, arguments, mark: view.waggle }))
    }
}

/// The answer to the question whether a call may be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApprovalResponse {
    /// The question.
    pub approval_request_id: ItemId,
    /// Whether it may.
    pub approve: bool,
    /// Why; at most [`REASON_BYTES_MAX`] long.
    pub reason: Option<String>,
}

#[derive(Deserialize)]
struct ResponseView<'a> {
    #[serde(borrow)]
    approval_request_id: Text<'a>,
    approve: bool,
    #[serde(borrow)]
    reason: Option<Text<'a>>,
}

impl ApprovalResponse {
    /// Reads it from the item; `None` for an item of another kind.
    pub fn of(item: &HostedCall<'_>) -> Option<Self> {
        if item.kind() != HostedKind::McpApprovalResponse {
            return None;
        }
        let view = format!("{{{}}}", item.members());
        let view: ResponseView<'_> = serde_json::from_str(&view).ok()?;
        Some(Self {
            approval_request_id: approval_request_id(&view.approval_request_id)?,
            approve: view.approve,
            reason: view.reason.map(|Text(reason)| reason.into_owned()),
        })
    }
}

/// Reads the id of a question; `None` when it cannot be one.
pub fn approval_request_id(text: &str) -> Option<ItemId> {
    ItemId::parse(text).filter(|id| id.kind == ItemKind::Hosted(HostedKind::McpApproval))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Nonce;
    use crate::item::{Item, ItemStatus};
    use serde_json::value::to_raw_value;

    fn mark() -> OwnMark<'static> {
        OwnMark { name: "shop__cancel".into(), step: 2 }
    }

    fn stored(item: HostedCall<'static>) -> String {
        let raw = Item::Hosted(item).to_raw(Nonce::mint(0, 0), 7, ItemStatus::Completed).unwrap();
        let again: Item<'_> = serde_json::from_str(raw.get()).unwrap();
        let second = again.to_raw(Nonce::mint(0, 0), 7, ItemStatus::Completed).unwrap();
        assert_eq!(second.get(), raw.get(), "a client may send back what it was given");
        raw.get().replace(Nonce::mint(0, 0).as_str(), "N")
    }

    fn call(outcome: Outcome<'_>, approved: Option<ItemId>) -> String {
        let call = McpCall {
            server_label: "shop",
            name: "cancel",
            arguments: "{\"id\":1}",
            outcome,
            approval_request_id: approved,
            mark: mark(),
        };
        stored(call.to_item().unwrap())
    }

    #[test]
    fn a_call_has_openais_shape_however_it_ended() {
        let head = r#"{"id":"mcp_N007","type":"mcp_call","status":"#;
        let asked = r#","name":"cancel","arguments":"{\"id\":1}""#;
        let tail = r#","waggle":{"name":"shop__cancel","step":2}}"#;
        let request =
            ItemId { kind: ItemKind::Hosted(HostedKind::McpApproval), nonce: Nonce::mint(0, 0), index: 3 };
        for (outcome, approved, status, members) in [
            (Outcome::InProgress, None, "in_progress", r#","server_label":"shop""#),
            (
                Outcome::Completed("do\"ne"),
                Some(request),
                "completed",
                r#","output":"do\"ne","server_label":"shop","approval_request_id":"mcpr_N003""#,
            ),
            (
                Outcome::Failed(McpFailure::Execution("no such order")),
                None,
                "failed",
                r#","server_label":"shop","error":{"type":"mcp_tool_execution_error","content":[{"type":"text","text":"no such order"}]}"#,
            ),
            (
                Outcome::Failed(McpFailure::Protocol(-32602, "no id")),
                None,
                "failed",
                r#","server_label":"shop","error":{"type":"mcp_protocol_error","code":-32602,"message":"no id"}"#,
            ),
        ] {
            let expected = format!("{head}\"{status}\"{asked}{members}{tail}");
            assert_eq!(call(outcome, approved), expected);
        }
    }

    #[test]
    fn a_list_says_what_there_is_or_why_there_is_nothing() {
        let schema = to_raw_value(&serde_json::json!({"type": "object"})).unwrap();
        let annotations = ListedAnnotations { read_only_hint: true, idempotent_hint: false };
        let tool = ListedTool { name: "find", description: "Finds.", input_schema: &schema, annotations };
        let list = McpList { server_label: "shop", tools: vec![tool], error: None };
        let expected = r#"{"id":"mcpl_N007","type":"mcp_list_tools","server_label":"shop","tools":[{"name":"find","description":"Finds.","input_schema":{"type":"object"},"annotations":{"readOnlyHint":true,"idempotentHint":false}}],"waggle":{"name":"shop","step":0}}"#;
        assert_eq!(stored(list.to_item().unwrap()), expected);
        let none = McpList { server_label: "shop", tools: Vec::new(), error: Some("gone") };
        let expected = r#"{"id":"mcpl_N007","type":"mcp_list_tools","server_label":"shop","error":"gone","tools":[],"waggle":{"name":"shop","step":0}}"#;
        assert_eq!(stored(none.to_item().unwrap()), expected);
    }

    #[test]
    fn a_question_is_read_as_it_was_asked_and_an_endpoints_is_none_of_ours() {
        let asked = ApprovalRequest {
            server_label: "shop".into(),
            name: "cancel".into(),
            arguments: "{\"note\":\"é\\n\"}".into(),
            mark: mark(),
        };
        let item = Item::Hosted(asked.to_item().unwrap());
        let raw = item.to_raw(Nonce::mint(0, 0), 7, ItemStatus::Completed).unwrap();
        let (id, again) = ApprovalRequest::read(raw.get()).unwrap();
        assert_eq!((id.index, again), (7, asked));
        let theirs = raw.get().replace(r#","waggle":{"name":"shop__cancel","step":2}"#, "");
        assert_ne!(theirs, raw.get());
        assert_eq!(ApprovalRequest::read(&theirs), None);
        assert_eq!(ApprovalRequest::read(&raw.get().replace("mcpr_", "mcp_")), None);
    }

    #[test]
    fn the_words_of_a_failure_are_found_in_each_of_its_forms() {
        for (error, words) in [
            (r#""gone""#, "gone"),
            (r#"{"type":"mcp_protocol_error","code":1,"message":"m"}"#, "m"),
            (r#"{"type":"http_error","code":502,"message":"bad"}"#, "bad"),
            (
                r#"{"type":"mcp_tool_execution_error","content":[{"type":"text","text":"a"},{"type":"image"},{"type":"text","text":"b"}]}"#,
                "a\nb",
            ),
            (
                r#"{"type":"mcp_tool_execution_error","content":"c"}"#,
                r#"{"type":"mcp_tool_execution_error","content":"c"}"#,
            ),
            ("[1]", "[1]"),
        ] {
            let raw = RawValue::from_string(error.to_owned()).unwrap();
            assert_eq!(words_of_failure(&raw), words, "{error}");
        }
    }
}
