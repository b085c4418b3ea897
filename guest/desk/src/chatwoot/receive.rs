//! The webhook: what happened is kept, and done soon, by a call of the host. Chatwoot waits for its webhooks and for nobody's
//! model.

use super::event::{Event, Heard, read};
use super::record::{MESSAGES_WAITING_MAX, Place, change};
use crate::problem::Problem;
use crate::service::{Answer, Service};
use waggle_conversation::Store;
use waggle_openai::ApiError;
use waggle_platform::{Platform, QueueFailure, Reply, Work};

/// When it is worth trying again, in seconds.
const RETRY_AFTER_S: u32 = 5;

/// What was made of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    /// It is to be done.
    Waits,
    /// It was kept before, and is still to be done.
    WaitsAlready,
    /// It was done before.
    Done,
    /// Too much is to be done.
    Full,
}

/// 400: it is nothing that Chatwoot sends.
fn unreadable(error: &serde_json::Error) -> ApiError {
    ApiError::invalid(format!("The body is no event of Chatwoot's: {error}."))
}

/// 429: its conversation has as many messages waiting as may.
fn full() -> ApiError {
    let message =
        format!("{MESSAGES_WAITING_MAX} messages of this conversation are waiting. Try again later.");
    ApiError::rate_limited(Some(RETRY_AFTER_S), message)
}

fn told(status: &str) -> Reply {
    Reply::json(format!("{{\"object\":\"channel.event\",\"status\":\"{status}\"}}").into_bytes())
}

/// Takes an event, which is durable when this returns.
///
/// # Errors
/// It is none; too much is waiting; the store's, or the queue's.
pub(crate) async fn receive<S: Store + 'static, P: Platform>(
    service: &Service<S, P>,
    body: &[u8],
) -> Result<Answer, Problem> {
    let event = match read(body).map_err(|error| unreadable(&error))? {
        Heard::Event(event) => event,
        Heard::Ignored(reason) => return Ok(Answer::Reply(told(reason))),
    };
    let place = event.place;
    match keep(service, *event).await? {
        Kept::Done => Ok(Answer::Reply(told("known"))),
        Kept::Full => Err(full().into()),
        Kept::Waits | Kept::WaitsAlready => {
            let reply = Reply { status: 202, ..told("accepted") };
            enqueue(service, place, reply).await
        }
    }
}

async fn keep<S: Store, P: Platform>(service: &Service<S, P>, event: Event) -> Result<Kept, Problem> {
    let Event { place, contact, waiting } = event;
    let (_, kept) = change(&service.store, place, |record| {
        if record.waiting.iter().any(|known| known.id == waiting.id) {
            return (false, Kept::WaitsAlready);
        }
        if record.knows(&waiting.id) {
            return (false, Kept::Done);
        }
        if record.waiting.len() >= MESSAGES_WAITING_MAX {
            return (false, Kept::Full);
        }
        if contact > 0 {
            record.contact = contact;
        }
        record.waiting.push(waiting.clone());
        (true, Kept::Waits)
    })
    .await?;
    Ok(kept)
}

/// Has the host call back; without one, it is done beside the answer.
async fn enqueue<S: Store + 'static, P: Platform>(
    service: &Service<S, P>,
    place: Place,
    reply: Reply,
) -> Result<Answer, Problem> {
    match service.platform.enqueue(&place.path()).await {
        Ok(()) => Ok(Answer::Reply(reply)),
        Err(QueueFailure::Absent) => {
            let service = service.clone();
            let work = async move { service.run_alone(place).await };
            Ok(Answer::Working(reply, Work::new(work)))
        }
        Err(QueueFailure::Full(retry_after_s) | QueueFailure::Busy(retry_after_s)) => {
            let problem = Problem::undone("the host's work queue has no room".to_owned());
            let error = ApiError { retry_after_s: Some(retry_after_s), ..*problem.error };
            Err(Problem { error: Box::new(error), log: problem.log })
        }
        Err(QueueFailure::Failed(reason)) => Err(Problem::undone(format!("the host's work queue: {reason}"))),
    }
}
