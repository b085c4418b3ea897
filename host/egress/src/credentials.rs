//! The operator's secrets, put on a request when it goes exactly where the secret belongs, and never otherwise.

mod path;
mod query;

use std::collections::HashMap;
use std::sync::Arc;

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use waggle_secret::Secret;

use self::path::{is_below, is_evasive};
use self::query::QuerySecret;
pub(crate) use self::query::QuerySecrets;
use crate::error::EgressError;
use crate::target::Target;
use crate::upstream::BaseUrl;

/// The most bytes of the name of a query parameter that holds a secret.
const PARAMETER_BYTES_MAX: usize = 64;

/// A secret and where it belongs: one scheme, host and port, and the paths below one prefix.
#[derive(Debug, Clone)]
pub struct Credential {
    tls: bool,
    host: Box<str>,
    port: u16,
    path_prefix: Box<str>,
    sent: Sent,
}

/// How a secret is sent, ready to be put on.
#[derive(Debug, Clone)]
enum Sent {
    /// The value is sensitive, so it is redacted when it is formatted.
    Header {
        name: HeaderName,
        value: HeaderValue,
    },
    Query(Arc<QuerySecret>),
}

/// How a secret is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialPlace {
    /// As a header field.
    Header {
        /// The field's name.
        name: HeaderName,
        /// What stands before the secret in the field's value, a space included.
        prefix: Box<str>,
    },
    /// As a parameter of the query.
    Query {
        /// The parameter's name.
        name: Box<str>,
    },
}

impl CredentialPlace {
    /// The header field `name`, whose value is `prefix` and the secret.
    ///
    /// # Errors
    /// When no field of that name can hold a secret.
    pub fn header(name: &str, prefix: &str) -> Result<Self, CredentialError> {
        Ok(Self::Header { name: parse_header(name)?, prefix: prefix.into() })
    }

    /// The query parameter `name`: 1 to 64 of `A-Z`, `a-z`, `0-9`, `-`, `.`, `_` and `~` (the unreserved characters of
    /// RFC 3986).
    ///
    /// # Errors
    /// When it has other characters.
    pub fn query(name: &str) -> Result<Self, CredentialError> {
        if (1..=PARAMETER_BYTES_MAX).contains(&name.len()) && name.bytes().all(query::is_unreserved) {
            Ok(Self::Query { name: name.into() })
        } else {
            Err(CredentialError::Parameter { name: name.to_owned() })
        }
    }

    fn with(&self, secret: &Secret) -> Result<Sent, CredentialError> {
        if secret.expose().is_empty() {
            return Err(CredentialError::Empty);
        }
        match self {
            Self::Header { name, prefix } => {
                let refuse = |_| CredentialError::Value { header: name.as_str().to_owned() };
                let mut value =
                    HeaderValue::from_str(&format!("{prefix}{}", secret.expose())).map_err(refuse)?;
                // A sensitive value is redacted in debug output and stays out of HTTP/2's header tables.
                value.set_sensitive(true);
                Ok(Sent::Header { name: name.clone(), value })
            }
            Self::Query { name } => Ok(Sent::Query(Arc::new(QuerySecret::new(name, secret)))),
        }
    }
}

/// Why a [`Credential`] cannot be used. Never holds the secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    #[error("{origin:?} is no origin ({reason}); write it as https://api.example.com or http://host:8080")]
    Origin { origin: String, reason: String },
    #[error("{path_prefix:?} is no path prefix ({reason}); write it as / or /v1")]
    PathPrefix { path_prefix: String, reason: &'static str },
    #[error(
        "{header:?} is no name of a header that can hold a secret; write it as authorization or x-api-key"
    )]
    Header { header: String },
    #[error(
        "the secret for the header {header} has characters that a header cannot hold, such as a line end"
    )]
    Value { header: String },
    #[error(
        "{name:?} is no name of a query parameter that can hold a secret; it has 1 to {PARAMETER_BYTES_MAX} of the \
         characters A-Z, a-z, 0-9, `-`, `.`, `_` and `~`"
    )]
    Parameter { name: String },
    #[error("the secret is empty")]
    Empty,
}

impl Credential {
    /// A secret for `origin` (scheme, host, port) and the paths below `path_prefix`, compared segment by segment: `/v1`
    /// covers `/v1` and `/v1/chat`, not `/v1x`. It is sent as the header `header` with the value `value`, in place of
    /// whatever the request has there.
    ///
    /// # Errors
    /// Says which part cannot be used and how it is written.
    pub fn new(
        origin: &str,
        path_prefix: &str,
        header: &str,
        value: &Secret,
    ) -> Result<Self, CredentialError> {
        Self::placed(origin, path_prefix, &CredentialPlace::header(header, "")?, value)
    }

    /// As [`Credential::new`], sent as `place` says.
    ///
    /// # Errors
    /// As there.
    pub fn placed(
        origin: &str,
        path_prefix: &str,
        place: &CredentialPlace,
        secret: &Secret,
    ) -> Result<Self, CredentialError> {
        Ok(Self::made(&parse_origin(origin)?, parse_path_prefix(path_prefix)?, place.with(secret)?))
    }

