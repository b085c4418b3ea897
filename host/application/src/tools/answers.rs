//! What a function is answered at `tools.waggle.internal`.

use super::places::Full;
use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full as Whole};
use serde_json::json;
use std::time::Duration;
use waggle_engine::WasiBody;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// When it is worth trying again, where there is no place, seconds.
const RETRY_AFTER_S: u64 = 1;

/// Why a request was not answered as it asked.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("There is nothing at this path.")]
    Path,
    #[error("This is asked for by {0} only.")]
    Method(Method),
    #[error("The body broke off.")]
    Body,
    #[error("The body has more than {0} bytes.")]
    TooLong(usize),
    #[error("The body is not as it must be: {0}.")]
    Invalid(String),
    #[error("No tool of this name is accepted and enabled.")]
    Unknown,
    #[error("The tool has changed; its digest is another one.")]
    OtherDigest,
    #[error("The function itself calls this tool; the host runs components only.")]
    NotAComponent,
    #[error("Not now: {0}.")]
    Full(Full),
    #[error(
        "Not now: the tenant's instances and tools have all the memory that they may (memory_bytes_max)."
    )]
    Memory,
    #[error("Not now: {0}.")]
    Unavailable(&'static str),
}

impl Refused {
    fn kind(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Path => (StatusCode::NOT_FOUND, "unknown_url"),
            Self::Method(_) => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Self::Body | Self::Invalid(_) => (StatusCode::BAD_REQUEST, "invalid_body"),
            Self::TooLong(_) => (StatusCode::PAYLOAD_TOO_LARGE, "request_too_large"),
            Self::Unknown => (StatusCode::NOT_FOUND, "unknown_tool"),
            Self::OtherDigest => (StatusCode::NOT_FOUND, "tool_changed"),
            Self::NotAComponent => (StatusCode::BAD_REQUEST, "not_a_component"),
            Self::Full(_) | Self::Memory => (StatusCode::TOO_MANY_REQUESTS, "busy"),
            Self::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        }
    }

    pub(crate) fn into_response(self) -> Response<WasiBody> {
        let (status, code) = self.kind();
        let body = json!({ "error": { "code": code, "message": self.to_string() } });
        let mut response = json_response(status, body.to_string());
        let headers = response.headers_mut();
        if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            headers.insert(header::RETRY_AFTER, RETRY_AFTER_S.into());
        }
        if let Self::Method(allowed) = &self
            && let Ok(allowed) = HeaderValue::from_str(allowed.as_str())
        {
            headers.insert(header::ALLOW, allowed);
        }
        response
    }
}

/// The tools, or that they are those that the function has.
pub(crate) fn registry(json: Bytes, revision: &str, known: Option<&HeaderValue>) -> Response<WasiBody> {
    let tag = format!("\"{revision}\"");
    // Weakly compared, as RFC 9110, section 13.1.2, has it.
    let has = |known: &str| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag;
    let is_known = known
        .and_then(|known| known.to_str().ok())
        .is_some_and(|known| known.split(',').any(|one| has(one.trim())));
    let mut response = if is_known {
        let mut response = Response::new(body(Bytes::new()));
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        json_response(StatusCode::OK, json)
    };
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

/// What a tool gave, or why it gave nothing: a word for it, and a sentence for the model.
pub(crate) fn called(
    result: &Result<String, (&'static str, String)>,
    cpu: Duration,
    time: Duration,
) -> Response<WasiBody> {
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let (output, error) = match result {
        Ok(output) => (output.as_str(), None),
        Err((code, message)) => ("", Some(json!({ "code": code, "message": message }))),
    };
    let body = json!({ "output": output, "error": error, "cpu_us": micros(cpu), "time_us": micros(time) });
    json_response(StatusCode::OK, body.to_string())
}

/// That something was noted.
pub(crate) fn noted() -> Response<WasiBody> {
    let mut response = Response::new(body(Bytes::new()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

fn json_response(status: StatusCode, text: impl Into<Bytes>) -> Response<WasiBody> {
    let mut response = Response::new(body(text.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
}

fn body(bytes: Bytes) -> WasiBody {
    Whole::from(bytes).map_err(|never| match never {}).boxed_unsync()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(response: Response<WasiBody>) -> (u16, Option<String>, serde_json::Value) {
        let field =
            |name| response.headers().get(name).map(|value: &HeaderValue| value.to_str().unwrap().to_owned());
        let (status, retry_after) = (response.status().as_u16(), field(header::RETRY_AFTER));
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, retry_after, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    #[tokio::test]
    async fn a_function_reads_what_was_wrong() {
        let check = async |refused: Refused, status: u16, code: &str, retry: Option<&str>| {
            let shown = format!("{refused:?}");
            let (answered, retry_after, body) = read(refused.into_response()).await;
            assert_eq!((answered, body["error"]["code"].as_str()), (status, Some(code)), "{shown}");
            assert_eq!(retry_after.as_deref(), retry, "{shown}");
            assert!(body["error"]["message"].is_string(), "{body}");
        };
        check(Refused::Path, 404, "unknown_url", None).await;
        check(Refused::Method(Method::GET), 405, "method_not_allowed", None).await;
        check(Refused::Invalid("x".into()), 400, "invalid_body", None).await;
        check(Refused::TooLong(1), 413, "request_too_large", None).await;
        check(Refused::Unknown, 404, "unknown_tool", None).await;
        check(Refused::OtherDigest, 404, "tool_changed", None).await;
        check(Refused::Full(Full::Tool), 429, "busy", Some("1")).await;
        check(Refused::Memory, 429, "busy", Some("1")).await;
        check(Refused::Unavailable("x"), 503, "unavailable", Some("1")).await;
    }

    #[tokio::test]
    async fn tools_that_the_function_has_are_not_told_again() {
        let check = async |known: Option<&'static str>, status: u16| {
            let known = known.map(HeaderValue::from_static);
            let response = registry(Bytes::from_static(b"{\"data\":[]}"), "abc", known.as_ref());
            assert_eq!(response.headers()[header::ETAG], "\"abc\"");
            let (answered, _retry, body) = read(response).await;
            assert_eq!((answered, body["data"].is_array()), (status, status == 200), "{known:?}");
        };
        check(None, 200).await;
        check(Some("\"abc\""), 304).await;
        check(Some("W/\"abc\""), 304).await;
        check(Some("\"x\", \"abc\""), 304).await;
        check(Some("*"), 304).await;
        check(Some("\"ab\""), 200).await;
        check(Some("abc"), 200).await;
    }

    #[tokio::test]
    async fn what_came_of_a_call_is_told_either_way() {
        let (ms, us) = (Duration::from_millis(2), Duration::from_micros(7));
        let (_status, _retry, body) = read(called(&Ok("an order".into()), us, ms)).await;
        assert_eq!(body, json!({ "output": "an order", "error": null, "cpu_us": 7, "time_us": 2_000 }));
        let failed = Err(("trapped", "the tool crashed".to_owned()));
        let (status, _retry, body) = read(called(&failed, us, ms)).await;
        assert_eq!((status, &body["output"]), (200, &json!("")));
        assert_eq!(body["error"], json!({ "code": "trapped", "message": "the tool crashed" }));
    }
}
