//! What a tool may reach: origins, secrets of the tenant by name, stores by label. Without a grant that is nothing.

use crate::check::Mistakes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// Origins of a tool.
pub(crate) const OUTBOUND_MAX: usize = 16;
/// Secrets of a tool.
pub(crate) const SECRETS_MAX: usize = 16;
/// Stores of a tool.
pub(crate) const KEY_VALUE_MAX: usize = 4;
/// Bytes of a host's name.
const HOST_BYTES_MAX: usize = 253;
/// Bytes of a secret's name and of a store's label.
const NAME_BYTES_MAX: usize = 64;

/// What a tool may reach.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Grants {
    /// Origins, as [`Origin`] writes them; at most 16. A private address is reached only where it stands here.
    pub outbound: Vec<String>,
    /// Names of secrets among the tenant's own; at most 16. The host puts them on at egress, for the origin that each
    /// belongs to; no tool ever sees one.
    pub secrets: Vec<String>,
    /// Labels of stores; at most 4.
    pub key_value: Vec<String>,
}

impl Grants {
    /// Whether a call to this origin is allowed. A port that is not given is that of the scheme.
    #[must_use]
    pub fn allows(&self, scheme: &str, host: &str, port: Option<u16>) -> bool {
        let Ok(asked) = Origin::of(scheme, host, port) else { return false };
        // What was checked when it was written is in one form only.
        let asked = asked.to_string();
        self.outbound.contains(&asked)
    }

    /// Origins in their one form, everything sorted and none twice, so that equal grants compare as equal. What is no
    /// origin stays as it is, for [`Grants::check`] to tell.
    pub(crate) fn normalize(&mut self) {
        for origin in &mut self.outbound {
            if let Ok(parsed) = origin.parse::<Origin>() {
                *origin = parsed.to_string();
            }
        }
        for list in [&mut self.outbound, &mut self.secrets, &mut self.key_value] {
            let sorted: BTreeSet<String> = std::mem::take(list).into_iter().collect();
            list.extend(sorted);
        }
    }

    pub(crate) fn check(&self, found: &mut Mistakes) {
        found.count(&["grants", "outbound"], self.outbound.len(), OUTBOUND_MAX);
        found.count(&["grants", "secrets"], self.secrets.len(), SECRETS_MAX);
        found.count(&["grants", "key_value"], self.key_value.len(), KEY_VALUE_MAX);
        for (index, origin) in self.outbound.iter().enumerate() {
            if let Err(error) = origin.parse::<Origin>() {
                found.add(&["grants", "outbound", &index.to_string()], error.to_string());
            }
        }
        for (field, names) in [("secrets", &self.secrets), ("key_value", &self.key_value)] {
            for (index, name) in names.iter().enumerate() {
                let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
                if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(plain) {
                    let message =
                        format!("a name here has 1 to {NAME_BYTES_MAX} letters, digits, `-`, `_` and `.`");
                    found.add(&["grants", field, &index.to_string()], message);
                }
            }
        }
    }
}

/// Scheme, host and port (RFC 6454), in one form: lower case, without the port that the scheme has anyway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    is_secure: bool,
    /// An IPv6 address in brackets.
    host: String,
    port: u16,
}

