//! Items as a text for whoever summarises them.

use std::fmt::Write as _;
use waggle_openai::item::{HostedCall, HostedKind, Item, Part, Role, ToolOutput};

/// How much of one item is shown, and of all, in characters and in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) item_characters_max: usize,
    pub(super) bytes_max: usize,
}

/// What was said, a paragraph for each item that says anything; what is longer than its bounds is cut.
///
/// # Errors
/// An item cannot be read.
pub(super) fn transcript<'a>(
    items: impl Iterator<Item = &'a str>,
    bounds: Bounds,
) -> serde_json::Result<String> {
    let mut out = String::new();
    for item in items {
        if out.len() >= bounds.bytes_max {
            break;
        }
        let item: Item<'_> = serde_json::from_str(item)?;
        let Some(said) = said(&item) else { continue };
        let shown = match said.char_indices().nth(bounds.item_characters_max) {
            Some((end, _)) => said.get(..end).unwrap_or_default(),
            None => &said,
        };
        let cut = if shown.len() < said.len() { " […]" } else { "" };
        let separator = if out.is_empty() { "" } else { "\n\n" };
        // Writing to a string does not fail.
        let _infallible = write!(out, "{separator}{shown}{cut}");
    }
    out.truncate(out.floor_char_boundary(bounds.bytes_max));
    Ok(out)
}

fn said(item: &Item<'_>) -> Option<String> {
    Some(match item {
        Item::Message { role, parts, .. } => format!("{}: {}", name(*role), words(parts)),
        Item::FunctionCall { name, arguments, .. } => format!("Tool call: {name}({arguments})"),
        Item::FunctionCallOutput { output: ToolOutput::Text(text), .. } => format!("Tool result: {text}"),
        Item::FunctionCallOutput { output: ToolOutput::Parts(parts), .. } => {
            format!("Tool result: {}", words(parts))
        }
        // What was looked up, the answer says.
        Item::Hosted(call) if call.is_unseen() => return None,
        Item::Hosted(call) if call.is_own() || call.kind() == HostedKind::McpApprovalResponse => {
            done_by_tools(call)
        }
        Item::Hosted(call) => {
            format!("Tool of the model's service: {} {}", call.kind().name(), call.members())
        }
        Item::Fallback { .. } | Item::Reasoning { .. } | Item::Compaction { .. } => return None,
    })
}

/// What this server did by a tool of the tenant's, or was told about it.
fn done_by_tools(call: &HostedCall<'_>) -> String {
    let text = |member: &str| call.text(member).unwrap_or_default();
    let called = || format!("{}({})", text("name"), text("arguments"));
    match call.kind() {
        HostedKind::McpApproval => format!("Asked for approval of: {}", called()),
        HostedKind::McpApprovalResponse if call.members().contains("\"approve\":true") => {
            "The user approved the call.".to_owned()
        }
        HostedKind::McpApprovalResponse => format!("The user refused the call: {}", text("reason")),
        _ => match call.text("output") {
            Some(output) => format!("Tool call: {}\n\nTool result: {output}", called()),
            None => format!("Tool call that failed: {}", called()),
        },
    }
}

fn name(role: Role) -> &'static str {
    match role {
        Role::User => "User",
        Role::Assistant => "Assistant",
        Role::System | Role::Developer => "Application",
    }
}

fn words(parts: &[Part<'_>]) -> String {
    let mut words = String::new();
    for part in parts {
        match part {
            Part::Text(text) => words.push_str(&text.text),
            Part::Refusal(text) => words.push_str(text),
            Part::Image { .. } => words.push_str("[image]"),
            Part::File { filename, .. } => {
                let _infallible = write!(words, "[file {}]", filename.as_deref().unwrap_or_default());
            }
            Part::FileUrl { filename, url } => {
                let _infallible = write!(words, "[file {}]", filename.as_deref().unwrap_or(url));
            }
            Part::Reasoning(_) | Part::Summary(_) => {}
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(items: &[&str], item_characters_max: usize, bytes_max: usize, expected: &str) {
        let bounds = Bounds { item_characters_max, bytes_max };
        assert_eq!(transcript(items.iter().copied(), bounds).unwrap(), expected);
    }

    #[test]
    fn what_was_said_is_told_with_who_said_it_and_within_its_bounds() {
        let items = [
            r#"{"role":"user","content":[{"type":"input_text","text":"Look: "},{"type":"input_image","image_url":"data:,"},
                {"type":"input_file","filename":"a.pdf","file_data":"AA=="}]}"#,
            r#"{"type":"reasoning","summary":[{"type":"summary_text","text":"hm"}]}"#,
            r#"{"role":"assistant","content":"busy","waggle_fallback":true}"#,
            r#"{"type":"function_call","call_id":"c","name":"f","arguments":"{}"}"#,
            r#"{"type":"function_call_output","call_id":"c","output":"ü"}"#,
            r#"{"type":"file_search_call","status":"completed","queries":["q"],"results":[{"text":"long"}]}"#,
            r#"{"role":"assistant","content":"Four"}"#,
        ];
        let own = [
            r#"{"type":"mcp_list_tools","server_label":"s","tools":[],"waggle":{"name":"s"}}"#,
            r#"{"type":"mcp_call","name":"f","arguments":"{}","server_label":"s","output":"o","waggle":{"name":"s__f"}}"#,
            r#"{"type":"mcp_call","name":"f","arguments":"{}","server_label":"s","error":"e","waggle":{"name":"s__f"}}"#,
            r#"{"type":"mcp_approval_request","name":"f","arguments":"{}","server_label":"s","waggle":{"name":"s__f"}}"#,
            r#"{"type":"mcp_approval_response","approval_request_id":"mcpr_000000000000000000000000001","approve":false,"reason":"no"}"#,
        ];
        let told = "Tool call: f({})\n\nTool result: o\n\nTool call that failed: f({})\n\nAsked for approval of: f({})\n\n\
            The user refused the call: no";
        check(&own, 100, 1000, told);
        let whole =
            "User: Look: [image][file a.pdf]\n\nTool call: f({})\n\nTool result: ü\n\nAssistant: Four";
        check(&items, 100, 1000, whole);
        check(&items[4..5], 14, 1000, "Tool result: ü");
        check(&items[4..5], 13, 1000, "Tool result:  […]");
        check(&items[4..5], 100, 14, "Tool result: ");
        check(&items, 100, 6, "User: ");
        check(&[], 1, 1, "");
    }
}
