//! A request on its way in.

use crate::body::WasiBody;
use crate::fields::HeaderFields;
use crate::function::WholeRequest;
use spin_sdk::wasip3::http::types::{Method, Request};
use spin_sdk::wasip3::wit_future;
use waggle_platform::{Delivery, USER_FIELD};

/// By which the host says that it delivers work. No client can set it, nor the next.
const WORK_FIELD: &str = "waggle-work";
/// That it does so for the last time.
const WORK_LAST_FIELD: &str = "waggle-work-last";

/// What functions look at of a request's head.
pub struct Head {
    method: String,
    path_with_query: String,
    content_type: Option<String>,
    content_length: Option<u64>,
    accept_language: Option<String>,
    idempotency_key: Vec<Vec<u8>>,
    user: Vec<Vec<u8>>,
    last_event_id: Option<String>,
    work: Option<Delivery>,
}

/// A request: its head, and its body to come.
pub struct Incoming {
    /// Its head.
    pub head: Head,
    /// Its body.
    pub body: WasiBody,
    /// All header fields as they came, for a function that looks at more of them; else none.
    pub fields: Vec<(String, Vec<u8>)>,
}

impl Head {
    /// The same, as functions are given it.
    pub fn as_request(&self) -> waggle_platform::Request<'_> {
        waggle_platform::Request {
            method: &self.method,
            path_with_query: &self.path_with_query,
            content_type: self.content_type.as_deref(),
            content_length: self.content_length,
            accept_language: self.accept_language.as_deref(),
            idempotency_key: &self.idempotency_key,
            user: &self.user,
            last_event_id: self.last_event_id.as_deref(),
            work: self.work,
        }
    }
}

impl Head {
    fn of(method: String, path_with_query: String, mut fields: HeaderFields) -> Self {
        Self {
            method,
            path_with_query,
            content_type: fields.text("content-type"),
            content_length: fields.text("content-length").and_then(|length| length.parse().ok()),
            accept_language: joined(fields.all("accept-language")),
            idempotency_key: fields.all("idempotency-key"),
            // All of it, as it came: what is unreadable must not look like what is absent.
            user: fields.all(USER_FIELD),
            last_event_id: fields.text("last-event-id"),
            work: fields.text(WORK_FIELD).map(|_| Delivery { last: fields.text(WORK_LAST_FIELD).is_some() }),
        }
    }
}

impl Incoming {
    /// One that came over `wasi:http`, of which the host is asked all that functions look at.
    pub(crate) fn new(request: Request, keeps_fields: bool) -> Self {
        let taken = HeaderFields::of(&request.get_headers());
        let fields = taken.copied(keeps_fields);
        let path_with_query = request.get_path_with_query().unwrap_or_default();
        let head = Head::of(method(request.get_method()), path_with_query, taken);
        let (received, received_reader) = wit_future::new(|| Ok(()));
        let body = Request::consume_body(request, received_reader);
        let body = WasiBody::new(body, received, head.content_length);
        Self { head, body, fields }
    }

    /// One that came whole.
    pub(crate) fn whole(request: WholeRequest, keeps_fields: bool) -> Self {
        let WholeRequest { method, path_with_query, headers, body } = request;
        let taken = HeaderFields::from(headers);
        let fields = taken.copied(keeps_fields);
        Self { head: Head::of(method, path_with_query, taken), body: WasiBody::whole(body), fields }
    }
}

/// Several fields of one list are one list (RFC 9110, section 5.3).
fn joined(values: Vec<Vec<u8>>) -> Option<String> {
    let values: Vec<String> = values.into_iter().filter_map(|value| String::from_utf8(value).ok()).collect();
    (!values.is_empty()).then(|| values.join(","))
}

fn method(method: Method) -> String {
    let name = match method {
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Delete => "DELETE",
        Method::Connect => "CONNECT",
        Method::Options => "OPTIONS",
        Method::Trace => "TRACE",
        Method::Patch => "PATCH",
        Method::Other(name) => return name,
    };
    name.to_owned()
}
