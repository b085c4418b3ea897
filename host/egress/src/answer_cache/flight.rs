//! A call under way: who makes it, what has come of it, and who reads that, each at a pace of its own.

use std::collections::VecDeque;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::kept::{ANSWER_BYTES_MAX, ANSWER_PIECES_MAX, SharedHead};
use super::locked;
use crate::error::EgressError;

/// How far the pump may be ahead of the fastest reader, and the fastest of the slowest, of an answer that is too large to
/// be kept; in bytes. So a flight never holds more than twice this and a piece.
const WINDOW_BYTES: u64 = ANSWER_BYTES_MAX as u64;
/// What a piece takes beside its bytes, estimated upwards.
const PIECE_OVERHEAD_BYTES: u64 = 64;

/// A call under way. Its readers, and those who wait for its head, each hold a seat (`shelf.rs`); without one it ends.
#[derive(Default)]
pub(crate) struct Flight {
    state: Mutex<State>,
    /// Wakes those who wait for the head: one of them when somebody should call, all when there is something to read.
    pub(crate) changed: Notify,
    /// How many have a seat. Changed by the shelf only, under its lock.
    pub(crate) seats: AtomicUsize,
}

#[derive(Default)]
enum State {
    /// Nobody calls: whoever looks next does.
    #[default]
    Vacant,
    /// Somebody calls, and nothing has come yet. The token ends the call.
    Calling(CancellationToken),
    /// The head and the first piece have come.
    Answered(Answer),
}

/// What has come, as far as somebody may still want it.
struct Answer {
    head: Arc<SharedHead>,
    pieces: VecDeque<Bytes>,
    /// How many pieces were before the first of `pieces`, and what they took.
    pieces_gone: usize,
    weight_gone: u64,
    /// What all that has come took, in bytes, and how much of it is text.
    weight: u64,
    text_bytes: usize,
    /// Whether all that there is to read has come, though the body has not ended yet.
    is_said: bool,
    ended: Option<Result<(), Arc<EgressError>>>,
    readers: Vec<Option<Reader>>,
    /// Who waits for room.
    pump: Option<Waker>,
    call: CancellationToken,
}

/// How far one reader is.
#[derive(Default)]
struct Reader {
    pieces: usize,
    weight: u64,
    waker: Option<Waker>,
}

/// What somebody with a seat does next.
pub(crate) enum Turn {
    /// Make the call, with this token, which ends it.
    Lead(CancellationToken),
    /// Wait for [`Flight::changed`].
    Wait,
    /// Read what comes.
    Read(Arc<SharedHead>, ReadingSlot),
    /// Make a call outside of the flight: it is too late to read this one from its beginning.
    Alone,
}

impl Flight {
    /// What whoever has a seat and has not begun to read does now.
    pub(crate) fn turn(self: &Arc<Self>) -> Turn {
        let mut state = locked(&self.state);
        match &mut *state {
            State::Vacant => {
                let call = CancellationToken::new();
                *state = State::Calling(call.clone());
                Turn::Lead(call)
            }
            State::Calling(_) => Turn::Wait,
            State::Answered(answer) if answer.pieces_gone == 0 && !matches!(answer.ended, Some(Err(_))) => {
                let head = Arc::clone(&answer.head);
                Turn::Read(head, ReadingSlot { index: answer.add_reader(), flight: Arc::clone(self) })
            }
            State::Answered(_) => Turn::Alone,
        }
    }

    /// The head has come. Returns the place of the leader, who reads from the beginning.
    pub(crate) fn answer(self: &Arc<Self>, head: SharedHead, call: CancellationToken) -> ReadingSlot {
        let mut answer = Answer {
            head: Arc::new(head),
            pieces: VecDeque::new(),
            pieces_gone: 0,
            weight_gone: 0,
            weight: 0,
            text_bytes: 0,
            is_said: false,
            ended: None,
            readers: Vec::new(),
            pump: None,
            call,
        };
        let index = answer.add_reader();
        *locked(&self.state) = State::Answered(answer);
        self.changed.notify_waiters();
        ReadingSlot { index, flight: Arc::clone(self) }
    }

    /// The call has failed before anything came: one of those who wait makes the next.
    pub(crate) fn fail(&self) {
        *locked(&self.state) = State::Vacant;
        self.changed.notify_one();
    }

