//! A call to a model from end to end: which upstreams can answer, attempts at each of them until one does, and what the
//! function gets if none does.
//!
//! | module | what it does |
//! |---|---|
//! | `run` | the candidates one after the other, and the attempts at each |
//! | `attempt` | one attempt, and a hedge beside it |
//! | `trial` | what an attempt holds, and what its outcome does to its upstream |
//! | `judge` | what an outcome means |
//! | `beginning` | the first piece of an answer |
//! | `body` | the answer on its way |
//! | `answer` | the host's own answer when there is none |
//! | `record` | what is told when it is over |
//! | `upstream` | an upstream and its state |
//! | `carrier` | the egress below |

mod answer;
mod attempt;
mod beginning;
mod body;
mod carrier;
mod collect;
mod judge;
mod record;
mod run;
#[cfg(test)]
mod tests;
mod trial;
mod upstream;

pub use self::body::{RESPONSE_BODY_BYTES_MAX, UpstreamBody};
pub use self::carrier::Carrier;
pub use self::collect::{CollectError, REQUEST_BODY_BYTES_MAX, collect};

use self::answer::{Answer, Failures};
use self::body::Under;
use self::record::Record;
use self::run::{Run, Won};
use self::upstream::Upstream;
use super::config::{Api, ConfigMistake, Prices, UpstreamCredentials, UpstreamName, UpstreamsConfig};
use super::model_body::{self, BodyError};
use super::report::{CallObserver, Ending};
use super::route::{Candidates, Routes};
use super::snapshot::UpstreamSnapshot;
use super::spent::PromptsSpent;
use crate::client::Egress;
use crate::credentials::Credentials;
use crate::error::EgressError;
use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_LENGTH, HOST};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body::Body;
use std::error::Error as StdError;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
pub(crate) use tokio_util::sync::CancellationToken;

/// The host by which functions name models, whichever upstream has them.
pub const MODELS_HOST: &str = "models.waggle.internal";

/// What stands before a path there. It is the base of an endpoint's URL in its place.
const BASE_PATH: &str = "/v1";

const MODEL_FIELD: HeaderName = HeaderName::from_static("waggle-model");
const UPSTREAM_FIELD: HeaderName = HeaderName::from_static("waggle-upstream");
const ATTEMPTS_FIELD: HeaderName = HeaderName::from_static("waggle-attempts");
/// What the answer's tokens cost, where that is configured.
const PRICE_FIELD: HeaderName = HeaderName::from_static("waggle-price");

/// For whom a call is made, and until when.
#[derive(Clone, Default)]
pub struct CallOptions<'a> {
    /// The tenant.
    pub tenant: &'a str,
    /// When all of the call must be over, its answer's body included; the upstream's `total_timeout_ms` holds as well.
    pub deadline: Option<Instant>,
    /// How long each attempt may wait for a connection, and how long the answer may pause once its head is there. The
    /// shorter of this and the upstream's own holds. Where this one is much shorter, what it ends is no failure of the
    /// upstream.
    pub connect_timeout: Option<Duration>,
    /// See [`CallOptions::connect_timeout`].
    pub between_bytes_timeout: Option<Duration>,
    /// Ends the call at any point, its answer's body included, when it is cancelled.
    pub cancelled: Option<CancellationToken>,
    /// The tenant's keys, for the upstreams that want the tenant's.
    pub credentials: Option<&'a UpstreamCredentials>,
    /// What else the tenant has, by where it belongs: put on last, in place of the upstream's own.
    pub own: Option<&'a Arc<Credentials>>,
    /// Where the prompts are counted that attempts spent without an answer.
    pub spent: Option<&'a PromptsSpent>,
    /// Who is told what the call did.
    pub observer: Option<Arc<dyn CallObserver>>,
}

/// Who answered a call. Every response of [`Upstreams::call`] that an upstream made has it among its extensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// The NAME of the `[model.NAME]`.
    pub model: Arc<str>,
    /// The upstream.
    pub upstream: UpstreamName,
    /// What the tokens of this answer cost.
    pub prices: Prices,
    /// How many attempts were made, over all upstreams, hedges included.
    pub attempts: u32,
    /// The tokens of the prompt, by estimate: what was used if nothing of the answer is read.
    pub prompt_tokens: u64,
}

/// All upstreams. Cheap to clone.
pub struct Upstreams<C = Egress>(Arc<Inner<C>>);

impl<C> Clone for Upstreams<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

struct Inner<C> {
    carrier: C,
    routes: Routes,
    upstreams: Box<[Arc<Upstream>]>,
}

