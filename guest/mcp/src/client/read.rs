//! Reading an answer: a JSON document, or a stream of events that ends with one.

use super::session::Remembered;
use super::{Client, ClientFailure};
use crate::fetch::{Fetch, FetchResponse};
use crate::message::{self, Message, RequestId, RpcError, code};
use crate::progress::Progress;
use serde::Deserialize;
use serde_json::value::RawValue;
use waggle_model::sse::SseParser;
use waggle_model::transport::{ChunkSource, TransportFailure, read_whole};

/// How many requests of a server are answered, with a refusal, while one of ours runs.
const REFUSALS_MAX: usize = 8;

/// The result of a request, or the error that its server says.
type Answered = Result<Box<RawValue>, RpcError>;

#[derive(Deserialize)]
struct Reported {
    progress: f64,
    #[serde(default)]
    total: Option<f64>,
    #[serde(default)]
    message: Option<String>,
}

fn protocol(text: impl Into<String>) -> ClientFailure {
    ClientFailure::Protocol(text.into())
}

impl<F: Fetch> Client<F> {
    /// Reads the answer to request `id`.
    ///
    /// # Errors
    /// There is none, none to this request, or more than is listened to.
    pub(super) async fn read<P: Progress>(
        &self,
        response: FetchResponse<F::Body>,
        known: Option<&Remembered>,
        id: u64,
        progress: &mut P,
    ) -> Result<Answered, ClientFailure> {
        let content_type = response.header("content-type").unwrap_or_default();
        let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let mut body = response.body;
        match essence.as_str() {
            "application/json" => {
                let bytes = read_whole(&mut body, self.bounds.answer_bytes_max).await?;
                match message::read(&bytes).map_err(|error| protocol(error.message))? {
                    Message::Answer { id: answered, answer } => answer_to(id, answered, answer),
                    _ => Err(protocol("an answer that is none")),
                }
            }
            "text/event-stream" => self.read_events(body, known, id, progress).await,
            "" => Err(protocol("an answer that does not say what it is")),
            other => Err(protocol(format!("an answer of type '{other:.100}'"))),
        }
    }

    async fn read_events<P: Progress>(
        &self,
        mut body: F::Body,
        known: Option<&Remembered>,
        id: u64,
        progress: &mut P,
    ) -> Result<Answered, ClientFailure> {
        let bounds = self.bounds;
        let too_much = |what: String| ClientFailure::TooMuch(what);
        let mut parser = SseParser::with_bound(bounds.answer_bytes_max);
        let (mut bytes, mut events, mut refusals) = (0_usize, 0_usize, 0_usize);
        loop {
            while let Some(event) = parser.next_event().map_err(|error| too_much(error.to_string()))? {
                events += 1;
                if events > bounds.events_max {
                    return Err(too_much(format!("more than {} events", bounds.events_max)));
                }
                // Servers of 2025-11-25 begin with an event without data, to tell its number.
                if event.is_empty() {
                    continue;
                }
                match message::read(&event).map_err(|error| protocol(error.message))? {
                    Message::Answer { id: answered, answer } => return answer_to(id, answered, answer),
                    Message::Notification { method, params } => report(&method, params, id, progress),
                    Message::Request { id: asked, method, .. } => {
                        refusals += 1;
                        if refusals > REFUSALS_MAX {
                            return Err(too_much(format!("more than {REFUSALS_MAX} requests of its own")));
                        }
                        self.refuse(known, &asked, &method).await?;
                    }
                }
            }
            let Some(chunk) = body.next_chunk().await? else {
                let cut = TransportFailure::Cut("the stream ended before the answer".to_owned());
                return Err(cut.into());
            };
            bytes += chunk.len();
            if bytes > bounds.answer_bytes_max {
                return Err(too_much(format!("more than {} bytes", bounds.answer_bytes_max)));
            }
            parser.push(&chunk);
        }
    }

    /// Answers a request of the server: there is nobody here to be asked, and no model that is lent.
    async fn refuse(
        &self,
        known: Option<&Remembered>,
        asked: &RequestId,
        method: &str,
    ) -> Result<(), ClientFailure> {
        if known.is_some_and(|known| known.version.is_stateless()) {
            return Err(protocol(format!("a request of its own, '{method:.100}'")));
        }
        let refused =
            RpcError::new(code::METHOD_NOT_FOUND, format!("'{method:.100}' is not offered by this client"));
        let nothing = RawValue::from_string("{}".to_owned()).map_err(|error| protocol(error.to_string()))?;
        let answer = if method == "ping" { Ok(&*nothing) } else { Err(&refused) };
        // A server that does not take the refusal ends its answer, or the caller's time does.
        let _taken = self.post(self.head(known), message::answer(Some(asked), answer)).await;
        Ok(())
    }
}

/// The answer, if it is one to request `id`.
fn answer_to(
    id: u64,
    answered: Option<&RawValue>,
    answer: Result<&RawValue, RpcError>,
) -> Result<Answered, ClientFailure> {
    let answered = answered.map_or("null", RawValue::get);
    // A server that could not read a request does not know its number either.
    let is_ours = answered == id.to_string() || (answered == "null" && answer.is_err());
    if !is_ours {
        return Err(protocol(format!("an answer to request {answered:.100}, which was not asked")));
    }
    if answer.as_ref().is_ok_and(|result| !result.get().starts_with('{')) {
        return Err(protocol("a result that is no object"));
    }
    Ok(answer.map(ToOwned::to_owned))
}

/// Hands on how far request `id` is.
fn report<P: Progress>(method: &str, params: Option<&RawValue>, id: u64, progress: &mut P) {
    #[derive(Deserialize)]
    struct Token {
        #[serde(rename = "progressToken")]
        token: u64,
    }
    if method != "notifications/progress" {
        return;
    }
    let Some(params) = params else { return };
    let token: Result<Token, _> = serde_json::from_str(params.get());
    let reported: Result<Reported, _> = serde_json::from_str(params.get());
    if let (Ok(Token { token }), Ok(reported)) = (token, reported)
        && token == id
    {
        progress.report(reported.progress, reported.total, reported.message.as_deref().unwrap_or_default());
    }
}
