//! Operations of an OpenAPI 3.0 or 3.1 document as functions.

use super::parameters::Arguments;
use super::reference::References;
use super::{ImportError, Imported, Wanted, description, function_name, listed};
use crate::check::FUNCTIONS_MAX;
use crate::{Function, RequestTemplate};
use serde_json::{Map, Value};

/// Methods that become functions.
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];
/// By which a document says which field takes an idempotency key: of an operation, its path, or the whole.
const IDEMPOTENCY_EXTENSION: &str = "x-idempotency-header";

/// One operation of a document.
struct Operation<'d> {
    method: &'static str,
    path: &'d str,
    /// What is said at the path, for all its operations.
    item: &'d Value,
    value: &'d Value,
}

impl Operation<'_> {
    fn id(&self) -> Option<&str> {
        self.value["operationId"].as_str()
    }

    /// `GET /orders/{id}`
    fn line(&self) -> String {
        format!("{} {}", self.method.to_ascii_uppercase(), self.path)
    }

    /// What it is best known by.
    fn name(&self) -> String {
        self.id().map_or_else(|| self.line(), str::to_owned)
    }

    fn is(&self, asked: &str) -> bool {
        let same_line = || {
            let (method, path) = asked.split_once(' ').unwrap_or_default();
            method.eq_ignore_ascii_case(self.method) && path.trim() == self.path
        };
        self.id() == Some(asked) || same_line()
    }

    fn wrong(&self, reason: impl Into<String>) -> ImportError {
        ImportError::Operation { operation: self.name(), reason: reason.into() }
    }
}

pub(super) fn import(document: &Value, wanted: &Wanted) -> Result<Imported, ImportError> {
    check_version(document)?;
    let mut references = References::new(document);
    let all = operations(document, &references)?;
    let chosen = choose(&all, wanted)?;
    let base_url = base_url(document, &chosen, wanted)?;
    let mut notes = Vec::new();
    let mut functions: Vec<Function> = Vec::new();
    for operation in &chosen {
        let mut function = function(document, operation, &mut references, &mut notes)?;
        function.name = unique(&function.name, &functions);
        functions.push(function);
    }
    notes.extend(security(document, &chosen, &references, &base_url)?);
    let info = &document["info"];
    Ok(Imported {
        title: description(info["title"].as_str().unwrap_or_default()),
        version: info["version"].as_str().unwrap_or_default().chars().take(32).collect(),
        base_url,
        functions,
        notes,
    })
}

fn check_version(document: &Value) -> Result<(), ImportError> {
    match document["openapi"].as_str() {
        Some(version) if version.starts_with("3.0.") || version == "3.0" => Ok(()),
        Some(version) if version.starts_with("3.1.") || version == "3.1" => Ok(()),
        Some(version) => Err(ImportError::Version(format!("it says `openapi: {version}`"))),
        None if document.get("swagger").is_some() => {
            Err(ImportError::Version("it is a Swagger 2.0; convert it to OpenAPI 3 first".to_owned()))
        }
        None => Err(ImportError::Version("it has no field `openapi`".to_owned())),
    }
}

fn operations<'d>(
    document: &'d Value,
    references: &References<'d>,
) -> Result<Vec<Operation<'d>>, ImportError> {
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().into_iter().flatten() {
        let item = references.resolve(item)?;
        for method in METHODS {
            if let Some(value) = item.get(method).filter(|value| value.is_object()) {
                all.push(Operation { method, path, item, value });
            }
        }
    }
    Ok(all)
}

fn choose<'o, 'd>(all: &'o [Operation<'d>], wanted: &Wanted) -> Result<Vec<&'o Operation<'d>>, ImportError> {
    let known = || listed(all.iter().map(Operation::name));
    let chosen: Vec<&Operation<'d>> = if wanted.operations.is_empty() {
        all.iter().collect()
    } else {
        let find = |asked: &String| {
            let found = all.iter().find(|operation| operation.is(asked));
            found.ok_or_else(|| ImportError::NoOperation { asked: asked.clone(), known: known() })
        };
        wanted.operations.iter().map(find).collect::<Result<_, _>>()?
    };
    match chosen.len() {
        0 => Err(ImportError::Version("it has no operations (`paths` is empty)".to_owned())),
        count if count > FUNCTIONS_MAX => {
            Err(ImportError::TooMany { count, most: FUNCTIONS_MAX, known: known() })
        }
        _ => Ok(chosen),
    }
}

