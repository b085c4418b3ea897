//! The flags of `waggle top`, and where the metrics are.

use clap::Args;
use http::uri::{Scheme, Uri};
use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// How often it looks when nothing is said.
pub const INTERVAL_MS_DEFAULT: u64 = 1_000;
/// A shorter interval has too few requests for a quantile.
pub const INTERVAL_MS_MIN: u64 = 100;
/// The longest interval.
pub const INTERVAL_MS_MAX: u64 = 60_000;

/// What `waggle top` can be told.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// The metrics of the server, as it says at its start
    // What is no address is told when it is used: clap would repeat it, with a password that it may hold.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9464", value_parser = attempt)]
    pub url: Result<Address, AddressError>,
    /// How often to look, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = INTERVAL_MS_DEFAULT,
          value_parser = clap::value_parser!(u64).range(INTERVAL_MS_MIN..=INTERVAL_MS_MAX))]
    pub interval_ms: u64,
    /// Print the tables once as plain text, after one interval; needs no terminal
    #[arg(long)]
    pub once: bool,
}

fn attempt(text: &str) -> Result<Result<Address, AddressError>, Infallible> {
    Ok(text.parse())
}

impl Options {
    /// The time between two scrapes.
    #[must_use]
    pub fn interval(&self) -> Duration {
        Duration::from_millis(self.interval_ms)
    }
}

/// Where metrics are: a plain HTTP URL. Written without its scheme, `HOST:PORT`, it means the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    authority: String,
    path: String,
}

/// Why a text is no [`Address`]. It does not repeat the text, which may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("expected http://HOST:PORT")]
    Shape,
    #[error(
        "metrics are told over plain HTTP; expected http://HOST:PORT (put a TLS tunnel before a host far away)"
    )]
    Scheme,
    #[error("metrics need no user name and no password; leave them out of the URL")]
    Credential,
}

impl Address {
    /// The host and the port, as in a field `Host`.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    /// What to connect to.
    pub(crate) fn socket(&self) -> (&str, u16) {
        // The authority was read as one before.
        let (host, port) = match self.authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().unwrap_or(80)),
            _ => (self.authority.as_str(), 80),
        };
        (host.trim_matches(['[', ']']), port)
    }

    /// The path, and the query if there is one.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let uri: Uri = whole.parse().map_err(|_invalid| AddressError::Shape)?;
        if uri.scheme() != Some(&Scheme::HTTP) {
            return Err(AddressError::Scheme);
        }
        let authority = uri.authority().ok_or(AddressError::Shape)?;
        if authority.as_str().contains('@') {
            return Err(AddressError::Credential);
        }
        let has_port = authority.as_str().len() > authority.host().len();
        if authority.host().is_empty() || (has_port && authority.port_u16().is_none()) {
            return Err(AddressError::Shape);
        }
        let path = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        let path = if path == "/" { "/metrics" } else { path };
        Ok(Self { authority: authority.to_string(), path: path.to_owned() })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path == "/metrics" { "" } else { &self.path };
        write!(f, "http://{}{path}", self.authority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LISTEN_DEFAULT;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        options: Options,
    }

    fn parse(flags: &[&str]) -> Result<Options, String> {
        let flags = std::iter::once("top").chain(flags.iter().copied());
        Cli::try_parse_from(flags).map(|cli| cli.options).map_err(|error| error.to_string())
    }

    #[test]
    fn without_flags_it_looks_each_second_where_the_listener_is_by_default() {
        let options = parse(&[]).unwrap();
        assert_eq!(options.clone().url.unwrap().authority(), LISTEN_DEFAULT.to_string());
        assert_eq!((options.interval(), options.once), (Duration::from_secs(1), false));
    }

    #[test]
    fn a_url_that_is_refused_is_not_kept() {
        let options = parse(&["--url", "http://ada:secret@edge.test"]).unwrap();
        assert_eq!(options.url, Err(AddressError::Credential));
        assert!(!format!("{options:?}").contains("secret"));
    }

    #[test]
    fn an_interval_has_bounds() {
        let check = |text: &str, is_right: bool| {
            assert_eq!(parse(&["--interval-ms", text]).is_ok(), is_right, "{text}");
        };
        check("100", true);
        check("60000", true);
        for wrong in ["99", "60001", "-1", "1s", ""] {
            check(wrong, false);
        }
    }

    #[test]
    fn an_address_is_a_plain_url_or_a_host_and_a_port() {
        let check = |text: &str, socket: (&str, u16), path: &str, shown: &str| {
            let address: Address = text.parse().unwrap();
            assert_eq!((address.socket(), address.path()), (socket, path), "{text}");
            assert_eq!(address.to_string(), shown, "{text}");
        };
        check("http://127.0.0.1:9464", ("127.0.0.1", 9464), "/metrics", "http://127.0.0.1:9464");
        check("http://127.0.0.1:9464/metrics", ("127.0.0.1", 9464), "/metrics", "http://127.0.0.1:9464");
        check("localhost:1", ("localhost", 1), "/metrics", "http://localhost:1");
        check("http://[::1]:9464/", ("::1", 9464), "/metrics", "http://[::1]:9464");
        check("[::1]", ("::1", 80), "/metrics", "http://[::1]");
        check("http://edge.test/a/b?c=d", ("edge.test", 80), "/a/b?c=d", "http://edge.test/a/b?c=d");
    }

    #[test]
    fn what_is_no_address_is_refused_for_what_is_wrong() {
        let check = |text: &str, expected: AddressError| {
            assert_eq!(text.parse::<Address>(), Err(expected), "{text}");
        };
        check("", AddressError::Shape);
        check("http://", AddressError::Shape);
        check("a b", AddressError::Shape);
        check("http://a:port", AddressError::Shape);
        check("http://a:99999", AddressError::Shape);
        check("https://edge.test", AddressError::Scheme);
        check("http://ada:secret@edge.test", AddressError::Credential);
    }
}
