//! From a target to a connection: look the name up, check the addresses, connect to a checked address, do the handshakes.
//!
//! The address that was checked is the address that is connected to. There is no second lookup in between, so a name
//! that changes its mind (DNS rebinding) gains nothing.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::address::{classify, permits};
use crate::client::RESPONSE_HEADER_BYTES_MAX;
use crate::error::EgressError;
use crate::pool::{Connection, Http1Connection};
use crate::resolve::Resolve;
use crate::target::Target;
use crate::tls;
use crate::transport::{HttpVersion, TransportProfile};

/// How long one address may take before the next is tried beside it (RFC 8305, section 8).
const NEXT_ADDRESS_DELAY: Duration = Duration::from_millis(250);

/// How often an HTTP/2 connection with calls in flight is asked whether it is alive, and how long it may take to answer.
const HTTP2_PING_INTERVAL: Duration = Duration::from_secs(20);
const HTTP2_PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Makes connections.
pub(crate) struct Connector {
    resolver: Arc<dyn Resolve>,
    http1: http1::Builder,
}

impl Connector {
    pub(crate) fn new(resolver: Arc<dyn Resolve>) -> Self {
        let mut http1 = http1::Builder::new();
        // The number of headers stays at hyper's 100 (`RESPONSE_HEADERS_MAX`): setting it would cost an allocation.
        http1.max_header_size(RESPONSE_HEADER_BYTES_MAX as usize);
        Self { resolver, http1 }
    }

    /// A new connection to `target`, made as `profile` says, ready to carry a call, within `timeout`.
    pub(crate) async fn connect(
        &self,
        target: &Target,
        profile: &TransportProfile,
        timeout: Duration,
    ) -> Result<Connection, EgressError> {
        let deadline = Instant::now() + timeout;
        let host = target.host();
        let addresses = self.resolve(target, deadline, timeout).await?;
        let connecting = async {
            let stream = connect_any(host, &addresses, target.port(), timeout).await?;
            if target.tls {
                self.handshake_tls(host, stream, profile).await
            } else if profile.http == HttpVersion::Http2 {
                self.handshake_http2(stream).await
            } else {
                self.handshake_http1(stream).await
            }
        };
        match tokio::time::timeout_at(deadline, connecting).await {
            Ok(result) => result,
            Err(_) => Err(EgressError::ConnectionTimeout { host: host.to_owned(), after: timeout }),
        }
    }

    /// The addresses of `target` that may be connected to. At least one, or an error that says why none.
    async fn resolve(
        &self,
        target: &Target,
        deadline: Instant,
        timeout: Duration,
    ) -> Result<Vec<IpAddr>, EgressError> {
        let host = target.host();
        if let Some(address) = target.literal() {
            return check_addresses(host, vec![address], target.allow_private, true);
        }
        let lookup = tokio::time::timeout_at(deadline, self.resolver.resolve(host)).await;
        let found = lookup
            .map_err(|_| EgressError::DnsTimeout { host: host.to_owned(), after: timeout })?
            .map_err(|error| EgressError::DnsError { host: host.to_owned(), reason: error.to_string() })?;
        check_addresses(host, found, target.allow_private, false)
    }

    async fn handshake_tls(
        &self,
        host: &str,
        stream: TcpStream,
        profile: &TransportProfile,
    ) -> Result<Connection, EgressError> {
        let name = ServerName::try_from(host)
            .map_err(|_| EgressError::uri("the host cannot be the name of a server"))?
            .to_owned();
        let stream =
            profile.tls.connect(name, stream).await.map_err(|error| EgressError::from_tls(host, &error))?;
        if tls::is_http2(stream.get_ref().1.alpn_protocol()) {
            self.handshake_http2(stream).await
        } else if profile.http == HttpVersion::Http2 {
            let reason = format!("{host} did not agree on HTTP/2; let `http` be \"auto\" or \"1.1\"");
            Err(EgressError::HttpProtocolError { reason })
        } else {
            self.handshake_http1(stream).await
        }
    }

    async fn handshake_http1<T>(&self, stream: T) -> Result<Connection, EgressError>
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let handshake = self.http1.handshake(TokioIo::new(stream)).await;
        let (sender, driver) = handshake.map_err(|error| EgressError::from_exchange(&error))?;
        let task = tokio::spawn(drive(driver));
        Ok(Connection::Http1(Http1Connection::new(sender, task.abort_handle())))
    }

    async fn handshake_http2<T>(&self, stream: T) -> Result<Connection, EgressError>
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let handshake = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(HTTP2_PING_INTERVAL)
            .keep_alive_timeout(HTTP2_PING_TIMEOUT)
            .max_header_list_size(RESPONSE_HEADER_BYTES_MAX)
            .adaptive_window(true)
            .handshake(TokioIo::new(stream))
            .await;
        let (sender, driver) = handshake.map_err(|error| EgressError::from_exchange(&error))?;
        tokio::spawn(drive(driver));
        Ok(Connection::Http2(sender))
    }
}

/// Runs a connection to its end. Whoever waits on it gets the error of its own call; here it is only worth a note.
async fn drive(connection: impl Future<Output = hyper::Result<()>>) {
    if let Err(error) = connection.await {
        tracing::debug!(%error, "an upstream connection ended");
    }
}

