//! `GET /v1/tools`: what the tenant has, without where it leads or how it is called.

use crate::built_in;
use crate::registry::Snapshot;
use crate::service::Service;
use serde::Serialize;
use serde_json::value::RawValue;
use waggle_openai::json;
use waggle_platform::Reply;
use waggle_tool::definition::{Kind, Tool};
use waggle_tool::wire::BUILT_IN_LABEL;

#[derive(Serialize)]
struct List<'a> {
    object: &'static str,
    data: Vec<Listed<'a>>,
    first_id: Option<&'a str>,
    last_id: Option<&'a str>,
    has_more: bool,
}

#[derive(Serialize)]
struct Listed<'a> {
    id: &'a str,
    object: &'static str,
    kind: &'static str,
    description: &'a str,
    version: &'a str,
    functions: Vec<ListedFunction<'a>>,
}

#[derive(Serialize)]
struct ListedFunction<'a> {
    name: &'a str,
    description: String,
    parameters: Box<RawValue>,
    side_effects: bool,
    needs_approval: bool,
}

/// What the built-in ones are together.
fn own<'a>() -> Listed<'a> {
    let functions = built_in::all().map(|one| {
        let offered = one.offered();
        ListedFunction {
            name: one.name(),
            description: offered.description,
            parameters: offered.parameters,
            side_effects: offered.side_effects,
            needs_approval: offered.needs_approval,
        }
    });
    Listed {
        id: BUILT_IN_LABEL,
        object: "tool",
        kind: "built_in",
        description: "What every tenant has.",
        version: built_in::DIGEST,
        functions: functions.collect(),
    }
}

fn listed(tool: &Tool) -> Listed<'_> {
    let functions = tool.functions.iter().map(|function| ListedFunction {
        name: &function.name,
        description: function.description.clone(),
        parameters: function.parameters.clone(),
        side_effects: function.side_effects,
        needs_approval: function.needs_approval,
    });
    Listed {
        id: &tool.name,
        object: "tool",
        kind: match tool.kind {
            Kind::Component => "component",
            Kind::Http { .. } => "http",
            Kind::Mcp { .. } => "mcp",
        },
        description: &tool.description,
        version: &tool.version,
        functions: functions.collect(),
    }
}

impl<S, F, P> Service<S, F, P> {
    pub(crate) fn list(&self, snapshot: &Snapshot) -> Reply {
        let data: Vec<Listed<'_>> =
            std::iter::once(own()).chain(snapshot.tools().iter().map(listed)).collect();
        let list = List {
            object: "list",
            first_id: data.first().map(|one| one.id),
            last_id: data.last().map(|one| one.id),
            has_more: false,
            data,
        };
        let mut out = Vec::with_capacity(8 << 10);
        json::push(&mut out, &list);
        Reply::json(out)
    }
}
