//! The open loop: requests go out when they are due, whether or not earlier ones have been answered, and are timed from
//! when they were due. So a server that stalls cannot hide behind the requests it keeps from being sent (coordinated
//! omission; Gil Tene, "How NOT to Measure Latency"). Connections are made as they are needed, up to a bound.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Instant;

use crate::arrivals::{Due, Schedule};
use crate::client::{Client, Failure};
use crate::open_tally::{OpenTally, Sent};
use crate::run::OpenLoop;
use crate::supply::Supply;
use crate::timer::Timer;
use crate::worker::{Timing, Worker};

/// Conversations are prepared beside the load when fewer than this are ready, by as many clients at once.
const READY_MIN: usize = 8;
const PREPARERS_MAX: usize = 8;
/// Requests that wait for a connection; those beyond it are not sent.
const WAITING_MAX: usize = 1 << 20;

/// What a client reports when it is free again.
enum Done {
    Asked { worker: Worker, due: Due, sent: Instant, outcome: Result<Timing, Failure> },
    Prepared(Worker),
}

/// Runs the whole schedule and waits for the answers.
///
/// # Errors
/// A timer that cannot be had, a histogram that cannot be made.
pub(crate) async fn run_open(
    supply: Arc<Supply>,
    client: impl Fn() -> Option<Client>,
    open: &OpenLoop,
    schedule: Schedule,
    begin: Instant,
) -> anyhow::Result<OpenTally> {
    let (reports, mut reported) = unbounded_channel();
    let mut dispatcher = Dispatcher {
        patience: supply.config.request_timeout(),
        supply,
        client,
        connections_max: open.connections_max,
        idle: Vec::new(),
        connections: 0,
        preparing: 0,
        asking: 0,
        waiting: VecDeque::new(),
        begin,
        reports,
        tally: OpenTally::new(&open.steps)?,
    };
    dispatcher.run(schedule, &mut reported).await?;
    Ok(dispatcher.finish())
}

struct Dispatcher<F> {
    supply: Arc<Supply>,
    client: F,
    connections_max: u32,
    patience: Duration,
    /// The one used last is used next, so that no more connections stay in use than are needed.
    idle: Vec<Worker>,
    connections: u32,
    preparing: usize,
    asking: u64,
    /// Requests that are due but have no connection.
    waiting: VecDeque<Due>,
    begin: Instant,
    /// Holds at most one report per connection.
    reports: UnboundedSender<Done>,
    tally: OpenTally,
}

impl<F: Fn() -> Option<Client>> Dispatcher<F> {
    async fn run(
        &mut self,
        mut schedule: Schedule,
        reported: &mut UnboundedReceiver<Done>,
    ) -> anyhow::Result<()> {
        let timer = Timer::new()?;
        let mut next = schedule.next();
        loop {
            let now = Instant::now();
            while let Some(due) = next.filter(|due| self.begin + due.after <= now) {
                self.arrive(due)?;
                next = schedule.next();
            }
            if next.is_none() && self.asking == 0 && self.waiting.is_empty() {
                return Ok(());
            }
            let next_at = next.map(|due| self.begin + due.after);
            tokio::select! {
                report = reported.recv() => {
                    let report = report.context("no client is left")?;
                    self.done(report)?;
                    // What came in meanwhile is seen without asking the timer again.
                    while let Ok(report) = reported.try_recv() {
                        self.done(report)?;
                    }
                }
                waited = wait(&timer, next_at), if next_at.is_some() => waited?,
            }
        }
    }

    fn arrive(&mut self, due: Due) -> anyhow::Result<()> {
        self.tally.offered(due.step);
        match self.free_worker()? {
            Some(worker) => self.send(worker, due),
            None => self.wait_for_connection(due),
        }
        self.stock()
    }

    fn wait_for_connection(&mut self, due: Due) {
        if self.waiting.len() < WAITING_MAX {
            self.waiting.push_back(due);
        } else {
            self.tally.not_sent(due.step);
        }
    }

    /// An idle client, or a new one while there may be more.
    fn free_worker(&mut self) -> anyhow::Result<Option<Worker>> {
        if let Some(worker) = self.idle.pop() {
            return Ok(Some(worker));
        }
        if self.connections >= self.connections_max {
            return Ok(None);
        }
        let client =
            (self.client)().context("the API key or the host holds characters that headers cannot")?;
        let worker = Worker::new(self.connections, Arc::clone(&self.supply), client);
        self.connections += 1;
        Ok(Some(worker))
    }

    fn send(&mut self, mut worker: Worker, due: Due) {
        self.asking += 1;
        let reports = self.reports.clone();
        tokio::spawn(async move {
            let (sent, outcome) = match worker.prepare().await {
                Ok(conversation) => (Instant::now(), worker.ask(conversation).await),
                Err(failure) => (Instant::now(), Err(failure)),
            };
            // Nobody waits for it any more when a run was given up.
            let _ = reports.send(Done::Asked { worker, due, sent, outcome });
        });
    }

    fn done(&mut self, report: Done) -> anyhow::Result<()> {
        let worker = match report {
            Done::Prepared(worker) => {
                self.preparing -= 1;
                worker
            }
            Done::Asked { worker, due, sent, outcome } => {
                self.asking -= 1;
                let due_at = self.begin + due.after;
                match outcome {
                    Ok(timing) => self.tally.good(due.step, Sent { due: due_at, at: sent, timing }),
                    Err(Failure::NoTenantLeft) => self.tally.not_sent(due.step),
                    Err(failure) => self.tally.failed(due.step, &failure),
                }
                worker
            }
        };
        while let Some(due) = self.waiting.pop_front() {
            if (self.begin + due.after).elapsed() < self.patience {
                self.send(worker, due);
                return self.stock();
            }
            self.tally.not_sent(due.step);
        }
        self.idle.push(worker);
        self.stock()
    }

    /// Sees to it that the next turns find a conversation.
    fn stock(&mut self) -> anyhow::Result<()> {
        let needed = self.supply.config.scenario.needs_conversation();
        if !needed || self.preparing >= PREPARERS_MAX || self.supply.ready() + self.preparing >= READY_MIN {
            return Ok(());
        }
        let Some(mut worker) = self.free_worker()? else { return Ok(()) };
        self.preparing += 1;
        let reports = self.reports.clone();
        tokio::spawn(async move {
            worker.stock().await;
            let _ = reports.send(Done::Prepared(worker));
        });
        Ok(())
    }

    fn finish(mut self) -> OpenTally {
        self.tally.connections = self.connections;
        self.tally
    }
}

async fn wait(timer: &Timer, until: Option<Instant>) -> anyhow::Result<()> {
    match until {
        Some(until) => timer.until(until).await,
        None => std::future::pending().await,
    }
}
