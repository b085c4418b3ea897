//! Connections that are held: many clients who ask once and then keep the connection, or who are in the middle of a
//! stream whose tokens come seldom. What each of them costs the server, whether they are still there in the end,
//! and what a request beside them takes.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::client::{Client, Failure};
use crate::endpoint::Endpoint;
use crate::files::allow_files;
use crate::measurement::{Latency, Tally, Times};
use crate::process::{Usage, files_max, usage};
use crate::run::{CONNECTIONS_MAX, RunConfig};
use crate::scenario::{create_conversation, hello, turn};
use crate::scenario_file::IdleBody;

/// Connections from one address of 127.0.0.0/8: fewer than the kernel has ports for outgoing connections.
const CONNECTIONS_PER_ADDRESS: u32 = 20_000;
/// Connections that are being made at once; a listener's queue is not much longer.
const CONNECTING_MAX: usize = 128;
/// What the model is told, so that it begins a stream and goes on with a token every five seconds: model-sim's words for
/// it. A model that is silent for longer is taken for dead.
const HELD_TURN: &str = "[sim: tokens=10000 tps=0.2] tell me a story";
/// Requests beside the held connections, to see whether they slow others down.
const BESIDE_INTERVAL_MS: u64 = 10;
const FILES_SPARE: u64 = 64;
/// How long the server may take to see that connections have gone.
const SETTLE_MS: u64 = 2_000;

/// What is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Held {
    /// A connection after an answer.
    KeptAlive,
    /// A stream that has begun.
    Stream,
}

/// What came out.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct IdleReport {
    /// The scenario's name.
    pub scenario: String,
    /// Where.
    pub url: String,
    /// What was held.
    pub held: Held,
    /// Connections that were wanted.
    pub wanted: u32,
    /// Connections that were held, after they had been answered once.
    pub established: u32,
    /// Of those, the ones that were there in the end: kept-alive ones answered again, streams had not ended.
    pub alive: u32,
    /// What went wrong, by kind.
    pub errors: BTreeMap<String, u64>,
    /// How long all were held.
    pub hold_seconds: f64,
    /// How long making them took.
    pub connect_seconds: f64,
    /// From connecting until the answer, or the first token.
    pub first_answer: Latency,
    /// `GET /hello` over another connection before there were any.
    pub beside_before: Latency,
    /// The same while all were held.
    pub beside_held: Latency,
    /// What each process tree used for them.
    pub servers: Vec<IdleCost>,
}

/// What a process tree used for held connections.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct IdleCost {
    /// `server`, `store` or `pid`.
    pub name: String,
    /// The root of the process tree.
    pub pid: u32,
    /// Resident memory before, while all were held, and after they had gone.
    pub rss_bytes_before: u64,
    /// While all were held.
    pub rss_bytes_held: u64,
    /// After they had gone.
    pub rss_bytes_after: u64,
    /// What each connection took.
    pub bytes_per_connection: f64,
    /// CPU time while they were held, the requests beside them included.
    pub cpu_seconds_held: f64,
}

/// Holds connections as the scenario says.
///
/// # Errors
/// Bounds, among them that of open files, here or of the server; a URL that may not be loaded.
pub async fn hold(config: RunConfig, idle: &IdleBody) -> anyhow::Result<IdleReport> {
    let endpoint = Endpoint::parse(&config.url)?;
    check(&config, idle, &endpoint)?;
    let held = if config.scenario.streams() { Held::Stream } else { Held::KeptAlive };
    let config = Arc::new(config);
    let mut beside = client(&endpoint, &config, None)?;
    let mut errors = BTreeMap::new();
    // The first request makes what is made only once.
    beside.whole(hello(), config.request_timeout()).await.ok();
    let seconds = Duration::from_secs_f64(idle.hold_seconds);
    let beside_before =
        ask_beside(&mut beside, &config, seconds.min(Duration::from_secs(5)), &mut errors).await?;
    let before = usages(&config);
    let began = Instant::now();
    let mut made = connect_all(&endpoint, &config, idle, held).await?;
    let connect_seconds = began.elapsed().as_secs_f64();
    errors.append(&mut made.errors);
    let at_begin = usages(&config);
    let beside_held = ask_beside(&mut beside, &config, seconds, &mut errors).await?;
    let at_end = usages(&config);
    let established = u32::try_from(made.open.len()).unwrap_or(u32::MAX);
    let alive = check_alive(made.open, &config).await;
    sleep(Duration::from_millis(SETTLE_MS)).await;
    let after = usages(&config);
    let numbers = (0..config.servers.len()).map(|at| (before[at], at_begin[at], at_end[at], after[at]));
    let servers = config.servers.iter().zip(numbers);
    Ok(IdleReport {
        scenario: config.name.clone(),
        url: config.url.clone(),
        held,
        wanted: idle.connections,
        established,
        alive,
        errors,
        hold_seconds: idle.hold_seconds,
        connect_seconds,
        first_answer: made.first_answer.latency(),
        beside_before,
        beside_held,
        servers: servers.map(|((name, pid), used)| cost(name, *pid, used, established)).collect(),
    })
}