    /// Another piece has come, and perhaps the last that there is to read. Returns whether the answer is still one that
    /// could be kept.
    pub(crate) fn push(&self, piece: Bytes, is_last: bool) -> bool {
        let mut state = locked(&self.state);
        let State::Answered(answer) = &mut *state else { return false };
        answer.push(piece);
        answer.is_said |= is_last;
        answer.wake_readers();
        !answer.is_large()
    }

    /// Waits until there is room for another piece. Up to the size of what can be kept there always is, so that no reader
    /// slows the call; a larger answer waits for the fastest of its readers.
    pub(crate) fn poll_room(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut state = locked(&self.state);
        let State::Answered(answer) = &mut *state else { return Poll::Ready(()) };
        let has_room = answer.fastest().is_some_and(|fastest| answer.weight - fastest < WINDOW_BYTES);
        if has_room || answer.is_said || !answer.is_large() {
            return Poll::Ready(());
        }
        answer.pump = Some(context.waker().clone());
        Poll::Pending
    }

    /// Nothing more comes. Returns all pieces of an answer that could be kept.
    pub(crate) fn end(&self, result: Result<(), EgressError>) -> Option<Vec<Bytes>> {
        let mut state = locked(&self.state);
        let State::Answered(answer) = &mut *state else { return None };
        let is_whole = result.is_ok() && !answer.is_large();
        answer.ended = Some(result.map_err(Arc::new));
        answer.wake_readers();
        is_whole.then(|| answer.pieces.iter().cloned().collect())
    }

    /// The call is gone without having ended: who reads learns of it, who waits calls.
    pub(crate) fn crash(&self) {
        let is_answered = matches!(&*locked(&self.state), State::Answered(_));
        if is_answered {
            let reason = "the call it came from was given up".to_owned();
            self.end(Err(EgressError::HttpResponseIncomplete { reason }));
        } else {
            self.fail();
        }
    }

    /// Nobody has a seat any more: ends the call. Returns whether it did, and did not let the call end by itself: an answer
    /// of which all has come, as far as a reader can see, is no reader's to end, but still one to keep.
    pub(crate) fn abandon(&self) -> bool {
        match &*locked(&self.state) {
            State::Answered(answer) if answer.is_said => return false,
            State::Calling(call) | State::Answered(Answer { call, .. }) => call.cancel(),
            State::Vacant => {}
        }
        true
    }
}

impl Answer {
    fn is_large(&self) -> bool {
        self.text_bytes > ANSWER_BYTES_MAX || self.pieces_gone + self.pieces.len() > ANSWER_PIECES_MAX
    }

    fn add_reader(&mut self) -> usize {
        let free = self.readers.iter().position(Option::is_none);
        let index = free.unwrap_or(self.readers.len());
        if free.is_none() {
            self.readers.push(None);
        }
        if let Some(place) = self.readers.get_mut(index) {
            *place = Some(Reader::default());
        }
        index
    }

    fn fastest(&self) -> Option<u64> {
        self.readers.iter().flatten().map(|reader| reader.weight).max()
    }

    fn push(&mut self, piece: Bytes) {
        self.weight += weight_of(&piece);
        self.text_bytes = self.text_bytes.saturating_add(piece.len());
        self.pieces.push_back(piece);
        if self.is_large() {
            self.let_go();
        }
    }

    /// Lets go of what all have read, and of what those lack who are too far behind.
    fn let_go(&mut self) {
        let fastest = self.fastest().unwrap_or(self.weight);
        let slowest = self.readers.iter().flatten().map(|reader| reader.weight).min().unwrap_or(fastest);
        while let Some(piece) = self.pieces.front() {
            let end = self.weight_gone + weight_of(piece);
            if end > slowest && end + WINDOW_BYTES > fastest {
                return;
            }
            self.weight_gone = end;
            self.pieces_gone += 1;
            self.pieces.pop_front();
        }
    }

    fn wake_readers(&mut self) {
        for reader in self.readers.iter_mut().flatten() {
            if let Some(waker) = reader.waker.take() {
                waker.wake();
            }
        }
    }

