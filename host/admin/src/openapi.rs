//! The OpenAPI 3.1 document: paths out of [`ROUTES`], shapes out of the types in [`crate::shape`].

use crate::host::{BudgetUse, ErasureReport, StoreErasure, Usage};
use crate::problem::{self, Details, Mistake};
use crate::route::{BASE, JSON, ROUTES, Route};
use crate::shape;
use crate::tool_shape as tool;
use serde_json::{Map, Value, json};
use std::sync::LazyLock;
use utoipa::OpenApi;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{AdditionalProperties, ObjectBuilder, Schema, SchemaType, Type};

/// The bounds of [`waggle_tenancy::Limits`], which knows nothing of documents; a test compares the two.
const LIMITS: [(&str, u64, u64, &str); 19] = [
    ("requests_per_second", 1, 1_000_000, "Requests in a second, on average."),
    ("requests_burst", 1, 1_000_000, "Requests that may come at once before the average counts."),
    ("concurrent_requests_max", 1, 1_000_000, "Requests under way at once."),
    ("waiting_requests_max", 0, 100_000, "Requests over one of the limits above that may wait at once."),
    ("wait_ms_max", 0, 60_000, "How long one of them waits before it is refused, milliseconds."),
    ("request_body_bytes_max", 0, 4 << 30, "Bytes of a request's body."),
    (
        "tokens_per_minute",
        1,
        1_000_000_000_000,
        "Tokens of models in a minute, as the upstreams report them.",
    ),
    ("instances_max", 1, 16_000, "Instances alive at once, over all functions."),
    ("instance_memory_bytes_max", 64 << 10, 4 << 30, "Linear memory of one instance, bytes."),
    ("memory_bytes_max", 64 << 10, 16 << 40, "Linear memory of all instances together, bytes."),
    ("request_cpu_ms_max", 1, 600_000, "CPU time of one request, milliseconds."),
    ("cpu_ms_per_second", 1, 1_000_000, "CPU time in a second over all requests, milliseconds."),
    ("storage_bytes_max", 1 << 10, 16 << 40, "Bytes of keys and values in stores."),
    ("vector_bytes_max", 1 << 10, 16 << 40, "Bytes of indexes, what is staged included."),
    ("tokens_per_day", 1, 1_000_000_000_000, "Tokens of models in a day (UTC)."),
    ("tokens_per_month", 1, 1_000_000_000_000, "Tokens of models in a calendar month (UTC)."),
    ("user_tokens_per_minute", 1, 1_000_000_000_000, "Tokens of each user in a minute."),
    ("user_tokens_per_day", 1, 1_000_000_000_000, "Tokens of each user in a day (UTC)."),
    ("user_tokens_per_month", 1, 1_000_000_000_000, "Tokens of each user in a calendar month (UTC)."),
];

/// Limits that are money.
const COSTS: [(&str, &str); 5] = [
    ("cost_per_minute", "Cost of models in a minute, in the operator's currency."),
    ("cost_per_day", "Cost of models in a day (UTC)."),
    ("cost_per_month", "Cost of models in a calendar month (UTC)."),
    ("user_cost_per_day", "Cost of each user in a day (UTC)."),
    ("user_cost_per_month", "Cost of each user in a calendar month (UTC)."),
];

/// How an amount of money is written: more than nothing, with at most six decimals.
const COST_PATTERN: &str = r"^(0\.[0-9]{0,5}[1-9]|[1-9][0-9]{0,8}(\.[0-9]{0,5}[1-9])?)$";

/// The document, made once.
pub(crate) static DOCUMENT: LazyLock<Value> = LazyLock::new(document);

/// The document's shapes by name.
pub(crate) fn schemas() -> &'static Value {
    &DOCUMENT["components"]["schemas"]
}

/// The schema of [`waggle_tenancy::Limits`].
pub(crate) fn limits() -> RefOr<Schema> {
    let mut object = ObjectBuilder::new()
        .schema_type(Type::Object)
        .additional_properties(Some(AdditionalProperties::FreeForm(false)))
        .description(Some("Absent or null: the host's default."));
    for (name, least, most, description) in LIMITS {
        let property = ObjectBuilder::new()
            .schema_type(SchemaType::from_iter([Type::Integer, Type::Null]))
            .minimum(Some(least))
            .maximum(Some(most))
            .description(Some(description));
        object = object.property(name, property);
    }
    for (name, description) in COSTS {
        let property = ObjectBuilder::new()
            .schema_type(SchemaType::from_iter([Type::String, Type::Null]))
            .pattern(Some(COST_PATTERN))
            .description(Some(description));
        object = object.property(name, property);
    }
    RefOr::T(Schema::Object(object.build()))
}

