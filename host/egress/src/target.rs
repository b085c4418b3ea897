//! Where a request goes: scheme, host and port, checked once.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::Uri;
use http::uri::{Authority, Scheme};

use crate::error::EgressError;
use crate::transport::ProfileId;

/// Where a request goes. It is also the key of the pool: a connection that was made with leave to enter the private
/// network, or under another profile, is never lent to a call that lacks it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Target {
    pub(crate) tls: bool,
    pub(crate) authority: Authority,
    pub(crate) allow_private: bool,
    pub(crate) profile: ProfileId,
}

impl Target {
    /// Reads the target of `uri`, which must be absolute, of scheme http or https, and without user information.
    pub(crate) fn of(uri: &Uri, allow_private: bool) -> Result<Self, EgressError> {
        let tls = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTP => false,
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(_) => return Err(EgressError::uri("the scheme must be http or https")),
            None => return Err(EgressError::uri("the scheme is missing; write http:// or https://")),
        };
        let Some(authority) = uri.authority() else {
            return Err(EgressError::uri("the host is missing"));
        };
        check_authority(authority)?;
        Ok(Self { tls, authority: authority.clone(), allow_private, profile: ProfileId::default() })
    }

    /// The host as it is written, without the brackets of an IPv6 address.
    pub(crate) fn host(&self) -> &str {
        let host = self.authority.host();
        host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
    }

    /// The port, of the scheme if none is written.
    pub(crate) fn port(&self) -> u16 {
        self.authority.port_u16().unwrap_or(if self.tls { 443 } else { 80 })
    }

    /// The address that the host spells, if it is no name.
    pub(crate) fn literal(&self) -> Option<IpAddr> {
        let host = self.host();
        host.parse::<Ipv4Addr>().map(IpAddr::V4).or_else(|_| host.parse::<Ipv6Addr>().map(IpAddr::V6)).ok()
    }

    /// What the `Host` header says: the port only where it is not the scheme's.
    pub(crate) fn host_header(&self) -> &str {
        let default_port = if self.tls { 443 } else { 80 };
        if self.authority.port_u16() == Some(default_port) {
            self.authority.host()
        } else {
            self.authority.as_str()
        }
    }
}

fn check_authority(authority: &Authority) -> Result<(), EgressError> {
    if authority.as_str().contains('@') {
        return Err(EgressError::uri("user information in the URL is refused; send an Authorization header"));
    }
    if authority.host().is_empty() {
        return Err(EgressError::uri("the host is missing"));
    }
    let port_is_written = authority.as_str().len() > authority.host().len();
    if port_is_written && !matches!(authority.port_u16(), Some(1..)) {
        return Err(EgressError::uri("the port must be a number from 1 to 65535"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(uri: &str) -> Result<Target, EgressError> {
        Target::of(&uri.parse().unwrap(), false)
    }

    #[test]
    fn a_target_knows_host_port_and_host_header() {
        let check = |uri: &str, host: &str, port: u16, header: &str| {
            let target = target(uri).unwrap();
            assert_eq!((target.host(), target.port(), target.host_header()), (host, port, header), "{uri}");
        };
        check("http://example.com/a", "example.com", 80, "example.com");
        check("https://example.com", "example.com", 443, "example.com");
        check("https://example.com:443/", "example.com", 443, "example.com");
        check("https://example.com:80/", "example.com", 80, "example.com:80");
        check("http://127.0.0.1:8080/x?y", "127.0.0.1", 8080, "127.0.0.1:8080");
        check("http://[::1]:8080/", "::1", 8080, "[::1]:8080");
    }

    #[test]
    fn what_cannot_be_called_is_refused_with_a_reason() {
        let check = |uri: &str, part: &str| {
            let error = target(uri).unwrap_err();
            assert_eq!(error.code(), "HTTP-request-URI-invalid", "{uri}");
            assert!(error.to_string().contains(part), "{error} lacks {part:?}");
        };
        check("/only/a/path", "scheme is missing");
        check("ftp://example.com/", "http or https");
        check("http://user:secret@example.com/", "user information");
        check("http://example.com:0/", "port");
        check("http://example.com:/", "port");
    }

    #[test]
    fn no_error_repeats_user_information() {
        let message = target("http://user:hunter2@example.com/").unwrap_err().to_string();
        assert!(!message.contains("hunter2"), "{message}");
    }

    #[test]
    fn only_the_plain_spelling_of_an_address_is_a_literal() {
        assert_eq!(target("http://127.0.0.1/").unwrap().literal(), Some(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        assert_eq!(target("http://[::1]/").unwrap().literal(), Some(IpAddr::V6(Ipv6Addr::LOCALHOST)));
        for uri in [
            "http://localhost/",
            "http://0177.0.0.1/",
            "http://0x7f.1/",
            "http://2130706433/",
            "http://127.1/",
        ] {
            assert_eq!(target(uri).unwrap().literal(), None, "{uri}");
        }
    }
}