impl Upstreams {
    /// The upstreams of `config`, with the keys that are the host's own. Reads the files with roots.
    ///
    /// # Errors
    /// Which upstream's connections cannot be made as it is configured, and why.
    pub fn new(
        config: &UpstreamsConfig,
        credentials: &UpstreamCredentials,
        egress: Egress,
    ) -> Result<Self, ConfigMistake> {
        let mut transports = Vec::with_capacity(config.upstreams().len());
        for (name, upstream) in config.upstreams() {
            transports.push(Upstream::transport(name, upstream, &egress)?);
        }
        Ok(Self::with_carrier(config, credentials, transports, egress))
    }
}

impl<C: Carrier> Upstreams<C> {
    fn with_carrier(
        config: &UpstreamsConfig,
        credentials: &UpstreamCredentials,
        transports: Vec<Option<Arc<crate::transport::TransportProfile>>>,
        carrier: C,
    ) -> Self {
        let now = Instant::now();
        let upstreams = config.upstreams().iter().zip(transports).enumerate();
        let upstreams = upstreams.map(|(index, ((name, upstream), transport))| {
            Arc::new(Upstream::new(name, upstream, credentials.get(index).cloned(), transport, now))
        });
        Self(Arc::new(Inner { carrier, routes: Routes::new(config), upstreams: upstreams.collect() }))
    }

    /// Which models lead where.
    #[must_use]
    pub fn routes(&self) -> &Routes {
        &self.0.routes
    }

    /// How connections to the upstream of this index are made, where that is not as all others are.
    #[must_use]
    pub fn transport(&self, upstream: usize) -> Option<Arc<crate::transport::TransportProfile>> {
        self.0.upstreams.get(upstream)?.transport.clone()
    }

    /// The state of each upstream, in the order of their names.
    #[must_use]
    pub fn snapshot(&self) -> Vec<UpstreamSnapshot> {
        let now = Instant::now();
        self.0.upstreams.iter().map(|upstream| upstream.snapshot(now)).collect()
    }

    /// Calls the model that the body of `request` names. The request's URI is one of [`MODELS_HOST`] below `/v1/`: what
    /// follows that goes to the base URL of an endpoint.
    ///
    /// Returns when the answer has begun: of a streamed one, something has been said. Until then whatever fails is tried
    /// again, here or at the next upstream that has the model; from then on nothing is. When nobody answers, the response is
    /// an error of OpenAI's shape: 503, 504 or 429 with `Retry-After` and one of the codes `upstream_unavailable`,
    /// `upstream_open`, `upstream_busy`, `upstream_timeout` and `rate_limit_exceeded`; 401, 403 or 404 where all upstreams
    /// refused the call that way. A complaint about the request (400, 413, 422, …) is passed on as it is. A body that is no
    /// call is answered with 400 or 413, a model that does not exist with 404.
    ///
    /// Response fields: `waggle-model` (who answered: the configured name, or the name at the upstream where that is a
    /// pattern), `waggle-upstream`, `waggle-attempts` and, where prices are configured, `waggle-price` (as [`Prices`] are
    /// written).
    ///
    /// # Errors
    /// [`EgressError::Cancelled`], or what is wrong with the request: its body broke off, its path or its headers cannot be
    /// sent.
    pub async fn call<B>(
        &self,
        request: Request<B>,
        options: CallOptions<'_>,
    ) -> Result<Response<UpstreamBody<C::Body>>, EgressError>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        let collecting = collect(request);
        let collected = match options.cancelled.clone() {
            None => collecting.await,
            Some(cancelled) => tokio::select! {
                biased;
                () = cancelled.cancelled() => return Err(EgressError::Cancelled),
                collected = collecting => collected,
            },
        };
        match collected {
            Ok(request) => self.call_collected(request, options).await,
            Err(error) => error.into_response(),
        }
    }

    /// Like [`Upstreams::call`], with a body that is in memory.
    ///
    /// # Errors
    /// As [`Upstreams::call`].
    pub async fn call_collected(
        &self,
        request: Request<Bytes>,
        options: CallOptions<'_>,
    ) -> Result<Response<UpstreamBody<C::Body>>, EgressError> {
        let mut record = Record::new(options.observer.clone(), request.body().len() as u64);
        let (mut head, body) = request.into_parts();
        // What belongs to the body and to the host that the function named; both are others now.
        head.headers.remove(CONTENT_LENGTH);
        head.headers.remove(HOST);
        // The host reads along: what an answer says first, and what it used.
        head.headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let prepared = path_below_base(&head.method, &head.uri).and_then(|path| {
            let call = model_body::read(&body).map_err(|error| of_body(&error))?;
            let candidates = self.candidates(head.uri.path(), &call, options.tenant)?;
            Ok((path, call, candidates))
        });
        let (path, call, candidates) = match prepared {
            Ok(prepared) => prepared,
            Err(answer) => return Ok(own(answer, &mut record)),
        };
        let run = Run {
            carrier: &self.0.carrier,
            upstreams: &self.0.upstreams,
            method: &head.method,
            headers: &head.headers,
            path,
            call: &call,
            options: &options,
        };
        let mut failures = Failures::default();
        let won = {
            // Pinned where it is made: the state of a call is large, and would be moved with the future.
            let mut running = pin!(run.run(&candidates, &mut record, &mut failures));
            match &options.cancelled {
                None => running.await?,
                Some(cancelled) => tokio::select! {
                    biased;
                    () = cancelled.cancelled() => return Err(EgressError::Cancelled),
                    won = &mut running => won?,
                },
            }
        };
        Ok(match won {
            Some(won) => answered(won, record, call.prompt_tokens(), options.cancelled.clone()),
            None => own(failures.answer(), &mut record),
        })
    }

    fn candidates(
        &self,
        path: &str,
        call: &model_body::ModelCall<'_>,
        tenant: &str,
    ) -> Result<Candidates, Answer> {
        let also: Vec<&str> = call.models.iter().map(|name| &**name).collect();
        self.0.routes.candidates_by(Api::of_path(path), &call.model, &also, tenant).map_err(|error| {
            let status = StatusCode::NOT_FOUND;
            Answer::of_request(status, "model_not_found", error.to_string(), Some("model"))
        })
    }
}

