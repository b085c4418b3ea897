//! `credential` of an upstream: where its key comes from and how it is sent. The key itself is never in here.

use std::path::PathBuf;

use http::HeaderName;
use serde::Deserialize;

use crate::credentials::{CredentialError, CredentialPlace};

/// What stands before the key in the header `authorization`, unless something else is configured.
const AUTHORIZATION_PREFIX: &str = "Bearer ";

/// Where a key comes from. Whoever opens the host looks it up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialSource {
    /// The environment variable of this name.
    Environment(String),
    /// A file; a line end after the key does not count.
    File(PathBuf),
    /// The secret of this name of the tenant that the call is made for.
    TenantSecret(String),
}

/// The key of an upstream: where it comes from, and how it is sent.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "CredentialTable")]
pub struct CredentialConfig {
    /// Where it comes from.
    pub source: CredentialSource,
    /// How it is sent.
    pub place: CredentialPlace,
}

/// The keys of `credential`, as they are written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CredentialTable {
    environment: Option<String>,
    file: Option<PathBuf>,
    tenant_secret: Option<String>,
    header: Option<String>,
    prefix: Option<String>,
    query: Option<String>,
}

/// Why a `credential` cannot be used.
#[derive(Debug, thiserror::Error)]
enum CredentialConfigError {
    #[error(
        "`credential` must say where the key comes from; write one of `environment`, `file`, `tenant_secret`"
    )]
    NoSource,
    #[error("`credential` has several sources; keep one of `environment`, `file`, `tenant_secret`")]
    SeveralSources,
    #[error("`{key}` of `credential` must not be empty")]
    Empty { key: &'static str },
    #[error("`environment` of `credential` is no name of a variable: it must have neither `=` nor NUL")]
    Environment,
    #[error("`credential` goes into the query, so `{key}` means nothing; remove `query` or `{key}`")]
    HeaderAndQuery { key: &'static str },
    #[error("`prefix` of `credential` must be visible ASCII and spaces")]
    Prefix,
    #[error("`credential`: {0}")]
    Place(#[from] CredentialError),
}

impl CredentialConfig {
    /// A key that is sent as `authorization: Bearer KEY`.
    #[must_use]
    pub fn bearer(source: CredentialSource) -> Self {
        let name = http::header::AUTHORIZATION;
        Self { source, place: CredentialPlace::Header { name, prefix: AUTHORIZATION_PREFIX.into() } }
    }
}

impl TryFrom<CredentialTable> for CredentialConfig {
    type Error = CredentialConfigError;

    fn try_from(table: CredentialTable) -> Result<Self, CredentialConfigError> {
        let place = place(table.header, table.prefix, table.query)?;
        let source = source(table.environment, table.file, table.tenant_secret)?;
        Ok(Self { source, place })
    }
}

fn source(
    environment: Option<String>,
    file: Option<PathBuf>,
    tenant_secret: Option<String>,
) -> Result<CredentialSource, CredentialConfigError> {
    let (source, key, is_empty) = match (environment, file, tenant_secret) {
        (Some(name), None, None) => {
            if name.contains(['=', '\0']) {
                return Err(CredentialConfigError::Environment);
            }
            let is_empty = name.is_empty();
            (CredentialSource::Environment(name), "environment", is_empty)
        }
        (None, Some(file), None) => {
            let is_empty = file.as_os_str().is_empty();
            (CredentialSource::File(file), "file", is_empty)
        }
        (None, None, Some(name)) => {
            let is_empty = name.is_empty();
            (CredentialSource::TenantSecret(name), "tenant_secret", is_empty)
        }
        (None, None, None) => return Err(CredentialConfigError::NoSource),
        _ => return Err(CredentialConfigError::SeveralSources),
    };
    if is_empty { Err(CredentialConfigError::Empty { key }) } else { Ok(source) }
}

fn place(
    header: Option<String>,
    prefix: Option<String>,
    query: Option<String>,
) -> Result<CredentialPlace, CredentialConfigError> {
    if let Some(name) = query {
        for (key, given) in [("header", header.is_some()), ("prefix", prefix.is_some())] {
            if given {
                return Err(CredentialConfigError::HeaderAndQuery { key });
            }
        }
        return Ok(CredentialPlace::query(&name)?);
    }
    let is_plain = |prefix: &String| prefix.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    if !prefix.as_ref().is_none_or(is_plain) {
        return Err(CredentialConfigError::Prefix);
    }
    let prefix = match (&header, prefix) {
        (_, Some(prefix)) => prefix,
        (None, None) => AUTHORIZATION_PREFIX.to_owned(),
        (Some(header), None) if is_authorization(header) => AUTHORIZATION_PREFIX.to_owned(),
        (Some(_), None) => String::new(),
    };
    let header = header.as_deref().unwrap_or(http::header::AUTHORIZATION.as_str());
    Ok(CredentialPlace::header(header, &prefix)?)
}

fn is_authorization(header: &str) -> bool {
    header.parse::<HeaderName>().is_ok_and(|name| name == http::header::AUTHORIZATION)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(table: &str) -> Result<CredentialConfig, toml::de::Error> {
        toml::from_str(table)
    }

    #[test]
    fn a_key_is_sent_as_it_is_configured() {
        let check = |table: &str, expected: CredentialPlace| {
            assert_eq!(read(table).unwrap().place, expected, "{table}");
        };
        let header = |name, prefix| CredentialPlace::header(name, prefix).unwrap();
        check("environment = 'A'", header("authorization", "Bearer "));
        check("environment = 'A'\nheader = 'Authorization'", header("authorization", "Bearer "));
        check("environment = 'A'\nprefix = 'Token '", header("authorization", "Token "));
        check("environment = 'A'\nprefix = ''", header("authorization", ""));
        check("environment = 'A'\nheader = 'api-key'", header("api-key", ""));
        check("environment = 'A'\nheader = 'x-a'\nprefix = 'k='", header("x-a", "k="));
        check("environment = 'A'\nquery = 'key'", CredentialPlace::query("key").unwrap());
    }

    #[test]
    fn a_key_has_one_source() {
        let check =
            |table: &str, expected: CredentialSource| assert_eq!(read(table).unwrap().source, expected);
        check("environment = 'A'", CredentialSource::Environment("A".to_owned()));
        check("file = 'a/key'", CredentialSource::File("a/key".into()));
        check("tenant_secret = 'openai'", CredentialSource::TenantSecret("openai".to_owned()));
    }

    #[test]
    fn what_cannot_be_used_is_refused_with_what_to_do() {
        let check = |table: &str, part: &str| {
            let error = read(table).unwrap_err().to_string();
            assert!(error.contains(part), "{error} lacks {part:?}");
        };
        check("", "write one of `environment`");
        check("header = 'x'", "write one of `environment`");
        check("environment = 'A'\nfile = 'b'", "several sources");
        check("environment = ''", "`environment` of `credential` must not be empty");
        check("file = ''", "`file` of `credential` must not be empty");
        check("tenant_secret = ''", "must not be empty");
        check("environment = 'A=B'", "no name of a variable");
        check("environment = 'A'\nheader = 'host'", "no name of a header");
        check("environment = 'A'\nheader = 'a b'", "no name of a header");
        check("environment = 'A'\nprefix = \"a\\nb\"", "visible ASCII");
        check("environment = 'A'\nquery = 'k'\nheader = 'x'", "remove `query` or `header`");
        check("environment = 'A'\nquery = 'k'\nprefix = 'x'", "remove `query` or `prefix`");
        check("environment = 'A'\nquery = ''", "name of a query parameter");
        check("environment = 'A'\nquery = 'a&b'", "name of a query parameter");
        check("value = 'sk-1'", "unknown field `value`");
    }
}