fn cost(
    name: &str,
    pid: u32,
    (before, at_begin, at_end, after): (Usage, Usage, Usage, Usage),
    connections: u32,
) -> IdleCost {
    let grown = at_end.rss_bytes.saturating_sub(before.rss_bytes);
    IdleCost {
        name: name.to_owned(),
        pid,
        rss_bytes_before: before.rss_bytes,
        rss_bytes_held: at_end.rss_bytes,
        rss_bytes_after: after.rss_bytes,
        bytes_per_connection: grown as f64 / f64::from(connections.max(1)),
        cpu_seconds_held: (at_end.cpu_seconds - at_begin.cpu_seconds).max(0.0),
    }
}

fn usages(config: &RunConfig) -> Vec<Usage> {
    config.servers.iter().map(|(_, pid)| usage(*pid)).collect()
}

/// Refuses what cannot work before anything is connected.
fn check(config: &RunConfig, idle: &IdleBody, endpoint: &Endpoint) -> anyhow::Result<()> {
    if !(1..=CONNECTIONS_MAX).contains(&idle.connections) {
        bail!("{} connections: from 1 to {CONNECTIONS_MAX} can be held", idle.connections);
    }
    if idle.connections > CONNECTIONS_PER_ADDRESS && !is_loopback_v4(endpoint.address) {
        bail!(
            "{} connections need several source addresses, which only 127.0.0.0/8 has here: at most \
             {CONNECTIONS_PER_ADDRESS} to {}",
            idle.connections,
            endpoint.address
        );
    }
    let connections = u64::from(idle.connections);
    allow_files(connections + FILES_SPARE)?;
    // The server of a stream has a connection to the model as well.
    let needed = if config.scenario.streams() { 2 * connections } else { connections } + FILES_SPARE;
    for (name, pid) in &config.servers {
        if let Some(allowed) = files_max(*pid)
            && allowed < needed
        {
            bail!(
                "the process {pid} ({name}) may have {allowed} open files, fewer than the {needed} that it needs: start \
                 it after `ulimit -n {needed}`"
            );
        }
    }
    Ok(())
}

fn is_loopback_v4(address: SocketAddr) -> bool {
    matches!(address.ip(), IpAddr::V4(v4) if v4.is_loopback())
}

/// The source address of a connection: another one after each 20,000.
fn source(endpoint: &Endpoint, number: u32) -> Option<IpAddr> {
    let block = u8::try_from(number / CONNECTIONS_PER_ADDRESS).ok()?;
    is_loopback_v4(endpoint.address).then(|| Ipv4Addr::new(127, 0, 0, 2 + block).into())
}

fn client(endpoint: &Endpoint, config: &RunConfig, source: Option<IpAddr>) -> anyhow::Result<Client> {
    let client = Client::new(endpoint, config.api_key.as_deref())
        .context("the API key or the host holds characters that headers cannot")?;
    Ok(client.with_source(source))
}

/// A request now and then, for as long as `seconds`.
async fn ask_beside(
    client: &mut Client,
    config: &RunConfig,
    seconds: Duration,
    errors: &mut BTreeMap<String, u64>,
) -> anyhow::Result<Latency> {
    let until = Instant::now() + seconds;
    let mut tally = Tally::new()?;
    let mut due = Instant::now();
    while due < until {
        sleep_until(due).await;
        let begun = Instant::now();
        match client.whole(hello(), config.request_timeout()).await {
            Ok(_) => tally.latency(begun.elapsed()),
            Err(failure) => count(errors, "beside", &failure),
        }
        due = (due + Duration::from_millis(BESIDE_INTERVAL_MS)).max(Instant::now());
    }
    Ok(tally.answer_times())
}

fn count(errors: &mut BTreeMap<String, u64>, when: &str, failure: &Failure) {
    *errors.entry(format!("{when}: {failure}")).or_insert(0) += 1;
}

