//! Makes tokens, for development: what an issuer would do.

use super::claims::{is_name, joined_scopes};
use super::key::{Algorithm, hmac_key};
use crate::TenantId;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
    RsaPublicKeyComponents,
};
use ring::{hmac, rand};
use serde_json::{Value, json};
use std::time::SystemTime;
use waggle_secret::Secret;

/// What a token is to say. It begins to count when it is made.
#[derive(Clone, Debug)]
pub struct MintRequest {
    /// Whose user its bearer is.
    pub tenant: TenantId,
    /// The claim `iss`.
    pub issuer: String,
    /// The claim `aud`.
    pub audience: String,
    /// The claim `sub`: 1 to 256 bytes of visible ASCII.
    pub user: String,
    /// The claim `sid`, of the same form.
    pub session: Option<String>,
    /// The claim `scope`: scopes separated by spaces; none where it is empty.
    pub scopes: String,
    /// How long it counts, seconds; 1 at least.
    pub lifetime_s: u64,
}

/// Why no token was made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MintError {
    /// What of the request is not as it must be.
    #[error("{field} {rule}")]
    Field {
        /// Which part of the request.
        field: &'static str,
        /// What it must be.
        rule: &'static str,
    },
    /// The key cannot sign.
    #[error("the key cannot be used: {0}")]
    Key(&'static str),
}

/// A key to sign tokens with. It has no way to be shown.
pub struct SigningKey {
    kid: Option<String>,
    pair: Pair,
}

enum Pair {
    Secret(hmac::Key),
    Rsa(Box<RsaKeyPair>),
    P256(Box<EcdsaKeyPair>),
    Ed25519(Box<Ed25519KeyPair>),
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({}, [redacted])", self.algorithm().name())
    }
}

impl SigningKey {
    /// A shared secret, for HS256: its bytes as they are, 32 at least.
    ///
    /// # Errors
    /// It is shorter.
    pub fn from_secret(secret: &Secret) -> Result<Self, MintError> {
        let key = hmac_key(secret.expose().as_bytes()).map_err(MintError::Key)?;
        Ok(Self { kid: None, pair: Pair::Secret(key) })
    }

    /// A private key in PEM (RFC 7468): PKCS #8 (`PRIVATE KEY`) of RSA with 2048 bits at least, P-256 or Ed25519, or
    /// `RSA PRIVATE KEY`.
    ///
    /// # Errors
    /// It is none of these.
    pub fn from_pem(pem: &Secret) -> Result<Self, MintError> {
        let (label, der) = read_pem(pem.expose())
            .ok_or(MintError::Key("it is not PEM: `-----BEGIN PRIVATE KEY-----` and so on"))?;
        let pair = match label {
            "PRIVATE KEY" => Pair::from_pkcs8(&der).ok_or(MintError::Key(
                "it is none of RSA (2048 to 4096 bits), P-256 (with its public key) and Ed25519",
            ))?,
            "RSA PRIVATE KEY" => RsaKeyPair::from_der(&der)
                .map(|pair| Pair::Rsa(Box::new(pair)))
                .map_err(|_| MintError::Key("it is no RSA key of 2048 to 4096 bits"))?,
            "EC PRIVATE KEY" => {
                return Err(MintError::Key(
                    "this form is not supported; convert it: `openssl pkcs8 -topk8 -nocrypt -in KEY.pem`",
                ));
            }
            _ => return Err(MintError::Key("it is not a private key without a passphrase")),
        };
        Ok(Self { kid: None, pair })
    }

    /// The same key, named `kid` in the headers of its tokens.
    #[must_use]
    pub fn with_kid(self, kid: impl Into<String>) -> Self {
        Self { kid: Some(kid.into()), ..self }
    }

