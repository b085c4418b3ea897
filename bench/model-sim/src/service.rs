//! One request: route it, read it, decide how to treat it, answer it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use hyper::header::{
    AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, RETRY_AFTER,
};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use serde_json::json;
use tokio::time::sleep;

use crate::answer::{Answer, answer, apply_directives};
use crate::behaviour::{Behaviour, BehaviourError, DELAY_MS_MAX, Fault};
use crate::body::{Broken, Ending, EventBody, PartialBody, SimBody};
use crate::config::SimConfig;
use crate::embedding;
use crate::io::LineControl;
use crate::request::{Prompt, parse_chat, parse_responses};
use crate::rerank;
use crate::stats::{Handle, InFlight};
use crate::text::mix;
use crate::wire::{ApiError, ChatWire, HTML_PAGE, Identity, ResponsesWire, Wire};

/// A simulated model, shared by its connections.
pub(crate) struct Model {
    pub(crate) config: SimConfig,
    pub(crate) handle: Handle,
    /// Numbers the answers; unlike the request counter it is never reset, so ids stay unique.
    answers: AtomicU64,
}

#[derive(Clone, Copy)]
enum Api {
    Chat,
    Responses,
}

type Answered = Result<Response<SimBody>, Broken>;

impl Model {
    pub(crate) fn new(config: SimConfig, handle: Handle) -> Self {
        Self { config, handle, answers: AtomicU64::new(0) }
    }

    /// Answers one request.
    ///
    /// # Errors
    /// Only when the connection is to be broken off on purpose.
    pub(crate) async fn respond(&self, request: Request<Incoming>, line: &Arc<LineControl>) -> Answered {
        let path = request.uri().path();
        let api = match path {
            "/v1/chat/completions" => Api::Chat,
            "/v1/responses" => Api::Responses,
            "/v1/embeddings" if request.method() == Method::POST => {
                return Ok(self.compute(request, embedding::answer).await);
            }
            "/v1/rerank" if request.method() == Method::POST => {
                return Ok(self.compute(request, rerank::answer).await);
            }
            _ => return Ok(self.respond_other(request.method(), path)),
        };
        if request.method() != Method::POST {
            return Ok(error_response(&method_error(request.method(), path), None));
        }
        let in_flight = self.handle.ledger.begin().under_key(request.headers());
        match self.complete(api, request, line, in_flight).await {
            Ok(answered) => answered,
            Err((error, in_flight)) => Ok(error_response(&error, Some(in_flight))),
        }
    }

    /// Answers a request by a function of its body alone, without delays or faults.
    async fn compute(
        &self,
        request: Request<Incoming>,
        answer: fn(&[u8]) -> Result<Bytes, ApiError>,
    ) -> Response<SimBody> {
        let in_flight = self.handle.ledger.begin();
        let (head, body) = request.into_parts();
        let answered = match read_body(body, self.config.body_bytes_max).await {
            Ok(body) => {
                self.handle.ledger.record(in_flight.sequence, &head, &body);
                self.key_error(&head).map_or_else(|| answer(&body), Err)
            }
            Err(error) => Err(error),
        };
        match answered {
            Ok(bytes) => json_response(SimBody::Whole { bytes, failed: false, in_flight: Some(in_flight) }),
            Err(error) => error_response(&error, Some(in_flight)),
        }
    }

    async fn complete(
        &self,
        api: Api,
        request: Request<Incoming>,
        line: &Arc<LineControl>,
        in_flight: InFlight,
    ) -> Result<Answered, (ApiError, InFlight)> {
        let (head, body) = request.into_parts();
        let mut behaviour = self.config.behaviour.clone();
        if let Err(error) = behaviour.apply_headers(&head.headers) {
            return Err((behaviour_error(&error), in_flight));
        }
        if behaviour.fault == Some(Fault::RefuseBody) {
            return Ok(Ok(refuse_body(in_flight)));
        }
        let body = match read_body(body, self.config.body_bytes_max).await {
            Ok(body) => body,
            Err(error) => return Err((error, in_flight)),
        };
        self.handle.ledger.record(in_flight.sequence, &head, &body);
        if let Some(error) = self.key_error(&head) {
            return Err((error, in_flight));
        }
        let parsed = match api {
            Api::Chat => parse_chat(&body),
            Api::Responses => parse_responses(&body),
        };
        let prompt = match parsed {
            Ok(prompt) => prompt,
            Err(error) => {
                let answer = ApiError::new(StatusCode::BAD_REQUEST, error.to_string());
                return Err((ApiError { param: error.param(), ..answer }, in_flight));
            }
        };
        if let Err(error) = apply_directives(&prompt, &mut behaviour) {
            return Err((behaviour_error(&error), in_flight));
        }
        if let Some(error) = self.drawn_error(&behaviour) {
            pause(behaviour.headers_ms).await;
            return Err((error, in_flight));
        }
        Ok(self.treat(api, &prompt, &behaviour, line, in_flight).await)
    }

