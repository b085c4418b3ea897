//! From a template and arguments to a request. Whatever a model writes into an argument stays in its place: it ends no
//! path segment, adds no field of the query, and no header.

use serde_json::{Map, Value};
use waggle_mcp::FetchRequest;
use waggle_openai::percent;
use waggle_tool::definition::{Function, Place, RequestTemplate};

/// The longest address, in bytes.
const URL_BYTES_MAX: usize = 8 << 10;
/// The longest value of a header field, in bytes.
const FIELD_BYTES_MAX: usize = 4 << 10;
/// Fields that are the transport's, the host's or the host's credentials, and no tool's.
const FORBIDDEN_FIELDS: [&str; 17] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authorization",
    "proxy-authenticate",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-http-method-override",
];
/// Fields that carry credentials: only the host puts those on, and no argument of a model's.
const CREDENTIAL_FIELDS: [&str; 4] = ["authorization", "cookie", "x-api-key", "api-key"];

/// Why there is no request; the text is for the model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TemplateError {
    /// An argument cannot stand where it goes.
    #[error("The argument '{argument}' {reason}.")]
    Argument {
        /// Its name.
        argument: String,
        /// Why.
        reason: &'static str,
    },
    /// The address would be longer than it may be.
    #[error("The arguments make an address of more than {URL_BYTES_MAX} bytes.")]
    TooLong,
    /// The template itself is wrong; the text is for the operator.
    #[error("The tool is not set up as it should be: {0}.")]
    Template(String),
}

fn refused(argument: &str, reason: &'static str) -> TemplateError {
    TemplateError::Argument { argument: argument.to_owned(), reason }
}

/// The request that `function` means with these arguments, which fit its schema. `key` is the call's idempotency key.
///
/// # Errors
/// An argument cannot stand where it goes, or the template is wrong.
pub(crate) fn make(
    base_url: &str,
    function: &Function,
    arguments: &Map<String, Value>,
    key: &str,
    timeout_ms: u64,
) -> Result<FetchRequest, TemplateError> {
    let template = function.request.as_ref();
    let template = template.ok_or_else(|| TemplateError::Template("it has no request".to_owned()))?;
    // What is null is not there.
    let mut left: Map<String, Value> = arguments
        .iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    only_declared(function, &left)?;
    let method = method(&template.method)?;
    let path = path(&template.path, &mut left)?;
    let mut query = String::new();
    let mut headers = headers(template, key)?;
    for placed in &template.arguments {
        let Some(value) = left.remove(&placed.argument) else { continue };
        match placed.r#in {
            Place::Query => add_to_query(&mut query, &placed.name, &value),
            Place::Header => headers.push(header(&placed.argument, &placed.name, &value)?),
        }
    }
    if method == "GET" {
        std::mem::take(&mut left).iter().for_each(|(name, value)| add_to_query(&mut query, name, value));
    }
    let body = body(template, left);
    if body.is_some() && !headers.iter().any(|(name, _)| name == "content-type") {
        headers.push(("content-type".to_owned(), "application/json".to_owned()));
    }
    let mark = match query.is_empty() {
        true => "",
        false if path.contains('?') => "&",
        false => "?",
    };
    let url = format!("{}{path}{mark}{query}", base_url.trim_end_matches('/'));
    if url.len() > URL_BYTES_MAX {
        return Err(TemplateError::TooLong);
    }
    Ok(FetchRequest { method, url, headers, body, timeout_ms })
}

/// What a schema names its properties for is what may be sent: a model invents others, and a server may take them.
fn only_declared(function: &Function, arguments: &Map<String, Value>) -> Result<(), TemplateError> {
    let schema: Value = serde_json::from_str(function.parameters.get()).unwrap_or_default();
    let says_itself = ["additionalProperties", "patternProperties", "$ref", "allOf", "anyOf", "oneOf"]
        .iter()
        .any(|keyword| schema.get(*keyword).is_some());
    let Some(properties) = schema.get("properties").and_then(Value::as_object).filter(|_| !says_itself)
    else {
        return Ok(());
    };
    match arguments.keys().find(|name| !properties.contains_key(*name)) {
        Some(unknown) => Err(refused(unknown, "is none that this tool takes")),
        None => Ok(()),
    }
}

