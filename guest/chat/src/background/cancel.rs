//! `POST /v1/responses/{id}/cancel`, and ending a response that nobody runs.

use super::create::announced;
use super::{CHANGES_MAX, LEASE_MS};
use crate::platform::Platform;
use crate::problem::{Problem, internal};
use crate::reply::Reply;
use crate::responses::not_found;
use crate::service::Service;
use serde_json::value::RawValue;
use waggle_conversation::background::{self, Phase, Recorded, State};
use waggle_conversation::{Store, Viewer, response};
use waggle_model::transport::Upstream;
use waggle_openai::members::Members;
use waggle_openai::response::ResponseError;
use waggle_openai::{ApiError, ResponseId, json};

/// How long a cancellation waits for the run to end, in milliseconds.
const CANCEL_WAIT_MS: u64 = 2_000;
/// How often it looks, in milliseconds.
const CANCEL_LOOK_MS: u64 = 50;

/// How a response ends that nobody runs.
pub(super) enum Unrun {
    Cancelled,
    Failed(ResponseError),
}

/// A turn that was cut off and is not begun again.
pub(super) fn interrupted() -> Unrun {
    let message =
        "The response was interrupted by a restart, or could not be stored, and is not begun again.";
    Unrun::Failed(ResponseError { code: "server_error", message: message.to_owned() })
}

/// Whether a response object says that it is over.
pub(crate) fn is_over(object: &RawValue) -> bool {
    let status = Members::read(object.get().as_bytes()).ok();
    let status = status.as_ref().and_then(|members| members.get("status"));
    !matches!(status, Some("\"queued\"" | "\"in_progress\""))
}

fn ended(object: &RawValue, ending: &Unrun) -> Result<Vec<u8>, Problem> {
    let mut members = Members::read(object.get().as_bytes())?;
    match ending {
        Unrun::Cancelled => members.set("status", "\"cancelled\""),
        Unrun::Failed(error) => {
            let mut told = Vec::new();
            json::push(&mut told, error);
            members.set("status", "\"failed\"");
            members.set("error", String::from_utf8(told).map_err(|error| internal(error.to_string()))?);
        }
    }
    Ok(members.to_json())
}

fn reply(object: Box<RawValue>) -> Reply {
    Reply::json(String::from(Box::<str>::from(object)).into_bytes())
}

impl<S: Store, U: Upstream, P: Platform> Service<S, U, P> {
    pub(crate) async fn cancel_response(&self, viewer: &Viewer, id: ResponseId) -> Result<Reply, Problem> {
        let object = response::object(&self.store, viewer, id.0).await?.ok_or_else(|| not_found(id))?;
        if background::state(&self.store, id.0).await?.is_none() {
            return Err(ApiError::invalid("Cannot cancel a synchronous response.").into());
        }
        drop(object);
        self.cancel(viewer, id).await?;
        let object = response::object(&self.store, viewer, id.0).await?.ok_or_else(|| not_found(id))?;
        Ok(reply(object))
    }

    /// Cancels the response, and waits a little until it is over.
    async fn cancel(&self, viewer: &Viewer, id: ResponseId) -> Result<(), Problem> {
        let mut waited_ms = 0;
        while waited_ms < CANCEL_WAIT_MS {
            let Some(seen) = background::state(&self.store, id.0).await? else { return Ok(()) };
            let now_ms = self.platform.now_ms();
            let runs = seen.state.until_ms > now_ms;
            match seen.state.state {
                Phase::Finished => return Ok(()),
                Phase::Running if runs => {
                    let next = State { state: Phase::Cancelling, ..seen.state.clone() };
                    background::change(&self.store, id.0, &seen, next).await?;
                }
                Phase::Cancelling if runs => {
                    self.platform.sleep(CANCEL_LOOK_MS).await;
                    waited_ms += CANCEL_LOOK_MS;
                }
                Phase::Queued | Phase::Running | Phase::Cancelling => {
                    if let Some(held) = self.hold(id, &seen, Phase::Cancelling, seen.state.last).await? {
                        return self.end_unrun(viewer, id, held, &Unrun::Cancelled).await;
                    }
                }
            }
        }
        Ok(())
    }

    /// Takes hold of a response that nobody runs; `None` when another was faster.
    pub(super) async fn hold(
        &self,
        id: ResponseId,
        seen: &Recorded,
        phase: Phase,
        last: bool,
    ) -> Result<Option<Recorded>, Problem> {
        let until_ms = self.platform.now_ms() + LEASE_MS;
        // A number of its own, so that a runner that was taken for dead does not take this for its own.
        let attempt = seen.state.attempt + 1;
        let next = State { state: phase, until_ms, attempt, last, ..seen.state.clone() };
        Ok(background::change(&self.store, id.0, seen, next).await?)
    }

    /// Ends a response whose runner has died, if nobody is called to run it again.
    pub(crate) async fn end_abandoned(&self, viewer: &Viewer, id: ResponseId) -> Result<(), Problem> {
        let Some(seen) = background::state(&self.store, id.0).await? else { return Ok(()) };
        if !seen.state.is_abandoned(self.platform.now_ms()) {
            return Ok(());
        }
        let phase = seen.state.state;
        let ending = if phase == Phase::Cancelling { Unrun::Cancelled } else { interrupted() };
        match self.hold(id, &seen, phase, true).await? {
            Some(held) => self.end_unrun(viewer, id, held, &ending).await,
            None => Ok(()),
        }
    }

    /// Ends a response that is held by the caller and was not run, or not to its end.
    pub(super) async fn end_unrun(
        &self,
        viewer: &Viewer,
        id: ResponseId,
        held: Recorded,
        ending: &Unrun,
    ) -> Result<(), Problem> {
        let Some(object) = response::object(&self.store, viewer, id.0).await? else { return Ok(()) };
        if !is_over(&object) {
            let kind = match ending {
                Unrun::Cancelled => "response.incomplete",
                Unrun::Failed(_) => "response.failed",
            };
            let object = ended(&object, ending)?;
            let end = background::end(&self.store, id.0).await?;
            let mut events = announced(&object, &[kind], end.begins)?;
            events.last = true;
            background::put(&self.store, id.0, &object, events.pair(id.0, end.number)).await?;
        }
        self.settle_state(id, held).await
    }

    /// Says that a response is over, and deletes what was needed to run it. One that was deleted stays deleted.
    pub(super) async fn settle_state(&self, id: ResponseId, held: Recorded) -> Result<(), Problem> {
        let mut held = held;
        for _ in 0..CHANGES_MAX {
            let next = State { state: Phase::Finished, until_ms: 0, ..held.state.clone() };
            if background::change(&self.store, id.0, &held, next).await?.is_some() {
                return Ok(background::forget_request(&self.store, id.0).await?);
            }
            let Some(seen) = background::state(&self.store, id.0).await? else {
                return Ok(background::remove(&self.store, id.0).await?);
            };
            held = seen;
        }
        Ok(())
    }
}
