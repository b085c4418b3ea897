//! What can go wrong with a call, by the names that wasi:http gives its error codes.

use std::error::Error as StdError;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use crate::address::AddressClass;

/// What went wrong with a call. Each variant is one case of the variant `error-code` of wasi:http; [`EgressError::code`]
/// gives its name. The text is for the operator: it names the host, never a path, a query, a header or a secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EgressError {
    #[error("the lookup of {host} took longer than {} ms", .after.as_millis())]
    DnsTimeout { host: String, after: Duration },
    #[error("{host} could not be looked up: {reason}")]
    DnsError { host: String, reason: String },
    #[error(
        "{host} leads to {address}, a {class} address; name that host in allowed_outbound_hosts to allow it"
    )]
    DestinationIpProhibited { host: String, address: IpAddr, class: AddressClass },
    #[error("no route leads to {host}: {reason}")]
    DestinationIpUnroutable { host: String, reason: String },
    #[error("{host} cannot be connected to: {reason}")]
    DestinationUnavailable { host: String, reason: String },
    #[error("{host} refused the connection; nothing listens at that address and port")]
    ConnectionRefused { host: String },
    #[error("no connection to {host} within {} ms", .after.as_millis())]
    ConnectionTimeout { host: String, after: Duration },
    #[error("no response from {host} within {} ms", .after.as_millis())]
    ConnectionReadTimeout { host: String, after: Duration },
    #[error("the connection ended before the response began: {reason}")]
    ConnectionTerminated { reason: String },
    #[error("the certificate of {host} is not valid: {reason}")]
    TlsCertificateError { host: String, reason: String },
    #[error("TLS with {host} failed: {reason}")]
    TlsProtocolError { host: String, reason: String },
    #[error("{host} ended TLS with alert {alert_id}: {alert}")]
    TlsAlertReceived { host: String, alert_id: u8, alert: String },
    #[error("the request is refused: {reason}")]
    HttpRequestDenied { reason: &'static str },
    #[error("the URL cannot be called: {reason}")]
    HttpRequestUriInvalid { reason: &'static str },
    #[error("the method cannot be used: {reason}")]
    HttpRequestMethodInvalid { reason: &'static str },
    #[error("the head of the response is larger than {bytes_max} bytes or {headers_max} headers")]
    HttpResponseHeaderSectionSize { bytes_max: u32, headers_max: usize },
    #[error("the response broke off: {reason}")]
    HttpResponseIncomplete { reason: String },
    #[error("the response paused for longer than {} ms", .after.as_millis())]
    HttpResponseTimeout { after: Duration },
    #[error("the upstream changed to another protocol, which was not asked for")]
    HttpUpgradeFailed,
    #[error("the upstream does not keep to HTTP: {reason}")]
    HttpProtocolError { reason: String },
    /// The request's own body failed: what the function was sending.
    #[error("the body of the request failed: {reason}")]
    RequestBody { reason: String },
    /// The caller gave the call up.
    #[error("the call was cancelled")]
    Cancelled,
}

impl EgressError {
    /// The name of the case of wasi:http's `error-code`. What it has no case for is `internal-error`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::DnsTimeout { .. } => "DNS-timeout",
            Self::DnsError { .. } => "DNS-error",
            Self::DestinationIpProhibited { .. } => "destination-IP-prohibited",
            Self::DestinationIpUnroutable { .. } => "destination-IP-unroutable",
            Self::DestinationUnavailable { .. } => "destination-unavailable",
            Self::ConnectionRefused { .. } => "connection-refused",
            Self::ConnectionTimeout { .. } => "connection-timeout",
            Self::ConnectionReadTimeout { .. } => "connection-read-timeout",
            Self::ConnectionTerminated { .. } => "connection-terminated",
            Self::TlsCertificateError { .. } => "TLS-certificate-error",
            Self::TlsProtocolError { .. } => "TLS-protocol-error",
            Self::TlsAlertReceived { .. } => "TLS-alert-received",
            Self::HttpRequestDenied { .. } => "HTTP-request-denied",
            Self::HttpRequestUriInvalid { .. } => "HTTP-request-URI-invalid",
            Self::HttpRequestMethodInvalid { .. } => "HTTP-request-method-invalid",
            Self::HttpResponseHeaderSectionSize { .. } => "HTTP-response-header-section-size",
            Self::HttpResponseIncomplete { .. } => "HTTP-response-incomplete",
            Self::HttpResponseTimeout { .. } => "HTTP-response-timeout",
            Self::HttpUpgradeFailed => "HTTP-upgrade-failed",
            Self::HttpProtocolError { .. } => "HTTP-protocol-error",
            Self::RequestBody { .. } | Self::Cancelled => "internal-error",
        }
    }

    pub(crate) fn uri(reason: &'static str) -> Self {
        Self::HttpRequestUriInvalid { reason }
    }

    /// What a failed TCP connect means.
    pub(crate) fn from_connect(host: &str, error: &io::Error, waited: Duration) -> Self {
        let host = host.to_owned();
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::ConnectionRefused { host },
            io::ErrorKind::TimedOut => Self::ConnectionTimeout { host, after: waited },
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                Self::DestinationIpUnroutable { host, reason: error.to_string() }
            }
            io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => {
                Self::ConnectionTerminated { reason: error.to_string() }
            }
            _ => Self::DestinationUnavailable { host, reason: error.to_string() },
        }
    }

    /// What a failed TLS handshake means.
    pub(crate) fn from_tls(host: &str, error: &io::Error) -> Self {
        let host = host.to_owned();
        let reason = error.to_string();
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented) => {
                Self::TlsCertificateError { host, reason }
            }
            Some(rustls::Error::AlertReceived(alert)) => {
                Self::TlsAlertReceived { host, alert_id: u8::from(*alert), alert: format!("{alert:?}") }
            }
            Some(_) => Self::TlsProtocolError { host, reason },
            None => Self::ConnectionTerminated { reason: format!("during the TLS handshake: {reason}") },
        }
    }

    /// What an error means that came instead of a response.
    pub(crate) fn from_exchange(error: &hyper::Error) -> Self {
        if error.is_parse_too_large() {
            return Self::header_section_size();
        }
        let reason = describe(error);
        if error.is_user() {
            return Self::RequestBody { reason };
        }
        if error.is_parse() {
            return Self::HttpProtocolError { reason };
        }
        let is_end = error.is_incomplete_message() || error.is_canceled() || error.is_closed();
        if is_end || find_io(error).is_some() {
            return Self::ConnectionTerminated { reason };
        }
        Self::HttpProtocolError { reason }
    }

    /// What an error means that came in the middle of a response's body.
    pub(crate) fn from_body(error: &hyper::Error) -> Self {
        Self::HttpResponseIncomplete { reason: describe(error) }
    }

    pub(crate) fn header_section_size() -> Self {
        Self::HttpResponseHeaderSectionSize {
            bytes_max: crate::client::RESPONSE_HEADER_BYTES_MAX,
            headers_max: crate::client::RESPONSE_HEADERS_MAX,
        }
    }
}

/// The text of an error with those of its causes, which is where the reason usually stands.
fn describe(error: &hyper::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let part = error.to_string();
        if !text.contains(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        cause = error.source();
    }
    text
}

fn find_io(error: &hyper::Error) -> Option<&io::Error> {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return Some(io);
        }
        cause = error.source();
    }
    None
}
