//! A tenant's calls to models: its budgets, its answer cache, the upstreams, and what was used. One call passes them in this
//! order; what a function sees of all of it is a response.

use crate::bill::{Bill, chat_span};
use crate::content::Listened;
use crate::error::StartError;
use crate::model_metrics::ModelMetrics;
use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use serde_json::json;
use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

use waggle_egress::answer_cache::{
    AnswerCacheConfig, AnswerCaches, AnswerSettings, AnswerStats, AskOptions, Question, TenantAnswers,
};
use waggle_egress::upstream::{
    Answered, CallOptions, MODELS_HOST, Upstreams, collect, cost_micros_max, model_body,
};
use waggle_egress::upstream::{
    Api, CredentialSource, UpstreamCredentials, UpstreamSnapshot, UpstreamsConfig,
};
use waggle_egress::usage::{MeteredBody, Usage};
use waggle_egress::{CancellationToken, Credentials, Egress, EgressError, ResponseBody, SendOptions};
use waggle_engine::{BodyError, ModelCallContext, ModelCalls, WasiBody, egress_error};
use waggle_measure::trace::Parent;
use waggle_measure::{TenantSeat, TopTenants};
use waggle_secret::Secret;
use waggle_tenancy::{Budget, Budgets, CounterState, Estimate, OverBudget, Reservation};
use waggle_tenancy::{Meter, SecretSource, TenantEntry, TenantId};

/// Tokens of an answer that a call is expected to have where it sets no bound itself, for what it reserves of a budget.
const ANSWER_TOKENS_EXPECTED: u64 = 1_024;

/// What all tenants' calls to models share.
pub(crate) struct Models {
    config: UpstreamsConfig,
    egress: Egress,
    /// The host's own keys.
    keys: UpstreamCredentials,
    upstreams: Upstreams,
    budgets: Budgets,
    answers: AnswerCaches,
    /// For tenants that say nothing else.
    answer_settings: AnswerSettings,
    tenants: Arc<TopTenants>,
    metrics: ModelMetrics,
}

impl Models {
    /// Looks up the host's own keys and sets up the upstreams. `api_key` is `OPENAI_API_KEY`, which the environment no longer
    /// has to hold.
    ///
    /// # Errors
    /// Every key that cannot be had, or the upstream whose connections cannot be made as it is configured.
    pub(crate) fn open(
        config: UpstreamsConfig,
        api_key: Option<&Secret>,
        egress: &Egress,
        budgets: Budgets,
        answers: &AnswerCacheConfig,
        tenants: &Arc<TopTenants>,
    ) -> Result<Self, StartError> {
        let is_used = Cell::new(false);
        let looked_up = config.host_credentials(|source| {
            is_used.set(is_used.get() || is_api_key(source));
            look_up(source, api_key)
        });
        if api_key.is_some() && !config.is_empty() && !is_used.get() {
            tracing::warn!(
                "{API_KEY_VARIABLE} is set, and no `[upstream.NAME]` takes it; where one should, give it \
                 `credential = {{ environment = \"{API_KEY_VARIABLE}\" }}`"
            );
        }
        let keys = looked_up.map_err(|mistakes| {
            let mistakes: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
            StartError::Upstreams { reason: mistakes.join("; ") }
        })?;
        let upstreams = Upstreams::new(&config, &keys, egress.clone())
            .map_err(|mistake| StartError::Upstreams { reason: mistake.to_string() })?;
        let answer_settings = AnswerSettings { time_to_live_s: answers.time_to_live_s };
        Ok(Self {
            config,
            egress: egress.clone(),
            keys,
            upstreams,
            budgets,
            answers: AnswerCaches::new(answers),
            answer_settings,
            tenants: Arc::clone(tenants),
            metrics: ModelMetrics::new(tenants),
        })
    }

