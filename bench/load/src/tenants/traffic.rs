//! Closed-loop clients that send whatever they are given and count what comes back by its kind.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

use crate::client::{Client, Failure};
use crate::endpoint::Endpoint;
use crate::measurement::Tally;
use crate::scenario::Call;

/// The pause after a failed connection, so that a server that is down is not asked in a spin.
const FAILURE_PAUSE_MS: u64 = 10;

/// What clients send.
pub(crate) trait Source: Send + Sync + 'static {
    /// The next request of that client; `None` when there are no more.
    fn next(&self, client: u32) -> Option<Call>;

    /// Looks at an answer with status 200.
    ///
    /// # Errors
    /// What it is counted as if it is not a good one.
    fn check(&self, _client: u32, _body: &Bytes) -> Result<(), Failure> {
        Ok(())
    }
}

/// How requests are sent.
#[derive(Debug, Clone)]
pub(crate) struct Drive {
    pub(crate) endpoint: Endpoint,
    pub(crate) clients: u32,
    /// Until when; what is under way then is given up. `None`: until the source has no more.
    pub(crate) until: Option<Instant>,
    /// How long an answer is waited for.
    pub(crate) patience: Duration,
}

/// Where nothing ends a drive before its source does.
const DRIVE_SECONDS_MAX: u64 = 86_400;

impl Drive {
    pub(crate) async fn run(&self, source: Arc<dyn Source>) -> anyhow::Result<Tally> {
        let until = self.until.unwrap_or_else(|| Instant::now() + Duration::from_secs(DRIVE_SECONDS_MAX));
        let mut running = JoinSet::new();
        for number in 0..self.clients {
            let client = Client::new(&self.endpoint, None).context("the host is no header value")?;
            let one = One {
                number,
                client,
                source: Arc::clone(&source),
                patience: self.patience,
                tally: Tally::new()?,
            };
            running.spawn(one.run(until));
        }
        let mut all = Tally::new()?;
        while let Some(finished) = running.join_next().await {
            all.add(&finished.context("a client ended early")?)?;
        }
        Ok(all)
    }
}

struct One {
    number: u32,
    client: Client,
    source: Arc<dyn Source>,
    patience: Duration,
    tally: Tally,
}

impl One {
    async fn run(mut self, until: Instant) -> Tally {
        while Instant::now() < until {
            let Some(call) = self.source.next(self.number) else { break };
            let began = Instant::now();
            let given_up = (began + self.patience).min(until);
            match timeout_at(given_up, exchange(&mut self.client, call)).await {
                Ok(Ok(body)) => match self.source.check(self.number, &body) {
                    Ok(()) => self.tally.latency(began.elapsed()),
                    Err(failure) => self.tally.failure(&failure),
                },
                Ok(Err(failure)) => {
                    self.tally.failure(&failure);
                    if !matches!(failure, Failure::Status(_)) {
                        sleep(Duration::from_millis(FAILURE_PAUSE_MS)).await;
                    }
                }
                Err(_) => {
                    self.client.disconnect();
                    // What the end cut off has no outcome.
                    if given_up < until {
                        self.tally.failure(&Failure::Timeout);
                    }
                }
            }
        }
        self.tally
    }
}

async fn exchange(client: &mut Client, call: Call) -> Result<Bytes, Failure> {
    let response = client.send(call).await?;
    client.read(response).await
}

/// Good answers and all others by their kind.
pub(crate) fn outcomes(tally: &Tally) -> BTreeMap<String, u64> {
    let mut outcomes = tally.failures().clone();
    if tally.good() > 0 {
        outcomes.insert("status 200".to_owned(), tally.good());
    }
    outcomes
}
