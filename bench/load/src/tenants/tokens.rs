//! Issuers with fresh keys, and tokens signed by them.

use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, anyhow, bail};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RsaKeyPair, RsaPublicKeyComponents,
};
use serde_json::json;

use crate::tenants::api_key::random;
use crate::tenants::files::{Issuer, IssuerKeys};
use crate::tenants::kind::AUDIENCE;

/// How long tokens count: longer than any measurement.
const LIFETIME_S: u64 = 86_400;
const P256_COORDINATE_BYTES: usize = 32;

/// The algorithms that Waggle verifies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Hs256,
    Rs256,
    Es256,
    EdDsa,
}

impl Algorithm {
    pub(crate) const ALL: [Self; 4] = [Self::Hs256, Self::Rs256, Self::Es256, Self::EdDsa];

    /// As in `alg` (RFC 7518, RFC 8037).
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }
}

/// An issuer that can sign.
pub(crate) struct Signer {
    issuer: String,
    pair: Pair,
    random: SystemRandom,
}

enum Pair {
    Secret { text: String, key: hmac::Key },
    Rsa(Box<RsaKeyPair>),
    P256(Box<EcdsaKeyPair>),
    Ed25519(Box<Ed25519KeyPair>),
}

impl Signer {
    /// An issuer with a key of its own.
    ///
    /// # Errors
    /// No random bytes; for RS256 no `openssl` program, which makes the key.
    pub(crate) fn generate(algorithm: Algorithm, issuer: &str) -> anyhow::Result<Self> {
        let system = SystemRandom::new();
        let unspecified = |_| anyhow!("could not make a key for {}", algorithm.name());
        let pair = match algorithm {
            Algorithm::Hs256 => {
                let text = URL_SAFE_NO_PAD.encode(random::<32>()?);
                let key = hmac::Key::new(hmac::HMAC_SHA256, text.as_bytes());
                Pair::Secret { text, key }
            }
            Algorithm::Rs256 => Pair::Rsa(Box::new(rsa_key()?)),
            Algorithm::Es256 => {
                let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &system)
                    .map_err(unspecified)?;
                let pair =
                    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &system);
                Pair::P256(Box::new(pair.map_err(|error| anyhow!("a fresh P-256 key is refused: {error}"))?))
            }
            Algorithm::EdDsa => {
                let document = Ed25519KeyPair::generate_pkcs8(&system).map_err(unspecified)?;
                let pair = Ed25519KeyPair::from_pkcs8(document.as_ref());
                Pair::Ed25519(Box::new(
                    pair.map_err(|error| anyhow!("a fresh Ed25519 key is refused: {error}"))?,
                ))
            }
        };
        Ok(Self { issuer: issuer.to_owned(), pair, random: system })
    }

    pub(crate) fn algorithm(&self) -> Algorithm {
        match &self.pair {
            Pair::Secret { .. } => Algorithm::Hs256,
            Pair::Rsa(_) => Algorithm::Rs256,
            Pair::P256(_) => Algorithm::Es256,
            Pair::Ed25519(_) => Algorithm::EdDsa,
        }
    }

    /// What tenants.toml says of it.
    pub(crate) fn entry(&self) -> anyhow::Result<Issuer> {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let jwk = match &self.pair {
            Pair::Secret { text, .. } => return Ok(self.entry_with(IssuerKeys::Secret(text.clone()))),
            Pair::Rsa(pair) => {
                let public = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public());
                json!({"kty": "RSA", "alg": "RS256", "n": encode(&public.n), "e": encode(&public.e)})
            }
            Pair::P256(pair) => {
                // SEC 1: 4, then the coordinates.
                let point = pair.public_key().as_ref().get(1..).unwrap_or_default();
                let (x, y) = point
                    .split_at_checked(P256_COORDINATE_BYTES)
                    .context("a P-256 key has two coordinates")?;
                json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "x": encode(x), "y": encode(y)})
            }
            Pair::Ed25519(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "x": encode(pair.public_key().as_ref())})
            }
        };
        Ok(self.entry_with(IssuerKeys::Jwks(json!({ "keys": [jwk] }).to_string())))
    }

    fn entry_with(&self, keys: IssuerKeys) -> Issuer {
        Issuer { name: self.issuer.clone(), audience: AUDIENCE.to_owned(), keys }
    }

    /// A token for a user; every number makes another token.
    pub(crate) fn token(&self, number: u64) -> anyhow::Result<String> {
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let head = json!({"alg": self.algorithm().name(), "typ": "JWT"}).to_string();
        let claims = json!({
            "iss": self.issuer,
            "aud": AUDIENCE,
            "sub": format!("user-{number}"),
            "exp": now_s + LIFETIME_S,
            "jti": number.to_string(),
        });
        let message =
            format!("{}.{}", URL_SAFE_NO_PAD.encode(head), URL_SAFE_NO_PAD.encode(claims.to_string()));
        let signature = self.sign(message.as_bytes())?;
        Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    fn sign(&self, message: &[u8]) -> anyhow::Result<Vec<u8>> {
        let failed = |_| anyhow!("could not sign a token with {}", self.algorithm().name());
        match &self.pair {
            Pair::Secret { key, .. } => Ok(hmac::sign(key, message).as_ref().to_vec()),
            Pair::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            Pair::P256(pair) => {
                pair.sign(&self.random, message).map(|signature| signature.as_ref().to_vec()).map_err(failed)
            }
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &self.random, message, &mut signature).map_err(failed)?;
                Ok(signature)
            }
        }
    }
}