    /// The calls of one tenant, as it is now.
    pub(crate) fn of(self: &Arc<Self>, entry: &TenantEntry, own: Arc<Credentials>) -> TenantModels {
        let tenant = &entry.tenant.id;
        let secret = |wanted: &str| {
            let names = entry.tenant.settings.secrets.keys();
            let mut values = names.zip(entry.upstream_secrets());
            values.find(|(name, _)| *name == wanted).map(|(_, (_place, value))| value.clone())
        };
        let (credentials, mistakes) = self.config.tenant_credentials(tenant.as_str(), secret);
        for mistake in mistakes {
            tracing::error!(%tenant, %mistake, "an upstream has no key for the tenant");
        }
        let kept = entry.tenant.settings.answer_cache_s;
        let settings = kept.map_or(self.answer_settings, |time_to_live_s| AnswerSettings { time_to_live_s });
        TenantModels(Arc::new(Calls {
            tenant: tenant.clone(),
            meter: entry.limits.tokens_per_minute.map(|_limited| Arc::clone(&entry.meter)),
            seat: Arc::clone(entry.meter.seat(&self.tenants, tenant)),
            budget: self.budgets.of(tenant, &entry.limits),
            answers: self.answers.tenant(tenant.as_str(), settings),
            credentials,
            own,
            trace_content: entry.tenant.settings.trace_content,
            models: Arc::clone(self),
        }))
    }

    /// What it counts.
    pub(crate) fn metrics(&self) -> &ModelMetrics {
        &self.metrics
    }

    /// The state of the upstreams.
    pub(crate) fn snapshot(&self) -> Vec<UpstreamSnapshot> {
        self.upstreams.snapshot()
    }

    /// What the answer cache has done.
    pub(crate) fn answer_stats(&self) -> AnswerStats {
        self.answers.stats()
    }

    /// What is used of a tenant's budgets.
    pub(crate) async fn budgets(&self, entry: &TenantEntry) -> Vec<CounterState> {
        match self.budgets.of(&entry.tenant.id, &entry.limits) {
            Some(budget) => budget.state(None).await,
            None => Vec::new(),
        }
    }

    /// The tenant has changed, and with it what its answers depend on.
    pub(crate) fn tenant_changed(&self, tenant: &TenantId) {
        self.answers.invalidate(tenant.as_str());
    }

    /// Forgets a tenant that is erased or gone.
    pub(crate) fn forget(&self, tenant: &TenantId) {
        self.budgets.forget(tenant);
        self.answers.forget(tenant.as_str());
    }

    /// Writes what is not in the store yet.
    pub(crate) async fn close(&self) {
        self.budgets.close().await;
    }
}

/// Whether a key is the one that OpenAI's clients use.
fn is_api_key(source: &CredentialSource) -> bool {
    matches!(source, CredentialSource::Environment(name) if name == API_KEY_VARIABLE)
}

/// The value of a key that is the host's own.
fn look_up(source: &CredentialSource, api_key: Option<&Secret>) -> Result<Secret, String> {
    match source {
        CredentialSource::Environment(name) => match api_key {
            Some(key) if is_api_key(source) => Ok(key.clone()),
            _ => SecretSource::Environment(name.clone())
                .read(std::path::Path::new("."))
                .map_err(|e| e.to_string()),
        },
        CredentialSource::File(path) => SecretSource::File(path.to_string_lossy().into_owned())
            .read(std::path::Path::new("."))
            .map_err(|error| error.to_string()),
        CredentialSource::TenantSecret(_) => Err("it is a tenant's".to_owned()),
    }
}

/// What a function says of a model that it chose itself: the tier, and a word for the reason.
const TIER_FIELD: HeaderName = HeaderName::from_static("waggle-tier");
const TIER_REASON_FIELD: HeaderName = HeaderName::from_static("waggle-tier-reason");
/// Longer words are not counted.
const WORD_BYTES_MAX: usize = 32;
/// Where the models are listed.
const LIST_PATH: &str = "/v1/models";
/// Where OpenAI's clients look for a key.
pub(crate) const API_KEY_VARIABLE: &str = "OPENAI_API_KEY";

/// One tenant's calls to models.
pub(crate) struct TenantModels(Arc<Calls>);