fn method(name: &str) -> Result<&'static str, TemplateError> {
    let known = ["GET", "POST", "PUT", "PATCH", "DELETE"];
    let found = known.into_iter().find(|known| *known == name);
    found.ok_or_else(|| TemplateError::Template(format!("'{name}' is no method that a tool may use")))
}

/// The path, from a slash on, and what of a query the template has.
fn path(template: &str, left: &mut Map<String, Value>) -> Result<String, TemplateError> {
    if !template.starts_with('/') {
        return Err(TemplateError::Template("its path does not begin with a slash".to_owned()));
    }
    let mut path = String::with_capacity(template.len());
    let mut used = Vec::new();
    let mut rest = template;
    while let Some((before, behind)) = rest.split_once('{') {
        let Some((argument, after)) = behind.split_once('}') else {
            return Err(TemplateError::Template("a brace in its path is not closed".to_owned()));
        };
        path.push_str(before);
        let value =
            left.get(argument).ok_or_else(|| refused(argument, "is missing, and stands in the address"))?;
        path.push_str(&segment(argument, value)?);
        used.push(argument);
        rest = after;
    }
    path.push_str(rest);
    used.into_iter().for_each(|argument| drop(left.remove(argument)));
    if path.bytes().any(|byte| !byte.is_ascii_graphic() || byte == b'#') {
        return Err(TemplateError::Template("its path has characters that no address has".to_owned()));
    }
    // Dots of several arguments may meet.
    let mut segments = path.split('?').next().unwrap_or_default().split('/');
    if segments.any(|segment| matches!(segment, "." | "..")) {
        return Err(TemplateError::Argument { argument: "path".to_owned(), reason: "leads to another path" });
    }
    Ok(path)
}

/// A value as a part of a path.
fn segment(argument: &str, value: &Value) -> Result<String, TemplateError> {
    let text = match value {
        Value::Array(items) => {
            let texts = items.iter().map(|item| plain(argument, item)).collect::<Result<Vec<_>, _>>()?;
            texts.join(",")
        }
        value => plain(argument, value)?,
    };
    if text.is_empty() {
        return Err(refused(argument, "is empty, and stands in the address"));
    }
    if text.chars().any(char::is_control) {
        return Err(refused(argument, "has control characters"));
    }
    // A slash is encoded, but servers and those before them decode it, and then follow the dots.
    if text.split(['/', '\\']).any(|segment| matches!(segment, "." | "..")) {
        return Err(refused(argument, "leads to another path"));
    }
    Ok(percent::encode(&text))
}

/// A value that is no list and no object, as text.
fn plain(argument: &str, value: &Value) -> Result<String, TemplateError> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(flag) => Ok(flag.to_string()),
        Value::Null => Ok(String::new()),
        Value::Array(_) | Value::Object(_) => {
            Err(refused(argument, "is a list or an object within another, or in a place for text"))
        }
    }
}

/// An array once for each of its values; what is no text as JSON.
fn add_to_query(query: &mut String, name: &str, value: &Value) {
    let mut add = |value: &Value| {
        let text = match value {
            Value::String(text) => text.clone(),
            value => value.to_string(),
        };
        if !query.is_empty() {
            query.push('&');
        }
        query.push_str(&percent::encode(name));
        query.push('=');
        query.push_str(&percent::encode(&text));
    };
    match value {
        Value::Array(items) => items.iter().for_each(&mut add),
        value => add(value),
    }
}

/// The fields that do not depend on the arguments.
fn headers(template: &RequestTemplate, key: &str) -> Result<Vec<(String, String)>, TemplateError> {
    let mut headers = vec![("accept".to_owned(), "application/json, text/*;q=0.9, */*;q=0.1".to_owned())];
    for (name, value) in &template.headers {
        let name = field_name(name)?;
        if !is_field_value(value) {
            return Err(TemplateError::Template(format!("the value of its field '{name}' cannot be sent")));
        }
        headers.retain(|(known, _)| *known != name);
        headers.push((name, value.clone()));
    }
    if let Some(name) = &template.idempotency_header {
        headers.push((field_name(name)?, key.to_owned()));
    }
    Ok(headers)
}