/// What of the URI goes to an endpoint's base URL.
fn path_below_base<'a>(method: &Method, uri: &'a Uri) -> Result<&'a str, Answer> {
    let path = uri.path_and_query().map_or("", |path| path.as_str());
    match path.strip_prefix(BASE_PATH) {
        Some(rest) if rest.starts_with('/') && method == Method::POST => Ok(rest),
        Some(rest) if rest.starts_with('/') => {
            let message = "Calls to a model are made with POST.";
            Err(Answer::of_request(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message, None))
        }
        _ => {
            let message = "There are models below /v1/ only.";
            Err(Answer::of_request(StatusCode::NOT_FOUND, "unknown_url", message, None))
        }
    }
}

fn of_body(error: &BodyError) -> Answer {
    Answer::of_request(StatusCode::BAD_REQUEST, "invalid_body", error.to_string(), error.param())
}

/// A response of the host's own.
fn own<B>(answer: Answer, record: &mut Record) -> Response<UpstreamBody<B>> {
    record.report.ending = Ending::Failed(answer.code);
    record.report.status = Some(answer.status);
    let mut response = answer.into_response();
    response.headers_mut().insert(ATTEMPTS_FIELD, HeaderValue::from(record.report.attempts));
    response
}

/// An upstream's response, with who it is.
fn answered<B: Body>(
    won: Won<'_, B>,
    mut record: Record,
    prompt_tokens: u64,
    cancelled: Option<CancellationToken>,
) -> Response<UpstreamBody<B>> {
    let Won { begun, upstream, candidate, deadline, is_pause_fair } = won;
    let report = &mut record.report;
    report.model = Some(Arc::clone(&candidate.configured));
    report.upstream = Some(upstream.name.clone());
    report.prices = candidate.prices;
    report.status = Some(begun.head.status);
    report.first_byte = Some(record.started.elapsed());
    let attempts = report.attempts;
    let under = Under {
        upstream: Arc::clone(upstream),
        endpoint: begun.endpoint,
        is_answer: begun.is_answer,
        is_pause_fair,
        deadline,
        cancelled,
        waits: None,
        record,
        _place: begun.place,
    };
    let mut response = Response::from_parts(begun.head, UpstreamBody::of(begun.first, begun.rest, under));
    attempt::strip_own_fields(&mut response);
    let is_pattern = candidate.configured.ends_with('*');
    let model = if is_pattern { &candidate.model } else { &candidate.configured };
    let headers = response.headers_mut();
    if let Ok(model) = HeaderValue::from_str(model) {
        headers.insert(MODEL_FIELD, model);
    }
    headers.insert(UPSTREAM_FIELD, upstream.name_value.clone());
    headers.insert(ATTEMPTS_FIELD, HeaderValue::from(attempts));
    if !candidate.prices.is_free()
        && let Ok(price) = HeaderValue::try_from(candidate.prices.to_string())
    {
        headers.insert(PRICE_FIELD, price);
    }
    response.extensions_mut().insert(Answered {
        model: Arc::clone(&candidate.configured),
        upstream: upstream.name.clone(),
        prices: candidate.prices,
        attempts,
        prompt_tokens,
    });
    response
}