    /// A secret for all that lies below `base`.
    ///
    /// # Errors
    /// When the secret cannot be sent there.
    pub fn of_base(
        base: &BaseUrl,
        place: &CredentialPlace,
        secret: &Secret,
    ) -> Result<Self, CredentialError> {
        Ok(Self::made(base.target(), base.path().into(), place.with(secret)?))
    }

    fn made(target: &Target, path_prefix: Box<str>, sent: Sent) -> Self {
        let host = target.host().to_ascii_lowercase().into();
        Self { tls: target.tls, host, port: target.port(), path_prefix, sent }
    }

    fn covers(&self, target: &Target) -> bool {
        self.tls == target.tls && self.port == target.port()
    }
}

fn parse_origin(origin: &str) -> Result<Target, CredentialError> {
    let refuse = |reason: &dyn std::fmt::Display| CredentialError::Origin {
        // What stands before an @ may be a password.
        origin: origin.rsplit('@').next().unwrap_or_default().to_owned(),
        reason: reason.to_string(),
    };
    let uri: Uri = origin.parse().map_err(|error| refuse(&error))?;
    let target = Target::of(&uri, false).map_err(|error| refuse(&error))?;
    if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
        return Err(refuse(&"it has a path or a query"));
    }
    Ok(target)
}

/// Checks a prefix and takes off its last slash: `/` becomes empty and covers every path.
pub(crate) fn parse_path_prefix(path_prefix: &str) -> Result<Box<str>, CredentialError> {
    let refuse = |reason| CredentialError::PathPrefix { path_prefix: path_prefix.to_owned(), reason };
    let prefix = path_prefix.strip_suffix('/').unwrap_or(path_prefix);
    if prefix.is_empty() {
        return Ok(prefix.into());
    }
    if !prefix.starts_with('/') {
        return Err(refuse("it must begin with /"));
    }
    if prefix.contains(['?', '#', '%']) || !prefix.is_ascii() {
        return Err(refuse("it must be plain ASCII without ?, # and %"));
    }
    if prefix.contains("//") || is_evasive(prefix) {
        return Err(refuse("it must have neither empty segments nor . and .."));
    }
    Ok(prefix.into())
}

fn parse_header(header: &str) -> Result<HeaderName, CredentialError> {
    let refuse = || CredentialError::Header { header: header.to_owned() };
    let name: HeaderName = header.parse().map_err(|_| refuse())?;
    let of_the_message =
        ["host", "content-length", "transfer-encoding", "connection", "te", "upgrade", "trailer"];
    if of_the_message.contains(&name.as_str()) { Err(refuse()) } else { Ok(name) }
}

/// Credentials, by host: those of one tenant, or those all tenants share.
#[derive(Debug, Default)]
pub struct Credentials {
    by_host: HashMap<Box<str>, Vec<Credential>>,
}

impl Credentials {
    /// Of several for the same place and header, the one with the longest path prefix is put on.
    #[must_use]
    pub fn new(credentials: Vec<Credential>) -> Self {
        let mut by_host: HashMap<Box<str>, Vec<Credential>> = HashMap::new();
        for credential in credentials {
            by_host.entry(credential.host.clone()).or_default().push(credential);
        }
        for credentials in by_host.values_mut() {
            // Shortest first: a longer prefix is put on later, over a shorter one of the same header.
            credentials.sort_by_key(|credential| credential.path_prefix.len());
        }
        Self { by_host }
    }

    /// Puts the secrets that belong to `target` and `path` on `headers` or into the query of `path`, which is noted in
    /// `in_query`.
    ///
    /// # Errors
    /// Refuses a path with dot segments where a secret depends on the path: the upstream could read it as another path
    /// than the one that was compared.
    pub(crate) fn inject(
        &self,
        target: &Target,
        path: &mut PathAndQuery,
        headers: &mut HeaderMap,
        in_query: &mut QuerySecrets,
    ) -> Result<(), EgressError> {
        let credentials = self.of_host(target.host());
        let here = || credentials.iter().filter(|credential| credential.covers(target));
        if here().any(|credential| !credential.path_prefix.is_empty()) && is_evasive(path.path()) {
            return Err(EgressError::HttpRequestDenied {
                reason: "the path has segments . or .. (perhaps encoded), and a credential depends on the path",
            });
        }
        for credential in here() {
            if !is_below(path.path(), &credential.path_prefix) {
                continue;
            }
            match &credential.sent {
                Sent::Header { name, value } => drop(headers.insert(name.clone(), value.clone())),
                Sent::Query(secret) => {
                    *path = secret.put_on(path)?;
                    in_query.note(Arc::clone(secret));
                }
            }
        }
        Ok(())
    }

    fn of_host(&self, host: &str) -> &[Credential] {
        if self.by_host.is_empty() {
            return &[];
        }
        let found = if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            self.by_host.get(host.to_ascii_lowercase().as_str())
        } else {
            self.by_host.get(host)
        };
        found.map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests;