fn header(argument: &str, name: &str, value: &Value) -> Result<(String, String), TemplateError> {
    let name = field_name(name)?;
    if CREDENTIAL_FIELDS.contains(&name.as_str()) {
        return Err(TemplateError::Template(format!("its field '{name}' is one that only the host puts on")));
    }
    let text = match value {
        Value::Array(items) => {
            items.iter().map(|item| plain(argument, item)).collect::<Result<Vec<_>, _>>()?.join(", ")
        }
        value => plain(argument, value)?,
    };
    if is_field_value(&text) {
        Ok((name, text))
    } else {
        Err(refused(argument, "cannot stand in a header field"))
    }
}

/// A field's name in lower case, if it may be set (RFC 9110, section 5.6.2).
fn field_name(name: &str) -> Result<String, TemplateError> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let lower = name.to_ascii_lowercase();
    let reserved = lower.starts_with("waggle-") || lower.starts_with("spin-") || lower.starts_with("proxy-");
    if lower.is_empty()
        || !lower.bytes().all(is_token)
        || reserved
        || FORBIDDEN_FIELDS.contains(&lower.as_str())
    {
        return Err(TemplateError::Template(format!(
            "'{}' is no header field that a tool may set",
            name.escape_debug()
        )));
    }
    Ok(lower)
}

/// Visible ASCII and single spaces between: nothing that ends a line, and nothing that is read in two ways.
fn is_field_value(value: &str) -> bool {
    let fits = value.bytes().all(|byte| byte.is_ascii_graphic() || matches!(byte, b' ' | b'\t'));
    fits && value.len() <= FIELD_BYTES_MAX && value.trim() == value
}