/// Why a text is no origin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}; an origin is scheme, host and port, such as `https://api.example.com`")]
pub struct OriginError(&'static str);

impl Origin {
    /// That of these parts; an IPv6 address with or without its brackets.
    ///
    /// # Errors
    /// When the scheme is neither `http` nor `https`, or the host is none.
    pub fn of(scheme: &str, host: &str, port: Option<u16>) -> Result<Self, OriginError> {
        let is_secure = match scheme {
            "https" => true,
            "http" => false,
            _ => return Err(OriginError("its scheme is neither `https` nor `http`")),
        };
        let port = port.unwrap_or(if is_secure { 443 } else { 80 });
        if port == 0 {
            return Err(OriginError("its port is not a number from 1 to 65535"));
        }
        Ok(Self { is_secure, host: host_of(host)?, port })
    }

    /// That of an address below which something is called: `https://HOST/PATH`.
    ///
    /// # Errors
    /// When it does not begin as an origin does.
    pub fn of_url(url: &str) -> Result<Self, OriginError> {
        let scheme = url.find("://").map_or(0, |at| at + "://".len());
        let end = url[scheme..].find(['/', '?', '#']).map_or(url.len(), |at| scheme + at);
        url[..end].parse()
    }

    fn default_port(&self) -> u16 {
        if self.is_secure { 443 } else { 80 }
    }
}

fn host_of(host: &str) -> Result<String, OriginError> {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if let Ok(address) = bare.unwrap_or(host).parse::<std::net::Ipv6Addr>() {
        return Ok(format!("[{address}]"));
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if host.is_empty() || host.len() > HOST_BYTES_MAX || !host.bytes().all(plain) || host.starts_with('.') {
        return Err(OriginError(
            "its host is neither a name nor an address, and nothing but a port may follow it",
        ));
    }
    Ok(host.trim_end_matches('.').to_ascii_lowercase())
}

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (scheme, authority) =
            text.split_once("://").ok_or(OriginError("it does not begin with `https://` or `http://`"))?;
        // The colons of an IPv6 address stand before its bracket.
        let after = authority.rfind(']').map_or(0, |at| at + 1);
        let (host, port) = match authority[after..].find(':') {
            Some(colon) => (&authority[..after + colon], Some(&authority[after + colon + 1..])),
            None => (authority, None),
        };
        if host.contains(':') && !host.starts_with('[') {
            return Err(OriginError("an IPv6 address stands in brackets"));
        }
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            let number = text.parse().ok().filter(|_| digits);
            number.ok_or(OriginError("its port is not a number from 1 to 65535"))
        };
        Self::of(&scheme.to_ascii_lowercase(), host, port.map(number).transpose()?)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_secure { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.host)?;
        if self.port == self.default_port() { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_origin_has_one_form() {
        let check = |text: &str, expected: &str| {
            assert_eq!(
                text.parse::<Origin>().map(|origin| origin.to_string()).as_deref(),
                Ok(expected),
                "{text}"
            );
        };
        check("https://API.Example.com", "https://api.example.com");
        check("https://api.example.com:443", "https://api.example.com");
        check("http://127.0.0.1:80", "http://127.0.0.1");
        check("HTTP://127.0.0.1:8080", "http://127.0.0.1:8080");
        check("http://[::1]:8080", "http://[::1]:8080");
        check("http://[0:0:0:0:0:0:0:1]", "http://[::1]");
        check("https://example.com.", "https://example.com");
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for text in [
            "",
            "https://",
            "example.com",
            "ftp://a.test",
            "https://a.test/",
            "https://a.test/x",
            "https://a.test?x",
            "https://u@a.test",
            "https://a.test:0",
            "https://a.test:65536",
            "https://a.test:",
            "https://a.test:+1",
            "http://::1",
            "http://[::1",
            "http://[x]",
            "https://*.a.test",
            "https://a b",
            "https://.a",
            "https://a.test\n",
        ] {
            assert!(text.parse::<Origin>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_origin_of_an_address_ends_where_its_path_begins() {
        let check = |url: &str, expected: Option<&str>| {
            assert_eq!(
                Origin::of_url(url).ok().map(|origin| origin.to_string()).as_deref(),
                expected,
                "{url}"
            );
        };
        check("https://a.test/v1/x?y#z", Some("https://a.test"));
        check("https://a.test:8443?x", Some("https://a.test:8443"));
        check("https://a.test", Some("https://a.test"));
        check("/v1", None);
        check("https:///v1", None);
    }

    #[test]
    fn only_what_is_granted_is_allowed() {
        let mut grants = Grants {
            outbound: vec!["HTTPS://a.test:443".into(), "http://10.0.0.1:81".into()],
            ..Grants::default()
        };
        grants.normalize();
        let check = |scheme: &str, host: &str, port: Option<u16>, expected: bool| {
            assert_eq!(grants.allows(scheme, host, port), expected, "{scheme}://{host}:{port:?}");
        };
        check("https", "a.test", None, true);
        check("https", "A.TEST", Some(443), true);
        check("https", "a.test.", None, true);
        check("http", "a.test", None, false);
        check("https", "a.test", Some(8443), false);
        check("https", "b.a.test", None, false);
        check("http", "10.0.0.1", Some(81), true);
        check("http", "10.0.0.1", None, false);
        check("ws", "a.test", None, false);
        assert!(!Grants::default().allows("https", "a.test", None));
    }

    #[test]
    fn mistakes_of_grants_stand_in_their_places() {
        let grants = Grants {
            outbound: vec!["https://a.test".into(), "a.test".into()],
            secrets: vec![String::new()],
            key_value: ["a", "b", "c", "d", "e"].map(str::to_owned).to_vec(),
        };
        let mut found = Mistakes::default();
        grants.check(&mut found);
        let places: Vec<String> = found.into_vec().iter().map(|mistake| mistake.path.join(".")).collect();
        assert_eq!(places, ["grants.key_value", "grants.outbound.1", "grants.secrets.0"]);
    }

    proptest! {
        #[test]
        fn what_an_origin_writes_it_reads(secure in any::<bool>(), host in "[a-z0-9]([a-z0-9-]{0,9}\\.){0,3}[a-z]{1,9}", port in 1_u16..) {
            let origin = Origin::of(if secure { "https" } else { "http" }, &host, Some(port)).unwrap();
            prop_assert_eq!(origin.to_string().parse::<Origin>().unwrap(), origin);
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,40}") {
            let _ = text.parse::<Origin>();
            let _ = Origin::of_url(&text);
            let _ = Origin::of_url(&format!("https://{text}"));
        }
    }
}
