//! Work that functions hand over: the address at which they do, and the way by which it comes back to them.

use crate::worlds::ToGateway;
use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use waggle_engine::{CallerFields, WasiBody, WorkCalls};
use waggle_gateway::{Gateway, WorkDelivery};
use waggle_tenancy::{Directory, TenantId, TenantState};
use waggle_work::{
    BODY_BYTES_MAX, Deliver, Delivery, EnqueueError, Failure, Queue, Standing, Work, WorkId, WorkMistake,
};

/// Where functions hand over work. It is in no name service; `allowed_outbound_hosts` must have it.
pub(crate) const WORK_HOST: &str = "work.waggle.internal";
const WORK_PATH: &str = "/v1/work";
/// Says by which path the function wants to be called.
const PATH_FIELD: HeaderName = HeaderName::from_static("waggle-work-path");
/// When it is worth trying again, where there is no room, seconds.
const RETRY_AFTER_S: u64 = 5;
/// How long the outcomes of deliveries that were cut off may take to be written when the host ends.
const OUTCOMES_WRITTEN_MAX: Duration = Duration::from_secs(5);

/// The work of one function of one tenant.
pub(crate) struct FunctionWork {
    pub(crate) tenant: TenantId,
    pub(crate) function: Arc<str>,
    pub(crate) queue: Queue,
}

#[async_trait]
impl WorkCalls for FunctionWork {
    fn takes(&self, host: &str) -> bool {
        host.eq_ignore_ascii_case(WORK_HOST)
    }

    async fn call(&self, request: Request<WasiBody>, caller: CallerFields) -> Response<WasiBody> {
        match self.take(request, &caller).await {
            Ok(id) => json_response(StatusCode::ACCEPTED, &json!({ "id": id.as_str() })),
            Err(refused) => refused.into_response(),
        }
    }
}

impl FunctionWork {
    async fn take(&self, request: Request<WasiBody>, caller: &CallerFields) -> Result<WorkId, Refused> {
        if request.uri().path() != WORK_PATH {
            return Err(Refused::Path);
        }
        if request.method() != Method::POST {
            return Err(Refused::Method);
        }
        let (head, body) = request.into_parts();
        let path = one(&head.headers, &PATH_FIELD)?.ok_or(Refused::NoField(PATH_FIELD))?;
        let content_type = one(&head.headers, &header::CONTENT_TYPE)?;
        let body = Limited::new(body, BODY_BYTES_MAX).collect().await.map_err(|error| {
            let is_too_long = error.downcast_ref::<LengthLimitError>().is_some();
            if is_too_long { Refused::Work(WorkMistake::BodyLength.into()) } else { Refused::Body }
        })?;
        let caller = caller.iter().filter_map(|(name, value)| {
            let value = String::from_utf8(value.as_bytes().to_vec()).ok()?;
            Some((name.as_str().to_owned(), value))
        });
        let work = Work {
            function: self.function.as_ref().to_owned(),
            path,
            content_type,
            caller: caller.collect(),
            body: body.to_bytes(),
        };
        self.queue.enqueue(self.tenant.as_str(), &work).await.map_err(|error| {
            if let EnqueueError::Store(error) = &error {
                tracing::error!(tenant = %self.tenant, function = &*self.function, %error, "work could not be kept");
            }
            Refused::Work(error)
        })
    }
}

/// The value of a field that there may be once.
fn one(headers: &HeaderMap, name: &HeaderName) -> Result<Option<String>, Refused> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().ok().filter(|_text| values.next().is_none());
    text.map(|text| Some(text.to_owned())).ok_or_else(|| Refused::Field(name.clone()))
}

/// Why work was not taken, for the function.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("There is nothing but POST {WORK_PATH} here.")]
    Path,
    #[error("Work is handed over by POST.")]
    Method,
    #[error("The header field `{0}` is missing.")]
    NoField(HeaderName),
    #[error("The header field `{0}` must be there once and be ASCII.")]
    Field(HeaderName),
    #[error("The body broke off.")]
    Body,
    #[error("{}", told(.0))]
    Work(EnqueueError),
}

/// What a function may know of it.
fn told(error: &EnqueueError) -> String {
    match error {
        EnqueueError::Mistake(mistake) => format!("The work cannot be taken: {mistake}."),
        EnqueueError::Full { .. } => format!("The queue is full: {error}."),
        EnqueueError::Overloaded => "The host takes no more work at the moment.".to_owned(),
        EnqueueError::Store(_) => "The work could not be kept; try again.".to_owned(),
    }
}