fn body(template: &RequestTemplate, mut left: Map<String, Value>) -> Option<Vec<u8>> {
    let body = match &template.body {
        Some(argument) => left.remove(argument)?,
        None if left.is_empty() => return None,
        None => Value::Object(left),
    };
    Some(body.to_string().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn function(request: &Value, properties: &Value) -> Function {
        let function = json!({"name": "f", "description": "", "side_effects": true, "needs_approval": false,
            "parameters": {"type": "object", "properties": properties}, "request": request});
        serde_json::from_value(function).unwrap()
    }

    fn made(request: &Value, arguments: &Value) -> Result<FetchRequest, TemplateError> {
        let arguments = arguments.as_object().unwrap();
        let declared: Map<String, Value> = arguments.keys().map(|name| (name.clone(), json!({}))).collect();
        make("https://shop.example/api/", &function(request, &json!(declared)), arguments, "key-1", 1_000)
    }

    fn check(request: &Value, arguments: &Value, url: &str, body: Option<&str>) {
        let made = made(request, arguments).unwrap();
        assert_eq!(made.url, format!("https://shop.example/api{url}"));
        assert_eq!(made.body.map(|body| String::from_utf8(body).unwrap()).as_deref(), body);
    }

    #[test]
    fn each_argument_goes_to_its_place() {
        let get = json!({"method": "GET", "path": "/orders/{id}/lines", "arguments": [
            {"argument": "page", "name": "p", "in": "query"}, {"argument": "tags", "name": "tag[]", "in": "query"}]});
        check(
            &get,
            &json!({"id": "A/7 b", "page": 2, "tags": ["x", "y&z"], "rest": true, "none": null}),
            "/orders/A%2F7%20b/lines?p=2&tag%5B%5D=x&tag%5B%5D=y%26z&rest=true",
            None,
        );
        let post = json!({"method": "POST", "path": "/orders/{id}?v=1", "arguments": [
            {"argument": "q", "name": "q", "in": "query"}]});
        check(
            &post,
            &json!({"id": 7, "reason": "r", "q": "x"}),
            "/orders/7?v=1&q=x",
            Some(r#"{"reason":"r"}"#),
        );
        check(&post, &json!({"id": 7}), "/orders/7?v=1", None);
        let whole = json!({"method": "PUT", "path": "/notes", "body": "note"});
        check(&whole, &json!({"note": [1, 2]}), "/notes", Some("[1,2]"));
        check(&whole, &json!({}), "/notes", None);
    }

    #[test]
    fn fields_are_those_of_the_template_and_the_arguments() {
        let request = json!({"method": "POST", "path": "/x", "headers": [["Accept", "text/csv"], ["X-Shop", "a b"]],
            "idempotency_header": "Idempotency-Key", "arguments": [{"argument": "l", "name": "Accept-Language", "in": "header"}]});
        let made = made(&request, &json!({"l": ["de", "en"], "a": 1})).unwrap();
        let expected = [
            ("accept", "text/csv"),
            ("x-shop", "a b"),
            ("idempotency-key", "key-1"),
            ("accept-language", "de, en"),
            ("content-type", "application/json"),
        ];
        let expected: Vec<_> = expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        assert_eq!(made.headers, expected);
    }

    #[test]
    fn no_argument_leads_elsewhere() {
        let get = json!({"method": "GET", "path": "/orders/{id}", "arguments": [
            {"argument": "h", "name": "x-h", "in": "header"}]});
        for id in [
            json!(".."),
            json!("."),
            json!("a/../../b"),
            json!("..\\b"),
            json!(""),
            json!("a\n"),
            json!({}),
            json!([[1]]),
        ] {
            assert!(matches!(made(&get, &json!({"id": id})), Err(TemplateError::Argument { .. })), "{id}");
        }
        let met = json!({"method": "GET", "path": "/orders/{a}{b}"});
        assert!(made(&met, &json!({"a": ".", "b": "."})).is_err());
        for value in ["a\r\nx: y", "a\0", "é", " a", &"x".repeat(5_000)] {
            assert!(
                matches!(made(&get, &json!({"id": 1, "h": value})), Err(TemplateError::Argument { .. })),
                "{value}"
            );
        }
        assert_eq!(made(&get, &json!({"id": "x".repeat(10_000)})), Err(TemplateError::TooLong));
        assert!(made(&get, &json!({})).unwrap_err().to_string().contains("'id' is missing"));
    }

    #[test]
    fn what_a_schema_does_not_name_is_not_sent() {
        let request = json!({"method": "POST", "path": "/x"});
        let arguments = json!({"a": 1, "admin": true});
        let strict = function(&request, &json!({"a": {}}));
        let made = make("https://x.example", &strict, arguments.as_object().unwrap(), "k", 1);
        assert_eq!(made.unwrap_err().to_string(), "The argument 'admin' is none that this tool takes.");
    }

    #[test]
    fn a_template_sets_no_field_that_is_the_hosts() {
        for name in ["Host", "waggle-tool", "Content-Length", "a b", "", "x\r\n", "Transfer-Encoding"] {
            let request = json!({"method": "GET", "path": "/x", "headers": [[name, "v"]]});
            assert!(matches!(made(&request, &json!({})), Err(TemplateError::Template(_))), "{name}");
        }
        let request = json!({"method": "GET", "path": "/x", "arguments": [{"argument": "a", "name": "Authorization", "in": "header"}]});
        assert!(matches!(made(&request, &json!({"a": "x"})), Err(TemplateError::Template(_))));
        for request in [
            json!({"method": "TRACE", "path": "/x"}),
            json!({"method": "GET", "path": "x"}),
            json!({"method": "GET", "path": "/{x"}),
        ] {
            assert!(matches!(made(&request, &json!({})), Err(TemplateError::Template(_))), "{request}");
        }
    }

    proptest! {
        #[test]
        fn the_address_keeps_its_form_whatever_is_written_into_it(id in any::<String>(), query in any::<String>()) {
            let request = json!({"method": "GET", "path": "/orders/{id}/x", "arguments": [
                {"argument": "q", "name": "q", "in": "query"}]});
            if let Ok(made) = made(&request, &json!({"id": id, "q": query})) {
                let rest = made.url.strip_prefix("https://shop.example/api/orders/").unwrap();
                prop_assert_eq!(rest.matches('/').count(), 1);
                prop_assert_eq!(rest.matches('?').count(), 1);
                prop_assert!(made.url.bytes().all(|byte| byte.is_ascii_graphic()));
            }
        }
    }
}
