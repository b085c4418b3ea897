//! One client: a connection, and one request over it after the other. When the next one goes out is decided by the
//! loop it is in: here the closed one, in which the next request follows the answer; `open` has the other.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt as _;
use serde::Deserialize;
use tokio::time::{Instant, sleep, timeout};

use crate::client::{Client, Failure};
use crate::events::{EventScanner, contains};
use crate::measurement::Tally;
use crate::scenario::{Call, Scenario, chat, create_conversation, hello, input, padded, turn};
use crate::supply::{Conversation, Supply, put_key};

/// When to begin and to stop counting.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    pub(crate) from: Instant,
    pub(crate) to: Instant,
}

impl Window {
    fn holds(self, moment: Instant) -> bool {
        (self.from..self.to).contains(&moment)
    }
}

/// The pause after a failure, so that a server that is down is not asked in a spin.
const FAILURE_PAUSE_MS: u64 = 10;

/// The times of one good request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timing {
    pub(crate) done: Instant,
    pub(crate) first_delta: Option<Instant>,
}

pub(crate) struct Worker {
    number: u32,
    supply: Arc<Supply>,
    client: Client,
    requests: u64,
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
    let answered: Answered<'_> = match scenario {
        Scenario::Hello => return Ok(()),
        _ => serde_json::from_slice(body).map_err(|_| Failure::Shape)?,
    };
    match scenario {
        Scenario::Chat if answered.object != "chat.completion" => return Err(Failure::Shape),
        Scenario::Chat => {}
        Scenario::Conversation if answered.object != "conversation" => return Err(Failure::Shape),
        Scenario::Conversation => return Ok(()),
        _ if answered.status != "completed" => return Err(Failure::NotCompleted),
        _ => {}
    }
    let is_own = expected.is_none_or(|expected| contains(body, expected));
    if is_own { Ok(()) } else { Err(Failure::WrongAnswer) }
}

impl Worker {
    pub(crate) fn new(number: u32, supply: Arc<Supply>, client: Client) -> Self {
        Self { number, supply, client, requests: 0 }
    }

    /// The closed loop: runs until the end of the window and the answer of the last request.
    pub(crate) async fn run(mut self, window: Window, mut tally: Tally) -> Tally {
        while Instant::now() < window.to {
            let outcome = match self.prepare().await {
                Ok(conversation) => {
                    let begun = Instant::now();
                    self.ask(conversation).await.map(|timing| (begun, timing))
                }
                Err(failure) => Err(failure),
            };
            match outcome {
                Ok((begun, timing)) if window.holds(timing.done) => {
                    tally.latency(timing.done - begun);
                    if let Some(first) = timing.first_delta {
                        tally.first_delta(first - begun);
                    }
                }
                Ok(_) => {}
                Err(Failure::NoTenantLeft) => break,
                Err(failure) => {
                    if window.holds(Instant::now()) {
                        tally.failure(&failure);
                    }
                    sleep(Duration::from_millis(FAILURE_PAUSE_MS)).await;
                }
            }
        }
        tally
    }

    /// A conversation with room for a turn, when the scenario needs one; made, if none is ready.
    pub(crate) async fn prepare(&mut self) -> Result<Option<Conversation>, Failure> {
        if !self.supply.config.scenario.needs_conversation() {
            return Ok(None);
        }
        if let Some(ready) = self.supply.take() {
            return Ok(Some(ready));
        }
        self.supply.create(&mut self.client).await.map(Some)
    }

    /// Sends the scenario's request and checks the answer. After a good one the conversation is ready for the next.
    pub(crate) async fn ask(&mut self, mut conversation: Option<Conversation>) -> Result<Timing, Failure> {
        self.requests += 1;
        let config = &self.supply.config;
        let said = input(self.number, self.requests);
        let expected = config.expect_echo.then(|| format!("You said: {said}"));
        let said = padded(said, config.input_bytes as usize);
        let scenario = config.scenario;
        let mut call = match (scenario, &mut conversation) {
            (Scenario::Hello, _) => hello(),
            (Scenario::Conversation, _) => create_conversation(),
            (Scenario::Chat, _) => chat(&config.model, &said),
            (_, None) => return Err(Failure::Build),
            (_, Some(conversation)) => {
                conversation.turns += 1;
                turn(&config.model, &conversation.id, &said, scenario.streams())
            }
        };
        match &conversation {
            Some(conversation) => put_key(&mut call, conversation.key.as_ref()),
            None => put_key(&mut call, self.supply.key()?.as_ref()),
        }
        let limit = config.request_timeout();
        let timing = if scenario.streams() {
            self.streamed(call, limit, expected.as_deref()).await?
        } else {
            let body = self.client.whole(call, limit).await?;
            let done = Instant::now();
            check_answer(scenario, &body, expected.as_deref())?;
            Timing { done, first_delta: None }
        };
        if let Some(conversation) = conversation {
            self.supply.put(conversation);
        }
        Ok(timing)
    }

    /// Makes one conversation ready, for whoever is next.
    pub(crate) async fn stock(&mut self) {
        if let Ok(conversation) = self.supply.create(&mut self.client).await {
            self.supply.put(conversation);
        }
    }

    async fn streamed(
        &mut self,
        call: Call,
        limit: Duration,
        expected: Option<&str>,
    ) -> Result<Timing, Failure> {
        let outcome = timeout(limit, read_stream(&mut self.client, call, expected)).await;
        let outcome = outcome.unwrap_or(Err(Failure::Timeout));
        if outcome.is_err() {
            self.client.disconnect();
        }
        outcome
    }
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
