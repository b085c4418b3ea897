//! `GET /v1/responses/{id}?stream=true`: the events of a response from any of them on, also while it runs.

use crate::platform::{Gone, Platform, Sink};
use crate::problem::Problem;
use crate::race::{First, race};
use crate::replay;
use crate::reply::{Reply, STREAM_HEADERS};
use crate::responses::not_found;
use crate::service::{Answer, Service, Streaming, report};
use waggle_conversation::background::{self, Batch, Phase};
use waggle_conversation::{Store, StoreError, Viewer, response};
use waggle_model::transport::Upstream;
use waggle_openai::event::DONE;
use waggle_openai::{ApiError, ResponseId};

/// How often a follower looks for the next events, in milliseconds.
const POLL_MS: u64 = 100;
/// After how many looks without any it asks whether there will be more.
const LOOKS_MAX: u64 = 10;
/// After how long a silence it says that it is still there, in milliseconds.
const HEARTBEAT_MS: u64 = 10_000;
/// How long one stream follows, in milliseconds; the client goes on with another.
const FOLLOW_MS_MAX: u64 = 540_000;

/// Whether the query asks for events.
pub(crate) fn wants_stream(query: &str) -> bool {
    value(query, "stream") == Some("true")
}

fn value<'a>(query: &'a str, wanted: &str) -> Option<&'a str> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter(|(name, _)| *name == wanted).map(|(_, value)| value).next_back()
}

fn wrong(reason: &str) -> ApiError {
    let message = format!("Invalid value for 'starting_after': {reason}.");
    ApiError::invalid_param("starting_after", "invalid_value", message)
}

/// The number of the first event that is wanted.
fn first_wanted(query: &str, last_event_id: Option<&str>) -> Result<u64, ApiError> {
    let Some(after) = value(query, "starting_after").or(last_event_id) else { return Ok(0) };
    let after: Option<u64> = after.trim().parse().ok();
    let first = after.and_then(|after| after.checked_add(1));
    first.ok_or_else(|| wrong("it must be the sequence_number of an event"))
}

fn beyond(end: u64) -> ApiError {
    wrong(&format!("there are only {end} events so far"))
}

/// The events of `text`, which begin with number `first`, from number `wanted` on.
pub(super) fn from(text: &str, first: u64, wanted: u64) -> &str {
    let skipped = usize::try_from(wanted.saturating_sub(first)).unwrap_or(usize::MAX);
    let Some(before) = skipped.checked_sub(1) else { return text };
    let end = text.match_indices("\n\n").nth(before).map(|(at, _)| at + 2);
    end.and_then(|end| text.get(end..)).unwrap_or_default()
}

/// The events of a background response, from one on, as they come.
#[derive(Debug)]
pub struct FollowedStream<S, P> {
    store: S,
    platform: P,
    id: ResponseId,
    /// The number of the next event.
    next: u64,
    /// The number of the batch that it is in.
    number: u64,
}

/// What there is for a follower.
enum Found {
    Events(Batch),
    NothingYet,
    /// And there never will be.
    Nothing,
}

impl<S: Store, P: Platform> FollowedStream<S, P> {
    pub(super) fn from_the_beginning(store: S, platform: P, id: ResponseId) -> Self {
        Self { store, platform, id, next: 0, number: 0 }
    }

    /// Writes the events until the last, or until the client goes away or has had its time.
    pub(crate) async fn run<K: Sink>(mut self, mut sink: K) {
        let (began_ms, mut spoke_ms) = (self.platform.now_ms(), self.platform.now_ms());
        let mut looks = 0;
        while self.platform.now_ms().saturating_sub(began_ms) < FOLLOW_MS_MAX {
            match self.look(looks).await {
                Ok(Found::Events(batch)) => {
                    let last = batch.last;
                    if self.hand_on(&batch, &mut sink).await.is_err() || last {
                        return;
                    }
                    (looks, spoke_ms) = (0, self.platform.now_ms());
                    continue;
                }
                Ok(Found::NothingYet) => looks += 1,
                Ok(Found::Nothing) => return,
                Err(error) => {
                    self.platform.log(&format!("response={} {error}", self.id));
                    return;
                }
            }
            if self.platform.now_ms().saturating_sub(spoke_ms) >= HEARTBEAT_MS {
                if sink.write(b": \n\n".to_vec()).await.is_err() {
                    return;
                }
                spoke_ms = self.platform.now_ms();
            }
            if let First::Right(()) = race(self.platform.sleep(POLL_MS), sink.gone()).await {
                return;
            }
        }
        let _gone = sink.write(b": to be continued by another request\n\n".to_vec()).await;
    }