struct Calls {
    tenant: TenantId,
    meter: Option<Arc<Meter>>,
    seat: Arc<TenantSeat>,
    budget: Option<Arc<Budget>>,
    answers: TenantAnswers,
    credentials: UpstreamCredentials,
    /// The tenant's own keys, by where they belong.
    own: Arc<Credentials>,
    /// Whether what is asked and answered may be in the traces.
    trace_content: bool,
    models: Arc<Models>,
}

type AnswerBody = UnsyncBoxBody<Bytes, EgressError>;
type Made = Result<Response<AnswerBody>, EgressError>;

/// For whom and until when.
struct Asker {
    user: Option<String>,
    deadline: Instant,
    /// When the answer must have begun.
    patience: Option<Instant>,
    connect_timeout: Option<Duration>,
    between_bytes_timeout: Option<Duration>,
    span: Parent,
}

#[async_trait]
impl ModelCalls for TenantModels {
    fn takes(&self, host: &str) -> bool {
        host.eq_ignore_ascii_case(MODELS_HOST)
    }

    async fn call(
        &self,
        mut request: Request<WasiBody>,
        context: ModelCallContext,
    ) -> Result<Response<WasiBody>, BodyError> {
        self.0.note_choice(request.headers_mut());
        if request.method() == Method::GET
            && let Some(rest) = request.uri().path().strip_prefix(LIST_PATH)
            && (rest.is_empty() || rest.starts_with('/'))
        {
            let wanted = rest.strip_prefix('/').filter(|name| !name.is_empty()).map(ToOwned::to_owned);
            return Box::pin(self.0.models_named(wanted, context)).await.map_err(egress_error);
        }
        let collecting = collect(request);
        let collected = match &context.cancelled {
            None => collecting.await,
            Some(cancelled) => tokio::select! {
                biased;
                () = cancelled.cancelled() => return Err(egress_error(EgressError::Cancelled)),
                collected = collecting => collected,
            },
        };
        let answered = match collected {
            Ok(request) => self.0.ask(request, context).await,
            Err(error) => error
                .into_response::<ResponseBody>()
                .map(|response| response.map(|body| body.map_err(egress_error).boxed_unsync())),
        };
        answered.map_err(egress_error)
    }
}

impl Calls {
    /// What the function says of how it chose the model: for the metrics, and not for the upstream.
    fn note_choice(&self, headers: &mut HeaderMap) {
        let Some(tier) = headers.remove(TIER_FIELD) else { return };
        let reason = headers.remove(TIER_REASON_FIELD);
        let word = |value: &HeaderValue| {
            let is_word = |text: &&str| text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
            value
                .to_str()
                .ok()
                .filter(is_word)
                .filter(|text| text.len() <= WORD_BYTES_MAX)
                .map(ToOwned::to_owned)
        };
        if let (Some(tier), Some(reason)) = (word(&tier), reason.as_ref().and_then(word)) {
            self.models.metrics.count_choice(&tier, &reason);
        }
    }

    /// The models the tenant may name, or one of them, as OpenAI's API shows them. Where the configuration knows them by
    /// patterns only, the upstream is asked.
    async fn models_named(
        &self,
        wanted: Option<String>,
        context: ModelCallContext,
    ) -> Result<Response<WasiBody>, EgressError> {
        let routes = self.models.upstreams.routes();
        let names = routes.models(self.tenant.as_str());
        if names.is_empty() {
            return self.ask_for_models(wanted.as_deref(), context).await;
        }
        let shown = |name: &str| json!({ "id": name, "object": "model", "created": 0, "owned_by": "waggle" });
        Ok(match wanted {
            None => {
                let data: Vec<_> = names.iter().map(|name| shown(name)).collect();
                json_response(StatusCode::OK, &json!({ "object": "list", "data": data })).map(to_wasi_body)
            }
            Some(name) => match routes.candidates(&name, &[], self.tenant.as_str()) {
                Ok(_candidates) => json_response(StatusCode::OK, &shown(&name)).map(to_wasi_body),
                Err(unknown) => {
                    let (kind, code) = ("invalid_request_error", "model_not_found");
                    error(StatusCode::NOT_FOUND, kind, code, &unknown.to_string(), None).map(to_wasi_body)
                }
            },
        })
    }

