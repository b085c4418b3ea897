//! The routes, what they take and give, and their description as OpenAPI 3.1.

use crate::Service;
use crate::orders::{Deed, Done, KEY_BYTES_MAX, Refused, TEXT_CHARACTERS_MAX};
use axum::extract::{DefaultBodyLimit, Path, RawQuery, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

const BODY_BYTES_MAX: usize = 16 << 10;
const API_KEY_FIELD: &str = "x-api-key";
const IDEMPOTENCY_FIELD: &str = "idempotency-key";
/// Says of an answer that it is one that was given before.
const REPLAYED_FIELD: &str = "idempotent-replayed";

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct CancelBody {
    #[serde(default)]
    reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NoteBody {
    text: String,
}

fn error(status: StatusCode, code: &str, message: impl Into<String>) -> Response {
    let message: String = message.into();
    (status, Json(json!({"error": {"code": code, "message": message}}))).into_response()
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let (status, code) = match self {
            Self::Unknown(_) => (StatusCode::NOT_FOUND, "order_not_found"),
            Self::TooLate { .. } => (StatusCode::CONFLICT, "order_not_cancellable"),
            Self::KeyReused => (StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused"),
            Self::Full | Self::Unwritten(_) => (StatusCode::SERVICE_UNAVAILABLE, "not_done"),
        };
        error(status, code, self.to_string())
    }
}

impl IntoResponse for Done {
    fn into_response(self) -> Response {
        let replayed = if self.replayed { "true" } else { "false" };
        ([(REPLAYED_FIELD, replayed)], Json(self.order)).into_response()
    }
}

/// The routes of a service that is reached at `url`.
pub(crate) fn router(service: Service, url: &str) -> Router {
    let description = description(url);
    let described = move || {
        let description = description.clone();
        async move { Json(description) }
    };
    Router::new()
        .route("/orders", get(list))
        .route("/orders/{id}", get(show))
        .route("/orders/{id}/cancel", post(cancel))
        .route("/orders/{id}/notes", post(note))
        .route_layer(middleware::from_fn_with_state(service.clone(), admit))
        .route("/openapi.json", get(described))
        .route("/stats", get(stats))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(service)
}

/// Lets in who has the key.
async fn admit(State(service): State<Service>, request: Request, next: Next) -> Response {
    let given = request.headers().get(API_KEY_FIELD).map(|value| value.as_bytes());
    if service.api_key.as_ref().is_some_and(|key| given != Some(key.as_bytes())) {
        return error(
            StatusCode::UNAUTHORIZED,
            "no_key",
            format!("Send the shop's key in '{API_KEY_FIELD}'."),
        );
    }
    service.shop().asked();
    next.run(request).await
}

async fn list(State(service): State<Service>, RawQuery(query): RawQuery) -> Response {
    let Some(email) = query.as_deref().and_then(email_in) else {
        return error(StatusCode::BAD_REQUEST, "no_email", "Say whose orders are meant: '?email=…'.");
    };
    let shop = service.shop();
    Json(json!({ "orders": shop.orders_of(&email) })).into_response()
}

/// The address in a query; `None` where there is none, or its encoding is none.
fn email_in(query: &str) -> Option<String> {
    let value = query.split('&').find_map(|pair| pair.strip_prefix("email="))?;
    let mut bytes = value.bytes();
    let mut email = Vec::with_capacity(value.len());
    while let Some(byte) = bytes.next() {
        let mut digit = || char::from(bytes.next()?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        email.push(if byte == b'%' { digit()? << 4 | digit()? } else { byte });
    }
    String::from_utf8(email).ok().filter(|email| !email.is_empty())
}

async fn show(State(service): State<Service>, Path(id): Path<String>) -> Response {
    match service.shop().order(&id) {
        Some(order) => Json(order).into_response(),
        None => Refused::Unknown(id).into_response(),
    }
}

async fn cancel(
    State(service): State<Service>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Option<Json<CancelBody>>,
) -> Response {
    let reason = body.and_then(|Json(body)| body.reason).unwrap_or_default();
    if reason.chars().count() > TEXT_CHARACTERS_MAX {
        return too_long("reason");
    }
    act(service, id, Deed::Cancel, &headers).await
}

async fn note(
    State(service): State<Service>,
    Path(id): Path<String>,
    headers: HeaderMap,
    Json(NoteBody { text }): Json<NoteBody>,
) -> Response {
    if text.chars().count() > TEXT_CHARACTERS_MAX {
        return too_long("text");
    }
    act(service, id, Deed::Note { text }, &headers).await
}

fn too_long(field: &str) -> Response {
    let message = format!("'{field}' has more than {TEXT_CHARACTERS_MAX} characters.");
    error(StatusCode::BAD_REQUEST, "too_long", message)
}

async fn act(service: Service, id: String, deed: Deed, headers: &HeaderMap) -> Response {
    let key =
        headers.get(IDEMPOTENCY_FIELD).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    if key.as_ref().is_some_and(|key| key.is_empty() || key.len() > KEY_BYTES_MAX) {
        let message = format!("'{IDEMPOTENCY_FIELD}' must have 1 to {KEY_BYTES_MAX} bytes.");
        return error(StatusCode::BAD_REQUEST, "invalid_key", message);
    }
    // The disk is waited for on a thread of its own.
    let acted = tokio::task::spawn_blocking(move || service.shop().act(&id, deed, key.as_deref()));
    match acted.await {
        Ok(Ok(done)) => done.into_response(),
        Ok(Err(refused)) => refused.into_response(),
        Err(_) => error(StatusCode::INTERNAL_SERVER_ERROR, "failed", "It failed."),
    }
}

async fn stats(State(service): State<Service>) -> Response {
    let shop = service.shop();
    Json(shop.stats()).into_response()
}

fn description(url: &str) -> Value {
    let id = json!({"name": "order_id", "in": "path", "required": true, "description": "The order's number.",
        "schema": {"type": "string", "pattern": "^[0-9]{4,12}$"}});
    let order = json!({"description": "The order", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Order"}}}});
    let unknown = json!({"description": "There is no such order"});
    let body = |properties: Value, required: &[&str]| {
        json!({"required": !required.is_empty(), "content": {"application/json": {"schema": {"type": "object",
            "properties": properties, "required": required, "additionalProperties": false}}}})
    };
    let text = json!({"type": "string", "maxLength": TEXT_CHARACTERS_MAX});
    json!({
        "openapi": "3.1.0",
        "info": {"title": "Orders of the shop", "version": "1"},
        "servers": [{"url": url}],
        "security": [{"key": []}],
        "x-idempotency-header": "Idempotency-Key",
        "paths": {
            "/orders": {"get": {"operationId": "listOrders", "summary": "List a customer's orders",
                "parameters": [{"name": "email", "in": "query", "required": true, "schema": {"type": "string", "format": "email"}}],
                "responses": {"200": {"description": "The orders"}}}},
            "/orders/{order_id}": {"get": {"operationId": "getOrder", "summary": "Look an order up by its number",
                "parameters": [id], "responses": {"200": order, "404": unknown}}},
            "/orders/{order_id}/cancel": {"post": {"operationId": "cancelOrder",
                "summary": "Cancel an order that was not sent yet", "parameters": [id],
                "requestBody": body(json!({"reason": text}), &[]),
                "responses": {"200": order, "404": unknown, "409": {"description": "It was sent, or cancelled before"}}}},
            "/orders/{order_id}/notes": {"post": {"operationId": "addNote", "summary": "Note something about an order",
                "parameters": [id], "requestBody": body(json!({"text": text}), &["text"]),
                "responses": {"200": order, "404": unknown}}}
        },
        "components": {
            "securitySchemes": {"key": {"type": "apiKey", "in": "header", "name": API_KEY_FIELD}},
            "schemas": {"Order": {"type": "object", "properties": {"id": {"type": "string"}, "email": {"type": "string"},
                "items": {"type": "array", "items": {"type": "string"}}, "total": {"type": "string"},
                "status": {"enum": ["processing", "shipped", "delivered", "cancelled"]},
                "delivery": {"type": "string", "format": "date"},
                "notes": {"type": "array", "items": {"type": "string"}}}}}
        }
    })
}
