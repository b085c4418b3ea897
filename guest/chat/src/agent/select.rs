//! Which tools a turn has: those its request names, or those of the tenant's default.

use super::failure::Asker;
use super::toolbox::{Tool, Toolbox};
use crate::platform::{NeighbourCall, Platform};
use crate::problem::{Problem, internal};
use crate::settings::variable;
use waggle_openai::ApiError;
use waggle_openai::error::echo;
use waggle_openai::json;
use waggle_openai::mcp_tool::McpTool;
use waggle_openai::parameters::Parameters;
use waggle_tool::wire::{CATALOG_PATH, Catalog, CatalogRequest, FUNCTION, OFFERED_MAX, Offered, Selection};

/// The variable with the tools of turns whose request names none: labels, or a label, a dot and a function, by commas.
const TOOLS_VARIABLE: &str = "tools";
/// How long the catalogue may take, in milliseconds.
const TIMEOUT_MS: u64 = 10_000;

/// Which tools are wanted.
#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    /// What the request says of them; empty where they are the tenant's default.
    named: &'a [McpTool],
    select: Vec<Selection>,
}

fn functions_of(selection: &Selection, function: &str) -> bool {
    selection.functions.as_ref().is_none_or(|functions| functions.iter().any(|known| known == function))
}

impl<'a> Wanted<'a> {
    /// Those of a turn, with those that a person was asked about before, as label and function; `None` where it has none,
    /// as most have. `of_intent` are those it gets because of what it is about, unless its request names tools: then
    /// these are all it is to have.
    ///
    /// # Errors
    /// The variable cannot be read, or is no list of names; the log says what is wrong with it.
    pub(crate) async fn of<P: Platform>(
        platform: &P,
        parameters: &'a Parameters,
        decided: impl Iterator<Item = (&str, &str)>,
        of_intent: &[String],
    ) -> Result<Option<Self>, Problem> {
        let named = parameters.mcp.as_slice();
        let mut select = if named.is_empty() {
            let mut text = variable(platform, TOOLS_VARIABLE).await?.unwrap_or_default();
            for name in of_intent {
                text.push(',');
                text.push_str(name);
            }
            list(&text).map_err(|reason| {
                internal(format!("the variable '{TOOLS_VARIABLE}' cannot be used: {reason}"))
            })?
        } else {
            named.iter().map(selection).collect()
        };
        for (label, function) in decided {
            let has =
                |known: &Selection| known.label.as_deref() == Some(label) && functions_of(known, function);
            if !select.iter().any(has) {
                add(&mut select, label, Some(function));
            }
        }
        Ok((!select.is_empty()).then_some(Self { named, select }))
    }

    /// Asks for them.
    ///
    /// # Errors
    /// 400: what the request names is not there, or a function of its own has the name of one; the tools function does not
    /// answer.
    pub(crate) async fn read<P: Platform>(
        self,
        platform: &P,
        parameters: &Parameters,
    ) -> Result<Toolbox, Problem> {
        let asker = if self.named.is_empty() { Asker::Tenant } else { Asker::Request };
        let mut body = Vec::with_capacity(512);
        let Self { named, select } = self;
        json::push(&mut body, &CatalogRequest { select });
        let call = NeighbourCall::post(FUNCTION, CATALOG_PATH, body, TIMEOUT_MS);
        let answer = platform.call_neighbour(call).await.map_err(|failure| asker.unanswered(&failure))?;
        if answer.status != 200 {
            return Err(asker.refused(&answer));
        }
        let catalog: Catalog =
            serde_json::from_slice(&answer.body).map_err(|error| asker.unreadable(&error, &answer.body))?;
        check_missing(platform, asker, &catalog.missing)?;
        let mut tools = Vec::with_capacity(catalog.tools.len().min(OFFERED_MAX));
        for offered in catalog.tools.into_iter().take(OFFERED_MAX) {
            let is_taken = parameters.tools.iter().any(|function| function.name == offered.name);
            match asker {
                Asker::Request if is_taken => return Err(clash(&offered.name).into()),
                // Who sent the request does not know of the tenant's tools: theirs is the one that is meant.
                Asker::Tenant if is_taken => {}
                _ => tools.extend(tool(named, offered)),
            }
        }
        Ok(Toolbox::new(tools, &parameters.tools))
    }
}

