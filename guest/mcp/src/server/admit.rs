//! Who is answered at all, and in which revision: everything that is checked before a method is looked at.

use super::answer::Refusal;
use super::{BODY_BYTES_MAX, Head, Settings};
use crate::header;
use crate::message::{self, Message, RequestId, code};
use crate::version::{
    CAPABILITIES_KEY, METHOD_FIELD, NAME_FIELD, VERSION_FIELD, VERSION_KEY, Version, named_by,
};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use waggle_model::transport::{ChunkSource, ReadFailure, read_whole};

/// Parameters, as far as any method here looks at them.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Params {
    #[serde(rename = "_meta", default)]
    pub(super) meta: Option<Map<String, Value>>,
    #[serde(default)]
    pub(super) name: Option<String>,
    #[serde(default)]
    pub(super) uri: Option<String>,
    #[serde(default)]
    pub(super) cursor: Option<String>,
    #[serde(default)]
    pub(super) arguments: Option<Box<RawValue>>,
    /// What a client that shakes hands speaks.
    #[serde(rename = "protocolVersion", default)]
    pub(super) protocol_version: Option<String>,
}

/// A request that is answered.
#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) id: RequestId,
    pub(super) method: String,
    pub(super) params: Params,
    pub(super) version: Version,
}

/// What stands in a body.
#[derive(Debug)]
pub(super) enum Read {
    /// A request.
    Request(Admitted),
    /// A notification: it is taken note of, and there is nothing to do. Cancelling is closing the connection; a client
    /// that could cancel by the number of a request could cancel another's.
    Notification,
}

/// A refusal, and what is known of the request it is for.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) refusal: Refusal,
    pub(super) id: Option<RequestId>,
    pub(super) version: Option<Version>,
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, id: None, version: None }
    }
}

/// The only value of a field, as text.
fn only<'a>(head: Head<'a>, name: &str) -> Result<Option<&'a str>, Refusal> {
    let mut values = head.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
    let first = values.next();
    if values.next().is_some() {
        return Err(Refusal::new(
            code::HEADER_MISMATCH,
            format!("the header field {name} stands there twice"),
        ));
    }
    let text = first.map(|(_, value)| std::str::from_utf8(value));
    text.transpose()
        .map_err(|_| Refusal::new(code::HEADER_MISMATCH, format!("the header field {name} is no text")))
}

/// Whether `Accept` names a media type, or there is none to say what is accepted.
pub(super) fn accepts(head: Head<'_>, media_type: &str) -> bool {
    let kind = media_type.split('/').next().unwrap_or_default();
    let mut fields = head.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("accept")).peekable();
    if fields.peek().is_none() {
        return media_type == "application/json";
    }
    let values = fields.filter_map(|(_, value)| std::str::from_utf8(value).ok());
    values.flat_map(|value| value.split(',')).any(|entry| {
        let essence = entry.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        essence == media_type || essence == "*/*" || essence.strip_suffix("/*") == Some(kind)
    })
}

/// Looks at the head alone.
pub(super) fn head(settings: &Settings, head: Head<'_>) -> Result<(), Refusal> {
    let refused =
        |status, message: &str| Err(Refusal::new(code::INVALID_REQUEST, message).with_status(status));
    if let Some(origins) = &settings.origins
        && let Some(origin) = only(head, "origin")?
        && !origins.iter().any(|known| known.eq_ignore_ascii_case(origin))
    {
        return refused(403, "pages of this origin may not call");
    }
    if head.method != "POST" {
        return refused(405, "there is no stream and no session here: send each message by POST");
    }
    let is_json = only(head, "content-type")?.is_some_and(|value| {
        value.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
    });
    if !is_json {
        return refused(415, "the body has to be application/json");
    }
    if !accepts(head, "application/json") {
        return refused(406, "'Accept' has to list application/json and text/event-stream");
    }
    Ok(())
}

/// Reads the body.
pub(super) async fn body<C: ChunkSource>(mut body: C) -> Result<Vec<u8>, Refusal> {
    read_whole(&mut body, BODY_BYTES_MAX).await.map_err(|failure| match failure {
        ReadFailure::TooLong(bytes_max) => {
            Refusal::new(code::INVALID_REQUEST, format!("the body is longer than {bytes_max} bytes"))
                .with_status(413)
        }
        ReadFailure::Transport(_) => Refusal::new(code::PARSE_ERROR, "the body ended early"),
    })
}

