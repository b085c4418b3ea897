//! Chat completions and models: checked, passed on, and passed back.

use crate::models::Models;
use crate::platform::{Platform, Sink};
use crate::problem::Problem;
use crate::race::{First, race};
use crate::reply::Reply;
use crate::route::decoded;
use crate::service::{Answer, Service, Streaming, report};
use crate::settings::{Endpoint, Settings};
use waggle_conversation::Store;
use waggle_model::ModelFailure;
use waggle_model::failure::excerpt;
use waggle_model::transport::{ChunkSource, Upstream, UpstreamRequest, UpstreamResponse, read_whole};
use waggle_openai::ApiError;
use waggle_openai::chat::ChatRequest;
use waggle_openai::error::echo;

/// The longest whole answer of a model endpoint, in bytes.
pub(crate) const ANSWER_BYTES_MAX: usize = 16 << 20;
/// How much of an answer that reports an error is read, in bytes.
const ERROR_BYTES_MAX: usize = 64 << 10;

/// A streamed chat completion on its way through.
#[derive(Debug)]
pub struct RelayedStream<P, B> {
    platform: P,
    body: B,
}

impl<P: Platform, B: ChunkSource> RelayedStream<P, B> {
    /// Hands every chunk on as it arrives. A client that goes away ends the call upstream.
    pub(crate) async fn run<K: Sink>(mut self, mut sink: K) {
        loop {
            let chunk = match race(self.body.next_chunk(), sink.gone()).await {
                First::Left(chunk) => chunk,
                First::Right(()) => return,
            };
            let written = match chunk {
                Ok(Some(chunk)) => sink.write(chunk).await,
                Ok(None) => return,
                Err(failure) => {
                    let problem = Problem::from(&ModelFailure::from(failure));
                    let reply = report(&self.platform, &problem);
                    // The stream may have been cut in the middle of an event, which the empty line ends.
                    let event = [b"\n\ndata: ", reply.body.as_slice(), b"\n\n"].concat();
                    let _gone = sink.write(event).await;
                    return;
                }
            };
            if written.is_err() {
                return;
            }
        }
    }
}

/// Whether the answer is the stream of events that was asked for.
pub(crate) fn is_event_stream<B>(response: &UpstreamResponse<B>) -> bool {
    response.content_type.as_ref().is_some_and(|content_type| content_type.starts_with("text/event-stream"))
}

/// Sends a request and lets only a 200 through.
pub(crate) async fn call<U: Upstream>(
    upstream: &U,
    request: UpstreamRequest,
) -> Result<UpstreamResponse<U::Body>, ModelFailure> {
    let mut response = upstream.send(request).await?;
    if response.status == 200 {
        return Ok(response);
    }
    let body = read_whole(&mut response.body, ERROR_BYTES_MAX).await.unwrap_or_default();
    Err(ModelFailure::from_status(response.status, &body, response.retry_after.as_deref()))
}

impl<S: Store, U: Upstream, P: Platform> Service<S, U, P> {
    pub(crate) async fn create_chat_completion(self, body: Vec<u8>) -> Answer<S, P, U::Body> {
        match self.start_chat_completion(body).await {
            Ok(Started::Whole(reply)) => Answer::Reply(reply),
            Ok(Started::Stream(body)) => {
                let relay = RelayedStream { platform: self.platform, body };
                Answer::Stream(Streaming::Relay(Box::new(relay)))
            }
            Err(problem) => Answer::Reply(report(&self.platform, &problem)),
        }
    }

    async fn start_chat_completion(&self, body: Vec<u8>) -> Result<Started<U::Body>, Problem> {
        let chat = ChatRequest::read(&body)?;
        let settings = Settings::read(&self.platform).await?;
        let model = settings.model(chat.model.as_deref())?;
        if let Some(field) = chat.other_models.as_deref().filter(|_| !settings.models.is_any()) {
            return Err(other_models(field).into());
        }
        let body = chat.forwarded(body, model);
        let request = settings.endpoint.request("/chat/completions", Some(body), chat.stream);
        let response = call(&self.upstream, request).await.map_err(|failure| Problem::from(&failure))?;
        if chat.stream && is_event_stream(&response) {
            return Ok(Started::Stream(response.body));
        }
        whole(response).await.map(Started::Whole).map_err(|failure| Problem::from(&failure))
    }

    pub(crate) async fn list_models(&self) -> Result<Reply, Problem> {
        let models = Models::read(&self.platform).await?;
        let reply = self.pass_on("/models").await?;
        if models.is_any() {
            return Ok(reply);
        }
        let kept = models.keep(&reply.body).map_err(|error| {
            Problem::from(&ModelFailure::NotACompletion(format!("no list of models: {error}")))
        })?;
        Ok(Reply::json(kept))
    }

    /// `name` is as it was written in the path.
    pub(crate) async fn get_model(&self, name: &str) -> Result<Reply, Problem> {
        Models::read(&self.platform).await?.check(&decoded(name))?;
        self.pass_on(&format!("/models/{name}")).await
    }

    /// Passes a GET on.
    async fn pass_on(&self, path: &str) -> Result<Reply, Problem> {
        let endpoint = Endpoint::read(&self.platform).await?;
        let answered = call(&self.upstream, endpoint.request(path, None, false)).await;
        let response = answered.map_err(|failure| Problem::from(&failure))?;
        whole(response).await.map_err(|failure| Problem::from(&failure))
    }
}

fn other_models(field: &str) -> ApiError {
    let field = echo(field);
    let message =
        format!("'{field}' is not supported: only 'model' may say which model is used. Leave it out.");
    ApiError::unsupported(field, message)
}

enum Started<B> {
    Whole(Reply),
    Stream(B),
}

/// An answer that must be one JSON object.
async fn whole<B: ChunkSource>(mut response: UpstreamResponse<B>) -> Result<Reply, ModelFailure> {
    let body = read_whole(&mut response.body, ANSWER_BYTES_MAX).await?;
    let looks_like_json =
        body.trim_ascii_start().first() == Some(&b'{') && body.trim_ascii_end().last() == Some(&b'}');
    if looks_like_json {
        Ok(Reply::json(body))
    } else {
        Err(ModelFailure::NotACompletion(format!("'{}'", excerpt(&body))))
    }
}
