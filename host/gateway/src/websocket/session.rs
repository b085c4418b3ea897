//! A WebSocket from its handshake to its end: messages wait their turn, one turn after the other.

use super::fault::Fault;
use super::memory::Remembered;
use super::message::{Create, Unfit};
use super::room::{Place, Reservation};
use super::socket::{Heard, Socket, Unreadable};
use super::turn::{Asks, End, Step, Turn};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_tungstenite::tungstenite::Utf8Bytes;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

/// Messages that may wait while a turn is under way.
const WAITING_MAX: usize = 16;
/// How often the other end is asked for a sign.
const PING_EVERY: Duration = Duration::from_secs(20);
/// How long it may give none.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// How often it is looked whether the other end reads, when a turn should be over.
const LATE_AGAIN: Duration = Duration::from_secs(5);
/// How long it may take to agree to the end.
const CLOSE_WAIT_MAX: Duration = Duration::from_secs(5);

/// What one WebSocket may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Bytes of a message.
    pub(crate) message_bytes_max: usize,
    /// How long it lasts; a turn that is under way then is finished.
    pub(crate) duration_max: Duration,
    /// How long a turn lasts whose client does not read what it is told. Otherwise the turn's request knows its own end.
    pub(crate) turn_max: Duration,
}

/// A WebSocket.
pub(crate) struct Session<S> {
    socket: Socket<S>,
    asks: Arc<dyn Asks>,
    place: Place,
    waiting: VecDeque<(Utf8Bytes, Reservation)>,
    turn: Option<Turn>,
    last: Option<Remembered>,
    ends_at: Instant,
    /// When the turn that is under way has lasted as long as one may.
    turn_ends_at: Instant,
    limits: Limits,
    /// Whether the other end is to be asked for a sign.
    is_ping_due: bool,
    /// Whether its time is over.
    is_over: bool,
    /// Whether the host goes down.
    is_leaving: bool,
}