impl Refused {
    /// Status, `type` and `code`.
    fn kind(&self) -> (StatusCode, &'static str, &'static str) {
        const INVALID: &str = "invalid_request_error";
        match self {
            Self::Path => (StatusCode::NOT_FOUND, INVALID, "unknown_url"),
            Self::Method => (StatusCode::METHOD_NOT_ALLOWED, INVALID, "method_not_allowed"),
            Self::NoField(_) | Self::Field(_) => (StatusCode::BAD_REQUEST, INVALID, "invalid_header"),
            Self::Body => (StatusCode::BAD_REQUEST, INVALID, "invalid_body"),
            Self::Work(EnqueueError::Mistake(WorkMistake::BodyLength)) => {
                (StatusCode::PAYLOAD_TOO_LARGE, INVALID, "request_too_large")
            }
            Self::Work(EnqueueError::Mistake(_)) => (StatusCode::BAD_REQUEST, INVALID, "invalid_header"),
            Self::Work(EnqueueError::Full { .. }) => {
                (StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", "work_queue_full")
            }
            Self::Work(EnqueueError::Overloaded) => {
                (StatusCode::SERVICE_UNAVAILABLE, "server_error", "server_overloaded")
            }
            Self::Work(EnqueueError::Store(_)) => {
                (StatusCode::SERVICE_UNAVAILABLE, "server_error", "work_not_kept")
            }
        }
    }

    /// The field that is wrong.
    fn param(&self) -> Option<HeaderName> {
        match self {
            Self::NoField(name) | Self::Field(name) => Some(name.clone()),
            Self::Work(EnqueueError::Mistake(mistake)) => match mistake {
                WorkMistake::ContentTypeLength { .. } => Some(header::CONTENT_TYPE),
                WorkMistake::BodyLength => None,
                WorkMistake::PathBeginning | WorkMistake::PathLength { .. } | WorkMistake::PathCharacters => {
                    Some(PATH_FIELD)
                }
            },
            Self::Path | Self::Method | Self::Body | Self::Work(_) => None,
        }
    }

    fn into_response(self) -> Response<WasiBody> {
        let (status, kind, code) = self.kind();
        let param = self.param();
        let param = param.as_ref().map(HeaderName::as_str);
        let error = json!({ "message": self.to_string(), "type": kind, "code": code, "param": param });
        let mut response = json_response(status, &json!({ "error": error }));
        if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER_S.into());
        }
        if status == StatusCode::METHOD_NOT_ALLOWED {
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
        }
        response
    }
}

fn json_response(status: StatusCode, body: &serde_json::Value) -> Response<WasiBody> {
    const JSON: HeaderValue = HeaderValue::from_static("application/json");
    let body = Full::from(Bytes::from(body.to_string())).map_err(|never| match never {}).boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
}

/// Has functions called by the gateway.
pub(crate) struct ByGateway {
    pub(crate) directory: Arc<Directory>,
    pub(crate) gateway: Arc<ToGateway>,
}

#[async_trait]
impl Deliver for ByGateway {
    fn standing(&self, tenant: &str) -> Standing {
        let entry = TenantId::new(tenant).ok().and_then(|tenant| self.directory.entry(&tenant));
        match entry.map(|entry| entry.tenant.settings.state) {
            Some(TenantState::Active) => Standing::Served,
            Some(TenantState::Suspended) => Standing::Suspended,
            None => Standing::Gone,
        }
    }

    async fn deliver(&self, tenant: &str, delivery: Delivery) -> Result<(), Failure> {
        let failure = |error: &dyn std::error::Error| Failure(error.to_string());
        let tenant = TenantId::new(tenant).map_err(|error| failure(&error))?;
        let gateway = self.gateway.get().ok_or_else(|| Failure("the host is on its way down".into()))?;
        let Delivery { id, work, attempt, is_last, timeout } = delivery;
        let delivery = WorkDelivery {
            id: id.to_string(),
            function: work.function,
            path: work.path,
            content_type: work.content_type,
            caller: caller(&work.caller)?,
            body: work.body,
            attempt,
            is_last,
            timeout,
        };
        Box::pin(gateway.deliver(&tenant, delivery)).await.map_err(|error| failure(&error))
    }
}

/// The fields as they were on the request by which the work was handed over. All of them or none: without one of them
/// the caller might pass for somebody who may do more.
fn caller(fields: &[(String, String)]) -> Result<CallerFields, Failure> {
    let fields = fields.iter().map(|(name, value)| {
        let name: HeaderName = name.parse().ok()?;
        Some((name, HeaderValue::from_str(value).ok()?))
    });
    fields
        .collect::<Option<CallerFields>>()
        .ok_or_else(|| Failure("a field of its caller cannot be sent".into()))
}