    /// The models as the first upstream shows them.
    async fn ask_for_models(
        &self,
        wanted: Option<&str>,
        context: ModelCallContext,
    ) -> Result<Response<WasiBody>, EgressError> {
        let tenant = self.tenant.as_str();
        let mut open = self.models.config.upstreams().values().enumerate();
        let found = open.find(|(_, upstream)| upstream.is_open_to(tenant));
        let endpoint =
            found.and_then(|(index, upstream)| Some((index, upstream, upstream.endpoints.first()?)));
        let Some((index, upstream, endpoint)) = endpoint else {
            let list = json!({ "object": "list", "data": [] });
            return Ok(json_response(StatusCode::OK, &list).map(to_wasi_body));
        };
        let rest = wanted.map_or_else(|| "/models".to_owned(), |name| format!("/models/{name}"));
        let mut request = Request::new(Full::<Bytes>::default());
        *request.uri_mut() = endpoint.url.join(&rest)?;
        let keys = if upstream.tenant_secret().is_some() { &self.credentials } else { &self.models.keys };
        let options = SendOptions {
            connect_timeout: context.connect_timeout,
            first_byte_timeout: context.first_byte_timeout,
            between_bytes_timeout: context.between_bytes_timeout,
            cancelled: context.cancelled,
            // The operator has named the endpoint.
            allow_private: true,
            upstream_credentials: keys.get(index).cloned(),
            credentials: Some(Arc::clone(&self.own)),
            without_configured_credentials: false,
            transport: self.models.upstreams.transport(index),
        };
        let sending = self.models.egress.send(request, options);
        let Ok(response) = timeout_at(Instant::from_std(context.deadline), sending).await else {
            return Ok(too_late().map(to_wasi_body));
        };
        Ok(response?.map(|body| body.map_err(egress_error).boxed_unsync()))
    }

    async fn ask(
        self: &Arc<Self>,
        request: Request<Bytes>,
        context: ModelCallContext,
    ) -> Result<Response<WasiBody>, EgressError> {
        let user = context.user.as_ref().and_then(|user| user.to_str().ok()).map(ToOwned::to_owned);
        let deadline = Instant::from_std(context.deadline);
        let patience = context.first_byte_timeout.and_then(|wait| Instant::now().checked_add(wait));
        let asker = Asker {
            user,
            deadline,
            patience,
            connect_timeout: context.connect_timeout,
            between_bytes_timeout: context.between_bytes_timeout,
            span: context.span,
        };
        let options = AskOptions { deadline: Some(deadline), cancelled: context.cancelled };
        let body = request.body().clone();
        let path = request.uri().path().to_owned();
        // Only the cache asks for it here; what is no call is the upstreams' to explain.
        let called = self.answers.is_on().then(|| model_body::read(&body).ok()).flatten();
        let model = called.map(|call| call.model.into_owned()).unwrap_or_default();
        let question = Question { path: &path, model: &model, body: &body };
        let calls = Arc::clone(self);
        // Boxed, because it is large and handed on several times.
        let make = move |cancelled| Box::pin(calls.make(request, asker, cancelled));
        let response = self.answers.get_or_call(question, options, make).await?;
        Ok(response.map(|body| body.map_err(egress_error).boxed_unsync()))
    }