#[derive(OpenApi)]
#[openapi(components(schemas(
    shape::Tenant,
    shape::TenantPage,
    shape::NewTenant,
    shape::KeyList,
    shape::CreatedKey,
    shape::NewKey,
    shape::Rotation,
    shape::Erasure,
    shape::Health,
    shape::Settings,
    ErasureReport,
    StoreErasure,
    Usage,
    BudgetUse,
    tool::Tool,
    tool::ToolList,
    tool::NewTool,
    tool::ReadVersion,
    tool::Component,
    Details,
    Mistake,
)))]
struct Shapes;

fn document() -> Value {
    // The document is made of constants; a test makes sure that it comes out whole.
    let shapes = serde_json::to_value(Shapes::openapi()).unwrap_or_default();
    let mut paths = Map::new();
    for route in &ROUTES {
        let path = paths.entry(format!("{BASE}{}", route.path)).or_insert_with(|| json!({}));
        path[route.method.as_str().to_ascii_lowercase()] = operation(route);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Waggle admin API",
            "version": "1",
            "description": "Tenants, their API keys and their tools. Secret values and hashes are never shown.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" }
        },
        "paths": paths,
        "components": {
            "schemas": shapes["components"]["schemas"],
            "securitySchemes": {
                "admin_key": { "type": "http", "scheme": "bearer", "description": "The admin key." }
            }
        }
    })
}

fn operation(route: &Route) -> Value {
    let mut operation = json!({
        "operationId": route.name,
        "summary": route.summary,
        "security": if route.guarded { json!([{ "admin_key": [] }]) } else { json!([]) },
        "parameters": parameters(route),
        "responses": responses(route),
    });
    if !route.description.is_empty() {
        operation["description"] = json!(route.description);
    }
    if let Some((shape, required)) = route.body {
        let schema = if route.media_type == JSON {
            reference(shape)
        } else {
            json!({ "type": "string", "format": "binary" })
        };
        operation["requestBody"] =
            json!({ "required": required, "content": { route.media_type: { "schema": schema } } });
    }
    operation
}

fn parameters(route: &Route) -> Value {
    let mut parameters = Vec::new();
    if route.path.contains("{id}") {
        parameters
            .push(json!({ "name": "id", "in": "path", "required": true, "description": "The tenant's id.",
            "schema": { "type": "string", "pattern": "^[a-z0-9_-]{1,64}$" } }));
    }
    if route.path.contains("{key}") {
        parameters
            .push(json!({ "name": "key", "in": "path", "required": true, "description": "The API key's id.",
            "schema": { "type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$" } }));
    }
    if route.path.contains("{name}") {
        parameters
            .push(json!({ "name": "name", "in": "path", "required": true, "description": "The tool's name.",
            "schema": { "type": "string", "pattern": "^[a-z][a-z0-9_-]{0,31}$" } }));
    }
    for name in route.query {
        let (schema, description) = match *name {
            "limit" => (
                json!({ "type": "integer", "minimum": 1, "maximum": shape::PAGE_TENANTS_MAX,
                        "default": shape::PAGE_TENANTS }),
                "The most tenants of the page.",
            ),
            "after" => (
                json!({ "type": "string", "pattern": "^[a-z0-9_-]{1,64}$" }),
                "The id after which the page begins.",
            ),
            _ => {
                (json!({ "type": "boolean", "default": false }), "Whether all data of the tenant is erased.")
            }
        };
        parameters.push(json!({ "name": name, "in": "query", "schema": schema, "description": description }));
    }
    if route.if_match {
        parameters.push(json!({ "name": "If-Match", "in": "header", "schema": { "type": "string" },
            "description": "The `ETag` that the tenant was shown with: refuses when it has been changed since." }));
    }
    json!(parameters)
}

fn responses(route: &Route) -> Value {
    let mut responses = Map::new();
    for (status, shape) in route.answers {
        let mut response = json!({ "description": if *status == 204 { "Done." } else { "The answer." } });
        if *status != 204 {
            let schema = shape.map_or_else(|| json!({ "type": "object" }), reference);
            response["content"] = json!({ "application/json": { "schema": schema } });
        }
        if route.etag {
            response["headers"] = json!({ "ETag": { "schema": { "type": "string" },
                "description": "The revision, for `If-Match`." } });
        }
        responses.insert(status.to_string(), response);
    }
    let of_all: &[u16] = match (route.guarded, route.body.is_some()) {
        (false, _) => &[421, 503],
        (true, false) => &[401, 421, 429, 500, 503, 504],
        (true, true) => &[400, 401, 408, 413, 415, 421, 422, 429, 500, 503, 504],
    };
    for status in of_all.iter().chain(route.refusals) {
        responses.insert(status.to_string(), refusal(*status));
    }
    Value::Object(responses)
}

