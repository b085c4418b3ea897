//! What a turn may use: the functions that were selected, under names by which a model can call them.

use crate::built_in;
use crate::registry::{Snapshot, function};
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use waggle_conversation::hex;
use waggle_openai::error::echo;
use waggle_tool::definition::{Function, Tool};
use waggle_tool::wire::{BUILT_IN_LABEL, Catalog, Offered, Selection};

/// The most selections of a request.
pub(crate) const SELECTIONS_MAX: usize = 128;
/// The most functions that one of them names.
pub(crate) const FUNCTIONS_MAX: usize = 128;
/// The longest name of a function that models take, in bytes.
const NAME_BYTES_MAX: usize = 64;
/// How many hexadecimal digits tell two names apart.
const MARK_DIGITS: usize = 8;

/// What is there of what was selected.
pub(crate) fn catalog(snapshot: &Snapshot, select: &[Selection], functions_max: usize) -> Catalog {
    let mut offering = Offering { functions_max, ..Offering::default() };
    for selection in select {
        offering.select(snapshot, selection);
    }
    Catalog { tools: offering.tools, missing: offering.missing }
}

#[derive(Default)]
struct Offering {
    functions_max: usize,
    tools: Vec<Offered>,
    missing: Vec<String>,
    /// The names that are taken.
    names: HashSet<String>,
    /// The functions that stand there already: a second selection of one adds nothing.
    chosen: HashSet<(String, String)>,
}

impl Offering {
    fn select(&mut self, snapshot: &Snapshot, selection: &Selection) {
        let wanted = selection.functions.as_deref();
        match (&selection.label, &selection.server_url) {
            (_, Some(url)) => match snapshot.server(url) {
                Some(tool) => self.offer_tool(tool, wanted),
                None => self.missing.push(format!("No MCP server at '{}' is registered.", echo(url))),
            },
            (Some(label), None) if label == BUILT_IN_LABEL => self.offer_built_in(wanted),
            (Some(label), None) => match snapshot.tool(label) {
                Some(tool) => self.offer_tool(tool, wanted),
                None => self.missing.push(format!("There is no tool '{}'.", echo(label))),
            },
            (None, None) => self.missing.push("A selection names neither a tool nor a server.".to_owned()),
        }
    }

    fn offer_tool(&mut self, tool: &Tool, wanted: Option<&[String]>) {
        match wanted {
            None => tool.functions.iter().for_each(|function| self.offer(offered(tool, function))),
            Some(names) => {
                for name in names {
                    match function(tool, name) {
                        Some(function) => self.offer(offered(tool, function)),
                        None => self.lacks(&tool.name, name),
                    }
                }
            }
        }
    }

    fn offer_built_in(&mut self, wanted: Option<&[String]>) {
        match wanted {
            None => built_in::all().for_each(|one| self.offer(one.offered())),
            Some(names) => {
                for name in names {
                    match built_in::BuiltIn::of(name) {
                        Some(one) => self.offer(one.offered()),
                        None => self.lacks(BUILT_IN_LABEL, name),
                    }
                }
            }
        }
    }

    fn lacks(&mut self, label: &str, name: &str) {
        self.missing.push(format!("The tool '{label}' has no function '{}'.", echo(name)));
    }

    fn offer(&mut self, mut offered: Offered) {
        if self.tools.len() == self.functions_max {
            let told = format!("More than {} functions are selected.", self.functions_max);
            if self.missing.last() != Some(&told) {
                self.missing.push(told);
            }
            return;
        }
        if !self.chosen.insert((offered.label.clone(), offered.function.clone())) {
            return;
        }
        if offered.name.len() > NAME_BYTES_MAX || self.names.contains(&offered.name) {
            offered.name = marked(&offered);
        }
        self.names.insert(offered.name.clone());
        self.tools.push(offered);
    }
}

/// A name that no other function has, as far as hashes go.
fn marked(offered: &Offered) -> String {
    let digest = Sha256::digest(format!("{}\0{}", offered.label, offered.function));
    let mark = hex(digest.get(..MARK_DIGITS / 2).unwrap_or_default());
    // The names are ASCII: the registry takes no others.
    let beginning: String = offered.name.chars().take(NAME_BYTES_MAX - MARK_DIGITS - 1).collect();
    format!("{beginning}_{mark}")
}

/// What a model calls a function of a tool by, unless that is too long or taken.
pub(crate) fn name_of(label: &str, function: &str) -> String {
    format!("{label}__{function}")
}

