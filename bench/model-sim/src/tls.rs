//! TLS for a simulated model, with a certificate that nobody has signed: who is not told to trust it, must refuse it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::io::Transport;

/// The names for which the certificate is.
const NAMES: [&str; 2] = ["localhost", "127.0.0.1"];
/// How long a client may take for its part of the handshake.
const HANDSHAKE_MS_MAX: u64 = 10_000;

/// A key and a self-signed certificate for `localhost` and `127.0.0.1`, made anew each time. Cheap to clone.
#[derive(Clone)]
pub struct TlsIdentity {
    acceptor: TlsAcceptor,
    certificate_pem: Arc<str>,
}

impl TlsIdentity {
    /// Makes a key and its certificate.
    ///
    /// # Errors
    /// When there is no randomness to make it of.
    pub fn self_signed() -> io::Result<Self> {
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let certificate = CertificateParams::new(NAMES.map(str::to_owned))
            .and_then(|params| params.self_signed(&key))
            .map_err(io::Error::other)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| {
                let key = PrivatePkcs8KeyDer::from(key.serialize_der());
                builder.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key.into())
            })
            .map_err(io::Error::other)?;
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), certificate_pem: certificate.pem().into() })
    }

    /// The certificate, for a client that is to trust it.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The server's part of the handshake; none if the client does not do its own, or does not trust the certificate.
    pub(crate) async fn accept(&self, stream: TcpStream) -> Option<TlsStream<TcpStream>> {
        timeout(Duration::from_millis(HANDSHAKE_MS_MAX), self.acceptor.accept(stream)).await.ok()?.ok()
    }
}

impl Transport for TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }
}
