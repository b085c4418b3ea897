//! Where the load goes: `http://HOST:PORT`, on this machine or a private network only.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};

/// The server under load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// What connections are made to.
    pub address: SocketAddr,
    /// The `Host` header.
    pub authority: String,
}

/// Why a URL cannot be put under load.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// Something else than `http://HOST:PORT`.
    #[error(
        "`{0}` is not of the form http://HOST:PORT (no path, no https: measure TLS with a proxy in front)"
    )]
    Form(String),
    /// The name has no address.
    #[error("`{authority}` has no address: {source}")]
    Unresolved {
        /// Host and port.
        authority: String,
        /// What the resolver said.
        source: std::io::Error,
    },
    /// A public address.
    #[error("{0} is not on this machine or a private network; load is only put on your own servers")]
    Public(SocketAddr),
}

impl Endpoint {
    /// Reads and resolves a URL.
    ///
    /// # Errors
    /// A URL of another form, a name without address, an address that is public.
    pub fn parse(url: &str) -> Result<Self, EndpointError> {
        let authority = url.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
        let authority = authority
            .filter(|authority| !authority.is_empty() && !authority.contains(['/', '?', '#', '@']))
            .ok_or_else(|| EndpointError::Form(url.to_owned()))?;
        let with_port = if has_port(authority) { authority.to_owned() } else { format!("{authority}:80") };
        let unresolved = |source| EndpointError::Unresolved { authority: authority.to_owned(), source };
        let address = with_port
            .to_socket_addrs()
            .map_err(unresolved)?
            .next()
            .ok_or_else(|| unresolved(std::io::Error::other("the resolver found none")))?;
        if !is_own(address.ip()) {
            return Err(EndpointError::Public(address));
        }
        Ok(Self { address, authority: authority.to_owned() })
    }
}

fn has_port(authority: &str) -> bool {
    authority.rsplit_once(':').is_some_and(|(host, port)| port.parse::<u16>().is_ok() && !host.ends_with(':'))
}

fn is_own(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_urls_of_own_servers_are_taken() {
        fn check(url: &str, expected: Result<&str, &str>) {
            match (Endpoint::parse(url), expected) {
                (Ok(endpoint), Ok(address)) => assert_eq!(endpoint.address.to_string(), address),
                (Err(error), Err(text)) => assert!(error.to_string().contains(text), "{error}"),
                (found, _) => panic!("{url}: {found:?}"),
            }
        }
        check("http://127.0.0.1:3000", Ok("127.0.0.1:3000"));
        check("http://127.0.0.1:3000/", Ok("127.0.0.1:3000"));
        check("http://10.0.0.7", Ok("10.0.0.7:80"));
        check("http://[::1]:3000", Ok("[::1]:3000"));
        check("https://127.0.0.1", Err("not of the form"));
        check("http://127.0.0.1:3000/v1", Err("not of the form"));
        check("http://", Err("not of the form"));
        check("http://8.8.8.8:80", Err("not on this machine"));
    }
}