    fn poll_next(
        &mut self,
        index: usize,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, EgressError>>> {
        let Some(Some(reader)) = self.readers.get_mut(index) else { return Poll::Ready(None) };
        let Some(at) = reader.pieces.checked_sub(self.pieces_gone) else {
            let reason = "it was read too slowly beside others who asked the same".to_owned();
            return Poll::Ready(Some(Err(EgressError::HttpResponseIncomplete { reason })));
        };
        if let Some(piece) = self.pieces.get(at) {
            reader.pieces += 1;
            reader.weight += weight_of(piece);
            let piece = piece.clone();
            if let Some(pump) = self.pump.take() {
                pump.wake();
            }
            return Poll::Ready(Some(Ok(piece)));
        }
        match &self.ended {
            Some(Ok(())) => Poll::Ready(None),
            Some(Err(error)) => Poll::Ready(Some(Err(copy_of(error)))),
            None => {
                match &mut reader.waker {
                    Some(waker) => waker.clone_from(context.waker()),
                    none => *none = Some(context.waker().clone()),
                }
                Poll::Pending
            }
        }
    }
}

fn weight_of(piece: &Bytes) -> u64 {
    piece.len() as u64 + PIECE_OVERHEAD_BYTES
}

/// The same error for another reader. In the middle of a body there are few.
fn copy_of(error: &EgressError) -> EgressError {
    match error {
        EgressError::HttpResponseTimeout { after } => EgressError::HttpResponseTimeout { after: *after },
        EgressError::Cancelled => EgressError::Cancelled,
        EgressError::HttpResponseIncomplete { reason } => {
            EgressError::HttpResponseIncomplete { reason: reason.clone() }
        }
        other => EgressError::HttpResponseIncomplete { reason: other.to_string() },
    }
}

/// One reader's place; it is free again when this is dropped.
pub(crate) struct ReadingSlot {
    flight: Arc<Flight>,
    index: usize,
}

impl ReadingSlot {
    /// The next piece; `None` at the end.
    pub(crate) fn poll_next(&self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, EgressError>>> {
        match &mut *locked(&self.flight.state) {
            State::Answered(answer) => answer.poll_next(self.index, context),
            State::Vacant | State::Calling(_) => Poll::Ready(None),
        }
    }
}

impl Drop for ReadingSlot {
    fn drop(&mut self) {
        let mut state = locked(&self.flight.state);
        let State::Answered(answer) = &mut *state else { return };
        if let Some(place) = answer.readers.get_mut(self.index) {
            *place = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::task::noop_waker_ref;
    use http::HeaderMap;

    fn started() -> (Arc<Flight>, ReadingSlot) {
        let flight = Arc::new(Flight::default());
        let Turn::Lead(call) = flight.turn() else { panic!("the first one leads") };
        let leader = flight.answer(SharedHead::of(&HeaderMap::new()), call);
        assert!(flight.push(Bytes::from_static(b"first"), false));
        (flight, leader)
    }

    fn read(slot: &ReadingSlot) -> Option<Result<usize, &'static str>> {
        match slot.poll_next(&mut Context::from_waker(noop_waker_ref())) {
            Poll::Pending => None,
            Poll::Ready(None) => Some(Ok(0)),
            Poll::Ready(Some(Ok(piece))) => Some(Ok(piece.len())),
            Poll::Ready(Some(Err(error))) => Some(Err(error.code())),
        }
    }

    fn has_room(flight: &Flight) -> bool {
        flight.poll_room(&mut Context::from_waker(noop_waker_ref())).is_ready()
    }

    fn held_bytes(flight: &Flight) -> usize {
        match &*locked(&flight.state) {
            State::Answered(answer) => answer.pieces.iter().map(Bytes::len).sum(),
            _ => 0,
        }
    }

    const PIECE: usize = 16 * 1024;

    /// Pushes as long as there is room, at most `pieces`.
    fn fill(flight: &Flight, pieces: usize) {
        for _ in 0..pieces {
            if !has_room(flight) {
                return;
            }
            flight.push(Bytes::from(vec![b'x'; PIECE]), false);
        }
    }

    #[test]
    fn everybody_reads_all_pieces_in_order_and_the_same_end() {
        let (flight, leader) = started();
        flight.push(Bytes::from_static(b"second"), false);
        let Turn::Read(_, follower) = flight.turn() else { panic!("there is something to read") };
        for slot in [&leader, &follower] {
            assert_eq!((read(slot), read(slot), read(slot)), (Some(Ok(5)), Some(Ok(6)), None));
        }
        let pieces = flight.end(Ok(())).unwrap();
        assert_eq!(pieces, [Bytes::from_static(b"first"), Bytes::from_static(b"second")]);
        assert_eq!((read(&leader), read(&follower)), (Some(Ok(0)), Some(Ok(0))));
    }

    #[test]
    fn an_answer_that_broke_off_is_nothing_to_begin_with() {
        let (flight, leader) = started();
        assert!(flight.end(Err(EgressError::Cancelled)).is_none());
        assert_eq!((read(&leader), read(&leader)), (Some(Ok(5)), Some(Err("internal-error"))));
        assert!(matches!(flight.turn(), Turn::Alone));
    }

    #[test]
    fn a_reader_that_does_not_read_slows_nobody_and_holds_no_more_than_its_bound() {
        let (flight, leader) = started();
        let Turn::Read(_, sleeper) = flight.turn() else { panic!("there is something to read") };
        for _ in 0..200 {
            fill(&flight, 1);
            while matches!(read(&leader), Some(Ok(_))) {}
            assert!(held_bytes(&flight) <= 2 * ANSWER_BYTES_MAX + PIECE);
        }
        assert!(has_room(&flight), "the leader has read all");
        assert_eq!(read(&sleeper), Some(Err("HTTP-response-incomplete")));
        assert!(matches!(flight.turn(), Turn::Alone), "the beginning is gone");
        assert!(flight.end(Ok(())).is_none(), "too large to be kept");
    }

    #[test]
    fn an_answer_that_nobody_reads_waits() {
        let (flight, leader) = started();
        fill(&flight, 1000);
        assert!(held_bytes(&flight) <= 2 * ANSWER_BYTES_MAX + PIECE);
        assert!(!has_room(&flight));
        while matches!(read(&leader), Some(Ok(_))) {}
        assert!(has_room(&flight));
    }

    #[test]
    fn a_slow_reader_within_its_bound_misses_nothing() {
        let (flight, leader) = started();
        let Turn::Read(_, slow) = flight.turn() else { panic!("there is something to read") };
        let (mut fast_bytes, mut slow_bytes) = (0, 0);
        for _ in 0..200 {
            fill(&flight, 4);
            while let Some(Ok(bytes)) = read(&leader) {
                fast_bytes += bytes;
            }
            for _ in 0..4 {
                slow_bytes += read(&slow).map_or(0, |bytes| bytes.unwrap());
            }
        }
        flight.end(Ok(()));
        while let Some(Ok(bytes @ 1..)) = read(&slow) {
            slow_bytes += bytes;
        }
        assert_eq!((fast_bytes, slow_bytes), (5 + 800 * PIECE, 5 + 800 * PIECE));
    }

    #[test]
    fn after_a_failure_the_next_one_leads_with_a_token_of_its_own() {
        let flight = Arc::new(Flight::default());
        let Turn::Lead(first) = flight.turn() else { panic!("the first one leads") };
        assert!(matches!(flight.turn(), Turn::Wait));
        flight.fail();
        let Turn::Lead(second) = flight.turn() else { panic!("the place is vacant") };
        flight.abandon();
        assert!(second.is_cancelled() && !first.is_cancelled());
    }

    #[test]
    fn a_call_that_has_said_all_is_not_ended_by_its_readers() {
        let call = |flight: &Flight| match &*locked(&flight.state) {
            State::Answered(answer) => answer.call.clone(),
            _ => panic!("it is answered"),
        };
        let (flight, _leader) = started();
        assert!(flight.abandon() && call(&flight).is_cancelled());
        let (flight, _leader) = started();
        flight.push(Bytes::from_static(b"last"), true);
        assert!(!flight.abandon() && !call(&flight).is_cancelled());
    }

    #[test]
    fn the_place_of_a_reader_that_left_is_used_again() {
        let (flight, _leader) = started();
        for _ in 0..100 {
            assert!(matches!(flight.turn(), Turn::Read(..)));
        }
        let State::Answered(answer) = &*locked(&flight.state) else { panic!("it is answered") };
        assert!(answer.readers.len() <= 2);
    }
}
