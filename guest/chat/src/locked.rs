//! A turn's place in its conversation, seen from the turn: how long it waits, how it shows that it lives, and what the
//! caller reads when it may not go on.

use crate::platform::Platform;
use crate::problem::{Problem, internal};
use crate::race::{First, race};
use crate::settings::{number, variable};
use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use waggle_conversation::Store;
use waggle_conversation::ticket::{BEAT_MS, Clock, EnterError, Ticket};
use waggle_conversation::turn::CommitError;
use waggle_openai::ApiError;

/// The variable that says what happens to a turn that finds another under way: `wait` (the default) or `refuse`.
const TURNS_VARIABLE: &str = "conversation_turns";
/// The variable that says how long it waits, in milliseconds.
const WAIT_VARIABLE: &str = "conversation_wait_ms";
const WAIT_MS_DEFAULT: u64 = 10_000;
const WAIT_MS_MAX: u64 = 60_000;
const RETRY_AFTER_S: u32 = 1;

/// How long a turn waits for those before it, in milliseconds; 0: it is refused.
pub(crate) async fn wait_ms_max<P: Platform>(platform: &P) -> Result<u64, Problem> {
    match variable(platform, TURNS_VARIABLE).await?.as_deref().map(str::trim) {
        None | Some("" | "wait") => {}
        Some("refuse") => return Ok(0),
        Some(other) => {
            let told = format!("the variable '{TURNS_VARIABLE}' must be 'wait' or 'refuse', not '{other}'");
            return Err(internal(told));
        }
    }
    let wait_ms: u64 = number(platform, WAIT_VARIABLE, WAIT_MS_DEFAULT).await?;
    if wait_ms > WAIT_MS_MAX {
        let told = format!("the variable '{WAIT_VARIABLE}' must be at most {WAIT_MS_MAX}, not {wait_ms}");
        return Err(internal(told));
    }
    Ok(wait_ms)
}

/// The platform's clock, for those who wait in a conversation.
pub(crate) struct PlatformClock<'a, P> {
    pub(crate) platform: &'a P,
    /// Set when they need to wait no longer.
    pub(crate) stop: Option<&'a Cell<bool>>,
}

impl<P: Platform> Clock for PlatformClock<'_, P> {
    fn now_ms(&self) -> u64 {
        self.platform.now_ms()
    }

    async fn sleep(&self, ms: u64) {
        self.platform.sleep(ms).await;
    }

    fn is_over(&self) -> bool {
        self.stop.is_some_and(Cell::get)
    }
}

/// When a turn is to show again that it lives.
#[derive(Default)]
pub(crate) struct Pulse(Option<Pin<Box<dyn Future<Output = ()>>>>);

impl fmt::Debug for Pulse {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Pulse").field(&self.0.is_some()).finish()
    }
}

impl Pulse {
    /// Waits for `work` and meanwhile calls `beat` every [`BEAT_MS`], also over several pieces of work.
    pub(crate) async fn during<T, P: Platform>(
        &mut self,
        platform: &P,
        beat: impl AsyncFn(),
        work: impl Future<Output = T>,
    ) -> T {
        let mut work = pin!(work);
        loop {
            let timer = self.0.get_or_insert_with(|| Box::pin(platform.sleep(BEAT_MS)));
            match race(work.as_mut(), timer.as_mut()).await {
                First::Left(done) => return done,
                First::Right(()) => {
                    self.0 = None;
                    beat().await;
                }
            }
        }
    }
}

/// Waits for `work`, and shows meanwhile that the turn lives. A turn without a ticket pays nothing for it.
pub(crate) async fn alive<T, S: Store, P: Platform>(
    (store, platform): (&S, &P),
    ticket: Option<&Ticket>,
    pulse: &mut Pulse,
    work: impl Future<Output = T>,
) -> T {
    let Some(ticket) = ticket else { return work.await };
    let beat = async || {
        // A place that is lost is found to be so when the turn is committed.
        if let Err(error) = ticket.beat(store, platform.now_ms()).await {
            platform.log(&format!("a turn could not show that it lives: {error}"));
        }
    };
    pulse.during(platform, beat, work).await
}

/// Gives a turn's place up if it still has one.
pub(crate) async fn give_up<S: Store, P: Platform>(store: &S, platform: &P, ticket: Option<&Ticket>) {
    let Some(ticket) = ticket else { return };
    if let Err(error) = ticket.give_up(store).await {
        platform.log(&format!("a turn could not give up its place in its conversation: {error}"));
    }
}

fn locked(message: &str) -> ApiError {
    ApiError {
        status: 409,
        param: Some("conversation".to_owned()),
        code: Some("conversation_locked"),
        retry_after_s: Some(RETRY_AFTER_S),
        ..ApiError::invalid(message)
    }
}

impl From<EnterError> for Problem {
    fn from(error: EnterError) -> Self {
        match error {
            EnterError::Locked => locked(
                "Another turn is under way in this conversation. Try again when it has ended: turns of one conversation \
                 run one at a time.",
            )
            .into(),
            EnterError::Store(error) => error.into(),
        }
    }
}

impl From<CommitError> for Problem {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Lost => Self {
                log: Some(error.to_string()),
                ..locked(
                    "This turn was silent for so long that the conversation went on without it. Nothing of it was kept; \
                     send it again, under another idempotency key if it has one.",
                )
                .into()
            },
            CommitError::Store(error) => error.into(),
        }
    }
}