/// Where the server of all chosen operations is.
fn base_url(document: &Value, chosen: &[&Operation<'_>], wanted: &Wanted) -> Result<String, ImportError> {
    if let Some(given) = &wanted.base_url {
        return Ok(given.trim_end_matches('/').to_owned());
    }
    let mut found: Option<String> = None;
    for operation in chosen {
        let lists = [&operation.value["servers"], &operation.item["servers"], &document["servers"]];
        let server = lists.into_iter().find_map(|list| list.as_array()?.first());
        let server = server
            .ok_or_else(|| ImportError::Server("the document does not say it (`servers`)".to_owned()))?;
        let url = with_variables(server).trim_end_matches('/').to_owned();
        if crate::Origin::of_url(&url).is_err() {
            return Err(ImportError::Server(format!("the document's server `{url}` is no whole address")));
        }
        match &found {
            Some(before) if *before != url => {
                return Err(ImportError::Server(format!(
                    "the operations are at different servers, `{before}` and `{url}`; a tool is at one: import them as two, \
                     or"
                )));
            }
            _ => found = Some(url),
        }
    }
    found.ok_or_else(|| ImportError::Server("the document does not say it (`servers`)".to_owned()))
}

/// A server's address with the defaults of its variables.
fn with_variables(server: &Value) -> String {
    let mut url = server["url"].as_str().unwrap_or_default().to_owned();
    for (name, variable) in server["variables"].as_object().into_iter().flatten() {
        url = url.replace(&format!("{{{name}}}"), variable["default"].as_str().unwrap_or_default());
    }
    url
}

fn function<'d>(
    document: &'d Value,
    operation: &Operation<'d>,
    references: &mut References<'d>,
    notes: &mut Vec<String>,
) -> Result<Function, ImportError> {
    let mut arguments = Arguments::new(operation.path);
    for parameter in parameters(operation, references)? {
        if let Err(reason) = arguments.parameter(parameter, references)? {
            left_out(operation, parameter, &reason, notes)?;
        }
    }
    if let Some(body) = operation.value.get("requestBody") {
        let body = references.resolve(body)?;
        let is_required = body["required"].as_bool().unwrap_or(false);
        match json_content(body) {
            Some(schema) => arguments.body(schema, is_required, references)?,
            None if is_required => {
                return Err(operation.wrong("its body is not `application/json`, and no other can be sent"));
            }
            None => notes.push(format!("{}: its body, which is not JSON, is left out", operation.name())),
        }
    }
    let missing = arguments.missing();
    if !missing.is_empty() {
        return Err(operation
            .wrong(format!("the path has {}, which no parameter describes", listed(missing.into_iter()))));
    }
    let side_effects = operation.method != "get";
    let extension = [operation.value, operation.item, document];
    let idempotency_header = extension
        .into_iter()
        .find_map(|place| place[IDEMPOTENCY_EXTENSION].as_str())
        .filter(|_| side_effects);
    let (path, placed, body, parameters) = arguments.finish();
    Ok(Function {
        name: function_name(&operation.name()),
        description: told(operation.value),
        parameters,
        output: None,
        side_effects,
        idempotent: idempotency_header.is_some(),
        needs_approval: side_effects,
        request: Some(RequestTemplate {
            method: operation.method.to_ascii_uppercase(),
            path,
            arguments: placed,
            body,
            headers: Vec::new(),
            idempotency_header: idempotency_header.map(str::to_owned),
        }),
        remote_name: None,
    })
}

/// A parameter that cannot be given is left out, if the server can do without.
fn left_out(
    operation: &Operation<'_>,
    parameter: &Value,
    reason: &str,
    notes: &mut Vec<String>,
) -> Result<(), ImportError> {
    let name = parameter["name"].as_str().unwrap_or_default();
    if parameter["required"].as_bool().unwrap_or(false) {
        return Err(operation.wrong(format!("its parameter `{name}` {reason}, and it is required")));
    }
    notes.push(format!("{}: its parameter `{name}` {reason}; it is left out", operation.name()));
    Ok(())
}

