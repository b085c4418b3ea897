//! One key, and the one algorithm it verifies.

use super::members::Members;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::{hmac, signature};

/// The least bytes of a secret for HS256: as many as its hash has (RFC 7518, section 3.2).
pub(crate) const HMAC_SECRET_BYTES_MIN: usize = 32;

/// The bits of an RSA modulus: 2,048 at least (RFC 7518, section 3.3); the most are what `ring` verifies with.
const RSA_BITS_MIN: usize = 2_048;
const RSA_BITS_MAX: usize = 8_192;

/// The most bytes of an RSA exponent. Nearly all are 65537; a longer one only makes verifying slow.
const RSA_EXPONENT_BYTES_MAX: usize = 4;

/// The algorithms that are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Hs256,
    Rs256,
    Es256,
    EdDsa,
}

impl Algorithm {
    /// By its registered name. `Ed25519` (RFC 9864) is the newer name of what `EdDSA` (RFC 8037) means with such a key.
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "HS256" => Some(Self::Hs256),
            "RS256" => Some(Self::Rs256),
            "ES256" => Some(Self::Es256),
            "EdDSA" | "Ed25519" => Some(Self::EdDsa),
            _ => None,
        }
    }

    /// Its name in a header.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }
}

/// A key that verifies signatures. It has no way to be shown.
pub(super) struct VerifyKey {
    pub(super) kid: Option<Box<str>>,
    material: Material,
}

enum Material {
    Hmac(hmac::Key),
    Rsa(signature::RsaPublicKeyComponents<Box<[u8]>>),
    /// An uncompressed point (SEC 1, section 2.3.3).
    P256([u8; 65]),
    Ed25519([u8; 32]),
}

impl VerifyKey {
    /// A shared secret, for HS256.
    pub(super) fn secret(secret: &[u8]) -> Result<Self, &'static str> {
        Ok(Self { kid: None, material: Material::Hmac(hmac_key(secret)?) })
    }

    /// A public key (RFC 7517), and with `symmetric` a shared one too.
    ///
    /// # Errors
    /// Why it is not used: what of it is missing, unknown, too small or meant for something else.
    pub(super) fn from_jwk(jwk: &Members<'_>, symmetric: bool) -> Result<Self, &'static str> {
        check_purpose(jwk)?;
        let text = |name, problem| jwk.text(name).map_err(|_| problem)?.ok_or(problem);
        let material = match &*text("kty", "`kty` is missing")? {
            "RSA" => rsa_key(jwk)?,
            "EC" => match &*text("crv", "`crv` is missing")? {
                "P-256" => p256_key(jwk)?,
                _ => return Err("of the elliptic curves only P-256 is supported"),
            },
            "OKP" => match &*text("crv", "`crv` is missing")? {
                "Ed25519" => Material::Ed25519(bytes_of(jwk, "x", "`x` must be 32 bytes")?),
                _ => return Err("of the Edwards curves only Ed25519 is supported"),
            },
            "oct" if symmetric => Material::Hmac(hmac_key(&bytes(jwk, "k").ok_or("`k` is not base64url")?)?),
            "oct" => return Err("a shared secret does not belong into a key set; use `secret`"),
            _ => return Err("its `kty` is none of RSA, EC and OKP"),
        };
        if !matches!(material, Material::Hmac(_)) && jwk.get("d").is_some() {
            return Err("it is a private key; give the public one");
        }
        let kid = jwk.text("kid").map_err(|_| "`kid` is not a string")?;
        let key = Self { kid: kid.map(|kid| Box::from(&*kid)), material };
        match jwk.text("alg").map_err(|_| "`alg` is not a string")? {
            Some(name) if Algorithm::named(&name) != Some(key.algorithm()) => {
                Err("its `alg` is not the one that is supported for such a key")
            }
            _ => Ok(key),
        }
    }

    /// The only algorithm it verifies, whatever a token asks for (RFC 8725, section 3.1).
    pub(super) fn algorithm(&self) -> Algorithm {
        match self.material {
            Material::Hmac(_) => Algorithm::Hs256,
            Material::Rsa(_) => Algorithm::Rs256,
            Material::P256(_) => Algorithm::Es256,
            Material::Ed25519(_) => Algorithm::EdDsa,
        }
    }

    /// Whether it is shared by the two sides.
    pub(super) fn is_secret(&self) -> bool {
        matches!(self.material, Material::Hmac(_))
    }

    /// Whether `signature` is this key's over `message`.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let public = |algorithm, key| {
            signature::UnparsedPublicKey::<&[u8]>::new(algorithm, key).verify(message, signature)
        };
        match &self.material {
            Material::Hmac(key) => hmac::verify(key, message, signature),
            Material::Rsa(key) => key.verify(&signature::RSA_PKCS1_2048_8192_SHA256, message, signature),
            Material::P256(point) => public(&signature::ECDSA_P256_SHA256_FIXED, point),
            Material::Ed25519(point) => public(&signature::ED25519, point),
        }
        .is_ok()
    }
}