/// What is missing is told to whoever named it.
fn check_missing<P: Platform>(platform: &P, asker: Asker, missing: &[String]) -> Result<(), Problem> {
    if missing.is_empty() {
        return Ok(());
    }
    let told = missing.join(" ");
    match asker {
        Asker::Request => Err(ApiError::invalid_param("tools", "tool_not_found", told).into()),
        Asker::Tenant => {
            platform.log(&format!(
                "the variable '{TOOLS_VARIABLE}', or an intent, names what is not there: {told}"
            ));
            Ok(())
        }
    }
}

fn clash(name: &str) -> ApiError {
    let message = format!(
        "'tools' has a function '{}', which is also what a tool of type 'mcp' is called. Rename the function, or leave the \
         tool out by 'allowed_tools'.",
        echo(name)
    );
    ApiError::invalid_param("tools", "invalid_value", message)
}

/// The tool as the request wants it, if it does. Whoever asks may want to be asked more often, never less.
fn tool(named: &[McpTool], offered: Offered) -> Option<Tool> {
    let read_only = !offered.side_effects;
    let by_label = named.iter().find(|tool| tool.server_label == offered.label);
    let mut by_url = named.iter().filter(|tool| tool.server_url.is_some());
    let wish = by_label.or_else(|| by_url.find(|tool| tool.allows(&offered.function, read_only)));
    let (asks, label) = match wish {
        Some(wish) if !wish.allows(&offered.function, read_only) => return None,
        Some(wish) => (wish.asks_approval(&offered.function, read_only), wish.server_label.clone()),
        None => (false, offered.label.clone()),
    };
    Some(Tool { asks: asks || offered.needs_approval, label, offered, is_known: true })
}

/// By its address where the request gives one, as OpenAI's clients do: its label is of their choosing then.
fn selection(tool: &McpTool) -> Selection {
    let McpTool { server_label, server_url, allowed_tools, .. } = tool;
    Selection {
        label: server_url.is_none().then(|| server_label.clone()),
        server_url: server_url.clone(),
        functions: allowed_tools.as_ref().and_then(|allowed| allowed.names()).map(<[String]>::to_vec),
    }
}

fn add(select: &mut Vec<Selection>, label: &str, function: Option<&str>) {
    let known = select.iter_mut().find(|known| known.label.as_deref() == Some(label));
    match (known, function) {
        (Some(known), None) => known.functions = None,
        (Some(known), Some(function)) => {
            if let Some(functions) = &mut known.functions {
                functions.push(function.to_owned());
            }
        }
        (None, function) => select.push(Selection {
            label: Some(label.to_owned()),
            server_url: None,
            functions: function.map(|function| vec![function.to_owned()]),
        }),
    }
}

/// Reads names that are separated by commas.
fn list(text: &str) -> Result<Vec<Selection>, String> {
    let names: Vec<&str> = text.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    if names.len() > OFFERED_MAX {
        return Err(format!("it has {} names; a turn has at most {OFFERED_MAX} tools", names.len()));
    }
    let mut select = Vec::new();
    for name in names {
        let (label, function) =
            name.split_once('.').map_or((name, None), |(label, rest)| (label, Some(rest)));
        let is_name = |text: &str| {
            !text.is_empty()
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
        };
        if !is_name(label) || function.is_some_and(|function| !is_name(function)) {
            return Err(format!("'{}' is neither LABEL nor LABEL.FUNCTION", echo(name)));
        }
        add(&mut select, label, function);
    }
    Ok(select)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(&str, Option<&[&str]>)]) {
        let select = list(text).unwrap();
        let read: Vec<_> = select
            .iter()
            .map(|one| {
                let functions = one.functions.as_ref();
                (one.label.as_deref().unwrap(), functions.map(|all| all.iter().map(String::as_str).collect()))
            })
            .collect();
        let expected: Vec<(&str, Option<Vec<&str>>)> =
            expected.iter().map(|(label, functions)| (*label, functions.map(<[_]>::to_vec))).collect();
        assert_eq!(read, expected, "{text}");
    }

    #[test]
    fn the_tenants_tools_are_labels_or_functions_of_them() {
        check("", &[]);
        check(" , ,", &[]);
        check("shop", &[("shop", None)]);
        check(" shop , waggle.calculator,", &[("shop", None), ("waggle", Some(&["calculator"]))]);
        check("shop.find,shop.cancel", &[("shop", Some(&["find", "cancel"]))]);
        check("shop.find,shop", &[("shop", None)]);
        check("shop,shop.find", &[("shop", None)]);
        for wrong in [".", "shop.", ".find", "shop.find.all", "sh op", "é", &"a,".repeat(129)] {
            assert!(list(wrong).is_err(), "{wrong}");
        }
    }
}
