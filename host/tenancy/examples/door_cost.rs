//! What recognising a caller costs, and what 10,000 tenants do: prints nanoseconds, milliseconds and memory.
//!
//! `cargo run --release -p waggle-tenancy --example door_cost`

#![expect(clippy::print_stdout, reason = "it is what a measurement is for")]
#![expect(clippy::unwrap_used, reason = "a measurement that goes wrong may end where it stands")]

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RsaKeyPair, RsaPublicKeyComponents,
};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use waggle_tenancy::{
    ApiKey, Directory, DirectoryConfig, Door, FetchedJwks, Issuer, JwksFetch, Limits, Origin, SecretSource,
    Tenant, TenantId, TenantSettings, TokenIssuers, VERIFIED_TOKEN_S_MAX,
};

const NOW_S: u64 = 2_000_000_000;
const SHARED_KEY: &str = "a key of thirty-two bytes at least";
const TENANTS: usize = 10_000;

struct NoFetch;

#[async_trait]
impl JwksFetch for NoFetch {
    async fn fetch(&self, _url: &str) -> Result<FetchedJwks, String> {
        Err("nothing is fetched here".to_owned())
    }
}

/// A token with what verifies it.
struct Signed {
    algorithm: &'static str,
    issuer: Issuer,
    token: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let (mut tenant, key) = (named("measured"), ApiKey::generate("", vec!["chat".to_owned()], 0, None));
    tenant.settings.api_keys.push(key.0);
    let tokens: Vec<Signed> = [hs256(), es256(), eddsa()].into_iter().chain(rs256()).collect();
    tenant.settings.issuers = tokens.iter().map(|signed| signed.issuer.clone()).collect();
    let directory = Directory::new(DirectoryConfig {
        defaults: Limits::default(),
        issuers: TokenIssuers::new(Arc::new(NoFetch)),
        sealing: None,
        base_dir: PathBuf::new(),
    });
    directory.replace(Origin::File, [tenant]).unwrap();
    many_tenants(&directory);

    let door = Door::new(directory);
    let key = format!("Bearer {}", key.1.expose());
    report("API key, never remembered", measure(&door, &key, false).await);
    for signed in &tokens {
        let header = format!("Bearer {}", signed.token);
        report(&format!("{} token, remembered", signed.algorithm), measure(&door, &header, false).await);
        report(&format!("{} token, verified", signed.algorithm), measure(&door, &header, true).await);
    }
}

/// What one identification takes. To have a token verified each time, each time is after it was forgotten.
async fn measure(door: &Door, header: &str, forgotten: bool) -> Result<Duration, String> {
    let step_s = if forgotten { VERIFIED_TOKEN_S_MAX + 1 } else { 0 };
    let (mut count, mut now_s) = (0, NOW_S);
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(500) {
        for _ in 0..100 {
            now_s += step_s;
            let caller = door.identify_at(Some(header.as_bytes()), false, now_s).await;
            std::hint::black_box(caller.map_err(|denied| denied.to_string())?);
            count += 1;
        }
    }
    Ok(start.elapsed() / count)
}

fn report(what: &str, result: Result<Duration, String>) {
    match result {
        Ok(each) => println!("{what:40} {:>9} ns", each.as_nanos()),
        Err(problem) => println!("{what:40} not available: {problem}"),
    }
}

/// The store's tenants, each with a key and an issuer; then one of them changes.
fn many_tenants(directory: &Directory) {
    let mut tenants: Vec<Arc<Tenant>> = (0..TENANTS).map(many_tenant).map(Arc::new).collect();
    let before = resident_kib();
    let start = Instant::now();
    directory.replace(Origin::Store, tenants.clone()).unwrap();
    println!("{TENANTS} tenants put in force: {:?}", start.elapsed());
    println!(
        "memory of each, beyond its settings: {} KiB",
        (resident_kib() - before) as f64 / TENANTS as f64
    );
    let start = Instant::now();
    directory.replace(Origin::Store, tenants.clone()).unwrap();
    println!("the same again: {:?}", start.elapsed());
    let mut changed = Tenant::clone(&tenants[7]);
    changed.settings.name = "changed".to_owned();
    tenants[7] = Arc::new(changed);
    let start = Instant::now();
    directory.update(Origin::Store, &tenants[7..8], &[]).unwrap();
    println!("one of them changed: {:?}", start.elapsed());
}