/// An HMAC key of sufficient length.
pub(super) fn hmac_key(secret: &[u8]) -> Result<hmac::Key, &'static str> {
    if secret.len() < HMAC_SECRET_BYTES_MIN {
        return Err("the secret of HS256 must have 32 bytes at least");
    }
    Ok(hmac::Key::new(hmac::HMAC_SHA256, secret))
}

/// RFC 7517, sections 4.2 and 4.3: a key that is meant for something else is not used.
fn check_purpose(jwk: &Members<'_>) -> Result<(), &'static str> {
    if jwk.text("use").map_err(|_| "`use` is not a string")?.is_some_and(|purpose| purpose != "sig") {
        return Err("its `use` is not `sig`");
    }
    const OPERATIONS_MAX: usize = 16;
    if let Some(value) = jwk.get("key_ops") {
        let operations = jwk.texts("key_ops", OPERATIONS_MAX).ok().flatten().unwrap_or_default();
        if !value.get().starts_with('[') || !operations.iter().any(|operation| operation == "verify") {
            return Err("its `key_ops` does not hold `verify`");
        }
    }
    Ok(())
}

fn rsa_key(jwk: &Members<'_>) -> Result<Material, &'static str> {
    let part = |name, problem| bytes(jwk, name).map(without_leading_zeros).ok_or(problem);
    let n = part("n", "`n` is not base64url")?;
    let e = part("e", "`e` is not base64url")?;
    let bits = n.len() * 8 - n.first().map_or(0, |byte| byte.leading_zeros() as usize);
    if !(RSA_BITS_MIN..=RSA_BITS_MAX).contains(&bits) {
        return Err("an RSA key must have 2048 to 8192 bits");
    }
    let usable = e.len() <= RSA_EXPONENT_BYTES_MAX && e.last().is_some_and(|byte| byte % 2 == 1) && *e != [1];
    if !usable {
        return Err("its exponent is not an odd number from 3 to 4294967295");
    }
    Ok(Material::Rsa(signature::RsaPublicKeyComponents { n, e }))
}

/// Some writers put a zero before a number that begins with a one bit (RFC 7518, section 6.3.1.1).
fn without_leading_zeros(bytes: Vec<u8>) -> Box<[u8]> {
    bytes.into_iter().skip_while(|byte| *byte == 0).collect()
}

fn p256_key(jwk: &Members<'_>) -> Result<Material, &'static str> {
    const UNCOMPRESSED: u8 = 4;
    let x: [u8; 32] = bytes_of(jwk, "x", "`x` must be 32 bytes")?;
    let y: [u8; 32] = bytes_of(jwk, "y", "`y` must be 32 bytes")?;
    let mut point = [UNCOMPRESSED; 65];
    point[1..33].copy_from_slice(&x);
    point[33..].copy_from_slice(&y);
    Ok(Material::P256(point))
}

fn bytes(jwk: &Members<'_>, name: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(&*jwk.text(name).ok()??).ok()
}

fn bytes_of<const N: usize>(
    jwk: &Members<'_>,
    name: &str,
    problem: &'static str,
) -> Result<[u8; N], &'static str> {
    bytes(jwk, name).and_then(|bytes| bytes.try_into().ok()).ok_or(problem)
}
