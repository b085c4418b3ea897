//! The ways by which a call goes to the model: directly, and through one layer of the egress more each.

use crate::measure::Mode;
use anyhow::{Context as _, anyhow, ensure};
use bytes::Bytes;
use clap::ValueEnum;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Body;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Serialize;
use std::error::Error as StdError;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::Instant;
use waggle_egress::answer_cache::{
    AnswerCacheConfig, AnswerCaches, AnswerSettings, AskOptions, Question, TenantAnswers,
};
use waggle_egress::upstream::{CallOptions, MODELS_HOST, PromptsSpent, Upstreams, UpstreamsConfig};
use waggle_egress::{CancellationToken, Egress, EgressConfig, Secret, SendOptions};

const TENANT: &str = "bank";
const PATH: &str = "/v1/chat/completions";
const KEY: &str = "sk-of-the-measurement";
/// How long a call may take, which none does.
const DEADLINE: Duration = Duration::from_secs(60);
/// The beginning of the answer's text: before it, a stream has said nothing.
const FIRST_WORD: &[u8] = b"You";

/// A way to make a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Way {
    /// hyper-util's client, with its pool
    Direct,
    /// `Egress::send`
    Egress,
    /// `Upstreams::call_collected`: routing, breaker, concurrency, retry budget, credential
    Upstreams,
    /// The same within `TenantAnswers::get_or_call`, the answer cache being off
    Answers,
}

impl Way {
    /// All of them, the direct one first.
    pub(crate) const ALL: [Self; 4] = [Self::Direct, Self::Egress, Self::Upstreams, Self::Answers];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Direct => "a direct",
            Self::Egress => "b egress",
            Self::Upstreams => "c upstreams",
            Self::Answers => "d answers",
        }
    }
}

/// All ways to one model, of one configuration for both kinds of answers.
pub(crate) struct Ways {
    config: UpstreamsConfig,
    direct_url: String,
    models_url: String,
    key: HeaderValue,
    prompt: String,
}

/// The clients of one runtime, and the call they make.
pub(crate) struct Callers {
    direct: Client<HttpConnector, Full<Bytes>>,
    egress: Egress,
    upstreams: Upstreams,
    answers: TenantAnswers,
    direct_url: String,
    models_url: String,
    key: HeaderValue,
    body: Bytes,
    mode: Mode,
}

impl Ways {
    /// Ways to the model at this address, with a prompt of so many bytes.
    pub(crate) fn new(model: SocketAddr, prompt_bytes: usize) -> anyhow::Result<Self> {
        let config = format!(
            "[upstream.sim]\nurl = 'http://{model}/v1'\ncredential = {{ environment = 'KEY' }}\n\
             [model.sim]\nupstream = 'sim'\n"
        );
        Ok(Self {
            config: toml::from_str(&config).context("the configuration of the measurement")?,
            direct_url: format!("http://{model}{PATH}"),
            models_url: format!("http://{MODELS_HOST}{PATH}"),
            key: HeaderValue::from_str(&format!("Bearer {KEY}"))?,
            prompt: "x".repeat(prompt_bytes),
        })
    }

    /// Clients of the runtime that this runs in.
    pub(crate) fn callers(&self, mode: Mode) -> anyhow::Result<Callers> {
        let keys = self.config.host_credentials(|_source| Ok::<_, String>(Secret::new(KEY)));
        let keys = keys.map_err(|mistakes| anyhow!("{mistakes:?}"))?;
        let egress = Egress::new(EgressConfig::default())?;
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let body = serde_json::json!({
            "model": "sim",
            "messages": [
                { "role": "system", "content": self.prompt },
                { "role": "user", "content": "Is it open today?" },
            ],
            "stream": mode == Mode::Streamed,
        });
        Ok(Callers {
            direct: Client::builder(TokioExecutor::new()).build(connector),
            upstreams: Upstreams::new(&self.config, &keys, egress.clone())?,
            egress,
            answers: AnswerCaches::new(&AnswerCacheConfig::default())
                .tenant(TENANT, AnswerSettings::default()),
            direct_url: self.direct_url.clone(),
            models_url: self.models_url.clone(),
            key: self.key.clone(),
            body: body.to_string().into(),
            mode,
        })
    }
}

impl Callers {
    /// Makes one call, and reads its answer to the end. Returns how long it took: until the answer was there, of a streamed
    /// one until it said something.
    pub(crate) async fn call(&self, way: Way) -> anyhow::Result<Duration> {
        let start = Instant::now();
        match way {
            Way::Direct => {
                let request = self.request(&self.direct_url, true)?;
                self.read(start, self.direct.request(request).await?).await
            }
            Way::Egress => {
                let request = self.request(&self.direct_url, true)?;
                let options = SendOptions { allow_private: true, ..SendOptions::default() };
                self.read(start, self.egress.send(request, options).await?).await
            }
            Way::Upstreams => {
                let request = self.request(&self.models_url, false)?.map(|_same| self.body.clone());
                let spent = PromptsSpent::default();
                let cancelled = CancellationToken::new();
                let options = options(start, &spent, cancelled);
                self.read(start, self.upstreams.call_collected(request, options).await?).await
            }
            Way::Answers => {
                let request = self.request(&self.models_url, false)?.map(|_same| self.body.clone());
                let upstreams = self.upstreams.clone();
                let question = Question { path: PATH, model: "sim", body: &self.body };
                let asking = AskOptions {
                    deadline: Some(start + DEADLINE),
                    cancelled: Some(CancellationToken::new()),
                };
                let call = move |cancelled| async move {
                    let spent = PromptsSpent::default();
                    upstreams.call_collected(request, options(start, &spent, cancelled)).await
                };
                self.read(start, self.answers.get_or_call(question, asking, call).await?).await
            }
        }
    }

    fn request(&self, url: &str, with_key: bool) -> anyhow::Result<Request<Full<Bytes>>> {
        let mut request = Request::post(url).body(Full::new(self.body.clone()))?;
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if with_key {
            request.headers_mut().insert(AUTHORIZATION, self.key.clone());
        }
        Ok(request)
    }

    async fn read<B>(&self, start: Instant, response: Response<B>) -> anyhow::Result<Duration>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: StdError + Send + Sync + 'static,
    {
        ensure!(response.status() == StatusCode::OK, "status {}", response.status());
        let mut body = response.into_body();
        let mut said = None;
        while let Some(frame) = body.frame().await {
            let data = frame?.into_data().unwrap_or_default();
            let says = || data.windows(FIRST_WORD.len()).any(|window| window == FIRST_WORD);
            if said.is_none() && says() {
                said = Some(start.elapsed());
            }
        }
        let said = said.context("the model said nothing")?;
        Ok(if self.mode == Mode::Streamed { said } else { start.elapsed() })
    }
}

fn options(start: Instant, spent: &PromptsSpent, cancelled: CancellationToken) -> CallOptions<'_> {
    CallOptions {
        tenant: TENANT,
        deadline: Some(start + DEADLINE),
        cancelled: Some(cancelled),
        spent: Some(spent),
        ..CallOptions::default()
    }
}