fn many_tenant(number: usize) -> Tenant {
    let mut tenant = named(&format!("t{number}"));
    tenant.settings.api_keys.push(ApiKey::generate("", Vec::new(), 0, None).0);
    tenant.settings.issuers.push(Issuer {
        issuer: format!("https://t{number}.example"),
        ..issuer("many", Some(SecretSource::Value(SHARED_KEY.to_owned())), None)
    });
    tenant
}

fn resident_kib() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or_default()
}

fn named(name: &str) -> Tenant {
    Tenant { id: TenantId::new(name).unwrap(), settings: TenantSettings::default() }
}

fn issuer(algorithm: &str, secret: Option<SecretSource>, jwks: Option<String>) -> Issuer {
    Issuer {
        issuer: format!("https://{algorithm}.example"),
        audience: "waggle".to_owned(),
        secret,
        jwks,
        jwks_file: None,
        jwks_url: None,
        clock_skew_s: 0,
        user_claim: "sub".to_owned(),
    }
}

fn signed(algorithm: &'static str, issuer: Issuer, sign: impl Fn(&[u8]) -> Vec<u8>) -> Signed {
    let header = format!(r#"{{"alg":"{algorithm}","typ":"JWT"}}"#);
    let claims = format!(
        r#"{{"iss":"{}","aud":"waggle","tenant":"measured","sub":"user-1","scope":"chat","exp":9000000000000}}"#,
        issuer.issuer
    );
    let text = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = URL_SAFE_NO_PAD.encode(sign(text.as_bytes()));
    Signed { algorithm, issuer, token: format!("{text}.{signature}") }
}

fn hs256() -> Signed {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, SHARED_KEY.as_bytes());
    let issuer = issuer("hs256", Some(SecretSource::Value(SHARED_KEY.to_owned())), None);
    signed("HS256", issuer, |text| ring::hmac::sign(&key, text).as_ref().to_vec())
}

fn es256() -> Signed {
    let random = SystemRandom::new();
    let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.as_ref(), &random).unwrap();
    let (x, y) = key.public_key().as_ref()[1..].split_at(32);
    let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
    let jwks = format!(r#"{{"keys":[{{"kty":"EC","crv":"P-256","alg":"ES256","x":"{x}","y":"{y}"}}]}}"#);
    signed("ES256", issuer("es256", None, Some(jwks)), |text| {
        key.sign(&random, text).unwrap().as_ref().to_vec()
    })
}

fn eddsa() -> Signed {
    let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    let key = Ed25519KeyPair::from_pkcs8(key.as_ref()).unwrap();
    let x = URL_SAFE_NO_PAD.encode(key.public_key());
    let jwks = format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","alg":"EdDSA","x":"{x}"}}]}}"#);
    signed("EdDSA", issuer("eddsa", None, Some(jwks)), |text| key.sign(text).as_ref().to_vec())
}

/// With the key of the tests: no library here makes one.
fn rs256() -> Option<Signed> {
    let pem =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/rsa-2048.pem")).ok()?;
    let text: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let key = RsaKeyPair::from_pkcs8(&STANDARD.decode(text).unwrap()).unwrap();
    let public = RsaPublicKeyComponents::<Vec<u8>>::from(key.public_key());
    let (n, e) = (URL_SAFE_NO_PAD.encode(public.n), URL_SAFE_NO_PAD.encode(public.e));
    let jwks = format!(r#"{{"keys":[{{"kty":"RSA","alg":"RS256","n":"{n}","e":"{e}"}}]}}"#);
    Some(signed("RS256", issuer("rs256", None, Some(jwks)), |text| {
        let mut signature = vec![0; key.public().modulus_len()];
        key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text, &mut signature).unwrap();
        signature
    }))
}
