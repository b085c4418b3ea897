//! Names to addresses, behind a trait so that tests can decide what a name leads to.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::Semaphore;

/// How many lookups run at a time. Each holds a thread until the system's resolver gives up, which can be long after the
/// caller has; without a bound, a dead name server would use up every thread for blocking work.
const LOOKUPS_MAX: usize = 64;

/// How many addresses of a name are considered.
const ADDRESSES_MAX: usize = 16;

/// What [`Resolve::resolve`] returns.
pub type ResolveFuture = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// Turns a host name into addresses, in the order in which they should be tried.
pub trait Resolve: fmt::Debug + Send + Sync + 'static {
    /// The addresses of `host`. The caller bounds the time.
    ///
    /// # Errors
    /// When the name has no address or could not be looked up.
    fn resolve(&self, host: &str) -> ResolveFuture;
}

/// The resolver of the operating system (getaddrinfo), so that `/etc/hosts`, search domains and the configured name
/// servers work as for any other program. It reads the old spellings of IPv4 addresses (`0x7f.1`, `0177.0.0.1`,
/// `2130706433`) as addresses, which is why the check comes after the lookup.
#[derive(Debug, Clone)]
pub struct SystemResolver {
    lookups: Arc<Semaphore>,
}

impl Default for SystemResolver {
    fn default() -> Self {
        Self { lookups: Arc::new(Semaphore::new(LOOKUPS_MAX)) }
    }
}

impl Resolve for SystemResolver {
    fn resolve(&self, host: &str) -> ResolveFuture {
        let host = host.to_owned();
        let lookups = Arc::clone(&self.lookups);
        Box::pin(async move {
            let permit = lookups.acquire_owned().await.map_err(io::Error::other)?;
            let lookup = tokio::task::spawn_blocking(move || {
                // The permit moves in here: it is free again when the lookup ends, not when the caller stops waiting.
                let _permit = permit;
                let addresses = (host.as_str(), 0).to_socket_addrs()?;
                Ok(addresses.map(|address| address.ip()).take(ADDRESSES_MAX).collect())
            });
            lookup.await.map_err(io::Error::other)?
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::{AddressClass, classify};

    #[tokio::test]
    async fn old_spellings_of_loopback_and_private_addresses_are_seen_for_what_they_are() {
        let resolver = SystemResolver::default();
        let table = [
            ("localhost", AddressClass::Loopback),
            ("127.1", AddressClass::Loopback),
            ("0177.0.0.1", AddressClass::Loopback),
            ("0x7f.0.0.1", AddressClass::Loopback),
            ("0x7f000001", AddressClass::Loopback),
            ("2130706433", AddressClass::Loopback),
            ("017700000001", AddressClass::Loopback),
            ("0xa9fea9fe", AddressClass::Metadata),
            ("2852039166", AddressClass::Metadata),
            ("0251.0376.0251.0376", AddressClass::Metadata),
            ("10.1", AddressClass::Private),
            ("0300.0250.1", AddressClass::Private),
            ("0", AddressClass::Unspecified),
            ("0x0", AddressClass::Unspecified),
        ];
        for (host, expected) in table {
            let addresses = resolver.resolve(host).await.unwrap();
            assert!(!addresses.is_empty(), "{host}");
            for address in addresses {
                assert_eq!(classify(address), expected, "{host} leads to {address}");
            }
        }
    }

    #[tokio::test]
    async fn a_name_that_cannot_exist_is_an_error() {
        assert!(SystemResolver::default().resolve("no such name").await.is_err());
    }
}
