//! The tools of a turn, as its model knows them, and the calls it makes of them.

use std::rc::Rc;
use waggle_agent::offer::Available;
use waggle_openai::id::{ItemId, ItemKind};
use waggle_openai::item::mcp::{
    ApprovalRequest, ListedAnnotations, ListedTool, McpCall, McpList, Outcome, OwnMark,
};
use waggle_openai::item::{HostedCall, HostedKind};
use waggle_openai::tool::Tool as Function;
use waggle_tool::wire::{BUILT_IN_LABEL, Offered};

/// What stands between a tool and its function in the name that a model knows it by.
const SEPARATOR: &str = "__";

/// One thing the model may call.
#[derive(Debug)]
pub(crate) struct Tool {
    /// What it is.
    pub(crate) offered: Offered,
    /// The label under which its calls are told: the request's, where it names the tool by its address.
    pub(crate) label: String,
    /// Whether a person approves each call.
    pub(crate) asks: bool,
    /// Whether there is such a thing: a model may call what it was never told of.
    pub(crate) is_known: bool,
}

impl Tool {
    /// Whether a call that was begun and may have happened is safe to repeat.
    pub(crate) fn is_repeatable(&self) -> bool {
        !self.offered.side_effects || self.offered.idempotent
    }

    /// What stands for a tool that does not exist.
    fn unknown(name: &str) -> Self {
        let (label, function) = name.split_once(SEPARATOR).unwrap_or((BUILT_IN_LABEL, name));
        let offered = Offered {
            name: name.to_owned(),
            label: label.to_owned(),
            function: function.to_owned(),
            description: String::new(),
            parameters: Box::default(),
            side_effects: false,
            idempotent: false,
            needs_approval: false,
            digest: String::new(),
        };
        Self { offered, label: label.to_owned(), asks: false, is_known: false }
    }
}

/// The tools of a turn.
#[derive(Debug)]
pub(crate) struct Toolbox {
    tools: Vec<Rc<Tool>>,
    /// The functions of the client's, which are not called here.
    functions: Vec<String>,
}

impl Toolbox {
    pub(crate) fn new(tools: Vec<Tool>, functions: &[Function]) -> Self {
        let functions = functions.iter().map(|function| function.name.clone()).collect();
        Self { tools: tools.into_iter().map(Rc::new).collect(), functions }
    }

    /// Whether there is nothing in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.tools.is_empty()
    }

    /// All of them.
    pub(crate) fn tools(&self) -> impl Iterator<Item = &Tool> {
        self.tools.iter().map(Rc::as_ref)
    }

    /// What the model means by that name; `None` for a function of the client's.
    pub(crate) fn find(&self, name: &str) -> Option<Rc<Tool>> {
        if self.functions.iter().any(|function| function == name) {
            return None;
        }
        let known = self.tools.iter().find(|tool| tool.offered.name == name);
        Some(known.map_or_else(|| Rc::new(Tool::unknown(name)), Rc::clone))
    }

    /// The one that this function of this label is.
    pub(crate) fn of(&self, label: &str, function: &str) -> Option<Rc<Tool>> {
        let same = |tool: &&Rc<Tool>| tool.label == label && tool.offered.function == function;
        self.tools.iter().find(same).map(Rc::clone)
    }

    /// All of them, for the settings of a call of the model.
    pub(crate) fn available(&self) -> Vec<Available<'_>> {
        self.tools().map(|tool| Available { server_label: &tool.label, offered: &tool.offered }).collect()
    }

    /// What there is of one label, for whoever follows.
    pub(crate) fn list<'a>(&'a self, label: &'a str) -> McpList<'a> {
        let of_label = self.tools().filter(|tool| tool.label == label);
        let tools = of_label.map(|Tool { offered, .. }| ListedTool {
            name: &offered.function,
            description: &offered.description,
            input_schema: &offered.parameters,
            annotations: ListedAnnotations {
                read_only_hint: !offered.side_effects,
                idempotent_hint: offered.idempotent || !offered.side_effects,
            },
        });
        McpList { server_label: label, tools: tools.collect(), error: None }
    }
}

/// A call that a person has approved.
#[derive(Debug, Clone)]
pub(crate) struct Approved {
    /// The question.
    pub(crate) id: ItemId,
    /// What is called.
    pub(crate) tool: Rc<Tool>,
    /// The arguments, as they were shown to whoever approved them.
    pub(crate) arguments: String,
}

/// A call of a tool, until it has ended.
#[derive(Debug)]
pub(crate) struct ToolCall {
    /// What is called.
    pub(crate) tool: Rc<Tool>,
    /// The step in which the model asked for it.
    step: u32,
    /// Whether the model has said all of it.
    pub(crate) is_whole: bool,
    /// The question that was answered before.
    approved: Option<ItemId>,
}

impl ToolCall {
    pub(crate) fn new(tool: Rc<Tool>, step: u32) -> Self {
        Self { tool, step, is_whole: false, approved: None }
    }

    /// One that was asked for in another turn.
    pub(crate) fn approved(approved: &Approved) -> Self {
        let Approved { id, tool, .. } = approved;
        Self { tool: Rc::clone(tool), step: 0, is_whole: false, approved: Some(*id) }
    }

    /// Whether a person has to be asked before it is made.
    pub(crate) fn asks(&self) -> bool {
        self.tool.asks && self.approved.is_none()
    }

    /// What clients see it as.
    pub(crate) fn kind(&self) -> ItemKind {
        ItemKind::Hosted(if self.asks() { HostedKind::McpApproval } else { HostedKind::Mcp })
    }

    fn mark(&self) -> OwnMark<'_> {
        OwnMark { name: self.tool.offered.name.as_str().into(), step: self.step }
    }

    /// The item as long as it has not ended; of a question, for good.
    pub(crate) fn shown(&self, arguments: &str) -> serde_json::Result<HostedCall<'static>> {
        if !self.asks() {
            return self.ended(arguments, Outcome::InProgress);
        }
        let Tool { label, offered: Offered { function, .. }, .. } = &*self.tool;
        let question = ApprovalRequest {
            server_label: label.into(),
            name: function.into(),
            arguments: arguments.into(),
            mark: self.mark(),
        };
        question.to_item()
    }

    /// The item with what came of it.
    pub(crate) fn ended(
        &self,
        arguments: &str,
        outcome: Outcome<'_>,
    ) -> serde_json::Result<HostedCall<'static>> {
        let Tool { label, offered: Offered { function, .. }, .. } = &*self.tool;
        let call = McpCall {
            server_label: label,
            name: function,
            arguments,
            outcome,
            approval_request_id: self.approved,
            mark: self.mark(),
        };
        call.to_item()
    }
}

/// A call that waits to be made.
#[derive(Debug)]
pub(crate) struct Pending {
    /// The place of its item in the output.
    pub(crate) at: usize,
    /// What is called.
    pub(crate) tool: Rc<Tool>,
    /// The arguments, as the model wrote them.
    pub(crate) arguments: String,
    /// The question that a person has answered before.
    pub(crate) approved: Option<ItemId>,
}

impl Pending {
    pub(crate) fn new(at: usize, call: &ToolCall, arguments: String) -> Self {
        Self { at, tool: Rc::clone(&call.tool), arguments, approved: call.approved }
    }
}
