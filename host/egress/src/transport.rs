//! How connections to one upstream differ from all others: whom TLS trusts, and which version of HTTP is spoken.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustls::RootCertStore;
use serde::Deserialize;
use tokio_rustls::TlsConnector;

use crate::tls;

/// Which version of HTTP is spoken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize)]
pub enum HttpVersion {
    /// Over TLS the better one that both sides offer (ALPN, RFC 7301), HTTP/1.1 otherwise.
    #[default]
    #[serde(rename = "auto")]
    Auto,
    /// HTTP/1.1 only.
    #[serde(rename = "1.1")]
    Http1,
    /// HTTP/2 only: offered alone over TLS; without TLS by prior knowledge (RFC 9113, section 3.3).
    #[serde(rename = "2")]
    Http2,
}

/// Why a profile cannot be made. It names the key of the upstream that is to blame.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The file holds nothing to trust.
    #[error("roots_file: cannot read certificates from {}: {reason}", path.display())]
    Roots {
        /// The file, as it was looked for.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// TLS cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

/// Which pool a connection belongs to. It is drawn anew for each profile, so no two share a connection, not even two that
/// are made alike.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct ProfileId(u64);

impl ProfileId {
    fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// How connections to one upstream are made. Made by [`crate::Egress::transport_profile`], once for an upstream and not for
/// each call: connections are pooled by profile.
pub struct TransportProfile {
    pub(crate) id: ProfileId,
    pub(crate) http: HttpVersion,
    pub(crate) tls: TlsConnector,
}

impl TransportProfile {
    /// The profile of calls that name none.
    pub(crate) fn of_all(roots: RootCertStore) -> Result<Self, rustls::Error> {
        Self::with_roots(ProfileId::default(), roots, HttpVersion::Auto)
    }

    /// A profile that trusts `roots` and those in `roots_file`.
    pub(crate) fn new(
        mut roots: RootCertStore,
        roots_file: Option<&Path>,
        http: HttpVersion,
    ) -> Result<Self, TransportError> {
        if let Some(path) = roots_file {
            tls::add_roots(&mut roots, path)
                .map_err(|reason| TransportError::Roots { path: path.to_owned(), reason })?;
        }
        Ok(Self::with_roots(ProfileId::next(), roots, http)?)
    }

    fn with_roots(id: ProfileId, roots: RootCertStore, http: HttpVersion) -> Result<Self, rustls::Error> {
        let config = tls::client_config(roots, http)?;
        Ok(Self { id, http, tls: TlsConnector::from(Arc::new(config)) })
    }
}

impl fmt::Debug for TransportProfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransportProfile")
            .field("id", &self.id.0)
            .field("http", &self.http)
            .finish_non_exhaustive()
    }
}
