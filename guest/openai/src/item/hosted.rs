//! Items of tools that a model's endpoint runs itself, which are kept and handed on as they came, but for their ids; and
//! those of tools that this server runs, which have the same shapes ([`super::mcp`]).

use super::{ItemId, ItemStatus, RawItem};
use crate::json::{self, Text};
use crate::members::Members;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// The members that are kept, in the order in which they are written. `id`, `type` and `status` stand before them.
pub(super) const MEMBERS: [&str; 16] = [
    "name",
    "arguments",
    "action",
    "queries",
    "results",
    "code",
    "container_id",
    "outputs",
    "output",
    "server_label",
    "error",
    "approval_request_id",
    "approve",
    "reason",
    "tools",
    OWN,
];
/// What only items of tools have that this server runs.
const OWN: &str = "waggle";

/// What an endpoint did by a tool of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostedKind {
    /// It searched the web.
    WebSearch,
    /// It searched files.
    FileSearch,
    /// It ran code.
    CodeInterpreter,
    /// It called a tool of an MCP server.
    Mcp,
    /// It listed the tools of one.
    McpListTools,
    /// It wants to call one, and asks whether it may.
    McpApproval,
    /// Whether it may.
    McpApprovalResponse,
}

impl HostedKind {
    pub(crate) const ALL: [Self; 7] = [
        Self::WebSearch,
        Self::FileSearch,
        Self::CodeInterpreter,
        Self::Mcp,
        Self::McpListTools,
        Self::McpApproval,
        Self::McpApprovalResponse,
    ];

    /// The `type` of its items.
    pub fn name(self) -> &'static str {
        match self {
            Self::WebSearch => "web_search_call",
            Self::FileSearch => "file_search_call",
            Self::CodeInterpreter => "code_interpreter_call",
            Self::Mcp => "mcp_call",
            Self::McpListTools => "mcp_list_tools",
            Self::McpApproval => "mcp_approval_request",
            Self::McpApprovalResponse => "mcp_approval_response",
        }
    }

    /// The kind whose items are of that type.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    pub(crate) fn prefix(self) -> &'static str {
        match self {
            Self::WebSearch => "ws_",
            Self::FileSearch => "fs_",
            Self::CodeInterpreter => "ci_",
            Self::Mcp => "mcp_",
            Self::McpListTools => "mcpl_",
            Self::McpApproval => "mcpr_",
            Self::McpApprovalResponse => "mcpa_",
        }
    }
}

/// An item of a tool that a model's endpoint runs itself, or this server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostedCall<'a> {
    pub(super) kind: HostedKind,
    /// How far it has come, where its kind says so.
    pub(super) status: Option<Cow<'a, str>>,
    /// Its other members, each with a comma in front.
    pub(super) members: Cow<'a, str>,
    /// Whether this server runs the tool.
    pub(super) is_own: bool,
}

impl HostedCall<'static> {
    /// Reads an item of that kind, of an endpoint's own tool. Members that no item of such a kind has, and those that are
    /// null, are left out.
    ///
    /// # Errors
    /// It is no JSON object, or its status no string.
    pub fn read(kind: HostedKind, json: &str) -> serde_json::Result<Self> {
        // An endpoint's tools are none of ours, whatever it says of them.
        Self::read_but(kind, json, |name| name == OWN)
    }

    /// Reads an item of that kind as it is stored, of this server's own tools as well.
    ///
    /// # Errors
    /// As those of [`read`](Self::read).
    pub fn read_stored(kind: HostedKind, json: &str) -> serde_json::Result<Self> {
        Self::read_but(kind, json, |_| false)
    }

    fn read_but(kind: HostedKind, json: &str, leave_out: impl Fn(&str) -> bool) -> serde_json::Result<Self> {
        let members = Members::read(json.as_bytes())?;
        let status: Option<Text<'_>> = members.get("status").map(serde_json::from_str).transpose()?.flatten();
        Ok(Self::new(kind, status.map(|status| status.0.into_owned()), |name| {
            members.get(name).filter(|_| !leave_out(name))
        }))
    }

    pub(super) fn new<'m>(
        kind: HostedKind,
        status: Option<String>,
        member: impl Fn(&'static str) -> Option<&'m str>,
    ) -> Self {
        let mut members = String::new();
        for name in MEMBERS {
            let Some(value) = member(name).filter(|value| *value != "null") else { continue };
            members.extend([",\"", name, "\":"]);
            // A text is written in one way, however its sender escaped it, so that an item that comes back is the same.
            match serde_json::from_str::<Text<'_>>(value).map(|text| serde_json::to_string(&*text)) {
                Ok(Ok(text)) => members.push_str(&text),
                _ => members.push_str(value),
            }
        }
        let is_own = member(OWN).is_some_and(|mark| mark != "null");
        Self { kind, status: status.map(Cow::Owned), members: Cow::Owned(members), is_own }
    }
}

impl HostedCall<'_> {
    /// What was done.
    pub fn kind(&self) -> HostedKind {
        self.kind
    }

    /// Whether this server runs the tool, and no endpoint of a model.
    pub fn is_own(&self) -> bool {
        self.is_own
    }

    /// Whether models never see it: what was found for a turn, which is shown to its model in that turn; and what this
    /// server's tools are, which it is told as functions.
    pub fn is_unseen(&self) -> bool {
        match self.kind {
            HostedKind::FileSearch => true,
            HostedKind::McpListTools => self.is_own,
            _ => false,
        }
    }

    /// A member that is a text; `None` where it is not there, or something else.
    pub fn text(&self, member: &str) -> Option<String> {
        let members = format!("{{{}}}", self.members());
        let members = Members::read(members.as_bytes()).ok()?;
        serde_json::from_str::<Text<'_>>(members.get(member)?).ok().map(|Text(text)| text.into_owned())
    }

    /// Its members but `id`, `type` and `status`, as JSON: about what a model reads of it.
    pub fn members(&self) -> &str {
        self.members.trim_start_matches(',')
    }

    /// Writes the item. One that was cut off has failed, as all kinds that have a status name it.
    pub(super) fn to_raw(&self, id: ItemId, status: ItemStatus) -> serde_json::Result<RawItem> {
        let mut out = Vec::with_capacity(self.members.len() + 96);
        out.extend_from_slice(b"{\"id\":");
        json::push(&mut out, &id);
        out.extend_from_slice(b",\"type\":");
        json::push(&mut out, self.kind.name());
        if let Some(own) = &self.status {
            let own = match status {
                ItemStatus::InProgress => "in_progress",
                ItemStatus::Completed => own,
                ItemStatus::Incomplete => "failed",
            };
            out.extend_from_slice(b",\"status\":");
            json::push(&mut out, own);
        }
        out.extend_from_slice(self.members.as_bytes());
        out.push(b'}');
        let text = String::from_utf8(out).map_err(serde::ser::Error::custom)?;
        RawValue::from_string(text)
    }
}
