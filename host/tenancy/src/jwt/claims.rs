//! What a token claims (RFC 7519, section 4), read and checked.

use super::members::Members;
use super::table::Trusted;
use super::{Claims, TokenError};
use crate::TenantId;
use std::borrow::Cow;
use std::sync::Arc;

/// The most bytes of a user's and of a session's name.
pub(super) const NAME_BYTES_MAX: usize = 256;

/// The most bytes of all scopes.
pub(super) const SCOPES_BYTES_MAX: usize = 2_048;

/// The most audiences of a token, and the most scopes.
const AUDIENCES_MAX: usize = 32;
const SCOPES_MAX: usize = 256;

/// Where a session may stand: OpenID Connect's name for it, then the plain one.
const SESSION: [&str; 2] = ["sid", "session"];

/// Where scopes may stand: RFC 8693, then what is widely used.
const SCOPES: [&str; 3] = ["scope", "scopes", "scp"];

/// The claim `iss`.
pub(super) fn issuer<'a>(payload: &Members<'a>) -> Result<Cow<'a, str>, TokenError> {
    payload.text("iss").ok().flatten().ok_or(TokenError::Claim("iss"))
}

/// The claim `aud`: one audience or several.
pub(super) fn audiences<'a>(payload: &Members<'a>) -> Result<Vec<Cow<'a, str>>, TokenError> {
    payload.texts("aud", AUDIENCES_MAX).ok().flatten().ok_or(TokenError::Claim("aud"))
}

/// The claim `tenant`, if there is one.
pub(super) fn tenant(payload: &Members<'_>) -> Result<Option<TenantId>, TokenError> {
    let wrong = TokenError::Claim("tenant");
    match payload.text("tenant") {
        Ok(None) => Ok(None),
        Ok(Some(tenant)) => TenantId::new(&tenant).map(Some).map_err(|_| wrong),
        Err(_) => Err(wrong),
    }
}

/// Checks what a token claims that `issuer` has signed; `issuer` and audience have been when it was chosen.
pub(super) fn check(issuer: &Trusted, payload: &Members<'_>, now_s: u64) -> Result<Claims, TokenError> {
    let settings = &issuer.entry.issuer;
    let expires_at_s = check_times(payload, settings.clock_skew_s, now_s)?;
    let user_claim = if settings.user_claim == "sub" { "sub" } else { "user_claim" };
    let user = payload
        .text(&settings.user_claim)
        .ok()
        .flatten()
        .filter(|user| is_name(user))
        .ok_or(TokenError::Claim(user_claim))?;
    Ok(Claims {
        tenant: issuer.entry.tenant.clone(),
        user: Arc::from(&*user),
        session: session(payload)?,
        scopes: scopes(payload)?,
        expires_at_s,
    })
}

/// Checks `exp`, `nbf` and `iat` and gives the first second from which the token counts no more.
fn check_times(payload: &Members<'_>, skew_s: u64, now_s: u64) -> Result<u64, TokenError> {
    #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 stay far below 2^53")]
    let (skew, now) = (skew_s as f64, now_s as f64);
    let until = date(payload, "exp")?.ok_or(TokenError::Claim("exp"))? + skew;
    if now >= until {
        return Err(TokenError::Expired);
    }
    for name in ["nbf", "iat"] {
        if date(payload, name)?.is_some_and(|from| now + skew < from) {
            return Err(TokenError::NotYetValid);
        }
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is later than now; far dates saturate"
    )]
    Ok(until.ceil() as u64)
}

/// A NumericDate: seconds since 1970, possibly with a fraction.
fn date(payload: &Members<'_>, name: &'static str) -> Result<Option<f64>, TokenError> {
    let number = |text: &str| serde_json::from_str::<f64>(text).ok().filter(|date| date.is_finite());
    payload.get(name).map(|value| number(value.get()).ok_or(TokenError::Claim(name))).transpose()
}

fn session(payload: &Members<'_>) -> Result<Option<Arc<str>>, TokenError> {
    for name in SESSION {
        match payload.text(name) {
            Ok(None) => {}
            Ok(Some(session)) if is_name(&session) => return Ok(Some(Arc::from(&*session))),
            Ok(Some(_)) | Err(_) => return Err(TokenError::Claim(name)),
        }
    }
    Ok(None)
}

fn scopes(payload: &Members<'_>) -> Result<Arc<str>, TokenError> {
    for name in SCOPES {
        if let Some(listed) = payload.texts(name, SCOPES_MAX).map_err(|_| TokenError::Claim(name))? {
            return joined_scopes(&listed).map(Arc::from).ok_or(TokenError::Claim(name));
        }
    }
    Ok(Arc::default())
}

/// Scopes with one space between two of them, if all are well-formed and not too long together.
pub(super) fn joined_scopes(listed: &[impl AsRef<str>]) -> Option<String> {
    let each =
        || listed.iter().flat_map(|scopes| scopes.as_ref().split(' ')).filter(|scope| !scope.is_empty());
    // RFC 6749, section 3.3: visible ASCII but for quotes and backslashes.
    let allowed = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
    if !each().all(|scope| scope.bytes().all(allowed)) {
        return None;
    }
    let mut all = String::new();
    for scope in each() {
        if !all.is_empty() {
            all.push(' ');
        }
        all.push_str(scope);
    }
    (all.len() <= SCOPES_BYTES_MAX).then_some(all)
}

/// Whether `name` may be that of a user or a session: 1 to 256 bytes of visible ASCII. It is told to functions in a
/// header, and owns what is stored under it: of a control character a second header could be made, spaces around a
/// value are dropped on the way so that two users would become one, and outside ASCII there are twins that look alike
/// and readers that disagree about the encoding.
pub(super) fn is_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic())
}