    /// The key set that verifies this key's tokens, JSON text: what [`crate::Issuer::jwks`] takes. None for a secret.
    #[must_use]
    pub fn jwks(&self) -> Option<String> {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let mut jwk = match &self.pair {
            Pair::Secret(_) => return None,
            Pair::Rsa(pair) => {
                let public = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public());
                json!({"kty": "RSA", "n": encode(&public.n), "e": encode(&public.e)})
            }
            Pair::P256(pair) => {
                let (x, y) = pair.public_key().as_ref().get(1..)?.split_at_checked(32)?;
                json!({"kty": "EC", "crv": "P-256", "x": encode(x), "y": encode(y)})
            }
            Pair::Ed25519(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": encode(pair.public_key().as_ref())})
            }
        };
        let members = jwk.as_object_mut()?;
        members.insert("use".to_owned(), "sig".into());
        members.insert("alg".to_owned(), self.algorithm().name().into());
        if let Some(kid) = &self.kid {
            members.insert("kid".to_owned(), kid.as_str().into());
        }
        Some(json!({ "keys": [jwk] }).to_string())
    }

    /// A token with these claims, whatever they are.
    pub(super) fn sign(&self, header: &Value, payload: &Value) -> Result<String, MintError> {
        self.sign_raw(header.to_string().as_bytes(), payload.to_string().as_bytes())
    }

    /// A token with these parts, whether they are JSON or not.
    pub(super) fn sign_raw(&self, header: &[u8], payload: &[u8]) -> Result<String, MintError> {
        let mut token = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
        let signature = self.pair.sign(token.as_bytes()).ok_or(MintError::Key("signing failed"))?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token)
    }

    /// The header of its tokens.
    pub(super) fn header(&self) -> Value {
        match &self.kid {
            Some(kid) => json!({"alg": self.algorithm().name(), "typ": "JWT", "kid": kid}),
            None => json!({"alg": self.algorithm().name(), "typ": "JWT"}),
        }
    }

    fn algorithm(&self) -> Algorithm {
        match self.pair {
            Pair::Secret(_) => Algorithm::Hs256,
            Pair::Rsa(_) => Algorithm::Rs256,
            Pair::P256(_) => Algorithm::Es256,
            Pair::Ed25519(_) => Algorithm::EdDsa,
        }
    }
}

impl Pair {
    fn from_pkcs8(der: &[u8]) -> Option<Self> {
        let random = SystemRandom::new();
        RsaKeyPair::from_pkcs8(der)
            .map(|pair| Self::Rsa(Box::new(pair)))
            .or_else(|_| {
                EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der, &random)
                    .map(|pair| Self::P256(Box::new(pair)))
            })
            // OpenSSL writes Ed25519 keys without the public one, so there is nothing to check it against.
            .or_else(|_| {
                Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map(|pair| Self::Ed25519(Box::new(pair)))
            })
            .ok()
    }

    fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        let random: &dyn rand::SecureRandom = &SystemRandom::new();
        match self {
            Self::Secret(key) => Some(hmac::sign(key, message).as_ref().to_vec()),
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, random, message, &mut signature).ok()?;
                Some(signature)
            }
            Self::P256(pair) => Some(pair.sign(random, message).ok()?.as_ref().to_vec()),
            Self::Ed25519(pair) => Some(pair.sign(message).as_ref().to_vec()),
        }
    }
}

/// Makes a token.
///
/// # Errors
/// The request could only become a token that [`super::TokenIssuers::verify`] refuses, or the key cannot sign.
pub fn mint(request: &MintRequest, key: &SigningKey) -> Result<String, MintError> {
    const NAME: &str = "must be 1 to 256 visible ASCII characters";
    let check = |valid: bool, field, rule| if valid { Ok(()) } else { Err(MintError::Field { field, rule }) };
    check(!request.issuer.is_empty(), "the issuer", "must not be empty")?;
    check(!request.audience.is_empty(), "the audience", "must not be empty")?;
    check(is_name(&request.user), "the user", NAME)?;
    check(request.session.as_deref().is_none_or(is_name), "the session", NAME)?;
    check(request.lifetime_s > 0, "the lifetime", "must be at least one second")?;
    let scopes = joined_scopes(&[&request.scopes]);
    let scopes = scopes.ok_or(MintError::Field {
        field: "the scopes",
        rule: "must be visible ASCII without quotes and backslashes, at most 2048 bytes",
    })?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |now| now.as_secs());
    let mut payload = json!({
        "iss": request.issuer,
        "aud": request.audience,
        "tenant": request.tenant.as_str(),
        "sub": request.user,
        "iat": now,
        "exp": now.saturating_add(request.lifetime_s),
    });
    if let Some(claims) = payload.as_object_mut() {
        if let Some(session) = &request.session {
            claims.insert("sid".to_owned(), session.as_str().into());
        }
        if !scopes.is_empty() {
            claims.insert("scope".to_owned(), scopes.into());
        }
    }
    key.sign(&key.header(), &payload)
}

/// The label and the content of the first block of `pem` that is not a list of parameters.
fn read_pem(pem: &str) -> Option<(&str, Vec<u8>)> {
    const PARAMETERS: &str = "EC PARAMETERS";
    let mut rest = pem;
    loop {
        let (_, after) = rest.split_once("-----BEGIN ")?;
        let (label, after) = after.split_once("-----")?;
        let (content, after) = after.split_once("-----END ")?;
        if label != PARAMETERS {
            let text: String = content.split_whitespace().collect();
            return Some((label, STANDARD.decode(text).unwrap_or_default()));
        }
        rest = after;
    }
}
