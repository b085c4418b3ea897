//! Whole tokens: which count, which do not, and for whom.

mod claims;
mod forgery;
mod keys;
mod tenants;

use super::*;
use crate::{Issuer, SecretSource};
use serde_json::{Value, json};
use waggle_secret::Secret;

/// The moment all tests happen at.
const NOW: u64 = 1_800_000_000;

const ISSUER: &str = "https://id.example";
const AUDIENCE: &str = "waggle";
const RSA: &str = include_str!("../../tests/data/rsa-2048.pem");
const P256: &str = include_str!("../../tests/data/p-256.pem");
const ED25519: &str = include_str!("../../tests/data/ed25519.pem");

/// For tests without addresses.
struct NoFetch;

#[async_trait]
impl JwksFetch for NoFetch {
    async fn fetch(&self, url: &str) -> Result<FetchedJwks, String> {
        panic!("nobody asked for {url}")
    }
}

fn secret(of: &str) -> Secret {
    Secret::new(format!("a secret of 32 bytes or more, of {of}"))
}

fn secret_key(of: &str) -> SigningKey {
    SigningKey::from_secret(&secret(of)).unwrap()
}

fn pem_key(pem: &str) -> SigningKey {
    SigningKey::from_pem(&Secret::new(pem)).unwrap()
}

/// An issuer without keys.
fn keyless() -> Issuer {
    Issuer {
        issuer: ISSUER.to_owned(),
        audience: AUDIENCE.to_owned(),
        secret: None,
        jwks: None,
        jwks_file: None,
        jwks_url: None,
        clock_skew_s: 30,
        user_claim: "sub".to_owned(),
    }
}

fn entry(tenant: &str, issuer: Issuer, secret: Option<Secret>) -> IssuerEntry {
    IssuerEntry { tenant: TenantId::new(tenant).unwrap(), issuer, secret }
}

/// The issuer of `tenant` that shares [`secret`] with us.
fn with_secret(tenant: &str) -> IssuerEntry {
    let source = Some(SecretSource::Value(secret(tenant).expose().to_owned()));
    entry(tenant, Issuer { secret: source, ..keyless() }, Some(secret(tenant)))
}

/// The issuer of `tenant` that signs with `key`.
fn with_key(tenant: &str, key: &SigningKey) -> IssuerEntry {
    entry(tenant, Issuer { jwks: key.jwks(), ..keyless() }, None)
}

fn issuers(entries: Vec<IssuerEntry>) -> Arc<TokenIssuers> {
    let issuers = TokenIssuers::new(Arc::new(NoFetch));
    issuers.replace(entries);
    issuers
}

/// What a good token of `tenant` claims.
fn payload(tenant: &str) -> Value {
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "tenant": tenant, "sub": "user-7", "sid": "s-1", "scope": "read write",
        "iat": NOW - 60, "nbf": NOW - 60, "exp": NOW + 600,
    })
}

/// A good token of `tenant`, but for what `change` does to its payload.
fn token(key: &SigningKey, tenant: &str, change: impl FnOnce(&mut Value)) -> String {
    let mut payload = payload(tenant);
    change(&mut payload);
    key.sign(&key.header(), &payload).unwrap()
}

/// Waits for a future that waits for nothing.
fn now<T>(future: impl Future<Output = T>) -> T {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(future).poll(&mut context) {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => panic!("it waits"),
    }
}

fn verify(issuers: &TokenIssuers, token: &str) -> Result<Claims, TokenError> {
    now(issuers.verify(token, NOW))
}

/// One key of each algorithm.
fn all_keys() -> [SigningKey; 4] {
    [secret_key("bank"), pem_key(RSA), pem_key(P256), pem_key(ED25519)]
}

/// The issuer of `bank` for `key`.
fn issuer_of(key: &SigningKey) -> IssuerEntry {
    if key.jwks().is_some() { with_key("bank", key) } else { with_secret("bank") }
}

#[test]
fn a_good_token_says_who_is_calling() {
    for key in all_keys() {
        let issuers = issuers(vec![issuer_of(&key)]);
        let claims = verify(&issuers, &token(&key, "bank", |_| {})).unwrap();
        let expected = Claims {
            tenant: TenantId::new("bank").unwrap(),
            user: Arc::from("user-7"),
            session: Some(Arc::from("s-1")),
            scopes: Arc::from("read write"),
            expires_at_s: NOW + 630,
        };
        assert_eq!(claims, expected, "{key:?}");
    }
}

#[test]
fn what_is_minted_is_verified() {
    let request = MintRequest {
        tenant: TenantId::new("bank").unwrap(),
        issuer: ISSUER.to_owned(),
        audience: AUDIENCE.to_owned(),
        user: "user-7".to_owned(),
        session: Some("s-1".to_owned()),
        scopes: " read  write ".to_owned(),
        lifetime_s: 60,
    };
    for key in all_keys() {
        let key = key.with_kid("k1");
        let issuers = issuers(vec![issuer_of(&key)]);
        let token = mint(&request, &key).unwrap();
        let minted_at = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
        let claims = now(issuers.verify(&token, minted_at)).unwrap();
        assert_eq!((&*claims.user, &*claims.scopes), ("user-7", "read write"), "{key:?}");
        assert_eq!(claims.session.as_deref(), Some("s-1"));
        assert_eq!(now(issuers.verify(&token, minted_at + 91)), Err(TokenError::Expired));
    }
}

#[test]
fn what_could_not_be_verified_is_not_minted() {
    let good = MintRequest {
        tenant: TenantId::new("bank").unwrap(),
        issuer: ISSUER.to_owned(),
        audience: AUDIENCE.to_owned(),
        user: "u".to_owned(),
        session: None,
        scopes: String::new(),
        lifetime_s: 1,
    };
    let check = |bad: MintRequest, expected: &str| match mint(&bad, &secret_key("bank")) {
        Err(MintError::Field { field, .. }) => assert_eq!(field, expected),
        other => panic!("{expected}: {other:?}"),
    };
    check(MintRequest { issuer: String::new(), ..good.clone() }, "the issuer");
    check(MintRequest { audience: String::new(), ..good.clone() }, "the audience");
    check(MintRequest { user: "a b".to_owned(), ..good.clone() }, "the user");
    check(MintRequest { session: Some(String::new()), ..good.clone() }, "the session");
    check(MintRequest { scopes: "\"".to_owned(), ..good.clone() }, "the scopes");
    check(MintRequest { lifetime_s: 0, ..good.clone() }, "the lifetime");
    assert!(mint(&good, &secret_key("bank")).is_ok());
}

#[test]
fn a_signing_key_is_read_from_its_usual_forms_and_never_shown() {
    let wrong = |pem: &str| SigningKey::from_pem(&Secret::new(pem)).unwrap_err().to_string();
    assert!(wrong("nothing").contains("not PEM"));
    assert!(wrong("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----").contains("none of RSA"));
    assert!(wrong("-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----").contains("pkcs8"));
    assert!(
        wrong("-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----").contains("RSA key")
    );
    assert!(
        wrong("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----").contains("not a private key")
    );
    let with_parameters =
        format!("-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n{P256}");
    assert_eq!(format!("{:?}", pem_key(&with_parameters)), "SigningKey(ES256, [redacted])");
    let short = SigningKey::from_secret(&Secret::new("x".repeat(31))).unwrap_err();
    assert!(short.to_string().contains("32 bytes"));
}
