//! `POST /v1/responses`: a turn, answered whole or begun as a stream.

use crate::output::Output;
use crate::platform::Platform;
use crate::prepare::{Ending, PreparedTurn};
use crate::problem::Problem;
use crate::relay::{ANSWER_BYTES_MAX, call, is_event_stream};
use crate::reply::Reply;
use crate::service::{Answer, Service, Streaming, report};
use crate::stream::StreamedTurn;
use waggle_conversation::{Store, Viewer};
use waggle_model::ModelFailure;
use waggle_model::failure::excerpt;
use waggle_model::reply::{Completion, FinishReason, read_completion};
use waggle_model::transport::{Upstream, UpstreamRequest, UpstreamResponse, read_whole};
use waggle_openai::response::Status;

/// The status of a response whose model stopped for this reason.
pub(crate) fn status(finish: FinishReason) -> Status {
    match finish {
        FinishReason::Stop => Status::Completed,
        FinishReason::Length => Status::Incomplete("max_output_tokens"),
        FinishReason::ContentFilter => Status::Incomplete("content_filter"),
    }
}

impl<S: Store, U: Upstream, P: Platform> Service<S, U, P> {
    pub(crate) async fn create_response(self, viewer: &Viewer, body: Vec<u8>) -> Answer<S, P, U::Body> {
        let (turn, request) = match self.prepare(viewer, &body).await {
            Ok(prepared) => prepared,
            Err(problem) => return Answer::Reply(report(&self.platform, &problem)),
        };
        drop(body);
        if turn.stream {
            return self.begin_stream(turn, request).await;
        }
        let answered = match self.ask(request).await {
            Ok(completion) => self.finish(&turn, completion).await,
            Err(failure) => Err(self.fail(&turn, &failure).await),
        };
        Answer::Reply(answered.unwrap_or_else(|problem| report(&self.platform, &problem)))
    }

    async fn ask(&self, request: UpstreamRequest) -> Result<Completion, ModelFailure> {
        let mut response = call(&self.upstream, request).await?;
        let body = read_whole(&mut response.body, ANSWER_BYTES_MAX).await?;
        read_completion(&body)
    }

    async fn finish(&self, turn: &PreparedTurn, completion: Completion) -> Result<Reply, Problem> {
        let (status, usage) = (status(completion.finish), completion.usage);
        let mut output = Output::new(turn.nonce(), turn.input.len(), None);
        output.complete(completion)?;
        let items = output.to_raw()?;
        let ending = Ending { status, output: &items, output_tokens: output.tokens(), usage };
        Ok(Reply::json(turn.commit(&self.store, ending).await?))
    }

    /// Keeps the failed response, when responses are kept, and makes the problem of the failure.
    async fn fail(&self, turn: &PreparedTurn, failure: &ModelFailure) -> Problem {
        let status = Status::Failed(failure.to_response_error());
        let ending = Ending { status, output: &[], output_tokens: 0, usage: None };
        if let Err(error) = turn.commit(&self.store, ending).await {
            self.platform.log(&format!("response={} not kept: {error}", turn.head.id));
        }
        let mut problem = Problem::from(failure);
        problem.log = problem.log.map(|log| format!("response={} {log}", turn.head.id));
        problem
    }

    /// Waits for the head of the model's answer before it promises a stream: until then a failure still has a status
    /// that clients understand and retry.
    async fn begin_stream(self, turn: PreparedTurn, request: UpstreamRequest) -> Answer<S, P, U::Body> {
        match self.open_stream(request).await {
            Ok(response) => {
                let Self { store, platform, .. } = self;
                let stream = StreamedTurn::new(store, platform, turn, response.body);
                Answer::Stream(Streaming::Turn(Box::new(stream)))
            }
            Err(failure) => {
                let problem = self.fail(&turn, &failure).await;
                Answer::Reply(report(&self.platform, &problem))
            }
        }
    }

    async fn open_stream(&self, request: UpstreamRequest) -> Result<UpstreamResponse<U::Body>, ModelFailure> {
        let mut response = call(&self.upstream, request).await?;
        if is_event_stream(&response) {
            return Ok(response);
        }
        let body = read_whole(&mut response.body, ANSWER_BYTES_MAX).await?;
        Err(ModelFailure::NotACompletion(format!("no event stream but '{}'", excerpt(&body))))
    }
}
