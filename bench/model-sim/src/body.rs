//! The response bodies: whole, broken, or a stream of events at the pace the request asked for.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use crate::answer::{Answer, Reply};
use crate::behaviour::{Behaviour, DELAY_MS_MAX, Fault};
use crate::io::LineControl;
use crate::stats::InFlight;
use crate::text;
use crate::wire::Wire;

/// The deliberate end of a connection; hyper closes it without finishing the answer.
#[derive(Debug, thiserror::Error)]
#[error("the simulated model broke the connection off, as the request asked")]
pub(crate) struct Broken;

/// What ends an answer that is not to be finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Close,
    Reset,
    Hang,
    Endless,
}

pub(crate) enum SimBody {
    /// The whole answer in one frame. `failed` answers carry an error status.
    Whole {
        bytes: Bytes,
        failed: bool,
        in_flight: Option<InFlight>,
    },
    /// The beginning of an answer, then `ending`.
    Partial(Box<PartialBody>),
    Events(Box<EventBody>),
}

impl SimBody {
    pub(crate) fn whole(bytes: Bytes) -> Self {
        Self::Whole { bytes, failed: false, in_flight: None }
    }
}

impl Body for SimBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match self.get_mut() {
            Self::Whole { bytes, failed, in_flight } => {
                match in_flight.take() {
                    Some(guard) if *failed => guard.failed(),
                    Some(guard) => guard.completed(),
                    None => {}
                }
                let bytes = std::mem::take(bytes);
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Self::Partial(partial) => partial.poll(context),
            Self::Events(events) => events.poll(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole { bytes, .. } if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole { bytes, .. } => SizeHint::with_exact(bytes.len() as u64),
            Self::Partial(partial) => partial.declared.map_or_else(SizeHint::default, SizeHint::with_exact),
            Self::Events(_) => SizeHint::default(),
        }
    }
}

pub(crate) struct PartialBody {
    beginning: Bytes,
    /// The length the answer would have had, for `Content-Length`.
    declared: Option<u64>,
    breaker: Breaker,
}

impl PartialBody {
    /// The first half of a whole answer.
    pub(crate) fn new(mut whole: Bytes, ending: Ending, line: Arc<LineControl>, guard: InFlight) -> Self {
        let declared = (ending != Ending::Endless).then_some(whole.len() as u64);
        whole.truncate(whole.len() / 2);
        Self { beginning: whole, declared, breaker: Breaker::new(ending, line, guard) }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        const FILLER: &[u8] = b" and so on and on and on and on and on and on and on and on and on and on";
        if !self.beginning.is_empty() {
            return frame(std::mem::take(&mut self.beginning));
        }
        if self.breaker.ending == Ending::Endless {
            return frame(Bytes::from_static(FILLER));
        }
        self.breaker.poll(context)
    }
}

fn frame(bytes: Bytes) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
    Poll::Ready(Some(Ok(Frame::data(bytes))))
}

/// Ends an answer before its end.
struct Breaker {
    ending: Ending,
    line: Arc<LineControl>,
    guard: Option<InFlight>,
    flushed: bool,
    hang: Option<Pin<Box<Sleep>>>,
}

