//! Where the collector is.

use super::keys::Protocol;
use super::signal::SignalNames;
use http::Uri;
use std::fmt;

/// An endpoint that was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(super) is_tls: bool,
    /// An IPv6 address has its brackets.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) path: String,
}

impl Endpoint {
    /// Reads `text`. `is_base` says that it is the endpoint of all signals, to which the path of this
    /// one is added.
    ///
    /// # Errors
    /// A sentence that says what is expected; `text` is not repeated, since it could hold a password.
    pub(super) fn parse(
        text: &str,
        protocol: Protocol,
        is_base: bool,
        names: &SignalNames,
    ) -> Result<Self, String> {
        let wrong =
            || "it must be a URL such as http://127.0.0.1:4318 or https://collector.example".to_owned();
        let uri: Uri = text.trim().parse().map_err(|_unreadable| wrong())?;
        let is_tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(wrong()),
        };
        let authority = uri.authority().ok_or_else(wrong)?;
        if authority.as_str().contains('@') {
            return Err("it must not hold a name and password; send a field with `headers_file`".to_owned());
        }
        if uri.query().is_some() {
            return Err("it must not have a query".to_owned());
        }
        let path = match (protocol, is_base) {
            (Protocol::Grpc, _) => names.grpc_path.to_owned(),
            (Protocol::Http, true) => format!("{}/v1/{}", uri.path().trim_end_matches('/'), names.signal),
            (Protocol::Http, false) => uri.path().to_owned(),
        };
        let port = authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        Ok(Self { is_tls, host: authority.host().to_owned(), port, path })
    }

    /// The host without the brackets of an IPv6 address, as names are looked up and certificates are checked.
    pub(super) fn name(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    pub(super) fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::Records;
    use crate::otlp::Signal as _;
    use crate::traces::Spans;

    #[test]
    fn endpoints_are_read_as_the_standard_has_it() {
        let check = |text: &str, protocol, is_base, expected: &str| {
            let endpoint = Endpoint::parse(text, protocol, is_base, &Spans::NAMES).unwrap();
            assert_eq!(endpoint.to_string(), expected, "{text}");
        };
        check("http://127.0.0.1:4318", Protocol::Http, true, "http://127.0.0.1:4318/v1/traces");
        check("http://localhost:4318/", Protocol::Http, true, "http://localhost:4318/v1/traces");
        check("https://c.example/otlp", Protocol::Http, true, "https://c.example:443/otlp/v1/traces");
        check("https://c.example/otlp", Protocol::Http, false, "https://c.example:443/otlp");
        check("http://c.example", Protocol::Http, false, "http://c.example:80/");
        check(
            "http://[::1]:4317",
            Protocol::Grpc,
            true,
            "http://[::1]:4317/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        );
        let logs = |protocol| Endpoint::parse("http://[::1]:4317", protocol, true, &Records::NAMES).unwrap();
        assert_eq!(logs(Protocol::Grpc).name(), "::1");
        assert_eq!(logs(Protocol::Grpc).path, "/opentelemetry.proto.collector.logs.v1.LogsService/Export");
        assert_eq!(logs(Protocol::Http).path, "/v1/logs");
    }

    #[test]
    fn what_is_no_endpoint_is_refused_without_repeating_it() {
        for text in [
            "",
            "collector:4318",
            "ftp://c.example",
            "http://",
            "http://u:secret@c.example",
            "http://c/?secret",
        ] {
            let error = Endpoint::parse(text, Protocol::Http, true, &Spans::NAMES).unwrap_err();
            assert!(!error.contains("secret") && error.contains("must"), "{text}: {error}");
        }
    }
}
