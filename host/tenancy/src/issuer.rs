//! Who may issue tokens for a tenant's users, as it is configured.

use crate::SecretSource;
use crate::jwt::{HMAC_SECRET_BYTES_MIN, KeySet};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// An issuer of JWTs (RFC 7519) for one tenant. Exactly one of `secret`, `jwks`, `jwks_file` and `jwks_url` is given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Issuer {
    /// The `iss` claim, compared byte by byte.
    pub issuer: String,
    /// What the `aud` claim must name.
    pub audience: String,
    /// The shared key of HS256, 32 bytes at least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretSource>,
    /// A JSON Web Key Set (RFC 7517), as JSON text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks: Option<String>,
    /// A file with one, read again when it changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks_file: Option<String>,
    /// Where one is fetched from: `https`, or `http` to a loopback address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks_url: Option<String>,
    /// How far clocks may differ, seconds; 0 to 300.
    #[serde(default = "clock_skew")]
    pub clock_skew_s: u64,
    /// The claim that names the user.
    #[serde(default = "subject")]
    pub user_claim: String,
}

fn clock_skew() -> u64 {
    30
}

fn subject() -> String {
    "sub".to_owned()
}

/// The largest difference of clocks that can be allowed, seconds.
const CLOCK_SKEW_S_MAX: u64 = 300;

/// The most bytes of an issuer, an audience and a claim's name.
const TEXT_BYTES_MAX: usize = 1_024;

/// The most bytes of the address of a key set, and of the path of one.
const PLACE_BYTES_MAX: usize = 2_048;

impl Issuer {
    /// Says what is wrong with these settings, if something is: which field, what it must be.
    ///
    /// It reads neither files nor addresses, and of secrets only those that are written down.
    ///
    /// # Errors
    /// A sentence that names the field; it holds no part of a secret.
    pub fn check(&self) -> Result<(), String> {
        for (field, value) in
            [("issuer", &self.issuer), ("audience", &self.audience), ("user_claim", &self.user_claim)]
        {
            if !(1..=TEXT_BYTES_MAX).contains(&value.len()) {
                return Err(format!(
                    "`{field}` has {} bytes; it must have 1 to {TEXT_BYTES_MAX}",
                    value.len()
                ));
            }
        }
        if self.clock_skew_s > CLOCK_SKEW_S_MAX {
            let skew = self.clock_skew_s;
            return Err(format!("`clock_skew_s` is {skew}; it must be from 0 to {CLOCK_SKEW_S_MAX}"));
        }
        let given =
            [self.secret.is_some(), self.jwks.is_some(), self.jwks_file.is_some(), self.jwks_url.is_some()];
        match given.into_iter().filter(|given| *given).count() {
            1 => self.check_keys(),
            0 => Err("one of `secret`, `jwks`, `jwks_file` and `jwks_url` is needed".to_owned()),
            _ => Err("only one of `secret`, `jwks`, `jwks_file` and `jwks_url` can be given".to_owned()),
        }
    }

    fn check_keys(&self) -> Result<(), String> {
        if let Some(SecretSource::Value(secret)) = &self.secret
            && secret.len() < HMAC_SECRET_BYTES_MIN
        {
            let length = secret.len();
            return Err(format!("`secret` has {length} bytes; HS256 needs {HMAC_SECRET_BYTES_MIN} at least"));
        }
        if let Some(text) = &self.jwks {
            KeySet::parse(text).map_err(|problem| format!("`jwks`: {problem}"))?;
        }
        if let Some(path) = &self.jwks_file
            && !(1..=PLACE_BYTES_MAX).contains(&path.len())
        {
            return Err(format!("`jwks_file` must be a path of 1 to {PLACE_BYTES_MAX} bytes"));
        }
        self.jwks_url.as_deref().map_or(Ok(()), check_address)
    }
}