    /// Answers a request that is in order, with the delays and faults it asked for.
    async fn treat(
        &self,
        api: Api,
        prompt: &Prompt<'_>,
        behaviour: &Behaviour,
        line: &Arc<LineControl>,
        in_flight: InFlight,
    ) -> Answered {
        pause(behaviour.headers_ms).await;
        let in_the_middle = prompt.stream && behaviour.after.is_some();
        match behaviour.fault {
            Some(Fault::Html) => return Ok(html_response(in_flight)),
            Some(Fault::RefuseBody) => return Ok(refuse_body(in_flight)),
            Some(Fault::SlowHeaders) => line.drip_head(behaviour.drip_ms),
            Some(Fault::Reset) if !in_the_middle => {
                line.reset_on_close();
                in_flight.faulted();
                return Err(Broken);
            }
            Some(Fault::Hang) if !in_the_middle => {
                pause(DELAY_MS_MAX).await;
                in_flight.faulted();
                return Err(Broken);
            }
            _ => {}
        }
        let answer = answer(prompt, behaviour);
        let wire = self.wire(api, prompt);
        if prompt.stream {
            let body = EventBody::new(wire, answer, behaviour, Arc::clone(line), in_flight);
            return Ok(marked(event_response(SimBody::Events(Box::new(body))), behaviour.fault));
        }
        pause_for(plain_delay(behaviour, &answer)).await;
        let body = plain_body(wire.plain(&answer), behaviour.fault, line, in_flight);
        Ok(marked(json_response(body), behaviour.fault))
    }

    fn wire(&self, api: Api, prompt: &Prompt<'_>) -> Wire {
        let number = self.answers.fetch_add(1, Relaxed) + 1;
        let identity = Identity { number, created: unix_seconds(), model: prompt.model.clone().into_owned() };
        match api {
            Api::Chat => Wire::Chat(ChatWire::new(identity, prompt.include_usage)),
            Api::Responses => {
                let instructions = prompt.instructions.clone().map(std::borrow::Cow::into_owned);
                Wire::Responses(ResponsesWire::new(identity, instructions, prompt.tokens_max))
            }
        }
    }

    fn key_error(&self, head: &Parts) -> Option<ApiError> {
        let key = self.config.api_key.as_ref()?;
        let given = head.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let matches = given.and_then(|value| value.strip_prefix("Bearer ")) == Some(key);
        (!matches).then(|| ApiError::simulated(StatusCode::UNAUTHORIZED, None))
    }

    /// The error answer this request is to get, if it is to get one.
    fn drawn_error(&self, behaviour: &Behaviour) -> Option<ApiError> {
        let asked = behaviour.status.is_some() || behaviour.fail_first.is_some();
        if !asked && behaviour.error_rate == 0.0 {
            return None;
        }
        let drawn_by_rate = behaviour.error_rate == 0.0 || self.draw(behaviour.seed) < behaviour.error_rate;
        let drawn_by_count =
            behaviour.fail_first.is_none_or(|count| self.handle.ledger.is_among_first(&behaviour.key, count));
        if !(drawn_by_rate && drawn_by_count) {
            return None;
        }
        let status = behaviour.status.and_then(|status| StatusCode::from_u16(status).ok());
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Some(ApiError::simulated(status, behaviour.retry_after))
    }

    /// A number from 0 to 1 (exclusive): the next one of the sequence that `seed` makes.
    fn draw(&self, seed: u64) -> f64 {
        const BITS: u32 = 53;
        let number = mix(seed ^ mix(self.answers.fetch_add(1, Relaxed)));
        (number >> (u64::BITS - BITS)) as f64 / (1_u64 << BITS) as f64
    }

    fn respond_other(&self, method: &Method, path: &str) -> Response<SimBody> {
        let answer = match (method, path) {
            (&Method::GET, "/v1/models") => Ok(self.models_json()),
            (&Method::GET, "/sim/stats") if self.config.control => Ok(self.handle.stats_json()),
            (&Method::GET, "/sim/requests") if self.config.control => Ok(self.handle.requests_json()),
            (&Method::GET, "/sim/keys") if self.config.control => Ok(self.handle.keys_json()),
            (&Method::POST, "/sim/reset") if self.config.control => {
                self.handle.reset();
                Ok(self.handle.stats_json())
            }
            (
                _,
                "/v1/models" | "/v1/embeddings" | "/v1/rerank" | "/sim/stats" | "/sim/requests" | "/sim/keys"
                | "/sim/reset",
            ) => Err(method_error(method, path)),
            (&Method::GET, _) if path.starts_with("/v1/models/") => self.model_json(path),
            _ => Err(ApiError::new(StatusCode::NOT_FOUND, format!("Invalid URL ({method} {path})"))),
        };
        match answer {
            Ok(bytes) => json_response(SimBody::whole(bytes)),
            Err(error) => error_response(&error, None),
        }
    }

