//! The model behind the peer: Chat Completions over a pooled client.

use anyhow::Context as _;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, Method, Request, Uri};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::{Deserialize, Serialize};

use crate::error::PeerError;
use crate::store::StoredItem;

const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

#[derive(Clone)]
pub(crate) struct Model {
    client: Client<HttpConnector, Full<Bytes>>,
    url: Uri,
}

#[derive(Serialize)]
struct ChatRequest<'a> {
    model: &'a str,
    messages: Vec<ChatMessage<'a>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<StreamOptions>,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

#[derive(Serialize)]
struct ChatMessage<'a> {
    role: &'a str,
    content: &'a str,
}

#[derive(Deserialize)]
struct ChatAnswer {
    choices: Vec<Choice>,
    usage: Usage,
}

#[derive(Deserialize)]
struct Choice {
    message: Answered,
}

#[derive(Deserialize)]
struct Answered {
    content: String,
}

/// What a turn cost in tokens.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub(crate) struct Usage {
    pub(crate) prompt_tokens: u64,
    pub(crate) completion_tokens: u64,
}

impl Model {
    pub(crate) fn new(url: &str) -> anyhow::Result<Self> {
        let url = format!("{}/v1/chat/completions", url.trim_end_matches('/')).parse()?;
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self { client, url })
    }

    /// The whole answer to a conversation.
    pub(crate) async fn complete(
        &self,
        model: &str,
        window: &[StoredItem],
    ) -> Result<(String, Usage), PeerError> {
        let body = Limited::new(self.call(model, window, false).await?, ANSWER_BYTES_MAX);
        let bytes = body.collect().await.map_err(|error| PeerError::Model(error.to_string()))?.to_bytes();
        let answer: ChatAnswer = serde_json::from_slice(&bytes)?;
        let choice = answer.choices.into_iter().next();
        let choice = choice.ok_or_else(|| PeerError::Model("it gave no choice".to_owned()))?;
        Ok((choice.message.content, answer.usage))
    }

    /// The answer as the model's own stream of events.
    pub(crate) async fn stream(&self, model: &str, window: &[StoredItem]) -> Result<Incoming, PeerError> {
        self.call(model, window, true).await
    }

    async fn call(&self, model: &str, window: &[StoredItem], stream: bool) -> Result<Incoming, PeerError> {
        let messages = window.iter().map(|item| ChatMessage { role: &item.role, content: &item.text });
        let stream_options = stream.then_some(StreamOptions { include_usage: true });
        let body = ChatRequest { model, messages: messages.collect(), stream, stream_options };
        let mut request = Request::new(Full::new(Bytes::from(serde_json::to_vec(&body)?)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.url.clone();
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let sent = self.client.request(request).await.context("no answer");
        let response = sent.map_err(|error| PeerError::Model(format!("{error:#}")))?;
        if !response.status().is_success() {
            return Err(PeerError::Model(format!("status {}", response.status())));
        }
        Ok(response.into_body())
    }
}
