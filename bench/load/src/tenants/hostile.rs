//! The hostile clients. They run in a process of their own with the lowest priority, so that what they cost hardly
//! touches the client that measures; what is left of it shows beside the control `busy-machine`.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Args;
use hyper::header::{AUTHORIZATION, HeaderValue};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use crate::endpoint::Endpoint;
use crate::run::{RunConfig, run};
use crate::scenario::{Call, Scenario};
use crate::tenants::api_key::random;
use crate::tenants::kind::{AUDIENCE, HOSTILE_ISSUER, Kind};
use crate::tenants::traffic::{Drive, Source, outcomes};

/// The lowest priority there is.
const NICE_MAX: i32 = 19;
/// Through this variable the key reaches the process, as arguments can be read by everybody.
const KEY_VARIABLE: &str = "WAGGLE_BENCH_HOSTILE_KEY";
/// How long an answer of a guest that may hang is waited for.
const HANGING_PATIENCE: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(10);
/// Connections with an unfinished request, per client.
const UNFINISHED_PER_CLIENT: u32 = 8;
const UNFINISHED_BYTE_EVERY: Duration = Duration::from_millis(200);
/// How much longer than asked the process may live.
const GRACE: Duration = Duration::from_secs(20);

/// What the process is told.
#[derive(Debug, Clone, Args)]
pub(crate) struct HostileArguments {
    #[arg(long)]
    url: String,
    #[arg(long)]
    kind: Kind,
    #[arg(long)]
    clients: u32,
    #[arg(long)]
    seconds: f64,
    #[arg(long, env = KEY_VARIABLE, hide_env_values = true)]
    key: String,
}

/// What the process says at its end.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct HostileReport {
    pub(crate) outcomes: BTreeMap<String, u64>,
}

/// A hostile process under way.
pub(crate) struct Hostile {
    child: Child,
    until: Instant,
}

impl Hostile {
    /// Starts one that ends by itself after `seconds`.
    pub(crate) fn start(
        url: &str,
        kind: &Kind,
        key: &str,
        clients: u32,
        seconds: f64,
    ) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("could not find the load generator's own program")?;
        let child = Command::new(program)
            .args(["tenants", "hostile", "--url", url, "--kind", &kind.to_string()])
            .args(["--clients", &clients.to_string(), "--seconds", &seconds.to_string()])
            .env(KEY_VARIABLE, key)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("could not start the hostile clients")?;
        Ok(Self { child, until: Instant::now() + Duration::from_secs_f64(seconds) + GRACE })
    }

    /// Waits for its end and takes its report.
    pub(crate) async fn finish(self) -> anyhow::Result<HostileReport> {
        let output = timeout_at(self.until, self.child.wait_with_output())
            .await
            .context("the hostile clients did not end in time")?
            .context("could not wait for the hostile clients")?;
        if !output.status.success() {
            bail!("the hostile clients ended with {}", output.status);
        }
        serde_json::from_slice(&output.stdout).context("the hostile clients reported nothing")
    }
}

/// Gives this thread the lowest priority, and so those that it starts.
pub(crate) fn lower_priority() {
    // It is always allowed; should it fail all the same, the measurement only gets worse for the measured.
    let _ = rustix::process::setpriority_process(None, NICE_MAX);
}

/// What the process does.
pub(crate) async fn attack(arguments: &HostileArguments) -> anyhow::Result<HostileReport> {
    let endpoint = Endpoint::parse(&arguments.url)?;
    let until = Instant::now() + Duration::from_secs_f64(arguments.seconds);
    let outcomes = match &arguments.kind {
        Kind::Nobody => BTreeMap::new(),
        Kind::BusyMachine => keep_busy(arguments.seconds),
        Kind::UnfinishedRequests => {
            unfinished(&endpoint, arguments.clients * UNFINISHED_PER_CLIENT, until).await
        }
        Kind::FloodTurns => turns(arguments).await?,
        kind => {
            let patience = if kind.hangs() { HANGING_PATIENCE } else { PATIENCE };
            let drive = Drive { endpoint, clients: arguments.clients, until: Some(until), patience };
            outcomes(&drive.run(Arc::new(Repeated::new(kind, &arguments.key)?)).await?)
        }
    };
    Ok(HostileReport { outcomes })
}

async fn turns(arguments: &HostileArguments) -> anyhow::Result<BTreeMap<String, u64>> {
    let config = RunConfig {
        clients: arguments.clients,
        seconds: arguments.seconds,
        warm_up_seconds: 0.0,
        api_key: Some(arguments.key.clone()),
        ..RunConfig::new(Scenario::Turn, &arguments.url)
    };
    let report = run(config).await?;
    let mut outcomes = report.errors;
    outcomes.insert("status 200".to_owned(), report.requests);
    Ok(outcomes)
}

/// The same request again and again, with a credential that may change.
struct Repeated {
    path: String,
    credential: Credential,
}