    async fn look(&self, looks: u64) -> Result<Found, StoreError> {
        // Asked before the events, so that those are seen that were written before the end.
        let over = looks % LOOKS_MAX == LOOKS_MAX - 1
            && background::state(&self.store, self.id.0).await?.is_none_or(|seen| {
                // Whoever asks anew ends it and reads how.
                let abandoned = seen.state.is_abandoned(self.platform.now_ms());
                abandoned || seen.state.state == Phase::Finished
            });
        let batch = background::batch(&self.store, self.id.0, self.number).await?;
        Ok(batch.map_or(if over { Found::Nothing } else { Found::NothingYet }, Found::Events))
    }

    async fn hand_on<K: Sink>(&mut self, batch: &Batch, sink: &mut K) -> Result<(), Gone> {
        let mut bytes = from(&batch.text, batch.first, self.next).as_bytes().to_vec();
        self.next = self.next.max(batch.end());
        self.number += 1;
        if batch.last {
            bytes.extend_from_slice(DONE);
        }
        if bytes.is_empty() { Ok(()) } else { sink.write(bytes).await }
    }
}

impl<S: Store + 'static, U: Upstream + 'static, P: Platform> Service<S, U, P> {
    /// All events of a response that is made in the background, as they come.
    pub(crate) fn follow_from_the_beginning(self, id: ResponseId) -> Answer<S, P, U::Body> {
        let Self { store, platform, .. } = self;
        Answer::Stream(Streaming::Followed(Box::new(FollowedStream::from_the_beginning(store, platform, id))))
    }

    pub(crate) async fn follow_response(
        self,
        viewer: &Viewer,
        id: ResponseId,
        query: &str,
        last_event_id: Option<&str>,
    ) -> Answer<S, P, U::Body> {
        match self.find_events(viewer, id, query, last_event_id).await {
            Ok(Events::Kept { next, number }) => {
                let Self { store, platform, .. } = self;
                let followed = FollowedStream { store, platform, id, next, number };
                Answer::Stream(Streaming::Followed(Box::new(followed)))
            }
            Ok(Events::Made(body)) => {
                let headers = STREAM_HEADERS.map(|(name, value)| (name, value.to_owned()));
                Answer::Reply(Reply { status: 200, headers: headers.to_vec(), body })
            }
            Err(problem) => Answer::Reply(report(&self.platform, &problem)),
        }
    }

    async fn find_events(
        &self,
        viewer: &Viewer,
        id: ResponseId,
        query: &str,
        last_event_id: Option<&str>,
    ) -> Result<Events, Problem> {
        let stored = response::streamed(&self.store, viewer, id.0).await?.ok_or_else(|| not_found(id))?;
        let next = first_wanted(query, last_event_id)?;
        if background::state(&self.store, id.0).await?.is_some() {
            self.end_abandoned(viewer, id).await?;
            let end = background::end(&self.store, id.0).await?.begins;
            if next > end {
                return Err(beyond(end).into());
            }
            let number = background::find(&self.store, id.0, next).await?.number;
            // After the last event there is only its end.
            return Ok(Events::Kept {
                next,
                number: if next == end && next > 0 { number - 1 } else { number },
            });
        }
        let replay::Events { text, count } = replay::events(&stored)?;
        if next > count {
            return Err(beyond(count).into());
        }
        Ok(Events::Made([from(&text, 0, next).as_bytes(), DONE].concat()))
    }
}

/// Where the events of a response are.
enum Events {
    /// In the store, the next in this batch.
    Kept { next: u64, number: u64 },
    /// Made again.
    Made(Vec<u8>),
}
