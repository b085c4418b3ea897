//! The compact serialisation of a signed token (RFC 7515, section 7.1), taken apart without any leniency.

use super::key::Algorithm;
use super::members::Members;
use super::{TOKEN_BYTES_MAX, TokenError};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// A token in its parts, nothing of it trusted yet.
#[derive(Debug)]
pub(super) struct Compact<'a> {
    /// What is signed: header and payload as they were sent.
    pub(super) signed: &'a [u8],
    pub(super) algorithm: Algorithm,
    pub(super) kid: Option<Box<str>>,
    pub(super) payload: Vec<u8>,
    pub(super) signature: Vec<u8>,
}

impl<'a> Compact<'a> {
    /// Takes `token` apart.
    ///
    /// # Errors
    /// [`TokenError::Malformed`] says which rule it breaks.
    pub(super) fn parse(token: &'a str) -> Result<Self, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Malformed("it is longer than 16 KiB"));
        }
        let mut parts = token.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenError::Malformed("it does not have three parts"));
        };
        let signed = token.as_bytes().get(..header.len() + 1 + payload.len()).unwrap_or_default();
        let (algorithm, kid) = read_header(&decode(header)?)?;
        Ok(Self { signed, algorithm, kid, payload: decode(payload)?, signature: decode(signature)? })
    }
}

/// Without padding, and with the unused bits of the last character zero: there is one way to write each value.
fn decode(part: &str) -> Result<Vec<u8>, TokenError> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Malformed("a part is not base64url without padding"))
}

fn read_header(header: &[u8]) -> Result<(Algorithm, Option<Box<str>>), TokenError> {
    let text = std::str::from_utf8(header).map_err(|_| TokenError::Malformed("the header is not UTF-8"))?;
    let header = Members::parse(text).map_err(TokenError::Malformed)?;
    let text_of = |name, problem| header.text(name).map_err(|_| TokenError::Malformed(problem));
    // Extensions that must be understood (RFC 7515, section 4.1.11): we know none.
    if header.get("crit").is_some() {
        return Err(TokenError::Malformed("the header has `crit`"));
    }
    // RFC 7797: the payload would not be encoded.
    if header.get("b64").is_some_and(|value| value.get() != "true") {
        return Err(TokenError::Malformed("the header has `b64`"));
    }
    if let Some(typ) = text_of("typ", "`typ` is not a string")?
        && !is_token_type(&typ)
    {
        return Err(TokenError::Malformed("`typ` is neither `JWT` nor `at+jwt`"));
    }
    let algorithm = text_of("alg", "`alg` is not a string")?
        .and_then(|name| Algorithm::named(&name))
        .ok_or(TokenError::Malformed("`alg` is not one of HS256, RS256, ES256 and EdDSA"))?;
    let kid = text_of("kid", "`kid` is not a string")?;
    Ok((algorithm, kid.map(|kid| Box::from(&*kid))))
}

/// RFC 7519, section 5.1, and RFC 9068, section 2.1. Other kinds, such as a logout token, are not for calling with.
fn is_token_type(typ: &str) -> bool {
    const PREFIX: &str = "application/";
    let name = match typ.get(..PREFIX.len()) {
        Some(prefix) if prefix.eq_ignore_ascii_case(PREFIX) => typ.get(PREFIX.len()..).unwrap_or_default(),
        _ => typ,
    };
    name.eq_ignore_ascii_case("JWT") || name.eq_ignore_ascii_case("at+jwt")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_accepted_or_refused() {
        fn check(header: &str, accepted: bool) {
            let token = format!("{}.e30.AA", URL_SAFE_NO_PAD.encode(header));
            let parsed = Compact::parse(&token);
            assert_eq!(parsed.is_ok(), accepted, "{header}: {parsed:?}");
        }
        check(r#"{"alg":"HS256"}"#, true);
        check(r#"{"alg":"EdDSA","kid":"","unknown":{"a":[]}}"#, true);
        check(r#"{"alg":"Ed25519"}"#, true);
        for typ in ["JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt", "Application/jwt"] {
            check(&format!(r#"{{"alg":"RS256","typ":"{typ}"}}"#), true);
        }
        for typ in
            ["", "JWE", "logout+jwt", "application/", "x/jwt", "JWT ", "ſ", "application/application/jwt"]
        {
            check(&format!(r#"{{"alg":"RS256","typ":"{typ}"}}"#), false);
        }
        for alg in
            ["none", "None", "NONE", "", "hs256", "HS256 ", "HS384", "PS256", "RS512", "ES384", "Ed448"]
        {
            check(&format!(r#"{{"alg":"{alg}"}}"#), false);
        }
        for header in [
            "{}",
            r#"{"alg":null}"#,
            r#"{"alg":["HS256"]}"#,
            r#"{"alg":"HS256","alg":"HS256"}"#,
            r#"{"alg":"HS256","\u0061lg":"none"}"#,
            r#"{"alg":"HS256","kid":1}"#,
            r#"{"alg":"HS256","typ":1}"#,
            r#"{"alg":"HS256","crit":[]}"#,
            r#"{"alg":"HS256","crit":["exp"],"exp":1}"#,
            r#"{"alg":"HS256","b64":false}"#,
            r#"{"alg":"HS256","b64":null}"#,
            r#"["HS256"]"#,
            "\u{feff}{\"alg\":\"HS256\"}",
        ] {
            check(header, false);
        }
    }

    #[test]
    fn only_three_parts_of_unpadded_base64url_are_a_token() {
        fn check(token: &str, accepted: bool) {
            assert_eq!(Compact::parse(token).is_ok(), accepted, "{token}");
        }
        const H: &str = "eyJhbGciOiJIUzI1NiJ9";
        check(&format!("{H}.e30.AA"), true);
        check(&format!("{H}.."), true);
        for bad in [
            "e30",
            "e30.AA.",
            "e30.AA.AA",
            "e30=.AA",
            "e30.AA==",
            "e30.AB",
            "e31.AA",
            "e 0.AA",
            "e30.A",
            "e30.+/A",
            "e30.AA\n",
        ] {
            check(&format!("{H}.{bad}"), false);
        }
        check(&format!(" {H}.e30.AA"), false);
        check(&format!("{H}.{}.AA", "A".repeat(TOKEN_BYTES_MAX - H.len() - 4)), true);
        check(&format!("{H}.{}.AAAA", "A".repeat(TOKEN_BYTES_MAX - H.len() - 5)), false);
    }
}