fn refusal(status: u16) -> Value {
    let (description, header) = match status {
        400 => ("Not well formed.", None),
        401 => ("No admin key, or a wrong one.", Some("WWW-Authenticate")),
        404 => ("There is no such tenant, key or tool.", None),
        408 => ("The body took too long to arrive.", None),
        409 => (
            "What there is stands against it: the id is taken, the tenant is one of tenants.toml, or another version \
              waits than the one that was read.",
            None,
        ),
        412 => ("The tenant has been changed since it was shown.", None),
        413 => ("The body is too large.", None),
        415 => ("The body is not of the type that the route takes.", None),
        421 => ("The `Host` field names another server.", None),
        422 => ("The body has mistakes; `errors` tells all of them.", None),
        429 => ("Too many wrong admin keys.", Some("Retry-After")),
        503 => ("The server or its store cannot take it at the moment.", Some("Retry-After")),
        504 => ("It takes too long; it may still be done.", None),
        _ => ("The server failed inside.", None),
    };
    let mut response = json!({
        "description": description,
        "content": { problem::MEDIA_TYPE: { "schema": reference("Problem") } }
    });
    if let Some(name) = header {
        response["headers"] = json!({ name: { "schema": { "type": "string" } } });
    }
    response
}

fn reference(shape: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{shape}") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::KEYWORDS;
    use waggle_tenancy::Limits;

    #[test]
    fn every_reference_of_the_document_leads_somewhere() {
        fn references<'v>(value: &'v Value, found: &mut Vec<&'v str>) {
            match value {
                Value::Object(object) => {
                    found.extend(object.get("$ref").and_then(Value::as_str));
                    object.values().for_each(|value| references(value, found));
                }
                Value::Array(items) => items.iter().for_each(|value| references(value, found)),
                _ => {}
            }
        }
        let mut found = Vec::new();
        references(&DOCUMENT, &mut found);
        assert!(found.len() > 20);
        for reference in found {
            let pointer = reference.trim_start_matches('#');
            assert!(DOCUMENT.pointer(pointer).is_some(), "{reference} leads nowhere");
        }
    }

    #[test]
    fn every_keyword_of_a_shape_is_one_that_is_checked() {
        fn look(schema: &Value, seen: &mut Vec<String>) {
            for (keyword, value) in schema.as_object().unwrap() {
                // Every name of a JSON object is a string anyway; `TenantId` and `Money` check their patterns themselves.
                let annotation = ["description", "format", "writeOnly", "default"]
                    .contains(&keyword.as_str())
                    || (keyword == "pattern" && *value == json!("^[a-z0-9_-]{1,64}$"))
                    || (keyword == "pattern" && *value == json!(COST_PATTERN))
                    || (keyword == "propertyNames" && *value == json!({ "type": "string" }));
                assert!(annotation || KEYWORDS.contains(&keyword.as_str()), "`{keyword}` is not checked");
                match keyword.as_str() {
                    "$ref" => {
                        let name = value.as_str().unwrap().rsplit('/').next().unwrap().to_owned();
                        if !seen.contains(&name) {
                            seen.push(name.clone());
                            look(&schemas()[&name], seen);
                        }
                    }
                    "properties" => value.as_object().unwrap().values().for_each(|one| look(one, seen)),
                    "items" => look(value, seen),
                    "additionalProperties" if value.is_object() => look(value, seen),
                    "oneOf" => {
                        let choices = value.as_array().unwrap();
                        assert!(choices.len() == 2 && choices.iter().any(|one| one["type"] == "null"));
                        choices.iter().for_each(|one| look(one, seen));
                    }
                    _ => {}
                }
            }
        }
        let mut seen = Vec::new();
        schemas().as_object().unwrap().values().for_each(|schema| look(schema, &mut seen));
        assert!(seen.iter().any(|name| name == "SecretSource"), "{seen:?}");
    }

    #[test]
    fn the_documented_limits_are_those_that_hold() {
        let known = serde_json::to_value(Limits::default()).unwrap();
        assert_eq!(known.as_object().unwrap().len(), LIMITS.len() + COSTS.len());
        for (name, _) in COSTS {
            let valid = |value: &str| {
                let limits = serde_json::from_value::<Limits>(json!({ name: value }));
                limits.is_ok_and(|limits| limits.validate().is_ok())
            };
            assert!(valid("0.000001") && valid("1000000000") && !valid("1000000001"), "{name}");
        }
        for (name, least, most, _) in LIMITS {
            let valid = |value: u64| {
                let limits = serde_json::from_value::<Limits>(json!({ name: value }));
                limits.is_ok_and(|limits| limits.validate().is_ok())
            };
            assert!(valid(least) && valid(most) && !valid(most + 1), "{name}");
            assert!(least == 0 || !valid(least - 1), "{name}");
        }
    }
}
