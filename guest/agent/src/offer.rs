//! What a model is told of the tools of a turn: functions all of them, whoever runs them.

use crate::budget::Next;
use waggle_openai::parameters::Parameters;
use waggle_openai::tool::{McpChoice, Mode, Tool, ToolChoice};
use waggle_tool::wire::Offered;

/// A tool that this server runs, by the label under which its calls are told: the request's, where it names the tool by
/// its address.
#[derive(Debug, Clone, Copy)]
pub struct Available<'a> {
    /// The label.
    pub server_label: &'a str,
    /// The tool.
    pub offered: &'a Offered,
}

/// The first function of the client's whose name is that of a tool which this server runs: the model could not tell them
/// apart.
pub fn clash<'a>(parameters: &'a Parameters, available: &[Available<'_>]) -> Option<&'a str> {
    let is_taken = |name: &str| available.iter().any(|tool| tool.offered.name == name);
    parameters.tools.iter().map(|tool| tool.name.as_str()).find(|name| is_taken(name))
}

/// The settings of a call of the model: those of the turn, with the tools that this server runs among the functions.
///
/// What has to be chosen has to be chosen in the first step; after that the model is free, or it could never answer. In the
/// last step no tool can be chosen: they are still told, since endpoints refuse calls of functions in the history that they
/// know nothing of.
pub fn for_model(parameters: &Parameters, available: &[Available<'_>], step: u32, next: Next) -> Parameters {
    let mut told = parameters.clone();
    told.tools.extend(available.iter().map(|tool| {
        let Offered { name, description, parameters, .. } = tool.offered;
        Tool::function(name.clone(), Some(description.clone()), Some(parameters.clone()), None)
    }));
    let chosen = parameters.tool_choice.resolved(|choice| names(available, choice));
    told.tool_choice = match next {
        Next::Act if step <= 1 => chosen,
        Next::Act => freed(chosen),
        Next::Answer(_) | Next::Over(_) => ToolChoice::None,
    };
    told
}

fn names(available: &[Available<'_>], choice: &McpChoice) -> Vec<String> {
    let is_meant = |tool: &&Available<'_>| {
        tool.server_label == choice.server_label
            && choice.name.as_ref().is_none_or(|name| *name == tool.offered.function)
    };
    available.iter().filter(is_meant).map(|tool| tool.offered.name.clone()).collect()
}

/// The same choice without the duty to choose.
fn freed(choice: ToolChoice) -> ToolChoice {
    match choice {
        ToolChoice::Required | ToolChoice::Function(_) | ToolChoice::FileSearch | ToolChoice::Mcp(_) => {
            ToolChoice::Auto
        }
        ToolChoice::Allowed { mode: Mode::Required, tools, file_search, mcp } => {
            ToolChoice::Allowed { mode: Mode::Auto, tools, file_search, mcp }
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Stop;
    use serde_json::json;
    use waggle_openai::request::CreateResponse;

    fn offered(label: &str, function: &str) -> Offered {
        let json = json!({"name": format!("{label}__{function}"), "label": label, "function": function,
            "description": "d", "parameters": {"type": "object"}, "side_effects": false, "idempotent": false,
            "needs_approval": false, "digest": "sha256:0"});
        serde_json::from_str(&json.to_string()).unwrap()
    }

    fn parameters(choice: &serde_json::Value) -> Parameters {
        let body = json!({"input": "x", "tool_choice": choice, "tools": [{"type": "mcp", "server_label": "a"},
            {"type": "mcp", "server_label": "wiki", "server_url": "https://b.example"}, {"type": "function", "name": "own"}]});
        CreateResponse::read(body.to_string().as_bytes()).unwrap().parameters
    }

    #[test]
    fn every_tool_is_told_as_a_function_and_chosen_by_its_name() {
        let tools = [offered("a", "x"), offered("a", "y"), offered("b", "z")];
        let available = [("a", &tools[0]), ("a", &tools[1]), ("wiki", &tools[2])]
            .map(|(server_label, offered)| Available { server_label, offered });
        let told = |choice: &serde_json::Value, step, next| {
            let told = for_model(&parameters(choice), &available, step, next);
            let names: Vec<String> = told.tools.iter().map(|tool| tool.name.clone()).collect();
            assert_eq!(names, ["own", "a__x", "a__y", "b__z"]);
            serde_json::to_value(&told.tool_choice).unwrap()
        };
        let function = |name: &str| json!({"type": "function", "name": name});
        let by_label = json!({"type": "mcp", "server_label": "wiki"});
        let act = Next::Act;
        assert_eq!(told(&json!("required"), 1, act), "required");
        assert_eq!(told(&json!("required"), 2, act), "auto");
        assert_eq!(told(&json!("none"), 2, act), "none");
        assert_eq!(told(&by_label, 1, act), function("b__z"));
        assert_eq!(told(&by_label, 2, act), "auto");
        assert_eq!(told(&function("own"), 2, act), "auto");
        assert_eq!(told(&by_label, 1, Next::Answer(Stop::Time)), "none");
        let allowed = json!({"type": "allowed_tools", "mode": "required", "tools": [{"type": "mcp", "server_label": "a"}]});
        let mut expected = json!({"type": "allowed_tools", "mode": "required",
            "tools": [function("a__x"), function("a__y")]});
        assert_eq!(told(&allowed, 1, act), expected);
        expected["mode"] = json!("auto");
        assert_eq!(told(&allowed, 2, act), expected);
    }

    #[test]
    fn a_function_of_the_clients_with_the_name_of_a_tool_is_found() {
        let (tool, other) = (offered("a", "x"), offered("a", "own"));
        let parameters = parameters(&json!("auto"));
        let available = |offered| [Available { server_label: "a", offered }];
        assert_eq!(clash(&parameters, &available(&tool)), None);
        let named = Offered { name: "own".into(), ..other };
        assert_eq!(clash(&parameters, &available(&named)), Some("own"));
    }
}