/// Those of the path and those of the operation, which go before.
fn parameters<'d>(
    operation: &Operation<'d>,
    references: &References<'d>,
) -> Result<Vec<&'d Value>, ImportError> {
    let mut all: Vec<&Value> = Vec::new();
    for list in [&operation.item["parameters"], &operation.value["parameters"]] {
        for parameter in list.as_array().into_iter().flatten() {
            let parameter = references.resolve(parameter)?;
            all.retain(|before| before["name"] != parameter["name"] || before["in"] != parameter["in"]);
            all.push(parameter);
        }
    }
    Ok(all)
}

/// The schema of a body that is JSON.
fn json_content(body: &Value) -> Option<&Value> {
    let content = body["content"].as_object()?;
    let essence = |kind: &str| kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_json = |kind: &str| essence(kind) == "application/json" || essence(kind).ends_with("+json");
    let found = content.iter().find(|(kind, _)| is_json(kind)).map(|(_, media)| media)?;
    Some(found.get("schema").unwrap_or(&Value::Bool(true)))
}

/// What a model is told of an operation.
fn told(operation: &Value) -> String {
    let (summary, text) = (operation["summary"].as_str(), operation["description"].as_str());
    description(&match (summary, text) {
        (Some(summary), Some(text)) if summary != text => format!("{summary}\n{text}"),
        (Some(one), _) | (None, Some(one)) => one.to_owned(),
        (None, None) => String::new(),
    })
}

/// The same name, or with a number behind it that no function before has.
fn unique(name: &str, before: &[Function]) -> String {
    let is_taken = |name: &str| before.iter().any(|function| function.name == name);
    if !is_taken(name) {
        return name.to_owned();
    }
    let mut stem = name.to_owned();
    stem.truncate(crate::check::FUNCTION_NAME_BYTES_MAX - 3);
    // There are fewer functions than numbers.
    (2..100).map(|number| format!("{stem}_{number}")).find(|name| !is_taken(name)).unwrap_or(stem)
}

/// Which credentials the operations want. They are told, not guessed: which secret it is only the tenant knows.
fn security<'d>(
    document: &'d Value,
    chosen: &[&Operation<'d>],
    references: &References<'d>,
    base_url: &str,
) -> Result<Vec<String>, ImportError> {
    let origin = crate::Origin::of_url(base_url).map(|origin| origin.to_string()).unwrap_or_default();
    let schemes = &document["components"]["securitySchemes"];
    let mut notes = Vec::new();
    for operation in chosen {
        let wanted = operation.value.get("security").unwrap_or(&document["security"]);
        for name in wanted.as_array().into_iter().flatten().filter_map(Value::as_object).flat_map(Map::keys) {
            let Some(scheme) = schemes.get(name) else { continue };
            let scheme = references.resolve(scheme)?;
            let note = format!("`{name}`: {}", credential(scheme, &origin));
            if !notes.contains(&note) {
                notes.push(note);
            }
        }
    }
    Ok(notes)
}

fn credential(scheme: &Value, origin: &str) -> String {
    let grant = format!("make a secret of the tenant for {origin} and grant it with --grant-secret NAME");
    match (scheme["type"].as_str(), scheme["in"].as_str(), scheme["scheme"].as_str()) {
        (Some("apiKey"), Some("header"), _) => {
            let header = scheme["name"].as_str().unwrap_or_default();
            format!(
                "the server wants a key in the field `{header}`; {grant} (header = \"{header}\", prefix = \"\")"
            )
        }
        (Some("apiKey"), place, _) => {
            let place = place.unwrap_or("elsewhere");
            format!(
                "the server wants a key in the {place}, where the host puts none; ask for one in a header field"
            )
        }
        (Some("http"), _, Some(kind)) if kind.eq_ignore_ascii_case("basic") => {
            format!("the server wants `authorization: Basic …`; {grant} (prefix = \"Basic \")")
        }
        _ => format!("the server wants `authorization: Bearer …`; {grant}"),
    }
}
