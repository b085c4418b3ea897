//! Header fields on the way in and out: what Spin promises a function, and what must never pass.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use std::net::SocketAddr;
use waggle_manifest::RouteMatch;

/// Fields of one connection (RFC 9110, section 7.6.1); they never pass, in either direction.
const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("http2-settings"),
];

/// Names that only the host may set.
const RESERVED_PREFIXES: [&str; 2] = ["waggle-", "spin-"];

/// Takes out the fields of the connection, those named by `Connection` included.
pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// Takes out what a caller has no right to say.
pub(crate) fn strip_reserved(headers: &mut HeaderMap) {
    let reserved: Vec<HeaderName> = headers
        .keys()
        .filter(|name| RESERVED_PREFIXES.iter().any(|prefix| begins_with(name.as_str(), prefix)))
        .cloned()
        .collect();
    for name in &reserved {
        headers.remove(name);
    }
}

/// Whether `name` begins with `prefix`, be its hyphens written as underscores: some readers take one for the other, as
/// CGI does (RFC 3875, section 4.1.18).
fn begins_with(name: &str, prefix: &str) -> bool {
    let as_hyphen = |byte| if byte == b'_' { b'-' } else { byte };
    name.len() >= prefix.len()
        && name.bytes().map(as_hyphen).zip(prefix.bytes()).all(|(ours, theirs)| ours == theirs)
}

/// Sets the fields Spin promises to HTTP functions.
pub(crate) fn set_spin_headers(
    headers: &mut HeaderMap,
    full_url: &str,
    route: &RouteMatch<'_, '_>,
    client: Option<SocketAddr>,
) {
    let client = client.map_or_else(|| "0.0.0.0:0".to_owned(), |address| address.to_string());
    let fields: [(&'static str, &str); 7] = [
        ("spin-path-info", route.path_info),
        ("spin-full-url", full_url),
        ("spin-matched-route", route.matched_route),
        ("spin-base-path", "/"),
        ("spin-raw-component-route", route.raw_route),
        ("spin-component-route", route.component_route),
        ("spin-client-addr", &client),
    ];
    for (name, value) in fields {
        set(headers, HeaderName::from_static(name), value);
    }
    for (name, value) in &route.parameters {
        if let Ok(name) = HeaderName::try_from(format!("spin-path-match-{}", name.to_ascii_lowercase())) {
            set(headers, name, value);
        }
    }
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        fields
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn connection_fields_never_pass() {
        let mut headers = map(&[
            ("connection", "close, X-Secret-Hop"),
            ("x-secret-hop", "1"),
            ("transfer-encoding", "chunked"),
            ("te", "trailers"),
            ("upgrade", "websocket"),
            ("accept", "*/*"),
        ]);
        strip_hop_by_hop(&mut headers);
        assert_eq!(names(&headers), ["accept"]);
    }

    #[test]
    fn a_caller_cannot_set_reserved_fields() {
        let mut headers = map(&[
            ("waggle-user", "root"),
            ("waggle-tenant", "bank-a"),
            ("waggle_user", "root"),
            ("spin_client-addr", "1.2.3.4:5"),
            ("spin-client-addr", "1.2.3.4:5"),
            ("x-waggle", "kept"),
        ]);
        strip_reserved(&mut headers);
        assert_eq!(names(&headers), ["x-waggle"]);
    }
}