/// Why a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// There is nobody at the other end.
    Gone,
    /// The other end wants it to.
    Agree,
    /// This end wants it to.
    Close(CloseCode, &'static str),
    /// The other end sent what cannot be read on.
    BreakOff(CloseCode, &'static str),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// On `connection`, whose handshake is done.
    pub(crate) async fn new(connection: S, asks: Arc<dyn Asks>, place: Place, limits: Limits) -> Self {
        let now = Instant::now();
        Self {
            socket: Socket::new(connection, limits.message_bytes_max, place.memory()).await,
            asks,
            place,
            waiting: VecDeque::new(),
            turn: None,
            last: None,
            ends_at: now + limits.duration_max,
            turn_ends_at: now,
            limits,
            is_ping_due: false,
            is_over: false,
            is_leaving: false,
        }
    }

    /// Serves it to its end.
    pub(crate) async fn run(mut self) {
        let why = self.serve().await;
        // A turn that is under way is cancelled, as that of a client that leaves.
        self.turn = None;
        self.waiting.clear();
        match why {
            Why::Gone => {}
            Why::Agree => self.socket.agree(CLOSE_WAIT_MAX).await,
            Why::Close(code, reason) => self.socket.close(code, reason, CLOSE_WAIT_MAX).await,
            Why::BreakOff(code, reason) => self.socket.break_off(code, reason, CLOSE_WAIT_MAX).await,
        }
    }

    async fn serve(&mut self) -> Why {
        let sockets = Arc::clone(self.place.sockets());
        let mut stopped = std::pin::pin!(sockets.stopped());
        let mut over = std::pin::pin!(tokio::time::sleep_until(self.ends_at));
        let mut late = std::pin::pin!(tokio::time::sleep_until(self.turn_ends_at));
        let mut pings = tokio::time::interval_at(Instant::now() + PING_EVERY, PING_EVERY);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if let Some(why) = self.between_turns() {
                return why;
            }
            if late.deadline() != self.turn_ends_at {
                late.as_mut().reset(self.turn_ends_at);
            }
            // Behind what was not sent yet, a ping would ask for nothing new.
            if self.is_ping_due && self.socket.is_flushed() {
                self.is_ping_due = false;
                self.socket.ping();
            }
            let may_say = self.socket.is_flushed();
            let happened = tokio::select! {
                heard = self.socket.hear() => self.on_heard(heard),
                step = step(&mut self.turn), if may_say => self.on_step(step),
                () = &mut late, if self.turn.is_some() => self.on_late(),
                _tick = pings.tick() => self.on_tick(),
                () = &mut over, if !self.is_over => { self.is_over = true; None }
                () = &mut stopped, if !self.is_leaving => { self.is_leaving = true; None }
            };
            if let Some(why) = happened {
                return why;
            }
        }
    }

    /// Begins the next turn if none is under way; says why if there will be none.
    fn between_turns(&mut self) -> Option<Why> {
        while self.turn.is_none() {
            if self.is_leaving {
                return Some(Why::Close(CloseCode::Away, "the server is shutting down"));
            }
            if self.is_over {
                let minutes = self.limits.duration_max.as_secs_f64() / 60.0;
                let message = format!(
                    "Responses websocket connection limit reached ({minutes:.0} minutes). Create a new websocket \
                     connection to continue."
                );
                self.tell(&Fault::invalid("websocket_connection_limit_reached", message));
                return Some(Why::Close(CloseCode::Normal, "the connection has lasted as long as it may"));
            }
            let (text, mut room) = self.waiting.pop_front()?;
            match Create::read(&text, self.last.as_ref(), self.place.memory()) {
                // With what the connection remembers, the request is larger than the message.
                Ok(create) if !room.resize(create.body.len()) => {
                    let message = "The server has no memory for the turn at the moment; try again shortly.";
                    self.tell(&Fault::failed(503, "server_overloaded", message));
                }
                Ok(Create { body, draft, continues }) => {
                    let asked = Arc::clone(&self.asks).ask(body);
                    self.turn = Some(Turn::new(asked, draft, continues, room, self.place.memory()));
                    self.turn_ends_at = Instant::now() + self.limits.turn_max;
                }
                Err(Unfit::Request(fault)) => self.tell(&fault),
                Err(Unfit::NoObject(fault)) => {
                    self.tell(&fault);
                    return Some(Why::Close(CloseCode::Invalid, "a message must be a JSON object"));
                }
            }
        }
        None
    }

    fn on_heard(&mut self, heard: Heard) -> Option<Why> {
        match heard {
            Heard::Sent | Heard::Sign => None,
            Heard::Closed => Some(Why::Gone),
            Heard::Closing => Some(Why::Agree),
            Heard::Text(text) => {
                self.queue(text);
                None
            }
            Heard::Binary => {
                self.tell(&Fault::invalid("invalid_message", "A message must be text, not binary."));
                Some(Why::Close(CloseCode::Unsupported, "a message must be text"))
            }
            Heard::Unreadable(why) => Some(self.on_unreadable(why)),
        }
    }

    fn on_unreadable(&mut self, why: Unreadable) -> Why {
        match why {
            Unreadable::TooLarge => {
                let message = "The message is larger than a message may be (message_bytes_max).";
                self.tell(&Fault::failed(413, "request_too_large", message));
                Why::BreakOff(CloseCode::Size, "the message is too large")
            }
            Unreadable::NoRoom => {
                let message = "The server has no memory for the message at the moment; try again shortly.";
                self.tell(&Fault::failed(503, "server_overloaded", message));
                Why::BreakOff(CloseCode::Again, "no memory for the message")
            }
            Unreadable::NotUtf8 => {
                self.tell(&Fault::invalid("invalid_message", "The message is not valid UTF-8."));
                Why::BreakOff(CloseCode::Invalid, "a message must be UTF-8")
            }
            Unreadable::Protocol => Why::BreakOff(CloseCode::Protocol, "not as RFC 6455 has it"),
        }
    }

    /// A message waits for its turn, if there is room for it.
    fn queue(&mut self, text: Utf8Bytes) {
        let room =
            if self.waiting.len() < WAITING_MAX { self.place.memory().reserve(text.len()) } else { None };
        match room {
            Some(room) => self.waiting.push_back((text, room)),
            None => {
                let message = format!(
                    "The message was not taken: {WAITING_MAX} messages, or as many bytes as there is memory for, \
                     wait for the turn that is under way."
                );
                self.tell(&Fault::failed(429, "websocket_queue_full", message));
            }
        }
    }

    fn on_step(&mut self, step: Step) -> Option<Why> {
        let end = match step {
            Step::Say(text) => return (!self.socket.say(text)).then_some(Why::Gone),
            Step::End(end) => end,
        };
        let continued = self.turn.take().is_some_and(|turn| turn.continues());
        match end {
            End::Done(remembered) => self.last = remembered,
            End::Failed if continued => self.last = None,
            End::Failed => {}
            End::Unwelcome => {
                return Some(Why::Close(CloseCode::Policy, "the credential is not accepted any more"));
            }
        }
        None
    }

    /// The turn has lasted as long as one may. Its request ends by itself when that is looked at, which is not done while
    /// the other end does not read: then it ends here, whatever signs that end gives.
    fn on_late(&mut self) -> Option<Why> {
        self.turn_ends_at = Instant::now() + LATE_AGAIN;
        self.socket.is_blocked().then_some(Why::Gone)
    }

    fn on_tick(&mut self) -> Option<Why> {
        self.is_ping_due = true;
        (self.socket.last_sign().elapsed() >= SILENCE_MAX).then_some(Why::Gone)
    }

    fn tell(&mut self, fault: &Fault) {
        // If there is nobody to tell it to, the next look at the socket says so.
        self.socket.say(fault.event());
    }
}

/// What the turn that is under way does next; never, if there is none.
async fn step(turn: &mut Option<Turn>) -> Step {
    match turn {
        Some(turn) => turn.next().await,
        None => std::future::pending().await,
    }
}
