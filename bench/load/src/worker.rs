//! One closed-loop client: does one request after the other and times those that end in the measured window.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt as _;
use serde::Deserialize;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::client::{Client, Failure};
use crate::events::{EventScanner, contains};
use crate::measurement::Tally;
use crate::run::RunConfig;
use crate::scenario::{Call, Scenario, chat, create_conversation, fill_conversation, hello, input, turn};

/// When to begin and to stop counting.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    pub(crate) from: Instant,
    pub(crate) to: Instant,
}

/// The pause after a failure, so that a server that is down is not asked in a spin.
const FAILURE_PAUSE_MS: u64 = 10;

/// The times of one good request.
struct Timing {
    done: Instant,
    first_delta: Option<Instant>,
}

struct Conversation {
    id: String,
    turns: u32,
}

pub(crate) struct Worker {
    number: u32,
    config: Arc<RunConfig>,
    client: Client,
    conversation: Option<Conversation>,
    turns: u64,
    tally: Tally,
}

#[derive(Deserialize)]
struct Created<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
}

/// A response has a status, a chat completion only its object.
#[derive(Deserialize)]
struct Answered<'a> {
    #[serde(borrow, default)]
    status: Cow<'a, str>,
    #[serde(borrow, default)]
    object: Cow<'a, str>,
}

fn check_answer(scenario: Scenario, body: &[u8], expected: Option<&str>) -> Result<(), Failure> {
    let answered: Answered<'_> = serde_json::from_slice(body).map_err(|_| Failure::Shape)?;
    match scenario {
        Scenario::Chat if answered.object != "chat.completion" => return Err(Failure::Shape),
        Scenario::Chat => {}
        _ if answered.status != "completed" => return Err(Failure::NotCompleted),
        _ => {}
    }
    let is_own = expected.is_none_or(|expected| contains(body, expected));
    if is_own { Ok(()) } else { Err(Failure::WrongAnswer) }
}

impl Worker {
    pub(crate) fn new(number: u32, config: Arc<RunConfig>, client: Client, tally: Tally) -> Self {
        Self { number, config, client, conversation: None, turns: 0, tally }
    }

    /// Runs until the end of the window and the answer of the last request.
    pub(crate) async fn run(mut self, window: Window) -> Tally {
        let interval = self.config.interval();
        let mut scheduled = Instant::now() + interval.unwrap_or_default() * self.number / self.config.clients;
        while Instant::now() < window.to {
            if let Err(failure) = self.prepare(window).await {
                self.count_failure(failure, window).await;
                continue;
            }
            let mut begun = Instant::now();
            if let Some(interval) = interval {
                begun = on_schedule(scheduled, begun).await;
                scheduled += interval;
            }
            match self.measured().await {
                Ok(timing) if window.holds(timing.done) => {
                    self.tally.latency(timing.done - begun);
                    if let Some(first) = timing.first_delta {
                        self.tally.first_delta(first - begun);
                    }
                }
                Ok(_) => {}
                Err(failure) => self.count_failure(failure, window).await,
            }
        }
        self.tally
    }

    async fn count_failure(&mut self, failure: Failure, window: Window) {
        if window.holds(Instant::now()) {
            self.tally.failure(&failure);
        }
        self.conversation = None;
        sleep(Duration::from_millis(FAILURE_PAUSE_MS)).await;
    }

    /// Makes sure of a conversation with room for a turn.
    async fn prepare(&mut self, window: Window) -> Result<(), Failure> {
        let has_room =
            self.conversation.as_ref().is_some_and(|c| c.turns < self.config.turns_per_conversation);
        if has_room || !self.config.scenario.needs_conversation() {
            return Ok(());
        }
        let body = self.whole(create_conversation()).await?;
        let id = serde_json::from_slice::<Created<'_>>(&body).map_err(|_| Failure::Shape)?.id.into_owned();
        self.count_setup(window);
        if self.config.scenario == Scenario::TurnHistory {
            for call in fill_conversation(&id, self.config.history) {
                self.whole(call).await?;
                self.count_setup(window);
            }
        }
        self.conversation = Some(Conversation { id, turns: 0 });
        Ok(())
    }

    fn count_setup(&mut self, window: Window) {
        if window.holds(Instant::now()) {
            self.tally.setup_requests += 1;
        }
    }

    async fn measured(&mut self) -> Result<Timing, Failure> {
        self.turns += 1;
        let said = input(self.number, self.turns);
        let expected = self.config.expect_echo.then(|| format!("You said: {said}"));
        let scenario = self.config.scenario;
        let model = &self.config.model;
        let call = match (scenario, &mut self.conversation) {
            (Scenario::Hello, _) => hello(),
            (Scenario::Chat, _) => chat(model, &said),
            (_, None) => return Err(Failure::Build),
            (_, Some(conversation)) => {
                conversation.turns += 1;
                turn(model, &conversation.id, &said, scenario.streams())
            }
        };
        if scenario.streams() {
            return self.streamed(call, expected.as_deref()).await;
        }
        let body = self.whole(call).await?;
        let done = Instant::now();
        if scenario != Scenario::Hello {
            check_answer(scenario, &body, expected.as_deref())?;
        }
        Ok(Timing { done, first_delta: None })
    }

    async fn whole(&mut self, call: Call) -> Result<bytes::Bytes, Failure> {
        let limit = self.config.request_timeout();
        let exchange = async {
            let response = self.client.send(call).await?;
            self.client.read(response).await
        };
        let outcome = timeout(limit, exchange).await;
        outcome.unwrap_or_else(|_| {
            self.client.disconnect();
            Err(Failure::Timeout)
        })
    }

    async fn streamed(&mut self, call: Call, expected: Option<&str>) -> Result<Timing, Failure> {
        let limit = self.config.request_timeout();
        let outcome = timeout(limit, read_stream(&mut self.client, call, expected)).await;
        let outcome = outcome.unwrap_or(Err(Failure::Timeout));
        if outcome.is_err() {
            self.client.disconnect();
        }
        outcome
    }
}

impl Window {
    fn holds(self, moment: Instant) -> bool {
        (self.from..self.to).contains(&moment)
    }
}

/// Waits for the scheduled time. A client that is late began when it should have, so that a server that stalls
/// does not hide behind the requests it kept from being sent (coordinated omission). A client that was early
/// begins when its timer woke it, as timers are coarser than the latencies measured here.
async fn on_schedule(scheduled: Instant, now: Instant) -> Instant {
    if now >= scheduled {
        return scheduled;
    }
    sleep_until(scheduled).await;
    Instant::now()
}

async fn read_stream(client: &mut Client, call: Call, expected: Option<&str>) -> Result<Timing, Failure> {
    let response = client.send(call).await?;
    let mut body = response.into_body();
    let mut scanner = EventScanner::new(expected);
    let mut first_delta = None;
    let mut done = None;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Failure::Cut)?;
        let Some(data) = frame.data_ref() else { continue };
        scanner.feed(data);
        if scanner.has_delta && first_delta.is_none() {
            first_delta = Some(Instant::now());
        }
        if scanner.is_completed && done.is_none() {
            done = Some(Instant::now());
        }
        if scanner.is_overlong {
            return Err(Failure::Shape);
        }
    }
    let done = done.ok_or(Failure::NotCompleted)?;
    if !scanner.has_expected {
        return Err(Failure::WrongAnswer);
    }
    Ok(Timing { done, first_delta })
}