/// Deliveries under way, while the host runs.
pub(crate) struct Deliveries {
    queue: Queue,
    task: JoinHandle<()>,
    /// What the functions are called by; it must not end before them.
    gateway: Arc<Gateway>,
}

impl Deliveries {
    /// Begins with what is pending.
    pub(crate) fn start(queue: &Queue, gateway: &Arc<Gateway>) -> Self {
        let running = queue.clone();
        let task = tokio::spawn(async move { Box::pin(running.run()).await });
        Self { queue: queue.clone(), task, gateway: Arc::clone(gateway) }
    }

    /// Lets what is under way go on until then, and cuts it off; that is delivered again when the host runs again.
    pub(crate) async fn stop(mut self, until: Instant) {
        self.queue.stop();
        if timeout_at(until, &mut self.task).await.is_err() {
            self.queue.end();
            if timeout(OUTCOMES_WRITTEN_MAX, &mut self.task).await.is_err() {
                tracing::warn!(
                    "what became of some work could not be noted in time; its attempt counts as failed"
                );
                self.task.abort();
            }
        }
        drop(self.gateway);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use waggle_work::StoreFailure;

    async fn answer(refused: Refused) -> (u16, serde_json::Value, Option<String>) {
        let response = refused.into_response();
        let retry_after = response.headers().get(header::RETRY_AFTER);
        let retry_after = retry_after.map(|value| value.to_str().unwrap().to_owned());
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        (status, body["error"].clone(), retry_after)
    }

    #[tokio::test]
    async fn a_function_reads_what_was_wrong_in_openais_shape() {
        let check =
            async |refused: Refused, status: u16, code: &str, param: Option<&str>, retry: Option<&str>| {
                let shown = format!("{refused:?}");
                let (answered, error, retry_after) = answer(refused).await;
                assert_eq!((answered, error["code"].as_str()), (status, Some(code)), "{shown}");
                assert_eq!((error["param"].as_str(), retry_after.as_deref()), (param, retry), "{shown}");
                assert!(error["message"].is_string() && error["type"].is_string(), "{error}");
            };
        let mistake = |mistake: WorkMistake| Refused::Work(mistake.into());
        let path = Some("waggle-work-path");
        check(Refused::Path, 404, "unknown_url", None, None).await;
        check(Refused::Method, 405, "method_not_allowed", None, None).await;
        check(Refused::NoField(PATH_FIELD), 400, "invalid_header", path, None).await;
        check(mistake(WorkMistake::PathBeginning), 400, "invalid_header", path, None).await;
        let typed = WorkMistake::ContentTypeLength { bytes: 300 };
        check(mistake(typed), 400, "invalid_header", Some("content-type"), None).await;
        check(mistake(WorkMistake::BodyLength), 413, "request_too_large", None, None).await;
        let full = Refused::Work(EnqueueError::Full { pending_max: 3 });
        check(full, 429, "work_queue_full", None, Some("5")).await;
        check(Refused::Work(EnqueueError::Overloaded), 503, "server_overloaded", None, Some("5")).await;
        let store = Refused::Work(EnqueueError::Store(StoreFailure::new("redis://hidden")));
        assert!(!store.to_string().contains("hidden"));
        check(store, 503, "work_not_kept", None, Some("5")).await;
    }

    #[test]
    fn a_field_is_taken_only_if_there_is_one_of_it() {
        let check = |values: &[&'static [u8]], expected: Result<Option<&str>, ()>| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(PATH_FIELD, HeaderValue::from_bytes(value).unwrap());
            }
            let found = one(&headers, &PATH_FIELD).map_err(drop);
            assert_eq!(found, expected.map(|text| text.map(ToOwned::to_owned)), "{values:?}");
        };
        check(&[], Ok(None));
        check(&[b"/a"], Ok(Some("/a")));
        check(&[b"/a", b"/b"], Err(()));
        check(&[b"/\xe4"], Err(()));
    }

    #[test]
    fn a_caller_comes_back_whole_or_not_at_all() {
        let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let whole = caller(&[field("waggle-user", "mia é"), field("waggle-scopes", "a b")]).unwrap();
        assert_eq!(whole.len(), 2);
        assert!(caller(&[field("waggle-user", "mia\n"), field("waggle-scopes", "a")]).is_err());
        assert!(caller(&[field("waggle user", "mia")]).is_err());
    }
}