enum Credential {
    Same(HeaderValue),
    /// Tokens that differ in their number, all wrongly signed.
    BadTokens {
        count: AtomicU64,
        signature: String,
        expires_at_s: u64,
    },
}

impl Repeated {
    fn new(kind: &Kind, key: &str) -> anyhow::Result<Self> {
        let path = kind.path();
        let credential = match kind {
            Kind::BadTokens => Credential::BadTokens {
                count: AtomicU64::new(0),
                signature: URL_SAFE_NO_PAD.encode(random::<64>()?),
                expires_at_s: now_s() + 3_600,
            },
            Kind::BadKeys => Credential::Same(bearer(&wrong_secret(key))?),
            _ => Credential::Same(bearer(key)?),
        };
        Ok(Self { path, credential })
    }
}

impl Source for Repeated {
    fn next(&self, _client: u32) -> Option<Call> {
        let value = match &self.credential {
            Credential::Same(value) => value.clone(),
            Credential::BadTokens { count, signature, expires_at_s } => {
                bearer(&bad_token(count.fetch_add(1, Relaxed), signature, *expires_at_s)).ok()?
            }
        };
        let mut call = Call::get(self.path.as_str());
        call.headers.insert(AUTHORIZATION, value);
        Some(call)
    }
}

/// The header field of a credential.
pub(crate) fn bearer(credential: &str) -> anyhow::Result<HeaderValue> {
    HeaderValue::from_str(&format!("Bearer {credential}")).context("the credential is no header value")
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A key with the same id.
fn wrong_secret(key: &str) -> String {
    let known = key.rfind('_').map_or(0, |at| at + 1);
    key.char_indices().map(|(at, char)| if at < known { char } else { 'A' }).collect()
}

fn bad_token(number: u64, signature: &str, expires_at_s: u64) -> String {
    let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let claims =
        format!(r#"{{"iss":"{HOSTILE_ISSUER}","aud":"{AUDIENCE}","sub":"u{number}","exp":{expires_at_s}}}"#);
    format!("{}.{}.{signature}", encode(r#"{"alg":"ES256","typ":"JWT"}"#), encode(&claims))
}

fn keep_busy(seconds: f64) -> BTreeMap<String, u64> {
    let until = std::time::Instant::now() + Duration::from_secs_f64(seconds);
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                lower_priority();
                while std::time::Instant::now() < until {
                    std::hint::spin_loop();
                }
            });
        }
    });
    BTreeMap::new()
}

async fn unfinished(endpoint: &Endpoint, connections: u32, until: Instant) -> BTreeMap<String, u64> {
    let mut running = JoinSet::new();
    for _ in 0..connections {
        running.spawn(drip(endpoint.clone(), until));
    }
    let mut outcomes = BTreeMap::new();
    while let Some(finished) = running.join_next().await {
        let outcome = finished.unwrap_or("client ended early");
        *outcomes.entry(outcome.to_owned()).or_insert(0) += 1;
    }
    outcomes
}

/// One connection with a head that never ends.
async fn drip(endpoint: Endpoint, until: Instant) -> &'static str {
    let Ok(Ok(mut stream)) = timeout(PATIENCE, TcpStream::connect(endpoint.address)).await else {
        return "connect";
    };
    let head = format!("GET /hello HTTP/1.1\r\nhost: {}\r\nx-drip: ", endpoint.authority);
    if stream.write_all(head.as_bytes()).await.is_err() {
        return "closed by the server";
    }
    let mut answer = [0; 1];
    while Instant::now() < until {
        tokio::select! {
            _ = stream.read(&mut answer) => return "closed by the server",
            () = sleep(UNFINISHED_BYTE_EVERY) => {}
            () = sleep_until(until) => break,
        }
        if stream.write_all(b"x").await.is_err() {
            return "closed by the server";
        }
    }
    "held open to the end"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_key_has_a_right_id_and_a_wrong_secret() {
        assert_eq!(wrong_secret("wk_abcdefghijkl_xyz"), "wk_abcdefghijkl_AAA");
    }

    #[test]
    fn bad_tokens_differ_and_are_well_formed() {
        let source = Repeated::new(&Kind::BadTokens, "wk_a_b").unwrap();
        let sent = || {
            let call = source.next(0).unwrap();
            call.headers[AUTHORIZATION].to_str().unwrap().strip_prefix("Bearer ").unwrap().to_owned()
        };
        let (one, other) = (sent(), sent());
        assert_ne!(one, other);
        let parts: Vec<Vec<u8>> = one.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).unwrap()).collect();
        let [head, claims, signature] = parts.as_slice() else { panic!("three parts") };
        assert_eq!(serde_json::from_slice::<serde_json::Value>(head).unwrap()["alg"], "ES256");
        assert_eq!(serde_json::from_slice::<serde_json::Value>(claims).unwrap()["iss"], HOSTILE_ISSUER);
        assert_eq!(signature.len(), 64);
    }
}
