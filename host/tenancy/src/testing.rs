//! What the tests share: tenants, directories, tokens.

use crate::jwt::{FetchedJwks, JwksFetch, TokenIssuers};
use crate::{
    ApiKey, Caller, Denied, Directory, DirectoryConfig, Door, Issuer, Limits, Origin, SealingKey,
    SecretSource, Tenant, TenantId, TenantSettings, UpstreamSecret,
};
use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::path::PathBuf;
use std::sync::Arc;
use waggle_secret::Secret;

/// When the tests take place, seconds since 1970.
pub(crate) const NOW_S: u64 = 2_000_000_000;

pub(crate) const LOOPBACK: bool = true;

struct NoFetch;

#[async_trait]
impl JwksFetch for NoFetch {
    async fn fetch(&self, url: &str) -> Result<FetchedJwks, String> {
        Err(format!("nothing is fetched here: {url}"))
    }
}

pub(crate) fn sealing_key(byte: u8) -> Arc<SealingKey> {
    Arc::new(SealingKey::from_text(&URL_SAFE_NO_PAD.encode([byte; 32])).unwrap())
}

pub(crate) fn id(text: &str) -> TenantId {
    TenantId::new(text).unwrap()
}

pub(crate) fn directory() -> Arc<Directory> {
    directory_with(Limits::default(), PathBuf::new())
}

pub(crate) fn directory_with(defaults: Limits, base_dir: PathBuf) -> Arc<Directory> {
    Directory::new(config(defaults, base_dir, 1))
}

pub(crate) fn directory_sealed_by(byte: u8) -> Arc<Directory> {
    Directory::new(config(Limits::default(), PathBuf::new(), byte))
}

fn config(defaults: Limits, base_dir: PathBuf, byte: u8) -> DirectoryConfig {
    let issuers = TokenIssuers::new(Arc::new(NoFetch));
    DirectoryConfig { defaults, issuers, sealing: Some(sealing_key(byte)), base_dir }
}

pub(crate) fn tenant(name: &str) -> Tenant {
    Tenant { id: id(name), settings: TenantSettings::default() }
}

/// A tenant with one API key, and the key.
pub(crate) fn tenant_with_key(name: &str) -> (Tenant, Secret) {
    let mut tenant = tenant(name);
    let (key, secret) = ApiKey::generate("test", vec!["chat".to_owned(), "read".to_owned()], 1, None);
    tenant.settings.api_keys.push(key);
    (tenant, secret)
}

/// The tenant's issuer. Its key is made of the tenant's id and `generation`.
pub(crate) fn issuer(tenant: &str, generation: u8) -> Issuer {
    Issuer {
        issuer: format!("https://{tenant}.example"),
        audience: "waggle".to_owned(),
        secret: Some(SecretSource::Value(shared_key(tenant, generation))),
        jwks: None,
        jwks_file: None,
        jwks_url: None,
        clock_skew_s: 0,
        user_claim: "sub".to_owned(),
    }
}

fn shared_key(tenant: &str, generation: u8) -> String {
    format!("a key of 32 bytes at the very least {tenant} {generation}")
}

/// A token of [`issuer`] for the user `ada`.
pub(crate) fn token(tenant: &str, generation: u8, expires_at_s: u64) -> String {
    let header = r#"{"alg":"HS256","typ":"JWT"}"#;
    let claims = format!(
        r#"{{"iss":"https://{tenant}.example","aud":"waggle","sub":"ada","scope":"chat","iat":{},"exp":{expires_at_s}}}"#,
        NOW_S - 10
    );
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, shared_key(tenant, generation).as_bytes());
    let tag = ring::hmac::sign(&key, signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
}

pub(crate) fn upstream_secret(source: SecretSource) -> UpstreamSecret {
    UpstreamSecret {
        origin: "https://api.example.com".to_owned(),
        path_prefix: "/".to_owned(),
        header: "authorization".to_owned(),
        prefix: "Bearer ".to_owned(),
        secret: source,
    }
}

/// A directory with these tenants from the file, and its door.
pub(crate) fn door_of(tenants: Vec<Tenant>) -> (Arc<Directory>, Door) {
    let directory = directory();
    directory.replace(Origin::File, tenants).unwrap();
    let door = Door::new(Arc::clone(&directory));
    (directory, door)
}

/// Who is calling with this credential from elsewhere at [`NOW_S`].
pub(crate) async fn knock(door: &Door, credential: &str) -> Result<Caller, Denied> {
    door.identify_at(Some(format!("Bearer {credential}").as_bytes()), !LOOPBACK, NOW_S).await
}
