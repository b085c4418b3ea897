//! A call whose progress is told while it runs: `notifications/progress`, then the answer, as server-sent events.

use super::answer::{self, Refusal};
use super::dispatch;
use super::{ServedResult, ServerFailure, ServerTools, Settings, ToolCall};
use crate::message::{self, RequestId};
use crate::progress::Progress;
use crate::version::Version;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use waggle_platform::{STREAM_HEADERS, Sink};

/// How many reports wait at most to be written; of more, the oldest are dropped.
const REPORTS_MAX: usize = 16;

/// A call that is made while a stream is open. The shell begins an answer with [`Self::headers`] and hands its sink to
/// [`Self::run`].
#[derive(Debug)]
pub struct StreamedCall<T> {
    pub(super) tools: T,
    pub(super) settings: Settings,
    pub(super) version: Version,
    pub(super) id: RequestId,
    pub(super) name: String,
    pub(super) arguments: Box<RawValue>,
    /// What the client calls this call's progress.
    pub(super) token: Value,
}

/// Reports that wait, and how far the last one was.
struct Reports<'a> {
    waiting: &'a RefCell<VecDeque<Vec<u8>>>,
    token: &'a Value,
    last: f64,
}

impl Reports<'_> {
    fn push(&mut self, done: f64, total: Option<f64>, message: &str) {
        let mut params = Map::new();
        params.insert("progressToken".to_owned(), self.token.clone());
        params.insert("progress".to_owned(), number(done));
        if let Some(total) = total.filter(|total| total.is_finite()) {
            params.insert("total".to_owned(), number(total));
        }
        if !message.is_empty() {
            params.insert("message".to_owned(), message.into());
        }
        let event = answer::event(&message::notification("notifications/progress", params));
        let mut waiting = self.waiting.borrow_mut();
        if waiting.len() == REPORTS_MAX {
            waiting.pop_front();
        }
        waiting.push_back(event);
    }
}

/// Whole numbers without a fraction, as clients show them.
fn number(value: f64) -> Value {
    const EXACT_MAX: f64 = 9_007_199_254_740_991.0;
    if value.fract() == 0.0 && value.abs() <= EXACT_MAX {
        return (value as i64).into();
    }
    value.into()
}

impl Progress for Reports<'_> {
    fn report(&mut self, done: f64, total: Option<f64>, message: &str) {
        if done.is_finite() && done > self.last {
            self.last = done;
            self.push(done, total, message);
        }
    }
}

/// What happens next to a running call.
enum Next {
    Done(Result<ServedResult, ServerFailure>),
    Reported,
    Gone,
}

impl<T: ServerTools> StreamedCall<T> {
    /// The header fields of the answer.
    pub fn headers(&self) -> &'static [(&'static str, &'static str)] {
        &STREAM_HEADERS
    }

    /// Makes the call, tells its progress, and writes its answer. The call is dropped as soon as the client is gone.
    pub async fn run<S: Sink>(self, mut sink: S) {
        let waiting = RefCell::new(VecDeque::new());
        let mut reports = Reports { waiting: &waiting, token: &self.token, last: 0.0 };
        // The client is told at once that its call has begun.
        reports.push(0.0, None, "");
        let call = ToolCall { name: &self.name, arguments: &self.arguments };
        let mut calling = pin!(self.tools.call(call, &mut reports));
        let outcome = loop {
            let next = {
                let mut gone = pin!(sink.gone());
                poll_fn(|context| {
                    if let Poll::Ready(outcome) = calling.as_mut().poll(context) {
                        return Poll::Ready(Next::Done(outcome));
                    }
                    if !waiting.borrow().is_empty() {
                        return Poll::Ready(Next::Reported);
                    }
                    gone.as_mut().poll(context).map(|()| Next::Gone)
                })
                .await
            };
            match next {
                Next::Gone => return,
                Next::Done(outcome) => break outcome,
                Next::Reported => {
                    if !write_all(&waiting, &mut sink).await {
                        return;
                    }
                }
            }
        };
        if !write_all(&waiting, &mut sink).await {
            return;
        }
        let written = outcome.map_err(|failure| dispatch::refusal(failure, self.version));
        let written = written.and_then(|result| dispatch::called(&self.settings, self.version, result));
        let message = match &written {
            Ok(result) => message::answer(Some(&self.id), Ok(result)),
            Err(Refusal { error, .. }) => message::answer(Some(&self.id), Err(error)),
        };
        let _gone = sink.write(answer::event(&message)).await;
    }
}

/// Writes what waits; whether anybody still reads.
async fn write_all<S: Sink>(waiting: &RefCell<VecDeque<Vec<u8>>>, sink: &mut S) -> bool {
    loop {
        let next = waiting.borrow_mut().pop_front();
        let Some(event) = next else { return true };
        if sink.write(event).await.is_err() {
            return false;
        }
    }
}
