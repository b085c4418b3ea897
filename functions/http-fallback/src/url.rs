//! The parts of a URL that `wasi:http` wants.

use spin_sdk::wasip3::http::types::Scheme;

/// A URL without its fragment.
#[derive(Debug)]
pub(crate) struct Url<'a> {
    pub(crate) scheme: Scheme,
    pub(crate) authority: &'a str,
    pub(crate) path_with_query: String,
}

impl<'a> Url<'a> {
    /// # Errors
    /// Why it cannot be called.
    pub(crate) fn read(url: &'a str) -> Result<Self, String> {
        let (scheme, rest) = if let Some(rest) = url.strip_prefix("https://") {
            (Scheme::Https, rest)
        } else if let Some(rest) = url.strip_prefix("http://") {
            (Scheme::Http, rest)
        } else {
            return Err("its URL names no scheme and host".to_owned());
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.is_empty() {
            return Err("its URL names no scheme and host".to_owned());
        }
        // Whoever reads an address is not to be taken in by what stands in front of an '@'.
        if authority.contains('@') {
            return Err("its URL names a user".to_owned());
        }
        let slash = if path.starts_with('/') { "" } else { "/" };
        Ok(Self { scheme, authority, path_with_query: format!("{slash}{path}") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart() {
        for (url, authority, path) in [
            ("http://a", "a", "/"),
            ("https://a:1/b?c=d#e", "a:1", "/b?c=d"),
            ("http://a?b/c", "a", "/?b/c"),
            ("http://a#/b", "a", "/"),
        ] {
            let read = Url::read(url).unwrap();
            assert_eq!((read.authority, &*read.path_with_query), (authority, path), "{url}");
            assert_eq!(matches!(read.scheme, Scheme::Https), url.starts_with("https"));
        }
    }

    #[test]
    fn what_cannot_be_called_is_refused() {
        for (url, told) in [
            ("ftp://a", "its URL names no scheme and host"),
            ("http:///a", "its URL names no scheme and host"),
            ("http://a@b/", "its URL names a user"),
        ] {
            assert_eq!(Url::read(url).unwrap_err(), told, "{url}");
        }
    }
}