/// A held connection, and the stream on it if that is what is held.
struct Open {
    client: Client,
    stream: Option<Incoming>,
}

struct Made {
    open: Vec<Open>,
    errors: BTreeMap<String, u64>,
    first_answer: Times,
}

async fn connect_all(
    endpoint: &Endpoint,
    config: &Arc<RunConfig>,
    idle: &IdleBody,
    held: Held,
) -> anyhow::Result<Made> {
    let mut made = Made { open: Vec::new(), errors: BTreeMap::new(), first_answer: Times::new()? };
    let places = Arc::new(Semaphore::new(CONNECTING_MAX));
    let mut connecting = JoinSet::new();
    let began = Instant::now();
    for number in 0..idle.connections {
        sleep_until(began + Duration::from_secs_f64(f64::from(number) / idle.connections_per_second)).await;
        let place = Arc::clone(&places).acquire_owned().await.context("no place to connect")?;
        let (client, config) = (client(endpoint, config, source(endpoint, number))?, Arc::clone(config));
        connecting.spawn(async move {
            let begun = Instant::now();
            let opened = open(client, &config, held).await;
            drop(place);
            (begun.elapsed(), opened)
        });
        while let Some(finished) = connecting.try_join_next() {
            made.add(finished.context("a connection ended early")?);
        }
    }
    while let Some(finished) = connecting.join_next().await {
        made.add(finished.context("a connection ended early")?);
    }
    Ok(made)
}

impl Made {
    fn add(&mut self, (taken, opened): (Duration, Result<Open, Failure>)) {
        match opened {
            Ok(open) => {
                self.first_answer.record(taken);
                self.open.push(open);
            }
            Err(failure) => count(&mut self.errors, "connecting", &failure),
        }
    }
}

async fn open(mut client: Client, config: &RunConfig, held: Held) -> Result<Open, Failure> {
    let limit = config.request_timeout();
    match held {
        Held::KeptAlive => {
            client.whole(hello(), limit).await?;
            Ok(Open { client, stream: None })
        }
        Held::Stream => {
            let stream = timeout(limit, begin_stream(&mut client, config)).await;
            let stream = stream.unwrap_or(Err(Failure::Timeout))?;
            Ok(Open { client, stream: Some(stream) })
        }
    }
}

/// A turn whose stream has begun: its first bytes are there.
async fn begin_stream(client: &mut Client, config: &RunConfig) -> Result<Incoming, Failure> {
    #[derive(Deserialize)]
    struct Created {
        id: String,
    }
    let created = client.whole(create_conversation(), config.request_timeout()).await?;
    let created: Created = serde_json::from_slice(&created).map_err(|_| Failure::Shape)?;
    let mut stream = client.send(turn(&config.model, &created.id, HELD_TURN, true)).await?.into_body();
    match stream.frame().await {
        Some(Ok(_)) => Ok(stream),
        _ => Err(Failure::Cut),
    }
}

/// How many of the connections are there still.
async fn check_alive(open: Vec<Open>, config: &Arc<RunConfig>) -> u32 {
    let places = Arc::new(Semaphore::new(CONNECTING_MAX));
    let mut checking = JoinSet::new();
    for connection in open {
        let (places, config) = (Arc::clone(&places), Arc::clone(config));
        checking.spawn(async move {
            let _place = places.acquire().await.ok()?;
            is_alive(connection, &config).await.then_some(())
        });
    }
    let alive = checking.join_all().await.into_iter().flatten().count();
    u32::try_from(alive).unwrap_or(u32::MAX)
}

async fn is_alive(mut connection: Open, config: &RunConfig) -> bool {
    match connection.stream.take() {
        None => {
            connection.client.is_connected()
                && connection.client.whole(hello(), config.request_timeout()).await.is_ok()
        }
        // What has come meanwhile is read until nothing is there at this moment.
        Some(mut stream) => loop {
            tokio::select! {
                biased;
                frame = stream.frame() => match frame {
                    Some(Ok(_)) => {}
                    _ => return false,
                },
                () = tokio::task::yield_now() => return true,
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_twenty_thousand_connections_have_an_address_of_their_own() {
        let local = Endpoint::parse("http://127.0.0.1:1").unwrap();
        let addresses = [0, 19_999, 20_000, 99_999].map(|n| source(&local, n).unwrap().to_string());
        assert_eq!(addresses, ["127.0.0.2", "127.0.0.2", "127.0.0.3", "127.0.0.6"]);
        let private = Endpoint::parse("http://10.0.0.1:1").unwrap();
        assert_eq!(source(&private, 0), None);
    }
}
