//! The task that makes a call and hands on what comes of it, to whoever reads and to the shelf.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::response::Parts;
use http::{Response, StatusCode};
use http_body::Body;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::AnswerSource;
use super::caches::Host;
use super::complete::is_stream;
use super::flight::{Flight, ReadingSlot};
use super::kept::{Blocks, Kept, SharedHead};
use super::key::Key;
use super::shelf::Shelf;
use crate::error::EgressError;

/// How long a body may stay open after the last event of a stream. Whatever it still brings is nobody's.
const END_AFTER_DONE: Duration = Duration::from_millis(100);
/// How much of the end of a stream is looked at: its last event, two line ends, and one before it.
const TAIL_BYTES: usize = 20;

/// What the leader learns of its call.
pub(crate) enum Led<B> {
    /// An answer that others may read too.
    Shared(Parts, ReadingSlot),
    /// A failure, or a response that says so: the leader's own.
    Own(Result<Response<B>, EgressError>),
    /// The head of an answer that broke off before its first piece.
    Broken(Parts, EgressError),
}

/// Where the call belongs. When it is dropped before the call has ended, the flight is told.
pub(crate) struct Course {
    pub(crate) host: Arc<Host>,
    pub(crate) shelf: Arc<Shelf>,
    pub(crate) key: Key,
    pub(crate) flight: Arc<Flight>,
    pub(crate) has_ended: bool,
}

impl Drop for Course {
    fn drop(&mut self) {
        if !self.has_ended {
            self.shelf.detach(&self.key, &self.flight);
            self.flight.crash();
        }
    }
}

/// Makes the call until it has ended, or `ends`, which is so when nobody has a seat.
pub(crate) async fn fly<F, B>(
    course: Course,
    call: F,
    ends: CancellationToken,
    leader: oneshot::Sender<Led<B>>,
) where
    F: Future<Output = Result<Response<B>, EgressError>>,
    B: Body<Data = Bytes, Error = EgressError> + Unpin,
{
    let token = ends.clone();
    tokio::select! {
        biased;
        () = token.cancelled() => {}
        () = course.fly(call, ends, leader) => {}
    }
}

impl Course {
    async fn fly<F, B>(mut self, call: F, ends: CancellationToken, leader: oneshot::Sender<Led<B>>)
    where
        F: Future<Output = Result<Response<B>, EgressError>>,
        B: Body<Data = Bytes, Error = EgressError> + Unpin,
    {
        let response = match call.await {
            Ok(response) if response.status() == StatusCode::OK => response,
            other => return self.fail(leader, Led::Own(other)),
        };
        let (head, mut body) = response.into_parts();
        let first = match next_piece(&mut body).await.transpose() {
            Ok(first) => first,
            Err(error) => return self.fail(leader, Led::Broken(head, error)),
        };
        let headers = head.headers.clone();
        // What was kept elsewhere is not kept here for another lifetime.
        let is_news = head.extensions.get() != Some(&AnswerSource::Hit);
        let slot = self.flight.answer(SharedHead::of(&headers), ends);
        // If the leader has gone, its place is given up here.
        let _ = leader.send(Led::Shared(head, slot));
        let result = self.hand_on(first, &mut body, is_stream(&headers)).await;
        self.land(&headers, result, is_news);
        // A connection that ends as it should can be used again; one that does not is closed.
        let _ = timeout(END_AFTER_DONE, next_piece(&mut body)).await;
    }

    /// The next who waits makes a call; the leader gets what came of this one.
    fn fail<B>(&mut self, leader: oneshot::Sender<Led<B>>, led: Led<B>) {
        self.has_ended = true;
        self.flight.fail();
        let _ = leader.send(led);
    }

    /// Hands on all pieces, of a stream up to its last event.
    async fn hand_on<B>(&self, first: Option<Bytes>, body: &mut B, is_stream: bool) -> Result<(), EgressError>
    where
        B: Body<Data = Bytes, Error = EgressError> + Unpin,
    {
        let mut blocks = Blocks::default();
        let mut tail = Tail::default();
        let mut next = first;
        while let Some(piece) = next {
            tail.see(&piece);
            let is_done = is_stream && tail.is_done();
            if !self.flight.push(blocks.copy(&piece), is_done || body.is_end_stream()) {
                self.shelf.detach(&self.key, &self.flight);
            }
            if is_done {
                return Ok(());
            }
            poll_fn(|context| self.flight.poll_room(context)).await;
            next = next_piece(body).await.transpose()?;
        }
        Ok(())
    }

    fn land(&mut self, headers: &http::HeaderMap, result: Result<(), EgressError>, is_news: bool) {
        self.has_ended = true;
        if result.is_err() {
            // Nobody who comes now begins to read what breaks off.
            self.shelf.detach(&self.key, &self.flight);
        }
        let pieces = self.flight.end(result).filter(|_pieces| is_news);
        match pieces.and_then(|pieces| Kept::of(headers, &pieces)) {
            Some(kept) => self.host.keep(&self.shelf, self.key, &self.flight, kept),
            None => self.shelf.detach(&self.key, &self.flight),
        }
    }
}

/// The last bytes of a text that comes in pieces.
#[derive(Default)]
struct Tail(Vec<u8>);

impl Tail {
    fn see(&mut self, piece: &[u8]) {
        let kept = piece.get(piece.len().saturating_sub(TAIL_BYTES)..).unwrap_or_default();
        let surplus = (self.0.len() + kept.len()).saturating_sub(TAIL_BYTES);
        self.0.drain(..surplus);
        self.0.extend_from_slice(kept);
    }

    /// Whether it ends with the last event of a stream, and the empty line after it. No text of a model looks like it: in
    /// JSON there is no line end.
    fn is_done(&self) -> bool {
        let line = self.0.trim_ascii_end();
        let is_whole = matches!(self.0.get(line.len()..), Some(b"\n\n" | b"\r\n\r\n"));
        let line = line.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
        is_whole && matches!(line, b"data: [DONE]" | b"data:[DONE]")
    }
}

/// The next piece that holds something. Trailers are left out: they are not replayed, so nobody gets them.
async fn next_piece<B>(body: &mut B) -> Option<Result<Bytes, EgressError>>
where
    B: Body<Data = Bytes, Error = EgressError> + Unpin,
{
    loop {
        match poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await? {
            Ok(frame) => match frame.into_data() {
                Ok(data) if !data.is_empty() => return Some(Ok(data)),
                _ => {}
            },
            Err(error) => return Some(Err(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_done_after_its_last_event_however_it_is_cut() {
        fn check(text: &str, expected: bool) {
            for size in 1..text.len() {
                let mut tail = Tail::default();
                text.as_bytes().chunks(size).for_each(|piece| tail.see(piece));
                assert_eq!(tail.is_done(), expected, "{text:?} in pieces of {size}");
            }
        }
        check("data: {\"x\":1}\n\ndata: [DONE]\n\n", true);
        check("data: {\"x\":1}\r\n\r\ndata:[DONE]\r\n\r\n", true);
        check("data: [DONE]\n", false);
        check("data: [DONE]\r\n", false);
        check("data: {\"x\":1}\n\ndata: [DONE]", false);
        check("data: {\"x\":\"data: [DONE]", false);
        check("data: {\"x\":1}\n\n", false);
        check("\n\n", false);
    }
}
