//! The address of a Redis, and its form for messages, which has no password.

use crate::Error;
use redis::{Client, ConnectionAddr, IntoConnectionInfo};
use std::{fmt, sync::Arc};

const FIELD: &str = "url";

/// A checked `redis://` or `unix://` address. Its `Display` and `Debug` hold neither password nor query.
#[derive(Clone)]
pub struct RedisUrl {
    client: Client,
    shown: Arc<str>,
}

impl RedisUrl {
    /// Reads an address as `redis://[user[:password]@]host[:port][/database]`.
    ///
    /// # Errors
    /// [`Error::Config`] for everything else, TLS (`rediss://`) included.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let shown = without_password(text);
        let error = |reason: String| Error::Config { field: FIELD, reason };
        if text.starts_with("rediss://") || text.starts_with("valkeys://") {
            return Err(error(format!(
                "{shown}: TLS to Redis is not supported; use redis:// over a private network"
            )));
        }
        // What the library says about a wrong address can quote the address, password included.
        let wrong = |_| {
            error(format!(
                "{shown} is not an address of the form redis://[user:password@]host[:port][/database]"
            ))
        };
        let info = text.into_connection_info().map_err(wrong)?;
        if let ConnectionAddr::TcpTls { .. } = info.addr() {
            return Err(error(format!("{shown}: TLS to Redis is not supported")));
        }
        let client = Client::open(info).map_err(wrong)?;
        Ok(Self { client, shown: shown.into() })
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// The address without its password.
    pub(crate) fn shown(&self) -> &Arc<str> {
        &self.shown
    }
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisUrl({})", self.shown)
    }
}

/// Takes everything out of an address that can be a secret. It works on any text, because wrong addresses are shown
/// too: between `://` and the last `@` stays only the user, and the query goes.
pub(crate) fn without_password(text: &str) -> String {
    let text = text.split(['?', '#']).next().unwrap_or_default();
    let known = ["redis", "rediss", "valkey", "valkeys", "redis+unix", "valkey+unix", "unix"];
    let parts = text.split_once("://").filter(|(scheme, _)| known.contains(scheme));
    // Anything else may be a password in the wrong place.
    let Some((scheme, rest)) = parts else { return "what is given".to_owned() };
    let Some((secrets, host)) = rest.rsplit_once('@') else { return format!("{scheme}://{rest}") };
    match secrets.split_once(':') {
        Some((user, _)) => format!("{scheme}://{user}:***@{host}"),
        None => format!("{scheme}://***@{host}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_ever_shown() {
        let check = |url: &str, expected: &str| {
            assert_eq!(without_password(url), expected);
            let said = match RedisUrl::parse(url) {
                Ok(url) => format!("{url} {url:?}"),
                Err(error) => format!("{error} {error:?}"),
            };
            assert!(!said.contains("hunter2") && said.contains(expected), "{said}");
        };
        check("redis://10.0.0.1:6379/3", "redis://10.0.0.1:6379/3");
        check("redis://:hunter2@host", "redis://:***@host");
        check("redis://user:hunter2@host:1/0", "redis://user:***@host:1/0");
        check("redis://hunter2@host", "redis://***@host");
        check("redis://user:hun?ter2@host", "redis://user:hun");
        check("redis://user:hunter2@a@b", "redis://user:***@b");
        check("redis://host:port?pass=hunter2", "redis://host:port");
        check("rediss://:hunter2@host", "rediss://:***@host");
        check("user:hunter2@host", "what is given");
        check("hunter2", "what is given");
        check("http://hunter2", "what is given");
    }
}