fn offered(tool: &Tool, function: &Function) -> Offered {
    let described = Some(&function.description).filter(|text| !text.is_empty()).unwrap_or(&tool.description);
    Offered {
        name: name_of(&tool.name, &function.name),
        label: tool.name.clone(),
        function: function.name.clone(),
        description: described.clone(),
        parameters: function.parameters.clone(),
        side_effects: function.side_effects,
        idempotent: function.idempotent,
        needs_approval: function.needs_approval,
        digest: tool.digest.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{registry, tool_json};
    use proptest::prelude::*;
    use serde_json::json;
    use waggle_tool::wire::OFFERED_MAX;

    fn select(label: &str, functions: Option<&[&str]>) -> Selection {
        let functions = functions.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
        Selection { label: Some(label.to_owned()), server_url: None, functions }
    }

    fn names(catalog: &Catalog) -> Vec<&str> {
        catalog.tools.iter().map(|tool| tool.name.as_str()).collect()
    }

    #[test]
    fn functions_are_offered_in_the_order_of_the_selections() {
        let snapshot =
            registry(&json!([tool_json("crm", &["find", "note"]), tool_json("orders", &["get", "cancel"]),]));
        let select = [select("orders", Some(&["cancel"])), select("crm", None), select("orders", None)];
        let catalog = catalog(&snapshot, &select, OFFERED_MAX);
        assert_eq!(names(&catalog), ["orders__cancel", "crm__find", "crm__note", "orders__get"]);
        assert!(catalog.missing.is_empty(), "{:?}", catalog.missing);
    }

    #[test]
    fn what_is_not_there_is_named() {
        let mut server = tool_json("wiki", &["read"]);
        server["kind"] = json!("mcp");
        server["url"] = json!("https://wiki.example/mcp");
        let snapshot = registry(&json!([server]));
        let url = |url: &str| Selection {
            label: Some("docs".into()),
            server_url: Some(url.into()),
            functions: None,
        };
        let select = [
            url("https://wiki.example/mcp/"),
            url("https://other.example/mcp"),
            select("crm", None),
            select("waggle", Some(&["calculator", "rm"])),
            select("wiki", Some(&["read", "write\u{1b}"])),
            Selection { label: None, server_url: None, functions: None },
        ];
        let catalog = catalog(&snapshot, &select, OFFERED_MAX);
        assert_eq!(names(&catalog), ["wiki__read", "calculator"]);
        assert_eq!(
            catalog.missing,
            [
                "No MCP server at 'https://other.example/mcp' is registered.",
                "There is no tool 'crm'.",
                "The tool 'waggle' has no function 'rm'.",
                "The tool 'wiki' has no function 'write\u{fffd}'.",
                "A selection names neither a tool nor a server.",
            ]
        );
    }

    #[test]
    fn names_that_are_too_long_or_taken_are_told_apart() {
        let long = "f".repeat(48);
        let label = "l".repeat(32);
        let snapshot = registry(&json!([
            tool_json("a", &["b__c"]),
            tool_json("a__b", &["c"]),
            tool_json(&label, &[&long, &long.replacen('f', "g", 1)]),
        ]));
        let select = [select("a", None), select("a__b", None), select(&label, None)];
        let catalog = catalog(&snapshot, &select, OFFERED_MAX);
        let names = names(&catalog);
        assert_eq!(names[0], "a__b__c");
        assert!(names[1].starts_with("a__b__c_") && names[1].len() == 16, "{names:?}");
        assert!(names[2].len() == 64 && names[3].len() == 64 && names[2] != names[3], "{names:?}");
    }

    #[test]
    fn a_turn_has_so_many_functions_and_no_more() {
        let many: Vec<String> = (0..64).map(|number| format!("f{number}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let snapshot =
            registry(&json!([tool_json("a", &many), tool_json("b", &many), tool_json("c", &many)]));
        let select = [select("a", None), select("b", None), select("c", None)];
        let catalog = catalog(&snapshot, &select, OFFERED_MAX);
        assert_eq!(catalog.tools.len(), 128);
        assert_eq!(catalog.missing, ["More than 128 functions are selected."]);
    }

    proptest! {
        #[test]
        fn every_name_is_one_that_models_take_and_no_two_are_the_same(
            tools in prop::collection::btree_map("[a-z][a-z_]{0,31}", prop::collection::btree_set("[a-z_]{1,48}", 1..5), 1..8),
        ) {
            let tools: Vec<_> = tools
                .iter()
                .map(|(name, functions)| tool_json(name, &functions.iter().map(String::as_str).collect::<Vec<_>>()))
                .collect();
            let select: Vec<Selection> =
                tools.iter().map(|tool| select(tool["name"].as_str().unwrap(), None)).collect();
            let catalog = catalog(&registry(&json!(tools)), &select, OFFERED_MAX);
            let names = names(&catalog);
            let distinct: HashSet<_> = names.iter().collect();
            prop_assert_eq!(distinct.len(), names.len());
            for name in names {
                let fits = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
                prop_assert!(fits && (1..=64).contains(&name.len()), "{}", name);
            }
        }
    }
}
