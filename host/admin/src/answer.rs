//! A response of the admin API: JSON, whole, never cached by anybody.

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;

/// A response that is made.
pub(crate) struct Answer(Response<Full<Bytes>>);

impl Answer {
    /// `value` as JSON. Nothing here is for caches: what it says changes, and some of it must not be kept.
    pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Self {
        // Our own shapes have string keys only and cannot fail to be written.
        let text = serde_json::to_vec(value).unwrap_or_default();
        let mut answer = Self::with_body(status, Bytes::from(text));
        answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        answer
    }

    /// Nothing but a status.
    pub(crate) fn empty(status: StatusCode) -> Self {
        Self::with_body(status, Bytes::new())
    }

    fn with_body(status: StatusCode, body: Bytes) -> Self {
        let mut response = Response::new(Full::new(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        Self(response)
    }

    #[must_use]
    pub(crate) fn with(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers_mut().insert(name, value);
        }
        self
    }

    pub(crate) fn headers_mut(&mut self) -> &mut HeaderMap {
        self.0.headers_mut()
    }

    pub(crate) fn into_response(self) -> Response<Full<Bytes>> {
        self.0
    }
}