/// Reads what stands in the body and holds the head against it.
pub(super) fn message(head: Head<'_>, body: &[u8]) -> Result<Read, Refused> {
    let (id, method, params) = match message::read(body).map_err(Refusal::from)? {
        Message::Request { id, method, params } => (id, method.into_owned(), params),
        Message::Notification { .. } => {
            let version = only(head, VERSION_FIELD)?;
            return match version.filter(|name| served(name).is_none()) {
                Some(name) => Err(unsupported(name).into()),
                None => Ok(Read::Notification),
            };
        }
        Message::Answer { .. } => {
            let refusal = Refusal::new(code::INVALID_REQUEST, "nothing was asked that this could answer");
            return Err(refusal.into());
        }
    };
    let refused = |refusal, version| Refused { refusal, id: Some(id.clone()), version };
    let declared = only(head, VERSION_FIELD).map_err(|refusal| refused(refusal, None))?;
    // How an error is told depends on the revision, so that is found out even if the parameters cannot be read.
    let declared_version = declared.and_then(served);
    let params = read_params(params).map_err(|refusal| refused(refusal, declared_version))?;
    let version = version(head, declared, &method, &params)
        .map_err(|refusal| refused(refusal, declared_version.filter(|_| !has_version(&params))))?;
    Ok(Read::Request(Admitted { id, method, params, version }))
}

fn read_params(params: Option<&RawValue>) -> Result<Params, Refusal> {
    let read = params.map(|params| serde_json::from_str(params.get())).transpose();
    read.map(Option::unwrap_or_default).map_err(|error| {
        Refusal::new(code::INVALID_PARAMS, format!("the parameters cannot be read: {error}"))
    })
}

fn has_version(params: &Params) -> bool {
    params.meta.as_ref().is_some_and(|meta| meta.contains_key(VERSION_KEY))
}

fn served(name: &str) -> Option<Version> {
    Version::of(name).filter(|version| Version::SERVED.contains(version))
}

fn unsupported(requested: &str) -> Refusal {
    let mut refusal =
        Refusal::new(code::UNSUPPORTED_VERSION, "this revision of the protocol is not spoken here");
    let supported = Version::SERVED.map(Version::name);
    refusal.error.data = Some(json!({"supported": supported, "requested": requested}));
    refusal.with_status(400)
}

/// Which revision a request is in.
fn version(
    head: Head<'_>,
    declared: Option<&str>,
    method: &str,
    params: &Params,
) -> Result<Version, Refusal> {
    let is_stateless = has_version(params) || declared == Some(Version::LATEST.name());
    if is_stateless {
        return stateless(head, declared, method, params);
    }
    match declared {
        Some(name) => served(name).ok_or_else(|| unsupported(name)),
        // Whoever shakes hands says it in the handshake.
        None if method == "initialize" => Ok(Version::LATEST_WITH_HANDSHAKE),
        None => Err(Refusal::new(code::HEADER_MISMATCH, "the header field MCP-Protocol-Version is missing")),
    }
}

/// What 2026-07-28 wants of every request: what it says of itself, and that the head says the same.
fn stateless(
    head: Head<'_>,
    declared: Option<&str>,
    method: &str,
    params: &Params,
) -> Result<Version, Refusal> {
    let meta = params.meta.as_ref();
    let mut missing = [VERSION_KEY, CAPABILITIES_KEY].into_iter();
    if let Some(key) = missing.find(|key| !meta.is_some_and(|meta| meta.contains_key(*key))) {
        return Err(Refusal::new(code::INVALID_PARAMS, format!("'_meta' of the parameters lacks '{key}'")));
    }
    let version = meta.and_then(|meta| meta.get(VERSION_KEY)).and_then(Value::as_str);
    let Some(version) = version else {
        return Err(Refusal::new(code::INVALID_PARAMS, format!("'{VERSION_KEY}' has to be a string")));
    };
    matches("MCP-Protocol-Version", declared, version)?;
    matches("Mcp-Method", only(head, METHOD_FIELD)?, method)?;
    let named = match named_by(method) {
        Some("uri") => params.uri.as_deref(),
        Some(_) => params.name.as_deref(),
        None => None,
    };
    if let Some(named) = named {
        let told = only(head, NAME_FIELD)?.and_then(header::decode);
        matches("Mcp-Name", told.as_deref(), named)?;
    }
    served(version).ok_or_else(|| unsupported(version))
}

fn matches(name: &str, told: Option<&str>, expected: &str) -> Result<(), Refusal> {
    match told {
        Some(told) if told == expected => Ok(()),
        Some(told) => {
            let message = format!("the header field {name} says '{told}', the body '{expected}'");
            Err(Refusal::new(code::HEADER_MISMATCH, message))
        }
        None => {
            let message = format!("the header field {name} is missing or cannot be read");
            Err(Refusal::new(code::HEADER_MISMATCH, message))
        }
    }
}
