//! TLS for outbound calls: whom it trusts and which protocols it offers.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::config::ConfigError;

/// The protocols offered by ALPN, the preferred one first.
const ALPN_HTTP2: &[u8] = b"h2";
const ALPN_HTTP1: &[u8] = b"http/1.1";

/// What the handshake agreed on.
pub(crate) fn is_http2(alpn: Option<&[u8]>) -> bool {
    alpn == Some(ALPN_HTTP2)
}

/// The TLS configuration of all calls: Mozilla's roots, and those of `extra_roots_file` beside them. The roots of the
/// operating system are not read, so that an image needs no certificate package and trusts the same everywhere.
pub(crate) fn client_config(extra_roots_file: Option<&Path>) -> Result<ClientConfig, ConfigError> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(path) = extra_roots_file {
        add_roots(&mut roots, path)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN_HTTP2.to_vec(), ALPN_HTTP1.to_vec()];
    Ok(config)
}

fn add_roots(roots: &mut RootCertStore, path: &Path) -> Result<(), ConfigError> {
    let refuse = |reason: String| ConfigError::ExtraRoots { path: path.to_owned(), reason };
    let certificates = CertificateDer::pem_file_iter(path).map_err(|error| refuse(error.to_string()))?;
    let mut count = 0;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| refuse(error.to_string()))?;
        count += 1;
        roots.add(certificate).map_err(|error| refuse(format!("certificate {count}: {error}")))?;
    }
    if count == 0 {
        return Err(refuse("it holds no certificate; it must be in PEM form (BEGIN CERTIFICATE)".to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_roots_file_that_cannot_be_used_is_refused_by_name_and_reason() {
        let folder = tempfile::tempdir().unwrap();
        let check = |name: &str, content: Option<&str>, part: &str| {
            let path = folder.path().join(name);
            if let Some(content) = content {
                fs::write(&path, content).unwrap();
            }
            let message = client_config(Some(&path)).unwrap_err().to_string();
            assert!(message.contains("extra_roots_file") && message.contains(name), "{message}");
            assert!(message.contains(part), "{message} lacks {part:?}");
        };
        check("absent.pem", None, "No such file");
        check("empty.pem", Some(""), "holds no certificate");
        check("text.pem", Some("hello"), "holds no certificate");
        check(
            "not-a-cert.pem",
            Some("-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n"),
            "certificate 1",
        );
    }

    #[test]
    fn http2_is_offered_before_http1() {
        assert_eq!(client_config(None).unwrap().alpn_protocols, [b"h2".to_vec(), b"http/1.1".to_vec()]);
    }
}
