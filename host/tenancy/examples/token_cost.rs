//! What it costs to verify a token, for each algorithm: nanoseconds, the median of several runs.
//!
//! `cargo run -p waggle-tenancy --example token_cost`: with the profile for development, where the cryptography is
//! optimised and this crate is not; `--release` tells what a user gets.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use async_trait::async_trait;
use waggle_secret::Secret;
use waggle_tenancy::{
    FetchedJwks, Issuer, IssuerEntry, JwksFetch, MintRequest, SigningKey, TenantId, TokenIssuers, mint,
    verify_signature,
};

const ROUNDS: usize = 2_000;
const RUNS: usize = 7;
const TENANTS: usize = 10_000;

type Failure = Box<dyn std::error::Error>;

/// All keys are at hand.
struct NoFetch;

#[async_trait]
impl JwksFetch for NoFetch {
    async fn fetch(&self, _url: &str) -> Result<FetchedJwks, String> {
        Err("nothing is fetched".to_owned())
    }
}

#[expect(clippy::print_stdout, reason = "an example prints what it found")]
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let now_s = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
    println!("{:<8} {:>6} {:>12} {:>20}", "", "bytes", "verify, ns", "with key, ns");
    for Measured { name, key, secret } in keys()? {
        let token = mint(&request()?, &key)?;
        let issuers = TokenIssuers::new(Arc::new(NoFetch));
        let jwks = key.jwks();
        issuers.replace(vec![entry(jwks.clone(), secret)?]);
        let mut runs = Vec::with_capacity(RUNS);
        for _ in 0..RUNS {
            let started = Instant::now();
            for _ in 0..ROUNDS {
                black_box(issuers.verify(black_box(&token), now_s).await?);
            }
            runs.push(nanoseconds_each(started));
        }
        let cold = jwks.map(|jwks| cold(&jwks, &token)).transpose()?;
        let cold = cold.map_or_else(|| "-".to_owned(), |cold| cold.to_string());
        println!("{name:<8} {:>6} {:>12} {cold:>20}", token.len(), median(runs));
    }
    let [first, again] = replacing()?;
    println!("issuers of {TENANTS} tenants: {first} ms to put in place, {again} ms when none has changed");
    Ok(())
}

/// Milliseconds to put the issuers of many tenants in place, each with a key set of its own, and to do so again.
fn replacing() -> Result<[u128; 2], Failure> {
    let [_, _, Measured { key, .. }, _] = keys()?;
    let entries = (0..TENANTS)
        .map(|n| {
            let tenant = TenantId::new(&format!("tenant-{n}"))?;
            Ok(IssuerEntry { tenant, ..entry(key.jwks(), None)? })
        })
        .collect::<Result<Vec<_>, Failure>>()?;
    let issuers = TokenIssuers::new(Arc::new(NoFetch));
    let replace = |entries| {
        let started = Instant::now();
        issuers.replace(entries);
        started.elapsed().as_millis()
    };
    Ok([replace(entries.clone()), replace(entries)])
}

/// The same with the key read from its JSON each time, without claims.
fn cold(jwks: &str, token: &str) -> Result<u128, Failure> {
    let jwks: serde_json::Value = serde_json::from_str(jwks)?;
    let jwk = jwks.pointer("/keys/0").ok_or("an empty set")?.to_string();
    let mut runs = Vec::with_capacity(RUNS);
    for _ in 0..RUNS {
        let started = Instant::now();
        for _ in 0..ROUNDS {
            verify_signature(black_box(&jwk), black_box(token))?;
        }
        runs.push(nanoseconds_each(started));
    }
    Ok(median(runs))
}

fn nanoseconds_each(started: Instant) -> u128 {
    started.elapsed().as_nanos() / ROUNDS as u128
}

fn median(mut runs: Vec<u128>) -> u128 {
    runs.sort_unstable();
    runs.get(runs.len() / 2).copied().unwrap_or_default()
}

struct Measured {
    name: &'static str,
    key: SigningKey,
    secret: Option<Secret>,
}

fn keys() -> Result<[Measured; 4], Failure> {
    let secret = Secret::new("a secret of at least thirty-two bytes");
    let pem = |name, file: &str| -> Result<Measured, Failure> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(file);
        let key = SigningKey::from_pem(&Secret::new(std::fs::read_to_string(path)?))?;
        Ok(Measured { name, key, secret: None })
    };
    Ok([
        Measured { name: "HS256", key: SigningKey::from_secret(&secret)?, secret: Some(secret) },
        pem("RS256", "rsa-2048.pem")?,
        pem("ES256", "p-256.pem")?,
        pem("EdDSA", "ed25519.pem")?,
    ])
}

fn request() -> Result<MintRequest, Failure> {
    Ok(MintRequest {
        tenant: TenantId::new("bank")?,
        issuer: "https://id.example".to_owned(),
        audience: "waggle".to_owned(),
        user: "user-7".to_owned(),
        session: Some("session-1".to_owned()),
        scopes: "chat retrieval".to_owned(),
        lifetime_s: 3_600,
    })
}

fn entry(jwks: Option<String>, secret: Option<Secret>) -> Result<IssuerEntry, Failure> {
    let mut settings = serde_json::json!({"issuer": "https://id.example", "audience": "waggle"});
    match (jwks, &secret) {
        (Some(jwks), _) => settings["jwks"] = jwks.into(),
        (None, Some(secret)) => settings["secret"] = serde_json::json!({"value": secret.expose()}),
        (None, None) => return Err("a key without a public part and without a secret".into()),
    }
    let issuer: Issuer = serde_json::from_value(settings)?;
    Ok(IssuerEntry { tenant: TenantId::new("bank")?, issuer, secret })
}
