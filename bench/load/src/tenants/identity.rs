//! What it costs to recognise a caller: the server's CPU per request of `hello`, with each kind of credential, as
//! differences to a server that recognises nobody. Both servers run side by side and take turns.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use hyper::header::{AUTHORIZATION, HeaderValue};
use serde::Serialize;

use crate::measurement::{Latency, Tally};
use crate::process::usage;
use crate::scenario::{Call, hello};
use crate::tenants::files::Tenant;
use crate::tenants::hostile::bearer;
use crate::tenants::progress;
use crate::tenants::stage::{Server, Setup, Stage};
use crate::tenants::tokens::{Algorithm, Signer};
use crate::tenants::traffic::{Drive, Source};

const PATIENCE: Duration = Duration::from_secs(30);
const BASELINE: &str = "no tenants";

#[derive(Debug, Clone)]
pub(crate) struct IdentityConfig {
    pub(crate) rounds: u32,
    /// Per round, with a credential that is always the same.
    pub(crate) requests: usize,
    /// Per round, with a token that has never been seen.
    pub(crate) uncached_requests: usize,
    pub(crate) clients: u32,
    /// Other tenants in the file.
    pub(crate) other_tenants: u32,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct IdentityReport {
    pub(crate) rounds: u32,
    pub(crate) clients: u32,
    pub(crate) other_tenants: u32,
    pub(crate) results: Vec<IdentityResult>,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct IdentityResult {
    pub(crate) credential: String,
    pub(crate) requests: u64,
    pub(crate) failed: u64,
    pub(crate) cpu_us_per_request: f64,
    /// More than without tenants.
    pub(crate) extra_cpu_us: f64,
    pub(crate) latency: Latency,
}

/// One way to call.
struct Variant {
    name: String,
    credentials: Credentials,
    requests: usize,
}

enum Credentials {
    None,
    Same(HeaderValue),
    /// Each is used once; rounds take one part each.
    Fresh(Arc<[HeaderValue]>),
}

/// Sends one round of a variant.
struct Round {
    fresh: Option<Arc<[HeaderValue]>>,
    same: Option<HeaderValue>,
    next: AtomicUsize,
    end: usize,
}

impl Source for Round {
    fn next(&self, _client: u32) -> Option<Call> {
        let at = self.next.fetch_add(1, Relaxed);
        if at >= self.end {
            return None;
        }
        let mut call = hello();
        let value = match &self.fresh {
            Some(fresh) => Some(fresh.get(at)?),
            None => self.same.as_ref(),
        };
        if let Some(value) = value {
            call.headers.insert(AUTHORIZATION, value.clone());
        }
        Some(call)
    }
}

impl Variant {
    fn round(&self, round: u32) -> Round {
        let (fresh, same) = match &self.credentials {
            Credentials::None => (None, None),
            Credentials::Same(value) => (None, Some(value.clone())),
            Credentials::Fresh(values) => (Some(Arc::clone(values)), None),
        };
        let begin = if fresh.is_some() { round as usize * self.requests } else { 0 };
        Round { fresh, same, next: AtomicUsize::new(begin), end: begin + self.requests }
    }
}

pub(crate) async fn identity(stage: &mut Stage, config: &IdentityConfig) -> anyhow::Result<IdentityReport> {
    let mut caller = Tenant::new("caller")?;
    let mut signers = Vec::new();
    for algorithm in Algorithm::ALL {
        signers.push(Signer::generate(algorithm, &format!("https://{}.example", algorithm.name()))?);
    }
    caller.issuers = signers.iter().map(Signer::entry).collect::<Result<_, _>>()?;
    let mut tenants = crate::tenants::files::numbered_tenants("other", config.other_tenants)?;
    tenants.push(caller.clone());
    let open = stage.start(Setup { name: "open", ..Setup::default() }).await?;
    let closed = stage.start(Setup { name: "tenants", tenants: Some(&tenants), ..Setup::default() }).await?;
    progress("signing tokens");
    let variants = variants(config, &caller, &signers)?;
    let mut sums = Vec::new();
    for _ in &variants {
        sums.push((Tally::new()?, 0.0));
    }
    for round in 0..=config.rounds {
        progress(&format!("round {round} of {} (0 warms up)", config.rounds));
        for (variant, sum) in variants.iter().zip(&mut sums) {
            let server = if matches!(variant.credentials, Credentials::None) { &open } else { &closed };
            let (tally, cpu_seconds) = one_round(config, variant, round, server).await?;
            if round > 0 {
                sum.0.add(&tally)?;
                sum.1 += cpu_seconds;
            }
        }
    }
    open.stop().await;
    closed.stop().await;
    let results =
        variants.iter().zip(&sums).map(|(variant, (tally, cpu))| (variant.name.as_str(), tally, *cpu));
    Ok(IdentityReport {
        rounds: config.rounds,
        clients: config.clients,
        other_tenants: config.other_tenants,
        results: conclude(results),
    })
}

fn variants(config: &IdentityConfig, caller: &Tenant, signers: &[Signer]) -> anyhow::Result<Vec<Variant>> {
    let same = |name: String, credential: &str| {
        anyhow::Ok(Variant {
            name,
            credentials: Credentials::Same(bearer(credential)?),
            requests: config.requests,
        })
    };
    let none =
        Variant { name: BASELINE.to_owned(), credentials: Credentials::None, requests: config.requests };
    let mut variants = vec![none, same("API key".to_owned(), &caller.key.text)?];
    for signer in signers {
        let token = signer.token(0)?;
        variants.push(same(format!("{}, seen before", signer.algorithm().name()), &token)?);
    }
    // A round of its own warms up.
    let count = config.uncached_requests as u64 * (u64::from(config.rounds) + 1);
    for signer in signers {
        let tokens = (1..=count).map(|number| bearer(&signer.token(number)?));
        variants.push(Variant {
            name: format!("{}, new", signer.algorithm().name()),
            credentials: Credentials::Fresh(tokens.collect::<Result<_, _>>()?),
            requests: config.uncached_requests,
        });
    }
    Ok(variants)
}

async fn one_round(
    config: &IdentityConfig,
    variant: &Variant,
    round: u32,
    server: &Server,
) -> anyhow::Result<(Tally, f64)> {
    let drive =
        Drive { endpoint: server.endpoint.clone(), clients: config.clients, until: None, patience: PATIENCE };
    let before = usage(server.pid).cpu_seconds;
    let tally = drive.run(Arc::new(variant.round(round))).await?;
    Ok((tally, usage(server.pid).cpu_seconds - before))
}

fn conclude<'a>(sums: impl Iterator<Item = (&'a str, &'a Tally, f64)>) -> Vec<IdentityResult> {
    let mut baseline = None;
    sums.map(|(name, tally, cpu_seconds)| {
        let cpu_us_per_request = cpu_seconds * 1e6 / tally.good().max(1) as f64;
        let base = *baseline.get_or_insert(cpu_us_per_request);
        IdentityResult {
            credential: name.to_owned(),
            requests: tally.good(),
            failed: tally.failures().values().sum(),
            cpu_us_per_request,
            extra_cpu_us: cpu_us_per_request - base,
            latency: tally.answer_times(),
        }
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(round: &Round) -> Vec<String> {
        std::iter::from_fn(|| round.next(0))
            .map(|call| {
                call.headers
                    .get(AUTHORIZATION)
                    .map_or_else(String::new, |value| value.to_str().unwrap().to_owned())
            })
            .collect()
    }

    #[test]
    fn a_fresh_credential_is_sent_once_over_all_rounds() {
        let values: Arc<[_]> = (0..4).map(|number| HeaderValue::from(number as u32)).collect();
        let variant = Variant { name: String::new(), credentials: Credentials::Fresh(values), requests: 2 };
        assert_eq!(sent(&variant.round(0)), ["0", "1"]);
        assert_eq!(sent(&variant.round(1)), ["2", "3"]);
        let same = Variant {
            credentials: Credentials::Same(HeaderValue::from_static("k")),
            name: String::new(),
            requests: 2,
        };
        assert_eq!(sent(&same.round(3)), ["k", "k"]);
        let none = Variant { credentials: Credentials::None, ..same };
        assert_eq!(sent(&none.round(3)), ["", ""]);
    }

    #[test]
    fn costs_are_differences_to_the_first() {
        let mut tally = Tally::new().unwrap();
        (0..10).for_each(|_| tally.latency(Duration::from_micros(5)));
        let results = conclude([("a", &tally, 0.001), ("b", &tally, 0.003)].into_iter());
        assert!((results[0].cpu_us_per_request - 100.0).abs() < 1e-6 && results[0].extra_cpu_us == 0.0);
        assert!((results[1].extra_cpu_us - 200.0).abs() < 1e-6);
    }
}
