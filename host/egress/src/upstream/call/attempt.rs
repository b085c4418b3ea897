//! One attempt: the request goes out, its head is judged, and the first piece of its answer awaited. And two attempts side by
//! side, where the first takes long.

use super::beginning::{NoBeginning, begin};
use super::carrier::Carrier;
use super::judge::{Failure, Head, Judged, Patience, judge_error, judge_head};
use super::trial::{Entry, Told, Trial};
use super::upstream::Upstream;
use crate::client::SendOptions;
use crate::credentials::Credentials;
use crate::error::EgressError;
use crate::upstream::concurrency::Place;
use crate::upstream::report::FailureKind;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::{Either, select};
use http::{HeaderMap, Method, Request, Response, response};
use http_body_util::{BodyExt, Full};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime};
use tokio::time::{Instant, timeout_at};

/// How many pieces of a failure's body are read, if they are there, so that its connection can be used again.
const DRAINED_PIECES_MAX: usize = 4;

/// What goes out in each attempt at one upstream.
pub(super) struct Shot<'a> {
    pub(super) upstream: &'a Arc<Upstream>,
    /// What follows the base of an endpoint's URL: a path and perhaps a query.
    pub(super) path: &'a str,
    pub(super) method: &'a Method,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: Bytes,
    pub(super) is_streamed: bool,
    /// The host's key, or the tenant's.
    pub(super) credentials: Option<Arc<Credentials>>,
    pub(super) own: Option<Arc<Credentials>>,
    /// When it must have been answered.
    pub(super) deadline: Instant,
    /// How long an attempt waits for a connection.
    pub(super) connect: Patience,
    /// How long an answer may pause.
    pub(super) between_bytes: Patience,
}

/// An answer that has begun, or a complaint that is passed on.
pub(super) struct Begun<B> {
    pub(super) head: response::Parts,
    /// What was read of the body.
    pub(super) first: Bytes,
    pub(super) rest: B,
    pub(super) endpoint: usize,
    pub(super) is_answer: bool,
    pub(super) place: Option<Place>,
}

/// Why there is no answer.
pub(super) enum NoAnswer {
    /// The attempt failed.
    Failed(Failure),
    /// The upstream does not take the call: 401, 403, 404.
    Refused(http::StatusCode),
    /// The deadline has passed.
    Late,
    /// The request cannot be sent anywhere.
    Error(EgressError),
}

