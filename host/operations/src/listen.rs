//! Where the listener comes to be.

use crate::config::{LISTEN_DEFAULT, Listen};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use tokio::net::TcpListener;

/// Why the operations listener cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error(
    "the operations listener cannot be opened at {address}: {source}; \
     give another address as `listen` in `[telemetry.metrics]`, or \"off\""
)]
pub struct ListenError {
    pub address: SocketAddr,
    pub source: io::Error,
}

/// Opens the listener; none if it is off. Without an address of the operator's, a default that is taken is no error:
/// several hosts on one machine then have a free port of the loopback interface each, and the log says which.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn bind(listen: Listen) -> Result<Option<TcpListener>, ListenError> {
    match listen {
        Listen::Off => Ok(None),
        Listen::At(address) => at(address).await.map(Some),
        Listen::Anywhere => match at(LISTEN_DEFAULT).await {
            Err(taken) if taken.source.kind() == io::ErrorKind::AddrInUse => {
                let listener = at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
                if let Ok(address) = listener.local_addr() {
                    tracing::info!(target: "operations", %address, "{LISTEN_DEFAULT} is taken; metrics are here");
                }
                Ok(Some(listener))
            }
            result => result.map(Some),
        },
    }
}

async fn at(address: SocketAddr) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address).await.map_err(|source| ListenError { address, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_default_that_is_taken_gives_way_and_an_address_that_is_taken_does_not() {
        let Some(first) = bind(Listen::Anywhere).await.unwrap() else { panic!("it listens") };
        let Some(second) = bind(Listen::Anywhere).await.unwrap() else { panic!("it listens") };
        let (first, second) = (first.local_addr().unwrap(), second.local_addr().unwrap());
        assert!(first != second && first.ip().is_loopback() && second.ip().is_loopback());

        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = taken.local_addr().unwrap();
        let error = bind(Listen::At(address)).await.unwrap_err().to_string();
        assert!(error.contains(&address.to_string()) && error.contains("[telemetry.metrics]"), "{error}");
        assert!(bind(Listen::Off).await.unwrap().is_none());
    }
}