/// Keys that somebody on the way could replace are no keys, so only `https` will do, or `http` that never leaves the
/// machine.
fn check_address(url: &str) -> Result<(), String> {
    let problem =
        |what: &str| Err(format!("`jwks_url` {what}: https://…, or http://… to a loopback address"));
    let visible = url.len() <= PLACE_BYTES_MAX && url.bytes().all(|byte| byte.is_ascii_graphic());
    if !visible || url.contains(['#', '\\', '<', '>', '"']) {
        return problem("is not an address");
    }
    let (encrypted, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        (Some(rest), _) => (true, rest),
        (_, Some(rest)) => (false, rest),
        _ => return problem("has the wrong scheme"),
    };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    if authority.contains('@') {
        return problem("must not hold a user or a password");
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(bracketed) => {
            let Some((host, after)) = bracketed.split_once(']') else { return problem("has no host") };
            (host, after)
        }
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    let port_valid = port.is_empty()
        || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    if host.is_empty() || !port_valid {
        return problem("has no valid host and port");
    }
    let loopback = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    if encrypted || loopback { Ok(()) } else { problem("is not protected on its way") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(change: impl FnOnce(&mut Issuer)) -> Result<(), String> {
        let mut issuer: Issuer = serde_json::from_str(
            r#"{"issuer": "https://id.example", "audience": "waggle", "jwks_file": "jwks.json"}"#,
        )
        .unwrap();
        change(&mut issuer);
        issuer.check()
    }

    #[test]
    fn an_issuer_says_what_is_wrong_with_it() {
        fn check(change: impl FnOnce(&mut Issuer), expected: &str) {
            let problem = with(change).unwrap_err();
            assert!(problem.contains(expected), "{problem:?} lacks {expected:?}");
        }
        assert_eq!(with(|_| {}), Ok(()));
        check(|issuer| issuer.issuer.clear(), "`issuer` has 0 bytes");
        check(|issuer| issuer.audience = "a".repeat(1_025), "`audience` has 1025");
        check(|issuer| issuer.user_claim.clear(), "`user_claim`");
        check(|issuer| issuer.clock_skew_s = 301, "0 to 300");
        check(|issuer| issuer.jwks_file = None, "is needed");
        check(|issuer| issuer.jwks = Some("{}".to_owned()), "only one");
        let only = |change: fn(&mut Issuer)| {
            move |issuer: &mut Issuer| {
                issuer.jwks_file = None;
                change(issuer);
            }
        };
        check(only(|issuer| issuer.jwks_file = Some(String::new())), "`jwks_file`");
        check(only(|issuer| issuer.jwks = Some("{}".to_owned())), "no array `keys`");
        check(
            only(|issuer| issuer.jwks = Some(r#"{"keys":[{"kty":"oct","k":""}]}"#.to_owned())),
            "key 1: a shared",
        );
        check(only(|issuer| issuer.secret = Some(SecretSource::Value("hunter2".to_owned()))), "has 7 bytes");
        let problem = with(only(|issuer| issuer.secret = Some(SecretSource::Value("hunter2".to_owned()))));
        assert!(!problem.unwrap_err().contains("hunter2"));
        let secret = |issuer: &mut Issuer| issuer.secret = Some(SecretSource::Value("s".repeat(32)));
        assert_eq!(with(only(secret)), Ok(()));
    }

    #[test]
    fn the_address_of_a_key_set_is_protected() {
        fn check(url: &str, accepted: bool) {
            let verdict = check_address(url);
            assert_eq!(verdict.is_ok(), accepted, "{url}: {verdict:?}");
        }
        for url in [
            "https://id.example/jwks",
            "https://id.example:8443/jwks?x=1",
            "https://id.example",
            "https://[2001:db8::1]/jwks",
            "http://127.0.0.1:9000/jwks",
            "http://127.9.9.9/jwks",
            "http://[::1]:9000/jwks",
            "http://localhost:9000/jwks",
        ] {
            check(url, true);
        }
        for url in [
            "",
            "id.example/jwks",
            "ftp://id.example/jwks",
            "file:///etc/passwd",
            "https://",
            "https:///jwks",
            "https://:443/jwks",
            "https://id.example:0/",
            "https://id.example:99999/",
            "https://id.example:/",
            "https://user:password@id.example/jwks",
            "https://id.example/jwks#part",
            "https://id.example/a b",
            "https://id.example\\@other.example/",
            "https://bänk.example/",
            "https://[::1/jwks",
            "http://id.example/jwks",
            "http://127.0.0.1.id.example/jwks",
            "http://localhost.id.example/jwks",
            "http://127.0.0.1@id.example/jwks",
            "http://[2001:db8::1]/jwks",
            "http://10.0.0.1/jwks",
            "http://0.0.0.0/jwks",
        ] {
            check(url, false);
        }
        check(&format!("https://id.example/{}", "a".repeat(2_048)), false);
    }
}