    fn models_json(&self) -> Bytes {
        let data: Vec<_> = self.config.models.iter().map(|id| model_object(id)).collect();
        json!({"object": "list", "data": data}).to_string().into()
    }

    fn model_json(&self, path: &str) -> Result<Bytes, ApiError> {
        let id = path.trim_start_matches("/v1/models/");
        if self.config.models.iter().any(|model| model == id) {
            return Ok(model_object(id).to_string().into());
        }
        let message = format!("The model '{id}' does not exist");
        Err(ApiError {
            param: Some("model"),
            code: Some("model_not_found"),
            ..ApiError::new(StatusCode::NOT_FOUND, message)
        })
    }
}

fn model_object(id: &str) -> serde_json::Value {
    json!({"id": id, "object": "model", "created": 1_700_000_000, "owned_by": "model-sim"})
}

/// Reads a whole body. One that arrives in one piece, as most do, is not copied.
async fn read_body(mut body: Incoming, bytes_max: usize) -> Result<Bytes, ApiError> {
    let mut first = Bytes::new();
    let mut joined = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            ApiError::new(StatusCode::BAD_REQUEST, format!("could not read the request body: {error}"))
        })?;
        let Ok(data) = frame.into_data() else { continue };
        if first.len() + joined.len() + data.len() > bytes_max {
            let message = format!("the request body is longer than {bytes_max} bytes");
            return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, message));
        }
        if first.is_empty() && joined.is_empty() {
            first = data;
            if body.is_end_stream() {
                break;
            }
            continue;
        }
        joined.extend_from_slice(&std::mem::take(&mut first));
        joined.extend_from_slice(&data);
    }
    Ok(if joined.is_empty() { first } else { joined.freeze() })
}

fn plain_delay(behaviour: &Behaviour, answer: &Answer) -> Duration {
    let pauses = answer.completion_tokens.saturating_sub(1) as f64;
    let paced = behaviour.tokens_per_second.map_or(0.0, |pace| pauses / pace);
    let whole = Duration::from_millis(behaviour.first_token_ms) + Duration::from_secs_f64(paced);
    whole.min(Duration::from_millis(DELAY_MS_MAX))
}

async fn pause(milliseconds: u64) {
    pause_for(Duration::from_millis(milliseconds)).await;
}

async fn pause_for(duration: Duration) {
    if !duration.is_zero() {
        sleep(duration).await;
    }
}

fn plain_body(whole: Bytes, fault: Option<Fault>, line: &Arc<LineControl>, in_flight: InFlight) -> SimBody {
    let ending = match fault {
        Some(Fault::Cut | Fault::CutMidEvent) => Ending::Close,
        Some(Fault::Endless) => Ending::Endless,
        Some(Fault::BadJson) => {
            let bytes = whole.slice(..whole.len() / 2);
            return SimBody::Whole { bytes, failed: false, in_flight: Some(in_flight) };
        }
        _ => return SimBody::Whole { bytes: whole, failed: false, in_flight: Some(in_flight) },
    };
    SimBody::Partial(Box::new(PartialBody::new(whole, ending, Arc::clone(line), in_flight)))
}

/// The response, with what the fault makes its head say.
fn marked(mut response: Response<SimBody>, fault: Option<Fault>) -> Response<SimBody> {
    if fault == Some(Fault::BadGzip) {
        response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

fn json_response(body: SimBody) -> Response<SimBody> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn event_response(body: SimBody) -> Response<SimBody> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

fn html_response(in_flight: InFlight) -> Response<SimBody> {
    let bytes = Bytes::from_static(HTML_PAGE);
    let mut response = Response::new(SimBody::Whole { bytes, failed: false, in_flight: Some(in_flight) });
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
    response
}

fn refuse_body(in_flight: InFlight) -> Response<SimBody> {
    let error =
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "the simulated model was asked not to read this");
    let mut response = error_response(&error, Some(in_flight));
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

fn error_response(error: &ApiError, in_flight: Option<InFlight>) -> Response<SimBody> {
    let mut response = json_response(SimBody::Whole { bytes: error.body(), failed: true, in_flight });
    *response.status_mut() = error.status;
    if let Some(seconds) = error.retry_after_s {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    response
}

fn behaviour_error(error: &BehaviourError) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, error.to_string())
}

fn method_error(method: &Method, path: &str) -> ApiError {
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, format!("Not allowed to {method} on {path}"))
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
