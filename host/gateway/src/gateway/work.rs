//! Calls by which the host has a function do work that it handed over before. They come from no client: only here are
//! the fields set that say so, and whatever comes from outside or from a function is stripped of them.

use super::{Call, Gateway, direct, new_request_id};
use crate::body;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Limited};
use std::sync::Arc;
use std::time::{Duration, Instant};
use waggle_engine::{Admission, CallContext, CallerFields, WasiBody};
use waggle_measure::trace::Parent;
use waggle_tenancy::TenantId;

/// The id of the work; a request that has it is a delivery.
const WORK: HeaderName = HeaderName::from_static("waggle-work");
/// Which attempt it is, from 1.
const WORK_ATTEMPT: HeaderName = HeaderName::from_static("waggle-work-attempt");
/// Says that no attempt follows.
const WORK_LAST: HeaderName = HeaderName::from_static("waggle-work-last");

/// Work that a function is to do now.
#[derive(Clone, Debug)]
pub struct WorkDelivery {
    /// The work's id.
    pub id: String,
    /// Which function.
    pub function: String,
    /// The path with its query.
    pub path: String,
    /// What the body is.
    pub content_type: Option<String>,
    /// The fields of whoever called when the work was handed over.
    pub caller: CallerFields,
    /// As it was handed over.
    pub body: Bytes,
    /// From 1.
    pub attempt: u32,
    /// No attempt follows.
    pub is_last: bool,
    /// How long the function may take.
    pub timeout: Duration,
}

/// Why work was not done, for the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WorkFailure {
    /// The path is none.
    #[error("its path cannot be called")]
    Path,
    /// A field of the caller, or the content type, cannot be sent.
    #[error("the field `{0}` cannot be sent")]
    Field(HeaderName),
    /// The function did not answer.
    #[error("the function did not answer: {0}")]
    NoAnswer(String),
    /// The function said that it is not done.
    #[error("the function answered {0}")]
    Status(StatusCode),
    /// The function's answer broke off.
    #[error("the answer broke off: {0}")]
    BrokeOff(String),
}

impl Gateway {
    /// Has a function of the tenant do work; what it answers is read to its end and thrown away. The request ends when
    /// this is dropped.
    ///
    /// # Errors
    /// Why it is not done; a status outside 2xx is one of the reasons.
    pub async fn deliver(&self, tenant: &TenantId, work: WorkDelivery) -> Result<(), WorkFailure> {
        let (head, mut body) = self.begin(tenant, work).await?.into_parts();
        while let Some(frame) = body.frame().await {
            frame.map_err(|error| WorkFailure::BrokeOff(error.to_string()))?;
        }
        if head.status.is_success() { Ok(()) } else { Err(WorkFailure::Status(head.status)) }
    }

    /// Asks a function of the tenant something in the same way: what it answers, whatever its status, with at most
    /// `bytes_max` of its body. The request ends when this is dropped.
    ///
    /// # Errors
    /// Why there is no answer, or no whole one.
    pub async fn ask(
        &self,
        tenant: &TenantId,
        work: WorkDelivery,
        bytes_max: usize,
    ) -> Result<(StatusCode, Bytes), WorkFailure> {
        let (head, body) = self.begin(tenant, work).await?.into_parts();
        let body = Limited::new(body, bytes_max).collect().await;
        let body = body.map_err(|error| WorkFailure::BrokeOff(error.to_string()))?;
        Ok((head.status, body.to_bytes()))
    }

    async fn begin(&self, tenant: &TenantId, work: WorkDelivery) -> Result<Response<WasiBody>, WorkFailure> {
        let until = Instant::now() + work.timeout;
        let context = CallContext {
            request_id: new_request_id().into(),
            head_deadline: until,
            body_deadline: until,
            depth: 0,
            calls: Arc::default(),
            caller: Arc::clone(&work.caller),
            span: Parent::none(),
        };
        let function = work.function.clone();
        let request = request(work)?;
        let path = request.uri().path().to_owned();
        let call = Call { client: None, context, admission: Admission::default() };
        let answer = self.run(tenant, &direct(&function, &path), request.map(body::full), call).await;
        answer.map_err(|refusal| WorkFailure::NoAnswer(refusal.code().to_owned()))
    }
}

/// The request as the function gets it, but for the fields that every request has.
fn request(work: WorkDelivery) -> Result<Request<Bytes>, WorkFailure> {
    let authority = format!("{}.spin.internal", work.function);
    let uri = Uri::builder().scheme("http").authority(authority).path_and_query(work.path).build();
    let mut request = Request::new(work.body);
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri.map_err(|_invalid| WorkFailure::Path)?;
    let attempt = work.attempt.to_string();
    let fields = [
        (header::CONTENT_TYPE, work.content_type.as_deref()),
        (WORK, Some(work.id.as_str())),
        (WORK_ATTEMPT, Some(attempt.as_str())),
        (WORK_LAST, work.is_last.then_some("true")),
    ];
    for (name, value) in fields.into_iter().filter_map(|(name, value)| Some((name, value?))) {
        let value = HeaderValue::from_str(value).map_err(|_invalid| WorkFailure::Field(name.clone()))?;
        request.headers_mut().insert(name, value);
    }
    let length = request.body().len();
    request.headers_mut().insert(header::CONTENT_LENGTH, length.into());
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work() -> WorkDelivery {
        WorkDelivery {
            id: "work_1".into(),
            function: "chat".into(),
            path: "/internal/run?a=b".into(),
            content_type: Some("application/json".into()),
            caller: CallerFields::default(),
            body: Bytes::from_static(b"{}"),
            attempt: 2,
            is_last: false,
            timeout: Duration::from_secs(1),
        }
    }

    #[test]
    fn a_delivery_says_what_it_is() {
        let check = |is_last: bool, expected: &[(&str, &str)]| {
            let request = request(WorkDelivery { is_last, ..work() }).unwrap();
            assert_eq!(request.method(), Method::POST);
            assert_eq!(request.uri(), "http://chat.spin.internal/internal/run?a=b");
            let fields =
                request.headers().iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap()));
            let mut fields: Vec<_> = fields.collect();
            fields.sort_unstable();
            assert_eq!(fields, expected);
        };
        let usual = [
            ("content-length", "2"),
            ("content-type", "application/json"),
            ("waggle-work", "work_1"),
            ("waggle-work-attempt", "2"),
        ];
        check(false, &usual);
        check(true, &[&usual[..], &[("waggle-work-last", "true")]].concat());
    }

    #[test]
    fn what_cannot_be_sent_is_named() {
        let check = |work: WorkDelivery, expected: WorkFailure| {
            assert_eq!(request(work).unwrap_err(), expected);
        };
        check(WorkDelivery { path: "/a b".into(), ..work() }, WorkFailure::Path);
        let typed = WorkDelivery { content_type: Some("a\nb".into()), ..work() };
        check(typed, WorkFailure::Field(header::CONTENT_TYPE));
    }
}
