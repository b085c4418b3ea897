//! Where an upstream is: a URL that paths are appended to.

use std::fmt;

use http::Uri;
use http::uri::PathAndQuery;
use serde::Deserialize;

use crate::config::between;
use crate::credentials::parse_path_prefix;
use crate::error::EgressError;
use crate::target::Target;

/// The most bytes of an endpoint's URL.
pub const URL_BYTES_MAX: usize = 2_048;
/// The most weight of an endpoint.
const WEIGHT_MAX: u64 = 1_000;

/// The base of an endpoint's URLs, such as `https://api.openai.com/v1`: scheme http or https, host, port, and a path that
/// what is called is appended to. It has neither user nor query nor fragment.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct BaseUrl {
    target: Target,
    /// Without the last slash: empty for the root.
    path: Box<str>,
}

/// Why a text is no [`BaseUrl`]. Never holds what stands before an `@`, which may be a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{url:?} cannot be the URL of an endpoint ({reason}); write it as https://api.example.com/v1")]
pub struct BaseUrlError {
    url: String,
    reason: String,
}

impl BaseUrl {
    /// Reads a URL.
    ///
    /// # Errors
    /// Says what it must not have, or lacks.
    pub fn parse(url: &str) -> Result<Self, BaseUrlError> {
        let refuse = |reason: &dyn fmt::Display| BaseUrlError {
            url: super::names::shorten(url.rsplit('@').next().unwrap_or_default()),
            reason: reason.to_string(),
        };
        if url.len() > URL_BYTES_MAX {
            return Err(refuse(&format_args!("it is longer than {URL_BYTES_MAX} bytes")));
        }
        if url.contains('@') {
            return Err(refuse(&"it has a user; give the key in `credential`"));
        }
        if url.contains('#') {
            return Err(refuse(&"it has a fragment"));
        }
        if url.contains('?') {
            return Err(refuse(&"it has a query; give a key as `credential = { …, query = \"key\" }`"));
        }
        let uri: Uri = url.parse().map_err(|error| refuse(&error))?;
        let target = Target::of(&uri, true).map_err(|error| refuse(&error))?;
        let path = parse_path_prefix(uri.path()).map_err(|error| refuse(&error))?;
        Ok(Self { target, path })
    }

    /// Whether it is https.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.target.tls
    }

    /// The host, without the brackets of an IPv6 address.
    #[must_use]
    pub fn host(&self) -> &str {
        self.target.host()
    }

    /// The port, of the scheme if none is written.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.target.port()
    }

    /// The path, without a slash at its end: empty for the root.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The URL of `rest`, which is empty or begins with `/` or `?` and may have a query: `/chat/completions` below
    /// `https://a.example/v1` is `https://a.example/v1/chat/completions`.
    ///
    /// # Errors
    /// [`EgressError::HttpRequestUriInvalid`] when `rest` is no path.
    pub fn join(&self, rest: &str) -> Result<Uri, EgressError> {
        if !rest.is_empty() && !rest.starts_with(['/', '?']) {
            return Err(EgressError::uri("the path must begin with /"));
        }
        let root = if self.path.is_empty() && !rest.starts_with('/') { "/" } else { "" };
        let path = PathAndQuery::try_from(format!("{}{root}{rest}", self.path))
            .map_err(|_| EgressError::uri("the path cannot stand in a URL"))?;
        Uri::builder()
            .scheme(self.scheme())
            .authority(self.target.authority.clone())
            .path_and_query(path)
            .build()
            .map_err(|_| EgressError::uri("its parts do not make a URL"))
    }

    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    fn scheme(&self) -> &'static str {
        if self.target.tls { "https" } else { "http" }
    }
}

impl TryFrom<String> for BaseUrl {
    type Error = BaseUrlError;

    fn try_from(url: String) -> Result<Self, BaseUrlError> {
        Self::parse(&url)
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme(), self.target.authority, self.path)
    }
}

/// One of the places where an upstream is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// Where it is.
    pub url: BaseUrl,
    /// How much of the calls it gets, against the weights of the others. 1 to 1,000; 1 by default.
    #[serde(default = "one", deserialize_with = "between::<_, 1, WEIGHT_MAX>")]
    pub weight: u64,
}

impl Endpoint {
    /// The endpoint at `url`, of weight 1.
    #[must_use]
    pub fn new(url: BaseUrl) -> Self {
        Self { url, weight: one() }
    }
}

fn one() -> u64 {
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_appended_to_the_base() {
        let check = |base: &str, rest: &str, expected: &str| {
            assert_eq!(BaseUrl::parse(base).unwrap().join(rest).unwrap().to_string(), expected);
        };
        check("https://a.example/v1", "/chat/completions", "https://a.example/v1/chat/completions");
        check("https://a.example/v1/", "/models?x=1", "https://a.example/v1/models?x=1");
        check("http://a.example:8080", "/models", "http://a.example:8080/models");
        check("http://a.example", "", "http://a.example/");
        check("http://a.example", "?x", "http://a.example/?x");
        check("http://[::1]:1/a/b", "?x", "http://[::1]:1/a/b?x");
        let base = BaseUrl::parse("https://a.example/v1").unwrap();
        assert_eq!(base.join("x").unwrap_err().code(), "HTTP-request-URI-invalid");
        assert_eq!(base.join("/a b").unwrap_err().code(), "HTTP-request-URI-invalid");
        assert_eq!((base.host(), base.port(), base.path(), base.is_tls()), ("a.example", 443, "/v1", true));
        assert_eq!(base.to_string(), "https://a.example/v1");
    }

    #[test]
    fn what_is_no_base_is_refused_with_the_reason() {
        let check = |url: &str, part: &str| {
            let error = BaseUrl::parse(url).unwrap_err().to_string();
            assert!(error.contains(part) && error.contains("write it as https://"), "{error} lacks {part:?}");
            assert!(!error.contains("hunter2"), "{error}");
        };
        check("api.openai.com/v1", "invalid format");
        check("/v1", "scheme is missing");
        check("ftp://a.example/", "http or https");
        check("https://user:hunter2@a.example/", "it has a user");
        check("https://a.example/v1?key=x", "it has a query");
        check("https://a.example/v1#x", "it has a fragment");
        check("https://a.example/v1/../v2", "neither empty segments");
        check("https://a.example/v1//x", "neither empty segments");
        check("https://a.example/%76", "plain ASCII");
        check("https://a.example:0/", "port");
        check("https:///v1", "");
        check(&format!("https://a.example/{}", "x".repeat(URL_BYTES_MAX)), "longer than 2048 bytes");
    }
}
