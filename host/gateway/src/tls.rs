//! TLS from a certificate chain and a key in PEM files.

use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;

/// Why TLS cannot be offered.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The certificate file cannot be read, or holds no certificate.
    #[error("{}: no certificate chain in PEM form: {reason}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What was found instead.
        reason: String,
    },
    /// The key file cannot be read, or holds no key.
    #[error("{}: no private key in PEM form: {reason}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What was found instead.
        reason: String,
    },
    /// Certificate and key do not belong together, or are of a kind that is not supported.
    #[error("the certificate and the key cannot be used together: {0}")]
    Pair(#[from] rustls::Error),
}

/// An acceptor that offers HTTP/2 and HTTP/1.1 over TLS 1.2 and 1.3.
///
/// # Errors
/// Any [`TlsError`]; each names the file.
pub fn acceptor(certificate: &Path, key: &Path) -> Result<TlsAcceptor, TlsError> {
    let chain = certificates(certificate)?;
    let private = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| TlsError::Key { path: key.into(), reason: error.to_string() })?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, private)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let refuse = |reason: String| TlsError::Certificate { path: path.into(), reason };
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).map_err(|error| refuse(error.to_string()))?.collect();
    let chain = chain.map_err(|error| refuse(error.to_string()))?;
    if chain.is_empty() {
        return Err(refuse("the file holds no CERTIFICATE section".into()));
    }
    Ok(chain)
}