/// `ring` makes no RSA keys, and a library for one measurement would be much; the program `openssl` is nearly
/// everywhere.
fn rsa_key() -> anyhow::Result<RsaKeyPair> {
    let output = Command::new("openssl")
        .args(["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-outform", "DER"])
        .stderr(Stdio::null())
        .output()
        .context("RS256 needs the program `openssl`, which makes its key")?;
    if !output.status.success() {
        bail!("`openssl genpkey` ended with {}", output.status);
    }
    // Some versions write PKCS #8, some the older PKCS #1.
    RsaKeyPair::from_pkcs8(&output.stdout)
        .or_else(|_| RsaKeyPair::from_der(&output.stdout))
        .map_err(|error| anyhow!("openssl's RSA key is refused: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::signature::{self, UnparsedPublicKey};
    use serde_json::Value;

    #[test]
    fn tokens_verify_by_the_published_key_and_differ() {
        for algorithm in [Algorithm::Hs256, Algorithm::Es256, Algorithm::EdDsa] {
            let signer = Signer::generate(algorithm, "https://i").unwrap();
            assert_ne!(signer.token(1).unwrap(), signer.token(2).unwrap());
            let token = signer.token(1).unwrap();
            let (message, signature) = token.rsplit_once('.').unwrap();
            let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
            check(&signer.entry().unwrap().keys, message.as_bytes(), &signature);
        }
    }

    fn check(keys: &IssuerKeys, message: &[u8], signature: &[u8]) {
        let jwks = match keys {
            IssuerKeys::Secret(text) => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, text.as_bytes());
                return hmac::verify(&key, message, signature).unwrap();
            }
            IssuerKeys::Jwks(jwks) => serde_json::from_str::<Value>(jwks).unwrap(),
        };
        let key = &jwks["keys"][0];
        let part = |name: &str| URL_SAFE_NO_PAD.decode(key[name].as_str().unwrap()).unwrap();
        let verified = if key["kty"] == "OKP" {
            UnparsedPublicKey::new(&signature::ED25519, part("x")).verify(message, signature)
        } else {
            let point = [vec![4], part("x"), part("y")].concat();
            UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point).verify(message, signature)
        };
        verified.unwrap();
    }

    #[test]
    fn a_token_claims_what_the_issuer_is_configured_for() {
        let signer = Signer::generate(Algorithm::Hs256, "https://i").unwrap();
        let token = signer.token(7).unwrap();
        let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
        let claims: Value = serde_json::from_slice(&claims).unwrap();
        assert_eq!((claims["iss"].as_str(), claims["aud"].as_str()), (Some("https://i"), Some(AUDIENCE)));
        assert_eq!(claims["sub"], "user-7");
    }
}