impl Breaker {
    fn new(ending: Ending, line: Arc<LineControl>, guard: InFlight) -> Self {
        Self { ending, line, guard: Some(guard), flushed: false, hang: None }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if self.ending == Ending::Hang {
            let hang = self.hang.get_or_insert_with(|| Box::pin(sleep(Duration::from_millis(DELAY_MS_MAX))));
            ready!(hang.as_mut().poll(context));
        } else if !self.flushed {
            // hyper flushes what it has when a body has nothing ready; an error at once would lose it.
            self.flushed = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.ending == Ending::Reset {
            self.line.reset_on_close();
        }
        if let Some(guard) = self.guard.take() {
            guard.faulted();
        }
        Poll::Ready(Some(Err(Broken)))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Opening,
    First,
    Tokens,
    Closing,
    Done,
    Broken,
}

/// Which fault strikes a stream, and after how many tokens.
#[derive(Debug, Clone, Copy)]
struct StreamFault {
    fault: Fault,
    after: u32,
}

/// A stream of server-sent events.
pub(crate) struct EventBody {
    wire: Wire,
    answer: Answer,
    fault: Option<StreamFault>,
    breaker: Breaker,
    stage: Stage,
    /// The bytes of the reply that were sent.
    sent_bytes: usize,
    sent_tokens: u32,
    seed: u64,
    first_token: Duration,
    /// The time between two tokens.
    interval: Option<Duration>,
    first_at: Option<Instant>,
    wait: Option<Pin<Box<Sleep>>>,
    buffer: BytesMut,
}

impl EventBody {
    pub(crate) fn new(
        wire: Wire,
        answer: Answer,
        behaviour: &Behaviour,
        line: Arc<LineControl>,
        guard: InFlight,
    ) -> Self {
        const BUFFER_BYTES: usize = 4_096;
        const AFTER_DEFAULT: u32 = 1;
        let after = behaviour.after.unwrap_or(AFTER_DEFAULT);
        let ending = match behaviour.fault {
            Some(Fault::Hang) => Ending::Hang,
            Some(Fault::Reset) => Ending::Reset,
            _ => Ending::Close,
        };
        Self {
            wire,
            answer,
            fault: behaviour.fault.map(|fault| StreamFault { fault, after }),
            breaker: Breaker::new(ending, line, guard),
            stage: Stage::Opening,
            sent_bytes: 0,
            sent_tokens: 0,
            seed: behaviour.seed,
            first_token: Duration::from_millis(behaviour.first_token_ms),
            interval: behaviour.tokens_per_second.map(|pace| Duration::from_secs_f64(1.0 / pace)),
            first_at: None,
            wait: None,
            buffer: BytesMut::with_capacity(BUFFER_BYTES),
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        loop {
            if let Some(wait) = &mut self.wait {
                ready!(wait.as_mut().poll(context));
                self.wait = None;
            }
            match self.stage {
                Stage::Done => return Poll::Ready(None),
                Stage::Broken => return self.breaker.poll(context),
                Stage::Opening => self.open(),
                Stage::First => self.begin(),
                Stage::Tokens => self.token(),
                Stage::Closing => self.close(),
            }
            if !self.buffer.is_empty() {
                return frame(self.buffer.split().freeze());
            }
        }
    }

    fn open(&mut self) {
        self.wire.opening(&mut self.buffer);
        if !self.first_token.is_zero() {
            self.wait = Some(Box::pin(sleep(self.first_token)));
        }
        self.stage = Stage::First;
    }

    fn begin(&mut self) {
        self.first_at = self.interval.map(|_| Instant::now());
        self.wire.first(&self.answer.reply, &mut self.buffer);
        self.stage = Stage::Tokens;
    }

    fn token(&mut self) {
        if let Some(StreamFault { fault, after }) = self.fault
            && self.sent_tokens >= after
            && self.strike(fault)
        {
            return;
        }
        let endless = matches!(self.fault, Some(StreamFault { fault: Fault::Endless, .. }));
        if endless {
            self.put_endless_token();
        } else if !self.put_token() {
            self.stage = Stage::Closing;
            return;
        }
        self.sent_tokens = self.sent_tokens.saturating_add(1);
        if let (Some(interval), Some(first_at)) = (self.interval, self.first_at) {
            self.wait = Some(Box::pin(sleep_until(first_at + interval * self.sent_tokens)));
        }
    }

    /// Lets a fault happen; `true` when it takes the place of the next token.
    fn strike(&mut self, fault: Fault) -> bool {
        match fault {
            Fault::Cut | Fault::Reset | Fault::Hang => self.stage = Stage::Broken,
            Fault::CutMidEvent => {
                self.wire.delta("never to be seen whole", &self.answer.reply, &mut self.buffer);
                self.buffer.truncate(self.buffer.len() / 2);
                self.stage = Stage::Broken;
            }
            Fault::BadJson => {
                self.buffer.extend_from_slice(b"data: {\"choices\":[{\"delta\":\n\n");
                self.fault = None;
            }
            Fault::Endless | Fault::Html | Fault::RefuseBody | Fault::SlowHeaders | Fault::BadGzip => {
                return false;
            }
        }
        true
    }

    fn put_endless_token(&mut self) {
        let word = text::word(self.seed, u64::from(self.sent_tokens));
        self.wire.delta(word, &self.answer.reply, &mut self.buffer);
    }

    /// `false` when the reply is at its end.
    fn put_token(&mut self) -> bool {
        let (Reply::Text(reply) | Reply::Tool { arguments: reply, .. }) = &self.answer.reply;
        let rest = &reply[self.sent_bytes..];
        if rest.is_empty() {
            return false;
        }
        let length = text::token_length(rest);
        self.wire.delta(&rest[..length], &self.answer.reply, &mut self.buffer);
        self.sent_bytes += length;
        true
    }

    fn close(&mut self) {
        self.wire.closing(&self.answer, &mut self.buffer);
        self.stage = Stage::Done;
        if let Some(guard) = self.breaker.guard.take() {
            guard.completed();
        }
    }
}
