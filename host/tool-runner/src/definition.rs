//! What a tool says it can do, held to what `waggle:tool` promises.

use crate::bindings::tool::Definition;
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::HashSet;

/// Functions of one tool.
pub const FUNCTIONS_MAX: usize = 64;
/// Characters of a function's name.
pub const NAME_CHARS_MAX: usize = 48;
/// Bytes of a function's description.
pub const DESCRIPTION_BYTES_MAX: usize = 4_096;
/// Bytes of one schema.
pub const SCHEMA_BYTES_MAX: usize = 32 << 10;

/// One thing a tool can do.
#[derive(Clone, Debug)]
pub struct FunctionDescription {
    /// `^[a-zA-Z0-9_-]{1,48}$`, unique in the tool.
    pub name: String,
    /// For the model.
    pub description: String,
    /// The JSON Schema of its arguments, an object.
    pub parameters: Box<RawValue>,
    /// The JSON Schema of what it gives, if that is JSON.
    pub output: Option<Box<RawValue>>,
    /// Whether a call may change something outside.
    pub side_effects: bool,
    /// Whether the same call under the same idempotency key, made twice, does no more than made once.
    pub idempotent: bool,
    /// Whether it asks that a person approves each call.
    pub needs_approval: bool,
}

/// Whether a function may be called so.
pub(crate) fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    (1..=NAME_CHARS_MAX).contains(&name.len()) && name.bytes().all(allowed)
}

/// What a component described, if it is as it should be.
///
/// # Errors
/// What is wrong, as the end of a sentence that begins with "the component describes".
pub(crate) fn checked(definitions: Vec<Definition>) -> Result<Vec<FunctionDescription>, String> {
    if definitions.is_empty() {
        return Err("nothing that it can do".into());
    }
    if definitions.len() > FUNCTIONS_MAX {
        return Err(format!("{} functions; at most {FUNCTIONS_MAX} are allowed", definitions.len()));
    }
    let mut names = HashSet::new();
    for definition in &definitions {
        if !is_name(&definition.name) {
            return Err(format!(
                "a function named {:?}; names have 1 to {NAME_CHARS_MAX} characters of a-z, A-Z, 0-9, `_` and `-`",
                crate::failure::cut(definition.name.clone(), 100)
            ));
        }
        if !names.insert(definition.name.as_str()) {
            return Err(format!("two functions named `{}`", definition.name));
        }
    }
    definitions.into_iter().map(one).collect()
}

fn one(definition: Definition) -> Result<FunctionDescription, String> {
    let Definition { name, description, parameters, output, side_effects, idempotent, needs_approval } =
        definition;
    if description.trim().is_empty() || description.len() > DESCRIPTION_BYTES_MAX {
        return Err(format!(
            "the function `{name}` in {} bytes; a description has 1 to {DESCRIPTION_BYTES_MAX}",
            description.len()
        ));
    }
    let schema = |text: String, what: &str| {
        schema(text).map_err(|wrong| format!("the function `{name}`, whose {what} {wrong}"))
    };
    let parameters = schema(parameters, "`parameters`")?;
    if !is_of_objects(&parameters) {
        return Err(format!(
            "the function `{name}`, whose `parameters` is no schema of an object; expected \"type\": \"object\""
        ));
    }
    let output = output.map(|text| schema(text, "`output`")).transpose()?;
    Ok(FunctionDescription {
        name,
        description,
        parameters,
        output,
        side_effects,
        idempotent,
        needs_approval,
    })
}

fn schema(text: String) -> Result<Box<RawValue>, String> {
    if text.len() > SCHEMA_BYTES_MAX {
        return Err(format!("has {} bytes; at most {SCHEMA_BYTES_MAX} are allowed", text.len()));
    }
    // `RawValue` looks at the syntax only, and does not mind how deep it nests.
    match serde_json::from_str::<Value>(&text) {
        Ok(Value::Object(_)) => RawValue::from_string(text).map_err(|error| format!("is not JSON: {error}")),
        Ok(_) => Err("is not a JSON object".into()),
        Err(error) => Err(format!("is not JSON: {error}")),
    }
}

fn is_of_objects(schema: &RawValue) -> bool {
    let schema = serde_json::from_str::<Value>(schema.get()).unwrap_or_default();
    schema.get("type").and_then(Value::as_str) == Some("object")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition() -> Definition {
        Definition {
            name: "find_order".into(),
            description: "Finds an order.".into(),
            parameters: r#"{"type":"object"}"#.into(),
            output: None,
            side_effects: false,
            idempotent: true,
            needs_approval: false,
        }
    }

    #[test]
    fn a_definition_within_the_bounds_is_kept_as_it_is() {
        let output = Some(r#"{ "type": "string" }"#.to_owned());
        let kept = checked(vec![Definition { output, ..definition() }]).unwrap();
        assert_eq!(kept[0].name, "find_order");
        assert_eq!(kept[0].output.as_ref().unwrap().get(), r#"{ "type": "string" }"#);
        assert!(kept[0].idempotent);
    }

    #[test]
    fn what_is_wrong_with_a_definition_is_said() {
        let check = |change: &dyn Fn(&mut Definition), expected: &str| {
            let mut definition = definition();
            change(&mut definition);
            let error = checked(vec![definition]).unwrap_err();
            assert!(error.contains(expected), "{error}");
        };
        check(&|it| it.name = String::new(), "named \"\"");
        check(&|it| it.name = "with space".into(), "named \"with space\"");
        check(&|it| it.name = "x".repeat(49), "1 to 48 characters");
        check(&|it| it.description = " ".into(), "1 to 4096");
        check(&|it| it.description = "x".repeat(4_097), "in 4097 bytes");
        check(&|it| it.parameters = "{".into(), "`parameters` is not JSON");
        check(&|it| it.parameters = "[]".into(), "`parameters` is not a JSON object");
        check(&|it| it.parameters = "{}".into(), "expected \"type\": \"object\"");
        check(&|it| it.parameters = format!("{}1{}", "[".repeat(200), "]".repeat(200)), "recursion limit");
        check(&|it| it.output = Some("true".into()), "`output` is not a JSON object");
        check(
            &|it| it.output = Some(format!("{{\"title\":\"{}\"}}", "x".repeat(SCHEMA_BYTES_MAX))),
            "at most 32768",
        );
    }

    #[test]
    fn there_are_1_to_64_functions_with_names_of_their_own() {
        assert!(checked(Vec::new()).unwrap_err().contains("nothing"));
        assert!(checked(vec![definition(); 2]).unwrap_err().contains("two functions named `find_order`"));
        let numbered = |count: usize| {
            (0..count).map(|number| Definition { name: format!("f{number}"), ..definition() }).collect()
        };
        assert_eq!(checked(numbered(64)).unwrap().len(), 64);
        assert!(checked(numbered(65)).unwrap_err().contains("at most 64"));
    }
}