/// Leaves the addresses that may be connected to.
fn check_addresses(
    host: &str,
    found: Vec<IpAddr>,
    allow_private: bool,
    literal: bool,
) -> Result<Vec<IpAddr>, EgressError> {
    let Some(first) = found.first().copied() else {
        return Err(EgressError::DnsError { host: host.to_owned(), reason: "it has no address".to_owned() });
    };
    let mut allowed = found;
    allowed.retain(|address| permits(classify(*address), allow_private, literal));
    if allowed.is_empty() {
        return Err(EgressError::DestinationIpProhibited {
            host: host.to_owned(),
            address: first,
            class: classify(first),
        });
    }
    Ok(alternate_families(allowed))
}

/// Puts the addresses in the order of RFC 8305: the resolver's, but with the families taking turns, so that a broken
/// IPv6 (or IPv4) costs one attempt and not all of them.
fn alternate_families(addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    let first_is_v6 = addresses.first().is_some_and(IpAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    let mut second = second.into_iter();
    let mut mixed: Vec<_> =
        first.into_iter().flat_map(|address| [Some(address), second.next()]).flatten().collect();
    mixed.extend(second);
    mixed
}

/// Connects to the first address that answers: each next one is tried when the one before has failed, or has taken
/// [`NEXT_ADDRESS_DELAY`] already. The error of the first failure is returned if all fail.
async fn connect_any(
    host: &str,
    addresses: &[IpAddr],
    port: u16,
    timeout: Duration,
) -> Result<TcpStream, EgressError> {
    let mut waiting = addresses.iter();
    let mut attempts = FuturesUnordered::new();
    let mut first_error = None;
    loop {
        let next = waiting.next().map(|address| SocketAddr::new(*address, port));
        let is_last = next.is_none();
        attempts.extend(next.map(connect_one));
        match next_outcome(&mut attempts, is_last).await {
            Outcome::Connected(stream) => return Ok(stream),
            Outcome::Failed(error) => {
                first_error.get_or_insert(error);
            }
            Outcome::Slow => {}
            Outcome::NoneLeft => break,
        }
    }
    let error = first_error.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into());
    Err(EgressError::from_connect(host, &error, timeout))
}

enum Outcome {
    Connected(TcpStream),
    Failed(io::Error),
    /// No attempt has ended, and it is time to start the next one.
    Slow,
    /// Every attempt has failed.
    NoneLeft,
}

/// What happens first among the running attempts; with `is_last`, there is no next one to start and all time to wait.
async fn next_outcome<F>(attempts: &mut FuturesUnordered<F>, is_last: bool) -> Outcome
where
    F: Future<Output = io::Result<TcpStream>>,
{
    let ended = if is_last {
        attempts.next().await
    } else {
        match tokio::time::timeout(NEXT_ADDRESS_DELAY, attempts.next()).await {
            Ok(ended) => ended,
            Err(_) => return Outcome::Slow,
        }
    };
    match ended {
        Some(Ok(stream)) => Outcome::Connected(stream),
        Some(Err(error)) => Outcome::Failed(error),
        None => Outcome::NoneLeft,
    }
}

async fn connect_one(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    // A streamed answer is many small writes; waiting to fill a packet would add up to 40 ms to each.
    stream.set_nodelay(true)?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::AddressClass;

    fn addresses(list: &[&str]) -> Vec<IpAddr> {
        list.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn the_families_take_turns_in_the_resolvers_order() {
        let check = |given: &[&str], expected: &[&str]| {
            assert_eq!(alternate_families(addresses(given)), addresses(expected));
        };
        check(&[], &[]);
        check(&["1.1.1.1"], &["1.1.1.1"]);
        check(&["2a00::1", "2a00::2", "1.1.1.1", "1.1.1.2"], &["2a00::1", "1.1.1.1", "2a00::2", "1.1.1.2"]);
        check(&["1.1.1.1", "2a00::1", "2a00::2", "2a00::3"], &["1.1.1.1", "2a00::1", "2a00::2", "2a00::3"]);
    }

    #[test]
    fn forbidden_addresses_are_left_out_and_none_left_is_an_error() {
        let check = |given: &[&str], allow_private, literal| {
            check_addresses("a.example", addresses(given), allow_private, literal)
        };
        assert_eq!(check(&["10.0.0.1", "1.1.1.1"], false, false).unwrap(), addresses(&["1.1.1.1"]));
        assert_eq!(check(&["10.0.0.1"], true, false).unwrap(), addresses(&["10.0.0.1"]));
        assert_eq!(check(&["169.254.169.254"], true, true).unwrap(), addresses(&["169.254.169.254"]));
        let prohibited = |given: &[&str], allow_private| match check(given, allow_private, false) {
            Err(EgressError::DestinationIpProhibited { class, .. }) => class,
            other => panic!("{given:?}: {other:?}"),
        };
        assert_eq!(prohibited(&["10.0.0.1", "127.0.0.1"], false), AddressClass::Private);
        assert_eq!(prohibited(&["169.254.169.254"], true), AddressClass::Metadata);
        assert_eq!(prohibited(&["::ffff:127.0.0.1"], false), AddressClass::Loopback);
        assert_eq!(check(&[], true, false).unwrap_err().code(), "DNS-error");
    }
}
