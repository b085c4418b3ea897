//! Secrets in the query of a URL: put on in place of what the request has there, and taken off what comes back.

use std::fmt::Write as _;
use std::sync::Arc;

use http::header::{CONTENT_LOCATION, HeaderName, LINK, LOCATION, REFRESH};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue};
use waggle_secret::Secret;

use super::path::percent_decode;
use crate::error::EgressError;

/// Header fields of a response that hold URLs. A redirect repeats the query of the request as a rule, the secret included.
const URL_HEADERS: [HeaderName; 4] = [LOCATION, CONTENT_LOCATION, LINK, REFRESH];

/// A secret that is sent as a parameter of the query.
#[derive(Debug)]
pub(super) struct QuerySecret {
    name: Box<str>,
    secret: Secret,
    /// As it stands in a query.
    encoded: Secret,
}

impl QuerySecret {
    pub(super) fn new(name: &str, secret: &Secret) -> Self {
        let encoded = Secret::new(percent_encode(secret.expose()));
        Self { name: name.into(), secret: secret.clone(), encoded }
    }

    /// `path` with the secret in its query, in place of all parameters of that name.
    pub(super) fn put_on(&self, path: &PathAndQuery) -> Result<PathAndQuery, EgressError> {
        let query = path.query().map(|query| self.take_off(query)).unwrap_or_default();
        let joint = if query.is_empty() { "" } else { "&" };
        let text = format!("{}?{query}{joint}{}={}", path.path(), self.name, self.encoded.expose());
        // The error would show the text.
        PathAndQuery::try_from(text).map_err(|_| EgressError::uri("its query cannot hold the credential"))
    }

    /// `query` without the parameters of the secret's name, however that is encoded.
    fn take_off(&self, query: &str) -> String {
        let kept: Vec<&str> = query.split('&').filter(|parameter| !self.is_of_its_name(parameter)).collect();
        kept.join("&")
    }

    fn is_of_its_name(&self, parameter: &str) -> bool {
        let name = parameter.split('=').next().unwrap_or_default();
        percent_decode(name.as_bytes()) == self.name.as_bytes()
    }

    /// Whether `value` shows the secret, in whatever encoding of a URL.
    fn is_in(&self, value: &[u8]) -> bool {
        let secret = self.secret.expose().as_bytes();
        let shows = |text: &[u8]| text.windows(secret.len()).any(|window| window == secret);
        shows(value) || shows(&percent_decode(value))
    }

    /// A URL without the secret.
    fn clean(&self, url: &str) -> Option<HeaderValue> {
        let (rest, fragment) = url.split_once('#').map_or((url, None), |(rest, end)| (rest, Some(end)));
        let (start, query) = rest.split_once('?')?;
        let mut clean = start.to_owned();
        for (mark, part) in [('?', Some(self.take_off(query))), ('#', fragment.map(str::to_owned))] {
            if let Some(part) = part.filter(|part| !part.is_empty()) {
                clean.push(mark);
                clean.push_str(&part);
            }
        }
        HeaderValue::from_str(&clean).ok()
    }
}

/// The secrets that one request has in its query. Holds nothing, and costs nothing, where there are none.
#[derive(Debug, Default)]
pub(crate) struct QuerySecrets(Vec<Arc<QuerySecret>>);

impl QuerySecrets {
    pub(super) fn note(&mut self, secret: Arc<QuerySecret>) {
        self.0.push(secret);
    }

    /// Takes the secrets off the URLs of a response: the parameter off a redirect, the whole field where it shows a secret
    /// otherwise.
    pub(crate) fn scrub(&self, headers: &mut HeaderMap) {
        for secret in &self.0 {
            for name in &URL_HEADERS {
                scrub_field(headers, name, secret);
            }
        }
    }
}

fn scrub_field(headers: &mut HeaderMap, name: &HeaderName, secret: &QuerySecret) {
    if !headers.get_all(name).iter().any(|value| secret.is_in(value.as_bytes())) {
        return;
    }
    let is_one_url = *name == LOCATION || *name == CONTENT_LOCATION;
    let url = headers.get(name).and_then(|value| value.to_str().ok()).filter(|_| is_one_url);
    let clean = url.and_then(|url| secret.clean(url)).filter(|clean| !secret.is_in(clean.as_bytes()));
    match clean {
        Some(clean) => drop(headers.insert(name, clean)),
        None => drop(headers.remove(name)),
    }
}

/// Whether a character stands for itself everywhere in a URL (RFC 3986, section 2.3).
pub(super) fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if is_unreserved(byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret() -> QuerySecret {
        QuerySecret::new("key", &Secret::new("s/e+c r&t"))
    }

    #[test]
    fn the_secret_takes_the_place_of_what_the_request_has_there() {
        let check = |path: &str, expected: &str| {
            let path = PathAndQuery::try_from(path).unwrap();
            assert_eq!(secret().put_on(&path).unwrap().as_str(), expected);
        };
        check("/a", "/a?key=s%2Fe%2Bc%20r%26t");
        check("/a?", "/a?key=s%2Fe%2Bc%20r%26t");
        check("/a?x=1&y", "/a?x=1&y&key=s%2Fe%2Bc%20r%26t");
        check("/a?key=mine&x=1", "/a?x=1&key=s%2Fe%2Bc%20r%26t");
        check("/a?x=1&%6Bey=mine&key&key=", "/a?x=1&key=s%2Fe%2Bc%20r%26t");
        check("/a?keys=1&Key=2&x=key=3", "/a?keys=1&Key=2&x=key=3&key=s%2Fe%2Bc%20r%26t");
    }

    #[test]
    fn what_comes_back_does_not_show_the_secret() {
        let check = |name: &'static str, value: &str, expected: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            let mut secrets = QuerySecrets::default();
            secrets.note(Arc::new(secret()));
            secrets.scrub(&mut headers);
            assert_eq!(headers.get(name).map(|value| value.to_str().unwrap()), expected, "{name}: {value}");
        };
        check(
            "location",
            "https://b.example/x?key=s%2Fe%2Bc%20r%26t&y=1#z",
            Some("https://b.example/x?y=1#z"),
        );
        check("location", "/x?y=1&key=s%2fe%2bc%20r%26t", Some("/x?y=1"));
        check("location", "/x?key=s/e%2Bc%20r%26t", Some("/x"));
        check("location", "/x?other=s%2Fe%2Bc%20r%26t", None);
        check("location", "/s%2Fe%2Bc%20r%26t", None);
        check("location", "/x?key=other", Some("/x?key=other"));
        check("content-location", "/x?a&key=s%2Fe%2Bc%20r%26t", Some("/x?a"));
        check("link", "</x?key=s%2Fe%2Bc%20r%26t>; rel=next", None);
        check("refresh", "0; url=/x?key=s%2Fe%2Bc%20r%26t", None);
        check("link", "</x>; rel=next", Some("</x>; rel=next"));
    }

    #[test]
    fn debug_output_never_holds_the_secret() {
        let text = format!("{:?}", QuerySecrets(vec![Arc::new(secret())]));
        assert!(!text.contains("s/e") && !text.contains("%2F"), "{text}");
    }
}