impl Shot<'_> {
    /// Asks one endpoint.
    pub(super) async fn attempt<C: Carrier>(
        &self,
        carrier: &C,
        mut trial: Trial<'_>,
    ) -> Result<Begun<C::Body>, NoAnswer> {
        let request = self.request(trial.endpoint).map_err(NoAnswer::Error)?;
        // In a block, so that nothing of it lives on beside the answer; pinned, as moving its state costs more than polling it.
        let sent = {
            let sending = pin!(carrier.send(request, self.options(), &trial.is_sent));
            timeout_at(self.deadline, sending).await
        };
        let response = match sent {
            Err(_) => return Err(self.late(trial)),
            Ok(Err(error)) => return Err(self.no_answer(trial, error)),
            Ok(Ok(response)) => response,
        };
        let (head, mut rest) = response.into_parts();
        let endpoint = trial.endpoint;
        match judge_head(head.status, &head.headers, SystemTime::now()) {
            Head::Answer { is_events } => {
                trial.accepted();
                let (trial, first) = self.begin(trial, &mut rest, is_events).await?;
                Ok(Begun { head, first, rest, endpoint, is_answer: true, place: trial.answered() })
            }
            Head::Complaint => {
                let place = trial.complained(head.status);
                Ok(Begun { head, first: Bytes::new(), rest, endpoint, is_answer: false, place })
            }
            Head::Refusal => {
                drain(rest);
                trial.refused(head.status);
                Err(NoAnswer::Refused(head.status))
            }
            Head::Failure { failure, is_overload } => {
                drain(rest);
                trial.failed(&failure, is_overload);
                Err(NoAnswer::Failed(failure))
            }
        }
    }

    /// Waits for the first piece of an answer.
    async fn begin<'t, B>(
        &self,
        trial: Trial<'t>,
        rest: &mut B,
        is_events: bool,
    ) -> Result<(Trial<'t>, Bytes), NoAnswer>
    where
        B: http_body::Body<Data = Bytes, Error = EgressError> + Unpin,
    {
        let policy = &self.upstream.policy;
        let in_time = Instant::now() + Duration::from_millis(policy.first_byte_timeout_ms);
        // An answer that is not streamed has its own bound between two pieces.
        let until = if self.is_streamed { in_time.min(self.deadline) } else { self.deadline };
        let failure = match timeout_at(until, begin(rest, is_events)).await {
            Ok(Ok(first)) => return Ok((trial, first)),
            Ok(Err(NoBeginning::Error(error))) => return Err(self.no_answer(trial, error)),
            Err(_) if until == self.deadline => return Err(self.late(trial)),
            Ok(Err(NoBeginning::Empty)) => Failure::new(FailureKind::NoAnswer),
            Err(_) => Failure::new(FailureKind::Timeout),
        };
        trial.failed(&failure, false);
        Err(NoAnswer::Failed(failure))
    }

    /// Asks one endpoint, and after `delay` another one beside it, if `hedge` has leave for that. The answer that begins first
    /// is taken, and the other attempt ended.
    pub(super) async fn attempt_hedged<'a, C: Carrier>(
        &'a self,
        carrier: &C,
        first: Trial<'a>,
        delay: Duration,
        hedge: impl FnOnce() -> Option<(Entry<'a>, Told<'a>)>,
    ) -> Result<Begun<C::Body>, NoAnswer> {
        let race = AtomicBool::new(false);
        let mut first: Trial<'_> = first;
        first.race(&race);
        let mut first = pin!(self.attempt(carrier, first));
        tokio::select! {
            biased;
            result = &mut first => return result,
            () = tokio::time::sleep(delay) => {}
        }
        let Some((entry, told)) = hedge() else { return first.await };
        let mut second: Trial<'_> = Trial::new(self.upstream, entry, told);
        second.race(&race);
        let second = Box::pin(self.attempt(carrier, second));
        match select(first, second).await {
            Either::Left((Err(NoAnswer::Failed(_)), other)) => other.await,
            Either::Right((Err(NoAnswer::Failed(_)), other)) => other.await,
            Either::Left((result, _)) | Either::Right((result, _)) => result,
        }
    }

    /// What an error means that came instead of an answer.
    fn no_answer(&self, trial: Trial<'_>, error: EgressError) -> NoAnswer {
        tracing::debug!(upstream = trial.upstream.name.as_str(), endpoint = trial.endpoint, %error, "attempt failed");
        let is_fair = match &error {
            EgressError::ConnectionTimeout { .. } | EgressError::DnsTimeout { .. } => self.connect.is_fair,
            EgressError::HttpResponseTimeout { .. } => self.between_bytes.is_fair,
            _ => true,
        };
        let failure = match judge_error(error) {
            Judged::Error(error) => return NoAnswer::Error(error),
            Judged::Failure(failure) if is_fair => failure,
            Judged::Failure(_) => Failure::hurried(),
        };
        trial.failed(&failure, false);
        NoAnswer::Failed(failure)
    }

    fn late(&self, trial: Trial<'_>) -> NoAnswer {
        trial.late(self.answer_timeout());
        NoAnswer::Late
    }

    /// How long an attempt waits for its head.
    fn answer_timeout(&self) -> Duration {
        let policy = &self.upstream.policy;
        let ms = if self.is_streamed { policy.first_byte_timeout_ms } else { policy.answer_timeout_ms };
        Duration::from_millis(ms)
    }

    fn request(&self, endpoint: usize) -> Result<Request<Full<Bytes>>, EgressError> {
        let url = self.upstream.urls.get(endpoint).ok_or(EgressError::uri("there is no such endpoint"))?;
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = url.join(self.path)?;
        *request.headers_mut() = self.headers.clone();
        Ok(request)
    }

    fn options(&self) -> SendOptions {
        SendOptions {
            connect_timeout: Some(self.connect.time),
            first_byte_timeout: Some(self.answer_timeout()),
            between_bytes_timeout: Some(self.between_bytes.time),
            // The call as a whole is cancelled, and with it whatever it is waiting for.
            cancelled: None,
            // The operator has named the endpoint.
            allow_private: true,
            upstream_credentials: self.credentials.clone(),
            credentials: self.own.clone(),
            without_configured_credentials: false,
            transport: self.upstream.transport.clone(),
        }
    }
}

/// Reads what is there of a body that nobody wants: if that is all of it, its connection can be used again.
fn drain<B: http_body::Body<Data = Bytes, Error = EgressError> + Unpin>(mut body: B) {
    for _ in 0..DRAINED_PIECES_MAX {
        if !matches!(body.frame().now_or_never(), Some(Some(Ok(_)))) {
            return;
        }
    }
}

/// The head of `response` as the function gets it, without what only this host may say.
pub(super) fn strip_own_fields<B>(response: &mut Response<B>) {
    let is_own = |name: &http::HeaderName| name.as_str().starts_with("waggle-");
    if !response.headers().keys().any(is_own) {
        return;
    }
    let own: Vec<_> = response.headers().keys().filter(|name| is_own(name)).cloned().collect();
    for name in own {
        response.headers_mut().remove(name);
    }
}