    /// Makes the call itself, within the budgets, and has what it used counted.
    async fn make(
        self: Arc<Self>,
        mut request: Request<Bytes>,
        asker: Asker,
        cancelled: CancellationToken,
    ) -> Made {
        let span = chat_span(&asker.span, &mut request, self.trace_content);
        let reservation = match self.reserve(&request, asker.user.as_deref()).await {
            Ok(reservation) => reservation,
            Err(over) => return Ok(over_budget(&over)),
        };
        let mut bill = Bill::new(
            self.meter.clone(),
            Arc::clone(&self.seat),
            Arc::clone(&self.models),
            reservation,
            span,
        );
        let request_bytes = request.body().len() as u64;
        let options = CallOptions {
            tenant: self.tenant.as_str(),
            deadline: Some(asker.deadline),
            connect_timeout: asker.connect_timeout,
            between_bytes_timeout: asker.between_bytes_timeout,
            cancelled: Some(cancelled),
            credentials: Some(&self.credentials),
            own: Some(&self.own),
            spent: Some(bill.spent()),
            observer: None,
        };
        let calling = self.models.upstreams.call_collected(request, options);
        let response = match asker.patience {
            None => calling.await?,
            Some(patience) => match timeout_at(patience, calling).await {
                Ok(answered) => answered?,
                Err(_late) => return Ok(too_late()),
            },
        };
        let answered =
            response.extensions().get::<Answered>().filter(|_| response.status() == StatusCode::OK);
        let Some(answered) = answered.cloned() else {
            bill.status(response.status());
            return Ok(response.map(BodyExt::boxed_unsync));
        };
        let listener = self.trace_content.then(|| bill.listen()).flatten();
        let tell = move |used: Usage| bill.answered(used, &answered);
        Ok(match listener {
            None => response.map(|body| MeteredBody::new(body, request_bytes, tell).boxed_unsync()),
            Some(listener) => response.map(|body| {
                MeteredBody::new(Listened::new(body, listener), request_bytes, tell).boxed_unsync()
            }),
        })
    }

    /// Sets aside what the call may use.
    async fn reserve(&self, request: &Request<Bytes>, user: Option<&str>) -> Result<Reservation, OverBudget> {
        let Some(budget) = &self.budget else { return Ok(Reservation::default()) };
        let Ok(call) = model_body::read(request.body()) else { return Ok(Reservation::default()) };
        let prompt = call.prompt_tokens();
        let answer = call.tokens_max.unwrap_or(ANSWER_TOKENS_EXPECTED);
        let also: Vec<&str> = call.models.iter().map(|name| &**name).collect();
        let routes = self.models.upstreams.routes();
        let api = Api::of_path(request.uri().path());
        let candidates =
            routes.candidates_by(api, &call.model, &also, self.tenant.as_str()).unwrap_or_default();
        // Whoever answers costs this much at most. With less set aside, a burst of calls that all fail over to a dearer
        // model would overshoot the budget by what each of them costs more.
        let cost_micros = cost_micros_max(&candidates, prompt, answer);
        let estimate = Estimate { tokens: prompt.saturating_add(answer), cost_micros };
        budget.reserve(user, estimate).await
    }
}

const JSON: header::HeaderValue = header::HeaderValue::from_static("application/json");

/// What a function, and by it the client, reads when a budget is used up.
fn over_budget(over: &OverBudget) -> Response<AnswerBody> {
    let (kind, code) = ("insufficient_quota", "budget_exceeded");
    error(StatusCode::TOO_MANY_REQUESTS, kind, code, &over.to_string(), Some(over.reset_seconds))
}

/// What it reads when no answer began within the time that the function waits.
fn too_late() -> Response<AnswerBody> {
    let message = "The model did not answer in time.";
    error(StatusCode::GATEWAY_TIMEOUT, "server_error", "upstream_timeout", message, Some(1))
}

fn error(
    status: StatusCode,
    kind: &str,
    code: &str,
    message: &str,
    retry_after_s: Option<u64>,
) -> Response<AnswerBody> {
    let error = json!({ "error": { "message": message, "type": kind, "code": code, "param": null } });
    let mut response = json_response(status, &error);
    if let Some(seconds) = retry_after_s {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

fn json_response(status: StatusCode, body: &serde_json::Value) -> Response<AnswerBody> {
    let body = Full::from(body.to_string()).map_err(|never| match never {}).boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
}

fn to_wasi_body(body: AnswerBody) -> WasiBody {
    body.map_err(egress_error).boxed_unsync()
}
